{{/* What won't do in addresses and ports, a line each. */}}
{{- define "madang.wrong.network" -}}
{{- $wrong := list }}
{{- $addresses := list }}
{{- range compact (splitList "," (.Values.nats.servers | default "")) }}{{ $addresses = append $addresses (list "nats.servers" .) }}{{ end }}
{{- range .Values.cassandra.nodes }}{{ $addresses = append $addresses (list "cassandra.nodes" .) }}{{ end }}
{{- range $where, $address := dict "telemetry.otlp" .Values.telemetry.otlp "provider.jwks" .Values.provider.jwks "test.server" .Values.test.server "test.gateway" .Values.test.gateway }}
{{- if $address }}{{ $addresses = append $addresses (list $where $address) }}{{ end }}
{{- end }}
{{- range $addresses }}
{{- $port := include "madang.port" (last .) }}
{{- /* One with credentials is refused anyway, and is not said. */}}
{{- if and (not (contains "@" (last .))) (or (lt (int $port) 1) (gt (int $port) 65535)) }}
{{- $wrong = append $wrong (printf "%s has %s, and %s is no port: one of 1 to 65535 is" (first .) (last .) $port) }}
{{- end }}
{{- end }}
{{- with .Values.networkPolicy }}
{{- range $service, $rules := .extraEgress }}
{{- range $rules }}
{{- range .ports }}
{{- $end := int (.endPort | default .port) }}
{{- if lt $end (int .port) }}
{{- $wrong = append $wrong (printf "networkPolicy.extraEgress.%s has an endPort, %d, below its port, %d: what is let out is from port to endPort" $service $end (int .port)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $which := .enabled | ternary (list "nats" "cassandra") list }}
{{- $let := int (index $.Values.networkPolicy $which).port }}
{{- range $addresses }}
{{- $port := int (include "madang.port" (last .)) }}
{{- $out := include "madang.let" (dict "root" $ "which" $which "port" $port) }}
{{- if and (hasPrefix $which (first .)) (not $out) (not (contains "@" (last .))) }}
{{- $wrong = append $wrong (printf "%s has %s, but networkPolicy lets pods out to port %d of it alone: set networkPolicy.%s.port to %d" (first .) (last .) $let $which $port) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $taken := dict }}
{{- range $service := list "gateway" "api" }}
{{- with (index $.Values $service).service }}
{{- if .nodePort }}
{{- $port := toString (int .nodePort) }}
{{- if eq .type "ClusterIP" }}
{{- $wrong = append $wrong (printf "%s.service.nodePort is set, but a Service of type ClusterIP has none: set it to 0, or the type to NodePort" $service) }}
{{- end }}
{{- if hasKey $taken $port }}
{{- $wrong = append $wrong (printf "%s.service.nodePort and %s.service.nodePort are both %s: each door has its own" (index $taken $port) $service $port) }}
{{- end }}
{{- $_ := set $taken $port $service }}
{{- end }}
{{- end }}
{{- end }}
{{- join "\n" $wrong }}
{{- end }}

{{/* Whether networkPolicy lets pods out to a `port` of `which` dependency, be it by what else it lets out; empty: it does not. */}}
{{- define "madang.let" -}}
{{- $port := int .port }}
{{- $which := .which }}
{{- with .root.Values.networkPolicy }}
{{- $let := or (not .enabled) (eq $port (int (index . $which).port)) }}
{{- range $service, $rules := .extraEgress }}
{{- range $rules }}
{{- if not .ports }}{{ $let = true }}{{ end }}
{{- range .ports }}
{{- if and (ge $port (int .port)) (le $port (int (.endPort | default .port))) }}{{ $let = true }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- if $let }}yes{{ end }}
{{- end }}
{{- end }}

{{/* The port of an address: HOST:PORT, or a URL, which may leave it to its scheme. */}}
{{- define "madang.port" -}}
{{- $scheme := hasPrefix "https://" . | ternary "443" (hasPrefix "http://" . | ternary "80" "") }}
{{- regexReplaceAll "^[a-z]+://" . "" | regexFind "^[^/?#]*" | regexFind ":[0-9]+$" | trimPrefix ":" | default $scheme }}
{{- end }}
