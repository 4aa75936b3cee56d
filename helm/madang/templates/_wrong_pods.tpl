{{/* What won't do in what a service's pods are told, a line each. */}}
{{- define "madang.wrong.pods" -}}
{{- $wrong := list }}
{{- $owned := include "madang.owned" . | fromYaml }}
{{- $labels := keys (include "madang.labels" (dict "root" . "service" "chat") | fromYaml) }}
{{- $labelled := dict "monitoring.serviceMonitor" .Values.monitoring.serviceMonitor.labels "monitoring.rules" .Values.monitoring.rules.labels "monitoring.dashboards" .Values.monitoring.dashboards.labels }}
{{- range $service := splitList " " (include "madang.services" .) }}
{{- $values := index $.Values $service }}
{{- $_ := set $labelled $service $values.labels }}
{{- $names := list }}
{{- range $values.extraEnv }}
{{- if has .name $names }}
{{- $wrong = append $wrong (printf "%s.extraEnv sets %s twice: leave one out" $service .name) }}
{{- else if hasKey $owned .name }}
{{- $value := index $owned .name }}
{{- $instead := empty $value | ternary "leave it out" (printf "set %s instead" $value) }}
{{- $wrong = append $wrong (printf "%s.extraEnv sets %s, which is the chart's: %s" $service .name $instead) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- /* As many pods as there are at the least. */}}
{{- $least := $values.autoscaling.enabled | ternary (int $values.autoscaling.minReplicas) (int $values.replicas) }}
{{- with $values.disruptionBudget }}
{{- $kept := "" }}
{{- if and (hasKey . "maxUnavailable") (hasKey . "minAvailable") }}
{{- $wrong = append $wrong (printf "%s.disruptionBudget has maxUnavailable (by itself it is 1) and minAvailable: set the one that is not meant to null" $service) }}
{{- else if hasKey . "maxUnavailable" }}
{{- if eq 0 (.maxUnavailable | toString | trimSuffix "%" | int) }}{{ $kept = "maxUnavailable" }}{{ end }}
{{- else }}
{{- $part := .minAvailable | toString | trimSuffix "%" | int }}
{{- /* A share is rounded up, as Kubernetes does it. */}}
{{- $pods := hasSuffix "%" (toString .minAvailable) | ternary (div (add (mul $part $least) 99) 100) $part }}
{{- if ge (int $pods) $least }}{{ $kept = "minAvailable" }}{{ end }}
{{- end }}
{{- with $kept }}
{{- $wrong = append $wrong (printf "%s.disruptionBudget.%s lets none of %d pods go, and a node that has one could never be emptied: let one go (maxUnavailable: 1)" $service . $least) }}
{{- end }}
{{- else }}
{{- $wrong = append $wrong (printf "%s.disruptionBudget is empty: set maxUnavailable, or minAvailable" $service) }}
{{- end }}
{{- end }}
{{- range $where, $given := $labelled }}
{{- range $name, $_ := $given }}
{{- if has $name $labels }}
{{- $wrong = append $wrong (printf "%s.labels sets %s, which the chart finds its objects by: leave it out" $where $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.notify }}
{{- range .extraEnv }}
{{- if and $.Values.notify.enabled (hasPrefix "/keys/" (.value | default "")) (not $.Values.notify.existingSecret) }}
{{- $wrong = append $wrong (printf "notify.extraEnv has %s in %s, where nothing is without notify.existingSecret: make a Secret with that key, and name it" .name .value) }}
{{- end }}
{{- end }}
{{- end }}
{{- join "\n" $wrong }}
{{- end }}
