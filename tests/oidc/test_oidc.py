"""A real OpenID provider (oidc-provider) issues the tokens; jose, a second implementation, signs and judges others.

Needs node and `npm ci` in this directory (scripts/test does it).
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
from harness import (
    AUDIENCE,
    BIN,
    Case,
    ISSUER,
    ask,
    config,
    free_port,
    main,
    members,
    mint,  # noqa: E402
    provider,
    run,
    value,
    wait_until,
)

ALGS = {"urn:test:rs256": "RS256", "urn:test:es256": "ES256", "urn:test:eddsa": "EdDSA"}


def auth(token):
    return [("Authorization", "Bearer " + token)]


class Node:
    """A node program that says `ready`."""

    def __init__(self, *args):
        self.p = subprocess.Popen(
            ["node"] + list(args),
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        line = self.p.stdout.readline()
        if line != "ready\n":
            raise RuntimeError("%r: %s" % (args, self.p.stderr.read()[-2000:]))

    def stop(self):
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()
        self.p.stderr.close()


def need_node():
    if not os.path.isdir(os.path.join(HERE, "node_modules", "oidc-provider")):
        raise unittest.SkipTest("run `npm ci` in tests/oidc first")


class Provider(Case):
    @classmethod
    def setUpClass(cls):
        need_node()
        super().setUpClass()

    def setUp(self):
        self.port_of_provider = free_port()
        self.issuer = "http://127.0.0.1:%d" % self.port_of_provider
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.node = None

    def provide(self, keys="keys.json"):
        """Starts the provider, or starts it again with another set of keys."""
        if self.node:
            self.node.stop()
        self.node = Node("provider.mjs", str(self.port_of_provider), os.path.join(self.dir.name, keys))
        self.addCleanup(self.node.stop)

    def fetch(self, resource, client="robot"):
        """An access token by client credentials, for one resource (RFC 8707)."""
        body = urllib.parse.urlencode(
            {"grant_type": "client_credentials", "resource": resource, "scope": "api"}
        ).encode()
        basic = base64.b64encode(("%s:%s-secret" % (client, client)).encode()).decode()
        req = urllib.request.Request(self.issuer + "/token", body, {"Authorization": "Basic " + basic})
        with urllib.request.urlopen(req, timeout=10) as r:
            return json.load(r)["access_token"]

    def gate_for(self, *audiences, **changes):
        p = {"issuer": self.issuer, "audiences": list(audiences), "leeway": "5s"}
        route = {
            "name": "robots",
            "prefix": "/robots",
            "to": self.up.url,
            "policy": {"allow": {"and": [{"domain": {"is": "corp.example"}}, {"claim/tier": "gold"}]}},
        }
        return self.start(config([route, members(self.up)], identity_providers={"corp": p}, **changes))

    def test_audiences_and_algorithms(self):
        """at+jwt in RS256, ES256, EdDSA: accepted for the right audience, refused for another."""
        self.provide()
        for resource, alg in ALGS.items():
            with self.subTest(alg):
                gate = self.gate_for(resource)
                t = self.fetch(resource)
                head = json.loads(mint.unb64u(t.split(".")[0]))
                self.assertEqual((head["alg"], head["typ"]), (alg, "at+jwt"))
                self.assertStatus(ask(gate.port, "GET", "/", auth(t)), 200)
                for other in set(ALGS) - {resource}:
                    m = ask(gate.port, "GET", "/", auth(self.fetch(other)))
                    self.assertStatus(m, 401)
                    self.assertIn("invalid_token", value(m, "WWW-Authenticate"))

    def test_claims_reach_the_policy(self):
        self.provide()
        gate = self.gate_for(*ALGS)
        self.assertStatus(ask(gate.port, "GET", "/robots", auth(self.fetch("urn:test:es256"))), 200)
        self.assertStatus(ask(gate.port, "GET", "/robots", auth(self.fetch("urn:test:es256", "stranger"))), 403)
        self.assertStatus(ask(gate.port, "GET", "/robots"), 401)

    def test_opaque_token(self):
        """Without introspection an opaque token is one more invalid token."""
        self.provide()
        gate = self.gate_for("urn:test:opaque")
        self.assertStatus(ask(gate.port, "GET", "/", auth(self.fetch("urn:test:opaque"))), 401)

    def test_commands_fetch_keys(self):
        """verify and explain find the provider's keys as a running tollgate does, and say why when they cannot."""
        self.provide()
        gate = self.gate_for(*ALGS)
        t = self.fetch("urn:test:es256")
        code, out, err = run("verify", "-c", gate.config_path, "-", stdin=t)
        self.assertEqual(code, 0, out + err)
        code, out, err = run("explain", "-c", gate.config_path, "--path", "/robots", "--token", t, "--json")
        self.assertEqual((code, json.loads(out)["status"]), (0, 200), out + err)
        self.node.stop()
        code, out, err = run("verify", "-c", gate.config_path, "-", stdin=t)
        self.assertEqual(code, 1)
        self.assertIn("cannot be fetched", out + err)
        self.assertNotIn(t, out + err)

    def test_rotation(self):
        """The provider restarts with new keys: new tokens pass after a refetch, and old ones no longer."""
        self.provide("first.json")
        gate = self.gate_for("urn:test:es256")
        old = self.fetch("urn:test:es256")
        self.assertStatus(ask(gate.port, "GET", "/", auth(old)), 200)
        self.provide("second.json")
        new = self.fetch("urn:test:es256")
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", auth(new)).status == 200, 15, 0.5))
        self.assertStatus(ask(gate.port, "GET", "/", auth(old)), 401, "its key was withdrawn")

    def test_provider_starts_later(self):
        """tollgate is there first: 503, then it recovers by itself."""
        p = {"issuer": self.issuer, "audiences": ["urn:test:es256"]}
        gate = self.start(config([members(self.up)], identity_providers={"corp": p}), ready=False)
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 503)
        self.provide()
        t = self.fetch("urn:test:es256")
        self.assertIn(ask(gate.port, "GET", "/", auth(t)).status, (200, 503))
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", auth(t)).status == 200, 40, 0.3))

    def test_provider_stops(self):
        """Keys that were fetched go on serving."""
        self.provide()
        gate = self.gate_for("urn:test:es256")
        t = self.fetch("urn:test:es256")
        self.node.stop()
        self.assertStatus(ask(gate.port, "GET", "/", auth(t)), 200)


