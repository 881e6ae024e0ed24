"""The README's "Why was this refused?": every row of its table is provoked, and the command it names tells the cause.

    [TOLLGATE=build/release/tollgate] python3 tests/readme/test_refusals.py [-v] [Class.test]

A refusal without a row and a row without a refusal are failures, and so are commands in the text that are not there.
"""

import base64
import json
import os
import re
import shutil
import ssl
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "wire")]
import certs  # noqa: E402
import pages  # noqa: E402
from test_identity import bound, dpop  # noqa: E402
from test_sets import Publisher, policy  # noqa: E402
from harness import (  # noqa: E402
    Case,
    TOP,
    TlsClient,
    Tollgate,
    Upstream,
    ask,
    ask_tls,
    bearer,
    config,
    main,
    members,
    provider,
    public,
    run,
    tls_context,
    token,
    wait_until,
)

CHUNKED = b"POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %s\r\n\r\n"
BOUND = bound()
EXPIRED, ELSEWHERE = token(exp=int(time.time()) - 600), token(aud="elsewhere")
AWAY = "http://127.0.0.1:1"
SECRET, GRANT = {"client_id": "c", "client_secret_file": "secret"}, {"grant": "client_credentials"}


def auth(text):
    return [("Authorization", "Bearer " + text)]


def upgrade():
    key = base64.b64encode(b"0123456789abcdef").decode()
    fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
    return list(fields.items())


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


