"""TLS on the listeners: handshakes, certificates by name, rotation, certificates of clients, and what a log says."""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import certs
from harness import (
    Case,
    Client,
    NotStarted,
    PATIENCE,
    SLOW,
    TlsClient,
    ask,
    ask_tls,
    bearer,
    config,
    main,
    members,
    parallel,
    public,
    request,
    run,
    tls_context,
    value,
    wait_until,
)

PLAIN_HINT = b"This port speaks TLS"


class World:
    """Authorities and certificates, made once for all tests."""

    def __init__(self):
        self.dir = d = tempfile.mkdtemp(prefix="tollgate-tls.")
        self.ca = certs.ca(d, "server-ca")
        self.app = certs.leaf(d, self.ca, ["app.test", "127.0.0.1"], "app", usage="server")
        self.wild = certs.leaf(d, self.ca, ["*.wild.test"], "wild", usage="server")
        self.other = certs.leaf(d, self.ca, ["other.test"], "other", key="rsa", usage="server")
        self.clients = certs.ca(d, "client-ca")
        self.alice = certs.leaf(d, self.clients, ["alice@example.com"], "alice", usage="client", common_name="alice")
        self.revoked = certs.leaf(d, self.clients, [], "revoked", usage="client", common_name="revoked")
        self.expired = certs.leaf(d, self.clients, [], "expired", usage="client", end=-0.5, start=-3)
        self.early = certs.leaf(d, self.clients, [], "early", usage="client", start=1)
        self.alone = certs.leaf(d, None, [], "alone", usage="client", common_name="alone")
        self.stranger = certs.leaf(d, certs.ca(d, "foreign-ca"), [], "stranger", usage="client")
        between = certs.ca(d, "between", parent=self.clients)
        self.deep = certs.leaf(d, between, [], "deep", usage="client", common_name="deep")
        self.crl = certs.crl(self.clients, self.revoked)

    def context(self, **kwargs):
        return tls_context(self.ca.cert, **kwargs)


world = None


def setUpModule():
    global world
    world = World()


def tearDownModule():
    shutil.rmtree(world.dir, ignore_errors=True)


def pair(files):
    return {"certificate_file": files.chain, "certificate_key_file": files.key}


def with_tls(routes, **changes):
    return config(routes, **{**pair(world.app), **changes})


def mtls(**changes):
    return {**{"ca_file": world.clients.cert}, **changes}


def shown(port, name):
    """The common name of the certificate that a client asking for `name` gets; None: it asks for none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_connection(("127.0.0.1", port), 10 * PATIENCE) as raw:
        with context.wrap_socket(raw, server_hostname=name) as s:
            der = s.getpeercert(True)
    said = certs.openssl("x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253", stdin=der).decode()
    return re.search(r"CN=([^,\n]+)", said)[1]


def s_client(port, *args, stdin=b"", timeout=20):
    """openssl's own client: (exit status, everything it said)."""
    p = subprocess.run(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-servername", "app.test", *args],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout * PATIENCE,
    )
    return p.returncode, p.stdout.decode(errors="replace")


