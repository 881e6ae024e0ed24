"""Whether an upstream can be reached around tollgate: told once, shown as a metric, refused on demand.

Needs an address of this host that is not loopback; nothing leaves the host. Where there is none, the program runs itself
again in a network namespace of its own with a dummy interface.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import unittest

from harness import Case, NotStarted, Tollgate, ask, config, free_port, main, public, wait_until

DUMMY = "192.0.2.77"
SETUP = "ip link set lo up && ip link add tg0 type dummy && ip addr add %s/24 dev tg0 && ip link set tg0 up" % DUMMY


def addresses():
    """IPv4 addresses of this host's interfaces but loopback and link-local ones."""
    try:
        text = subprocess.run(["ip", "-o", "-4", "addr"], stdout=subprocess.PIPE, text=True).stdout
    except OSError:
        return []
    found = re.findall(r"inet (\d+\.\d+\.\d+\.\d+)", text)
    return [a for a in found if not a.startswith(("127.", "169.254."))]


class App:
    """Accepts and closes: an app that others may or may not reach."""

    def __init__(self, address, port=0):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((address, port))
        self.sock.listen(64)
        self.port = self.sock.getsockname()[1]
        self.seen = []  # the first bytes of every connection
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                conn, _ = self.sock.accept()
                conn.settimeout(5)
                self.seen.append(conn.recv(100))
                conn.close()
            except ConnectionError:
                self.seen.append(b"reset")
            except OSError:
                return

    def stop(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # twice
        self.sock.close()


class Exposure(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.outside = (addresses() or [None])[0]
        if not cls.outside:
            cls.up.stop()
            raise unittest.SkipTest("no address but loopback, and the kernel allows no network namespace")

    @classmethod
    def routes(cls, up):
        return None

    def app(self, address, port=0):
        app = App(address, port)
        self.addCleanup(app.stop)
        return app

    def to(self, port, host="127.0.0.1"):
        return public("http://%s:%d" % (host, port))

    def exposed(self, gate, port, host="127.0.0.1"):
        """The gauge's value, None when there is no such series."""
        m = re.search(
            r'^tollgate_upstream_exposed\{upstream="%s:%d"\} (\S+)$' % (re.escape(host), port), gate.metrics(), re.M
        )
        return m and float(m[1])

    def told(self, gate):
        return gate.stderr().count("go around tollgate")

    # ---- told --------------------------------------------------------------------------------------------------
    def test_exposed(self):
        app = self.app("0.0.0.0")
        gate = self.start(config([self.to(app.port)]))
        self.assertTrue(wait_until(lambda: self.exposed(gate, app.port) == 1), gate.metrics())
        said = gate.stderr()
        self.assertIn("127.0.0.1:%d" % app.port, said)
        self.assertTrue(any("%s:%d" % (a, app.port) in said for a in addresses()), said)
        self.assertIn("bind the app to 127.0.0.1", said)
        self.assertIn("NetworkPolicy", said)
        self.assertIn('"level":"warn"', said)
        self.assertTrue(wait_until(lambda: app.seen))
        self.assertEqual(set(app.seen), {b""}, "connections that say nothing and end politely")

    def test_only_loopback_is_silent(self):
        app = self.app("127.0.0.1")
        for host in ("127.0.0.1", "localhost"):
            with self.subTest(host=host):
                gate = self.start(config([self.to(app.port, host)]))
                self.assertTrue(wait_until(lambda: self.exposed(gate, app.port, host) == 0), gate.metrics())
                self.assertEqual(self.told(gate), 0)
        self.assertEqual(app.seen, [])

    def test_what_is_not_looked_at(self):
        """Unix sockets, the built-in echo and other hosts: no series, no word."""
        to = ["unix:/nonexistent/socket", "echo:", "http://198.51.100.7:80", "http://nowhere.invalid:80"]
        routes = [public(t, name="r%d" % i, path="/%d" % i) for i, t in enumerate(to)]
        app = self.app("127.0.0.1")
        gate = self.start(config(routes + [self.to(app.port)]))
        self.assertTrue(wait_until(lambda: self.exposed(gate, app.port) == 0, 15), gate.metrics())
        self.assertEqual(gate.metrics().count("\ntollgate_upstream_exposed{"), 1)
        self.assertEqual(self.told(gate), 0)

    def test_own_listener_on_the_same_port(self):
        """tollgate at the outer address, the app at loopback, both at one port: that is how it should be."""
        port = free_port()
        self.app("127.0.0.1", port)
        gate = self.start(
            config([self.to(port)], address=["127.0.0.1:%d" % free_port(), "%s:%d" % (self.outside, port)])
        )
        self.assertTrue(wait_until(lambda: self.exposed(gate, port) == 0), gate.metrics())
        self.assertEqual(self.told(gate), 0)

    def test_named_by_an_address_of_others(self):
        app = self.app(self.outside)
        gate = self.start(config([self.to(app.port, self.outside)]))
        self.assertTrue(wait_until(lambda: self.exposed(gate, app.port, self.outside) == 1), gate.metrics())
        self.assertIn("named by an address of this host", gate.stderr())

    # ---- changes -----------------------------------------------------------------------------------------------
    def test_changes_are_told_once(self):
        """At a reload it looks again; what is known already is not told again."""
        app = self.app("0.0.0.0")
        gate = self.start(config([self.to(app.port)]))
        self.assertTrue(wait_until(lambda: self.told(gate) == 1), gate.stderr())
        for i in (1, 2):
            gate.reload()
            self.assertTrue(wait_until(lambda: gate.stderr().count('"reloaded"') == i))
        self.assertEqual(self.told(gate), 1)
        app.stop()
        self.app("127.0.0.1", app.port)
        gate.reload()
        self.assertTrue(wait_until(lambda: self.exposed(gate, app.port) == 0), gate.metrics())
        self.assertIn("no longer reached around tollgate", gate.stderr())

    def test_one_that_went_with_a_reload(self):
        app, other = self.app("0.0.0.0"), self.app("127.0.0.1")
        gate = self.start(config([self.to(app.port)]))
        self.assertTrue(wait_until(lambda: self.exposed(gate, app.port) == 1))
        gate.configure(config([self.to(other.port)]))
        gate.reload()
        self.assertTrue(wait_until(lambda: self.exposed(gate, other.port) == 0))
        self.assertEqual(self.exposed(gate, app.port), 0)

    def test_an_app_that_starts_later(self):
        """Looked at again by itself, without a reload."""
        port = free_port()
        gate = self.start(config([self.to(port)]))
        self.assertTrue(wait_until(lambda: self.exposed(gate, port) == 0))
        self.app("0.0.0.0", port)
        self.assertTrue(wait_until(lambda: self.exposed(gate, port) == 1, 20), "within seconds after the start")
        self.assertEqual(self.told(gate), 1)

    # ---- refused -----------------------------------------------------------------------------------------------
    def test_refused_at_start(self):
        app = self.app("0.0.0.0")
        with self.assertRaises(NotStarted) as caught:
            self.start(config([self.to(app.port)], refuse_exposed_upstream=True))
        self.assertEqual(caught.exception.status, 78)
        self.assertIn("refuse_exposed_upstream: upstream 127.0.0.1:%d answers at " % app.port, caught.exception.stderr)

    def test_refusing_lets_others_start(self):
        app = self.app("127.0.0.1")
        gate = self.start(config([self.to(app.port)], refuse_exposed_upstream=True))
        self.assertEqual(self.exposed(gate, app.port), 0)

    def test_found_later_it_drains(self):
        port = free_port()
        gate = Tollgate(config([self.to(port)], refuse_exposed_upstream=True))
        self.addCleanup(gate.stop, expect=78)
        self.app("0.0.0.0", port)
        self.assertTrue(wait_until(lambda: gate.proc.poll() is not None, 20), "ends by itself")
        said = gate.stderr()
        self.assertIn("stopping: refuse_exposed_upstream is set", said)
        self.assertIn('"level":"error"', said)
        self.assertIn("go around tollgate", said)

    def test_a_reload_that_would_expose_is_refused(self):
        app, other = self.app("127.0.0.1"), self.app("0.0.0.0")
        gate = self.start(config([self.to(app.port)], refuse_exposed_upstream=True))
        gate.configure(config([self.to(other.port)], refuse_exposed_upstream=True))
        gate.reload()
        self.assertTrue(wait_until(lambda: "not reloaded" in gate.stderr()), gate.stderr())
        self.assertIn("refuse_exposed_upstream: upstream", gate.stderr())
        self.assertIsNone(self.exposed(gate, other.port))
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 200)


def in_namespace():
    """Runs this program again where there is an address; returns only when that is not possible."""
    for how in (["unshare", "-n"], ["unshare", "-rn"]):
        shell = how + ["sh", "-c", SETUP]
        if not shutil.which("unshare") or subprocess.run(shell, stderr=subprocess.DEVNULL).returncode != 0:
            continue
        again = SETUP + ' && exec "$0" "$@"'
        os.environ["TOLLGATE_TEST_NAMESPACE"] = "no"
        os.execvp(how[0], how + ["sh", "-c", again, sys.executable] + sys.argv)


if __name__ == "__main__":
    wanted = os.environ.get("TOLLGATE_TEST_NAMESPACE")
    if wanted != "no" and (wanted == "yes" or not addresses()):
        in_namespace()
    main()
