"""Values one by one: those that make no sense are refused in words that say what to do, the others do what they are for."""

import base64
import copy

import cluster
import helm_python
import policy
import yaml


def changed(values, path, value):
    """A copy with one value set."""
    values = copy.deepcopy(values)
    at = values
    *folders, last = path.split("/")
    for folder in folders:
        at = at.setdefault(folder, {})
    at[last] = value
    return values


def refused(wrong, where, render, said):
    """What is rendered is refused in these words."""
    try:
        render()
    except helm_python.HelmError as error:
        if "hunter2" in str(error):
            wrong(where, f"is told to everybody who reads what is refused: {error}")
        if said not in str(error):
            wrong(where, f"is refused, but not with `{said}`: {error}")
    else:
        wrong(where, f"is not refused (`{said}` was expected)")


def refusals(render, wrong, good, production):
    """Each is refused, and the words are in what it says."""
    doors = changed(good, "gateway/service", {"type": "NodePort", "nodePort": 30080})
    cases = [
        (good, "nats/servers", "", "nats.servers is empty: set it"),
        (good, "cassandra/keyspace", "my-space", "/cassandra/keyspace"),
        (good, "fullnameOverride", "chat.prod", "names would begin with \"chat.prod\", and Kubernetes takes no such Services: set fullnameOverride"),
        (good, "nameOverride", f"{'a' * 39}.b", "nameOverride is"),
        (good, "nats/existingSecret", {"name": "a"}, "are both set"),
        (good, "cassandra/nodes", [], "cassandra.nodes is empty: set it"),
        (good, "postgres/group/existingSecret/name", "", "postgres.group.existingSecret.name is empty: make a Secret"),
        (good, "postgres/account/existingSecret/name", "", "--from-literal=account=postgres://"),
        (good, "notify/enabled", True, "postgres.notify.existingSecret.name is empty: make a Secret"),
        (good, "telemetry", {"otlp": "http://c:4317", "ca": "c.crt"}, "telemetry.otlp is not https://"),
        (good, "telemetry", {"otlp": "https://c:4317", "ca": "c.crt"}, "without authorities.existingConfigMap"),
        (good, "cassandra/ca", "c.crt", "without authorities.existingConfigMap"),
        (good, "cassandra/clientSecret", "c", "only with cassandra.ca"),
        (changed(good, "nats/servers", "tls://nats:4222"), "nats/ca", "c.crt", "nats.ca is set without authorities.existingConfigMap"),
        (good, "nats/clientSecret", "c", "write tls://nats:4222"),
        (good, "chat/replica", 3, "replica"),
        (good, "cluster/settings/send-rat", 3, "send-rat"),
        (good, "cluster/settings/send-rate", "fast", "send-rate"),
        (good, "chats", {}, "chats"),
        (good, "chat/replicas", 0, "/chat/replicas"),
        (good, "chat/replicas", 9, "there are 8 shards"),
        (good, "cluster/shards", 0, "/cluster/shards"),
        (good, "cluster/shards", 257, "/cluster/shards"),
        (good, "image/tag", "latest", "/image/tag"),
        (good, "chat/resources/limits/memory", None, "/chat/resources/limits"),
        (good, "chat/resources/limits/memory", "lots", "/chat/resources/limits/memory"),
        (good, "chat/resources/requests/memory", "4Gi", "chat.resources.requests.memory is 4Gi, above its limit, 2Gi, and Kubernetes would take no such pod: raise"),
        (good, "chat/resources/requests/memory", 2147483649, "chat.resources.requests.memory is 2.147483649e+09, above its limit, 2Gi"),
        (good, "chat/resources/requests/memory", "2148M", "chat.resources.requests.memory is 2148M, above its limit, 2Gi"),
        (production, "api/resources/requests/cpu", "2001m", "api.resources.requests.cpu is 2001m, above its limit, 2,"),
        (production, "api/resources", {"requests": {"ephemeral-storage": "1.5Gi"}, "limits": {"ephemeral-storage": "1Gi"}}, "api.resources.requests.ephemeral-storage is 1.5Gi, above"),
        (good, "migrate/resources/requests/memory", "1Ti", "migrate.resources.requests.memory is 1Ti, above its limit, 256Mi"),
        (good, "cluster/settings/tail-bytes", 10**12, "chat.resources.limits.memory is 2Gi, but room-bytes, tail-bytes and 1 GiB for all else are 954954 MiB"),
        (good, "cluster/settings/room-bytes", 536870913, "raise it, or lower cluster.settings.room-bytes or tail-bytes"),
        (good, "cluster/settings/lag-bytes", 2**30 + 1, "cluster.logBytes is 2147483648, below twice cluster.settings.lag-bytes (1073741825): raise it"),
        (good, "cluster/logBytes", 2**28, "below twice cluster.settings.lag-bytes (268435456)"),
        (good, "chat/resources/limits/memory", "1791Mi", "chat.resources.limits.memory is 1791Mi, but room-bytes, tail-bytes and 1 GiB for all else are 1792 MiB"),
        (production, "chat/resources/limits/memory", "2Gi", "are 2304 MiB"),
        (production, "chat/autoscaling/cpu", 801, "chat.autoscaling.cpu is 801 % of what is requested, but the limit is 800 % of it"),
        (good, "chat/tolerations", [{"foo": "bar"}], "/chat/tolerations/0"),
        (good, "chat/tolerations", [{"operator": "Equal", "value": "a"}], "/chat/tolerations/0"),
        (good, "chat/affinity", {"nodeAffinty": 1}, "nodeAffinty"),
        (good, "chat/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution", [{"labelSelector": {}}], "topologyKey"),
        (good, "chat/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution", [{"weight": 101, "preference": {}}], "/weight"),
        (good, "chat/extraEnv", [{"name": "A", "valueFrom": {"secretKeyReff": 1}}], "secretKeyReff"),
        (good, "chat/extraEnv", [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a"}}}], "/chat/extraEnv/0/valueFrom/secretKeyRef"),
        (good, "chat/labels", {"a b": "c"}, "invalid propertyName 'a b'"),
        (good, "chat/labels", {"a": "c d!"}, "/chat/labels/a"),
        (good, "chat/nodeSelector", {"a": "c d!"}, "/chat/nodeSelector/a"),
        (good, "ingress/annotations", {"a/b/c": ""}, "invalid propertyName 'a/b/c'"),
        (good, "networkPolicy/admin", [{}], "/networkPolicy/admin/0"),
        (good, "networkPolicy/admin", [{"podSelector": {"matchLabel": {}}}], "matchLabel"),
        (good, "networkPolicy/admin", [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}], "/matchExpressions/0/operator"),
        (good, "networkPolicy/nats/peers", [{"ipBlock": {"cidr": "10.0.0.1"}}], "/networkPolicy/nats/peers/0/ipBlock/cidr"),
        (good, "networkPolicy/nats/peers", [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}], "/networkPolicy/nats/peers/0"),
        (good, "gateway/disruptionBudget/minAvailable", 1, "gateway.disruptionBudget has maxUnavailable (by itself it is 1) and minAvailable"),
        (good, "gateway/disruptionBudget", {"maxUnavailable": None}, "gateway.disruptionBudget is empty: set maxUnavailable"),
        (good, "gateway/disruptionBudget", {"maxUnavailable": 0}, "gateway.disruptionBudget.maxUnavailable lets none of 1 pods go"),
        (good, "gateway/disruptionBudget", {"maxUnavailable": "0%"}, "lets none of 1 pods go, and a node that has one could never be emptied: let one go"),
        (good, "gateway/disruptionBudget", {"maxUnavailable": None, "minAvailable": 1}, "gateway.disruptionBudget.minAvailable lets none of 1 pods go"),
        (production, "chat/disruptionBudget", {"maxUnavailable": None, "minAvailable": 4}, "chat.disruptionBudget.minAvailable lets none of 4 pods go"),
        (production, "chat/disruptionBudget", {"maxUnavailable": None, "minAvailable": "76%"}, "chat.disruptionBudget.minAvailable lets none of 4 pods go"),
        (good, "gateway/disruptionBudget/maxUnavailable", "100%", "gateway.disruptionBudget.maxUnavailable is 100%, and all of 1 pods might go at once: let fewer go"),
        (production, "chat/disruptionBudget/maxUnavailable", 4, "chat.disruptionBudget.maxUnavailable is 4, and all of 4 pods might go"),
        (production, "chat/disruptionBudget/maxUnavailable", "76%", "chat.disruptionBudget.maxUnavailable is 76%, and all of 4 pods might go"),
        (production, "chat/disruptionBudget", {"maxUnavailable": None, "minAvailable": 0}, "chat.disruptionBudget.minAvailable is 0, and all of 4 pods might go"),
        (good, "gateway/disruptionBudget/maxUnavailable", "half", "/gateway/disruptionBudget/maxUnavailable"),
        (good, "chat/extraEnv", [{"name": "MADANG_NATS", "value": "n:4222"}], "chat.extraEnv sets MADANG_NATS, which is the chart's: set nats.servers"),
        (good, "chat/extraEnv", [{"name": "POD_IP", "value": "1"}], "chat.extraEnv sets POD_IP, which is the chart's: leave it out"),
        (good, "chat/extraEnv", [{"name": "MADANG_SEND_RATE", "value": "1"}], "set cluster.settings.send-rate instead"),
        (good, "chat/extraEnv", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], "chat.extraEnv sets A twice"),
        (good, "chat/extraEnv", [{"name": "A", "value": 1}], "/chat/extraEnv/0/value"),
        (good, "chat/extraEnv", [{"name": "A", "valu": "1"}], "/chat/extraEnv/0"),
        (good, "chat/labels", {"app.kubernetes.io/component": "a"}, "chat.labels sets app.kubernetes.io/component, which the chart finds its objects by"),
        (production, "monitoring/rules/labels", {"helm.sh/chart": "a"}, "monitoring.rules.labels sets helm.sh/chart"),
        (production, "notify/existingSecret", "", "notify.extraEnv has MADANG_FCM_ACCOUNT in /keys/firebase.json, where nothing is"),
        (good, "nats/servers", "nats:4222,nats://app:hunter2@nats:4222", "nats.servers has credentials, which everybody sees who may read pods: leave it empty"),
        (good, "nats/servers", "app:hunter2@nats", "nats.servers has credentials"),
        (good, "cassandra/nodes", ["cassandra://app:hunter2@cassandra"], "cassandra.nodes has credentials"),
        (good, "telemetry/otlp", "u:hunter2@c:4317", "telemetry.otlp has credentials"),
        (production, "provider/jwks", "http://u:hunter2@id.example.com/keys", "provider.jwks has credentials"),
        (good, "test/gateway", "https://u:hunter2@c", "test.gateway has credentials"),
        (good, "cassandra/nodes", ["app:hunter2@cassandra:9042"], "name a Secret in cassandra.existingSecret"),
        (good, "telemetry/otlp", "http://u:hunter2@c:4317", "telemetry.otlp has credentials, which everybody sees who may read pods: leave them out, and give each service OTEL_EXPORTER_OTLP_HEADERS"),
        (good, "test/server", "http://u:hunter2@c:80", "test.server has credentials"),
        (production, "provider/jwks", "https://u:hunter2@id.example.com/keys", "provider.jwks has credentials"),
        *[
            (good, "api/extraEnv", [{"name": name, "value": "hunter2"}], f"api.extraEnv has the secret {name} as plain text")
            for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PROXY_PASSWORD", "apikey", "DB_PASS", "SENTRY_DSN", "OTEL_EXPORTER_OTLP_HEADERS", "GOOGLE_CREDENTIALS")
        ],
        (good, "api/extraEnv", [{"name": "HTTPS_PROXY", "value": "http://u:hunter2@proxy:3128"}], "api.extraEnv has the secret HTTPS_PROXY as plain text"),
        (good, "nats/servers", "nats:4222,other:65536", "nats.servers has other:65536, and 65536 is no port"),
        (good, "cassandra/nodes", ["cassandra:0"], "cassandra.nodes has cassandra:0, and 0 is no port"),
        (good, "telemetry/otlp", "http://c:70000", "telemetry.otlp has http://c:70000, and 70000 is no port"),
        (good, "test/server", "http://c:99999", "test.server has http://c:99999, and 99999 is no port"),
        (production, "provider/jwks", "https://id.example.com:0/keys", "0 is no port"),
        (production, "networkPolicy/cassandra/port", 9142, "cassandra.nodes has cassandra-0.cassandra.data:9042, but networkPolicy lets pods out to port 9142 of it alone"),
        (production, "networkPolicy/nats/port", 65536, "/networkPolicy/nats/port"),
        (production, "networkPolicy/extraEgress", {"notify": [{"ports": [{"port": 0}]}]}, "/networkPolicy/extraEgress/notify/0/ports/0/port"),
        (production, "networkPolicy/extraEgress", {"notify": [{"ports": [{"port": 9, "endPort": 8}]}]}, "networkPolicy.extraEgress.notify has an endPort, 8, below its port, 9"),
        (production, "networkPolicy/extraEgress", {"pushes": []}, "pushes"),
        (good, "gateway/service", {"type": "ClusterIP", "nodePort": 30080}, "gateway.service.nodePort is set, but a Service of type ClusterIP has none"),
        (doors, "api/service", {"type": "NodePort", "nodePort": 30080}, "gateway.service.nodePort and api.service.nodePort are both 30080"),
        (good, "cluster/settings/max-members", 5000, "max-members"),
        (good, "tls/enabled", True, "tls.enabled without certificates: name an issuer"),
        (production, "tls/secretPrefix", "given", "leave one empty"),
        (production, "tls/trustDomain", "", "tls.trustDomain is empty: set it"),
        (production, "tls/trustDomain", "Chat Example", "/tls/trustDomain"),
        (production, "cluster/settings/grants", ["bot"], "grants"),
        (production, "ingress/host", "", "ingress.host is empty"),
        (production, "ingress/tls/secretName", "", "name the Secret that cert-manager"),
        (production, "cluster/settings/trusted-proxies", [], "trusted-proxies"),
        (production, "gateway/autoscaling/maxReplicas", 1, "gateway.autoscaling.maxReplicas is below minReplicas"),
        (production, "test/server", "http://ingress-nginx-controller.ingress-nginx:80", "name that one, and set test.address"),
        (production, "test/server", "wss://chat.example.com", "/test/server"),
        (good, "test/ca", "own.crt", "test.ca is set without authorities.existingConfigMap"),
        (production, "test/address", "controller", "/test/address"),
        (good, "test/address", "10.96.0.80", "ingress.enabled is not"),
        (production, "autoscaling/behavior/scaleDown/stabilizationWindowSeconds", 3601, "/autoscaling/behavior/scaleDown/stabilizationWindowSeconds"),
        (production, "chat/autoscaling/behavior", {"scaleDown": {"policies": []}}, "/chat/autoscaling/behavior/scaleDown/policies"),
        (production, "pictures/existingClaim", "claim", "leave one empty"),
        (production, "pictures/bucket", "", "pictures.existingSecret is set, but it is for a bucket, and pictures.bucket is empty"),
        *[(production, "chat/resources/requests/cpu", cpu, f"chat.resources.requests.cpu is {cpu}: say how much") for cpu in ("0m", "0", "0.0")],
        (good, "store/resources/limits/memory", "0Mi", "store.resources.limits.memory is 0Mi: say how much"),
        (production, "tls/duration", "1h", "tls.renewBefore is 240h, but tls.duration is 1h, and a certificate"),
        (production, "tls/renewBefore", "720h", "tls.renewBefore is 720h, but tls.duration is 720h"),
        *[(production, "cluster/settings/trusted-proxies", [each], "/trusted-proxies/0") for each in ("ingress", "10.0.0.0/33", "fd00::/129", "cafe", "10.0.0")],
        (good, "migrate/labels", {"app.kubernetes.io/component": "a"}, "migrate.labels sets app.kubernetes.io/component, which the chart finds"),
        (good, "test/labels", {"app.kubernetes.io/name": "a"}, "test.labels sets app.kubernetes.io/name, which the chart finds"),
        (good, "migrate/tolerations", [{"foo": "bar"}], "/migrate/tolerations/0"),
        (good, "test/affinity", {"nodeAffinty": 1}, "nodeAffinty"),
        (production, "provider/jwks", "", "belong together"),
        (production, "provider/jwks", "http://id.example.com/keys", "/provider/jwks"),
    ]
    for values, path, value, said in cases:
        refused(wrong, f"{path}={value!r}", lambda: render(changed(values, path, value)), said)
    return len(cases)


