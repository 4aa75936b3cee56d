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
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}
{{- end }}

{{/* NATS, and what all are told alike. */}}
{{- define "madang.env.common" -}}
- {name: RUST_LOG, value: {{ .Values.cluster.log | quote }}}
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
{{- $self := .root.Values.cluster.ipv6 | ternary "[$(POD_IP)]" "$(POD_IP)" -}}
- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: MADANG_GRPC, value: "{{ $all }}:8081"}
- {name: MADANG_ADMIN, value: "{{ $all }}:8082"}
{{- if has .service (list "gateway" "api") }}
- {name: MADANG_HTTP, value: "{{ $all }}:8080"}
{{- end }}
- {name: MADANG_ADVERTISE, value: "http://{{ $self }}:8081"}
{{- range .root.Values.notify.enabled | ternary (list "chat" "store" "group" "account" "notify") (list "chat" "store" "group" "account") }}
- {name: MADANG_{{ upper . }}_URL, value: "http://{{ include "madang.fullname" $.root }}-{{ . }}:8081"}
{{- end }}
{{- end }}
