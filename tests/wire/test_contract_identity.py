"""The contract for callers of ZITADEL and Zerops, check by check, where it concerns the data plane (I1-I20, R1-R8).

The issuer is a stub that speaks as ZITADEL does: signed tokens whose `aud` is a list of project ids, opaque tokens by
introspection only, role claims as objects. It counts what it is asked for and can be told to fail. The letters of a
test's name are the check's.
"""

import hashlib
import http.server
import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.parse

from harness import (
    PATIENCE,
    SLOW,
    Case,
    Client,
    ask,
    config,
    free_port,
    key,
    main,
    members,
    mint,
    parallel,
    run,
    token,
    value,
    wait_until,
)

PROJECT = "223281986649719041"
ORG_A, ORG_B = "223281939119866113", "223281939119866999"
ROLES = "urn:zitadel:iam:org:project:%s:roles" % PROJECT
OWNER = "urn:zitadel:iam:user:resourceowner:id"
CLIENT, SECRET = "78366401571920522@amce", "veryweaksecret!"
BASIC = "Basic NzgzNjY0MDE1NzE5MjA1MjIlNDBhbWNlOnZlcnl3ZWFrc2VjcmV0JTIx"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TTL_S = 2


def auth(text):
    return [("Authorization", "Bearer " + text)]


