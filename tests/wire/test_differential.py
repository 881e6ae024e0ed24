"""Other people's parsers as witnesses.

Requests, good and odd, go through tollgate to an origin made of Node's HTTP parser, and beside that through nginx and
HAProxy. The law: whatever tollgate lets through, Node must see as exactly one request, with the body that the client
meant; and what both nginx and HAProxy refuse, tollgate refuses too.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from harness import Case, Client, HERE, Tollgate, config, free_port, main, public, wait_until

H = b"Host: app.test\r\n"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n"
# (why, bytes, body as the client means it; None: no reading is right and it must be refused)
REQUESTS = (
    ("plain GET", b"GET /d HTTP/1.1\r\n" + H + b"\r\n", b""),
    ("HTTP/1.0", b"GET /d HTTP/1.0\r\n" + H + b"\r\n", b""),
    ("length", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    ("length 0", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: 0\r\n\r\n", b""),
    ("leading zeros", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: 0005\r\n\r\nhello", b"hello"),
    ("GET with a body", b"GET /d HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    ("DELETE with a body", b"DELETE /d HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    ("chunked", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (
        "Chunked, capital",
        b"POST /d HTTP/1.1\r\n" + H + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"hello",
    ),
    ("chunk extension", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n5;a=\"b\"\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("chunk sizes", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n000001\r\nh\r\n04\r\nello\r\n000\r\n\r\n", b"hello"),
    ("trailers", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", b"hello"),
    (
        "CL in a trailer",
        b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
        b"hello",
    ),
    ("space around a value", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: \t 5 \t\r\n\r\nhello", b"hello"),
    ("odd field values", b"GET /d HTTP/1.1\r\n" + H + b"X: \xe4\xf6,;:=\"\\\r\nY:\r\n\r\n", b""),
    ("odd targets", b"GET /d/~a!$&'()*+,;=:@%20?x=/?%zz HTTP/1.1\r\n" + H + b"\r\n", b""),
    ("CL and TE", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n", None),
    (
        "TE and CL",
        b"POST /d HTTP/1.1\r\n"
        + H
        + b"Content-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        None,
    ),
    ("two lengths", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello", None),
    ("length list", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: 5, 5\r\n\r\nhello", None),
    ("plus", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: +5\r\n\r\nhello", None),
    ("minus", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: -5\r\n\r\nhello", None),
    ("hex length", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: 0x5\r\n\r\nhello", None),
    ("empty length", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length:\r\n\r\n", None),
    ("length of 2^64", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: 18446744073709551616\r\n\r\n", None),
    ("length of 2^64+5", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length: 18446744073709551621\r\n\r\nhello", None),
    ("identity", b"POST /d HTTP/1.1\r\n" + H + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", None),
    (
        "chunked twice",
        b"POST /d HTTP/1.1\r\n" + CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        None,
    ),
    ("chunked not last", b"POST /d HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", None),
    ("vertical tab", b"POST /d HTTP/1.1\r\n" + H + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", None),
    ("TE in 1.0", b"POST /d HTTP/1.0\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n", None),
    ("space before colon", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length : 5\r\n\r\nhello", None),
    ("folded length", b"POST /d HTTP/1.1\r\n" + H + b"Content-Length:\r\n 5\r\n\r\nhello", None),
    ("underscore", b"POST /d HTTP/1.1\r\n" + H + b"Content_Length: 5\r\n\r\n", b""),
    ("bare LF", b"POST /d HTTP/1.1\n" + b"Host: a\nContent-Length: 5\n\nhello", None),
    ("bare CR in a value", b"GET /d HTTP/1.1\r\n" + H + b"X: a\rContent-Length: 5\r\n\r\n", None),
    ("NUL in a value", b"GET /d HTTP/1.1\r\n" + H + b"X: a\x00\r\n\r\n", None),
    ("no host", b"GET /d HTTP/1.1\r\n\r\n", None),
    ("two hosts", b"GET /d HTTP/1.1\r\n" + H + H + b"\r\n", None),
    ("host list", b"GET /d HTTP/1.1\r\nHost: a, b\r\n\r\n", None),
    ("no version", b"GET /d\r\n\r\n", None),
    ("lower-case version", b"GET /d http/1.1\r\n" + H + b"\r\n", None),
    ("two spaces", b"GET  /d HTTP/1.1\r\n" + H + b"\r\n", None),
    ("tab in the request line", b"GET\t/d HTTP/1.1\r\n" + H + b"\r\n", None),
    ("space in the target", b"GET /d /e HTTP/1.1\r\n" + H + b"\r\n", None),
    ("chunk 0x", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n", None),
    ("chunk sign", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n+5\r\nhello\r\n0\r\n\r\n", None),
    ("chunk overflow", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", None),
    ("chunk end", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n5\r\nhelloXX0\r\n\r\n", None),
    ("chunk line LF", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n5\nhello\r\n0\r\n\r\n", None),
    ("extension LF", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n5;a\nb\r\nhello\r\n0\r\n\r\n", None),
    ("empty chunk size", b"POST /d HTTP/1.1\r\n" + CHUNKED + b"\r\n\r\nhello\r\n0\r\n\r\n", None),
)
FOLLOWER = b"GET /follower HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n"

NGINX = """daemon off; master_process off; pid %(d)s/nginx.pid; error_log /dev/null crit;
events { worker_connections 256; }
http { access_log off; client_body_temp_path %(d)s/a; proxy_temp_path %(d)s/b; fastcgi_temp_path %(d)s/c;
  uwsgi_temp_path %(d)s/e; scgi_temp_path %(d)s/f;
  server { listen 127.0.0.1:%(port)d; location / { proxy_pass http://127.0.0.1:%(up)d; proxy_http_version 1.1; } } }
"""
HAPROXY = """global
    maxconn 200
defaults
    mode http
    timeout connect 2s
    timeout client 2s
    timeout server 2s
frontend f
    bind 127.0.0.1:%(port)d
    default_backend b
backend b
    server u 127.0.0.1:%(up)d
"""


class Differential(Case):
    lock = threading.Lock()

    @classmethod
    def routes(cls, up):
        return None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not shutil.which("node"):
            raise unittest.SkipTest("no node here")
        cls.lines, cls.processes = [], []
        cls.dir = tempfile.mkdtemp(prefix="tollgate-peers.")
        cls.node_port = free_port()
        cls.node = subprocess.Popen(
            ["node", os.path.join(HERE, "node_origin.mjs"), str(cls.node_port)], stdout=subprocess.PIPE, text=True
        )
        cls.processes.append(cls.node)
        if cls.node.stdout.readline() != "ready\n":
            raise RuntimeError("node does not start")
        threading.Thread(target=lambda: [cls.lines.append(json.loads(x)) for x in cls.node.stdout], daemon=True).start()
        cls.tollgate = Tollgate(config([public("http://127.0.0.1:%d" % cls.node_port)]))
        cls.ports = {"tollgate": cls.tollgate.port}
        for name, template, argv in (
            ("nginx", NGINX, ["nginx", "-e", "/dev/null", "-c"]),
            ("haproxy", HAPROXY, ["haproxy", "-db", "-f"]),
        ):
            exe = shutil.which(argv[0], path=os.environ.get("PATH", "") + ":/usr/sbin")
            if not exe:
                continue
            port = free_port()
            path = os.path.join(cls.dir, name + ".conf")
            with open(path, "w", encoding="ascii") as f:
                f.write(template % {"d": cls.dir, "port": port, "up": cls.node_port})
            cls.processes.append(
                subprocess.Popen([exe] + argv[1:] + [path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            cls.ports[name] = port
            wait_until(lambda: cls.reachable(port))

    @staticmethod
    def reachable(port):
        try:
            Client(port).close()
            return True
        except OSError:
            return False

    @classmethod
    def tearDownClass(cls):
        for p in cls.processes:
            p.terminate()
            p.wait()
        try:
            if hasattr(cls, "tollgate"):
                cls.tollgate.stop()
        finally:
            super().tearDownClass()
            shutil.rmtree(cls.dir, ignore_errors=True)

    def through(self, name, raw):
        """(statuses of the answers, what Node saw, the follower left out)"""
        with self.lock:
            start = len(self.lines)
            statuses = []
            with Client(self.ports[name], timeout=3) as c:
                c.send(raw + FOLLOWER)
                try:
                    while len(statuses) < 4:
                        statuses.append(c.response().status)
                except (AssertionError, OSError):
                    pass
            time.sleep(0.03)
            # A connection that was reset without a word on it is no request.
            return statuses, [
                x for x in self.lines[start:] if x.get("target") != "/follower" and x.get("error") != "ECONNRESET"
            ]

    def test_tollgate_before_node(self):
        """What passes is one request with one reading; what must not pass leaves no trace at the origin."""
        for why, raw, body in REQUESTS:
            with self.subTest(why):
                statuses, seen = self.through("tollgate", raw)
                if body is None:
                    self.assertEqual(seen, [])
                    self.assertEqual(len(statuses), 1, "one refusal, and what follows is not read")
                    self.assertIn(statuses[0] // 100, (4, 5))
                    continue
                self.assertEqual(statuses[:1], [200])
                self.assertEqual(len(seen), 1, seen)
                self.assertEqual(seen[0].get("sha256"), hashlib.sha256(body).hexdigest())

    def test_beside_the_peers(self):
        """Nothing passes here that both nginx and HAProxy refuse, and nothing plain is refused that both pass."""
        peers = [n for n in ("nginx", "haproxy") if n in self.ports]
        if len(peers) < 2:
            self.skipTest("needs nginx and haproxy")
        for why, raw, body in REQUESTS:
            with self.subTest(why):
                passed = {n: any("method" in x for x in self.through(n, raw)[1]) for n in ["tollgate"] + peers}
                if not any(passed[n] for n in peers):
                    self.assertFalse(passed["tollgate"], "both peers refuse it")
                if all(passed[n] for n in peers) and body is not None:
                    self.assertTrue(passed["tollgate"], "both peers pass it")


if __name__ == "__main__":
    main()
