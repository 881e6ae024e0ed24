"""TLS to the services, and services behind a unix socket: nginx, OpenSSL's own server and Python's in that role.

Who cannot prove to be whom the route names is not talked to; what is said about it is a 502, "error":"tls" in the access
log, and one line with the reason in the program's log.
"""

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import certs
from harness import (
    SLOW,
    Case,
    Client,
    Tollgate,
    ask,
    bearer,
    config,
    curl,
    free_port,
    main,
    members,
    parallel,
    public,
    run,
    value,
    wait_until,
)

NGINX_EXE = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
OPENSSL_EXE = shutil.which("openssl")

NGINX = """daemon off; master_process off; pid %(d)s/nginx.pid; error_log %(d)s/error.log info;
events { worker_connections 512; }
http {
  log_format facts escape=json '{"path":"$uri","port":"$server_port","proto":"$ssl_protocol","sni":"$ssl_server_name",'
    '"reused":"$ssl_session_reused","connection":"$connection","who":"$ssl_client_s_dn","proved":"$ssl_client_verify",'
    '"host":"$http_host"}';
  access_log %(d)s/facts.log facts;
  client_body_temp_path %(d)s/a; proxy_temp_path %(d)s/b; fastcgi_temp_path %(d)s/c; uwsgi_temp_path %(d)s/e;
  scgi_temp_path %(d)s/f; client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;
  map $http_upgrade $hop { default upgrade; '' ''; }
  ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate %(d)s/good.chain.pem; ssl_certificate_key %(d)s/good.key;
%(servers)s
}
"""
SERVER = """
  server { listen %s; %s
    location / { proxy_pass http://127.0.0.1:%d; proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $hop; } }
"""


