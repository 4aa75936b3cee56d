"""The Grafana dashboards of the chart: what is in them, once; helm/check writes helm/madang/dashboards/*.json from it."""

import json

RATE = "[$__rate_interval]"


def q(metric, by, of=0.99):
    """A quantile of a histogram, by some labels."""
    labels = ", ".join(["le", *by])
    return f"histogram_quantile({of}, sum by ({labels}) (rate({metric}{RATE})))"


def panel(title, queries, unit="short", kind="timeseries", says=""):
    """Queries: (PromQL, legend). NS in it stands for the namespace."""
    return {"title": title, "queries": queries, "unit": unit, "kind": kind, "says": says}


NS = 'namespace=~"$namespace"'

MESSAGES = [
    ("Objectives (docs/slo.md)", [
        panel("Acks within 250 ms", [(f'sum(rate(madang_gateway_answer_seconds_bucket{{{NS}, what="send", le="0.25"}}[1h])) / sum(rate(madang_gateway_answer_seconds_count{{{NS}, what="send"}}[1h]))', "1 h")], "percentunit", "stat", "At least 99 %."),
        panel("Deliveries within 500 ms", [(f'sum(rate(madang_gateway_delivery_seconds_bucket{{{NS}, le="0.5"}}[1h])) / sum(rate(madang_gateway_delivery_seconds_count{{{NS}}}[1h]))', "1 h")], "percentunit", "stat", "At least 99 %."),
        panel("Furthest behind", [(f"max(madang_subscription_lag_seconds{{{NS}}})", "lag")], "s", "stat", "Below 15 s."),
        panel("Shards without a home", [(f"max(madang_chat_shards{{{NS}}}) - sum(madang_chat_homes{{{NS}}})", "shards")], "short", "stat", "None."),
    ]),
    ("Messages", [
        panel("Asked a second", [(f"sum by (what) (rate(madang_gateway_answer_seconds_count{{{NS}}}{RATE}))", "{{what}}")], "reqps"),
        panel("Until the ack", [(q(f'madang_gateway_answer_seconds_bucket{{{NS}, what="send"}}', [], 0.5), "p50"), (q(f'madang_gateway_answer_seconds_bucket{{{NS}, what="send"}}', []), "p99")], "s"),
        panel("Until it is written to sockets", [(q(f"madang_gateway_delivery_seconds_bucket{{{NS}}}", [], 0.5), "p50"), (q(f"madang_gateway_delivery_seconds_bucket{{{NS}}}", []), "p99")], "s"),
    ]),
    ("Log", [
        panel("An append", [(q(f"madang_chat_append_seconds_bucket{{{NS}}}", [], 0.5), "p50"), (q(f"madang_chat_append_seconds_bucket{{{NS}}}", []), "p99")], "s"),
        panel("Tries to append that failed", [(f"sum by (shard) (rate(madang_chat_appends_failed_total{{{NS}}}{RATE}))", "{{shard}}")], "ops", says="None. What does not end has no time above."),
        panel("Events of a batch", [(f"sum(rate(madang_chat_batch_events_sum{{{NS}}}{RATE})) / sum(rate(madang_chat_batch_events_count{{{NS}}}{RATE}))", "mean"), (q(f"madang_chat_batch_events_bucket{{{NS}}}", []), "p99")]),
        panel("Behind the log", [(f"max by (group) (madang_subscription_lag_seconds{{{NS}}})", "{{group}}")], "s"),
        panel("Rooms in memory", [(f"sum(madang_chat_rooms{{{NS}}})", "rooms"), (f"sum(madang_chat_rooms_bytes{{{NS}}})", "bytes")]),
    ]),
    ("Pushes", [
        panel("By outcome", [(f"sum by (provider, outcome) (rate(madang_notify_pushes_total{{{NS}}}{RATE}))", "{{provider}} {{outcome}}")], "ops"),
        panel("From a message to its provider", [(q(f"madang_notify_push_seconds_bucket{{{NS}}}", [], 0.5), "p50"), (q(f"madang_notify_push_seconds_bucket{{{NS}}}", []), "p99")], "s"),
        panel("Too old", [(f"sum(increase(madang_notify_too_old_total{{{NS}}}{RATE}))", "messages")]),
    ]),
]

