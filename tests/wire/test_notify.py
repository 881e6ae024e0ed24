"""What a service manager is told: sd_notify's protocol on a real datagram socket, and a watchdog that a hung thread
starves."""

import os
import re
import signal
import socket
import tempfile
import time

from harness import Case, PATIENCE, ask, config, main, public, wait_until


class Manager:
    """The other end of NOTIFY_SOCKET: messages as dicts, in order."""

    def __init__(self, address):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + address[1:] if address[0] == "@" else address)
        self.messages = []

    def more(self, seconds=0.0):
        """Takes what has come, and what comes within `seconds`."""
        end = time.monotonic() + seconds
        while True:
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            try:
                text = self.sock.recv(4096).decode()
            except socket.timeout:
                return self.messages
            self.messages.append(dict(line.split("=", 1) for line in text.split("\n") if line))

    def wait_for(self, name, value="1", limit=10.0):
        """The first message with NAME=value; it and those before it are gone then."""

        def find():
            self.more(0.02)
            return next((i for i, m in enumerate(self.messages) if m.get(name) == value), -1) + 1

        i = wait_until(find, limit)
        assert i, "no %s=%s in %s" % (name, value, self.messages)
        found = self.messages[i - 1]
        del self.messages[:i]
        return found

    def close(self):
        self.sock.close()


class Notify(Case):
    @classmethod
    def routes(cls, up):
        return None

    def setUp(self):
        d = tempfile.TemporaryDirectory(prefix="tollgate-notify.")
        self.addCleanup(d.cleanup)
        self.path = os.path.join(d.name, "notify")

    def manager(self, address):
        m = Manager(address)
        self.addCleanup(m.close)
        return m

    def test_life(self):
        """READY, RELOADING and READY again, also when the reload is refused, STOPPING; over both kinds of names."""
        for address in (self.path, "@tollgate-notify-%d" % os.getpid()):
            with self.subTest(address=address):
                manager = self.manager(address)
                gate = self.start(config([public(self.up)]), env={"NOTIFY_SOCKET": address})
                first = manager.wait_for("READY")
                self.assertEqual(first["STATUS"], "serving")

                before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
                gate.reload()
                reloading = manager.wait_for("RELOADING")
                after = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
                self.assertTrue(before <= int(reloading["MONOTONIC_USEC"]) <= after, reloading)
                self.assertNotIn("READY", reloading)
                self.assertIn("reloaded", manager.wait_for("READY")["STATUS"])

                gate.configure(config([{"nonsense": 1}]))
                gate.reload()
                manager.wait_for("RELOADING")
                self.assertIn("old configuration", manager.wait_for("READY")["STATUS"])

                gate.proc.send_signal(signal.SIGTERM)
                manager.wait_for("STOPPING")
                self.assertEqual(gate.proc.wait(20 * PATIENCE), 0)
                self.assertEqual(manager.more(0.1), [], "nothing after STOPPING")

    def test_ready_means_ready(self):
        """Whoever waited for READY is served."""
        manager = self.manager(self.path)
        gate = self.start(config([public(self.up)]), ready=False, env={"NOTIFY_SOCKET": self.path})
        manager.wait_for("READY")
        self.assertEqual(ask(gate.port).status, 200)

    def test_drain_is_told_at_its_beginning(self):
        manager = self.manager(self.path)
        drain = {"delay": "1s", "timeout": "5s"}
        gate = self.start(
            config([public(self.up)], drain=drain), env={"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "300000"}
        )
        manager.wait_for("READY")
        gate.proc.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING")
        self.assertEqual(ask(gate.port).status, 200, "still accepting for drain.delay")
        manager.wait_for("WATCHDOG")
        manager.wait_for("WATCHDOG")

    # ---- the watchdog ------------------------------------------------------------------------------------------
    def test_watchdog(self):
        """WATCHDOG=1 about every half of WATCHDOG_USEC, never later than the whole."""
        manager = self.manager(self.path)
        self.start(config([public(self.up)]), env={"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "1000000"})
        manager.wait_for("READY")
        times = []
        for _ in range(6):
            manager.wait_for("WATCHDOG")
            times.append(time.monotonic())
        gaps = [b - a for a, b in zip(times, times[1:])]
        self.assertLess(max(gaps), 1.0, gaps)
        self.assertGreater(min(gaps), 0.3, gaps)

    def test_watchdog_of_another_process(self):
        manager = self.manager(self.path)
        self.start(
            config([public(self.up)]),
            env={"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())},
        )
        manager.wait_for("READY")
        self.assertEqual([m for m in manager.more(0.8) if "WATCHDOG" in m], [])

    def test_a_hung_thread_starves_the_watchdog(self):
        """Each thread with a loop in turn: stopped in a debugger's way it answers no more, and WATCHDOG=1 ends."""
        manager = self.manager(self.path)
        gate = self.start(
            config([public(self.up)]), env={"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "400000"}
        )
        manager.wait_for("READY")
        threads = {}
        for tid in os.listdir("/proc/%d/task" % gate.pid):
            with open("/proc/%d/task/%s/comm" % (gate.pid, tid), encoding="ascii") as f:
                threads[f.read().strip()] = int(tid)
        self.assertTrue({"worker-0", "worker-1", "control"} <= set(threads), threads)
        for name in ("worker-1", "control"):
            with self.subTest(thread=name):
                manager.wait_for("WATCHDOG")
                try:
                    held = Held(threads[name])
                except OSError as e:
                    self.skipTest("this system lets no process trace another: %s" % e)
                try:
                    manager.more(0.6)
                    del manager.messages[:]
                    self.assertEqual([m for m in manager.more(1.0) if "WATCHDOG" in m], [])
                    self.assertIn("a thread does not answer", gate.stderr())
                finally:
                    held.release()
                manager.wait_for("WATCHDOG")

    # ---- what cannot be ----------------------------------------------------------------------------------------
    def test_nobody_listens(self):
        """A socket that is not there or not understood keeps nobody from serving."""
        for address, said in (
            (self.path, "the service manager cannot be told"),
            ("vsock:2:1", "NOTIFY_SOCKET is no unix socket"),
            ("/" + "x" * 200, "NOTIFY_SOCKET is no unix socket"),
        ):
            with self.subTest(address=address[:20]):
                gate = self.start(config([public(self.up)]), env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
                self.assertEqual(ask(gate.port).status, 200)
                self.assertTrue(wait_until(lambda: said in gate.stderr()), gate.stderr())
                time.sleep(0.2)
                self.assertEqual(gate.stderr().count(said), 1)

    def test_without_a_manager(self):
        gate = self.start(config([public(self.up)]))
        self.assertFalse(re.search("manager|NOTIFY", gate.stderr()))


class Held:
    """One thread of a process, held still: ptrace(PTRACE_SEIZE) and PTRACE_INTERRUPT, as a debugger would."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
    WALL = 0x40000000

    def __init__(self, tid):
        import ctypes

        self.ctypes = ctypes
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long
        self.tid = tid
        self._call(self.SEIZE)
        self._call(self.INTERRUPT)
        os.waitpid(tid, self.WALL)

    def _call(self, what):
        if self.libc.ptrace(what, self.tid, None, None) != 0:
            raise OSError(self.ctypes.get_errno(), os.strerror(self.ctypes.get_errno()))

    def release(self):
        self._call(self.DETACH)


if __name__ == "__main__":
    main()