# Answer, refused, what is sent (method, target, fields, body; bytes: a raw beginning), what the row's command says.
REFUSALS = [
    (400, "malformed-request", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "malformed-request"),
    (400, "malformed-body", CHUNKED % b"chunked" + b"x\r\n", "malformed-body"),
    (400, "ambiguous-path", ("GET", "/a%2Fb"), "ambiguous-path"),
    (400, "malformed-credential", ("GET", "/members", [("Authorization", "Bearer a b")]), "malformed-credential"),
    (400, "malformed-call", ("POST", "/tools", [bearer()], b"[]"), "a policy of this route asks which tool is called"),
    (401, "no-token", ("GET", "/members"), "the policy asks who is calling"),
    (401, "token-expired", ("GET", "/members", auth(EXPIRED)), "expired"),
    (401, "token-invalid", ("GET", "/members", auth(ELSEWHERE)), "BROKEN +audience"),
    (401, "proof-invalid", ("GET", "/members", [("Authorization", "DPoP " + BOUND)]), "proof-missing"),
    (401, "nonce-required", ("GET", "/members", dpop(BOUND, "http://app.test/members")), "nonce-required"),
    (403, "scope", ("GET", "/scoped", [bearer()]), '"refused": "scope"'),
    (403, "denied", ("GET", "/staff", [bearer()]), r"domain .* does not hold for example\.com"),
    (403, "websocket", ("GET", "/members", [bearer()] + upgrade()), "the route has no allow_websockets"),
    (404, "no-route", ("GET", "/nowhere"), "no route matches this host and path"),
    (405, "method", ("TRACE", "/open"), '"method": "TRACE"'),
    (408, "slow-head", b"GET / HTT", "slow-head"),
    (408, "slow-body", b"POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "slow-body"),
    (413, "body-too-large", ("POST", "/open", [], b"a" * 2048), "body-too-large"),
    (414, "malformed-request", ("GET", "/" + "a" * 2048), '"status": 414'),
    (415, "content-coding", ("POST", "/tools", [bearer(), ("Content-Encoding", "gzip")], b"{}"), "compressed"),
    (429, "rate-limited", ("GET", "/members", [bearer(sub="once", plan="trial")]), "trial, 0 of 1 left"),
    (431, "malformed-request", ("GET", "/", [("Cookie", "a" * 8192)]), '"status": 431'),
    (501, "malformed-request", CHUNKED % b"gzip, chunked", '"status": 501'),
    (502, "upstream-failed", ("GET", "/dead"), "FAILED +upstream http://127.0.0.1:1: connection refused"),
    (503, "no-keys", ("GET", "/members", auth(token(iss=AWAY))), "FAILED +provider away: .*connection refused"),
    (503, "no-answer", ("GET", "/members", auth("opaque")), "no-answer"),
    (503, "no-credential", ("GET", "/own", [bearer()]), "no-credential"),
    (504, "upstream-slow", ("GET", "/slow"), '"error": "slow"'),
    (505, "malformed-request", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", '"status": 505'),
]
CERTIFICATES = [(403, "certificate-required", None, "missing"), (403, "certificate-invalid", "other", "invalid: ")]
POLICIES = [  # answer, refused, path, what is configured beside the bundle, what `why` says
    (503, "not-loaded", "/nowhere", False, "were never loaded"),
    (503, "no-policy", "/named", False, "neither the file nor the control plane has"),
    (503, "stale-policies", "/named", True, "was not heard for longer than max_stale"),
]
COUNTERS = [(503, "no-counter", r"see whether redis://127\.0\.0\.1:1 answers")]
NOT_PROVOKED = {"none", "not-ready"}                     # a bug; the first moment


class Refusals(Case):
    tolerate_problems = True

    @classmethod
    def setUpClass(cls):
        cls.up = Upstream()
        cfg = config(cls.routes(cls.up), **cls.settings(cls.up))
        cls.gate = Tollgate(cfg, ready=False, files={"secret": "s"})  # a provider is away
        cls.port = cls.gate.port

    @classmethod
    def routes(cls, up):
        cls.slow = Upstream()
        cls.addClassCleanup(cls.slow.stop)
        cls.slow.on("/", lambda connection, request: time.sleep(4))
        tools = {"allow": {"and": [{"authenticated_user": True}, {"mcp_tool": "search"}]}}
        staff = {"allow": {"and": [{"domain": {"is": "elsewhere.test"}}]}}
        return [
            members(up, name="members", prefix="/members"),
            members(up, name="scoped", prefix="/scoped", required_scopes=["write"]),
            members(up, name="own", prefix="/own", upstream_auth={"token_url": AWAY + "/token", **SECRET, **GRANT}),
            {"name": "staff", "prefix": "/staff", "to": up.url, "policy": staff},
            public(up, name="open", prefix="/open"),
            public("http://127.0.0.1:1", name="dead", prefix="/dead"),
            {"name": "tools", "prefix": "/tools", "to": up.url, "policy": tools},
            public(cls.slow, name="slow", prefix="/slow"),
        ]

    @classmethod
    def settings(cls, up):
        trial = {"name": "trial", "limit": 1, "window": "1m", "when": [{"claim/plan": "trial"}]}
        many = [{"name": n, "limit": 1000, "window": "1m"} for n in ("authenticated", "unauthenticated")]
        return {
            "identity_providers": {
                "test": provider(introspection={"url": AWAY, **SECRET}),
                "away": {"issuer": AWAY, "audiences": ["app"]},
            },
            "rate_limits": {"tiers": [trial] + many},
            "dpop": {"require_nonce": True},
            "timeouts": {"head": "1s", "body": "1s", "first_byte": "1s"},
            "limits": {"head": "4KiB", "uri": "1KiB", "body": "1KiB"},
        }

    def send(self, what):
        if isinstance(what, bytes):
            with self.client(timeout=10) as c:
                return c.send(what).response()
        return self.ask(*what)

    def says(self, way, line, what):
        """What the command of the table says of this request."""
        fields = {} if isinstance(what, bytes) or len(what) < 3 else dict(what[2])
        given = fields.get("Authorization", "")[len("Bearer ") :]
        with_token = ["--token", given] if given else []
        config_ = ["-c", self.gate.config_path]
        if way == "log":
            return json.dumps(line)
        if way == "why":
            return run("why", line["request_id"], self.gate.access, *config_)[1]
        if way == "verify":
            return run("verify", *config_, given)[1]
        if way == "explain":
            return run("explain", *config_, "--url", "http://app.test" + what[1], *with_token)[1]
        return run("check", *config_, "--online", *with_token)[1]

    def line(self, status, refused):
        def find():
            return [x for x in self.gate.log() if x["status"] == status and x.get("refused") == refused]

        return (wait_until(find, 5) or [None])[-1]

    def test_each_row(self):
        for status, refused, what, said in REFUSALS:
            with self.subTest(refused, status=status):
                way = way_of(status, refused)
                self.assertTrue(way, "README.md has no row for %d %s" % (status, refused))
                if status == 429:
                    self.send(what)
                self.assertStatus(self.send(what), status)
                line = self.line(status, refused)
                self.assertTrue(line, "no line in the access log")
                self.assertRegex(self.says(way, line, what), said)

    def test_the_service_speaks_for_itself(self):
        """A line without `refused` is the service's own answer."""
        self.up.on("/open/gone", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.ask(target="/open/gone").status, 404)
        self.assertNotIn("refused", self.gate.log("/open/gone")[0])

    def test_client_certificates(self):
        directory = tempfile.mkdtemp(prefix="tollgate-readme.")
        self.addCleanup(shutil.rmtree, directory, True)
        ca, other = certs.ca(directory, "ca"), certs.ca(directory, "other-ca")
        server = certs.leaf(directory, ca, ["app.test"])
        shown = {None: None, "other": certs.leaf(directory, other, ["me"], name="me")}
        tls = {"certificate_file": server.chain, "certificate_key_file": server.key}
        gate = self.start(config([members(self.up)], downstream_mtls={"ca_file": ca.cert}, **tls))
        for status, refused, cert, said in CERTIFICATES:
            with self.subTest(refused):
                m = ask_tls(gate.port, tls_context(ca.cert, shown[cert]), fields=[bearer()])
                self.assertStatus(m, status)
                self.assertEqual(way_of(status, refused), "log")
                lines = wait_until(lambda: [x for x in gate.log() if x.get("refused") == refused], 5)
                self.assertRegex(lines[-1]["client_cert"], said)
        self.handshakes(gate, other)

    def test_the_store_is_away(self):
        limits = {"store": "redis://127.0.0.1:1", "store_secret": "0123456789abcdef", "when_store_fails": "deny"}
        gate = self.start(config([members(self.up)], rate_limits=limits))
        for status, refused, said in COUNTERS:
            with self.subTest(refused):
                self.assertStatus(ask(gate.port, fields=[bearer()]), status)
                self.assertEqual(way_of(status, refused), "why")
                lines = wait_until(lambda: [x for x in gate.log() if x.get("refused") == refused], 5)
                self.assertRegex(run("why", lines[-1]["request_id"], gate.access, "-c", gate.config_path)[1], said)

    def test_policies_are_away(self):
        p = Publisher(lives="3s")
        self.addCleanup(p.remove)
        named = {"name": "named", "prefix": "/named", "to": "echo:", "policies": ["a"]}
        gate = self.start(config([named], bundle=p.settings(when_stale="deny")), ready=False)
        for status, refused, path, published, said in POLICIES:
            with self.subTest(refused):
                if published:
                    p.publish([policy("a")])
                    self.assertTrue(wait_until(lambda: gate.metric("tollgate_policy_set_loaded") == 1))
                    self.assertTrue(wait_until(lambda: gate.metric("tollgate_policy_set_stale") == 1))
                self.assertStatus(ask(gate.port, target=path, fields=[bearer()]), status)
                self.assertEqual(way_of(status, refused), "why")
                lines = wait_until(lambda: [x for x in gate.log() if x.get("refused") == refused], 5)
                self.assertTrue(lines, gate.log())
                self.assertRegex(run("why", lines[-1]["request_id"], gate.access, "-c", gate.config_path)[1], said)

    def handshakes(self, gate, other):
        """What the list below the table says of handshakes that fail, and of plain HTTP."""
        with self.assertRaises(ssl.SSLError):
            TlsClient(gate.port, tls_context(other.cert))
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_tls_handshakes_total", result="failed") >= 1))
        self.assertTrue(wait_until(lambda: re.search(r'"level":"warn".*handshake', gate.stderr())), gate.stderr())
        self.assertStatus(ask(gate.port), 400)

    def test_not_started(self):
        """The exit codes of the list below the table."""
        with tempfile.TemporaryDirectory() as where:
            path = os.path.join(where, "wrong.yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write("upstraem: http://127.0.0.1:3000\n")
            status, _, said = run("run", "-c", path)
            self.assertEqual(status, 78, said)
            self.assertIn("wrong.yaml:1:1", said)
        self.assertEqual(run("run", "-c", self.gate.config_path)[0], 69)


def way_of(status, refused):
    """Which command the README's row for a refusal says to ask; None without such a row."""
    for answers_, words, _, way in pages.rows(read("README.md"), "answer"):
        if str(status) in answers_.split(", ") and refused in re.findall(r"`([\w-]+)`", words):
            return way
    return None


class Complete(unittest.TestCase):
    """The table and the list of commands against the program."""

    def test_every_refusal_has_a_row(self):
        names = set(re.findall(r'\[TG_REFUSE_\w+\] = \{"([\w-]+)"', read("proxy", "gate", "refusals.c")))
        table = pages.rows(read("README.md"), "answer")
        told = {w for _, words, meaning, _ in table for w in re.findall(r"`([\w-]+)`", words + meaning)}
        self.assertEqual(sorted(names - told - {"none"}), [])

    def test_every_member_of_the_log_is_told(self):
        """The table of docs/explain.md against what writes the lines."""
        code = read("proxy", "gate", "access_log.c") + read("proxy", "gate", "access_facts.c")
        found = re.findall(r'NAME\("(\w+)"\)|\\"(\w+)\\":|\{"(\w+)", TG_FACT_', code)
        names = {a or b or c for a, b, c in found}
        told = set(re.findall(r"`(\w+)`", read("docs", "explain.md")))
        self.assertLessEqual({"ts", "facts", "omitted", "tool", "shadow", "policy_set"}, names)
        self.assertEqual(sorted(names - told), [])
        table = {w for row in pages.rows(read("docs", "explain.md"), "member") for w in re.findall(r"`(\w+)`", row[0])}
        self.assertEqual(sorted(table - names), [])

    def test_every_row_is_provoked(self):
        tried = [(status, refused) for status, refused, *_ in REFUSALS + CERTIFICATES + POLICIES + COUNTERS]
        for answers_, words, meaning, way in pages.rows(read("README.md"), "answer"):
            self.assertIn(way, ("log", "why", "verify", "check"))
            for status in answers_.split(", "):
                self.assertIn(int(status), [s for s, _ in tried])
            for word in re.findall(r"`([\w-]+)`", words):
                self.assertTrue([r for s, r in tried if r == word and str(s) in answers_], word)

    def test_commands_in_the_text(self):
        """Commands between words: the scripts exist, and tollgate has them with these options."""
        pages = ("deploying", "tls", "ppl", "explain", "limits", "control-plane", "management")
        for path in ["README.md"] + ["docs/%s.md" % page for page in pages]:
            page_ = re.sub(r"(?s)```.*?```", "", read(path))
            for span in re.findall(r"`((?:scripts|docker|bench|tests)/\w[^`]*|tollgate [a-z][^`]*)`", page_):
                with self.subTest(span, page=path):
                    words = span.split()
                    if words[0] != "tollgate":
                        self.assertTrue(os.path.exists(os.path.join(TOP, words[0])), words[0])
                        continue
                    parts = words[1:3] if words[1] in ("token", "bundle") and words[2:] else words[1:2]
                    status, out, _ = run(*parts, "--help")
                    self.assertEqual(status, 0)
                    for option in [w for w in words if w.startswith("--")]:
                        self.assertIn(option, out)


if __name__ == "__main__":
    main()
