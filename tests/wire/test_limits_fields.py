"""The rate-limit fields on the wire: one story in all of them, an upstream's own, and 429 in every format."""

import json
import math
import socket
import struct
import time

from harness import Client, ask, bearer, config, free_port, main, members, public, value, wait_until
from limits import DAY, OTHERS, Begun, items, tiers, trio
from redis_server import Redis

X = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
RATELIMIT = ("RateLimit", "RateLimit-Policy")
FORMATS = ("zero", "problem", "oauth", "pomerium", "zerops", "zitadel")
QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class Told(Begun):
    def story(self, m, windows, delta=False):
        """All fields of one answer say the same; the telling window's seconds."""
        limit, left, reset = trio(m)
        told = items(m)
        self.assertEqual([n for n, _ in told], [n for n, _, _ in windows])
        self.assertEqual(items(m, "RateLimit-Policy"), [(n, {"q": q, "w": w}) for n, q, w in windows])
        t = min((p["r"], -p["t"]) for _, p in told)
        telling = [(q, p["t"]) for (_, p), (_, q, _) in zip(told, windows) if (p["r"], -p["t"]) == t]
        self.assertIn(limit, [q for q, _ in telling])
        self.assertEqual(left, t[0])
        for (_, p), (_, q, w) in zip(told, windows):
            self.assertTrue(0 <= p["r"] < q or m.status == 429, p)
            self.assertTrue(0 <= p["t"] <= w, p)
        seconds = reset if delta else reset - time.time()
        self.assertLessEqual(abs(seconds + t[1]), 0 if delta else 1.1)
        return -t[1]

    def test_one_story_on_every_answer(self):
        """Of tollgate's own and of the upstream's, with one window and with several, in seconds and as a time."""
        hour = [("authenticated-1h", 40, 3600), ("authenticated-24h", 60, 86400)]
        for delta in (False, True):
            gate = self.begin(
                ("authenticated", [{"limit": 40, "window": "1h"}, {"limit": 60, "window": DAY}]),
                ("unauthenticated", 50, "1m"),
                section={"x_ratelimit": "delta"} if delta else {},
                routes=[
                    public("http://127.0.0.1:%d" % free_port(), name="dead", prefix="/dead"),
                    {"name": "never", "prefix": "/never", "to": self.up.url},
                    members(self.up),
                ],
            )
            guest = [("unauthenticated", 50, 60)]
            for why, status, windows, args in (
                ("200", 200, hour, ("GET", "/", [bearer()])),
                ("400", 400, guest, ("GET", "/", [("Authorization", "Bearer a b")])),
                ("400 path", 400, guest, ("GET", "/%zz")),
                ("401", 401, guest, ("GET", "/")),
                ("403", 403, hour, ("GET", "/never", [bearer()])),
                ("405", 405, guest, ("TRACE", "/")),
                ("502", 502, guest, ("GET", "/dead")),
                ("HEAD", 200, hour, ("HEAD", "/", [bearer()])),
            ):
                with self.subTest(why, delta=delta):
                    m = ask(gate.port, *args)
                    self.assertStatus(m, status)
                    self.story(m, windows, delta)
            for _ in range(82):  # twice the limit: the hour may end meanwhile
                m = ask(gate.port, "GET", "/", [bearer(sub="busy")])
            self.assertStatus(m, 429)
            m = ask(gate.port, "GET", "/", [bearer(sub="busy")])
            self.assertEqual(self.story(m, hour, delta), int(value(m, "Retry-After")))

    def test_each_family_can_be_off(self):
        for section, there in (
            ({}, X + RATELIMIT),
            ({"ratelimit_fields": False}, X),
            ({"x_ratelimit": "off"}, RATELIMIT),
            ({"x_ratelimit": "off", "ratelimit_fields": False}, ()),
        ):
            with self.subTest(section):
                gate = self.begin(("authenticated", 2, DAY), OTHERS, section=section)
                for status in (200, 200, 429):
                    m = ask(gate.port, "GET", "/", [bearer()])
                    self.assertStatus(m, status)
                    self.assertEqual([n for n in X + RATELIMIT if value(m, n)], list(there))
                    self.assertEqual(value(m, "Retry-After") is not None, status == 429)

    def test_an_answer_that_takes_its_time(self):
        """The seconds are told as they are when the answer goes out."""
        def slowly(c, r):
            time.sleep(1.2)
            c.answer(200)

        self.up.on("/slow", slowly)
        gate = self.begin(("authenticated", 9, "1h"), OTHERS)
        begun = time.time()
        m = ask(gate.port, "GET", "/slow", [bearer()])
        end = math.ceil(begun / 3600) * 3600
        self.assertLessEqual(abs(items(m)[0][1]["t"] - (end - time.time())), 1.1)


