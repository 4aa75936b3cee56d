{{/* What won't do in CPU and memory, a line each. */}}
{{- define "madang.wrong.resources" -}}
{{- $wrong := list }}
{{- range $service := append (splitList " " (include "madang.services" .)) "migrate" }}
{{- $resources := (index $.Values $service).resources }}
{{- range $what, $most := $resources.limits }}
{{- $least := index $resources.requests $what }}
{{- if and $least $most }}
{{- if gt (include "madang.quantity" $least | float64) (include "madang.quantity" $most | float64) }}
{{- $wrong = append $wrong (printf "%s.resources.requests.%s is %v, above its limit, %v, and Kubernetes would take no such pod: raise resources.limits.%s, or request less" $service $what $least $most $what) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- join "\n" $wrong }}
{{- end }}

{{/* A quantity of Kubernetes (500m, 2Gi, 1.5), as a number. */}}
{{- define "madang.quantity" -}}
{{- $unit := toString . | regexFind "[A-Za-z]+$" }}
{{- $factors := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 }}
{{- mulf (toString . | trimSuffix $unit | float64) (index $factors $unit) }}
{{- end }}
