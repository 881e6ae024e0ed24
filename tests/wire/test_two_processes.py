"""Two of them: one tollgate manages, another syncs from it and enforces what the first one's API says.

Contract checks P5, P8 to P10 and R3, with nothing between the two but HTTP and an API user's token.
"""

import os
import shutil
import signal
import tempfile
import time

import certs
from harness import Case, Tollgate, ask, bearer, config, free_port, main, run, tls_context, wait_until
from openapi import Api

ALLOW = {"allow": {"and": [{"email": {"is": "user@example.com"}}]}}
OTHERS = {"allow": {"and": [{"email": {"is": "other@example.com"}}]}}
PEACE = {"authenticated": 1000000, "unauthenticated": 1000000}
INTERVAL_S = 1.0
OTHER = "other@example.com"


class Two(Case):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-two.")
        self.addCleanup(shutil.rmtree, self.dir, True)
        for name in ("managing", "enforcing"):
            os.mkdir(os.path.join(self.dir, name))
        self.manager = free_port()
        self.first = self.managing()
        self.owner = self.user("owner")
        self.api = self.client()
        self.org = "/api/v0/organizations/" + self.api.get("/api/v0/organizations").json[0]["id"]
        self.reader = self.user("auditor")
        self.second = self.enforcing()

    # ---- the two ----

    scheme = "http"
    managing_changes, sync_changes = {}, {}  # of a class with other settings

    def url(self):
        return "%s://127.0.0.1:%d" % (self.scheme, self.manager)

    def managing(self, **more):
        management = {"address": "127.0.0.1:%d" % self.manager, "limits": PEACE, **self.managing_changes, **more}
        state = os.path.join(self.dir, "managing")
        return self.kept(Tollgate(config(None, management=management, state_dir=state)))

    def enforcing(self, ready=True, **more):
        credential = {"api_user_token_file": self.secret()}
        sync = {"url": self.url(), "interval": "%ds" % INTERVAL_S, "credential": credential, **self.sync_changes}
        state = os.path.join(self.dir, "enforcing")
        return self.kept(Tollgate(config(None, sync={**sync, **more}, state_dir=state), ready=ready))

    def kept(self, gate):
        def stop():
            if gate.proc.poll() is None:
                gate.stop()

        self.addCleanup(stop)
        return gate

    def kill(self, gate):
        gate.proc.send_signal(signal.SIGKILL)
        gate.proc.wait()
        self.addCleanup(shutil.rmtree, gate.dir, True)
        gate.err.close()
        gate.out.close()

    def secret(self):
        path = os.path.join(self.dir, "token")
        with open(path, "w", encoding="ascii") as f:
            f.write(self.reader + "\n")
        os.chmod(path, 0o600)
        return path

    def user(self, role):
        code, out, err = run("token", "create", "--kind", "api-user", "--name", role, "--role", role, "-c",
                             self.first.config_path)  # fmt: skip
        self.assertEqual(code, 0, err)
        return out.strip()

    def client(self):
        return Api(self.manager, self.owner)

    # ---- what is made and what comes of it ----

    def policy(self, ppl=ALLOW, name="p", **more):
        made = self.api.post(self.org + "/policies", {"name": name, "ppl": ppl, **more})
        self.assertEqual(made.status, 201, made.text)
        return made.json

    def route(self, name, *policies, **more):
        body = {"name": name, "from": "http://%s.example.com" % name, "to": [self.up.url], "policyIds": list(policies)}
        made = self.api.post(self.org + "/routes", {**body, **more})
        self.assertEqual(made.status, 201, made.text)
        return made.json

    def status(self, host, email="user@example.com", gate=None):
        return ask((gate or self.second).port, fields=[bearer(email=email)], host=host + ".example.com").status

    def becomes(self, host, status, email="user@example.com", limit=INTERVAL_S * 1.1 + 0.3, gate=None):
        """Within an interval of the second (and what a round takes)."""
        self.assertTrue(
            wait_until(lambda: self.status(host, email, gate) == status, limit, 0.02),
            "%s: %d, not %d\n%s" % (host, self.status(host, email, gate), status, self.verbose()),
        )

    def verbose(self, gate=None):
        return ask((gate or self.second).health, "GET", "/readyz?verbose").body.decode()

    def says(self, words, limit=5):
        self.assertTrue(wait_until(lambda: words in self.verbose(), limit, 0.05), self.verbose())

    def offers(self, result):
        return self.second.metric("tollgate_policy_set_offers_total", source="sync", result=result)

    def rounds(self, result):
        return self.second.metric("tollgate_sync_rounds_total", result=result)

    def not_modified(self):
        return self.first.metric("tollgate_management_requests_total", code="304")


