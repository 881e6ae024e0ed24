"""The management API as a server of HTTP: framing, refusals in both shapes, limits, a store that is slow, TLS, the end.

What its endpoints do is in test_management_policies.py, test_management_access.py, test_webhooks.py and test_audit.py.
"""

import json
import os
import signal
import socket
import sqlite3
import struct
import tempfile
import threading
import time

import certs
from harness import (
    PATIENCE,
    Case,
    Client,
    NotStarted,
    Tollgate,
    ask,
    ask_tls,
    config,
    free_port,
    main,
    parallel,
    public,
    request,
    run,
    tls_context,
    value,
    wait_until,
)
from openapi import Api, check_message

POLICIES, V0 = "/api/v1/policies", "/api/v0/organizations"
JSON = ("Content-Type", "application/json")
PEACE = {"authenticated": 1000000, "unauthenticated": 1000000}
GOOD = {"name": "p", "policy_data": {"ppl": {"allow": {"and": [{"accept": True}]}}}}
LIMIT_FIELDS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def user(gate, role, name=None):
    """An API user's token."""
    code, out, err = run("token", "create", "--kind", "api-user", "--name", name or role, "--role", role, "-c",
                         gate.config_path, cwd=gate.dir)
    if code != 0:
        raise AssertionError("token create: %d %s" % (code, err))
    return out.strip()


def start(up, routes=None, files=None, **management):
    """A tollgate with the management API at .api_port, and a route of the file that everybody passes."""
    port = free_port()
    section = {"address": "127.0.0.1:%d" % port, "organization": {"id": "org"}, "limits": PEACE, **management}
    gate = Tollgate(config(routes or [public(up)], state_dir="state", management=section),
                    files={"state/.keep": "", **(files or {})})
    gate.api_port = port
    return gate


class Managed(Case):
    limits = PEACE

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gate = start(cls.up, limits=cls.limits)
        cls.port, cls.api_port = cls.gate.port, cls.gate.api_port
        cls.owner, cls.auditor = user(cls.gate, "owner"), user(cls.gate, "auditor")
        cls.api = Api(cls.api_port, cls.owner)

    def bearer(self, token=None):
        return ("Authorization", "Bearer " + (token or self.owner))

    def ask(self, method, target, fields=(), body=None):
        m = ask(self.api_port, method, target, fields, body)
        self.complete(m)
        return check_message(method, target, m)

    def complete(self, m):
        """What every answer has."""
        for name in LIMIT_FIELDS:
            self.assertIsNotNone(value(m, name), "%s of %r" % (name, m.raw))
        self.assertEqual(value(m, "Cache-Control"), "no-store")
        self.assertRegex(value(m, "X-Request-Id"), r"^[0-9a-f-]{36}$|^mine")
        self.assertEqual(int(value(m, "X-RateLimit-Reset")) % 60, 0)

    def shape(self, m, status, v0):
        said = json.loads(m.body)
        self.assertEqual(m.status, status, said)
        if v0:
            self.assertEqual(list(said), ["error"])
            self.assertIsInstance(said["error"], str)
        else:
            self.assertEqual(said["code"], status)
            self.assertEqual(said["message"], said["message"].lower())
            self.assertLessEqual(set(said), {"code", "message", "details"})
        return said


