"""Tiers on the wire: fixed, sliding and several windows, whose counter it is, a route's own tiers, limits in claims."""

import collections
import time

from harness import Client, ask, bearer, config, main, members, provider, public, request, value
from limits import DAY, OTHERS, Begun, items, tiers, trio
from load import Clients


class Windows(Begun):
    def test_every_window_admits_exactly_the_limit(self):
        """Four clients without a pause over several windows: each whole one admits the limit, to the last request."""
        limit, whole = 60, 3
        gate = self.begin(("authenticated", limit, "1s"), OTHERS)
        octets = request("GET", "/", [bearer()])
        with Clients([(gate.port, octets)] * 4) as load:
            time.sleep(whole + 1.5)
        self.assertEqual(load.errors, [])
        admitted = load.admitted()
        refused = collections.Counter(a.reset for a in load.answers if a.status == 429)
        self.assertGreaterEqual(len(admitted), whole)
        for reset, count in admitted.items():
            self.assertLessEqual(count, limit)
            if refused[reset]:
                self.assertEqual(count, limit, "of the window that ends at %d" % reset)
        self.assertGreaterEqual(sum(1 for r in admitted if refused[r]), whole)
        for reset in admitted:                               # each Remaining is told once
            told = [a.remaining for a in load.answers if a.status == 200 and a.reset == reset]
            self.assertEqual(len(set(told)), len(told))

    def test_fixed_windows_begin_with_the_minute(self):
        gate = self.begin(("authenticated", 5, "1m"), OTHERS)
        self.assertEqual(trio(ask(gate.port, "GET", "/", [bearer()]))[2] % 60, 0)
        gate = self.begin(("authenticated", 5, "7s"), OTHERS)
        self.assertEqual(trio(ask(gate.port, "GET", "/", [bearer()]))[2] % 7, 0)

    def test_sliding(self):
        """In no span of the window's length more than the limit; a fixed window lets twice as many pass at its edge."""
        limit, length = 30, 2
        gate = self.begin(("authenticated", limit, "2s", {"algorithm": "sliding"}), OTHERS)
        octets = request("GET", "/", [bearer()])
        with Clients([(gate.port, octets)] * 3, rate=200) as load:
            time.sleep(3 * length + 0.5)
        self.assertEqual(load.errors, [])
        admitted = sorted((a for a in load.answers if a.status == 200), key=lambda a: a.at)
        self.assertGreaterEqual(len(admitted), 2 * limit, "it does let others in later")
        for first, last in zip(admitted, admitted[limit:]):  # these are limit + 1 requests
            self.assertGreater(last.at + last.took - first.at, length - 0.005)

    def test_sliding_agrees_with_itself(self):
        """A refused caller who waits for Retry-After is let in; Remaining is what can be had at once."""
        gate = self.begin(("authenticated", 6, "2s", {"algorithm": "sliding"}), OTHERS)
        with Client(gate.port) as c:
            for _ in range(3):
                seen = []
                for _ in range(12):
                    m = c.request("GET", "/", [bearer()]).response()
                    seen.append(m.status)
                    if m.status == 429:
                        break
                    left = trio(m)[1]
                    self.assertGreaterEqual(left, 0)
                self.assertStatus(m, 429, seen)
                self.assertEqual(trio(m)[1], 0)
                time.sleep(int(value(m, "Retry-After")))
                self.assertStatus(c.request("GET", "/", [bearer()]).response(), 200)

    def test_several_windows(self):
        """A request takes one of each or of none; told is the window with the fewest left, of full ones the last."""
        gate = self.begin(
            ("authenticated", [{"limit": 3, "window": "3s"}, {"limit": 5, "window": DAY}]), OTHERS, workers=1
        )
        me = [bearer()]
        time.sleep(-time.time() % 3)                         # a window of three seconds begins
        told = [ask(gate.port, "GET", "/", me) for _ in range(4)]
        self.assertEqual([m.status for m in told], [200, 200, 200, 429])
        for n, m in enumerate(told):
            short, day = items(m)
            self.assertEqual((short[0], day[0]), ("authenticated-3s", "authenticated-24h"))
            self.assertEqual((short[1]["r"], day[1]["r"]), (max(0, 2 - n), max(2, 4 - n)))
            self.assertEqual(trio(m)[:2], (3, max(0, 2 - n)))
        self.assertEqual(items(told[0], "RateLimit-Policy"),
                         [("authenticated-3s", {"q": 3, "w": 3}), ("authenticated-24h", {"q": 5, "w": 86400})])
        self.assertEqual(int(value(told[3], "Retry-After")), items(told[3])[0][1]["t"])
        time.sleep(items(told[3])[0][1]["t"])
        told = [ask(gate.port, "GET", "/", me) for _ in range(3)]
        self.assertEqual([m.status for m in told], [200, 200, 429])
        self.assertEqual(trio(told[2])[:2], (5, 0))
        self.assertGreater(int(value(told[2], "Retry-After")), 3)
        line = gate.log(count=7)[-1]
        self.assertEqual(
            (line["tier"], line["window"], line["limit"], line["remaining"], line["limit_key"], line["counter"]),
            ("authenticated", "authenticated-24h", 5, 0, "subject", "memory"),
        )

    def test_a_shadow_window_among_others(self):
        """It is counted, logged and never applied; what is told is of the window that is applied."""
        gate = self.begin(
            ("authenticated", [{"limit": 2, "window": "1h", "mode": "shadow"}, {"limit": 4, "window": DAY}]), OTHERS
        )
        told = [ask(gate.port, "GET", "/", [bearer()]) for _ in range(5)]
        self.assertEqual([m.status for m in told], [200] * 4 + [429])
        self.assertEqual([n for n, _ in items(told[3])], ["authenticated-24h"])
        self.assertEqual([n for n, _ in items(told[3], "RateLimit-Policy")], ["authenticated-24h"])
        self.assertEqual(trio(told[3])[:2], (4, 0))
        lines = gate.log(count=5)
        self.assertEqual([x.get("shadow_limited") for x in lines], [None] * 2 + [["authenticated-1h"]] * 3)
        self.assertEqual([x["decision"] for x in lines], ["allow"] * 4 + ["limit"])
        for result, count in (("admitted", 2), ("shadow_limited", 2), ("limited", 1)):
            self.assertEqual(
                gate.metric("tollgate_ratelimit_requests_total", tier="authenticated", result=result), count, result
            )

    def test_all_in_shadow_mode_is_told(self):
        gate = self.begin(("authenticated", 1, DAY), OTHERS, section={"mode": "shadow"})
        told = [ask(gate.port, "GET", "/", [bearer()]) for _ in range(3)]
        self.assertEqual([m.status for m in told], [200] * 3)
        self.assertEqual([items(m)[0][1]["r"] for m in told], [0, 0, 0])
        self.assertEqual([x.get("shadow_limited") for x in gate.log(count=3)], [None] + [["authenticated"]] * 2)