class Follows(Two):
    def test_what_is_made_changed_and_deleted(self):
        self.assertEqual(self.status("r"), 404)
        policy = self.policy()
        route = self.route("r", policy["id"])
        self.becomes("r", 200)
        self.assertEqual((self.status("r", OTHER), self.status("r", gate=self.first)), (403, 200))
        path = "%s/policies/%s" % (self.org, policy["id"])
        self.assertEqual(self.api.put(path, {**policy, "ppl": OTHERS}).status, 200)
        self.becomes("r", 403)
        self.assertEqual(self.status("r", OTHER), 200)
        moved = self.api.put("%s/routes/%s" % (self.org, route["id"]), {**route, "from": "http://moved.example.com"})
        self.assertEqual(moved.status, 200)
        self.becomes("moved", 200, OTHER)
        self.assertEqual(self.status("r", OTHER), 404)
        self.assertEqual(self.api.delete(path).status, 409)
        self.assertEqual(self.api.delete("%s/routes/%s" % (self.org, route["id"])).status, 204)
        self.becomes("moved", 404, OTHER)
        self.assertEqual(self.api.delete(path).status, 204)

    def test_enforced_and_inactive(self):
        """Both enforce alike, whichever view made it."""
        policy = self.policy()
        self.route("r", policy["id"])
        self.becomes("r", 200)
        nobody = self.policy({"deny": {"and": [{"email": {"is": "user@example.com"}}]}}, "nobody", enforced=True)
        self.becomes("r", 403)
        self.assertEqual(self.status("r", gate=self.first), 403)
        v1 = "/api/v1/policies/" + nobody["id"]
        self.assertEqual(self.api.put(v1, {**self.api.get(v1).json, "active": False}).status, 200)
        self.becomes("r", 200)
        self.assertEqual(self.status("r", gate=self.first), 200)

    def test_many_changes_end_the_same_on_both(self):
        ids = [self.policy(ALLOW if i % 2 else OTHERS, "p%d" % i)["id"] for i in range(40)]
        routes = [self.route("r%d" % i, ids[i]) for i in range(40)]
        for i in range(0, 40, 4):
            self.assertEqual(self.api.delete("%s/routes/%s" % (self.org, routes[i]["id"])).status, 204)
        want = [404 if i % 4 == 0 else 200 if i % 2 else 403 for i in range(40)]
        for gate in (self.first, self.second):
            got = wait_until(lambda: [self.status("r%d" % i, gate=gate) for i in range(40)] == want, 3, 0.1)
            self.assertTrue(got, [self.status("r%d" % i, gate=gate) for i in range(40)])

    def test_unchanged_is_not_sent_and_not_compiled(self):
        self.route("r", self.policy()["id"])
        self.becomes("r", 200)
        time.sleep(INTERVAL_S)
        compiled, unchanged, sent = self.offers("accepted"), self.rounds("unchanged"), self.not_modified()
        self.assertTrue(wait_until(lambda: self.rounds("unchanged") >= unchanged + 3, 6, 0.1), self.second.metrics())
        self.assertEqual(self.offers("accepted"), compiled)
        # Both lists, each time; a round may have been half over when it began.
        self.assertTrue(wait_until(lambda: self.not_modified() - sent >= 6, 3, 0.1), self.second.metrics())
        self.assertEqual(self.rounds("failed"), 0)


