"""sync: policies and routes pulled from a control plane: lists, places, references, tokens.

contracts.md 5.5: P1 to P5, P8 to P10, Z5, R7. The control plane is scripted (control_plane.py); a managing tollgate as
control plane is tested where the management API is, and trouble in test_sync_trouble.py.
"""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from control_plane import API_USER, ORG  # noqa: E402
from harness import ask, main, wait_until  # noqa: E402
from sync_case import ADMINS, BOSSES, NOT_ADMINS, USERS, Sync, policy  # noqa: E402


class Lists(Sync):
    def test_what_the_guide_makes_is_in_force_and_a_change_takes_an_interval(self):
        self.cp.publish([policy("a"), policy("b", ADMINS)], [self.route("/a", "a"), self.route("/ab", "a", "b")])
        gate = self.gate_of()
        self.assertEqual(self.statuses(gate, "/a", "/ab", "/x"), [200, 200, 404])
        self.assertEqual(self.statuses(gate, "/a", "/ab", email="admin@example.com"), [403, 200])
        self.assertEqual(ask(gate.port, "GET", "/a").status, 401)
        self.cp.publish([policy("a", ADMINS), policy("b", ADMINS)])
        self.becomes(gate, "/a", 403, limit=1.6)
        asked = self.cp.find("/policies")[0]
        self.assertEqual(asked[3], {"namespaceId": ORG, "includeDescendants": "true", "limit": "500", "offset": "0"})
        self.assertRegex(asked[4]["Authorization"], "^Bearer id-0-")
        self.assertIn("sync with %s/api/v0: heard " % self.cp.url, self.verbose(gate))

    def test_bare_pages_until_a_short_one(self):
        self.cp.publish([policy("p%04d" % i, USERS if i == 1100 else ADMINS) for i in range(1101)],
                        [self.route("/last", "p1100"), self.route("/first", "p0000")])
        gate = self.gate_of()
        self.assertEqual(self.statuses(gate, "/last", "/first"), [200, 403])
        self.assertEqual(gate.metric("tollgate_policy_set_policies", source="sync"), 1101)
        self.assertEqual([a[3]["offset"] for a in self.cp.find("/policies")[:3]], ["0", "499", "998"])

    def test_a_server_that_gives_smaller_pages_than_asked_for(self):
        self.cp.cap = 50
        self.cp.publish([policy("p%04d" % i) for i in range(120)], [self.route("/last", "p0119")])
        gate = self.gate_of()
        self.assertEqual(gate.metric("tollgate_policy_set_policies", source="sync"), 120)
        self.assertEqual(self.cp.find("/policies/p0119"), [])

    def test_a_list_that_moves_under_the_paging_is_read_anew(self):
        self.cp.cap = 100
        self.cp.publish([policy("p%04d" % i) for i in range(250)], [self.route("/", "p0249")])
        moved = []

        def lists(h, query):
            if query["offset"] == "99" and not moved:
                moved.append(1)
                self.cp.publish(self.cp.policies[:3] + self.cp.policies[4:])
            self.cp.answer(h, "/api/v0/organizations/%s/policies" % ORG, query, b"")

        self.cp.say("/policies", lists)
        gate = self.gate_of()
        self.assertEqual(gate.metric("tollgate_policy_set_policies", source="sync"), 249)
        self.assertEqual([a[3]["offset"] for a in self.cp.find("/policies")[:5]], ["0", "99", "0", "99", "198"])

    def test_v1_lists_in_envelopes_and_has_no_routes(self):
        self.cp.publish([policy("p%04d" % i, USERS if i == 230 else ADMINS) for i in range(231)] +
                        [policy("off", USERS, active=False)])
        gate = self.gate_of([{"name": "mine", "prefix": "/", "to": self.up.url, "policies": ["policy p0230"]}],
                            url=self.cp.url + "/api/v1", credential={
                                "api_user_token_file": self.file("api-user", API_USER),
                                "token_url": self.cp.url + "/api/v0/token"})
        self.assertEqual(self.statuses(gate, "/"), [200])
        self.assertEqual(self.statuses(gate, "/", email="admin@example.com"), [403])
        self.assertEqual(gate.metric("tollgate_policy_set_policies", source="sync"), 231)  # without the inactive one
        self.assertEqual([a[3] for a in self.cp.find("/api/v1/policies")[:3]],
                         [{"page": str(n), "page_size": "100"} for n in (1, 2, 3)])

    def test_unchanged_lists_cost_neither_transfer_nor_compile(self):
        self.cp.etags = True
        self.cp.elsewhere = [policy("root")]
        self.cp.publish([policy("a")], [self.route("/a", "a"), self.route("/r", "root")])
        gate = self.gate_of()
        start = time.monotonic()
        self.assertTrue(wait_until(lambda: self.rounds(gate, "unchanged") >= 2, 6, 0.05))
        later = self.cp.find(since=start)
        self.assertTrue(later and all("If-None-Match" in a[4] for a in later), later)
        self.assertEqual({a[2].split("/")[-1] for a in later}, {"policies", "routes", "root"})
        self.assertEqual((self.rounds(gate, "read"), self.offers(gate, "accepted")), (1, 1))
        self.assertEqual(len(self.cp.find("/token", "POST")), 1)
        self.cp.elsewhere = [policy("root", ADMINS)]
        self.becomes(gate, "/r", 403)
        self.assertEqual(self.statuses(gate, "/a"), [200])

    def test_without_etags_an_equal_set_is_not_compiled_again(self):
        self.cp.publish([policy("a")], [self.route("/a", "a")])
        gate = self.gate_of()
        self.assertTrue(wait_until(lambda: self.rounds(gate, "read") >= 3, 6, 0.05))
        self.assertEqual(self.offers(gate, "accepted"), 1)
        self.assertGreaterEqual(self.offers(gate, "unchanged"), 2)


