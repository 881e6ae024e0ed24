"""Limits shared through a real redis-server: exact totals of three processes, and what they cost."""

import collections
import time

from harness import SLOW, ask, bearer, main
from load import Clients, Wrk, need_wrk
from redis_server import need
from stored import GATES, Stored, octets


def setUpModule():
    need()


# ---- exact totals -------------------------------------------------------------------------------------------------
class Totals(Stored):
    def totals(self, counts):
        """{reset: how many were admitted} of several wrk, and every other status."""
        admitted, others = collections.Counter(), collections.Counter()
        for one in counts:
            for (status, reset), count in one.items():
                if status == 200:
                    admitted[reset] += count
                else:
                    others[status] += count
        return admitted, others

    def exact(self, admitted, limit):
        """Never more; and all of it in each window that the load was there for from its beginning to its end."""
        self.assertLessEqual(max(admitted.values()), limit, admitted)
        whole = sorted(admitted)[1:-1]
        self.assertGreaterEqual(len(whole), 2, admitted)
        self.assertEqual([admitted[w] for w in whole], [limit] * len(whole), admitted)

    def test_three_processes_under_wrk(self):
        """One subject, two of its tokens, three sidecars, far more load than its limit: exactly the limit passes."""
        need_wrk()
        r = self.redis()
        gates = [self.sidecar(r, 1000, "1s") for _ in range(GATES)]
        tokens = [bearer(sub="shared"), bearer(sub="shared", jti="another"), bearer(sub="shared", scope="x")]
        running = [Wrk(g.port, 5, 4, [t]) for g, t in zip(gates, tokens)]
        admitted, others = self.totals([w.counts() for w in running])
        self.assertEqual(list(others), [429])
        self.exact(admitted, 1000)
        calls, refused = r.commands()
        self.assertEqual(refused, 0)
        self.assertLess(calls, sum(admitted.values()) / 20)

    def test_many_keys(self):
        """Twelve subjects, each at every sidecar: each has its own whole limit, in no window more."""
        r = self.redis()
        gates = [self.sidecar(r, 60, "1s") for _ in range(GATES)]
        subjects = [bearer(sub="s%d" % i) for i in range(12)]
        asks = [(g.port, octets(me)) for g in gates for me in subjects]
        of = {}
        with Clients(asks, rate=60) as load:
            time.sleep(4)
        self.assertEqual(load.errors, [])
        for a in load.answers:
            of.setdefault(a.reset, collections.Counter())[a.status] += 1
        whole = sorted(of)[1:-1]
        for reset in of:
            self.assertLessEqual(of[reset][200], 60 * len(subjects))
        for reset in whole if not SLOW else []:
            self.assertEqual(of[reset][200], 60 * len(subjects), of)

    def test_two_tokens_of_one_subject(self):
        """At two sidecars, one after the other: they share one count; another subject has its own."""
        r = self.redis()
        a, b = self.sidecar(r, 40), self.sidecar(r, 40)
        self.room()
        passed = 0
        for i in range(80):
            me = bearer(sub="ann", jti=str(i % 2))
            passed += ask((a, b)[i % 2].port, "GET", "/", [me]).status == 200
        self.assertEqual(passed, 40)
        self.assertEqual(ask(a.port, "GET", "/", [bearer(sub="bob")]).status, 200)

    def test_sliding(self):
        """A sliding window: whatever span of its length one looks at, never more than the limit."""
        r = self.redis()
        gates = [self.sidecar(r, 100, "1s", algorithm="sliding") for _ in range(GATES)]
        me = bearer(sub="slider")
        with Clients([(g.port, octets(me)) for g in gates], rate=150) as load:
            time.sleep(4)
        self.assertEqual(load.errors, [])
        passed = sorted((a.at, a.at + a.took) for a in load.answers if a.status == 200)
        worst = 0
        for i, (start, _) in enumerate(passed):
            worst = max(worst, sum(1 for _, end in passed[i:] if end <= start + 1))
        self.assertLessEqual(worst, 100)
        self.assertGreater(len(passed), 200)
        self.assertEqual(r.commands()[1], 0)

    def test_several_windows(self):
        """Two windows at once, both in the store: the short one holds back, the long one ends it, for all together."""
        r = self.redis()
        tiers = [
            {"name": "authenticated", "windows": [{"limit": 50, "window": "1s"}, {"limit": 120, "window": "10s"}]},
            {"name": "unauthenticated", "limit": 100, "window": "1m"},
        ]
        gates = [self.sidecar(r, tiers=tiers) for _ in range(2)]
        self.room(10, 5.5)
        with Clients([(g.port, octets(bearer(sub="both"))) for g in gates], rate=100) as load:
            time.sleep(4)
        self.assertEqual(load.errors, [])
        passed = [a for a in load.answers if a.status == 200]
        self.assertLessEqual(len(passed), 120)
        self.assertGreaterEqual(len(passed), 110)           # permits that wait elsewhere for the shorter window
        first = passed[0].at
        self.assertLessEqual(sum(1 for a in passed if a.at < first + 1), 100)


# ---- what it costs --------------------------------------------------------------------------------------------------
class Cost(Stored):
    def spent(self, r, gates, subjects, rate, seconds, window=1):
        """Commands and requests of whole windows."""
        asks = [(g.port, octets(bearer(sub="c%d" % i))) for g in gates for i in range(subjects)]
        with Clients(asks, rate=rate) as load:
            time.sleep(window - time.time() % window + 0.05)
            before, start = r.commands()[0], time.monotonic()
            time.sleep(seconds)
            after, end = r.commands()[0], time.monotonic()
        self.assertEqual(load.errors, [])
        self.assertEqual({a.status for a in load.answers}, {200})
        return after - before, len(load.between(start, end))

    def test_one_key_of_forty_requests_a_window(self):
        """The least that is promised: one sidecar, one key, a little above 40 requests a window."""
        r = self.redis()
        commands, requests = self.spent(r, [self.sidecar(r, 1000, "1s")], 1, 44, 5)
        self.assertGreater(requests, 150)
        self.assertLess(commands, requests / 20)

    def test_many_keys_share_commands(self):
        r = self.redis()
        commands, requests = self.spent(r, [self.sidecar(r, 1000, "1s")], 20, 50, 3)
        self.assertLess(commands, requests / 20)

    def test_one_busy_key(self):
        """Thousands of requests a second of one caller at three sidecars."""
        r = self.redis()
        gates = [self.sidecar(r, 1000000, "1s") for _ in range(GATES)]
        commands, requests = self.spent(r, gates, 1, None, 3)
        self.assertLess(commands, requests / 100)

    def test_refused_requests_cost_nothing(self):
        """A key that is used up is asked for a few times a window, however often it comes."""
        r = self.redis()
        gate = self.sidecar(r, 100)
        self.room()
        me = bearer(sub="eager")
        self.assertEqual(self.admitted(gate, me, 200), 100)
        before = r.commands()[0]
        with Clients([(gate.port, octets(me))] * 2) as load:
            time.sleep(2)
        self.assertGreater(len(load.answers), 200)
        self.assertLessEqual(r.commands()[0] - before, 5)


if __name__ == "__main__":
    main()
