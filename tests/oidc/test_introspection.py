"""Opaque tokens: a real OpenID provider is asked what they are (RFC 7662), and a small one that is slow, broken, counted.

Needs node and `npm ci` in this directory (scripts/test does it); the small provider needs Python only.
"""

import base64
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
from harness import (  # noqa: E402
    AUDIENCE,
    Case,
    Client,
    SLOW,
    ask,
    config,
    free_port,
    main,
    members,
    provider,
    request,
    run,
    token,
    value,
    wait_until,
)
from redis_server import Redis  # noqa: E402
from test_oidc import Node, auth, need_node  # noqa: E402

ODD_ID, ODD_SECRET = "78366401571920522@acme", "very weak&secret!%+: 0123456789"


# ---- a real provider --------------------------------------------------------------------------------------------
class RealProvider(Case):
    """oidc-provider: how tollgate shows itself, and revocation."""

    @classmethod
    def setUpClass(cls):
        need_node()
        super().setUpClass()
        cls.dir = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.dir.cleanup)
        for name in ("app", "plain"):
            subprocess.run(
                ["openssl", "genrsa", "-traditional", "-out", cls.file(name + ".pem"), "2048"],
                check=True,
                stderr=subprocess.DEVNULL,
                timeout=30,
            )
        with open(cls.file("app.pem"), encoding="ascii") as f:
            app = {"type": "application", "keyId": "7001", "key": f.read(), "appId": "1", "clientId": "app@acme"}
        cls.write("zitadel.json", json.dumps(app))
        cls.write("odd.secret", ODD_SECRET + "\n")
        key = {"token_endpoint_auth_method": "private_key_jwt"}
        cls.write(
            "clients.json",
            json.dumps(
                [
                    {"client_id": ODD_ID, "client_secret": ODD_SECRET},
                    {"client_id": "post@acme", "client_secret": ODD_SECRET,
                     "token_endpoint_auth_method": "client_secret_post"},
                    {"client_id": "app@acme", "pem": cls.file("app.pem"), "kid": "7001", **key},
                    {"client_id": "plain@acme", "pem": cls.file("plain.pem"), "kid": "k1", **key},
                ]
            ),
        )
        cls.port_of_provider = free_port()
        cls.issuer = "http://127.0.0.1:%d" % cls.port_of_provider
        os.environ["CLIENTS"] = cls.file("clients.json")
        cls.node = Node("provider.mjs", str(cls.port_of_provider))
        del os.environ["CLIENTS"]
        cls.addClassCleanup(cls.node.stop)

    @classmethod
    def file(cls, name):
        return os.path.join(cls.dir.name, name)

    @classmethod
    def write(cls, name, text):
        with open(cls.file(name), "w", encoding="utf-8") as f:
            f.write(text)

    def post(self, path, client="robot", **form):
        basic = base64.b64encode(("%s:%s-secret" % (client, client)).encode()).decode()
        body = urllib.parse.urlencode(form).encode()
        req = urllib.request.Request(self.issuer + path, body, {"Authorization": "Basic " + basic})
        with urllib.request.urlopen(req, timeout=10) as r:
            return r.read()

    def fetch(self, client="robot", resource="urn:test:opaque"):
        text = self.post("/token", client, grant_type="client_credentials", resource=resource, scope="api")
        return json.loads(text)["access_token"]

    def gate_for(self, audience="urn:test:opaque", policy=None, **introspection):
        p = {"issuer": self.issuer, "audiences": [audience], "introspection": introspection}
        route = {"name": "robots", "prefix": "/robots", "to": self.up.url, "policy": policy} if policy else None
        return self.start(config([route] * bool(policy) + [members(self.up)], identity_providers={"corp": p}))

    WAYS = {
        "basic": {"client_id": ODD_ID, "client_secret_file": "odd.secret"},
        "post": {"client_id": "post@acme", "client_secret_file": "odd.secret", "auth_method": "post"},
        "a key file of ZITADEL": {"private_key_file": "zitadel.json"},
        "a key in PEM": {"client_id": "plain@acme", "private_key_file": "plain.pem", "key_id": "k1"},
    }

    def way(self, name):
        return {k: self.file(v) if k.endswith("_file") else v for k, v in self.WAYS[name].items()}

    def test_ways_to_show_oneself(self):
        """Each half of Basic is form-encoded; the endpoint is found by discovery."""
        t = self.fetch()
        policy = {"allow": {"and": [{"domain": {"is": "corp.example"}}, {"claim/tier": "gold"}]}}
        for name in self.WAYS:
            with self.subTest(name):
                gate = self.gate_for(policy=policy, **self.way(name))
                self.assertStatus(ask(gate.port, "GET", "/robots", auth(t)), 200, "its claims reach the policy")
                self.assertStatus(ask(gate.port, "GET", "/robots", auth(self.fetch("stranger"))), 403)
                m = ask(gate.port, "GET", "/", auth("nobody-knows-this-one"))
                self.assertStatus(m, 401)
                self.assertIn("invalid_token", value(m, "WWW-Authenticate"))
                line = gate.log("/robots")[0]
                self.assertEqual((line["sub"], line["issuer"]), ("robot", self.issuer))
                self.assertEqual(gate.metric("tollgate_introspection_requests_total", result="active"), 2)
                self.assertEqual(gate.metric("tollgate_introspection_requests_total", result="inactive"), 1)

    def test_another_audience(self):
        """The provider says that it is active; for whom, is checked here."""
        gate = self.gate_for("urn:test:other", **self.way("basic"))
        self.assertStatus(ask(gate.port, "GET", "/", auth(self.fetch())), 401)
        self.assertIn("active was refused", gate.stderr())

    def test_revocation_is_seen_within_ttl(self):
        gate = self.gate_for(ttl="1s", negative_ttl="1s", **self.way("basic"))
        t = self.fetch()
        begin = time.monotonic()
        with Client(gate.port) as c:
            for _ in range(100):
                c.request("GET", "/", auth(t))
                self.assertEqual(c.response().status, 200)
            spent = time.monotonic() - begin
            asked = gate.metric("tollgate_introspection_requests_total", result="active")
            self.assertLessEqual(asked, 2 + spent)
            self.post("/token/revocation", token=t)
            time.sleep(1.2)
            c.request("GET", "/", auth(t))
            self.assertEqual(c.response().status, 401)
        self.assertEqual(gate.log(count=101)[-1]["token_refused"], "inactive")

    def test_bad_credential_is_503(self):
        """A wrong secret is our trouble, not the caller's; the right one counts at once, without a reload."""
        self.write("wrong.secret", "wrong-secret-wrong-secret-wrong-secret")
        gate = self.gate_for(client_id=ODD_ID, client_secret_file=self.file("wrong.secret"))
        t = self.fetch()
        m = ask(gate.port, "GET", "/", auth(t))
        self.assertStatus(m, 503)
        self.assertTrue(value(m, "Retry-After"))
        self.assertEqual(gate.metric("tollgate_introspection_requests_total", result="refused"), 1)
        self.assertIn("own credential", gate.stderr())
        self.assertIn("own credential", ask(gate.health, "GET", "/readyz?verbose").body.decode())
        self.write("wrong.secret", ODD_SECRET)
        self.assertStatus(ask(gate.port, "GET", "/", auth(t)), 200)
        for secret in (t, ODD_SECRET, "wrong-secret"):
            self.assertNotIn(secret, gate.stderr())
            self.assertNotIn(secret, json.dumps(gate.log()))

    def test_key_file_changes(self):
        """A key file that is replaced is read again without a signal."""
        with open(self.file("zitadel.json"), encoding="utf-8") as f:
            good = json.load(f)
        with open(self.file("plain.pem"), encoding="ascii") as f:
            self.write("rotating.json", json.dumps({**good, "key": f.read()}))
        gate = self.gate_for(private_key_file=self.file("rotating.json"))
        t = self.fetch()
        self.assertStatus(ask(gate.port, "GET", "/", auth(t)), 503)
        time.sleep(0.02)
        self.write("rotating.json", json.dumps(good))
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", auth(t)).status == 200, 8, 0.2))

    def test_refresh_of_the_provider(self):
        """It restarts and has forgotten its tokens: answers that were kept hold no longer than their ttl."""
        port = free_port()
        node = Node("provider.mjs", str(port))
        self.issuer = "http://127.0.0.1:%d" % port
        try:
            p = {"issuer": self.issuer, "audiences": ["urn:test:opaque"],
                 "introspection": {"client_id": "stranger", "client_secret_file": self.file("stranger"), "ttl": "1s",
                                   "negative_ttl": "1s", "timeout": "1s"}}
            self.write("stranger", "stranger-secret")
            gate = self.start(config([members(self.up)], identity_providers={"corp": p}))
            t = self.fetch()
            self.assertStatus(ask(gate.port, "GET", "/", auth(t)), 200)
            node.stop()
            time.sleep(1.1)
            self.assertStatus(ask(gate.port, "GET", "/", auth(t)), 503)
            node = Node("provider.mjs", str(port))
            self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", auth(t)).status == 401, 5, 0.2))
            self.assertStatus(ask(gate.port, "GET", "/", auth(self.fetch())), 200)
        finally:
            node.stop()


