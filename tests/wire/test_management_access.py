"""Who may use the management API: roles, every form of a credential, what is withdrawn refused at the very next call,
nothing of the data plane good here and nothing of here good there, and no secret in any file.
"""

import json
import os
import signal
import subprocess
import tempfile
import time

from harness import Case, Client, Tollgate, ask, bearer, config, free_port, key, main, members, mint, provider
from harness import run, token, value, wait_until
from openapi import Api, check_message

ORG = "3f0c2f64-0000-4000-8000-000000000001"
BASE = "/api/v0/organizations/" + ORG
REALM = 'Bearer realm="tollgate-management"'
INVALID = REALM + ', error="invalid_token", error_description="The access token is invalid"'
EXPIRED = REALM + ', error="invalid_token", error_description="The access token expired"'
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TOKEN = r"tga_[\w-]{43}[0-9A-Za-z]{6}"
PEACE = {"authenticated": 1000000, "unauthenticated": 1000000}
ALLOW = {"allow": {"and": [{"email": {"is": "user@example.com"}}]}}
EC, ED, RSA = mint.ec_key("P-256", "operators"), mint.ed_key("operators"), key("rsaB")
ED_DER = bytes.fromhex("302a300506032b6570032100") + mint.unb64u(ED["x"])
KEY_FILES = {
    "alice.pem": mint.pem(mint.spki(EC)),
    "bob.pem": mint.pem(ED_DER),
    "carol.pem": mint.pem(mint.spki(RSA)),
}
OPERATORS = [
    {"id": "alice", "public_key_file": "alice.pem"},
    {"id": "bob", "public_key_file": "bob.pem", "role": "viewer"},
    {"id": "carol", "public_key_file": "carol.pem", "role": "admin"},
]
SIGNS = {"alice": (EC, "ES256"), "bob": (ED, "EdDSA"), "carol": (RSA, "RS256")}


def operator(url, name="alice", header=None, signer=None, **claims):
    """A JWT as an operator signs it himself; a claim given as None is left out."""
    jwk, alg = SIGNS[signer or name]
    now = int(time.time())
    body = {"iss": name, "sub": name, "aud": url, "iat": now, "exp": now + 3600, **claims}
    return mint.jws(jwk, header or {"alg": alg}, {k: v for k, v in body.items() if v is not None}, alg=alg)