class Places(Sync):
    def setUp(self):
        super().setUp()
        self.cp.namespaces += [{"id": "n-prod", "name": "production", "type": "cluster", "parentId": ORG},
                               {"id": "n-test", "name": "test", "type": "cluster", "parentId": ORG}]

    def test_a_namespace_by_name_with_policies_of_the_root_by_reference(self):
        self.cp.publish([policy("root"), policy("no-admins", NOT_ADMINS, enforced=True),
                         policy("here", BOSSES, namespaceId="n-prod")],
                        [self.route("/r", "root", namespaceId="n-prod", enforcedPolicyIds=["no-admins"]),
                         self.route("/h", "here", namespaceId="n-prod"),
                         self.route("/t", "root", namespaceId="n-test")])
        for organization, namespace in (("Acme", "production"), (ORG, "n-prod")):
            with self.subTest(namespace):
                gate = self.gate_of(organization=organization, namespace=namespace)
                self.assertEqual(self.statuses(gate, "/r", "/h", "/t"), [200, 403, 404])
                # what the root enforces holds below it, also where the route does not say so
                self.assertEqual(self.statuses(gate, "/r", "/h", email="admin@example.com"), [403, 403])
                self.assertEqual(self.statuses(gate, "/h", email="boss@example.com"), [200])
                self.assertEqual(self.cp.find("/policies")[-1][3]["namespaceId"], "n-prod")
                self.assertIn("namespace n-prod", self.verbose(gate))
                gate.stop()

    def test_enforced_policies_hold_below_their_namespace_and_nowhere_else(self):
        self.cp.publish([policy("a", {"allow": {"or": [{"accept": True}]}}),
                         policy("e", NOT_ADMINS, enforced=True, namespaceId="n-prod")],
                        [self.route("/p", "a", namespaceId="n-prod"), self.route("/t", "a", namespaceId="n-test")])
        gate = self.gate_of()
        self.assertEqual(self.statuses(gate, "/p", "/t", email="admin@example.com"), [403, 200])
        self.cp.publish([self.cp.policies[0], policy("e", NOT_ADMINS, enforced=True)])
        self.becomes(gate, "/t", 403, email="admin@example.com")

    def test_older_control_planes_have_clusters_alone(self):
        self.cp.say("/namespaces", 404)
        self.cp.say("/clusters", lambda h, q: h.reply(200, [{"id": "c", "name": "prod", "namespaceId": "n-prod"}]))
        self.cp.publish([policy("a", namespaceId="n-prod")], [self.route("/", "a", namespaceId="n-prod")])
        gate = self.gate_of(namespace="prod")
        self.assertEqual(self.statuses(gate, "/"), [200])

    def test_which_organization_has_to_be_clear(self):
        self.cp.organizations.append({"id": "other", "name": "Other"})
        gate = self.gate_of(ready=False)
        self.says(gate, "several organizations: sync.organization has to say which")
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 503)
        self.assertProblem(ask(gate.port, "GET", "/"), 503, "service unavailable")
        self.assertEqual(gate.log("/")[0]["refused"], "not-loaded")
        asked = len(self.cp.find("/organizations"))
        time.sleep(1.5)
        self.assertEqual(len(self.cp.find("/organizations")), asked)  # only another configuration mends it
        gate = self.gate_of(ready=False, organization="Acme", namespace="nowhere")
        self.says(gate, "the namespace is not there, neither by id nor by name: nowhere")


