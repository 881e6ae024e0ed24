"""What the wire tests stand on: the real binary in a directory of its own, a raw client, tokens, and the last checks.

    TOLLGATE=path/to/tollgate [TOLLGATE_KIND=release|asan|tsan] python3 tests/wire/test_proxy.py [-v] [Class.test]

Python's standard library only, loopback only. `Case` gives every test class one upstream and one tollgate; a test that
needs another configuration starts its own. When a tollgate is stopped, its exit status must be 0 and its standard error
free of sanitizer reports, else the test fails.
"""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
CONFORMANCE = os.path.join(TOP, "tests", "conformance")
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(CONFORMANCE, "lib"))
import mint  # noqa: E402  (signing in pure Python)
import wire  # noqa: E402  (the strict message parser)
from upstream import Upstream  # noqa: E402,F401

BIN = os.environ.get("TOLLGATE", os.path.join(TOP, "build", "release", "tollgate"))
KIND = os.environ.get("TOLLGATE_KIND", "release")
SLOW = KIND != "release"  # a sanitizer build: sizes shrink, deadlines grow
PATIENCE = 4.0 if SLOW else 1.0
REPORT = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer|Assertion|tg_assert"
)
EVERY_LIMIT = {
    "tiers": [
        {"name": "authenticated", "limit": 1000000000, "window": "1m"},
        {"name": "unauthenticated", "limit": 1000000000, "window": "1m"},
    ]
}

with open(os.path.join(CONFORMANCE, "jwt", "keys.json"), encoding="utf-8") as _f:
    KEYS = json.load(_f)
ISSUER, AUDIENCE = "https://issuer.test", "app"


# ---- ports and files --------------------------------------------------------------------------------------------
_next_port = 10000 + os.getpid() * 61 % 20000  # below the ephemeral range, and apart from parallel test programs


def free_port():
    global _next_port
    while True:
        _next_port = 10000 + (_next_port - 10000 + 1) % 20000
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", _next_port))
                return _next_port
            except OSError:
                continue


def wait_until(what, limit=5.0, step=0.01):
    """The first true value of what(), or its last value after `limit` seconds."""
    end = time.monotonic() + limit * PATIENCE
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


# ---- tokens -----------------------------------------------------------------------------------------------------
def key(name="ec256"):
    """A test key (JWK with its private part), with a kid."""
    return dict(KEYS[name], kid=name)


def jwks(*names):
    return {"keys": [mint.public(key(n)) for n in names or ("ec256",)]}


ALG_OF = {
    "ec256": "ES256",
    "ec384": "ES384",
    "ec521": "ES512",
    "ed": "EdDSA",
    "rsaA": "RS256",
    "rsaB": "RS256",
    "hs256": "HS256",
    "ecX256": "ES256",
}


def token(signer="ec256", alg=None, typ="JWT", header=None, **claims):
    """A compact JWS. Claims default to a good token of `user`; a claim given as None is left out."""
    now = int(time.time())
    body = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user", "email": "user@example.com", "iat": now, "exp": now + 600}
    body.update(claims)
    jwk = key(signer)
    alg = alg or ALG_OF[signer]
    head = {"alg": alg, "typ": typ, "kid": jwk["kid"]}
    head.update(header or {})
    return mint.jws(
        jwk, {k: v for k, v in head.items() if v is not None}, {k: v for k, v in body.items() if v is not None}, alg=alg
    )


def bearer(*args, **kwargs):
    return ("Authorization", "Bearer " + token(*args, **kwargs))


# ---- configuration ----------------------------------------------------------------------------------------------
def provider(**changes):
    return {
        **{
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "supported_algs": ["ES256", "RS256", "EdDSA"],
            "jwks": jwks("ec256", "rsaA", "ed"),
            "leeway": "0s",
        },
        **changes,
    }


def public(upstream, **changes):
    """A route that everybody passes."""
    to = upstream.url if isinstance(upstream, Upstream) else upstream
    where = {} if "path" in changes else {"prefix": "/"}
    return {**{"name": "public", "to": to, "allow_public_unauthenticated_access": True}, **where, **changes}