class Access(Case):
    """One tollgate with data plane and management API for all tests of a class."""

    limits, changes = PEACE, {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = free_port()
        cls.url = "http://127.0.0.1:%d" % cls.manager
        cls.gate = cls.tollgate(cls.up)
        cls.port = cls.gate.port
        cls.owner = cls.command_token(cls.gate, "first", "owner")
        cls.api = Api(cls.manager, cls.owner)

    @classmethod
    def tollgate(cls, up, **changes):
        management = {
            "address": "127.0.0.1:%d" % cls.manager,
            "organization": {"id": ORG, "name": "test"},
            "operators": OPERATORS,
            "limits": cls.limits,
        }
        cfg = config([members(up)], **{"state_dir": "state", "management": management, **cls.changes, **changes})
        return Tollgate(cfg, files={"state/.keep": "", **KEY_FILES})

    @staticmethod
    def command_token(gate, name, role, *more):
        code, out, err = run(
            "token", "create", "--kind", "api-user", "--name", name, "--role", role, *more, "-c", gate.config_path
        )
        assert code == 0, err
        return out.strip()

    _count = 0

    def user(self, role="admin", name=None, **more):
        """(token, id) of a new one."""
        Access._count += 1
        body = {"name": name or "user %d" % Access._count, "role": role, **more}
        made = self.api.post("/api/v1/tokens", body)
        self.assertEqual(made.status, 201, made.text)
        return made.json["token"], made.json["id"]

    def id_token(self, api_token):
        got = Api(self.manager).post("/api/v0/token", {"refreshToken": api_token})
        self.assertEqual(got.status, 200, got.text)
        return got.json["idToken"]

    def call(self, *authorization, method="GET", target="/api/v0/organizations", body=None, port=None, **connect):
        """One call on a connection of its own, with these Authorization fields as they are."""
        fields = [("Authorization", a) for a in authorization]
        if body is not None:
            fields.append(("Content-Type", "application/json"))
            body = json.dumps(body).encode()
        m = ask(port or self.manager, method, target, fields, body, **connect)
        return check_message(method, target, m) if port in (None, self.manager) else m

    def status(self, api_token, **more):
        return self.call("Bearer " + api_token, **more).status


# ---- roles ----------------------------------------------------------------------------------------------------------
READ = [BASE + "/policies", BASE + "/routes", BASE + "/namespaces", "/api/v0/organizations", "/api/v1/policies"]
AUDIT = ["/api/v1/tokens", BASE + "/api-users", "/api/v1/webhooks", "/api/v1/audit-logs"]


class Roles(Access):
    def test_table(self):
        for role in ("owner", "admin", "member", "auditor", "viewer"):
            api_token, _ = self.user(role)
            for credential in (api_token, self.id_token(api_token)):
                api = Api(self.manager, credential)
                writes = role in ("owner", "admin")
                for path in READ:
                    self.assertEqual(api.get(path).status, 200, (role, path))
                for path in AUDIT:
                    self.assertEqual(api.get(path).status, 403 if role == "member" else 200, (role, path))
                name = "by %s %d" % (role, credential is api_token)
                for path, body in (
                    (BASE + "/policies", {"name": name, "ppl": ALLOW}),
                    ("/api/v1/policies", {"name": name, "policy_data": {"ppl": ALLOW}}),
                    ("/api/v1/tokens", {"name": name}),
                    (BASE + "/api-users", {"name": name + " too"}),
                ):
                    got = api.post(path, body)
                    self.assertEqual(got.status, 201 if writes else 403, (role, path, got.text))
                    if not writes:
                        self.assertEqual(
                            got.headers["www-authenticate"], REALM + ', error="insufficient_scope", scope="admin"'
                        )
                if not writes:
                    self.assertEqual(api.delete("/api/v1/tokens/" + ORG).status, 403)

    def test_shown_to_its_caller(self):
        for role, shown in (("owner", "owner"), ("viewer", "auditor"), ("member", "member")):
            made = self.api.post("/api/v1/tokens", {"name": "shown " + role, "role": role}).json
            self.assertEqual(made["role"], shown)
            got = Api(self.manager, made["token"]).get("/api/v0/organizations")
            self.assertEqual(got.json[0]["role"], shown)

    def test_nobody_raises_himself(self):
        admin, admin_id = self.user("admin")
        _, owner_id = self.user("owner")
        as_admin = Api(self.manager, admin)
        for path, names in (("/api/v1/tokens", "tokens"), (BASE + "/api-users", "api-users")):
            got = as_admin.post(path, {"name": "king by " + names, "role": "owner"})
            self.assertEqual(got.status, 403, got.text)
            self.assertIn("above your own", got.text)
            self.assertEqual(
                got.headers["www-authenticate"], REALM + ', error="insufficient_scope", scope="owner"'
            )
            self.assertEqual(as_admin.post(path, {"name": "peer by " + names, "role": "admin"}).status, 201)
            self.assertEqual(as_admin.delete("%s/%s" % (path, owner_id)).status, 403)
            self.assertEqual(self.call("Bearer " + admin, method="PUT", target="%s/%s" % (path, admin_id)).status, 405)
        self.assertEqual(self.api.get("/api/v1/tokens/" + owner_id).status, 200, "it is still there")
        self.assertNotIn("king", self.api.get(BASE + "/api-users").text)
        self.assertEqual(as_admin.delete("/api/v1/tokens/" + admin_id).status, 204, "himself")
        self.assertEqual(self.status(admin), 401)

    def test_least_by_default(self):
        made = self.api.post("/api/v1/tokens", {"name": "who am I"}).json
        self.assertEqual(made["role"], "auditor")


# ---- tokens ---------------------------------------------------------------------------------------------------------
class Tokens(Access):
    def test_once(self):
        for path, one in (("/api/v1/tokens", "ci"), (BASE + "/api-users", "terraform")):
            got = self.api.post(path, {"name": one, "role": "admin"})
            self.assertEqual(got.status, 201, got.text)
            api_token, name = got.json["token"], got.json["id"]
            self.assertRegex(api_token, r"\A%s\Z" % TOKEN)
            self.assertRegex(name, r"\A%s\Z" % UUID)
            self.assertEqual(got.headers["location"], "%s/%s" % (path, name))
            self.assertEqual(got.headers["cache-control"], "no-store")
            self.assertEqual(got.text.count(api_token), 1)
            self.assertEqual(got.json["prefix"], api_token[:12])
            for where in ("/api/v1/tokens", BASE + "/api-users"):
                for shown in (self.api.get(where + "?page_size=100"), self.api.get("%s/%s" % (where, name))):
                    self.assertIn(name, shown.text)
                    self.assertNotIn(api_token, shown.text)
                    self.assertNotIn(api_token[12:], shown.text)
            self.assertEqual(self.api.post(path, {"name": one}).status, 409, "the name is taken")

    def test_pages(self):
        for i in range(5):
            self.user("member", "page %d" % i)
        whole = self.api.get("/api/v1/tokens?page_size=100").json
        pages = [self.api.get("/api/v1/tokens?page_size=2&page=%d" % (i + 1)).json for i in range(whole["total"])]
        self.assertEqual([t for p in pages for t in p["data"]], whole["data"])
        self.assertEqual({p["total_pages"] for p in pages}, {(whole["total"] + 1) // 2})
        self.assertEqual(self.api.get("/api/v1/tokens?page=9999").json["data"], [])
        self.assertEqual(self.api.get("/api/v1/tokens?page_size=101").status, 400)
        self.assertEqual(self.api.get("/api/v1/tokens?page=0").status, 400)

    def test_bodies(self):
        for body, said in (
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": 1}, "name"),
            ({"name": "x" * 129}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"name": "a", "role": "king"}, "role"),
            ({"name": "a", "role": 1}, "role"),
            ({"name": "a", "rol": "admin"}, "did you mean role"),
            ({"name": "a", "token": "mine"}, "token"),
            ({"name": "a", "expires_at": "tomorrow"}, "expires_at"),
            ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
            ({"name": "a", "expires_at": 5}, "expires_at"),
            ([], "object"),
        ):
            got = self.api.post("/api/v1/tokens", body)
            self.assertEqual(got.status, 400, body)
            self.assertIn(said, got.json["details"])
        got = self.api.post(BASE + "/api-users", {"name": "a", "expires_at": "2040-01-01T00:00:00Z"})
        self.assertEqual(got.status, 400)
        self.assertIn("expiresAt", got.json["error"])
        made = self.api.post(BASE + "/api-users", {"name": "later", "expiresAt": "2040-01-01T00:00:00Z"})
        self.assertEqual((made.status, made.json["expiresAt"]), (201, "2040-01-01T00:00:00.000000Z"))
        shown = self.api.get("/api/v1/tokens/" + made.json["id"]).json
        self.assertEqual(shown["expires_at"], "2040-01-01T00:00:00Z")

    def test_unknown(self):
        for path in ("/api/v1/tokens/", BASE + "/api-users/"):
            self.assertEqual(self.api.get(path + ORG).status, 404)
            self.assertEqual(self.api.delete(path + ORG).status, 404)
        self.assertEqual(self.api.get("/api/v0/organizations/other/api-users").status, 404)
        self.assertEqual(self.api.post("/api/v0/organizations/other/api-users", {"name": "x"}).status, 404)

    def test_last_use(self):
        api_token, name = self.user("member")
        self.assertIsNone(self.api.get("/api/v1/tokens/" + name).json["last_used_at"])
        self.assertEqual(self.status(api_token), 200)
        used = self.api.get("/api/v1/tokens/" + name).json["last_used_at"]
        self.assertRegex(used, r":00Z\Z", "to the minute")
        self.assertIn(used[:16], {time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - s)) for s in (0, 60)})
        self.assertIsNotNone(self.api.get(BASE + "/api-users/" + name).json["lastUsedAt"])

    def test_exchange(self):
        api_token, _ = self.user("member")
        got = Api(self.manager).post("/api/v0/token", {"refreshToken": api_token})
        self.assertEqual(got.json["expiresInSeconds"], "3600")
        self.assertEqual(got.headers["cache-control"], "no-store")
        claims = json.loads(mint.unb64u(got.json["idToken"].split(".")[1]))
        self.assertEqual((claims["iss"], claims["aud"]), (self.url, self.url))
        self.assertEqual(claims["exp"] - claims["iat"], 3600)
        for body in (
            {"refreshToken": "nope"},
            {"refreshToken": ""},
            {"refreshToken": api_token[:-1]},
            {"refreshToken": "tgp_" + api_token[4:]},
            {"refreshToken": got.json["idToken"]},
        ):
            refused = Api(self.manager).post("/api/v0/token", body)
            self.assertEqual((refused.status, refused.json), (400, {"error": "the refresh token is invalid"}))
        for body in ({}, {"refreshToken": 1}, {"refreshToken": None}, {"refresh_token": api_token}, []):
            self.assertEqual(Api(self.manager).post("/api/v0/token", body).status, 400, body)

    def test_rotation_without_a_gap(self):
        old, old_id = self.user("admin", "ci, old")
        new, _ = self.user("admin", "ci, new")
        self.assertEqual((self.status(old), self.status(new)), (200, 200))
        self.assertEqual(Api(self.manager, new).delete("/api/v1/tokens/" + old_id).status, 204)
        self.assertEqual((self.status(old), self.status(new)), (401, 200))


