"""A scripted control plane that speaks the Zero API over real HTTP: what a sync is tested against.

    cp = ControlPlane()
    cp.publish(policies=[...], routes=[...])
    cp.say("/policies", 503)                     # from now on, until cp.say("/policies", None)

Without a script it does what the API does: API-user tokens are exchanged for ID tokens, every other call needs a live
one, lists are bare arrays by limit and offset (v0) or envelopes by page (v1), with ETags when `etags` is set.
"""

import hashlib
import http.server
import json
import socket
import struct
import threading
import time
import urllib.parse

ORG = "0c1e5b1e-0000-4000-8000-000000000001"
API_USER = "tga-lasting-token-of-the-tests"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def handle(self):
        self.server.cp.open.add(self.connection)
        try:
            super().handle()
        except ConnectionError:
            pass  # a client that had enough
        self.server.cp.open.discard(self.connection)

    def finish(self):
        try:
            super().finish()
        except ConnectionError:
            pass

    def reply(self, status, body=b"", **fields):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if status == 304 else body)

    def cut(self, body, sent):
        """Announces all of `body` and sends `sent` octets of it."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = urllib.parse.unquote(url.path)
        cp = self.server.cp
        with cp.lock:
            cp.asked.append((time.monotonic(), self.command, path, query, dict(self.headers), body))
            script = next((s for end, s in cp.scripts.items() if path.endswith(end)), None)
        if callable(script):
            script(self, query)
        elif script is not None:
            status, fields = script if isinstance(script, tuple) else (script, {})
            self.reply(status, {"error": "the token %s is not welcome" % API_USER}, **fields)
        else:
            cp.answer(self, path, query, body)

    do_GET = do_POST = serve


class ControlPlane:
    def __init__(self, port=0):
        self.lock = threading.Lock()
        self.asked, self.scripts = [], {}
        self.organizations = [{"id": ORG, "name": "Acme", "role": "owner"}]
        self.namespaces = [{"id": ORG, "name": "Global", "type": "root"}]
        self.policies, self.routes, self.elsewhere = [], [], []
        self.etags, self.cap, self.id_ttl = False, 10000, 3600
        self.alive, self.issued, self.open = {}, [], set()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.server.cp = self
        self.port = self.server.server_address[1]
        self.url = "http://127.0.0.1:%d" % self.port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self):
        """Nobody is there any more, on connections that are open neither."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # ---- what a test says and sees ----

    def publish(self, policies=None, routes=None):
        with self.lock:
            self.policies = self.policies if policies is None else list(policies)
            self.routes = self.routes if routes is None else list(routes)

    def say(self, end, script):
        """From now on: a status, (status, fields), or script(handler, query) for every path with this end."""
        with self.lock:
            if script is None:
                self.scripts.pop(end, None)
            else:
                self.scripts[end] = script

    def find(self, end="", method="GET", since=0.0):
        with self.lock:
            return [a for a in self.asked if a[2].endswith(end) and a[1] == method and a[0] >= since]

    def revoke(self):
        with self.lock:
            self.alive.clear()

    def issue(self):
        with self.lock:
            token = "id-%d-%s" % (len(self.issued), hashlib.sha256(str(time.monotonic()).encode()).hexdigest()[:24])
            self.issued.append(token)
            self.alive[token] = time.monotonic() + self.id_ttl
            return token

    # ---- the API ----

    def answer(self, h, path, query, body):
        if path.endswith("/token") and h.command == "POST":
            self.exchange(h, body)
        elif not self.knows(h):
            h.reply(401, {"error": "who?"}, WWW_Authenticate='Bearer realm="cp"')
        elif path.startswith("/api/v1/"):
            self.v1(h, path[len("/api/v1/"):], query)
        else:
            self.v0(h, path, query)

    def exchange(self, h, body):
        try:
            good = json.loads(body)["refreshToken"] == API_USER
        except (ValueError, KeyError, TypeError):
            good = False
        if good:
            h.reply(200, {"idToken": self.issue(), "expiresInSeconds": str(self.id_ttl)})
        else:
            h.reply(400, {"error": "unknown token"})

    def knows(self, h):
        scheme, _, token = (h.headers.get("Authorization") or "").partition(" ")
        with self.lock:
            return scheme == "Bearer" and self.alive.get(token, 0) > time.monotonic()

    def tagged(self, h, value):
        body = json.dumps(value).encode()
        tag = '"%s"' % hashlib.sha256(body).hexdigest()[:16]
        if not self.etags:
            h.reply(200, body)
        elif h.headers.get("If-None-Match") == tag:
            h.reply(304, ETag=tag)
        else:
            h.reply(200, body, ETag=tag)

    def below(self, namespace):
        found = {namespace}
        for _ in self.namespaces:
            found |= {n["id"] for n in self.namespaces if n.get("parentId") in found}
        return found

    def listed(self, items, query):
        spaces = self.below(query["namespaceId"]) if query.get("includeDescendants") == "true" else {
            query["namespaceId"]}
        found = [x for x in items if x.get("namespaceId", ORG) in spaces]
        offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 10000)), self.cap)
        return found[offset:offset + limit]

    def v0(self, h, path, query):
        with self.lock:
            policies, routes, elsewhere = list(self.policies), list(self.routes), list(self.elsewhere)
        parts = path.split("/")[3:]
        if parts == ["organizations"]:
            h.reply(200, self.organizations)
        elif parts[:2] != ["organizations", ORG]:
            h.reply(403, {"error": "not yours"})
        elif parts[2:] == ["namespaces"]:
            h.reply(200, self.namespaces)
        elif parts[2:] == ["policies"]:
            self.tagged(h, self.listed(policies, query))
        elif parts[2:] == ["routes"]:
            self.tagged(h, self.listed(routes, query))
        elif parts[2] == "policies" and [p for p in policies + elsewhere if p["id"] == parts[3]]:
            self.tagged(h, [p for p in policies + elsewhere if p["id"] == parts[3]][0])
        else:
            h.reply(404, {"error": "not found"})

    def v1(self, h, path, query):
        if path != "policies":
            h.reply(404, {"code": 404, "message": "not found"})
            return
        page, size = int(query.get("page", 1)), int(query.get("page_size", 20))
        if not 1 <= size <= 100:
            h.reply(400, {"code": 400, "message": "bad page_size"})
            return
        with self.lock:
            items = [{"id": p["id"], "organization_id": ORG, "name": p["name"], "policy_data": {"ppl": p["ppl"]},
                      "version": 1, "active": p.get("active", True), "device_count": 0,
                      "created_at": "2026-02-12T10:30:00Z"} for p in self.policies]
        self.tagged(h, {"data": items[(page - 1) * size:page * size], "total": len(items), "page": page,
                        "page_size": size, "total_pages": (len(items) + size - 1) // size})