class Refusals(Managed):
    def test_paths_that_are_not_there(self):
        for target in ("/", "/api/v9/x", "/api/v1/auth/login", "/oauth/v2/token", "/api/v0/x", V0 + "/org/x", "/livez",
                       POLICIES + "/"):
            for fields in ((), (self.bearer(),)):
                for method in ("GET", "POST"):
                    self.shape(self.ask(method, target, fields), 404, target.startswith("/api/v0/"))

    def test_every_method(self):
        there = {POLICIES: "GET, HEAD, POST", "/api/v0/token": "POST", "/api/v1/health": "GET, HEAD"}
        for target, allow in there.items():
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
                m = self.ask(method, target, (self.bearer(), JSON))
                self.assertEqual(m.status == 405, method not in allow, (method, target, m.status))
                if m.status == 405:
                    self.assertEqual(value(m, "Allow"), allow)
                    if method != "HEAD":
                        self.shape(m, 405, target.startswith("/api/v0"))
        for method in ("TRACE", "CONNECT"):
            m = self.ask(method, POLICIES if method == "TRACE" else "app.test:443", (self.bearer(),))
            self.assertEqual(m.status, 405)
            self.assertIsNotNone(value(m, "Allow"))
        m = self.ask("HEAD", POLICIES, (self.bearer(),))
        self.assertEqual((m.status, m.body), (200, b""))

    def test_credentials(self):
        realm = 'Bearer realm="tollgate-management"'
        bad = realm + ', error="invalid_token", error_description="The access token is invalid"'
        for given, status, challenge in (
            ((), 401, realm),
            ((("Authorization", "Basic YTpi"),), 401, realm),
            ((("Authorization", self.owner),), 401, realm),  # an opaque token is never taken bare
            ((self.bearer("junk"),), 401, bad),
            ((self.bearer(self.owner[:-1] + ("A" if self.owner[-1] != "A" else "B")),), 401, bad),
            ((("Authorization", "Bearer"),), 400, realm + ', error="invalid_request", error_description="'),
            ((("Authorization", "Bearer a b"),), 400, realm + ', error="invalid_request", error_description="'),
            ((self.bearer(), self.bearer()), 400, realm + ', error="invalid_request", error_description="'),
        ):
            for target in (POLICIES, V0):
                m = self.ask("GET", target, given)
                self.shape(m, status, target == V0)
                said = value(m, "WWW-Authenticate")
                self.assertTrue(said == challenge or (status == 400 and said.startswith(challenge)), said)
                self.assertNotIn(b"junk", m.raw)
        for scheme in ("Bearer", "bearer", "BEARER", "bEaReR  ", "Pomerium"):
            self.assertEqual(self.ask("GET", V0, (("Authorization", scheme + " " + self.owner),)).status, 200)

    def test_a_token_in_the_query_beside_the_field(self):
        for query, status in (("?access_token=x", 400), ("?access%5Ftoken=", 400), ("?my_access_token=x", 200)):
            for target in (POLICIES, V0):
                self.assertEqual(self.ask("GET", target + query, (self.bearer(),)).status, status, query)
        self.assertEqual(self.ask("GET", POLICIES + "?access_token=x").status, 401)

    def test_what_a_client_says_is_not_the_store(self):
        for method, target, body, status in (
            ("POST", POLICIES, {"tollgate.db: x": 1}, 400),
            ("POST", "/api/v1/tokens", {"tollgate.db: x": 1}, 400),
            ("GET", "/api/v1/tokens/tollgate.db:%20", None, 404),
        ):
            m = self.ask(method, target, (self.bearer(), JSON), None if body is None else json.dumps(body).encode())
            self.shape(m, status, False)

    def test_roles(self):
        for method, target, v0 in (("POST", POLICIES, False), ("POST", V0 + "/org/policies", True),
                                   ("DELETE", V0 + "/org/routes/x", True), ("PUT", POLICIES + "/x", False)):
            m = self.ask(method, target, (self.bearer(self.auditor), JSON), b"{}")
            self.shape(m, 403, v0)
            self.assertEqual(value(m, "WWW-Authenticate"), 'Bearer realm="tollgate-management", '
                             'error="insufficient_scope", scope="admin"')

    def test_bodies(self):
        for target in (POLICIES, V0 + "/org/policies", "/api/v0/token"):
            v0 = target.startswith("/api/v0")
            for fields, body, status in (
                ((), b"{}", 415),
                ((("Content-Type", "text/plain"),), b"{}", 415),
                ((JSON, ("Content-Encoding", "gzip")), b"{}", 415),
                ((JSON,), b"", 400),
                ((JSON,), b"{", 400),
                ((JSON,), b"[]", 400),
                ((JSON,), b'{"a":1,"a":2}', 400),
                ((("Content-Type", "application/json; charset=utf-8"),), b"nul", 400),
                ((JSON,), b" " * (1 << 20) + b"{}", 413),
            ):
                if status == 415 and target == "/api/v0/token":
                    status = 400  # its clients try again after whatever is not 400
                said = self.shape(self.ask("POST", target, (self.bearer(),) + fields, body), status, v0)
                if status == 400 and not v0:
                    self.assertIn("details", said)
        self.assertEqual(self.ask("POST", POLICIES, (self.bearer(), JSON), b" " * ((1 << 20) - 1)).status, 400)

    def test_framing(self):
        """What is no HTTP is refused by the gate, in the shape of v1, counted as any other."""
        for head in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", b"junk\r\n\r\n",
                     b"GET /%2f HTTP/1.1\r\nHost: a\r\n\r\n",
                     b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                     % POLICIES.encode()):
            with Client(self.api_port) as c:
                m = c.send(head).response()
            self.complete(m)
            self.shape(m, 400, False)

    def test_queries(self):
        for query, status in (("?page=0", 400), ("?page_size=101", 400), ("?page=x", 400), ("?page=9999", 200),
                              ("?a=%zz", 400), ("?unknown=1", 200), ("?page_size=1&page=1", 200)):
            self.assertEqual(self.ask("GET", POLICIES + query, (self.bearer(),)).status, status, query)
        self.assertEqual(json.loads(self.ask("GET", POLICIES + "?page=9999", (self.bearer(),)).body)["data"], [])

    def test_request_id_comes_back(self):
        m = self.ask("GET", POLICIES, (self.bearer(), ("X-Request-Id", "mine-7")))
        self.assertEqual(value(m, "X-Request-Id"), "mine-7")
        m = self.ask("GET", POLICIES, (self.bearer(), ("X-Request-Id", "b" * 300)))
        self.assertNotIn("bbb", value(m, "X-Request-Id"))

    def test_no_redirects(self):
        for target in ("/api/v1//policies", "/api/v1/./policies", "//api/v0/organizations"):
            self.assertEqual(self.ask("GET", target, (self.bearer(),)).status, 200)


