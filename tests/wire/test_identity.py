"""What a token has to bring besides its signature, what a refused client is told, and what is published for it.

Challenges (RFC 6750, RFC 9449), scopes, proofs of possession, and the metadata of protected resources (RFC 9728).
"""

import hashlib
import itertools
import json
import time
from urllib.parse import urlsplit

from harness import (
    Case,
    SLOW,
    ask,
    bearer,
    config,
    key,
    main,
    members,
    mint,
    provider,
    public,
    request,
    run,
    token,
    value,
)

WELL = "/.well-known/oauth-protected-resource"
JWKS = "/.well-known/pomerium/jwks.json"
REALM = 'realm="tollgate"'
ALGS = 'algs="RS256 PS256 ES256 ES384 EdDSA"'
number = itertools.count()


def challenges(message):
    return [v.decode("latin-1") for v in message.get(b"WWW-Authenticate")]


def words(challenge):
    """(scheme, {parameter: value}) of one challenge whose values hold no comma."""
    scheme, _, rest = challenge.partition(" ")
    return scheme, {k: v.strip('"') for k, v in (p.split("=", 1) for p in rest.split(", "))}


def b64(data):
    return mint.b64u(data)


def thumbprint(jwk):
    public_ = {k: jwk[k] for k in ("crv", "kty", "x", "y")}
    return b64(hashlib.sha256(json.dumps(public_, sort_keys=True, separators=(",", ":")).encode()).digest())


def proof(access, url, method="GET", signer="ec256", **claims):
    jwk = key(signer)
    shown = {k: jwk[k] for k in ("crv", "kty", "x", "y")}
    body = {
        "jti": "proof-%d-%d" % (time.time_ns(), next(number)),
        "htm": method,
        "htu": url,
        "iat": int(time.time()),
        "ath": b64(hashlib.sha256(access.encode()).digest()),
    }
    body.update(claims)
    return mint.jws(jwk, {"typ": "dpop+jwt", "alg": "ES256", "jwk": shown}, body, alg="ES256")


def limits(*numbers):
    names = zip(("authenticated", "unauthenticated"), numbers)
    return {"tiers": [{"name": name, "limit": limit, "window": "1m"} for name, limit in names]}


def bound(**claims):
    return token(cnf={"jkt": thumbprint(key("ec256"))}, **claims)


def dpop(access, url, **kwargs):
    return [("Authorization", "DPoP " + access), ("DPoP", proof(access, url, **kwargs))]