class Keys(Begun):
    def test_by_claim(self):
        """All subjects of one organisation share; who lacks the claim counts by subject."""
        gate = self.begin(("authenticated", 2, DAY, {"key": "claim/org"}), OTHERS)

        def ask_as(**claims):
            return ask(gate.port, "GET", "/", [bearer(**claims)]).status

        self.assertEqual([ask_as(sub="a", org="x"), ask_as(sub="b", org="x"), ask_as(sub="c", org="x")], [200, 200, 429])
        self.assertEqual([ask_as(sub="a", org="y"), ask_as(sub="a", org=7), ask_as(sub="a", org="7")], [200] * 3)
        self.assertEqual([ask_as(sub="a"), ask_as(sub="b"), ask_as(sub="a"), ask_as(sub="a")], [200, 200, 200, 429])
        self.assertEqual([ask_as(sub="c", org=["x"])], [429], "a list of one is that one")
        self.assertEqual([ask_as(sub="c", org=["x", "z"]), ask_as(sub="c", org={"x": 1})], [200, 200])
        keys = [x["limit_key"] for x in gate.log(count=13)]
        self.assertEqual(keys, ["claim"] * 6 + ["subject"] * 4 + ["claim"] + ["subject"] * 2)

    def test_a_claim_is_a_word_of_its_issuer(self):
        other = "https://other.test"
        gate = self.begin(
            ("authenticated", 1, DAY, {"key": "claim/org"}), OTHERS,
            identity_providers={"a": provider(), "b": provider(issuer=other)},
        )
        for iss in ({}, {"iss": other}):
            self.assertEqual(self.statuses(gate, 2, [bearer(org="x", **iss)]), [200, 429])

    def test_by_address(self):
        """With an identity too, when the tier says so; a /64 is one."""
        gate = self.begin(
            ("authenticated", 2, DAY, {"key": "address"}), OTHERS, trusted_proxies=["127.0.0.0/8"],
        )

        def from_address(a, sub):
            return ask(gate.port, "GET", "/", [("X-Forwarded-For", a), bearer(sub=sub)]).status

        self.assertEqual([from_address("2001:db8::%d" % i, "s%d" % i) for i in range(3)], [200, 200, 429])
        self.assertEqual(from_address("2001:db8:0:1::1", "s0"), 200)
        self.assertEqual([from_address("192.0.2.1", "s%d" % i) for i in range(3)], [200, 200, 429])
        self.assertEqual({x["limit_key"] for x in gate.log(count=7)}, {"address"})

    def test_by_route(self):
        """Everybody on that route shares, and no other route does."""
        routes = [members(self.up, name="one", prefix="/one"), members(self.up, name="two", prefix="/two")]
        gate = self.begin(("authenticated", 3, DAY, {"key": "route"}), OTHERS, routes=routes)
        self.assertEqual(
            [ask(gate.port, "GET", "/one", [bearer(sub=s)]).status for s in "abcd"], [200, 200, 200, 429]
        )
        self.assertEqual(self.statuses(gate, 1, path="/two"), [200])
        self.assertEqual(gate.log("/one", 4)[-1]["limit_key"], "route")

    def test_unauthenticated_by_route(self):
        routes = [public(self.up, name="one", prefix="/one"), public(self.up, name="two", prefix="/two")]
        gate = self.begin(
            ("authenticated", 9, DAY), ("unauthenticated", 2, DAY, {"key": "route"}), routes=routes
        )

        def come(path):
            return [ask(gate.port, "GET", path, source="127.0.0.%d" % n).status for n in (2, 3, 4)]

        self.assertEqual(come("/one"), [200, 200, 429])
        self.assertEqual(come("/two"), [200, 200, 429])
        self.assertEqual(self.statuses(gate, 1, path="/one"), [200], "with an identity it is another tier")