# ---- forms of a credential ------------------------------------------------------------------------------------------
class Forms(Access):
    def test_every_form(self):
        api_token, _ = self.user("member")
        id_token, signed = self.id_token(api_token), operator(self.url)
        invalid_request = REALM + ', error="invalid_request"'
        for fields, status, challenge in (
            ([], 401, REALM),
            ([""], 401, REALM),
            (["Basic dXNlcjpwYXNz"], 401, REALM),
            (["Digest x=1"], 401, REALM),
            (["DPoP " + id_token], 401, REALM),
            ([api_token], 401, REALM),  # opaque and bare
            ([id_token], 200, None),
            ([signed], 200, None),
            (["Bearer " + id_token], 200, None),
            (["bEaReR    " + id_token], 200, None),
            (["Pomerium " + id_token], 200, None),
            (["pomerium  " + api_token], 200, None),
            (["Bearer " + api_token], 200, None),
            (["Bearer " + signed], 200, None),
            ([id_token + ","], 401, REALM),
            ([id_token + ".x"], 401, REALM),
            ([id_token.rsplit(".", 1)[0] + "."], 401, REALM),
            (["Bearer"], 400, invalid_request),
            (["Pomerium"], 400, invalid_request),
            (["Bearer a b"], 400, invalid_request),
            (["Bearer " + id_token + ", x"], 400, invalid_request),
            (["Bearer " + "a" * 17000], 400, invalid_request),
            (["Bearer " + id_token] * 2, 400, invalid_request),
            (["Bearer " + api_token, "Bearer " + id_token], 400, invalid_request),
            ([id_token] * 2, 400, invalid_request),
        ):
            got = self.call(*fields)
            said = value(got, "WWW-Authenticate")
            self.assertEqual(got.status, status, (fields, got.body))
            self.assertEqual(said and said.split(", error_description")[0], challenge, fields)
            if status != 200:
                self.assertEqual(value(got, "Cache-Control"), "no-store")

    def test_one_wording(self):
        """Whatever is wrong with a token that has not just expired: status, challenge and body are the same."""
        api_token, name = self.user("member")
        gone, gone_id = self.user("member")
        id_token, gone_id_token = self.id_token(api_token), self.id_token(gone)
        self.assertEqual(self.api.delete("/api/v1/tokens/" + gone_id).status, 204)
        head, payload, signature = id_token.split(".")
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.url, "sub": name, "jti": "j", "iat": now, "exp": now + 600}
        bad = {
            "junk": "junk",
            "three parts": "a.b.c",
            "deleted": gone,
            "ID token of a deleted one": gone_id_token,
            "a character changed": api_token[:-7] + ("A" if api_token[-7] != "A" else "B") + api_token[-6:],
            "checksum right, of nobody": "tga_" + "A" * 43 + "000000",
            "another signature": ".".join((head, payload, mint.b64u(b"\1" * 64))),
            "no signature": ".".join((mint.b64u(b'{"alg":"none"}'), payload, signature)),
            "of an operator's key": mint.jws(EC, {"alg": "ES256"}, claims),
            "the audience is another": operator("http://127.0.0.1:1"),
            "the port is missing": operator("http://127.0.0.1"),
            "of nobody": operator(self.url, "alice", iss="mallory", sub="mallory"),
            "one in the name of another": operator(self.url, "alice", signer="bob"),
            "sub is not iss": operator(self.url, sub="bob"),
            "ahead": operator(self.url, iat=now + 90),
            "no iat": operator(self.url, iat=None),
            "by a secret": mint.jws(
                {"kty": "oct", "k": mint.b64u(KEY_FILES["alice.pem"].encode())},
                {"alg": "HS256"}, {"iss": "alice", "sub": "alice", "aud": self.url, "iat": now}, alg="HS256",
            ),
            "the data plane's": token(),
            "a personal access token": "tgp_" + api_token[4:],
        }
        said = {}
        for why, one in bad.items():
            got = self.call("Bearer " + one)
            self.assertEqual((got.status, value(got, "WWW-Authenticate")), (401, INVALID), why)
            said.setdefault(got.body, []).append(why)
        self.assertEqual(len(said), 1, said)
        self.assertNotIn(api_token.encode(), next(iter(said)))

    def test_bare_is_audited(self):
        api_token, name = self.user("member")
        id_token = self.id_token(api_token)
        for _ in range(3):
            self.assertEqual(self.call(id_token).status, 200)
        entries = self.api.get("/api/v1/audit-logs?action=auth.bare_token&page_size=100").json["data"]
        mine = [e for e in entries if name in e["actor"]]
        self.assertEqual(len(mine), 1, "once a token")
        self.assertNotIn(id_token, json.dumps(entries))


