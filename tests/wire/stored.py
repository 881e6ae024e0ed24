"""stored - a test class whose sidecars count in a real redis-server."""

import socket
import threading
import time

from harness import PATIENCE, Case, ask, config, free_port, members, request, wait_until
from redis_server import Redis

GATES = 3
SECRET = "a-secret-of-these-tests"


class Relay:
    """A way to the store that takes time: each direction holds what it got for a while."""

    def __init__(self, to, delay):
        self.to, self.delay, self.port = to, delay, free_port()
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", self.port))
        self.sock.listen(64)
        self.open = [self.sock]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                one, _ = self.sock.accept()
                two = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            for s in (one, two):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.open += [one, two]
            for a, b in ((one, two), (two, one)):
                threading.Thread(target=self._copy, args=(a, b), daemon=True).start()

    def _copy(self, a, b):
        try:
            while True:
                data = a.recv(65536)
                if not data:
                    break
                time.sleep(self.delay)
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        for s in self.open:
            s.close()


class Stored(Case):
    """What the classes below share."""

    def redis(self, unix=False, **kwargs):
        r = Redis(None if unix else free_port(), unix, **kwargs)
        self.addCleanup(r.stop)
        return r

    def limits(self, store, limit, window, tiers=None, **changes):
        """The section: one tier for whoever has a token. `store`: a Redis or a text."""
        section = {
            "tiers": tiers
            or [
                {"name": "authenticated", "limit": limit, "window": window},
                {"name": "unauthenticated", "limit": 1000000, "window": "1m"},
            ],
            "store": store if isinstance(store, str) else store.url(),
            "store_secret": SECRET,
        }
        section.update(changes)
        return {k: v for k, v in section.items() if v is not None}

    def sidecar(self, store, limit=1000, window="10s", log=False, workers=2, **changes):
        gate = self.start(self.configuration(store, limit, window, log, workers, **changes))
        if not changes.get("away"):
            self.assertTrue(wait_until(lambda: self.up_of(gate), 5), "no link to the store:\n" + gate.stderr())
        return gate

    def configuration(self, store, limit=1000, window="10s", log=False, workers=2, **changes):
        changes.pop("away", None)
        more = {} if log else {"access_log": {"output": "off"}}
        return config(
            [members("echo:")], workers=workers, rate_limits=self.limits(store, limit, window, **changes), **more
        )

    def up_of(self, gate):
        return gate.metric("tollgate_ratelimit_store_up") == 1

    def wait_back(self, gates, limit=5):
        self.assertTrue(wait_until(lambda: all(map(self.up_of, gates)), limit), "the store is back, and not used")

    def room(self, window=10, seconds=4):
        """Not so late in a window that the test would see two."""
        left = window - time.time() % window
        if left < seconds * PATIENCE:
            time.sleep(left + 0.1)

    def admitted(self, gate, me, most):
        """How many requests one after the other pass, at most `most`."""
        count = 0
        while count < most and ask(gate.port, "GET", "/", [me]).status == 200:
            count += 1
        return count


def octets(me):
    return request("GET", "/", [me])
