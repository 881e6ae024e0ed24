"""Nothing secret gets out: not in a log, a metric, an error or --print-config, not by /proc and not in a core."""

import base64
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import certs
from harness import BIN, Case, Client, bearer, command, config, environment, free_port, key, main, members, mint, provider
from harness import run, token, wait_until

NOBODY = 65534
WORD = "s3cr3t"  # part of every secret here, so that one search finds them all


def secret(name, length=40):
    return (WORD + "-" + name + "-").ljust(length, "x")


class Proxy:
    """An HTTP proxy that refuses everybody, and keeps what it was told."""

    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.heads = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            with conn:
                conn.settimeout(5)
                try:
                    self.heads.append(conn.recv(65536).decode("latin-1"))
                    conn.sendall(b"HTTP/1.1 407 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                except OSError:
                    pass

    def stop(self):
        self.sock.close()


class Secrets(Case):
    @classmethod
    def routes(cls, up):
        return None

    def setUp(self):
        d = tempfile.TemporaryDirectory(prefix="tollgate-secrets.")
        self.addCleanup(d.cleanup)
        self.dir = d.name

    def assertSecret(self, text, where, *more):
        """No secret in `text`, neither as it is nor in base64."""
        needles = [WORD] + list(more)
        for shift in range(3):  # wherever it begins in a group of three octets
            coded = base64.b64encode(b"x" * shift + WORD.encode())
            needles.append(coded[4 if shift else 0 : 8].decode())
        for needle in needles:
            at = text.find(needle)
            self.assertEqual(at, -1, "%s: %r" % (where, text[max(0, at - 200) : at + 100]))

    def everything(self):
        """A configuration with a secret in every place that takes one, its environment and files."""
        proxy = Proxy()
        self.addCleanup(proxy.stop)
        made = certs.leaf(self.dir, certs.ca(self.dir), ["app.test"], name="client")
        env = {
            "UPSTREAM_PASSWORD": secret("header"),
            "PROXY_URL": "http://user:%s@127.0.0.1:%d" % (secret("proxy"), proxy.port),
            "KEYS_URL": "http://127.0.0.1:1/keys?key=" + secret("query"),
            "CLIENT_KEY": base64.b64encode(made.text("key").encode()).decode(),
            "http_proxy": "http://user:%s@127.0.0.1:1" % secret("environment"),
        }
        signing = key("ec384")
        header = {"Authorization": "Basic ${UPSTREAM_PASSWORD}", "X-Key": secret("literal")}
        cfg = config(
            [
                members(
                    self.up, name="plain", prefix="/plain", set_request_headers=header, debug_trace=secret("debug")
                ),
                members(
                    "https://127.0.0.1:1",
                    name="tls",
                    prefix="/tls",
                    tls_client_cert=base64.b64encode(made.text().encode()).decode(),
                    tls_client_key="${CLIENT_KEY}",
                ),
                members("http://127.0.0.1:1", name="away", prefix="/away"),
                {
                    "name": "tools",
                    "prefix": "/tools",
                    "to": "http://127.0.0.1:1",
                    "policy": {"allow": {"and": [{"mcp_tool": {"is": "read"}}, {"claim/role": {"has": "staff"}}]}},
                },
            ],
            identity_providers={
                "inline": provider(
                    supported_algs=["ES256", "ES384"],
                    jwks={"keys": [mint.public(key("ec256")), dict(signing, alg="ES384")]},
                ),
                "shared": {
                    "issuer": "https://shared.test",
                    "audiences": ["app"],
                    "supported_algs": ["HS256"],
                    "secret_file": "shared",
                },
                "fetched": {
                    "issuer": "https://fetched.test",
                    "audiences": ["app"],
                    "jwks_url": "${KEYS_URL}",
                    "proxy": "${PROXY_URL}",
                    "token_file": "bearer",
                },
            },
        )
        files = {"shared": secret("shared"), "bearer": secret("bearer")}
        return cfg, env, files, proxy, [signing["d"], env["CLIENT_KEY"][64:128]]

    # ---- what is written -------------------------------------------------------------------------------------
    def test_outputs(self):
        """Requests of all kinds against a process full of secrets; then all that was written is searched."""
        cfg, env, files, proxy, more = self.everything()
        gate = self.start(cfg, ready=False, env=env, files=files)
        self.assertTrue(wait_until(lambda: any("proxy-authorization" in h.lower() for h in proxy.heads)), proxy.heads)
        self.assertTrue(any(secret("query") in h for h in proxy.heads), "the secrets are really in use")
        self.assertTrue(any(secret("bearer") in h for h in proxy.heads))
        good = token()
        attempts = [
            ("/plain/a?k=" + secret("inquery"), [("Authorization", "Bearer " + good)]),
            ("/plain/a?access_token=" + secret("inquery"), [("Authorization", "Bearer " + good)]),
            ("/plain/a?access_token=" + secret("inquery"), []),
            ("/plain/b", [("Authorization", "Bearer " + secret("nojwt"))]),
            ("/plain/b", [("Authorization", "Bearer a.%s.b" % secret("part"))]),
            ("/plain/c", [("Authorization", "Bearer " + secret("two words").replace("xx", " x"))]),
            ("/plain/d", [("Authorization", "Basic " + base64.b64encode(secret("basic").encode()).decode())]),
            ("/plain/e", [("Cookie", "sid=" + secret("cookie")), ("X-Api-Key", secret("apikey"))]),
            ("/plain/f", [bearer(iss="https://shared.test", signer="hs256")]),
            ("/plain/g", [bearer(iss="https://fetched.test")]),
            ("/tls/h?k=" + secret("inquery"), [("Authorization", "Bearer " + good)]),
            ("/away/i?k=" + secret("inquery"), [("Authorization", "Bearer " + good)]),
            ("/none?k=" + secret("inquery"), []),
            ("/plain/%zz?k=" + secret("inquery"), []),
            ("/plain/j?" + secret("long") + "y" * 20000, []),
        ]
        answers = []
        for target, fields in attempts:
            with Client(gate.port) as c:
                c.request("GET", target, fields + [("Connection", "close")])
                m = c.response()
                answers.append(b"%r %r" % (m.headers, m.body) if m.status != 200 else b"")
        self.assertEqual(len(self.up.requests), 1, "only the first passes")
        answers += self.with_facts(gate)
        attempts += answers[-4:]
        self.assertEqual(self.up.requests[0].one("X-Key"), secret("literal"))
        self.assertTrue(wait_until(lambda: len(gate.log() or []) >= len(attempts)), gate.log())
        verbose = self.get(gate.health, "/readyz?verbose")
        said = {
            "answers": b"\n".join(answers).decode("latin-1"),
            "metrics": gate.metrics(),
            "readyz": verbose,
            "access log": self.text(gate.access),
            "standard output": self.text(os.path.join(gate.dir, "stdout")),
            "standard error": gate.stderr(),
            **self.explained(gate, env),
        }
        for where, text in said.items():
            self.assertSecret(text, where, good, good.split(".")[2], *more)
        self.assertIn("407", said["standard error"] + verbose, "the failing proxy is told, without its password")

    def with_facts(self, gate):
        """What decisions use is logged, and nothing else of a token, a header or a call."""
        call = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "read", "arguments": {"a": secret("call")}}}
        who = bearer(role="staff", note=secret("claim"), nested={"key": secret("nested")})
        answers = []
        for method, target, fields, body in (
            ("POST", "/tools/a?k=" + secret("inquery"), [who], json.dumps(call).encode()),
            ("POST", "/tools/b", [bearer(note=secret("claim"))], json.dumps(call).encode()),
            ("GET", "/plain/debug", [("X-Tollgate-Debug", secret("debug"))], None),
            ("GET", "/plain/debug", [("X-Tollgate-Debug", secret("guess"))], None),
        ):
            with Client(gate.port) as c:
                m = c.request(method, target, fields + [("Connection", "close")], body).response()
                answers.append(b"%r %r" % (m.headers, m.body))
        traced = [b"X-Tollgate-Trace" in a for a in answers]
        self.assertEqual(traced, [False, False, True, False], "the secret is really in use")
        lines = gate.log("/tools/a")
        self.assertEqual((lines[0]["facts"]["claims"]["role"], lines[0]["facts"]["tool"]), (["staff"], "read"))
        return answers

    @staticmethod
    def explained(gate, env):
        """What `why` makes of the log."""
        said = {}
        for args in (("--all",), (gate.log("/tools/a")[0]["request_id"],), (gate.log("/tools/b")[0]["request_id"], "--json")):
            _, out, err = run("why", *args, gate.access, "-c", gate.config_path, env=env, cwd=gate.dir)
            said["why %s" % " ".join(args)] = out + err
        return said

    @staticmethod
    def get(port, target):
        with Client(port) as c:
            c.request("GET", target, [("Connection", "close")])
            return c.response().body.decode()

    @staticmethod
    def text(path):
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def test_print_config(self):
        cfg, env, files, _, more = self.everything()
        for name, text in files.items():
            self.write(name, text)
        for form in ("routes", "upstream"):  # the short form prints by another way
            if form == "upstream":
                route = {k: v for k, v in cfg.pop("routes")[1].items() if k not in ("name", "prefix")}
                cfg["upstream"] = dict(route, set_request_headers={"X-Key": secret("short")})
            path = self.write("tollgate.json", json.dumps(cfg))
            for args in (("check", "--print-config"), ("run", "--print-config"), ("check",)):
                with self.subTest(form=form, args=args):
                    code, out, err = run(*args, "-c", path, env=env)
                    self.assertEqual(code, 0, err)
                    self.assertSecret(out + err, args, *more)
                    if len(args) == 2:
                        for there in ('tls_client_key: "********"', 'X-Key: "********"', "http://********@127.0.0.1:"):
                            self.assertIn(there, out)
                        self.assertIn("http://127.0.0.1:1/keys?********", out)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    # ---- errors ----------------------------------------------------------------------------------------------
    UP = "upstream: {to: 'http://127.0.0.1:1', allow_public_unauthenticated_access: true}\n"
    IDP = "identity_providers: {c: {issuer: 'https://i.test', audiences: [a], %s}}\n"
    WRONG = [
        ("a key of nobody", UP + "password: SECRET\n"),
        ("in a URL of a service", "upstream: 'http://user:SECRET@127.0.0.1:1'\n"),
        ("in a URL of a scheme of nobody", "upstream: 'ftp://user:SECRET@127.0.0.1:1'\n"),
        ("in an issuer", UP + "identity_providers: {c: {issuer: 'https://u:SECRET@i.test', audiences: [a]}}\n"),
        ("in the URL of keys", UP + IDP % "jwks_url: 'https://u:SECRET@i.test/k'"),
        ("a proxy without a scheme", UP + IDP % "proxy: 'u:SECRET@p.test:1'"),
        ("an inline secret", UP + IDP % "secret: SECRET"),
        ("a secret as a key written inline", UP + IDP % "supported_algs: [HS256], jwks: {keys: [{kty: oct, k: SECRET}]}"),
        ("a private key of a bad kind", UP + IDP % "jwks: {keys: [{kty: RSA, n: AQAB, d: SECRET}], keys: [SECRET]}"),
        ("a set that is text", UP + IDP % "jwks: 'SECRET'"),
        ("a short secret file", UP + IDP % "supported_algs: [HS256], secret_file: short"),
        ("a secret file as PEM", UP + IDP % "public_key_file: short"),
        ("a secret file as a set", UP + IDP % "jwks_file: short"),
        ("Redis at no port", UP + "rate_limits: {store: 'redis://:SECRET@127.0.0.1:99999/0'}\n"),
        ("Redis with a bad escape", UP + "rate_limits: {store: 'redis://user:SECRET%zz@127.0.0.1/0'}\n"),
        ("Redis with two passwords", UP + "rate_limits: {store: 'redis://:SECRET@a', store_password: SECRET}\n"),
        ("a header of two lines", UP[:-2] + ", set_request_headers: {X-Key: \"SECRET\\nx\"}}\n"),
        ("a header that is a template", UP[:-2] + ", set_request_headers: {X-Key: 'a$${SECRET}'}}\n"),
        ("a header that is a list", UP[:-2] + ", set_request_headers: {X-Key: [SECRET]}}\n"),
        ("a key for TLS that is none", UP[:-2] + ", tls_client_key: SECRET, tls_client_cert: SECRET}\n"),
        ("a key for TLS that is a list", UP[:-2] + ", tls_client_key: [SECRET]}\n"),
        ("a variable in a number", "workers: ${LEAK}\n" + UP),
        ("a variable in a word", "error_format: ${LEAK}\n" + UP),
        ("a login's", UP + "idp_client_secret: SECRET\nshared_secret: SECRET\n"),
        ("broken YAML", UP + "state_dir: [SECRET\n"),
        ("broken YAML in a text", UP + "state_dir: \"SECRET\n"),
        ("twice", UP + "state_dir: SECRET\nstate_dir: SECRET\n"),
        ("a variable with a message", UP + "state_dir: '${NOT_THERE:?is needed}${LEAK}'\n"),
    ]

    def test_errors_show_no_value(self):
        self.write("short", secret("short", 20))
        for why, text in self.WRONG:
            with self.subTest(why):
                path = self.write("wrong.yaml", text.replace("SECRET", secret("wrong")))
                code, out, err = run("check", "-c", path, env={"LEAK": secret("variable")})
                self.assertEqual(code, 78, out + err)
                self.assertSecret(out + err, why)

    def test_error_of_a_reload(self):
        """The same by way of the log."""
        gate = self.start(config([members(self.up)]))
        gate.write("tollgate.json", json.dumps({**gate.cfg, "password": secret("reload")}))
        gate.reload()
        self.assertTrue(wait_until(lambda: "not reloaded" in gate.stderr()))
        self.assertIn("password is not a setting", gate.stderr())
        self.assertSecret(gate.stderr(), "log")

    # ---- other processes -------------------------------------------------------------------------------------
    def unprivileged(self):
        """What begins a command as a user without rights, and the binary as that user can run it."""
        os.chmod(self.dir, 0o755)
        if os.getuid() != 0:
            return [], BIN
        if not shutil.which("setpriv"):
            self.skipTest("setpriv is not installed")
        binary = shutil.copy(BIN, os.path.join(self.dir, "copy"))
        return ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups"], binary

    def commands(self, binary):
        """Commands that wait for something while they know secrets."""
        self.write("shared", secret("shared"))
        os.chmod(os.path.join(self.dir, "shared"), 0o644)
        cfg = config(
            [members(self.up, set_request_headers={"X-Key": "${HEADER}"})],
            address="127.0.0.1:%d" % free_port(),
            health_address="none",
            access_log={"output": "off"},
        )
        path = self.write("tollgate.json", json.dumps(cfg))
        address = "127.0.0.1:%d" % free_port()
        jwks = self.write("jwks.json", json.dumps({"keys": [mint.public(key())]}))
        return {
            "run": [binary, "run", "-c", path],
            "dev": [binary, "dev", "-a", address, "--health-address", "none"],
            "verify": [binary, "verify", "--jwks", jwks, "--alg", "ES256", "-"],
            "explain": [binary, "explain", "--batch"],
        }

    PEEK = (
        "import sys\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n"
        "        with open('/proc/%s/%s' % (sys.argv[1], name), 'rb') as f:\n"
        "            print(name, f.read(1 << 16))\n"
        "    except OSError as e:\n"
        "        print(name, type(e).__name__)\n"
    )

    def peek(self, begin, pid):
        """What another process of the same user sees of `pid`."""
        p = subprocess.run(
            begin + [sys.executable, "-c", self.PEEK, str(pid), "environ", "maps", "auxv"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=20,
            check=True,
        )
        return p.stdout

    def test_other_processes_of_the_user(self):
        """/proc/PID/environ and the memory are closed to them; of a plain process they are not, so the test sees."""
        begin, binary = self.unprivileged()
        env = environment(HEADER=secret("header"), UBSAN_OPTIONS="", ASAN_OPTIONS="detect_leaks=0")
        for name, args in {"sleep": ["sleep", "60"], **self.commands(binary)}.items():
            with self.subTest(command=name):
                p = subprocess.Popen(
                    begin + args, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
                )
                try:
                    self.assertTrue(wait_until(lambda: self.became(p.pid, args[0])))
                    if name == "sleep":
                        self.assertIn(secret("header"), self.peek(begin, p.pid))
                        continue
                    self.assertTrue(wait_until(lambda: WORD not in self.peek(begin, p.pid), step=0.1))
                    seen = self.peek(begin, p.pid)
                    self.assertEqual(re.findall(r"^(\w+) PermissionError$", seen, re.M), ["environ", "maps", "auxv"])
                    self.assertIsNone(p.poll(), "still there")
                finally:
                    p.kill()
                    p.wait()
                    p.stdin.close()

    @staticmethod
    def became(pid, binary):
        """Whether the process runs `binary` already, and no longer what started it."""
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                return f.read().split(b"\0")[0].decode() == binary
        except OSError:
            return False

    def test_configuration_from_a_descriptor(self):
        """A process that nobody may look into can still open its own descriptors by name."""
        begin, binary = self.unprivileged()
        path = self.write("tollgate.json", json.dumps(config([members(self.up)])))
        p = subprocess.run(
            begin + ["sh", "-c", 'cat "$2" | "$1" check -c /dev/stdin', "sh", binary, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
            env=environment(),
        )
        self.assertEqual((p.returncode, p.stdout), (0, "configuration ok\n"), p.stderr)

    # ---- a core ----------------------------------------------------------------------------------------------
    def aborted(self, args, ready):
        """Runs `args` with cores allowed, kills it by SIGABRT once ready(pid): (core flag, files that are new)."""
        where = tempfile.mkdtemp(dir=self.dir)
        pid = os.fork()
        if pid == 0:
            try:
                os.chdir(where)
                null = os.open("/dev/null", os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(null, fd)
                _, hard = resource.getrlimit(resource.RLIMIT_CORE)
                resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
                os.execvpe(args[0], args, environment(HEADER=secret("header")))
            finally:
                os._exit(127)
        self.assertTrue(wait_until(lambda: ready(pid)))
        os.kill(pid, signal.SIGABRT)
        _, status = os.waitpid(pid, 0)
        self.assertTrue(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT, status)
        return os.WCOREDUMP(status), os.listdir(where)

    def test_no_core(self):
        if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
            self.skipTest("no cores are allowed here at all")
        flag, _ = self.aborted(["sleep", "60"], lambda pid: self.became(pid, "sleep"))
        if not flag:
            self.skipTest("this system writes no cores")
        port = free_port()
        cfg = config(
            [members(self.up, set_request_headers={"X-Key": "${HEADER}"})],
            address="127.0.0.1:%d" % port,
            health_address="none",
            access_log={"output": "off"},
        )
        path = self.write("tollgate.json", json.dumps(cfg))

        def limit_is_gone(pid):
            with open("/proc/%d/limits" % pid, encoding="ascii") as f:
                return re.search(r"Max core file size +0 +0 ", f.read())

        def serving(pid):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
            return limit_is_gone(pid)

        flag, new = self.aborted(command("run", "-c", path), serving)
        self.assertEqual((flag, new), (False, []))


if __name__ == "__main__":
    main()
