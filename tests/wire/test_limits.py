"""Rate limits on the wire: counted exactly, told on every response, charged in the order the design names."""

import itertools
import math
import time

from harness import (
    KIND,
    SLOW,
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
    request,
    value,
    wait_until,
)
from limits import DAY, OTHERS, Begun, items, tiers, trio
from load import Clients, Wrk


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
        for result, count in (("admitted", 4), ("limited", 3)):
            told = gate.metric("tollgate_ratelimit_requests_total", tier="unauthenticated", result=result)
            self.assertEqual(told, count, result)

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
        # A new key may touch a new page of the table, and no more: it has its size, whatever comes.
        self.assertLess(gate.peak_kib() - before, (17 if KIND == "release" else 100) * 1024)


class Exact(Begun):
    REQUESTS = 20000 if SLOW else 200000

    def test_two_workers_and_very_many_requests(self):
        """wrk on thirty-two connections, two workers: what passes is the limit, not one more or less."""
        limit = self.REQUESTS // 4
        gate = self.begin(
            ("authenticated", limit, DAY), OTHERS, section={"ratelimit_fields": False},
            routes=[{"name": "echo", "prefix": "/", "to": "echo:", "allow_any_authenticated_user": True}],
            access_log={"output": "off"},
        )
        me, asked, passed, unheard = [bearer()], 0, 0, 0
        while asked < self.REQUESTS:
            counts = Wrk(gate.port, 4, 32, me).counts()
            self.assertEqual({s for s, _ in counts} - {200, 429}, set())
            asked += sum(counts.values())
            passed += sum(n for (status, _), n in counts.items() if status == 200)
            if not any(status == 429 for status, _ in counts):
                unheard += 32                                # at its end wrk drops an answer of each connection
        told = gate.metric("tollgate_ratelimit_requests_total", tier="authenticated", result="admitted")
        self.assertEqual(told, limit)
        self.assertLessEqual(passed, limit)
        self.assertGreaterEqual(passed, limit - unheard)
        self.assertGreaterEqual(
            gate.metric("tollgate_ratelimit_requests_total", tier="authenticated"), self.REQUESTS
        )
        self.assertStatus(ask(gate.port, "GET", "/", me), 429)