class Challenges(Case):
    @classmethod
    def routes(cls, up):
        return [
            members(up, name="plain", prefix="/plain"),
            members(up, name="dpop", prefix="/dpop", proof_of_possession="dpop"),
            members(up, name="any", prefix="/any", proof_of_possession="any", resource_metadata=True),
            members(up, name="strip", prefix="/strip", forward_authorization="strip"),
            members(up, name="told", prefix="/told", resource_metadata=True, required_scopes=["a"]),
            {**members(up, name="named", prefix="/named"), "from": "https://api.test"},
            public(up, name="open", prefix="/open"),
        ]

    @classmethod
    def settings(cls, up):
        return {"rate_limits": limits(1000000, 999999), "trusted_proxies": ["127.0.0.2"]}

    def challenge(self, path, fields=(), status=401):
        m = self.ask(target=path, fields=fields)
        self.assertStatus(m, status, path)
        return challenges(m)

    def test_without_a_token(self):
        self.assertEqual(self.challenge("/plain"), ["Bearer " + REALM])
        self.assertEqual(self.challenge("/dpop"), ["DPoP %s, %s" % (REALM, ALGS)])
        meta = ', resource_metadata="http://app.test%s/any"' % WELL
        self.assertEqual(self.challenge("/any"), ["Bearer " + REALM + meta, "DPoP %s, %s%s" % (REALM, ALGS, meta)])

    def test_a_bad_token(self):
        expired = token(exp=int(time.time()) - 600)
        error = 'error="invalid_token", error_description="The access token %s"'
        for access, description in ((expired, "expired"), (token(aud="x"), "is invalid"), ("opaque", "is invalid")):
            with self.subTest(description):
                got = self.challenge("/plain", [("Authorization", "Bearer " + access)])
                self.assertEqual(got, ["Bearer %s, %s" % (REALM, error % description)])
                got = self.challenge("/plain", [("Authorization", "DPoP " + access)])
                self.assertEqual(got, ["DPoP %s, %s, %s" % (REALM, error % description, ALGS)])
        self.assertEqual([words(c)[0] for c in self.challenge("/any", [bearer()])], ["Bearer", "DPoP"])
        self.assertEqual([words(c)[1]["error"] for c in self.challenge("/any", [bearer()])], ["invalid_token"] * 2)

    def test_the_scheme_dpop(self):
        """Like Bearer in all but its name: any case, one or more spaces; malformed is 400."""
        good = token()
        for text, status in {
            "DPoP " + good: 401,  # not bound: not under this scheme
            "dpop   " + good: 401,
            "DPOP " + good: 401,
            "DPoP": 400,
            "DPoP ": 400,
            "DPoP a b": 400,
            "DPoP\t" + good: 400,
            "DPoP a,b": 400,
            "DPoP " + "a" * 20000: 400,
            "DPoPx " + good: 401,  # another scheme: nobody
            "DPo " + good: 401,
        }.items():
            with self.subTest(text[:12], length=len(text)):
                m = self.ask(target="/plain", fields=[("Authorization", text)])
                self.assertStatus(m, status, text[:12])
                if status == 400:
                    self.assertIn('error="invalid_request"', challenges(m)[0])
        self.assertStatus(self.ask(target="/open", fields=[("Authorization", "DPoPx a")]), 200)
        self.assertStatus(self.ask(target="/open", fields=[("Authorization", "DPoP a")]), 401)
        twice = [("Authorization", "DPoP a"), ("Authorization", "DPoP a")]
        self.assertStatus(self.ask(target="/plain", fields=twice), 400)
        self.assertStatus(self.ask(target="/plain?access_token=a", fields=twice[:1]), 400)

    def test_a_bound_token(self):
        access = bound(sub="bound")
        got = self.challenge("/plain/b", [("Authorization", "Bearer " + access)])
        self.assertEqual([words(c)[0] for c in got], ["DPoP"])
        self.assertEqual(words(got[0])[1]["error"], "invalid_token")
        m = self.ask(target="/plain/b", fields=[("Authorization", "DPoP " + access)])
        self.assertProblem(m, 401, "unauthorized", "invalid proof of possession")
        self.assertEqual(words(challenges(m)[0])[1]["error"], "invalid_dpop_proof")
        self.assertEqual(value(m, "X-RateLimit-Limit"), "999999", "charged to whoever shows a copy, not to its owner")
        for line in self.gate.log("/plain/b", 2):
            self.assertNotIn("sub", line)
            self.assertEqual(line["decision"], "unauthenticated")
            self.assertIn(line["token_refused"].split("-")[0], ("bound", "proof"))

    def test_a_proof(self):
        access = bound(sub="proven")
        m = self.ask(target="/plain/ok", fields=dpop(access, "http://app.test/plain/ok"))
        self.assertStatus(m, 200)
        self.assertEqual(value(m, "X-RateLimit-Limit"), "1000000")
        seen = dict(json.loads(m.body)["fields"])
        self.assertEqual(seen["Authorization"], "DPoP " + access)
        self.assertIn("DPoP", seen, "the service may check it too")
        line = self.gate.log("/plain/ok")[0]
        self.assertEqual((line["bound"], line["sub"], line["decision"]), ("dpop", "proven", "allow"))
        m = self.ask(target="/strip/a", fields=dpop(access, "http://app.test/strip/a"))
        self.assertStatus(m, 200)
        names = [f[0].lower() for f in json.loads(m.body)["fields"]]
        self.assertNotIn("authorization", names)
        self.assertNotIn("dpop", names, "worth nothing without its token")
        for path in ("/dpop/a", "/any/a"):
            self.assertStatus(self.ask(target=path, fields=dpop(access, "http://app.test" + path)), 200)
        self.assertStatus(self.ask(target="/dpop/a", fields=[bearer()]), 401, "not bound at all")
        self.assertNotIn("bound", self.gate.log("/dpop/a", 2)[1])

    def test_a_proof_of_the_url(self):
        """The URL as `from` says or as it came; as a trusted proxy tells it, and nobody else."""
        access = bound()
        trusted = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "public.test")]
        for why, url, fields, source, host, status in (
            ("as from says", "https://api.test/named", [], None, "api.test", 200),
            ("as it came", "http://api.test/named", [], None, "api.test", 200),
            ("another host", "https://evil.test/named", [], None, "api.test", 401),
            ("another path", "https://api.test/name", [], None, "api.test", 401),
            ("told by a proxy", "https://public.test/plain", trusted, "127.0.0.2", "app.test", 200),
            ("behind a proxy", "http://app.test/plain", trusted, "127.0.0.2", "app.test", 200),
            ("told by anybody", "https://public.test/plain", trusted, None, "app.test", 401),
        ):
            with self.subTest(why):
                path = "/named" if host == "api.test" else "/plain"
                m = self.ask(target=path, fields=dpop(access, url) + fields, host=host, source=source)
                self.assertStatus(m, status, why)

    def test_nonce(self):
        gate = self.start(config([members(self.up)], dpop={"require_nonce": True}))
        access, url = bound(), "http://app.test/n"
        m = ask(gate.port, target="/n", fields=dpop(access, url))
        self.assertStatus(m, 401)
        self.assertEqual(words(challenges(m)[0])[1]["error"], "use_dpop_nonce")
        nonce = value(m, "DPoP-Nonce")
        m = ask(gate.port, target="/n", fields=dpop(access, url, nonce=nonce))
        self.assertStatus(m, 200)
        self.assertEqual(value(m, "DPoP-Nonce"), nonce, "the nonce of the next proof")
        m = ask(gate.port, target="/n", fields=dpop(access, url, nonce="x" + nonce[1:]))
        self.assertEqual(words(challenges(m)[0])[1]["error"], "use_dpop_nonce")
        self.assertIsNone(value(ask(gate.port, target="/n", fields=[bearer()]), "DPoP-Nonce"))

    def test_split(self):
        """Wherever the network cuts a request, it is told the same."""
        access = token(aud="x")
        heads = [
            request("GET", "/told", [("Authorization", "DPoP " + access)]),
            request("GET", WELL + "/told"),
            request("OPTIONS", WELL + "/told", [("Origin", "http://x.test")]),
            request("GET", "/told", [bearer()]),
        ]
        for raw in heads:
            whole = None
            with self.client() as c:
                for cut in range(0, len(raw), 37 if SLOW else 7):
                    c.send(raw[:cut])
                    time.sleep(0.001)
                    m = c.send(raw[cut:]).response()
                    told = (m.status, challenges(m), bytes(m.body), value(m, "Access-Control-Allow-Origin"))
                    whole = whole or told
                    self.assertEqual(told, whole, "cut at %d" % cut)


