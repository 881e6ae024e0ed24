"""Webhooks of the management API: signed, in order, tried again, never to private places; and the revocation hook."""

import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import tempfile
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import ISSUER, PATIENCE, Client, ask, config, free_port, main, members, token, wait_until
from test_management_policies import ALLOW, NOBODY, Managing

SECRET = "your-webhook-secret"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def sign(body, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Sink:
    """A receiver. `answers`: for the next deliveries, one each: a status, "cut" or "hang"; afterwards 200."""

    def __init__(self, port=None, answers=()):
        self.port, self.answers, self.got, self.connections = port or free_port(), list(answers), [], 0
        self.lock, self.open = threading.Lock(), threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with sink.lock:
                    answer = sink.answers.pop(0) if sink.answers else 200
                    sink.got.append((time.time(), self.path, dict(self.headers), body))
                if answer == "hang":
                    sink.open.wait(60)
                    answer = "cut"
                if answer == "cut":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer)
                if answer in (301, 302, 307, 308):
                    self.send_header("Location", "http://127.0.0.1:%d/elsewhere" % sink.port)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = "http://127.0.0.1:%d/hook" % self.port

    def stop(self):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()

    def deliveries(self, count, limit=5.0):
        wait_until(lambda: len(self.got) >= count, limit)
        return list(self.got)

    def events(self):
        return [json.loads(body)["event"] for _, _, _, body in self.got]


class Telling(Managing):
    def told(self, **changes):
        management = {"webhooks": {"allowed_networks": ["127.0.0.0/8"]}, **changes.pop("management", {})}
        return self.managed(management=management, **changes)

    def sink(self, **kwargs):
        sink = Sink(**kwargs)
        self.addCleanup(sink.stop)
        return sink

    def hook(self, gate, url, events=("*",), secret=SECRET, **more):
        body = {"url": url, "events": list(events), "secret": secret, **more}
        return self.made(gate.api.post("/api/v1/webhooks", body))

    def state(self):
        path = tempfile.mkdtemp(prefix="tollgate-state.")
        self.addCleanup(shutil.rmtree, path, True)
        return path


