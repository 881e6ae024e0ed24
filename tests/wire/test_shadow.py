"""Policies and routes in shadow mode: asked, logged and counted, never applied."""

import gzip
import json

from harness import Case, Client, bearer, main
from test_mcp import ANYBODY, BOUND, call, chunked, sized

STAFF = {"allow": {"and": [{"email": {"is": "staff@example.com"}}]}}
OPEN = {"allow": {"and": [{"accept": True}]}}
NO_DELETE = {"deny": {"or": [{"http_method": {"is": "DELETE"}}]}}


class Shadow(Case):
    @classmethod
    def routes(cls, up):
        def route(name, **changes):
            return {"name": name, "prefix": "/" + name, "to": up.url, **changes}

        return [
            route("policy", policy=OPEN, policies=["tried"]),
            route("guarded", policy=OPEN, policies=["no-put"]),
            route("stricter", policy=STAFF, policies=["opener"]),
            route("route", policy=STAFF, mode="shadow"),
            route("members", policy={"allow": {"and": [{"authenticated_user": True}]}}, mode="shadow"),
            route("tools", policy=OPEN, policies=["tools"]),
            route("echo", to="echo:", policy=OPEN, policies=["tools"]),
            route("plain", policy=OPEN),
        ]

    @classmethod
    def settings(cls, up):
        return {
            "limits": {"mcp_body": BOUND, "body": 8 * BOUND},
            "policies": [
                {"name": "tried", "ppl": STAFF, "mode": "shadow", "explanation": "Only staff."},
                {"name": "no-put", "ppl": {"deny": {"or": [{"http_method": {"is": "PUT"}}]}}, "mode": "shadow"},
                {"name": "opener", "ppl": OPEN, "mode": "shadow"},
                {"name": "tools", "ppl": ANYBODY, "mode": "shadow"},
                {"name": "no-delete", "ppl": NO_DELETE, "enforced": True},
            ],
        }

    def counted(self, route, decision, enforced):
        return self.gate.metric("tollgate_shadow_decisions_total", route=route, decision=decision, enforced=enforced)

    def asked(self, path, status, shadow, **request):
        """Asks, and compares the answer and what the log says of shadow mode."""
        before = len(self.gate.log(path, 0))
        answer = self.ask(target=path, **request)
        self.assertStatus(answer, status)
        line = self.gate.log(path, before + 1)[-1]
        self.assertEqual(line.get("shadow"), shadow)
        return line

    def test_a_policy_is_not_applied(self):
        allowed = {"decision": "allow", "reasons": ["accept"]}
        # allows of several policies are alternatives: without the opener only staff come in
        self.asked("/policy/any", 200, allowed)
        line = self.asked("/stricter/other", 403, allowed, fields=[bearer()])
        self.assertEqual((line["decision"], line["reasons"]), ("deny", ["email-unauthorized"]))
        self.assertEqual(self.counted("stricter", "allow", "deny"), 1)
        self.asked("/guarded/x", 200, {"decision": "deny", "reasons": ["http-method-ok"], "policy": "no-put"},
                   method="PUT")  # fmt: skip
        self.asked("/guarded/x", 200, allowed)
        counts = [self.counted("guarded", d, "allow") for d in ("allow", "deny", "unauthenticated")]
        self.assertEqual(counts, [1, 1, 0])
        labels = {"policy": "no-put", "decision": "deny"}
        self.assertEqual(self.gate.metric("tollgate_policy_decisions_total", mode="shadow", **labels), 1)
        self.assertEqual(self.gate.metric("tollgate_policy_decisions_total", mode="enforced", **labels), 0)

    def test_a_route_is_not_applied(self):
        path = "/route/orders"
        login = {"decision": "unauthenticated", "reasons": ["user-unauthenticated"]}
        self.asked(path, 200, login)
        denied = {"decision": "deny", "reasons": ["email-unauthorized"]}
        self.asked(path, 200, denied, fields=[bearer()])
        line = self.asked(path, 200, {"decision": "allow", "reasons": ["email-ok"]},
                          fields=[bearer(email="staff@example.com")])  # fmt: skip
        self.assertEqual((line["decision"], line["sub"]), ("allow", "user"))
        counts = [self.counted("route", d, "allow") for d in ("unauthenticated", "deny", "allow")]
        self.assertEqual(counts, [1, 1, 1])
        self.assertEqual(
            self.gate.metric("tollgate_policy_decisions_total", policy="route:route", decision="deny", mode="shadow"), 1
        )

    def test_enforced_policies_apply_to_a_route_in_shadow_mode(self):
        path = "/members/orders"
        line = self.asked(path, 403, {"decision": "deny", "reasons": ["http-method-ok"], "policy": "no-delete"},
                          method="DELETE", fields=[bearer()])  # fmt: skip
        self.assertEqual((line["decision"], line["policy"]), ("deny", "no-delete"))
        for mode in ("enforced", "shadow"):
            self.assertEqual(
                self.gate.metric("tollgate_policy_decisions_total", policy="no-delete", decision="deny", mode=mode), 1
            )

    def test_a_bad_token_is_refused_all_the_same(self):
        for path in ("/route/bad", "/members/bad"):
            line = self.asked(path, 401, None, fields=[bearer(exp=1)])
            self.assertEqual(line["refused"], "token-expired")

    def test_a_route_without_it_says_nothing(self):
        self.asked("/plain/orders", 200, None)
        self.assertNotIn('route="plain",decision', self.gate.metrics())

    # ---- content that only a policy in shadow mode asks about ----
    def test_a_call_is_judged_and_let_through(self):
        path = "/tools/call"
        denied = {"decision": "deny", "reasons": ["mcp-tool-match"], "policy": "tools"}
        self.asked(path, 200, denied, method="POST", body=call("rm"))
        self.asked(path, 200, {"decision": "allow", "reasons": ["accept"]}, method="POST", body=call("ping"))
        self.assertEqual([r.body for r in self.up.wait(path, 2)], [call("rm"), call("ping")])

    def test_content_that_cannot_be_judged_goes_on(self):
        path = "/tools/other"
        never = {"decision": "deny", "reasons": ["mcp-not-a-tool-call"]}
        bodies = [b"[]", b"plain text", gzip.compress(call("rm")), sized(BOUND + 1), sized(4 * BOUND)]
        for body in bodies:
            self.asked(path, 200, never, method="POST", body=body)
        self.asked(path, 200, never, method="POST", body=call("rm"), fields=[("Content-Encoding", "gzip")])
        self.assertEqual([r.length for r in self.up.wait(path, 6)], [len(b) for b in bodies + [call("rm")]])
        for r, body in zip(self.up.find(path), bodies):
            self.assertEqual(r.body, body)
        self.asked(path, 413, never, method="POST", body=sized(8 * BOUND + 1))

    def test_chunked_content_over_the_bound_goes_on(self):
        path = "/tools/chunked"
        for size in (BOUND - 1, BOUND, BOUND + 1, BOUND + 20000, 5 * BOUND):
            for pieces in ((1000,), (BOUND, 1), (size,)):
                whole = chunked(path, sized(size), pieces, b"Sum: 7\r\n")
                with Client(self.port) as c:
                    for i in range(0, len(whole), 70001):
                        c.send(whole[i : i + 70001])
                    answer = json.loads(c.response().body)
                    self.assertStatus(c.request("GET", path).response(), 200)
                self.assertEqual((answer["length"], answer["trailers"]), (size, [["Sum", "7"]]))
                self.assertEqual(self.up.wait(path)[-2].body, sized(size))

    def test_too_much_is_refused_in_the_middle(self):
        path = "/tools/refused"
        with Client(self.port) as c:
            c.send(chunked(path, sized(9 * BOUND), (5000,)))
            self.assertStatus(c.response(), 413)

    def test_the_echo_shows_its_beginning(self):
        answer = self.ask("POST", "/echo", [], sized(BOUND + 500))
        self.assertTrue(json.loads(answer.body)["body"].startswith('{"jsonrpc"'))
        with Client(self.port) as c:
            c.send(chunked("/echo", b"[1]"))
            self.assertEqual(json.loads(c.response().body)["body"], "[1]")
            c.send(chunked("/echo", sized(2 * BOUND), (4096,)))
            self.assertTrue(json.loads(c.response().body)["body"].startswith('{"jsonrpc"'))

    def test_expect(self):
        with Client(self.port) as c:
            head = [("Content-Length", str(2 * BOUND)), ("Expect", "100-continue")]
            c.request("POST", "/tools/expect", head)
            self.assertStatus(c.response(interim=True), 100)
            self.assertStatus(c.send(sized(2 * BOUND)).response(interim=True), 200)


if __name__ == "__main__":
    main()
