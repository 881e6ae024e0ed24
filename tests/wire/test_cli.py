"""The command line: what it says, and its exit statuses."""

import json
import os
import re
import subprocess
import tempfile
import time

import certs
from harness import (
    AUDIENCE,
    Case,
    ISSUER,
    ask,
    command,
    config,
    environment,
    free_port,
    jwks,
    key,
    main,
    mint,
    public,
    run,
    token,
    value,
    wait_until,
)

UP = "http://127.0.0.1:3000"


class Commands(Case):
    @classmethod
    def routes(cls, up):
        return None

    def setUp(self):
        d = tempfile.TemporaryDirectory(prefix="tollgate-cli.")
        self.addCleanup(d.cleanup)
        self.dir = d.name

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text if isinstance(text, str) else json.dumps(text, indent=1))
        return path

    # ---- help -----------------------------------------------------------------------------------------------
    def test_help_and_version(self):
        code, out, err = run("--help")
        self.assertEqual((code, err), (0, ""))
        for command in ("run", "dev", "check", "verify", "mint", "healthcheck", "explain", "why", "test", "replay"):
            self.assertIn(command, out)
            self.assertEqual(run(command, "--help")[0], 0, command)
        code, out, _ = run("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^tollgate \d+\.\d+\.\d+ \(.*OpenSSL.*\)\n$")

    def test_usage_errors(self):
        """Exit 2, the message on standard error, nothing on standard output."""
        for args in (
            (),
            ("nonsense",),
            ("run", "--nonsense"),
            ("check", "-c"),
            ("verify", "--alg"),
            ("mint", "--alg", "XX1", "--key", "k"),
        ):
            with self.subTest(args):
                code, out, err = run(*args)
                self.assertEqual((code, out), (2, ""))
                self.assertTrue(err)

    def test_help_settings(self):
        code, out, _ = run("--help-settings")
        self.assertEqual(code, 0)
        for name in ("address", "workers", "timeouts", "identity_providers", "rate_limits", "trusted_proxies"):
            self.assertIn(name, out)

    # ---- check ----------------------------------------------------------------------------------------------
    def check(self, text, name="tollgate.yaml", **env):
        path = self.file(name, text)
        return (path,) + run("check", "-c", path, env=env)

    def test_check_ok(self):
        for name, text in (
            ("a.yaml", "upstream: %s\nidentity_providers:\n  p: {issuer: https://i.test, audiences: [a]}\n" % UP),
            ("a.json", config([public(UP)])),
        ):
            _, code, out, err = self.check(text, name)
            self.assertEqual((code, out.strip()), (0, "configuration ok"), err)

    def test_check_errors(self):
        """Every error with file:line:column, all of them in one go, and what was probably meant."""
        path, code, out, err = self.check(
            "address: 127.0.0.1:8080\nrotes: []\nupstream: %s\nworkers: many\ntimeouts:\n" "  heads: 3s\n" % UP
        )
        self.assertEqual(code, 78)
        said = out + err
        for line, column, words in ((2, 1, "routes"), (4, 10, "workers"), (6, 3, "head")):
            self.assertRegex(said, re.escape("%s:%d:%d" % (path, line, column)) + ".*" + words)
        self.assertRegex(said, "did you mean")

    TRAPS = """\
address: "[::]:8080"
identity_providers:
  corp: {issuer: https://corp.test, audiences: [a]}
  partner: {issuer: https://partner.test, audiences: [a]}
policies:
  - name: admins
    enforced: true
    ppl: {allow: {and: [{groups: admins}]}}
  - name: staff
    ppl:
      allow:
        or:
          - email: [ann@example.com, bob@example.com]
          - claim/realm_access/roles: staff
          - claim/team: [a, b]
        not:
          - email: eve@example.com
      deny:
        nor:
          - source_ip: 10.0.0.0/8
          - http_path: {starts_with: /public}
  - name: night
    ppl:
      - allow:
          and:
            - groups: operators
            - time_of_day: {timezone: UTC, after: "22:00"}
            - time_of_day: {timezone: UTC, before: "6:00"}
      - allow:
          and:
            - claim/banned: {exclude: true}
      - deny:
          or:
            - http_method: delete
      - allow:
          and:
            - groups: operators
            - claim/banned: {exclude: true}
routes:
  - name: app
    to: http://127.0.0.1:3000
    policies: [staff]
  - name: tools
    prefix: /tools
    to: http://127.0.0.1:3000
    identity_providers: [corp]
    policies: [night]
    mode: shadow
"""

    WARNINGS = """\
8:18: policy admins: an enforced policy is part of every route
13:20: policy staff: allow.or[0].email: compares with the list as a whole, which no text equals; for any of them write \
in: ["ann@example.com","bob@example.com"]
14:39: policy staff: allow.or[1].claim/realm_access/roles: a slash is part of the name: no member of a claim is found \
by it; write claim/realm_access.roles
15:25: policy staff: allow.or[2].claim/team: compares each element with the list as a whole; for any of them write one \
criterion for each under `or`: [{claim/team: A}, {claim/team: B}]
21:38: policy staff: deny.nor[1].http_path.starts_with: a prefix ends anywhere, not at a slash: this one is also that of \
/publicX; write {starts_with: /public/} and, for the page itself, {is: /public}
17:11: policy staff: allow.not: `or` and `not` beside each other are alternatives, not "... but not ..."
17:20: policy staff: allow.not[0].email: admits every caller with a token whom this does not describe
20:11: policy staff: deny.nor: `nor` holds as soon as one of its 2 criteria does not: this denies unless all of them do
34:28: policy night: [2].deny.or[0].http_method: methods are compared with case, and no client sends this one; write DELETE
28:28: policy night: [0].allow.and[2].time_of_day: nothing meets this and what is asked before it, so this `and` allows
31:29: policy night: [1].allow.and[0].claim/banned: holds for every token that does not say this; without a token it does
37:13: policy night: [3].allow.and: admits nobody whom [1].allow.and does not admit already; remove it
40:5: routes[0] (app) decides by e-mail address or domain, and any of the identity_providers can issue a token with the
48:11: routes[1] (tools).mode: shadow: this route admits everybody, without a token too, but for what enforced policies deny
43:5: routes[1] (tools) can never match: routes[0] (app) before it takes all of its requests
"""

    def test_check_warns_of_traps(self):
        """All that is legal and not meant, at its place; without the traps, nothing."""
        path, code, out, err = self.check(self.TRAPS)
        self.assertEqual((code, out), (0, "configuration ok\n"), err)
        said = err.splitlines()
        want = self.WARNINGS.splitlines()
        for told, expected in zip(said, want):
            self.assertEqual(told[: len("warning: %s:" % path) + len(expected)], "warning: %s:%s" % (path, expected))
        self.assertEqual(len(said), len(want), err)

    def test_refused_configurations(self):
        """Each for its own reason; nothing is guessed."""
        corp = "identity_providers:\n  p: {issuer: https://i.test, audiences: [a]}\n"
        up = "upstream: %s\n" % UP

        def one(text):  # a provider, with this on its one line
            return up + "identity_providers: {p: {%s}}\n" % text

        def route(text):
            return corp + "routes: [{to: %s, %s}]\n" % (UP, text)

        good = "issuer: https://i.test, audiences: [a]"
        for why, text in (
            ("empty", ""),
            ("not a mapping", "- a\n"),
            ("broken YAML", "a: [\n"),
            ("duplicate key", "workers: 1\nworkers: 2\n" + up),
            ("upstream and routes", up + "routes: []\n"),
            ("no route", "address: 127.0.0.1:1\n"),
            ("yes is not a boolean", route("allow_any_authenticated_user: yes")),
            ("no audience", one("issuer: https://i.test")),
            ("http issuer", one("issuer: http://i.test, audiences: [a]")),
            ("alg none", one(good + ", supported_algs: [none]")),
            ("missing file", one(good + ", jwks_file: nothing.json")),
            ("unknown provider of a route", route("identity_providers: [q], allow_any_authenticated_user: true")),
            ("unknown policy", route("policies: [q]")),
            ("unknown criterion", route("policy: {allow: {and: [{emial: {is: a}}]}}")),
            ("URL without scheme", corp + "upstream: localhost:3000\n"),
            ("bad duration", up + "timeouts: {head: 10 parsecs}\n"),
            ("out of range", up + "workers: 100000\n"),
            ("undefined variable", "upstream: ${NO_SUCH_VARIABLE}\n"),
            ("required variable", "upstream: ${NO_SUCH_VARIABLE:?set it}\n"),
            (
                "last tier with when",
                up + "rate_limits: {tiers: [{name: a, limit: 1, window: 1m, " "when: [{accept: true}]}]}\n",
            ),
        ):
            with self.subTest(why):
                _, code, out, err = self.check(text)
                self.assertEqual(code, 78, out + err)
                self.assertTrue((out + err).strip())

    def test_variables_and_environment(self):
        text = "upstream: ${UP:-%s}\nrealm: ${REALM}\n" % UP
        self.assertEqual(self.check(text, REALM="x")[1], 0)
        self.assertEqual(self.check(text)[1], 78)
        self.assertEqual(self.check("upstream: %s\n" % UP, TOLLGATE_WORKERS="many")[1], 78)

    def test_hostile_yaml(self):
        """Depth, size and aliases are bounded: a refusal, not a hang."""
        bomb = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
            "%s: &%s [%s]\n" % (b, b, ",".join(["*" + a] * 8)) for a, b in zip("abcdefgh", "bcdefghi")
        )
        for why, text in (
            ("alias bomb", bomb),
            ("depth", "a: " + "[" * 5000),
            ("NUL", "upstream: \"a\\0b\"\n"),
            ("invalid UTF-8", "realm: \udcff\n".encode("utf-8", "surrogateescape").decode("latin-1")),
        ):
            with self.subTest(why):
                t = time.monotonic()
                self.assertEqual(self.check(text)[1], 78)
                self.assertLess(time.monotonic() - t, 10)

    def test_print_config_masks_secrets(self):
        """The effective configuration, without what must not be seen."""
        secret = "a secret that nobody may see, long enough"
        path = self.file(
            "c.json",
            config(
                [public("http://user:hunter2@127.0.0.1:3000")],
                identity_providers={
                    "h": {
                        "issuer": "https://i.test",
                        "audiences": ["a"],
                        "supported_algs": ["HS256"],
                        "secret_file": self.file("s", secret),
                    }
                },
            ),
        )
        code, out, err = run("check", "-c", path, "--print-config")
        if code == 78 and "user" in out + err:  # credentials in `to` may as well be refused
            path = self.file("c.json", json.dumps(json.load(open(path))).replace("user:hunter2@", ""))
            code, out, err = run("check", "-c", path, "--print-config")
        self.assertEqual(code, 0, err)
        self.assertIn("i.test", out)
        self.assertNotIn(secret, out + err)
        self.assertNotIn("hunter2", out + err)

    # ---- verify ---------------------------------------------------------------------------------------------
    def verify(self, t, alg="ES256", keys=None, *more):
        path = self.file("k.json", keys if keys is not None else jwks("ec256"))
        return run("verify", "--jwks", path, "--alg", alg, *more, "-", stdin=t + "\n")

    def test_verify(self):
        self.assertEqual(self.verify(token())[0], 0)
        code, out, err = self.verify(token(exp=int(time.time()) - 100))
        self.assertEqual(code, 1)
        self.assertIn("exp", out + err)
        for why, t, alg, keys in (
            ("another key", token("ecX256"), "ES256", None),
            ("alg not listed", token(), "RS256", None),
            ("unknown alg", token(), "XX", None),
            ("none", token(), "none", None),
            ("mixed", token(), "ES256,none", None),
            ("HS mixed", token(), "ES256,HS256", None),
            ("no usable key", token(), "ES256", {"keys": []}),
            ("garbage", "a.b", "ES256", None),
            ("empty", "", "ES256", None),
        ):
            with self.subTest(why):
                self.assertEqual(self.verify(t, alg, keys)[0], 1)
        self.assertEqual(run("verify", "--jwks", "/nonexistent", "--alg", "ES256", "-", stdin="a")[0], 2)
        self.assertEqual(run("verify", "--jwks", self.file("k.json", jwks("ec256")), "--alg", "ES256", token())[0], 0)

    def test_verify_signature_only(self):
        """The payload may be any bytes."""
        t = mint.jws(key("ec256"), {"alg": "ES256", "kid": "ec256"}, b"not json \x00\xff", alg="ES256")
        self.assertEqual(self.verify(t, "ES256", None, "--signature-only")[0], 0)
        self.assertEqual(self.verify(t)[0], 1)

    # ---- mint -----------------------------------------------------------------------------------------------
    def test_mint(self):
        """Every algorithm: a key made, a token signed, and accepted by the verifier and by tollgate."""
        for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"):
            with self.subTest(alg):
                pem, keys = os.path.join(self.dir, alg + ".pem"), os.path.join(self.dir, alg + ".json")
                self.assertEqual(run("mint", "--generate", alg, "--key", pem, "--jwks", keys)[0], 0)
                self.assertEqual(os.stat(pem).st_mode & 0o077, 0, "the private key is nobody else's to read")
                code, out, err = run(
                    "mint",
                    "--key",
                    pem,
                    "--alg",
                    alg,
                    "--claim",
                    "email=a@b.c",
                    "--claim",
                    "sub=me",
                    "--issuer",
                    ISSUER,
                    "--audience",
                    AUDIENCE,
                    "--expires",
                    "1h",
                )
                self.assertEqual(code, 0, err)
                t = out.strip()
                self.assertEqual(out.count("\n"), 1, "the token, alone")
                claims = json.loads(mint.unb64u(t.split(".")[1]))
                self.assertEqual((claims["email"], claims["sub"], claims["iss"]), ("a@b.c", "me", ISSUER))
                self.assertTrue(3500 < claims["exp"] - time.time() < 3700)
                self.assertEqual(run("verify", "--jwks", keys, "--alg", alg, "-", stdin=t)[0], 0)
                code, out, _ = run("mint", "--key", pem, "--alg", alg, "--claim", "sub=me", "--expires=-5m")
                self.assertEqual(run("verify", "--jwks", keys, "--alg", alg, "-", stdin=out)[0], 1, "expired")
        with open(os.path.join(self.dir, "ES256.json"), encoding="utf-8") as f:
            self.assertNotIn('"d"', f.read())

    # ---- explain --------------------------------------------------------------------------------------------
    def batch(self, *items):
        code, out, err = run(
            "explain", "--batch", stdin="".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in items)
        )
        self.assertEqual(code, 0, err)
        return [json.loads(x) for x in out.splitlines()]

    def test_explain_batch(self):
        """One line out for each line in, in order, whatever is on it."""
        ppl = {"allow": {"and": [{"email": {"is": "a@b.c"}}]}}
        req = {"method": "GET", "path": "/", "host": "h", "source_ip": "127.0.0.1", "headers": {}}
        got = self.batch(
            {"ppl": ppl, "request": {**req, "claims": {"sub": "u", "email": "a@b.c"}}},
            {"ppl": ppl, "request": {**req, "claims": {"sub": "u", "email": "x@b.c"}}},
            "",
            {"ppl": ppl, "request": {**req, "claims": None}},
            {"ppl": {"allow": {"xor": []}}, "request": {**req, "claims": None}},
            "this is no JSON",
            "[]",
        )
        self.assertEqual(
            [(x["decision"], x["status"]) for x in got],
            [("allow", 200), ("deny", 403), ("unauthenticated", 401)] + [("parse_error", None)] * 3,
        )
        for x in got:
            self.assertLessEqual({"decision", "status", "reasons", "error"}, set(x))

    def test_explain_batch_is_flushed(self):
        """A partner that waits for each answer gets it."""
        p = subprocess.Popen(
            command("explain", "--batch"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        try:
            for _ in range(3):
                p.stdin.write('{"ppl": {"allow": {"and": [{"accept": true}]}}, "request": {"claims": null}}\n')
                p.stdin.flush()
                self.assertEqual(json.loads(p.stdout.readline())["decision"], "allow")
        finally:
            p.stdin.close()
            self.assertEqual(p.wait(10), 0)
            p.stdout.close()

    def test_explain_one(self):
        """One request against a configuration: the status it would get, and why."""
        path = self.file(
            "e.json",
            config(
                [
                    {
                        "name": "orders",
                        "prefix": "/orders",
                        "to": UP,
                        "policy": {"allow": {"and": [{"email": {"is": "a@b.c"}}]}},
                    }
                ]
            ),
        )
        for claims, target, status in (
            ({"sub": "u", "email": "a@b.c"}, "/orders/1", 200),
            ({"sub": "u", "email": "x@b.c"}, "/orders/1", 403),
            (None, "/orders/1", 401),
            ({"sub": "u"}, "/other", 404),
        ):
            with self.subTest(status):
                args = ["explain", "-c", path, "--method", "GET", "--path", target, "--json"]
                code, out, err = run(*args, *(["--claims", json.dumps(claims)] if claims else []))
                self.assertEqual(json.loads(out)["status"], status, err)
                self.assertEqual(code, 0 if status == 200 else 1)

    def test_explain_client_certificate(self):
        """What downstream_mtls asks of a client, with the certificate a person has at hand."""
        authority = certs.ca(self.dir)
        server = certs.leaf(self.dir, authority, ["localhost"], "server", usage="server")
        client = certs.leaf(self.dir, authority, ["orders@a.test", "spiffe://a.test/orders"], "client", usage="client")
        other = certs.leaf(self.dir, authority, ["payments@a.test"], "other", usage="client")
        by_name = {"allow": {"and": [{"client_certificate": {"san_email": "orders@a.test"}}]}}
        routes = [{"name": "orders", "prefix": "/", "to": UP, "policy": by_name}]
        tls = {"certificate_file": server.chain, "certificate_key_file": server.key}
        mtls = {"downstream_mtls": {"ca_file": authority.cert}}
        asked = self.file("asked.json", {**config(routes), **tls, **mtls})
        unasked = self.file("unasked.json", {**config(routes), **tls})
        invalid = ("--client-cert-invalid",)

        def explain(path, *args):
            code, out, err = run("explain", "-c", path, "--path", "/", "--json", *args)
            return code, json.loads(out) if out else None, err

        for args, status, reason in (
            (("--client-cert", client.cert), 200, "client-certificate-ok"),
            (("--client-cert", client.cert) + invalid, 403, "invalid-client-certificate"),
            (("--client-cert", other.cert), 403, "client-certificate-unauthorized"),
            (("--client-cert", "none"), 403, "client-certificate-required"),
            ((), 403, "client-certificate-required"),
        ):
            with self.subTest(args):
                code, told, err = explain(asked, *args)
                self.assertEqual((told["status"], told["reasons"]), (status, [reason]), err)
                self.assertEqual(code, 0 if status == 200 else 1)
        told = explain(asked, "--client-cert", client.cert)[1]
        self.assertEqual(told["request"]["client_cert"]["fingerprint"], client.fingerprint())
        code, told, err = explain(unasked)
        self.assertEqual((code, told["reasons"]), (1, ["client-certificate-unauthorized"]))
        warning = "client_certificate is never true while no client CA is configured"
        self.assertIn(warning, "".join(run("check", "-c", unasked)[1:]))
        self.assertNotIn(warning, "".join(run("check", "-c", asked)[1:]))
        code, told, err = explain(unasked, "--client-cert", client.cert)
        self.assertEqual((code, told), (2, None))
        self.assertIn("there is no downstream_mtls", err)

    def test_explain_says_what_is_answered(self):
        """The words, the challenge and the status of `explain` are those of the answer that a request gets."""
        tools = {"allow": {"and": [{"authenticated_user": True}, {"mcp_tool": "read"}]}}
        staff = {"name": "staff", "ppl": {"allow": {"and": [{"groups": "staff"}]}}, "explanation": "only staff"}
        cfg = config(
            [
                {"name": "closed", "prefix": "/closed", "to": "echo:"},
                {"name": "tools", "prefix": "/tools", "to": "echo:", "policy": tools},
                {"name": "staff", "prefix": "/staff", "to": "echo:", "policies": ["staff"], "show_error_details": True},
            ],
            policies=[staff],
        )
        gate = self.start(cfg)
        good, old, foreign = token(), token(exp=int(time.time()) - 60), token(aud="elsewhere")
        cases = (
            ("/staff", None, None),
            ("/staff", good, None),
            ("/staff", token(groups=["staff"]), None),
            ("/staff", old, None),
            ("/staff", foreign, None),
            ("/closed", good, None),
            ("/tools", good, "[]"),
            ("/tools", good, '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "write"}}'),
            ("/nowhere", good, None),
            ("/staff/a%2fb", good, None),
            ("/staff?access_token=x", good, None),
        )
        for target, bearer, body in cases:
            with self.subTest(target, bearer=bearer and bearer[-8:], body=body):
                fields = [("Authorization", "Bearer " + bearer)] if bearer else []
                answer = ask(gate.port, "POST", target, fields, body and body.encode())
                args = ["explain", "-c", gate.config_path, "-X", "POST", "--host", "app.test", "--path", target, "--json"]
                args += (["--token", bearer] if bearer else []) + (["--body", body] if body else [])
                code, out, err = run(*args)
                said = json.loads(out)
                self.assertEqual((said["status"], code), (answer.status, 0 if answer.status == 200 else 1), err)
                if bearer:
                    self.assertNotIn(bearer[-20:], out + run(*args[:-1])[1])
                if answer.status == 200:
                    self.assertIsNone(said["answer"])
                    continue
                details = json.loads(answer.body)["details"]
                self.assertEqual(said["explanation"] or said["answer"]["details"], details)
                told, challenge = said["answer"]["challenge"], value(answer, "WWW-Authenticate")
                self.assertTrue(told == challenge or challenge.startswith(told + ", error_description="), told)

    # ---- why ------------------------------------------------------------------------------------------------
    def test_why_from_an_id(self):
        """From the id in a user's error to the reason, out of lines as tools for containers print them."""
        policy = {"allow": {"and": [{"email": {"is": "ann@example.com"}}]}}
        gate = self.start(config([{"name": "orders", "prefix": "/", "to": "echo:", "policy": policy}]))
        mine = token(email="bob@example.com")
        answer = ask(gate.port, "GET", "/orders", [("Authorization", "Bearer " + mine)])
        self.assertEqual(answer.status, 403)
        identity = value(answer, "X-Request-Id")
        self.assertTrue(wait_until(lambda: [x for x in gate.log() if x["request_id"] == identity]))
        with open(gate.access, encoding="utf-8") as f:
            lines = f.read()
        with self.subTest("the log of the configuration"):
            code, out, err = run("why", identity, "-c", gate.config_path, cwd=gate.dir)
            self.assertEqual((code, err), (0, ""))
            self.assertRegex(out, r'(?m)^ +no\* +email \{"is":"ann@example.com"\}, saw bob@example.com')
            self.assertRegex(out.splitlines()[-1], r"^status +403 Forbidden: nothing allows it: email ")
            self.assertNotIn(mine[-20:], out)
        for prefix in ("orders-1  | ", "2026-11-22T05:20:03.1Z ", "[pod/orders/tollgate] "):
            with self.subTest(prefix):
                given = "".join(prefix + line for line in lines.splitlines(True))
                code, out, err = run("why", identity, "-", "-c", gate.config_path, "--json", stdin=given)
                said = json.loads(out)
                self.assertEqual((code, said["compared"], said["same_policies"]), (0, "equal", True), err)
                self.assertEqual(said["reasons"], said["logged"]["reasons"])
        with self.subTest("other policies since"):
            policy["allow"]["and"][0]["email"]["is"] = "bob@example.com"
            now = self.file("now.json", config([{"name": "orders", "prefix": "/", "to": "echo:", "policy": policy}]))
            code, out, err = run("why", identity, "-", "-c", now, stdin=lines)
            self.assertEqual(code, 0, err)
            self.assertIn("not those that decided it", out)
            self.assertIn("the files decide otherwise: allow", out)
            self.assertEqual(run("why", "--all", "-", "-c", now, stdin=lines)[0], 0)
        with self.subTest("a line that was changed"):
            bad = lines.replace("email-unauthorized", "domain-unauthorized")
            code, out, err = run("why", "--all", "-", "-c", gate.config_path, stdin=bad)
            self.assertEqual(code, 1, out)

    # ---- dev and healthcheck ----------------------------------------------------------------------------------
    def test_dev(self):
        """Serves at once; the curl lines it prints do what they say."""
        port = free_port()
        out = open(os.path.join(self.dir, "out"), "w+", encoding="utf-8")
        p = subprocess.Popen(
            command("dev", "--address", "127.0.0.1:%d" % port, "--health-address", "none"),
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=self.dir,
        )
        try:

            def text():
                with open(out.name, encoding="utf-8") as f:
                    return f.read()

            self.assertTrue(wait_until(lambda: text().count("curl ") >= 4, 10), text())
            lines = [x.strip() for x in text().replace("\\\n", " ").splitlines() if x.strip().startswith("curl ")]
            got = []
            for line in lines[:4]:
                q = subprocess.run(
                    ["sh", "-c", line.replace("curl ", "curl -s -o /dev/null -w '%{http_code}' ", 1)],
                    stdout=subprocess.PIPE,
                    text=True,
                    timeout=20,
                )
                got.append(int(q.stdout[-3:]))
            self.assertEqual(sorted(got), [200, 401, 401, 403], lines)
        finally:
            p.terminate()
            self.assertEqual(p.wait(20), 0)
            out.close()

    def test_healthcheck_without_a_process(self):
        path = self.file("h.json", {**config([public(UP)]), "health_address": "127.0.0.1:1"})
        self.assertEqual(run("healthcheck", "-c", path)[0], 1)


if __name__ == "__main__":
    main()
