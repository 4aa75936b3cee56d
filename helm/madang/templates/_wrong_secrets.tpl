{{/* What is secret and would be plain text, in pods and in the release, a line each; none says what it is. The schema, which would, lets
addresses with an @ pass. */}}
{{- define "madang.wrong.secrets" -}}
{{- $wrong := list }}
{{- $seen := "which everybody sees who may read pods" }}
{{- if contains "@" (.Values.nats.servers | default "") }}
{{- $wrong = append $wrong (printf "nats.servers has credentials, %s: leave it empty, put it into a Secret, and name that in nats.existingSecret" $seen) }}
{{- end }}
{{- if contains "@" (join "," (.Values.cassandra.nodes | default list)) }}
{{- $wrong = append $wrong (printf "cassandra.nodes has credentials, %s: say HOST:PORT alone, and name a Secret in cassandra.existingSecret" $seen) }}
{{- end }}
{{- if contains "@" (.Values.telemetry.otlp | default "") }}
{{- $wrong = append $wrong (printf "telemetry.otlp has credentials, %s: leave them out, and give each service OTEL_EXPORTER_OTLP_HEADERS in extraEnv, by valueFrom" $seen) }}
{{- end }}
{{- range $where, $address := dict "provider.jwks" .Values.provider.jwks "test.server" .Values.test.server "test.gateway" .Values.test.gateway }}
{{- if contains "@" (default "" $address) }}
{{- $wrong = append $wrong (printf "%s has credentials, %s: leave them out, nothing is asked for there with any" $where $seen) }}
{{- end }}
{{- end }}
{{- range $service := splitList " " (include "madang.services" .) }}
{{- range (index $.Values $service).extraEnv }}
{{- $value := .value | default "" }}
{{- $named := regexMatch "(?i)(SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE|TOKENS?|CREDENTIALS?|APIKEY)$|(^|_)(KEYS?|PASS|PWD|DSN|HEADERS)$" .name }}
{{- /* A public key is none, nor a file that is mounted, nor what is made of another variable. */}}
{{- $harmless := or (regexMatch "(?i)PUBLIC_?KEYS?$" .name) (regexMatch "^/(keys|tls|nats|cassandra|authorities)/" $value) (contains "$(" $value) }}
{{- if and $value (not $harmless) (or $named (regexMatch "://[^/@ ]*:[^/@ ]+@" $value)) }}
{{- $wrong = append $wrong (printf "%s.extraEnv has the secret %s as plain text, %s: put it into a Secret, and say valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}" $service .name $seen) }}
{{- end }}
{{- end }}
{{- end }}
{{- join "\n" $wrong }}
{{- end }}