class Away(Two):
    def setUp(self):
        super().setUp()
        self.made = self.policy()
        self.route("r", self.made["id"])
        self.becomes("r", 200)

    def change(self, ppl):
        path = "%s/policies/%s" % (self.org, self.made["id"])
        self.assertEqual(self.api.put(path, {**self.made, "ppl": ppl}).status, 200)

    def test_the_managing_one_killed_and_back(self):
        self.change(OTHERS)
        self.kill(self.first)
        self.says("connection refused")
        before = self.status("r"), self.status("r", OTHER)
        self.assertIn(before, ((200, 403), (403, 200)))  # the last set it has got, whole
        self.first = self.managing()
        self.assertEqual(self.api.get(self.org + "/policies").json[0]["ppl"], OTHERS)  # committed: still there
        self.becomes("r", 403, limit=10)
        self.assertEqual(self.status("r", OTHER), 200)
        self.assertEqual((self.status("r", gate=self.first), self.status("r", OTHER, self.first)), (403, 200))
        self.change(ALLOW)
        self.becomes("r", 200)

    def test_the_second_starts_while_the_first_is_away(self):
        self.second.stop()
        self.kill(self.first)
        self.second = self.enforcing()
        self.assertEqual((self.status("r"), self.status("r", OTHER), self.status("x")), (200, 403, 404))
        self.second.stop()
        shutil.rmtree(os.path.join(self.dir, "enforcing"))
        os.mkdir(os.path.join(self.dir, "enforcing"))
        self.second = self.enforcing(ready=False)  # nothing kept: it knows nothing and lets nobody through
        self.assertEqual((self.status("r"), ask(self.second.health, "GET", "/readyz").status), (503, 503))
        self.first = self.managing()
        self.becomes("r", 200, limit=10)
        self.assertEqual(ask(self.second.health, "GET", "/readyz").status, 200)

    def test_the_second_killed(self):
        self.kill(self.second)
        self.change(OTHERS)
        self.second = self.enforcing()
        self.becomes("r", 403)
        self.assertEqual(self.status("r", OTHER), 200)

    def test_its_token_is_revoked(self):
        users = self.api.get("/api/v1/tokens").json["data"]
        mine = [u["id"] for u in users if u["role"] == "auditor"]
        self.assertEqual(self.api.delete("/api/v1/tokens/" + mine[0]).status, 204)
        self.says("the token endpoint answers with status 400")
        self.change(OTHERS)
        time.sleep(INTERVAL_S * 2)
        self.assertEqual((self.status("r"), self.status("r", OTHER)), (200, 403))  # the last good set
        self.assertEqual(ask(self.second.health, "GET", "/readyz").status, 200)
        self.assertIn("it has to be put right", self.second.stderr())
        self.reader = self.user("auditor")
        self.secret()
        self.becomes("r", 403, limit=8)
        for secret in (self.reader, self.owner):
            self.assertNotIn(secret, self.second.stderr() + self.first.stderr())

    def test_a_role_that_may_not_be_less(self):
        """Reading policies and routes is all that it needs: member is enough."""
        self.second.stop()
        self.reader = self.user("member")
        self.second = self.enforcing()
        self.change(OTHERS)
        self.becomes("r", 403)


class Encrypted(Two):
    """The same over TLS, with the first's certificate checked."""

    scheme = "https"

    def setUp(self):
        folder = tempfile.mkdtemp(prefix="tollgate-two-certs.")
        self.addCleanup(shutil.rmtree, folder, True)
        self.authority = certs.ca(folder)
        self.stranger = certs.ca(folder, name="stranger")
        leaf = certs.leaf(folder, self.authority, ["127.0.0.1"])
        self.managing_changes = {"certificate_file": leaf.chain, "certificate_key_file": leaf.key}
        self.sync_changes = {"ca_file": self.authority.cert}
        super().setUp()

    def client(self):
        return Api(self.manager, self.owner, tls=tls_context(self.authority.cert))

    def test_follows(self):
        self.route("r", self.policy()["id"])
        self.becomes("r", 200)
        self.assertEqual(self.status("r", OTHER), 403)
        self.second.stop()
        self.second = self.enforcing(ca_file=self.stranger.cert)
        self.says("certificate")
        time.sleep(INTERVAL_S)
        self.policy(OTHERS, "enforced", enforced=True)
        self.assertEqual(self.rounds("read") + self.rounds("unchanged"), 0)
        self.assertEqual((self.status("r"), self.status("r", OTHER)), (200, 403))  # of the last run


if __name__ == "__main__":
    main()
