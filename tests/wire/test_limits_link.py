"""The link to a real redis-server: passwords, rights, names there, permits that come back, and a reload."""

import os
import signal
import time

from harness import PATIENCE, ask, bearer, main, run, value, wait_until
from load import Clients
from redis_server import need
from stored import Stored, octets


def setUpModule():
    need()


# ---- permits that nobody uses ---------------------------------------------------------------------------------------
class GivenBack(Stored):
    def test_idle(self):
        """What a sidecar leased and does not use goes back: another one can give out all the rest."""
        r = self.redis()
        a, b = self.sidecar(r, 100), self.sidecar(r, 100)
        self.room()
        me = bearer(sub="idle")
        self.assertEqual(self.admitted(a, me, 3), 3)
        leased = a.metric("tollgate_ratelimit_permits_total", kind="leased")
        self.assertGreater(leased, 3)
        given = lambda: a.metric("tollgate_ratelimit_permits_total", kind="returned") == leased - 3  # noqa: E731
        self.assertTrue(wait_until(given, 2, 0.05))
        self.assertEqual(self.admitted(b, me, 200), 97)

    def test_at_the_end(self):
        """SIGTERM: the permits of the process go back at once."""
        r = self.redis()
        a, b = self.sidecar(r, 100), self.sidecar(r, 100)
        self.room()
        me = bearer(sub="leaver")
        self.assertEqual(self.admitted(a, me, 3), 3)
        a.proc.send_signal(signal.SIGTERM)
        self.assertEqual(a.proc.wait(10 * PATIENCE), 0)
        self.assertEqual(self.admitted(b, me, 200), 97)

    def test_asked_again_when_others_gave_back(self):
        """A caller that was refused here gets what became free elsewhere, in the same window."""
        r = self.redis()
        a, b = self.sidecar(r, 20), self.sidecar(r, 20)
        self.room(10, 5)
        me = bearer(sub="patient")
        self.assertEqual(self.admitted(a, me, 1), 1)
        got = self.admitted(b, me, 30)
        self.assertLess(got, 19)
        self.assertTrue(wait_until(lambda: ask(b.port, "GET", "/", [me]).status == 200, 6, 0.1))


