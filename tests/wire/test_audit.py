"""The audit log: every change and every denial, found again exactly, kept within its bounds, and never a secret in it."""

import base64
import json
import os
import resource
import shutil
import signal
import sqlite3
import tempfile
import time

from harness import PATIENCE, SLOW, Client, Tollgate, ask, bearer, config, main, members, public, run, token, wait_until
from test_management_policies import ALLOW, Managing

MEMBERS = ["id", "timestamp", "actor", "action", "resource", "details", "source_ip", "result", "request_id"]
STAFF = {"allow": {"and": [{"email": {"is": "staff@example.com"}}]}}


class Auditing(Managing):
    def state(self):
        path = tempfile.mkdtemp(prefix="tollgate-state.")
        self.addCleanup(shutil.rmtree, path, True)
        return path

    def page(self, gate, query=""):
        return gate.api.get("/api/v1/audit-logs" + ("?" + query if query else "")).json

    def entries(self, gate, query="", count=1):
        """Once there are so many: a decision is written a moment after its answer."""
        query = "page_size=100" + ("&" + query if query else "")
        wait_until(lambda: self.page(gate, query)["total"] >= count, 3)
        return self.page(gate, query)["data"]

    def command(self, gate, *args):
        code, out, err = run("audit", "-c", gate.config_path, *args, cwd=gate.dir)
        self.assertEqual((code, err), (0, ""))
        return [json.loads(line) for line in out.splitlines()]

    def on_disk(self, state, sql, *values):
        db = sqlite3.connect(os.path.join(state, "tollgate.db"), timeout=10)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()


