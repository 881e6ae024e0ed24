"""Running it: health, metrics, reload, drain, logs, exit statuses."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import (
    BIN,
    Case,
    Client,
    KIND,
    NotStarted,
    PATIENCE,
    Tollgate,
    ask,
    bearer,
    command,
    config,
    environment,
    free_port,
    jwks,
    main,
    members,
    parallel,
    provider,
    public,
    request,
    run,
    token,
    value,
    wait_until,
)


class Health(Case):
    @classmethod
    def routes(cls, up):
        return [public(up)]

    def get(self, path, **kwargs):
        return ask(self.gate.health, "GET", path, **kwargs)

    def test_endpoints(self):
        for path in ("/livez", "/readyz", "/startupz", "/healthz", "/readyz?verbose"):
            with self.subTest(path):
                self.assertStatus(self.get(path), 200)
        self.assertStatus(self.get("/nothing"), 404)
        self.assertStatus(ask(self.gate.health, "HEAD", "/livez"), 200)
        self.assertIn(ask(self.gate.health, "POST", "/livez", body=b"").status, (404, 405))

    def test_data_listener_does_not_serve_them(self):
        """/readyz of the application is the application's."""
        self.assertEqual(json.loads(self.ask("GET", "/readyz").body)["target"], "/readyz")

    def test_healthcheck_command(self):
        self.assertEqual(run("healthcheck", "-c", self.gate.config_path)[0], 0)

    def test_metrics(self):
        for _ in range(3):
            self.ask("GET", "/counted")
        self.ask("GET", "/%zz")
        m = self.get("/metrics")
        self.assertIn("text/plain; version=0.0.4", value(m, "Content-Type"))
        text = m.body.decode()
        self.assertGreaterEqual(self.gate.metric("tollgate_http_requests_total", route="public", code="200"), 3)
        self.assertIn("tollgate_build_info{", text)
        self.assertIn("process_resident_memory_bytes", text)
        self.assertNotIn("/counted", text)
        if shutil.which("promtool"):
            p = subprocess.run(
                ["promtool", "check", "metrics"],
                input=text,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            self.assertEqual((p.returncode, p.stdout.strip()), (0, ""))

    def test_no_core_of_secrets(self):
        """PR_SET_DUMPABLE off: /proc/PID belongs to root though the process does not, and no core is written. It shows
        only where tollgate runs as another user, which it must be able to do anyway."""
        if os.getuid() != 0 or KIND != "release":
            self.skipTest("needs root, and a binary that needs no files of its own")
        os.chmod(self.gate.dir, 0o755)
        copy = shutil.copy(BIN, os.path.join(self.gate.dir, "copy"))
        port = free_port()
        path = self.gate.write(
            "nobody.json",
            {
                **self.gate.cfg,
                "address": "127.0.0.1:%d" % port,
                "health_address": "none",
                "access_log": {"output": "off"},
            },
        )
        p = subprocess.Popen(
            [copy, "run", "-c", path],
            user=65534,
            group=65534,
            extra_groups=[],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            self.assertTrue(wait_until(lambda: answers(port)), "it runs as a user of no rights")
            self.assertEqual(os.stat("/proc/%d/environ" % p.pid).st_uid, 0)
        finally:
            p.terminate()
            p.wait(10)


def answers(port):
    try:
        return ask(port, timeout=1).status
    except (OSError, AssertionError):
        return None


class AccessLog(Case):
    @classmethod
    def routes(cls, up):
        return [public(up, prefix="/public"), members(up)]

    KEYS = {
        "ts",
        "request_id",
        "client_ip",
        "method",
        "path",
        "status",
        "duration_ms",
        "decision",
        "tier",
        "limit",
        "remaining",
    }

    def test_lines(self):
        """One JSON object a request, with who decided what and why."""
        self.ask("GET", "/log1?q=secret", [bearer(sub="logged")])
        self.ask("GET", "/log2")
        one = self.gate.log("/log1")[0]
        self.assertLessEqual(self.KEYS, set(one))
        self.assertEqual((one["status"], one["method"], one["tier"]), (200, "GET", "authenticated"))
        two = self.gate.log("/log2")[0]
        self.assertEqual((two["status"], two["tier"]), (401, "unauthenticated"))
        self.assertIn("reasons", two)

    def test_refused_framing_is_logged_too(self):
        before = len(self.gate.log() or [])
        with self.client() as c:
            c.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n").response()
        lines = self.gate.log(count=before + 1)
        self.assertTrue([x for x in lines if x["status"] == 400])

    def test_no_secret_in_any_log(self):
        """Neither a good nor a bad token, nor a cookie or a query, in the access log or on standard error."""
        good, bad = token(sub="s3cret"), token("ecX256")
        self.ask("GET", "/quiet?access_token=" + bad, [("Authorization", "Bearer " + good), ("Cookie", "sid=c00kie")])
        self.ask("GET", "/quiet?access_token=" + bad, [("Cookie", "sid=c00kie")])
        self.ask("GET", "/quiet", [("Authorization", "Bearer " + bad)])
        self.ask("GET", "/quiet", [("Authorization", "Basic dTpwYXNzd29yZA==")])
        self.gate.log("/quiet", 4)
        with open(self.gate.access, encoding="utf-8") as f:
            everything = f.read() + self.gate.stderr()
        for word in (good, bad, good.split(".")[2], bad.split(".")[1], "c00kie", "dTpwYXNzd29yZA", "access_token"):
            self.assertNotIn(word, everything)

    def test_no_line_can_be_forged(self):
        """Escapes in a path and odd bytes in fields stay within their line."""
        self.ask("GET", "/forge%0a%7b%22status%22:200%7d", [("User-Agent", "a\"}\x80\xff")])
        time.sleep(0.2)
        with open(self.gate.access, "rb") as f:
            for line in f.read().split(b"\n")[:-1]:
                self.assertIsInstance(json.loads(line), dict)

    def test_client_that_went_away_is_logged(self):
        self.up.on("/gone", lambda c, r: (time.sleep(0.5), c.answer()))
        c = self.client().request("GET", "/gone", [bearer()])
        wait_until(lambda: self.up.find("/gone"))
        c.close()
        self.assertTrue(self.gate.log("/gone"))


class Reload(Case):
    @classmethod
    def routes(cls, up):
        return None

    def test_reload_swaps_everything(self):
        """Policies, routes, keys and tiers of the new file hold for the next request."""
        first = config([members(self.up)])
        gate = self.start(first)
        self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), 200)
        self.assertStatus(ask(gate.port, "GET", "/", [bearer("ec384")]), 401)
        cfg = config(
            [
                {
                    "name": "strict",
                    "prefix": "/",
                    "to": self.up.url,
                    "policy": {"allow": {"and": [{"email": {"is": "boss@example.com"}}]}},
                }
            ],
            identity_providers={"test": provider(jwks=jwks("ec384"), supported_algs=["ES384"])},
            rate_limits={
                "tiers": [
                    {"name": "authenticated", "limit": 77, "window": "1m"},
                    {"name": "unauthenticated", "limit": 99, "window": "1m"},
                ]
            },
        )
        gate.configure(cfg)
        gate.reload()
        boss = bearer("ec384", email="boss@example.com")
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", [boss]).status == 200))
        self.assertStatus(ask(gate.port, "GET", "/", [bearer()]), 401, "the old key, also when its token was cached")
        m = ask(gate.port, "GET", "/", [bearer("ec384")])
        self.assertStatus(m, 403)
        self.assertEqual(value(m, "X-RateLimit-Limit"), "77")

    def test_a_kept_connection_sees_the_new_configuration(self):
        gate = self.start(config([public(self.up)]))
        with Client(gate.port) as c:
            self.assertStatus(c.request("GET", "/").response(), 200)
            gate.configure(config([members(self.up)]))
            gate.reload()
            self.assertTrue(wait_until(lambda: ask(gate.port).status == 401))
            self.assertStatus(c.request("GET", "/").response(), 401)

    def test_bad_configuration_keeps_the_old(self):
        """And says why, with the place."""
        gate = self.start(config([public(self.up)]))
        for why, text in (
            ("not YAML", "routes: [\n"),
            ("unknown key", json.dumps({**gate.cfg, "routs": []})),
            ("other address", json.dumps({**gate.cfg, "address": "127.0.0.1:%d" % free_port()})),
            ("other workers", json.dumps({**gate.cfg, "workers": 3})),
            ("empty", ""),
        ):
            with self.subTest(why):
                said = len(gate.stderr())
                gate.write("tollgate.json", text)
                gate.reload()
                self.assertTrue(wait_until(lambda: len(gate.stderr()) > said))
                self.assertStatus(ask(gate.port), 200)
        self.assertEqual(gate.metric("tollgate_config_last_reload_successful"), 0)
        gate.configure(config([public(self.up)]))
        gate.reload()
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_config_last_reload_successful") == 1))

    def test_under_load_nothing_is_lost(self):
        """Reloads in the middle of traffic: every request is answered 200."""
        gate = self.start(config([public(self.up)]))
        stop = threading.Event()

        def reloads():
            i = 0
            while not stop.wait(0.05):
                i += 1
                gate.configure(config([public(self.up, name="r%d" % i)]))
                gate.reload()

        t = threading.Thread(target=reloads)
        t.start()

        def client(n):
            bad = []
            for i in range(15):
                with Client(gate.port) as c:
                    for j in range(20):
                        m = c.request("POST", "/load/%d" % n, body=b"x" * 100).response()
                        if m.status != 200:
                            bad.append((m.status, m.body))
            return bad

        try:
            self.assertEqual(sum(parallel(4, client), []), [])
        finally:
            stop.set()
            t.join()

    def test_secret_files_are_read_again(self):
        """`…_file` is re-read when it changes, without a signal."""
        p = provider(jwks_file="set.json")
        del p["jwks"]
        gate = self.start(config([members(self.up)], identity_providers={"p": p}), files={"set.json": jwks("ec256")})
        self.assertStatus(ask(gate.port, "GET", "/", [bearer("rsaA")]), 401)
        gate.write("set.json", jwks("ec256", "rsaA"))
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", [bearer("rsaA")]).status == 200, 10, 0.2))


