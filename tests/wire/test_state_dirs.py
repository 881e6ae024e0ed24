"""State directories of older releases: opened with everything in them still good; those of newer ones are refused.

tests/vectors/state/VERSION is what that release left behind: its database as text, and its other files as they were.
"""

import base64
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

from harness import TOP, Case, Tollgate, ask, bearer, command, config, environment, free_port, main, members
from harness import parallel, provider, run, wait_until
from openapi import Api

VECTORS = os.path.join(TOP, "tests", "vectors", "state")
RELEASES = sorted(os.listdir(VECTORS))
PARTS = ("personal access tokens", "API users", "audit log", "catalogue", "told revocations", "webhooks")
PEACE = {"authenticated": 1000000, "unauthenticated": 1000000}
ANYBODY = {"allow": {"and": [{"accept": True}]}}
NEWER = "a newer tollgate has written this database"


class State(Case):
    def state(self, release):
        """A copy of what the release left, as a folder; .tokens: its personal access tokens by name."""
        folder = tempfile.mkdtemp(prefix="tollgate-state.")
        self.addCleanup(shutil.rmtree, folder, True)
        vector = os.path.join(VECTORS, release)
        with open(os.path.join(vector, "tokens.json"), encoding="utf-8") as f:
            self.tokens = json.load(f)
        with open(os.path.join(vector, "tollgate.sql"), encoding="utf-8") as f:
            self.sql(folder, f.read())
        for name in os.listdir(vector):
            if name == "signing-key.pem" or name.startswith("keys-"):
                shutil.copy(os.path.join(vector, name), folder)
        for name in os.listdir(folder):
            os.chmod(os.path.join(folder, name), 0o600)
        return folder

    def sql(self, folder, script):
        db = sqlite3.connect(os.path.join(folder, "tollgate.db"), isolation_level=None, timeout=10)
        try:
            db.executescript(script)
        finally:
            db.close()

    def rows(self, folder, query):
        db = sqlite3.connect(os.path.join(folder, "tollgate.db"), timeout=10)
        try:
            return db.execute(query).fetchall()
        finally:
            db.close()

    def config(self, folder, managed=True, **changes):
        port = free_port()
        more = {"management": {"address": "127.0.0.1:%d" % port, "limits": PEACE}} if managed else {}
        self.manager = port
        route = members(self.up, pass_identity_headers=True)
        return config([route], **{"state_dir": folder, "personal_access_tokens": {"enabled": True}, **more, **changes})

    def written(self, folder, **changes):
        """The configuration as a file, for commands."""
        path = os.path.join(folder, "tollgate.json")
        with open(path, "w", encoding="utf-8") as f:
            addresses = {name: "127.0.0.1:%d" % free_port() for name in ("address", "health_address")}
            json.dump({**self.config(folder, **changes), **addresses}, f)
        return path

    def good(self, gate):
        """What was good is good, what was withdrawn or over is not; who it was is who it is."""
        got = {n: ask(gate.port, fields=[("Authorization", "Bearer " + t)]).status for n, t in self.tokens.items()}
        self.assertEqual(got, {"plain": 200, "claims": 200, "revoked": 401, "over": 401})
        ask(gate.port, target="/who", fields=[("Authorization", "Bearer " + self.tokens["claims"])])
        line = gate.log("/who")[-1]
        self.assertEqual(line["sub"], "robot")


