"""What was decided comes out of the access log again: random requests, every kind of refusal, and what a log may hold.

The law: a line and the files that decided give the same verdict for the same reasons as the live request had, and the
status that the client saw.
"""

import json
import os
import random
import re
import tempfile
import time

import certs
from harness import SLOW, TOP, Case, Client, ask, ask_tls, bearer, config, free_port, main, members, mint
from harness import parallel, provider, public, run, tls_context, token, wait_until
from test_identity import bound, dpop
from test_sets import Publisher, policy, route

COUNT = 2000 if SLOW else 10000
CLIENTS = 4
OTHER = "https://other.test"
SECRET = "0123456789abcdef0123456789abcdef"
SEED = int(os.environ.get("TOLLGATE_SEED", "20260101"))
CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s","arguments":{}}}'
DECISIONS = {"allow": (200, 101, 413, 502, 504), "deny": (403,), "unauthenticated": (401,), "limit": (429,)}


def rule(ppl, path, **changes):
    return {"name": path.strip("/") or "all", "prefix": path, "to": "echo:", "policy": ppl, **changes}


def allow(*criteria, op="and"):
    return {"allow": {op: list(criteria)}}


def deny(*criteria, op="or"):
    return {"deny": {op: list(criteria)}}


def routes(dead):
    mail, staff = {"email": {"is": "ann@example.com"}}, {"groups": {"has": "staff"}}
    clock = {"timezone": "Europe/Prague", "after": "09:00", "before": "17:00"}
    return [
        rule(allow(mail), "/mail"),
        rule(allow({"domain": {"in": ["example.com", "corp.test"]}}, op="or"), "/domain"),
        rule(allow(staff, {"groups": {"has": "admin"}}, op="or"), "/groups"),
        rule([allow({"accept": True}), deny({"groups": {"is": "blocked"}}, {"claim/level": {"exclude": 3}})], "/lists"),
        rule(allow({"claim/realm.roles": {"has": "admin"}}, {"claim/level": 3}), "/nested"),
        rule(allow(mail, op="not"), "/not"),
        rule(allow({"user": {"starts_with": "u"}}, {"claim/absent": {"has": "x"}}, op="nor"), "/nor"),
        rule(
            [allow({"http_method": {"in": ["GET", "HEAD"]}}), allow(staff), deny({"http_path": {"contains": "secret"}})],
            "/method",
        ),
        rule(allow({"source_ip": ["10.0.0.0/8", "2001:db8::/32"]}, staff, op="or"), "/office"),
        rule(allow({"cors_preflight": True}, {"authenticated_user": True}, op="or"), "/cors"),
        rule(
            [
                allow({"day_of_week": "mon-fri"}, {"time_of_day": clock}, {"authenticated_user": True}),
                allow({"date": {"after": "2020-01-01T00:00:00Z"}}, {"claim/level": 3}),
            ],
            "/hours",
        ),
        rule(allow({"mcp_tool": {"in": ["read", "list"]}}, {"authenticated_user": True}), "/tools"),
        rule(allow({"authenticated_user": True}), "/shadowed", policies=["later"]),
        rule([allow(staff), deny({"source_ip": "10.1.0.0/16"})], "/observed", mode="shadow"),
        rule(allow({"authenticated_user": True}), "/named", policies=["corp", "weekend"]),
        rule(allow({"accept": True}), "/other-only", identity_providers=["other"]),
        rule(None, "/closed"),
        rule(allow({"authenticated_user": True}), "/quota", rate_limits={"tiers": [QUOTA]}),
        rule(allow({"accept": True}), "/together", rate_limits={"algorithm": "sliding", "tiers": [TOGETHER]}),
        rule(allow({"accept": True}), "/uncounted", rate_limits="off"),
        {"name": "flags", "prefix": "/flags", "to": "echo:", "allowed_users": ["u1"], "allowed_domains": ["corp.test"]},
        {"name": "idp", "prefix": "/idp", "to": "echo:", "allowed_idp_claims": {"level": [3]}},
        members(dead, name="dead", prefix="/dead"),
        members("echo:", name="host", prefix="/", **{"from": "https://tenant.test"}),
        public("echo:", name="public", prefix="/public"),
    ]