class Told(Managed):
    """What the audit log has of who was refused."""

    def entries(self, action):
        return self.api.get("/api/v1/audit-logs?page_size=100&action=" + action).json["data"]

    def test_refused_logins(self):
        junk = "junk-that-must-not-be-told"
        m = self.ask("GET", POLICIES, (self.bearer(junk), ("X-Request-Id", "mine-denied")))
        self.assertEqual(m.status, 401)
        self.ask("GET", POLICIES)  # who shows nothing has not been refused a login
        self.ask("DELETE", POLICIES + "/x", (self.bearer(self.auditor), ("X-Request-Id", "mine-role")))
        found = {e["request_id"]: e for e in self.entries("auth.denied")}
        self.assertEqual(set(found), {"mine-denied", "mine-role"})
        for entry in found.values():
            self.assertEqual((entry["result"], entry["source_ip"]), ("denied", "127.0.0.1"))
            self.assertEqual(entry["details"]["path"][: len(POLICIES)], POLICIES)
        self.assertNotIn(junk, json.dumps(found))
        self.assertIn("auditor", found["mine-role"]["actor"])

    def test_a_bare_token_is_told_once(self):
        said = self.api.post("/api/v0/token", {"refreshToken": self.owner}).json
        for _ in range(3):
            self.assertEqual(self.ask("GET", V0, (("Authorization", said["idToken"]),)).status, 200)
        entries = self.entries("auth.bare_token")
        self.assertEqual(len(entries), 1)
        self.assertNotIn(said["idToken"], json.dumps(entries))
        self.assertEqual(self.gate.metric("tollgate_management_bare_tokens_total"), 3)


class Open(Managed):
    def test_health(self):
        said = Api(self.api_port).get("/api/v1/health").json
        self.assertEqual(said["status"], "ok")
        self.assertEqual(set(said), {"status", "version", "time"})

    def test_openapi(self):
        said = Api(self.api_port).get("/api/v1/openapi.json").json
        with open(os.path.join(os.path.dirname(__file__), "..", "..", "proxy", "admin", "openapi.json"), "rb") as f:
            self.assertEqual(said, json.load(f))
        self.assertTrue(said["openapi"].startswith("3.1"))

    def test_metrics_and_readiness(self):
        self.ask("GET", POLICIES, (self.bearer(),))
        self.assertGreater(self.gate.metric("tollgate_management_requests_total", code="200"), 0)
        self.assertIn("management API: ok", ask(self.gate.health, "GET", "/readyz?verbose").body.decode())

    def test_nothing_of_it_on_the_other_listeners(self):
        self.assertNotEqual(ask(self.gate.health, "GET", "/api/v1/health").status, 200)
        before = len(self.up.seen) if hasattr(self.up, "seen") else None
        self.assertEqual(ask(self.port, "GET", "/api/v1/health").status, 200)  # the upstream's own
        self.assertTrue(before is None or len(self.up.seen) == before + 1)


