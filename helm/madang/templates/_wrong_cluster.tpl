{{/* What the values name and the cluster does not have, a line each. `helm template` asks no cluster, and of a namespace that is only
made with the release nothing can be asked: each one that is there has the ConfigMap kube-root-ca.crt. */}}
{{- define "madang.wrong.cluster" -}}
{{- $wrong := list }}
{{- if lookup "v1" "ConfigMap" .Release.Namespace "kube-root-ca.crt" }}
{{- range $item := (include "madang.named" . | fromYaml).named }}
{{- with $item }}
{{- $there := lookup "v1" .kind $.Release.Namespace .name }}
{{- if not $there }}
{{- $wrong = append $wrong (printf "the %s %q, which %s names, is not in namespace %s: make it first%s" .kind .name .from $.Release.Namespace (.or | default "")) }}
{{- else }}
{{- $keys := keys ($there.data | default dict) ($there.binaryData | default dict) }}
{{- range $key := .keys }}
{{- if not (has $key $keys) }}
{{- $wrong = append $wrong (printf "the %s %q has no key %q: add it, or name the key that it has" $there.kind $there.metadata.name $key) }}
{{- else if and (not $item.empty) (not (coalesce (index ($there.data | default dict) $key) (index ($there.binaryData | default dict) $key) | default "" | b64dec | trim)) }}
{{- $wrong = append $wrong (printf "the %s %q has nothing in its key %q: put it there" $there.kind $there.metadata.name $key) }}
{{- end }}
{{- end }}
{{- /* What the addresses are is not said: they have credentials. */}}
{{- range $port := include "madang.ports" (dict "item" . "there" $there) | splitList " " | compact }}
{{- if not (include "madang.let" (dict "root" $ "which" $item.database "port" $port)) }}
{{- $wrong = append $wrong (printf "the Secret %q, which %s names, leads to port %s, but networkPolicy lets pods out to port %d of %s alone: set networkPolicy.%s.port to %s" $item.name $item.from $port (int (index $.Values.networkPolicy $item.database).port) $item.database $item.database $port) }}
{{- end }}
{{- end }}
{{- if and (eq .kind "PersistentVolumeClaim") (not (has "ReadWriteMany" (dig "spec" "accessModes" list $there))) }}
{{- $wrong = append $wrong (printf "the PersistentVolumeClaim %q, which %s names, is not ReadWriteMany, but while account-svc is replaced two pods have it, on any nodes: name one that is (spec.accessModes)" .name .from) }}
{{- end }}
{{- if and .pulls (not (has ".dockerconfigjson" $keys)) (not (has ".dockercfg" $keys)) }}
{{- $wrong = append $wrong (printf "the Secret %q, which %s names, is none for images: make it by `kubectl create secret docker-registry`" .name .from) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $layout := lookup "v1" "ConfigMap" .Release.Namespace (printf "%s-layout" (include "madang.fullname" .)) }}
{{- if $layout }}
{{- if ne $layout.data.shards (.Values.cluster.shards | toString) }}
{{- $wrong = append $wrong (printf "cluster.shards is %v, but the data here is laid out for %s: set it to %s (docs/operations.md says how to move to another number), or, if that data is gone, delete the ConfigMap %s-layout" .Values.cluster.shards $layout.data.shards $layout.data.shards (include "madang.fullname" .)) }}
{{- end }}
{{- end }}
{{- /* A process speaks TLS or not, never both. */}}
{{- range dig "spec" "template" "spec" "containers" list (lookup "apps/v1" "Deployment" .Release.Namespace (printf "%s-api" (include "madang.fullname" .))) }}
{{- $before := false }}
{{- range .env }}{{ if eq .name "MADANG_TLS_CERT" }}{{ $before = true }}{{ end }}{{ end }}
{{- if and (ne $before $.Values.tls.enabled) (not $.Values.tls.changeDespiteOutage) }}
{{- $wrong = append $wrong (printf "tls.enabled is %v, but what runs is not so: pods of either kind can't talk to those of the other, and nobody is served while they are replaced. Set tls.changeDespiteOutage to true, this once, if that is wanted (docs/upgrades.md)" $.Values.tls.enabled) }}
{{- end }}
{{- end }}
{{- end }}
{{- join "\n" $wrong }}
{{- end }}

