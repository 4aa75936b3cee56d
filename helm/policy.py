"""What the chart's objects must keep to, whatever the values: nobody is root, nothing is unlimited, and what names another
object finds it. `broken` shows that each rule is one: it breaks them one after the other, in places where none looks first."""

import copy
import re

# Where the specification of pods is in what makes them.
TEMPLATES = [("spec", "template", "spec"), ("spec", "jobTemplate", "spec", "template", "spec")]


def pods(documents):
    """All that makes pods, whatever its kind, and what those are to be."""
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] == "Pod":
            yield where, document["spec"]
        for path in TEMPLATES:
            found = document
            for step in path:
                found = found.get(step) if isinstance(found, dict) else None
            if found:
                yield where, found


def of_pod(spec):
    security = spec.get("securityContext", {})
    return {
        "runs as root": security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0,
        "has no seccomp profile": security.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "has a token of Kubernetes": spec.get("automountServiceAccountToken") is False,
        "shares a namespace of the node": not any(spec.get(each) for each in ("hostNetwork", "hostPID", "hostIPC")),
        "mounts the node's disk": not any("hostPath" in volume for volume in spec.get("volumes", [])),
    }


def of_container(container):
    own, resources = container.get("securityContext", {}), container.get("resources", {})
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    return {
        "runs as root after all": own.get("runAsNonRoot", True) is True and own.get("runAsUser", 1) > 0,
        "leaves the seccomp profile": own.get("seccompProfile", {"type": "RuntimeDefault"})["type"] == "RuntimeDefault",
        "may gain privileges": own.get("allowPrivilegeEscalation") is False and not own.get("privileged"),
        "may write its root file system": own.get("readOnlyRootFilesystem") is True,
        "keeps capabilities": own.get("capabilities", {}).get("drop") == ["ALL"] and "add" not in own["capabilities"],
        "has no limit of memory": bool(limits.get("memory")),
        "requests nothing": bool(requests.get("cpu") and requests.get("memory")),
        "has no image of one version": bool(re.search(r"@sha256:|:(?!latest$)[^:/]+$", container["image"])),
        "has a secret as plain text": not any(
            "value" in each and re.search("PASSWORD|POSTGRES|SECRET", each["name"]) for each in container.get("env", [])
        ),
        "takes a port of the node": not any(port.get("hostPort") for port in container.get("ports", [])),
    }


