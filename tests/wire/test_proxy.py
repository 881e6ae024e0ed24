"""HTTP/1.1 through tollgate: framing, connections, fields, routes (RFC 9110, RFC 9112)."""

import base64
import hashlib
import json
import os
import time

from harness import (
    Case,
    Client,
    PATIENCE,
    Upstream,
    ask,
    bearer,
    config,
    curl,
    free_port,
    main,
    public,
    request,
    value,
    wait_until,
)


def seen(message):
    """The upstream's description of the request (upstream.describe)."""
    return json.loads(message.body)


def fields_of(message, name):
    return [v for k, v in seen(message)["fields"] if k.lower() == name.lower()]


class Connections(Case):
    @classmethod
    def routes(cls, up):
        return [public(up)]

    def test_keep_alive(self):
        """Many requests on one connection, and one upstream connection serves them."""
        before = self.up.connections
        with self.client() as c:
            for i in range(20):
                self.assertStatus(c.request("GET", "/keep/%d" % i).response(), 200)
        self.assertLessEqual(self.up.connections - before, 1)

    def test_pipelining(self):
        """Requests sent together are answered each, in order (RFC 9112 section 9.3.2)."""
        with self.client() as c:
            c.send(b"".join(request("GET", "/pipe/%d" % i) for i in range(30)))
            for i in range(30):
                self.assertEqual(seen(c.response())["target"], "/pipe/%d" % i)

    def test_pipelining_with_bodies_and_heads(self):
        """The end of each message is found whatever its framing."""
        with self.client() as c:
            c.send(
                request("POST", "/mix/a", body=b"x" * 1000)
                + request("HEAD", "/mix/b")
                + b"PUT /mix/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                + request("GET", "/mix/d")
            )
            self.assertEqual(seen(c.response())["length"], 1000)
            self.assertStatus(c.response(head=True), 200)
            self.assertEqual(seen(c.response())["length"], 5)
            self.assertEqual(seen(c.response())["target"], "/mix/d")

    def test_close_is_obeyed(self):
        """Connection: close from the client ends the connection after the answer."""
        with self.client() as c:
            m = c.request("GET", "/", [("Connection", "close")]).response()
            self.assertEqual(value(m, "Connection"), "close")
            self.assertTrue(c.ends())

    def test_http_1_0(self):
        """An HTTP/1.0 client gets no chunked coding and, unasked, no keep-alive."""
        self.up.on(
            "/old",
            lambda c, r: c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" b"3\r\nabc\r\n0\r\n\r\n"),
        )
        with self.client() as c:
            m = c.send(b"GET /old HTTP/1.0\r\nHost: app.test\r\n\r\n")
            while c.fill():
                pass
            m = c.response()
            self.assertEqual((m.status, m.body), (200, b"abc"))
            self.assertIsNone(value(m, "Transfer-Encoding"))

    def test_client_half_close(self):
        """A client that has sent all and closed its side still gets its answer."""
        self.up.on("/half", lambda c, r: (time.sleep(0.2), c.answer(200, body=b"late")))
        with self.client() as c:
            c.request("GET", "/half").half_close()
            self.assertEqual(c.response().body, b"late")

    def test_half_close_behind_pipelined_requests(self):
        """Each of them is answered, also those that tollgate answers itself."""
        for path, status in (("/none", 404), ("/behind", 200)):
            gate = self.gate if status == 200 else self.start(config([public(self.up, prefix="/other")]))
            for _ in range(10):
                with Client(gate.port) as c:
                    c.send(request("GET", path) * 20).half_close()
                    self.assertEqual([c.response().status for _ in range(20)], [status] * 20)
                    self.assertTrue(c.ends())

    def test_empty_lines_before_a_request(self):
        """RFC 9112 section 2.2: a server ignores at least one empty line before the request line."""
        with self.client() as c:
            self.assertStatus(c.send(b"\r\n" + request("GET", "/")).response(), 200)

    def test_curl(self):
        """A client that nobody here wrote."""
        url = "http://127.0.0.1:%d/curl" % self.port
        code, out, err = curl("-d", "a=b", "-H", "Host: app.test", url, url)
        self.assertEqual(code, 0, err)
        self.assertEqual(out.count('"length": 3'), 2)


