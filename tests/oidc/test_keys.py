"""Signing keys of a real OpenID provider behind nginx: cache headers, slow and broken answers, rotation, restarts.

nginx stands in front of oidc-provider and says about the key set what a test wants. How often the keys were asked for
is in its log. Needs node and `npm ci` in this directory (scripts/test does it).
"""

import base64
import glob
import json
import os
import re
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
import nginx  # noqa: E402
from harness import (
    PATIENCE,
    SLOW,
    Case,
    Client,
    ask,
    config,
    free_port,
    main,
    members,
    mint,  # noqa: E402
    parallel,
    value,
    wait_until,
)
from test_oidc import Node, auth, need_node  # noqa: E402

AUDIENCE = "urn:test:es256"
FRONT = """listen 127.0.0.1:%d; %s
  location / { proxy_pass http://127.0.0.1:%d; proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto http; proxy_set_header X-Forwarded-Host $http_host; }"""
PASS = "proxy_pass http://127.0.0.1:%d/jwks; proxy_set_header Host $http_host;"
SAYS = "location = %s { " + PASS + " proxy_hide_header Cache-Control; %s }"


class Keys(Case):
    @classmethod
    def setUpClass(cls):
        need_node()
        nginx.need()
        super().setUpClass()

    def setUp(self):
        self.inner, self.outer = free_port(), free_port()
        self.issuer = "http://127.0.0.1:%d" % self.outer
        holder = tempfile.TemporaryDirectory(prefix="tollgate-keys.")
        self.addCleanup(holder.cleanup)
        self.dir = holder.name
        self.front = self.node = None
        self.provide()

    # ---- the provider, and what stands in front of it ----

    def provide(self, keys="keys.json", says="max-age=600"):
        """Starts the provider, or starts it again with another set of keys."""
        if self.node:
            self.node.stop()
        self.node = Node("provider.mjs", str(self.inner), os.path.join(self.dir, keys), self.issuer)
        self.addCleanup(self.node.stop)
        if not self.front:
            self.put_in_front(self.location(says))

    def location(self, says, path="/jwks"):
        return SAYS % (path, self.inner, 'add_header Cache-Control "%s";' % says if says else "")

    def put_in_front(self, locations):
        """nginx with these locations, and all else passed on."""
        if self.front:
            self.front.stop()
        self.front = nginx.Nginx(self.dir, FRONT % (self.outer, locations, self.inner), port=self.outer)
        self.addCleanup(self.front.stop)

    def answer_keys_with(self, directives):
        self.put_in_front("location = /jwks { %s }" % directives)

    def publish(self, *more, without=()):
        """The provider's keys from a file, with others beside them."""
        with urllib.request.urlopen("http://127.0.0.1:%d/jwks" % self.inner, timeout=10) as r:
            keys = [k for k in json.load(r)["keys"] if k.get("kty") not in without]
        with open(os.path.join(self.dir, "jwks"), "w", encoding="utf-8") as f:
            json.dump({"keys": list(more) + keys}, f)
        self.put_in_front("location = /jwks { root %s; }" % self.dir)

    def fetched(self, uri="/jwks"):
        return sum(r["uri"] == uri for r in self.front.requests())

    def token(self, resource=AUDIENCE):
        form = {"grant_type": "client_credentials", "resource": resource, "scope": "api"}
        basic = base64.b64encode(b"robot:robot-secret").decode()
        body = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(
            urllib.request.Request(self.issuer + "/token", body, {"Authorization": "Basic " + basic}), timeout=10
        ) as r:
            return json.load(r)["access_token"]

    @staticmethod
    def with_kid(token, kid):
        """The same claims under another key's name."""
        head, payload, signature = token.split(".")
        head = dict(json.loads(mint.unb64u(head)), kid=kid)
        return ".".join((mint.b64u(json.dumps(head).encode()), payload, signature))

    # ---- tollgate ----

    def gate_for(self, ready=True, providers=None, state=False, files=None, **changes):
        p = {"issuer": self.issuer, "audiences": ["urn:test:rs256", AUDIENCE], "leeway": "5s", **changes}
        more = {"state_dir": os.path.join(self.dir, "state")} if state else {}
        if state:
            os.makedirs(more["state_dir"], mode=0o700, exist_ok=True)
        cfg = config([members(self.up)], identity_providers=providers or {"corp": p}, workers=4, **more)
        return self.start(cfg, ready=ready, files=files)

    def status(self, gate, token):
        return ask(gate.port, "GET", "/", auth(token)).status

    def readiness(self, gate):
        m = ask(gate.health, "GET", "/readyz?verbose")
        return m.status, m.body.decode()

    # ---- the tests ----

    def test_cache_control(self):
        """The next fetch is planned by Cache-Control: never before a minute, never after an hour, a little ahead."""
        cases = (
            ("max-age=600", "", 600),
            ("max-age=300, must-revalidate", "", 300),
            ("max-age=5", "", 60),
            ("max-age=86400", "", 3600),
            ("no-store", "", 60),
            ("no-cache, max-age=600", "", 60),
            ("", "", 300),
            ("max-age=600", "add_header Age 400;", 200),
        )
        self.put_in_front(
            "\n".join(
                SAYS % ("/k%d" % i, self.inner, ('add_header Cache-Control "%s"; ' % says if says else "") + more)
                for i, (says, more, _) in enumerate(cases)
            )
        )
        gate = self.gate_for(
            providers={
                "p%d" % i: {"issuer": "https://p%d.test" % i, "audiences": ["x"], "jwks_url": self.issuer + "/k%d" % i}
                for i in range(len(cases))
            }
        )
        said = self.readiness(gate)[1]
        for i, (says, more, want) in enumerate(cases):
            with self.subTest(says or "nothing said", more=more):
                found = re.search(r"https://p%d\.test: 3 keys, \d+ s old, next fetch in (\d+) s\n" % i, said)
                self.assertTrue(found, said)
                self.assertGreaterEqual(int(found[1]), want * 0.9 - 10 * PATIENCE, "at most a tenth earlier")
                self.assertLessEqual(int(found[1]), want)
                self.assertEqual(self.fetched("/k%d" % i), 1)

    def test_one_fetch_for_all_workers(self):
        gate, t = self.gate_for(), self.token()
        self.assertEqual(set(parallel(24, lambda i: self.status(gate, t))), {200})
        self.assertEqual(self.fetched(), 1)
        self.assertEqual(self.fetched("/.well-known/openid-configuration"), 1)
        self.assertEqual(gate.metric("tollgate_jwks_keys", issuer=self.issuer), 3)
        self.assertEqual(gate.metric("tollgate_jwks_refresh_total", issuer=self.issuer, result="ok"), 1)
        self.assertLess(gate.metric("tollgate_jwks_age_seconds", issuer=self.issuer), 10 * PATIENCE)

    def test_a_thousand_kids(self):
        """Tokens with kids nobody knows: at most one fetch more, on all workers together; who is good stays good."""
        gate, t = self.gate_for(), self.token()
        count = 200 if SLOW else 1000
        self.assertEqual(self.status(gate, t), 200)

        def knock(part):
            seen = set()
            with Client(gate.port) as c:
                for i in range(count // 8):
                    c.request(fields=auth(self.with_kid(t, "k%d-%d" % (part, i))))
                    seen.add(c.response().status)
                c.request(fields=auth(t))
                seen.add(("good", c.response().status))
            return seen

        for seen in parallel(8, knock):
            self.assertEqual(seen, {401, ("good", 200)})
        self.assertLessEqual(self.fetched(), 2)

    def test_issuer_is_exact(self):
        """A token of nobody known causes no question at all."""
        gate, t = self.gate_for(), self.token()
        self.assertEqual(self.status(gate, t), 200)
        head, payload, signature = self.with_kid(t, "another").split(".")
        local = "http://localhost:%d" % self.outer
        for issuer in (self.issuer + "/", self.issuer.upper(), local, "", None, [self.issuer]):
            claims = dict(json.loads(mint.unb64u(payload)), iss=issuer)
            other = ".".join((head, mint.b64u(json.dumps(claims).encode()), signature))
            self.assertEqual(self.status(gate, other), 401, issuer)
        self.assertEqual(self.fetched(), 1)

    def test_new_key_beside_the_old(self):
        """The usual rotation: a token of the new key passes at once, those of the old key go on."""
        self.publish(without=("EC",))
        gate = self.gate_for()
        old, new = self.token("urn:test:rs256"), self.token()
        self.assertEqual(self.status(gate, old), 200)
        with open(os.path.join(self.dir, "jwks"), encoding="utf-8") as f:
            self.assertNotIn('"EC"', f.read())
        self.publish()
        self.assertEqual(self.status(gate, new), 200)
        self.assertEqual(self.status(gate, old), 200)

    def test_key_that_vanishes(self):
        """From the fetch on that does not bring a key its tokens are refused: cached ones, on open connections."""
        gate, old = self.gate_for(), self.token()
        clients = [Client(gate.port) for _ in range(16)]
        for c in clients:
            self.addCleanup(c.close)
            c.request(fields=auth(old))
            self.assertEqual(c.response().status, 200)
        self.assertGreater(gate.metric("tollgate_token_cache_entries"), 0)
        self.provide("second.json")
        self.assertEqual(self.status(gate, old), 200, "nobody has noticed yet")
        self.assertEqual(self.status(gate, self.token()), 200)
        for c in clients:
            c.request(fields=auth(old))
            m = c.response()
            self.assertEqual(m.status, 401)
            self.assertIn('error="invalid_token"', value(m, "WWW-Authenticate"))
        self.assertEqual(self.fetched(), 2)

    def test_unknown_kinds_of_keys(self):
        """A key nobody understands is skipped; it never spoils the set."""
        self.publish(
            {"kty": "PQ", "kid": "future", "alg": "ML-DSA-44", "pub": "AAAA"},
            {"kty": "EC", "crv": "P-999", "kid": "curve", "x": "AA", "y": "AA"},
            {"kty": "OKP", "crv": "X448", "kid": "agree", "x": "AA"},
            {"kty": 7},
        )
        gate = self.gate_for()
        self.assertEqual(self.status(gate, self.token()), 200)
        self.assertIn(": 3 keys, ", self.readiness(gate)[1])
        self.assertIn('"signing keys skipped"', gate.stderr())

    def test_answers_that_are_none(self):
        """Broken answers change nothing: the keys serve on, and metrics, readiness and log say what is wrong."""
        broken = (
            ("return 500;", "status 500"),
            ("return 302 /elsewhere;", "redirects are not followed"),
            ("default_type text/html; return 200 '<html>hello</html>';", "key set: "),
            ("return 200 '{\"keys\":[{\"kty\":';", "key set: "),
            ("return 200 '{\"keys\":{}}';", "key set: "),
            ("return 444;", "closed without an answer"),
            ("limit_rate 100; root %s;" % self.dir, "no whole answer within"),
        )
        with open(os.path.join(self.dir, "jwks"), "w", encoding="utf-8") as f:
            f.write(" " * 100000 + '{"keys":[]}')

        def one(i):
            directives, words = broken[i]
            path = "/b%d" % i
            return path, words, "location = %s { %s }" % (
                path,
                directives.replace("root %s;" % self.dir, "alias %s/jwks;" % self.dir),
            )

        cases = [one(i) for i in range(len(broken))]
        good = "\n".join(self.location("max-age=600", path) for path, _, _ in cases)
        self.put_in_front(good)
        t = self.token()
        # One issuer a case: a token names it, and its signature is looked at once its keys are there.
        providers = {
            "p%d" % i: {
                "issuer": "https://p%d.test" % i,
                "audiences": ["x"],
                "jwks_url": self.issuer + path,
                "timeout": "1s",
            }
            for i, (path, _, _) in enumerate(cases)
        }
        providers["corp"] = {"issuer": self.issuer, "audiences": [AUDIENCE]}
        gate = self.gate_for(providers=providers)
        self.put_in_front("\n".join(directives for _, _, directives in cases))
        head, _, signature = self.with_kid(t, "unheard of").split(".")

        def junk(i):
            claims = {"iss": "https://p%d.test" % i, "aud": "x", "exp": int(time.time()) + 60}
            other = ".".join((head, mint.b64u(json.dumps(claims).encode()), signature))
            return self.status(gate, other)

        self.assertEqual(set(parallel(len(cases), junk)), {401}, "the question is asked, the answer is none")
        code, said = self.readiness(gate)
        self.assertEqual(code, 200)
        for i, (path, words, _) in enumerate(cases):
            with self.subTest(words, path=path):
                line = re.search(r"https://p%d\.test: (.*)\n" % i, said)[1]
                self.assertRegex(line, r"^3 keys, \d+ s old, (next fetch in \d+ s|being fetched); failed [12] times: ")
                self.assertIn(words, line)
                self.assertGreaterEqual(
                    gate.metric("tollgate_jwks_refresh_total", issuer="https://p%d.test" % i, result="error"), 1
                )
                self.assertEqual(gate.metric("tollgate_jwks_keys", issuer="https://p%d.test" % i), 3)
        self.assertIn("the last good ones serve on", gate.stderr())
        self.assertEqual(self.status(gate, t), 200, "another provider's trouble")

    def test_one_flight_at_a_time(self):
        """While an answer trickles in, everybody waits for it instead of asking again."""
        gate, t = self.gate_for(), self.token()
        self.assertEqual(self.status(gate, t), 200)
        before = self.fetched()
        with open(os.path.join(self.dir, "jwks"), "w", encoding="utf-8") as f:
            with urllib.request.urlopen("http://127.0.0.1:%d/jwks" % self.inner, timeout=10) as r:
                f.write(r.read().decode() + " " * 3000)
        self.put_in_front("location = /jwks { limit_rate 3000; root %s; }" % self.dir)
        start = time.monotonic()
        asked = parallel(20, lambda i: self.status(gate, self.with_kid(t, "k%d" % i)))
        self.assertEqual(set(asked), {401})
        self.assertGreater(time.monotonic() - start, 0.5, "the answer was meant to be slow")
        self.assertEqual(self.fetched() - before, 1)

    def test_restart_while_the_provider_is_away(self):
        """The keys on disk serve at a start; they do not serve for ever; and the provider's return is noticed."""
        first, t = self.gate_for(state=True, max_stale="60s"), self.token()
        self.assertEqual(self.status(first, t), 200)
        kept = glob.glob(os.path.join(self.dir, "state", "keys-*.json"))
        self.assertEqual(len(kept), 1)
        self.assertEqual(os.stat(kept[0]).st_mode & 0o777, 0o600)
        self.front.stop()
        second = self.gate_for(state=True, max_stale="60s")
        self.assertEqual(self.status(second, t), 200)
        self.assertEqual(self.status(second, self.with_kid(t, "x")), 401)
        self.assertIn("connection refused", self.readiness(second)[1])

        with open(kept[0], encoding="utf-8") as f:
            text = json.load(f)
        text["fetched_at"] = int(time.time()) - 60 + int(4 * PATIENCE)
        with open(kept[0], "w", encoding="utf-8") as f:
            json.dump(text, f)
        third = self.gate_for(state=True, max_stale="60s")
        with Client(third.port) as c:
            c.request(fields=auth(t))
            self.assertEqual(c.response().status, 200, "almost too old")
            self.assertTrue(wait_until(lambda: self.readiness(third)[0] == 503, 8, 0.2), self.readiness(third))
            c.request(fields=auth(t))
            m = c.response()
            self.assertEqual(m.status, 503, "max_stale is over, also for tokens that were verified before")
            self.assertGreaterEqual(int(value(m, "Retry-After")), 1)
            self.assertIsNone(value(m, "WWW-Authenticate"))
            self.assertIn("no keys", self.readiness(third)[1])
            self.assertEqual(third.metric("tollgate_jwks_keys", issuer=self.issuer), 0)
            self.front.start()
            self.assertTrue(wait_until(lambda: self.status(third, t) == 200, 8, 0.2))
        self.assertEqual(self.readiness(third)[0], 200)

    def test_keys_on_disk_that_are_too_old(self):
        """Nor do those of another issuer, or half a file: then it is 503 until the provider is there."""
        gate, t = self.gate_for(state=True), self.token()
        gate.stop()
        self._cleanups = [c for c in self._cleanups if c[0] != gate.stop]
        (kept,) = glob.glob(os.path.join(self.dir, "state", "keys-*.json"))
        with open(kept, encoding="utf-8") as f:
            good = f.read()
        self.front.stop()
        for why, text in (
            ("as it was", good),
            ("too old", re.sub(r'"fetched_at":\d+', '"fetched_at":%d' % (time.time() - 25 * 3600), good)),
            ("from the future", re.sub(r'"fetched_at":\d+', '"fetched_at":%d' % (time.time() + 7200), good)),
            ("half", good[: len(good) // 2]),
            ("another issuer's", good.replace(self.issuer, "https://other.test")),
        ):
            with self.subTest(why):
                with open(kept, "w", encoding="utf-8") as f:
                    f.write(text)
                again = self.gate_for(state=True, ready=why == "as it was")
                self.assertEqual(self.status(again, t), 200 if why == "as it was" else 503)

    def test_many_clients_while_the_provider_restarts(self):
        """Traffic does not notice that the provider is away for a while."""
        gate, t = self.gate_for(), self.token()
        seen, stop = [], threading.Event()

        def drive():
            with Client(gate.port) as c:
                while not stop.is_set():
                    c.request(fields=auth(t))
                    seen.append(c.response().status)
                    time.sleep(0.01)

        threads = [threading.Thread(target=drive) for _ in range(4)]
        for x in threads:
            x.start()
        try:
            self.provide()
        finally:
            stop.set()
            for x in threads:
                x.join()
        self.assertEqual(set(seen), {200})


if __name__ == "__main__":
    main()
