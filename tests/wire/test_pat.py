"""Personal access tokens: made and revoked beside a running process, which obeys from the next request on.

What happens to the files (deleted, cut, damaged, full, of another owner, killed writers) ends in words and never in a
token that is taken though it was revoked.
"""

import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

from harness import KIND, SLOW, Case, Client, Tollgate, ask, command, config, environment, main, members, parallel, run
from harness import request, value, wait_until

NOBODY = 65534
BARE = 'Bearer realm="tollgate"'
INVALID = BARE + ', error="invalid_token"'
CONNECTIONS = 12  # with two workers: one of them without any is less likely than a broken machine
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def with_token(token):
    return [("Authorization", "Bearer " + token)]


class PatCase(Case):
    def serve(self, routes=None, start=True, **changes):
        """A tollgate with two workers and a state_dir; `start` false: its configuration alone."""
        cfg = config(
            routes or [members(self.up)],
            **{"state_dir": "state", "personal_access_tokens": {"enabled": True}, **changes},
        )
        if start:
            return self.start(cfg, files={"state/.keep": ""})
        folder = tempfile.TemporaryDirectory(prefix="tollgate-pat.")
        self.addCleanup(folder.cleanup)
        os.mkdir(os.path.join(folder.name, "state"))
        path = os.path.join(folder.name, "tollgate.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(cfg, f)
        return path

    def beside(self, path):
        """The configuration, for a process whose state_dir stays when it has ended."""
        with open(path, encoding="utf-8") as f:
            return dict(json.load(f), state_dir=os.path.join(os.path.dirname(path), "state"))

    def make(self, where, name, *args):
        """(token, id) of a new one."""
        path = where if isinstance(where, str) else where.config_path
        code, out, err = run("token", "create", "--name", name, *args, "-c", path)
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"\Atgp_[\w-]{43}[0-9A-Za-z]{6}\n\Z")
        m = re.search(r"\Atoken (%s) (never expires|expires \S+Z); it is not shown again$" % UUID, err, re.M)
        self.assertTrue(m, err)
        return out.strip(), m[1]

    def revoke(self, where, name):
        path = where if isinstance(where, str) else where.config_path
        code, out, err = run("token", "revoke", name, "-c", path)
        self.assertEqual((code, out), (0, ""), err)
        return err

    def list(self, where, *args):
        path = where if isinstance(where, str) else where.config_path
        code, out, err = run("token", "list", "--json", *args, "-c", path)
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def status(self, gate, token, target="/"):
        with Client(gate.port) as c:
            return c.request(target=target, fields=with_token(token)).response().status

    def open_connections(self, gate, token, count=CONNECTIONS):
        """Kept alive, each having had a 200 with the token."""
        clients = []
        for _ in range(count):
            clients.append(Client(gate.port))
            self.addCleanup(clients[-1].close)
            self.assertStatus(clients[-1].request(fields=with_token(token)).response(), 200)
        return clients