class Older(State):
    def test_opened_with_its_tokens(self):
        for release in RELEASES:
            folder = self.state(release)
            for managed in (False, True):  # the second time it is no longer an old one
                with Tollgate(self.config(folder, managed)) as gate:
                    self.good(gate)

    def test_its_signing_key_stays(self):
        for release in RELEASES:
            folder = self.state(release)
            path = os.path.join(folder, "signing-key.pem")
            with open(path, "rb") as f:
                before = f.read()
            gate = self.start(self.config(folder))
            with open(path, "rb") as f:
                self.assertEqual(f.read(), before)
            published = json.loads(ask(gate.port, target="/.well-known/pomerium/jwks.json").body)["keys"]
            der = subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], capture_output=True)
            x = der.stdout[-64:-32]  # of the point at its end: x, y
            self.assertIn(x, [base64.urlsafe_b64decode(k["x"] + "==") for k in published])

    def test_its_keys_of_a_provider_that_is_away(self):
        for release in RELEASES:
            folder = self.state(release)
            url = "http://127.0.0.1:%d/keys" % free_port()
            kept = [os.path.join(folder, n) for n in os.listdir(folder) if n.startswith("keys-")]
            self.assertEqual(len(kept), 1)
            with open(kept[0], "r+", encoding="utf-8") as f:
                document = {**json.load(f), "url": url, "fetched_at": int(time.time())}
                f.seek(0)
                f.truncate()
                json.dump(document, f)
            remote = provider(jwks_url=url)
            del remote["jwks"]
            gate = self.start(self.config(folder, identity_providers={"test": remote}))
            self.assertEqual(ask(gate.port, fields=[bearer()]).status, 200)

    def test_all_of_the_new_works_on_it(self):
        """The API, a change, an entry of the audit log, a token of each kind; and all of it after another start."""
        for release in RELEASES:
            folder = self.state(release)
            with Tollgate(self.config(folder)) as gate:
                code, owner, err = run("token", "create", "--kind", "api-user", "--name", "a", "--role", "owner", "-c",
                                       gate.config_path)  # fmt: skip
                self.assertEqual(code, 0, err)
                api = Api(self.manager, owner.strip())
                made = api.post("/api/v1/policies", {"name": "p", "policy_data": {"ppl": ANYBODY}})
                self.assertEqual(made.status, 201)
                code, pat, err = run("token", "create", "--name", "new", "-c", gate.config_path)
                self.assertEqual(code, 0, err)
                self.tokens["new"] = pat.strip()
                code, listed, err = run("token", "list", "--all", "--json", "-c", gate.config_path)
                self.assertLessEqual({"plain", "claims", "new"}, {t["name"] for t in json.loads(listed)})
            again = self.start(self.config(folder))
            for name in ("plain", "claims", "new"):
                field = ("Authorization", "Bearer " + self.tokens[name])
                self.assertEqual(ask(again.port, fields=[field]).status, 200)
            api = Api(self.manager, owner.strip())
            self.assertEqual(api.get("/api/v1/policies").json["data"], [made.json])
            actions = [e["action"] for e in api.get("/api/v1/audit-logs").json["data"]]
            self.assertIn("policy.create", actions)
            self.assertEqual(sorted(n for n, in self.rows(folder, "SELECT name FROM parts")), sorted(PARTS))

    def test_changes_that_were_in_its_journal_alone(self):
        """A release that was killed leaves a -wal: what it had committed holds."""
        for release in RELEASES:
            folder = self.state(release)
            database = os.path.join(folder, "tollgate.db")
            db = sqlite3.connect(database, isolation_level=None)
            db.executescript("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
                             "UPDATE pats SET revoked_s = 1795364230 WHERE name = 'plain'")  # fmt: skip
            killed = tempfile.mkdtemp(prefix="tollgate-state.")
            self.addCleanup(shutil.rmtree, killed, True)
            for name in os.listdir(folder):
                if not name.endswith("-shm"):
                    shutil.copy(os.path.join(folder, name), killed)
            db.close()
            self.assertGreater(os.path.getsize(os.path.join(killed, "tollgate.db-wal")), 0)
            gate = self.start(self.config(killed))
            for name, status in (("plain", 401), ("claims", 200)):
                field = ("Authorization", "Bearer " + self.tokens[name])
                self.assertEqual(ask(gate.port, fields=[field]).status, status)

    def test_many_at_once(self):
        """Commands and a service that all find it old."""
        for release in RELEASES:
            folder = self.state(release)
            path = self.written(folder)
            commands = (("token", "list"), ("token", "list", "--kind", "api-user"), ("audit",))
            done = parallel(6, lambda i: run(*commands[i % 3], "-c", path))
            self.assertEqual([code for code, _, _ in done], [0] * 6, done)
            self.good(self.start(self.config(folder)))