class NotBare(Access):
    @classmethod
    def tollgate(cls, up, **changes):
        management = {
            "address": "127.0.0.1:%d" % cls.manager,
            "organization": {"id": ORG},
            "accept_bare_token": False,
        }
        return super().tollgate(up, management=management, **changes)

    def test_off(self):
        id_token = self.id_token(self.owner)
        self.assertEqual(self.call(id_token).status, 401)
        self.assertEqual(value(self.call(id_token), "WWW-Authenticate"), REALM)
        self.assertEqual(self.call("Bearer " + id_token).status, 200)


# ---- withdrawn at once ----------------------------------------------------------------------------------------------
class AtOnce(Access):
    def refused(self, *credentials):
        """Fifty calls over new connections, each of them 401."""
        for credential in credentials:
            said = {self.status(credential) for _ in range(50)}
            self.assertEqual(said, {401})

    def test_deleted(self):
        for path in ("/api/v1/tokens", BASE + "/api-users"):
            api_token, name = self.user("admin")
            first, second = self.id_token(api_token), self.id_token(api_token)
            self.assertEqual([self.status(t) for t in (api_token, first, second)], [200] * 3)
            with Client(self.manager) as open_before:
                field = [("Authorization", "Bearer " + first)]
                self.assertStatus(open_before.request(target="/api/v0/organizations", fields=field).response(), 200)
                self.assertEqual(self.api.delete("%s/%s" % (path, name)).status, 204)
                self.assertStatus(open_before.request(target="/api/v0/organizations", fields=field).response(), 401)
            self.refused(api_token, first, second)
            got = Api(self.manager).post("/api/v0/token", {"refreshToken": api_token})
            self.assertEqual(got.status, 400)
            self.assertEqual(self.api.delete("%s/%s" % (path, name)).status, 404)

    def test_by_command(self):
        api_token = self.command_token(self.gate, "by command", "admin", "--expires", "none")
        id_token = self.id_token(api_token)
        code, out, err = run("token", "list", "--kind", "api-user", "--json", "-c", self.gate.config_path)
        self.assertEqual(code, 0, err)
        mine = [u for u in json.loads(out) if u["name"] == "by command"][0]
        self.assertEqual((mine["role"], mine["prefix"], mine["expires_at"]), ("admin", api_token[:12], None))
        self.assertNotIn(api_token[12:], out)
        code, out, err = run("token", "revoke", mine["id"], "-c", self.gate.config_path)
        self.assertEqual((code, out), (0, ""), err)
        self.assertEqual(err, "the API user %s (by command) is deleted\n" % mine["id"])
        self.refused(api_token, id_token)
        actors = [e["actor"] for e in self.api.get("/api/v1/audit-logs?resource=token:" + mine["id"]).json["data"]]
        self.assertEqual(actors, ["command:uid %d" % os.getuid()] * 2)

    def test_logout(self):
        api_token, _ = self.user("member")
        one, two = self.id_token(api_token), self.id_token(api_token)
        self.assertEqual(Api(self.manager, one).post("/api/v1/auth/logout", None).status, 204)
        self.assertEqual({self.status(one) for _ in range(50)}, {401})
        self.assertEqual(self.call("Bearer " + one, method="POST", target="/api/v1/auth/logout").status, 401)
        self.assertEqual((self.status(two), self.status(api_token)), (200, 200))
        got = self.call("Bearer " + api_token, method="POST", target="/api/v1/auth/logout")
        self.assertEqual(got.status, 400, "an API token has no session")
        self.assertEqual(self.status(api_token), 200)
        signed, other = operator(self.url, "bob"), operator(self.url, "bob", jti="2")
        self.assertEqual(Api(self.manager, signed).post("/api/v1/auth/logout", None).status, 204)
        self.assertEqual((self.status(signed), self.status(other)), (401, 200))

    def test_expiry(self):
        """An ID token ends with its API user, and both are told to have expired."""
        end = time.time() + 3
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
        api_token, _ = self.user("member", expires_at=at)
        got = Api(self.manager).post("/api/v0/token", {"refreshToken": api_token})
        self.assertLessEqual(int(got.json["expiresInSeconds"]), 3)
        self.assertEqual(self.status(got.json["idToken"]), 200)
        time.sleep(max(0, int(end) + 0.2 - time.time()))
        for credential in (api_token, got.json["idToken"]):
            said = self.call("Bearer " + credential)
            self.assertEqual((said.status, value(said, "WWW-Authenticate")), (401, EXPIRED))
        again = Api(self.manager).post("/api/v0/token", {"refreshToken": api_token})
        self.assertEqual((again.status, again.json), (400, {"error": "the refresh token is invalid"}))