# ---- the link -------------------------------------------------------------------------------------------------------
class Linked(Stored):
    PASSWORD = "p%3Fss/w:rd@1"

    def counted_in(self, r, gate, database=0):
        """A request passes, and its counter is there."""
        m = ask(gate.port, "GET", "/", [bearer()])
        self.assertStatus(m, 200)
        self.assertEqual(len(self.counters(r, database)), 1, "not counted in the store")
        return m

    def counters(self, r, database=0):
        """{name: time to live}; without what a link writes to see whether it may."""
        return {name: ttl for name, ttl in r.names(database).items() if not name.endswith(b":probe")}

    def said(self, gate):
        """All that the process wrote."""
        text = gate.stderr()
        for name in (gate.access, os.path.join(gate.dir, "stdout")):
            if os.path.exists(name):
                with open(name, encoding="utf-8") as f:
                    text += f.read()
        return text

    def test_password(self):
        """In the URL with escapes, by a setting, by a file; never in a log."""
        word = "s3cret/of:the@store"
        r = self.redis(password=word)
        escaped = "s3cret%2Fof%3Athe%40store"
        in_url = r.url(None, escaped)
        for store, how in ((in_url, {}), (r, {"store_password": word}), (r, {"store_password_file": "word"})):
            with self.subTest(how):
                r.wipe()
                cfg = self.configuration(store, log=True, **how)
                gate = self.start(cfg, files={"word": word + "\n"})
                self.assertTrue(wait_until(lambda: self.up_of(gate), 5), gate.stderr())
                self.counted_in(r, gate)
                code, out, err = run("check", "--print-config", "-c", gate.config_path)
                self.assertEqual(code, 0, err)
                for text in (self.said(gate), out + err, gate.metrics()):
                    self.assertNotIn(word, text)
                    self.assertNotIn(escaped, text)

    def test_wrong_password(self):
        """A store that does not let us in is a store that is away; the log says so once, without the password."""
        r = self.redis(password="right")
        for mode, status in (("local", 200), ("deny", 503)):
            with self.subTest(mode):
                gate = self.sidecar(r, log=True, away=True, store_password="wrong-word", when_store_fails=mode)
                for _ in range(5):
                    self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), status)
                self.assertTrue(wait_until(lambda: "WRONGPASS" in gate.stderr(), 5), gate.stderr())
                self.assertNotIn("wrong-word", self.said(gate))
                self.assertLessEqual(gate.stderr().count("WRONGPASS"), 4)

    def test_user_with_the_least_permissions(self):
        """The line of docs/limits.md is enough."""
        page = open(os.path.join(os.path.dirname(__file__), "..", "..", "docs", "limits.md"), encoding="utf-8").read()
        line = next(x for x in page.splitlines() if x.strip().startswith("ACL SETUSER tollgate"))
        words = line.split()[2:]
        self.assertIn(">PASSWORD", words)
        r = self.redis(lines=[])
        r.ask("ACL", "SETUSER", *[w.replace("PASSWORD", "pw") for w in words])
        r.ask("ACL", "SETUSER", "default", "-evalsha", "-eval")
        gate = self.sidecar(r.url("tollgate", "pw"))
        self.counted_in(r, gate)
        self.assertEqual(r.ask("ACL", "LOG"), [])

    def test_database(self):
        r = self.redis()
        gate = self.sidecar(r.url(database=3))
        self.counted_in(r, gate, 3)
        self.assertEqual(r.names(0), {})

    def test_unix_socket(self):
        r = self.redis(unix=True)
        gate = self.sidecar(r.url(database=2))
        self.counted_in(r, gate, 2)

    def test_names(self):
        """Prefix, no identity in clear in names or values, and an end for each."""
        r = self.redis()
        gate = self.sidecar(r, store_prefix="edge-7")
        who = {"sub": "somebody-special", "email": "somebody@example.com"}
        for claims in (who, dict(who, sub="other-body")):
            self.assertStatus(ask(gate.port, "GET", "/", [bearer(**claims)]), 200)
        ask(gate.port, "GET", "/")
        names = r.names()
        self.assertEqual(len(self.counters(r)), 3)
        for name, ttl in names.items():
            self.assertRegex(name.decode(), r"^edge-7:([A-Za-z0-9_-]{22}|probe)$")
            self.assertTrue(0 < ttl <= 125000, ttl)
        held = repr([r.ask("HGETALL", n) for n in names]) + repr(names)
        for word in ("somebody", "other-body", "issuer.test", "127.0.0.1", "authenticated", "example.com"):
            self.assertNotIn(word, held)

    def test_secret_decides_the_names(self):
        """The same secret: one count for all; another: none of the others' names can be told from its own."""
        r = self.redis()
        one, two, other = self.sidecar(r), self.sidecar(r), self.sidecar(r, store_secret="different")
        self.counted_in(r, one)
        self.counted_in(r, two)
        ask(other.port, "GET", "/", [bearer()])
        self.assertEqual(len(self.counters(r)), 2)

    def test_told_in_log_and_metrics(self):
        r = self.redis()
        gate = self.sidecar(r, 1000, log=True)
        for _ in range(3):
            self.assertStatus(ask(gate.port, "GET", "/told", [bearer()]), 200)
        line = gate.log("/told", 3)[-1]
        self.assertEqual((line["counter"], line["limit"], line["remaining"]), ("redis", 1000, 997))
        self.assertEqual(gate.metric("tollgate_ratelimit_requests_total", result="admitted"), 3)
        leased = gate.metric("tollgate_ratelimit_permits_total", kind="leased")
        self.assertGreaterEqual(leased, 3)
        self.assertEqual(gate.metric("tollgate_ratelimit_permits_total", kind="used"), 3)
        self.assertEqual(gate.metric("tollgate_ratelimit_local_total"), 0)
        r.kill()
        self.assertTrue(wait_until(lambda: "tollgate_ratelimit_store_up 0" in gate.metrics(), 5))
        for i in range(int(leased)):
            ask(gate.port, "GET", "/alone", [bearer()])
        self.assertEqual(gate.log("/alone", int(leased))[-1]["counter"], "local")
        self.assertGreater(gate.metric("tollgate_ratelimit_local_total"), 0)


