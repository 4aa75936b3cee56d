"""Stands in for Kubernetes: answers what `lookup` asks, so that what a chart does with what is there can be checked."""

import base64
import http.server
import json
import threading

# What is asked about, by where it is: kind and its name in addresses.
KINDS = {
    "/api/v1": {"ConfigMap": "configmaps", "Secret": "secrets", "PersistentVolumeClaim": "persistentvolumeclaims"},
    "/apis/apps/v1": {"Deployment": "deployments"},
}


class Cluster:
    """One namespace, `talk`; `there` is what it has, by kind and name, and may change at any time."""

    def __init__(self):
        self.there = {}
        cluster = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                code, answer = cluster.answer(self.path.split("?")[0])
                body = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path):
        for base, kinds in KINDS.items():
            version = base.split("/", 2)[2]
            if path == base:
                resources = [
                    {"name": plural, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
                    for kind, plural in kinds.items()
                ]
                return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
            for kind, plural in kinds.items():
                name = path.removeprefix(f"{base}/namespaces/talk/{plural}/")
                if (kind, name) in self.there:
                    found = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "talk"}}
                    return 200, found | self.there[kind, name]
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        return 404, status | {"message": f"{path} not found"}

    def put(self, kind, name, **fields):
        self.there[kind, name] = fields

    def put_secret(self, name, *keys):
        self.put("Secret", name, data={key: base64.b64encode(b"x").decode() for key in keys})

    def kubeconfig(self):
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": self.url}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "talk"}}],
            "users": [{"name": "it", "user": {}}],
        })
