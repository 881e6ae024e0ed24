"""A scripted HTTP/1.1 origin: says what tollgate really sent, and answers whatever a test wants to be answered.

Every request is read strictly; a departure from RFC 9112's sender grammar is kept in `problems`, and a test that did
not ask for it fails (harness.Case checks). Answers are chosen by the longest registered path prefix; without one the
answer is a JSON description of the request.
"""

import hashlib
import json
import re
import socket
import struct
import threading
import time

KEEP_BODY = 1 << 20  # of a longer body only the length and the digest are kept
TOKEN = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
REQUEST_LINE = re.compile(rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.1$")
CHUNK_LINE = re.compile(rb"^([0-9A-Fa-f]{1,15})$")


class Gone(Exception):
    """The connection ended."""


class Request:
    """One request as it arrived."""

    def __init__(self):
        self.method = self.target = ""
        self.fields = []  # (name, value) as sent
        self.trailers = []
        self.body = b""  # the first KEEP_BODY bytes
        self.length = 0
        self.sha256 = hashlib.sha256()
        self.complete = False
        self.connection = 0  # number of the connection, from 1
        self.framing = "none"

    def get(self, name):
        return [v for k, v in self.fields if k.lower() == name.lower()]

    def one(self, name):
        values = self.get(name)
        assert len(values) == 1, "%s: %r" % (name, values)
        return values[0]

    def path(self):
        return self.target.split("?")[0]


class Connection:
    """What a handler may do with the connection."""

    def __init__(self, sock, number):
        self.sock, self.number, self.buf = sock, number, b""

    def fill(self):
        try:
            data = self.sock.recv(262144)
        except OSError:
            raise Gone()
        if not data:
            raise Gone()
        self.buf += data

    def line(self, limit=1 << 20):
        while b"\r\n" not in self.buf:
            if len(self.buf) > limit:
                raise Gone()
            self.fill()
        line, _, self.buf = self.buf.partition(b"\r\n")
        return line

    def take(self, n, into):
        """Feeds exactly n bytes to `into`, piece by piece."""
        while n:
            if not self.buf:
                self.fill()
            piece, self.buf = self.buf[:n], self.buf[n:]
            n -= len(piece)
            into(piece)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone()

    def answer(self, status=200, fields=(), body=b"", reason="OK"):
        """A plain answer with Content-Length."""
        head = "HTTP/1.1 %d %s\r\n" % (status, reason)
        head += "".join("%s: %s\r\n" % f for f in fields)
        if status >= 200 and status not in (204, 304):
            head += "Content-Length: %d\r\n" % len(body)
        self.send(head.encode("latin-1") + b"\r\n" + body)

    def reset(self):
        """Ends the connection with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone()

    def close(self):
        raise Gone()


class Upstream:
    def __init__(self, port=0):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(1024)
        self.port = self.sock.getsockname()[1]
        self.url = "http://127.0.0.1:%d" % self.port
        self.lock = threading.Lock()
        self.requests = []
        self.problems = []
        self.connections = 0
        self.open = set()
        self.handlers = {}
        self.stopped = False
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, prefix, handler, early=False):
        """`handler(connection, request)` answers what is below `prefix`. early: it is called before the body is read
        and may call `connection.rest()` to read it. A bytes handler is sent as it stands; "Connection: close" in it
        closes."""
        if isinstance(handler, bytes):
            raw = handler

            def handler(c, _):
                c.send(raw)
                if b"\r\nconnection: close" in raw.lower():
                    c.close()

        self.handlers[prefix] = (handler, early)

    def find(self, path):
        """The requests that asked for `path` (query not compared), whole or not."""
        with self.lock:
            return [r for r in self.requests if r.path() == path]

    def wait(self, path, count=1, limit=5.0):
        """As find(), after `count` of them arrived whole."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            found = [r for r in self.find(path) if r.complete]
            if len(found) >= count:
                return found
            time.sleep(0.005)
        return [r for r in self.find(path) if r.complete]

    def stop(self):
        """Closes the listener and every connection."""
        self.stopped = True
        for s in [self.sock] + list(self.open):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def drop_connections(self):
        """Closes every connection and goes on listening."""
        for s in list(self.open):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while not self.stopped:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                number = self.connections
                self.open.add(sock)
            threading.Thread(target=self._serve, args=(Connection(sock, number),), daemon=True).start()

    def _serve(self, c):
        try:
            while self._one(c):
                pass
        except Gone:
            pass
        finally:
            with self.lock:
                self.open.discard(c.sock)
            c.sock.close()

    def _problem(self, text):
        with self.lock:
            self.problems.append(text)

    def _fields(self, c, what):
        fields = []
        while True:
            line = c.line()
            if not line:
                return fields
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.match(name) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                self._problem("bad %s line %r" % (what, line[:80]))
            fields.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))

    def _head(self, c):
        r = Request()
        r.connection = c.number
        line = c.line()
        m = REQUEST_LINE.match(line)
        if not m:
            self._problem("bad request line %r" % line[:80])
            raise Gone()
        r.method, r.target = m[1].decode(), m[2].decode()
        r.fields = self._fields(c, "field")
        te, cl = r.get("Transfer-Encoding"), r.get("Content-Length")
        if len(r.get("Host")) != 1:
            self._problem("%d Host fields" % len(r.get("Host")))
        if te and cl or len(te) > 1 or len(cl) > 1 or (te and te[0] != "chunked") or (cl and not cl[0].isdigit()):
            self._problem("framing %r %r" % (te, cl))
            raise Gone()
        r.framing = "chunked" if te else "length" if cl else "none"
        return r

    def _body(self, c, r):
        def keep(piece):
            r.sha256.update(piece)
            r.length += len(piece)
            if len(r.body) < KEEP_BODY:
                r.body += piece[: KEEP_BODY - len(r.body)]

        if r.framing == "length":
            c.take(int(r.one("Content-Length")), keep)
        elif r.framing == "chunked":
            while True:
                line = c.line()
                m = CHUNK_LINE.match(line)
                if not m:
                    self._problem("bad chunk line %r" % line[:40])
                    raise Gone()
                size = int(m[1], 16)
                if not size:
                    break
                c.take(size, keep)
                if c.line():
                    self._problem("chunk data not ended by CRLF")
                    raise Gone()
            r.trailers = self._fields(c, "trailer")
        r.complete = True

    def _one(self, c):
        """Reads and answers one request. False when the connection is to be closed."""
        r = self._head(c)
        with self.lock:
            self.requests.append(r)
            match = [p for p in self.handlers if r.path().startswith(p)]
        handler, early = self.handlers[max(match, key=len)] if match else (describe, False)
        c.rest = lambda: r.complete or self._body(c, r)
        if not early:
            c.rest()
        handler(c, r)
        if not r.complete:  # an early handler that never read it all
            return False
        return "close" not in ",".join(r.get("Connection")).lower()


def describe(c, r):
    """The default answer: what arrived, as JSON."""
    text = json.dumps(
        {
            "method": r.method,
            "target": r.target,
            "fields": r.fields,
            "trailers": r.trailers,
            "length": r.length,
            "sha256": r.sha256.hexdigest(),
            "connection": r.connection,
        }
    ).encode()
    fields = [("Content-Type", "application/json"), ("X-Upstream", "1")]
    if r.method == "HEAD":
        head = "".join("%s: %s\r\n" % f for f in fields)
        c.send(("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (head, len(text))).encode())
        return
    c.answer(200, fields, text)
