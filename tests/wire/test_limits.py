"""Rate limits on the wire: counted exactly, told on every response, charged in the order the design names."""

import math
import time

from harness import (
    KIND,
    Case,
    Client,
    EVERY_LIMIT,
    ask,
    bearer,
    config,
    free_port,
    main,
    members,
    parallel,
    public,
    provider,
    value,
)


def trio(m):
    """(limit, remaining, reset) of a response; each exactly once."""
    return tuple(int(value(m, "X-RateLimit-" + n)) for n in ("Limit", "Remaining", "Reset"))


def tiers(*items):
    return {"tiers": [dict(zip(("name", "limit", "window"), i[:3]), **(i[3] if len(i) > 3 else {})) for i in items]}


DAY = "24h"  # a window that hardly ends while a test runs


class Told(Case):
    @classmethod
    def routes(cls, up):
        return [
            public(up, prefix="/public"),
            public("http://127.0.0.1:%d" % free_port(), name="dead", prefix="/dead"),
            {"name": "never", "prefix": "/never", "to": up.url},
            members(up, prefix="/members"),
        ]

    @classmethod
    def settings(cls, up):
        return {"rate_limits": tiers(("authenticated", 5000, DAY), ("unauthenticated", 7000, DAY))}

    def test_on_every_response(self):
        """200, 400, 401, 403, 404, 405, 502: always the trio, once each; Reset is a time, in whole seconds."""
        me = bearer()
        for why, status, limit, args in (
            ("200", 200, 5000, ("GET", "/members", [me])),
            ("200 anonymous", 200, 7000, ("GET", "/public")),
            ("400 credential", 400, 7000, ("GET", "/members", [("Authorization", "Bearer a b")])),
            ("401", 401, 7000, ("GET", "/members")),
            ("401 bad token", 401, 7000, ("GET", "/members", [bearer("ecX256")])),
            ("403", 403, 5000, ("GET", "/never", [me])),
            ("404", 404, None, ("GET", "/nowhere")),
            ("405", 405, None, ("TRACE", "/members")),
            ("502", 502, 7000, ("GET", "/dead")),
            ("HEAD", 200, 7000, ("HEAD", "/public")),
            ("400 framing", 400, None, ("GET", "/%zz")),
        ):
            with self.subTest(why):
                m = self.ask(*args)
                self.assertStatus(m, status)
                got = trio(m)
                if limit:
                    self.assertEqual(got[0], limit)
                self.assertTrue(0 <= got[1] < got[0])
                self.assertTrue(time.time() - 1 <= got[2] <= time.time() + 86401)

    def test_broken_framing_too(self):
        with self.client() as c:
            m = c.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n").response()
            self.assertStatus(m, 400)
            trio(m)

    def test_upstreams_own_fields_are_replaced(self):
        """Never two lines of one name."""
        self.up.on(
            "/public/own",
            lambda c, r: c.answer(
                200, [("X-RateLimit-Limit", "1"), ("x-ratelimit-remaining", "99"), ("X-RateLimit-Reset", "3")]
            ),
        )
        self.assertEqual(trio(self.ask("GET", "/public/own"))[0], 7000)

    def test_each_charge_is_one(self):
        """Remaining falls by one with each request of a subject, whatever its answer."""
        me = bearer(sub="counter")
        left = [
            trio(self.ask("GET", path, [me]))[1] for path in ("/members", "/never", "/members", "/public", "/members")
        ]
        self.assertEqual(left, list(range(left[0], left[0] - 5, -1)))
        self.assertEqual(trio(self.ask("GET", "/members", [bearer(sub="another")]))[1], 4999)