class Routes(Begun):
    def routes_with(self, **limits):
        """A route for each: name, its own rate_limits; and one without."""
        routes = [members(self.up, name=n, prefix="/" + n, rate_limits=own) for n, own in limits.items()]
        return routes + [members(self.up, name="rest", prefix="/")]

    def left(self, gate, path, **claims):
        return trio(ask(gate.port, "GET", path, [bearer(**claims)]))[:2]

    def test_off_on_a_route(self):
        gate = self.begin(("authenticated", 1, DAY), ("unauthenticated", 1, DAY), routes=self.routes_with(free="off"))
        for fields, status in (([bearer()], 200), ([], 401), ([bearer("ecX256")], 401)):
            for _ in range(3):
                m = ask(gate.port, "GET", "/free", fields)
                self.assertStatus(m, status)
                self.assertIsNone(value(m, "X-RateLimit-Limit"))
                self.assertIsNone(value(m, "RateLimit"))
        self.assertEqual(self.statuses(gate, 2), [200, 429], "what is free takes nothing from the others")
        self.assertNotIn("tier", gate.log("/free")[0])

    def test_on_a_route_alone(self):
        """rate_limits: off for all but one."""
        routes = self.routes_with(dear=tiers(("authenticated", 1, DAY), ("unauthenticated", 2, DAY)))
        gate = self.start(config(routes, rate_limits="off"))
        self.assertEqual(self.statuses(gate, 3, path="/dear"), [200, 429, 429])
        self.assertEqual([ask(gate.port, "GET", "/dear").status for _ in range(3)], [401, 401, 429])
        m = ask(gate.port, "GET", "/", [bearer()])
        self.assertEqual((m.status, value(m, "X-RateLimit-Limit")), (200, None))
        m = ask(gate.port, "GET", "/%zz")
        self.assertEqual((m.status, value(m, "X-RateLimit-Limit")), (400, None))

    def test_tiers_of_a_route_count_apart(self):
        """Also when they are called alike; what a route does not say is the general section's, counters and all."""
        gate = self.begin(
            ("authenticated", 5, DAY),
            ("unauthenticated", 7, DAY),
            routes=self.routes_with(
                own=tiers(("authenticated", 3, DAY)), twin=tiers(("authenticated", 3, DAY)),
                guest=tiers(("unauthenticated", 2, DAY)),
            ),
        )
        self.assertEqual(self.left(gate, "/own"), (3, 2))
        self.assertEqual(self.left(gate, "/twin"), (3, 2))
        self.assertEqual(self.left(gate, "/"), (5, 4))
        self.assertEqual(self.left(gate, "/guest"), (5, 3), "ordinary tiers of no route: one counter")
        self.assertEqual(self.statuses(gate, 3, path="/own"), [200, 200, 429])
        self.assertEqual(self.left(gate, "/"), (5, 2))
        self.assertEqual([trio(ask(gate.port, "GET", p))[:2] for p in ("/", "/own", "/guest", "/guest", "/guest", "/")],
                         [(7, 6), (7, 5), (2, 1), (2, 0), (2, 0), (7, 4)])

    def test_mode_and_algorithm_of_a_route(self):
        gate = self.begin(
            ("authenticated", 1, DAY), OTHERS,
            routes=self.routes_with(
                trial={"mode": "shadow", **tiers(("authenticated", 1, DAY))},
                slide={"algorithm": "sliding", **tiers(("authenticated", 1, "10s"), ("unauthenticated", 1, "10s"))},
            ),
        )
        self.assertEqual(self.statuses(gate, 3, path="/trial"), [200] * 3)
        self.assertEqual(self.statuses(gate, 2, path="/slide"), [200, 429])
        self.assertGreaterEqual(int(value(ask(gate.port, "GET", "/slide", [bearer()]), "Retry-After")), 9)
        self.assertEqual(self.statuses(gate, 2), [200, 429])
        self.assertEqual(gate.metric("tollgate_ratelimit_keys", algorithm="sliding"), 1)

    def test_tiers_by_claim_on_a_route(self):
        own = tiers(("gold", 50, DAY, {"when": [{"claim/plan": "gold"}]}), ("authenticated", 3, DAY))
        gate = self.begin(("authenticated", 5, DAY), OTHERS, routes=self.routes_with(own=own))
        self.assertEqual(self.left(gate, "/own", plan="gold"), (50, 49))
        self.assertEqual(self.left(gate, "/own", plan="tin"), (3, 2))
        self.assertEqual(self.left(gate, "/", plan="gold"), (5, 4))


