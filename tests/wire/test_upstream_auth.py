"""upstream_auth: tollgate's own tokens at the service, from a file and from a scripted token endpoint.

contracts.md 5.5: I3, I4, I5, I8, I19, R4, R5, R7. What a real provider says is in tests/oidc/test_credential.py.
"""

import json
import math
import os
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from harness import SLOW, Case, Client, NotStarted, ask, bearer, config, main, members, request, value  # noqa: E402
from harness import Tollgate, parallel, wait_until  # noqa: E402

ID, SECRET = "78366401571920522@amce", "veryweaksecret!"
VECTOR = "Basic NzgzNjY0MDE1NzE5MjA1MjIlNDBhbWNlOnZlcnl3ZWFrc2VjcmV0JTIx"


class Server:
    """A token endpoint and a service that takes only the tokens that are alive, both on one scripted upstream."""

    def __init__(self, up):
        self.up, self.lock = up, threading.Lock()
        self.count, self.ttl, self.mode, self.delay = 0, 3600, "good", 0
        self.alive, self.issued, self.asked = {}, [], []
        up.on("/oauth/v2/token", self.token)
        up.on("/service", self.service)
        up.on("/late", self.late, early=True)

    def token(self, c, r):
        with self.lock:
            self.count += 1
            self.asked.append(r)
            n, mode = self.count, self.mode
        time.sleep(self.delay)
        if mode != "good":
            c.answer(*mode)
            return
        t = "own-%d-%d" % (os.getpid(), n)
        with self.lock:
            self.alive[t] = time.monotonic() + self.ttl
            self.issued.append(t)
        c.answer(200, [("Content-Type", "application/json")],
                 json.dumps({"access_token": t, "token_type": "Bearer", "expires_in": self.ttl}).encode())

    def takes(self, r):
        values = r.get("Authorization")
        with self.lock:
            return len(values) == 1 and self.alive.get(values[0].removeprefix("Bearer "), 0) > time.monotonic()

    def service(self, c, r):
        if not self.takes(r):
            c.answer(401, [("WWW-Authenticate", 'Bearer realm="service"')], b"who?", "Unauthorized")
        elif r.get("Upgrade"):
            c.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   b"Sec-WebSocket-Accept: abc\r\n\r\n")
            c.fill()
            c.send(c.buf)
            c.close()
        else:
            c.answer(200, [], r.body)

    def late(self, c, r):
        """Says 401 after the whole content was read."""
        c.rest()
        self.service(c, r)

    def revoke(self):
        with self.lock:
            self.alive.clear()

    def form(self, i=-1):
        return dict(urllib.parse.parse_qsl(self.asked[i].body.decode(), strict_parsing=True))