class References(Sync):
    def test_an_inactive_policy_neither_admits_nor_closes_its_routes(self):
        """As a managing tollgate shows one in v0, in its list and by its id."""
        self.cp.namespaces.append({"id": "n-prod", "name": "production", "type": "cluster", "parentId": ORG})
        self.cp.publish([policy("a", namespaceId="n-prod"), policy("off", ADMINS, active=False, namespaceId="n-prod"),
                         policy("above", ADMINS, active=False)],
                        [self.route("/", "a", "off", "above", namespaceId="n-prod")])
        gate = self.gate_of(namespace="production")
        self.assertEqual(self.statuses(gate, "/"), [200])
        self.assertEqual(self.statuses(gate, "/", email="admin@example.com"), [403])

    def test_a_reference_that_leads_nowhere_closes_its_route_alone(self):
        self.cp.say("/policies/foreign", 403)
        self.cp.publish([policy("a")], [self.route("/a", "a"), self.route("/gone", "a", "gone"),
                                        self.route("/foreign", "foreign"),
                                        self.route("/e", "a", enforcedPolicyIds=["gone"])])
        gate = self.gate_of()
        self.assertEqual(self.statuses(gate, "/a", "/gone", "/foreign", "/e"), [200, 503, 503, 503])
        self.assertEqual(gate.log("/gone")[0]["refused"], "no-policy")
        self.assertEqual(len(self.cp.find("/policies/gone")[:3]), 2 if self.rounds(gate, "read") == 1 else 3)
        self.says(gate, "routes name policies that cannot be had")
        self.cp.elsewhere = [policy("gone")]
        self.becomes(gate, "/gone", 200)

    def test_a_reference_that_fails_for_now_keeps_the_last_good_set(self):
        self.cp.elsewhere = [policy("root")]
        self.cp.publish([policy("a")], [self.route("/r", "root")])
        gate = self.gate_of()
        self.cp.say("/policies/root", 500)
        self.says(gate, "/policies/root answers with status 500")
        self.assertEqual(self.statuses(gate, "/r"), [200])
        self.cp.say("/policies/root", lambda h, q: h.reply(200, policy("another")))
        self.says(gate, "another policy came than the one that was asked for")
        self.assertEqual(self.statuses(gate, "/r"), [200])


