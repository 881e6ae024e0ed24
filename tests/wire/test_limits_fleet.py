"""A fleet of sidecars, as a model of their leases (tests/limits): near to three real ones, and within the bounds told."""

import os
import sys
import unittest

from harness import SLOW, TOP, main
from redis_server import need

sys.path.insert(0, os.path.join(TOP, "tests", "limits"))
import fleet  # noqa: E402

HOT = {"sidecars": 20, "window": 10, "seconds": 60, "rate": 600, "limit": 2000}


class Fleet(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        if not fleet.can():
            raise unittest.SkipTest("cc or libhiredis-dev is missing")
        cls.model = fleet.Model()
        cls.addClassCleanup(cls.model.close)

    def laws(self, **wanted):
        for seed in range(1, 3):
            said = self.model.run(seed=seed, **wanted)
            self.assertGreater(said["asked"], 1000)
            yield said

    @unittest.skipIf(SLOW, "a sanitizer build has another pace")
    def test_near_to_three_real_ones(self):
        for name, wanted in fleet.CHECKS:
            for what, said, found, within in fleet.compare(self.model, name, wanted):
                with self.subTest(what):
                    self.assertTrue(fleet.is_near(said, found, within), "model %s, real %s" % (said, found))

    def test_never_above_the_limit(self):
        """Whatever clocks differ by, and however far away the store is."""
        for more in ({}, {"latency_us": 8000, "skew_ms": 5000}, {"keys": 50, "zipf": 1}, {"burst": 0.2}):
            for said in self.laws(**{**HOT, **more}):
                self.assertEqual(said["over"], 0, more)

    def test_sliding(self):
        for said in self.laws(**{**HOT, "sliding": 1}):
            self.assertLessEqual(said["any_span"], HOT["limit"])
            self.assertGreater(said["admitted"], HOT["limit"] * 6 * 0.85)

    def test_all_of_the_limit(self):
        """A busy caller above the limit gets all of it; one below is not refused."""
        for said in self.laws(**HOT):
            self.assertLessEqual(said["under"], said["due"] * 0.01)
        for said in self.laws(**{**HOT, "limit": 12000}):
            self.assertLessEqual(said["under"], said["due"] * 0.001)

    def test_a_caller_that_is_spread_thin(self):
        """A few requests a window at each of many sidecars, half the limit in all: nearly none is refused."""
        for said in self.laws(sidecars=100, keys=5, rate=41, limit=1000, window=60, seconds=240):
            self.assertLessEqual(said["under"], said["due"] * 0.02)

    def test_commands(self):
        """Less than one for 20 requests of keys with 40 a window at a sidecar, one or many."""
        for more in ({"sidecars": 1, "keys": 1, "rate": 5}, {"sidecars": 20, "keys": 20, "spread": 1, "rate": 100}):
            for said in self.laws(**{"window": 10, "seconds": 300, "limit": 1000, **more}):
                self.assertLess(said["commands"], said["asked"] / 20, more)

    def test_wiped(self):
        """At most the limit once more."""
        for at in (21, 23.3, 26, 29):
            for said in self.laws(**{**HOT, "wipe_at": at}):
                self.assertLessEqual(said["over_worst"], HOT["limit"])

    def test_away(self):
        """local: each sidecar its limit, and what was leased before; deny: never above."""
        away = {**HOT, "away_from": 17, "away_to": 35}
        for said in self.laws(**away):
            self.assertGreater(said["alone"], 0)
            self.assertLessEqual(said["over_worst"], (HOT["sidecars"] - 1) * HOT["limit"])
        for said in self.laws(**{**away, "deny": 1}):
            self.assertEqual((said["over"], said["alone"]), (0, 0))
            self.assertGreater(said["unavailable"], 0)


if __name__ == "__main__":
    main()