class Issuer:
    """The stub: discovery, keys, token and introspection endpoints on loopback."""

    def __init__(self):
        self.lock = threading.Lock()
        self.port = free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.kids, self.counts, self.opaque, self.mode = ["ec256"], {}, {}, "well"
        self.token_ttl, self.issued, self.token_requests, self.introspections = 3600, 0, [], []
        self.server = None
        self.up()

    def up(self):
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                stub.get(self)

            def do_POST(self):
                stub.post(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = daemon_threads = True

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def count(self, what):
        with self.lock:
            return self.counts.get(what, 0)

    def _counted(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    @staticmethod
    def answer(h, status, body, **fields):
        data = json.dumps(body).encode()
        h.send_response(status)
        for name, v in {"Content-Type": "application/json", "Content-Length": str(len(data)), **fields}.items():
            h.send_header(name.replace("_", "-"), v)
        h.end_headers()
        try:
            h.wfile.write(data)
        except OSError:
            pass  # who asked did not wait for a slow answer

    def get(self, h):
        if h.path == "/.well-known/openid-configuration":
            self.answer(h, 200, {
                "issuer": self.url, "jwks_uri": self.url + "/oauth/v2/keys",
                "token_endpoint": self.url + "/oauth/v2/token",
                "introspection_endpoint": self.url + "/oauth/v2/introspect",
            })  # fmt: skip
        elif h.path == "/oauth/v2/keys":
            self._counted("keys")
            with self.lock:
                keys = [{"kty": "UNHEARD-OF", "kid": "u"}] + [dict(mint.public(key(k)), use="sig") for k in self.kids]
            self.answer(h, 200, {"keys": keys}, Cache_Control="max-age=300, must-revalidate")
        else:
            self.answer(h, 404, {})

    def post(self, h):
        text = h.rfile.read(int(h.headers.get("Content-Length", 0))).decode()
        asked = {"form": dict(urllib.parse.parse_qsl(text, keep_blank_values=True)), "fields": dict(h.headers.items())}
        if h.path == "/oauth/v2/token":
            self._counted("token")
            self.token_requests.append(asked)
            with self.lock:
                self.issued += 1
                n = self.issued
            self.answer(h, 200, {"access_token": "own-%d" % n, "token_type": "Bearer", "expires_in": self.token_ttl})
        elif h.path == "/oauth/v2/introspect":
            self._counted("introspect")
            self.introspections.append(asked)
            if self.mode == "slow":
                time.sleep(3 * PATIENCE)
            if self.mode == "fail":
                self.answer(h, 500, {"error": "server_error"})
            else:
                self.answer(h, 200, self.opaque.get(asked["form"].get("token"), {"active": False}))
        else:
            self.answer(h, 404, {})

    # ---- tokens ----

    def jwt(self, signer="ec256", **claims):
        now = int(time.time())
        return token(signer, **{"iss": self.url, "aud": [PROJECT, "client@project"], "nbf": now - 1, "email": None,
                                "jti": "V2_1-at_1", "client_id": "robot", **claims})  # fmt: skip

    def give(self, name, **claims):
        """An opaque token that introspection calls active."""
        now = int(time.time())
        self.opaque[name] = {"active": True, "iss": self.url, "sub": "opaque-user", "aud": [PROJECT], "iat": now,
                             "exp": now + 600, "client_id": "c", "token_type": "Bearer", **claims}  # fmt: skip
        return name


def tool(*argv):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    if p.returncode != 0:
        raise RuntimeError("%r: %s" % (argv, p.stderr))
    return p.stdout


class Kit(Case):
    """A directory with secrets and keys, the stub, and the configuration of a sidecar that knows both vendors."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="tollgate-contract.")
        self.addCleanup(holder.cleanup)
        self.dir = holder.name
        self.idp = Issuer()
        self.addCleanup(self.idp.down)

    def file(self, name, text, mode=0o600):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def zitadel_key(self, kind, **ids):
        """A key file as ZITADEL gives it out: PKCS#1 with its line ends; the public half beside it."""
        pem = self.file(kind + ".pem", "")
        tool("openssl", "genrsa", "-traditional", "-out", pem, "2048")
        tool("openssl", "rsa", "-in", pem, "-pubout", "-out", pem + ".pub")
        with open(pem, encoding="utf-8") as f:
            text = f.read()
        return self.file(kind + ".json", json.dumps({"type": kind, "keyId": "k-" + kind, "key": text, **ids, "new": 1}))

    def assertSigned(self, assertion, kind):
        head, payload, signature = assertion.split(".")
        self.file("input", head + "." + payload)
        with open(os.path.join(self.dir, "signature"), "wb") as f:
            f.write(mint.unb64u(signature))
        pub = os.path.join(self.dir, kind + ".pem.pub")
        tool("openssl", "dgst", "-sha256", "-verify", pub, "-signature", os.path.join(self.dir, "signature"),
             os.path.join(self.dir, "input"))  # fmt: skip
        return json.loads(mint.unb64u(head)), json.loads(mint.unb64u(payload))

    def zitadel(self, **changes):
        introspection = {"client_id": CLIENT, "client_secret_file": self.file("secret", SECRET), "ttl": "%ds" % TTL_S,
                         "negative_ttl": "1s", "timeout": "1s"}  # fmt: skip
        introspection.update(changes.pop("introspection", {}))
        introspection = {k: v for k, v in introspection.items() if v is not None}
        return {"issuer": self.idp.url, "audiences": [PROJECT], "groups_claim": ROLES, "leeway": "1s",
                "introspection": introspection, **changes}  # fmt: skip

    def gate_for(self, routes, providers=None, ready=True, **changes):
        return self.start(
            config(routes, identity_providers=providers or {"zitadel": self.zitadel()}, **changes), ready=ready
        )

    def route(self, prefix, policy=None, **changes):
        r = members(self.up, name=prefix.strip("/").replace("/", "-"), prefix=prefix, **changes)
        if policy:
            del r["allow_any_authenticated_user"]
            r["policy"] = policy
        return r

    def status(self, gate, path, text, *fields, method="GET"):
        return ask(gate.port, method, path, (auth(text) if text else []) + list(fields)).status

    def echoed(self, gate, path, text, *fields):
        m = ask(gate.port, "GET", path, auth(text) + list(fields))
        self.assertStatus(m, 200)
        return {k.lower(): v for k, v in json.loads(m.body)["fields"]}


class Zitadel(Kit):
    def test_I1_I2_I9_I10_four_apis(self):
        """A policy for each API; the caller's own token goes on, unchanged."""
        admin = {"allow": {"and": [{"groups": {"has": "IAM_OWNER"}}]}}
        gate = self.gate_for([
            self.route("/auth/v1/"), self.route("/management/v1/"), self.route("/admin/v1/", admin),
            self.route("/system/v1/", {"allow": {"and": [{"user": {"is": "system-user"}}]}}),
        ])  # fmt: skip
        t = self.idp.jwt()
        paths = ("/auth/v1/users/me", "/admin/v1/orgs", "/system/v1/instances", "/management/v1/orgs/me")
        self.assertEqual([self.status(gate, p, t) for p in paths], [200, 403, 403, 200])
        fields = self.echoed(gate, "/auth/v1/users/me", t, ("x-zitadel-orgid", "7"))
        self.assertEqual(fields["authorization"], "Bearer " + t)
        self.assertEqual(fields["x-zitadel-orgid"], "7", "with the caller's own token it is the caller's to say")
        owner = self.idp.jwt(**{ROLES: {"IAM_OWNER": {ORG_A: "a.test"}}})
        self.assertEqual(self.status(gate, "/admin/v1/orgs", owner), 200)

    def test_I7_audience(self):
        gate = self.gate_for([self.route("/echo")])
        cases = (([PROJECT], 200), (PROJECT, 200), (["x", PROJECT], 200), (None, 401), ([], 401), (["x"], 401),
                 (PROJECT + "0", 401), ([PROJECT, 7], 401))  # fmt: skip
        for aud, want in cases:
            self.assertEqual(self.status(gate, "/echo", self.idp.jwt(aud=aud)), want, aud)
        self.assertEqual(self.status(gate, "/echo", self.idp.jwt(exp=int(time.time()) - 60)), 401)

    def test_I11_self_signed(self):
        """System users sign by themselves: a key for each issuer, no kid, aud is the instance's URL with its port."""
        pem = self.file("system.pub", mint.pem(mint.spki(key("rsaB"))), 0o644)
        instance = "http://instance.test:8080"
        providers = {"system": {"issuer": "system-user", "audiences": [instance], "public_key_file": pem,
                                "max_age": "1h", "supported_algs": ["RS256"], "leeway": "1s"}}  # fmt: skip
        gate = self.gate_for([self.route("/system/v1/")], providers)
        now = int(time.time())

        def signed(**claims):
            body = {"iss": "system-user", "sub": "system-user", "aud": instance, "iat": now, "exp": now + 3600}
            return token("rsaB", header={"kid": None}, **{**body, "email": None, **claims})

        for why, t, want in (
            ("good", signed(), 200), ("two hours old", signed(iat=now - 7200), 401),
            ("aud without the port", signed(aud="http://instance.test"), 401),
            ("another's name", signed(iss="root"), 401),
            ("no iat", signed(iat=None), 401),
            ("another's key", token("rsaA", header={"kid": None}, iss="system-user", aud=instance), 401),
        ):  # fmt: skip
            self.assertEqual(self.status(gate, "/system/v1/x", t), want, why)

    def test_I12_I13_keys(self):
        """The issuer is away at the start; later it rotates; junk kids cost one fetch; a removed key is removed."""
        t = self.idp.jwt()
        self.idp.down()
        gate = self.gate_for([self.route("/echo")], ready=False)
        m = ask(gate.port, "GET", "/echo", auth(t))
        self.assertStatus(m, 503)
        self.assertGreaterEqual(int(value(m, "Retry-After")), 1)
        self.assertIsNone(value(m, "WWW-Authenticate"))
        self.idp.up()
        self.assertTrue(wait_until(lambda: self.status(gate, "/echo", t) == 200, 8, 0.1))
        self.assertEqual(self.idp.count("keys"), 1)
        with Client(gate.port) as c:
            c.request(target="/echo", fields=auth(t))
            self.assertEqual(c.response().status, 200)
            self.idp.kids = ["ed"]
            self.assertEqual(self.status(gate, "/echo", self.idp.jwt("ed")), 200)
            c.request(target="/echo", fields=auth(t))
            self.assertEqual(c.response().status, 401, "on an open connection too")
        before = self.idp.count("keys")
        junk = [self.idp.jwt(header={"kid": "r%d" % i}) for i in range(10)]
        count = 100 if SLOW else 1000

        def knock(part):
            with Client(gate.port) as c:
                for i in range(count // 10):
                    c.request(target="/echo", fields=auth(junk[part][:-4] + "%04d" % i))
                    if c.response().status != 401:
                        return False
            return True

        self.assertTrue(all(parallel(10, knock)))
        self.assertLessEqual(self.idp.count("keys") - before, 1)

    def test_I14_I16_I6_opaque(self):
        gate = self.gate_for([
            self.route("/echo", accept_opaque=True),
            self.route("/admin", {"allow": {"and": [{"groups": {"has": "admin"}}]}}, accept_opaque=True),
        ])  # fmt: skip
        t = self.idp.give("MtjHodGy4zxK")
        self.assertEqual({self.status(gate, "/echo", t) for _ in range(20)}, {200})
        self.assertEqual(self.status(gate, "/admin", t), 403, "active, but its audience proves nothing: no role")
        with Client(gate.port) as c:
            for _ in range(80):
                c.request(target="/echo", fields=auth(t))
                self.assertEqual(c.response().status, 200)
        self.assertLessEqual(self.idp.count("introspect"), 2, "one, or two where the answer grew old meanwhile")
        asked = self.idp.introspections[0]
        self.assertEqual(asked["fields"]["Authorization"], BASIC)
        self.assertEqual(asked["form"]["token"], t)
        self.assertNotIn("client_secret", asked["form"])
        self.idp.opaque.clear()
        self.assertTrue(wait_until(lambda: self.status(gate, "/echo", t) == 401, TTL_S + 2, 0.2))
        for mode in ("fail", "slow"):
            self.idp.mode = mode
            m = ask(gate.port, "GET", "/echo", auth(self.idp.give("fresh-" + mode)))
            self.assertStatus(m, 503, mode)
            self.assertGreaterEqual(int(value(m, "Retry-After")), 1)
            self.assertIsNone(value(m, "WWW-Authenticate"))
        self.assertNotIn(t, gate.stderr())
        with open(gate.access, encoding="utf-8") as f:
            self.assertNotIn(t, f.read())

    def test_I15_private_key_jwt(self):
        path = self.zitadel_key("application", clientId="app@project", appId="1")
        providers = {"zitadel": self.zitadel(
            introspection={"private_key_file": path, "client_id": None, "client_secret_file": None})}  # fmt: skip
        gate = self.gate_for([self.route("/echo", accept_opaque=True)], providers)
        self.assertEqual(self.status(gate, "/echo", self.idp.give("opq")), 200)
        asked = self.idp.introspections[-1]
        self.assertNotIn("Authorization", asked["fields"])
        self.assertEqual(asked["form"]["client_assertion_type"], ASSERTION_TYPE)
        head, claims = self.assertSigned(asked["form"]["client_assertion"], "application")
        self.assertEqual((head["alg"], head["kid"]), ("RS256", "k-application"))
        self.assertEqual((claims["iss"], claims["sub"], claims["aud"]), ("app@project", "app@project", self.idp.url))

    def test_I17_I18_roles_and_owners(self):
        """A role counts in its organisation only; the claim is an object or a list of them; names may have spaces."""
        policy = {"allow": {"and": [{"groups": {"has": "cfo@" + ORG_A}}]}}
        owner = {"allow": {"and": [{"claim/" + OWNER: ORG_A}]}}
        spaces = {"allow": {"and": [{"groups": {"has": "corporate member"}}]}}
        gate = self.gate_for(
            [self.route("/org-a-only", policy), self.route("/owner", owner), self.route("/spaces", spaces)]
        )

        def with_role(roles, **claims):
            return self.idp.jwt(**{ROLES: roles, **claims})

        a, b = {"cfo": {ORG_A: "a.test"}}, {"cfo": {ORG_B: "b.test"}}
        for why, t, want in (
            ("in A", with_role(a), 200), ("in B", with_role(b), 403), ("a list", with_role([a]), 200),
            ("a list of two", with_role([{"x": {ORG_B: "b"}}, a]), 200), ("nothing", with_role({}), 403),
            ("no object", with_role("cfo"), 403),
            ("another role's organisation", with_role({"cfo": {}, "x": {ORG_A: "a"}}), 403),
            ("a name that looks like both", with_role({"cfo@" + ORG_A: {ORG_B: "b"}}), 403),
        ):  # fmt: skip
            self.assertEqual(self.status(gate, "/org-a-only", t), want, why)
        self.assertEqual(self.status(gate, "/spaces", with_role({"corporate member": {ORG_A: "a", ORG_B: "b"}})), 200)
        self.assertEqual(self.status(gate, "/owner", self.idp.jwt(**{OWNER: ORG_A})), 200)
        self.assertEqual(self.status(gate, "/owner", self.idp.jwt(**{OWNER: ORG_B})), 403)

    def test_I20_error_bodies(self):
        nobody = {"allow": {"and": [{"user": {"is": "nobody"}}]}}
        gate = self.gate_for([
            self.route("/fmt-zitadel", error_format="zitadel"),
            self.route("/denied", nobody, error_format="zitadel"),
            self.route("/away", error_format="zitadel", to="http://127.0.0.1:1"),
        ])  # fmt: skip
        t = self.idp.jwt()
        cases = (("/fmt-zitadel", None, 401, 16), ("/denied", t, 403, 7), ("/away", t, 502, 14))
        for path, text, status, code in cases:
            m = ask(gate.port, "GET", path, auth(text) if text else [])
            self.assertEqual((m.status, json.loads(m.body)["code"]), (status, code), path)


class OwnCredential(Kit):
    """What tollgate itself sends to the service (I3-I5, I8, I19, R4, R7)."""

    def injected(self, **upstream_auth):
        return self.route("/inject", upstream_auth=upstream_auth)

    def ready(self, gate):
        """The first token is asked for when the configuration comes into force."""
        self.assertTrue(wait_until(lambda: self.status(gate, "/inject", self.idp.jwt()) == 200, 5, 0.1))

    def test_I3_private_key_jwt_grant(self):
        path = self.zitadel_key("serviceaccount", userId="2961")
        scopes = ["openid", "urn:zitadel:iam:org:project:id:zitadel:aud"]
        gate = self.gate_for(
            [self.injected(grant="jwt_bearer", issuer=self.idp.url, private_key_file=path, scopes=scopes)]
        )
        self.ready(gate)
        asked = self.idp.token_requests[0]
        self.assertEqual(asked["form"]["grant_type"], JWT_GRANT)
        self.assertEqual(asked["form"]["scope"], " ".join(scopes))
        self.assertNotIn("Authorization", asked["fields"])
        head, claims = self.assertSigned(asked["form"]["assertion"], "serviceaccount")
        self.assertEqual((head["alg"], head["kid"]), ("RS256", "k-serviceaccount"))
        self.assertEqual((claims["iss"], claims["sub"], claims["aud"]), ("2961", "2961", self.idp.url))
        self.assertTrue(0 < claims["exp"] - claims["iat"] <= 3600)
        self.assertLessEqual(claims["iat"], time.time())
        self.assertRegex(self.echoed(gate, "/inject", self.idp.jwt())["authorization"], r"^Bearer own-\d+$")

    def test_I4_I5_client_credentials(self):
        secret = self.file("own-secret", SECRET + "\n")
        for method, want in (("basic", BASIC), ("post", None)):
            with self.subTest(method):
                gate = self.gate_for([self.injected(grant="client_credentials", issuer=self.idp.url, client_id=CLIENT,
                                                    client_secret_file=secret, auth_method=method, scopes=["openid"])])
                self.ready(gate)
                asked = self.idp.token_requests[-1]
                self.assertEqual(asked["fields"].get("Authorization"), want)
                self.assertEqual(asked["form"]["grant_type"], "client_credentials")
                self.assertEqual(asked["form"].get("client_secret"), None if want else SECRET)

    def test_I8_renewed_ahead(self):
        """Tokens of 5 s: every call is served, and few tokens are asked for."""
        self.idp.token_ttl = 5
        secret = self.file("own-secret", SECRET)
        gate = self.gate_for([self.injected(grant="client_credentials", token_url=self.idp.url + "/oauth/v2/token",
                                            client_id=CLIENT, client_secret_file=secret)])
        self.ready(gate)
        t, end, seen, used = self.idp.jwt(), time.monotonic() + 6.5, set(), set()
        while time.monotonic() < end:
            for m in parallel(4, lambda i: ask(gate.port, "GET", "/inject", auth(t))):
                seen.add(m.status)
                used.update(v for k, v in json.loads(m.body)["fields"] if k.lower() == "authorization")
            time.sleep(0.1)
        self.assertEqual(seen, {200})
        self.assertGreaterEqual(len(used), 2)
        self.assertLessEqual(self.idp.count("token"), 4)

    def test_I19_R4_R7_static_token(self):
        """The service gets the token of the file and nothing of the caller's; a new file is used without a restart."""
        path = self.file("pat", "old-pat\n")
        gate = self.gate_for([self.injected(token_file=path)])
        t = self.idp.jwt()
        fields = self.echoed(gate, "/inject/orgs/me", t, ("x-zitadel-orgid", "1"))
        self.assertEqual(fields["authorization"], "Bearer old-pat")
        self.assertNotIn("x-zitadel-orgid", fields)
        self.assertNotIn(t, json.dumps(fields))
        self.file("pat.new", "new-pat")
        os.rename(os.path.join(self.dir, "pat.new"), path)
        self.assertTrue(wait_until(
            lambda: self.echoed(gate, "/inject", t)["authorization"] == "Bearer new-pat", 4, 0.1))  # fmt: skip


class Zerops(Kit):
    """Personal access tokens of tollgate itself."""

    def gate_of_test(self):
        reading = {"http_method": {"in": ["GET", "HEAD"]}}
        policy = [{"allow": {"and": [{"groups": {"has": "owners"}}]}},
                  {"allow": {"and": [{"groups": {"has": "viewers"}}, reading]}}]  # fmt: skip
        state = os.path.join(self.dir, "state")
        os.makedirs(state, mode=0o700)
        return self.gate_for([self.route("/project", policy, error_format="zerops")], state_dir=state,
                             personal_access_tokens={"enabled": True})

    def create(self, gate, *more):
        code, out, err = run("token", "create", "-c", gate.config_path, *more)
        self.assertEqual(code, 0, err)
        return out.strip()

    def listed(self, gate):
        code, out, err = run("token", "list", "--json", "-c", gate.config_path)
        self.assertEqual(code, 0, err)
        return json.loads(out), out

    def test_R1_R2_R3_R5_R6_R8(self):
        gate = self.gate_of_test()
        owner = self.create(gate, "--name", "ci", "--groups", "owners")
        viewer = self.create(gate, "--name", "dashboard", "--groups", "viewers")
        self.assertNotEqual(owner, viewer)
        self.assertEqual(self.status(gate, "/project", owner), 200)
        self.assertEqual(self.status(gate, "/project", owner, method="DELETE"), 200)
        self.assertEqual(self.status(gate, "/project", viewer), 200)
        m = ask(gate.port, "DELETE", "/project", auth(viewer))
        self.assertStatus(m, 403, "it is good, and may not")
        self.assertIn("code", json.loads(m.body)["error"])
        tokens, text = self.listed(gate)
        self.assertNotIn(owner, text)
        self.assertNotIn(viewer, text)
        self.assertNotIn(hashlib.sha256(owner.encode()).hexdigest(), text)
        self.assertEqual({t["name"] for t in tokens}, {"ci", "dashboard"})
        self.assertTrue(wait_until(lambda: all(t["last_used_at"] for t in self.listed(gate)[0]), 13, 0.5))

        connections = [Client(gate.port) for _ in range(12)]
        for c in connections:
            self.addCleanup(c.close)
            c.request(target="/project", fields=auth(owner))
            self.assertEqual(c.response().status, 200)
        (wanted,) = [t["id"] for t in tokens if t["name"] == "ci"]
        code, _, err = run("token", "revoke", wanted, "-c", gate.config_path)
        self.assertEqual(code, 0, err)
        for c in connections:
            c.request(target="/project", fields=auth(owner))
            self.assertEqual(c.response().status, 401, "the very next request, on an open connection")
        self.assertEqual({self.status(gate, "/project", owner) for _ in range(50)}, {401})
        self.assertEqual(self.status(gate, "/project", viewer), 200)

        bodies = {ask(gate.port, "GET", "/project", f).body for f in ([], auth("junk"), auth(owner), auth("tgp_junk"))}
        self.assertEqual(len(bodies), 1, "missing, junk and revoked read alike")

    def test_R1_a_token_of_another_instance(self):
        gate = self.gate_of_test()
        good = self.create(gate, "--name", "ci", "--groups", "owners")
        forged = good[:-1] + ("A" if good[-1] != "A" else "B")
        for text in (forged, good[:-7], good + "A", good[:10], "tgp_" + "A" * 49):
            self.assertEqual(self.status(gate, "/project", text), 401)
        self.assertEqual(self.idp.count("introspect"), 0, "nobody else is asked about it")


if __name__ == "__main__":
    main()
