"""Limits shared through a real redis-server that hangs, falls, forgets, refuses or is slow while requests come."""

import collections
import time
import unittest

from harness import SLOW, ask, bearer, free_port, main, wait_until
from load import Clients
from redis_server import Error, Redis, need
from stored import GATES, Relay, Stored, octets

TIMEOUT_S = 0.2  # store_timeout where delays are looked at: far above what a busy machine adds by itself


def setUpModule():
    need()


# ---- a store that fails under load ----------------------------------------------------------------------------------
class Fails(Stored):
    """Each way to fail, with sidecars of both kinds at one store, under one load."""

    LIMIT = 300

    def start_all(self, r):
        """{mode: its sidecars}; the two kinds do not share counters."""
        timeout = "%dms" % (TIMEOUT_S * 1000)
        return {
            mode: [
                self.sidecar(
                    r, self.LIMIT, "1s", when_store_fails=mode, store_prefix=mode, store_timeout=timeout, workers=1
                )
                for _ in range(GATES)
            ]
            for mode in ("local", "deny")
        }

    def under_load(self, gates, break_it, repair):
        """The store breaks, stays so for a while, is repaired: (load, broken at, repaired at)."""
        me = octets(bearer(sub="steady"))
        everyone = gates["local"] + gates["deny"]
        with Clients([(g.port, me) for g in everyone], rate=300) as load:
            time.sleep(1.3)
            broken = time.monotonic()
            break_it()
            time.sleep(1.3)
            repaired = time.monotonic()
            repair()
            self.wait_back(everyone)
            time.sleep(2.2)
        self.assertEqual(load.errors, [])
        return load, broken, repaired

    def no_delay(self, load, broken, repaired, gates):
        """A sidecar waits once, for store_timeout, and then not any more."""
        for gate in gates if not SLOW else []:
            during = [a for a in load.between(broken - TIMEOUT_S, repaired) if a.port == gate.port]
            slow = [(a.at - broken, a.took) for a in during if a.took > TIMEOUT_S / 2]
            self.assertLessEqual(len(slow), 1, "waited more than once: %s of %.2f" % (slow, repaired - broken))
            self.assertLess(max(a.took for a in during), TIMEOUT_S * 1.5)
            self.assertGreater(len(during), 100)

    def fails(self, break_it, repair, deny_most=1):
        """`deny_most`: at most so many times the limit in any window."""
        r = self.redis()
        gates = self.start_all(r)
        load, broken, repaired = self.under_load(gates, lambda: break_it(r), lambda: repair(r))
        for mode, most in (("local", GATES), ("deny", deny_most)):
            with self.subTest(mode):
                ports = {g.port for g in gates[mode]}
                answers = [a for a in load.answers if a.port in ports]
                statuses = collections.Counter(a.status for a in answers)
                self.assertEqual(set(statuses), {200, 429} | ({503} if mode == "deny" else set()))
                self.no_delay(load, broken, repaired, gates[mode])
                during = collections.Counter(a.status for a in answers if broken + 1 <= a.at < repaired)
                self.assertGreater(during[200 if mode == "local" else 503], 0, during)
                admitted = collections.Counter(a.reset for a in answers if a.status == 200)
                self.assertLessEqual(max(admitted.values()), most * self.LIMIT, admitted)
                self.shares_again(admitted, {a.reset for a in answers if a.at < broken})
                for gate in gates[mode]:
                    self.assertEqual(gate.stderr().count("the store of rate limits is away"), 1, gate.stderr())
                    self.assertEqual(gate.stderr().count("the store of rate limits is back"), 1, gate.stderr())

    def shares_again(self, admitted, before):
        """Before and after: never more than the limit; and at the end all of it."""
        for reset in sorted(before)[:-1] + sorted(admitted)[-2:]:
            self.assertLessEqual(admitted[reset], self.LIMIT, admitted)
        self.assertGreaterEqual(admitted[sorted(admitted)[-2]], self.LIMIT * (0.5 if SLOW else 0.95), admitted)

    def test_hangs(self):
        """SIGSTOP: the kernel takes octets, nobody answers."""
        self.fails(lambda r: r.pause(), lambda r: r.resume())

    def test_killed_and_started_again(self):
        """SIGKILL, a while without it, and then an empty one."""
        self.fails(lambda r: r.kill(), lambda r: r.start(), deny_most=2)

    def test_read_only(self):
        self.fails(lambda r: r.read_only(), lambda r: r.writable())

    def test_out_of_memory(self):
        self.fails(lambda r: r.full(), lambda r: r.writable())


