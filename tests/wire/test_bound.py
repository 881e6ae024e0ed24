"""Tokens that are bound to a key: DPoP proofs once and for one request (RFC 9449), client certificates by real handshakes
(RFC 8705). What a refused client is told in general is test_identity.py's."""

import hashlib
import itertools
import json
import shutil
import tempfile
import time

import certs
from harness import (
    Case,
    Client,
    SLOW,
    TlsClient,
    ask,
    ask_tls,
    config,
    key,
    main,
    members,
    mint,
    parallel,
    public,
    request,
    run,
    tls_context,
    token,
    value,
    wait_until,
)

number = itertools.count()
HERE = "http://app.test"


def b64(data):
    return mint.b64u(data)


def thumbprint(jwk):
    """RFC 7638."""
    names = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}[jwk["kty"]]
    return b64(hashlib.sha256(json.dumps({n: jwk[n] for n in names}, separators=(",", ":")).encode()).digest())


def public_half(signer):
    return {k: v for k, v in mint.public(key(signer)).items() if k != "kid"}


def proof(access, target="/", method="GET", signer="ec256", alg="ES256", head=None, base=HERE, **claims):
    """A proof; a claim or member of the header given as None is left out."""
    body = {
        "jti": "proof-%d-%d" % (time.time_ns(), next(number)),
        "htm": method,
        "htu": base + target,
        "iat": int(time.time()),
        "ath": b64(hashlib.sha256(access.encode()).digest()),
    }
    body.update(claims)
    header = {"typ": "dpop+jwt", "alg": alg, "jwk": public_half(signer), **(head or {})}
    clean = [{k: v for k, v in d.items() if v is not None} for d in (header, body)]
    return mint.jws(key(signer), *clean, alg=alg)


def bound(signer="ec256", **claims):
    return token(cnf={"jkt": thumbprint(key(signer))}, **claims)


def shown(access, *proofs):
    return [("Authorization", "DPoP " + access)] + [("DPoP", p) for p in proofs]