class Watching(Case):
    """Files the configuration names, read again without a signal."""

    @classmethod
    def routes(cls, up):
        return None

    def gate_with(self, name, text, **more):
        gate = Tollgate(
            config([public(self.up)], identity_providers={"corp": provider(jwks=None, jwks_file=name, **more)}),
            files={name: text},
        )
        self.addCleanup(gate.stop)
        return gate

    def test_a_file_that_never_rests(self):
        """A writer that goes on and on delays what it writes, but not for ever."""
        gate = self.gate_with("keys.json", jwks())
        stop = threading.Event()

        def rewrite():
            while not stop.wait(0.2):
                gate.write("keys.new", jwks("ec256", "rsaA"))
                os.rename(os.path.join(gate.dir, "keys.new"), os.path.join(gate.dir, "keys.json"))

        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            self.assertTrue(wait_until(lambda: '"reloaded"' in gate.stderr(), 20), gate.stderr())
            self.assertLessEqual(gate.stderr().count('"reloaded"'), 2)
        finally:
            stop.set()
            writer.join()

    def test_a_refusal_is_told_once(self):
        """What is wrong is tried again, and told again only when asked by a signal or when something else is wrong."""
        gate = self.gate_with("keys.json", jwks())
        os.remove(os.path.join(gate.dir, "keys.json"))
        refused = lambda: gate.stderr().count('"not reloaded')
        self.assertTrue(wait_until(lambda: refused() == 1, 8), gate.stderr())
        time.sleep(18)
        self.assertEqual(refused(), 1, gate.stderr())
        gate.reload()
        self.assertTrue(wait_until(lambda: refused() == 2), gate.stderr())
        gate.write("keys.json", "{")
        self.assertTrue(wait_until(lambda: refused() == 3, 8), gate.stderr())
        gate.write("keys.json", jwks())
        self.assertTrue(wait_until(lambda: '"reloaded"' in gate.stderr(), 8), gate.stderr())
        os.remove(os.path.join(gate.dir, "keys.json"))
        self.assertTrue(wait_until(lambda: refused() == 4, 8), "what was mended in between is told again")


