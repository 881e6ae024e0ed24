"""What the tests of sync share: a scripted control plane, a tollgate that follows it, and that no secret is shown."""

import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from control_plane import API_USER, ORG, ControlPlane  # noqa: E402
from harness import Case, Tollgate, ask, bearer, config, wait_until  # noqa: E402

ADMINS = {"allow": {"and": [{"email": {"is": "admin@example.com"}}]}}
USERS = {"allow": {"and": [{"email": {"is": "user@example.com"}}]}}
BOSSES = {"allow": {"or": [{"email": {"is": "boss@example.com"}}, {"email": {"is": "admin@example.com"}}]}}
NOT_ADMINS = {"deny": {"or": [{"email": {"is": "admin@example.com"}}]}}


def policy(id_, ppl=USERS, **more):
    """As the Zero API answers it, read-only members and all."""
    return {"id": id_, "name": "policy " + id_, "namespaceId": ORG, "description": "", "enforced": False,
            "explanation": "", "remediation": "", "ppl": ppl, "routes": [], "enforcedRoutes": [],
            "createdAt": "2026-02-12T10:30:00.123456Z", "updatedAt": "2026-02-12T10:30:00.123456Z", **more}


class Sync(Case):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-sync.")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.cp = ControlPlane()
        self.addCleanup(self.cp.stop)
        self.secrets = [API_USER]

    def route(self, prefix, *policies, **more):
        return {"id": "route" + prefix.replace("/", "-"), "name": "route " + prefix, "namespaceId": ORG,
                "from": "https://app.test", "prefix": prefix, "to": [self.up.url], "policyIds": list(policies),
                "policies": [{"id": p, "name": "policy " + p} for p in policies], "enforcedPolicies": [],
                "enforcedPolicyIds": [], "allowSpdy": False, "allowWebsockets": False,
                "enableGoogleCloudServerlessAuthentication": False, "preserveHostHeader": False,
                "showErrorDetails": False, "tlsSkipVerify": False, "tlsUpstreamAllowRenegotiation": False,
                "createdAt": "2026-02-12T10:30:00.123456Z", "updatedAt": "2026-02-12T10:30:00.123456Z", **more}

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def gate_of(self, routes=None, ready=True, settings=None, **sync):
        """A tollgate that follows self.cp. What it says anywhere never holds a secret."""
        cfg = {"url": self.cp.url, "interval": "1s", "credential": {
            "api_user_token_file": self.file("api-user", API_USER + "\n")}, **sync}
        cfg = {k: v for k, v in cfg.items() if v is not None}
        gate = Tollgate(config(routes, **{"sync": cfg, "state_dir": self.dir, **(settings or {})}), ready=ready)
        self.addCleanup(self.finish, gate)
        return gate

    def finish(self, gate):
        if gate.proc.poll() is not None:
            return
        shown = gate.stderr() + gate.metrics() + self.verbose(gate)
        with open(gate.access, encoding="utf-8") as f:
            shown += f.read()
        gate.stop()
        for secret in self.secrets + self.cp.issued:
            self.assertNotIn(secret, shown)

    def verbose(self, gate):
        return ask(gate.health, "GET", "/readyz?verbose").body.decode()

    def statuses(self, gate, *paths, email="user@example.com"):
        return [ask(gate.port, "GET", p, [bearer(email=email)]).status for p in paths]

    def becomes(self, gate, path, status, email="user@example.com", limit=5):
        good = wait_until(lambda: self.statuses(gate, path, email=email) == [status], limit, 0.05)
        self.assertTrue(good, "%s stays %s\n%s\n%s" % (path, self.statuses(gate, path, email=email),
                                                       self.verbose(gate), gate.stderr()[-3000:]))

    def says(self, gate, words, limit=5):
        found = wait_until(lambda: words in self.verbose(gate), limit, 0.05)
        self.assertTrue(found, "no %r in\n%s" % (words, self.verbose(gate)))

    def offers(self, gate, result):
        return gate.metric("tollgate_policy_set_offers_total", source="sync", result=result)

    def rounds(self, gate, result):
        return gate.metric("tollgate_sync_rounds_total", result=result)