# ---- operators ------------------------------------------------------------------------------------------------------
class Operators(Access):
    def test_self_signed(self):
        now = int(time.time())
        for why, one, status in (
            ("ES256, no kid", operator(self.url), 200),
            ("any kid", operator(self.url, header={"alg": "ES256", "kid": "x", "typ": "JWT"}), 200),
            ("EdDSA", operator(self.url, "bob"), 200),
            ("RS256", operator(self.url, "carol"), 200),
            ("no exp", operator(self.url, exp=None), 200),
            ("aud is a list", operator([self.url]), 200),
            ("30 s ahead", operator(self.url, iat=now + 25), 200),
            ("two hours old", operator(self.url, iat=now - 7200), 401),
            ("its exp is past", operator(self.url, exp=now - 1), 401),
            ("the port is missing", operator("http://127.0.0.1"), 401),
            ("https", operator(self.url.replace("http", "https")), 401),
            ("a slash", operator(self.url + "/"), 401),
        ):
            self.assertEqual(self.status(one), status, why)
        self.assertEqual(value(self.call("Bearer " + operator(self.url, iat=now - 7200)), "WWW-Authenticate"), EXPIRED)

    def test_taken_out(self):
        """At a reload of the file, on connections that are open too; and it loses nothing for the others."""
        signed, others, id_token = operator(self.url, "bob"), operator(self.url), self.id_token(self.owner)
        self.assertEqual(self.status(signed), 200)
        whole = self.gate.cfg
        management = dict(whole["management"], operators=[o for o in OPERATORS if o["id"] != "bob"])
        try:
            self.gate.configure(dict(whole, management=management))
            self.gate.reload()
            self.assertTrue(wait_until(lambda: self.status(signed) == 401))
            self.assertEqual([self.status(t) for t in (others, id_token, self.owner)], [200] * 3)
        finally:
            self.gate.configure(whole)
            self.gate.reload()
            self.assertTrue(wait_until(lambda: self.status(signed) == 200))

    def test_roles(self):
        for name, status in (("alice", 201), ("carol", 201), ("bob", 403)):
            got = Api(self.manager, operator(self.url, name)).post("/api/v1/tokens", {"name": "made by " + name})
            self.assertEqual(got.status, status, got.text)
        refused = Api(self.manager, operator(self.url, "carol")).post("/api/v1/tokens", {"name": "o", "role": "owner"})
        self.assertEqual(refused.status, 403)
        entries = self.api.get("/api/v1/audit-logs?action=token.create&actor=operator:alice").json["data"]
        self.assertEqual([e["details"]["name"] for e in entries], ["made by alice"])