class Ending(Case):
    @classmethod
    def routes(cls, up):
        return None

    def test_drain_finishes_what_runs(self):
        """SIGTERM: not ready at once, running requests end well, then exit 0; the data plane answers no 503 for it."""
        self.up.on("/slow", lambda c, r: (time.sleep(1.5), c.answer(200, body=b"done")))
        gate = self.start(config([public(self.up)], drain={"delay": "1s", "timeout": "10s"}))
        with Client(gate.port) as c, Client(gate.port) as idle:
            idle.request("GET", "/").response()
            c.request("GET", "/slow")
            self.assertTrue(wait_until(lambda: self.up.find("/slow")))
            gate.proc.send_signal(signal.SIGTERM)
            self.assertTrue(wait_until(lambda: ask(gate.health, "GET", "/readyz").status == 503, 1))
            self.assertStatus(ask(gate.health, "GET", "/livez"), 200)
            self.assertStatus(ask(gate.port, "GET", "/new"), 200, "accepting goes on for drain.delay")
            m = c.response()
            self.assertEqual((m.status, m.body), (200, b"done"))
            self.assertTrue(idle.ends(5), "an idle connection is closed")
        self.assertEqual(gate.proc.wait(10 * PATIENCE), 0)

    def test_drain_ends_at_its_timeout(self):
        """A request that never ends does not hold the process."""
        self.up.on("/never", lambda c, r: time.sleep(30))
        gate = self.start(config([public(self.up)], drain={"delay": "0s", "timeout": "1s"}))
        with Client(gate.port) as c:
            c.request("GET", "/never")
            wait_until(lambda: self.up.find("/never"))
            t = time.monotonic()
            gate.proc.send_signal(signal.SIGTERM)
            gate.proc.wait(10 * PATIENCE)
            self.assertLess(time.monotonic() - t, 4 * PATIENCE)

    def test_second_signal_stops_now(self):
        self.up.on("/never", lambda c, r: time.sleep(30))
        gate = self.start(config([public(self.up)], drain={"delay": "0s", "timeout": "25s"}))
        with Client(gate.port) as c:
            c.request("GET", "/never")
            wait_until(lambda: self.up.find("/never"))
            gate.proc.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            self.assertIsNone(gate.proc.poll())
            gate.proc.send_signal(signal.SIGTERM)
            t = time.monotonic()
            gate.proc.wait(10 * PATIENCE)
            self.assertLess(time.monotonic() - t, 2 * PATIENCE)

    def test_a_reload_that_waits_is_given_up(self):
        """Keys of a new provider are waited for, but not by who is to stop."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            gate = Tollgate(config([public(self.up)]))
            self.addCleanup(gate.stop)
            issuer = "http://127.0.0.1:%d" % silent.getsockname()[1]
            gate.configure(config([public(self.up)], identity_providers={"new": {"issuer": issuer, "audiences": ["a"]}}))
            gate.reload()
            silent.settimeout(10)
            silent.accept()
            start = time.monotonic()
            gate.proc.send_signal(signal.SIGTERM)
            self.assertEqual(gate.proc.wait(10), 0)
            self.assertLess(time.monotonic() - start, 3.5)

    def test_sigint_too(self):
        gate = self.start(config([public(self.up)]))
        gate.proc.send_signal(signal.SIGINT)
        self.assertEqual(gate.proc.wait(10 * PATIENCE), 0)

    def failing(self, cfg, **kwargs):
        with self.assertRaises(NotStarted) as caught:
            self.start(cfg, **kwargs)
        return caught.exception.status, caught.exception.stderr

    def test_exit_statuses(self):
        """78 configuration, 69 port in use, 77 no permission, 2 usage."""
        self.assertEqual(self.failing(config([public(self.up)], nonsense=1))[0], 78)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            status, said = self.failing(config([public(self.up)], address="127.0.0.1:%d" % s.getsockname()[1]))
            self.assertEqual(status, 69)
            self.assertIn(str(s.getsockname()[1]), said, "the address is named")
        self.assertEqual(run("run", "--no-such-option")[0], 2)
        self.assertEqual(run("no-such-command")[0], 2)
        self.assertEqual(run("run", "-c", "/nonexistent/tollgate.yaml")[0], 78)
        if os.getuid() == 0 and KIND == "release":
            gate = self.start(config([public(self.up)]))
            os.chmod(gate.dir, 0o755)
            copy = os.path.join(gate.dir, "copy")
            shutil.copy(BIN, copy)
            path = gate.write(
                "low.json",
                {**gate.cfg, "address": "127.0.0.1:1", "access_log": {"output": "off"}, "health_address": "none"},
            )
            os.chmod(path, 0o644)
            with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as f:
                if int(f.read()) > 1:
                    p = subprocess.run(
                        [copy, "run", "-c", path],
                        user=65534,
                        group=65534,
                        extra_groups=[],
                        timeout=10,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                    self.assertEqual(p.returncode, 77, p.stderr)

    def test_second_instance(self):
        """SO_REUSEPORT must not let a second instance share the port: 69, and the first goes on."""
        gate = self.start(config([public(self.up)]))
        status, _ = self.failing(config([public(self.up)], address="127.0.0.1:%d" % gate.port))
        self.assertEqual(status, 69)
        self.assertEqual([ask(gate.port).status for _ in range(10)], [200] * 10)

    def test_standard_error_is_a_log(self):
        """The program's own log is JSON lines too."""
        gate = self.start(config([public(self.up)]))
        for line in gate.stderr().splitlines():
            self.assertIsInstance(json.loads(line), dict)


