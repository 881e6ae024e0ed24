"""Who calls, told to the upstream: the signed assertion, its published keys across rotations, and the fields beside it.

Signatures are judged by the openssl command, and by `jose` for Node where its modules are installed.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import certs
from harness import (
    KIND,
    TOP,
    Case,
    Client,
    NotStarted,
    ask,
    bearer,
    config,
    main,
    members,
    mint,
    parallel,
    provider,
    public,
    token,
    value,
    wait_until,
)

NAME = "X-Pomerium-Jwt-Assertion"
JWKS = "/.well-known/pomerium/jwks.json"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
OIDC = os.path.join(TOP, "tests", "oidc")


def private_key(kind="ec"):
    args = {
        "ec": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "p384": ("EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
        "ed": ("ed25519",),
        "rsa": ("RSA",),
    }[kind]
    return certs.openssl("genpkey", "-algorithm", *args).decode()


def public_half(pem):
    return certs.openssl("pkey", "-pubout", stdin=pem.encode()).decode()


def parts(assertion):
    """(header, claims, signing input, signature), unverified."""
    head, body, sig = assertion.split(".")
    return json.loads(mint.unb64u(head)), json.loads(mint.unb64u(body)), head + "." + body, mint.unb64u(sig)


def verified(assertion, keys):
    """The claims, when openssl finds the signature to be of the key of that kid; else None."""
    header, claims, signed, sig = parts(assertion)
    mine = [k for k in keys if k["kid"] == header["kid"]]
    if len(mine) != 1 or mine[0]["alg"] != header["alg"] or mine[0]["use"] != "sig" or "d" in mine[0]:
        return None
    if mine[0]["kty"] == "OKP":  # RFC 8410 §4
        pem = mint.pem(bytes.fromhex("302a300506032b6570032100") + mint.unb64u(mine[0]["x"]))
    else:
        pem = mint.pem(mint.spki(mine[0]))
    pem = pem if isinstance(pem, bytes) else pem.encode()
    if header["alg"] == "ES256":
        sig = mint.der_sig(int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:], "big"))
        how = ("dgst", "-sha256", "-verify", "key", "-signature", "sig", "data")
    else:
        how = ("pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "data", "-sigfile", "sig")
    where = tempfile.mkdtemp(prefix="tollgate-assertion.")
    try:
        for name, data in (("key", pem), ("sig", sig), ("data", signed.encode())):
            with open(os.path.join(where, name), "wb") as f:
                f.write(data)
        how = [os.path.join(where, a) if a in ("key", "sig", "data") else a for a in how]
        good = subprocess.run(["openssl", *how], capture_output=True, timeout=60, check=False).returncode == 0
    finally:
        shutil.rmtree(where)
    return claims if good else None


def fields_of(message):
    return [(k.lower(), v) for k, v in json.loads(message.body)["fields"]]


def sent(message, name):
    """What the upstream got of this name."""
    return [v for k, v in fields_of(message) if k == name.lower()]


def published(port, host="app.test"):
    m = ask(port, "GET", JWKS, host=host)
    assert m.status == 200, m.body
    return json.loads(m.body)["keys"]


class Claims(Case):
    @classmethod
    def routes(cls, up):
        one = {"pass_identity_headers": True}
        return [
            members(up, name="off", prefix="/off", **{"from": "http://off.test"}),
            members(up, name="exact", **{"from": "http://API.test"}, **one),
            members(up, name="wild", **{"from": "http://*.wild.test"}, jwt_issuer_format="uri", **one),
            members(up, name="few", prefix="/few", jwt_groups_filter=["b"], **{"from": "http://few.test"}, **one),
            public(up, name="open", prefix="/open", **one),
            members(up, name="any host", **one),
        ]

    @classmethod
    def settings(cls, up):
        return {
            "jwt_claims_headers": {"X-Tier": "tier", "X-Nested": "org.id", "X-Groups": "groups", "X-None": "none"},
            "jwt_groups_filter": [],
        }

    def assertion(self, fields, host="api.test", target="/x"):
        m = self.ask("GET", target, fields, host=host)
        self.assertStatus(m, 200)
        (got,) = sent(m, NAME)
        claims = verified(got, published(self.port))
        self.assertIsNotNone(claims, "not signed by a published key: " + got)
        return parts(got)[0], claims

    def test_claims(self):
        """Pomerium's claims, and those that jwt_claims_headers name; nothing else of the token."""
        before = int(time.time())
        who = bearer(name=["Ann", "B"], groups=["a", "b"], tier=["gold", 7], org={"id": "o1"}, secret="x", nbf=before - 9)
        header, claims = self.assertion([who])
        self.assertEqual({k: header[k] for k in ("alg", "typ")}, {"alg": "ES256", "typ": "JWT"})
        self.assertEqual(set(header), {"alg", "typ", "kid"})
        self.assertRegex(claims.pop("jti"), UUID)
        issued = claims.pop("iat")
        self.assertTrue(before - 1 <= issued <= time.time() + 1)
        self.assertEqual(
            claims,
            {
                "iss": "api.test",
                "aud": "api.test",
                "exp": issued + 300,
                "sub": "user",
                "user": "user",
                "email": "user@example.com",
                "groups": ["a", "b"],
                "name": "Ann,B",
                "tier": "gold,7",
                "org.id": "o1",
            },
        )

    def test_nothing_to_say(self):
        """No groups are an empty list; what a caller does not have is left out."""
        _, claims = self.assertion([bearer(email=None, sid="s-1")])
        self.assertEqual(claims["groups"], [])
        self.assertEqual(claims["sid"], "s-1")
        self.assertFalse({"email", "name", "tier"} & set(claims))

    def test_whom_it_is_for(self):
        """The route's host; what was asked for only where the route is for such hosts; else the route's name."""
        for host, audience, issuer in (
            ("api.test", "api.test", "api.test"),
            ("API.Test:80", "api.test", "api.test"),
            ("a.wild.test", "a.wild.test", "https://a.wild.test/"),
            ("B.wild.test", "b.wild.test", "https://b.wild.test/"),
            ("somebody-elses.service", "any host", "any host"),
        ):
            with self.subTest(host):
                _, claims = self.assertion([bearer()], host=host)
                self.assertEqual((claims["aud"], claims["iss"]), (audience, issuer))

    def test_groups_filter(self):
        """In the assertion and in the field: only the groups the service is to be told of."""
        m = self.ask("GET", "/few", [bearer(groups=["a", "b", "ab"])], host="few.test")
        self.assertEqual(parts(sent(m, NAME)[0])[1]["groups"], ["b"])
        self.assertEqual(sent(m, "X-Groups"), ["b"])

    def test_off(self):
        m = self.ask("GET", "/off", [bearer(), (NAME, "made.up.one")], host="off.test")
        self.assertEqual([k for k, _ in fields_of(m) if "pomerium" in k or k in ("x-tier", "x-groups")], [])

    def test_nobody(self):
        """Without a token nothing is asserted, and a claim's field is empty."""
        m = self.ask("GET", "/open", [(NAME, "made.up.one"), ("X-Tier", "gold")])
        self.assertStatus(m, 200)
        self.assertEqual(sent(m, NAME), [])
        self.assertEqual(sent(m, "X-Tier"), [""])

    def test_a_clients_own(self):
        """In any case, with what a server takes for "-", once more, in the trailers: never passed."""
        forged = "eyJhbGciOiJub25lIn0.e30."
        names = [NAME, NAME.upper(), "x_pomerium_jwt_assertion", "X.Pomerium.Jwt-Assertion", NAME + "-For", "x_tier"]
        names += [n.replace("-", c) for n in (NAME, "X-Tier", "X-Forwarded-User") for c in "!#$%&'*+.^_`|~"]
        m = self.ask("GET", "/x", [bearer()] + [(n, forged) for n in names], host="api.test")
        self.assertStatus(m, 200)
        self.assertNotIn(forged, [v for _, v in fields_of(m)])
        self.assertEqual(len(sent(m, NAME)), 1)
        with Client(self.port) as c:
            text = (
                "POST /x HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n"
                "Trailer: %s\r\n\r\n1\r\na\r\n0\r\n%s: %s\r\n\r\n" % (token(), NAME, NAME, forged)
            )
            c.send(text.encode())
            m = c.response()
        self.assertStatus(m, 200)
        self.assertEqual(json.loads(m.body)["trailers"], [])
        self.assertEqual(len(sent(m, NAME)), 1)

    def test_one_for_many_requests(self):
        """The same is sent to a caller's requests, over any connection: at most one signature a worker."""
        before = self.gate.metric("tollgate_assertions_total", result="signed")
        who = bearer(sub="often")

        def work(i):
            with Client(self.port) as c:
                got = []
                for _ in range(25):
                    c.request("GET", "/x", [who], host="api.test")
                    got += sent(c.response(), NAME)
                return got

        got = sum(parallel(4, work), [])
        self.assertEqual(len(got), 100)
        self.assertLessEqual(len(set(got)), 2)
        self.assertEqual(self.gate.metric("tollgate_assertions_total", result="signed") - before, len(set(got)))

    def test_each_his_own(self):
        """One subject with different tokens, two subjects, two audiences, all at once: nobody gets another's."""
        callers = [("u%d" % (i % 3), "g%d" % i, bearer(sub="u%d" % (i % 3), groups=["g%d" % i])) for i in range(12)]

        def work(i):
            with Client(self.port) as c:
                for n in range(24):
                    sub, group, who = callers[(n * 7 + i) % len(callers)]
                    host = ("api.test", "a.wild.test")[n % 2]
                    c.request("GET", "/x", [who], host=host)
                    claims = parts(sent(c.response(), NAME)[0])[1]
                    assert (claims["sub"], claims["groups"], claims["aud"]) == (sub, [group], host), claims

        parallel(4, work)

    def test_too_many_groups(self):
        """What no server takes is not sent, nor cut; it is told once, without the claims."""
        groups = ["group-%04d-of-many" % i for i in range(430)]
        for _ in range(3):
            m = self.ask("GET", "/x", [bearer(sub="many", groups=groups)], host="api.test")
            self.assertStatus(m, 200)
            self.assertEqual(sent(m, NAME), [])
            self.assertEqual(sent(m, "X-Groups"), [""])
        told = [x for x in self.gate.stderr().splitlines() if "do not fit into an assertion" in x]
        self.assertTrue(1 <= len(told) <= 2, told)         # one a worker
        self.assertNotIn("group-0001", "".join(told))
        m = self.ask("GET", "/x", [bearer(sub="many", groups=groups[:100])], host="api.test")
        self.assertEqual(len(parts(sent(m, NAME)[0])[1]["groups"]), 100)

    def test_jose(self):
        """The usual library of a service, against the set as it is served."""
        if not os.path.isdir(os.path.join(OIDC, "node_modules", "jose")):
            self.skipTest("no node modules")
        m = self.ask("GET", "/x", [bearer(groups=["a"])], host="api.test")
        script = (
            "import {jwtVerify, createRemoteJWKSet} from 'jose';"
            "const keys = createRemoteJWKSet(new URL(process.argv[1]));"
            "const o = {issuer: 'api.test', audience: 'api.test', typ: 'JWT', algorithms: ['ES256'],"
            " requiredClaims: ['jti', 'iat', 'exp', 'sub']};"
            "const r = await jwtVerify(process.argv[2], keys, o); console.log(JSON.stringify(r.payload));"
        )
        url = "http://127.0.0.1:%d%s" % (self.port, JWKS)
        p = subprocess.run(
            ["node", "--input-type=module", "-e", script, url, sent(m, NAME)[0]],
            cwd=OIDC,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertEqual(json.loads(p.stdout)["groups"], ["a"])


class UserFields(Case):
    """pass_user_headers: what oauth2-proxy's users know."""

    @classmethod
    def routes(cls, up):
        return [
            members(up, name="no", prefix="/no", pass_user_headers=False),
            members(up, name="few", prefix="/few", jwt_groups_filter=["b"]),
            public(up, name="open", prefix="/open"),
            members(up),
        ]

    @classmethod
    def settings(cls, up):
        return {"pass_user_headers": True}

    def users(self, target, *more, **claims):
        m = self.ask("GET", target, ([bearer(**claims)] if claims else []) + list(more))
        self.assertStatus(m, 200)
        names = ("user", "email", "groups", "preferred-username")
        return {n: v for n in names for k, v in fields_of(m) if k == "x-forwarded-" + n}, m

    def test_fields(self):
        got, m = self.users("/x", sub="u1", groups=["a", "b"], preferred_username="ann")
        self.assertEqual(
            got, {"user": "u1", "email": "user@example.com", "groups": "a,b", "preferred-username": "ann"}
        )
        self.assertEqual(sent(m, NAME), [])
        self.assertEqual(self.users("/x", sub="u1", email=None)[0], {"user": "u1"})
        self.assertEqual(self.users("/few", groups=["a", "b"])[0]["groups"], "b")
        self.assertEqual(self.users("/no", sub="u1")[0], {})
        self.assertEqual(self.users("/open")[0], {})

    def test_values_stay_what_they_are(self):
        """What would arrive as something else does not arrive: a comma, blanks at an end, what no field may hold."""
        self.assertEqual(self.users("/x", groups=["a,admin", "b"])[0]["groups"], "b")
        self.assertNotIn("user", self.users("/x", sub=" root ")[0])
        self.assertNotIn("preferred-username", self.users("/x", preferred_username="a\r\nX-Admin: 1")[0])
        self.assertNotIn("groups", self.users("/x", groups=["g" * 9000])[0])
        self.assertNotIn("email", self.users("/x", email=["a@b.c"])[0])

    def test_a_clients_own(self):
        forged = [
            (n, "root")
            for n in ("X-Forwarded-User", "x_forwarded_user", "X-FORWARDED-EMAIL", "X-Forwarded.Groups")
            + ("X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token")
        ]
        for target, claims in (("/x", {"email": None}), ("/no", {"sub": "u"}), ("/open", {})):
            with self.subTest(target):
                _, m = self.users(target, *forged, **claims)
                self.assertNotIn("root", [v for _, v in fields_of(m)])


class Keys(Case):
    """Where the key comes from, and what is published while it changes."""

    def gate_with(self, files=None, **settings):
        routes = [members(self.up, pass_identity_headers=True, **{"from": "http://api.test"}), public(self.up)]
        return self.start(config(routes, **settings), files=files)

    def assertion(self, gate):
        m = ask(gate.port, "GET", "/x", [bearer()], host="api.test")
        self.assertStatus(m, 200)
        return sent(m, NAME)[0]

    def write_private(self, gate, name, pem):
        path = gate.write(name, pem)
        os.chmod(path, 0o600)
        return path

    def reload(self, gate, count=1):
        before = gate.stderr().count('"reloaded"')
        gate.reload()
        self.assertTrue(wait_until(lambda: gate.stderr().count('"reloaded"') >= before + count), gate.stderr())

    def at(self, pem, more=None, **settings):
        """A tollgate whose key is in a file that only it may read."""
        where = tempfile.mkdtemp(prefix="tollgate-key.")
        self.addCleanup(shutil.rmtree, where)
        path = os.path.join(where, "key.pem")
        with open(path, "w", encoding="ascii") as f:
            f.write(pem)
        os.chmod(path, 0o600)
        return self.gate_with(signing_key_file=path, **settings), path

    def test_published(self):
        """For anybody, at every host, for a minute at a time; without a private part."""
        gate, _ = self.at(private_key())
        for host in ("api.test", "other.test"):
            m = ask(gate.port, "GET", JWKS, host=host)
            self.assertStatus(m, 200)
            self.assertEqual(value(m, "Cache-Control"), "max-age=60")
            (one,) = json.loads(m.body)["keys"]
            self.assertEqual(set(one), {"kty", "crv", "x", "y", "kid", "use", "alg"})

    def test_kinds(self):
        """P-256 signs ES256, Ed25519 EdDSA; from a file, or as Pomerium has it."""
        for kind, alg in (("ec", "ES256"), ("ed", "EdDSA")):
            pem = private_key(kind)
            with self.subTest(alg):
                gate, _ = self.at(pem)
                got = self.assertion(gate)
                self.assertEqual(parts(got)[0]["alg"], alg)
                self.assertIsNotNone(verified(got, published(gate.port)))
                inline = self.gate_with(signing_key=base64.b64encode(pem.encode()).decode())
                self.assertEqual(published(inline.port), published(gate.port))
                self.assertNotIn(pem.splitlines()[1], inline.stderr())

    def test_refused(self):
        """A start (and `check`) says what is wrong, and nothing of what is in the file."""
        good = private_key()
        for why, pem, mode, words in (
            ("another curve", private_key("p384"), 0o600, "P-256"),
            ("another type", private_key("rsa"), 0o600, "P-256"),
            ("public only", public_half(good), 0o600, "private"),
            ("everybody may read", good, 0o644, "everybody may read"),
            ("cut off", good[:-30], 0o600, "cut off"),
            ("empty", "", 0o600, "empty"),
        ):
            with self.subTest(why):
                where = tempfile.mkdtemp(prefix="tollgate-key.")
                self.addCleanup(shutil.rmtree, where)
                path = os.path.join(where, "key.pem")
                with open(path, "w", encoding="ascii") as f:
                    f.write(pem)
                os.chmod(path, mode)
                with self.assertRaises(NotStarted) as caught:
                    self.gate_with(signing_key_file=path)
                self.assertEqual(caught.exception.status, 78)
                self.assertIn("signing_key_file", caught.exception.stderr)
                self.assertIn(words, caught.exception.stderr)
                for line in pem.splitlines()[1:-1]:
                    self.assertNotIn(line, caught.exception.stderr)

    def test_rotation_in_one_file(self):
        """Published, then signing, then gone: at each step what was signed before can be verified."""
        old, new = private_key(), private_key("ed")
        gate, path = self.at(old)
        seen = [self.assertion(gate)]
        for pem, alg, keys in (
            (old + public_half(new), "ES256", 2),
            (new + public_half(old), "EdDSA", 2),
            (new, "EdDSA", 2),                             # the old one signed a moment ago
        ):
            with open(path, "w", encoding="ascii") as f:
                f.write(pem)
            self.reload(gate)
            seen.append(self.assertion(gate))
            self.assertEqual(parts(seen[-1])[0]["alg"], alg)
            now = published(gate.port)
            self.assertEqual(len(now), keys)
            for one in seen:
                self.assertIsNotNone(verified(one, now))

    def test_replaced_at_once(self):
        """A reload that replaces the key under open connections: the next request has the new one, the old is known."""
        gate, path = self.at(private_key())
        with Client(gate.port) as c:
            c.request("GET", "/x", [bearer(sub="ann")], host="api.test")
            before = sent(c.response(), NAME)[0]
            with open(path, "w", encoding="ascii") as f:
                f.write(private_key())
            self.reload(gate)
            c.request("GET", "/x", [bearer(sub="ann")], host="api.test")
            after = sent(c.response(), NAME)[0]
        self.assertNotEqual(parts(before)[0]["kid"], parts(after)[0]["kid"])
        for one in (before, after):
            self.assertIsNotNone(verified(one, published(gate.port)))

    def test_a_bad_reload_changes_nothing(self):
        gate, path = self.at(private_key())
        before = published(gate.port)
        with open(path, "w", encoding="ascii") as f:
            f.write(private_key("p384"))
        gate.reload()
        self.assertTrue(wait_until(lambda: "not reloaded" in gate.stderr()))
        self.assertIsNotNone(verified(self.assertion(gate), before))
        self.assertEqual(published(gate.port), before)

    def test_a_reload_refused_for_another_reason(self):
        """What is read behind the key may refuse, too: the new key signs nothing, and is not published."""
        for name, more in (
            ("the feed", {"revoked_tokens_file": "/nonexistent/feed"}),
            ("the store", {"personal_access_tokens": {"enabled": True}}),
        ):
            with self.subTest(name):
                state = tempfile.mkdtemp(prefix="tollgate-state.")
                self.addCleanup(shutil.rmtree, state)
                gate, path = self.at(private_key(), state_dir=state)
                one, before = self.assertion(gate), published(gate.port)
                with open(os.path.join(state, "tollgate.db"), "w", encoding="ascii") as f:
                    f.write("no database " * 100)
                with open(path, "w", encoding="ascii") as f:
                    f.write(private_key())
                gate.configure({**gate.cfg, **more})
                gate.reload()
                self.assertTrue(wait_until(lambda: "not reloaded" in gate.stderr()), gate.stderr())
                self.assertEqual(parts(self.assertion(gate))[0]["kid"], parts(one)[0]["kid"])
                self.assertEqual(published(gate.port), before)

    def test_echo(self):
        """It shows what is said, not something that a service would believe."""
        routes = [members("echo:", pass_identity_headers=True, **{"from": "http://api.test"})]
        gate = self.start(config(routes))
        m = ask(gate.port, "GET", "/", [bearer(sub="ann")], host="api.test")
        self.assertStatus(m, 200)
        _, claims, end = json.loads(m.body)["headers"][NAME.lower()].split(".")
        self.assertEqual(json.loads(mint.unb64u(claims))["sub"], "ann")
        self.assertEqual(end, "(signature not shown)")

    def test_kept_in_state_dir(self):
        """Made once: the same after a restart, readable for tollgate alone; nothing is put over a damaged one."""
        state = tempfile.mkdtemp(prefix="tollgate-state.")
        self.addCleanup(shutil.rmtree, state)
        path = os.path.join(state, "signing-key.pem")
        first = self.gate_with(state_dir=state)
        one, keys = self.assertion(first), published(first.port)
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)
        second = self.gate_with(state_dir=state)            # beside the first, as at a takeover
        self.assertEqual(published(second.port), keys)
        self.assertIsNotNone(verified(one, published(second.port)))
        self.assertEqual([n for n in os.listdir(state) if n.startswith("signing-key")], ["signing-key.pem"])
        with open(path, "w", encoding="ascii") as f:
            f.write("damaged")
        with self.assertRaises(NotStarted) as caught:
            self.gate_with(state_dir=state)
        self.assertIn("signing-key.pem", caught.exception.stderr)
        with open(path, encoding="ascii") as f:
            self.assertEqual(f.read(), "damaged")
        first.reload()                                      # it has its key
        self.assertTrue(wait_until(lambda: '"reloaded"' in first.stderr()))
        self.assertEqual(published(first.port), keys)

    def test_nobody_needs_one(self):
        """No route passes an assertion on: no key is made, none is published."""
        state = tempfile.mkdtemp(prefix="tollgate-state.")
        self.addCleanup(shutil.rmtree, state)
        gate = self.start(config([members(self.up, path="/x")], state_dir=state))
        self.assertStatus(ask(gate.port, "GET", JWKS), 404)
        self.assertNotIn("signing-key.pem", os.listdir(state))

    def test_made_in_memory(self):
        """Each process its own; a reload keeps it."""
        gate, other = self.gate_with(), self.gate_with()
        before = published(gate.port)
        self.reload(gate)
        self.assertEqual(published(gate.port), before)
        self.assertNotEqual(published(other.port), before)


if __name__ == "__main__":
    main()
