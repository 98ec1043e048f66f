# Images of Postern. Targets:
#   envoy         Envoy and the filter
#   sidecar-auth  sidecar-auth, the operator and the gateway's watch, in Node
#   filter        the filter alone, as an OCI artifact: for volumes of type image, and for Istio's WasmPlugin (oci://…)
#   world         for docker-compose.yml only: the mail servers and simulators of the demo
# Both run as user 10001, on a read-only root file system, and need no shell. They must have the same user: they meet at Unix sockets of mode 0600.

ARG NODE_IMAGE=node:24-bookworm-slim
# Smaller: --build-arg ENVOY_IMAGE=envoyproxy/envoy:distroless-v1.40.0
ARG ENVOY_IMAGE=envoyproxy/envoy:v1.40.0

FROM ${NODE_IMAGE} AS packages
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund

FROM packages AS build
COPY asconfig.json tsconfig.json tsconfig.build.json ./
COPY cli cli
COPY envoy envoy
COPY filter filter
COPY scripts scripts
COPY sidecar-auth sidecar-auth
RUN npm run build && npm prune --omit=dev --no-audit --no-fund && mkdir -p /empty

FROM scratch AS filter
COPY --from=build /src/dist/filter.wasm /plugin.wasm

FROM ${ENVOY_IMAGE} AS envoy
COPY --from=build /src/dist/filter.wasm /opt/postern/filter.wasm
COPY --from=build --chown=10001:10001 /empty /run/postern
USER 10001:10001
# Not the base image's entry point, which is a shell script.
ENTRYPOINT ["/usr/local/bin/envoy"]
CMD ["-c", "/run/postern/envoy.json"]

FROM ${NODE_IMAGE} AS sidecar-auth
ENV NODE_ENV=production
WORKDIR /opt/postern
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules node_modules
COPY --from=build /src/dist dist
COPY --from=build --chown=10001:10001 /empty /run/postern
USER 10001:10001
# getaddrinfo can't be cancelled: a few names with dead name servers must not take all of libuv's threads (4 by default).
ENV UV_THREADPOOL_SIZE=16
ENTRYPOINT ["node"]
CMD ["dist/sidecar-auth/main.js"]

FROM packages AS world
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends dovecot-imapd dovecot-pop3d dovecot-lmtpd postfix \
 && rm -rf /var/lib/apt/lists/*
COPY cli cli
COPY demo demo
COPY envoy envoy
COPY sidecar-auth sidecar-auth
COPY test/live test/live
ENTRYPOINT ["node"]
CMD ["demo/compose/world.ts"]