# ---- a small one, which does what it is told --------------------------------------------------------------------
class Endpoint:
    """Knows the tokens that begin with `good`; counts who was asked about."""

    def __init__(self):
        self.lock, self.asked = threading.Lock(), {}
        self.status, self.body, self.delay, self.dead = 200, None, 0, False
        self.revoked, self.claims = set(), {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                body = outer.answer(form["token"][0])
                if outer.dead:
                    self.close_connection = True
                    return
                try:
                    self.send_response(outer.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = "http://127.0.0.1:%d/introspect" % self.port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, t):
        with self.lock:
            self.asked[t] = self.asked.get(t, 0) + 1
        time.sleep(self.delay)
        if self.body is not None:
            return self.body
        if t in self.revoked or not (t.startswith("good") or t.count(".") == 2):
            return b'{"active":false}'
        return json.dumps({"active": True, "sub": "user-" + t[:12], "token_type": "Bearer", **self.claims}).encode()

    def count(self, prefix=""):
        with self.lock:
            return sum(n for t, n in self.asked.items() if t.startswith(prefix))

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class SmallProvider(Case):
    def setUp(self):
        self.idp = Endpoint()
        self.addCleanup(self.idp.stop)
        self.secret = tempfile.NamedTemporaryFile("w", suffix=".secret")
        self.secret.write("hush\n")
        self.secret.flush()
        self.addCleanup(self.secret.close)

    def settings(self, **introspection):
        return provider(
            introspection={"url": self.idp.url, "client_id": "me", "client_secret_file": self.secret.name,
                           **introspection}
        )

    def gate_with(self, limits=None, **introspection):
        more = {"rate_limits": limits} if limits else {}
        cfg = config([members(self.up)], identity_providers={"test": self.settings(**introspection)}, **more)
        return self.start(cfg)

    def status(self, gate, t):
        return ask(gate.port, "GET", "/", auth(t), timeout=20).status

    def test_trouble_is_503_and_not_kept(self):
        gate = self.gate_with(timeout="300ms")
        cases = [
            ("status 500", {"status": 500}),
            ("status 429", {"status": 429}),
            ("credential refused", {"status": 401}),
            ("no JSON", {"body": b"<html>"}),
            ("active is text", {"body": b'{"active":"true","sub":"x"}'}),
            ("members twice", {"body": b'{"active":false,"active":true,"sub":"x"}'}),
            ("too large", {"body": b'{"active":true,"sub":"x","a":"' + b"a" * 70000 + b'"}'}),
            ("slow", {"delay": 0.6}),
        ]
        for n, (why, how) in enumerate(cases):
            with self.subTest(why):
                self.idp.status, self.idp.body, self.idp.delay = 200, None, 0
                for k, v in how.items():
                    setattr(self.idp, k, v)
                m = ask(gate.port, "GET", "/", auth("good-%d" % n))
                self.assertStatus(m, 503)
                self.assertTrue(value(m, "Retry-After"))
        self.idp.status, self.idp.body, self.idp.delay = 200, None, 0
        for n in range(len(cases)):
            self.assertEqual(self.status(gate, "good-%d" % n), 200)
        self.idp.dead = True
        self.assertEqual(self.status(gate, "good-0"), 200, "what was said still stands")
        self.assertEqual(self.status(gate, "good-new"), 503)
        self.assertEqual({x["refused"] for x in gate.log() if x["status"] == 503}, {"no-answer"})
        self.assertNotIn("good-", gate.stderr())

    def test_one_question_for_many_callers(self):
        """On every worker, on many connections at once; and one who goes away meanwhile changes nothing."""
        self.idp.delay = 0.4
        gate = self.gate_with()
        clients = [Client(gate.port) for _ in range(40)]
        for c in clients:
            c.send(request("GET", "/", auth("good-shared")))
        for c in clients[:5]:
            c.sock.close()
        for c in clients[5:]:
            self.assertEqual(c.response().status, 200)
            c.sock.close()
        self.assertEqual(self.idp.count(), 1)

    def test_who_goes_away_before_it_is_counted(self):
        """Somebody was asked for him: that is charged, though the counter's store took longer than he stayed."""
        redis = Redis(free_port())
        self.addCleanup(redis.stop)
        gate = self.gate_with({"store": redis.url(), "store_secret": "s" * 32, "store_timeout": "1s"})
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_ratelimit_store_up") == 1))
        redis.pause()
        with Client(gate.port) as c:
            c.send(request("GET", "/gone", auth("bad-gone")))
            self.assertTrue(wait_until(lambda: self.idp.count("bad-gone") == 1))
            self.assertTrue(wait_until(lambda: gate.metric("tollgate_ratelimit_store_waits_total") == 1))
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line = gate.log("/gone", 1)[0]
        redis.resume()
        self.assertEqual((line["error"], line.get("tier")), ("client-gone", "unauthenticated"))
        self.assertEqual(gate.metric("tollgate_ratelimit_requests_total", tier="unauthenticated"), 1)

    def test_negative_answers(self):
        gate = self.gate_with(negative_ttl="1s")
        for _ in range(10):
            self.assertEqual(self.status(gate, "bad"), 401)
        self.assertEqual(self.idp.count("bad"), 1)
        time.sleep(1.1)
        self.assertEqual(self.status(gate, "bad"), 401)
        self.assertEqual(self.idp.count("bad"), 2)

    def test_never_beyond_exp(self):
        gate = self.gate_with(ttl="5m")
        self.idp.claims = {"exp": int(time.time()) + 2}
        self.assertEqual(self.status(gate, "good-1"), 200)
        self.idp.revoked.add("good-1")
        time.sleep(2.2)
        self.assertEqual(self.status(gate, "good-1"), 401)

    def test_never_beyond_max_age(self):
        """An answer that is kept does not outlive the age that the configuration allows a token."""
        settings = {**self.settings(ttl="5m"), "max_age": "2s"}
        gate = self.start(config([members(self.up)], identity_providers={"test": settings}))
        self.idp.claims = {"iat": int(time.time())}
        self.assertEqual(self.status(gate, "good-1"), 200)
        time.sleep(3.1)
        self.assertEqual(self.status(gate, "good-1"), 401)

    def test_slow_answer_that_is_not_kept(self):
        """Who waited gets the answer, however long it took within the timeout."""
        gate = self.gate_with(timeout="20s", ttl="0s", negative_ttl="0s")
        self.idp.delay = 5.6
        callers = [Client(gate.port) for _ in range(2)]
        for c, t in zip(callers, ("good-1", "bad")):
            c.send(request("GET", "/", auth(t)))
        self.assertEqual([c.response().status for c in callers], [200, 401])
        for c in callers:
            c.sock.close()

    def test_signed_tokens_confirmed(self):
        """for: always: a signed token is verified first, then asked about; what is not verified is shown to nobody."""
        gate = self.gate_with(**{"for": "always", "ttl": "1s", "negative_ttl": "0s"})
        t = token(email=None)
        self.idp.claims = {"sub": "user", "email": "found@example.com"}
        self.assertEqual(self.status(gate, t), 200)
        self.assertEqual(self.status(gate, t), 200)
        self.assertEqual(self.idp.count(), 1)
        for bad in (token(aud="other"), token(iss="https://elsewhere"), t[:-6] + "AAAAAA", token(exp=1)):
            self.assertEqual(self.status(gate, bad), 401)
        self.assertEqual(self.idp.count(), 1)
        self.idp.revoked.add(t)
        time.sleep(1.1)
        self.assertEqual(self.status(gate, t), 401)
        self.idp.status = 500
        self.assertEqual(self.status(gate, token(jti="another")), 503)

    def test_signed_tokens_are_not_shown(self):
        gate = self.gate_with()
        self.assertEqual(self.status(gate, token()), 200)
        self.assertEqual(self.status(gate, token(iss="https://elsewhere")), 401)
        self.assertEqual(self.idp.count(), 0)

    def test_reload(self):
        """Answers survive a reload that leaves the provider as it is, and only that."""
        gate = self.gate_with(ttl="5m")
        self.assertEqual(self.status(gate, "good-1"), 200)

        def reloaded(cfg):
            before = gate.stderr().count('"reloaded"')
            gate.configure(cfg)
            gate.reload()
            self.assertTrue(wait_until(lambda: gate.stderr().count('"reloaded"') > before, 10))

        reloaded({**gate.cfg, "realm": "another", "identity_providers": {"test": self.settings(ttl="5m", rate=7)}})
        self.assertEqual(self.status(gate, "good-1"), 200)
        self.assertEqual(self.idp.count(), 1)
        changed = {**self.settings(ttl="5m"), "audiences": [AUDIENCE, "more"]}
        reloaded({**gate.cfg, "identity_providers": {"test": changed}})
        self.assertEqual(self.status(gate, "good-1"), 200)
        self.assertEqual(self.idp.count(), 2)
        reloaded({**gate.cfg, "identity_providers": {"test": provider()}})
        self.assertEqual(self.status(gate, "good-1"), 401)
        self.assertEqual(self.idp.count(), 2)

    def test_check(self):
        cases = {
            "client_secret_file: needed": {"url": self.idp.url, "client_id": "me"},
            "negative_ttl": {"url": self.idp.url, "client_id": "me", "client_secret_file": self.secret.name,
                             "negative_ttl": "11s"},
            "http is for loopback": {"url": "http://idp.example.com/", "client_id": "me",
                                     "client_secret_file": self.secret.name},
            "did you mean identity_providers.test.introspection.client_secret_file": {"client_id": "me", "client_secret_fle": self.secret.name},
        }
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "t.json")
            for words, introspection in cases.items():
                with self.subTest(words), open(path, "w", encoding="utf-8") as f:
                    json.dump(config([members(self.up)],
                                     identity_providers={"test": provider(introspection=introspection)}), f)
                    f.flush()
                    code, out, err = run("check", "-c", path)
                    self.assertEqual(code, 78, out + err)
                    self.assertIn(words, out + err)

    # ---- junk ----
    LIMITS = {
        "tiers": [
            {"name": "authenticated", "limit": 1000000, "window": "1m"},
            {"name": "unauthenticated", "limit": 100, "window": "1m"},
        ]
    }

    def flood(self, gate, rate, seconds, stop, times=1):
        """New junk all the time, each shown so many times, from the address the good callers have too."""
        answers = {}

        def reader(c):
            try:
                while True:
                    s = c.response().status
                    answers[s] = answers.get(s, 0) + 1
            except (OSError, AssertionError, ValueError, socket.timeout):
                pass

        c = Client(gate.port, timeout=30)
        t = threading.Thread(target=reader, args=(c,), daemon=True)
        t.start()
        begin, n = time.monotonic(), 0
        while not stop.is_set() and time.monotonic() - begin < seconds:
            due = int((time.monotonic() - begin) * rate)
            while n < due:
                c.send(request("GET", "/", auth("junk-%d-%x" % (n // times, os.getpid()))))
                n += 1
            time.sleep(0.005)
        time.sleep(0.3)
        c.sock.shutdown(socket.SHUT_RDWR)
        t.join(5)
        return n, answers

    def good_caller(self, gate, name, seconds, results):
        ok = bad = 0
        end = time.monotonic() + seconds
        with Client(gate.port) as c:
            while time.monotonic() < end:
                c.request("GET", "/", auth(name))
                if c.response().status == 200:
                    ok += 1
                else:
                    bad += 1
                time.sleep(0.025)
        results.append((ok, bad))

    def good_under_flood(self, rate, seconds, times=1):
        """20 good callers that begin during a flood: (their 200s, others, the fewest 200s of one, the flood's own)."""
        gate = self.gate_with(self.LIMITS, ttl="2s", rate=20)
        stop, results = threading.Event(), []
        self.idp.delay = 0.01
        sent = {}
        junk = threading.Thread(
            target=lambda: sent.update(zip(("n", "answers"), self.flood(gate, rate, seconds + 1, stop, times)))
        )
        junk.start()
        time.sleep(1.0)
        callers = [
            threading.Thread(target=self.good_caller, args=(gate, "good-%d" % i, seconds - 1, results))
            for i in range(20)
        ]
        for t in callers:
            t.start()
        for t in callers:
            t.join()
        stop.set()
        junk.join()
        self.assertGreaterEqual(sent["n"], rate * (seconds - 1) * 0.9, "the flood was one")
        self.assertNotIn(200, sent["answers"])
        return sum(r[0] for r in results), sum(r[1] for r in results), min(r[0] for r in results), sent

    def test_junk_does_not_starve_the_good(self):
        """1,000 junk tokens a second and 20 good callers, new ones, behind one address; ttl so short that the good are
        asked about again and again."""
        rate, seconds = (200, 6) if SLOW else (1000, 6)
        ok, bad, least, sent = self.good_under_flood(rate, seconds)
        self.assertGreaterEqual(ok / (ok + bad), 0.99, (ok, bad, sent))
        self.assertLessEqual(self.idp.count("junk"), 20 * (seconds + 2) + 20)
        self.assertGreaterEqual(least, 10)

    def test_junk_shown_again_does_not_starve_the_good(self):
        """Each junk token twice: then it is no newcomer either, but the good are shown more often."""
        rate, seconds = (200, 5) if SLOW else (1000, 5)
        ok, bad, least, sent = self.good_under_flood(rate, seconds, times=2)
        self.assertGreaterEqual(ok / (ok + bad), 0.95, (ok, bad, sent))
        self.assertLessEqual(self.idp.count(), 20 * (seconds + 2) + 60 + 20 * seconds // 2)
        self.assertGreaterEqual(least, 10)

    def test_budget_of_many_addresses(self):
        """With room in every address bucket it is the provider's budget that holds: 503, and never more than the cap."""
        gate = self.gate_with(rate=10)
        begin = time.monotonic()
        stop = threading.Event()
        n, answers = self.flood(gate, 200, 2, stop)
        spent = time.monotonic() - begin
        self.assertLessEqual(self.idp.count(), 10 * (spent + 1) + 1)
        self.assertGreaterEqual(self.idp.count(), 10)
        self.assertGreater(answers.get(503, 0), n / 2, answers)
        self.assertGreater(gate.metric("tollgate_introspection_budget_refused_total", provider="test"), n / 2)
        statuses = [self.status(gate, "good-new") for _ in range(3)]
        self.assertEqual(statuses[-1], 200, statuses)


if __name__ == "__main__":
    main()