class Reached(Case):
    @classmethod
    def routes(cls, up):
        return [members(up)]

    def begin(self, authenticated=10, unauthenticated=1000000, window=DAY, workers=2, **changes):
        limits = tiers(("authenticated", authenticated, window), ("unauthenticated", unauthenticated, window))
        return self.start(
            config(
                [public(self.up, prefix="/public"), members(self.up)],
                workers=workers,
                rate_limits={**limits, **changes},
            )
        )

    def test_429(self):
        """The body, Retry-After, and that the upstream hears nothing of it."""
        gate = self.begin(3)
        me = bearer()
        self.assertEqual([ask(gate.port, "GET", "/n", [me]).status for _ in range(3)], [200] * 3)
        m = ask(gate.port, "GET", "/n", [me])
        self.assertProblem(m, 429, "too many requests")
        limit, remaining, reset = trio(m)
        self.assertEqual((limit, remaining), (3, 0))
        after = int(value(m, "Retry-After"))
        self.assertGreaterEqual(after, 1)
        self.assertLessEqual(abs(after - math.ceil(reset - time.time())), 1)
        self.assertEqual(value(m, "Cache-Control"), "no-store")
        self.assertIsNone(value(m, "WWW-Authenticate"))
        self.assertEqual(len(self.up.find("/n")), 3)

    def test_exact_across_workers(self):
        """Two workers, sixteen clients at once: exactly the limit passes."""
        gate = self.begin(200)
        me = bearer()

        def client(_):
            passed = 0
            with Client(gate.port) as c:
                for _ in range(25):
                    passed += c.request("GET", "/exact", [me]).response().status == 200
            return passed

        self.assertEqual(sum(parallel(16, client)), 200)
        self.assertEqual(len(self.up.find("/exact")), 200)

    def test_remaining_is_exact_when_requests_come_together(self):
        """No value of Remaining is told twice."""
        gate = self.begin(400)
        me = bearer(sub="unique")
        told = []

        def client(_):
            with Client(gate.port) as c:
                return [trio(c.request("GET", "/u", [me]).response())[1] for _ in range(25)]

        for part in parallel(8, client):
            told += part
        self.assertEqual(sorted(told), list(range(200, 400)))

    def test_a_window_ends(self):
        gate = self.begin(2, window="2s")
        me = bearer(sub="window")
        for _ in range(30):
            m = ask(gate.port, "GET", "/", [me])
            if m.status == 429:
                break
        self.assertStatus(m, 429)
        time.sleep(int(value(m, "Retry-After")) + 0.2)
        self.assertStatus(ask(gate.port, "GET", "/", [me]), 200)

    def test_order_of_charging(self):
        """401 and 400 charge the address; once empty: 429 instead of 401; 400, 404 and good tokens are not refused."""
        gate = self.begin(1000, 4)
        self.assertEqual([ask(gate.port).status for _ in range(2)], [401, 401])
        self.assertStatus(ask(gate.port, "GET", "/", [bearer("ecX256")]), 401, "a failed verification is charged")
        self.assertStatus(ask(gate.port, "GET", "/", [("Authorization", "Bearer a b")]), 400, "so is a malformed one")
        self.assertStatus(ask(gate.port), 429, "anonymous")
        self.assertStatus(ask(gate.port, "GET", "/public"), 429, "anonymous, public route")
        self.assertStatus(ask(gate.port, "GET", "/", [bearer("ecX256")]), 429, "no free guessing")
        self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), 200, "a good token has its own bucket")
        self.assertStatus(ask(gate.port, "GET", "/", [("Authorization", "Bearer a b")]), 400, "400 never becomes 429")
        self.assertStatus(ask(gate.port, "GET", "/%zz"), 400, "400 never becomes 429")

    def test_good_requests_do_not_charge_the_address(self):
        gate = self.begin(1000, 2)
        for _ in range(10):
            self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), 200)
        self.assertStatus(ask(gate.port), 401)

    def test_subjects_of_two_issuers_do_not_share(self):
        """sub is unique within its issuer only (RFC 7519 section 4.1.2)."""
        other = "https://other.test"
        gate = self.start(
            config(
                [members(self.up)],
                rate_limits=tiers(("authenticated", 2, DAY), ("unauthenticated", 9, DAY)),
                identity_providers={"a": provider(), "b": provider(issuer=other)},
            )
        )
        for iss in ({}, {"iss": other}):
            self.assertEqual([ask(gate.port, "GET", "/", [bearer(**iss)]).status for _ in range(3)], [200, 200, 429])

    def test_addresses(self):
        """The unauthenticated tier counts by address; 127.0.0.2 is another client."""
        gate = self.begin(1000, 2)
        self.assertEqual([ask(gate.port).status for _ in range(3)], [401, 401, 429])
        self.assertStatus(ask(gate.port, source="127.0.0.2"), 401)

    def test_ipv6_by_64(self):
        """All addresses of a /64 are one client (they are one subscriber's to choose from)."""
        cfg = config(
            [members(self.up)],
            rate_limits=tiers(("authenticated", 9, DAY), ("unauthenticated", 3, DAY)),
            trusted_proxies=["127.0.0.0/8"],
        )
        gate = self.start(cfg)

        def from_address(a):
            return ask(gate.port, "GET", "/", [("X-Forwarded-For", a)]).status

        self.assertEqual([from_address("2001:db8:1:2::%x" % i) for i in range(4)], [401, 401, 401, 429])
        self.assertEqual(from_address("2001:db8:1:2:ffff:1:2:3"), 429)
        self.assertEqual(from_address("2001:db8:1:3::1"), 401)
        self.assertEqual(from_address("::ffff:192.0.2.1"), 401)

    def test_tiers_by_claim(self):
        """The first tier whose `when` holds."""
        limits = tiers(
            ("gold", 50, DAY, {"when": [{"claim/plan": "gold"}]}),
            ("authenticated", 5, DAY),
            ("unauthenticated", 2, DAY),
        )
        gate = self.start(config([members(self.up)], rate_limits=limits))
        self.assertEqual(trio(ask(gate.port, "GET", "/", [bearer(plan="gold")]))[0], 50)
        self.assertEqual(trio(ask(gate.port, "GET", "/", [bearer(plan="tin")]))[0], 5)
        self.assertEqual(trio(ask(gate.port))[0], 2)

    def test_default_tiers(self):
        """1000, 100 and, by the claim plan, 10000 a minute."""
        gate = self.start(config([members(self.up)], rate_limits=None))
        self.assertEqual(trio(ask(gate.port, "GET", "/", [bearer()]))[0], 1000)
        self.assertEqual(trio(ask(gate.port, "GET", "/", [bearer(plan="enterprise")]))[0], 10000)
        self.assertEqual(trio(ask(gate.port))[0], 100)
        self.assertIn("unauthenticated", gate.stderr(), "a start-up line names the tiers in force")

    def test_shadow_and_off(self):
        gate = self.begin(1, mode="shadow")
        self.assertEqual([ask(gate.port, "GET", "/", [bearer()]).status for _ in range(3)], [200] * 3)
        gate = self.start(config([members(self.up)], rate_limits="off"))
        m = ask(gate.port, "GET", "/", [bearer()])
        self.assertEqual((m.status, value(m, "X-RateLimit-Limit")), (200, None))

    def test_many_addresses(self):
        """Memory stays bounded whatever addresses come."""
        gate = self.start(config([members(self.up)], rate_limits=EVERY_LIMIT, trusted_proxies=["127.0.0.0/8"]))
        with Client(gate.port) as c:
            for i in range(3000):
                c.request("GET", "/", [("X-Forwarded-For", "2001:db8:%x:%x::1" % (i >> 8, i & 255))]).response()
            before = gate.peak_kib()
            for i in range(3000, 6000):
                c.request("GET", "/", [("X-Forwarded-For", "2001:db8:%x:%x::1" % (i >> 8, i & 255))]).response()
        # A new key may touch a new page of the table; the whole table is 17 MiB, whatever comes.
        self.assertLess(gate.peak_kib() - before, (17 if KIND == "release" else 100) * 1024)


if __name__ == "__main__":
    main()
