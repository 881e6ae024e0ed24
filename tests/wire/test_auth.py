"""Who is let in: credentials, challenges and bodies (RFC 6750, RFC 7519, RFC 8725)."""

import hashlib
import hmac
import http.server
import json
import threading
import time

from harness import (
    AUDIENCE,
    Case,
    Client,
    ISSUER,
    NotStarted,
    ask,
    bearer,
    config,
    free_port,
    jwks,
    key,
    main,
    members,
    mint,
    provider,
    public,
    token,
    value,
    wait_until,
)

BARE = 'Bearer realm="tollgate"'
INVALID = BARE + ', error="invalid_token", error_description="The access token is invalid"'
EXPIRED = BARE + ', error="invalid_token", error_description="The access token expired"'
REQUEST = BARE + ', error="invalid_request", error_description="'


def jwt_of(signer="ec256", **claims):
    """A token in seconds from now: exp=, nbf=, iat= are offsets."""
    now = int(time.time())
    for name in ("exp", "nbf", "iat"):
        if isinstance(claims.get(name), int):
            claims[name] += now
    return token(signer, **claims)


def auth(text):
    return [("Authorization", text)]


class Credentials(Case):
    @classmethod
    def routes(cls, up):
        return [public(up, prefix="/public"), members(up)]

    def refused(self, m, status, challenge):
        word = {400: "bad request", 401: "unauthorized"}[status]
        self.assertProblem(m, status, word)
        got = value(m, "WWW-Authenticate")
        if challenge.endswith('"') and challenge != REQUEST:
            self.assertEqual(got, challenge)
        else:
            self.assertTrue(got.startswith(challenge), got)
        if status == 401:
            self.assertEqual(value(m, "Cache-Control"), "no-store")

    def test_good_tokens(self):
        """Every allowed algorithm; scheme in any case (RFC 9110 section 11.1); aud as text and as list."""
        for why, text in (
            ("ES256", "Bearer " + jwt_of()),
            ("RS256", "Bearer " + jwt_of("rsaA")),
            ("EdDSA", "Bearer " + jwt_of("ed")),
            ("scheme", "bEARER " + jwt_of()),
            ("aud list", "Bearer " + jwt_of(aud=["other", AUDIENCE])),
            ("at+jwt", "Bearer " + jwt_of(typ="at+jwt")),
            ("no typ", "Bearer " + jwt_of(typ=None)),
            ("fraction of a second", "Bearer " + token(exp=time.time() + 100.5)),
        ):
            with self.subTest(why):
                self.assertStatus(self.ask("GET", "/ok", auth(text)), 200)

    def test_no_credential(self):
        """No token: a bare challenge without an error code (RFC 6750 section 3.1)."""
        for why, fields in (
            ("none", []),
            ("Basic", auth("Basic dTpw")),
            ("bare token", auth(jwt_of())),
            ("another scheme", auth("Bearerx abc")),
        ):
            with self.subTest(why):
                self.refused(self.ask("GET", "/none", fields), 401, BARE)
        self.assertEqual(self.up.find("/none"), [])

    def test_malformed(self):
        """A request that cannot be read is 400 invalid_request, also where nobody needs a token."""
        t = jwt_of()
        for why, fields in (
            ("no value", auth("Bearer")),
            ("blank value", auth("Bearer ")),
            ("two words", auth("Bearer a b")),
            ("bad characters", auth("Bearer a{b}")),
            ("a comma", auth("Bearer a,b")),
            ("two fields", auth("Bearer " + t) * 2),
            ("two fields of two schemes", auth("Bearer " + t) + auth("Basic dTpw")),
            ("too long", auth("Bearer " + "a" * 17000)),
        ):
            for path in ("/bad", "/public"):
                with self.subTest(why, path=path):
                    self.refused(self.ask("GET", path, fields), 400, REQUEST)
        self.refused(self.ask("GET", "/bad?access_token=" + t, auth("Bearer " + t)), 400, REQUEST)
        self.assertEqual(self.up.find("/bad"), [])

    def test_query_token_is_no_credential(self):
        """RFC 6750 section 2.3 is not offered: such a request is anonymous."""
        self.refused(self.ask("GET", "/none?access_token=" + jwt_of()), 401, BARE)

    def test_invalid(self):
        """One wording for all that is wrong with a token, so that nobody learns which check failed."""
        good = jwt_of()
        head, payload, signature = good.split(".")
        flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
        none = mint.b64u(b'{"alg":"none"}') + "." + payload + "."
        pem = mint.pem(mint.spki(key("rsaA")))
        confusion = mint.b64u(b'{"alg":"HS256","kid":"rsaA"}') + "." + payload
        confusion += "." + mint.b64u(
            hmac.new(pem if isinstance(pem, bytes) else pem.encode(), confusion.encode(), hashlib.sha256).digest()
        )
        for why, t in (
            ("garbage", "abc"),
            ("two parts", head + "." + payload),
            ("four parts", good + ".x"),
            ("bad signature", head + "." + payload + "." + flipped),
            ("no signature", head + "." + payload + "."),
            ("alg none", none),
            ("alg none with a signature", none + signature),
            ("RS/HS confusion", confusion),
            ("wrong audience", jwt_of(aud="other")),
            ("no audience", jwt_of(aud=None)),
            ("empty audience", jwt_of(aud=[])),
            ("wrong issuer", jwt_of(iss=ISSUER + "/")),
            ("no issuer", jwt_of(iss=None)),
            ("unknown kid", jwt_of(header={"kid": "who"})),
            ("kid of another key", jwt_of(header={"kid": "rsaA"})),
            ("another signer", jwt_of("ecX256", header={"kid": "ec256"})),
            ("not yet", jwt_of(nbf=300)),
            ("issued in the future", jwt_of(iat=300)),
            ("no exp", jwt_of(exp=None)),
            ("exp is text", token(exp="9999999999")),
            ("no sub", jwt_of(sub=None)),
            ("empty sub", jwt_of(sub="")),
            ("crit", jwt_of(header={"crit": ["x"], "x": 1})),
            ("alg not allowed", jwt_of("rsaA", alg="RS512")),
        ):
            for path in ("/inv", "/public/x"):
                with self.subTest(why, path=path):
                    self.refused(self.ask("GET", path, auth("Bearer " + t)), 401, INVALID)
        self.assertEqual(self.up.find("/inv"), [])

    def test_expired(self):
        """Only "expired" is told apart."""
        m = self.ask("GET", "/exp", auth("Bearer " + jwt_of(exp=-60, iat=-600)))
        self.refused(m, 401, EXPIRED)
        self.assertProblem(m, 401, "unauthorized", "token expired")

    def test_expires_while_cached(self):
        """A verified token that is remembered still ends at its exp."""
        text = auth("Bearer " + jwt_of(exp=2))
        self.assertStatus(self.ask("GET", "/soon", text), 200)
        time.sleep(3.1)
        self.refused(self.ask("GET", "/soon", text), 401, EXPIRED)

    def test_body_of_a_refused_request(self):
        """It is not read as a request; the connection closes instead."""
        with self.client() as c:
            c.send(
                b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
                b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            self.assertStatus(c.response(), 401)
            self.assertTrue(c.ends())
        self.assertEqual(self.up.find("/smuggled"), [])

    def test_expect_of_a_refused_request(self):
        """The final status comes instead of 100."""
        with self.client() as c:
            c.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(c.response(interim=True).status, 401)

    def test_head_gets_the_same_without_a_body(self):
        m = self.ask("HEAD", "/x")
        self.assertEqual((m.status, m.body, value(m, "WWW-Authenticate")), (401, b"", BARE))

    def test_keep_alive_after_a_refusal(self):
        """A refusal without an unread body does not cost the connection; another caller may use it."""
        with self.client() as c:
            self.assertStatus(c.request("GET", "/x").response(), 401)
            self.assertStatus(c.request("GET", "/x", [bearer()]).response(), 200)
            self.assertStatus(c.request("GET", "/x").response(), 401)

    def test_nothing_leaks(self):
        """No token, key id, path or version in an answer."""
        t = jwt_of("ecX256", header={"kid": "ec256"})
        m = self.ask("GET", "/secret-path", auth("Bearer " + t))
        for word in (t[:30], "ec256", "secret-path", str(self.up.port), "OpenSSL", "0.1.0"):
            self.assertNotIn(word.encode(), m.raw)

    def test_client_identity_fields(self):
        """pass_identity_headers off: a caller's own stay out, none is added."""
        m = self.ask("GET", "/id", [bearer(), ("X-Pomerium-Claim-Email", "root@example.com")])
        self.assertFalse([k for k, _ in json.loads(m.body)["fields"] if k.lower().startswith("x-pomerium")])


class IdentityHeaders(Case):
    @classmethod
    def routes(cls, up):
        return [members(up)]

    @classmethod
    def settings(cls, up):
        return {
            "pass_identity_headers": True,
            "jwt_claims_headers": {"X-Email": "email", "X-Groups": "groups", "X-Missing": "nothing"},
        }

    def fields(self, *args, **claims):
        m = self.ask("GET", "/id", [bearer(**claims)] + list(args))
        self.assertStatus(m, 200)
        return json.loads(m.body)["fields"]

    def test_claims(self):
        """The upstream learns who is calling from the token alone."""
        got = self.fields(
            ("X-Email", "root@example.com"),
            ("x_email", "root@example.com"),
            ("X-Missing", "made up"),
            groups=["a", "b"],
        )
        self.assertEqual([v for k, v in got if k.lower() == "x-email"], ["user@example.com"])
        self.assertEqual([v.replace(" ", "") for k, v in got if k.lower() == "x-groups"], ["a,b"])
        self.assertNotIn("root@example.com", [v for _, v in got])
        self.assertNotIn("made up", [v for _, v in got])

    def test_claims_cannot_break_out(self):
        """A claim with CR LF is not a way to write fields."""
        m = self.ask("GET", "/id", [bearer(email="a@b.c\r\nX-Admin: 1")])
        if m.status == 200:
            names = [k.lower() for k, _ in json.loads(m.body)["fields"]]
            self.assertNotIn("x-admin", names)


class AuthorizationForwarding(Case):
    @classmethod
    def routes(cls, up):
        return [members(up, name="strip", prefix="/strip", forward_authorization="strip"), members(up)]

    def test_keep_and_strip(self):
        sent = bearer()
        for path, count in (("/keep", 1), ("/strip", 0)):
            got = json.loads(self.ask("GET", path, [sent]).body)["fields"]
            self.assertEqual([v for k, v in got if k.lower() == "authorization"], [sent[1]] * count)


class KeySources(Case):
    """Where keys may come from, other than inline."""

    SECRET = "correct horse battery staple, correct horse battery staple"

    @classmethod
    def routes(cls, up):
        return None

    def accept(self, cfg_provider, good, bad, files=None):
        gate = self.start(config([members(self.up)], identity_providers={"p": cfg_provider}), files=files)
        self.assertStatus(ask(gate.port, "GET", "/", auth("Bearer " + good)), 200, "the right key")
        self.assertStatus(ask(gate.port, "GET", "/", auth("Bearer " + bad)), 401, "the wrong key")

    def plain(self, **changes):
        p = provider(**changes)
        del p["jwks"]
        return p

    def test_jwks_file(self):
        """Relative to the configuration."""
        self.accept(self.plain(jwks_file="keys/set.json"), token(), token("ecX256"), {"keys/set.json": jwks("ec256")})

    def test_public_key_file(self):
        """A PEM, which has no kid: any kid of a token is fine."""
        pem = mint.pem(mint.spki(key("rsaA")))
        pem = pem.decode() if isinstance(pem, bytes) else pem
        self.accept(
            self.plain(public_key_file="k.pem", supported_algs=["RS256"]), token("rsaA"), token("rsaB"), {"k.pem": pem}
        )

    def test_hmac_secret_file(self):
        def sign(secret):
            signing = mint.b64u(b'{"alg":"HS256"}') + "." + token().split(".")[1]
            return signing + "." + mint.b64u(hmac.new(secret.encode(), signing.encode(), hashlib.sha256).digest())

        self.accept(
            self.plain(secret_file="secret", supported_algs=["HS256"]),
            sign(self.SECRET),
            sign(self.SECRET + "!"),
            {"secret": self.SECRET + "\n"},
        )

    def test_hmac_is_never_mixed(self):
        """HS* beside a public-key algorithm, or with keys from elsewhere, is a configuration error (78)."""
        for why, p in (
            ("mixed", self.plain(secret_file="s", supported_algs=["HS256", "RS256"])),
            ("not named", self.plain(secret_file="s", supported_algs=["RS256"])),
            ("short secret", self.plain(secret_file="short", supported_algs=["HS256"])),
            ("from an address", self.plain(jwks_url="http://127.0.0.1:1/k", supported_algs=["HS256"])),
        ):
            with self.subTest(why):
                with self.assertRaises(NotStarted) as caught:
                    self.start(
                        config([members(self.up)], identity_providers={"p": p}),
                        files={"s": self.SECRET, "short": "abc"},
                    )
                self.assertEqual(caught.exception.status, 78)


class Providers(Case):
    """Several providers; a route may name those it trusts."""

    OTHER = "https://other.test"

    @classmethod
    def routes(cls, up):
        return [members(up, name="narrow", prefix="/narrow", identity_providers=["one"]), members(up)]

    @classmethod
    def settings(cls, up):
        return {
            "identity_providers": {
                "one": provider(),
                "two": provider(issuer=cls.OTHER, jwks=jwks("ec384"), supported_algs=["ES384"]),
            }
        }

    def test_restriction(self):
        one, two = [bearer()], [bearer("ec384", iss=self.OTHER)]
        self.assertStatus(self.ask("GET", "/wide", one), 200)
        self.assertStatus(self.ask("GET", "/wide", two), 200)
        self.assertStatus(self.ask("GET", "/narrow", one), 200)
        self.assertStatus(self.ask("GET", "/narrow", two), 401)

    def test_keys_are_not_shared(self):
        """The key of one issuer proves nothing in the name of another."""
        self.assertStatus(self.ask("GET", "/wide", [bearer("ec384")]), 401)
        self.assertStatus(self.ask("GET", "/wide", [bearer(iss=self.OTHER)]), 401)

    def test_a_token_cached_on_one_route_is_not_accepted_on_another(self):
        two = [bearer("ec384", iss=self.OTHER)]
        with self.client() as c:
            for _ in range(3):
                self.assertStatus(c.request("GET", "/wide", two).response(), 200)
                self.assertStatus(c.request("GET", "/narrow", two).response(), 401)


class Issuer:
    """A provider on loopback: discovery and keys, which a test changes as it likes."""

    def __init__(self, port, keys):
        self.keys, self.hits, self.broken, self.delay = keys, [], False, 0
        self.url = "http://127.0.0.1:%d" % port
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.hits.append(self.path)
                time.sleep(outer.delay)
                doc = {
                    "/.well-known/openid-configuration": {"issuer": outer.url, "jwks_uri": outer.url + "/keys"},
                    "/keys": outer.keys,
                }.get(self.path)
                body = json.dumps(doc).encode()
                self.send_response(500 if outer.broken or doc is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class RemoteKeys(Case):
    @classmethod
    def routes(cls, up):
        return None

    def begin(self, running=True, **changes):
        port = free_port()
        url = "http://127.0.0.1:%d" % port
        issuer = Issuer(port, jwks("ec256")) if running else None
        p = provider(issuer=url, **changes)
        del p["jwks"]
        gate = self.start(config([members(self.up)], identity_providers={"p": p}), ready=running)
        if issuer:
            self.addCleanup(issuer.stop)
        return gate, issuer, port, url

    def test_discovery(self):
        gate, issuer, _, url = self.begin()
        self.assertStatus(ask(gate.port, "GET", "/", [bearer(iss=url)]), 200)
        self.assertStatus(ask(gate.port, "GET", "/", [bearer("ecX256", iss=url)]), 401)

    def test_provider_away_at_the_start(self):
        """503 with Retry-After, never 401; and it recovers by itself."""
        gate, _, port, url = self.begin(running=False)
        m = ask(gate.port, "GET", "/", [bearer(iss=url)])
        self.assertProblem(m, 503, "service unavailable")
        self.assertGreaterEqual(int(value(m, "Retry-After")), 1)
        self.assertIsNone(value(m, "WWW-Authenticate"))
        self.assertStatus(ask(gate.port, "GET", "/"), 401, "anonymous callers are told what is needed")
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 503)
        issuer = Issuer(port, jwks("ec256"))
        self.addCleanup(issuer.stop)
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", [bearer(iss=url)]).status == 200, 40, 0.3))
        self.assertTrue(wait_until(lambda: ask(gate.health, "GET", "/readyz").status == 200, 5))

    def test_provider_goes_away_later(self):
        """Keys that are there go on serving."""
        gate, issuer, _, url = self.begin()
        issuer.broken = True
        for _ in range(3):
            self.assertStatus(ask(gate.port, "GET", "/", [bearer(iss=url)]), 200)

    def test_rotation(self):
        """An unknown kid asks again, once in ten seconds for all kids together; the new key is then known."""
        gate, issuer, _, url = self.begin()
        self.assertStatus(ask(gate.port, "GET", "/", [bearer(iss=url)]), 200)
        before = issuer.hits.count("/keys")
        issuer.keys = jwks("ec256", "ec384")
        for i in range(20):
            self.assertStatus(
                ask(gate.port, "GET", "/", [bearer("ecX256", iss=url, header={"kid": "junk-%d" % i})]), 401
            )
        self.assertLessEqual(issuer.hits.count("/keys") - before, 2)
        changes = [bearer("rsaA", iss=url)]
        issuer.keys = jwks("ec256", "rsaA")
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", changes).status == 200, 15, 0.5))

    def test_half_close_while_keys_are_awaited(self):
        """The whole request is here: its client gets an answer."""
        gate, issuer, _, url = self.begin()
        issuer.delay = 0.5
        fields = [bearer(iss=url, header={"kid": "new"})]
        with Client(gate.port) as c:
            c.request("POST", "/", fields, b"hello").half_close()
            self.assertStatus(c.response(), 401)

    def test_discovery_of_another_issuer_is_refused(self):
        """OpenID Connect Discovery section 4.3: the document's issuer must be the one asked for."""
        port = free_port()
        issuer = Issuer(port, jwks("ec256"))
        self.addCleanup(issuer.stop)
        issuer.url = "http://127.0.0.1:%d/other" % port
        url = "http://127.0.0.1:%d" % port
        p = provider(issuer=url)
        del p["jwks"]
        gate = self.start(config([members(self.up)], identity_providers={"p": p}), ready=False)
        self.assertStatus(ask(gate.port, "GET", "/", [bearer(iss=url)]), 503)


if __name__ == "__main__":
    main()