{{/* What must be there before the release is, as `named`: kind, name, the value that names it, and the keys that it must have. */}}
{{- define "madang.named" -}}
{{- $named := list }}
{{- $certificate := list "tls.crt" "tls.key" }}
{{- range .Values.image.pullSecrets }}
{{- $named = append $named (dict "kind" "Secret" "name" . "from" "image.pullSecrets" "pulls" true) }}
{{- end }}
{{- $authorities := list }}
{{- range list .Values.nats.ca .Values.cassandra.ca .Values.telemetry.ca .Values.test.ca }}
{{- if and . (ne . "system") }}{{ $authorities = append $authorities . }}{{ end }}
{{- end }}
{{- with .Values.authorities.existingConfigMap }}
{{- $named = append $named (dict "kind" "ConfigMap" "name" . "from" "authorities.existingConfigMap" "keys" (uniq $authorities)) }}
{{- end }}
{{- with .Values.nats }}
{{- $named = append $named (dict "kind" "Secret" "name" .existingSecret.name "from" "nats.existingSecret.name" "database" "nats" "keys" (list .existingSecret.key)) }}
{{- $named = append $named (dict "kind" "Secret" "name" .clientSecret "from" "nats.clientSecret" "keys" $certificate) }}
{{- end }}
{{- with .Values.cassandra }}
{{- with .existingSecret }}
{{- $named = append $named (dict "kind" "Secret" "name" .name "from" "cassandra.existingSecret.name" "keys" (list .userKey .passwordKey)) }}
{{- end }}
{{- $named = append $named (dict "kind" "Secret" "name" .clientSecret "from" "cassandra.clientSecret" "keys" $certificate) }}
{{- end }}
{{- range $which, $database := .Values.postgres }}
{{- if or (ne $which "notify") $.Values.notify.enabled }}
{{- with $database.existingSecret }}
{{- $named = append $named (dict "kind" "Secret" "name" .name "from" (printf "postgres.%s.existingSecret.name" $which) "database" "postgres" "keys" (list .key)) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.notify }}
{{- if .enabled }}
{{- $keys := list }}
{{- range .extraEnv }}
{{- if hasPrefix "/keys/" (.value | default "") }}{{ $keys = append $keys (trimPrefix "/keys/" .value) }}{{ end }}
{{- end }}
{{- $named = append $named (dict "kind" "Secret" "name" .existingSecret "from" "notify.existingSecret" "keys" $keys) }}
{{- end }}
{{- end }}
{{- with .Values.pictures }}
{{- $named = append $named (dict "kind" "Secret" "name" .existingSecret "from" "pictures.existingSecret") }}
{{- $named = append $named (dict "kind" "PersistentVolumeClaim" "name" .existingClaim "from" "pictures.existingClaim") }}
{{- end }}
{{- with .Values.tls }}
{{- if and .enabled .secretPrefix }}
{{- range splitList " " (include "madang.services" $) }}
{{- $named = append $named (dict "kind" "Secret" "name" (include "madang.tls.secret" (dict "root" $ "service" .)) "from" "tls.secretPrefix" "keys" (append $certificate "ca.crt")) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.ingress }}
{{- /* What makes certificates for an Ingress makes them once that is there, and is asked by its annotations. */}}
{{- $made := .tls.issuer }}
{{- range $annotation, $_ := .annotations }}
{{- if or (contains "cert" (splitList "/" $annotation | first)) (eq $annotation "kubernetes.io/tls-acme") }}{{ $made = $annotation }}{{ end }}
{{- end }}
{{- if and .enabled (not $made) }}
{{- $named = append $named (dict "kind" "Secret" "name" .tls.secretName "from" "ingress.tls.secretName" "keys" $certificate "or" ", or name who makes it in ingress.tls.issuer, or in an annotation of cert-manager's") }}
{{- end }}
{{- end }}
{{- range $service := splitList " " (include "madang.services" .) }}
{{- range (index $.Values $service).extraEnv }}
{{- $from := printf "%s.extraEnv (%s)" $service .name }}
{{- $source := .valueFrom | default dict }}
{{- range $field, $kind := dict "secretKeyRef" "Secret" "configMapKeyRef" "ConfigMap" }}
{{- with index $source $field }}
{{- if not .optional }}
{{- $named = append $named (dict "kind" $kind "name" .name "from" $from "keys" (list .key) "empty" true) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
named:
{{- range $named }}
{{- if .name }}
  - {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The ports that the addresses in a Secret lead to: `item`, of `named`, and what is `there`. Where it can't be told from a password, none. */}}
{{- define "madang.ports" -}}
{{- if .item.database }}
{{- $usual := eq .item.database "nats" | ternary "4222" "5432" }}
{{- $value := index (.there.data | default dict) (first .item.keys) | default "" | b64dec | trim }}
{{- range eq .item.database "nats" | ternary (splitList "," $value) (list $value) }}
{{- $rest := regexReplaceAll "^ *[a-z]+://" . "" }}
{{- $server := regexFind "^[^/?#]*" $rest }}
{{- if and (contains "://" .) (contains "@" $server) (not (contains "@" (trimPrefix $server $rest))) }}
{{- range splitList "," (splitList "@" $server | last) }}
{{- regexFind ":[0-9]+$" . | trimPrefix ":" | default $usual }}{{ " " }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