class Scopes(Case):
    @classmethod
    def routes(cls, up):
        deny, read = {"deny": {"and": [{"accept": True}]}}, {"required_scopes": ["read"]}
        return [
            members(up, name="two", prefix="/two", required_scopes=["read", "write"]),
            members(up, name="none", prefix="/none"),
            public(up, name="open", prefix="/open"),
            public(up, name="picky", prefix="/picky", required_scopes=["read"]),
            members(up, name="cors", prefix="/cors", required_scopes=["read"], cors_allow_preflight=True),
            {"name": "denied", "prefix": "/denied", "to": up.url, "required_scopes": ["read"], "policy": deny},
            members(up, name="doc", prefix="/doc", **read, resource_metadata=True, error_format="oauth"),
        ]

    @classmethod
    def settings(cls, up):
        return {"identity_providers": {"test": provider(required_scopes=["app", "read"])}}

    def status(self, path, **claims):
        return self.ask(target=path, fields=[bearer(**claims)]).status

    def test_granted(self):
        for claims, status in (
            ({"scope": "app read write"}, 200),
            ({"scope": "write app other read"}, 200),
            ({"scp": ["app", "read", "write"]}, 200),
            ({"scp": "app read write"}, 200),
            ({"scope": "app read"}, 403),
            ({"scope": "read write"}, 403),
            ({"scope": "app read writer"}, 403),
            ({"scope": "APP READ WRITE"}, 403),
            ({"scope": ["app", "read", "write"]}, 200),
            ({"scope": {"app": 1, "read": 1, "write": 1}}, 403),
            ({"scope": "app,read,write"}, 403),
            ({"scope": ""}, 403),
            ({}, 403),
        ):
            with self.subTest(claims):
                self.assertEqual(self.status("/two", **claims), status)

    def test_what_is_needed(self):
        m = self.ask(target="/two/x", fields=[bearer(scope="app", sub="poor")])
        self.assertProblem(m, 403, "forbidden", "insufficient scope")
        self.assertEqual(
            challenges(m),
            ['Bearer %s, error="insufficient_scope", error_description="The access token lacks a scope", '
             'scope="app read write"' % REALM],
        )
        self.assertEqual(value(m, "X-RateLimit-Limit"), "1000000000")
        line = self.gate.log("/two/x")[0]
        self.assertEqual([line[k] for k in ("refused", "decision", "sub")], ["scope", "none", "poor"])
        self.assertEqual(line["tier"], "authenticated")
        self.assertEqual(self.status("/none", scope="app"), 403, "the provider asks for read too")
        m = self.ask(target="/doc", fields=[bearer(scope="app")])
        self.assertEqual(json.loads(m.body)["error"], "insufficient_scope")
        self.assertEqual(words(challenges(m)[0])[1]["resource_metadata"], "http://app.test%s/doc" % WELL)
        doc = json.loads(self.ask(target=WELL + "/doc").body)
        self.assertEqual(doc["scopes_supported"], ["app", "read"])

    def test_order(self):
        """Before the policies; without a token they are asked, and the preflight has none."""
        self.assertEqual(self.status("/denied", scope="app"), 403)
        self.assertEqual(self.gate.log("/denied", 1)[0]["refused"], "scope")
        self.assertEqual(self.status("/denied", scope="app read"), 403)
        self.assertEqual(self.gate.log("/denied", 2)[1]["refused"], "denied")
        self.assertEqual(self.ask(target="/two").status, 401)
        preflight = [("Origin", "https://x.test"), ("Access-Control-Request-Method", "GET")]
        self.assertEqual(self.ask("OPTIONS", "/cors", preflight).status, 200)
        self.assertEqual(self.ask("OPTIONS", "/cors", preflight[:1]).status, 401)

    def test_public_routes(self):
        """They ask for their own scopes only."""
        self.assertEqual(self.ask(target="/open").status, 200)
        self.assertEqual(self.status("/open"), 200)
        m = self.ask(target="/picky")
        self.assertStatus(m, 401, "somebody has to hold the scope")
        self.assertEqual(challenges(m), ["Bearer " + REALM])
        self.assertEqual(self.status("/picky"), 403)
        self.assertEqual(self.status("/picky", scope="read"), 200, "not the provider's `app`")

    def test_body_is_not_wanted(self):
        """A client that waits for 100 Continue is told at once."""
        with self.client() as c:
            head = [bearer(), ("Expect", "100-continue"), ("Content-Length", "5")]
            self.assertStatus(c.request("POST", "/two", head).response(interim=True), 403)