class UpstreamAuth(Case):
    def setUp(self):
        self.origin = self.upstream()
        self.server = Server(self.origin)
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def tearDown(self):
        self.assertEqual(self.origin.problems, [])
        super().tearDown()

    def file(self, name, text):
        path = os.path.join(self.dir.name, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path

    def client_auth(self, **more):
        return {"grant": "client_credentials", "token_url": self.origin.url + "/oauth/v2/token", "client_id": ID,
                "client_secret_file": self.file("secret", SECRET + "\n"), **more}

    def gate_for(self, auth, route=None, **settings):
        gate = Tollgate(config([members(self.origin, name="own", upstream_auth=auth, **(route or {}))], **settings))
        self.addCleanup(self.finish, gate)
        return gate

    def finish(self, gate):
        """No token of ours stands anywhere but in what the service got."""
        shown = gate.stderr() + gate.metrics() + ask(gate.health, "GET", "/readyz?verbose").body.decode()
        with open(gate.access, encoding="utf-8") as f:
            shown += f.read()
        gate.stop()
        for secret in self.server.issued + [SECRET, "pat-", VECTOR.split()[1]]:
            self.assertNotIn(secret, shown)

    def service(self, gate, method="GET", target="/service", fields=(), body=None, **more):
        return ask(gate.port, method, target, [bearer()] + list(fields), body, **more)

    # ---- injection ----

    def test_replaces_what_the_client_says_of_itself(self):
        """R4, I19: the caller's token, proof and organisation never reach the service."""
        gate = self.gate_for({"token_file": self.file("pat", "pat-one\n")},
                             {"set_request_headers": {"x-fixed": "1"}})
        sent = [("DPoP", "x.y.z"), ("x-zitadel-orgid", "1"), ("X_Zitadel_Orgid", "2"), ("x-other", "3")]
        self.assertStatus(self.service(gate, target="/x", fields=sent), 200)
        r = self.origin.wait("/x")[0]
        self.assertEqual(r.get("Authorization"), ["Bearer pat-one"])
        for name in ("DPoP", "x-zitadel-orgid", "X_Zitadel_Orgid"):
            self.assertEqual(r.get(name), [], name)
        self.assertEqual((r.get("x-other"), r.get("x-fixed")), (["3"], ["1"]))
        self.assertStatus(ask(gate.port, "GET", "/x"), 401)  # it opens nothing to those who may not come
        self.assertEqual(len(self.origin.find("/x")), 1)

    def test_organisation_of_the_configuration(self):
        gate = self.gate_for({"token_file": self.file("pat", "pat-one")},
                             {"set_request_headers": {"x-zitadel-orgid": "9", "Authorization": "Bearer other"}})
        self.service(gate, target="/x", fields=[("x-zitadel-orgid", "1")])
        r = self.origin.wait("/x")[0]
        self.assertEqual((r.get("x-zitadel-orgid"), r.get("Authorization")), (["9"], ["Bearer pat-one"]))

    def test_a_claim_of_that_name(self):
        """One Authorization, and it is ours."""
        gate = self.gate_for({"token_file": self.file("pat", "pat-one")}, {"pass_identity_headers": True},
                             jwt_claims_headers={"authorization": "sub", "X-Sub": "sub"})
        self.service(gate, target="/x")
        r = self.origin.wait("/x")[0]
        self.assertEqual((r.get("Authorization"), len(r.get("X-Sub"))), (["Bearer pat-one"], 1))

    def test_other_routes_keep_the_callers_own(self):
        """I10."""
        own = {"token_file": self.file("p", "pat-1")}
        routes = [members(self.origin, name="own", prefix="/own", upstream_auth=own),
                  members(self.origin, name="rest", prefix="/")]
        gate = Tollgate(config(routes))
        self.addCleanup(self.finish, gate)
        self.service(gate, target="/rest", fields=[("x-zitadel-orgid", "1")])
        r = self.origin.wait("/rest")[0]
        self.assertTrue(r.one("Authorization").startswith("Bearer ey"))
        self.assertEqual(r.get("x-zitadel-orgid"), ["1"])

    def test_echo_hides_it(self):
        gate = Tollgate(config([members("echo:", name="own", upstream_auth={"token_file": self.file("p", "pat-1")})]))
        self.addCleanup(self.finish, gate)
        m = self.service(gate, fields=[("DPoP", "a")])
        self.assertStatus(m, 200)
        self.assertNotIn(b"pat-1", m.body)
        self.assertEqual(json.loads(m.body)["headers"].get("authorization"), "Bearer (not shown)")
        self.assertNotIn("dpop", json.loads(m.body)["headers"])

    # ---- a token file ----

    def test_file_rotates(self):
        """R7: without a restart, within two seconds."""
        path = self.file("pat", "pat-one\n")
        gate = self.gate_for({"token_file": path})
        self.service(gate, target="/x")
        self.file("pat", "pat-two")
        time.sleep(2)
        self.service(gate, target="/x")
        got = [r.one("Authorization") for r in self.origin.wait("/x", 2)]
        self.assertEqual(got, ["Bearer pat-one", "Bearer pat-two"])

    def test_file_read_behind_a_401(self):
        """R5: once, and then the 401 goes through."""
        path = self.file("pat", "pat-one")
        gate = self.gate_for({"token_file": path})
        with self.server.lock:
            self.server.alive["pat-one"] = self.server.alive["pat-two"] = time.monotonic() + 3600
        self.assertStatus(self.service(gate), 200)
        with self.server.lock:
            del self.server.alive["pat-one"]
        self.file("pat", "pat-two")
        self.assertStatus(self.service(gate, "POST", body=b"hello"), 200)  # sooner than the file is looked at
        self.server.revoke()
        m = self.service(gate)
        self.assertStatus(m, 401)
        self.assertEqual((m.body, value(m, "WWW-Authenticate")), (b"who?", 'Bearer realm="service"'))
        before = len(self.origin.find("/service"))
        for _ in range(5):
            self.assertStatus(self.service(gate), 401)
        self.assertEqual(len(self.origin.find("/service")), before + 5)  # no second attempts meanwhile

    # ---- client credentials ----

    def test_basic(self):
        """I4."""
        gate = self.gate_for(self.client_auth(scopes=["openid", "urn:zitadel:iam:org:project:id:zitadel:aud"]))
        self.assertStatus(self.service(gate), 200)
        self.assertEqual(self.server.asked[0].get("Authorization"), [VECTOR])
        self.assertEqual(self.server.form(), {"grant_type": "client_credentials",
                                              "scope": "openid urn:zitadel:iam:org:project:id:zitadel:aud"})
        self.assertEqual(gate.metric("tollgate_credential_renewals_total", result="ok"), 1)
        self.assertTrue(3500 < gate.metric("tollgate_credential_expiry_seconds") <= 3600)

    def test_post(self):
        """I5: one method only."""
        gate = self.gate_for(self.client_auth(auth_method="post", resource="https://api.test/", audience="api"))
        self.assertStatus(self.service(gate), 200)
        self.assertEqual(self.server.asked[0].get("Authorization"), [])
        self.assertEqual(self.server.form(), {"grant_type": "client_credentials", "client_id": ID,
                                              "client_secret": SECRET, "resource": "https://api.test/",
                                              "audience": "api"})

    def test_one_question_for_all_workers(self):
        self.server.delay = 0.5
        gate = self.gate_for(self.client_auth(), workers=4)
        got = parallel(20, lambda _: self.service(gate).status)
        self.assertEqual(set(got), {200})
        self.assertEqual(self.server.count, 1)
        self.server.revoke()
        got = parallel(20, lambda _: self.service(gate).status)
        self.assertEqual((set(got), self.server.count), ({200}, 2))

    @unittest.skipIf(SLOW, "counts by the clock")
    def test_short_lives(self):
        """I8: tokens of 5 s (here of 3 s, and 10 s of calls): every call is good, and no more questions than needed."""
        self.server.ttl = 3
        gate = self.gate_for(self.client_auth(), workers=2)
        end, bad, n = time.monotonic() + 10, [], 0
        while time.monotonic() < end:
            got = parallel(4, lambda _: self.service(gate).status)
            bad += [s for s in got if s != 200]
            n += len(got)
            time.sleep(0.1)
        self.assertEqual(bad, [])
        self.assertGreater(n, 100)
        self.assertLessEqual(self.server.count, 8)  # 10 s / 1.57 s, and the first
        self.assertEqual([r for r in self.origin.find("/service") if not r.complete], [])

    # ---- a 401 of the service ----

    def test_401_renews_once(self):
        """I8; also of methods that are not idempotent: a request refused so did nothing."""
        for method, body, target in (("GET", None, "/service"), ("POST", b"x" * 16000, "/service"),
                                     ("POST", b"y" * 16000, "/late"), ("DELETE", None, "/service")):
            with self.subTest(method + target):
                before = self.server.count
                gate = self.gate_for(self.client_auth())
                self.assertStatus(self.service(gate, method, target, body=body), 200)
                self.server.revoke()
                m = self.service(gate, method, target, body=body)
                self.assertStatus(m, 200)
                self.assertEqual((m.body, self.server.count - before), (body or b"", 2))

    def test_401_with_content_that_is_gone(self):
        """Too long to be sent again: the 401 goes through, and the next request has another token."""
        gate = self.gate_for(self.client_auth())
        self.assertStatus(self.service(gate), 200)
        self.server.revoke()
        m = self.service(gate, "POST", "/late", body=b"z" * 200000)
        self.assertStatus(m, 401)
        self.assertEqual(m.body, b"who?")
        wait_until(lambda: self.server.count == 2)
        self.assertStatus(self.service(gate), 200)
        self.assertEqual(self.server.count, 2)

    def test_401_while_the_content_still_comes(self):
        """The service says no to the head: what is still to come goes to the second attempt."""
        gate = self.gate_for(self.client_auth())
        self.assertStatus(self.service(gate), 200)
        self.origin.on("/early", lambda c, r: self.server.service(c, r) if not self.server.takes(r) else
                       (c.rest(), self.server.service(c, r)), early=True)
        self.server.revoke()
        with Client(gate.port) as c:
            head = request("POST", "/early", [bearer()] + [("Content-Length", "10")])
            c.send(head.split(b"\r\n\r\n")[0] + b"\r\n\r\n" + b"01234")
            time.sleep(0.5)
            c.send(b"56789")
            m = c.response()
        self.assertStatus(m, 200)
        self.assertEqual((m.body, self.server.count), (b"0123456789", 2))

    def test_401_to_a_websocket(self):
        gate = self.gate_for(self.client_auth(), {"allow_websockets": True})
        self.assertStatus(self.service(gate), 200)
        self.server.revoke()
        with Client(gate.port) as c:
            c.send(request("GET", "/service", [bearer()] + [
                ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]))
            c.until(b"\r\n\r\n")
            c.send(b"ping")
            c.until(b"ping")
        self.assertEqual(self.server.count, 2)

    def test_401_for_other_reasons(self):
        """A service that takes no token at all gets each request twice at most, and one question in a while."""
        gate = self.gate_for(self.client_auth())
        self.origin.on("/never", lambda c, r: c.answer(401, [], b"no"))
        for _ in range(10):
            m = self.service(gate, target="/never")
            self.assertEqual((m.status, m.body), (401, b"no"))
        self.assertEqual((len(self.origin.find("/never")), self.server.count), (11, 2))

    def test_the_callers_401_is_not_ours(self):
        gate = self.gate_for(self.client_auth())
        self.assertStatus(ask(gate.port, "GET", "/service", [("Authorization", "Bearer junk")]), 401)
        self.assertEqual((len(self.origin.find("/service")), self.server.count), (0, 1))

    # ---- no token ----

    def test_server_down(self):
        """Nothing is sent without a token; it comes back by itself."""
        self.server.mode = (500,)
        gate = self.gate_for(self.client_auth())
        self.assertStatus(self.service(gate), 503)
        self.assertEqual(self.origin.find("/service"), [])
        self.assertIn("no-credential", gate.log("/service")[0].values())
        self.server.mode = "good"
        self.assertTrue(wait_until(lambda: self.service(gate).status == 200, 8, 0.2))
        self.assertGreaterEqual(gate.metric("tollgate_credential_renewals_total", result="error"), 1)

    def test_bad_credential(self):
        """Told once, clearly; not asked again for every request; no word of the server's is repeated."""
        answer = {"error": "invalid_client", "error_description": "own-secret"}
        self.server.mode = (401, [], json.dumps(answer).encode())
        gate = self.gate_for(self.client_auth())
        for _ in range(20):
            self.assertStatus(self.service(gate), 503)
        self.assertEqual(self.server.count, 1)
        lines = [json.loads(x) for x in gate.stderr().splitlines() if "credential" in x]
        told = [x for x in lines if x["level"] == "error"]
        self.assertEqual(len(told), 1)
        self.assertIn("status 401, invalid_client", told[0]["error"])
        self.assertNotIn("own-secret", gate.stderr())

    def test_first_token_is_waited_for(self):
        """Bounded by the route's timeout."""
        self.server.delay = 3
        gate = self.gate_for(self.client_auth(timeout="5s"), {"timeout": "500ms"})
        began = time.monotonic()
        m = self.service(gate)
        self.assertStatus(m, 503)
        self.assertLess(time.monotonic() - began, 2.5)
        self.assertTrue(wait_until(lambda: self.service(gate).status == 200, 8, 0.2))
        self.assertEqual(self.server.count, 1)

    def test_client_goes_away_while_waiting(self):
        self.server.delay = 1
        gate = self.gate_for(self.client_auth())
        for _ in range(5):
            with Client(gate.port) as c:
                c.send(request("GET", "/service", [bearer()]))
                time.sleep(0.05)
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.assertStatus(self.service(gate), 200)
        self.assertEqual((len(self.origin.find("/service")), self.server.count), (1, 1))

    def test_header_injection_by_a_token_endpoint(self):
        for token in ("a\r\nX-Evil: 1", "a b", "", "\u00e9", "a" * 20000):
            with self.subTest(token[:10]):
                answer = {"access_token": token, "token_type": "Bearer", "expires_in": 60}
                self.server.mode = (200, [], json.dumps(answer).encode())
                gate = self.gate_for(self.client_auth())
                self.assertStatus(self.service(gate), 503)
        self.assertEqual(self.origin.find("/service"), [])

    # ---- reload ----

    def test_reload(self):
        """The same settings keep their token; others get theirs before a request goes out."""
        gate = self.gate_for(self.client_auth())
        self.assertStatus(self.service(gate), 200)
        route = members(self.origin, name="own", upstream_auth=self.client_auth())
        gate.configure(config([route, members(self.origin, name="second", prefix="/x")], realm="other"))
        gate.reload()
        wait_until(lambda: 'realm="other"' in (value(ask(gate.port, "GET", "/"), "WWW-Authenticate") or ""))
        self.assertStatus(self.service(gate), 200)
        self.assertEqual(self.server.count, 1)
        gate.configure(config([{**route, "upstream_auth": self.client_auth(scopes="openid")}], realm="third"))
        gate.reload()
        wait_until(lambda: 'realm="third"' in (value(ask(gate.port, "GET", "/"), "WWW-Authenticate") or ""))
        self.assertStatus(self.service(gate), 200)
        self.assertEqual((self.server.count, self.server.form()["scope"]), (2, "openid"))
        gate.configure(config([members(self.origin, name="own")], realm="fourth"))
        gate.reload()
        wait_until(lambda: 'realm="fourth"' in (value(ask(gate.port, "GET", "/"), "WWW-Authenticate") or ""))
        self.assertStatus(self.service(gate), 401)  # the caller's own
        self.assertEqual(self.server.count, 2)

    def test_a_credential_that_no_route_names_any_more(self):
        """Its token is given up at the reload; that it ends is nobody's trouble."""
        self.server.ttl = 2
        gate = self.gate_for(self.client_auth())
        self.assertStatus(self.service(gate), 200)
        gate.configure(config([members(self.origin, name="own")]))
        gate.reload()
        self.assertTrue(wait_until(lambda: math.isnan(gate.metric("tollgate_credential_expiry_seconds"))))
        time.sleep(2.2)
        self.assertNotIn("has ended", gate.stderr())
        gate.configure(config([members(self.origin, name="own", upstream_auth=self.client_auth())]))
        gate.reload()
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_credential_expiry_seconds") > 0))
        self.assertStatus(self.service(gate), 200)

    def test_mistakes_stop_the_start(self):
        for auth, word in (({}, "token_file"), ({"token_file": "/nonexistent"}, "/nonexistent"),
                           ({"grant": "client_credentials"}, "issuer")):
            with self.assertRaises(NotStarted) as e:
                Tollgate(config([members(self.origin, name="own", upstream_auth=auth)]))
            self.assertIn("route own.upstream_auth", e.exception.stderr)
            self.assertIn(word, e.exception.stderr)


if __name__ == "__main__":
    main()