POLICIES = [
    {"name": "later", "mode": "shadow", "ppl": deny({"groups": {"has": "blocked"}}, {"claim/level": 1})},
    {"name": "corp", "ppl": allow({"domain": {"is": "corp.test"}})},
    {"name": "weekend", "ppl": deny({"day_of_week": "sat,sun"}, op="and")},
    {"name": "nobody", "enforced": True, "ppl": deny({"user": {"is": "banned"}})},
]
# Of a route's own: limits that a claim says (0, text, lists and large numbers among them), and some that only count.
QUOTA = {
    "name": "quota",
    "key": "claim/level",
    "windows": [
        {"limit": 40, "window": "24h", "limit_claim": "level", "limit_ceiling": 1000000},
        {"limit": 1, "window": "1h", "mode": "shadow"},
        {"limit": 1000000, "window": "1m", "algorithm": "sliding", "limit_claim": "groups", "limit_ceiling": 1000000},
    ],
}
TOGETHER = {"name": "together", "limit": 40, "window": "24h", "key": "route"}
TIERS = [
    {"name": "tiny", "limit": 10, "window": "1m", "when": [{"claim/plan": "tiny"}]},
    {"name": "staff", "limit": 1000000, "window": "1m", "when": [{"groups": {"has": "staff"}}, {"claim/level": 3}]},
    {"name": "authenticated", "limit": 1000000, "window": "1m"},
    {"name": "unauthenticated", "limit": 15, "window": "1m"},
]


def settings(dead):
    chosen = [{k: v for k, v in r.items() if v is not None} for r in routes(dead)]
    return config(
        chosen,
        policies=POLICIES,
        identity_providers={
            "test": provider(),
            "other": {
                "issuer": OTHER,
                "audiences": ["app"],
                "supported_algs": ["HS256"],
                "secret_file": "secret",
                "leeway": "0s",
                "groups_claim": "realm.roles",
            },
        },
        rate_limits={"tiers": TIERS},
        trusted_proxies=["127.0.0.1/32"],
    )


class Traffic:
    """Random requests from one seed."""

    PATHS = ["/", "/x", "/a/secret", "/a/b.c", "/%41", "/caf%C3%A9", "/a;b", "//x", "/./y", "/s%65cret"]
    ADDRESSES = ["10.0.0.%d", "10.1.2.%d", "192.0.2.%d", "2001:db8::%d", "2001:db9::%d"]

    def __init__(self, seed, tokens, names):
        self.random, self.tokens, self.names = random.Random(seed), tokens, names

    def body(self):
        r = self.random
        what = r.randrange(8)
        if what < 4:
            return (CALL % r.choice(["read", "list", "drop", "", "r\\u0065ad"])).encode()
        return [
            b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
            b'{"jsonrpc":"2.0","id":1,"result":{}}',
            b'[{"jsonrpc":"2.0"}]',
            b"no JSON",
        ][what - 4]

    def one(self, request_id):
        """(method, target, fields, body, host)."""
        r = self.random
        name = r.choice(self.names + ["nowhere", "tools"])
        target = "/" + name + r.choice(self.PATHS) + r.choice(["", "", "?q=1"])
        method = r.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
        fields = [("X-Request-Id", request_id)]
        fields.append(("X-Forwarded-For", r.choice(self.ADDRESSES) % r.randrange(1, 5)))
        if r.random() < 0.8:
            fields.append(("Authorization", r.choice(["Bearer", "bearer"]) + " " + r.choice(self.tokens)))
        elif r.random() < 0.3:
            fields.append(("Authorization", r.choice(["Basic dTpw", "Bearer a.b.c", "Bearer bm8="])))
        if r.random() < 0.2:
            fields += [("Origin", "https://a.test"), ("Access-Control-Request-Method", "PUT")]
        body = self.body() if name == "tools" and method not in ("GET", "HEAD") else None
        return method, target, fields, body, r.choice(["app.test", "app.test:8080", "tenant.test"])


