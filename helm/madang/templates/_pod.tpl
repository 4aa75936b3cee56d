{{/* What every container may do: nothing but run. */}}
{{- define "madang.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "madang.pod.security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* A variable from a Secret: `name`, `secret`, `key`. */}}
{{- define "madang.secret" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ toYaml .secret }}, key: {{ toYaml .key }}}}
{{- end }}

{{/* NATS, and what all are told alike. */}}
{{- define "madang.env.common" -}}
- {name: RUST_LOG, value: {{ .Values.cluster.log | quote }}}
- {name: MADANG_LOGS, value: {{ .Values.cluster.logs | quote }}}
{{- with .Values.telemetry }}
{{- if .otlp }}
- {name: MADANG_OTLP, value: {{ .otlp | quote }}}
{{- with .ca }}
- {name: MADANG_OTLP_CA, value: /authorities/{{ . }}}
{{- end }}
- {name: MADANG_TRACE_RATIO, value: {{ .traceRatio | quote }}}
- {name: MADANG_TRACE_SLOW_MS, value: {{ .traceSlowMs | int64 | quote }}}
{{- end }}
{{- end }}
- {name: MADANG_SHARDS, value: {{ .Values.cluster.shards | quote }}}
- {name: MADANG_DRAIN_WINDOW, value: {{ .Values.cluster.drainWindowSeconds | quote }}}
- {name: MADANG_LOG_BYTES, value: {{ .Values.cluster.logBytes | int64 | quote }}}
{{- range $name, $value := .Values.cluster.settings }}
{{- $value = kindIs "slice" $value | ternary (join "," $value) (kindIs "float64" $value | ternary ($value | toString | float64 | int64) $value) }}
- {name: MADANG_{{ $name | upper | replace "-" "_" }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- with .Values.nats }}
{{- if .existingSecret.name }}
{{ include "madang.secret" (dict "name" "MADANG_NATS" "secret" .existingSecret.name "key" .existingSecret.key) }}
{{- else }}
- {name: MADANG_NATS, value: {{ .servers | quote }}}
{{- end }}
{{- with .ca }}
- {name: MADANG_NATS_CA, value: /authorities/{{ . }}}
{{- end }}
{{- if .clientSecret }}
- {name: MADANG_NATS_CERT, value: /nats/tls.crt}
- {name: MADANG_NATS_KEY, value: /nats/tls.key}
{{- end }}
- {name: MADANG_NATS_REPLICAS, value: {{ .replicas | quote }}}
{{- with .tags }}
- {name: MADANG_NATS_TAGS, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "madang.env.cassandra" -}}
{{- with .Values.cassandra }}
- {name: MADANG_CASSANDRA, value: {{ join "," .nodes | quote }}}
- {name: MADANG_CASSANDRA_DATACENTER, value: {{ .datacenter | quote }}}
- {name: MADANG_CASSANDRA_KEYSPACE, value: {{ .keyspace | quote }}}
- {name: MADANG_CASSANDRA_REPLICAS, value: {{ .replicas | quote }}}
{{- with .ca }}
- {name: MADANG_CASSANDRA_CA, value: {{ eq . "system" | ternary "system" (printf "/authorities/%s" .) }}}
{{- end }}
{{- with .certificateName }}
- {name: MADANG_CASSANDRA_NAME, value: {{ . | quote }}}
{{- end }}
{{- if .clientSecret }}
- {name: MADANG_CASSANDRA_CERT, value: /cassandra/tls.crt}
- {name: MADANG_CASSANDRA_KEY, value: /cassandra/tls.key}
{{- end }}
{{- with .existingSecret }}
{{- if .name }}
{{ include "madang.secret" (dict "name" "MADANG_CASSANDRA_USER" "secret" .name "key" .userKey) }}
{{ include "madang.secret" (dict "name" "MADANG_CASSANDRA_PASSWORD" "secret" .name "key" .passwordKey) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "madang.env.group" -}}
{{- with .Values.postgres.group.existingSecret }}
{{- include "madang.secret" (dict "name" "MADANG_GROUP_POSTGRES" "secret" .name "key" .key) }}
{{- end }}
{{- end }}