class Proofs(Case):
    @classmethod
    def routes(cls, up):
        return [members(up)]

    @classmethod
    def settings(cls, up):
        return {"workers": 4, "dpop": {"algs": ["ES256", "EdDSA", "RS256"]}}

    def refused(self, fields, reason, path="/", error="invalid_dpop_proof", **kwargs):
        m = self.ask(target=path, fields=fields, **kwargs)
        self.assertStatus(m, 401, reason)
        self.assertIn('error="%s"' % error, " ".join(v.decode() for v in m.get(b"WWW-Authenticate")), reason)
        mark = value(m, "X-Request-Id")
        line = wait_until(lambda: [x for x in self.gate.log(count=0) if x["request_id"] == mark], 3)[0]
        self.assertEqual(line["token_refused"], reason)

    def test_each_algorithm(self):
        for signer, alg in (("ec256", "ES256"), ("ed", "EdDSA"), ("rsaA", "RS256")):
            access = bound(signer)
            self.assertStatus(self.ask(fields=shown(access, proof(access, signer=signer, alg=alg))), 200, alg)
        access = bound("ec384")
        self.refused(shown(access, proof(access, signer="ec384", alg="ES384")), "proof-alg")

    def test_once(self):
        access = bound()
        one = proof(access)
        for i in range(3):
            with self.subTest(i):
                if i == 0:
                    self.assertStatus(self.ask(fields=shown(access, one)), 200)
                else:
                    self.refused(shown(access, one), "proof-replayed")
        jti = "the-same-%d" % time.time_ns()
        self.assertStatus(self.ask(fields=shown(access, proof(access, jti=jti))), 200)
        self.refused(shown(access, proof(access, jti=jti, iat=int(time.time()) - 5)), "proof-replayed")

    def test_of_many_connections_one(self):
        """The same proof at the same time, on connections that are spread over all workers."""
        clients = [Client(self.port) for _ in range(12)]
        for c in clients:
            self.addCleanup(c.close)
        for _ in range(5 if SLOW else 25):
            access = bound()
            text = request("GET", "/once", shown(access, proof(access, "/once")))

            def send(i, text=text):
                return clients[i].send(text).response().status

            self.assertEqual(sorted(parallel(len(clients), send)), [200] + [401] * (len(clients) - 1))

    def test_for_one_request(self):
        access = bound()
        now = int(time.time())
        other = public_half("ecX256")
        for reason, p in {
            "proof-htm": proof(access, method="POST"),
            "proof-htu": proof(access, "/other"),
            "proof-ath": proof("another.access.token"),
            "proof-iat": proof(access, iat=now - 3600),
            "proof-jti": proof(access, jti=None),
            "proof-typ": proof(access, head={"typ": "JWT"}),
            "proof-key": proof(access, head={"jwk": {**public_half("ec256"), "d": key("ec256")["d"]}}),
            "proof-other-key": proof(access, head={"jwk": other}),
            "proof-signature": proof(access)[:-6] + "AAAAAA",
            "proof-malformed": "x",
        }.items():
            with self.subTest(reason):
                self.refused(shown(access, p), reason)
        self.refused(shown(access), "proof-missing")
        self.refused(shown(access, proof(access), proof(access)), "proof-several")
        self.refused(shown(access, "%s, %s" % (proof(access), proof(access))), "proof-malformed")
        self.refused([("Authorization", "Bearer " + access), ("DPoP", proof(access))], "bound-scheme", error="invalid_token")
        plain = token()
        self.refused(shown(plain, proof(plain)), "bound-not", error="invalid_token")
        self.assertStatus(self.ask(fields=[("Authorization", "Bearer " + plain), ("DPoP", "x")]), 200)

    def test_the_same_url(self):
        """RFC 3986 §6.2.2: written otherwise, it is still the same; the query does not count."""
        for target, htu in {
            "/a?b=c": HERE + "/a",
            "/a": HERE + "/a?x#y",
            "/%61//./b": HERE + "/a/b",
            "/c": "HTTP://APP.test:80/%63",
        }.items():
            access = bound()
            m = self.ask(target=target, fields=shown(access, proof(access, htu=htu)))
            self.assertStatus(m, 200, target)
        for htu in ("http://evil.test/a", "http://app.test:81/a", "http://u@app.test/a", "http://app.test/a/", "/a"):
            access = bound()
            self.refused(shown(access, proof(access, htu=htu)), "proof-htu", "/a")

    def test_counted(self):
        before = self.gate.metric("tollgate_dpop_proofs_total", result="accepted")
        access = bound()
        one = proof(access)
        self.ask(fields=shown(access, one))
        self.ask(fields=shown(access, one))
        self.assertEqual(self.gate.metric("tollgate_dpop_proofs_total", result="accepted"), before + 1)
        self.assertGreaterEqual(self.gate.metric("tollgate_dpop_proofs_total", result="proof-replayed"), 1)

    def test_made_by_mint(self):
        """`tollgate mint` makes a key, a token bound to it and a proof."""
        d = tempfile.mkdtemp(prefix="tollgate-bound.")
        self.addCleanup(shutil.rmtree, d)
        code, _, err = run("mint", "--generate", "ES256", "--key", d + "/k.pem", "--jwks", d + "/k.json")
        self.assertEqual(code, 0, err)
        with open(d + "/k.json", encoding="ascii") as f:
            made = json.load(f)["keys"][0]
        self.assertEqual(made["kid"], thumbprint(made))
        access = token(cnf={"jkt": made["kid"]})
        args = ("--key", d + "/k.pem", "--alg", "ES256", "--type", "dpop+jwt")
        told = ("--claim", "htm=GET", "--claim", "htu=%s/" % HERE)
        code, out, err = run("mint", *args, *told, "--for-token", "-", stdin=access + "\n")
        self.assertEqual((code, err), (0, ""))
        self.assertStatus(self.ask(fields=shown(access, out.strip())), 200)
        self.refused(shown(access, out.strip()), "proof-replayed")
        for wrong in (("--for-token", "x", "--type", "JWT"), ("--alg", "HS256", "--type", "dpop+jwt")):
            self.assertEqual(run("mint", "--key", d + "/k.pem", *(("--alg", "ES256") if wrong[0] != "--alg" else ()),
                                 *wrong)[0], 2)  # fmt: skip