# ---- the data plane and this ----------------------------------------------------------------------------------------
class CrossUse(Access):
    changes = {"personal_access_tokens": {"enabled": True}}

    def test_neither_way(self):
        api_token, _ = self.user("owner")
        for one in (api_token, self.id_token(api_token), operator(self.url)):
            for form in ("Bearer " + one, "Pomerium " + one, one):
                got = self.call(form, port=self.gate.port, target="/")
                self.assertEqual(got.status, 401, form)
        code, out, err = run("token", "create", "--name", "pat", "-c", self.gate.config_path)
        self.assertEqual(code, 0, err)
        pat = out.strip()
        self.assertEqual(self.call("Bearer " + pat, port=self.gate.port, target="/").status, 200)
        self.assertEqual(self.call(bearer()[1], port=self.gate.port, target="/").status, 200)
        for one in (pat, token(), token(aud=self.url), token("rsaA", aud=self.url)):
            got = self.call("Bearer " + one)
            self.assertEqual((got.status, value(got, "WWW-Authenticate")), (401, INVALID))
            self.assertEqual(Api(self.manager).post("/api/v0/token", {"refreshToken": one}).status, 400)
        self.assertEqual(self.gate.log(count=1)[0]["token_refused"], "api-token")

    def test_kinds_apart(self):
        code, out, err = run("token", "list", "--json", "-c", self.gate.config_path)
        self.assertEqual(code, 0, err)
        self.assertNotIn("first", out)
        code, out, err = run("token", "list", "--kind", "api-user", "-c", self.gate.config_path)
        self.assertEqual(code, 0, err)
        self.assertIn("owner", out)
        self.assertIn("first", out)


