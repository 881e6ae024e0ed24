"""TLS under attack: peers that say too much, files that are none, certificates without end."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import certs
from harness import (
    Case,
    PATIENCE,
    ask,
    ask_tls,
    config,
    free_port,
    main,
    public,
    run,
    tls_context,
    wait_until,
)


class World:
    def __init__(self):
        self.dir = d = tempfile.mkdtemp(prefix="tollgate-hostile.")
        self.ca = certs.ca(d, "ca")
        self.app = certs.leaf(d, self.ca, ["app.test", "127.0.0.1"], "app", usage="server")
        self.clients = certs.ca(d, "clients")
        self.alice = certs.leaf(d, self.clients, [], "alice", usage="client")
        self.context = tls_context(self.ca.cert)


world = None


def setUpModule():
    global world
    world = World()


def tearDownModule():
    shutil.rmtree(world.dir, ignore_errors=True)


def with_tls(routes, **changes):
    pair = {"certificate_file": world.app.chain, "certificate_key_file": world.app.key}
    return config(routes, **{**pair, **changes})


class Files(Case):
    """Named pipes instead of files: nobody waits for their writer for ever, and requests do not wait at all."""

    def pipe(self):
        path = os.path.join(tempfile.mkdtemp(dir=world.dir), "pipe")
        os.mkfifo(path, 0o600)
        return path

    def test_check(self):
        path = self.pipe()
        up = self.upstream()
        for name, cfg in (
            ("certificate_file", with_tls([public(up)], certificate_file=path)),
            ("tls_custom_ca_file", with_tls([public("https://127.0.0.1:1", tls_custom_ca_file=path)])),
        ):
            where = os.path.join(os.path.dirname(path), "tollgate.json")
            with open(where, "w", encoding="ascii") as f:
                json.dump(cfg, f)
            start = time.monotonic()
            status, _, said = run("check", "-c", where, timeout=25)
            self.assertEqual(status, 78, said)
            self.assertIn("%s: %s: cannot be read: nobody writes to this pipe" % (name, path), said)
            self.assertLess(time.monotonic() - start, 20)

    def test_key_from_a_pipe(self):
        """A pipe with a writer is as good as a file, and is not read again because it was read."""
        path = self.pipe()
        stop = threading.Event()

        def write():
            while not stop.is_set():
                with open(path, "w", encoding="ascii") as f:  # waits for a reader
                    f.write(world.app.text("key") if not stop.is_set() else "")
                time.sleep(0.1)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        gate = self.start(with_tls([public(self.upstream())], certificate_key_file=path))
        self.assertStatus(ask_tls(gate.port, world.context), 200)
        time.sleep(4)
        self.assertNotIn("has changed", gate.stderr())
        stop.set()
        with open(path, encoding="ascii") as f:
            f.read()

    def test_reload(self):
        """A certificate that became a pipe: the old one stays in force, and no request waits for the reading."""
        folder = tempfile.mkdtemp(dir=world.dir)
        cert = os.path.join(folder, "tls.crt")
        shutil.copy(world.app.chain, cert)
        gate = self.start(with_tls([public(self.upstream())], certificate_file=cert))
        os.unlink(cert)
        os.mkfifo(cert, 0o600)
        gate.reload()
        worst = 0.0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            start = time.monotonic()
            self.assertStatus(ask_tls(gate.port, world.context), 200)
            worst = max(worst, time.monotonic() - start)
        self.assertLess(worst, 1.0 * PATIENCE)
        self.assertTrue(wait_until(lambda: "nobody writes to this pipe" in gate.stderr(), 20), gate.stderr())
        os.unlink(cert)
        shutil.copy(world.app.chain, cert)
        gate.reload()
        self.assertTrue(wait_until(lambda: '"message":"reloaded"' in gate.stderr(), 10))
        self.assertStatus(ask_tls(gate.port, world.context), 200)


class Certificates(Case):
    def test_chain_without_end(self):
        """What a client shows is kept while it is connected: it has a bound."""
        mtls = {"ca_file": world.clients.cert, "enforcement": "policy"}
        gate = self.start(with_tls([public(self.upstream())], downstream_mtls=mtls))

        def client(extra):
            context = tls_context(world.ca.cert)
            chain = os.path.join(world.dir, "long.pem")
            with open(chain, "w", encoding="ascii") as f:
                f.write(world.alice.text() + world.clients.text() * extra)
            context.load_cert_chain(chain, world.alice.key)
            return context

        self.assertStatus(ask_tls(gate.port, client(20)), 200)
        self.assertEqual(gate.log("/")[0]["client_cert"], "valid")
        with self.assertRaises((AssertionError, ssl.SSLError, OSError)):
            ask_tls(gate.port, client(90))
        self.assertEqual(gate.metric("tollgate_tls_handshakes_total", result="failed"), 1)


class Floods(Case):
    def test_upstream_that_never_begins(self):
        """
        HelloRequest may come at any time and is skipped in a handshake: without end it takes the time of connecting,
        and not the worker's.
        """
        listener = socket.create_server(("127.0.0.1", free_port()))
        self.addCleanup(listener.close)

        def flood():
            sock = listener.accept()[0]
            sock.recv(4096)
            try:
                while True:
                    sock.sendall(b"\x16\x03\x03\0\4\0\0\0\0" * 20000)
            except OSError:
                sock.close()

        threading.Thread(target=flood, daemon=True).start()
        bad = public("https://127.0.0.1:%d" % listener.getsockname()[1], prefix="/bad", name="bad")
        gate = self.start(
            config([bad, public(self.upstream())], workers=1, timeouts={"connect": "%ds" % (2 * PATIENCE)})
        )
        status = []
        asking = threading.Thread(target=lambda: status.append(ask(gate.port, "GET", "/bad", timeout=20).status))
        asking.start()
        worst = 0.0
        while asking.is_alive():
            start = time.monotonic()
            self.assertStatus(ask(gate.port), 200)
            worst = max(worst, time.monotonic() - start)
            time.sleep(0.05)
        asking.join()
        self.assertEqual(status, [504])
        self.assertLess(worst, 1.0 * PATIENCE)

    def test_odd_names(self):
        """What a client asks for by SNI may be any octets but NUL: the log stays UTF-8 and JSON."""
        gate = self.start(with_tls([public(self.upstream())]))
        names = (b"APP.test.", b"a..b", b"*.test", b"[::1]", b"a" * 255, b"\xff\xfe", b"\"\\\x01\r\n", b"%00")
        for i, name in enumerate(names):
            ask_openssl = [b"openssl", b"s_client", b"-connect", b"127.0.0.1:%d" % gate.port, b"-quiet", b"-ign_eof"]
            said = subprocess.run(
                ask_openssl + [b"-servername", name],
                input=b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % i,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=10 * PATIENCE,
            ).stdout
            self.assertEqual(said[:15], b"HTTP/1.1 200 OK", name)
            expected = name.decode("utf-8", "replace").lower()
            self.assertEqual(gate.log("/%d" % i)[0]["sni"], expected)


if __name__ == "__main__":
    main()