class Lives(PatCase):
    def test_from_the_next_request_on(self):
        """Made: known at once. Revoked: refused at once, on every worker, on connections that are open."""
        gate = self.serve()
        first, _ = self.make(gate, "first")
        clients = self.open_connections(gate, first)
        for turn in range(3):
            token, name = self.make(gate, "turn %d" % turn)
            for c in clients:
                self.assertStatus(c.request(fields=with_token(token)).response(), 200)
            for c in clients:  # from the cache of verified tokens, too
                self.assertStatus(c.request(fields=with_token(token)).response(), 200)
            self.assertEqual(self.revoke(gate, name), "token %s (turn %d) is revoked\n" % (name, turn))
            for c in clients:
                c.request(fields=with_token(token))
            for c in clients:
                m = c.response()
                self.assertProblem(m, 401, "unauthorized")
                self.assertEqual(value(m, "WWW-Authenticate").split(", error_description")[0], INVALID)
                self.assertStatus(c.request(fields=with_token(first)).response(), 200)  # the others go on
        lines = [x for x in gate.log(count=10) if x["status"] == 401]
        self.assertEqual({x["token_refused"] for x in lines}, {"pat-unknown"})

    def test_pipelined(self):
        """Requests that were sent before it was revoked, and have not had their turn, are refused."""
        gate = self.serve()
        held, release = threading.Event(), threading.Event()

        def slow(c, r):
            held.set()
            release.wait(20)
            c.answer(200, [("Content-Type", "text/plain")], b"slow")

        self.up.on("/slow", slow)
        token, name = self.make(gate, "pipelined")
        clients = self.open_connections(gate, token, 4)
        for c in clients:
            c.send(request(target="/slow", fields=with_token(token)) + 3 * request(fields=with_token(token)))
        self.assertTrue(held.wait(10))
        time.sleep(0.2)
        self.revoke(gate, name)
        release.set()
        for c in clients:
            self.assertEqual([c.response().status for _ in range(4)], [200, 401, 401, 401])

    def test_busy(self):
        """While both workers have all they can do."""
        gate = self.serve()
        busy, _ = self.make(gate, "busy")
        end, answers = threading.Event(), []

        def load(_):
            with Client(gate.port) as c:
                while not end.is_set():
                    c.send(20 * request(fields=with_token(busy)))
                    answers.extend(c.response().status for _ in range(20))

        threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        try:
            for turn in range(5):
                token, name = self.make(gate, "turn %d" % turn)
                clients = self.open_connections(gate, token, 6)
                self.revoke(gate, name)
                for c in clients:
                    self.assertStatus(c.request(fields=with_token(token)).response(), 401)
        finally:
            end.set()
            for t in threads:
                t.join()
        self.assertEqual(set(answers), {200})

    def test_what_policies_and_services_see(self):
        policy = {"allow": {"and": [{"email": {"is": "ci@example.com"}}, {"groups": {"has": "deployers"}}]}}
        routes = [
            {"name": "deploy", "prefix": "/deploy", "to": self.up.url, "policy": policy},
            {"name": "others", "prefix": "/others", "to": self.up.url, "allow_any_authenticated_user": True,
             "identity_providers": ["test"]},
            members(self.up, identity_providers=["personal_access_tokens"]),
        ]  # fmt: skip
        headers = {"X-Email": "email", "X-Sub": "sub", "X-Plan": "plan.name", "X-Iss": "iss", "X-Jti": "jti"}
        gate = self.serve(routes, pass_identity_headers=True, jwt_claims_headers=headers)
        token, name = self.make(
            gate, "ci", "--email", "ci@example.com", "--groups", "deployers, staff", "--claim", 'plan:={"name":"x"}'
        )
        self.assertEqual(self.status(gate, token, "/deploy"), 200)
        self.assertEqual(self.status(gate, token, "/others"), 401)  # names other providers
        self.assertEqual(self.status(gate, token, "/own"), 200)
        seen = self.up.wait("/own")[0]
        self.assertEqual(
            [seen.one(h) for h in headers], ["ci@example.com", "pat:" + name, "x", "urn:tollgate:pat", name]
        )
        other, _ = self.make(gate, "other", "--claim", "sub=someone")
        self.assertEqual(self.status(gate, other, "/deploy"), 403)
        self.assertEqual(gate.log("/deploy", 2)[1]["sub"], "someone")
        self.assertEqual({x["name"]: x["sub"] for x in self.list(gate)}, {"ci": "pat:" + name, "other": "someone"})

    def test_forms(self):
        """What has the prefix and is none is refused without a look at the store."""
        gate = self.serve()
        token, _ = self.make(gate, "form")
        for bad in (token[:-1], token + "x", token[:-1] + ("a" if token[-1] != "a" else "b"), token.upper(), "tgp_"):
            self.assertEqual(self.status(gate, bad), 401)
        self.assertEqual(self.status(gate, token), 200)
        reasons = [x.get("token_refused") for x in gate.log(count=6)]
        self.assertEqual(reasons.count("pat-malformed"), 4)

    def test_expiry(self):
        gate = self.serve()
        token, name = self.make(gate, "short", "--expires", "2s")
        (client,) = self.open_connections(gate, token, 1)
        time.sleep(2.2)
        m = client.request(fields=with_token(token)).response()
        self.assertProblem(m, 401, "unauthorized", "token expired")
        self.assertEqual(self.list(gate), [])
        self.assertEqual([(x["id"], x["state"]) for x in self.list(gate, "--all")], [(name, "expired")])
        self.make(gate, "short")  # the name is free again

    def test_last_use(self):
        gate = self.serve()
        token, _ = self.make(gate, "used")
        self.make(gate, "unused")
        before = int(time.time()) // 60 * 60
        (client,) = self.open_connections(gate, token, 1)
        for _ in range(5):
            self.assertStatus(client.request(fields=with_token(token)).response(), 200)
        wait_until(lambda: {x["name"]: x["last_used_at"] for x in self.list(gate)}["used"], 15, 0.5)
        used = {x["name"]: x["last_used_at"] for x in self.list(gate)}
        self.assertIsNone(used["unused"])
        self.assertRegex(used["used"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:00Z$")
        self.assertGreaterEqual(used["used"], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before)))

    def test_last_use_is_written_at_the_end(self):
        running = self.start(self.beside(self.serve(start=False)))
        token, _ = self.make(running, "used")
        self.assertEqual(self.status(running, token), 200)
        running.proc.send_signal(signal.SIGTERM)
        running.proc.wait(20)
        self.assertTrue(self.list(running)[0]["last_used_at"])

    def test_switched_on_by_a_reload(self):
        gate = self.serve(personal_access_tokens=None)
        code, _, err = run("token", "create", "--name", "early", "-c", gate.config_path)
        self.assertEqual(code, 78)
        self.assertIn("nobody would take the token; set personal_access_tokens: {enabled: true}", err)
        self.assertEqual(self.list(gate), [])
        gate.configure({**gate.cfg, "personal_access_tokens": {"enabled": True}})
        token, name = self.make(gate, "early")
        self.assertEqual(self.status(gate, token), 401)
        gate.reload()
        self.assertTrue(wait_until(lambda: self.status(gate, token) == 200))
        gate.reload()  # what was opened stays
        self.revoke(gate, name)
        self.assertEqual(self.status(gate, token), 401)

    def test_without_any_other_provider(self):
        gate = self.serve(identity_providers=None)
        token, _ = self.make(gate, "only")
        self.assertEqual(self.status(gate, token), 200)