class NotShownToProviders(Access):
    """An API user's token that was sent to the data plane by mistake is nobody else's business."""

    @classmethod
    def tollgate(cls, up, **changes):
        cls.asked = []

        def introspect(c, r):
            cls.asked.append(r.body)
            c.answer(200, [("Content-Type", "application/json")], b'{"active":false}')

        up.on("/introspect", introspect)
        asked = {"url": up.url + "/introspect", "client_id": "c", "client_secret_file": "alice.pem"}
        asked["accept_opaque"] = True
        return super().tollgate(up, identity_providers={"test": provider(introspection=asked)}, **changes)

    def test_not_introspected(self):
        got = self.call("Bearer opaque", port=self.gate.port, target="/")
        self.assertEqual((got.status, len(self.asked)), (401, 1), "the provider is asked about others")
        self.assertEqual(self.call("Bearer " + self.owner, port=self.gate.port, target="/").status, 401)
        self.assertEqual(len(self.asked), 1)


# ---- guessing -------------------------------------------------------------------------------------------------------
class Guessing(Access):
    limits = {"authenticated": 1000, "unauthenticated": 20}

    def test_brute_force(self):
        id_token, signed = self.id_token(self.owner), operator(self.url)
        if time.time() % 60 > 50:
            time.sleep(61 - time.time() % 60)  # in one window
        said = [self.call("Bearer tga_%d" % i) for i in range(12)]
        said += [self.call(method="POST", target="/api/v0/token", body={"refreshToken": "no"}) for _ in range(12)]
        statuses = [m.status for m in said]
        self.assertEqual(statuses, sorted(statuses[:12]) + sorted(statuses[12:]), "and none of them 200")
        self.assertEqual(set(statuses), {401, 400, 429})
        self.assertEqual(statuses.count(429), 4)
        self.assertGreaterEqual(int(value(said[-1], "Retry-After")), 1)
        self.assertEqual(value(said[-1], "X-RateLimit-Remaining"), "0")
        for one in (id_token, signed):  # from the same address
            self.assertEqual(self.status(one), 200)
        self.assertEqual(self.status("a.b.c"), 429, "no free guessing")
        self.assertEqual(self.status(self.owner), 429, "the store is not asked")
        self.assertEqual(self.status(self.owner, source="127.0.0.7"), 200, "from another address")
        self.assertEqual(self.call("Bearer " + id_token, source="127.0.0.7").status, 200)


# ---- nothing secret -------------------------------------------------------------------------------------------------
class Secrets(Access):
    def test_nowhere(self):
        api_token, name = self.user("admin", "looked for")
        id_token, signed = self.id_token(api_token), operator(self.url)
        self.status(api_token)
        self.call(id_token)
        self.status(signed)
        self.status(signed, method="POST", target="/api/v1/auth/logout")
        self.status(id_token, method="POST", target="/api/v1/auth/logout")
        self.status("guess-that-is-recognised")
        self.call(method="POST", target="/api/v0/token", body={"refreshToken": "guess-that-is-recognised"})
        self.call(method="POST", target="/api/v0/token", body={"refreshToken": api_token + "x"})
        self.call("Bearer " + api_token, port=self.gate.port, target="/?access_token=" + api_token)
        self.assertEqual(self.api.delete("/api/v1/tokens/" + name).status, 204)
        self.status(api_token)
        needles = [api_token[12:], id_token.split(".")[2], signed.split(".")[2], "guess-that-is-recognised"]
        audit = self.api.get("/api/v1/audit-logs?page_size=100").text
        for needle in needles:
            self.assertNotIn(needle, audit)
        seen = {}
        for folder, _, files in os.walk(self.gate.dir):
            for file in files:
                with open(os.path.join(folder, file), "rb") as f:
                    seen[file] = f.read()
        self.assertIn(b"looked for", seen["tollgate.db"] + seen["tollgate.db-wal"])
        for file, octets in seen.items():
            for needle in needles:
                self.assertNotIn(needle.encode(), octets, file)
        self.assertNotIn(b"BEGIN PRIVATE", seen["stderr"] + seen["tollgate.db"])

    def test_audited(self):
        api_token, name = self.user("admin", "audited")
        actor = "api-user:%s (audited)" % name
        id_token = self.id_token(api_token)
        Api(self.manager, id_token).post("/api/v1/auth/logout", None)
        self.status(id_token)
        Api(self.manager).post("/api/v0/token", {"refreshToken": "wrong"})
        self.api.delete("/api/v1/tokens/" + name)
        by_user = self.api.get("/api/v1/audit-logs?actor=" + actor.replace(" ", "%20")).json["data"]
        self.assertEqual([e["action"] for e in by_user], ["auth.logout", "auth.exchange"])
        of_it = self.api.get("/api/v1/audit-logs?resource=token:" + name).json["data"]
        self.assertEqual([e["action"] for e in of_it], ["token.delete", "token.create"])
        self.assertEqual(of_it[1]["details"]["role"], "admin")
        for action, result in (("auth.exchange", "failure"), ("auth.denied", "denied")):
            self.assertTrue(self.api.get("/api/v1/audit-logs?action=%s&result=%s" % (action, result)).json["data"])


