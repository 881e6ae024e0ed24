"""What one request costs: system calls, which repeat exactly. Times are measured by bench/run, not here."""

import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import Case, Client, KIND, bearer, config, main, members

REQUESTS = 500


@unittest.skipIf(KIND != "release", "sanitizers make system calls of their own")
@unittest.skipUnless(shutil.which("strace"), "strace is not installed")
class Cost(Case):
    @classmethod
    def routes(cls, up):
        return None

    def traced(self, ask):
        """{system call: how often} while ask() runs."""
        with tempfile.NamedTemporaryFile("r") as out:
            gate_pid = str(self.running.pid)
            tracer = subprocess.Popen(
                ["strace", "-f", "-c", "-o", out.name, "-p", gate_pid], stderr=subprocess.PIPE, text=True
            )
            attached = tracer.stderr.readline()
            if "attached" not in attached:
                tracer.kill()
                tracer.wait()
                self.skipTest("strace may not trace here: " + attached.strip())
            ask()
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
            tracer.stderr.close()
            counts = {}
            for line in out.read().splitlines():
                m = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
                if m and m.group(2) != "total":
                    counts[m.group(2)] = int(m.group(1))
            return counts

    def test_system_calls_of_a_request(self):
        """Read, write, read, write and the wait: nothing is armed, timed or allocated by a system call for each request."""
        limits = {"tiers": [{"name": "all", "limit": 1000000, "window": "1m"}]}
        self.running = self.start(config([members(self.up)], workers=1, rate_limits=limits, access_log={"output": "off"}))
        with Client(self.running.port) as c:
            for _ in range(20):                              # connections and caches are there
                self.assertStatus(c.request("GET", "/", [bearer()]).response(), 200)

            def ask():
                for _ in range(REQUESTS):
                    c.request("GET", "/", [bearer()]).response()

            counts = self.traced(ask)
        data = sum(counts.get(n, 0) for n in ("recvfrom", "sendto", "sendmsg", "read", "write", "readv", "writev"))
        self.assertLess(data / REQUESTS, 4.1, counts)
        waits = counts.get("epoll_wait", 0) + counts.get("epoll_pwait", 0)
        others = sum(counts.values()) - data - waits
        self.assertLess(others / REQUESTS, 0.2, counts)      # at load many requests share one wait: below 4.5 in all
        self.assertLess(counts.get("epoll_ctl", 0), 20, counts)


if __name__ == "__main__":
    main()