class Command(PatCase):
    def test_what_it_says(self):
        path = self.serve(start=False)
        token, name = self.make(path, "one", "--expires", "none", "--claim", "a=b=c", "--claim", "n:=[1,2]")
        (row,) = self.list(path)
        self.assertEqual((row["claims"], row["expires_at"], row["state"]), ({"a": "b=c", "n": [1, 2]}, None, "live"))
        code, out, _ = run("token", "list", "-c", path)
        self.assertEqual(code, 0)
        self.assertRegex(out, r"\AID +CREATED +EXPIRES +LAST USED +NAME\n%s  \S+Z +never +never +one\n\Z" % name)
        made = self.make(path, "two")[1]
        (expires,) = [x["expires_at"] for x in self.list(path) if x["id"] == made]
        days = (time.mktime(time.strptime(expires, "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())) / 86400
        self.assertAlmostEqual(days, 90, delta=0.1)
        self.assertIn("had been revoked before", self.revoke(path, name) + self.revoke(path, name))
        self.revoke(path, made)
        self.assertEqual(run("token", "list", "-c", path),
                         (0, "", "no token is live; --all lists 2 that were revoked or have expired\n"))  # fmt: skip
        everything = run("token", "list", "--json", "--all", "-c", path)[1]
        state = os.path.join(os.path.dirname(path), "state")
        for name in os.listdir(state):
            with open(os.path.join(state, name), "rb") as f:
                everything += f.read().decode("latin-1")
        for text in (everything,):
            self.assertNotIn(token[4:20], text)
            self.assertNotIn("tgp_", text)

    def test_what_it_refuses(self):
        path = self.serve(start=False)
        self.assertEqual(run("token", "list", "-c", path), (0, "", "there are no tokens\n"))
        _, name = self.make(path, "one")
        create = ("token", "create", "--name", "two")
        for args, code, words in (
            (("token",), 2, "one of create, list and revoke is needed"),
            (("token", "lst"), 2, "did you mean list?"),
            (("token", "create"), 2, "--name is needed"),
            (("token", "create", "--name", "one", "-c", path), 1, 'a token of the name "one" is there already: '),
            (("token", "create", "--name", "", "-c", path), 1, "the name of a token is 1 to 128 characters"),
            (create + ("--expires", "soon"), 2, "--expires is a duration from now, as in 12h or 90d, or none"),
            (create + ("--expires", "-1h"), 2, "--expires is a duration"),
            (create + ("--kind", "api-user", "-c", path), 78, "nobody would take the token; set management"),
            (create + ("--role", "admin"), 2, "--role goes with --kind api-user"),
            (create + ("--kind", "x"), 2, "--kind is pat"),
            (create + ("--claim", "iss=x"), 2, "the claim iss is tollgate's to say"),
            (create + ("--claim", "cnf:={}"), 2, "the claim cnf is tollgate's to say"),
            (create + ("--claim", "x"), 2, "--claim is K=TEXT or K:=JSON"),
            (create + ("--claim", "x:={"), 2, "--claim x is no JSON"),
            (create + ("--email", "a@b", "--claim", "email=c"), 2, "the claim email is given twice"),
            (create + ("--claim", "sub:=1", "-c", path), 1, "the claim sub must be a text"),
            (("token", "revoke", "-c", path), 2, "the id of a token is needed"),
            (create + ("--claim", b"sub=\xff", "-c", path), 2, "must be UTF-8"),
            (create + ("--email", b"\xc3@b", "-c", path), 2, "must be UTF-8"),
            (create + ("--claim", b"\xff=1", "-c", path), 2, "must be UTF-8"),
            (("token", "revoke", "no-such", "-c", path), 1, 'there is no token with the id "no-such"'),
            (("token", "revoke", "one", "-c", path), 1, '"one" is the name of a token; its id is %s' % name),
            (("token", "list", "-c", path + ".not"), 78, "tollgate.json.not: cannot be opened"),
        ):
            got, out, err = run(*args)
            self.assertEqual((got, out), (code, ""), "%s: %s" % (args, err))
            self.assertIn(words, err)
        for verb in ((), ("create",), ("list",), ("revoke",)):
            code, out, err = run("token", *verb, "--help")
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(out.startswith("Usage: tollgate token" + "".join(" " + v for v in verb)), out)
        self.assertEqual(len(self.list(path)), 1)

    def test_configurations_that_will_not_do(self):
        path = self.serve(start=False, state_dir=None)
        code, out, err = run("check", "-c", path)
        self.assertEqual(code, 0)
        self.assertIn("personal_access_tokens: they are kept in state_dir, and none is set", err)
        for args in (("run",), ("token", "list"), ("token", "create", "--name", "a")):
            code, out, err = run(*args, "-c", path)
            self.assertEqual((code, out), (77, ""), err)
            self.assertIn("kept in state_dir, and none is set", err)
        path = self.serve(start=False, state_dir="nowhere")
        for args in (("run",), ("token", "list")):
            code, out, err = run(*args, "-c", path)
            self.assertEqual((code, out), (77, ""), err)
            self.assertIn("nowhere: there is no such folder; it holds the personal access tokens", err)
        path = self.serve([members(self.up, identity_providers=["personal_access_tokens"])], start=False,
                          personal_access_tokens={"enabled": False})  # fmt: skip
        code, out, err = run("check", "-c", path)
        self.assertEqual(code, 78)
        self.assertIn("personal_access_tokens are off; set personal_access_tokens: {enabled: true}", err)
        path = self.serve(start=False, identity_providers={"personal_access_tokens": {"issuer": "https://x.test"}})
        self.assertIn("means tollgate's own tokens; name this one otherwise", run("check", "-c", path)[2])

    def test_revoking_needs_no_sound_configuration(self):
        path = self.serve(start=False)
        _, name = self.make(path, "one")
        with open(path, encoding="utf-8") as f:
            cfg = json.load(f)
        cfg["routes"] = [{"form": "a typing error"}]
        with open(path, "w", encoding="utf-8") as f:
            json.dump(cfg, f)
        self.assertEqual(run("check", "-c", path)[0], 78)
        self.revoke(path, name)
        self.assertEqual(self.list(path), [])

    def test_a_token_that_cannot_be_printed_is_taken_back(self):
        path = self.serve(start=False)
        with open("/dev/full", "w", encoding="utf-8") as full:
            p = subprocess.run(
                command("token", "create", "--name", "lost", "-c", path),
                stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60)  # fmt: skip
        self.assertEqual(p.returncode, 1)
        self.assertIn("cannot write to standard output", p.stderr)
        self.assertEqual(self.list(path), [])

    def test_many_at_once(self):
        """Eight commands begin with nothing there, beside a process that serves."""
        gate = self.serve()
        made = parallel(8, lambda i: [self.make(gate, "%d of %d" % (n, i)) for n in range(4)])
        tokens = [token for some in made for token, _ in some]
        self.assertEqual(len(set(tokens)), 32)
        for token in tokens:
            self.assertEqual(self.status(gate, token), 200)
        same = parallel(8, lambda i: run("token", "create", "--name", "same", "-c", gate.config_path)[0])
        self.assertEqual(sorted(same), [0] + 7 * [1])
        parallel(8, lambda i: [self.revoke(gate, name) for _, name in made[i]])
        for token in tokens:
            self.assertEqual(self.status(gate, token), 401)
        fresh = self.serve(start=False)
        parallel(8, lambda i: self.make(fresh, "first %d" % i))
        self.assertEqual(len(self.list(fresh)), 8)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_root_takes_on_the_owner(self):
        path = self.serve(start=False)
        state = os.path.join(os.path.dirname(path), "state")
        os.chmod(os.path.dirname(path), 0o755)
        os.chown(state, NOBODY, NOBODY)
        self.make(path, "one")
        for f in ("tollgate.db", "generation"):
            st = os.stat(os.path.join(state, f))
            self.assertEqual((st.st_uid, st.st_gid, st.st_mode & 0o777), (NOBODY, NOBODY, 0o600))
        os.unlink(os.path.join(state, "generation"))
        victim = os.path.join(os.path.dirname(path), "victim")  # root's, in root's folder
        open(victim, "w").close()
        os.symlink(victim, os.path.join(state, "generation"))
        code, _, err = run("token", "create", "--name", "two", "-c", path)
        self.assertEqual(code, 1, err)
        self.assertEqual(os.path.getsize(victim), 0)
        os.unlink(os.path.join(state, "generation"))
        os.chmod(state, 0o500)
        os.unlink(os.path.join(state, "tollgate.db"))
        for args in (("token", "create", "--name", "three"), ("token", "list")):
            code, _, err = run(*args, "-c", path)
            self.assertEqual(code, 77, err)
            self.assertIn("state: cannot be written", err)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_root_beside_a_volume_of_a_group(self):
        """The folder is root's, as with fsGroup; what root makes in it is still the serving process's to use."""
        path = self.serve(start=False)
        folder = os.path.dirname(path)
        state = os.path.join(folder, "state")
        os.chmod(folder, 0o755)
        os.chown(state, 0, NOBODY)
        os.chmod(state, 0o770)
        self.make(path, "roots")  # nobody serves yet: root's, and whoever cannot open it is told so
        os.chmod(path, 0o644)
        as_nobody = dict(user=NOBODY, group=NOBODY + 1, extra_groups=[NOBODY], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env=environment(), timeout=60)  # fmt: skip
        p = subprocess.run(command("run", "-c", path), **as_nobody)
        self.assertEqual(p.returncode, 77, p.stderr)
        self.assertIn("Permission denied; it belongs to the user with the id 0", p.stderr)
        for f in os.listdir(state):
            os.unlink(os.path.join(state, f))
        p = subprocess.run(command("token", "create", "--name", "theirs", "-c", path), **as_nobody)
        self.assertEqual(p.returncode, 0, p.stderr)
        os.unlink(os.path.join(state, "generation"))
        _, name = self.make(path, "by root")
        self.revoke(path, name)
        for f in os.listdir(state):
            self.assertEqual(os.stat(os.path.join(state, f)).st_uid, NOBODY, f)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_others_may_not(self):
        path = self.serve(start=False)
        folder = os.path.dirname(path)
        os.chmod(folder, 0o755)
        os.chmod(path, 0o644)
        self.make(path, "one")
        p = subprocess.run(command("token", "list", "-c", path), user=NOBODY, group=NOBODY, extra_groups=[],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
                           timeout=60)  # fmt: skip
        self.assertEqual((p.returncode, p.stdout), (77, ""), p.stderr)
        self.assertIn("state: cannot be written (Permission denied)", p.stderr)
        self.assertIn("It belongs to the user with the id 0: run this as that user, or as root", p.stderr)


class Trouble(PatCase):
    def ready(self, gate):
        return ask(gate.health, target="/readyz?verbose").body.decode()

    def refused(self, gate, token, status, limit=6):
        self.assertTrue(wait_until(lambda: self.status(gate, token) == status, limit, 0.05), gate.stderr())

    def test_killed_at_any_moment(self):
        """Commands killed while they work: the store is sound, and what it says is what the process does."""
        gate = self.serve()
        dice = random.Random(7)
        begun = time.monotonic()
        token, name = self.make(gate, "whole")
        whole = time.monotonic() - begun
        live = {name: token}
        for turn in range(10 if SLOW else 24):
            args = ("create", "--name", "n%d" % turn)
            if turn % 2 and len(live) > 1:
                args = ("revoke", dice.choice(sorted(live)))
            p = subprocess.Popen(command("token", *args, "-c", gate.config_path), stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, env=environment(), text=True)  # fmt: skip
            time.sleep(dice.random() * 1.3 * whole)
            p.kill()
            out = p.communicate()[0]
            rows = {x["id"]: x for x in self.list(gate)}
            named = {x["name"]: x["id"] for x in rows.values()}
            if out.strip():
                live[named["n%d" % turn]] = out.strip()
            for name in [x for x in live if x not in rows]:
                self.refused(gate, live.pop(name), 401, 3)  # killed, perhaps before it could say so: within a second
        self.assertTrue(live)
        for token in live.values():
            self.assertEqual(self.status(gate, token), 200)
        with sqlite3.connect(os.path.join(gate.dir, "state", "tollgate.db")) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    def test_the_process_is_killed(self):
        path = self.serve(start=False)
        running = Tollgate(self.beside(path))
        kept, _ = self.make(running, "kept")
        lost, name = self.make(running, "lost")
        self.assertEqual((self.status(running, kept), self.status(running, lost)), (200, 200))
        self.revoke(running, name)
        running.proc.kill()
        running.proc.wait()
        later, _ = self.make(path, "later")  # with nobody there
        running.stop(expect=-signal.SIGKILL)
        again = self.start(self.beside(path))
        self.assertEqual([self.status(again, t) for t in (kept, lost, later)], [200, 401, 200])

    def test_two_processes(self):
        gate = self.serve()
        cfg = dict(gate.cfg, state_dir=os.path.join(gate.dir, "state"))
        for member in ("address", "health_address", "access_log"):
            cfg.pop(member)
        other = self.start(cfg)
        token, name = self.make(gate, "both")
        clients = self.open_connections(gate, token, 3) + self.open_connections(other, token, 3)
        self.revoke(gate, name)
        for c in clients:
            self.assertStatus(c.request(fields=with_token(token)).response(), 401)

    def test_the_database_goes_away(self):
        gate = self.serve()
        token, _ = self.make(gate, "one")
        (client,) = self.open_connections(gate, token, 1)
        state = os.path.join(gate.dir, "state")
        names = [f for f in os.listdir(state) if f.startswith("tollgate.db")]
        os.mkdir(os.path.join(gate.dir, "aside"))
        for f in names:
            os.rename(os.path.join(state, f), os.path.join(gate.dir, "aside", f))
        self.refused(gate, token, 503)
        m = client.request(fields=with_token(token)).response()
        self.assertStatus(m, 503)
        self.assertTrue(value(m, "Retry-After"))
        self.assertIn("tollgate.db: was deleted", gate.stderr())
        self.assertEqual(gate.metric("tollgate_pat_store_readable"), 0)
        self.assertRegex(self.ready(gate), r"\npersonal access tokens: 1; refused, for .*tollgate.db: was deleted\n")
        for f in names:
            os.rename(os.path.join(gate.dir, "aside", f), os.path.join(state, f))
        self.refused(gate, token, 200)
        self.assertIn("personal access tokens are known again", gate.stderr())
        self.assertEqual(gate.metric("tollgate_pat_store_readable"), 1)
        self.assertEqual(gate.metric("tollgate_pats"), 1)
        self.assertIn("\npersonal access tokens: 1\n", self.ready(gate))

    def test_what_sqlite_maps_is_cut(self):
        """As when a copy of state_dir is put back over the files in use: nobody dies, and tokens are obeyed."""
        gate = self.serve()
        mapped = os.path.join(gate.dir, "state", "tollgate.db-shm")
        for size in (0, 1, 0):
            token, name = self.make(gate, "cut to %d" % size)
            clients = self.open_connections(gate, token, 4)
            os.truncate(mapped, size)
            self.revoke(gate, name)
            for c in clients:
                self.assertStatus(c.request(fields=with_token(token)).response(), 401)
            self.assertEqual(self.list(gate), [])
            os.truncate(mapped, size)  # and when nothing is going on
            time.sleep(1.2)
        token, _ = self.make(gate, "after")
        self.assertEqual(self.status(gate, token), 200)
        self.assertIn("tollgate.db was deleted, cut or replaced", gate.stderr())
        with sqlite3.connect(os.path.join(gate.dir, "state", "tollgate.db")) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        db.close()

    def test_the_counter_goes_away(self):
        """Deleted, a command waits until the process has noticed; cut, nobody dies."""
        gate = self.serve()
        counter = os.path.join(gate.dir, "state", "generation")
        def overwrite(path):
            with open(path, "wb") as f:
                f.write(b"12345678")

        def first_another_command(path):
            os.unlink(path)
            self.list(gate)  # makes it anew, and then it is there for the other

        cut = lambda path: os.truncate(path, 0)  # noqa: E731
        for turn, harm in enumerate((os.unlink, cut, overwrite, first_another_command)):
            token, name = self.make(gate, "turn %d" % turn)
            clients = self.open_connections(gate, token, 4)
            harm(counter)
            self.revoke(gate, name)
            for c in clients:
                self.assertStatus(c.request(fields=with_token(token)).response(), 401)
        self.assertIn("state_dir/generation was deleted, cut or replaced", gate.stderr())

    def test_the_disk_is_full(self):
        gate = self.serve()
        token, name = self.make(gate, "one")
        (client,) = self.open_connections(gate, token, 1)

        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))

        for args in (("create", "--name", "two"), ("revoke", name)):
            p = subprocess.run(command("token", *args, "-c", gate.config_path), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment(), preexec_fn=limited,
                               timeout=60)  # fmt: skip
            self.assertEqual((p.returncode, p.stdout), (1, ""), p.stderr)
            self.assertIn("the disk is full, broken, or a limit on the size of files is reached", p.stderr)
        self.assertEqual([x["name"] for x in self.list(gate)], ["one"])
        self.assertStatus(client.request(fields=with_token(token)).response(), 200)
        self.revoke(gate, name)
        self.assertStatus(client.request(fields=with_token(token)).response(), 401)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_a_small_file_system(self):
        """Full while it serves: no new tokens, no times of use, and everything else as before."""
        path = self.serve(start=False)
        state = os.path.join(os.path.dirname(path), "state")
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", state]
        if not shutil.which("mount") or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no file system can be mounted here")
        try:
            gate = self.start(self.beside(path))
            token, name = self.make(gate, "one")
            with open(os.path.join(state, "ballast"), "wb", 0) as f:
                try:
                    while f.write(bytes(4096)):
                        pass
                except OSError:
                    pass
            for n in range(40):
                code, out, err = run("token", "create", "--name", "n%d" % n, "-c", gate.config_path)
                if code:
                    break
            self.assertEqual((code, out), (1, ""))
            self.assertRegex(err, "the disk is full")
            self.assertEqual(self.status(gate, token), 200)
            os.unlink(os.path.join(state, "ballast"))
            self.revoke(gate, name)
            self.assertEqual(self.status(gate, token), 401)
            gate.proc.send_signal(signal.SIGTERM)
            gate.proc.wait(20)
        finally:
            subprocess.run(["umount", "-l", state], check=True)

    def test_damaged_or_too_new(self):
        path = self.serve(start=False)
        state = os.path.join(os.path.dirname(path), "state")
        database = os.path.join(state, "tollgate.db")
        for n in range(3):
            self.make(path, "n%d" % n)
        with open(database, "rb") as f:
            sound = f.read()
        for spoil, words in (
            (lambda db: db.execute("UPDATE parts SET version = 99"), "a newer tollgate has written this database"),
            (lambda db: db.execute("PRAGMA user_version = 99"), "a newer tollgate has written this database"),
            (lambda db: db.execute("PRAGMA application_id = 99"), "this is no database of tollgate"),
        ):
            with sqlite3.connect(database) as db:
                spoil(db)
            db.close()
            self.expect_refusal(path, words)
            self.restore(database, sound)
        for at in (0, 4096 * 2):
            with open(database, "r+b") as f:
                f.seek(at)
                f.write(b"Z" * 4096)
            code, _, err = run("run", "-c", path)
            self.assertEqual(code, 1, err)
            self.assertIn("the database is damaged", err)
            self.restore(database, sound)
        self.assertEqual(len(self.list(path)), 3)

    def restore(self, database, sound):
        for end in ("-wal", "-shm"):
            if os.path.exists(database + end):
                os.unlink(database + end)
        with open(database, "wb") as f:
            f.write(sound)

    def expect_refusal(self, path, words):
        for args in (("token", "list"), ("token", "create", "--name", "x"), ("run",)):
            code, out, err = run(*args, "-c", path)
            self.assertEqual((code, out), (1, ""), err)
            self.assertIn(words, err)

    def test_a_command_that_hangs(self):
        """Stopped with the store locked: reading goes on, other commands say why they cannot."""
        gate = self.serve()
        token, _ = self.make(gate, "one")
        db = sqlite3.connect(os.path.join(gate.dir, "state", "tollgate.db"), isolation_level=None)
        self.addCleanup(db.close)
        db.execute("BEGIN IMMEDIATE")
        (client,) = self.open_connections(gate, token, 1)
        code, out, err = run("token", "create", "--name", "two", "-c", gate.config_path, timeout=30)
        self.assertEqual((code, out), (69, ""))
        self.assertIn("another process keeps the database locked", err)
        self.assertStatus(client.request(fields=with_token(token)).response(), 200)
        db.execute("ROLLBACK")
        self.make(gate, "two")

    def test_many_tokens(self):
        """100,000: how long it takes to start and to obey, and what it costs; then one is revoked."""
        path = self.serve(start=False)
        self.make(path, "warm")
        count = 5000 if SLOW else 100000
        with sqlite3.connect(os.path.join(os.path.dirname(path), "state", "tollgate.db")) as db:
            db.execute(
                "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) INSERT INTO pats "
                "(id, name, digest, sub, claims, created_s) SELECT printf('00000000-0000-4000-8000-%012d', i), "
                "'token ' || i, randomblob(32), 'subject-' || i, ?, 1 FROM c",
                (count, '{"email":"someone@example.com","groups":["staff","deployers"],"plan":"enterprise"}'),
            )
        db.close()
        begun = time.monotonic()
        gate = self.start(self.beside(path))
        started = time.monotonic() - begun
        self.assertEqual(gate.metric("tollgate_pats"), count + 1)
        peak = gate.peak_kib()
        token, name = self.make(gate, "one")
        (client,) = self.open_connections(gate, token, 1)
        self.revoke(gate, name)
        begun = time.monotonic()
        self.assertStatus(client.request(fields=with_token(token)).response(), 401)
        obeyed = time.monotonic() - begun
        print("%d tokens: started in %.2f s, %d KiB, obeyed in %.3f s" % (count, started, peak, obeyed))
        if KIND == "release":
            self.assertLess(peak, 160 * 1024)
            self.assertLess(obeyed, 1)


if __name__ == "__main__":
    main()
