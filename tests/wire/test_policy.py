"""What the policy lets through, on the wire; the language itself: tests/unit/policy and tests/conformance."""

import json

from harness import Case, bearer, main, members, value


def route(up, path, ppl=None, **changes):
    policy = {"policy": ppl} if ppl else {}
    return {"name": path.strip("/"), "prefix": path, "to": up.url, **policy, **changes}


class Policy(Case):
    @classmethod
    def routes(cls, up):
        staff = {"email": {"is": "user@example.com"}}
        return [
            route(up, "/staff", {"allow": {"and": [staff]}}),
            route(up, "/told", {"allow": {"and": [{"domain": {"is": "corp.example"}}]}}, show_error_details=True),
            route(up, "/named", policies=["weekend", "corp"], show_error_details=True),
            route(up, "/hidden", policies=["corp"]),
            route(up, "/not", {"allow": {"not": [{"email": {"is": "evil@example.com"}}]}}),
            route(up, "/nor", {"allow": {"nor": [{"domain": {"is": "evil.example"}}]}}),
            route(
                up,
                "/deny",
                {"allow": {"and": [{"accept": True}]}, "deny": {"and": [{"http_method": {"is": "DELETE"}}]}},
            ),
            route(up, "/anonymous-deny", {"allow": {"and": [{"accept": True}]}, "deny": {"and": [staff]}}),
            route(up, "/open", {"allow": {"and": [{"accept": True}]}}),
            route(up, "/closed"),
            {"name": "users", "prefix": "/users", "to": up.url, "allowed_users": ["user@example.com"]},
            {"name": "domains", "prefix": "/domains", "to": up.url, "allowed_domains": ["example.com"]},
            {"name": "claims", "prefix": "/claims", "to": up.url, "allowed_idp_claims": {"role": ["admin"]}},
            {
                "name": "cors",
                "prefix": "/cors",
                "to": up.url,
                "allow_any_authenticated_user": True,
                "cors_allow_preflight": True,
            },
            members(up, name="rest"),
        ]

    @classmethod
    def settings(cls, up):
        return {
            "policies": [
                {
                    "name": "corp",
                    "ppl": {"allow": {"and": [{"domain": {"is": "corp.example"}}]}},
                    "explanation": "Only colleagues may do this.",
                    "remediation": "Ask the help desk.",
                },
                {
                    "name": "weekend",
                    "ppl": {"deny": {"and": [{"http_method": {"is": "PATCH"}}]}},
                    "explanation": "Nothing is changed today.",
                },
            ]
        }

    def status(self, path, method="GET", fields=None, **claims):
        return self.ask(method, path, [bearer(**claims)] if fields is None else fields).status

    def test_decisions(self):
        """(path, claims or None for anonymous) to status, each with its reason."""
        for path, claims, want, why in (
            ("/staff", {}, 200, "the e-mail matches"),
            ("/staff", {"email": "other@example.com"}, 403, "another e-mail"),
            ("/staff", {"email": None}, 403, "no e-mail"),
            ("/staff", None, 401, "nobody: unauthenticated, not forbidden"),
            ("/not", {}, 200, "not evil"),
            ("/not", {"email": "evil@example.com"}, 403, "evil"),
            ("/not", None, 401, "a not that nobody's absence makes true does not admit"),
            ("/nor", {}, 200, "none of them"),
            ("/nor", None, 401, "a nor that nobody's absence makes true does not admit"),
            ("/open", None, 200, "accept needs nobody"),
            ("/anonymous-deny", None, 401, "a deny that asks who it is comes before allow"),
            ("/anonymous-deny", {}, 403, "denied"),
            ("/anonymous-deny", {"email": "other@example.com"}, 200, "not denied"),
            ("/closed", {}, 403, "a route without any policy denies"),
            ("/users", {}, 200, "allowed_users"),
            ("/users", {"email": "x@example.com"}, 403, "allowed_users"),
            ("/domains", {}, 200, "allowed_domains"),
            ("/domains", {"email": "u@example.com.evil"}, 403, "allowed_domains"),
            ("/claims", {"role": "admin"}, 200, "allowed_idp_claims"),
            ("/claims", {"role": "user"}, 403, "allowed_idp_claims"),
            ("/claims", {}, 403, "claim absent"),
        ):
            with self.subTest(why, path=path, claims=claims):
                self.assertEqual(self.status(path, fields=[] if claims is None else None, **(claims or {})), want)

    def test_method(self):
        self.assertEqual(self.status("/deny"), 200)
        self.assertEqual(self.status("/deny", "DELETE"), 403)

    def test_403_body(self):
        """Policy refusals carry no challenge, and say why only where show_error_details is on."""
        m = self.ask("GET", "/hidden", [bearer()])
        self.assertProblem(m, 403, "forbidden")
        self.assertIsNone(value(m, "WWW-Authenticate"))
        for word in (b"colleagues", b"help desk", b"corp", b"hidden"):
            self.assertNotIn(word, m.body)
        m = self.ask("GET", "/named", [bearer()])
        self.assertProblem(m, 403, "forbidden")
        details = json.loads(m.body)["details"]
        self.assertIn("Only colleagues may do this.", details)
        self.assertIn("Ask the help desk.", details)
        m = self.ask("PATCH", "/named", [bearer(email="a@corp.example")])
        self.assertIn("Nothing is changed today.", json.loads(m.body)["details"])
        self.assertEqual(self.status("/named", email="a@corp.example"), 200)

    def test_the_path_the_policy_sees_is_the_path_the_upstream_gets(self):
        """No spelling of a closed path reaches the upstream as that path."""
        for target in ("/closed", "/%63losed", "//closed", "/x/../closed", "/./closed", "/rest/..//closed"):
            with self.subTest(target):
                self.assertEqual(self.ask("GET", target, [bearer()]).status, 403)
        self.assertEqual([r for r in self.up.requests if "closed" in r.target], [])

    def test_preflight(self):
        """A preflight carries no credentials (Fetch standard); only a real one passes."""
        real = [("Origin", "https://a.test"), ("Access-Control-Request-Method", "PUT")]
        self.assertEqual(self.ask("OPTIONS", "/cors", real).status, 200)
        self.assertEqual(self.ask("OPTIONS", "/cors", real[:1]).status, 401)
        self.assertEqual(self.ask("GET", "/cors", real).status, 401)
        self.assertEqual(self.ask("OPTIONS", "/rest", real).status, 401)


if __name__ == "__main__":
    main()