class Connections(Managed):
    def test_split_anywhere(self):
        whole = request("POST", POLICIES, (self.bearer(), JSON), json.dumps(GOOD).encode())
        for step in (1, 7, 100):
            with Client(self.api_port) as c:
                for at in range(0, len(whole), step):
                    c.send(whole[at:at + step])
                self.assertEqual(c.response().status, 201)

    def test_chunks(self):
        body = json.dumps(GOOD).encode()
        head = request("POST", POLICIES, (self.bearer(), JSON, ("Transfer-Encoding", "chunked")))
        with Client(self.api_port) as c:
            c.send(head + b"".join(b"1\r\n%c\r\n" % b for b in body) + b"0\r\n\r\n")
            self.assertEqual(c.response().status, 201)
            c.send(head + b"100001\r\n" + b" " * 0x100001 + b"\r\n0\r\n\r\n")
            m = c.response()
        self.complete(m)
        self.shape(m, 413, False)

    def test_keep_alive_and_pipelining(self):
        with Client(self.api_port) as c:
            for _ in range(5):
                self.assertEqual(c.request("GET", POLICIES, (self.bearer(),)).response().status, 200)
            wanted = []
            for i in range(30):
                target, status = ((POLICIES, 200), ("/api/v1/x", 404), ("/api/v1/health", 200))[i % 3]
                c.request("GET", target, (self.bearer(), ("X-Request-Id", "mine-%d" % i)))
                wanted.append((status, "mine-%d" % i))
            got = [c.response() for _ in wanted]
            self.assertEqual([(m.status, value(m, "X-Request-Id")) for m in got], wanted)

    def test_continue(self):
        fields = (self.bearer(), JSON, ("Expect", "100-continue"), ("Content-Length", "2"))
        with Client(self.api_port) as c:
            c.send(request("POST", POLICIES, fields))
            self.assertEqual(c.response(interim=True).status, 100)
            self.assertEqual(c.send(b"{}").response().status, 400)
        for target, fields, status in (
            (POLICIES, fields[1:], 401),
            ("/api/v1/nothing", fields, 404),
            (POLICIES, (self.bearer(), ("Content-Type", "text/plain")) + fields[2:], 415),
            (POLICIES, fields[:3] + (("Content-Length", "1048577"),), 413),
        ):
            with Client(self.api_port) as c:
                m = c.send(request("POST", target, fields)).response(interim=True)
                self.assertEqual(m.status, status)
                self.complete(m)
                self.assertEqual(value(m, "Connection"), "close")

    def test_many_at_once(self):
        def one(i):
            with Client(self.api_port) as c:
                return [c.request("GET", (POLICIES, V0)[(i + k) % 2], (self.bearer(),)).response().status
                        for k in range(20)]

        self.assertEqual(set(sum(parallel(20, one), [])), {200})

    def test_more_connections_than_may_be(self):
        held = []
        try:
            for _ in range(300):
                held.append(Client(self.api_port, source="127.0.0.%d" % (2 + len(held) % 6)))
            closed = wait_until(lambda: sum(1 for c in held if self._is_closed(c)) >= 40)
            self.assertTrue(closed)
            self.assertEqual(ask(self.port, "GET", "/").status, 200)
            self.assertEqual(ask(self.gate.health, "GET", "/livez").status, 200)
        finally:
            for c in held:
                c.close()
        self.assertTrue(wait_until(lambda: self._serves()))

    def test_one_address_does_not_take_them_all(self):
        held = [Client(self.api_port, source="127.0.0.9") for _ in range(300)]
        for c in held:
            c.send(b"GET /api/v1/health HTTP/1.1\r\nHo")
        self.assertTrue(wait_until(lambda: sum(map(self._is_closed, held)) == 300 - 64, 5))
        self.assertTrue(self._serves())
        for c in held:
            c.close()
        self.assertTrue(wait_until(lambda: ask(self.api_port, "GET", V0, (self.bearer(),),
                                               source="127.0.0.9").status == 200, 5))

    @staticmethod
    def _is_closed(c):
        c.sock.setblocking(False)
        try:
            return c.sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _serves(self):
        try:
            return ask(self.api_port, "GET", "/api/v1/health").status == 200
        except (AssertionError, OSError):
            return False