class Metadata(Case):
    @classmethod
    def routes(cls, up):
        full = {
            "resource": "https://Public.test:8443/mcp",
            "scopes_supported": ["one", "two"],
            "authorization_servers": ["https://as.test"],
            "resource_name": 'The "best"',
            "resource_documentation": "https://docs.test/a?b=c",
        }
        def route(name, **more):
            return members(up, name=name, resource_metadata=True, **more)

        return [
            route("v6", prefix="/mcp", **{"from": "https://[2001:DB8::1]"}),
            route("port", prefix="/mcp", **{"from": "http://port.test:8080"}),
            route("default", prefix="/mcp", **{"from": "https://default.test:443"}),
            route("wild", prefix="/mcp", **{"from": "https://*.wild.test"}),
            members(up, name="full", prefix="/full", resource_metadata=full, **{"from": "https://full.test"}),
            route("root", **{"from": "https://root.test", "prefix": "/"}),
            route("slash", prefix="/a/", **{"from": "https://slash.test"}),
            route("path", path="/exact", **{"from": "https://slash.test"}),
            route("possession", prefix="/p", proof_of_possession="dpop", **{"from": "https://p.test"}),
            members(up, name="quiet", prefix="/mcp", resource_metadata=False, **{"from": "https://quiet.test"}),
            route("mcp", prefix="/mcp"),
            public(up, name="rest"),
        ]

    @classmethod
    def settings(cls, up):
        return {"trusted_proxies": ["127.0.0.2"]}

    def document(self, host, path, **kwargs):
        m = self.ask(target=WELL + path, host=host, **kwargs)
        self.assertStatus(m, 200, host + path)
        return json.loads(m.body)

    def test_document(self):
        m = self.ask(target=WELL + "/mcp")
        self.assertStatus(m, 200)
        self.assertEqual(
            json.loads(m.body),
            {
                "resource": "http://app.test/mcp",
                "authorization_servers": ["https://issuer.test"],
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
            },
        )
        for name, want in (
            ("Content-Type", "application/json"),
            ("Cache-Control", "max-age=300"),
            ("Access-Control-Allow-Origin", "*"),
            ("X-RateLimit-Limit", "1000000000"),
            ("WWW-Authenticate", None),
        ):
            self.assertEqual(value(m, name), want, name)
        self.assertTrue(value(m, "X-Request-Id"))
        line = self.gate.log(WELL + "/mcp")[0]
        self.assertEqual((line["status"], line["decision"], line["tier"]), (200, "none", "unauthenticated"))
        self.assertNotIn("route", line)
        self.assertNotIn("refused", line)
        said = run("why", line["request_id"], self.gate.access, "-c", self.gate.config_path)[1]
        self.assertIn("published", said)
        self.assertTrue(self.document("p.test", "/p")["dpop_bound_access_tokens_required"])

    def test_what_is_written(self):
        doc = self.document("full.test", "/mcp")
        self.assertEqual(doc["resource"], "https://Public.test:8443/mcp")
        self.assertEqual(doc["scopes_supported"], ["one", "two"])
        self.assertEqual(doc["authorization_servers"], ["https://as.test"])
        self.assertEqual(doc["resource_name"], 'The "best"')
        self.assertEqual(doc["resource_documentation"], "https://docs.test/a?b=c")
        told = words(challenges(self.ask(target="/full", host="full.test"))[0])[1]
        self.assertEqual(told["resource_metadata"], "https://Public.test:8443%s/mcp" % WELL)

    def test_names(self):
        """Of each route, as its clients know it; the challenge leads there (RFC 9728 §5.1)."""
        for host, path, resource in (
            ("[2001:db8:0::1]", "/mcp", "https://[2001:db8::1]/mcp"),
            ("[2001:DB8::1]:444", "/mcp", "https://[2001:db8::1]/mcp"),
            ("port.test:8080", "/mcp", "http://port.test:8080/mcp"),
            ("default.test:443", "/mcp", "https://default.test/mcp"),
            ("A.wild.test", "/mcp", "https://a.wild.test/mcp"),
            ("a.wild.test:444", "/mcp", "https://a.wild.test:444/mcp"),
            ("root.test", "", "https://root.test"),
            ("ROOT.test.", "", "https://root.test"),
            ("slash.test", "/a/", "https://slash.test/a/"),
            ("slash.test", "/exact", "https://slash.test/exact"),
            ("any.test", "/mcp", "http://any.test/mcp"),
            ("Any.test:80", "/mcp", "http://any.test/mcp"),
            ("any.test:8081", "/mcp", "http://any.test:8081/mcp"),
            ("[::1]:8081", "/mcp", "http://[::1]:8081/mcp"),
        ):
            with self.subTest(host, path=path):
                self.assertEqual(self.document(host, path)["resource"], resource)
                url = urlsplit(words(challenges(self.ask(target=path or "/x", host=host))[0])[1]["resource_metadata"])
                self.assertEqual("%s://%s" % url[:2], resource[: len(resource) - len(path)])
                self.assertEqual(url.path, WELL + path)
                self.assertEqual(self.document(host, url.path[len(WELL) :])["resource"], resource)

    def test_behind_a_proxy(self):
        told = [("X-Forwarded-Proto", "https, http"), ("X-Forwarded-Host", "out.test:444")]
        for source, fields, resource in (
            ("127.0.0.2", told, "https://out.test:444/mcp"),
            ("127.0.0.2", told[:1], "https://app.test/mcp"),
            ("127.0.0.2", [("X-Forwarded-Host", 'x"y')], "http://app.test/mcp"),
            ("127.0.0.2", [("X-Forwarded-Proto", "gopher")], "http://app.test/mcp"),
            (None, told, "http://app.test/mcp"),
        ):
            with self.subTest(fields, source=source):
                doc = self.document("app.test", "/mcp", fields=fields, source=source)
                self.assertEqual(doc["resource"], resource)
        for host, caching in (("app.test", "private, max-age=300"), ("full.test", "max-age=300")):
            m = self.ask(target=WELL + "/mcp", host=host, fields=told, source="127.0.0.2")
            self.assertEqual(value(m, "Cache-Control"), caching, "what it is told is not for others")

    def test_paths(self):
        """One canonical path and no other; what is not published here is a path like any other."""
        ours = [
            WELL + "/mcp", WELL + "/mcp/", WELL + "/mcp?x=1", "/" + WELL + "//mcp", "/x/.." + WELL + "/mcp",
            "/.well-known/oauth%2Dprotected-resource/mcp", "/.well-known/./oauth-protected-resource/%6Dcp",
            "http://app.test" + WELL + "/mcp",
        ]
        theirs = [
            WELL, WELL + "/", WELL + "/mcpx", WELL + "/mcp/secret", WELL + "mcp", WELL + "x/mcp", WELL + "/MCP",
            WELL.upper() + "/mcp", WELL + "/mcp;x", WELL + "/full", "/x" + WELL + "/mcp", WELL + "/quiet", JWKS,
        ]
        for path in ours:
            with self.subTest(path):
                self.assertEqual(json.loads(self.ask(target=path).body)["resource"], "http://app.test/mcp")
        for path in theirs:
            with self.subTest(path):
                m = self.ask(target=path)
                self.assertStatus(m, 200)
                self.assertIn("target", json.loads(m.body), "from the service")
        for path, status in (
            (WELL + "/../../mcp", 401),  # the route itself
            (WELL + "/mcp/..%2F", 400), (WELL + "%2Fmcp", 400), (WELL + "/mcp%00", 400), (WELL + "/mcp%zz", 400),
            (WELL + "/..;/mcp", 400),
        ):
            with self.subTest(path):
                self.assertStatus(self.ask(target=path), status, path)
        m = self.ask(target=WELL + "/mcp", host="port.test:8081")
        self.assertEqual(json.loads(m.body)["resource"], "http://port.test:8081/mcp", "of the route without `from`")

    def test_methods(self):
        whole = self.ask(target=WELL + "/mcp")
        m = self.ask("HEAD", WELL + "/mcp")
        self.assertEqual((m.status, bytes(m.body)), (200, b""))
        self.assertEqual(value(m, "Content-Length"), str(len(whole.body)))
        self.assertEqual(value(m, "Access-Control-Allow-Origin"), "*")
        fields = [("Origin", "https://x.test"), ("Access-Control-Request-Method", "GET"),
                  ("Access-Control-Request-Headers", "mcp-protocol-version")]
        m = self.ask("OPTIONS", WELL + "/mcp", fields)
        self.assertStatus(m, 204)
        self.assertEqual(value(m, "Access-Control-Allow-Origin"), "*")
        self.assertEqual(value(m, "Access-Control-Allow-Headers"), "*")
        self.assertIn("GET", value(m, "Access-Control-Allow-Methods"))
        self.assertIsNone(value(m, "Content-Length"), "RFC 9110 §8.6")
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "QUERY"):
            with self.subTest(method):
                m = self.ask(method, WELL + "/mcp", body=b"x" if method == "POST" else None)
                self.assertProblem(m, 405, "method not allowed")
                if method != "TRACE":
                    self.assertEqual(value(m, "Allow"), "GET, HEAD, OPTIONS")

    def test_keep_alive(self):
        """Between other requests of one connection."""
        with self.client() as c:
            c.send(request("GET", "/a") + request("GET", WELL + "/mcp") + request("GET", "/mcp") + request("GET", "/b"))
            self.assertEqual([c.response().status for _ in range(4)], [200, 200, 401, 200])

    def test_a_token_is_not_looked_at(self):
        for text in ("Bearer " + token(aud="x"), "Bearer a b", "Basic eDp5"):
            self.assertStatus(self.ask(target=WELL + "/mcp", fields=[("Authorization", text)]), 200)

    def test_limit(self):
        gate = self.start(config([members(self.up, resource_metadata=True)], rate_limits=limits(3, 3)))
        got = [ask(gate.port, target=WELL) for _ in range(4)]
        self.assertEqual([m.status for m in got], [200, 200, 200, 429])
        self.assertEqual([value(m, "X-RateLimit-Remaining") for m in got], ["2", "1", "0", "0"])
        self.assertTrue(value(got[3], "Retry-After"))
        self.assertEqual(ask(gate.port, fields=[bearer()]).status, 200, "its subject has a counter of its own")
        self.assertEqual(gate.metric("tollgate_ratelimit_requests_total", result="limited"), 1)