class Interrupted(State):
    def test_killed_while_it_opens_the_old_one(self):
        rng = random.Random(7)
        folder = self.state(RELEASES[0])
        seen = set()
        for turn in range(20):
            if len(seen) == len(PARTS) or turn % 4 == 0:
                folder = self.state(RELEASES[0])
            path = self.written(folder)
            p = subprocess.Popen(command("run", "-c", path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 stdin=subprocess.DEVNULL, env=environment())  # fmt: skip
            wait_until(lambda: len(os.listdir(folder)) > 5, 0.2, 0.001)
            time.sleep(rng.uniform(0, 0.04))
            p.send_signal(signal.SIGKILL)
            p.wait()
            parts = dict(self.rows(folder, "SELECT name, version FROM parts"))
            seen = set(parts)
            self.assertEqual(parts["personal access tokens"], 1)
            self.assertEqual(self.rows(folder, "PRAGMA integrity_check"), [("ok",)])
        gate = self.start(self.config(folder))
        self.good(gate)

    def test_some_parts_there_and_others_not(self):
        """As a kill between two of them leaves it."""
        whole = self.state(RELEASES[0])
        Tollgate(self.config(whole)).stop()
        self.assertEqual(sorted(n for n, in self.rows(whole, "SELECT name FROM parts")), sorted(PARTS))
        for kind, args in (("users", ("token", "list", "--kind", "api-user")), ("audit", ("audit",))):
            folder = self.state(RELEASES[0])
            path = self.written(folder)
            self.assertEqual(run(*args, "-c", path)[0], 0, kind)
            self.assertLess(len(self.rows(folder, "SELECT name FROM parts")), len(PARTS))
            with Tollgate(self.config(folder)) as gate:
                self.good(gate)
            self.assertEqual(len(self.rows(folder, "SELECT name FROM parts")), len(PARTS))


class Newer(State):
    def refused(self, folder, args, part):
        path = self.written(folder)
        code, out, err = run(*args, "-c", path)
        self.assertEqual(out, "", (part, args))
        self.assertIn(NEWER, err, (part, args))
        self.assertIn(os.path.join(folder, "tollgate.db"), err)
        self.assertEqual(code, 1, (part, args, err))
        return err

    def test_each_part(self):
        whole = self.state(RELEASES[0])
        Tollgate(self.config(whole)).stop()
        known = dict(self.rows(whole, "SELECT name, version FROM parts"))
        self.assertEqual(set(known), set(PARTS))
        for part, version in known.items():
            folder = tempfile.mkdtemp(prefix="tollgate-state.")
            self.addCleanup(shutil.rmtree, folder, True)
            shutil.copy(os.path.join(whole, "tollgate.db"), folder)
            self.sql(folder, "UPDATE parts SET version = %d WHERE name = '%s'" % (version + 1, part))
            before = self.rows(folder, "SELECT name, version FROM parts")
            commands = [("run",)]
            commands += [("token", "list"), ("token", "create", "--name", "x")] if part == PARTS[0] else []
            commands += [("token", "list", "--kind", "api-user")] if part == "API users" else []
            commands += [("audit",)] if part == "audit log" else []
            for args in commands:
                err = self.refused(folder, args, part)
                said = "(%s are at version %d, known here: %d); use that one" % (part, version + 1, version)
                self.assertIn(said, err)
            self.assertEqual(self.rows(folder, "SELECT name, version FROM parts"), before)

    def test_another_layout(self):
        folder = self.state(RELEASES[0])
        self.sql(folder, "PRAGMA user_version = 2")
        for args in (("run",), ("token", "list"), ("token", "list", "--kind", "api-user"), ("audit",)):
            self.refused(folder, args, "layout")

    def test_a_part_that_this_one_has_not(self):
        """A newer release may keep more; that is none of this one's business."""
        folder = self.state(RELEASES[0])
        self.sql(folder, "INSERT INTO parts VALUES ('things to come', 4); CREATE TABLE things (a TEXT) STRICT")
        self.good(self.start(self.config(folder)))
        self.assertIn(("things to come", 4), self.rows(folder, "SELECT name, version FROM parts"))


if __name__ == "__main__":
    main()