class Changes(Auditing):
    def test_who_did_what(self):
        gate = self.managed()
        policy = self.policy(gate)
        path = gate.org + "/policies/" + policy["id"]
        self.assertEqual(gate.api.put(path, {"name": "q", "ppl": ALLOW}).status, 200)
        self.assertEqual(gate.api.post(gate.org + "/policies", {"name": "bad", "ppl": {"x": 1}}).status, 400)
        user = self.made(gate.api.post(gate.org + "/api-users", {"name": "ci", "role": "admin"}))
        by_user = gate.api.as_(user["token"])
        route = self.route(gate, "r", [policy["id"]])
        self.assertEqual(by_user.delete(gate.org + "/routes/" + route["id"]).status, 204)
        self.assertEqual(by_user.delete(path).status, 204)
        got = self.entries(gate)
        said = [(e["action"], e["result"]) for e in got if not e["action"].startswith("auth.")]
        self.assertEqual(
            said,
            [(a, "success") for a in ("policy.delete", "route.delete", "route.create", "token.create",
                                      "policy.update", "policy.create")],
        )  # fmt: skip
        for e in got:
            self.assertEqual(sorted(e), sorted(MEMBERS))
            self.assertEqual(e["source_ip"], "127.0.0.1")
            self.assertTrue(e["request_id"])
        self.assertEqual(got, sorted(got, key=lambda e: e["id"], reverse=True))
        newest = got[0]
        self.assertEqual(newest["resource"], "policy:" + policy["id"])
        self.assertEqual(newest["actor"], "api-user:%s (ci)" % user["id"])
        self.assertEqual(got[-1]["actor"], "operator:alice")

    def test_pages_and_filters(self):
        gate = self.managed()
        ids = [self.policy(gate, "p%d" % i)["id"] for i in range(23)]
        for i in (3, 5):
            self.assertEqual(gate.api.delete(gate.org + "/policies/" + ids[i]).status, 204)
        page = self.page(gate)
        self.assertEqual(
            (len(page["data"]), page["total"], page["page"], page["page_size"], page["total_pages"]), (20, 25, 1, 20, 2)
        )
        whole = page["data"] + self.page(gate, "page=2")["data"]
        self.assertEqual(len({e["id"] for e in whole}), 25)
        self.assertEqual(self.page(gate, "page=3")["data"], [])
        self.assertEqual([e["id"] for p in range(1, 6) for e in self.page(gate, "page_size=5&page=%d" % p)["data"]],
                         [e["id"] for e in whole])  # fmt: skip
        for query, want in (
            ("action=policy.create", 23),
            ("action=policy.delete&page_size=1", 2),
            ("action=policy.*", 25),
            ("action=policy.c*", 23),
            ("action=route.*", 0),
            ("action=policy", 0),
            ("actor=operator:alice", 25),
            ("actor=operator%3Aalice", 25),
            ("actor=alice", 0),
            ("resource=policy:" + ids[3], 2),
            ("resource=policy:*&action=policy.delete", 2),
            ("result=success", 25),
            ("result=failure", 0),
            ("from=2020-01-01T00:00:00Z", 25),
            ("to=2020-01-01T00:00:00Z", 0),
            ("from=2020-01-01T00:00:00%2B01:00&to=2120-01-01T00:00:00Z", 25),
            ("unknown=1", 25),
        ):
            self.assertEqual(self.page(gate, query)["total"], want, query)
        for query in ("page=0", "page=x", "page_size=101", "page_size=0", "from=yesterday", "to=1", "result=bad",
                      "from=2021-01-01T00:00:00Z&to=2020-01-01T00:00:00Z"):  # fmt: skip
            self.assertEqual(gate.api.get("/api/v1/audit-logs?" + query).status, 400, query)

    def test_lines_and_the_command(self):
        """The same entries, whoever shows them, beside the running process."""
        gate = self.managed()
        for i in range(5):
            self.policy(gate, "p%d" % i)
        whole = self.entries(gate)
        lines = gate.api.get("/api/v1/audit-logs?action=policy.*", headers={"Accept": "application/jsonl"})
        self.assertEqual(lines.headers["content-type"], "application/jsonl")
        self.assertEqual([json.loads(x) for x in lines.text.splitlines()], whole)
        self.assertEqual(self.command(gate), whole)
        self.assertEqual(self.command(gate, "--limit", "2"), whole[:2])
        self.assertEqual(self.command(gate, "--action", "policy.*", "--result", "success", "--from", "2020-01-01"), whole)
        self.assertEqual(self.command(gate, "--to", "2020-01-01"), [])
        self.assertEqual(self.command(gate, "--actor", "operator:alice", "--resource", whole[0]["resource"]), whole[:1])
        for args in (("--from", "x"), ("--result", "x"), ("--limit", "0"), ("extra",), ("--actoin", "x")):
            self.assertEqual(run("audit", "-c", gate.config_path, *args, cwd=gate.dir)[0], 2, args)

    def test_without_a_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tollgate.json")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(config([public("http://127.0.0.1:1")]), f)
            code, _, err = run("audit", "-c", path)
        self.assertEqual(code, 77)
        self.assertIn("the audit log is kept in state_dir, and none is set", err)

    def test_who_may_read(self):
        gate = self.managed()
        for role, want in (("auditor", 200), ("admin", 200), ("member", 403)):
            user = self.made(gate.api.post(gate.org + "/api-users", {"name": role, "role": role}))
            self.assertEqual(gate.api.as_(user["token"]).get("/api/v1/audit-logs").status, want, role)
        self.assertEqual(gate.api.as_(None).get("/api/v1/audit-logs").status, 401)


