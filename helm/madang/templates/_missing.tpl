{{/* Values that have a default and are not there, with a comma between them: Helm drops what is set to null, and --reuse-values takes the
values of an older chart, which had not all of them. */}}
{{- define "madang.missing" -}}
{{- $missing := list }}
{{- range $block, $needed := include "madang.needed" . | fromYaml }}
{{- $there := $.Values }}
{{- range splitList "." $block }}
{{- if kindIs "map" $there }}{{ $there = index $there . }}{{ end }}
{{- end }}
{{- if has (splitList "." $block | first) $missing }}
{{- else if not (kindIs "map" $there) }}
{{- $missing = append $missing $block }}
{{- else }}
{{- range splitList " " (default "" $needed) | compact }}
{{- if kindIs "invalid" (index $there .) }}{{ $missing = append $missing (printf "%s.%s" $block .) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- join ", " $missing }}
{{- end }}

{{/* The blocks of the values, and what each must say; what is not named is empty by itself, and may be null. helm/check compares
this with values.yaml. */}}
{{- define "madang.needed" -}}
image: repository pullPolicy
cluster: shards drainWindowSeconds preStopSeconds logBytes ipv6 log logs
tls: enabled changeDespiteOutage issuerKind duration renewBefore
authorities:
nats: replicas
nats.existingSecret: key
cassandra: datacenter keyspace replicas
cassandra.existingSecret: userKey passwordKey
postgres.group.existingSecret: key
postgres.account.existingSecret: key
postgres.notify.existingSecret: key
provider:
pictures:
migrate: enabled waitSeconds workSeconds adopt resources
{{- range list "chat" "gateway" "api" "store" "group" "account" "notify" }}
{{ . }}: replicas resources disruptionBudget{{ if eq . "notify" }} enabled{{ end }}
{{ . }}.autoscaling: enabled minReplicas maxReplicas cpu
{{- end }}
gateway.service: type
api.service: type
autoscaling: behavior
topologySpread: enabled whenUnsatisfiable
ingress: enabled controller
ingress.tls: issuerKind
networkPolicy: enabled
networkPolicy.nats: port
networkPolicy.cassandra: port
networkPolicy.postgres: port
telemetry: traceRatio traceSlowMs
monitoring.serviceMonitor: enabled interval
monitoring.rules: enabled
monitoring.dashboards: enabled
test: seconds
serviceAccount:
{{- end }}