class Nginx:
    """One nginx with a server for each name; what is asked of any goes on to `up`."""

    def __init__(self, directory, up, **servers):
        self.dir, self.ports, text = directory, {}, ""
        for name, more in servers.items():
            if name == "unix":
                where = "unix:%s/s" % directory
            else:
                self.ports[name] = free_port()
                where = "127.0.0.1:%d ssl" % self.ports[name]
            text += SERVER % (where, more % {"d": directory}, up.port)
        path = os.path.join(directory, "nginx.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(NGINX % {"d": directory, "servers": text})
        self.proc = subprocess.Popen(
            [NGINX_EXE, "-e", os.path.join(directory, "error.log"), "-c", path],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if not wait_until(lambda: self.proc.poll() is not None or self.up(), 10) or self.proc.poll() is not None:
            self.proc.kill()
            raise RuntimeError("nginx does not start: " + self.proc.stderr.read().decode()[-2000:])

    def up(self):
        try:
            for port in self.ports.values():
                socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def seen(self, path, count=1):
        """What nginx wrote about the requests of one path."""

        def lines():
            with open(os.path.join(self.dir, "facts.log"), encoding="utf-8") as f:
                found = [x for x in map(json.loads, f.read().split("\n")[:-1]) if x["path"] == path]
            return found if len(found) >= count else []

        return wait_until(lines, 3)

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.proc.stderr.close()


class Scripted:
    """A server of our own: `handler(tls)` for each connection, on a thread; without `leaf` it gets the bare socket."""

    def __init__(self, leaf, handler, address="127.0.0.1", port=0, **settings):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.create_server((address, port), family=family)
        self.port, self.handler, self.context = self.sock.getsockname()[1], handler, None
        self.accepted = 0
        if leaf:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(leaf.chain, leaf.key)
            for name, what in settings.items():
                setattr(self.context, name, what)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock = self.sock.accept()[0]
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            sock.settimeout(20)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            self.handler(sock)
        except OSError:
            pass
        finally:
            sock.close()

    @property
    def url(self):
        return "https://127.0.0.1:%d" % self.port

    def stop(self):
        self.sock.close()


def read_head(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def whole(sock):
    """Ends the TLS connection as it should be ended."""
    sock.unwrap().close()


def torn(sock):
    """FIN without close_notify: what anybody on the way can do."""
    raw = socket.socket(fileno=sock.detach())
    raw.shutdown(socket.SHUT_WR)
    raw.close()


class TlsCase(Case):
    """A folder with an authority and leaves of every kind. Subclasses add servers."""

    @classmethod
    def setUpClass(cls):
        if not OPENSSL_EXE:
            raise unittest.SkipTest("no openssl here")
        cls.dir = tempfile.mkdtemp(prefix="tollgate-tls.")
        cls.ca = certs.ca(cls.dir)
        cls.mid = certs.ca(cls.dir, "mid", parent=cls.ca)
        cls.other_ca = certs.ca(cls.dir, "otherca")
        cls.good = certs.leaf(cls.dir, cls.mid, ["app.test", "localhost", "127.0.0.1"], name="good", usage="server")
        cls.gate_leaf = certs.leaf(cls.dir, cls.ca, ["gate.test"], name="client", usage="client")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.dir, ignore_errors=True)

    @classmethod
    def file64(cls, path):
        with open(path, "rb") as f:
            return base64.b64encode(f.read()).decode()

    def https(self, server, path, **changes):
        """A public route to a scripted server, under a prefix."""
        return public(server.url, **{"name": path[1:], "prefix": path, "tls_custom_ca_file": self.ca.cert, **changes})

    def refused(self, gate, path, reason, status=502):
        """The request fails for the reason, which stands in the log."""
        self.assertStatus(ask(gate.port, "GET", path), status, path)
        line = gate.log(path)[-1]
        self.assertEqual(line.get("error"), "tls" if status == 502 else "connect-timeout", line)
        if reason:
            self.assertTrue(
                wait_until(lambda: reason in gate.stderr(), 2), "%s: no %r in:\n%s" % (path, reason, gate.stderr())
            )


@unittest.skipUnless(NGINX_EXE, "no nginx here")
class BesideNginx(TlsCase):
    @classmethod
    def routes(cls, up):
        certs.leaf(cls.dir, cls.ca, ["127.0.0.1"], name="expired", end=-0.1)
        certs.leaf(cls.dir, cls.ca, ["127.0.0.1"], name="future", start=1)
        certs.leaf(cls.dir, None, ["127.0.0.1"], name="self")
        certs.leaf(cls.dir, cls.ca, ["elsewhere.test"], name="elsewhere")
        certs.leaf(cls.dir, cls.ca, ["127.0.0.1"], name="clientonly", usage="client")
        own = "ssl_certificate %%(d)s/%s.pem; ssl_certificate_key %%(d)s/%s.key;"
        cls.nginx = Nginx(
            cls.dir,
            up,
            good="",
            old="ssl_protocols TLSv1.2;",
            once="keepalive_timeout 0;",
            oldonce="keepalive_timeout 0; ssl_protocols TLSv1.2; ssl_session_cache shared:s:1m;",
            brief="keepalive_timeout 1s;",
            needs="ssl_verify_client on; ssl_client_certificate %(d)s/ca.pem;",
            expired=own % ("expired", "expired"),
            future=own % ("future", "future"),
            selfsigned=own % ("self", "self"),
            elsewhere=own % ("elsewhere", "elsewhere"),
            clientonly=own % ("clientonly", "clientonly"),
            missing="ssl_certificate %(d)s/good.pem; ssl_certificate_key %(d)s/good.key;",
            unix="",
        )
        trust = {"tls_custom_ca_file": cls.ca.cert}
        who = {"tls_client_cert_file": cls.gate_leaf.cert, "tls_client_key_file": cls.gate_leaf.key}
        inline = {
            "tls_custom_ca": cls.file64(cls.ca.cert),
            "tls_client_cert": cls.file64(cls.gate_leaf.cert),
            "tls_client_key": cls.file64(cls.gate_leaf.key),
        }

        def route(name, server, host="127.0.0.1", **more):
            return public(
                "https://%s:%d" % (host, cls.nginx.ports[server]), **{"name": name, "prefix": "/%s/" % name, **more}
            )

        bad, good = ("https://127.0.0.1:%d" % cls.nginx.ports[n] for n in ("expired", "good"))
        return [
            route("good", "good", "localhost", **trust, allow_websockets=True),
            route("address", "good", **trust),
            route("system", "good"),
            route("anothers", "good", tls_custom_ca_file=cls.other_ca.cert),
            route("old", "old", **trust),
            route("once", "once", "localhost", **trust),
            route("oldonce", "oldonce", "localhost", **trust),
            route("brief", "brief", **trust),
            route("proved", "needs", **trust, **who),
            route("inline", "needs", **inline),
            route("unproved", "needs", **trust),
            route("expired", "expired", **trust),
            route("future", "future", **trust),
            route("selfsigned", "selfsigned", **trust),
            route("ownroot", "selfsigned", tls_custom_ca_file=os.path.join(cls.dir, "self.pem")),
            route("elsewhere", "elsewhere", **trust),
            route("renamed", "elsewhere", tls_upstream_server_name="Elsewhere.test", **trust),
            route("oldname", "elsewhere", tls_server_name="elsewhere.test", **trust),
            route("misnamed", "good", tls_upstream_server_name="nowhere.test", **trust),
            route("clientonly", "clientonly", **trust),
            route("missing", "missing", **trust),
            route("blind", "expired", tls_skip_verify=True),
            route("preserved", "good", preserve_host_header=True, **trust),
            public([bad, good], name="either", prefix="/either/", **trust),
            public("unix:%s/s" % cls.dir, name="unix", prefix="/unix/"),
            public("unix:%s/s" % cls.dir, name="unixhost", prefix="/host/", host_rewrite="inner.test"),
            public("unix:%s/none" % cls.dir, name="nosocket", prefix="/nosocket/"),
            members("unix:%s/s" % cls.dir, name="mine", prefix="/mine/", prefix_rewrite="/his/"),
        ]

    @classmethod
    def tearDownClass(cls):
        try:
            super().tearDownClass()
        finally:
            cls.nginx.stop()

    # ---- who is believed ------------------------------------------------------------------------------------
    def test_verified(self):
        m = self.ask("GET", "/good/a?b=c", host="client.test")
        self.assertStatus(m, 200)
        seen = self.nginx.seen("/good/a")[0]
        self.assertEqual(seen["proto"], "TLSv1.3")
        self.assertEqual(seen["sni"], "localhost")
        self.assertEqual(seen["host"], "localhost:%d" % self.nginx.ports["good"])
        r = self.up.find("/good/a")[0]
        self.assertEqual(r.target, "/good/a?b=c")
        self.assertEqual(r.one("X-Forwarded-Proto"), "http")  # the client's side, not this one
        self.assertEqual(r.one("X-Forwarded-Host"), "client.test")
        self.assertStatus(self.ask("GET", "/preserved/a", host="client.test"), 200)
        self.assertEqual(self.nginx.seen("/preserved/a")[0]["host"], "client.test")

    def test_address_as_name(self):
        """A certificate for an address; no SNI then (RFC 6066 §3)."""
        self.assertStatus(self.ask("GET", "/address/a"), 200)
        self.assertEqual(self.nginx.seen("/address/a")[0]["sni"], "")

    def test_older_protocol(self):
        self.assertStatus(self.ask("GET", "/old/a"), 200)
        self.assertEqual(self.nginx.seen("/old/a")[0]["proto"], "TLSv1.2")

    def test_names(self):
        for path in ("/renamed/a", "/oldname/a"):
            self.assertStatus(self.ask("GET", path), 200)
            self.assertEqual(self.nginx.seen(path)[0]["sni"], "elsewhere.test")
            self.assertEqual(self.nginx.seen(path)[0]["host"], "127.0.0.1:%d" % self.nginx.ports["elsewhere"])

    def test_not_believed(self):
        """Each of them is a 502 with its reason, and the request never arrives."""
        for path, reason in (
            ("/elsewhere/no", "certificate is not for 127.0.0.1"),
            ("/misnamed/no", "certificate is not for nowhere.test"),
            ("/expired/no", "certificate has expired"),
            ("/future/no", "certificate is not yet valid"),
            ("/selfsigned/no", "self-signed certificate"),
            ("/anothers/no", "certificate not trusted"),
            ("/system/no", "certificate not trusted"),
            ("/clientonly/no", "certificate not trusted"),
            ("/missing/no", "certificate not trusted"),
        ):
            with self.subTest(path):
                self.refused(self.gate, path, reason)
                self.assertEqual(self.up.find(path), [])
                self.assertEqual(json.loads(ask(self.port, "GET", path).body)["code"], 502)

    def test_said_once(self):
        """A broken certificate does not fill the log."""
        self.refused(self.gate, "/expired/often", "certificate has expired")
        for _ in range(20):
            self.assertStatus(self.ask("GET", "/expired/often"), 502)
        said = [x for x in self.gate.stderr().splitlines() if ":%d" % self.nginx.ports["expired"] in x]
        self.assertEqual(len([x for x in said if "has expired" in x]), 1, said)
        line = json.loads(said[0])
        self.assertEqual(line["upstream"], "127.0.0.1:%d" % self.nginx.ports["expired"])
        self.assertNotIn("often", said[0])

    def test_own_root(self):
        """A self-signed certificate is trusted when it is named as the CA."""
        self.assertStatus(self.ask("GET", "/ownroot/a"), 200)

    def test_next_endpoint(self):
        """Nothing was sent where there was no TLS: another endpoint gets the request, whatever its method."""
        for i in range(6):
            m = self.ask("POST" if i % 2 else "GET", "/either/%d" % i, body=b"x" * 3000 if i % 2 else None)
            self.assertStatus(m, 200)
            self.assertEqual(len(self.up.find("/either/%d" % i)), 1)

    # ---- whom we are ----------------------------------------------------------------------------------------
    def test_client_certificate(self):
        for path in ("/proved/a", "/inline/a"):
            self.assertStatus(self.ask("GET", path), 200, path)
            seen = self.nginx.seen(path)[0]
            self.assertEqual(seen["proved"], "SUCCESS")
            self.assertIn("gate.test", seen["who"])
        m = self.ask("GET", "/unproved/a")
        self.assertStatus(m, 400)  # nginx's own words
        self.assertIn(b"No required SSL certificate", m.body)
        self.assertEqual(self.up.find("/unproved/a"), [])

    # ---- one connection for many ----------------------------------------------------------------------------
    def test_keep_alive(self):
        for i in range(20):
            self.assertStatus(self.ask("GET", "/good/keep"), 200)
        used = {x["connection"] for x in self.nginx.seen("/good/keep", 20)}
        self.assertLessEqual(len(used), 2, used)  # one a worker

    def test_trust_is_not_shared(self):
        """Routes to the same place that believe differently have connections of their own."""
        for _ in range(3):
            self.assertStatus(self.ask("GET", "/blind/a"), 200)
            self.assertStatus(self.ask("GET", "/expired/a"), 502)
        for _ in range(3):
            self.assertStatus(self.ask("GET", "/address/one"), 200)
            self.assertStatus(self.ask("GET", "/anothers/one"), 502)
            self.assertStatus(self.ask("GET", "/misnamed/one"), 502)
        self.assertEqual(self.up.find("/anothers/one") + self.up.find("/misnamed/one"), [])

    def test_resumption(self):
        """A server that closes after each answer: the handshakes after the first are short ones."""
        for path in ("/once/a", "/oldonce/a"):
            for _ in range(8):
                self.assertStatus(self.ask("GET", path), 200)
            seen = [x["reused"] for x in self.nginx.seen(path, 8)]
            self.assertEqual(len({x["connection"] for x in self.nginx.seen(path, 8)}), 8)
            self.assertGreaterEqual(seen.count("r"), 6, "%s: %s" % (path, seen))  # a first one on each worker

    def test_server_closes_idle_ones(self):
        """nginx ends connections that are idle for a second: nobody notices, a POST neither.

        At the very moment only what may be sent twice is sent: a POST that meets the end is rightly a 502.
        """
        for method, wait in (("GET", 1.3), ("POST", 1.3), ("POST", 1.0), ("GET", 0.99), ("GET", 1.0)):
            for _ in range(4):
                self.assertStatus(self.ask(method, "/brief/a", body=b"x" if method == "POST" else None), 200)
            time.sleep(wait)

    def test_many_at_once(self):
        def some(i):
            with self.client() as c:
                for k in range(10):
                    m = c.request("POST", "/good/many/%d-%d" % (i, k), body=b"%d" % i * (k * 997)).response()
                    self.assertStatus(m, 200)

        parallel(8, some)
        for i in range(8):
            for k in range(10):
                r = self.up.find("/good/many/%d-%d" % (i, k))
                self.assertEqual([x.length for x in r], [k * 997])

    # ---- content --------------------------------------------------------------------------------------------
    def test_large_bodies(self):
        """Both ways, through windows of every size, octet by octet the same."""
        size = (8 if SLOW else 64) << 20
        block = os.urandom(1 << 20)
        data = block * (size >> 20)
        wanted = hashlib.sha256(data).digest()
        there, back = os.path.join(self.dir, "there"), os.path.join(self.dir, "back")
        with open(there, "wb") as f:
            f.write(data)
        self.up.on("/good/echo", lambda c, r: c.answer(200, [], data))
        url = "http://127.0.0.1:%d/good/echo" % self.port
        code, out, err = curl("-H", "Expect:", "--data-binary", "@" + there, "-o", back, "-w", "%{http_code}", url)
        self.assertEqual((code, out), (0, "200"), err)
        with open(back, "rb") as f:
            self.assertEqual(hashlib.sha256(f.read()).digest(), wanted)
        r = self.up.find("/good/echo")[0]
        self.assertEqual((r.length, r.sha256.digest()), (size, wanted))

    def test_slow_reader(self):
        """A client that takes its time holds back the service, not tollgate's memory."""
        size, got = (16 if SLOW else 64) << 20, 0
        self.up.on("/good/slow", lambda c, r: c.answer(200, [], b"z" * size))
        before = self.gate.peak_kib()
        with self.client(receive_buffer=16384) as c:
            c.request("GET", "/good/slow").until(b"\r\n\r\n")
            time.sleep(1)
            while got < size:
                got += c.buf.count(b"z")
                c.buf = b""
                self.assertTrue(got >= size or c.fill(), "cut after %d octets" % got)
        if not SLOW:  # a sanitizer keeps what was freed
            self.assertLess(self.gate.peak_kib() - before, 8 << 10)

    def test_websocket(self):
        def handler(c, r):
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

        self.up.on("/good/ws", handler)
        fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", base64.b64encode(b"0123456789abcdef").decode()),
        ]
        with self.client() as c:
            self.assertEqual(c.request("GET", "/good/ws", fields).response().status, 101)
            c.until(b"\x81\x02hi")
            c.buf = b""
            for text in (b"abc", b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
                c.send(text).until(text[::-1])
                c.buf = b""
            self.assertTrue(c.ends())

    # ---- a unix socket --------------------------------------------------------------------------------------
    def test_unix_socket(self):
        with self.client() as c:
            for i in range(5):
                m = c.request("POST", "/unix/a?%d" % i, body=b"y" * 100000, host="client.test").response()
                self.assertStatus(m, 200)
        seen = self.nginx.seen("/unix/a", 5)
        self.assertEqual({x["host"] for x in seen}, {"localhost"})
        self.assertEqual(len({x["connection"] for x in seen}), 1)
        r = self.up.find("/unix/a")
        self.assertEqual(([x.length for x in r], r[4].target), ([100000] * 5, "/unix/a?4"))
        self.assertEqual(r[0].one("X-Forwarded-Host"), "client.test")

    def test_unix_socket_and_route(self):
        self.assertStatus(self.ask("GET", "/host/a"), 200)
        self.assertEqual(self.nginx.seen("/host/a")[0]["host"], "inner.test")
        self.assertStatus(self.ask("GET", "/mine/a"), 401)
        self.assertStatus(self.ask("GET", "/mine/a", [bearer()]), 200)
        self.assertEqual(len(self.up.find("/his/a")), 1)

    def test_no_unix_socket(self):
        self.assertStatus(self.ask("GET", "/nosocket/a"), 502)
        self.assertEqual(self.gate.log("/nosocket/a")[0]["error"], "refused")

    # ---- without verification -------------------------------------------------------------------------------
    def test_skip_verify_is_loud(self):
        self.assertStatus(self.ask("GET", "/blind/loud"), 200)
        self.assertEqual(self.gate.metric("tollgate_upstream_tls_unverified", route="blind"), 1)
        self.assertEqual(self.gate.metric("tollgate_upstream_tls_unverified"), 1)
        said = [x for x in self.gate.stderr().splitlines() if "tls_skip_verify" in x and '"routes":"blind"' in x]
        self.assertEqual(len(said), 1, self.gate.stderr())
        code, out, err = run("check", "-c", self.gate.config_path)
        self.assertEqual(code, 0, err)
        self.assertRegex(out + err, r"tollgate\.json:\d+:\d+: .*\(blind\)\.tls_skip_verify: .*believed")

    def test_skip_verify_ends_with_a_reload(self):
        route = public("https://127.0.0.1:%d" % self.nginx.ports["expired"], name="r")
        gate = self.start(config([{**route, "tls_skip_verify": True}]))
        self.assertStatus(ask(gate.port), 200)
        self.assertEqual(gate.metric("tollgate_upstream_tls_unverified", route="r"), 1)
        gate.configure(config([{**route, "tls_custom_ca_file": self.ca.cert}]))
        gate.reload()
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_upstream_tls_unverified", route="r") == 0))
        self.assertStatus(ask(gate.port), 502)  # and no connection of before is used


class Files(TlsCase):
    """What is read from files is read again when they change."""

    def answer(self, sock):
        while read_head(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def test_renewed_ca(self):
        server = Scripted(self.good, self.answer)
        self.addCleanup(server.stop)
        gate = self.start(
            config([self.https(server, "/a", tls_custom_ca_file="ca.pem")]), files={"ca.pem": self.other_ca.text()}
        )
        self.refused(gate, "/a", "certificate not trusted")
        gate.write("new.pem", self.ca.text() + self.other_ca.text())
        os.replace(os.path.join(gate.dir, "new.pem"), os.path.join(gate.dir, "ca.pem"))
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/a").status == 200, 8), gate.stderr())
        with open(os.path.join(gate.dir, "ca.pem"), "w", encoding="ascii") as f:
            f.write("garbage")  # refused: what was read before stays in force
        self.assertTrue(wait_until(lambda: "not reloaded" in gate.stderr(), 8))
        self.assertStatus(ask(gate.port, "GET", "/a"), 200)
        gate.write("ca.pem", self.other_ca.text())  # withdrawn: also for connections that stand
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/a").status == 502, 25), gate.stderr())

    def test_renewed_client_certificate(self):
        """As Kubernetes renews a mounted secret: a link to a folder is swapped."""
        names, asked = [], ssl.CERT_REQUIRED
        second = certs.leaf(self.dir, self.ca, ["second.test"], name="second", usage="client")

        def handler(sock):
            names.append(sock.getpeercert()["subjectAltName"][0][1])
            self.answer(sock)

        server = Scripted(self.good, handler, verify_mode=asked)
        server.context.load_verify_locations(self.ca.cert)
        self.addCleanup(server.stop)
        gate = None
        folder = tempfile.mkdtemp(dir=self.dir)
        for version, leaf in (("v1", self.gate_leaf), ("v2", second)):
            os.mkdir(os.path.join(folder, version))
            shutil.copy(leaf.cert, os.path.join(folder, version, "tls.crt"))
            shutil.copy(leaf.key, os.path.join(folder, version, "tls.key"))
        os.symlink("v1", os.path.join(folder, "..data"))
        for name in ("tls.crt", "tls.key"):
            os.symlink(os.path.join("..data", name), os.path.join(folder, name))
        who = {
            "tls_client_cert_file": os.path.join(folder, "tls.crt"),
            "tls_client_key_file": os.path.join(folder, "tls.key"),
        }
        gate = self.start(config([self.https(server, "/a", **who)]))
        self.assertStatus(ask(gate.port, "GET", "/a"), 200)
        self.assertEqual(names, ["gate.test"])
        os.symlink("v2", os.path.join(folder, "..new"))
        os.replace(os.path.join(folder, "..new"), os.path.join(folder, "..data"))

        def renewed():
            self.assertStatus(ask(gate.port, "GET", "/a"), 200)
            return names[-1] == "second.test"

        self.assertTrue(wait_until(renewed, 8), names)

    def test_policies_dir(self):
        """A policy file that is written, comes or goes is a change of the configuration."""
        up = self.upstream()
        gate = self.start(
            config([{"name": "r", "to": up.url, "policies": ["one"]}], policies_dir="p"),
            files={"p/one.yaml": "allow: {or: [{accept: true}]}\n"},
        )
        self.assertStatus(ask(gate.port), 200)
        gate.write("p/one.yaml", "deny: {or: [{http_path: {is: /x}}]}\n---\n".replace("---\n", ""))
        self.assertTrue(wait_until(lambda: ask(gate.port).status in (401, 403), 8), gate.stderr())
        gate.write("p/one.yaml", "allow: {or: [{accept: true}]}\n")
        self.assertTrue(wait_until(lambda: ask(gate.port).status == 200, 8), gate.stderr())
        gate.write("p/two.yaml", "{enforced: true, ppl: {deny: {or: [{http_method: {is: PUT}}]}}}\n")
        self.assertTrue(wait_until(lambda: ask(gate.port, "PUT").status == 403, 8), gate.stderr())
        os.unlink(os.path.join(gate.dir, "p", "two.yaml"))
        self.assertTrue(wait_until(lambda: ask(gate.port, "PUT").status == 200, 8), gate.stderr())

    def test_check(self):
        """Every error where it stands; nothing secret is shown."""
        key = certs.leaf(self.dir, self.ca, ["x.test"], name="readable").key
        os.chmod(key, 0o644)
        secret = self.file64(self.gate_leaf.key)

        def check(*more, **changes):
            path = os.path.join(self.dir, "check.json")
            route = public("https://app.test", name="r", **changes)
            with open(path, "w", encoding="utf-8") as f:
                json.dump(config([route], address="127.0.0.1:1"), f, indent=1)
            code, out, err = run("check", "-c", path, *more)
            self.assertNotIn(secret[100:160], out + err)
            self.assertNotIn("PRIVATE", out + err)
            return code, out + err

        for changes, where, reason in (
            ({"tls_custom_ca_file": "none.pem"}, "tls_custom_ca_file", "none.pem"),
            ({"tls_client_cert_file": self.gate_leaf.cert}, "tls_client_cert_file", "needs its private key"),
            (
                {"tls_client_cert_file": os.path.join(self.dir, "readable.pem"), "tls_client_key_file": key},
                "tls_client_key_file",
                "readable.key",
            ),
            (
                {"tls_client_cert_file": self.gate_leaf.cert, "tls_client_key_file": self.good.key},
                "tls_client_cert_file",
                "",
            ),
            ({"tls_client_cert": self.file64(self.good.cert), "tls_client_key": secret}, "tls_client_cert", ""),
            (
                {"tls_skip_verify": True, "tls_custom_ca_file": self.ca.cert},
                "tls_skip_verify",
                "cannot be together",
            ),
        ):
            code, said = check(**changes)
            self.assertEqual(code, 78, said)
            self.assertRegex(said, r"check\.json:\d+:\d+: .*\(r\)\.%s: .*%s" % (where, reason))
        inline = {"tls_client_cert": self.file64(self.gate_leaf.cert), "tls_client_key": secret}
        code, said = check(**inline)
        self.assertEqual(code, 0, said)
        self.assertNotIn("tls_", said)
        code, said = check("--print-config", **inline)
        self.assertEqual(code, 0)
        self.assertIn("tls_client_key: ", said)


    def test_explain_batch(self):
        """A route's settings alone: files are read, and given back."""
        route = {"to": "https://a", "tls_custom_ca_file": self.ca.cert, "allow_any_authenticated_user": True}
        line = {"route": route, "request": {"path": "/", "claims": None}}
        bad = {**line, "route": {**route, "tls_custom_ca_file": os.path.join(self.dir, "none")}}
        code, out, err = run("explain", "--batch", stdin=json.dumps(line) + "\n" + json.dumps(bad) + "\n")
        self.assertEqual(code, 0, err)
        said = [json.loads(x) for x in out.splitlines()]
        self.assertEqual([x["decision"] for x in said], ["unauthenticated", "parse_error"])
        self.assertIn("tls_custom_ca_file", said[1]["error"])


class Scripts(TlsCase):
    """Servers that do what nginx would not."""

    def test_system_store(self):
        """Without a CA of the route the system's authorities are trusted; the short form `upstream` is such a route."""

        def handler(sock):
            while read_head(sock):
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        server = Scripted(self.good, handler)
        self.addCleanup(server.stop)
        for store, status in ((self.ca.cert, 200), (self.other_ca.cert, 502)):
            gate = self.start(config(None, upstream=server.url), env={"SSL_CERT_FILE": store})
            self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), status)
            self.assertStatus(ask(gate.port, "GET", "/"), 401)

    def test_truncation(self):
        """An answer that ends with its connection is whole only after close_notify."""

        def handler(end):
            def serve(sock):
                read_head(sock)
                sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 50000)
                end(sock)

            return serve

        servers = [Scripted(self.good, handler(end)) for end in (whole, torn)]
        for s in servers:
            self.addCleanup(s.stop)
        gate = self.start(config([self.https(servers[0], "/whole"), self.https(servers[1], "/torn")]))
        m = ask(gate.port, "GET", "/whole")
        self.assertEqual((m.status, len(m.body)), (200, 50000))
        with Client(gate.port) as c:
            c.request("GET", "/torn")
            with self.assertRaisesRegex(AssertionError, "ended"):
                c.response()
        self.assertEqual(gate.log("/torn")[0]["error"], "cut")
        self.assertNotIn("error", gate.log("/whole")[0])

    def test_length_outlives_a_torn_end(self):
        """Where the answer's length is known, the missing close_notify takes nothing away."""

        def handler(sock):
            read_head(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")
            torn(sock)

        server = Scripted(self.good, handler)
        self.addCleanup(server.stop)
        gate = self.start(config([self.https(server, "/a")]))
        for _ in range(6):
            m = ask(gate.port, "GET", "/a")
            self.assertEqual((m.status, m.body), (200, b"whole"))

    def test_next_address(self):
        """One of a name's addresses shows another certificate: nothing was sent there, the next one gets it whole."""
        bodies = []

        def handler(sock):
            while True:
                data = read_head(sock)
                if not data:
                    return
                head, _, body = data.partition(b"\r\n\r\n")
                while len(body) < 30000:
                    body += sock.recv(65536)
                bodies.append(body)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        stranger = certs.leaf(self.dir, self.other_ca, ["localhost"], name="impostor")
        bad = Scripted(stranger, handler)
        self.addCleanup(bad.stop)
        try:
            good = Scripted(self.good, handler, address="::1", port=bad.port)
        except OSError:
            self.skipTest("no IPv6 here")
        self.addCleanup(good.stop)
        gate = self.start(config([public("https://localhost:%d" % good.port, tls_custom_ca_file=self.ca.cert)]))
        for _ in range(8):
            with Client(gate.port) as c:
                c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n" + b"1" * 10000)
                time.sleep(0.05)
                self.assertStatus(c.send(b"2" * 20000).response(), 200)
        self.assertGreaterEqual(bad.accepted, 1)
        self.assertEqual(bodies, [b"1" * 10000 + b"2" * 20000] * 8)

    def test_closed_before_the_answer(self):
        """A pooled connection that died is replaced under a GET; a fresh one that says nothing is a 502."""
        count = [0]

        def handler(sock):
            count[0] += 1
            mine = count[0]
            while read_head(sock):
                if mine > 1 or not count[0]:
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb")
                    continue
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
                read_head(sock)  # the second request: no answer
                whole(sock)
                return

        server = Scripted(self.good, handler)
        self.addCleanup(server.stop)
        gate = self.start(config([self.https(server, "/a")], workers=1))
        self.assertEqual(ask(gate.port, "GET", "/a").body, b"a")
        self.assertEqual(ask(gate.port, "GET", "/a").body, b"b")
        self.assertEqual(count[0], 2)

    def test_silent_server(self):
        """A handshake that never ends has the time of connecting."""
        server = Scripted(None, lambda sock: time.sleep(15))
        self.addCleanup(server.stop)
        gate = self.start(config([self.https(server, "/a")], timeouts={"connect": "500ms", "first_byte": "30s"}))
        start = time.monotonic()
        self.refused(gate, "/a", None, 504)
        self.assertLess(time.monotonic() - start, 3)

    def test_no_tls_at_all(self):
        server = Scripted(None, lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
        self.addCleanup(server.stop)
        gate = self.start(config([self.https(server, "/a")]))
        self.refused(gate, "/a", "speaks no TLS")

    def test_closed_in_the_handshake(self):
        def handler(sock):
            sock.recv(3)
            sock.close()

        server = Scripted(None, handler)
        self.addCleanup(server.stop)
        gate = self.start(config([self.https(server, "/a")]))
        m = ask(gate.port, "GET", "/a")
        self.assertStatus(m, 502)

    def s_server(self, *args):
        port = free_port()
        proc = subprocess.Popen(
            [OPENSSL_EXE, "s_server", "-accept", "127.0.0.1:%d" % port, "-cert", self.good.cert, "-key", self.good.key]
            + ["-cert_chain", self.mid.cert, "-www", "-quiet"]
            + list(args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def stop():
            proc.kill()
            proc.wait()

        def up():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                return False

        self.addCleanup(stop)
        self.assertTrue(wait_until(up, 10))
        return "https://127.0.0.1:%d" % port

    def test_old_protocols(self):
        """TLS 1.1 is nothing to speak; the same server with 1.2 and 1.3 is."""
        for args, status in (
            (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], 502),
            (["-tls1_2"], 200),
            (["-tls1_2", "-cipher", "AES128-SHA:AES256-SHA"], 502),
            (["-tls1_3"], 200),
        ):
            url = self.s_server(*args)
            gate = self.start(config([public(url, name="r", tls_custom_ca_file=self.ca.cert)]))
            self.assertStatus(ask(gate.port), status, args)
            if status == 502:
                self.assertEqual(gate.log("/")[0]["error"], "tls")
                self.assertTrue(wait_until(lambda: "no TLS with an upstream" in gate.stderr(), 2))

    def test_refused_by_the_server(self):
        """A server that asks for a certificate and gets none, or one it does not know, says so in an alert."""
        stranger = certs.leaf(self.dir, self.other_ca, ["gate.test"], name="stranger", usage="client")
        for version in ("-tls1_2", "-tls1_3"):
            url = self.s_server(version, "-Verify", "3", "-CAfile", self.ca.cert, "-verify_return_error")
            routes = []
            for name, leaf in (("none", None), ("stranger", stranger), ("client", self.gate_leaf)):
                who = {"tls_client_cert_file": leaf.cert, "tls_client_key_file": leaf.key} if leaf else {}
                routes.append(public(url, name=name, prefix="/" + name, tls_custom_ca_file=self.ca.cert, **who))
            gate = self.start(config(routes))
            self.assertStatus(ask(gate.port, "GET", "/client"), 200, version)
            for name in ("/none", "/stranger"):
                self.assertStatus(ask(gate.port, "GET", name), 502, version)
                self.assertIn(gate.log(name)[0]["error"], ("tls", "no-answer"))  # its RST may overtake the alert
                self.assertNotIn("attempts", gate.log(name)[0])
            if gate.log("/none")[0]["error"] == "tls":
                self.assertTrue(wait_until(lambda: "the peer refused: " in gate.stderr(), 2), gate.stderr())


if __name__ == "__main__":
    main()