class Denials(Auditing):
    def gated(self, audit=None, **changes):
        """Without a management API: `audit` alone."""
        routes = [
            public(self.up, path="/open"),
            {"name": "staff", "prefix": "/", "to": self.up.url, "policy": STAFF},
        ]
        cfg = config(routes, **{"state_dir": "state", "audit": audit or {}, **changes})
        return self.start(cfg, files={"state/.keep": ""})

    def decisions(self, gate, count, *args):
        wait_until(lambda: len(self.command(gate, *args)) >= count, 5, 0.2)
        return self.command(gate, *args)

    def test_what_is_an_entry(self):
        gate = self.gated()
        ask(gate.port, "GET", "/open")                                               # 200
        ask(gate.port, "GET", "/a?access_token=secret-in-a-query", host="app.test")  # 401
        ask(gate.port, "GET", "/b", [("Authorization", "Bearer x.y.z")])             # 401
        ask(gate.port, "POST", "/c", [bearer()], b"a body")                          # 403
        ask(gate.port, "GET", "/d", [bearer(email="staff@example.com")])             # 200
        ask(gate.port, "GET", "/e", [("Authorization", "Bearer")])                   # 400
        ask(gate.port, "GET", "/f%2f")                                               # 400
        last = ask(gate.port, "GET", "/last", [("X-Request-Id", "mine"), bearer("ec256", exp=1)])
        self.assertEqual(last.status, 401)
        got = self.decisions(gate, 4)[::-1]
        self.assertEqual([e["details"]["path"] for e in got], ["/a", "/b", "/c", "/last"])
        self.assertEqual([e["details"]["status"] for e in got], [401, 401, 403, 401])
        self.assertEqual({(e["action"], e["result"], e["resource"]) for e in got},
                         {("request.denied", "denied", "route:staff")})  # fmt: skip
        self.assertEqual([e["details"]["refused"] for e in got], ["no-token", "token-invalid", "denied", "token-expired"])
        self.assertEqual([e["actor"] for e in got], ["", "", "https://issuer.test user", ""])
        self.assertEqual(got[2]["details"]["method"], "POST")
        for e, line in zip(got, (x for x in gate.log() if x["status"] in (401, 403))):
            self.assertEqual(e["request_id"], line["request_id"])
            self.assertEqual(e["source_ip"], "127.0.0.1")
        self.assertEqual(gate.metric("tollgate_audit_entries_total"), 4)
        self.assertEqual(gate.metric("tollgate_audit_lost_total"), 0)

    def test_allowed_too(self):
        gate = self.gated({"allowed": True, "denied": False})
        ask(gate.port, "GET", "/a")
        ask(gate.port, "GET", "/b?x=1", [bearer(email="staff@example.com")])
        got = self.decisions(gate, 1)
        self.assertEqual([(e["action"], e["result"], e["details"]["path"]) for e in got],
                         [("request.allowed", "success", "/b")])  # fmt: skip
        gate.configure(config(gate.cfg["routes"], state_dir="state", audit={"allowed": False}))
        gate.reload()
        self.assertTrue(wait_until(lambda: "reloaded" in gate.stderr(), 5))
        ask(gate.port, "GET", "/c", [bearer(email="staff@example.com")])
        ask(gate.port, "GET", "/d")
        self.assertEqual([e["details"]["path"] for e in self.decisions(gate, 2)], ["/d", "/b"])

    def test_off(self):
        routes = [{"name": "staff", "prefix": "/", "to": self.up.url, "policy": STAFF}]
        gate = self.start(config(routes, state_dir="state"), files={"state/.keep": ""})
        self.assertEqual(ask(gate.port).status, 401)
        time.sleep(0.3)
        self.assertFalse(os.path.exists(os.path.join(gate.dir, "state", "tollgate.db")))

    def flood(self, gate, count):
        """So many denials on one connection; the answers are read."""
        with Client(gate.port, timeout=60) as c:
            one, burst = b"GET /flood HTTP/1.1\r\nHost: app.test\r\n\r\n", 50
            for _ in range(count // burst):
                c.send(one * burst)
                for _ in range(burst):
                    self.assertEqual(c.response().status, 401)

    def told(self, entries):
        """(decisions, those that are only counted)"""
        lost = sum(e["details"]["entries"] for e in entries if e["action"] == "audit.lost")
        return sum(e["action"] == "request.denied" for e in entries), lost

    def test_flood(self):
        """Bounded in size, counted to the last one, and nobody is kept waiting for it."""
        gate, count = self.gated({"max_size": "64KiB"}, access_log={"output": "off"}), 2000 if SLOW else 20000
        began = time.monotonic()
        self.flood(gate, count)
        took = time.monotonic() - began
        done = lambda: gate.metric("tollgate_audit_entries_total") + gate.metric("tollgate_audit_lost_total") >= count
        self.assertTrue(wait_until(done, 20, 0.2))
        self.assertLess(took, 20 * PATIENCE)
        self.assertEqual(ask(gate.port).status, 401)
        state = os.path.join(gate.dir, "state")
        size = lambda: self.on_disk(state, "SELECT sum(bytes) FROM audit")[0][0] <= 64 << 10
        self.assertTrue(wait_until(size, 15, 0.5))
        kept = self.command(gate)
        self.assertTrue(20 < len(kept) < 1000, len(kept))
        self.assertEqual(self.on_disk(state, "SELECT sum(entries), sum(bytes) FROM audit_total"),
                         self.on_disk(state, "SELECT count(*), sum(bytes) FROM audit"))  # fmt: skip

    def test_full_disk(self):
        """As on a full disk nothing can be written: requests are answered, what is lost is counted, and it recovers."""
        gate = self.gated(access_log={"output": "off"})
        self.assertEqual(ask(gate.port).status, 401)
        self.assertEqual(len(self.decisions(gate, 1)), 1)
        before = resource.prlimit(gate.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gate.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        count = 1500 if SLOW else 4000
        self.flood(gate, count)
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_audit_write_failures_total") >= 1, 5))
        self.assertEqual(ask(gate.port, "GET", "/open").status, 200)
        resource.prlimit(gate.pid, resource.RLIMIT_FSIZE, before)
        self.assertTrue(wait_until(lambda: "audit log is written again" in gate.stderr(), 8))
        whole = lambda: sum(self.told(self.command(gate))) >= count + 1
        wait_until(whole, 8, 0.3)
        self.assertEqual(sum(self.told(self.command(gate))), count + 1)

    def test_kept_and_aged(self):
        """Of what was told before a kill -9 nothing is gone, but for the last moment; retention holds at the start."""
        state = self.state()
        routes = [{"name": "staff", "prefix": "/", "to": self.up.url, "policy": STAFF}]
        gate = Tollgate(config(routes, state_dir=state, audit={}))
        ask(gate.port)
        self.assertEqual(len(self.decisions(gate, 1)), 1)
        os.kill(gate.pid, signal.SIGKILL)
        gate.stop(expect=-signal.SIGKILL)
        self.assertEqual(len(self.on_disk(state, "SELECT 1 FROM audit")), 1)
        db = sqlite3.connect(os.path.join(state, "tollgate.db"))
        db.execute("UPDATE audit SET time_us = time_us - 3600000000")
        db.commit()
        db.close()
        again = self.start(config(routes, state_dir=state, audit={"retention": "30m"}))
        ask(again.port, "GET", "/new")
        self.assertTrue(wait_until(lambda: len(self.command(again)) == 1 and
                                   self.command(again)[0]["details"]["path"] == "/new", 6, 0.2))  # fmt: skip


class Secrets(Auditing):
    def test_none_in_the_database(self):
        """Whatever was sent, right or wrong: neither the audit log nor the database has it (the webhook's key apart)."""
        gate = self.managed(routes=[members(self.up, path="/m")], audit={"allowed": True},
                            management={"webhooks": {"allowed_networks": []}})  # fmt: skip
        user = self.made(gate.api.post(gate.org + "/api-users", {"name": "ci", "role": "admin"}))
        exchanged = gate.api.as_(None).post("/api/v0/token", {"refreshToken": user["token"]}).json["idToken"]
        by_id = gate.api.as_(exchanged)
        self.made(by_id.post("/api/v1/webhooks", {
            "url": "https://example.com/path-of-a-secret?key=query-of-a-secret", "events": ["*"], "secret": "hook-secret-1"
        }))  # fmt: skip
        good, bad = token(), token("ecX256")
        for access in (good, bad, user["token"], exchanged):
            ask(gate.port, "GET", "/m?key=query-on-the-data-plane", [("Authorization", "Bearer " + access)])
        for wrong in (good, bad, user["token"][:-1] + "x", "tga_junk-of-somebody"):
            gate.api.as_(wrong).get("/api/v1/audit-logs")
            gate.api.as_(None).post("/api/v0/token", {"refreshToken": wrong})
        basic = base64.b64encode(b"user:password-of-somebody").decode()
        gate.api.as_(None).get("/api/v1/policies?token=query-of-the-api", headers={"Authorization": "Basic " + basic})
        self.entries(gate, "action=request.denied", 3)
        entries = self.entries(gate, count=8)
        self.assertTrue({"token.create", "auth.exchange", "webhook.create", "request.denied"} <=
                        {e["action"] for e in entries}, {e["action"] for e in entries})  # fmt: skip
        secrets = [good, bad, user["token"], exchanged, gate.api.token, basic, "tga_junk-of-somebody",
                   "query-on-the-data-plane", "query-of-the-api", "password-of-somebody"]  # fmt: skip
        secrets += [s.split(".")[2] for s in (good, bad, exchanged, gate.api.token)]
        self.assertNotIn("-of-a-secret", json.dumps(entries))
        self.assertNotIn("hook-secret-1", json.dumps(entries))
        time.sleep(0.3)
        folder, everything = os.path.join(gate.dir, "state"), b""
        for name in os.listdir(folder):
            if name.startswith("tollgate.db"):
                with open(os.path.join(folder, name), "rb") as f:
                    everything += f.read()
        self.assertIn(b"request.denied", everything)
        for secret in secrets:
            self.assertNotIn(secret.encode(), everything, secret[:30])
            self.assertNotIn(secret, gate.stderr())


if __name__ == "__main__":
    main()