def at(documents, kind, name, path):
    """What one of them says at a place, or nothing; `environment/NAME` is a variable of its first container."""
    found = next((each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name)), None)
    if path.startswith("environment/"):
        variables = {each["name"]: each.get("value") for each in found["spec"]["template"]["spec"]["containers"][0]["env"]}
        return variables.get(path.removeprefix("environment/"))
    for step in path.split("/"):
        if isinstance(found, list):
            found = found[int(step)] if int(step) < len(found) else None
        elif found is not None:
            found = found.get(step.replace("~", "/"))
    return found


def effects(render, valid, wrong, good, production):
    """What a value does: a value, and what an object then says."""
    autoscaler, behavior = "HorizontalPodAutoscaler", "spec/behavior/scaleDown"
    calm = {"scaleDown": {"stabilizationWindowSeconds": 1800}}
    minutes = [{"type": "Pods", "value": 1, "periodSeconds": 120}]
    tls = production["nats"]
    secured = changed(changed(production, "nats", tls | {"existingSecret": {"name": ""}}), "nats/servers", "tls://nats.data:4222")
    open_ingress = changed(production, "ingress/tls", {"secretName": "", "issuer": ""})
    arguments = "spec/containers/0/args"
    server, gateway = f"{arguments}/5", f"{arguments}/6"
    pod = "spec/template/spec"
    affinity = f"{pod}/affinity"
    wishes = f"{affinity}/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution"
    nginx = "metadata/annotations/nginx.ingress.kubernetes.io~proxy"
    proxy = {"notify": [{"ports": [{"port": 3128}], "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}]}
    racks = {"weight": 50, "podAffinityTerm": {"topologyKey": "rack", "labelSelector": {"matchLabels": {"team": "chat"}}}}
    fast = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["nvme"]}]}]}
    own = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": fast},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [racks]},
    }
    whole = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": fast,
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}}],
        },
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a.b/c", "namespaces": ["a"], "namespaceSelector": {}, "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "mismatchLabelKeys": ["b"]}]},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [racks]},
    }
    tolerations = [{"operator": "Exists"}, {"key": "a.b/c", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}, {"key": "a", "value": "b"}]
    pod_fields = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}]
    harmless = [
        {"name": name, "value": value}
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token"), ("MADANG_APNS_KEY", "/keys/firebase.json"), ("MADANG_TOKEN_SECONDS", "60"),
            ("VAPID_PUBLIC_KEY", "x"), ("PASSWORD", ""), ("HTTPS_PROXY", "http://u:$(PROXY_PASS)@proxy:3128"), ("NO_PROXY", "localhost:80"),
        )
    ]
    peers = [{"ipBlock": {"cidr": "fd00::/8", "except": ["fd00:1::/32"]}}, {"podSelector": {}, "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}]
    other_port = changed(production, "cassandra/nodes", ["cassandra:9042", "cassandra:9099"])
    monitored = changed(production, "fullnameOverride", "talks")
    jobs = (("migrate", "Job", "m-madang-migrate", "spec/template/"), ("test", "Pod", "m-madang-test", ""))
    placed = [
        (good, f"{block}/{key}", value, kind, name, f"{at}{place}", value if wanted is None else wanted)
        for block, kind, name, at in jobs
        for key, value, place, wanted in (
            ("nodeSelector", {"pool": "jobs"}, "spec/nodeSelector", None),
            ("tolerations", tolerations, "spec/tolerations", None),
            ("affinity", whole, "spec/affinity", None),
            ("priorityClassName", "high", "spec/priorityClassName", None),
            ("labels", {"team": "chat"}, "metadata/labels/team", "chat"),
            ("annotations", {"example.com/mesh": "no", "helm.sh/hook": "x"} if block == "test" else {"example.com/mesh": "no"}, "metadata/annotations/example.com~mesh", "no"),
        )
    ]
    cases = [
        *placed,
        (good, "test/annotations", {"helm.sh/hook": "post-install"}, "Pod", "m-madang-test", "metadata/annotations/helm.sh~hook", "test"),
        (monitored, "fullnameOverride", "talks", "PrometheusRule", "talks", "spec/groups/1/rules/-1/expr", 'changes(process_start_time_seconds{namespace="talk", pod=~"talks-(chat|gateway|api|store|group|account|notify)-.*"}[30m]) > 3'),
        (production, "fullnameOverride", "", "PrometheusRule", "m-madang", "spec/groups/1/rules/4/alert", "MadangServiceIsGone"),
        (good, "cluster/settings/trusted-proxies", ["10.0.0.0/8", "fd00::/8", "10.1.2.3", "::1"], "Deployment", "m-madang-api", "environment/MADANG_TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8,10.1.2.3,::1"),
        (secured, "nats/ca", "own.crt", "Deployment", "m-madang-chat", "environment/MADANG_NATS_CA", "/authorities/own.crt"),
        (secured, "nats/ca", "own.crt", "Job", "m-madang-migrate", "environment/MADANG_NATS_CA", "/authorities/own.crt"),
        (secured, "nats/clientSecret", "own", "Deployment", "m-madang-api", "environment/MADANG_NATS_KEY", "/nats/tls.key"),
        (secured, "nats/clientSecret", "own", "Job", "m-madang-migrate", "environment/MADANG_NATS_CERT", "/nats/tls.crt"),
        (good, "test/seconds", 3, "Pod", "m-madang-test", server, "--server=http://m-madang-api:80"),
        (production, "test/seconds", 3, "Pod", "m-madang-test", gateway, "--gateways=https://chat.example.com:443"),
        (secured, "test/ca", "own.crt", "Pod", "m-madang-test", "spec/containers/0/env/0/value", "/authorities/own.crt"),
        (open_ingress, "test/seconds", 3, "Pod", "m-madang-test", server, "--server=http://chat.example.com:80"),
        (open_ingress, "test/seconds", 3, "Pod", "m-madang-test", gateway, "--gateways=http://chat.example.com:80"),
        (production, "test/server", "http://chat.example.com:8000", "Pod", "m-madang-test", gateway, "--gateways=http://chat.example.com:8000"),
        (production, "test/server", "https://chat.example.com", "Pod", "m-madang-test", server, "--server=https://chat.example.com"),
        (production, "test/address", "10.96.0.80", "Pod", "m-madang-test", "spec/hostAliases", [{"ip": "10.96.0.80", "hostnames": ["chat.example.com"]}]),
        (production, "networkPolicy/extraEgress", proxy, "NetworkPolicy", "m-madang-notify", "spec/egress/6", proxy["notify"][0]),
        (production, "networkPolicy/extraEgress", proxy, "NetworkPolicy", "m-madang-account", "spec/egress/6", None),
        (production, "provider/jwks", "https://id.example.com:8443/keys", "NetworkPolicy", "m-madang-account", "spec/egress/6/ports/0/port", 8443),
        (production, "telemetry/otlp", "https://collector-0", "NetworkPolicy", "m-madang-api", "spec/egress/3/ports/0/port", 443),
        (other_port, "networkPolicy/extraEgress", {"store": [{"ports": [{"port": 9000, "endPort": 9100}]}]}, "NetworkPolicy", "m-madang-store", "spec/egress/5/ports/0/endPort", 9100),
        (production, "chat/disruptionBudget", {"maxUnavailable": None, "minAvailable": "75%"}, "PodDisruptionBudget", "m-madang-chat", "spec/minAvailable", "75%"),
        (production, "chat/disruptionBudget/maxUnavailable", "75%", "PodDisruptionBudget", "m-madang-chat", "spec/maxUnavailable", "75%"),
        (production, "chat/autoscaling/cpu", 800, autoscaler, "m-madang-chat", "spec/metrics/0/resource/target/averageUtilization", 800),
        (good, "chat/resources/limits/memory", "1792Mi", "Deployment", "m-madang-chat", f"{pod}/containers/0/resources/limits/memory", "1792Mi"),
        (good, "gateway/service", {"type": "NodePort", "nodePort": 30080}, "Service", "m-madang-gateway", "spec/externalTrafficPolicy", "Local"),
        (good, "api/service/type", "LoadBalancer", "Service", "m-madang-api", "spec/externalTrafficPolicy", "Local"),
        (good, "api/service/type", "ClusterIP", "Service", "m-madang-api", "spec/externalTrafficPolicy", None),
        (good, "migrate/workSeconds", 86400, "Job", "m-madang-migrate", "spec/activeDeadlineSeconds", 86520),
        (good, "migrate/adopt", True, "Job", "m-madang-migrate", "environment/MADANG_ADOPT", "true"),
        (good, "migrate/waitSeconds", 10, "Job", "m-madang-migrate", "spec/activeDeadlineSeconds", 130),
        (good, "chat/affinity", own, "Deployment", "m-madang-chat", f"{affinity}/nodeAffinity", own["nodeAffinity"]),
        (good, "chat/affinity", own, "Deployment", "m-madang-chat", f"{wishes}/0", own["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]),
        (good, "chat/affinity", own, "Deployment", "m-madang-chat", f"{wishes}/1/podAffinityTerm/topologyKey", "topology.kubernetes.io/zone"),
        (good, "chat/affinity", own, "Deployment", "m-madang-chat", f"{pod}/topologySpreadConstraints/0/topologyKey", "kubernetes.io/hostname"),
        (production, "chat/affinity", own, "Deployment", "m-madang-chat", affinity, own),
        (production, "chat/affinity", own, "Deployment", "m-madang-chat", f"{pod}/topologySpreadConstraints/0/topologyKey", "topology.kubernetes.io/zone"),
        (production, "chat/affinity", whole, "Deployment", "m-madang-chat", affinity, whole),
        (production, "chat/tolerations", tolerations, "Deployment", "m-madang-chat", f"{pod}/tolerations", tolerations),
        (production, "chat/labels", {"example.com/Team": ""}, "Deployment", "m-madang-chat", "spec/template/metadata/labels/example.com~Team", ""),
        (production, "store/resources", {"requests": {"cpu": 4, "memory": "1073741824"}}, "Deployment", "m-madang-store", f"{pod}/containers/0/resources/requests/cpu", 4),
        (production, "api/extraEnv", pod_fields, "Deployment", "m-madang-api", f"{pod}/containers/0/env/-1", pod_fields[1]),
        (production, "notify/extraEnv", harmless, "Deployment", "m-madang-notify", f"{pod}/containers/0/env/-1/name", "NO_PROXY"),
        (production, "networkPolicy/admin", peers, "NetworkPolicy", "m-madang-api", "spec/ingress/1/from", peers),
        (production, "ingress/annotations", {}, "Ingress", "m-madang", f"{nginx}-connect-timeout", "2"),
        (production, "ingress/annotations", {}, "Ingress", "m-madang", f"{nginx}-read-timeout", "3600"),
        (production, "ingress/annotations", {"nginx.ingress.kubernetes.io/proxy-connect-timeout": "9"}, "Ingress", "m-madang", f"{nginx}-connect-timeout", "9"),
        (production, "autoscaling/behavior", calm, autoscaler, "m-madang-api", f"{behavior}/stabilizationWindowSeconds", 1800),
        (production, "autoscaling/behavior", calm, autoscaler, "m-madang-api", f"{behavior}/policies", minutes),
        (production, "gateway/autoscaling/behavior", calm, autoscaler, "m-madang-gateway", f"{behavior}/stabilizationWindowSeconds", 1800),
        (production, "gateway/autoscaling/behavior", calm, autoscaler, "m-madang-gateway", f"{behavior}/policies", minutes),
        (production, "gateway/autoscaling/behavior", calm, autoscaler, "m-madang-chat", f"{behavior}/stabilizationWindowSeconds", 600),
    ]
    for values, path, value, kind, name, place, wanted in cases:
        where = f"{path}={value!r}"
        try:
            documents = render(changed(values, path, value))[1]
        except helm_python.HelmError as error:
            wrong(where, f"is refused: {error}")
            continue
        found = at(documents, kind, name, place)
        if found != wanted:
            wrong(where, f"{kind} {name} says {found!r} at {place}, not {wanted!r}")
        valid(where, documents)
    return len(cases)


def names(render, valid, wrong, production):
    """Names that Services can't have are refused; those that YAML would take for something else stay names."""
    for name in ("my.chat", "123"):
        refused(wrong, f"the release {name}", lambda: render(production, name=name), f"names would begin with \"{name}-madang\", and Kubernetes takes no such")
    keyed = {"existingSecret": {"name": "1", "key": "2"}}
    values = copy.deepcopy(production) | {"nameOverride": "0x1", "fullnameOverride": "null"}
    values["image"]["pullSecrets"] = ["5"]
    values["postgres"] = {"group": keyed, "account": keyed, "notify": keyed}
    values["nats"] |= {**keyed, "clientSecret": "6"}
    values["cassandra"] |= {"existingSecret": {"name": "1", "userKey": "3", "passwordKey": "4"}, "clientSecret": "7"}
    values["authorities"] = {"existingConfigMap": "8"}
    values["notify"]["existingSecret"], values["pictures"]["existingSecret"] = "9", "10"
    values["chat"]["priorityClassName"] = values["ingress"]["className"] = "11"
    values["ingress"]["tls"], values["tls"]["issuer"] = {"secretName": "12", "issuer": "13"}, "14"
    claim = copy.deepcopy(values) | {"pictures": {"existingClaim": "15"}}
    for tried in (values, claim):
        try:
            documents = render(tried, name="123", namespace="456")[1]
        except helm_python.HelmError as error:
            wrong("names", f"are refused: {error}")
            continue
        valid("names", documents)
        for document in documents:
            for path, found in named("", document):
                if not isinstance(found, str):
                    wrong("names", f"{document['kind']} {document['metadata']['name']} says {found!r} at {path}, which is no text")
    return 2


def named(path, value):
    """What ought to be a name in an object, and where."""
    for key, found in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(found, (dict, list)):
            yield from named(f"{path}/{key}", found)
        elif key in ("name", "namespace", "secretName", "claimName", "key") or str(key).endswith(("/name", "/instance")):
            yield f"{path}/{key}", found


def owned(render, wrong, profiles, settings):
    """What the chart tells a process can't be told otherwise by extraEnv: neither what it told in any of the profiles, nor a setting."""
    names = {f"MADANG_{each.upper().replace('-', '_')}" for each in settings}
    for values in profiles.values():
        extra = {each["name"] for service in values.values() if isinstance(service, dict) for each in service.get("extraEnv", [])}
        for _, pod in policy.pods(render(values)[1]):
            names |= {each["name"] for container in pod["containers"] for each in container.get("env", [])} - extra
    names = sorted(names)
    try:
        render(changed(profiles["small"], "gateway/extraEnv", [{"name": each, "value": "x"} for each in names]))
        said = ""
    except helm_python.HelmError as error:
        said = str(error)
    for each in names:
        if f"gateway.extraEnv sets {each}, which is the chart's: " not in said:
            wrong(f"gateway.extraEnv: {each}", "is not refused, though the chart sets it: name it in _owned.tpl")
    for each in settings:
        if f"set cluster.settings.{each} instead" not in said:
            wrong(f"gateway.extraEnv: {each}", "is not led to cluster.settings")
    return len(names)


def filled():
    """A cluster that has what values/production.yaml names."""
    there = cluster.Cluster()
    # By it the chart knows that there is a cluster to ask.
    there.put("ConfigMap", "kube-root-ca.crt", data={"ca.crt": "x"})
    there.put("ConfigMap", "madang-authorities", data={"nats.crt": "x", "cassandra.crt": "x"}, binaryData={"collector.crt": "eA=="})
    there.put_secret("registry", ".dockerconfigjson")
    there.put_secret("madang-nats", "servers")
    there.put_secret("madang-nats-tls", "tls.crt", "tls.key")
    there.put_secret("madang-cassandra", "user", "password")
    there.put_secret("madang-cassandra-tls", "tls.crt", "tls.key")
    there.put_secret("madang-postgres", "groups", "accounts", "pushes")
    there.put_secret("madang-push", "firebase.json")
    there.put_secret("madang-s3", "AWS_REGION")
    return there


def live(chart, wrong, production):
    """What is there counts: what is named and is not there is refused; the replicas of a service that is scaled by the load stay as
    they are, within its bounds."""
    there = filled()
    with helm_python.Config(kubeconfig_content=there.kubeconfig(), namespace="talk", storage_driver="memory") as config:

        def render(values):
            return config.render(chart, values, name="m", namespace="talk", is_upgrade=True)

        tried = missing(render, there, wrong, production)

        def replicas():
            documents = yaml.safe_load_all(render(production)["madang/templates/deployments.yaml"])
            return {each["metadata"]["name"]: each["spec"].get("replicas") for each in documents if each}

        for now, wanted in ((None, 4), (1, 4), (20, 20), (99, 32)):
            if now is not None:
                there.put("Deployment", "m-madang-chat", spec={"replicas": now})
                there.put("Deployment", "m-madang-store", spec={"replicas": 7})
            found = replicas()
            if found["m-madang-chat"] != wanted:
                wrong("replicas", f"of chat are {found['m-madang-chat']} where {now} run, not {wanted}")
            if found["m-madang-store"] != 2:
                wrong("replicas", f"of store, which has no autoscaler, are {found['m-madang-store']} and not 2")
    return tried


def missing(render, there, wrong, production):
    """Each object that values name and that is not there, or has not the key, is refused; and is not, once it is there."""
    secret = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "own", "key": "k"}}}
    config = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "own", "key": "k"}}}
    given = changed(production, "ingress/tls", {"secretName": "given", "issuer": ""})
    pair, tls = ("tls.crt", "tls.key"), changed(production, "tls", {"enabled": True, "secretPrefix": "p"})
    claim = changed(production, "pictures", {"existingClaim": "claim"})
    # Values; what is named, by which of them; the keys that it must have. Where nothing changes, it is there already.
    cases = [
        (production, "Secret", "registry", "image.pullSecrets", (".dockerconfigjson",)),
        (production, "ConfigMap", "madang-authorities", "authorities.existingConfigMap", ("nats.crt", "cassandra.crt", "collector.crt")),
        (production, "Secret", "madang-nats", "nats.existingSecret.name", ("servers",)),
        (production, "Secret", "madang-nats-tls", "nats.clientSecret", pair),
        (production, "Secret", "madang-cassandra", "cassandra.existingSecret.name", ("user", "password")),
        (production, "Secret", "madang-cassandra-tls", "cassandra.clientSecret", pair),
        (production, "Secret", "madang-postgres", "postgres.notify.existingSecret.name", ("groups", "accounts", "pushes")),
        (production, "Secret", "madang-push", "notify.existingSecret", ("firebase.json",)),
        (production, "Secret", "madang-s3", "pictures.existingSecret", ()),
        (claim, "PersistentVolumeClaim", "claim", "pictures.existingClaim", ()),
        (given, "Secret", "given", "ingress.tls.secretName", pair),
        (tls, "Secret", "p-chat", "tls.secretPrefix", (*pair, "ca.crt")),
        (changed(production, "chat/extraEnv", [secret]), "Secret", "own", "chat.extraEnv (A)", ("k",)),
        (changed(production, "chat/extraEnv", [config]), "ConfigMap", "own", "chat.extraEnv (A)", ("k",)),
    ]
    others = {f"p-{service}" for service in ("account", "group", "store", "gateway", "api", "notify")}
    for name in others:
        there.put_secret(name, *pair, "ca.crt")
    for values, kind, name, by, keys in cases:
        before = there.there.pop((kind, name), None)
        wanted = f"the {kind} \"{name}\", which {by} names, is not in namespace talk: make it first"
        refused(wrong, f"{by}, not there", lambda: render(values), wanted)
        for without in keys:
            rest = [each for each in keys if each != without]
            there.put_secret(name, *rest) if kind == "Secret" else there.put(
                kind, name, data={each: "x" for each in rest}
            )
            wanted = "is none for images" if by == "image.pullSecrets" else f"the {kind} \"{name}\" has no key \"{without}\""
            refused(wrong, f"{by} without {without}", lambda: render(values), wanted)
            if by != "image.pullSecrets":
                there.put(kind, name, data={each: "eA==" for each in rest} | {without: "Cg==" if kind == "Secret" else ""})
                if ".extraEnv" in by:
                    allowed(wrong, f"{by}, a variable that is empty", lambda: render(values))
                else:
                    refused(wrong, f"{by}, {without} empty", lambda: render(values), f"the {kind} \"{name}\" has nothing in its key \"{without}\"")
        if kind == "PersistentVolumeClaim":
            for modes in (["ReadWriteOnce"], ["ReadOnlyMany", "ReadWriteOncePod"]):
                there.put(kind, name, spec={"accessModes": modes})
                refused(wrong, f"{by}, {modes}", lambda: render(values), f"the {kind} \"{name}\", which {by} names, is not ReadWriteMany")
        modes = {"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}} if kind == "PersistentVolumeClaim" else {}
        there.put(kind, name, **before) if before else there.put(kind, name, data={each: "eA==" for each in keys}, **modes)
        allowed(wrong, by, lambda: render(values))
    del there.there["Secret", "given"]
    # What is not looked for: made by cert-manager, asked for by an annotation, optional, or of a service that is off.
    for annotation in ("cert-manager.io/cluster-issuer", "kubernetes.io/tls-acme"):
        allowed(wrong, annotation, lambda: render(changed(given, "ingress/annotations", {annotation: "true"})))
    optional = changed(secret, "valueFrom/secretKeyRef", {"name": "none", "key": "k", "optional": True})
    allowed(wrong, "optional", lambda: render(changed(production, "chat/extraEnv", [optional])))
    del there.there["Secret", "madang-push"]
    allowed(wrong, "notify off", lambda: render(changed(production, "notify/enabled", False)))
    there.put_secret("madang-push", "firebase.json")
    # Nothing was changed before it was known that the data is laid out for another number.
    there.put("ConfigMap", "m-madang-layout", data={"shards": "16"})
    refused(wrong, "shards", lambda: render(production), "cluster.shards is 64, but the data here is laid out for 16: set it to 16")
    refused(wrong, "shards, the data gone", lambda: render(production), "or, if that data is gone, delete the ConfigMap m-madang-layout")
    there.put("ConfigMap", "m-madang-layout", data={"shards": "64"})
    allowed(wrong, "shards", lambda: render(production))
    return len(cases) + sum(len(keys) for *_, keys in cases) + flips(render, there, wrong, production) + ports(render, there, wrong, production)


def ports(render, there, wrong, production):
    """Where a Secret leads that nobody is let out to, it is refused; what is secret in it is not told."""
    out = {"store": [{"ports": [{"port": 6000, "endPort": 7000}]}]}
    elsewhere, open_door, off = changed(production, "networkPolicy/postgres/port", 6432), changed(production, "networkPolicy/extraEgress", out), changed(production, "networkPolicy/enabled", False)
    # Where it leads; the port that is refused, or none.
    cases = [
        ("madang-postgres", "postgres://app:hunter2@pgbouncer:6432/madang", "6432"),
        ("madang-postgres", "postgresql://app:hun@ter2@[fd00::1]:6432/madang?sslmode=verify-full\n", "6432"),
        ("madang-postgres", "postgres://app:hunter2@a,b:6432/madang", "6432"),
        ("madang-postgres", "postgres://app:hunter2@a:5432/madang", None),
        ("madang-postgres", "postgres://app@a/madang", None),
        # A password as it must not be written: what is a port there can't be told.
        ("madang-postgres", "postgres://app@x:77/hunter2@a:5432/madang", None),
        ("madang-postgres", "host=a user=app password=hunter2:77", None),
        ("madang-nats", "tls://app:hunter2@nats-0:4222,tls://app:hunter2@nats-1:4223", "4223"),
        ("madang-nats", "nats://app:hunter2@nats-0, nats://app:hunter2@nats-1:4222", None),
    ]
    for name, address, port in cases:
        before = there.there["Secret", name]
        there.put("Secret", name, data={key: base64.b64encode(address.encode()).decode() for key in before["data"]})
        which = name.removeprefix("madang-")
        if port:
            said = f"leads to port {port}, but networkPolicy lets pods out to port {4222 if which == 'nats' else 5432} of {which} alone: set networkPolicy.{which}.port to {port}"
            refused(wrong, f"{which} at {port}", lambda: render(production), said)
            if which == "postgres":
                allowed(wrong, f"{which} by extraEgress", lambda: render(open_door))
                if "a,b" not in address:
                    allowed(wrong, f"{which} let out", lambda: render(elsewhere))
            allowed(wrong, f"{which} without policies", lambda: render(off))
        else:
            allowed(wrong, address, lambda: render(production))
        there.there["Secret", name] = before
    return len(cases)


def flips(render, there, wrong, production):
    """TLS is turned on or off where services run only if it is said that the outage is wanted."""
    plain, flipped = changed(production, "tls/enabled", False), "tls/changeDespiteOutage"
    for runs, now, other in (([], plain, production), ([{"name": "MADANG_TLS_CERT", "value": "/tls/tls.crt"}], production, plain)):
        there.put("Deployment", "m-madang-api", spec={"template": {"spec": {"containers": [{"name": "api", "env": runs}]}}})
        refused(wrong, "tls.enabled", lambda: render(other), "and nobody is served while they are replaced. Set tls.changeDespiteOutage to true, this once")
        allowed(wrong, "tls.enabled as it is", lambda: render(now))
        allowed(wrong, "tls.changeDespiteOutage", lambda: render(changed(other, flipped, True)))
    del there.there["Deployment", "m-madang-api"]
    return 2


def allowed(wrong, where, render):
    """What is rendered is not refused."""
    try:
        render()
    except helm_python.HelmError as error:
        wrong(where, f"is refused: {error}")
