"""Load for the tests of limits: plain clients whose every answer is kept, and wrk, whose answers are counted.

    with Clients([(port, octets)] * 4) as load:      # each a connection that asks again and again
        time.sleep(2)
    load.answers                                     # [Answer(at, took, status, reset, remaining, port), ...]
    Wrk(port, seconds, connections, fields).counts() # {(status, reset): how many}

`reset` is the X-RateLimit-Reset of the answer: with a fixed window, its number.
"""

import collections
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

Answer = collections.namedtuple("Answer", "at took status reset remaining port")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
RESET = re.compile(rb"\r\nx-ratelimit-reset: *(\d+)", re.I)
REMAINING = re.compile(rb"\r\nx-ratelimit-remaining: *(\d+)", re.I)

# Counts are kept per thread of wrk, and added up when all is over.
SCRIPT = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) counts = {} end
function response(status, headers, body)
    local key = status .. " " .. (headers["X-RateLimit-Reset"] or 0)
    counts[key] = (counts[key] or 0) + 1
end
function done(summary, latency, requests)
    for _, thread in ipairs(threads) do
        for key, count in pairs(thread:get("counts")) do print("counted " .. key .. " " .. count) end
    end
    local e = summary.errors
    print("errors " .. e.connect + e.read + e.write + e.timeout)
end
"""


class Clients:
    """One thread and one connection for each of `asks`: (port, octets of a request). `rate`: requests a second of each
    client, None: without a pause."""

    def __init__(self, asks, rate=None):
        self.asks, self.rate, self.answers, self.errors = list(asks), rate, [], []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=a, daemon=True) for a in self.asks]

    def __enter__(self):
        self.start = time.monotonic()
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopped.set()
        for t in self.threads:
            t.join()

    def _run(self, port, octets):
        try:
            self._ask(port, octets)
        except (OSError, ConnectionError) as e:
            self.errors.append("port %d after %.2f s: %r" % (port, time.monotonic() - self.start, e))

    def _ask(self, port, octets):
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            due = time.monotonic()
            while not self.stopped.is_set():
                at = time.monotonic()
                sock.sendall(octets)
                head = answer(sock)
                reset, remaining = RESET.search(head), REMAINING.search(head)
                self.answers.append(
                    Answer(
                        at,
                        time.monotonic() - at,
                        int(head[9:12]),
                        int(reset[1]) if reset else 0,
                        int(remaining[1]) if remaining else -1,
                        port,
                    )
                )
                if self.rate:
                    due += 1 / self.rate
                    self.stopped.wait(max(0, due - time.monotonic()))

    # ---- what came ----
    def between(self, start, end):
        """Answers to what was asked in a span of monotonic time."""
        return [a for a in self.answers if start <= a.at < end]

    def admitted(self):
        """{reset: how many were not refused}."""
        return collections.Counter(a.reset for a in self.answers if a.status == 200)


def answer(sock):
    """The head of one answer with Content-Length; its body is read and dropped."""
    buf = b""
    while b"\r\n\r\n" not in buf:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError("the connection ended")
        buf += data
    head, _, body = buf.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    left = int(length[1]) - len(body) if length else 0
    while left > 0:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError("the connection ended inside an answer")
        left -= len(data)
    return head


def need_wrk():
    if not shutil.which("wrk"):
        raise unittest.SkipTest("wrk is not installed")


class Wrk:
    """A running wrk; `counts()` waits for its end. `path`: what it asks for."""

    def __init__(self, port, seconds, connections=4, fields=(), path="/", threads=1, pin=None):
        need_wrk()
        self.file = tempfile.NamedTemporaryFile("w", suffix=".lua", delete=False)
        with self.file as f:
            f.write(SCRIPT)
        argv = ["wrk", "-t%d" % threads, "-c%d" % connections, "-d%ds" % seconds, "-s", f.name]
        for name, value in fields:
            argv += ["-H", "%s: %s" % (name, value)]
        self.limit = seconds + 30
        self.proc = subprocess.Popen(
            argv + ["http://127.0.0.1:%d%s" % (port, path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=pin,
        )

    def counts(self):
        """{(status, reset): how many}; an answer that never came is a failure."""
        try:
            out, _ = self.proc.communicate(timeout=self.limit)
        finally:
            if self.proc.poll() is None:
                self.proc.kill()
                self.proc.wait()
            os.unlink(self.file.name)
        if self.proc.returncode != 0 or not re.search(r"(?m)^errors 0$", out):
            raise AssertionError("wrk: exit %d: %s" % (self.proc.returncode, out[-2000:]))
        found = collections.Counter()
        for status, reset, count in re.findall(r"(?m)^counted (\d+) (\d+) (\d+)$", out):
            found[int(status), int(reset)] += int(count)
        return found