class Addresses(Case):
    @classmethod
    def routes(cls, up):
        return None

    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "s")
            gate = self.start(
                config([public(self.up)], address=["unix:" + path, "127.0.0.1:%d" % (port := free_port())])
            )
            gate.port = port
            self.assertStatus(ask(port), 200)
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(path)
                s.sendall(request("GET", "/", [("Connection", "close")]))
                data = b""
                while piece := s.recv(65536):
                    data += piece
            self.assertTrue(data.startswith(b"HTTP/1.1 200 "))

    def test_yaml_interpolation_and_environment(self):
        """YAML with ${VAR}, and TOLLGATE_ADDRESS over the file."""
        gate = self.start(config([public(self.up)]))
        port = free_port()
        path = gate.write(
            "t.yaml",
            "health_address: none\naccess_log: {output: \"off\"}\naddress: 127.0.0.1:1\n"
            "routes:\n  - {prefix: /, to: \"${UP}\", allow_public_unauthenticated_access: true}\n"
            "realm: \"${REALM:-a b}\"\n",
        )
        p = subprocess.Popen(
            command("run", "-c", path),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment(UP=self.up.url, TOLLGATE_ADDRESS="127.0.0.1:%d" % port),
        )
        try:
            self.assertTrue(wait_until(lambda: answers(port) == 200))
        finally:
            p.terminate()
            p.wait(10)


if __name__ == "__main__":
    main()