class Nonce(Case):
    @classmethod
    def routes(cls, up):
        return [members(up)]

    @classmethod
    def settings(cls, up):
        return {"dpop": {"require_nonce": True}}

    def test_asked_for_and_taken(self):
        access = bound()
        m = self.ask(fields=shown(access, proof(access)))
        self.assertStatus(m, 401)
        self.assertIn('error="use_dpop_nonce"', value(m, "WWW-Authenticate"))
        nonce = value(m, "DPoP-Nonce")
        self.assertRegex(nonce, r"^[\w-]{43}$")
        for _ in range(2):  # it serves for many proofs
            self.assertStatus(self.ask(fields=shown(access, proof(access, nonce=nonce))), 200)
        for wrong in ("x", nonce[:-1], nonce.swapcase()):
            m = self.ask(fields=shown(access, proof(access, nonce=wrong)))
            self.assertIn("use_dpop_nonce", value(m, "WWW-Authenticate"))

    def test_of_another_process(self):
        """A proof that one process took is nothing to another, nor to this one started again."""
        access = bound()
        nonce = value(self.ask(fields=shown(access, proof(access))), "DPoP-Nonce")
        other = self.start(config(self.routes(self.up), dpop={"require_nonce": True}))
        m = ask(other.port, fields=shown(access, proof(access, nonce=nonce)))
        self.assertIn("use_dpop_nonce", value(m, "WWW-Authenticate"))


class Reload(Case):
    @classmethod
    def routes(cls, up):
        return [members(up)]

    def test_settings_change_and_proofs_are_remembered(self):
        access = bound()
        one = proof(access)
        self.assertStatus(self.ask(fields=shown(access, one)), 200)
        cfg = dict(self.gate.cfg)
        for dpop in ({"proof_lifetime": "5m"}, {"proof_lifetime": "5m", "require_nonce": True}):
            self.gate.configure({**cfg, "dpop": dpop})
            done = self.gate.metric("tollgate_config_last_reload_success_timestamp_seconds")
            time.sleep(1.1)
            self.gate.reload()
            self.assertTrue(
                wait_until(lambda: self.gate.metric("tollgate_config_last_reload_success_timestamp_seconds") > done)
            )
            self.assertStatus(self.ask(fields=shown(access, one)), 401)
        m = self.ask(fields=shown(access, proof(access)))
        self.assertIn("use_dpop_nonce", value(m, "WWW-Authenticate"))
        self.gate.configure(cfg)

    def test_mistakes(self):
        for dpop, words in (({"algs": ["HS256"]}, "public key"), ({"proof_lifetime": "1h"}, "proof_lifetime")):
            path = self.gate.write("bad.json", {**self.gate.cfg, "dpop": dpop})
            code, _, err = run("check", "-c", path)
            self.assertEqual(code, 78)
            self.assertIn(words, err)


# ---- certificates -----------------------------------------------------------------------------------------------
class World:
    def __init__(self):
        self.dir = d = tempfile.mkdtemp(prefix="tollgate-bound.")
        self.ca = certs.ca(d, "server-ca")
        self.app = certs.leaf(d, self.ca, ["app.test"], "app", usage="server")
        self.clients = certs.ca(d, "client-ca")
        self.alice = certs.leaf(d, self.clients, [], "alice", usage="client", common_name="alice")
        self.twin = certs.leaf(d, self.clients, [], "twin", usage="client", common_name="alice")
        self.alone = certs.leaf(d, None, [], "alone", usage="client", common_name="alone")

    def context(self, cert=None, **kwargs):
        return tls_context(self.ca.cert, cert=cert, **kwargs)

    def settings(self, enforcement):
        return {
            "certificate_file": self.app.chain,
            "certificate_key_file": self.app.key,
            "downstream_mtls": {"ca_file": self.clients.cert, "enforcement": enforcement},
        }


world = None


def setUpModule():
    global world
    world = World()


def tearDownModule():
    shutil.rmtree(world.dir, ignore_errors=True)