class Opaque(Case):
    """Tokens that are not signed: what the client is told when nobody can, may or wants to say what they are."""

    def provider(self, **changes):
        secret = {"client_id": "c", "client_secret_file": "secret", "timeout": "500ms"}
        return provider(introspection={"url": self.up.url + "/introspect", **secret, **changes}, allow_http=True)

    def start_with(self, routes, limit=1000, **changes):
        cfg = config(routes, identity_providers={"test": self.provider(**changes)}, rate_limits=limits(1000, limit))
        return self.start(cfg, files={"secret": "s"})

    def answer(self, body, status="200 OK"):
        head = "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self.up.on("/introspect", (head + body).encode())

    def opaque(self, gate, path="/", text="opaque"):
        return ask(gate.port, target=path, fields=[("Authorization", "Bearer " + text)])

    def test_statuses(self):
        routes = [members(self.up, prefix="/no", name="no", accept_opaque=False), members(self.up)]
        gate = self.start_with(routes)
        self.answer(json.dumps({"active": True, "sub": "o", "scope": "a"}))
        self.assertStatus(self.opaque(gate), 200)
        m = self.opaque(gate, "/no")
        self.assertProblem(m, 401, "unauthorized", "invalid token")
        self.answer(json.dumps({"active": False}))
        self.assertProblem(self.opaque(gate, text="withdrawn"), 401, "unauthorized", "invalid token")
        self.answer("", "500 Broken")
        m = self.opaque(gate, text="unheard-of")
        self.assertProblem(m, 503, "service unavailable", "tokens cannot be verified at the moment")
        self.assertTrue(value(m, "Retry-After"))
        self.assertEqual(challenges(m), [])
        line = gate.log("/", 3)[2]
        self.assertEqual((line["refused"], line["decision"]), ("no-answer", "none"))
        self.assertTrue(line["token_refused"], "why nobody could say")
        self.assertStatus(self.opaque(gate), 200, "known a moment ago")

    def test_an_empty_address_bucket(self):
        """Nobody is asked about tokens that nobody knows; signed ones and those known are taken all the same."""
        gate = self.start_with([members(self.up)], limit=2)
        self.answer(json.dumps({"active": True, "sub": "o"}))
        self.assertStatus(self.opaque(gate, text="known"), 200)
        self.answer(json.dumps({"active": False}))
        self.assertEqual([self.opaque(gate, text="junk%d" % i).status for i in range(3)], [401, 401, 429])
        asked = len(self.up.find("/introspect"))
        m = self.opaque(gate, text="unknown")
        self.assertProblem(m, 429, "too many requests", "rate limit exceeded")
        self.assertTrue(value(m, "Retry-After"))
        self.assertEqual(len(self.up.find("/introspect")), asked)
        self.assertStatus(self.opaque(gate, text="known"), 200)
        self.assertStatus(ask(gate.port, fields=[bearer()]), 200)
        line = gate.log("/", 5)[4]
        self.assertEqual((line["refused"], line["decision"]), ("rate-limited", "limit"))


