{{/* Names begin with the release's: `postern` for a release of that name. */}}
{{- define "postern.name" -}}
{{- $name := ternary .Release.Name (printf "%s-postern" .Release.Name) (contains "postern" .Release.Name) }}
{{- $name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Called with a list: the root context and the component. */}}
{{- define "postern.selector" -}}
app.kubernetes.io/name: postern
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "postern.labels" -}}
{{ include "postern.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{/* Called with a list: the root context and the image's name. */}}
{{- define "postern.image" -}}
{{- $root := index . 0 }}
{{- with $root.Values.deployment.image -}}
image: {{ printf "%s/%s/%s:%s" .registry .repository (index $ 1) (.tag | default $root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .pullPolicy }}
{{- end }}
{{- end }}

{{/* The user is the images' own; files of the pod's volumes belong to its group. */}}
{{- define "postern.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "postern.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* What all pods of the release have. */}}
{{- define "postern.pod" -}}
{{ include "postern.podSecurity" . }}
{{- if gt (int .Values.deployment.priority.value) 0 }}
priorityClassName: {{ include "postern.name" . }}
{{- end }}
{{- with .Values.deployment.image.pullSecret }}
imagePullSecrets: [{ name: {{ . | quote }} }]
{{- end }}
{{- with .Values.deployment.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.deployment.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "postern.managedNamespaces" -}}
{{- if eq .Values.config.managedNamespacesMode "all" }}all{{ else }}connectivity.postern.dev/namespace={{ .Release.Namespace }}{{ end -}}
{{- end }}

{{/* The instances of the Destination service, the default one first. */}}
{{- define "postern.instances" -}}
{{- $default := .Values.config.integration.destinationService.defaultInstanceName }}
{{- $first := list }}
{{- $others := list }}
{{- range .Values.config.integration.destinationService.instances }}
{{- if eq .name $default }}{{ $first = append $first . }}{{ else }}{{ $others = append $others . }}{{ end }}
{{- end }}
{{- if and $default (not $first) }}
{{- fail (printf "config.integration.destinationService.defaultInstanceName is %s, which is none of the instances" $default) }}
{{- end }}
{{- concat $first $others | toJson }}
{{- end }}

{{/* As JSON, which is YAML. */}}
{{- define "postern.base" -}}
{{- $base := dict "log" (dict "level" .Values.config.logging.level) }}
{{- $services := list }}
{{- range include "postern.instances" . | fromJsonArray }}
{{- $services = append $services (dict "name" .name "binding" (printf "/etc/postern/bindings/%s" .name)) }}
{{- end }}
{{- if $services }}{{ $_ := set $base "destinations" (dict "services" $services) }}{{ end }}
{{- with .Values.config.integration.connectivityProxy }}
{{- if .serviceName }}
{{- $token := ternary (dict "binding" "/etc/postern/connectivity") "none" (ne .credentials.secretName "") }}
{{- $_ := set $base "connectivity" (dict "host" .serviceName "port" .tcp.port "token" $token) }}
{{- end }}
{{- end }}
{{- if .Values.additionalCAs.secretName }}
{{- $_ := set $base "tls" (dict "additionalCAs" (list "/etc/postern/additional-cas/ca.pem")) }}
{{- end }}
{{- with .Values.grants.secretName }}
{{- $_ := set $base "grants" (dict "secret" (dict "namespace" $.Release.Namespace "name" .)) }}
{{- end }}
{{- $base | toPrettyJson }}
{{- end }}

{{/* What the base configuration names: volumes, and their places in a container. */}}
{{- define "postern.baseVolumes" -}}
- { name: base, configMap: { name: {{ include "postern.name" . }}-base } }
{{- range include "postern.instances" . | fromJsonArray }}
- name: {{ printf "binding-%s" .name | lower | replace "_" "-" | replace "." "-" | trunc 63 | trimSuffix "-" }}
  secret:
    secretName: {{ .serviceCredentials.secretName }}
    {{- with .serviceCredentials.secretKey }}
    items: [{ key: {{ . }}, path: binding.json }]
    {{- end }}
{{- end }}
{{- with .Values.config.integration.connectivityProxy.credentials.secretName }}
- { name: connectivity, secret: { secretName: {{ . }} } }
{{- end }}
{{- with .Values.additionalCAs }}
{{- if .secretName }}
- { name: additional-cas, secret: { secretName: {{ .secretName }}, items: [{ key: {{ .secretKey }}, path: ca.pem }] } }
{{- end }}
{{- end }}
{{- end }}

{{- define "postern.baseMounts" -}}
- { name: base, mountPath: /etc/postern/base, readOnly: true }
{{- range include "postern.instances" . | fromJsonArray }}
- name: {{ printf "binding-%s" .name | lower | replace "_" "-" | replace "." "-" | trunc 63 | trimSuffix "-" }}
  mountPath: /etc/postern/bindings/{{ .name }}
  readOnly: true
{{- end }}
{{- if .Values.config.integration.connectivityProxy.credentials.secretName }}
- { name: connectivity, mountPath: /etc/postern/connectivity, readOnly: true }
{{- end }}
{{- if .Values.additionalCAs.secretName }}
- { name: additional-cas, mountPath: /etc/postern/additional-cas, readOnly: true }
{{- end }}
{{- end }}

{{/* Constraints without a labelSelector get the gateway's pods'. */}}
{{- define "postern.spread" -}}
{{- $nodes := dict "topologyKey" "kubernetes.io/hostname" "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" }}
{{- $zones := dict "topologyKey" "topology.kubernetes.io/zone" "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" }}
{{- $labels := dict "labelSelector" (dict "matchLabels" (include "postern.selector" (list . "gateway") | fromYaml)) }}
{{- range .Values.deployment.topologySpreadConstraints | default (list $nodes $zones) }}
- {{ merge (dict) . $labels | toJson }}
{{- end }}
{{- end }}

{{- define "postern.gatewaySelector" -}}
app.kubernetes.io/name=postern,app.kubernetes.io/instance={{ .Release.Name }},app.kubernetes.io/component=gateway
{{- end }}

{{/* Described in sidecar-auth/kubernetes/operator/options.ts. */}}
{{- define "postern.operatorArgs" -}}
- dist/sidecar-auth/kubernetes/operator/main.js
- --gateway-namespace={{ .Release.Namespace }}
- --gateway-selector={{ include "postern.gatewaySelector" . }}
- --managed-namespaces={{ include "postern.managedNamespaces" . }}
- --default-scope={{ .Values.config.security.accessControl.destinations.defaultScope }}
- --cluster-domain={{ .Values.clusterDomain }}
- --ports={{ .Values.ports.first }}-{{ .Values.ports.last }}
- --config=/etc/postern/base/postern.yaml
- --lease={{ include "postern.name" . }}-operator
- --observe=:{{ .Values.ports.observe }}
{{- if eq .Values.mode "istio" }}
- --istio
{{- end }}
{{- end }}

{{/* Described in sidecar-auth/kubernetes/gateway/main.ts. */}}
{{- define "postern.gatewayArgs" -}}
- dist/sidecar-auth/kubernetes/gateway/main.js
- --folder=/var/lib/postern/gateway
- --run-dir=/run/postern/gateway
- --filter=/opt/postern/filter.wasm
- --workers={{ .Values.deployment.concurrency }}
- --gateway-namespace={{ .Release.Namespace }}
- --managed-namespaces={{ include "postern.managedNamespaces" . }}
- --config=/etc/postern/base/postern.yaml
- --observe=[$(POD_IP)]:{{ .Values.ports.observe }}
{{- end }}

{{/* Sessions of a listener that was deleted or moved live on for a day. */}}
{{- define "postern.envoyArgs" -}}
- --config-path
- /run/postern/gateway/envoy.json
- --concurrency
- {{ .Values.deployment.concurrency | quote }}
- --disable-hot-restart
- --log-level
- warning
- --drain-time-s
- '86400'
- --parent-shutdown-time-s
- '86460'
{{- end }}

{{/* Who reaches a pod by the chart's own NetworkPolicy. */}}
{{- define "postern.scrape" -}}
{{- if .Values.config.metrics.prometheus.enabled }}
ingress:
  - ports: [{ port: {{ .Values.ports.observe }}, protocol: TCP }]
    from:
      - namespaceSelector:
          matchLabels: {{- toYaml .Values.config.metrics.prometheus.namespaceLabels | nindent 12 }}
        # All but the pod of `helm test`, which shows by this port whether NetworkPolicies are heeded.
        podSelector:
          matchExpressions:
            - { key: app.kubernetes.io/component, operator: NotIn, values: [network-check] }
{{- else }}
ingress: []
{{- end }}
{{- end }}