def of(files, **claims):
    """A bearer token that is bound to that certificate."""
    x5t = b64(bytes.fromhex(files.fingerprint()))
    return [("Authorization", "Bearer " + token(cnf={"x5t#S256": x5t}, **claims))]


class Certificates(Case):
    @classmethod
    def routes(cls, up):
        return [members(up, name="mtls", prefix="/mtls", proof_of_possession="mtls"), members(up)]

    @classmethod
    def settings(cls, up):
        return world.settings("policy")

    def status(self, cert, fields, target="/", **kwargs):
        return ask_tls(self.port, world.context(cert, **kwargs), target=target, fields=fields).status

    def test_held_or_not(self):
        for version in ("1.2", "1.3"):
            with self.subTest(version):
                self.assertEqual(self.status(world.alice, of(world.alice), version=version), 200)
                self.assertEqual(self.status(world.twin, of(world.alice), version=version), 401)
                self.assertEqual(self.status(None, of(world.alice), version=version), 401)
        self.assertEqual(self.status(world.alice, of(world.alice), "/mtls"), 200)
        self.assertEqual(self.status(world.alice, [("Authorization", "Bearer " + token())], "/mtls"), 401)
        self.assertEqual(self.status(world.alice, [("Authorization", "Bearer " + token())]), 200)

    def test_in_the_log(self):
        self.status(world.twin, of(world.alice), "/twin")
        self.status(None, of(world.alice), "/none")
        self.status(world.alice, of(world.alice), "/held")
        self.assertEqual(self.gate.log("/twin")[0]["token_refused"], "bound-certificate")
        self.assertEqual(self.gate.log("/none")[0]["token_refused"], "bound-no-certificate")
        self.assertEqual(self.gate.log("/held")[0]["bound"], "mtls")

    def test_of_nobody_known(self):
        """The issuer says which certificate it means: no client CA has to say so too, where policies alone decide."""
        self.assertEqual(self.status(world.alone, of(world.alone)), 200)
        self.assertEqual(self.status(world.alone, of(world.alice)), 401)

    def test_resumed(self):
        """The certificate of the first handshake is that of the session."""
        context = world.context(world.alice, version="1.2")
        with TlsClient(self.port, context) as c:
            self.assertStatus(c.request(fields=of(world.alice)).response(), 200)
            session = c.sock.session
        with TlsClient(self.port, context, session=session) as c:
            self.assertTrue(c.sock.session_reused)
            self.assertStatus(c.request(fields=of(world.alice)).response(), 200)
            self.assertStatus(c.request(fields=of(world.twin)).response(), 401)

    def test_both(self):
        """A token that is bound to a key and to a certificate needs both."""
        cnf = {"x5t#S256": b64(bytes.fromhex(world.alice.fingerprint())), "jkt": thumbprint(key())}
        access = token(cnf=cnf)

        def fields(*proofs):
            return shown(access, *proofs)

        good = proof(access, base="https://app.test")
        self.assertEqual(self.status(world.twin, fields(good)), 401)
        self.assertEqual(self.status(world.alice, fields()), 401)
        self.assertEqual(self.status(world.alice, fields(good)), 200)  # nobody used it up
        self.assertEqual(self.status(world.alice, fields(good)), 401)


class DefaultDeny(Case):
    """downstream_mtls as it is when nothing else is said: every certificate has to be valid, bound or not."""

    @classmethod
    def routes(cls, up):
        return [members(up)]

    @classmethod
    def settings(cls, up):
        return world.settings("policy_with_default_deny")

    def test_untrusted(self):
        self.assertStatus(ask_tls(self.port, world.context(world.alice), fields=of(world.alice)), 200)
        self.assertStatus(ask_tls(self.port, world.context(world.alone), fields=of(world.alone)), 403)


class NoCertificates(Case):
    """A listener that asks for no certificate: a bound token is nobody's there."""

    @classmethod
    def routes(cls, up):
        return [members(up), public(up, prefix="/open")]

    def test_refused(self):
        m = self.ask(fields=of(world.alice))
        self.assertStatus(m, 401)
        self.assertIn('error="invalid_token"', value(m, "WWW-Authenticate"))


if __name__ == "__main__":
    main()
