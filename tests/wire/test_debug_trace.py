"""debug_trace: how a request was decided, in its own answer, for whoever knows the secret."""

import json

from harness import Case, Client, bearer, main, value
from test_mcp import ANYBODY, MEMBERS, call

SECRET = "0123456789abcdef-trace"
DEBUG = ("X-Tollgate-Debug", SECRET)
NAME = b"X-Tollgate-Trace"
STAFF = {"allow": {"and": [{"email": {"is": "staff@example.com"}}]}}


def documents(count, each, name):
    """So many policies with so many criteria each, none of which lets anybody in."""
    return [
        [{"allow": {"or": [{"email": {"is": "%d-%d-%s@example.com" % (i, k, name)}} for k in range(each)]}}]
        for i in range(count)
    ]


def lines(answer):
    return [v.decode("ascii") for v in answer.get(NAME)]


class Trace(Case):
    @classmethod
    def routes(cls, up):
        def route(name, **changes):
            return {"name": name, "prefix": "/" + name, "to": up.url, "debug_trace": SECRET, **changes}

        own = (
            b"HTTP/1.1 200 OK\r\nX-Tollgate-Trace: decision allow\r\nx-tollgate-trace: two\r\nX-Other: 1\r\n"
            b"Content-Length: 2\r\n\r\nok"
        )
        up.on("/staff/own", own)
        up.on("/plain/own", own)
        up.on("/staff/hints", b"HTTP/1.1 103 Early Hints\r\nX-Tollgate-Trace: x\r\nLink: </a>\r\n\r\n" + own)
        return [
            route("staff", policy=STAFF),
            route("open", policy={"allow": {"and": [{"accept": True}]}}),
            route("echo", policy=STAFF, to="echo:"),
            route("tools", policy=ANYBODY),
            route("members", policy=MEMBERS),
            route("many", policy=documents(30, 1, "x")),
            route("long", policy=documents(14, 7, "x" * 500)),
            route("shadow", policy=STAFF, mode="shadow"),
            route("dead", policy=STAFF, to="http://127.0.0.1:1"),
            {"name": "plain", "prefix": "/plain", "to": up.url, "policy": STAFF},
        ]

    @classmethod
    def settings(cls, up):
        return {
            "rate_limits": {
                "tiers": [
                    {"name": "few", "limit": 2, "window": "1h", "when": [{"claim/plan": "few"}]},
                    {"name": "members", "limit": 1000000, "window": "1m"},
                    {"name": "unauthenticated", "limit": 1000000, "window": "1m"},
                ]
            }
        }

    def traced(self, target, status, fields=(), **kwargs):
        answer = self.ask(kwargs.pop("method", "GET"), target, list(fields) + [DEBUG], **kwargs)
        self.assertStatus(answer, status)
        return answer, lines(answer)

    def test_a_refusal_tells_why(self):
        answer, told = self.traced("/staff/x", 403, [bearer()])
        self.assertEqual(told[:2], ["route staff", "identity user of test (https://issuer.test)"])
        self.assertRegex(told[2], r"^tier members, \d+ of 1000000 left, by subject, counter memory$")
        self.assertEqual(told[-1], "decision deny: email-unauthorized; refused: denied")
        tree = told[3:-1]
        self.assertTrue(any("email" in x and "user@example.com" in x for x in tree), tree)
        self.assertEqual([len(x) - len(x.lstrip(". ")) for x in tree if x][:1], [0], tree)
        self.assertTrue(any(x.startswith(". . ") for x in tree), tree)
        self.assertEqual(json.loads(answer.body)["code"], 403)

    def test_forwarded_and_served_answers_tell_it(self):
        for target in ("/staff/x", "/echo/x"):
            answer, told = self.traced(target, 200, [bearer(email="staff@example.com")])
            self.assertEqual((told[0], told[-1]), ("route " + target.split("/")[1], "decision allow: email-ok"))
            self.assertNotIn(SECRET.encode(), answer.raw)
        self.assertEqual(self.up.wait("/staff/x")[-1].get("X-Tollgate-Debug"), [])

    def test_no_token_and_a_bad_one(self):
        _, told = self.traced("/staff/x", 401)
        self.assertEqual(told[1], "identity none")
        self.assertEqual(told[-1], "decision unauthenticated: user-unauthenticated; refused: no-token")
        token = bearer(aud="elsewhere")
        answer, told = self.traced("/staff/x", 401, [token])
        self.assertEqual(told[1], "identity none: the token was refused (audience)")
        self.assertEqual(told[-1], "decision unauthenticated; refused: token-invalid")
        self.assertNotIn(token[1].split()[1].split(".")[2].encode(), answer.raw)
        self.assertNotIn("audience", json.loads(answer.body)["details"])

    def test_content_that_was_judged(self):
        _, told = self.traced("/tools", 403, method="POST", body=call("rm"))
        self.assertTrue(any("mcp_tool" in x and "rm" in x for x in told), told)
        answer, told = self.traced("/tools", 200, method="POST", body=call("a\r\nX: y\u2028\x7f\r\n\r\nb"))
        self.assertEqual(sum("mcp_tool" in x for x in told), 1)
        self.assertIsNone(value(answer, "X"))
        _, told = self.traced("/tools", 400, method="POST", body=b"[]")
        self.assertEqual(told[-1], "decision none; refused: malformed-call")

    def test_content_that_was_not_read(self):
        _, told = self.traced("/members", 401, method="POST", body=call("ping"))
        tool = [x for x in told if "mcp_tool" in x]
        self.assertEqual(len(tool), 1, told)
        self.assertNotIn("mcp-not-a-tool-call", tool[0])
        self.assertEqual(told[-1], "decision unauthenticated: user-unauthenticated; refused: no-token")

    def test_shadow_mode_is_told(self):
        _, told = self.traced("/shadow", 200, [bearer()])
        self.assertEqual(told[-2:], ["in shadow mode deny: email-unauthorized", "decision allow: accept"])

    def test_an_upstream_that_fails(self):
        _, told = self.traced("/dead", 502, [bearer(email="staff@example.com")])
        self.assertEqual(told[-1], "decision allow: email-ok; refused: upstream-failed")

    def test_without_the_secret_nothing_is_told(self):
        who = bearer(email="staff@example.com")
        for fields in (
            [],
            [("X-Tollgate-Debug", "")],
            [("X-Tollgate-Debug", SECRET[:-1])],
            [("X-Tollgate-Debug", SECRET + "x")],
            [("X-Tollgate-Debug", SECRET[:-1] + "X")],
            [("X-Tollgate-Debug", SECRET.upper())],
            [DEBUG, DEBUG],
            [DEBUG, ("X-Tollgate-Debug", "x")],
            [("X_Tollgate_Debug", SECRET)],
        ):
            for target, status in (("/staff/x", 200), ("/tools", 200)):
                answer = self.ask("GET", target, [who] + fields)
                self.assertStatus(answer, status)
                self.assertEqual(lines(answer), [], fields)
        self.assertEqual(lines(self.ask("GET", "/plain/x", [who, DEBUG])), [])

    def test_whoever_is_limited_cannot_guess(self):
        who = bearer(sub="guess", plan="few")
        for _ in range(2):
            self.assertEqual(self.traced("/staff/x", 403, [who])[1][2][:9], "tier few,")
        self.assertEqual(self.traced("/staff/x", 429, [who])[1], [])

    def test_an_upstreams_own_is_not_ours(self):
        who = bearer(email="staff@example.com")
        answer = self.ask("GET", "/staff/own", [who])
        self.assertEqual((lines(answer), value(answer, "X-Other")), ([], "1"))
        _, told = self.traced("/staff/own", 200, [who])
        self.assertEqual(told[0], "route staff")
        self.assertNotIn("two", told)
        self.assertEqual(lines(self.ask("GET", "/plain/own", [who])), ["decision allow", "two"])
        with Client(self.port) as c:
            interim = c.request("GET", "/staff/hints", [who]).response(interim=True)
            self.assertEqual((interim.status, lines(interim), value(interim, "Link")), (103, [], "</a>"))
            self.assertEqual(lines(c.response()), [])

    def test_it_is_bounded_and_printable(self):
        odd = "o\u00e9\n\u0001decision allow\r\nX: y\x7f"
        for target in ("/many", "/long"):
            answer, told = self.traced(target, 403, [bearer(sub=odd + "z" * 5000, email=odd)])
            self.assertLessEqual(len(told), 64)
            self.assertLessEqual(sum(map(len, told)), 8192)
            self.assertTrue(len(told) > 60 or sum(map(len, told)) > 6000, (len(told), sum(map(len, told))))
            self.assertTrue(told[1].startswith("identity o\\xc3\\xa9\\x0a\\x01decision allow\\x0d\\x0aX: y\\x7fzz"))
            self.assertEqual(told[-2:], ["...", "decision deny: email-unauthorized; refused: denied"])
            for x in told:
                self.assertTrue(all(" " <= ch <= "~" for ch in x), x)
            self.assertIsNone(value(answer, "X"))

    def test_no_cache_keeps_it(self):
        """A cache in front of us would hand it to others."""
        who = bearer(email="staff@example.com")
        head = b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 2\r\n\r\nok"
        self.up.on("/staff/cached", head)
        answer, _ = self.traced("/staff/cached", 200, [who])
        self.assertEqual(value(answer, "Cache-Control"), "no-store")
        self.assertEqual(value(self.ask("GET", "/staff/cached", [who]), "Cache-Control"), "public, max-age=60")
        for target, status in (("/echo", 200), ("/dead", 502), ("/staff/x", 200)):
            self.assertEqual(value(self.traced(target, status, [who])[0], "Cache-Control"), "no-store", target)

    def test_requests_in_a_row_are_told_apart(self):
        with Client(self.port) as c:
            for i in range(6):
                c.request("GET", "/staff/x", [bearer()] + ([DEBUG] if i % 2 else []))
                self.assertEqual(bool(lines(c.response())), bool(i % 2))

    def test_head(self):
        with Client(self.port) as c:
            c.request("HEAD", "/staff/x", [bearer(), DEBUG])
            self.assertEqual(lines(c.response(head=True))[0], "route staff")


if __name__ == "__main__":
    main()
