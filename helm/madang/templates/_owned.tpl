{{/* The variables that are the chart's, and which value sets each; empty: it follows from others. extraEnv may say none of them: a
name that is there twice is the first or the second, as Kubernetes merges it. helm/check compares this with what is rendered. */}}
{{- define "madang.owned" -}}
RUST_LOG: cluster.log (of one service, too, such as info,madang_chat=debug)
MADANG_LOGS: cluster.logs
MADANG_SHARDS: cluster.shards
MADANG_DRAIN_WINDOW: cluster.drainWindowSeconds
MADANG_LOG_BYTES: cluster.logBytes
MADANG_WAIT: migrate.waitSeconds
MADANG_OTLP: telemetry.otlp
MADANG_OTLP_CA: telemetry.ca
MADANG_TRACE_RATIO: telemetry.traceRatio
MADANG_TRACE_SLOW_MS: telemetry.traceSlowMs
MADANG_NATS: nats.servers, or nats.existingSecret
MADANG_NATS_CA: nats.ca
MADANG_NATS_CERT: nats.clientSecret
MADANG_NATS_KEY: nats.clientSecret
MADANG_NATS_REPLICAS: nats.replicas
MADANG_NATS_TAGS: nats.tags
MADANG_CASSANDRA: cassandra.nodes
MADANG_CASSANDRA_DATACENTER: cassandra.datacenter
MADANG_CASSANDRA_KEYSPACE: cassandra.keyspace
MADANG_CASSANDRA_REPLICAS: cassandra.replicas
MADANG_CASSANDRA_CA: cassandra.ca
MADANG_CASSANDRA_NAME: cassandra.certificateName
MADANG_CASSANDRA_CERT: cassandra.clientSecret
MADANG_CASSANDRA_KEY: cassandra.clientSecret
MADANG_CASSANDRA_USER: cassandra.existingSecret
MADANG_CASSANDRA_PASSWORD: cassandra.existingSecret
MADANG_GROUP_POSTGRES: postgres.group.existingSecret
MADANG_ACCOUNT_POSTGRES: postgres.account.existingSecret
MADANG_NOTIFY_POSTGRES: postgres.notify.existingSecret
MADANG_ISSUER: provider.issuer
MADANG_JWKS: provider.jwks
MADANG_PICTURES: pictures.bucket, or pictures.existingClaim
MADANG_PUSH_CONTACT: notify.contact
{{- range list "POD_IP" "MADANG_GRPC" "MADANG_ADMIN" "MADANG_HTTP" "MADANG_ADVERTISE" "MADANG_CHAT_URL" "MADANG_STORE_URL" "MADANG_GROUP_URL" "MADANG_ACCOUNT_URL" "MADANG_NOTIFY_URL" }}
{{ . }}: ""
{{- end }}
{{- range list "MADANG_TLS_CERT" "MADANG_TLS_KEY" "MADANG_TLS_CA" }}
{{ . }}: tls.issuer, or tls.secretPrefix
{{- end }}
{{- range list "token-issuer" "max-message-bytes" "max-members" "max-conversations" "max-devices" "page-size" "max-page-size" "room-bytes" "tail-bytes" "lag-bytes" "inbox-bytes" "max-frame-bytes" "max-in-flight" "queue-frames" "queue-bytes" "send-rate" "send-burst" "login-rate" "login-burst" "sockets-per-address" "arrivals-per-address" "connect-rate" "trusted-proxies" "allowed-origins" "grants" }}
MADANG_{{ . | upper | replace "-" "_" }}: cluster.settings.{{ . }}
{{- end }}
{{- end }}
