"""sync: a control plane that is away, slow, wrong, or that says no.

contracts.md 5.5: P5, Z10, R5, R6. The control plane is scripted (control_plane.py).
"""

import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from control_plane import ControlPlane  # noqa: E402
from harness import PATIENCE, SLOW, NotStarted, ask, main, wait_until  # noqa: E402
from sync_case import ADMINS, Sync, policy  # noqa: E402


class Trouble(Sync):
    def good(self, **sync):
        self.cp.publish([policy("a")], [self.route("/", "a")])
        gate = self.gate_of(**sync)
        self.assertEqual(self.statuses(gate, "/"), [200])
        return gate

    def test_whatever_is_answered_the_last_good_set_stays(self):
        gate = self.good(timeout="300ms")
        body = json.dumps([policy("a")]).encode()

        def slow(h, _):
            time.sleep(0.6)
            h.reply(200, [])

        def drip(h, _):
            h.send_response(200)
            h.send_header("Content-Length", "1000")
            h.end_headers()
            for _ in range(8):
                h.wfile.write(b" ")
                h.wfile.flush()
                time.sleep(0.1)
            h.close_connection = True

        def huge(h, _):
            h.send_response(200)
            h.send_header("Content-Length", str(80 << 20))
            h.end_headers()
            h.close_connection = True

        cases = [
            (500, "status 500"), (502, "status 502"), (404, "status 404: it is not there"),
            ((302, {"Location": "/api/v0/elsewhere"}), "redirects are not followed"),
            (slow, "no whole answer within 300 ms"), (drip, "no whole answer within 300 ms"),
            (lambda h, q: h.cut(body, len(body) // 2), "connection broke|was cut short"),
            (huge, "larger than|was cut short"),
            (lambda h, q: h.reply(200, b"<html>hello</html>"), "not JSON as it should be"),
            (lambda h, q: h.reply(200, b""), "not JSON as it should be"),
            (lambda h, q: h.reply(200, {"policies": []}), "neither a list nor an object with the list"),
            (lambda h, q: h.reply(200, [{"name": "no id"}]), "element 1 of the list has no id"),
            (lambda h, q: h.reply(200, b"[" * 5000), "not JSON as it should be"),
            (lambda h, q: h.reply(200, [policy("a"), policy("a")]), "there are two policies with this id"),
        ]
        for script, words in cases:
            with self.subTest(words):
                failed = self.rounds(gate, "failed")
                self.cp.say("/policies", script)
                gate.reload()
                got = wait_until(lambda: self.rounds(gate, "failed") > failed and self.failure(gate, words), 4, 0.03)
                self.assertTrue(got, "%s\n%s" % (words, self.verbose(gate)))
                self.assertEqual(self.statuses(gate, "/"), [200])
                self.assertEqual(ask(gate.health, "GET", "/readyz").status, 200)
        self.assertEqual(gate.metric("tollgate_policy_set_loaded", source="sync"), 1)
        self.assertGreaterEqual(self.rounds(gate, "failed"), len(cases))
        self.cp.say("/policies", None)
        self.cp.publish([policy("a", ADMINS)])
        self.becomes(gate, "/", 403)
        self.assertNotIn("answers with", self.verbose(gate))

    def test_namespaces_in_pages_are_not_taken_for_all(self):
        """One that is not seen would be without the enforced policies of those above it."""
        gate = self.good()
        page = {"data": self.cp.namespaces, "total": 2, "page": 1, "page_size": 1, "total_pages": 2}
        self.cp.say("/namespaces", lambda h, q: h.reply(200, page))
        gate.reload()
        self.says(gate, "the list comes in several pages")
        self.assertEqual(self.statuses(gate, "/"), [200])

    def failure(self, gate, words):
        line = [x for x in self.verbose(gate).splitlines() if x.startswith("sync with") and "; " in x]
        return line and re.search(words, line[0].split("; ", 1)[1])

    def test_a_bad_document_is_told_and_leaves_the_last_good_set(self):
        gate = self.good()
        bad = policy("bad", {"allow": {"and": [{"emial": {"is": "x"}}]}})
        for policies, routes, words in (
            ([policy("a", ADMINS), bad], None, "emial"),
            ([policy("a", ADMINS)], [self.route("/", "a", to=["http://10.9.9.9"])], "10.9.9.9"),
            ([policy("a", ADMINS)], [self.route("/", "a", tlsSkipVerify=True)], "tls_?[sS]kip_?[vV]erify"),
            ([policy("a", ADMINS)], [self.route("/", "a", tlsClientKeyPairId="x")], "tlsClientKeyPairId"),
            ([policy("a", ADMINS)], [self.route("/", "a"), self.route("/", "a", id="other")], "route"),
        ):
            with self.subTest(words):
                accepted = self.offers(gate, "accepted")
                self.cp.publish(policies, routes or [self.route("/", "a")])
                gate.reload()
                got = wait_until(lambda: re.search("(refused|failed): .*" + words, self.verbose(gate)), 5, 0.05)
                self.assertTrue(got, "%s\n%s" % (words, self.verbose(gate)))
                self.assertEqual(self.statuses(gate, "/"), [200])
                self.assertEqual(self.offers(gate, "accepted"), accepted)
        self.assertGreaterEqual(self.offers(gate, "refused"), 1)
        self.cp.publish([policy("a", ADMINS)], [self.route("/", "a")])
        self.becomes(gate, "/", 403)

    def test_400_and_403_are_errors_of_the_configuration_and_asked_again_rarely(self):
        gate = self.good()
        for status, words in ((400, "status 400: it does not take the question"),
                              (403, "status 403: the credential of sync may not read this")):
            with self.subTest(status):
                self.cp.say("/routes", status)
                gate.reload()
                self.says(gate, words)
                asked = len(self.cp.find())
                time.sleep(1.6)
                self.assertEqual(len(self.cp.find()), asked)
                self.assertEqual(self.statuses(gate, "/"), [200])
        self.assertGreaterEqual(self.rounds(gate, "refused"), 2)
        self.assertEqual(gate.stderr().count("may not read this"), 1)
        self.cp.say("/routes", None)
        self.cp.publish([policy("a", ADMINS)])
        gate.reload()                                    # who mends it says so
        self.becomes(gate, "/", 403)

    def test_who_is_asked_each_second_is_asked_so_when_away_for_a_moment(self):
        gate = self.good()
        self.cp.say("/policies", 503)
        failed = self.rounds(gate, "failed")
        self.assertTrue(wait_until(lambda: self.rounds(gate, "failed") >= failed + 4, 8), self.verbose(gate))
        asked = [a[0] for a in self.cp.find("/policies")][-4:]
        self.assertLess(asked[-1] - asked[0], 3.6 * PATIENCE, asked)  # doubling, it would be 1 + 2 + 4

    def test_429_waits_as_long_as_it_says(self):
        gate = self.good()
        self.cp.say("/policies", (429, {"Retry-After": "3"}))
        self.says(gate, "status 429: too many questions")
        refused = self.cp.find("/policies")[-1][0]
        self.cp.say("/policies", None)
        self.cp.publish([policy("a", ADMINS)])
        self.becomes(gate, "/", 403, limit=6)
        self.assertGreaterEqual(self.cp.find("/policies", since=refused + 0.01)[0][0] - refused, 2.95)

    def test_backs_off_with_jitter(self):
        self.cp.say("/organizations", 503)
        gate = self.gate_of(ready=False, interval="30s")
        self.assertTrue(wait_until(lambda: len(self.cp.find("/organizations")) == 3, 10, 0.02))
        times = [a[0] for a in self.cp.find("/organizations")]
        gaps = [b - a for a, b in zip(times, times[1:])]
        for gap, want in zip(gaps, (1, 2)):
            self.assertTrue(want * 0.89 <= gap <= want + (1.0 if SLOW else 0.25), gaps)
        self.assertEqual(gate.stderr().count("status 503"), 1)  # told once
        self.assertEqual(ask(gate.port, "GET", "/").status, 503)


class Away(Sync):
    def setUp(self):
        super().setUp()
        self.cp.publish([policy("a")], [self.route("/", "a")])

    def test_a_start_without_the_control_plane_has_the_last_good_set(self):
        gate = self.gate_of()
        self.assertEqual(self.statuses(gate, "/"), [200])
        gate.stop()
        self.cp.stop()
        again = self.gate_of()
        self.assertEqual(self.statuses(again, "/"), [200])
        self.assertEqual(self.statuses(again, "/", email="admin@example.com"), [403])
        self.cp = ControlPlane(self.cp.port)
        self.addCleanup(self.cp.stop)
        self.cp.publish([policy("a", ADMINS)], [self.route("/", "a")])
        self.becomes(again, "/", 403, limit=10)

    def test_stale_routes_stay_or_answer_503(self):
        keep = self.gate_of(max_stale="2s")
        deny = self.gate_of(max_stale="2s", when_stale="deny", settings={"state_dir": None})
        time.sleep(2.5)                                  # heard again and again, it stays fresh
        self.assertEqual(self.statuses(deny, "/"), [200])
        self.cp.say("/organizations", 503)
        self.becomes(deny, "/", 503)
        self.assertEqual(deny.log("/")[-1]["refused"], "stale-policies")
        self.assertEqual(self.statuses(keep, "/"), [200])
        self.assertTrue(wait_until(lambda: keep.metric("tollgate_policy_set_stale", source="sync") == 1))
        self.cp.say("/organizations", None)
        self.becomes(deny, "/", 200, limit=10)

    def test_settings_are_checked(self):
        for changes, words in (({"url": None}, "sync.url"), ({"credential": None}, "sync.credential"),
                               ({"url": "http://cp.example"}, "http is for loopback hosts only"),
                               ({"credential": {"api_user_token_file": "/nonexistent"}}, "/nonexistent"),
                               ({"allowed_upstreams": ["10.0.0.0/99"]}, "allowed_upstreams")):
            with self.subTest(words), self.assertRaises(NotStarted) as failed:
                self.gate_of(**changes)
            self.assertIn(words, failed.exception.stderr)


if __name__ == "__main__":
    main()