class Limits(Managed):
    limits = {"authenticated": 10, "unauthenticated": 5}

    def setUp(self):
        """Early in a minute, so that none ends in between."""
        left = 60 - time.time() % 60
        if left < 10:
            time.sleep(left + 0.1)
        # an address of its own for each test
        type(self).count = getattr(type(self), "count", 1) + 1
        self.source = "127.0.0.%d" % (self.count + 1)

    def from_here(self, method, target, fields=(), body=None):
        m = ask(self.api_port, method, target, fields, body, source=self.source)
        self.complete(m)
        return check_message(method, target, m)

    def test_strangers(self):
        got = [self.from_here("GET", (POLICIES, V0)[i % 2], (self.bearer("junk%d" % i),) if i % 3 else ())
               for i in range(7)]
        self.assertEqual([m.status for m in got], [401] * 5 + [429] * 2)
        self.assertEqual([value(m, "X-RateLimit-Remaining") for m in got], ["4", "3", "2", "1", "0", "0", "0"])
        for m in got[5:]:
            left = int(value(m, "X-RateLimit-Reset")) - time.time()
            self.assertLessEqual(abs(int(value(m, "Retry-After")) - left), 1.1)
            self.assertIsNone(value(m, "WWW-Authenticate"))
        self.shape(got[5], 429, True)
        self.shape(got[6], 429, False)
        for target, status in (("/api/v1/health", 429), ("/api/v1/openapi.json", 429), ("/api/v1/x", 404)):
            self.assertEqual(self.from_here("GET", target).status, status)
        m = self.from_here("POST", "/api/v0/token", (JSON,), json.dumps({"refreshToken": self.owner}).encode())
        self.shape(m, 429, True)

    def test_whoever_is_known_pays_for_himself(self):
        token = user(self.gate, "auditor", "payer")
        got = [self.from_here("GET", POLICIES, (self.bearer(token),)) for _ in range(12)]
        self.assertEqual([m.status for m in got], [200] * 10 + [429] * 2)
        self.assertEqual(value(got[0], "X-RateLimit-Limit"), "10")
        self.assertEqual(self.from_here("GET", POLICIES).status, 401)  # the address has paid for none of them

    def test_an_exchange_that_fails_costs_the_address(self):
        body = json.dumps({"refreshToken": "tga_" + "0" * 49}).encode()
        got = [self.from_here("POST", "/api/v0/token", (JSON,), body).status for _ in range(7)]
        self.assertEqual(got, [400] * 5 + [429] * 2)

    def test_and_one_that_succeeds_does_not(self):
        token = user(self.gate, "auditor", "exchanger")
        body = json.dumps({"refreshToken": token}).encode()
        got = [self.from_here("POST", "/api/v0/token", (JSON,), body) for _ in range(6)]
        self.assertEqual([m.status for m in got], [200] * 6)
        self.assertEqual(value(got[-1], "X-RateLimit-Limit"), "10")

    def test_an_exchange_above_the_limit_has_no_effect(self):
        token = user(self.gate, "auditor", "exchanges a lot")
        body = json.dumps({"refreshToken": token}).encode()
        got = [self.from_here("POST", "/api/v0/token", (JSON,), body) for _ in range(14)]
        self.assertEqual([m.status for m in got], [200] * 10 + [429] * 4)
        self.assertNotIn(b"idToken", got[-1].body)
        with sqlite3.connect(os.path.join(self.gate.dir, "state", "tollgate.db")) as db:
            told = db.execute("SELECT count(*) FROM audit WHERE action = 'auth.exchange' AND source_ip = ?",
                              (self.source,)).fetchone()
        self.assertEqual(told, (10,))

    def test_gate_refusals_are_counted(self):
        with Client(self.api_port, source=self.source) as c:
            m = c.send(b"GET / HTTP/1.1\r\n\r\n").response()
        self.assertEqual((m.status, value(m, "X-RateLimit-Remaining")), (400, "4"))


class Lock:
    """Another process that writes to the store, for as long as it is held."""

    def __init__(self, gate):
        self.db = sqlite3.connect(os.path.join(gate.dir, "state", "tollgate.db"), isolation_level=None)

    def __enter__(self):
        self.db.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, *_):
        self.db.execute("ROLLBACK")
        self.db.close()


def reset(c):
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