# ---- the key, and a restart -----------------------------------------------------------------------------------------
def new_key():
    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, check=True, timeout=20)
    return made.stdout.decode()


class Key(Access):
    def put(self, text):
        path = os.path.join(self.gate.dir, "state", "management-key.pem")
        beside = self.gate.write("beside.pem", text)
        os.chmod(beside, 0o600)
        os.replace(beside, path)

    def test_rotation(self):
        path = os.path.join(self.gate.dir, "state", "management-key.pem")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        with open(path, encoding="ascii") as f:
            old_key = f.read()
        old, fresh_key = self.id_token(self.owner), new_key()
        self.put(fresh_key + old_key)
        new = self.id_token(self.owner)
        self.assertEqual((self.status(old), self.status(new)), (200, 200))
        self.assertNotEqual(old.split(".")[0], new.split(".")[0], "another kid")
        self.put(fresh_key)
        self.assertEqual((self.status(old), self.status(new)), (401, 200))
        self.put("junk")
        self.assertEqual((self.status(old), self.status(new)), (401, 200))
        self.assertIn("the key of ID tokens cannot be read", self.gate.stderr())

    def test_killed(self):
        """What was said lives on: tokens, what was deleted, what was logged out, the key."""
        state = tempfile.TemporaryDirectory(prefix="tollgate-access.")
        self.addCleanup(state.cleanup)
        keep = self.manager
        type(self).manager = free_port()
        try:
            self.survive(state.name)
        finally:
            type(self).manager = keep

    def survive(self, state):
        url = "http://127.0.0.1:%d" % self.manager
        gate = self.tollgate(self.up, state_dir=state)
        owner = self.command_token(gate, "survivor", "owner")
        api = Api(self.manager, owner)
        made = api.post("/api/v1/tokens", {"name": "deleted", "role": "member"}).json
        ended, kept = self.id_token(owner), self.id_token(owner)
        self.assertEqual(api.delete("/api/v1/tokens/" + made["id"]).status, 204)
        self.assertEqual(Api(self.manager, ended).post("/api/v1/auth/logout", None).status, 204)
        gate.proc.send_signal(signal.SIGKILL)
        gate.proc.wait()
        gate.stop(expect=-signal.SIGKILL)
        gate = self.tollgate(self.up, state_dir=state)
        self.addCleanup(gate.stop)
        self.assertEqual([self.status(t) for t in (owner, kept, ended, made["token"])], [200, 200, 401, 401])
        self.assertEqual(self.status(operator(url)), 200)


# ---- the commands ---------------------------------------------------------------------------------------------------
class Commands(Access):
    def test_refused(self):
        where = ("-c", self.gate.config_path)
        for args, code, said in (
            (("create", "--name", "x", "--role", "owner"), 2, "--role goes with --kind api-user"),
            (("create", "--kind", "api-user"), 2, "--name is needed"),
            (("create", "--kind", "api-user", "--name", "x", "--role", "king"), 2, "--role is owner, admin"),
            (("create", "--kind", "user", "--name", "x"), 2, "--kind is pat or api-user"),
            (("create", "--kind", "api-user", "--name", "x", "--email", "a@b"), 2, "has a role and no claims"),
            (("create", "--kind", "api-user", "--name", "first"), 1, "is there already"),
            (("list", "--kind", "user"), 2, "--kind is pat or api-user"),
            (("revoke", "none"), 1, "there is no token"),
        ):
            got, out, err = run("token", *args, *where)
            self.assertEqual((got, out), (code, ""), (args, err))
            self.assertIn(said, err)

    def test_without_a_management_api(self):
        folder = tempfile.TemporaryDirectory(prefix="tollgate-access.")
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "tollgate.json")
        cfg = config([members(self.up)], state_dir=folder.name)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(cfg, f)
        code, _, err = run("token", "create", "--kind", "api-user", "--name", "x", "-c", path)
        self.assertEqual(code, 78, err)
        self.assertIn("management", err)
        self.assertEqual(run("token", "list", "--kind", "api-user", "--json", "-c", path)[1], "[]\n")

    def test_ends(self):
        made = self.command_token(self.gate, "a day", "member", "--expires", "1d")
        self.assertEqual(self.status(made), 200)
        _, out, _ = run("token", "list", "--kind", "api-user", "--json", "-c", self.gate.config_path)
        mine = [u for u in json.loads(out) if u["name"] == "a day"][0]
        self.assertEqual((mine["state"], mine["role"]), ("live", "member"))
        self.assertIsNotNone(mine["expires_at"])


if __name__ == "__main__":
    main()
