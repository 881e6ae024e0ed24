"""A real redis-server (or valkey-server) for the tests: in a directory of its own, on loopback, ended by its pid.

    with Redis(free_port()) as r:                # or Redis(unix=True); password="...", lines=["user ..."]
        r.url()                                  # "redis://127.0.0.1:PORT"
        r.ask("DBSIZE"); r.pause(); r.resume(); r.kill(); r.start(); r.read_only(); r.full(); r.writable()

`Resp` is a plain client of it: one connection, one command at a time or several in one write.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

EXE = shutil.which("redis-server") or shutil.which("valkey-server")


def need():
    if not EXE:
        raise unittest.SkipTest("no redis-server here")


class Error(Exception):
    """An error answer: "READONLY You can't write ..."."""


class Resp:
    """A connection that speaks RESP2."""

    def __init__(self, where, user=None, password=None, timeout=10.0):
        """`where`: a port, or the path of a Unix socket."""
        self.sock = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
        self.sock.settimeout(timeout)
        self.sock.connect(where if isinstance(where, str) else ("127.0.0.1", where))
        if not isinstance(where, str):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")
        if password:
            self.ask("AUTH", *((user, password) if user else (password,)))

    def send(self, *commands):
        """Each command is a list of texts, octets or numbers."""
        out = []
        for command in commands:
            out.append(b"*%d\r\n" % len(command))
            for word in command:
                word = word if isinstance(word, bytes) else str(word).encode()
                out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.sock.sendall(b"".join(out))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server ended the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return Error(rest.decode("latin-1"))
        if kind == b"+":
            return rest.decode("latin-1")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        return None if rest == b"-1" else [self.read() for _ in range(int(rest))]

    def ask(self, *command):
        self.send(command)
        answer = self.read()
        if isinstance(answer, Error):
            raise answer
        return answer

    def close(self):
        self.file.close()
        self.sock.close()


class Redis:
    def __init__(self, port=None, unix=False, user=None, password=None, lines=()):
        """`port`: a free one, for which the caller asks harness.free_port(); None with `unix`. `lines` of redis.conf;
        `user`: as whom this helper itself asks, when they define one."""
        need()
        self.dir = tempfile.mkdtemp(prefix="tollgate-redis.")
        self.port, self.user, self.password = port, user, password
        self.path = os.path.join(self.dir, "redis.sock") if unix else None
        self.settings = ["save ''", "appendonly no", "enable-debug-command local", "latency-tracking no"]
        self.settings += ["bind 127.0.0.1", "port %d" % (port or 0)]
        self.settings += ["unixsocket %s" % self.path] if unix else []
        self.settings += ["requirepass %s" % password] if password and not user else []
        self.settings += list(lines)
        self.proc, self.paused = None, False
        self.start()

    # ---- the process ----
    def start(self):
        """Empty, as it keeps nothing on disk. Waits until it answers."""
        config = os.path.join(self.dir, "redis.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write("".join(line + "\n" for line in ["dir " + self.dir] + self.settings))
        with open(os.path.join(self.dir, "log"), "a", encoding="utf-8") as log:
            self.proc = subprocess.Popen([EXE, config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while not self.answers():
            if time.monotonic() > end or self.proc.poll() is not None:
                raise RuntimeError("redis-server does not start: " + self.log()[-2000:])
            time.sleep(0.01)

    def log(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def answers(self):
        try:
            self.connect(2).close()
            return True
        except (OSError, Error):
            return False

    def kill(self):
        """At once, as a machine that loses its power."""
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.paused = False

    def pause(self):
        """It hangs: its kernel still takes connections and octets, nobody answers."""
        self.proc.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.proc.send_signal(signal.SIGCONT)
        self.paused = False

    def restart(self, down=0.0):
        self.kill()
        time.sleep(down)
        self.start()

    def stop(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- questions ----
    def url(self, user=None, password=None, database=None):
        """The `store` of a configuration."""
        if self.path:
            return "unix://" + self.path + ("?db=%d" % database if database is not None else "")
        who = "" if password is None else "%s:%s@" % (user or "", password)
        return "redis://%s127.0.0.1:%d" % (who, self.port) + ("/%d" % database if database is not None else "")

    def connect(self, timeout=10.0):
        return Resp(self.path or self.port, self.user, self.password, timeout)

    def ask(self, *command, database=0):
        c = self.connect()
        try:
            if database:
                c.ask("SELECT", database)
            return c.ask(*command)
        finally:
            c.close()

    def commands(self, name="evalsha"):
        """How often a command was executed, and how often refused or failed, since the start or CONFIG RESETSTAT."""
        for line in self.ask("INFO", "commandstats").decode().split():
            if line.startswith("cmdstat_%s:" % name):
                fields = dict(x.split("=") for x in line.split(":")[1].split(","))
                return int(fields["calls"]), int(fields["rejected_calls"]) + int(fields["failed_calls"])
        return 0, 0

    def names(self, database=0):
        """{name: its time to live in milliseconds, -1 without one}."""
        c = self.connect()
        try:
            c.ask("SELECT", database)
            found, cursor = [], b"0"
            while True:
                cursor, some = c.ask("SCAN", cursor, "COUNT", 1000)
                found += some
                if cursor == b"0":
                    break
            return {name: c.ask("PTTL", name) for name in found}
        finally:
            c.close()

    # ---- what can be wrong with it ----
    def wipe(self):
        self.ask("FLUSHALL")

    def read_only(self):
        """A replica of nobody: every write is answered by READONLY, as after a failover."""
        self.ask("REPLICAOF", "127.0.0.1", "1")

    def full(self):
        """Every write is answered by OOM."""
        self.ask("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")

    def writable(self):
        self.ask("REPLICAOF", "NO", "ONE")
        self.ask("CONFIG", "SET", "maxmemory", "0")

    def busy(self, seconds):
        """A script that does not end; everybody else is answered by BUSY. Returns when it was killed."""
        self.ask("CONFIG", "SET", "busy-reply-threshold", "1")
        c = self.connect(seconds + 10)
        try:
            c.send(["EVAL", "while true do end", "0"])
            time.sleep(seconds)
            self.ask("SCRIPT", "KILL")
            c.read()
        finally:
            c.close()