MESH = [
    ("Doors", [
        panel("Sockets", [(f"sum by (pod) (madang_gateway_connections{{{NS}}})", "{{pod}}")]),
        panel("Frames to sockets", [(f"sum(rate(madang_gateway_frames_total{{{NS}}}{RATE}))", "frames")], "ops"),
        panel("Sockets that catch up, or go elsewhere", [(f"sum(rate(madang_gateway_catch_ups_total{{{NS}}}{RATE}))", "catch up"), (f"sum(rate(madang_gateway_go_aways_total{{{NS}}}{RATE}))", "go away")], "ops"),
        panel("HTTP requests", [(f"sum by (status) (rate(madang_http_requests_total{{{NS}}}{RATE}))", "{{status}}")], "reqps"),
        panel("HTTP p99", [(q(f"madang_http_seconds_bucket{{{NS}}}", ["route"]), "{{route}}")], "s"),
    ]),
    ("Calls between services", [
        panel("Calls", [(f"sum by (method) (rate(madang_rpc_server_calls_total{{{NS}}}{RATE}))", "{{method}}")], "reqps"),
        panel("That fail", [(f'sum by (method, code) (rate(madang_rpc_server_calls_total{{{NS}, code=~"2|4|13|14|15"}}{RATE}))', "{{method}} {{code}}")], "reqps"),
        panel("p99", [(q(f"madang_rpc_server_seconds_bucket{{{NS}}}", ["method"]), "{{method}}")], "s"),
        panel("Streams", [(f"sum by (method) (madang_rpc_server_streams{{{NS}}})", "{{method}}")]),
        panel("Second tries, and processes left out", [(f"sum(rate(madang_mesh_retries_total{{{NS}}}{RATE}))", "retries"), (f"sum(rate(madang_mesh_ejections_total{{{NS}}}{RATE}))", "ejections")], "ops"),
    ]),
    ("Bounds", [
        panel("Refused", [(f"sum by (what) (rate(madang_mesh_refused_total{{{NS}}}{RATE}))", "{{what}}")], "ops", says="docs/metrics.md says what each is."),
        panel("Queues, how full", [(f"max by (queue) (madang_queue_depth{{{NS}}} / madang_queue_bound{{{NS}}})", "{{queue}}")], "percentunit"),
    ]),
    ("Processes", [
        panel("Memory", [(f"sum by (pod) (process_resident_memory_bytes{{{NS}}})", "{{pod}}")], "bytes"),
        panel("Cores", [(f"sum by (pod) (rate(process_cpu_seconds_total{{{NS}}}{RATE}))", "{{pod}}")]),
        panel("Files and sockets", [(f"sum by (pod) (process_open_fds{{{NS}}})", "{{pod}}")]),
        panel("Starts in an hour", [(f"sum by (pod) (changes(process_start_time_seconds{{{NS}}}[1h]))", "{{pod}}")]),
        panel("Spans to the collector", [(f"sum by (why) (rate(madang_trace_spans_total{{{NS}}}{RATE}))", "{{why}}")], "ops"),
        panel("Holes, and shards read again", [(f"sum(rate(madang_store_holes_total{{{NS}}}{RATE}))", "holes"), (f"sum(rate(madang_subscription_read_again_total{{{NS}}}{RATE}))", "read again")], "ops"),
    ]),
]

SOURCE = {"type": "prometheus", "uid": "${source}"}


def drawn(each, number, x, y, width):
    targets = [
        {"refId": chr(ord("A") + n), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
        for n, (expr, legend) in enumerate(each["queries"])
    ]
    return {
        "id": number, "type": each["kind"], "title": each["title"], "description": each["says"], "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": 5 if each["kind"] == "stat" else 8}, "targets": targets,
        "fieldConfig": {"defaults": {"unit": each["unit"]}, "overrides": []},
    }


def dashboard(uid, title, rows):
    panels, number, y = [], 0, 0
    for name, row in rows:
        number += 1
        panels.append({"id": number, "type": "row", "title": name, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        width = 6 if row[0]["kind"] == "stat" else 8
        height = 5 if row[0]["kind"] == "stat" else 8
        for n, each in enumerate(row):
            number += 1
            across = 24 // width
            panels.append(drawn(each, number, n % across * width, y + n // across * height, width))
        y += -(-len(row) // (24 // width)) * height
    variables = [
        {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {"name": "namespace", "type": "query", "datasource": SOURCE, "query": "label_values(madang_chat_shards, namespace)",
         "includeAll": True, "allValue": ".*", "multi": True, "current": {"text": "All", "value": "$__all"}, "refresh": 2},
    ]
    return {
        "uid": uid, "title": title, "tags": ["madang"], "schemaVersion": 39, "editable": True, "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"}, "templating": {"list": variables}, "panels": panels,
    }


def all_of_them():
    """Name of the file, text."""
    made = {
        "messages": dashboard("madang-messages", "Madang: messages", MESSAGES),
        "mesh": dashboard("madang-mesh", "Madang: doors, calls, bounds", MESH),
    }
    return {name: json.dumps(each, indent=1, ensure_ascii=False) + "\n" for name, each in made.items()}


def queries():
    """All PromQL, as Prometheus takes it."""
    for rows in (MESSAGES, MESH):
        for _, row in rows:
            for each in row:
                for expr, _ in each["queries"]:
                    yield f"{each['title']}", expr.replace("$__rate_interval", "5m").replace("$namespace", ".*")