class Jose(Case):
    """jose signs; tollgate and jose must agree about what verifies."""

    SIGNERS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

    @classmethod
    def setUpClass(cls):
        need_node()
        cls.p = subprocess.Popen(
            ["node", "sign.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        cls.keys = {alg: cls.jose(op="key", alg=alg, kid="k-" + alg) for alg in cls.SIGNERS}
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        cls.p.stdin.close()
        cls.p.wait()
        cls.p.stdout.close()
        super().tearDownClass()

    @classmethod
    def jose(cls, **ask_for):
        cls.p.stdin.write(json.dumps(ask_for) + "\n")
        cls.p.stdin.flush()
        answer = json.loads(cls.p.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    @classmethod
    def jwks(cls):
        return {"keys": [k["public"] for k in cls.keys.values()]}

    @classmethod
    def routes(cls, up):
        return [members(up)]

    @classmethod
    def settings(cls, up):
        return {"identity_providers": {"jose": provider(jwks=cls.jwks(), supported_algs=list(cls.SIGNERS))}}

    def sign(self, alg, header=None, **claims):
        now = int(time.time())
        body = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user", "iat": now, "exp": now + 300, **claims}
        head = {"alg": alg, "typ": "JWT", "kid": "k-" + alg, **(header or {})}
        return self.jose(op="sign", key=self.keys[alg]["private"], header=head, claims=body)["token"]

    def test_every_algorithm(self):
        for alg in self.SIGNERS:
            with self.subTest(alg):
                self.assertStatus(self.ask("GET", "/", auth(self.sign(alg))), 200)

    def test_agreement(self):
        """Variations of a good token: the two agree, and where they may differ tollgate is the stricter."""
        for alg in self.SIGNERS:
            t = self.sign(alg)
            head, payload, signature = t.split(".")
            other = "RS512" if alg == "RS256" else "RS256"
            variants = {
                "untouched": t,
                "padding": t + "=",
                "trailing dot": t + ".",
                "empty signature": head + "." + payload + ".",
                "last character": t[:-1] + ("A" if t[-1] != "A" else "Q"),
                "payload": head + "." + payload[:-2] + "AA." + signature,
                "halves": head + "." + payload + "." + signature[: len(signature) // 2],
                "standard base64": (
                    t.replace("-", "+").replace("_", "/") if "-" in signature or "_" in signature else t + "+"
                ),
                "a space": t[:-4] + " " + t[-4:],
                "alg of another": mint.b64u(json.dumps({"alg": other, "kid": "k-" + alg}).encode())
                + "."
                + payload
                + "."
                + signature,
                "a character more": t + "A",
            }
            for why, variant in variants.items():
                with self.subTest(why, alg=alg):
                    theirs = self.jose(op="verify", jwks=self.jwks(), token=variant, algs=list(self.SIGNERS))["ok"]
                    status = self.ask("GET", "/", auth(variant)).status
                    self.assertIn(status, (200, 400, 401))
                    if status == 200:
                        self.assertTrue(theirs, "jose refuses it")
                    if why == "untouched":
                        self.assertEqual(status, 200)

    def test_jose_accepts_what_tollgate_mints(self):
        for alg in self.SIGNERS:
            with self.subTest(alg), tempfile.TemporaryDirectory() as d:
                pem, keys = os.path.join(d, "k.pem"), os.path.join(d, "k.json")
                subprocess.run([BIN, "mint", "--generate", alg, "--key", pem, "--jwks", keys], check=True, timeout=20)
                t = subprocess.run(
                    [BIN, "mint", "--key", pem, "--alg", alg, "--claim", "sub=me", "--expires", "1h"],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                    timeout=20,
                ).stdout.strip()
                with open(keys, encoding="utf-8") as f:
                    self.assertTrue(self.jose(op="verify", jwks=json.load(f), token=t, algs=[alg])["ok"])


if __name__ == "__main__":
    main()
