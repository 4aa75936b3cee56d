{{/* What won't do in CPU and memory, a line each. */}}
{{- define "madang.wrong.resources" -}}
{{- $wrong := list }}
{{- range $service := append (splitList " " (include "madang.services" .)) "migrate" }}
{{- $resources := (index $.Values $service).resources }}
{{- range $which := list "requests" "limits" }}
{{- range $what, $much := index $resources $which }}
{{- if and (not (kindIs "invalid" $much)) (le (include "madang.quantity" $much | float64) 0.0) }}
{{- $wrong = append $wrong (printf "%s.resources.%s.%s is %v: say how much" $service $which $what $much) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $what, $most := $resources.limits }}
{{- $least := index $resources.requests $what }}
{{- if and $least $most }}
{{- if gt (include "madang.quantity" $least | float64) (include "madang.quantity" $most | float64) }}
{{- $wrong = append $wrong (printf "%s.resources.requests.%s is %v, above its limit, %v, and Kubernetes would take no such pod: raise resources.limits.%s, or request less" $service $what $least $most $what) }}
{{- end }}
{{- end }}
{{- end }}
{{- with (index $.Values $service).autoscaling }}
{{- /* A share of what is requested, and no pod takes more than its limit. */}}
{{- $asked := include "madang.quantity" $resources.requests.cpu | float64 }}
{{- if and .enabled $resources.limits.cpu (gt $asked 0.0) }}
{{- $most := divf (mulf 100 (include "madang.quantity" $resources.limits.cpu)) $asked }}
{{- if gt (float64 .cpu) $most }}
{{- $wrong = append $wrong (printf "%s.autoscaling.cpu is %d %% of what is requested, but the limit is %d %% of it, and more pods would never come: set it below" $service (int .cpu) (int $most)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- /* What a chat-svc keeps, and what it needs besides: the queues of its gateways, batches, what is handed over. */}}
{{- $kept := dict "room-bytes" 268435456 "tail-bytes" 536870912 }}
{{- range $name, $bytes := $kept }}
{{- $_ := set $kept $name (index ($.Values.cluster.settings | default dict) $name | default $bytes | toString | float64) }}
{{- end }}
{{- $needed := addf (index $kept "room-bytes") (index $kept "tail-bytes") 1073741824.0 }}
{{- $most := .Values.chat.resources.limits.memory }}
{{- if gt $needed (include "madang.quantity" $most | float64) }}
{{- $wrong = append $wrong (printf "chat.resources.limits.memory is %v, but room-bytes, tail-bytes and 1 GiB for all else are %.0f MiB, and its pods would be killed once these are full: raise it, or lower cluster.settings.room-bytes or tail-bytes" $most (divf $needed 1048576)) }}
{{- end }}
{{- /* What its readers may be behind, of a log that would else be full first. */}}
{{- $lag := index (.Values.cluster.settings | default dict) "lag-bytes" | default 268435456 | toString | float64 }}
{{- if gt (mulf 2 $lag) (.Values.cluster.logBytes | toString | float64) }}
{{- $wrong = append $wrong (printf "cluster.logBytes is %d, below twice cluster.settings.lag-bytes (%.0f): raise it (and edit the logs that are there: nats stream edit NAME --max-bytes), or lower lag-bytes" (int64 .Values.cluster.logBytes) $lag) }}
{{- end }}
{{- join "\n" $wrong }}
{{- end }}

{{/* A quantity of Kubernetes (500m, 2Gi, 1.5), as a number. */}}
{{- define "madang.quantity" -}}
{{- $unit := toString . | regexFind "[A-Za-z]+$" }}
{{- $factors := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 }}
{{- mulf (toString . | trimSuffix $unit | float64) (index $factors $unit) }}
{{- end }}