class SlowStore(Managed):
    def post(self):
        began = time.monotonic()
        m = ask(self.api_port, "POST", POLICIES, (self.bearer(), JSON), json.dumps(GOOD).encode(), timeout=20)
        self.complete(m)
        return check_message("POST", POLICIES, m), time.monotonic() - began

    def test_a_lock_is_503_and_no_hang(self):
        with Lock(self.gate):
            self.assertEqual(self.ask("GET", POLICIES, (self.bearer(),)).status, 200)  # readers wait for nobody
            for m, took in parallel(6, lambda i: self.post()):
                self.shape(m, 503, False)
                self.assertIsNotNone(value(m, "Retry-After"))
                self.assertNotIn(b"tollgate.db", m.raw)
                self.assertLess(took, 6 * PATIENCE)
            self.assertEqual(self.ask("GET", POLICIES).status, 401)  # its audit entry is lost, its answer is not
        self.assertEqual(self.post()[0].status, 201)

    def test_the_data_plane_does_not_notice(self):
        slowest = 0.0
        with Lock(self.gate):
            waiting = [threading.Thread(target=self.post) for _ in range(4)]
            for t in waiting:
                t.start()
            for _ in range(100):
                began = time.monotonic()
                self.assertEqual(ask(self.port, "GET", "/").status, 200)
                self.assertEqual(ask(self.gate.health, "GET", "/livez").status, 200)
                slowest = max(slowest, time.monotonic() - began)
            for t in waiting:
                t.join()
        self.assertLess(slowest, 0.5 * PATIENCE)

    def test_clients_that_go_while_it_is_slow(self):
        with Lock(self.gate):
            for i in range(40):
                c = Client(self.api_port)
                c.request("POST", POLICIES, (self.bearer(), JSON), json.dumps(GOOD).encode())
                if i % 2:
                    time.sleep(0.01)
                reset(c)
        self.assertTrue(wait_until(lambda: self.post()[0].status == 201, 15, 0.5))

    def test_more_than_may_wait(self):
        with Lock(self.gate):
            held = [Client(self.api_port, source="127.0.0.%d" % (1 + i % 4)) for i in range(200)]
            for c in held:
                c.request("POST", POLICIES, (self.bearer(), JSON), json.dumps(GOOD).encode())
            self.assertEqual({c.response().status for c in held}, {503})
            for c in held:
                c.close()
        self.assertEqual(self.post()[0].status, 201)


