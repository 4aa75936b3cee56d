{{/* What won't do in what a service's pods are told, a line each. */}}
{{- define "madang.wrong.pods" -}}
{{- $wrong := list }}
{{- $owned := include "madang.owned" . | fromYaml }}
{{- $labels := keys (include "madang.labels" (dict "root" . "service" "chat") | fromYaml) }}
{{- $labelled := dict "monitoring.serviceMonitor" .Values.monitoring.serviceMonitor.labels "monitoring.rules" .Values.monitoring.rules.labels "monitoring.dashboards" .Values.monitoring.dashboards.labels "migrate" .Values.migrate.labels "test" .Values.test.labels }}
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
{{- else }}
{{- $which := hasKey . "maxUnavailable" | ternary "maxUnavailable" "minAvailable" }}
{{- $said := index . $which | toString }}
{{- $part := trimSuffix "%" $said | int }}
{{- /* A share is rounded up, as Kubernetes does it. */}}
{{- $pods := hasSuffix "%" $said | ternary (div (add (mul $part $least) 99) 100) $part | int }}
{{- $go := eq $which "maxUnavailable" | ternary $pods (sub $least $pods) | int }}
{{- if le $go 0 }}{{ $kept = $which }}{{ end }}
{{- /* One pod alone is all of them, and must be let go. */}}
{{- if or (and (gt $least 1) (ge $go $least)) (and (eq $which "maxUnavailable") (eq $said "100%")) }}
{{- $wrong = append $wrong (printf "%s.disruptionBudget.%s is %s, and all of %d pods might go at once: let fewer go (maxUnavailable: 1)" $service $which $said $least) }}
{{- end }}
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
