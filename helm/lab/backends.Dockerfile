# NATS, Postgres and Cassandra for a test cluster, in one image; each is kept just well enough to test against. The context
# is .tools, as tests/backends/run.py fills it: wheels/bin/nats-server and cassandra/, with modules.args beside them.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends postgresql openjdk-17-jre-headless && rm -rf /var/lib/apt/lists/*
COPY wheels/bin/nats-server /usr/local/bin/
COPY cassandra /cassandra
COPY modules.args /cassandra/
RUN useradd --uid 65532 --no-create-home lab
USER 65532:65532