class Upstream(Begun):
    """What the upstream says of its own limits: never doubled, never mixed with ours."""

    def answers(self, section, *fields):
        self.up.on("/own", lambda c, r: c.answer(200, list(fields)))
        gate = self.begin(("authenticated", 100, DAY), OTHERS, section=section)
        m = ask(gate.port, "GET", "/own", [bearer()])
        self.assertStatus(m, 200)
        return m

    def own(self, limit="60", left="5", reset="30"):
        return list(zip(X, (limit, left, reset)))

    def test_replaced(self):
        m = self.answers({}, *self.own(), ("x-ratelimit-limit", "7"), ("RateLimit", '"up";r=500;t=9'),
                         ("RateLimit-Policy", '"up";q=500;w=9'))
        self.assertEqual(trio(m)[:2], (100, 99))
        self.assertEqual(items(m)[0][0], "authenticated")
        self.assertEqual(items(m, "RateLimit-Policy")[0][0], "authenticated")

    def test_stricter_passes(self):
        """upstream_x_ratelimit: stricter."""
        soon = str(int(time.time()) + 60)
        for why, fields, passes in (
            ("fewer left", self.own(), True),
            ("with a time", self.own(reset=soon), True),
            ("other spelling", [(n.lower(), v) for n, v in self.own()], True),
            ("as many left", self.own("200", "99"), False),
            ("more left", self.own("200", "150"), False),
            ("a reset gone by", self.own(reset="1700000000"), False),
            ("two of three", self.own()[:2], False),
            ("one of them twice", self.own() + [("X-RateLimit-Remaining", "4")], False),
            ("no number", self.own(left="few"), False),
        ):
            with self.subTest(why):
                m = self.answers({"upstream_x_ratelimit": "stricter"}, *fields)
                self.assertEqual(trio(m), tuple(int(v) for _, v in fields) if passes else trio(m))
                self.assertEqual(trio(m)[0] == 100, not passes)
                self.assertEqual(items(m)[0][0], "authenticated", "the other family is ours")

    def test_never_more_lax_than_the_upstream(self):
        """RateLimit with fewer left passes, with its policy and without ours; lines come together as one."""
        policy = ("RateLimit-Policy", '"up";q=50;w=10')
        for why, fields, told in (
            ("fewer left", [("RateLimit", '"up";r=5;t=9'), policy], ('"up";r=5;t=9', policy[1])),
            ("without a policy", [("RateLimit", '"up";r=5;t=9')], ('"up";r=5;t=9', None)),
            ("two lines", [("RateLimit", '"a";r=500'), ("ratelimit", '"b";r=5'), policy],
             ('"a";r=500, "b";r=5', policy[1])),
            ("two lines of policy", [("RateLimit", '"a";r=5'), ("RateLimit-Policy", '"a";q=9'), policy],
             ('"a";r=5', '"a";q=9, ' + policy[1])),
            ("more left", [("RateLimit", '"up";r=99;t=9'), policy], None),
            ("not by the letter", [("RateLimit", "limit=50, remaining=5, reset=9"), policy], None),
            ("a policy alone", [policy], None),
        ):
            for section in ({}, {"upstream_x_ratelimit": "stricter"}):
                with self.subTest(why, **section):
                    m = self.answers(section, *fields)
                    self.assertEqual(trio(m)[:2], (100, 99))
                    if told:
                        self.assertEqual((value(m, "RateLimit"), value(m, "RateLimit-Policy")), told)
                    else:
                        self.assertEqual(items(m)[0][0], "authenticated")
                        self.assertEqual(value(m, "RateLimit-Policy"), '"authenticated";q=100;w=86400')

    def test_untouched_where_ours_are_off(self):
        fields = self.own("500", "400", "30") + [("RateLimit", "whatever"), ("RateLimit-Policy", "they say")]
        for section, passing in (
            ({"ratelimit_fields": False}, fields[3:]),
            ({"x_ratelimit": "off"}, fields[:3]),
        ):
            with self.subTest(section):
                m = self.answers(section, *fields)
                for name, text in fields:
                    self.assertEqual(value(m, name) == text, (name, text) in passing, name)
        self.up.on("/own", lambda c, r: c.answer(200, fields))
        m = ask(self.start(config([members(self.up)], rate_limits="off")).port, "GET", "/own", [bearer()])
        self.assertEqual([value(m, n) for n, _ in fields], [v for _, v in fields])

    def test_whatever_else_would_mix(self):
        """Names that servers fold, what Connection names, what the route sets: not beside the family that is told."""
        stricter = {"upstream_x_ratelimit": "stricter"}
        m = self.answers(stricter, *self.own(), ("X_RateLimit_Limit", "1"), ("RateLimit_Policy", '"x";q=1'))
        self.assertEqual(trio(m), (60, 5, 30))
        self.assertIsNone(value(m, "X_RateLimit_Limit"))
        self.assertIsNone(value(m, "RateLimit_Policy"))
        m = self.answers(stricter, ("Connection", "x-ratelimit-limit, close"), *self.own())
        self.assertEqual(trio(m), (60, 5, 30))
        self.up.on("/own", lambda c, r: c.answer(200, [("RateLimit", '"up";r=5')]))
        route = members(self.up, set_response_headers={"RateLimit-Policy": "of the route", X[0]: "12"})
        gate = self.begin(("authenticated", 100, DAY), OTHERS, routes=[route])
        m = ask(gate.port, "GET", "/own", [bearer()])
        self.assertEqual((value(m, "RateLimit"), value(m, "RateLimit-Policy")), ('"up";r=5', None))
        self.assertEqual(trio(m)[0], 100)

    def test_interim_answers(self):
        """A 1xx of the upstream tells nothing of a family that the final answer tells; however it is spelled."""
        fields = self.own() + [("RateLimit", '"up";r=5'), ("ratelimit_policy", '"up";q=9'), ("Link", "</a>")]
        head = b"HTTP/1.1 103 Early Hints\r\n" + b"".join(b"%s: %s\r\n" % (n.encode(), v.encode()) for n, v in fields)
        for section, told in (
            ({}, {"Link"}),
            ({"upstream_x_ratelimit": "stricter"}, {"Link"}),
            ({"ratelimit_fields": False}, {"RateLimit", "ratelimit_policy", "Link"}),
            ({"x_ratelimit": "off"}, set(X) | {"Link"}),
        ):
            with self.subTest(section):
                self.up.on("/own", lambda c, r: (c.send(head + b"\r\n"), c.answer(200)))
                gate = self.begin(("authenticated", 100, DAY), OTHERS, section=section)
                with Client(gate.port) as c:
                    early = c.request("GET", "/own", [bearer()]).response(interim=True)
                    self.assertStatus(early, 103)
                    self.assertEqual({n.decode() for n, _ in early.headers}, told)
                    self.assertStatus(c.response(), 200)

    def test_429_of_the_upstream(self):
        """It goes on as it is, with its Retry-After; it is no refusal of ours."""
        self.up.on("/own", lambda c, r: c.answer(429, [("Retry-After", "17")], b"slow down"))
        gate = self.begin(("authenticated", 100, DAY), OTHERS)
        m = ask(gate.port, "GET", "/own", [bearer()])
        self.assertEqual((m.status, value(m, "Retry-After"), m.body), (429, "17", b"slow down"))
        self.assertEqual(trio(m)[:2], (100, 99))
        self.assertNotIn("refused", gate.log()[0])