class Tokens(Sync):
    def setUp(self):
        super().setUp()
        self.cp.publish([policy("a")], [self.route("/", "a")])

    def test_renewed_ahead_of_time_by_one_question(self):
        self.cp.id_ttl = 3
        gate = self.gate_of()
        start = time.monotonic()
        self.assertTrue(wait_until(lambda: len(self.cp.find("/token", "POST")) == 3, 8, 0.05))
        self.assertGreater(time.monotonic() - start, 2.5)  # 1.75 s each: a second before its end, less a tenth
        self.assertEqual(self.rounds(gate, "failed"), 0)
        self.assertEqual([json.loads(a[5]) for a in self.cp.find("/token", "POST")[:2]],
                         [{"refreshToken": API_USER}] * 2)

    def test_a_401_renews_once_and_the_round_goes_on(self):
        gate = self.gate_of()
        self.cp.revoke()
        self.cp.publish([policy("a", ADMINS)])
        self.becomes(gate, "/", 403)
        self.assertEqual((len(self.cp.find("/token", "POST")), self.rounds(gate, "failed")), (2, 0))
        self.cp.say("/organizations", 401)               # whatever token it is
        self.says(gate, "status 401: it does not take the token")
        self.assertLessEqual(len(self.cp.find("/token", "POST")), 3)
        self.assertEqual(self.statuses(gate, "/", email="admin@example.com"), [200])

    def test_400_for_the_api_user_is_final_until_its_file_changes(self):
        gate = self.gate_of(ready=False, credential={"api_user_token_file": self.file("other", "tga-withdrawn")})
        self.secrets.append("tga-withdrawn")
        self.says(gate, "no token; the token endpoint answers with status 400")
        self.says(gate, "there is no token for the control plane")
        self.assertIn("tollgate's own credential is refused: it has to be put right", gate.stderr())
        time.sleep(1.5)
        self.assertEqual(len(self.cp.find("/token", "POST")), 1)
        self.file("other", API_USER)
        self.becomes(gate, "/", 200, limit=8)

    def test_other_failures_of_the_exchange_pass(self):
        self.cp.say("/token", 503)
        gate = self.gate_of(ready=False)
        self.says(gate, "no token; the token endpoint answers with status 503")
        self.cp.say("/token", lambda h, q: h.reply(200, {"idToken": self.cp.issue(), "expiresInSeconds": 3600}))
        self.becomes(gate, "/", 200, limit=8)

    def test_a_token_that_lasts(self):
        self.cp.alive["pat-of-the-tests"] = time.monotonic() + 600
        self.secrets.append("pat-of-the-tests")
        gate = self.gate_of(credential={"token_file": self.file("pat", "pat-of-the-tests")})
        self.assertEqual(self.statuses(gate, "/"), [200])
        self.assertEqual(self.cp.find("/token", "POST"), [])

    def test_a_service_user_of_zitadel_shows_a_private_key_jwt(self):
        key, public = os.path.join(self.dir, "rsa.pem"), os.path.join(self.dir, "rsa.pub")
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
        with open(key, encoding="ascii") as f:
            text = f.read()
        self.secrets.append(text.splitlines()[5])
        self.file("key.json", json.dumps({"type": "serviceaccount", "keyId": "1005", "key": text, "userId": "2007"}))
        forms = []

        def grant(h, _):
            forms.append(dict(urllib.parse.parse_qsl(self.cp.asked[-1][5].decode())))
            h.reply(200, {"access_token": self.cp.issue(), "token_type": "Bearer", "expires_in": 3600})

        self.cp.say("/oauth/v2/token", grant)
        gate = self.gate_of(credential={"grant": "jwt_bearer", "token_url": self.cp.url + "/oauth/v2/token",
                                        "private_key_file": os.path.join(self.dir, "key.json"), "scopes": ["openid"]})
        self.assertEqual(self.statuses(gate, "/"), [200])
        head, claims, signature = forms[0]["assertion"].split(".")
        head, claims, signature = (base64.urlsafe_b64decode(x + "==") for x in (head, claims, signature))
        self.assertEqual(json.loads(head)["kid"], "1005")
        claims = json.loads(claims)
        self.assertEqual((claims["iss"], claims["sub"], claims["aud"]), ("2007", "2007", self.cp.url))
        self.assertTrue(0 < claims["exp"] - claims["iat"] <= 3600)
        with open(os.path.join(self.dir, "sig"), "wb") as f:
            f.write(signature)
        signed = forms[0]["assertion"].rpartition(".")[0].encode()
        verdict = subprocess.run(["openssl", "dgst", "-sha256", "-verify", public, "-signature", f.name], input=signed,
                                 capture_output=True)
        self.assertEqual(verdict.returncode, 0, verdict.stdout)
        self.secrets.append(forms[0]["assertion"])


if __name__ == "__main__":
    main()