class Claims(Begun):
    def test_the_limit_in_a_claim(self):
        """Under the ceiling, from 0 up; what is no whole number leaves the tier's own."""
        gate = self.begin(
            ("authenticated", 4, DAY, {"limit_claim": "quota", "limit_ceiling": 6}), OTHERS, workers=1
        )
        for n, (why, quota, limit) in enumerate((
            ("less than the tier's own", 2, 2), ("more", 5, 5), ("the ceiling", 6, 6), ("above it", 7, 6),
            ("far above", 10**18, 6), ("nobody", 0, 0), ("absent", None, 4), ("negative", -1, 4), ("a fraction", 2.5, 4),
            ("text", "2", 4), ("true", True, 4), ("a list of one", [3], 3), ("a list", [1, 2], 4),
        )):
            with self.subTest(why):
                me = [bearer(sub="s%d" % n, quota=quota)]
                told = [ask(gate.port, "GET", "/", me) for _ in range(limit + 1)]
                self.assertEqual([m.status for m in told], [200] * limit + [429])
                self.assertEqual([trio(m)[:2] for m in told],
                                 [(limit, left) for left in list(range(limit - 1, -1, -1)) + [0]])
                self.assertEqual(items(told[-1], "RateLimit-Policy")[0][1], {"q": limit, "w": 86400})

    def test_another_claim_keeps_the_count(self):
        """A token with another limit, of the same subject: the same counter."""
        gate = self.begin(("authenticated", 4, DAY, {"limit_claim": "quota", "limit_ceiling": 9}), OTHERS)
        self.assertEqual(self.statuses(gate, 3, [bearer(quota=3)]), [200] * 3)
        self.assertEqual(self.statuses(gate, 1, [bearer(quota=2)]), [429])
        m = ask(gate.port, "GET", "/", [bearer(quota=9)])
        self.assertEqual((m.status, trio(m)[:2]), (200, (9, 5)))


if __name__ == "__main__":
    main()
