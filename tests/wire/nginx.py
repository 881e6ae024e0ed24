"""A real nginx for the tests: in a directory of its own, on loopback, unprivileged, in the foreground.

    with nginx.Nginx(directory, "listen 127.0.0.1:%d; location / { root /srv; }" % port) as n:
        n.requests()                             # what its access log holds: [{connection, status, uri}, ...]
"""

import os
import shutil
import socket
import subprocess
import time
import unittest

EXE = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
CONFIG = """daemon off; master_process off; pid {d}/nginx.pid; error_log {d}/error.log warn;
events {{ worker_connections 256; }}
http {{
  log_format own '$connection $status $request_uri';
  access_log {d}/access.log own;
  default_type application/json; keepalive_timeout 75s;
  client_body_temp_path {d}/t1; proxy_temp_path {d}/t2; fastcgi_temp_path {d}/t3; uwsgi_temp_path {d}/t4;
  scgi_temp_path {d}/t5;
  {http}
  server {{ {server} }}
}}
"""


def need():
    if not EXE:
        raise unittest.SkipTest("no nginx here")


class Nginx:
    def __init__(self, directory, server, http="", port=None):
        need()
        self.dir, self.port = directory, port
        self.path = os.path.join(directory, "nginx.conf")
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(d=directory, server=server, http=http))
        self.proc = None
        self.start()

    def start(self):
        self.proc = subprocess.Popen(
            [EXE, "-e", os.path.join(self.dir, "error.log"), "-c", self.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 10
        while self.port and not self.answers():
            if time.monotonic() > end or self.proc.poll() is not None:
                with open(os.path.join(self.dir, "error.log"), encoding="utf-8") as f:
                    raise RuntimeError("nginx does not start: " + f.read()[-2000:])
            time.sleep(0.02)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def requests(self):
        """The requests so far, oldest first."""
        try:
            with open(os.path.join(self.dir, "access.log"), encoding="utf-8") as f:
                lines = [line.split(" ", 2) for line in f.read().split("\n")[:-1]]
        except FileNotFoundError:
            return []
        return [{"connection": c, "status": int(s), "uri": u} for c, s, u in lines]

    def stop(self):
        if self.proc.poll() is None:
            self.proc.terminate()
        self.proc.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
