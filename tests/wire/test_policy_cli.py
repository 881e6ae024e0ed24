"""`tollgate test` on the policy library and on what can go wrong; `tollgate replay` on a log that a tollgate wrote."""

import glob
import json
import os
import random
import re
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

import certs
from harness import ISSUER, PATIENCE, SLOW, TOP, Case, ask, bearer, config, main, provider, run

POLICIES = os.path.join(TOP, "policies")


class Folder(Case):
    def setUp(self):
        d = tempfile.TemporaryDirectory(prefix="tollgate-policy.")
        self.addCleanup(d.cleanup)
        self.dir = d.name

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text if isinstance(text, str) else json.dumps(text))
        return path


class Library(Folder):
    """policies/: what is given to users to copy."""

    def names(self):
        return sorted(
            os.path.basename(p)[: -len(".yaml")]
            for p in glob.glob(os.path.join(POLICIES, "*.yaml"))
            if not p.endswith(".test.yaml")
        )

    def test_every_case_and_every_criterion(self):
        code, out, err = run("test", "--require-tests", "--require-coverage", POLICIES)
        self.assertEqual((code, err), (0, ""), out)
        self.assertRegex(out, r"^ok: %d policies, \d+ cases passed, 0 failed\n$" % len(self.names()))
        self.assertGreaterEqual(len(self.names()), 12)

    def test_no_warnings(self):
        """In a configuration that uses each of them, on a route of its own: nothing to complain about."""
        where = {"to": "http://127.0.0.1:3000"}
        ca = certs.ca(self.dir)
        server = certs.leaf(self.dir, ca, ["app.test"])
        cfg = config(
            [{"name": n, "from": "https://%s.test" % n, "policies": [n], **where} for n in self.names()],
            policies_dir=POLICIES,
            certificate_file=server.chain,
            certificate_key_file=server.key,
            downstream_mtls={"ca_file": ca.cert},
        )
        code, out, err = run("check", "-c", self.file("t.json", cfg))
        self.assertEqual(code, 0, err)
        self.assertEqual([x for x in (out + err).splitlines() if POLICIES in x or "policy " in x], [])

    @unittest.skipIf(SLOW, "two hundred commands; about cases, not code")
    def test_cases_notice_a_change(self):
        """Each criterion turned into one that is never true, or always: some case of its policy fails."""
        unnoticed = []
        for name in self.names():
            with open(os.path.join(POLICIES, name + ".test.yaml"), encoding="utf-8") as f:
                self.file(name + ".test.yaml", f.read())
            with open(os.path.join(POLICIES, name + ".yaml"), encoding="utf-8") as f:
                lines = f.read().split("\n")
            criteria = [i for i, x in enumerate(lines) if re.match(r" {4,}- \S+:", x) and not x.endswith((":", "and:"))]
            for i in criteria:
                for other in ("accept", "reject"):
                    changed = list(lines)
                    changed[i] = re.match(r" *- ", lines[i])[0] + other + ": true"
                    path = self.file(name + ".yaml", "\n".join(changed))
                    code, out, err = run("test", path)
                    self.assertEqual((code in (0, 1), err), (True, ""), out)
                    if code == 0:
                        unnoticed.append("%s:%d: %s" % (name, i + 1, changed[i].strip()))
        self.assertEqual(unnoticed, [])

    def test_readme_lists_all(self):
        with open(os.path.join(POLICIES, "README.md"), encoding="utf-8") as f:
            listed = re.findall(r"^\| \[([\w-]+)\]\(\1\.yaml\) \|", f.read(), re.M)
        self.assertEqual(sorted(listed), self.names())
        for name in listed:
            with open(os.path.join(POLICIES, name + ".yaml"), encoding="utf-8") as f:
                head = f.read()
            for label in ("# For: ", "# Does: ", "# Change: ", "# Mind: "):
                self.assertIn(label, head, name)

    def test_junit_is_xml(self):
        code, out, err = run("test", "--format", "junit", POLICIES)
        self.assertEqual((code, err), (0, ""))
        suites = ElementTree.fromstring(out)
        self.assertEqual(len(suites), len(self.names()))
        for suite in suites:
            self.assertEqual(len(suite.findall("testcase")), int(suite.get("tests")), suite.get("name"))

    def test_tap_is_tap(self):
        """A strict reader of its own: numbers, plan, and no line that is none of TAP's."""
        self.file("a.yaml", "allow: {and: [{domain: example.com}]}\n")
        self.file(
            "a.test.yaml",
            "- {name: 'x # TODO later', request: {claims: {sub: u, email: a@example.com}}, expect: deny}\n"
            '- {name: "a\\nb", request: {}, expect: unauthenticated}\n',
        )
        self.file("b.yaml", "allow: {and: [{accept: true}]}\n")
        code, out, err = run("test", "--format", "tap", self.dir)
        self.assertEqual((code, err), (1, ""))
        lines = out.split("\n")
        self.assertEqual((lines[0], lines[-1]), ("TAP version 13", ""))
        yaml, numbers = False, []
        for line in lines[1:-1]:
            if line in ("  ---", "  ..."):
                yaml = line == "  ---"
            elif yaml:
                self.assertTrue(line.startswith("  "), line)
            elif not line.startswith(("#", "1..")):
                m = re.match(r"(?:not )?ok (\d+) - [^#]*(\\#[^#]*)*(# SKIP .*)?$", line)
                self.assertTrue(m, line)
                numbers.append(int(m[1]))
        self.assertEqual(numbers, [1, 2, 3])
        self.assertIn("1..3", lines)
        self.assertIn("not ok 1 - a: x \\# TODO later", lines)

    def test_speed(self):
        cases = "".join(
            "- {name: n%d, request: {path: /p/%d, claims: {sub: u%d, email: a%d@example.com}}, expect: allow}\n"
            % (i, i, i, i)
            for i in range(1000)
        )
        self.file("a.yaml", "allow: {and: [{domain: example.com}, {http_path: {starts_with: /p/}}]}\n")
        self.file("a.test.yaml", cases)
        start = time.monotonic()
        code, out, err = run("test", self.dir)
        self.assertEqual(code, 0, out + err)
        self.assertIn("1000 cases passed", out)
        self.assertLess(time.monotonic() - start, 1.0 * PATIENCE)


