import { stringify } from 'yaml';
import { NATIVE_PROXY_ANNOTATION, SECRET_ANNOTATION, TEMPLATE } from './annotations.ts';
import { meshFiles, RUN_DIR } from './run-dir.ts';

const CONFIG_DIR = '/etc/postern';
const RUN_VOLUME = 'postern-run';
const CONFIG_VOLUME = 'postern-config';

/** Envoy's workers: istio-proxy has 2 by default. sidecar-auth shares `maxConnections` out among them. */
const WORKERS = 2;

/** istio-proxy's user, and so the only one beside root that the redirection lets out. */
const PROXY_USER = '{{ .ProxyUID | default "1337" }}';
const PROXY_GROUP = '{{ .ProxyGID | default "1337" }}';

const IS_NATIVE = `ne (index .ObjectMeta.Annotations "${NATIVE_PROXY_ANNOTATION}" | default (printf "%t" .NativeSidecars)) "false"`;
const WHY = `Postern must start before istio-proxy: set the pod's annotation ${NATIVE_PROXY_ANNOTATION} to 'false'`;

/** Values for istiod's Helm chart: the template by which pods get sidecar-auth beside istio-proxy. */
export function injectionValues(image: string): string {
  return stringify(
    { sidecarInjectorWebhook: { templates: { [TEMPLATE]: injectionTemplate(image) } } },
    { lineWidth: 0 },
  );
}

/**
 * A Go template of Istio's injector. sidecar-auth is a native sidecar (an init container with restartPolicy Always): it has put the filter and the CAs into
 * the shared volume before istio-proxy starts, and ends after it. Its files are in no other container, and it gets no token of Kubernetes.
 */
export function injectionTemplate(image: string): string {
  const spec = { initContainers: [sidecarAuth(image)], containers: [proxy()], volumes: volumes() };
  // Numbers that the template fills in must not stand there as texts.
  const text = stringify({ spec }, { lineWidth: 0 }).replace(/(runAs\w+: )'(.*)'$/gm, '$1$2');
  return `{{- if ${IS_NATIVE} }}{{ fail ${JSON.stringify(WHY)} }}{{ end }}\n${text}`;
}

function sidecarAuth(image: string): object {
  return {
    name: 'postern',
    image,
    restartPolicy: 'Always',
    args: ['dist/sidecar-auth/kubernetes/istio/main.js', ...words()],
    startupProbe: { exec: { command: ['node', '-e', IS_READY] }, periodSeconds: 1, failureThreshold: 60 },
    resources: { requests: { cpu: '10m', memory: '96Mi' }, limits: { memory: '256Mi' } },
    securityContext: {
      runAsUser: PROXY_USER,
      runAsGroup: PROXY_GROUP,
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    env: [{ name: 'XDG_STATE_HOME', value: `${RUN_DIR}/state` }],
    volumeMounts: [
      { name: RUN_VOLUME, mountPath: RUN_DIR },
      { name: CONFIG_VOLUME, mountPath: CONFIG_DIR, readOnly: true },
    ],
  };
}

function words(): string[] {
  const config = ['--config', `${CONFIG_DIR}/postern.yaml`, '--run-dir', RUN_DIR];
  return [...config, '--filter', 'dist/filter.wasm', '--workers', String(WORKERS)];
}

/** The relay's socket is the last thing that comes. */
const IS_READY = `require('node:fs').statSync('${meshFiles().relaySocket}')`;

/** Merged by its name into the one that Istio's own template has made. */
function proxy(): object {
  return { name: 'istio-proxy', volumeMounts: [{ name: RUN_VOLUME, mountPath: RUN_DIR }] };
}

function volumes(): object[] {
  const secretName = `{{ index .ObjectMeta.Annotations "${SECRET_ANNOTATION}" | default "${TEMPLATE}" }}`;
  return [
    { name: RUN_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
    { name: CONFIG_VOLUME, secret: { secretName, defaultMode: 0o444 } },
  ];
}