{{- define "madang.env.account" -}}
{{- with .Values.postgres.account.existingSecret }}
{{- include "madang.secret" (dict "name" "MADANG_ACCOUNT_POSTGRES" "secret" .name "key" .key) }}
{{- end }}
{{- with .Values.provider }}
{{- if .issuer }}
- {name: MADANG_ISSUER, value: {{ .issuer | quote }}}
- {name: MADANG_JWKS, value: {{ .jwks | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "madang.env.notify" -}}
{{- with .Values.postgres.notify.existingSecret }}
{{- include "madang.secret" (dict "name" "MADANG_NOTIFY_POSTGRES" "secret" .name "key" .key) }}
{{- end }}
{{- with .Values.notify.contact }}
- {name: MADANG_PUSH_CONTACT, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{/* Where a process listens, where it is reached, and where the others are. */}}
{{- define "madang.env.addresses" -}}
{{- $all := .root.Values.cluster.ipv6 | ternary "[::]" "0.0.0.0" }}
{{- $scheme := .root.Values.tls.enabled | ternary "https" "http" }}
{{- $self := .root.Values.cluster.ipv6 | ternary "[$(POD_IP)]" "$(POD_IP)" -}}
- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: MADANG_GRPC, value: "{{ $all }}:8081"}
- {name: MADANG_ADMIN, value: "{{ $all }}:8082"}
{{- if has .service (list "gateway" "api") }}
- {name: MADANG_HTTP, value: "{{ $all }}:8080"}
{{- end }}
- {name: MADANG_ADVERTISE, value: "{{ $scheme }}://{{ $self }}:8081"}
{{- /* Notify even where it is off: its default is no https://, and then no service with certificates would start. */}}
{{- range list "chat" "store" "group" "account" "notify" }}
- {name: MADANG_{{ upper . }}_URL, value: "{{ $scheme }}://{{ include "madang.fullname" $.root }}-{{ . }}-pods:8081"}
{{- end }}
{{- if .root.Values.tls.enabled }}
- {name: MADANG_TLS_CERT, value: /tls/tls.crt}
- {name: MADANG_TLS_KEY, value: /tls/tls.key}
- {name: MADANG_TLS_CA, value: /tls/ca.crt}
{{- end }}
{{- end }}

{{/* The Secret with a service's certificate. */}}
{{- define "madang.tls.secret" -}}
{{- .root.Values.tls.secretPrefix | default (printf "%s-tls" (include "madang.fullname" .root)) }}-{{ .service }}
{{- end }}

{{/* What a service's pods have besides their image, as `volumes`: name, path, writable, and the volume itself. */}}
{{- define "madang.volumes" -}}
volumes:
{{- if and .root.Values.tls.enabled (ne .service "migrate") }}
  - {name: tls, path: /tls, volume: {secret: {secretName: {{ include "madang.tls.secret" . | toYaml }}, defaultMode: 0440}}}
{{- end }}
{{- with .root.Values.authorities.existingConfigMap }}
  - {name: authorities, path: /authorities, volume: {configMap: {name: {{ toYaml . }}}}}
{{- end }}
{{- with .root.Values.nats.clientSecret }}
  - {name: nats, path: /nats, volume: {secret: {secretName: {{ toYaml . }}, defaultMode: 0440}}}
{{- end }}
{{- with .root.Values.cassandra.clientSecret }}
{{- if has $.service (list "store" "migrate") }}
  - {name: cassandra, path: /cassandra, volume: {secret: {secretName: {{ toYaml . }}, defaultMode: 0440}}}
{{- end }}
{{- end }}
{{- with .root.Values.pictures.existingClaim }}
{{- if eq $.service "account" }}
  - {name: pictures, path: /pictures, writable: true, volume: {persistentVolumeClaim: {claimName: {{ toYaml . }}}}}
{{- end }}
{{- end }}
{{- with .root.Values.notify.existingSecret }}
{{- if eq $.service "notify" }}
  - {name: keys, path: /keys, volume: {secret: {secretName: {{ toYaml . }}}}}
{{- end }}
{{- end }}
{{- end }}

{{/* Where pods may be, as `values` say, and would rather be (`affinity`). */}}
{{- define "madang.placed" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ toYaml . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where a service's pods would rather be: as its values say, and in other zones than each other. Zones are a wish of this kind: where
nodes say no zone, a constraint on zones would void the one on nodes. */}}
{{- define "madang.affinity" -}}
{{- $affinity := deepCopy ((index .root.Values .service).affinity | default dict) }}
{{- $spread := .root.Values.topologySpread }}
{{- if and $spread.enabled (ne $spread.whenUnsatisfiable "DoNotSchedule") }}
{{- $selector := include "madang.selector" . | fromYaml }}
{{- $zones := dict "weight" 100 "podAffinityTerm" (dict "topologyKey" "topology.kubernetes.io/zone" "labelSelector" (dict "matchLabels" $selector)) }}
{{- $apart := $affinity.podAntiAffinity | default dict }}
{{- $wishes := append ($apart.preferredDuringSchedulingIgnoredDuringExecution | default list) $zones }}
{{- $_ := set $affinity "podAntiAffinity" (set $apart "preferredDuringSchedulingIgnoredDuringExecution" $wishes) }}
{{- end }}
{{- with $affinity }}
{{- toYaml . }}
{{- end }}
{{- end }}