def tokens():
    """Of many people of two providers, good and bad ones."""
    r = random.Random(SEED)
    made = []
    for i in range(36):
        claims = {"sub": r.choice(["u%d" % i, "v%d" % i, "banned"])}
        claims["email"] = r.choice(
            [None, "", "ann@example.com", "bob@corp.test", "x@evil.test", "no-at", "a@b@corp.test", ["ann@example.com"], 5]
        )
        if r.random() < 0.7:
            claims["groups"] = r.choice([["staff"], ["admin", "staff"], "staff", ["blocked"], [], ["a", 1, None], {"a": 1}])
        if r.random() < 0.5:
            claims["realm"] = {"roles": r.choice([["admin"], "staff", ["staff", "blocked"], {"x": "y"}, []])}
        if r.random() < 0.6:
            claims["level"] = r.choice([0, 1, 3, 3.0, "3", [1, 3], 12345678901234567890, None, True, -1, 2.5, [2]])
        if r.random() < 0.3:
            claims["plan"] = r.choice(["tiny", "big", ["tiny"], "t\u00e9\u0001\u0085\U0001f600"])
        if r.random() < 0.3:
            claims["absent"] = r.choice(["x", "y", ["x"] * 3])
        if i % 3 == 0:
            body = {"iss": OTHER, "aud": "app", "exp": int(time.time()) + 3600, **claims}
            jwk = {"kty": "oct", "k": mint.b64u(SECRET.encode())}
            made.append(mint.jws(jwk, {"alg": "HS256", "typ": "JWT"}, body, alg="HS256"))
        else:
            made.append(token(**claims, exp=int(time.time()) + 3600))
    made += [token(sub="w%d" % level, level=level, exp=int(time.time()) + 3600) for level in (0, 1, 3)]
    made += [token(exp=int(time.time()) - 10), token(aud="elsewhere"), token(iss="https://nobody.test"), token("ecX256")]
    return made


