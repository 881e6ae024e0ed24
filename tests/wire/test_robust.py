"""Sizes, slowness and sudden ends: bounded memory, and nobody pays for another's trouble.

Against a sanitizer build the sizes shrink and memory is not judged (the shadow is the larger part of it).
"""

import json
import os
import re
import resource
import socket
import threading
import time

from harness import (
    ask,
    bearer,
    Case,
    Client,
    config,
    main,
    members,
    parallel,
    PATIENCE,
    public,
    request,
    SLOW,
    value,
    wait_until,
)

MIB = 1 << 20
LARGE = (16 if SLOW else 1024) * MIB
PEAK_KIB = 32 * 1024
BLOCK = bytes(range(256)) * 4096  # 1 MiB


class Large(Case):
    """1 GiB each way with less than 32 MiB of memory."""

    @classmethod
    def routes(cls, up):
        return None

    def check_peak(self, gate):
        if not SLOW:
            self.assertLess(gate.peak_kib(), PEAK_KIB)

    def test_download(self):
        def handler(c, r):
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            for _ in range(LARGE // MIB):
                c.send(BLOCK)

        self.up.on("/down", handler)
        gate = self.start(config([public(self.up)]))
        with Client(gate.port, timeout=60) as c:
            c.request("GET", "/down").until(b"\r\n\r\n")
            got = len(c.buf) - c.buf.index(b"\r\n\r\n") - 4
            into = bytearray(MIB)
            while got < LARGE:
                n = c.sock.recv_into(into)
                self.assertTrue(n, "cut after %d bytes" % got)
                got += n
        self.assertEqual(got, LARGE)
        self.check_peak(gate)

    def test_upload(self):
        for framing in ("length", "chunked"):
            with self.subTest(framing):
                gate = self.start(config([public(self.up)]))
                path = "/up-" + framing
                with Client(gate.port, timeout=60) as c:
                    head = b"POST %s HTTP/1.1\r\nHost: a\r\n" % path.encode()
                    if framing == "length":
                        c.send(head + b"Content-Length: %d\r\n\r\n" % LARGE)
                        pieces, last = [BLOCK], b""
                    else:
                        c.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
                        pieces, last = [b"%x\r\n" % MIB, BLOCK, b"\r\n"], b"0\r\n\r\n"
                    for _ in range(LARGE // MIB):
                        for piece in pieces:
                            c.sock.sendall(piece)
                    c.sock.sendall(last)
                    self.assertStatus(c.response(), 200)
                self.assertEqual(self.up.find(path)[0].length, LARGE)
                self.check_peak(gate)


class Slowness(Case):
    """A stalled peer stalls only itself, and holds little."""

    @classmethod
    def routes(cls, up):
        return [public(up)]

    @classmethod
    def settings(cls, up):
        return {"workers": 1}

    def others_are_well(self, count=50, limit=2.0):
        """Requests of others, meanwhile: all answered, and fast."""
        t = time.monotonic()
        with self.client() as c:
            for _ in range(count):
                self.assertStatus(c.request("GET", "/other").response(), 200)
        self.assertLess(time.monotonic() - t, limit * PATIENCE)

    def test_readers_that_stop(self):
        """Back-pressure reaches the upstream; memory stays small; when they read on, everything is there."""
        size = 8 * MIB

        def handler(c, r):
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // MIB):
                c.send(BLOCK)

        self.up.on("/stall", handler)
        before = self.gate.peak_kib()
        stalled = [self.client(receive_buffer=8192, timeout=30).request("GET", "/stall") for _ in range(20)]
        time.sleep(1)
        self.others_are_well()
        if not SLOW:
            self.assertLess(self.gate.peak_kib() - before, 16 * 1024, "20 stalled readers of 8 MiB each")
        for c in stalled[:4]:
            self.assertEqual(len(c.response().body), size)
        for c in stalled[4:]:
            c.close()
        self.others_are_well()

    def test_slow_readers_are_not_cut(self):
        """A client that reads, however slowly, keeps its answer; one that stops does not."""
        self.up.on("/slow-read", lambda c, r: c.answer(200, body=BLOCK * 16))
        gate = self.start(config([public(self.up)], timeouts={"body": "1s"}))
        reader, sleeper = Client(gate.port).request("GET", "/slow-read"), Client(gate.port).request("GET", "/slow-read")
        end, got = time.monotonic() + 5, 0
        while time.monotonic() < end:
            piece = len(reader.sock.recv(8192))
            self.assertTrue(piece, "cut after %d bytes" % got)
            got += piece
            time.sleep(0.02)
        with self.assertRaises(AssertionError):
            sleeper.response()
        reader.close()
        sleeper.close()

    def open_connections(self, gate):
        text = ask(gate.health, "GET", "/metrics").body.decode()
        return int(float(re.search(r"^tollgate_connections_active (\S+)$", text, re.M).group(1)))

    def test_senders_that_do_not_read(self):
        """Whatever a client sends meanwhile, one that does not read its answer is not held for ever."""
        self.up.on("/ahead", lambda c, r: c.answer(200, body=BLOCK * 64), early=True)
        gate = self.start(config([public(self.up)], timeouts={"body": "1s"}))
        c = Client(gate.port)
        c.send(b"POST /ahead HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx")
        time.sleep(0.5)
        c.send(b"yz")                                        # the request is whole: no deadline of a body any more
        self.assertTrue(wait_until(lambda: self.open_connections(gate) == 0, 8, 0.2))
        c.close()

    def test_answer_to_an_upload_is_seen(self):
        """A client that sends without looking still gets to see why its upload was refused."""
        gate = self.start(config([members(self.up)]))
        for _ in range(5):
            with Client(gate.port) as c:
                c.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (16 * MIB))
                for _ in range(16):
                    c.send(BLOCK)
                self.assertFalse(c.was_reset)
                self.assertStatus(c.response(), 401)

    def test_one_byte_at_a_time(self):
        """Clients that send one byte now and then."""
        stop = threading.Event()

        def drip():
            with Client(self.port) as c:
                for b in request("GET", "/drip", [("X-Long", "a" * 200)]):
                    if stop.wait(0.05):
                        return
                    c.send(bytes([b]))

        threads = [threading.Thread(target=drip) for _ in range(20)]
        for t in threads:
            t.start()
        try:
            self.others_are_well(200)
        finally:
            stop.set()
            for t in threads:
                t.join()

    def test_slow_upload(self):
        """A body that comes slowly arrives, and others do not wait for it."""
        with self.client() as c:
            c.send(b"POST /slow-up HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
            for _ in range(20):
                c.send(b"x")
                time.sleep(0.05)
            self.others_are_well()
            self.assertStatus(c.response(), 200)
        self.assertEqual(self.up.wait("/slow-up")[0].length, 20)

    def test_body_timeout(self):
        """A body that stops is 408 after timeouts.body, and the upstream never has a whole request."""
        gate = self.start(config([public(self.up)], timeouts={"body": "500ms"}))
        with Client(gate.port) as c:
            c.send(b"POST /stopped HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nabc")
            self.assertStatus(c.response(), 408)
            self.assertTrue(c.ends())
        time.sleep(0.1)
        self.assertFalse([r for r in self.up.find("/stopped") if r.complete])

    def test_upstream_killed_inside_bodies(self):
        """Half of the exchanges lose their upstream mid-body; the other half and the process do not notice."""

        def handler(c, r):
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100000)
            time.sleep(0.1)
            if r.target.endswith("kill"):
                c.reset()
            c.send(b"x" * 100000)

        self.up.on("/killed", handler)

        def one(i):
            with Client(self.port) as c:
                c.request("GET", "/killed?%s" % ("kill" if i % 2 else "live"))
                try:
                    return len(c.response().body)
                except AssertionError:
                    return -1

        self.assertEqual(parallel(20, one), [200000, -1] * 10)
        self.others_are_well()

    def test_clients_that_leave(self):
        """Resets at any moment of an exchange leave nothing behind."""
        self.up.on("/leave", lambda c, r: (time.sleep(0.05), c.answer(200, body=b"x" * 300000)))
        for delay in (0, 0.01, 0.05, 0.06, 0.1):
            for _ in range(10):
                c = self.client().request("GET", "/leave")
                time.sleep(delay)
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                c.close()
        self.others_are_well()
        gone = wait_until(lambda: len(os.listdir("/proc/%d/fd" % self.gate.pid)) < 60, 10)
        self.assertTrue(gone, "descriptors of ended exchanges are kept")


class Connections(Case):
    @classmethod
    def routes(cls, up):
        return None

    def test_idle_connections(self):
        """9,800 idle keep-alive connections that each have had an answer, in less than 32 MiB."""
        count = 500 if SLOW else 9800
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if 0 < hard < count + 200:
            self.skipTest("RLIMIT_NOFILE hard limit %d is too low for %d connections" % (hard, count))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, soft)
        gate = self.start(config([public(self.up)], timeouts={"idle": "300s"}))
        held = []
        try:
            for i in range(count):
                s = socket.create_connection(("127.0.0.1", gate.port), 10)
                s.sendall(request("GET", "/idle"))
                held.append(s)
                if len(held) % 50 == 0:
                    for h in held[-50:]:
                        self.assertIn(b" 200 ", h.recv(65536)[:20])
            self.assertStatus(ask(gate.port), 200, "one more")
            if not SLOW:
                self.assertLess(gate.peak_kib(), PEAK_KIB)
        finally:
            for s in held:
                s.close()

    def test_idle_timeout(self):
        """A connection between requests is closed in time, and silently."""
        gate = self.start(config([public(self.up)], timeouts={"idle": "700ms"}))
        with Client(gate.port) as c:
            c.request("GET", "/").response()
            t = time.monotonic()
            self.assertTrue(c.ends(5))
            self.assertGreater(time.monotonic() - t, 0.4)

    def test_connections_per_address(self):
        """Over the limit: closed at once and counted; another address is not meant."""
        gate = self.start(config([public(self.up)], limits={"connections_per_address": 5}, workers=2))
        held = [Client(gate.port) for _ in range(5)]
        for c in held:
            self.assertStatus(c.request("GET", "/").response(), 200)
        with Client(gate.port) as c:
            self.assertTrue(c.request("GET", "/").ends(), "the sixth: %r" % c.buf[:100])
        self.assertStatus(ask(gate.port, source="127.0.0.2"), 200, "another address")
        self.assertGreaterEqual(gate.metric("tollgate_connections_refused_total"), 1)
        for c in held:
            c.close()
        self.assertTrue(wait_until(lambda: self.works(gate)), "places become free again")

    def works(self, gate):
        try:
            return ask(gate.port).status == 200
        except (AssertionError, OSError):
            return False

    def test_connections_in_all(self):
        gate = self.start(config([public(self.up)], limits={"connections": 10}, workers=2))
        held = [Client(gate.port) for _ in range(10)]
        for c in held:
            self.assertStatus(c.request("GET", "/").response(), 200)
        with Client(gate.port) as c:
            c.request("GET", "/")
            try:
                self.assertStatus(c.response(), 503)
            except AssertionError:
                self.assertTrue(c.eof)
        for c in held:
            c.close()
        self.assertTrue(wait_until(lambda: self.works(gate)))

    def test_out_of_descriptors(self):
        """With no descriptor left the connections that are there go on, and it recovers."""
        gate = self.start(config([public(self.up)], workers=1))
        with Client(gate.port) as c:
            c.request("GET", "/").response()
            used = len(os.listdir("/proc/%d/fd" % gate.pid))
            soft, hard = resource.prlimit(gate.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(gate.pid, resource.RLIMIT_NOFILE, (used + 3, hard))
            held = [Client(gate.port) for _ in range(20)]
            time.sleep(0.3)
            self.assertStatus(c.request("GET", "/").response(), 200)
            for h in held:
                h.close()
            resource.prlimit(gate.pid, resource.RLIMIT_NOFILE, (soft, hard))
            self.assertTrue(wait_until(lambda: self.works(gate)))


class Pace(Case):
    """Many at once, mixed: nothing is lost or exchanged."""

    @classmethod
    def routes(cls, up):
        return [members(up)]

    def test_mixed_load(self):
        """Every answer belongs to its request: the path and the body's length come back."""
        good, bad = bearer(), bearer("ecX256")

        def client(n):
            with Client(self.port) as c:
                for i in range(20 if SLOW else 60):
                    size = (n * 37 + i * 101) % 5000
                    c.request("POST", "/p/%d/%d" % (n, i), [bad if i % 7 == 3 else good], b"b" * size)
                    m = c.response()
                    if i % 7 == 3:
                        self.assertStatus(m, 401)
                        if value(m, "Connection") == "close":
                            c.close()
                            c.__init__(self.port)
                        continue
                    seen = json.loads(m.body)
                    self.assertEqual((seen["target"], seen["length"]), ("/p/%d/%d" % (n, i), size))

        parallel(12, client)


if __name__ == "__main__":
    main()