def of_service(spec):
    """What else holds for the pods of a Deployment: they are spread, probed, and left to drain."""
    spread = spec.get("topologySpreadConstraints", [])
    soft = {each["topologyKey"] for each in spread if each["whenUnsatisfiable"] == "ScheduleAnyway"}
    # The scheduler passes over all wishes where a node lacks the label of one.
    rules = {"is not spread where nodes have no zones": soft <= {"kubernetes.io/hostname"} and bool(spread)}
    rules["is to be spread over nodes that it may not go to"] = all(each.get("nodeTaintsPolicy") == "Honor" for each in spread)
    variables = {each["name"]: (each, container) for container in spec["containers"] for each in container.get("env", [])}
    drain, container = variables["MADANG_DRAIN_WINDOW"]
    rules["lacks a probe"] = {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    rules["may be killed while it drains"] = spec["terminationGracePeriodSeconds"] >= before + int(drain["value"]) + 35
    return rules


def restrained(documents):
    """What does not keep the policy, and how: nobody is root or may become it, nothing is written, nothing is unlimited, nothing
    of Kubernetes is reachable; probes and names mean something."""
    found = 0
    for where, spec in pods(documents):
        found += 1
        judged = [(where, of_pod(spec))]
        judged += [
            (f"{where}, {container['name']}", of_container(container))
            for container in spec.get("initContainers", []) + spec["containers"]
        ]
        if where.startswith("Deployment"):
            judged.append((where, of_service(spec)))
        for what, rules in judged:
            yield from ((what, rule) for rule, kept in rules.items() if not kept)
    if found < 6:
        yield "the chart", f"only {found} pods were looked at"


def passing(documents):
    """Hooks, which Helm forgets, go by themselves, and doors let addresses through."""
    for document in documents:
        spec, where = document.get("spec") or {}, f"{document['kind']} {document['metadata']['name']}"
        notes = document["metadata"].get("annotations", {})
        if "helm.sh/hook" in notes and "hook-succeeded" not in notes.get("helm.sh/hook-delete-policy", ""):
            yield where, "is a hook that stays when the release goes"
        if "helm.sh/hook" in notes and document["kind"] == "Job" and not spec.get("ttlSecondsAfterFinished"):
            yield where, "is a job that stays for ever once it has failed"
        if document["kind"] == "Service" and spec.get("type", "ClusterIP") != "ClusterIP" and spec.get("externalTrafficPolicy") != "Local":
            yield where, "hides the addresses of clients, which limits go by"


def consistent(documents):
    """What names another object by labels finds it."""
    labels = [spec["template"]["metadata"]["labels"] for spec in (d["spec"] for d in documents if d["kind"] == "Deployment")]
    for document in documents:
        spec, where = document.get("spec") or {}, f"{document['kind']} {document['metadata']['name']}"
        selectors = {"Service": spec.get("selector"), "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels")
                     if isinstance(spec.get("selector"), dict) else None}
        selector = selectors.get(document["kind"])
        if selector and sum(selector.items() <= each.items() for each in labels) != 1:
            yield where, "does not select the pods of just one service"
    headless = {d["metadata"]["name"] for d in documents if d["kind"] == "Service" and d["spec"].get("clusterIP") == "None"}
    on = {d["metadata"]["name"] for d in documents if d["kind"] == "Deployment"}
    headless |= {each.rsplit("-", 1)[0] + "-notify-pods" for each in on if each.rsplit("-", 1)[0] + "-notify" not in on}
    for where, container in ((where, c) for where, pod in pods(documents) for c in pod["containers"]):
        scheme = "https" if any(each["name"] == "MADANG_TLS_CERT" for each in container.get("env", [])) else "http"
        urls = {each["name"]: each["value"] for each in container.get("env", []) if each["name"].endswith("_URL")}
        if urls and (len(urls) < 5 or any(not url.startswith(f"{scheme}://") for url in urls.values())):
            yield where, f"is not told all five services by {scheme}://, and would not start: {sorted(urls)}"
        for variable in container.get("env", []):
            if variable["name"].endswith("_URL") and re.sub(r"https?://|:\d+$", "", variable["value"]) not in headless:
                yield where, f"{variable['name']} is not the name of pods, so that its calls would all go to one of them"
    # All but the test go to NATS, and know it alike.
    told = {
        where: tuple(sorted((each["name"], str(each.get("value"))) for each in pod["containers"][0]["env"] if each["name"].startswith("MADANG_NATS")))
        for where, pod in pods(documents) if where.startswith(("Deployment", "Job"))
    }
    if len(set(told.values())) != 1:
        yield "the chart", f"services are told differently how NATS is reached: {told}"
    for where, pod in pods(documents):
        mounted = {each["mountPath"] for each in pod["containers"][0].get("volumeMounts", [])}
        for variable in pod["containers"][0].get("env", []):
            folder = re.match(r"/(?!/)[^/]+", variable.get("value", ""))
            if folder and folder.group() not in mounted:
                yield where, f"{variable['name']} is a file where nothing is mounted: {variable['value']}"
        for container in pod["containers"]:
            told = [each["name"] for each in container.get("env", [])]
            for each in {each for each in told if told.count(each) > 1}:
                yield where, f"is told {each} twice"
    names = [(d["kind"], d["metadata"]["name"]) for d in documents]
    for each in {each for each in names if names.count(each) > 1}:
        yield "the chart", f"{each} is there twice"


def broken(documents):
    """The rules that let something through: before a container that keeps them all comes one that breaks one."""
    faults = {
        "runs as root after all": {"securityContext": {"runAsUser": 0}},
        "leaves the seccomp profile": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        "may gain privileges": {"securityContext": {"allowPrivilegeEscalation": True}},
        "may write its root file system": {"securityContext": {"readOnlyRootFilesystem": False}},
        "keeps capabilities": {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}},
        "has no limit of memory": {"resources": {"limits": {"memory": None}}},
        "requests nothing": {"resources": {"requests": {"cpu": None}}},
        "has no image of one version": {"image": "madang:latest"},
        "has a secret as plain text": {"env": [{"name": "MADANG_CASSANDRA_PASSWORD", "value": "x"}]},
        "takes a port of the node": {"ports": [{"containerPort": 8081, "hostPort": 8081}]},
    }
    rules = set(of_container({"image": "madang:1", "securityContext": {"capabilities": {}}}))
    yield from (f"nothing breaks the rule `{rule}`" for rule in rules - set(faults))
    makers = {"Deployment": "spec/template/spec", "Job": "spec/template/spec", "Pod": "spec"}
    there = {each["kind"] for each in documents}
    for kind, path in ((kind, path) for kind, path in makers.items() if kind in there):
        for rule, fault in faults.items():
            for place in ("containers", "initContainers"):
                tried = copy.deepcopy(documents)
                spec = next(each for each in tried if each["kind"] == kind)
                for step in path.split("/"):
                    spec = spec[step]
                bad = copy.deepcopy(spec["containers"][0]) | {"name": "bad"}
                for field, value in fault.items():
                    bad[field] = bad.get(field, {}) | value if isinstance(value, dict) else value
                # Whoever judges only the last one sees one that keeps the rules.
                spec.setdefault(place, []).insert(0, bad)
                if not any(said == rule and where.endswith(", bad") for where, said in restrained(tried)):
                    yield f"a container that {rule} is let through as one of the {place} of a {kind}"