class Random(Case):
    def test_every_line_is_explained(self):
        """10,000 random requests: the same verdict, reasons and status from the log as live."""
        gate = self.start(settings("http://127.0.0.1:%d" % free_port()), files={"secret": SECRET})
        names = [r["name"] for r in gate.cfg["routes"] if "from" not in r]
        made, answers = tokens(), {}

        def client(i):
            traffic, got = Traffic(SEED + i, made, names), {}
            c = Client(gate.port)
            for n in range(COUNT // CLIENTS):
                request_id = "why-%d-%d" % (i, n)
                method, target, fields, body, host = traffic.one(request_id)
                m = c.request(method, target, fields, body, host).response(head=method == "HEAD")
                self.assertEqual([v.decode() for v in m.get(b"X-Request-Id")], [request_id])
                got[request_id] = m.status
                if (m.get(b"Connection") or [b""])[0] == b"close":
                    c.close()
                    c = Client(gate.port)
            c.close()
            return got

        for got in parallel(CLIENTS, client):
            answers.update(got)
        lines = gate.log(count=len(answers))
        self.assertEqual(len(lines), len(answers), "a line for each")
        self.judge_status(lines, answers)
        said = gate.explain()
        self.assertEqual(said["lines"], len(answers))
        self.assertEqual(said["equal"], said["judged"], said)
        self.assertEqual(said["judged"] + said["early"], said["lines"])
        self.assertGreater(said["judged"], len(answers) / 3, "most came to a policy")
        for decision in DECISIONS:
            self.assertGreater(sum(x["decision"] == decision for x in lines), COUNT / 500, decision)
        for name in names:
            self.assertTrue(any(x.get("route") == name and x["reasons"] for x in lines), name)
        self.judge_limits(lines)
        shadows = [x["shadow"]["decision"] != x["decision"] for x in lines if "shadow" in x]
        self.assertTrue(any(shadows) and not all(shadows))
        self.tell_some(gate, lines, answers)

    def judge_status(self, lines, answers):
        """The line has the status that the client saw, and it fits what was decided."""
        for x in lines:
            self.assertEqual(x["status"], answers[x["request_id"]], x)
            if x["decision"] != "none":
                self.assertIn(x["status"], DECISIONS[x["decision"]], x)

    def judge_limits(self, lines):
        """Each kind of counter was seen, and full; those that only count have let it through."""
        keys = {x["limit_key"] for x in lines if x.get("tier") == "quota"}
        self.assertEqual(keys, {"subject", "claim"}, "by claim, and by subject who has none")
        self.assertIn("claim", {x["limit_key"] for x in lines if x["decision"] == "limit"})
        limits = {x["limit"] for x in lines if x.get("tier") == "quota" and x["window"] == "quota-24h"}
        self.assertLessEqual({0, 1, 3, 40, 1000000}, limits)
        self.assertTrue(any(x["decision"] == "limit" and x.get("tier") == "together" for x in lines))
        self.assertTrue(all(x["counter"] == "memory" for x in lines if "tier" in x))
        self.assertFalse(any("tier" in x for x in lines if x.get("route") == "uncounted"))
        counted = [x for x in lines if "shadow_limited" in x]
        self.assertEqual({tuple(x["shadow_limited"]) for x in counted}, {("quota-1h",)})
        self.assertIn("allow", {x["decision"] for x in counted})

    def tell_some(self, gate, lines, answers):
        """One at a time, as a person asks, with the whole tree."""
        for x in random.Random(SEED).sample(lines, 25):
            code, out, err = run("why", x["request_id"], gate.access, "-c", gate.config_path, "--json", cwd=gate.dir)
            self.assertEqual(code, 0, err)
            said = json.loads(out)
            self.assertEqual(said["status"], answers[x["request_id"]], out)
            code, out, err = run("why", x["request_id"], gate.access, "-c", gate.config_path, cwd=gate.dir)
            self.assertEqual(code, 0, err)
            self.assertIn(str(x["status"]), out)

    def test_other_files_differ(self):
        """The test can fail: with another policy under the same name of the set, differences are told."""
        cfg = config([rule(allow({"email": {"is": "user@example.com"}}), "/")])
        gate = self.start(cfg)
        self.assertEqual(ask(gate.port, "GET", "/", [bearer()]).status, 200)
        line = gate.log()[0]
        other = config([rule(allow({"email": {"is": "x@example.com"}}), "/")])
        path = gate.write("other.json", {**gate.fixed, **other})
        code, out, err = run("why", "--all", "--json", gate.access, "-c", path)
        self.assertEqual((code, json.loads(out)["differ_since"]), (0, 1), out + err)
        forged = dict(line, policy_set=json.loads(out)["policy_set"])
        code, out, err = run("why", "--all", "--json", "-", "-c", path, stdin=json.dumps(forged) + "\n")
        self.assertEqual((code, json.loads(out)["differ"]), (1, 1), out + err)


class Refusals(Case):
    """Each way in which tollgate itself says no, explained from its line."""

    @staticmethod
    def names():
        with open(os.path.join(TOP, "proxy", "gate", "refusals.c"), encoding="utf-8") as f:
            table = re.search(r"tg_refusals\[TG_REFUSE_COUNT\] = \{(.*?)\n\};", f.read(), re.S)[1]
        return set(re.findall(r'\[TG_REFUSE_\w+\] = \{"([\w-]+)"', table)) - {"none", "not-ready"}

    def say(self, port, text):
        with Client(port) as c:
            return c.send(text if isinstance(text, bytes) else text.encode("latin-1")).response().status

    @staticmethod
    def provoking():
        """(refusal, status, octets); what is cut short waits for its deadline."""
        ok, head = "Authorization: Bearer %s\r\n" % token(), "%s HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n%s\r\n"
        post, size = "POST /tools", "Content-Length: %d\r\n"
        away = "Authorization: Bearer %s\r\n" % token(iss="https://away.test")
        held = bound()
        proof = "".join("%s: %s\r\n" % f for f in dpop(held, "http://app.test/denied"))
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        return [
            ("malformed-request", 400, head % ("GET /public", "A : b\r\n")),
            ("ambiguous-path", 400, head % ("GET /public/%2f", "")),
            ("slow-head", 408, "GET /public HTTP/1.1\r\nHost: a\r\n"),
            ("slow-body", 408, head % (post, ok + size % 9) + "abc"),
            ("malformed-body", 400, head % (post, ok + "Transfer-Encoding: chunked\r\n") + "zz\r\n"),
            ("body-too-large", 413, head % ("POST /public", size % 5000)),
            ("content-coding", 415, head % (post, ok + "Content-Encoding: gzip\r\n" + size % 2) + "{}"),
            ("malformed-call", 400, head % (post, ok + size % 2) + "[]"),
            ("method", 405, head % ("TRACE /public", "")),
            ("no-route", 404, head % ("GET /nowhere", ok)),
            ("malformed-credential", 400, head % ("GET /public", "Authorization: Bearer\r\n")),
            ("no-token", 401, head % ("GET /denied", "")),
            ("token-expired", 401, head % ("GET /denied", "Authorization: Bearer %s\r\n" % token(exp=1))),
            ("token-invalid", 401, head % ("GET /denied", "Authorization: Bearer %s\r\n" % token("ecX256"))),
            ("proof-invalid", 401, head % ("GET /denied", "Authorization: DPoP %s\r\n" % held)),
            ("nonce-required", 401, head % ("GET /denied", proof)),
            ("scope", 403, head % ("GET /scoped", ok)),
            ("denied", 403, head % ("GET /denied", ok)),
            ("websocket", 403, "GET /upstream HTTP/1.1\r\nHost: a\r\n%s%sAAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % (ok, upgrade)),
            ("no-keys", 503, head % ("GET /denied", away)),
            ("no-answer", 503, head % ("GET /denied", "Authorization: Bearer opaque\r\n")),
            ("no-credential", 503, head % ("GET /own", ok)),
            ("upstream-failed", 502, head % ("GET /dead", ok)),
            ("upstream-slow", 504, head % ("GET /upstream", ok)),
            ("rate-limited", 429, head % ("GET /denied", "Authorization: Bearer %s\r\n" % token(plan="tiny"))),
        ]

    def plain(self):
        self.up.on("/upstream", lambda c, r: time.sleep(0.6 * (4 if SLOW else 1)))
        nobody = "http://127.0.0.1:%d" % free_port()
        who = {"client_id": "c", "client_secret_file": "secret"}
        own = {"grant": "client_credentials", "token_url": nobody + "/token", **who}
        return config(
            [
                rule(allow({"email": {"is": "nobody@example.com"}}), "/denied"),
                rule(allow({"mcp_tool": {"is": "x"}}), "/tools"),
                members("http://127.0.0.1:%d" % free_port(), name="dead", prefix="/dead"),
                members("echo:", name="scoped", prefix="/scoped", required_scopes=["write"]),
                members(self.up, name="own", prefix="/own", upstream_auth=own),
                members(self.up, name="upstream", prefix="/upstream"),
                public("echo:", name="public", prefix="/public"),
            ],
            identity_providers={
                "test": provider(introspection={"url": nobody, **who}),
                "away": {
                    "issuer": "https://away.test",
                    "audiences": ["app"],
                    "jwks_url": "http://127.0.0.1:%d/keys" % free_port(),
                },
            },
            rate_limits={"tiers": [dict(TIERS[0], limit=1, window="24h")] + TIERS[1:]},
            dpop={"require_nonce": True},
            timeouts={"head": "300ms", "body": "300ms", "first_byte": "300ms"},
            limits={"body": 1024},
        )

    def told(self, gate, refusal, status):
        """Its last line, and what `why` says of it."""
        line = wait_until(lambda: [x for x in gate.log() or [] if x.get("refused") == refusal])[-1]
        self.assertEqual(line["status"], status)
        code, out, err = run("why", line["request_id"], gate.access, "-c", gate.config_path, "--json", cwd=gate.dir)
        self.assertEqual(code, 0, err)
        said = json.loads(out)
        self.assertEqual(said["status"], status, out)
        code, out, err = run("why", line["request_id"], gate.access, "-c", gate.config_path, cwd=gate.dir)
        self.assertEqual(code, 0, err)
        self.assertIn(str(status), out)
        return refusal

    def test_each(self):
        done = set()
        gate = self.start(self.plain(), ready=False, files={"secret": "s"})
        tiny = self.say(gate.port, "GET /denied HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n"
                        % token(plan="tiny"))
        self.assertEqual(tiny, 403, "the first of the tier")
        for refusal, status, text in self.provoking():
            with self.subTest(refusal):
                self.assertEqual(self.say(gate.port, text), status)
                done.add(self.told(gate, refusal, status))
        said = gate.explain()
        self.assertEqual(said["equal"], said["judged"], said)
        done |= self.certificates() | self.no_counter() | self.no_policies()
        self.assertEqual(done, self.names(), "a refusal that is not provoked here")

    def test_scopes(self):
        """A line holds what the scopes of its route were judged by; files that require another one differ."""
        gate = self.start(config([members("echo:", required_scopes=["read", "write"])]))
        for scopes, status in (("read write", 200), ("read", 403), (["write", "read"], 200), (None, 403)):
            claims = {"scp": scopes} if isinstance(scopes, list) else {"scope": scopes} if scopes else {}
            m = ask(gate.port, "GET", "/", [("Authorization", "Bearer " + token(**claims))])
            self.assertEqual(m.status, status)
        self.assertEqual(ask(gate.port, "GET", "/", []).status, 401)
        lines = gate.log(count=5)
        self.assertEqual([x["facts"]["claims"]["scope"] for x in lines[:4]], [["read write"], ["read"], None, None])
        self.assertEqual(lines[2]["facts"]["claims"]["scp"], ["write", "read"])
        said = gate.explain()
        self.assertEqual((said["judged"], said["equal"], said["early"]), (2, 2, 3), said)
        code, out, _ = run("why", lines[1]["request_id"], gate.access, "-c", gate.config_path, cwd=gate.dir)
        self.assertIn("the token was not granted the scope write", out)
        code, out, _ = run("why", lines[4]["request_id"], gate.access, "-c", gate.config_path, cwd=gate.dir)
        self.assertIn("the route requires the scope read write, and there is no token", out)
        more = config([members("echo:", required_scopes=["read", "admin"])])
        path = gate.write("other.json", {**gate.fixed, **more})
        code, out, err = run("why", "--all", "--json", gate.access, "-c", path)
        self.assertEqual((code, json.loads(out)["differ_since"]), (0, 2), out + err)
        code, out, err = run("replay", gate.access, "-c", path, "--json")
        self.assertIn('"required_scopes":2', out, err)
        forged = [dict(lines[1], facts={"claims": {"scope": ["read write"], "scp": None}})]
        code, out, err = run("why", "--all", "--json", "-", "-c", gate.config_path, stdin=json.dumps(forged[0]) + "\n",
                             cwd=gate.dir)
        self.assertEqual((code, json.loads(out)["differ"]), (1, 1), out + err)

    def test_words(self):
        """Every word that the log may have for a token has its sentence."""
        words = set()
        folder = os.path.join(TOP, "proxy")
        for name in ("auth/authn.c", "auth/authn_ask.c", "auth/bound.c", "auth/dpop.c", "jose/jwt.c"):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                text = f.read()
            words |= set(re.findall(r'tg_authn_say\([^;]*?"([\w-]+)"\)', text))
            words |= set(re.findall(r'"((?:bound|proof)-[\w-]+)"', text))
            words |= set(re.findall(r'\[TG_JWT_\w+\] = "([\w-]+)"', text)) - {"ok"}
        self.assertGreater(len(words), 45, words)
        with open(os.path.join(folder, "boot/token_words.c"), encoding="utf-8") as f:
            told = set(re.findall(r'^    \{"([\w-]+)"', f.read(), re.M))
        self.assertEqual(words - told, set())

    def no_counter(self):
        """The store is away, and nobody is admitted then."""
        limits = {"store": "redis://user:s3cret@127.0.0.1:%d/2" % free_port(), "when_store_fails": "deny"}
        gate = self.start(config([members("echo:")], rate_limits={**limits, "store_secret": "0123456789abcdef"}))
        m = ask(gate.port, "GET", "/", [bearer()])
        self.assertEqual(m.status, 503)
        self.assertTrue(m.get(b"Retry-After"))
        line = gate.log()[0]
        code, out, err = run("why", line["request_id"], gate.access, "-c", gate.config_path, cwd=gate.dir)
        self.assertRegex(out, r"(?m)^do +see whether redis://127\.0\.0\.1:\d+/2 answers", err)
        self.assertRegex(gate.stderr(), r'"limits_in":"redis://127\.0\.0\.1:\d+/2"')
        self.assertNotIn("s3cret", out + gate.stderr())
        self.assertRegex(out, r"(?m)^status +503 Service Unavailable: the store of the rate limits ")
        return {self.told(gate, "no-counter", 503)}

    def no_policies(self):
        """A control plane that was never heard, that lacks a policy, and that is not heard any more."""
        p, done = Publisher(lives="3s" if not SLOW else "9s"), set()
        self.addCleanup(p.remove)
        named = {"name": "named", "prefix": "/named", "to": "echo:", "policies": ["a"]}
        cfg = config([named], bundle=p.settings(when_stale="deny", allowed_upstreams=["echo:"]))
        gate = self.start(cfg, ready=False)
        for refusal, path in (("not-loaded", "/set"), ("no-policy", "/named")):
            self.assertEqual(ask(gate.port, "GET", path, [bearer()]).status, 503)
            done.add(self.told(gate, refusal, 503))
        p.publish([policy("a")], [route("echo:", "/set", "a")])
        for path in ("/named", "/set"):
            self.assertTrue(wait_until(lambda p=path: ask(gate.port, "GET", p, [bearer()]).status == 200))
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/set", [bearer()]).status == 503, 8))
        done.add(self.told(gate, "stale-policies", 503))
        return done

    def certificates(self):
        done = set()
        with tempfile.TemporaryDirectory(prefix="tollgate-why.") as d:
            root, other = certs.ca(d), certs.ca(d, "other")
            server = certs.leaf(d, root, ["app.test"], name="server")
            names = ["orders.test", "orders@example.com", "spiffe://example.com/orders"]
            good = certs.leaf(d, root, names, name="good")
            foreign = certs.leaf(d, other, ["orders.test"], name="foreign")
            looks = {"client_certificate": {"san_dns": {"is": "orders.test"}, "san_uri": {"starts_with": "spiffe://"}}}
            cfg = config(
                [
                    rule(allow(looks), "/looks"),
                    rule(allow({"client_certificate": {"san_email": {"is": "x"}}}, {"client_certificate": {}}, op="or"), "/any"),
                ],
                certificate_file=server.chain,
                certificate_key_file=server.key,
                downstream_mtls={"ca_file": root.cert},
            )
            gate = self.start(cfg)
            for cert, path, refusal, status in (
                (None, "/looks", "certificate-required", 403),
                (foreign, "/looks", "certificate-invalid", 403),
                (good, "/looks", None, 200),
                (good, "/any", None, 200),
            ):
                m = ask_tls(gate.port, tls_context(root.cert, cert=cert), "GET", path)
                self.assertEqual(m.status, status)
                if refusal:
                    done.add(self.told(gate, refusal, status))
            lines = gate.log(count=4)
            self.assertEqual(
                lines[2]["facts"]["certificate"], {"dns": ["orders.test"], "uris": ["spiffe://example.com/orders"]}
            )
            self.assertEqual(
                lines[3]["facts"]["certificate"],
                {"subject": "O=tollgate tests,CN=orders.test", "emails": ["orders@example.com"]},
            )
            said = gate.explain()
            self.assertEqual((said["equal"], said["judged"]), (4, 4), said)
        return done


if __name__ == "__main__":
    main()