def members(upstream, **changes):
    """A route for whoever proves an identity."""
    to = upstream.url if isinstance(upstream, Upstream) else upstream
    where = {} if "path" in changes else {"prefix": "/"}
    return {**{"name": "members", "to": to, "allow_any_authenticated_user": True}, **where, **changes}


def config(routes, **changes):
    """A whole configuration; a change to None removes the key."""
    cfg = {
        "workers": 2,
        "identity_providers": {"test": provider()},
        "routes": routes,
        "rate_limits": EVERY_LIMIT,
        "drain": {"delay": "0s", "timeout": "5s"},
    }
    cfg.update(changes)
    return {k: v for k, v in cfg.items() if v is not None}


# ---- the binary -------------------------------------------------------------------------------------------------
def environment(**more):
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
        "TSAN_OPTIONS": "exitcode=98:halt_on_error=0:second_deadlock_stack=1",
    }
    env.update(more)
    return env


def command(*args):
    """ThreadSanitizer's shadow memory does not fit every address layout of a newer kernel: no randomisation for it."""
    return (["setarch", "-R"] if KIND == "tsan" else []) + [BIN] + list(args)


def run(*args, stdin=None, timeout=20, env=None, cwd=None):
    """A command of tollgate to its end: (exit status, stdout, stderr)."""
    p = subprocess.run(
        command(*args),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout * PATIENCE,
        env=environment(**(env or {})),
        cwd=cwd,
    )
    if REPORT.search(p.stderr):
        raise AssertionError("sanitizer report of %s:\n%s" % (args, p.stderr[-6000:]))
    return p.returncode, p.stdout, p.stderr


# ---- the access log, explained ----------------------------------------------------------------------------------
WHY_BYTES = 16 << 20  # of a log: more would only be more of the same
explained = {"lines": 0, "judged": 0, "equal": 0, "early": 0, "other files": 0, "not known": 0, "no configuration": 0}
explained_refusals = set()


def explain_log(config_path, log, env=None, cwd=None):
    """`tollgate why --all` on a log; each line must come out as it was decided. {} when the files are gone by now."""
    with open(log, "rb") as f:
        text = f.read(WHY_BYTES)
    text = text[: text.rfind(b"\n") + 1]
    if not text:
        return {}
    args = ("why", "--all", "--json", "-c", config_path, "-")
    code, out, err = run(*args, stdin=text.decode("utf-8"), env=env, cwd=cwd)
    if code == 78:  # a test has broken the configuration, or removed a file it names
        explained["no configuration"] += text.count(b"\n")
        return {}
    if not out:
        raise AssertionError("why --all: exit %d\n%s" % (code, err))
    said = json.loads(out)
    if code != 0 or said["differ"] or said["unexplained"] or said["foreign"]:
        raise AssertionError("why --all, exit %d: lines that are not explained\n%s" % (code, out[:8000]))
    for name, member in (("other files", "differ_since"), ("not known", "unknown")):
        explained[name] += said[member]
    for name in ("lines", "judged", "equal", "early"):
        explained[name] += said[name]
    explained_refusals.update(re.findall(r'"refused":"([\w-]+)"', text.decode("utf-8")))
    return said


class NotStarted(Exception):
    def __init__(self, status, stderr):
        super().__init__("exit %s: %s" % (status, stderr[-3000:]))
        self.status, self.stderr = status, stderr