class Formats(Begun):
    def test_every_format(self):
        routes = [members(self.up, name=f, prefix="/" + f, error_format=f) for f in FORMATS]
        gate = self.begin(
            ("authenticated", [{"limit": 1, "window": "1h"}, {"limit": 1, "window": DAY},
                               {"limit": 1, "window": "12h", "mode": "shadow"}, {"limit": 9, "window": "6h"}]),
            OTHERS, routes=routes,
        )
        self.assertStatus(ask(gate.port, "GET", "/zero", [bearer()]), 200)
        for f in FORMATS:
            with self.subTest(f):
                m = ask(gate.port, "GET", "/" + f, [bearer()])
                self.assertStatus(m, 429)
                self.assertEqual(trio(m)[:2], (1, 0))
                self.assertEqual(value(m, "Content-Type"),
                                 "application/problem+json" if f == "problem" else "application/json")
                self.assertGreater(int(value(m, "Retry-After")), 0)
                body = json.loads(m.body)
                if f == "problem":
                    self.assertEqual(body["type"], QUOTA)
                    self.assertEqual(body["violated-policies"], ["authenticated-1h", "authenticated-24h"])
                    policies = [n for n, _ in items(m, "RateLimit-Policy")]
                    self.assertEqual(policies, ["authenticated-1h", "authenticated-6h", "authenticated-24h"])
                else:
                    self.assertNotIn("violated-policies", body)
                self.assertIn({"zero": 429, "problem": 429, "zitadel": 8}.get(f, body.get("code")), (body.get("code"),))

    def test_grpc(self):
        gate = self.begin(("authenticated", 1, DAY), OTHERS)
        grpc = [bearer(), ("Content-Type", "application/grpc")]
        self.assertStatus(ask(gate.port, "POST", "/", [bearer()], b""), 200)
        m = ask(gate.port, "POST", "/", grpc, b"")
        self.assertEqual((m.status, value(m, "grpc-status")), (200, "8"))
        self.assertGreater(int(value(m, "Retry-After")), 0)
        self.assertEqual(trio(m)[:2], (1, 0))

    def test_head(self):
        gate = self.begin(("authenticated", 1, DAY), OTHERS)
        for status in (200, 429):
            m = ask(gate.port, "HEAD", "/", [bearer()])
            self.assertEqual((m.status, m.body), (status, b""))

    def test_debug_trace_tells_the_tier(self):
        gate = self.begin(
            ("authenticated", [{"limit": 3, "window": "1h"}, {"limit": 2, "window": DAY, "mode": "shadow"}]), OTHERS,
            routes=[members(self.up, debug_trace="secret-" * 4)],
        )
        me = [bearer(), ("X-Tollgate-Debug", "secret-" * 4)]
        for _ in range(3):
            m = ask(gate.port, "GET", "/", me)
        lines = [v.decode() for v in m.get(b"X-Tollgate-Trace")]
        self.assertIn("tier authenticated, 0 of 3 left in authenticated-1h, by subject, counter memory, "
                      "a limit in shadow mode was reached", lines)


