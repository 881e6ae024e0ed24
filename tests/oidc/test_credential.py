"""tollgate's own credentials at a real provider (oidc-provider): what it issues opens a second tollgate in front of the
service, which verifies every token by the provider's keys.

Needs node and `npm ci` in this directory (scripts/test does it).
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
from harness import SLOW, Case, Tollgate, ask, bearer, config, free_port, main, members  # noqa: E402
from harness import parallel, wait_until  # noqa: E402
from test_oidc import Node, need_node  # noqa: E402

RESOURCE = "urn:test:rs256"
USER, KEY = "100507859606888466", "100509901696068329"


def openssl(*args):
    return subprocess.run(["openssl"] + list(args), check=True, capture_output=True, timeout=60).stdout.decode()


class Credential(Case):
    @classmethod
    def setUpClass(cls):
        need_node()
        super().setUpClass()
        cls.private = openssl("genrsa", "-traditional", "2048")  # PKCS#1, as in a key file of ZITADEL

    def setUp(self):
        self.port_of_provider = free_port()
        self.issuer = "http://127.0.0.1:%d" % self.port_of_provider
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.node = None
        self.pem = self.file("key.pem", self.private)
        public = openssl("rsa", "-in", self.pem, "-pubout")
        self.file("public.pem", public)
        self.users = {USER: {KEY: public}}
        self.key_file = self.file("key.json", json.dumps(
            {"type": "serviceaccount", "keyId": KEY, "key": self.private, "userId": USER}))

    def file(self, name, text):
        path = os.path.join(self.dir.name, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def provide(self, ttl=600):
        """Starts the provider, or starts it again."""
        clients = [{"client_id": "poster", "client_secret": "its secret+&", "token_endpoint_auth_method":
                    "client_secret_post"},
                   {"client_id": "signer", "token_endpoint_auth_method": "private_key_jwt", "pem":
                    os.path.join(self.dir.name, "public.pem"), "kid": "k1"}]
        env = {"CLIENTS": self.file("clients.json", json.dumps(clients)),
               "SERVICE_USERS": self.file("users.json", json.dumps({"ttl": ttl, "users": self.users}))}
        os.environ.update(env)
        self.addCleanup(lambda: [os.environ.pop(name, None) for name in env])
        self.withdraw()
        self.node = Node("provider.mjs", str(self.port_of_provider), os.path.join(self.dir.name, "keys.json"))

    def withdraw(self):
        if self.node:
            self.node.stop()
        self.node = None

    def doCleanups(self):
        super().doCleanups()
        self.withdraw()

    def seen(self, what):
        with urllib.request.urlopen(self.issuer + what, timeout=10) as r:
            return json.load(r)

    def second(self, port=None, **more):
        """The gate in front of the service; it forgives no second of a token's life."""
        settings = {"address": "127.0.0.1:%d" % port} if port else {}
        return Tollgate(config([members(self.up, name="second")], **settings, identity_providers={
            "real": {"issuer": self.issuer, "audiences": [RESOURCE], "leeway": "0s"}}), **more)

    def first(self, port, auth):
        """The gate under test, with its own credential."""
        return self.start(config([members("http://127.0.0.1:%d" % port, name="first", upstream_auth=auth)]))

    def chain(self, auth, **more):
        second = self.second(**more)
        self.addCleanup(second.stop)
        return self.first(second.port, auth), second

    def client_auth(self, client="robot", secret="robot-secret", **more):
        return {"grant": "client_credentials", "issuer": self.issuer, "client_id": client, "scopes": ["api"],
                "client_secret_file": self.file(client + ".secret", secret), "resource": RESOURCE, **more}

    def service(self, gate, **more):
        return ask(gate.port, "GET", "/", [bearer()], **more).status

    def test_ways_to_show_who_asks(self):
        self.provide()
        signer = self.client_auth("signer", private_key_file=self.pem, key_id="k1")
        del signer["client_secret_file"]
        for name, auth in {"basic": self.client_auth(), "private_key_jwt": signer,
                           "post": self.client_auth("poster", "its secret+&", auth_method="post")}.items():
            with self.subTest(name):
                gate, second = self.chain(auth)
                self.assertEqual(self.service(gate), 200)
                self.assertIn(auth["client_id"], second.log()[0].values())
        claims = self.seen("/_assertion")["claims"]
        self.assertEqual((claims["iss"], claims["sub"], claims["aud"]), ("signer", "signer", self.issuer))
        self.assertEqual(self.seen("/_count"), {"count": 3, "refused": 0})

    def test_service_user(self):
        """I3: the JWT grant with a key file of ZITADEL."""
        self.provide()
        gate, _ = self.chain({"grant": "jwt_bearer", "issuer": self.issuer, "private_key_file": self.key_file,
                              "scopes": ["openid", "urn:zitadel:iam:org:project:id:zitadel:aud"], "resource": RESOURCE})
        self.assertEqual(self.service(gate), 200)
        a = self.seen("/_assertion")
        self.assertEqual((a["header"]["alg"], a["header"]["kid"]), ("RS256", KEY))
        self.assertEqual((a["claims"]["iss"], a["claims"]["sub"], a["claims"]["aud"]), (USER, USER, self.issuer))
        self.assertEqual(a["claims"]["exp"] - a["claims"]["iat"], 300)
        self.assertTrue(4 <= time.time() - a["claims"]["iat"] < 15)
        self.assertTrue(a["claims"]["jti"])

    @unittest.skipIf(SLOW, "counts by the clock")
    def test_renewed_ahead_of_the_end(self):
        """I8 with tokens of 3 s: the second gate forgives no second, and none of its answers is 401."""
        self.provide(ttl=3)
        gate, second = self.chain(self.client_auth())
        end, statuses = time.monotonic() + 8, set()
        while time.monotonic() < end:
            statuses |= set(parallel(4, lambda _: self.service(gate)))
            time.sleep(0.1)
        self.assertEqual(statuses, {200})
        self.assertLessEqual(self.seen("/_count")["count"], 7)  # 8 s / 1.57 s, and the first
        self.assertEqual([x for x in second.log(count=0) if x["status"] != 200], [])

    def test_provider_comes_later_and_goes(self):
        """Not there at the start: 503, and by itself good. Away then: the token serves to its end."""
        gate, _ = self.chain(self.client_auth(), ready=False)
        self.assertEqual(self.service(gate), 503)
        self.provide(ttl=4)
        self.assertTrue(wait_until(lambda: self.service(gate) == 200, 15, 0.1))
        self.withdraw()
        self.assertEqual(self.service(gate), 200)
        self.assertTrue(wait_until(lambda: self.service(gate) == 503, 10, 0.1))
        self.assertIn("connection refused", ask(gate.health, "GET", "/readyz?verbose").body.decode() + gate.stderr())

    def test_401_renews_once(self):
        """The provider's keys change: the second gate refuses the tokens signed before."""
        self.provide()
        port = free_port()
        gate = self.first(port, self.client_auth())
        with self.second(port):
            self.assertEqual(self.service(gate), 200)
        os.unlink(os.path.join(self.dir.name, "keys.json"))
        self.provide()
        with self.second(port) as second:
            self.assertEqual(self.service(gate), 200)
            self.assertEqual([x["status"] for x in second.log(count=2)], [401, 200])

    def test_wrong_secret(self):
        self.provide()
        gate, _ = self.chain(self.client_auth(secret="wrong"))
        for _ in range(10):
            self.assertEqual(self.service(gate), 503)
        self.assertEqual(self.seen("/_count"), {"count": 1, "refused": 1})
        self.assertTrue(re.search(r"status 401, invalid_client", gate.stderr()))

    def test_withdrawn_key(self):
        self.users = {}
        self.provide()
        gate, _ = self.chain({"grant": "jwt_bearer", "issuer": self.issuer, "private_key_file": self.key_file,
                              "scopes": "openid", "resource": RESOURCE})
        self.assertEqual(self.service(gate), 503)
        self.assertTrue(re.search(r"status 400, invalid_grant", gate.stderr()))


if __name__ == "__main__":
    main()