class Errs(Stored):
    def test_wiped(self):
        """FLUSHALL under load: what the sidecars still know is counted again at once; no error, no wait."""
        r = self.redis()
        limit = 300
        gates = [self.sidecar(r, limit, "1s", when_store_fails="deny") for _ in range(GATES)]
        with Clients([(g.port, octets(bearer(sub="steady"))) for g in gates], rate=400) as load:
            time.sleep(1.2)
            for _ in range(6):
                r.wipe()
                time.sleep(0.37)
            time.sleep(2.2)
        self.assertEqual(load.errors, [])
        self.assertEqual({a.status for a in load.answers}, {200, 429})
        admitted = load.admitted()
        self.assertLessEqual(max(admitted.values()), 2 * limit, admitted)
        self.assertLessEqual(admitted[sorted(admitted)[-2]], limit)

    def test_hangs_before_several_workers(self):
        """One after the other, each from a connection of its own: a worker waits in vain once, whoever asked; and it
        says so, without becoming unready."""
        for mode, meanwhile in (("local", "each tollgate counts alone"), ("deny", "503")):
            with self.subTest(mode):
                r = self.redis()
                gate = self.sidecar(r, 100000, "1s", when_store_fails=mode, store_timeout="50ms", workers=2)

                def told():
                    answer = ask(gate.health, "GET", "/readyz?verbose")
                    self.assertEqual(answer.status, 200)
                    return answer.body.decode()

                self.assertIn("rate limits: %s answers\n" % r.url(), told())
                self.assertEqual(ask(gate.port, "GET", "/", [bearer(sub="steady")]).status, 200)
                before = gate.metric("tollgate_ratelimit_store_waits_total")
                r.pause()
                for _ in range(40):
                    ask(gate.port, "GET", "/", [bearer(sub="steady")])
                    time.sleep(0.04)
                # one more where what is waited for was asked by the other worker, which had no need to wait itself
                self.assertLessEqual(gate.metric("tollgate_ratelimit_store_waits_total") - before, 3)
                said = told()
                r.resume()
                for words in ("rate limits: %s is away" % r.url(), "(no answer ", meanwhile, mode):
                    self.assertIn(words, said)
                self.wait_back([gate])
                self.assertIn("rate limits: %s answers\n" % r.url(), told())

    def test_busy(self):
        """Somebody else's endless script: BUSY is an error as any other."""
        r = self.redis()
        gate = self.sidecar(r, 100000, "1s", when_store_fails="local", store_timeout="100ms")
        with Clients([(gate.port, octets(bearer(sub="steady")))] * 2, rate=300) as load:
            time.sleep(0.5)
            try:
                r.busy(1)
            except Error:
                pass
            self.wait_back([gate])
            time.sleep(0.5)
        self.assertEqual(load.errors, [])
        self.assertEqual({a.status for a in load.answers}, {200})

    def test_not_permitted(self):
        """Its user loses a permission while it is used, and gets it back: no restart."""
        r = self.redis(
            user="admin",
            password="a",
            lines=["user default off", "user admin on >a ~* &* +@all", "user gate on >g ~* &* +@all"],
        )
        gate = self.sidecar(r.url("gate", "g"), 1000, "1s", when_store_fails="deny")
        me = bearer(sub="steady")
        self.assertEqual(ask(gate.port, "GET", "/", [me]).status, 200)
        r.ask("ACL", "SETUSER", "gate", "-evalsha", "-eval")
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", [me]).status == 503, 5, 0.02))
        self.assertIn("NOPERM", gate.stderr())
        r.ask("ACL", "SETUSER", "gate", "+@all")
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", [me]).status == 200, 5, 0.02))

    def test_slow(self):
        """Each answer of the store takes 30 ms: permits are leased ahead, nearly nobody waits, the total is exact."""
        r = self.redis()
        relay = Relay(r.port, 0.015)
        self.addCleanup(relay.stop)
        store = "redis://127.0.0.1:%d" % relay.port
        gate = self.sidecar(store, 200, "1s", store_timeout="300ms")
        with Clients([(gate.port, octets(bearer(sub="steady")))], rate=150) as load:
            time.sleep(4)
        self.assertEqual(load.errors, [])
        self.assertEqual({a.status for a in load.answers}, {200})
        if not SLOW:
            waited = [a for a in load.answers[20:] if a.took > 0.025]
            self.assertLess(len(waited), len(load.answers) / 20)
            self.assertLess(max(a.took for a in load.answers), 0.3)

    def test_away_from_the_start(self):
        """It starts without a store, says so, and takes it up when it comes."""
        port = free_port()
        for mode, status in (("local", 200), ("deny", 503)):
            with self.subTest(mode):
                gate = self.sidecar("redis://127.0.0.1:%d" % port, 10, "1s", when_store_fails=mode, away=True)
                m = ask(gate.port, "GET", "/", [bearer()])
                self.assertStatus(m, status)
                if mode == "deny":
                    self.assertProblem(m, 503, "service unavailable", "the rate limit cannot be counted now")
                self.assertIn("tollgate_ratelimit_store_up 0", gate.metrics())
                r = Redis(port)
                try:
                    self.wait_back([gate], 8)
                    self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), 200)
                    self.assertGreater(r.commands()[0], 0)
                finally:
                    r.stop()


class HalfStuck(Relay):
    """The first connection through it may be held."""

    def __init__(self, to):
        self.held, self.known = False, {}
        super().__init__(to, 0)

    def _copy(self, a, b):
        first = self.known.setdefault(frozenset((a, b)), len(self.known)) == 0
        try:
            while data := a.recv(65536):
                while first and self.held:
                    time.sleep(0.005)
                b.sendall(data)
        except OSError:
            pass


class OneLink(Stored):
    @unittest.skipIf(SLOW, "a sanitizer build has another pace")
    def test_one_worker_is_stuck(self):
        """The link of one of two workers is silent: callers at the other one do not wait for it."""
        r = self.redis()
        relay = HalfStuck(r.port)
        self.addCleanup(relay.stop)
        gate = self.sidecar("redis://127.0.0.1:%d" % relay.port, 100, "1s", algorithm="sliding")
        asks = [(gate.port, octets(bearer(sub="x%d" % (i % 2)))) for i in range(12)]
        with Clients(asks, rate=150) as load:
            time.sleep(0.5)
            before = gate.metric("tollgate_ratelimit_store_waits_total")
            relay.held = True
            time.sleep(0.8)
            waits = gate.metric("tollgate_ratelimit_store_waits_total") - before
            relay.held = False
            time.sleep(0.2)
        self.assertEqual(load.errors, [])
        self.assertLess(waits, 80)                         # each of eight steps once for each key, and who was caught


if __name__ == "__main__":
    main()
