{{/* Names and labels. */}}
{{- define "madang.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "madang.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "madang.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "madang.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What selects pods of the release: `root`, and `service` for one of its services. Never changed: selectors can't be. */}}
{{- define "madang.selector" -}}
app.kubernetes.io/name: {{ include "madang.name" .root | toYaml }}
app.kubernetes.io/instance: {{ toYaml .root.Release.Name }}
{{- with .service }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "madang.labels" -}}
{{ include "madang.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: madang
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "madang.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* The services that are on, as words. */}}
{{- define "madang.services" -}}
account group store chat gateway api{{ if .Values.notify.enabled }} notify{{ end }}
{{- end }}

{{/* Where the test finds the doors: the server for both, or nothing where it goes to the Services. It speaks http:// alone, so
through an Ingress with TLS it goes only where it is told to. */}}
{{- define "madang.test.server" -}}
{{- $ingress := .Values.ingress }}
{{- if .Values.test.server }}
{{- .Values.test.server }}
{{- else if $ingress.enabled }}
{{- printf (empty $ingress.tls.secretName | ternary "http://%s:80" "https://%s:443") $ingress.host }}
{{- end }}
{{- end }}