class Bodies(Case):
    @classmethod
    def routes(cls, up):
        return [public(up)]

    def test_chunked_request_with_trailers(self):
        """A chunked body arrives whole; its trailers too, but none that frames, routes or identifies."""
        with self.client() as c:
            c.send(
                b"POST /up HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"4;ext=1\r\nwiki\r\n5\r\npedia\r\n0\r\nX-Sum: 9\r\nX-Pomerium-Jwt-Assertion: forged\r\n\r\n"
            )
            m = c.response()
        self.assertEqual((seen(m)["length"], seen(m)["sha256"]), (9, hashlib.sha256(b"wikipedia").hexdigest()))
        names = [k.lower() for k, _ in seen(m)["trailers"]]
        self.assertNotIn("x-pomerium-jwt-assertion", names)

    def test_chunked_response_with_trailers(self):
        """Chunks and trailers of the upstream reach the client; the framing is written anew."""
        self.up.on(
            "/down",
            lambda c, r: c.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"4;a=b\r\nwiki\r\n5\r\npedia\r\n0\r\nX-Sum: 9\r\n\r\n"
            ),
        )
        with self.client() as c:
            m = c.request("GET", "/down", [("TE", "trailers"), ("Connection", "TE")]).response()
            self.assertEqual(m.body, b"wikipedia")
            self.assertEqual([(k.lower(), v) for k, v in m.trailers], [(b"x-sum", b"9")])
            self.assertNotIn(b"a=b", m.raw)
            self.assertStatus(c.request("GET", "/after").response(), 200)

    def test_head(self):
        """HEAD: the fields of GET and no body; the connection stays in step."""
        self.up.on("/head", lambda c, r: c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"))
        with self.client() as c:
            m = c.request("HEAD", "/head").response(head=True)
            self.assertEqual(value(m, "Content-Length"), "12345")
            self.assertStatus(c.request("GET", "/after").response(), 200)

    def test_no_body_statuses(self):
        """204 and 304 have no body whatever their fields say (RFC 9112 section 6.3)."""
        self.up.on("/204", lambda c, r: c.send(b"HTTP/1.1 204 No Content\r\n\r\n"))
        self.up.on(
            "/304", lambda c, r: c.send(b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n" b"Content-Length: 99\r\n\r\n")
        )
        with self.client() as c:
            self.assertStatus(c.request("GET", "/204").response(), 204)
            m = c.request("GET", "/304").response()
            self.assertEqual((m.status, value(m, "ETag")), (304, '"a"'))
            self.assertStatus(c.request("GET", "/after").response(), 200)

    def test_interim_responses_are_passed_on(self):
        """RFC 9110 section 15.2: a proxy forwards 1xx; 103 Early Hints before the final answer."""
        self.up.on(
            "/hints",
            lambda c, r: c.send(
                b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            ),
        )
        with self.client() as c:
            c.request("GET", "/hints")
            first = c.response(interim=True)
            self.assertEqual((first.status, value(first, "Link")), (103, "</a.css>; rel=preload"))
            self.assertEqual(c.response().body, b"ok")

    def test_upstreams_100_is_not_passed_on_unasked(self):
        """A 100 that the client did not ask for may be dropped; the final answer must come."""
        self.up.on(
            "/100",
            lambda c, r: c.send(b"HTTP/1.1 100 Continue\r\n\r\n" b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        )
        with self.client() as c:
            self.assertEqual(c.request("GET", "/100").response().body, b"ok")

    def test_expect_is_answered_here(self):
        """100 comes from tollgate, once, and Expect is not forwarded."""
        with self.client() as c:
            c.send(b"POST /expect HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(c.response(interim=True).status, 100)
            m = c.send(b"abc").response(interim=True)
            self.assertStatus(m, 200)
            self.assertEqual((fields_of(m, "Expect"), seen(m)["length"]), ([], 3))

    def test_unknown_expectation(self):
        """Any other expectation is 417 or ignored, never forwarded with the request's fate open."""
        with self.client() as c:
            c.send(b"POST /expect2 HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\nExpect: tea\r\n\r\n")
            self.assertIn(c.response().status, (200, 417))

    def test_close_delimited_answer(self):
        """An answer that ends with the upstream's connection reaches the client whole and delimited."""
        body = os.urandom(50000)

        def handler(c, r):
            c.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n" + body)
            c.close()

        self.up.on("/eof", handler)
        with self.client() as c:
            m = c.request("GET", "/eof").response()
            self.assertEqual(hashlib.sha256(m.body).digest(), hashlib.sha256(body).digest())

    def test_large_bodies_both_ways(self):
        """A few MiB in, the same amount out, on one kept connection."""
        body = os.urandom(1 << 20) * 3
        self.up.on("/echo", lambda c, r: c.answer(200, body=b"z" * r.length))
        with self.client() as c:
            for _ in range(2):
                m = c.request("POST", "/echo", body=body).response()
                self.assertEqual(len(m.body), len(body))
        r = self.up.wait("/echo")[0]
        self.assertEqual(r.sha256.hexdigest(), hashlib.sha256(body).hexdigest())

    def test_upstream_answers_early(self):
        """An answer that comes before the whole request body ends the exchange; nothing hangs."""
        self.up.on("/early", lambda c, r: c.answer(413, body=b"too much", reason="Too Large"), early=True)
        with self.client() as c:
            c.send(b"POST /early HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
            self.assertStatus(c.response(), 413)

    def test_client_leaves_inside_a_body(self):
        """A request whose body never ends is not completed towards the upstream."""
        with self.client() as c:
            c.send(b"POST /left HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100\r\n\r\nonly this")
            wait_until(lambda: self.up.find("/left"))
        time.sleep(0.2)
        self.assertFalse([r for r in self.up.find("/left") if r.complete])
        self.assertStatus(self.ask("GET", "/after"), 200)


class BrokenUpstream(Case):
    """A bad answer is 502 and never becomes a second answer (RFC 9112 section 11.1)."""

    CASES = (
        ("not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        (
            "both framings",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" b"3\r\nabc\r\n0\r\n\r\n",
        ),
        ("odd length", b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc"),
        ("unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("bare LF", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"),
        ("NUL in a value", b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n"),
        ("space before colon", b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n"),
        ("status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        ("nothing at all", b""),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-"),
    )

    @classmethod
    def routes(cls, up):
        return [public(up, timeout="20s")]

    def test_bad_answers(self):
        for i, (why, raw) in enumerate(self.CASES):
            with self.subTest(why):

                def handler(c, r, raw=raw):
                    c.send(raw)
                    c.close()

                self.up.on("/bad/%d/" % i, handler)
                with self.client() as c:
                    m = c.request("POST", "/bad/%d/x" % i, body=b"once").response()
                    self.assertProblem(m, 502, "bad gateway")
                    self.assertNotIn(str(self.up.port).encode(), m.raw)
                    self.assertTrue(c.silent(0.05) or c.ends(1), "bytes after the answer: %r" % c.buf[:200])

    def test_second_answer_is_not_forwarded(self):
        """Bytes after an answer must not answer the next request."""

        def handler(c, r):
            c.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            )

        self.up.on("/double", handler)
        with self.client() as c:
            self.assertEqual(c.request("GET", "/double").response().body, b"ok")
            for i in range(5):
                self.assertEqual(seen(c.request("GET", "/next/%d" % i).response())["target"], "/next/%d" % i)

    def test_cut_inside_a_body(self):
        """After the head went out the stream is cut: the client must be able to tell (no whole message)."""
        for name, raw in (
            ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"),
            ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"),
        ):
            with self.subTest(name):

                def handler(c, r, raw=raw):
                    c.send(raw)
                    time.sleep(0.1)
                    c.reset()

                self.up.on("/cut-" + name, handler)
                with self.client() as c:
                    c.request("GET", "/cut-" + name)
                    with self.assertRaises(AssertionError):
                        c.response()
                    self.assertTrue(c.eof)
                    self.assertNotIn(b"bad gateway", c.buf)

    def test_no_upstream(self):
        """Nobody listens: 502, and no address in the answer."""
        dead = free_port()
        gate = self.start(config([public("http://127.0.0.1:%d" % dead)]))
        m = ask(gate.port)
        self.assertProblem(m, 502, "bad gateway")
        self.assertNotIn(b"%d" % dead, m.raw)

    def test_slow_upstream(self):
        """No first byte in time: 504."""
        self.up.on("/slow", lambda c, r: (time.sleep(3 * PATIENCE), c.answer()))
        gate = self.start(config([public(self.up)], timeouts={"first_byte": "500ms"}))
        t = time.monotonic()
        self.assertProblem(ask(gate.port, "GET", "/slow"), 504, "gateway timeout")
        self.assertLess(time.monotonic() - t, 2.5 * PATIENCE)

    def test_a_slow_client_is_no_slow_upstream(self):
        """The first byte is not awaited before the request is whole."""
        gate = self.start(config([public(self.up)], timeouts={"first_byte": "500ms"}))
        for head in (b"Content-Length: 6\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"):
            with Client(gate.port) as c:
                c.send(b"POST /thinking HTTP/1.1\r\nHost: a\r\n" + head)
                time.sleep(1.2)
                c.send(b"def" if b"Length" in head else b"0\r\n\r\n")
                self.assertStatus(c.response(), 200)

    def test_route_timeout(self):
        """A route's timeout is its total, also when bytes keep coming."""

        def handler(c, r):
            c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(100):
                c.send(b"1\r\na\r\n")
                time.sleep(0.1)

        self.up.on("/drip", handler)
        gate = self.start(config([public(self.up, timeout="1s")]))
        t = time.monotonic()
        with self.assertRaises(AssertionError):
            ask(gate.port, "GET", "/drip")
        self.assertLess(time.monotonic() - t, 4 * PATIENCE)


class Retry(Case):
    @classmethod
    def routes(cls, up):
        return [public(up)]

    @classmethod
    def settings(cls, up):
        return {"workers": 1}

    def prepare(self, path):
        """A pooled connection that dies at the next request, without an answer."""
        state = {"hits": 0, "deadly": 0}

        def handler(c, r):
            state["hits"] += 1
            if c.number == state["deadly"]:
                c.reset()
            c.answer(200, body=b"%d" % c.number)

        self.up.on(path, handler)
        state["deadly"] = int(self.ask("GET", path + "/first").body)
        return state

    def test_get_is_sent_again(self):
        """An idempotent request is sent again on a fresh connection (RFC 9112 section 9.3.1)."""
        state = self.prepare("/retry-get")
        m = self.ask("GET", "/retry-get/second")
        self.assertStatus(m, 200)
        self.assertNotEqual(int(m.body), state["deadly"])
        self.assertEqual(state["hits"], 3)

    def test_post_is_not(self):
        """POST may have had an effect: 502, and the upstream saw it once."""
        state = self.prepare("/retry-post")
        self.assertProblem(self.ask("POST", "/retry-post/second", body=b"pay"), 502, "bad gateway")
        self.assertEqual(state["hits"], 2)

    def test_idle_connections_closed_by_the_upstream(self):
        """Closed while pooled: noticed, nothing is lost, whatever the method."""
        self.ask("GET", "/idle")
        self.up.drop_connections()
        time.sleep(0.2)
        self.assertStatus(self.ask("POST", "/idle", body=b"x"), 200)

    def test_a_fresh_connection_is_not_retried(self):
        """A fresh connection that dies is an answer: 502, after one try."""
        hits = []
        self.up.on("/fatal", lambda c, r: (hits.append(1), c.reset()))
        self.up.drop_connections()
        time.sleep(0.1)
        self.assertProblem(self.ask("GET", "/fatal"), 502, "bad gateway")
        self.assertLessEqual(len(hits), 2)

    def test_body_goes_on_after_another_upstream_refused(self):
        """A body paused for the connection that failed is read on for the pooled one that takes its place."""
        route = public(self.up, to=["http://127.0.0.1:%d" % free_port(), self.up.url])
        gate = self.start(config([route], workers=1, timeouts={"first_byte": "5s"}))
        for _ in range(4):
            self.assertStatus(ask(gate.port, "GET", "/warm"), 200)
        for i in range(4):
            with Client(gate.port) as c:
                c.send(b"POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"a" * 50)
                time.sleep(0.2)
                self.assertStatus(c.send(b"b" * 50).response(), 200, "request %d" % i)
            m = ask(gate.port, "POST", "/second", body=b"c" * 40000)
            self.assertStatus(m, 200, "request %d, of a size that is not kept for long" % i)
            self.assertEqual(seen(m)["length"], 40000)


class Fields(Case):
    @classmethod
    def routes(cls, up):
        return [public(up)]

    def test_hop_by_hop(self):
        """Connection, what it names, and the hop-by-hop fields stay here, both ways (RFC 9110 section 7.6.1)."""
        self.up.on(
            "/hop",
            lambda c, r: c.send(
                b"HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n"
                b"Proxy-Authenticate: x\r\n"
                b"X-Stays: 1\r\nContent-Length: 0\r\n\r\n"
            ),
        )
        m = self.ask(
            "GET",
            "/see",
            [
                ("X-Named", "1"),
                ("Keep-Alive", "1"),
                ("Proxy-Connection", "x"),
                ("TE", "gzip"),
                ("Proxy-Authorization", "Basic eA=="),
                ("X-Stays", "1"),
            ],
        )
        names = [k.lower() for k, _ in seen(m)["fields"]]
        for gone in ("keep-alive", "proxy-connection", "te", "proxy-authorization"):
            self.assertNotIn(gone, names)
        self.assertIn("x-stays", names)
        with self.client() as c:
            m = c.request("GET", "/see", [("Connection", "x-named, keep-alive"), ("X-Named", "1")]).response()
            self.assertEqual(fields_of(m, "X-Named"), [])
            m = c.request("GET", "/hop").response()
            for gone in ("X-Secret", "Keep-Alive"):
                self.assertIsNone(value(m, gone), gone)
            self.assertEqual(value(m, "X-Stays"), "1")

    def test_connection_cannot_remove_what_matters(self):
        """Naming Host or Authorization in Connection must not remove it after the decision was taken."""
        with self.client() as c:
            m = c.request(
                "GET", "/named", [("Connection", "host, authorization, x-forwarded-for"), bearer()]
            ).response()
        if m.status == 200:
            self.assertEqual(len(fields_of(m, "Host")), 1)
            self.assertEqual(len(fields_of(m, "X-Forwarded-For")), 1)
        else:
            self.assertStatus(m, 400)

    def test_host_is_the_upstreams(self):
        """Pomerium's default: Host names the upstream."""
        self.assertEqual(fields_of(self.ask("GET", "/h", host="app.test"), "Host"), ["127.0.0.1:%d" % self.up.port])

    def test_forwarded_fields_are_ours(self):
        """An untrusted client cannot say where it comes from."""
        m = self.ask(
            "GET",
            "/f",
            [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test")],
        )
        self.assertEqual(fields_of(m, "X-Forwarded-For"), ["127.0.0.1"])
        self.assertEqual(fields_of(m, "X-Forwarded-Proto"), ["http"])
        self.assertEqual(fields_of(m, "X-Forwarded-Host"), ["app.test"])

    def test_request_id(self):
        """A fresh one, the same for the upstream and the client; an untrusted one is replaced."""
        m = self.ask("GET", "/id", [("X-Request-Id", "forged")])
        ids = fields_of(m, "X-Request-Id")
        self.assertEqual(len(ids), 1)
        self.assertNotEqual(ids, ["forged"])
        self.assertEqual(value(m, "X-Request-Id"), ids[0])
        self.assertNotEqual(fields_of(self.ask("GET", "/id"), "X-Request-Id"), ids)

    def test_traceparent(self):
        """A trace always goes on with a valid field (W3C Trace Context); garbage never fails a request."""
        shape = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
        for sent in (None, "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
            m = self.ask("GET", "/t", [("traceparent", sent)] if sent else [])
            self.assertEqual(len(fields_of(m, "traceparent")), 1)
            self.assertRegex(fields_of(m, "traceparent")[0], shape)
            self.assertNotIn("0" * 32, fields_of(m, "traceparent")[0])

    def test_via(self):
        self.assertEqual(fields_of(self.ask("GET", "/v"), "Via"), ["1.1 tollgate"])
        self.assertEqual(
            ", ".join(fields_of(self.ask("GET", "/v", [("Via", "1.0 other")]), "Via")), "1.0 other, 1.1 tollgate"
        )

    def test_identity_fields_of_a_client(self):
        """Never to the upstream, in any case, with _ for -, on a public route too."""
        names = (
            "X-Pomerium-Jwt-Assertion",
            "x-pomerium-claim-email",
            "X_Pomerium_Claim_Email",
            "X-Tollgate-User",
            "X-Forwarded-User",
            "X-Forwarded-Email",
            "X-Forwarded-Groups",
            "X-Auth-Request-User",
            "X-Remote-User",
            "Cf-Access-Jwt-Assertion",
            "X-Goog-Authenticated-User-Email",
            "X-Amzn-Oidc-Identity",
        )
        m = self.ask("GET", "/i", [(n, "root") for n in names] + [("X-Fine", "root")])
        self.assertEqual([k for k, v in seen(m)["fields"] if v == "root"], ["X-Fine"])

    def test_repeated_fields_keep_order_and_case(self):
        """Order of values is part of their meaning (RFC 9110 section 5.3); obs-text survives."""
        m = self.ask("GET", "/r", [("X-List", "a"), ("X-List", "b"), ("X-LIST", "c"), ("X-Text", "caf\xe9")])
        self.assertEqual(", ".join(fields_of(m, "X-List")), "a, b, c")
        self.assertEqual(fields_of(m, "X-Text"), ["caf\xe9"])

    def test_set_cookie_is_never_joined(self):
        self.up.on(
            "/cookies", lambda c, r: c.answer(200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Expires=Mon, 1 Jan")])
        )
        m = self.ask("GET", "/cookies")
        self.assertEqual(m.get(b"Set-Cookie"), [b"a=1", b"b=2; Expires=Mon, 1 Jan"])

    def test_upstreams_own_401_passes(self):
        """A 401 and a challenge of the upstream are its own affair."""
        self.up.on("/their401", lambda c, r: c.answer(401, [("WWW-Authenticate", 'Basic realm="theirs"')], b"theirs"))
        m = self.ask("GET", "/their401")
        self.assertEqual((m.status, m.body, value(m, "WWW-Authenticate")), (401, b"theirs", 'Basic realm="theirs"'))


class TrustedProxy(Case):
    @classmethod
    def routes(cls, up):
        return [public(up)]

    @classmethod
    def settings(cls, up):
        return {"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"]}

    def test_address_counted_from_the_right(self):
        """The nearest address that is not a trusted proxy is the client; the list is kept and extended."""
        m = self.ask(
            "GET",
            "/p",
            [
                ("X-Forwarded-For", "6.6.6.6, 192.0.2.7, 10.1.1.1"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "shop.test"),
            ],
        )
        self.assertTrue(", ".join(fields_of(m, "X-Forwarded-For")).endswith("192.0.2.7, 10.1.1.1, 127.0.0.1"))
        self.assertEqual(fields_of(m, "X-Forwarded-Proto"), ["https"])
        self.assertEqual(fields_of(m, "X-Forwarded-Host"), ["shop.test"])
        self.assertEqual(self.gate.log("/p")[-1]["client_ip"], "192.0.2.7")

    def test_request_id_and_trace_are_kept(self):
        """Of a trusted neighbour, when well-formed."""
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        m = self.ask("GET", "/p2", [("X-Request-Id", "abc.DEF-1"), ("traceparent", trace)])
        self.assertEqual((fields_of(m, "X-Request-Id"), value(m, "X-Request-Id")), (["abc.DEF-1"], "abc.DEF-1"))
        self.assertIn("4bf92f3577b34da6a3ce929d0e0e4736", fields_of(m, "traceparent")[0])
        m = self.ask("GET", "/p2", [("X-Request-Id", "no spaces <allowed>")])
        self.assertNotIn(" ", fields_of(m, "X-Request-Id")[0])


class Routes(Case):
    @classmethod
    def setUpClass(cls):
        cls.other = Upstream()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.other.stop()

    @classmethod
    def routes(cls, up):
        two = {"to": [up.url, cls.other.url]}
        return [
            public(up, name="exact", path="/only/this"),
            public(up, name="rewrite", prefix="/api", prefix_rewrite="/v2"),
            public(up, name="robin", prefix="/robin", **two),
            public(
                up,
                name="headers",
                prefix="/headers",
                set_request_headers={"X-Set": "yes", "X-Over": "ours"},
                remove_request_headers=["X-Gone"],
                set_response_headers={"X-Answer": "set", "X-Upstream": "over"},
            ),
            public(up, name="host", prefix="/host", preserve_host_header=True),
            public(up, name="by-host", prefix="/named", **{"from": "https://named.test"}),
            public(up, name="by-port", prefix="/named", **{"from": "https://port.test:8443"}),
        ]

    def test_path_is_exact(self):
        self.assertStatus(self.ask("GET", "/only/this?q=1"), 200)
        self.assertProblem(self.ask("GET", "/only/this/not"), 404, "not found")
        self.assertProblem(self.ask("GET", "/only/thi"), 404, "not found")

    def test_prefix_rewrite(self):
        self.assertEqual(seen(self.ask("GET", "/api/x?y=%20z"))["target"], "/v2/x?y=%20z")
        self.assertEqual(seen(self.ask("GET", "/api"))["target"], "/v2")
        self.assertEqual(seen(self.ask("GET", "/api.json"))["target"], "/v2/.json")

    def test_prefix_rewrite_makes_no_dot_segments(self):
        """What is left behind the prefix would lead out of the rewritten one."""
        for path in ("/api../x", "/api..", "/api./x", "/api%2e%2e/x", "/api..;/x", "/api;/x"):
            self.assertProblem(self.ask("GET", path), 400, "bad request")

    def test_options_of_the_server(self):
        """An asterisk is no path: nothing is put before it (RFC 9112 section 3.2.4)."""
        route = {k: v for k, v in public(self.up.url + "/base").items() if k != "prefix"}
        gate = self.start(config([route]))
        self.assertEqual(seen(ask(gate.port, "OPTIONS", "*"))["target"], "*")
        self.assertEqual(seen(ask(gate.port, "OPTIONS", "/x"))["target"], "/base/x")

    def test_round_robin(self):
        """Every URL of `to` in turn."""
        for _ in range(20):
            self.assertStatus(self.ask("GET", "/robin/x"), 200)
        a, b = len(self.up.find("/robin/x")), len(self.other.find("/robin/x"))
        self.assertEqual(a + b, 20)
        self.assertGreaterEqual(min(a, b), 8)

    def test_headers(self):
        m = self.ask("GET", "/headers", [("X-Over", "theirs"), ("X-Gone", "1"), ("x-gone", "2")])
        self.assertEqual(
            (fields_of(m, "X-Set"), fields_of(m, "X-Over"), fields_of(m, "X-Gone")), (["yes"], ["ours"], [])
        )
        self.assertEqual((value(m, "X-Answer"), value(m, "X-Upstream")), ("set", "over"))

    def test_preserve_host(self):
        self.assertEqual(fields_of(self.ask("GET", "/host", host="keep.test:81"), "Host"), ["keep.test:81"])

    def test_host_routes(self):
        """Case, port and scheme as design says: without a port any port matches, with one only that."""
        for host, status in (
            ("named.test", 200),
            ("NAMED.test", 200),
            ("named.test:1234", 200),
            ("other.test", 404),
            ("port.test:8443", 200),
            ("port.test:8444", 404),
            ("xnamed.test", 404),
        ):
            with self.subTest(host):
                self.assertStatus(self.ask("GET", "/named", host=host), status)

    def test_absolute_form(self):
        """RFC 9112 section 3.2.2: the target's authority counts, and the upstream gets origin form."""
        m = self.ask("GET", "http://named.test/named?x", host="named.test")
        self.assertEqual(seen(m)["target"], "/named?x")

    def test_canonical_path(self):
        """One canonical form decides and is forwarded."""
        for sent, got in (
            ("/%61pi/x", "/v2/x"),
            ("/x/../api/y", "/v2/y"),
            ("//api//y", "/v2/y"),
            ("/api/%7euser", "/v2/~user"),
            ("/api/a%2d%3db", "/v2/a-%3Db"),
            ("/api/./z?a/../b", "/v2/z?a/../b"),
        ):
            with self.subTest(sent):
                m = self.ask("GET", sent)
                self.assertStatus(m, 200)
                self.assertEqual(seen(m)["target"], got)
        for sent in ("/api/%2f", "/api/%5C", "/api/%00", "/api/\\x", "/api/%zz", "/api/%", "/api/#x", "/api/..;a=b/x"):
            with self.subTest(sent):
                self.assertStatus(self.ask("GET", sent), 400)

    def test_methods(self):
        """TRACE and CONNECT are refused; a method nobody heard of is the upstream's to judge."""
        for target, method in (("/api", "TRACE"), ("app.test:443", "CONNECT")):
            self.assertStatus(self.ask(method, target), 405, method)
        self.assertEqual(seen(self.ask("QUERY", "/api", body=b"q"))["method"], "QUERY")
        self.assertEqual(seen(self.ask("PROPFIND", "/api"))["method"], "PROPFIND")


class Strict(Case):
    """Framing that two recipients could read in two ways is refused, and its body is never read as a request."""

    SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"
    CASES = (
        (
            "CL and TE",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n" b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("two CL", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", 400),
        ("same CL twice", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        ("CL +5", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", 400),
        ("CL list", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n", 400),
        ("CL overflow", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", (400, 413)),
        ("TE unknown", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", (400, 501)),
        ("TE twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
        ("TE in 1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("bare LF", b"GET / HTTP/1.1\nHost: a\n\n", 400),
        ("bare CR", b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
        ("NUL", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
        ("obs-fold", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
        ("space before colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
        ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("bad name", b"GET / HTTP/1.1\r\nHost: a\r\nX(: a\r\n\r\n", 400),
        ("version 1.2.3", b"GET / HTTP/1.2.3\r\nHost: a\r\n\r\n", 400),
        ("version 3", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (
            "bad chunk size",
            b"POST / HTTP/1.1\r\nHost: a\r\n" b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            400,
        ),
        (
            "chunk without CRLF",
            b"POST / HTTP/1.1\r\nHost: a\r\n" b"Transfer-Encoding: chunked\r\n\r\n1\r\naXY0\r\n\r\n",
            400,
        ),
    )

    @classmethod
    def routes(cls, up):
        return [public(up)]

    def test_refused(self):
        for why, raw, status in self.CASES:
            with self.subTest(why):
                before = len(self.up.find("/smuggled"))
                with self.client() as c:
                    m = c.send(raw + self.SMUGGLED).response()
                    self.assertIn(m.status, status if isinstance(status, tuple) else (status,))
                    self.assertEqual(value(m, "Connection"), "close")
                    self.assertTrue(c.ends(), "not closed, or answered twice: %r" % c.buf[:200])
                self.assertEqual(len(self.up.find("/smuggled")), before)

    def test_sizes(self):
        """Limits have their own statuses (414, 431)."""
        self.assertStatus(self.ask("GET", "/" + "a" * 17000), 414)
        self.assertStatus(self.ask("GET", "/", [("X-Big", "a" * 70000)]), 431)
        self.assertStatus(self.ask("GET", "/", [("X-%d" % i, "a") for i in range(200)]), 431)

    def test_body_limit(self):
        """limits.body: 413, told in advance or found on the way."""
        gate = self.start(config([public(self.up)], limits={"body": "1KiB"}))
        self.assertStatus(ask(gate.port, "POST", "/b", body=b"x" * 1024), 200)
        self.assertStatus(ask(gate.port, "POST", "/b", body=b"x" * 1025), 413)
        with Client(gate.port) as c:
            c.send(
                b"POST /b2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + b"400\r\n"
                + b"x" * 1024
                + b"\r\n400\r\n"
                + b"x" * 1024
                + b"\r\n0\r\n\r\n"
            )
            self.assertStatus(c.response(), 413)
        self.assertFalse([r for r in self.up.find("/b2") if r.complete])

    def test_head_timeout(self):
        """A head that does not come in time is 408 (or a plain close when nothing came at all)."""
        gate = self.start(config([public(self.up)], timeouts={"head": "500ms", "idle": "500ms"}))
        with Client(gate.port) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            self.assertStatus(c.response(), 408)
            self.assertTrue(c.ends())
        with Client(gate.port) as c:
            self.assertTrue(c.ends(5))


class Names(Case):
    @classmethod
    def routes(cls, up):
        return [public(up, to="http://localhost:%d" % up.port)]

    def test_every_address_of_a_name_is_tried(self):
        """The origin listens on one of localhost's addresses only: no request notices the other."""
        for _ in range(6):
            with self.client() as c:
                self.assertStatus(c.request("POST", "/named", body=b"x" * 20000).response(), 200)


class WebSocket(Case):
    @classmethod
    def routes(cls, up):
        return [public(up, name="ws", prefix="/ws", allow_websockets=True), public(up)]

    FIELDS = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", base64.b64encode(b"0123456789abcdef").decode()),
    ]

    def test_silent_tunnel(self):
        """idle_timeout ends a tunnel that is silent, and not one that is used; the request's own timeout ends neither."""

        def handler(c, r):
            c.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: abc\r\n\r\n"
            )
            try:
                while True:
                    c.fill()
            except Exception:
                pass

        self.up.on("/ws", handler)
        route = public(self.up, prefix="/ws", allow_websockets=True, idle_timeout="1s", timeout="500ms")
        gate = self.start(config([route]))
        with Client(gate.port) as c:
            self.assertEqual(c.request("GET", "/ws", self.FIELDS).response().status, 101)
            for _ in range(8):
                time.sleep(0.3)
                c.send(b"still here")                        # one side alone is enough
            start = time.monotonic()
            self.assertTrue(c.ends(5))
            self.assertLess(time.monotonic() - start, 4)

    def test_tunnel(self):
        """After 101 bytes go both ways as they are, and the end of one side ends the other."""

        def handler(c, r):
            self.assertEqual(r.one("Upgrade").lower(), "websocket")
            c.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: abc\r\n\r\n\x81\x02hi"
            )
            for _ in range(3):
                while not c.buf:
                    c.fill()
                data, c.buf = c.buf, b""
                c.send(data[::-1])
            c.close()

        self.up.on("/ws", handler)
        with self.client() as c:
            m = c.request("GET", "/ws", self.FIELDS).response()
            self.assertEqual(
                (m.status, value(m, "Upgrade").lower(), value(m, "Sec-WebSocket-Accept")), (101, "websocket", "abc")
            )
            self.assertEqual(c.until(b"\x81\x02hi"), b"\x81\x02hi")
            c.buf = b""
            for text in (b"abc", b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
                c.send(text).until(text[::-1])
                c.buf = b""
            self.assertTrue(c.ends())

    def test_without_permission(self):
        """allow_websockets is off: 403, and the upstream hears nothing."""
        self.assertStatus(self.ask_upgrade("/other", self.FIELDS), 403)
        self.assertEqual(self.up.find("/other"), [])

    def ask_upgrade(self, path, fields):
        with self.client() as c:
            return c.request("GET", path, fields).response()

    def test_refused_by_the_upstream(self):
        """Any other answer than 101 is an ordinary answer."""
        self.up.on("/ws-no", lambda c, r: c.answer(426, body=b"no"))
        self.assertStatus(self.ask_upgrade("/ws-no", self.FIELDS), 426)

    def test_unknown_protocol_is_dropped(self):
        """h2c and others: Upgrade is dropped and the request goes on."""
        m = self.ask_upgrade(
            "/up", [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]
        )
        self.assertStatus(m, 200)
        for name in ("Upgrade", "HTTP2-Settings", "Connection"):
            self.assertEqual([v for v in fields_of(m, name) if "pgrade" in v or name != "Connection"], [])

    def test_unasked_101(self):
        """101 to a request that asked for no upgrade is a broken upstream."""
        self.up.on(
            "/odd",
            lambda c, r: c.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
        )
        self.assertStatus(self.ask("GET", "/odd"), 502)


if __name__ == "__main__":
    main()