class Requests(Case):
    @classmethod
    def routes(cls, up):
        return [
            {**public(up, name="port", prefix="/port"), "from": "https://app.test:443"},
            public(up, name="ws", prefix="/ws", allow_websockets=True),
            public(up, prefix="/public"),
            members(up, name="never", prefix="/never", policy={"deny": {"or": [{"accept": True}]}}),
            members(up),
        ]

    @classmethod
    def settings(cls, up):
        return {
            **pair(world.app),
            "certificates": [pair(world.wild), pair(world.other)],
            "timeouts": {"head": "%ds" % (2 * PATIENCE)},
        }

    def connect(self, name="app.test", session=None, timeout=10.0, **kwargs):
        c = TlsClient(self.port, world.context(**kwargs), name, session, timeout=timeout)
        self.addCleanup(c.close)
        return c

    def handshakes(self, result):
        return self.gate.metric("tollgate_tls_handshakes_total", result=result)

    def test_answers(self):
        """200, 401 and 403 over both versions, several requests a connection."""
        for version in ("1.2", "1.3"):
            with self.subTest(version), self.connect(version=version) as c:
                self.assertEqual(c.sock.version(), "TLSv" + version)
                self.assertStatus(c.request("GET", "/a", [bearer()]).response(), 200)
                self.assertProblem(c.request("GET", "/a").response(), 401, "unauthorized")
                self.assertStatus(c.request("GET", "/never", [bearer()]).response(), 403)
                c.send(request("GET", "/a", [bearer()]) * 3)
                self.assertEqual([c.response().status for _ in range(3)], [200] * 3)

    def test_octet_by_octet(self):
        """A head in many records is a head."""
        with self.connect() as c:
            for octet in request("GET", "/public/slowly"):
                c.send(bytes([octet]))
            self.assertStatus(c.response(), 200)

    def test_what_the_upstream_hears(self):
        m = ask_tls(self.port, world.context(), "GET", "/public/told", [("X-Forwarded-Proto", "http")])
        fields = dict(json.loads(m.body)["fields"])
        self.assertEqual((fields["X-Forwarded-Proto"], fields["X-Forwarded-Host"]), ("https", "app.test"))

    def test_port_of_a_request_that_names_none(self):
        """It is 443, though the listener has another one."""
        self.assertStatus(ask_tls(self.port, world.context(), "GET", "/port"), 200)
        self.assertStatus(ask_tls(self.port, world.context(), "GET", "/port", host="app.test:443"), 200)
        m = ask_tls(self.port, world.context(), "GET", "/port", host="app.test:80")
        self.assertStatus(m, 401, "another route's")

    def test_certificate_by_name(self):
        for name, want in (
            ("app.test", "app.test"),
            ("other.test", "other.test"),
            ("a.wild.test", "*.wild.test"),
            ("A.WILD.test", "*.wild.test"),
            ("a.b.wild.test", "app.test"),  # a wildcard is one label; the first certificate stands in
            ("wild.test", "app.test"),
            ("unknown.test", "app.test"),
            (None, "app.test"),
        ):
            with self.subTest(name=name):
                self.assertEqual(shown(self.port, name), want)

    def test_name_and_host_may_differ(self):
        """Which certificate was shown decides nothing: the route follows Host alone."""
        self.assertStatus(ask_tls(self.port, world.context(), "GET", "/port", name="other.test", host="app.test"), 200)

    def test_alpn(self):
        self.assertEqual(self.connect(alpn=("h2", "http/1.1")).sock.selected_alpn_protocol(), "http/1.1")
        with self.connect(alpn=None) as c:
            self.assertIsNone(c.sock.selected_alpn_protocol())
            self.assertStatus(c.request("GET", "/public").response(), 200)
        with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
            self.connect(alpn=("h2",))

    def test_plain_http(self):
        """It is told what the port speaks, and counted."""
        before = self.handshakes("plain_http")
        for text in (request("GET", "/public"), request("POST", "/x", body=b"y" * 100000), b"PRI * HTTP/2.0\r\n\r\n"):
            with Client(self.port) as c:
                m = c.send(text).response()
                self.assertStatus(m, 400)
                self.assertIn(PLAIN_HINT, m.body)
                self.assertTrue(c.ends())
                self.assertFalse(c.was_reset, "the answer is not followed by a reset")
        self.assertEqual(self.handshakes("plain_http") - before, 3)

    def test_other_protocols_fail(self):
        """Octets that are neither: the connection ends, the next one works."""
        before = self.handshakes("failed")
        for text in (b"\x00" * 200, b"SSH-2.0-x\r\n", os.urandom(4096), b"\x16\x03\x01\xff\xff" + b"\x01" * 70000):
            with Client(self.port) as c:
                c.send(text)
                c.half_close()
                end = time.monotonic() + 5 * PATIENCE
                while not c.eof and time.monotonic() < end:
                    c.fill()
                self.assertTrue(c.eof)
        self.assertTrue(wait_until(lambda: self.handshakes("failed") + self.handshakes("gone") - before >= 4))
        self.assertStatus(ask_tls(self.port, world.context(), "GET", "/public"), 200)

    def test_weak_is_refused(self):
        for why, args in (
            ("TLS 1.1", ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")),
            ("TLS 1.0", ("-tls1", "-cipher", "ALL:@SECLEVEL=0")),
            ("CBC", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0")),
            ("no forward secrecy", ("-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA:@SECLEVEL=0")),
            ("no encryption", ("-tls1_2", "-cipher", "ECDHE-ECDSA-NULL-SHA:NULL:@SECLEVEL=0")),
            ("anonymous", ("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0")),
        ):
            with self.subTest(why):
                status, said = s_client(self.port, *args)
                self.assertNotEqual(status, 0)
                self.assertIn("Cipher is (NONE)", said)
        self.assertIn("ECDHE-ECDSA-AES", s_client(self.port, "-tls1_2")[1])

    def test_renegotiation_is_refused(self):
        """`R` asks openssl's client for it."""
        status, said = s_client(self.port, "-tls1_2", stdin=b"R\n")
        self.assertEqual(status, 1)
        self.assertIn("no renegotiation", said)
        self.assertStatus(ask_tls(self.port, world.context(), "GET", "/public"), 200)

    def test_slow_handshake(self):
        """timeouts.head is for the handshake and the head together."""
        before = self.handshakes("timeout")
        start = time.monotonic()
        with Client(self.port) as c:
            c.send(b"\x16\x03\x01\x02\x00\x01")
            self.assertTrue(c.ends(6))
        self.assertGreater(time.monotonic() - start, 1.5 * PATIENCE)
        self.assertTrue(wait_until(lambda: self.handshakes("timeout") > before))
        start = time.monotonic()
        with self.connect() as c:
            time.sleep(1.2 * PATIENCE)
            c.send(b"GET /public HTTP/1.1\r\nHost: app")
            self.assertStatus(c.response(), 408)
        self.assertLess(time.monotonic() - start, 2.8 * PATIENCE, "the head had what the handshake left, not all again")

    def test_half_open_handshakes(self):
        """Two hundred of them hold nobody up, and end by themselves."""
        started = [Client(self.port) for _ in range(200)]
        try:
            for c in started:
                c.send(b"\x16\x03\x01\x02\x00\x01\x00")
            start = time.monotonic()
            for _ in range(5):
                self.assertStatus(ask_tls(self.port, world.context(), "GET", "/public"), 200)
            self.assertLess(time.monotonic() - start, 2 * PATIENCE)
            self.assertTrue(wait_until(lambda: self.gate.metric("tollgate_connections_active") <= 1, 6))
        finally:
            for c in started:
                c.close()

    def test_gone_in_the_handshake(self):
        """A client that connects and leaves, as a health check does, is no trouble worth a line."""
        before, said = self.handshakes("gone"), self.gate.stderr()
        Client(self.port).close()
        self.assertTrue(wait_until(lambda: self.handshakes("gone") > before))
        self.assertEqual(self.gate.stderr(), said)

    def test_big_bodies(self):
        """Both ways, whole."""
        size = (4 << 20) if SLOW else (32 << 20)
        body = os.urandom(1 << 20) * (size >> 20)
        digest = hashlib.sha256(body).hexdigest()
        for version in ("1.2", "1.3"):
            with self.subTest(version), self.connect(version=version, timeout=60) as c:
                m = c.request("POST", "/public/up", body=body).response()
                self.assertStatus(m, 200)
                self.assertEqual((json.loads(m.body)["length"], json.loads(m.body)["sha256"]), (size, digest))
                self.up.on("/public/down", lambda k, r: k.answer(200, body=body))
                c.request("GET", "/public/down")
                self.assertEqual(self.digest(c, size), digest)

    def digest(self, c, size):
        """Of a body of this size; as Client.response reads it, tens of megabytes would take minutes."""
        c.until(b"\r\n\r\n")
        piece, seen, got = c.buf.split(b"\r\n\r\n", 1)[1], hashlib.sha256(), 0
        while piece or got < size:
            seen.update(piece)
            got, c.buf = got + len(piece), b""
            if got < size:
                self.assertTrue(c.fill())
            piece = c.buf
        c.buf = b""
        return seen.hexdigest()

    def test_a_reader_that_stops(self):
        """What it does not take waits; others are served; and it gets all of it in the end."""
        body = os.urandom(1 << 20) * 12
        self.up.on("/public/wait", lambda k, r: k.answer(200, body=body))
        with TlsClient(self.port, world.context(), receive_buffer=8192, timeout=60) as c:
            c.request("GET", "/public/wait")
            time.sleep(0.5)
            self.assertStatus(ask_tls(self.port, world.context(), "GET", "/public"), 200)
            self.assertEqual(self.digest(c, len(body)), hashlib.sha256(body).hexdigest())

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

        self.up.on("/ws", handler)
        key = base64.b64encode(b"0123456789abcdef").decode()
        fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        with self.connect() as c:
            self.assertStatus(c.request("GET", "/ws", fields + [("Sec-WebSocket-Key", key)]).response(), 101)
            c.until(b"\x81\x02hi")
            for text in (b"abc", b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
                c.buf = b""
                c.send(text).until(text[::-1])
            c.buf = b""
            self.assertTrue(c.ends())

    def test_expect_continue(self):
        with self.connect() as c:
            c.send(b"POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(c.response(interim=True).status, 100)
            self.assertStatus(c.send(b"abc").response(), 200)

    def test_end_is_announced(self):
        """close_notify after Connection: close, so that a cut answer can be told from a whole one."""
        with self.connect() as c:
            self.assertStatus(c.request("GET", "/public", [("Connection", "close")]).response(), 200)
            self.assertTrue(c.ends())
            self.assertIsNone(c.alert)

    def test_log(self):
        ask_tls(self.port, world.context(version="1.3"), "GET", "/public/logged")
        line = self.gate.log("/public/logged")[0]
        self.assertEqual((line["tls_version"], line["sni"], line["status"]), ("TLSv1.3", "app.test", 200))
        self.assertIn("TLS_", line["tls_cipher"])
        self.assertEqual([k for k in line if k.startswith("client_cert")], [])
        ask_tls(self.port, world.context(version="1.3"), "GET", "/public/close", [("Connection", "close")])
        self.assertEqual(self.gate.log("/public/close")[0]["sni"], "app.test")

    def test_health_stays_plain(self):
        self.assertStatus(ask(self.gate.health, "GET", "/livez"), 200)

    def test_expiry_is_a_metric(self):
        end = certs.openssl("x509", "-in", world.app.cert, "-noout", "-enddate").decode().strip().split("=")[1]
        self.assertEqual(
            self.gate.metric("tollgate_certificate_expiry_timestamp_seconds", certificate=world.app.chain),
            ssl.cert_time_to_seconds(end),
        )

    def test_sessions(self):
        """A ticket resumes, in both versions, and after a reload too."""
        for version in ("1.2", "1.3"):
            with self.subTest(version):
                context, before = world.context(version=version), self.handshakes("resumed")

                def once(session=None):
                    with TlsClient(self.port, context, session=session) as c:
                        self.assertStatus(c.request("GET", "/public").response(), 200)
                        return c.sock.session_reused, c.sock.session

                reused, session = once()
                self.assertFalse(reused)
                self.assertTrue(once(session)[0])
                said = self.gate.stderr().count('"reloaded"')
                self.gate.reload()
                self.assertTrue(wait_until(lambda: self.gate.stderr().count('"reloaded"') > said))
                self.assertTrue(once(session)[0])
                self.assertTrue(wait_until(lambda: self.handshakes("resumed") - before == 2))

    def test_reconnecting_client(self):
        said = s_client(self.port, "-tls1_2", "-reconnect", stdin=b"Q\n")[1]
        self.assertEqual((said.count("\nNew, TLSv1.2"), said.count("\nReused, TLSv1.2")), (1, 5), said)


class Settings(Case):
    """What `check` says, and `run` does."""

    @classmethod
    def routes(cls, up):
        return None

    def check(self, **changes):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "t.json")
            cfg = {k: v for k, v in config([public(self.up)], **changes).items()}
            with open(path, "w", encoding="utf-8") as f:
                f.write(json.dumps(cfg, indent=1))
            status, out, err = run("check", "-c", path)
            self.assertNotIn("PRIVATE KEY", out + err)
            return status, (out + err).replace(path, "t.json")

    def refused(self, *words, **changes):
        status, said = self.check(**changes)
        self.assertEqual(status, 78, said)
        self.assertRegex(said, r"t\.json:\d+:\d+: ")
        for word in words:
            self.assertIn(word, said)

    def test_good(self):
        status, said = self.check(**pair(world.app), certificates=[pair(world.wild)], downstream_mtls=mtls())
        self.assertEqual(status, 0, said)
        self.assertNotRegex(said, "certificate|mtls")

    def test_refused(self):
        half = {"certificate_file": world.app.chain}
        self.refused("certificate_file needs certificate_key_file", **half)
        self.refused("certificate_key_file needs certificate_file", certificate_key_file=world.app.key)
        self.refused("certificates[0].certificate_key_file is required", certificates=[half])
        self.refused("certificates: must not be empty", certificates=[])
        self.refused("certificates: must be a list", certificates={})
        self.refused("downstream_mtls needs TLS", downstream_mtls=mtls())
        self.refused("downstream_mtls.ca_file is required", **pair(world.app), downstream_mtls={})
        self.refused("downstream_mtls.enforcement must be", **pair(world.app), downstream_mtls=mtls(enforcement="no"))
        for name in ("ca", "crl", "match_subject_alt_names"):
            self.refused(
                "downstream_mtls.%s is not supported yet" % name, **pair(world.app), downstream_mtls=mtls(**{name: "x"})
            )
        self.refused("certificates[0].cert is not supported yet", certificates=[{"cert": "x", "key": "y"}])
        self.refused("certificate is not supported yet", certificate="LS0t")
        self.refused("client_ca_file is not supported yet", client_ca_file="x")

    def test_files_that_do_not_do(self):
        nothing = os.path.join(world.dir, "nothing.pem")
        open(nothing, "w", encoding="ascii").close()
        self.refused("certificate_file: ", "nothing.pem", **{**pair(world.app), "certificate_file": nothing})
        self.refused("missing.pem", **{**pair(world.app), "certificate_file": os.path.join(world.dir, "missing.pem")})
        self.refused("app.chain.pem", certificate_file=world.app.chain, certificate_key_file=world.other.key)
        for name in ("ca_file", "crl_file"):
            asked = mtls(**{name: nothing})
            self.refused("downstream_mtls.%s: " % name, "nothing.pem", **pair(world.app), downstream_mtls=asked)
        small = certs.leaf(world.dir, world.ca, ["small.test"], "small", key="rsa1024")
        self.refused("small", **pair(small))

    def test_place(self):
        """The line is the setting's."""
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "t.yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write("upstream: http://127.0.0.1:1\ncertificates:\n  - certificate_file: %s\n" % world.app.chain)
                f.write("    certificate_key_file: %s\n" % world.other.key)
            _, _, err = run("check", "-c", path)
            self.assertRegex(err, r"t\.yaml:[34]:\d+: certificates\[0\]\.certificate_(key_)?file: ")

    def test_key_that_all_may_read(self):
        key = shutil.copy(world.app.key, os.path.join(world.dir, "open.key"))
        os.chmod(key, 0o644)
        cfg = {"certificate_file": world.app.chain, "certificate_key_file": key}
        self.refused("certificate_key_file: ", "open.key", **cfg)
        with self.assertRaises(NotStarted) as caught:
            self.start(config([public(self.up)], **cfg))
        self.assertEqual(caught.exception.status, 78)
        self.assertNotIn("PRIVATE KEY", caught.exception.stderr)
        os.chmod(key, 0o640)
        self.assertEqual(self.check(**cfg)[0], 0, "the group may, as fsGroup does it")

    def test_dates_warn(self):
        for name, start, end, words in (
            ("old", -3, -1, "this certificate expired at"),
            ("soon", -80, 9.5, "this certificate ends in 9 days"),
            ("not-yet", 2, 90, "this certificate is not valid before"),
        ):
            with self.subTest(name):
                files = certs.leaf(world.dir, world.ca, ["app.test"], name, start=start, end=end)
                status, said = self.check(**pair(files))
                self.assertEqual(status, 0)
                self.assertIn(words, said)

    def test_policies_that_do_not_look(self):
        status, said = self.check(**pair(world.app), downstream_mtls=mtls(enforcement="policy"))
        self.assertEqual(status, 0)
        self.assertIn("none looks at certificates", said)

    def test_print_config(self):
        """It names the files, opens none, and can be read again."""
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "t.json")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(config([public(self.up)], certificates=[pair(world.app)], downstream_mtls=mtls()), f)
            status, out, _ = run("check", "-c", path, "--print-config")
            self.assertEqual(status, 0)
            self.assertIn("max_verify_depth: 1", out)
            self.assertNotIn("PRIVATE", out)
            again = os.path.join(d, "again.yaml")
            with open(again, "w", encoding="utf-8") as f:
                f.write(out)
            status, out, err = run("check", "-c", again)
            self.assertEqual(status, 0, err)
        status, out, _ = run("check", "-c", self.plain_file(), "--print-config")
        self.assertNotIn("downstream_mtls", out, "what is not said is not in force")

    def plain_file(self):
        d = tempfile.mkdtemp(dir=world.dir)
        path = os.path.join(d, "plain.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config([public(self.up)]), f)
        return path


class Rotation(Case):
    @classmethod
    def routes(cls, up):
        return None

    def new_leaf(self, name, common_name):
        return certs.leaf(world.dir, world.ca, ["app.test"], name, common_name=common_name, usage="server")

    def serving(self, gate, name):
        return wait_until(lambda: shown(gate.port, "app.test") == name, 15, 0.1)

    def under_load(self, gate, change):
        """New connections all the while, and one that lives on; every request must be answered 200."""
        stop, bad, done = threading.Event(), [], [0]

        def client():
            context = world.context()
            while not stop.is_set():
                try:
                    with TlsClient(gate.port, context) as c:
                        for _ in range(3):
                            m = c.request("GET", "/load").response()
                            done[0] += 1
                            if m.status != 200:
                                bad.append(m.status)
                except Exception as e:  # noqa: B902  (any of them is a request lost)
                    bad.append(repr(e))

        threads = [threading.Thread(target=client) for _ in range(2)]
        with TlsClient(gate.port, world.context()) as old:
            self.assertStatus(old.request("GET", "/old").response(), 200)
            for t in threads:
                t.start()
            try:
                change()
            finally:
                stop.set()
                for t in threads:
                    t.join()
            self.assertStatus(old.request("GET", "/old").response(), 200, "the connection from before lives on")
        self.assertEqual(bad[:5], [])
        self.assertGreater(done[0], 20)

    def test_files_replaced(self):
        """The certificate and its key, one after the other, under load."""
        one, two = self.new_leaf("file-1", "first"), self.new_leaf("file-2", "second")
        d = tempfile.mkdtemp(dir=world.dir)
        cert, key = os.path.join(d, "tls.crt"), os.path.join(d, "tls.key")
        shutil.copy(one.chain, cert)
        shutil.copy(one.key, key)
        gate = self.start(config([public(self.up)], certificate_file=cert, certificate_key_file=key))
        self.assertEqual(shown(gate.port, "app.test"), "first")

        def change():
            for source, target in ((two.chain, cert), (two.key, key)):
                shutil.copy(source, target + ".new")
                os.rename(target + ".new", target)
                time.sleep(0.1)
            self.assertTrue(self.serving(gate, "second"))

        self.under_load(gate, change)

    def test_symlink_swap(self):
        """As a Kubernetes volume does it: the files are links into ..data, which is replaced."""
        d = tempfile.mkdtemp(dir=world.dir)

        def put(folder, files):
            os.mkdir(os.path.join(d, folder))
            shutil.copy(files.chain, os.path.join(d, folder, "tls.crt"))
            shutil.copy(files.key, os.path.join(d, folder, "tls.key"))
            os.symlink(folder, os.path.join(d, "..tmp"))
            os.rename(os.path.join(d, "..tmp"), os.path.join(d, "..data"))

        put("..2026_1", self.new_leaf("swap-1", "first"))
        for name in ("tls.crt", "tls.key"):
            os.symlink("..data/" + name, os.path.join(d, name))
        cfg = {"certificate_file": os.path.join(d, "tls.crt"), "certificate_key_file": os.path.join(d, "tls.key")}
        gate = self.start(config([public(self.up)], certificates=[cfg]))
        self.assertEqual(shown(gate.port, "app.test"), "first")

        def change():
            put("..2026_2", self.new_leaf("swap-2", "second"))
            shutil.rmtree(os.path.join(d, "..2026_1"))
            self.assertTrue(self.serving(gate, "second"))

        self.under_load(gate, change)
        file = cfg["certificate_file"]
        end = certs.openssl("x509", "-in", file, "-noout", "-enddate").decode().strip().split("=")[1]
        end = ssl.cert_time_to_seconds(end)
        self.assertEqual(gate.metric("tollgate_certificate_expiry_timestamp_seconds", certificate=file), end)

    def test_broken_certificate_keeps_the_old(self):
        one, two = self.new_leaf("broken-1", "first"), self.new_leaf("broken-2", "second")
        d = tempfile.mkdtemp(dir=world.dir)
        cert, key = os.path.join(d, "c"), os.path.join(d, "k")
        shutil.copy(one.chain, cert)
        shutil.copy(one.key, key)
        gate = self.start(config([public(self.up)], certificate_file=cert, certificate_key_file=key))
        with open(cert, "w", encoding="ascii") as f:
            f.write("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
        self.assertTrue(wait_until(lambda: "not reloaded" in gate.stderr(), 10))
        self.assertEqual(shown(gate.port, "app.test"), "first")
        self.assertEqual(gate.metric("tollgate_config_last_reload_successful"), 0)
        shutil.copy(two.chain, cert)
        shutil.copy(two.key, key)
        self.assertTrue(self.serving(gate, "second"), "mended: no need to wait long")
        os.chmod(key, 0o644)
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_config_last_reload_successful") == 0, 10))
        os.chmod(key, 0o600)
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_config_last_reload_successful") == 1, 10))

    def test_tls_comes_and_goes(self):
        """A reload may turn it on and off; a connection stays what it was."""
        gate = self.start(config([public(self.up)]))
        with Client(gate.port) as plain:
            self.assertStatus(plain.request("GET", "/").response(), 200)
            gate.configure(with_tls([public(self.up)]))
            gate.reload()
            self.assertTrue(wait_until(lambda: ask(gate.port).status == 400))
            self.assertStatus(plain.request("GET", "/").response(), 200)
            with TlsClient(gate.port, world.context()) as secure:
                self.assertStatus(secure.request("GET", "/").response(), 200)
                gate.configure(config([public(self.up)]))
                gate.reload()
                self.assertTrue(wait_until(lambda: ask(gate.port).status == 200))
                fields = dict(json.loads(secure.request("GET", "/").response().body)["fields"])
                self.assertEqual(fields["X-Forwarded-Proto"], "https")

    def test_drain(self):
        """Over TLS too: SIGTERM under load loses no request."""
        self.up.on("/slow", lambda c, r: (time.sleep(1), c.answer(200, body=b"done")))
        gate = self.start(with_tls([public(self.up)], drain={"delay": "1s", "timeout": "10s"}))
        context, stop, bad, done = world.context(), threading.Event(), [], [0]

        def client():
            while not stop.is_set():
                try:
                    c = TlsClient(gate.port, context)
                except ConnectionRefusedError:
                    return
                with c:
                    for _ in range(50):
                        m = c.request("GET", "/x").response()
                        done[0] += 1
                        if m.status != 200:
                            bad.append(m.status)
                        if value(m, "Connection") == "close":
                            break

        def guarded():
            try:
                client()
            except BaseException as e:  # noqa: B902
                bad.append(repr(e))

        threads = [threading.Thread(target=guarded) for _ in range(3)]
        with TlsClient(gate.port, context) as slow:
            for t in threads:
                t.start()
            time.sleep(0.3)
            gate.proc.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            slow.request("GET", "/slow")
            m = slow.response()
            self.assertEqual((m.status, m.body), (200, b"done"))
            self.assertEqual(gate.proc.wait(15 * PATIENCE), 0)
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])
        self.assertGreater(done[0], 20)


class ClientCertificates(Case):
    """downstream_mtls in its three forms, with good clients and bad ones."""

    @classmethod
    def routes(cls, up):
        return None

    LOOKS = {"allow": {"and": [{"client_certificate": {"san_email": {"is": "alice@example.com"}}}]}}

    def bad(self):
        """(who, what they show, what the log says, the refusal)"""
        return [
            ("nothing", None, "missing", "certificate-required"),
            ("self-signed", world.alone, "invalid: ", "certificate-invalid"),
            ("foreign", world.stranger, "invalid: ", "certificate-invalid"),
            ("expired", world.expired, "invalid: ", "certificate-invalid"),
            ("not yet valid", world.early, "invalid: ", "certificate-invalid"),
            ("revoked", world.revoked, "invalid: ", "certificate-invalid"),
            ("two authorities up", world.deep, "invalid: ", "certificate-invalid"),
        ]

    def gate_with(self, routes, **changes):
        return self.start(with_tls(routes, downstream_mtls=mtls(crl_file=world.crl, **changes)))

    def test_default_deny(self):
        """403 on every route, a public one too, and a log line that says why."""
        gate = self.gate_with([public(self.up, prefix="/public"), members(self.up)])
        for version in ("1.2", "1.3"):
            for i, (who, cert, state, refusal) in enumerate(self.bad()):
                with self.subTest(who, version=version):
                    path = "/public/%s-%d" % (version, i)
                    m = ask_tls(gate.port, world.context(cert=cert, version=version), "GET", path)
                    self.assertProblem(m, 403, "forbidden")
                    line = gate.log(path)[0]
                    self.assertTrue(line["client_cert"].startswith(state), line)
                    self.assertEqual((line["refused"], line["decision"]), (refusal, "deny"))
                    if cert:
                        self.assertEqual(line["client_cert_fingerprint"], cert.fingerprint())
        self.assertEqual(self.up.find("/public/1.3-0"), [])
        good = world.context(cert=world.alice)
        self.assertStatus(ask_tls(gate.port, good, "GET", "/public/good"), 200)
        line = gate.log("/public/good")[0]
        self.assertEqual(line["client_cert"], "valid")
        self.assertEqual(line["client_cert_fingerprint"], world.alice.fingerprint())
        self.assertIn("CN=alice", line["client_cert_subject"])
        self.assertStatus(ask_tls(gate.port, good, "GET", "/private"), 401, "a certificate is no token")
        self.assertStatus(ask_tls(gate.port, good, "GET", "/private", [bearer()]), 200)
        m = ask_tls(gate.port, world.context(), "GET", "/private")
        self.assertStatus(m, 403, "no certificate goes before no token")
        self.assertIsNone(value(m, "WWW-Authenticate"))
        reasons = gate.log("/private", 3)[-1]["reasons"]
        self.assertEqual(reasons, ["client-certificate-required"])

    def test_policy_alone(self):
        """Without the rule, routes ask for themselves."""
        gate = self.gate_with(
            [public(self.up, prefix="/public"), {"name": "a", "prefix": "/", "to": self.up.url, "policy": self.LOOKS}],
            enforcement="policy",
        )
        for who, cert, state, _ in self.bad():
            with self.subTest(who):
                path = "/public/" + who.replace(" ", "-")
                self.assertStatus(ask_tls(gate.port, world.context(cert=cert), "GET", path), 200)
                self.assertTrue(gate.log(path)[0]["client_cert"].startswith(state))
                self.assertStatus(ask_tls(gate.port, world.context(cert=cert), "GET", "/alices"), 403)
        self.assertStatus(ask_tls(gate.port, world.context(cert=world.alice), "GET", "/alices"), 200)

    def test_reject_connection(self):
        gate = self.gate_with([public(self.up)], enforcement="reject_connection")
        for version in ("1.2", "1.3"):
            for who, cert, _, _ in self.bad():
                with self.subTest(who, version=version):
                    with self.assertRaises((ssl.SSLError, ConnectionError, AssertionError)):
                        ask_tls(gate.port, world.context(cert=cert, version=version), "GET", "/rejected")
            good = world.context(cert=world.alice, version=version)
            self.assertStatus(ask_tls(gate.port, good, "GET", "/good"), 200)
        self.assertEqual(self.up.find("/rejected"), [])
        self.assertEqual(gate.metric("tollgate_tls_handshakes_total", result="failed"), 2 * len(self.bad()))
        self.assertIn(gate.stderr().count("TLS handshakes fail"), (1, 2), "once a minute and worker, of which are two")

    def test_depth(self):
        deep = world.context(cert=world.deep)
        gate = self.start(with_tls([public(self.up)], downstream_mtls=mtls(max_verify_depth=2)))
        self.assertStatus(ask_tls(gate.port, deep, "GET", "/"), 200)
        gate = self.start(with_tls([public(self.up)], downstream_mtls=mtls(max_verify_depth=0)))
        self.assertStatus(ask_tls(gate.port, deep, "GET", "/"), 200)
        gate = self.start(with_tls([public(self.up)], downstream_mtls=mtls()))
        self.assertStatus(ask_tls(gate.port, deep, "GET", "/"), 403)

    def test_a_reload_asks_more_of_old_connections(self):
        """A connection from before client certificates were asked for has none: it is not let through."""
        gate = self.start(with_tls([public(self.up)]))
        with TlsClient(gate.port, world.context()) as c:
            self.assertStatus(c.request("GET", "/").response(), 200)
            gate.configure(with_tls([public(self.up)], downstream_mtls=mtls()))
            gate.reload()
            self.assertTrue(wait_until(lambda: ask_tls(gate.port, world.context()).status == 403))
            self.assertStatus(c.request("GET", "/after").response(), 403)
            self.assertEqual(gate.log("/after")[0]["client_cert"], "missing")

    def test_revoked_by_a_new_list(self):
        """crl_file is read again when it changes; a ticket from before resumes nothing then."""
        d = tempfile.mkdtemp(dir=world.dir)
        authority = certs.ca(d, "own-ca")
        client = certs.leaf(d, authority, [], "own-client", usage="client")
        crl = certs.crl(authority, name="list")
        gate = self.start(with_tls([public(self.up)], downstream_mtls={"ca_file": authority.cert, "crl_file": crl}))
        context = world.context(cert=client)
        with TlsClient(gate.port, context) as c:
            self.assertStatus(c.request("GET", "/").response(), 200)
            session = c.sock.session
        with TlsClient(gate.port, context, session=session) as c:
            self.assertStatus(c.request("GET", "/").response(), 200)
            self.assertTrue(c.sock.session_reused)
        certs.crl(authority, client, name="list")

        def status():
            with TlsClient(gate.port, context, session=session) as c:
                return c.request("GET", "/again").response().status

        self.assertTrue(wait_until(lambda: status() == 403, 10, 0.1))

    def test_facts_survive_resumption(self):
        """A resumed handshake carries the certificate of the first one."""
        gate = self.gate_with([public(self.up)])
        for version in ("1.2", "1.3"):
            context = world.context(cert=world.alice, version=version)
            with TlsClient(gate.port, context) as c:
                self.assertStatus(c.request("GET", "/first").response(), 200)
                session = c.sock.session
            with self.subTest(version), TlsClient(gate.port, context, session=session) as c:
                self.assertTrue(c.sock.session_reused)
                self.assertStatus(c.request("GET", "/resumed-" + version).response(), 200)
                line = gate.log("/resumed-" + version)[0]
                self.assertEqual(line["client_cert_fingerprint"], world.alice.fingerprint())

    def test_expires_on_an_open_connection(self):
        """A certificate that ends while its connection lasts is invalid from then on."""
        soon = certs.leaf(
            world.dir, world.clients, [], "soon-over", usage="client", end=(8 if SLOW else 4) / certs.DAY
        )
        gate = self.start(with_tls([public(self.up)], downstream_mtls=mtls()))
        with TlsClient(gate.port, world.context(cert=soon)) as c:
            self.assertStatus(c.request("GET", "/still").response(), 200)
            self.assertTrue(wait_until(lambda: c.request("GET", "/over").response().status == 403, 15, 0.5))
        refused = wait_until(lambda: [line for line in gate.log("/over") if line["status"] == 403])
        self.assertEqual(refused[0]["client_cert"], "invalid: certificate has expired")

    def test_many_at_once(self):
        """Each connection keeps its own facts."""
        gate = self.gate_with([{"name": "a", "prefix": "/", "to": self.up.url, "policy": self.LOOKS}])
        good, none = world.context(cert=world.alice), world.context()

        def work(i):
            return [ask_tls(gate.port, (good, none)[(i + j) % 2], "GET", "/").status for j in range(10)]

        for i, statuses in enumerate(parallel(4, work)):
            self.assertEqual(statuses, [(200, 403)[(i + j) % 2] for j in range(10)])


if __name__ == "__main__":
    main()