STAFF = {"allow": {"and": [{"domain": "example.com"}]}}
CORP = {"allow": {"and": [{"email": {"is": "user@example.com"}}, {"claim/plan": "team"}]}}


class Replay(Folder):
    """One log of known requests, judged again in many ways."""

    @classmethod
    def routes(cls, up):
        return [
            {"name": "orders", "prefix": "/orders", "to": up.url, "policy": STAFF},
            {"name": "open", "prefix": "/open", "to": up.url, "allow_public_unauthenticated_access": True},
        ]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        gate = cls.gate
        people = [("alice", "example.com", "team"), ("bob", "example.com", "free"), ("carol", "example.org", "team")]
        for method, count in (("GET", 3), ("PUT", 2)):
            for name, domain, plan in people:
                for i in range(count):
                    fields = [bearer(sub=name, email="%s@%s" % (name, domain), plan=plan)]
                    ask(gate.port, method, "/orders/%d?token=secret" % i, fields)
        ask(gate.port, "GET", "/orders/0")
        ask(gate.port, "GET", "/orders/0", [bearer(exp=1)])
        ask(gate.port, "GET", "/nowhere")
        ask(gate.port, "GET", "/open/a")
        gate.log(count=19)

    def replay(self, *args, code=0):
        got, out, err = run("replay", *args, self.gate.access)
        self.assertEqual((got, err), (code, ""), out)
        return out

    def judged(self, ppl, *args, **kwargs):
        return json.loads(self.replay("--policy", self.file("new.yaml", ppl), "--json", *args, **kwargs))

    def changes(self, r):
        return {(c["from"], c["to"]): (c["requests"], c["callers"]) for c in r["changes"]}

    def test_the_same_policy(self):
        r = self.judged(STAFF, "--route", "orders")
        self.assertEqual((r["replayed"], r["unchanged"], r["changes"]), (16, 16, []))
        self.assertEqual((r["lines"], r["other_routes"]), (19, 2))
        self.assertEqual(r["not_judged"], {"token-expired": 1})

    def test_who_loses_and_who_gains(self):
        r = self.judged({"allow": {"and": [{"domain": "example.org"}]}}, "--route", "orders")
        self.assertEqual(self.changes(r), {("allow", "deny"): (10, 2), ("deny", "allow"): (5, 1)})
        self.assertEqual((r["lost"], r["gained"]), ({"requests": 10, "callers": 2}, {"requests": 5, "callers": 1}))
        lost = r["changes"][0]
        self.assertEqual(lost["reasons"], {"domain-unauthorized": 10})
        self.assertEqual([(c["sub"], c["issuer"], c["requests"]) for c in lost["top_callers"]],
                         [("alice", ISSUER, 5), ("bob", ISSUER, 5)])  # fmt: skip
        self.assertEqual({p["request"]: p["requests"] for p in lost["top_requests"]},
                         {"GET /orders/0": 2, "GET /orders/1": 2, "GET /orders/2": 2, "PUT /orders/0": 2,
                          "PUT /orders/1": 2})  # fmt: skip
        example = lost["top_callers"][0]["example"]
        line = [x for x in self.gate.log() if x["request_id"] == example["request_id"]][0]
        self.assertEqual((line["sub"], example["route"]), ("alice", "orders"))
        self.assertEqual(line["ts"], min(x["ts"] for x in self.gate.log() if x.get("sub") == "alice"))
        self.assertEqual(example["request"], "%s %s" % (line["method"], line["path"]))

    def test_methods_and_times(self):
        """Facts of the request are known of every line."""
        reading = {"allow": {"and": [{"authenticated_user": True}, {"http_method": {"in": ["GET", "HEAD"]}}]}}
        self.assertEqual(self.changes(self.judged(reading, "--route", "orders")),
                         {("allow", "deny"): (4, 2), ("deny", "allow"): (3, 1)})  # fmt: skip
        later = {"allow": {"and": [{"authenticated_user": True}, {"date": {"after": "2400-01-01"}}]}}
        self.assertEqual(self.changes(self.judged(later, "--route", "orders")), {("allow", "deny"): (10, 2)})

    def test_all_routes(self):
        r = self.judged({"allow": {"and": [{"authenticated_user": True}]}})
        self.assertEqual(self.changes(r), {("deny", "allow"): (5, 1), ("allow", "unauthenticated"): (1, 1)})
        self.assertEqual(r["changes"][0]["top_callers"][0]["sub"], None)
        self.assertEqual(r["not_judged"], {"token-expired": 1, "no-route": 1})

    def test_what_was_not_logged(self):
        """The plan is of no line; what does not hang on it is told all the same."""
        r = self.judged(CORP, "--route", "orders")
        self.assertEqual(r["unknown"], {"requests": 0, "without_facts": 0, "criteria": {}, "log_claims": []})
        r = self.judged({"allow": {"and": [{"domain": "example.com"}, {"claim/plan": "team"}]}}, "--route", "orders")
        self.assertEqual(self.changes(r), {})
        self.assertEqual((r["unknown"]["requests"], r["unchanged"]), (10, 6))
        self.assertEqual((r["unknown"]["criteria"], r["unknown"]["log_claims"]), ({"claim/plan": 10}, ["plan"]))
        text = self.replay("--policy", self.file("n.yaml", {"allow": {"and": [{"claim/plan": "team"}]}}))
        self.assertIn("access_log: {claims: [plan]}", text)
        self.assertIn("could not be told: 15 requests", text)

    def test_claims_too_large_to_be_logged(self):
        """They are named in access_log.claims already: no advice to name them there."""
        cfg = config(
            [{"name": "all", "prefix": "/", "to": self.up.url, "allow_any_authenticated_user": True}],
            access_log={"output": os.path.join(self.dir, "access.log"), "claims": ["big"]},
        )
        gate = self.start(cfg)
        gate.access = cfg["access_log"]["output"]
        ask(gate.port, "GET", "/", [bearer(big="x" * 9000, plan="team")])
        gate.log(count=1)
        both = [{"claim/big": "x"}, {"claim/plan": "team"}]
        for criteria, named in (([both[0]], []), (both, ["plan"])):
            new = self.file("n.yaml", {"allow": {"and": criteria}})
            code, out, err = run("replay", "-p", new, "--json", gate.access)
            self.assertEqual((code, err), (0, ""))
            unknown = json.loads(out)["unknown"]
            self.assertEqual((unknown["requests"], unknown["log_claims"]), (1, named))
            self.assertEqual(unknown["criteria"], {"claim/" + n: 1 for n in ["big"] + named})

    def test_claims_that_were_logged_for_it(self):
        """Of a route that reads none of them; groups by whatever name the provider has for them."""
        cfg = config(
            [{"name": "all", "prefix": "/", "to": self.up.url, "allow_any_authenticated_user": True}],
            access_log={"output": os.path.join(self.dir, "access.log"), "claims": ["plan", "email", "groups"]},
            identity_providers={"test": provider(groups_claim="teams")},
        )
        gate = self.start(cfg)
        gate.access = cfg["access_log"]["output"]
        for plan, teams in (("team", ["red"]), ("team", ["blue"]), (None, ["red"]), ("team", None)):
            ask(gate.port, "GET", "/orders/1", [bearer(plan=plan, teams=teams)])
        gate.log(count=4)
        criteria = [{"claim/plan": "team"}, {"domain": "example.com"}, {"groups": {"has": "red"}}]
        new = self.file("n.yaml", {"allow": {"and": criteria}})
        code, out, err = run("replay", "-p", new, "--json", gate.access)
        self.assertEqual((code, err), (0, ""))
        r = json.loads(out)
        self.assertEqual((r["unknown"]["requests"], self.changes(r)), (0, {("allow", "deny"): (3, 1)}))
        text = self.replay("-p", new, "--route", "open")
        self.assertIn("allow -> unauthenticated: 1 request", text)

    def test_text(self):
        text = self.replay("--policy", self.file("n.yaml", {"allow": {"and": [{"domain": "example.org"}]}}), "-n", "1")
        for part in (
            "would lose access: 11 requests of 3 callers\n",
            "would gain access: 5 requests of 1 caller\n",
            "allow -> deny: 10 requests of 2 callers\n  because of domain-unauthorized (10)\n",
            "5  alice of %s, first GET /orders/" % ISSUER,
            "             and 1 more\n",
            "unchanged: 1 of 17 requests\n",
            "token-expired (1)",
            "no-route (1)",
        ):
            self.assertIn(part, text)
        self.assertNotIn("secret", text)

    def test_fail_on_change(self):
        same = self.file("s.yaml", STAFF)
        self.replay("--policy", same, "--route", "orders", "--fail-on-change")
        self.replay("--policy", same, "--fail-on-change", code=1)

    def test_a_configuration(self):
        """Each line by the route it matches there: with enforced policies, flags and providers."""
        cfg = config(
            [
                {"name": "o", "prefix": "/orders/0", "to": self.up.url, "allowed_domains": ["example.com"]},
                {"name": "p", "prefix": "/orders", "to": self.up.url, "allow_any_authenticated_user": True},
            ],
            policies=[
                {"name": "e", "ppl": {"deny": {"and": [{"http_method": {"is": "PUT"}}]}}, "enforced": True},
            ],
        )
        r = json.loads(self.replay("-c", self.file("new.json", cfg), "--json"))
        self.assertEqual(
            self.changes(r),
            {("allow", "deny"): (4, 2), ("deny", "allow"): (2, 1), ("allow", "no-route"): (1, 1)},
        )
        cfg["identity_providers"] = {"other": provider(issuer="https://other.test")}
        r = json.loads(self.replay("-c", self.file("new.json", cfg), "--json", "--route", "orders"))
        self.assertEqual(
            self.changes(r), {("allow", "unauthenticated"): (10, 2), ("deny", "unauthenticated"): (5, 1)}
        )

    def test_a_configuration_that_asks_for_certificates(self):
        """Who came without TLS showed none."""
        ca = certs.ca(self.dir)
        server = certs.leaf(self.dir, ca, ["app.test"])
        cfg = config(
            self.routes(self.up),
            certificate_file=server.chain,
            certificate_key_file=server.key,
            downstream_mtls={"ca_file": ca.cert},
        )
        r = json.loads(self.replay("-c", self.file("new.json", cfg), "--json"))
        self.assertEqual(self.changes(r), {("allow", "deny"): (11, 3), ("unauthenticated", "deny"): (1, 1)})
        self.assertEqual(r["changes"][0]["reasons"], {"client-certificate-required": 11})

    def test_its_own_configuration(self):
        r = json.loads(self.replay("-c", self.gate.config_path, "--json"))
        self.assertEqual((r["changes"], r["unchanged"], r["unknown"]["requests"]), ([], 17, 0))

    def test_refusals(self):
        good = self.file("g.yaml", {"allow": {"and": [{"accept": True}]}})
        bad = self.file("b.yaml", "allow: {and: [{emial: x}]}\n")
        for code, words, args in (
            (2, "by what?", [self.gate.access]),
            (2, "instead of a configuration", ["-p", good, "-c", good, self.gate.access]),
            (2, "which log?", ["-p", good]),
            (2, "--top", ["-p", good, "--top", "x", self.gate.access]),
            (78, "b.yaml:1:16: policy b: ", ["-p", bad, self.gate.access]),
            (78, "nothing.yaml", ["-p", os.path.join(self.dir, "nothing.yaml"), self.gate.access]),
            (1, "cannot read", ["-p", good, os.path.join(self.dir, "nothing.log")]),
            (1, "no line of tollgate's access log", ["-p", good, bad]),
        ):
            with self.subTest(words):
                got, out, err = run("replay", *args)
                self.assertEqual((got, out), (code, ""))
                self.assertIn(words, err)

    def test_broken_lines(self):
        """Whatever stands between the lines is counted, and the others are judged."""
        with open(self.gate.access, encoding="utf-8") as f:
            lines = f.read().split("\n")[:-1]
        text = "\n".join(["not a line", *lines, lines[0][:50], "", "[]", '{"a":1}', "x" * 2000000, lines[1]])
        new = self.file("n.yaml", {"allow": {"and": [{"accept": True}]}})
        code, out, err = run("replay", "-p", new, "--json", "-", stdin=text)
        self.assertEqual((code, err), (0, ""))
        r = json.loads(out)
        self.assertEqual((r["unreadable"], r["lines"]), (5, 25))
        self.assertEqual(r["first_unreadable"][:19], "standard input:1: n")
        rng = random.Random(1)
        for _ in range(30 if SLOW else 100):
            line = bytearray(rng.choice(lines).encode())
            for _ in range(rng.randint(1, 4)):
                line[rng.randrange(len(line))] = rng.randrange(256)
            path = os.path.join(self.dir, "broken.log")
            with open(path, "wb") as f:
                f.write(bytes(line) + b"\n" + lines[0].encode() + b"\n")
            code, out, err = run("replay", "-p", new, "--json", path)
            self.assertEqual((code, err), (0, ""))
            json.loads(out)

    @unittest.skipIf(SLOW, "judges time")
    def test_speed(self):
        """100,000 lines in a few seconds."""
        with open(self.gate.access, encoding="utf-8") as f:
            lines = f.read().split("\n")[:-1]
        path = self.file("many.log", "\n".join(lines * (100000 // len(lines))) + "\n")
        start = time.monotonic()
        new = self.file("n.yaml", {"allow": {"and": [{"domain": "example.org"}]}})
        code, out, err = run("replay", "-p", new, "--json", path, timeout=60)
        self.assertEqual((code, err), (0, ""))
        self.assertGreater(json.loads(out)["replayed"], 80000)
        self.assertLess(time.monotonic() - start, 10)


if __name__ == "__main__":
    main()