class Webhooks(Telling):
    def test_made_and_shown(self):
        gate = self.told()
        made = gate.api.post(
            "/api/v1/webhooks", {"url": "https://example.com/h?x=1", "events": ["policy.updated"], "secret": SECRET}
        )
        hook = self.made(made)
        self.assertNotIn("secret", hook)
        self.assertNotIn(SECRET, made.text)
        path = "/api/v1/webhooks/" + hook["id"]
        self.assertEqual(made.headers["location"], path)
        self.assertEqual(
            (hook["events"], hook["active"], hook["last_delivery_at"], hook["pending"]),
            (["policy.updated"], True, None, 0),
        )
        self.assertEqual(gate.api.get(path).json, hook)
        page = gate.api.get("/api/v1/webhooks").json
        self.assertEqual((page["data"], page["total"], page["total_pages"]), ([hook], 1, 1))
        put = gate.api.put(path, {**hook, "events": ["*"], "active": False})
        self.assertEqual((put.status, put.json["events"], put.json["active"]), (200, ["*"], False))
        self.assertEqual(put.json["created_at"], hook["created_at"])
        self.assertEqual(gate.api.delete(path).status, 204)
        for call in (gate.api.get, gate.api.delete, lambda p: gate.api.put(p, {"url": "https://a.b", "events": ["*"]})):
            self.assertEqual(call(path).status, 404)

    def test_bad_bodies(self):
        gate = self.told()
        good = {"url": "https://example.com/", "events": ["*"], "secret": SECRET}
        for change, words in (
            ({"url": None}, "url"),
            ({"url": 1}, "url"),
            ({"events": None}, "events"),
            ({"events": []}, "events"),
            ({"events": "*"}, "events"),
            ({"events": [1]}, "events"),
            ({"events": ["Policy"]}, "events"),
            ({"events": ["policy.update"]}, "did you mean policy.updated?"),
            ({"events": ["token.gone"]}, "no event token.gone"),
            ({"secret": None}, "secret"),
            ({"secret": ""}, "secret"),
            ({"secret": "x" * 257}, "secret"),
            ({"active": "yes"}, "active"),
            ({"secrte": "x"}, "did you mean secret?"),
            ({"id": "x"}, "id"),
        ):
            body = {k: v for k, v in {**good, **change}.items() if v is not None}
            answer = gate.api.post("/api/v1/webhooks", body)
            self.assertEqual(answer.status, 400, change)
            self.assertIn(words, answer.json["details"], change)
            self.assertNotIn("x" * 200, answer.text)
        self.made(gate.api.post("/api/v1/webhooks", {**good, "events": ["device.enrolled", "policy.created"]}))
        self.assertEqual(gate.api.get("/api/v1/webhooks").json["total"], 1)

    def test_signed(self):
        """The signature is of the octets that came; nothing of the secret is anywhere else."""
        gate, sink = self.told(), self.sink()
        hook = self.hook(gate, sink.url, ["policy.created", "policy.updated"])
        policy = self.policy(gate, "p")
        gate.api.put(gate.org + "/policies/" + policy["id"], {"name": "q", "ppl": NOBODY})
        got = sink.deliveries(2)
        self.assertEqual(sink.events(), ["policy.created", "policy.updated"])
        ids = set()
        for at, path, fields, body in got:
            self.assertEqual(path, "/hook")
            self.assertEqual(fields["X-Zero-Signature"], sign(body))
            self.assertRegex(fields["X-Zero-Delivery"], "^%s$" % UUID)
            self.assertLess(abs(int(fields["X-Zero-Timestamp"]) - at), 3)
            self.assertEqual(fields["Content-Type"], "application/json")
            said = json.loads(body)
            self.assertEqual(list(said), ["event", "timestamp", "data"])
            self.assertEqual(fields["X-Zero-Event"], said["event"])
            self.assertRegex(said["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
            self.assertIn(policy["id"], json.dumps(said["data"]))
            self.assertNotIn("Authorization", fields)
            ids.add(fields["X-Zero-Delivery"])
        self.assertEqual(len(ids), 2)
        shown = wait_until(lambda: self.settled(gate, hook))
        self.assertEqual((shown["last_status"], shown["pending"]), (200, 0))
        self.assertEqual(gate.metric("tollgate_webhook_deliveries_total", result="delivered"), 2)
        self.assertNotIn(SECRET, gate.stderr())
        self.assertNotIn(SECRET, gate.api.get("/api/v1/audit-logs?page_size=100").text)
        self.assertEqual(os.stat(os.path.join(gate.dir, "state", "tollgate.db")).st_mode & 0o777, 0o600)

    def settled(self, gate, hook):
        shown = gate.api.get("/api/v1/webhooks/" + hook["id"]).json
        return shown if shown["last_delivery_at"] and not shown["pending"] else None

    def test_who_is_told(self):
        gate = self.told()
        some, every, none = self.sink(), self.sink(), self.sink()
        self.hook(gate, some.url, ["policy.deleted", "route.created", "device.enrolled"])
        self.hook(gate, every.url)
        self.hook(gate, none.url, active=False)
        gone = self.hook(gate, none.url)
        self.assertEqual(gate.api.delete("/api/v1/webhooks/" + gone["id"]).status, 204)
        policy = self.policy(gate)
        self.route(gate, "r", [policy["id"]])
        self.assertEqual(gate.api.post(gate.org + "/policies", {"name": "", "ppl": ALLOW}).status, 400)
        other = self.policy(gate, "q")
        self.assertEqual(gate.api.delete(gate.org + "/policies/" + other["id"]).status, 204)
        every.deliveries(4)
        some.deliveries(2)
        self.assertEqual(every.events(), ["policy.created", "route.created", "policy.created", "policy.deleted"])
        self.assertEqual(some.events(), ["route.created", "policy.deleted"])
        time.sleep(0.3)
        self.assertEqual((len(every.got), len(none.got)), (4, 0))

    def test_tried_again_in_order(self):
        """A delivery that fails keeps its octets, its id and its place; the time and its signature fit all the same."""
        gate, sink = self.told(), self.sink(answers=[500, "cut"])
        self.hook(gate, sink.url, ["policy.created"])
        names = ["p%d" % i for i in range(4)]
        policies = [self.policy(gate, n)["id"] for n in names]
        got = sink.deliveries(6, 12)
        self.assertEqual(len(got), 6)
        self.assertEqual(len({g[3] for g in got[:3]}), 1)
        self.assertEqual(len({g[2]["X-Zero-Delivery"] for g in got[:3]}), 1)
        self.assertEqual(len({g[2]["X-Zero-Delivery"] for g in got}), 4)
        for g in got:
            self.assertEqual(g[2]["X-Zero-Signature"], sign(g[3]))
        pauses = [b[0] - a[0] for a, b in zip(got[:3], got[1:3])]
        self.assertTrue(0.9 < pauses[0] < 2 * PATIENCE and 4.5 < pauses[1] < 7 * PATIENCE, pauses)
        for policy, g in zip(policies, got[2:]):
            self.assertIn(policy, g[3].decode())
        self.assertEqual(gate.metric("tollgate_webhook_deliveries_total", result="retried"), 2)

    def test_slow_sink(self):
        """Nobody waits for a receiver, and no redirect is followed; the others are told meanwhile."""
        gate, slow, quick, turns = self.told(), self.sink(answers=["hang"]), self.sink(), self.sink(answers=[307])
        policy = self.policy(gate)
        self.route(gate, "r", [policy["id"]])
        self.becomes(gate, 200)
        for sink in (slow, quick, turns):
            self.hook(gate, sink.url, ["policy.updated"])
        longest = {"api": 0, "data": 0}
        for i in range(20):
            began = time.monotonic()
            path = gate.org + "/policies/" + policy["id"]
            self.assertEqual(gate.api.put(path, {"name": "n%d" % i, "ppl": ALLOW}).status, 200)
            longest["api"] = max(longest["api"], time.monotonic() - began)
            began = time.monotonic()
            self.assertEqual(self.status(gate), 200)
            longest["data"] = max(longest["data"], time.monotonic() - began)
        self.assertLess(longest["api"], 1.0 * PATIENCE)
        self.assertLess(longest["data"], 0.5 * PATIENCE)
        self.assertEqual(len(quick.deliveries(20)), 20)
        self.assertEqual(len(slow.got), 1)
        self.assertTrue(wait_until(lambda: len(turns.got) >= 2, 4))
        self.assertEqual({g[1] for g in turns.got}, {"/hook"})
        got = slow.deliveries(2, 15)                     # ten seconds, then a second more
        self.assertEqual(got[0][3], got[1][3])
        self.assertGreater(got[1][0] - got[0][0], 10)

    def test_survives(self):
        """A receiver that is away, and a process that is killed: told after the next start, under the same id."""
        state, port = self.state(), free_port()
        gate = self.manage(state_dir=state, management={"webhooks": {"allowed_networks": ["127.0.0.0/8"]}})
        hook = self.hook(gate, "http://127.0.0.1:%d/hook" % port)
        policies = [self.policy(gate, "p%d" % i)["id"] for i in range(3)]
        os.kill(gate.pid, signal.SIGKILL)
        gate.stop(expect=-signal.SIGKILL)
        db = sqlite3.connect(os.path.join(state, "tollgate.db"))
        ids = [row[0] for row in db.execute("SELECT id FROM webhook_queue ORDER BY seq")]
        db.close()
        self.assertEqual(len(ids), 3)
        sink = self.sink(port=port)
        again = self.told(state_dir=state)
        got = sink.deliveries(3, 8)
        self.assertEqual([g[2]["X-Zero-Delivery"] for g in got], ids)
        for policy, g in zip(policies, got):
            self.assertIn(policy, g[3].decode())
            self.assertEqual(g[2]["X-Zero-Signature"], sign(g[3]))
        self.assertTrue(wait_until(lambda: self.settled(again, hook)))

    def test_given_up(self):
        """The last try: the next delivery has its turn, and the audit log says so."""
        state, sink = self.state(), self.sink(answers=[500])
        gate = self.manage(state_dir=state, management={"webhooks": {"allowed_networks": ["127.0.0.0/8"]}})
        self.hook(gate, sink.url)
        first, second = self.policy(gate, "a")["id"], None
        sink.deliveries(1)
        second = self.policy(gate, "b")["id"]
        os.kill(gate.pid, signal.SIGKILL)
        gate.stop(expect=-signal.SIGKILL)
        db = sqlite3.connect(os.path.join(state, "tollgate.db"))
        db.execute("UPDATE webhook_queue SET tries = 9, due_ms = 0 WHERE seq = (SELECT min(seq) FROM webhook_queue)")
        db.commit()
        db.close()
        sink.answers.append(500)
        again = self.told(state_dir=state)
        got = sink.deliveries(3, 8)
        self.assertIn(first, got[1][3].decode())
        self.assertIn(second, got[2][3].decode())
        dropped = again.api.get("/api/v1/audit-logs?action=webhook.drop").json["data"]
        self.assertEqual((len(dropped), dropped[0]["details"]["tries"]), (1, 10))
        self.assertEqual(again.metric("tollgate_webhook_deliveries_total", result="dropped"), 1)


class PrivateTargets(Telling):
    def test_refused_when_written(self):
        gate = self.managed()
        for url in (
            "http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest/", "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/",
            "https://127.1/", "https://10.1.2.3/", "https://localhost/", "https://a.localhost/",
            "https://[64:ff9b::7f00:1]/", "https://u:p@example.com/", "https://example.com@127.0.0.1/",
        ):  # fmt: skip
            answer = gate.api.post("/api/v1/webhooks", {"url": url, "events": ["*"], "secret": "s"})
            self.assertEqual(answer.status, 400, url)
            self.assertIn("url", answer.json["details"])
        hook = self.hook(gate, "https://example.com/")
        path = "/api/v1/webhooks/" + hook["id"]
        self.assertEqual(gate.api.put(path, {"url": "https://10.0.0.1/", "events": ["*"]}).status, 400)

    def names(self):
        """Names of this machine that resolve to addresses that are not of the public Internet."""
        found = [socket.gethostname(), "ip6-localhost", "ip6-loopback", "localhost.localdomain"]
        return [n for n in found if self.resolves(n)]

    def resolves(self, name):
        try:
            addresses = {a[4][0] for a in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}
        except OSError:
            return False
        return all(re.match(r"127\.|10\.|172\.|192\.168\.|::1|f[cde]", a) for a in addresses)

    def test_refused_when_connected(self):
        """A name may resolve to anything: what it resolves to is looked at, and nothing is connected to."""
        names = self.names()
        if not names:
            self.skipTest("no name of this machine resolves to a private address")
        gate, reached = self.managed(), []
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            listener = socket.socket(family)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind((address, 0 if not reached else reached[0].getsockname()[1]))
            except OSError:
                listener.close()
                continue
            listener.listen(8)
            listener.setblocking(False)
            self.addCleanup(listener.close)
            reached.append(listener)
        port = reached[0].getsockname()[1]
        hooks = [self.hook(gate, "https://%s:%d/" % (n, port))["id"] for n in names]
        self.policy(gate)
        for id_ in hooks:
            shown = wait_until(lambda: self.tried(gate, id_))
            self.assertTrue(shown, "never tried")
            self.assertEqual((shown["last_status"], shown["pending"]), (None, 1))
        for listener in reached:
            with self.assertRaises(BlockingIOError):
                listener.accept()
        self.assertIn("a webhook cannot be reached", gate.stderr())

    def tried(self, gate, id_):
        shown = gate.api.get("/api/v1/webhooks/" + id_).json
        return shown if shown["last_delivery_at"] else None


class RevocationHook(Telling):
    def hooked(self, **changes):
        management = {"revocation_hook": {"secret": SECRET}, **changes.pop("management", {})}
        return self.managed(management=management, routes=[members(self.up)], workers=4, **changes)

    def event(self, data, at=None, event="token.revoked"):
        when = datetime.fromtimestamp(time.time() if at is None else at, timezone.utc)
        return json.dumps(
            {"event": event, "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "data": data}
        ).encode()

    def send(self, gate, body, signature=None, **more):
        fields = {"Content-Type": "application/json", "X-Zero-Signature": signature or sign(body)}
        return gate.api.as_(None).call("POST", "/api/v1/hooks/revocations", body, headers=fields, **more)

    def status(self, gate, access):
        return ask(gate.port, "GET", "/", [("Authorization", "Bearer " + access)]).status

    def test_at_once_on_all_workers(self):
        gate = self.hooked()
        gone, other = token(jti="t-1"), token(jti="t-2")
        clients = [Client(gate.port) for _ in range(12)]
        for c in clients:
            self.addCleanup(c.close)
            for access in (gone, other):
                self.assertStatus(c.request(fields=[("Authorization", "Bearer " + access)]).response(), 200)
        answer = self.send(gate, self.event({"iss": ISSUER, "jti": "t-1", "exp": int(time.time()) + 600}))
        self.assertEqual((answer.status, answer.body), (204, b""))
        for c in clients:                                # the very next request
            self.assertStatus(c.request(fields=[("Authorization", "Bearer " + gone)]).response(), 401)
            self.assertStatus(c.request(fields=[("Authorization", "Bearer " + other)]).response(), 200)
        entry = gate.api.get("/api/v1/audit-logs?action=revocation.receive").json["data"]
        self.assertEqual([(e["result"], e["details"]) for e in entry], [("success", {"entries": 1})])

    def test_lists_and_subjects(self):
        gate = self.hooked()
        now = int(time.time())
        self.assertEqual(self.send(gate, self.event([])).status, 204)
        many = [{"iss": ISSUER, "jti": "j%d" % i} for i in range(2000)] + [
            {"iss": ISSUER, "sub": "mallory"},
            {"iss": ISSUER, "sub": "bob", "not_before": now - 100},
            {"iss": "https://other.test", "sub": "carol"},
        ]
        self.assertEqual(self.send(gate, self.event(many)).status, 204)
        for want, claims in (
            (401, {"jti": "j0"}), (401, {"jti": "j1999"}), (200, {"jti": "j2000"}), (401, {"sub": "mallory"}),
            (401, {"sub": "bob", "iat": now - 200}), (200, {"sub": "bob", "iat": now - 50}), (200, {"sub": "carol"}),
        ):  # fmt: skip
            self.assertEqual(self.status(gate, token(**claims)), want, claims)
        self.assertEqual(gate.metric("tollgate_revocations"), 2003)

    def test_refused(self):
        gate = self.hooked()
        good = self.event({"iss": ISSUER, "jti": "t"})
        for why, body, signature, want in (
            ("another secret", good, sign(good, "x"), 401),
            ("of another body", good, sign(good + b" "), 401),
            ("upper case", good, sign(good).upper(), 401),
            ("without its name", good, sign(good)[7:], 401),
            ("cut", good, sign(good)[:-1], 401),
            ("longer", good, sign(good) + "0", 401),
            ("stale", self.event({"iss": ISSUER, "jti": "t"}, time.time() - 310), None, 400),
            ("of the future", self.event({"iss": ISSUER, "jti": "t"}, time.time() + 320), None, 400),
            ("another event", self.event({"iss": ISSUER, "jti": "t"}, event="token.revoke"), None, 400),
            ("no issuer", self.event({"jti": "t"}), None, 400),
            ("nobody", self.event({"iss": ISSUER}), None, 400),
            ("both", self.event({"iss": ISSUER, "jti": "t", "sub": "t"}), None, 400),
            ("one of a list", self.event([{"iss": ISSUER, "jti": "t"}, {"iss": 1}]), None, 400),
            ("no object", self.event("t"), None, 400),
            ("no JSON", b"{", None, 400),
        ):
            answer = self.send(gate, body, signature)
            self.assertEqual(answer.status, want, why)
            self.assertNotIn("www-authenticate", answer.headers if want == 400 else {})
        without = gate.api.as_(None).call(
            "POST", "/api/v1/hooks/revocations", good, headers={"Content-Type": "application/json"}
        )
        self.assertEqual(without.status, 401)
        self.assertEqual(self.status(gate, token(jti="t")), 200)
        self.assertEqual(gate.metric("tollgate_revocations"), 0)
        denied = gate.api.get("/api/v1/audit-logs?action=revocation.receive&result=denied&page_size=100").json
        self.assertEqual(denied["total"], 7)
        self.assertNotIn(SECRET, gate.stderr())

    def test_off(self):
        gate = self.managed(routes=[members(self.up)])
        self.assertEqual(self.send(gate, self.event({"iss": ISSUER, "jti": "t"})).status, 404)

    def test_survives(self):
        """kill -9, and a configuration without a hook: what was withdrawn stays so."""
        state = self.state()
        gate = self.manage(
            state_dir=state, routes=[members(self.up)], management={"revocation_hook": {"secret": SECRET}}
        )
        body = self.event([{"iss": ISSUER, "jti": "t-1"}, {"iss": ISSUER, "jti": "t-2", "exp": int(time.time()) - 400}])
        self.assertEqual(self.send(gate, body).status, 204)
        os.kill(gate.pid, signal.SIGKILL)
        gate.stop(expect=-signal.SIGKILL)
        for again in (self.hooked(state_dir=state), self.start(config([members(self.up)], state_dir=state))):
            self.assertEqual(self.status(again, token(jti="t-1")), 401)
            self.assertEqual(self.status(again, token(jti="t-3")), 200)
            self.assertEqual(again.metric("tollgate_revocations"), 1)


if __name__ == "__main__":
    main()
