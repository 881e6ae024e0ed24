"""From a bare checkout to the first 200 and the first 403, as a newcomer would: four commands, by a shell, with a timer.

The provider is oidc-provider behind nginx, whose certificate a private authority signed. It, the service behind and a
token of it are there already; all else is typed. Needs node and `npm ci` in this directory (scripts/test does it).
"""

import base64
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
import certs  # noqa: E402
import nginx  # noqa: E402
from harness import TOP, Upstream, free_port, main  # noqa: E402
from test_oidc import Node, need_node  # noqa: E402

MOST_S = 300
AUDIENCE = "urn:test:es256"
PROXY = """listen 127.0.0.1:%d ssl; ssl_certificate %s; ssl_certificate_key %s;
  location / { proxy_pass http://127.0.0.1:%d; proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-Host $http_host; }"""


def bare_checkout(where):
    """What a clone would hold: no build, no modules, nothing ignored."""
    names = []
    if shutil.which("git"):
        command = ["git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        names = [n for n in listed.stdout.decode().split("\0") if n] if listed.returncode == 0 else []
    if not names:
        def ignored(folder, entries):                    # scripts/build is no build
            return [n for n in entries if n in ("node_modules", ".git") or (folder == TOP and n == "build")]

        shutil.copytree(TOP, where, ignore=ignored, dirs_exist_ok=True)
        return
    for name in names:
        path = os.path.join(where, name)
        if os.path.isfile(os.path.join(TOP, name)):      # else deleted and not yet recorded
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy2(os.path.join(TOP, name), path)


class FiveMinutes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need_node()
        nginx.need()

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-five.")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.tree = os.path.join(self.dir, "tollgate")
        os.makedirs(self.tree)
        self.commands = []

    def provider(self):
        """The issuer's URL and its authority's certificate."""
        ca = certs.ca(self.dir, "corp-ca", common_name="Corp Root")
        leaf = certs.leaf(self.dir, ca, ["127.0.0.1"])
        inner, outer = free_port(), free_port()
        issuer = "https://127.0.0.1:%d" % outer
        node = Node("provider.mjs", str(inner), os.path.join(self.dir, "keys.json"), issuer)
        self.addCleanup(node.stop)
        front = nginx.Nginx(self.dir, PROXY % (outer, leaf.chain, leaf.key, inner), port=outer)
        self.addCleanup(front.stop)
        return issuer, ca.cert

    def token(self, issuer, ca):
        form = {"grant_type": "client_credentials", "resource": AUDIENCE, "scope": "api"}
        basic = base64.b64encode(b"robot:robot-secret").decode()
        ask = urllib.request.Request(
            issuer + "/token", urllib.parse.urlencode(form).encode(), {"Authorization": "Basic " + basic}
        )
        with urllib.request.urlopen(ask, timeout=10, context=ssl.create_default_context(cafile=ca)) as r:
            return json.load(r)["access_token"]

    def type(self, line, env, background=False):
        """One command, as a shell takes it."""
        self.commands.append(line)
        start = time.monotonic()
        log = open(os.path.join(self.dir, "%d.log" % len(self.commands)), "w+", encoding="utf-8")
        self.addCleanup(log.close)
        p = subprocess.Popen(
            ["sh", "-c", ("exec " if background else "") + line],
            cwd=self.tree,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        if background:
            self.addCleanup(p.wait)
            self.addCleanup(p.send_signal, signal.SIGTERM)
            print("  $ %s &" % line)
            return p
        status = p.wait(MOST_S)
        log.seek(0)
        said = log.read()
        print("  $ %s\n    (%.1f s)" % (line, time.monotonic() - start))
        self.assertEqual(status, 0, "%s:\n%s" % (line, said[-3000:]))
        return said

    def test_first_200_and_403(self):
        bare_checkout(self.tree)
        self.assertFalse(os.path.exists(os.path.join(self.tree, "build")))
        issuer, ca = self.provider()
        up = Upstream()
        self.addCleanup(up.stop)
        shutil.copy(ca, os.path.join(self.tree, "corp-ca.pem"))
        gate = "http://127.0.0.1:%d" % free_port()
        env = dict(os.environ, TOKEN=self.token(issuer, ca), PATH=os.environ["PATH"] + ":" + self.tree + "/build/release")
        # The usual ports may be taken on a machine that runs tests; a newcomer has them.
        env.update(TOLLGATE_ADDRESS=gate[len("http://") :], TOLLGATE_HEALTH_ADDRESS="127.0.0.1:%d" % free_port())

        start = time.monotonic()
        self.type("scripts/build", env)
        said = self.type(
            "tollgate init --issuer %s --ca-file corp-ca.pem --audience %s --upstream %s" % (issuer, AUDIENCE, up.url), env
        )
        self.assertIn("3 usable keys", said)
        self.type("tollgate run -c tollgate.yaml", env, background=True)
        said = self.type(
            'curl -si --retry 30 --retry-connrefused -H "Authorization: Bearer $TOKEN" %s/ %s/admin' % (gate, gate),
            env,
        )
        took = time.monotonic() - start

        answers = re.findall(r"HTTP/1\.1 (\d{3}) ", said)
        while answers[:1] == ["503"]:  # before the keys were there: curl asked again
            del answers[0]
        self.assertEqual(answers, ["200", "403"])
        print("  from a bare checkout to the first 200 and 403: %d commands, %.1f s" % (len(self.commands), took))
        self.assertLessEqual(len(self.commands), 4)
        self.assertLess(took, MOST_S)
        self.assertNotIn(env["TOKEN"], "".join(self.commands))


if __name__ == "__main__":
    main()