class Reload(Begun):
    def again(self, gate, **changes):
        loaded = gate.stderr().count('"reloaded"')
        gate.configure(config([members(self.up)], **changes))
        gate.reload()
        self.assertTrue(wait_until(lambda: gate.stderr().count('"reloaded"') > loaded), gate.stderr()[-500:])

    def left(self, gate, **kwargs):
        return trio(ask(gate.port, "GET", "/", [bearer(**kwargs)]))[:2]

    def test_counts_survive(self):
        """A changed limit, mode or criterion keeps the count; another length of the window is another counter."""
        gate = self.begin(("authenticated", 10, DAY), OTHERS)
        self.assertEqual([self.left(gate) for _ in range(4)][-1], (10, 6))
        self.again(gate, rate_limits=tiers(("authenticated", 10, DAY), OTHERS))
        self.assertEqual(self.left(gate), (10, 5))
        self.again(gate, rate_limits=tiers(("authenticated", 20, DAY), OTHERS))
        self.assertEqual(self.left(gate), (20, 14))
        self.again(gate, rate_limits=tiers(("authenticated", 3, DAY), OTHERS))
        self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), 429, "six are counted")
        self.again(gate, rate_limits={"mode": "shadow", **tiers(("authenticated", 3, DAY), OTHERS)})
        self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), 200)
        self.again(
            gate, rate_limits=tiers(("gold", 5, DAY, {"when": [{"claim/plan": "gold"}]}), ("authenticated", 30, DAY), OTHERS)
        )
        limit, left = self.left(gate)
        self.assertEqual(limit, 30)
        self.assertLessEqual(left, 30 - 7)
        self.again(gate, rate_limits=tiers(("authenticated", 30, "12h"), OTHERS))
        self.assertEqual(self.left(gate), (30, 29))

    def test_counts_survive_with_several_windows(self):
        gate = self.begin(("authenticated", [{"limit": 9, "window": "1h", "algorithm": "sliding"},
                                             {"limit": 10, "window": DAY}]), OTHERS)
        self.assertEqual(self.statuses(gate, 3), [200] * 3)
        self.again(gate, rate_limits=tiers(("authenticated", [{"limit": 8, "window": "1h", "algorithm": "sliding"},
                                                              {"limit": 20, "window": DAY}]), OTHERS))
        m = ask(gate.port, "GET", "/", [bearer()])
        self.assertEqual([p["r"] for _, p in items(m)], [4, 16])

    def test_reloads_under_load(self):
        """Exactly the limit over many reloads, each with requests in flight."""
        gate = self.begin(("authenticated", 400, DAY), OTHERS)
        octets = request("GET", "/", [bearer()])
        with Clients([(gate.port, octets)] * 4, rate=150) as load:
            for n in range(4):
                time.sleep(0.3)
                self.again(gate, rate_limits=tiers(("authenticated", 400, DAY), OTHERS), realm="r%d" % n)
            self.assertTrue(wait_until(lambda: any(a.status == 429 for a in list(load.answers[-50:])), 10))
        self.assertEqual(load.errors, [])
        self.assertEqual(sum(a.status == 200 for a in load.answers), 400)

    def test_how_it_is_told(self):
        """Each setting of the fields holds from the next answer on, and again when it is taken out."""
        limits = tiers(("authenticated", 1000, DAY), OTHERS)
        gate = self.begin(section=limits)
        names = ("X-RateLimit-Limit", "RateLimit")

        def told():
            m = ask(gate.port, "GET", "/", [bearer()])
            return [value(m, n) is not None for n in names]

        for more, want in (
            ({"x_ratelimit": "off"}, [False, True]),
            ({"ratelimit_fields": False}, [True, False]),
            ({"x_ratelimit": "off", "ratelimit_fields": False}, [False, False]),
            ({"x_ratelimit": "delta"}, [True, True]),
        ):
            self.again(gate, rate_limits={**limits, **more})
            self.assertEqual(told(), want, more)
        self.assertLessEqual(trio(ask(gate.port, "GET", "/", [bearer()]))[2], 86400)
        self.again(gate, rate_limits=limits)
        self.assertGreater(trio(ask(gate.port, "GET", "/", [bearer()]))[2], 86400)

    def test_off_and_on_again(self):
        """Whatever max_keys is: what is off says nothing of it."""
        on = {"max_keys": 2048, **tiers(("authenticated", 10, DAY), OTHERS)}
        gate = self.begin(section=on)
        self.assertEqual(self.left(gate), (10, 9))
        self.again(gate, rate_limits="off")
        self.assertIsNone(value(ask(gate.port, "GET", "/", [bearer()]), "X-RateLimit-Limit"))
        self.again(gate, rate_limits=on)
        self.assertEqual(self.left(gate), (10, 8))
        gate.configure(config([members(self.up)], rate_limits={**on, "max_keys": 4096}))
        gate.reload()
        self.assertTrue(wait_until(lambda: "max_keys can only change" in gate.stderr()), gate.stderr()[-500:])

    def test_max_keys_needs_a_restart(self):
        gate = self.begin(("authenticated", 10, DAY), OTHERS)
        gate.configure(config([members(self.up)], rate_limits={"max_keys": 2048, **tiers(("authenticated", 5, DAY), OTHERS)}))
        gate.reload()
        self.assertTrue(wait_until(lambda: "max_keys" in gate.stderr()), gate.stderr()[-500:])
        self.assertEqual(self.left(gate)[0], 10)


class Bounded(Begun):
    def test_a_blocked_key_stays_blocked(self):
        """With the smallest table, many newcomers: who has used up his limit is not let in by being forgotten."""
        gate = self.begin(
            ("authenticated", 1, DAY), ("unauthenticated", 2, DAY), section={"max_keys": 1024},
            routes=[public(self.up)], trusted_proxies=["127.0.0.0/8"], workers=1,
        )
        count = 4000 if SLOW else 6000
        with Client(gate.port) as c:
            def come(n):
                a = "10.%d.%d.%d" % (n >> 16, n >> 8 & 255, n & 255)
                return c.request("GET", "/", [("X-Forwarded-For", a)]).response().status

            blocked = range(300)
            for n in itertools.chain(blocked, blocked):
                self.assertEqual(come(n), 200)
            for n in range(1000, 1000 + count):
                come(n)
            self.assertEqual([n for n in blocked if come(n) != 429], [])
        metrics = gate.metrics()
        self.assertGreater(gate.metric("tollgate_ratelimit_evictions_total"), 0)
        self.assertRegex(metrics, r'(?m)^tollgate_ratelimit_keys\{algorithm="fixed"\} \d+')
        self.assertLessEqual(gate.metric("tollgate_ratelimit_keys"), 3 * 1024 + 64)


if __name__ == "__main__":
    main()