class Tollgate:
    """A running `tollgate run`. `cfg`: without addresses; they are filled in unless given."""

    def __init__(self, cfg, ready=True, env=None, files=None):
        self.dir = tempfile.mkdtemp(prefix="tollgate-wire.")
        self.config_path = os.path.join(self.dir, "tollgate.json")
        self.port, self.health = free_port(), free_port()
        self.access = os.path.join(self.dir, "access.log")
        self.fixed = {
            "address": "127.0.0.1:%d" % self.port,
            "health_address": "127.0.0.1:%d" % self.health,
            "access_log": {"output": self.access},
        }
        for name, text in (files or {}).items():
            self.write(name, text)
        self.configure(cfg)
        self.env, self.explained = env, None
        self.err = open(os.path.join(self.dir, "stderr"), "w+", encoding="utf-8", errors="replace")
        self.out = open(os.path.join(self.dir, "stdout"), "w+", encoding="utf-8", errors="replace")
        self.proc = subprocess.Popen(
            command("run", "-c", self.config_path),
            stdout=self.out,
            stderr=self.err,
            stdin=subprocess.DEVNULL,
            env=environment(**(env or {})),
            cwd=self.dir,
        )
        self.pid = self.proc.pid
        if not wait_until(lambda: self.proc.poll() is not None or self._up(ready), 10):
            self.proc.kill()
            self.proc.wait()
            raise NotStarted("never ready", self.stderr())
        if self.proc.poll() is not None:
            raise NotStarted(self.proc.returncode, self.stderr())

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text if isinstance(text, str) else json.dumps(text))
        return path

    def configure(self, cfg):
        """Writes the configuration; a running process reads it at SIGHUP."""
        self.cfg = {**self.fixed, **cfg}
        self.write("tollgate.json", json.dumps(self.cfg, indent=1))

    def _up(self, ready):
        try:
            if ready and self.cfg["health_address"] != "none":
                return ask(self.health, "GET", "/readyz", timeout=1).status == 200
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except (OSError, AssertionError):
            return False

    def stderr(self):
        with open(os.path.join(self.dir, "stderr"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def reload(self):
        self.proc.send_signal(signal.SIGHUP)

    def log(self, path=None, count=1):
        """The access log's lines (of one path), once there are `count` of them."""

        def lines():
            try:
                with open(self.access, encoding="utf-8") as f:
                    whole = [json.loads(x) for x in f.read().split("\n")[:-1] if x]
            except FileNotFoundError:
                return []
            found = [x for x in whole if path is None or x.get("path") == path]
            return found if len(found) >= count else []

        return wait_until(lines, 3) if count else lines()

    def peak_kib(self):
        with open("/proc/%d/status" % self.pid, encoding="ascii", errors="replace") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])

    def metrics(self):
        return ask(self.health, "GET", "/metrics").body.decode()

    def metric(self, name, **labels):
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            m = re.match(r"^(\w+)(?:\{(.*)\})? (\S+)$", line)
            if m and m[1] == name and all('%s="%s"' % kv in (m[2] or "") for kv in labels.items()):
                total += float(m[3])
        return total

    def explain(self):
        """What `why --all` makes of the log as it is now; looked at again only when more was written."""
        size = os.path.getsize(self.access) if os.path.isfile(self.access) else 0
        if size and (not self.explained or self.explained[0] != size):
            self.explained = size, explain_log(self.config_path, self.access, self.env, self.dir)
        return self.explained[1] if self.explained else {}

    def stop(self, expect=0):
        """SIGTERM, and the last checks."""
        try:
            if self.proc.poll() is None:
                self.proc.send_signal(signal.SIGTERM)
            try:
                status = self.proc.wait(20 * PATIENCE)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise AssertionError("tollgate did not stop within 20 s of SIGTERM:\n" + self.stderr()[-3000:])
            said = self.stderr()
            if REPORT.search(said):
                raise AssertionError("a report on standard error:\n" + said[-8000:])
            if status != expect:
                raise AssertionError("exit status %d instead of %d:\n%s" % (status, expect, said[-3000:]))
            self.explain()
        finally:
            self.err.close()
            self.out.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop()