class Waiting(Begun):
    """A request whose permit is asked of a store that takes its time."""

    def store(self, **section):
        redis = Redis(free_port())
        self.addCleanup(redis.stop)
        routes = [members(self.up, name=f, prefix="/" + f, error_format=f) for f in FORMATS] + [members(self.up)]
        gate = self.begin(
            ("authenticated", 40, DAY), ("unauthenticated", 40, DAY), routes=routes,
            section={"store": redis.url(), "store_secret": "s" * 32, "store_timeout": "1s", **section},
        )
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_ratelimit_store_up") == 1))
        return redis, gate

    def test_clients_that_go_away_and_stay(self):
        """Who waits is answered once the store answers, with what it says; who leaves is logged and forgotten."""
        redis, gate = self.store()
        redis.pause()
        stay, leave = ([Client(gate.port) for _ in range(6)] for _ in range(2))
        for n, c in enumerate(stay + leave):
            c.request("GET", "/wait", [bearer(sub="s%d" % (n % 6))])
        self.assertTrue(stay[0].silent(0.1), "it is decided by nobody yet")
        for c in leave:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        time.sleep(0.1)
        redis.resume()
        for c in stay:
            m = c.response()
            self.assertStatus(m, 200)
            self.assertEqual(trio(m)[0], 40)
            self.assertLessEqual(int(value(m, "X-RateLimit-Remaining")), 39)
            c.close()
        lines = gate.log("/wait", 12)
        self.assertEqual(sorted(x.get("error", "") for x in lines), [""] * 6 + ["client-gone"] * 6)
        self.assertEqual({x["counter"] for x in lines if "error" not in x}, {"redis"})
        self.assertEqual({x.get("tier") for x in lines if "error" in x}, {None}, "they were not counted")

    def test_a_reload_with_another_store(self):
        """Who waits for the former store asks the one that is there now."""
        for store in (None, "memory", "redis"):
            with self.subTest(store):
                redis, gate = self.store()
                redis.pause()
                with Client(gate.port) as stays, Client(gate.port) as leaves:
                    for c in (stays, leaves):
                        c.request("GET", "/wait", [bearer()])
                    self.assertTrue(stays.silent(0.1))
                    section = tiers(("authenticated", 40, DAY), OTHERS)
                    if store:
                        section["store"] = "memory" if store == "memory" else redis.url()
                    if store == "redis":                     # the same one, other names: it has to be waited for again
                        section.update(store_secret="t" * 32, store_timeout="300ms")
                    gate.configure(config([members(self.up)], workers=2, rate_limits=section))
                    gate.reload()
                    m = stays.response()
                    self.assertStatus(m, 200)
                    self.assertIn(trio(m)[:2], ((40, 39), (40, 38)))
                redis.resume()
                line = gate.log("/wait", 1)[0]
                self.assertEqual(line["counter"], "local" if store == "redis" else "memory")

    def test_at_the_end(self):
        """A drain while requests wait: they are answered, none is lost."""
        redis, gate = self.store()
        redis.pause()
        with Client(gate.port) as c:
            c.request("GET", "/wait", [bearer()])
            self.assertTrue(c.silent(0.1))
            gate.proc.terminate()
            self.assertStatus(c.response(), 200)             # store_timeout is over: counted here
        redis.resume()

    def test_denied_in_every_format(self):
        """when_store_fails: deny, and nobody can count: 503, a moment to wait, the words of the route's format."""
        redis, gate = self.store(when_store_fails="deny", store_timeout="20ms")
        redis.kill()
        for f in FORMATS:
            with self.subTest(f):
                m = ask(gate.port, "GET", "/" + f, [bearer(sub=f)])
                self.assertStatus(m, 503)
                after = int(value(m, "Retry-After"))
                self.assertIn(after, range(1, 6), "not for as long as the window lasts")
                self.assertEqual(items(m), [("authenticated", {"r": 0, "t": after})])
                self.assertEqual(trio(m)[:2], (40, 0))
                self.assertLessEqual(abs(trio(m)[2] - time.time() - after), 1.1)
                self.assertEqual(value(m, "Cache-Control"), "no-store")
                body = json.loads(m.body)
                self.assertNotIn("violated-policies", body)
                if f == "zero":
                    self.assertEqual(body["details"], "the rate limit cannot be counted now")
                elif f == "problem":
                    self.assertEqual((body["type"], body["status"]), ("about:blank", 503))
        m = ask(gate.port, "POST", "/", [bearer(), ("Content-Type", "application/grpc")], b"")
        self.assertEqual((m.status, value(m, "grpc-status")), (200, "14"))
        self.assertStatus(ask(gate.port, "GET", "/%zz"), 400, "400 stays 400")
        self.assertStatus(ask(gate.port), 503, "whom nobody can count is not told whether he is known")
        self.assertEqual({x["refused"] for x in gate.log(count=9)}, {"no-counter", "ambiguous-path"})
        self.assertEqual(gate.metric("tollgate_ratelimit_requests_total", result="unavailable"), 8)
        self.assertEqual(gate.metric("tollgate_ratelimit_store_up"), 0)


if __name__ == "__main__":
    main()