class Keys(Case):
    """The keys of tollgate's own signatures."""

    @classmethod
    def routes(cls, up):
        return [members(up, pass_identity_headers=True, **{"from": "https://a.test"})]

    def test_published(self):
        for host in ("a.test", "no-route.test"):
            m = self.ask(target=JWKS, host=host)
            self.assertStatus(m, 200)
            keys = json.loads(m.body)["keys"]
            self.assertTrue(keys)
            for k in keys:
                self.assertNotIn("d", k)
            self.assertEqual(value(m, "Cache-Control"), "max-age=60")
            self.assertEqual(value(m, "Access-Control-Allow-Origin"), "*")
            self.assertEqual(value(m, "X-RateLimit-Limit"), "1000000000")
        self.assertStatus(self.ask("OPTIONS", JWKS), 204)
        self.assertStatus(self.ask("POST", JWKS), 405)
        self.assertStatus(self.ask(target=JWKS + "/"), 404)


class Configuration(Case):
    def errors(self, *routes, **changes):
        gate = {"address": "127.0.0.1:1", "health_address": "none"}
        code, out, err = run("check", "-c", "/dev/stdin", stdin=json.dumps({**gate, **config(list(routes), **changes)}))
        return code, out + err

    def test_errors(self):
        for why, route, said in (
            ("quote", {"required_scopes": ['a"b']}, "required_scopes"),
            ("space", {"required_scopes": ["a b"]}, "required_scopes"),
            ("mtls", {"proof_of_possession": "mtls"}, "downstream_mtls"),
            ("nobody", {"accept_opaque": True}, "none of its identity providers"),
            ("pats", {"identity_providers": ["personal_access_tokens"]}, "personal_access_tokens"),
            ("kind", {"resource_metadata": "yes"}, "resource_metadata: must be true"),
            ("query", {"resource_metadata": {"resource": "https://a.test/x?y"}}, "without a query"),
            ("fragment", {"resource_metadata": {"resource": "https://a.test/x#y"}}, "resource_metadata: resource"),
            ("relative", {"resource_metadata": {"resource": "/x"}}, "resource_metadata: resource"),
            ("path", {"resource_metadata": {"resource": "https://a.test/x/../y"}}, "canonical"),
            ("server", {"resource_metadata": {"authorization_servers": ["as.test"]}}, "authorization_servers"),
            ("member", {"resource_metadata": {"resuorce": "https://a.test"}}, "did you mean"),
            ("issuer", {"jwt_issuer_format": "host"}, "jwt_issuer_format"),
        ):
            with self.subTest(why):
                code, told = self.errors(members("http://127.0.0.1:1", **route))
                self.assertEqual(code, 78, told)
                self.assertIn(said, told)

    def test_good(self):
        route = members(
            "http://127.0.0.1:1", required_scopes=["a:b", "https://x.test/y"], proof_of_possession="any",
            resource_metadata={"resource": "https://a.test/"}, jwt_issuer_format="uri", jwt_groups_filter=["a"],
            pass_user_headers=True,
        )  # fmt: skip
        code, told = self.errors(route)
        self.assertEqual(code, 0, told)

    def test_two_who_could_be_asked(self):
        asked = {"url": "http://127.0.0.1:1/i", "client_id": "c", "client_secret_file": "/dev/null"}
        both = {
            "one": provider(introspection=asked),
            "two": provider(issuer="https://two.test", introspection=asked),
        }
        code, told = self.errors(members("http://127.0.0.1:1", accept_opaque=True), identity_providers=both)
        self.assertEqual(code, 78, told)
        self.assertIn("several providers take opaque tokens", told)
        one = members("http://127.0.0.1:1", accept_opaque=True, identity_providers=["one"])
        self.assertNotIn("several providers", self.errors(one, identity_providers=both)[1])


if __name__ == "__main__":
    main()