# ---- the raw client ---------------------------------------------------------------------------------------------
class Client:
    """One TCP connection, byte by byte."""

    def __init__(self, port, address="127.0.0.1", source=None, receive_buffer=None, timeout=10.0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.socket(family)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.timeout = timeout * PATIENCE
        self.sock.settimeout(self.timeout)
        self.sock.connect((address, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf, self.eof, self.was_reset = b"", False, False

    def send(self, data):
        """Sends; a peer that has already answered and closed is no error here."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.was_reset = True
        return self

    def request(self, method="GET", target="/", fields=(), body=None, host="app.test"):
        return self.send(request(method, target, fields, body, host))

    def fill(self, timeout=None):
        """Reads once. False at the end of the stream."""
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            self.eof = self.was_reset = True
            return False
        if not data:
            self.eof = True
            return False
        self.buf += data
        return True

    def response(self, head=False, interim=False):
        """The next response; interim ones (1xx, but 101) are skipped unless asked for. It must be well-formed."""
        while True:
            m, used = wire.parse(self.buf, response=True, head=head, eof=self.eof) if self.buf else (None, 0)
            if m and m.complete:
                self.buf = self.buf[used:]
                assert not m.anomalies, "malformed response: %r in %r" % (m.anomalies, m.raw[:300])
                if m.status == 101 or m.status >= 200 or interim:
                    return m
                continue
            if self.eof:
                raise AssertionError(
                    "the connection ended %s"
                    % ("inside a response: %r" % self.buf[:300] if self.buf else "without a response")
                )
            try:
                self.fill()
            except socket.timeout:
                raise AssertionError("no whole response in time; so far %r" % self.buf[:300])

    def until(self, needle):
        while needle not in self.buf:
            if not self.fill():
                raise AssertionError("the end came before %r: %r" % (needle, self.buf[:300]))
        return self.buf

    def ends(self, limit=3.0):
        """True when the peer closes within the limit and sends nothing more."""
        end = time.monotonic() + limit * PATIENCE
        while not self.eof and time.monotonic() < end:
            try:
                self.fill(max(0.01, end - time.monotonic()))
            except socket.timeout:
                break
        return self.eof and not self.buf

    def silent(self, seconds=0.2):
        """True when nothing arrives and nothing ends for a while."""
        if self.buf or self.eof:
            return False
        try:
            self.fill(seconds)
            return False
        except socket.timeout:
            return True

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def tls_context(trust, cert=None, version=None, alpn=("http/1.1",)):
    """For a client that trusts the file `trust` and shows `cert` (certs.Files); `version`: "1.2" or "1.3" alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trust)
    if cert:
        context.load_cert_chain(cert.chain, cert.key)
    if version:
        only = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
        context.minimum_version = context.maximum_version = only
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class TlsClient(Client):
    """The same over TLS. An alert is the end of the stream; `alert` is then what it said."""

    def __init__(self, port, context, name="app.test", session=None, **kwargs):
        super().__init__(port, **kwargs)
        self.alert = None
        try:
            self.sock = context.wrap_socket(self.sock, server_hostname=name, session=session)
        except BaseException:
            self.sock.close()
            raise

    def fill(self, timeout=None):
        try:
            return super().fill(timeout)
        except ssl.SSLError as e:
            self.eof, self.alert = True, str(e)
            return False

    def send(self, data):
        try:
            return super().send(data)
        except ssl.SSLError as e:
            self.alert = str(e)
            return self


def request(method="GET", target="/", fields=(), body=None, host="app.test"):
    """The bytes of one request. `body`: bytes, sent with Content-Length."""
    head = "%s %s HTTP/1.1\r\n" % (method, target)
    if host is not None:
        head += "Host: %s\r\n" % host
    head += "".join("%s: %s\r\n" % f for f in fields)
    if body is not None:
        head += "Content-Length: %d\r\n" % len(body)
    return head.encode("latin-1") + b"\r\n" + (body or b"")


def ask(port, method="GET", target="/", fields=(), body=None, host="app.test", timeout=10.0, **connect):
    """One request on a connection of its own."""
    with Client(port, timeout=timeout, **connect) as c:
        c.request(method, target, list(fields) + [("Connection", "close")], body, host)
        return c.response(head=method == "HEAD")


def ask_tls(
    port, context, method="GET", target="/", fields=(), body=None, name="app.test", host="app.test", **kwargs
):  # fmt: skip
    """The same over TLS; `name`: what is asked for by SNI and expected in the certificate."""
    with TlsClient(port, context, name, **kwargs) as c:
        c.request(method, target, list(fields) + [("Connection", "close")], body, host)
        return c.response(head=method == "HEAD")


def curl(*args, timeout=20):
    """curl's (exit status, stdout, stderr)."""
    p = subprocess.run(
        ["curl", "-sS", "--max-time", str(int(timeout * PATIENCE))] + list(args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout * PATIENCE + 5,
    )
    return p.returncode, p.stdout, p.stderr


def value(message, name):
    """The one value of a field of a response, as text; None when absent. Twice is a failure."""
    values = message.get(name.encode())
    assert len(values) <= 1, "%s came %d times" % (name, len(values))
    return values[0].decode("latin-1") if values else None


def parallel(count, work):
    """work(i) on `count` threads at once; their results in order. An exception in one is raised here."""
    results, errors = [None] * count, []

    def body(i):
        try:
            results[i] = work(i)
        except BaseException as e:  # noqa: B902  (raised again below)
            errors.append(e)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


# ---- a test class with one upstream and one tollgate ---------------------------------------------------------------
class Case(unittest.TestCase):
    """`routes(up)` and `settings(up)` of a class say what its tollgate runs with; neither: no shared tollgate."""

    tolerate_problems = False  # a class whose upstream is meant to see odd requests

    @classmethod
    def routes(cls, up):
        return None

    @classmethod
    def settings(cls, up):
        return {}

    @classmethod
    def setUpClass(cls):
        if not os.access(BIN, os.X_OK):
            raise unittest.SkipTest("no binary at " + BIN)
        cls.up = Upstream()
        routes = cls.routes(cls.up)
        cls.gate = Tollgate(config(routes, **cls.settings(cls.up))) if routes else None
        cls.port = cls.gate.port if cls.gate else None

    @classmethod
    def tearDownClass(cls):
        try:
            if cls.gate:
                cls.gate.stop()
        finally:
            cls.up.stop()

    def tearDown(self):
        if not self.tolerate_problems:
            self.assertEqual(self.up.problems, [], "what the upstream got breaks RFC 9112")
        if self.gate and self.gate.proc.poll() is not None:
            self.fail("tollgate ended: exit %d\n%s" % (self.gate.proc.returncode, self.gate.stderr()[-8000:]))

    def start(self, cfg, **kwargs):
        """A tollgate for this test alone; stopped and checked at its end."""
        gate = Tollgate(cfg, **kwargs)
        self.addCleanup(gate.stop)
        return gate

    def upstream(self, **kwargs):
        up = Upstream(**kwargs)
        self.addCleanup(up.stop)
        return up

    def ask(self, method="GET", target="/", fields=(), body=None, host="app.test", **kwargs):
        return ask(self.port, method, target, fields, body, host, **kwargs)

    def client(self, **kwargs):
        c = Client(self.port, **kwargs)
        self.addCleanup(c.close)
        return c

    def assertStatus(self, message, status, why=""):
        self.assertEqual(message.status, status, "%s; body %r" % (why, message.body[:300]))

    def assertProblem(self, message, status, word, details=None):
        """A refusal of our own in the default error format."""
        self.assertStatus(message, status)
        body = json.loads(message.body)
        self.assertEqual((body["code"], body["message"]), (status, word))
        if details is not None:
            self.assertEqual(body["details"], details)
        self.assertEqual(value(message, "Content-Type"), "application/json")


class Counting(unittest.TextTestResult):
    def __init__(self, *args):
        super().__init__(*args)
        self.passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main():
    """unittest's own command line; ends with `N passed, N failed, N skipped`."""
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    program = unittest.main(
        module="__main__",
        exit=False,
        testRunner=unittest.TextTestRunner(resultclass=Counting, stream=sys.stdout, verbosity=1),
    )
    r = program.result
    bad = len(r.failures) + len(r.errors) + len(r.unexpectedSuccesses)
    for test, why in r.skipped:
        print("skipped: %s: %s" % (test, why))
    print("log lines explained: " + ", ".join("%s %d" % x for x in explained.items()))
    print("refusals explained: " + " ".join(sorted(explained_refusals)))
    print("%d passed, %d failed, %d skipped" % (r.passed, bad, len(r.skipped)))
    sys.stdout.flush()
    os._exit(1 if bad else 0)  # daemon threads of an upstream must not hold the program