class Reloaded(Stored):
    def test_another_store(self):
        """The file names another store: it counts there from now on, and nobody notices."""
        one, two = self.redis(), self.redis()
        gate = self.sidecar(one, 100000, "1m")
        with Clients([(gate.port, octets(bearer(sub="steady")))] * 2, rate=200) as load:
            time.sleep(0.5)
            gate.configure(self.configuration(two, 100000, "1m"))
            gate.reload()
            self.assertTrue(wait_until(lambda: two.commands()[0] > 1, 5, 0.05))
            self.wait_back([gate])
            time.sleep(0.3)
            before = one.commands()[0]
            time.sleep(0.5)
            self.assertEqual(one.commands()[0], before)
            gate.configure(self.configuration("memory", 100000, "1m"))
            gate.reload()
            time.sleep(0.7)
            before = two.commands()[0]
            time.sleep(0.5)
            self.assertEqual(two.commands()[0], before)
        self.assertEqual(load.errors, [])
        self.assertEqual({a.status for a in load.answers}, {200})
        self.assertEqual(one.ask("CLIENT", "LIST").count(b"\n"), 1)
        self.assertEqual(two.ask("CLIENT", "LIST").count(b"\n"), 1)

    def granted(self, *stores):
        """All that is counted in them, permits that nobody used included."""
        total = 0
        for r in stores:
            total += sum(int(r.ask("HGET", n, "g") or 0) for n in r.names() if not n.endswith(b":probe"))
        return total

    def test_to_and_fro_under_load(self):
        """From one store to the other and to memory, while callers wait: each permit is used or goes back."""
        one, two = self.redis(), self.redis()
        self.room(60, 12)
        gate = self.sidecar(one, 100000, "1m")
        with Clients([(gate.port, octets(bearer(sub="s%d" % i))) for i in range(12)], rate=60) as load:
            for i in range(15):
                gate.configure(self.configuration((two, "memory", one)[i % 3], 100000, "1m"))
                gate.reload()
                time.sleep(0.2)
        self.assertEqual(load.errors, [])
        self.assertEqual({a.status for a in load.answers}, {200})
        gate.proc.send_signal(signal.SIGTERM)
        self.assertEqual(gate.proc.wait(10 * PATIENCE), 0)
        granted = self.granted(one, two)
        self.assertGreater(granted, len(load.answers) / 3)
        self.assertLessEqual(granted, len(load.answers))

    def test_end_under_load(self):
        """SIGTERM while requests come: what was leased and not used is not counted."""
        r = self.redis()
        self.room(60, 10)
        gate = self.sidecar(r, 1000000, "1m")
        with Clients([(gate.port, octets(bearer(sub="e%d" % (i % 4)))) for i in range(8)]) as load:
            time.sleep(1.5)
            gate.proc.send_signal(signal.SIGTERM)
            self.assertEqual(gate.proc.wait(10 * PATIENCE), 0)
        passed = sum(1 for a in load.answers if a.status == 200)
        self.assertGreater(passed, 500)
        self.assertAlmostEqual(self.granted(r), passed, delta=8)

    def again(self, gate, r, files=None, **changes):
        for name, text in (files or {}).items():
            with open(os.path.join(gate.dir, name), "w", encoding="utf-8") as f:
                f.write(text)
        loaded = gate.stderr().count('"reloaded"')
        gate.configure(self.configuration(r, **changes))
        gate.reload()
        self.assertTrue(wait_until(lambda: gate.stderr().count('"reloaded"') > loaded, 5), gate.stderr()[-500:])
        self.wait_back([gate])

    def test_another_name(self):
        """Prefix and secret, also one in a file: the counters go by the new names from the next request on."""
        r = self.redis()
        gate = self.sidecar(r)
        named = {"store_secret": None, "store_secret_file": "secret"}
        seen = set()
        for n, (files, changes) in enumerate((
            ({}, {}), ({}, {"store_prefix": "other"}), ({}, {"store_secret": "another-secret-of-these"}),
            ({"secret": "one-secret-in-a-file"}, named), ({"secret": "two-secret-in-a-file"}, named),
        )):
            self.again(gate, r, files, **changes)
            self.assertStatus(ask(gate.port, "GET", "/", [bearer(sub="renamed")]), 200)
            now = {name for name in r.names() if not name.endswith(b":probe")}
            self.assertEqual(len(now - seen), 1, (n, changes))
            seen |= now
        self.assertNotIn("secret-in-a-file", gate.stderr())

    def test_what_holds_while_it_is_away(self):
        """when_store_fails: the next request meets the new one."""
        r = self.redis()
        gate = self.sidecar(r, 1)
        self.assertStatus(ask(gate.port, "GET", "/", [bearer(sub="spent")]), 200)
        r.kill()
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_ratelimit_store_up") == 0, 5))
        self.assertStatus(ask(gate.port, "GET", "/", [bearer(sub="local")]), 200)
        for how, want in (("deny", 503), ("local", 200), ("deny", 503)):
            loaded = gate.stderr().count('"reloaded"')
            gate.configure(self.configuration(r, 1, when_store_fails=how))
            gate.reload()
            self.assertTrue(wait_until(lambda: gate.stderr().count('"reloaded"') > loaded, 5))
            self.assertStatus(ask(gate.port, "GET", "/", [bearer(sub="while-" + how + str(loaded))]), want, how)

    def test_the_same_store_keeps_its_permits(self):
        r = self.redis()
        gate = self.sidecar(r, 1000)
        self.room()
        self.assertEqual(self.admitted(gate, bearer(), 3), 3)
        before = r.ask("INFO", "stats").decode()
        connected = [x for x in before.splitlines() if x.startswith("total_connections_received")]
        gate.configure(self.configuration(r, 999))
        gate.reload()
        m = wait_until(
            lambda: [m for m in [ask(gate.port, "GET", "/", [bearer()])] if value(m, "X-RateLimit-Limit") == "999"], 5
        )
        self.assertStatus(m[0], 200)
        self.assertLess(int(value(m[0], "X-RateLimit-Remaining")), 996)
        after = r.ask("INFO", "stats").decode()
        now = [x for x in after.splitlines() if x.startswith("total_connections_received")]
        self.assertLessEqual(int(now[0].split(":")[1]) - int(connected[0].split(":")[1]), 1)


if __name__ == "__main__":
    main()