class Life(Case):
    def start(self, **changes):
        gate = start(self.up, **changes)
        self.stopped = False
        self.addCleanup(lambda: self.stopped or gate.stop())
        return gate

    def test_drain(self):
        """A change that is under way when the end is asked for is made, and answered."""
        gate = self.start()
        token, got = user(gate, "owner"), []
        fields = (("Authorization", "Bearer " + token), JSON)
        with Client(gate.api_port) as idle, Client(gate.api_port) as c:
            self.assertEqual(idle.request("GET", "/api/v1/health").response().status, 200)
            with Lock(gate):
                c.request("POST", POLICIES, fields, json.dumps(GOOD).encode())
                time.sleep(0.2)
                gate.proc.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            got.append(c.response())
            self.assertEqual(got[0].status, 201)
            self.assertEqual(value(got[0], "Connection"), "close")
            self.assertTrue(c.ends() and idle.ends())
        self.stopped = True
        gate.stop()

    def test_killed_while_calls_are_out(self):
        """A second signal ends it at once: nobody is left behind."""
        gate = self.start()
        token = user(gate, "owner")
        fields = (("Authorization", "Bearer " + token), JSON)
        held = [Client(gate.api_port) for _ in range(10)]
        with Lock(gate):
            for c in held:
                c.request("POST", POLICIES, fields, json.dumps(GOOD).encode())
            gate.proc.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            gate.proc.send_signal(signal.SIGTERM)
            self.stopped = True
            gate.stop()
        for c in held:
            c.close()

    def test_a_store_that_is_replaced(self):
        gate = self.start()
        token = user(gate, "owner")
        api = Api(gate.api_port, token)
        self.assertEqual(api.get(POLICIES).status, 200)
        for name in ("tollgate.db", "tollgate.db-wal", "tollgate.db-shm"):
            try:
                os.unlink(os.path.join(gate.dir, "state", name))
            except FileNotFoundError:
                pass
        self.assertEqual(api.get(POLICIES).status, 401)  # another store: nobody of the old one is in it
        again = user(gate, "owner")
        self.assertEqual(api.as_(again).post(POLICIES, GOOD).status, 201)

    def test_reload(self):
        gate = self.start()
        token = user(gate, "owner")
        api = Api(gate.api_port, token)
        self.assertEqual(api.get(POLICIES).headers["x-ratelimit-limit"], "1000000")
        gate.cfg["management"]["limits"] = {"authenticated": 77}
        gate.configure(gate.cfg)
        gate.reload()
        self.assertTrue(wait_until(lambda: api.get(POLICIES).headers["x-ratelimit-limit"] == "77"))
        gate.cfg["management"]["address"] = "127.0.0.1:%d" % free_port()
        gate.configure(gate.cfg)
        gate.reload()
        self.assertTrue(wait_until(lambda: "management.address" in gate.stderr()))
        self.assertEqual(api.get(POLICIES).status, 200)

    def test_a_warning_is_told_once(self):
        """Also when routes that come before it move it to another line of the set."""
        gate = self.start()
        api = Api(gate.api_port, user(gate, "owner"))
        for name in "zyx":
            body = {"name": name, "from": "http://%s.test" % name, "to": [self.up.url],
                    "allowPublicUnauthenticatedAccess": True}
            self.assertEqual(api.post(V0 + "/org/routes", body).status, 201)
            self.assertTrue(wait_until(lambda: "route (%s) can never match" % name in gate.stderr(), 5))
        self.assertEqual(gate.stderr().count("can never match"), 3)

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            authority = certs.ca(folder)
            leaf = certs.leaf(folder, authority, ["app.test", "127.0.0.1"])
            gate = self.start(certificate_file=leaf.chain, certificate_key_file=leaf.key)
            token = user(gate, "owner")
            for version in ("1.2", "1.3"):
                context = tls_context(authority.cert, version=version)
                fields = (("Authorization", "Bearer " + token), JSON)
                m = ask_tls(gate.api_port, context, "POST", POLICIES, fields, json.dumps(GOOD).encode())
                self.assertEqual(m.status, 201)
                self.assertIsNotNone(value(m, "X-RateLimit-Limit"))
            self.assertEqual(ask(gate.api_port, "GET", POLICIES).status, 400)  # plain HTTP
            self.assertEqual(ask(gate.port, "GET", "/").status, 200)  # the data plane is as it was
            second = certs.leaf(folder, authority, ["app.test"], name="second")
            gate.cfg["management"].update(certificate_file=second.chain, certificate_key_file=second.key)
            gate.configure(gate.cfg)
            gate.reload()

            def serial():
                with socket.create_connection(("127.0.0.1", gate.api_port), 5) as s:
                    with tls_context(authority.cert).wrap_socket(s, server_hostname="app.test") as t:
                        return t.getpeercert()["serialNumber"]

            self.assertTrue(wait_until(lambda: int(serial(), 16) == int(second.serial(), 16)))


class Settings(Case):
    def refused(self, says, **section):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "c.json")
            with open(path, "w", encoding="utf-8") as f:
                json.dump({"state_dir": folder, "management": section}, f)
            code, out, err = run("check", "-c", path)
        self.assertEqual(code, 78, out + err)
        self.assertRegex(out + err, says)

    def test_mistakes(self):
        self.refused("management.address", address="nowhere")
        self.refused("management.url: needed", address=":9091")
        self.refused("management.url", url="ftp://x")
        self.refused("certificate_key_file go together", certificate_file="x.pem")
        self.refused("management.organization.*64", organization={"id": "a b"})
        self.refused("two have the same name", clusters=["a", "a"])
        self.refused("management.limits.authenticated", limits={"authenticated": 0})
        self.refused("limit.*did you mean", limit={})
        self.refused("revocation_hook.*secret", revocation_hook={})
        for bad in ("10.0.0.0/33", "10.0.0/8", "hooks.test:80", "*.test"):
            self.refused("management.webhooks.allowed_networks: must be", webhooks={"allowed_networks": ["::1", bad]})
        self.refused("id_token_lifetime", id_token_lifetime="2h")

    def test_needs_a_state_dir(self):
        with self.assertRaises(NotStarted) as caught:
            Tollgate(config([public(self.up)], management={"address": "127.0.0.1:%d" % free_port()}))
        self.assertEqual(caught.exception.status, 77)
        self.assertIn("state_dir", caught.exception.stderr)


if __name__ == "__main__":
    main()
