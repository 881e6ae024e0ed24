"""Requests whose policies ask which tool they call: read whole, judged, and sent on exactly as they came."""

import gzip
import hashlib
import json
import signal
import time
import unittest

from harness import (
    Case,
    Client,
    KIND,
    SLOW,
    bearer,
    config,
    main,
    parallel,
    public,
    request,
    value,
    wait_until,
)

BOUND = 65536
ANYBODY = {"allow": {"and": [{"accept": True}]}, "deny": {"or": [{"mcp_tool": {"in": ["rm", "drop table"]}}]}}
PING_ONLY = {"allow": {"and": [{"mcp_tool": {"is": "ping"}}]}}
MEMBERS = {"allow": {"and": [{"authenticated_user": True}, {"mcp_tool": {"is": "ping"}}]}}
EITHER = {"allow": {"or": [{"authenticated_user": True}, {"mcp_tool": {"is": "ping"}}]}}


def guarded(up, name, policy, **changes):
    return {"name": name, "prefix": "/" + name, "to": up.url, "policy": policy, **changes}


def call(tool="ping", **arguments):
    """A call of a tool, as MCP clients write it."""
    params = {"name": tool, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


def sized(size, tool="ping"):
    """A call of exactly so many octets."""
    return call(tool, text="a" * (size - len(call(tool, text=""))))


def chunks(data, *sizes):
    """The content in pieces of these sizes, over and over; no last chunk."""
    out, i = b"", 0
    while data:
        n = sizes[i % len(sizes)]
        out += b"%x\r\n%s\r\n" % (len(data[:n]), data[:n])
        data, i = data[n:], i + 1
    return out


def chunked(target, content, sizes=(7, 1, 300), trailers=b"", method="POST", fields=()):
    head = "%s %s HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n" % (method, target)
    head += "".join("%s: %s\r\n" % f for f in fields)
    return head.encode() + b"\r\n" + chunks(content, *sizes) + b"0\r\n" + trailers + b"\r\n"


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Judged(Case):
    @classmethod
    def routes(cls, up):
        return [
            guarded(up, "tools", ANYBODY),
            guarded(up, "ping", PING_ONLY),
            guarded(up, "members", MEMBERS),
            guarded(up, "either", EITHER),
            guarded(up, "small", ANYBODY, max_request_bytes=200),
            guarded(up, "echo", ANYBODY, to="echo:"),
            guarded(up, "socket", ANYBODY, allow_websockets=True),
            public(up),
        ]

    @classmethod
    def settings(cls, up):
        return {"limits": {"mcp_body": BOUND}}

    def target(self, prefix="/tools"):
        return "%s/%s" % (prefix, self.id().rsplit(".", 1)[-1])

    def assertReached(self, path, contents):
        """The upstream got these contents below `path`, each once, and nothing else."""
        found = self.up.wait(path, len(contents)) if contents else self.up.find(path)
        self.assertEqual([r.sha256.hexdigest() for r in found], [digest(c) for c in contents])

    # ---- verdicts ----
    def test_what_is_called_decides(self):
        cases = [
            ("/tools", call("ping"), 200),
            ("/tools", call("rm"), 403),
            ("/tools", call("drop table"), 403),
            ("/tools", call("RM"), 200),
            ("/tools", b'{"jsonrpc":"2.0","id":1,"method":"tools\\u002fcall","params":{"name":"\\u0072m"}}', 403),
            ("/tools", b'{"params":{"arguments":{"name":"a"},"name":"rm"},"method":"tools/call","jsonrpc":"2.0"}', 403),
            ("/tools", b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"name":"rm"}}', 200),
            ("/tools", b'{"jsonrpc":"2.0","id":1,"result":{"name":"rm"}}', 200),
            ("/tools", b' \r\n {"jsonrpc":"2.0","method":"notifications/initialized"} \n', 200),
            ("/ping", call("ping"), 200),
            ("/ping", call("pin"), 403),
            ("/ping", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', 403),
        ]
        for prefix, body, status in cases:
            path = self.target(prefix)
            for whole in (request("POST", path, [], body), chunked(path, body)):
                before = len(self.up.find(path))
                with Client(self.port) as c:
                    answer = c.send(whole).response()
                self.assertStatus(answer, status, body)
                if status == 200:
                    self.assertEqual(json.loads(answer.body)["sha256"], digest(body))
                self.assertEqual(len(self.up.find(path)) - before, 1 if status == 200 else 0, body)

    def test_every_method_with_content(self):
        path = self.target()
        for method in ("POST", "PUT", "DELETE", "PATCH", "GET", "OPTIONS", "BREW"):
            self.assertStatus(self.ask(method, path, [], call("rm")), 403, method)
            self.assertStatus(self.ask(method, path, [], call("ping")), 200, method)

    def test_without_content_there_is_no_call(self):
        path = self.target()
        self.assertStatus(self.ask("GET", path), 200)
        self.assertStatus(self.ask("POST", path), 200)
        self.assertStatus(self.ask("POST", path, [("Content-Encoding", "gzip")], b""), 200)
        self.assertStatus(self.ask("POST", self.target("/ping"), [], b""), 403)
        with Client(self.port) as c:
            self.assertStatus(c.send(chunked(path, b"")).response(), 200)
            self.assertStatus(c.send(chunked(self.target("/ping"), b"")).response(), 403)

    def test_calls_in_a_row_each_have_their_verdict(self):
        path, said = self.target(), []
        with Client(self.port) as c:
            for i in range(40):
                tool = "ping" if i % 3 else "rm"
                body = call(tool, n=i)
                c.send(chunked(path, body) if i % 2 else request("POST", path, [], body))
                self.assertStatus(c.response(), 200 if i % 3 else 403, i)
                said += [body] if i % 3 else []
        self.assertReached(path, said)

    def test_the_log_tells_the_refusal(self):
        path = self.target()
        self.assertStatus(self.ask("POST", path, [], call("rm")), 403)
        line = self.gate.log(path)[0]
        self.assertEqual((line["decision"], line["reasons"]), ("deny", ["mcp-tool-match"]))
        self.assertEqual((line["refused"], line["bytes_in"]), ("denied", len(call("rm"))))

    # ---- what cannot be judged ----
    def test_content_with_two_readings_is_refused(self):
        path = self.target()
        good = call()
        cases = [
            b"[" + good + b"]",
            b"[" + good + b"," + call("rm") + b"]",
            good[:-1] + b',"method":"tools/list"}',
            b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"ping","name":"rm"}}',
            b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"ping","n\\u0061me":"rm"}}',
            b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":7}}',
            b'{"jsonrpc":"2.0","method":"tools/call","params":{}}',
            b'{"jsonrpc":"2.0","method":"tools/call"}',
            b"\xef\xbb\xbf" + good,
            good + good,
            good + b"\0",
            good[:-1],
            good.decode().encode("utf-16"),
            b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"p\xffng"}}',
            b"a=b&c=d",
            b"null",
            b" ",
            gzip.compress(good),
        ]
        with Client(self.port) as c:                         # read whole: the connection goes on
            for body in cases:
                for whole in (request("POST", path, [], body), chunked(path, body, (3,))):
                    answer = c.send(whole).response()
                    self.assertStatus(answer, 400, body)
                    self.assertProblem(
                        answer, 400, "bad request", "the request body is not one unambiguous JSON-RPC message"
                    )
            self.assertStatus(c.request("POST", path, [], good).response(), 200)
        self.assertReached(path, [good])
        self.assertEqual(self.gate.log(path)[0]["refused"], "malformed-call")

    def test_content_that_is_coded_is_refused(self):
        path = self.target()
        for fields, body, status in [
            ([("Content-Encoding", "gzip")], gzip.compress(call()), 415),
            ([("Content-Encoding", "gzip")], call(), 415),
            ([("content-encoding", "identity, br")], call(), 415),
            ([("Content-Encoding", "identity"), ("Content-Encoding", "deflate")], call(), 415),
            ([("Content_Encoding", "gzip")], call(), 415),
            ([("Content-Encoding", "x-unheard-of")], call(), 415),
            ([("Content-Encoding", "Identity")], call(), 200),
            ([("Content-Encoding", "")], call(), 200),
            ([("Content-Type", "application/json; charset=gbk")], call(), 415),
            ([("Content-Type", "application/json; x=charset=utf-8; CharSet = \"utf-16\"")], call(), 415),
            ([("Content-Type", "application/json;charset=utf-8;charset=ibm037")], call(), 415),
            ([("Content-Type", "application/json; charset=UTF-8")], call(), 200),
            ([("Content-Type", 'application/json; charset="utf-8"')], call(), 200),
            ([("Content-Type", "application/json")], call(), 200),
        ]:
            answer = self.ask("POST", path, fields, body)
            self.assertStatus(answer, status, fields)
            if status == 415:
                self.assertEqual(value(answer, "Accept-Encoding"), "identity")
        self.assertEqual(self.gate.log(path)[0]["refused"], "content-coding")
        self.assertReached(path, [call()] * 5)

    def test_a_coding_is_refused_before_the_content_is_asked_for(self):
        with Client(self.port) as c:
            fields = [("Content-Encoding", "gzip"), ("Content-Length", "9"), ("Expect", "100-continue")]
            c.request("POST", self.target(), fields)
            self.assertStatus(c.response(interim=True), 415)
            self.assertTrue(c.ends())

    # ---- the bound ----
    def test_the_bound_is_exact(self):
        path = self.target()
        for whole in (request("POST", path, [], sized(BOUND)), chunked(path, sized(BOUND), (9999,))):
            with Client(self.port) as c:
                self.assertStatus(c.send(whole).response(), 200)
        with Client(self.port) as c:
            c.send(chunked(path, sized(BOUND + 1), (9999,)))
            self.assertProblem(c.response(), 413, "content too large", "the request body is too large")
            self.assertTrue(c.ends())
        self.assertReached(path, [sized(BOUND)] * 2)

    def test_a_length_over_the_bound_is_refused_at_once(self):
        with Client(self.port) as c:
            c.request("POST", self.target(), [("Content-Length", str(BOUND + 1)), ("Expect", "100-continue")])
            self.assertStatus(c.response(interim=True), 413)
            self.assertTrue(c.ends())

    def test_the_routes_own_limit_is_smaller(self):
        path = self.target("/small")
        self.assertStatus(self.ask("POST", path, [], sized(200)), 200)
        self.assertStatus(self.ask("POST", path, [], sized(201)), 413)
        with Client(self.port) as c:
            self.assertStatus(c.send(chunked(path, sized(201))).response(), 413)
        self.assertReached(path, [sized(200)])

    def test_other_routes_have_no_such_bound(self):
        body = b"x" * (4 * BOUND)
        self.assertStatus(self.ask("POST", "/other", [("Content-Encoding", "gzip")], body), 200)

    # ---- how it comes in ----
    def test_cut_at_every_octet(self):
        path = self.target()
        fields = b"\r\nTrail: er\r\n"
        for body, status in ((call("ping"), 200), (call("rm"), 403)):
            wholes = [request("POST", path, [], body), chunked(path, body, (5, 40), fields[2:])]
            for whole in wholes:
                with Client(self.port) as c:
                    for cut in range(1, len(whole), 1 if KIND == "release" else 5):
                        c.send(whole[:cut])
                        time.sleep(0.001)
                        self.assertStatus(c.send(whole[cut:]).response(), status, cut)
        self.assertEqual({r.sha256.hexdigest() for r in self.up.find(path)}, {digest(call("ping"))})

    def test_octet_by_octet(self):
        path = self.target()
        for body, status in ((call("ping"), 200), (call("rm"), 403)):
            with Client(self.port) as c:
                for whole in (request("POST", path, [], body), chunked(path, body, (2, 3))):
                    for i in range(len(whole)):
                        c.send(whole[i : i + 1])
                        time.sleep(0.0002)
                    self.assertStatus(c.response(), status)
        self.assertReached(path, [call("ping")] * 2)

    def test_nothing_goes_on_before_the_end(self):
        path = self.target()
        connections = self.up.connections
        with Client(self.port) as c:
            whole = request("POST", path, [], call())
            c.send(whole[:-1])
            self.assertTrue(c.silent(0.3))
            self.assertEqual(self.up.find(path), [])
            self.assertEqual(self.up.connections, connections)
            self.assertStatus(c.send(whole[-1:]).response(), 200)

    def test_framing_goes_on_as_it_came(self):
        path = self.target()
        with Client(self.port) as c:
            c.request("POST", path, [], call()).response()
            trailers = b"X-Sum: 1\r\nContent-Length: 3\r\nX-Pomerium-Claim: u\r\nAfter: z\r\n"
            c.send(chunked(path, call(), (11,), trailers)).response()
        length, odd = self.up.wait(path, 2)
        self.assertEqual((length.framing, length.one("Content-Length")), ("length", str(len(call()))))
        self.assertEqual((odd.framing, odd.trailers), ("chunked", [("X-Sum", "1"), ("After", "z")]))
        self.assertEqual((length.body, odd.body), (call(), call()))

    def test_broken_framing_is_refused(self):
        path = self.target()
        with Client(self.port) as c:
            c.send(chunked(path, call())[:-5] + b"x\r\n\r\n")
            self.assertProblem(c.response(), 400, "bad request", "malformed request body")
            self.assertTrue(c.ends())
        with Client(self.port) as c:
            c.send(chunked(path, call(), (9,), b"Bad trailer\r\n"))
            self.assertStatus(c.response(), 400)
        self.assertReached(path, [])

    def test_large_content_arrives_whole(self):
        """Through a slow reader, so that it waits in every buffer there is."""

        def slowly(c, r):
            time.sleep(0.1)
            c.rest()
            c.answer(200, [], b"%d" % r.length)

        path = self.target()
        self.up.on(path, slowly, early=True)
        whole = sized(BOUND)
        answers = parallel(8, lambda i: self.ask("POST", path, [], whole).body)
        self.assertEqual(set(answers), {b"%d" % BOUND})
        self.assertReached(path, [whole] * 8)

    def test_expect_is_answered_when_it_is_read(self):
        path = self.target()
        with Client(self.port) as c:
            c.request("POST", path, [("Content-Length", str(len(call()))), ("Expect", "100-continue")])
            self.assertStatus(c.response(interim=True), 100)
            self.assertTrue(c.silent())
            self.assertStatus(c.send(call()).response(interim=True), 200)
            c.request("POST", path, [("Content-Length", str(len(call("rm")))), ("Expect", "100-continue")])
            self.assertStatus(c.response(interim=True), 100)
            self.assertStatus(c.send(call("rm")).response(interim=True), 403)
            c.request("POST", path, [("Expect", "100-continue")], call())
            self.assertStatus(c.response(interim=True), 100)
            self.assertStatus(c.response(interim=True), 200)
        self.assertEqual([r.get("Expect") for r in self.up.find(path)], [[], []])

    def test_http_1_0(self):
        path = self.target()
        head = b"POST %s HTTP/1.0\r\nHost: app.test\r\nContent-Length: %d\r\n%s\r\n"
        for tool, status in (("ping", 200), ("rm", 403)):
            with Client(self.port) as c:
                body = call(tool)
                c.send(head % (path.encode(), len(body), b"Connection: keep-alive\r\nExpect: 100-continue\r\n") + body)
                self.assertStatus(c.response(interim=True), status)
                c.send(head % (path.encode(), len(body), b"") + body)
                self.assertStatus(c.response(interim=True), status)
                self.assertTrue(c.ends())

    # ---- the next request ----
    def test_what_follows_is_the_next_request(self):
        path = self.target()
        plan = [("ping", 200), ("rm", 403), ("ping", 200), (None, 200), ("drop table", 403), ("ping", 200)]
        for frame in (lambda b: request("POST", path, [], b), lambda b: chunked(path, b, (13, 2), b"T: 1\r\n")):
            whole = b"".join(request("GET", path) if t is None else frame(call(t)) for t, _ in plan)
            for cut in (len(whole), len(whole) // 2, 100):
                with Client(self.port) as c:
                    c.send(whole[:cut])
                    time.sleep(0.02)
                    c.send(whole[cut:])
                    for tool, status in plan:
                        self.assertStatus(c.response(), status, tool)
                    self.assertTrue(c.silent(0.05))

    def test_a_request_hidden_in_content_is_content(self):
        """Neither refused nor judged content is ever read as a request."""
        path = self.target()
        inner = "POST %s/inner HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\n{}" % path
        with Client(self.port) as c:
            for tool, status in (("rm", 403), ("ping", 200)):
                c.request("POST", path, [], call(tool, text=inner))
                self.assertStatus(c.response(), status)
            c.request("POST", path, [], inner.encode())
            self.assertStatus(c.response(), 400)
            self.assertTrue(c.silent(0.05))
        self.assertEqual(self.up.find(path + "/inner"), [])

    # ---- who goes away ----
    def test_the_client_goes_away(self):
        path = self.target()
        whole = request("POST", path, [], sized(BOUND))
        for cut in (150, 2000, len(whole) - 1):
            for part in (whole[:cut], chunked(path, sized(BOUND), (997,))[:cut]):
                c = Client(self.port)
                c.send(part)
                time.sleep(0.02)
                c.close()
        with Client(self.port) as c:
            c.send(whole[:-1])
            c.half_close()
            self.assertTrue(wait_until(lambda: len(self.gate.log(path, 7)) == 7))
        self.assertEqual({x["error"] for x in self.gate.log(path, 7)}, {"client-gone"})
        self.assertEqual({x["decision"] for x in self.gate.log(path, 7)}, {"none"})
        self.assertReached(path, [])

    def test_a_client_that_only_half_closes_gets_its_answer(self):
        with Client(self.port) as c:
            c.request("POST", self.target(), [], call())
            c.half_close()
            self.assertStatus(c.response(), 200)

    def test_the_upstream_goes_away(self):
        path = self.target()

        self.up.on(path, lambda c, r: c.reset(), early=True)  # most of the content was not read then
        self.up.on(path + "/after", lambda c, r: c.reset())
        with Client(self.port) as c:
            for target in (path, path + "/after"):
                for body in (call(), sized(BOUND)):
                    for frame in (request("POST", target, [], body), chunked(target, body, (4000,))):
                        self.assertStatus(c.send(frame).response(), 502, target)
            self.assertStatus(c.request("POST", "/tools/fine", [], call()).response(), 200)

    def test_sent_again_when_a_pooled_connection_is_dead(self):
        path, seen = self.target(), []

        def dies_when_used_again(c, r):
            seen.append(r)
            if len(seen) == 1:
                c.close()
            c.answer(200, [], json.dumps(r.trailers).encode())

        self.up.on(path, dies_when_used_again)
        with Client(self.port) as c:
            for frame, trailers in (
                (request("PUT", path, [], sized(40000)), []),
                (chunked(path, sized(40000), (1234,), b"Sum: 7\r\nNext: 8\r\n", "PUT"), [["Sum", "7"], ["Next", "8"]]),
            ):
                # a fresh one that stays in the pool, then one that dies with the request in it
                self.assertStatus(c.request("POST", "/tools/warm", [], call()).response(), 200)
                del seen[:]
                answer = c.send(frame).response()
                self.assertStatus(answer, 200)
                self.assertEqual(json.loads(answer.body), trailers)
                self.assertEqual([digest(r.body) for r in seen], [digest(sized(40000))] * 2)
                self.assertEqual([[list(t) for t in r.trailers] for r in seen], [trailers] * 2)
            self.assertStatus(c.request("POST", "/tools/warm", [], call()).response(), 200)
            del seen[:]
            self.assertStatus(c.request("POST", path, [], call()).response(), 502)  # twice might do harm
            self.assertEqual(len(seen), 1)

    # ---- who is let in whatever he sends, or never ----
    def test_without_an_identity_nothing_is_read(self):
        path = self.target("/members")
        with Client(self.port) as c:
            c.request("POST", path, [("Content-Length", str(BOUND)), ("Expect", "100-continue")])
            self.assertStatus(c.response(interim=True), 401)
            self.assertTrue(c.ends())
        self.assertStatus(self.ask("POST", path, [bearer()], call("pong")), 403)
        self.assertStatus(self.ask("POST", path, [bearer()], call("ping")), 200)
        self.assertStatus(self.ask("POST", path, [bearer()], b"[]"), 400)
        self.assertStatus(self.ask("POST", path, [], b"[]"), 401)
        told = [(x["status"], x["facts"].get("tool", "unread")) for x in self.gate.log(path, 5)]
        self.assertEqual(told, [(401, "unread"), (403, "pong"), (200, "ping"), (400, "unread"), (401, "unread")])

    def test_without_an_identity_the_call_may_let_in(self):
        path = self.target("/either")
        self.assertStatus(self.ask("POST", path, [], call("ping")), 200)
        self.assertStatus(self.ask("POST", path, [], call("pong")), 401)
        self.assertStatus(self.ask("POST", path, [bearer()], call("pong")), 200)

    # ---- other ends ----
    def test_the_echo_shows_it_once(self):
        path = self.target("/echo")
        for frame in (lambda b: request("POST", path, [], b), lambda b: chunked(path, b)):
            with Client(self.port) as c:
                for _ in range(2):
                    answer = c.send(frame(call())).response()
                    self.assertEqual(json.loads(answer.body)["body"], call().decode())
                self.assertStatus(c.send(frame(call("rm"))).response(), 403)
                self.assertEqual(json.loads(c.request("GET", path).response().body)["body"], "")

    def test_a_websocket_passes(self):
        path = self.target("/socket")
        self.up.on(
            path,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\nhello",
        )
        with Client(self.port) as c:
            c.request(
                "GET",
                path,
                [
                    ("Connection", "Upgrade"),
                    ("Upgrade", "websocket"),
                    ("Sec-WebSocket-Version", "13"),
                    ("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg=="),
                ],
            )
            self.assertStatus(c.response(), 101)
            self.assertEqual(c.until(b"hello"), b"hello")


class Patience(Case):
    @classmethod
    def routes(cls, up):
        return [guarded(up, "tools", ANYBODY), guarded(up, "brief", ANYBODY, timeout="1s")]

    @classmethod
    def settings(cls, up):
        return {"timeouts": {"body": "600ms"}}

    def test_slow_content_is_given_up(self):
        whole = request("POST", "/tools/slow", [], call())
        with Client(self.port) as c:
            c.send(whole[:-5])
            self.assertProblem(c.response(), 408, "request timeout", "the request body did not arrive in time")
            self.assertTrue(c.ends())
        self.assertEqual(self.up.find("/tools/slow"), [])

    @unittest.skipIf(SLOW, "judges times")
    def test_the_time_is_between_two_reads(self):
        whole = request("POST", "/tools/drip", [], call())
        with Client(self.port) as c:
            for i in range(0, len(whole), 20):
                c.send(whole[i : i + 20])
                time.sleep(0.3)
            self.assertStatus(c.response(), 200)

    @unittest.skipIf(SLOW, "judges times")
    def test_the_whole_time_of_a_request_goes_on(self):
        """Octet after octet in time, and yet the request is over when its time is."""
        whole = request("POST", "/brief/drip", [], call())
        with Client(self.port) as c:
            start = time.monotonic()
            c.send(whole[:-60])
            for octet in whole[-60:]:
                if not c.send(bytes([octet])).silent(0.1):
                    break
            self.assertProblem(c.response(), 408, "request timeout", "the request body did not arrive in time")
            self.assertLess(time.monotonic() - start, 3.0)
            self.assertTrue(c.ends())
        self.assertEqual(self.up.find("/brief/drip"), [])

    @unittest.skipIf(SLOW, "judges times")
    def test_the_whole_time_begins_once(self):
        """What reading took is not given again to the upstream."""

        def late(c, r):
            time.sleep(0.7)
            c.answer(200)

        self.up.on("/brief/late", late)
        whole = request("POST", "/brief/late", [], call())
        with Client(self.port) as c:
            self.assertStatus(c.send(whole).response(), 200)
            c.send(whole[:-1])
            time.sleep(0.5)
            self.assertStatus(c.send(whole[-1:]).response(), 504)

    def test_an_upstream_that_takes_its_time_is_no_slow_client(self):
        def late(c, r):
            time.sleep(1.2)
            c.answer(200)

        self.up.on("/tools/late", late)
        self.assertStatus(self.ask("POST", "/tools/late", [], call()), 200)

    def test_stopping_waits_for_it(self):
        gate = self.start(config([guarded(self.up, "tools", ANYBODY)]))
        whole = request("POST", "/tools/stopping", [], call())
        with Client(gate.port) as c:
            c.send(whole[:-5])
            time.sleep(0.2)
            gate.proc.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            answer = c.send(whole[-5:]).response()
            self.assertStatus(answer, 200)
            self.assertEqual(value(answer, "Connection"), "close")


@unittest.skipIf(SLOW, "judges memory")
class Memory(Case):
    CLIENTS, SENT = 50, 900 * 1024

    def dripping(self, gate, path, fields=()):
        """So many clients that have sent most of their content, and go on octet by octet."""
        body = sized(self.SENT + 4096)
        clients = [Client(gate.port) for _ in range(self.CLIENTS)]
        for c in clients:
            c.send(request("POST", path, fields, body)[: self.SENT])
        for i in range(5):
            time.sleep(0.05)
            for c in clients:
                c.send(b"a")
        return clients

    def test_what_dripping_clients_hold(self):
        gate = self.start(config([guarded(self.up, "tools", ANYBODY), guarded(self.up, "members", MEMBERS)]))
        start = gate.peak_kib()
        for c in self.dripping(gate, "/members"):            # refused without being read
            self.assertStatus(c.response(), 401)
            c.close()
        anonymous = gate.peak_kib()
        self.assertLess(anonymous - start, 8 * 1024)
        clients = self.dripping(gate, "/tools")
        held = gate.peak_kib()
        for c in clients:
            c.close()
        self.assertLess(held - anonymous, self.CLIENTS * 2.5 * 1024)
        for _ in range(3):                                   # and what they held is given back
            for c in self.dripping(gate, "/tools"):
                c.close()
            wait_until(lambda: gate.metric("tollgate_connections_active") == 0)
        self.assertLess(gate.peak_kib() - anonymous, self.CLIENTS * 3.5 * 1024)


if __name__ == "__main__":
    main()
