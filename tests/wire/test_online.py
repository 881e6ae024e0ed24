"""Your own provider: what is fetched from it and how (CA, bearer, proxy, time), `init`, `check --online`, and what stands
in front: X-Forwarded-For that nobody believes. The provider is nginx with a private authority's certificate."""

import base64
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import certs
import nginx
import redis_server
from harness import (
    Case,
    PATIENCE,
    TOP,
    ask,
    command,
    config,
    environment,
    free_port,
    jwks,
    main,
    members,
    mint,
    run,
    token,
    wait_until,
)

DISCOVERY = "/.well-known/openid-configuration"
TINYPROXY = shutil.which("tinyproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")


def auth(text):
    return [("Authorization", "Bearer " + text)]


def swap(link, target):
    """As Kubernetes does: the link is replaced by another one in one step."""
    fresh = link + ".fresh"
    os.symlink(target, fresh)
    os.rename(fresh, link)


class Issuer:
    """nginx as an OpenID provider: documents from files, over TLS, perhaps only with a bearer."""

    def __init__(self, directory, leaf, path="", bearer=None, host="localhost"):
        self.dir, self.port = directory, free_port()
        self.base = "https://%s:%d%s" % (host, self.port, path)
        self.docs = os.path.join(directory, "docs")
        os.makedirs(self.docs)
        # A pod's own token and, for a time, its successor: whatever the file `allowed` says when nginx is (re)started.
        http, guard = "", ""
        if bearer:
            http = 'map $http_authorization $let { default 0; %s }' % " ".join('"Bearer %s" 1;' % b for b in bearer)
            guard = 'if ($http_authorization = "") { return 401; } if ($let = 0) { return 403; }'
        server = """listen 127.0.0.1:%d ssl; ssl_certificate %s; ssl_certificate_key %s; root %s; %s
            location / { try_files $uri =404; }""" % (self.port, leaf.chain, leaf.key, self.docs, guard)
        self.say()
        self.publish()
        self.nginx = nginx.Nginx(directory, server, http, self.port)

    def write(self, path, text):
        path = self.docs + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text if isinstance(text, str) else json.dumps(text))
        os.rename(path + ".new", path)

    def say(self, **changes):
        """The discovery document."""
        doc = {
            "issuer": self.base,
            "jwks_uri": "https://localhost:%d/keys" % self.port,
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        self.write(DISCOVERY, {**doc, **changes})

    def publish(self, *names):
        self.write("/keys", jwks(*names))

    def asked(self, uri):
        return [r for r in self.nginx.requests() if r["uri"] == uri]

    def stop(self):
        self.nginx.stop()


class WithIssuer(Case):
    """Every test has a directory, an authority and a leaf for localhost."""

    @classmethod
    def setUpClass(cls):
        nginx.need()
        super().setUpClass()
        cls.made = tempfile.mkdtemp(prefix="tollgate-certs.")
        cls.ca = certs.ca(cls.made, "right", common_name="Corp Root")
        cls.other_ca = certs.ca(cls.made, "wrong", common_name="Another Root")
        cls.leaf = certs.leaf(cls.made, cls.ca, ["localhost", "127.0.0.1"])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.made, ignore_errors=True)
        super().tearDownClass()

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-online.")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def issuer(self, **changes):
        where = tempfile.mkdtemp(dir=self.dir)
        it = Issuer(where, **{"leaf": self.leaf, **changes})
        self.addCleanup(it.stop)
        return it

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def idp(self, at, **changes):
        p = {"issuer": at.base, "audiences": ["app"], "ca_file": self.ca.cert, "leeway": "5s"}
        p.update(changes)
        return {k: v for k, v in p.items() if v is not None}

    def gate_of(self, provider, ready=True, **kwargs):
        return self.start(config([members(self.up)], identity_providers={"corp": provider}), ready=ready, **kwargs)

    def assertServes(self, gate, issuer, signer="ec256", status=200, why=""):
        self.assertStatus(ask(gate.port, "GET", "/", auth(token(signer, iss=issuer.base))), status, why)

    def assertTrouble(self, gate, words):
        self.assertTrue(wait_until(lambda: words in gate.stderr(), 8), gate.stderr())


class Fetching(WithIssuer):
    def test_private_authority(self):
        """ca_file, or SSL_CERT_FILE, or neither: only then it is not trusted."""
        it = self.issuer()
        self.assertServes(self.gate_of(self.idp(it)), it)
        trusting = self.gate_of(self.idp(it, ca_file=None), env={"SSL_CERT_FILE": self.ca.cert})
        self.assertServes(trusting, it, why="SSL_CERT_FILE")
        doubting = self.gate_of(self.idp(it, ca_file=None), ready=False)
        self.assertTrouble(doubting, "certificate not trusted")
        self.assertServes(doubting, it, status=503)

    def test_ca_file_goes_before_the_system(self):
        it = self.issuer()
        gate = self.gate_of(
            self.idp(it, ca_file=self.other_ca.cert), ready=False, env={"SSL_CERT_FILE": self.ca.cert}
        )
        self.assertTrouble(gate, "certificate not trusted")

    def test_another_name(self):
        it = self.issuer(leaf=certs.leaf(self.dir, self.ca, ["elsewhere.test"], "elsewhere"))
        self.assertTrouble(self.gate_of(self.idp(it), ready=False), "certificate not trusted")

    def test_changed_authority(self):
        """After ca_file changed, no connection that the old one vouched for is used again; unchanged, it is."""
        for changed in (False, True):
            with self.subTest(changed=changed):
                it = self.issuer()
                link = self.path("ca-%s.pem" % changed)
                os.symlink(self.ca.cert, link)
                gate = self.gate_of(self.idp(it, ca_file=link))
                self.assertServes(gate, it)
                before = it.asked("/keys")
                if changed:
                    swap(link, self.other_ca.cert)
                    self.assertTrouble(gate, '"reloaded"')
                it.publish("ec256", "rsaA")
                status = ask(gate.port, "GET", "/", auth(token("rsaA", iss=it.base))).status  # unknown kid: refetch
                if changed:
                    self.assertTrouble(gate, "certificate not trusted")
                    self.assertEqual(status, 401)
                    self.assertEqual(it.asked("/keys"), before)
                    self.assertServes(gate, it, why="the keys fetched before serve on")
                else:
                    self.assertEqual(status, 200)
                    self.assertEqual({r["connection"] for r in it.asked("/keys")}, {before[0]["connection"]})

    def test_mended_authority(self):
        """A reload with the right CA is tried at once, not after the back-off."""
        it = self.issuer()
        link = self.path("ca.pem")
        os.symlink(self.other_ca.cert, link)
        gate = self.gate_of(self.idp(it, ca_file=link), ready=False)
        self.assertTrouble(gate, "certificate not trusted")
        swap(link, self.ca.cert)
        self.assertTrue(wait_until(lambda: ask(gate.health, "GET", "/readyz").status == 200, 8))
        self.assertServes(gate, it)

    def test_bearer(self):
        it = self.issuer(bearer=["sesame"])
        good, bad = self.write("good", "sesame\n"), self.write("bad", "open-up\n")
        self.assertServes(self.gate_of(self.idp(it, token_file=good)), it)
        gate = self.gate_of(self.idp(it, token_file=bad), ready=False)
        self.assertTrouble(gate, "status 403")
        self.assertNotIn("open-up", gate.stderr())
        self.assertTrouble(self.gate_of(self.idp(it), ready=False), "status 401")

    def test_time(self):
        """A provider that takes the connection and never answers."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            issuer = "http://127.0.0.1:%d" % silent.getsockname()[1]
            gate = self.gate_of({"issuer": issuer, "audiences": ["app"], "timeout": "300ms"}, ready=False)
            self.assertTrouble(gate, "no whole answer within 300 ms")

    def proxy(self, ports):
        if not TINYPROXY:
            self.skipTest("no tinyproxy here")
        port, log = free_port(), self.path("proxy.log")
        allowed = "".join("ConnectPort %d\n" % p for p in ports)
        conf = self.write(
            "tinyproxy.conf", 'Port %d\nListen 127.0.0.1\nTimeout 30\nLogFile "%s"\n%s' % (port, log, allowed)
        )
        p = subprocess.Popen([TINYPROXY, "-d", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)

        def answers():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                return False

        self.assertTrue(wait_until(answers))
        return "http://127.0.0.1:%d" % port, log

    def test_proxy(self):
        it = self.issuer()
        url, log = self.proxy([it.port])
        self.assertServes(self.gate_of(self.idp(it, proxy=url)), it)
        with open(log, encoding="utf-8") as f:
            self.assertIn("CONNECT localhost:%d" % it.port, f.read())

    def test_proxy_of_the_environment_is_not_used(self):
        it = self.issuer()
        nowhere = "http://127.0.0.1:%d" % free_port()
        env = {"HTTPS_PROXY": nowhere, "https_proxy": nowhere, "ALL_PROXY": nowhere}
        self.assertServes(self.gate_of(self.idp(it), env=env), it)

    def test_proxy_refuses(self):
        it = self.issuer()
        url, _ = self.proxy([1])
        self.assertTrouble(self.gate_of(self.idp(it, proxy=url), ready=False), "the proxy does not let it through")
        gone = "http://127.0.0.1:%d" % free_port()
        self.assertTrouble(self.gate_of(self.idp(it, proxy=gone), ready=False), "the proxy: connection refused")


class Rotation(WithIssuer):
    """Two keys valid at a time, read again when the file changes."""

    def test_public_keys(self):
        pems = {n: certs.openssl("pkey", "-in", self.private(n), "-pubout").decode() for n in ("first", "second")}
        folder = {}
        for name, text in (("1", pems["first"]), ("2", pems["first"] + pems["second"]), ("3", pems["second"])):
            os.makedirs(self.path(name))
            folder[name] = self.write(os.path.join(name, "keys.pem"), text)
        link = self.path("keys.pem")
        os.symlink(folder["1"], link)
        p = {"issuer": "https://issuer.test", "audiences": ["app"], "public_key_file": link}
        gate = self.gate_of(p)
        old, new = self.signed("first"), self.signed("second")

        def both(a, b):
            return wait_until(
                lambda: [ask(gate.port, "GET", "/", auth(t)).status for t in (old, new)] == [a, b], 10, 0.2
            )

        self.assertTrue(both(200, 401))
        swap(link, folder["2"])
        self.assertTrue(both(200, 200), "both are valid during the rotation")
        swap(link, folder["3"])
        self.assertTrue(both(401, 200), "the old one is withdrawn")

    def private(self, name):
        path = self.path(name + ".key")
        if not os.path.exists(path):
            certs.new_key(path)
        return path

    def signed(self, name, **changes):
        args = ["--issuer", "https://issuer.test", "--audience", "app", "--subject", "me", "--expires", "1h"]
        code, out, err = run("mint", "--key", self.private(name), "--alg", "ES256", *args)
        self.assertEqual(code, 0, err)
        return out.strip()

    def test_secrets(self):
        """Two oct keys in a jwks_file: tokens without a kid pass with either."""
        texts = {n: (n * 40)[:40].encode() for n in ("old", "new")}

        def jwk_set(*names):
            return {"keys": [{"kty": "oct", "k": mint.b64u(texts[n])} for n in names]}

        def sign(name):
            path = self.write(name + ".secret", texts[name].decode())
            args = ["--issuer", "https://issuer.test", "--audience", "app", "--subject", "me"]
            code, out, err = run("mint", "--key", path, "--alg", "HS256", *args)
            self.assertEqual(code, 0, err)
            return out.strip()

        where = self.write("secrets.json", json.dumps(jwk_set("old", "new")))
        p = {"issuer": "https://issuer.test", "audiences": ["app"], "supported_algs": ["HS256"], "jwks_file": where}
        gate = self.gate_of(p)
        for name in texts:
            self.assertStatus(ask(gate.port, "GET", "/", auth(sign(name))), 200, name)
        self.write("secrets.json", json.dumps(jwk_set("new")))
        old = sign("old")
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/", auth(old)).status == 401, 10, 0.2))
        self.assertStatus(ask(gate.port, "GET", "/", auth(sign("new"))), 200)


class Kubernetes(WithIssuer):
    """docs/examples/kubernetes-service-account.yaml against an API server played by nginx."""

    ISSUER = "https://kubernetes.default.svc.cluster.local"
    EXAMPLE = os.path.join(TOP, "docs", "examples", "kubernetes-service-account.yaml")

    def pod_files(self, pod_token):
        """The folder as a pod sees it: files by links through ..data, which is swapped as a whole."""
        base = self.path("serviceaccount")
        os.makedirs(base)
        self.turn(base, pod_token, "..1")
        for name in ("ca.crt", "token"):
            os.symlink("..data/" + name, os.path.join(base, name))
        return base

    def turn(self, base, pod_token, version):
        folder = os.path.join(base, version)
        os.makedirs(folder)
        shutil.copy(self.ca.cert, os.path.join(folder, "ca.crt"))
        with open(os.path.join(folder, "token"), "w", encoding="ascii") as f:
            f.write(pod_token)
        swap(os.path.join(base, "..data"), version)

    def api_server(self):
        it = self.issuer(bearer=["pod-token-1", "pod-token-2"])
        uri = "https://localhost:%d/openid/v1/jwks" % it.port
        it.say(issuer=self.ISSUER, jwks_uri=uri, id_token_signing_alg_values_supported=["RS256"])
        it.write("/openid/v1/jwks", jwks("rsaA"))
        return it

    def example(self, it, pod, gate_port, health_port, discovery=False):
        with open(self.EXAMPLE, encoding="utf-8") as f:
            text = f.read()
        for old, new in (
            ("https://kubernetes.default.svc/openid", "https://localhost:%d/openid" % it.port),
            ("/var/run/secrets/kubernetes.io/serviceaccount", pod),
            ("http://127.0.0.1:3000", self.up.url),
            ('"[::]:8080"', "127.0.0.1:%d" % gate_port),
            ('"[::]:9090"', "127.0.0.1:%d" % health_port),
        ):
            self.assertIn(old, text)
            text = text.replace(old, new)
        if discovery:
            it.say(issuer=it.base, jwks_uri="https://localhost:%d/openid/v1/jwks" % it.port)
            text = re.sub(r"^ +jwks_url: .*\n", "", text, flags=re.M).replace(self.ISSUER, it.base)
        return self.write("tollgate.yaml", text)

    @staticmethod
    def account(issuer, name, namespace, signer="rsaA", **changes):
        """A token as TokenRequest makes them."""
        now = int(time.time())
        claims = {
            "iss": issuer,
            "aud": ["orders-api"],
            "sub": "system:serviceaccount:%s:%s" % (namespace, name),
            "email": None,
            "nbf": now,
            "kubernetes.io": {
                "namespace": namespace,
                "pod": {"name": name + "-0", "uid": "0"},
                "serviceaccount": {"name": name, "uid": "0"},
            },
        }
        return token(signer, typ=None, **{**claims, **changes})

    def run_gate(self, path, env=None):
        err = open(self.path("stderr"), "w+", encoding="utf-8")
        p = subprocess.Popen(
            command("run", "-c", path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
            env=environment(**(env or {})),
        )

        def end():
            p.terminate()
            status = p.wait(20 * PATIENCE)
            err.seek(0)
            said = err.read()
            err.close()
            self.assertEqual(status, 0, said)
            for secret in ("pod-token-1", "pod-token-2"):
                self.assertNotIn(secret, said)

        self.addCleanup(end)
        return p

    def check_accounts(self, port, issuer):
        for name, namespace, target, status in (
            ("checkout", "shop", "/", 200),
            ("checkout", "shop", "/refunds", 403),
            ("backoffice", "shop", "/refunds", 200),
            ("checkout", "attic", "/", 403),
            ("backoffice", "attic", "/refunds", 403),
        ):
            m = ask(port, "GET", target, auth(self.account(issuer, name, namespace)))
            self.assertStatus(m, status, "%s of %s: %s" % (name, namespace, target))
        self.assertStatus(ask(port, "GET", "/"), 401)
        wrong = self.account(issuer, "checkout", "shop", aud=["payments-api"])
        self.assertStatus(ask(port, "GET", "/", auth(wrong)), 401, "meant for another service")

    def both_ways(self, discovery):
        it = self.api_server()
        pod = self.pod_files("pod-token-1")
        port, health = free_port(), free_port()
        path = self.example(it, pod, port, health, discovery)
        self.run_gate(path)

        def ready():
            try:
                return ask(health, "GET", "/readyz", timeout=1).status == 200
            except (OSError, AssertionError):
                return False

        self.assertTrue(wait_until(ready, 10))
        issuer = it.base if discovery else self.ISSUER
        self.check_accounts(port, issuer)
        self.assertEqual({r["status"] for r in it.asked("/openid/v1/jwks")}, {200})
        return it, pod, port, issuer, path

    def test_accounts(self):
        it, pod, port, issuer, path = self.both_ways(discovery=False)
        # The pod's token is rotated; the next look for keys (an unknown kid) must bring the new one.
        self.turn(pod, "pod-token-3", "..2")
        before = len(it.asked("/openid/v1/jwks"))
        ask(port, "GET", "/", auth(self.account(issuer, "checkout", "shop", "rsaB")))
        self.assertTrue(wait_until(lambda: len(it.asked("/openid/v1/jwks")) > before))
        self.assertEqual(it.asked("/openid/v1/jwks")[-1]["status"], 403, "read anew: this one is not known there")
        self.turn(pod, "pod-token-2", "..3")
        self.assertTrue(
            wait_until(lambda: it.asked("/openid/v1/jwks")[-1]["status"] == 200, 15), "the next one is taken"
        )
        self.assertStatus(ask(port, "GET", "/", auth(self.account(issuer, "checkout", "shop"))), 200)
        code, out, err = run("check", "-c", path, "--online")
        self.assertEqual(code, 0, out + err)
        self.assertIn("1 usable key at https://localhost", out)

    def test_discovery(self):
        self.both_ways(discovery=True)


class Init(WithIssuer):
    def init(self, *args, issuer=None, cwd=None, **kwargs):
        base = ["--issuer", issuer, "--audience", "app", "--upstream", self.up.url]
        return run("init", *base, *args, cwd=cwd or self.dir, **kwargs)

    def test_writes_what_serves(self):
        it = self.issuer()
        shutil.copy(self.ca.cert, self.path("corp.pem"))
        code, out, err = self.init("--ca-file", "corp.pem", "--name", "corp", issuer=it.base)
        self.assertEqual(code, 0, out + err)
        self.assertIn("1 usable key, ES256", out)
        self.assertIn("tollgate run -c tollgate.yaml", out)
        self.assertEqual(os.stat(self.path("tollgate.yaml")).st_mode & 0o777, 0o640)
        for more in ([], ["--online"]):
            code, out, err = run("check", "-c", "tollgate.yaml", *more, cwd=self.dir)
            self.assertEqual((code, out.split("\n")[0]), (0, "configuration ok"), out + err)
        with open(self.path("tollgate.yaml"), encoding="utf-8") as f:
            text = f.read()
        self.assertIn("supported_algs: [ES256]", text)
        self.assertIn('ca_file: "corp.pem"', text)
        code, out, err = self.init("--ca-file", "corp.pem", issuer=it.base)
        self.assertEqual(code, 1)
        self.assertIn("--force", err)
        with open(self.path("tollgate.yaml"), encoding="utf-8") as f:
            self.assertEqual(f.read(), text)
        code, out, err = self.init("--ca-file", "corp.pem", "--force", "--name", "other", issuer=it.base)
        self.assertEqual(code, 0, out + err)
        with open(self.path("tollgate.yaml"), encoding="utf-8") as f:
            self.assertIn('"other":', f.read())

    def test_elsewhere(self):
        """The CA's path is seen from here on the command line, and from the file in the file."""
        it = self.issuer()
        os.makedirs(self.path("etc"))
        shutil.copy(self.ca.cert, self.path("corp.pem"))
        code, out, err = self.init("--ca-file", "corp.pem", "-o", "etc/gate.yaml", issuer=it.base)
        self.assertEqual(code, 0, out + err)
        self.assertEqual(run("check", "-c", "etc/gate.yaml", cwd=self.dir)[0], 0)

    def test_to_standard_output(self):
        it = self.issuer()
        code, out, err = self.init("--ca-file", self.ca.cert, "-o", "-", issuer=it.base)
        self.assertEqual(code, 0, err)
        self.assertTrue(out.startswith("# tollgate.yaml"))
        self.assertNotIn("Next:", out)
        self.assertFalse(os.path.exists(self.path("tollgate.yaml")))

    def assertRefused(self, want, words, *args, issuer):
        code, out, err = self.init(*args, issuer=issuer)
        self.assertEqual(code, want, out + err)
        for w in words:
            self.assertIn(w, err)
        self.assertFalse(os.path.exists(self.path("tollgate.yaml")))

    def test_mistakes(self):
        it = self.issuer()
        ca = ["--ca-file", self.ca.cert]
        self.assertRefused(
            1, ["a slash too many", "write issuer: %s\n" % it.base], *ca, issuer=it.base + "/"
        )
        it.say(issuer=it.base + "/")
        self.assertRefused(1, ["a slash is missing", "write issuer: %s/" % it.base], *ca, issuer=it.base)
        it.say(issuer="https://elsewhere.test")
        self.assertRefused(1, ["https://elsewhere.test"], *ca, issuer=it.base)
        it.say()
        self.assertRefused(69, ["certificate not trusted", '"Corp Root"', "ca_file", "--offline"], issuer=it.base)
        self.assertRefused(
            69, ["not trusted", "does not vouch for"], "--ca-file", self.other_ca.cert, issuer=it.base
        )
        it.write("/keys", {"keys": []})
        self.assertRefused(1, ["no usable key"], *ca, issuer=it.base)
        it.write("/keys", "<html>")
        self.assertRefused(1, ["/keys"], *ca, issuer=it.base)
        nobody = "https://127.0.0.1:%d" % free_port()
        self.assertRefused(69, ["connection refused", "--offline"], issuer=nobody)
        self.assertRefused(69, ["name is not known"], issuer="https://nobody.invalid")
        self.assertRefused(2, ["--upstream: "], *ca, "--offline", "--upstream", "ftp://x", issuer=it.base)
        os.remove(it.docs + DISCOVERY)
        self.assertRefused(1, ["404", "is the issuer right?"], *ca, issuer=it.base)

    def test_offline(self):
        code, out, err = self.init("--offline", issuer="https://nobody.invalid")
        self.assertEqual(code, 0, err)
        self.assertEqual(run("check", "-c", "tollgate.yaml", cwd=self.dir)[0], 0)

    def test_options(self):
        """A mistake is told by the option's name; what is written is what was meant."""
        for more, words in (
            (["--audience", "app\n"], "--audience: there is a control character"),
            (["--audience", "a\u0085b"], "--audience: there is a control character"),
            (["--upstream", "127.0.0.1:3000"], "--upstream: a URL starts with http://"),
            (["--upstream", "http://u:secret@app"], "--upstream: a URL here holds no user name"),
            (["--issuer", "idp.example.com"], "--issuer: not an https URL"),
            (["--issuer", "http://idp.test"], "--allow-http"),
        ):
            with self.subTest(more):
                self.assertRefused(2, [words], "--offline", *more, issuer="https://idp.test")
        code, out, err = self.init("--offline", "--allow-http", issuer="http://idp.test")
        self.assertEqual(code, 0, err)
        self.assertEqual(run("check", "-c", "tollgate.yaml", cwd=self.dir)[0], 0)

    def test_quoting(self):
        """Nothing in an option is YAML, a comment or a variable; a key is none anyway."""
        code, out, err = self.init("--offline", "--name", "$${x}", issuer="https://idp.test")
        self.assertEqual(code, 0, err)
        with open(self.path("tollgate.yaml"), encoding="utf-8") as f:
            self.assertIn('  "$${x}":', f.read())
        for audience in ('"', "a: b # c", "${HOME}", "$$x", "\\n", "'", "*a", "- x", "{}"):
            with self.subTest(audience):
                code, out, err = self.init("--offline", "-f", "--audience", audience, issuer="https://idp.test")
                self.assertEqual(code, 0, err)
                code, out, err = run("check", "-c", "tollgate.yaml", "--print-config", cwd=self.dir)
                self.assertEqual(code, 0, err)
                shown = re.search(r"audiences:\n +- (.*)", out)[1]
                shown = json.loads(shown) if shown.startswith('"') else shown
                self.assertEqual(shown.replace("$$", "$"), audience)

    def test_what_is_not_replaced(self):
        """--force replaces files; a link stays a link, and a pipe or a device is left alone."""
        name = self.path("tollgate.yaml")
        os.mkfifo(name)
        for more in ([], ["--force"]):
            code, out, err = self.init("--offline", *more, issuer="https://idp.test", timeout=10)
            self.assertEqual(code, 1, err)
        self.assertIn("is no file that could be replaced", err)
        os.remove(name)
        os.symlink("/dev/null", name)
        code, out, err = self.init("--offline", "--force", issuer="https://idp.test")
        self.assertEqual((code, os.path.islink(name)), (1, True), err)
        os.remove(name)
        os.symlink(self.write("real.yaml", "old"), name)
        code, out, err = self.init("--offline", "--force", issuer="https://idp.test")
        self.assertEqual((code, os.path.islink(name)), (0, True), err)
        with open(self.path("real.yaml"), encoding="utf-8") as f:
            self.assertIn("idp.test", f.read())

    def test_link_to_the_authority(self):
        """What Kubernetes swaps is the link: the file must name it, not what it points to today."""
        os.makedirs(self.path("etc"))
        shutil.copy(self.ca.cert, self.path("today.pem"))
        os.symlink("today.pem", self.path("corp.pem"))
        args = ["--offline", "--ca-file", "corp.pem", "-o", "etc/gate.yaml"]
        code, out, err = self.init(*args, issuer="https://idp.test")
        self.assertEqual(code, 0, err)
        with open(self.path("etc/gate.yaml"), encoding="utf-8") as f:
            self.assertIn('ca_file: "%s"' % self.path("corp.pem"), f.read())

    def test_bearer(self):
        it = self.issuer(bearer=["sesame"])
        ca = ["--ca-file", self.ca.cert]
        self.assertRefused(1, ["401", "token_file"], *ca, issuer=it.base)
        code, out, err = self.init(*ca, "--token-file", self.write("t", "sesame"), issuer=it.base)
        self.assertEqual(code, 0, err)
        self.assertNotIn("sesame", out + err)

    def test_rsa_without_alg(self):
        """An RSA key that names no algorithm fits six; the provider's words choose, else RS256."""
        it = self.issuer()
        bare = {k: v for k, v in jwks("rsaA")["keys"][0].items() if k != "alg"}
        it.write("/keys", {"keys": [bare]})
        for said, want in ((["PS256", "RS512", "HS256"], "RS512, PS256"), (["ES256"], "RS256"), ([], "RS256")):
            it.say(id_token_signing_alg_values_supported=said)
            code, out, err = self.init("--ca-file", self.ca.cert, "-o", "-", issuer=it.base)
            self.assertEqual(code, 0, err)
            self.assertIn("supported_algs: [%s]" % want, out)


class Dated(http.server.BaseHTTPRequestHandler):
    """A provider whose clock is wrong by `server.ahead` seconds, perhaps behind a cache."""

    def do_GET(self):
        base = "http://127.0.0.1:%d" % self.server.server_address[1]
        body = jwks() if self.path == "/keys" else {"issuer": base, "jwks_uri": base + "/keys"}
        data = json.dumps(body).encode()
        self.send_response(200)
        if self.server.age:
            self.send_header("Age", str(self.server.age))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + self.server.ahead)

    def log_message(self, *_):
        pass


class Asked(http.server.BaseHTTPRequestHandler):
    """An introspection and a token endpoint that take the client `c` with the secret `right`."""

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        who = self.headers.get("Authorization")
        self.server.seen.append((self.path, form.get("token", [""])[0]))
        if who != "Basic " + base64.b64encode(b"c:right").decode():
            return self.say(401, {"error": "invalid_client"})
        if self.path == "/token":
            return self.say(200, {"access_token": "own", "token_type": "Bearer", "expires_in": 600})
        active = self.server.believes_all or form["token"] == ["known"]
        return self.say(200, {"active": active, "sub": "u", "exp": int(time.time()) + 60} if active else {"active": False})

    def say(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class CheckOnline(WithIssuer):
    def check(self, cfg, *args, stdin=None, env=None):
        path = self.write("tollgate.json", json.dumps({"health_address": "none", **cfg}))
        return run("check", "-c", path, "--online", *args, stdin=stdin, env=env, timeout=40)

    def cfg(self, provider, to=None, **route):
        routes = [members(to or self.up.url, **route)]
        return {"identity_providers": {"corp": provider}, "routes": routes}

    def assertSays(self, result, code, *lines):
        got, out, err = result
        self.assertEqual(got, code, out + err)
        for line in lines:
            self.assertTrue(any(re.search(line, x) for x in out.splitlines()), "%r in:\n%s" % (line, out))
        for x in out.splitlines()[1:-1]:
            self.assertRegex(x, r"^(ok|warning|FAILED) +\S.*: .")
        return out

    def test_all_is_well(self):
        it = self.issuer()
        self.assertSays(
            self.check(self.cfg(self.idp(it))),
            0,
            "^configuration ok$",
            "^ok .*provider corp: .*discovery document",
            "^ok .*provider corp: 1 usable key at https://localhost:%d/keys, for ES256$" % it.port,
            "^ok .*provider corp: its clock",
            "^ok .*upstream %s: connects$" % re.escape(self.up.url),
            "^all is well$",
        )

    def test_provider(self):
        it = self.issuer()
        cases = [
            ({"ca_file": None}, 'certificate not trusted.*signed by "Corp Root".*ca_file'),
            ({"ca_file": self.other_ca.cert}, 'signed by "Corp Root".*does not vouch'),
            ({"issuer": it.base + "/"}, "a slash too many.*write issuer: %s$" % it.base),
            ({"supported_algs": ["RS256"]}, "none of its 1 key is for supported_algs.*ES256, allowed is RS256"),
            ({"jwks_url": it.base + "/nothing?key=hidden"}, "404.*is the URL right"),
            ({"token_file": self.path("absent")}, "token_file: .*absent"),
            ({"issuer": "https://127.0.0.1:%d" % free_port()}, "connection refused"),
        ]
        for changes, words in cases:
            with self.subTest(words):
                out = self.assertSays(self.check(self.cfg(self.idp(it, **changes))), 69, "^FAILED .*corp: .*" + words)
                self.assertNotIn("hidden", out)
        plain = {"issuer": "https://127.0.0.1:%d" % self.dated().server_address[1]}
        self.assertSays(self.check(self.cfg(self.idp(it, **plain))), 69, "^FAILED .*speaks no TLS: is it an http://")
        plain = {"issuer": it.base.replace("https:", "http:"), "ca_file": None}
        self.assertSays(self.check(self.cfg(self.idp(it, **plain))), 69, "^FAILED .*status 400: is it an https://")
        code, out, err = self.check(self.cfg(self.idp(it, ca_file=self.leaf.key)))
        self.assertEqual(code, 78)
        self.assertIn("corp.ca_file: %s: holds no PEM certificate" % self.leaf.key, err)
        it.write("/keys", {"keys": [{"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]})
        self.assertSays(self.check(self.cfg(self.idp(it))), 69, "^FAILED .*no usable key.*key 1.*key 2")
        it.write("/keys", "\n<!doctype html>")
        self.assertSays(self.check(self.cfg(self.idp(it))), 69, "^FAILED .*/keys: a web page, where JSON is expected")

    def test_certificates(self):
        for words, made in (
            ("expired.*renew", certs.leaf(self.dir, self.ca, ["localhost"], "old", end=-0.1)),
            ("it is for elsewhere.test", certs.leaf(self.dir, self.ca, ["elsewhere.test"], "else")),
            ("self-signed.*", certs.leaf(self.dir, None, ["localhost"], "self")),
            (r"it is for n\d*.long.test, .*\.test, \.\.\.: use", certs.leaf(
                self.dir, self.ca, ["n%d.long.test" % i for i in range(40)], "many")),
        ):
            with self.subTest(words):
                it = self.issuer(leaf=made)
                self.assertSays(self.check(self.cfg(self.idp(it))), 69, "^FAILED .*not trusted.*" + words)

    def dated(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dated)
        server.ahead = server.age = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def test_clock(self):
        server = self.dated()
        p = {"issuer": "http://127.0.0.1:%d" % server.server_address[1], "audiences": ["app"], "leeway": "30s"}
        for ahead, age, words in (
            (0, 0, "^ok .*clock"),
            (10, 0, "^ok .*clock"),
            (45, 0, "^warning .*its clock is 4[4-6] s ahead of this machine"),
            (-45, 0, "^warning .*this machine's clock is 4[4-6] s ahead of the provider"),
            (-1200, 1200, "^ok .*clock"),
        ):
            with self.subTest(ahead=ahead, age=age):
                server.ahead, server.age = ahead, age
                self.assertSays(self.check(self.cfg(p)), 0, words)

    def test_upstream(self):
        it = self.issuer()
        p = self.idp(it)
        refused = "http://127.0.0.1:%d" % free_port()
        self.assertSays(self.check(self.cfg(p, refused)), 69, "^FAILED .*upstream %s: connection refused" % refused)
        self.assertSays(
            self.check(self.cfg(p, "http://nobody.invalid:80")), 69, "^FAILED .*upstream .*host name is not known"
        )
        socket_path = self.path("app.sock")
        self.assertSays(self.check(self.cfg(p, "unix:" + socket_path)), 69, "^FAILED .*there is no such socket")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(socket_path)
            s.listen()
            self.assertSays(self.check(self.cfg(p, "unix:" + socket_path)), 0, "^ok .*upstream unix:.*: connects")

    def test_upstream_with_tls(self):
        it = self.issuer()
        url = "https://localhost:%d" % it.port
        p = self.idp(it)
        trusted = {"tls_custom_ca_file": self.ca.cert}
        self.assertSays(self.check(self.cfg(p, url, **trusted)), 0, "^ok .*upstream %s: connects with TLSv1.[23]" % url)
        self.assertSays(self.check(self.cfg(p, url)), 69, "^FAILED .*upstream .*not trusted.*tls_custom_ca_file")
        self.assertSays(
            self.check(self.cfg(p, url, tls_upstream_server_name="app.test", **trusted)),
            69,
            "^FAILED .*upstream .*tls_upstream_server_name",
        )
        plain = self.up.url.replace("http:", "https:")
        self.assertSays(self.check(self.cfg(p, plain, **trusted)), 69, "^FAILED .*upstream %s: " % plain)

    def test_upstream_is_silent(self):
        """Nothing answers the connection attempt itself: the accept queue is full."""
        it = self.issuer()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(0)
            fillers = []
            for _ in range(4):
                c = socket.socket()
                c.setblocking(False)
                c.connect_ex(s.getsockname())
                fillers.append(c)
            time.sleep(0.1)
            cfg = {**self.cfg(self.idp(it), "http://127.0.0.1:%d" % s.getsockname()[1]), "timeouts": {"connect": "300ms"}}
            self.assertSays(self.check(cfg), 69, "^FAILED .*no connection within 300 ms")
            for c in fillers:
                c.close()

    def store(self, url, **more):
        limits = {"store": url, "store_secret": "0123456789abcdef0123456789abcdef", **more}
        route = {"prefix": "/", "to": self.up.url, "allow_public_unauthenticated_access": True}
        return self.check({"routes": [route], "rate_limits": limits})

    def test_store(self):
        def plain(r):
            return "redis://127.0.0.1:%d/3" % r.port

        with redis_server.Redis(free_port(), password="hunter2") as r:
            out = self.assertSays(
                self.store(r.url(password="hunter2", database=3)), 0, "^ok .*store %s: answers" % plain(r)
            )
            out += self.assertSays(
                self.store(r.url(password="hunter3", database=3)), 69, "^FAILED .*store %s: AUTH.*WRONGPASS" % plain(r)
            )
            out += self.assertSays(
                self.store(plain(r)), 69, "^FAILED .*store %s: .*NOAUTH.*store_password_file" % plain(r)
            )
            r.read_only()
            out += self.assertSays(
                self.store(r.url(password="hunter2", database=3)), 69, "^FAILED .*store %s: READONLY.*primary" % plain(r)
            )
            r.kill()
            out += self.assertSays(
                self.store(r.url(password="hunter2", database=3), when_store_fails="deny"),
                69,
                "^FAILED .*store %s: cannot connect: Connection refused; meanwhile nobody is admitted" % plain(r),
            )
            self.assertNotIn("hunter", out)

    def test_store_with_tls(self):
        port = free_port()
        lines = ["tls-port %d" % port, "tls-auth-clients no", "tls-ca-cert-file " + self.ca.cert]
        lines += ["tls-cert-file " + self.leaf.cert, "tls-key-file " + self.leaf.key]
        url = "rediss://localhost:%d" % port
        with redis_server.Redis(free_port(), lines=lines) as r:
            self.assertSays(self.store(url, store_ca_file=self.ca.cert), 0, "^ok .*store %s: answers" % url)
            self.assertSays(self.store(url), 69, "^FAILED .*store %s: no TLS: .*not trusted.*store_ca_file" % url)
            named = "rediss://127.0.0.2:%d" % port       # where it is, and not what its certificate says
            r.ask("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2")
            self.assertSays(
                self.store(named, store_ca_file=self.ca.cert), 69, "^FAILED .*store %s: no TLS: .*is not for" % named
            )

    def test_token(self):
        it = self.issuer()
        now = int(time.time())
        cfg = self.cfg(self.idp(it))
        self.assertSays(self.check(cfg, "--token", "-", stdin=token(iss=it.base) + "\n"), 0, "^ok .*token: good for provider corp")
        for words, text in (
            (r'audience found: \["billing","mail"\]; audience wanted: "app"', token(iss=it.base, aud=["billing", "mail"])),
            ("audience found: none; audience wanted", token(iss=it.base, aud=None)),
            ("issuer found: \"%s/\"; issuer configured: \"%s\".*a slash" % (it.base, it.base), token(iss=it.base + "/")),
            ("issuer found: \"https://b.test\"; issuer configured", token(iss="https://b.test")),
            (r"expired; exp is .*Z, 1h\d* ?(0s|1s|2s|3s)? ?ago|expired; exp is .*, 1h.* ago; the leeway is 5 s", token(iss=it.base, exp=now - 3600)),
            ("not valid yet.*10m|not valid yet.*9m", token(iss=it.base, nbf=now + 600)),
            ("no key has the token's \"kid\".*has 1 key now, for ES256", token("rsaA", iss=it.base)),
            ("signed with HS256, supported_algs allows RS256, ES256, EdDSA", token("hs256", iss=it.base)),
            ("an opaque token", "abcdef"),
            ("it has 2.... bytes, limits.token allows 16384", token(iss=it.base, more="x" * 16384)),
        ):
            with self.subTest(words):
                out = self.assertSays(self.check(cfg, "--token", text), 1, "^FAILED .*token: .*" + words)
                self.assertNotIn(text, out)
                if "." in text:
                    self.assertNotIn(text.split(".")[2], out)

    def test_token_as_pasted(self):
        it = self.issuer()
        cfg = self.cfg(self.idp(it))
        for text in ("%s\r\n", "  %s  \n\n"):
            self.assertSays(self.check(cfg, "--token", "-", stdin=text % token(iss=it.base)), 0, "^ok .*token: good")
        for text in ("", " \n"):
            self.assertSays(self.check(cfg, "--token", "-", stdin=text), 1, "^FAILED .*token: there is none")

    def test_token_not_judged(self):
        it = self.issuer()
        cfg = self.cfg(self.idp(it, ca_file=None))
        self.assertSays(self.check(cfg, "--token", token(iss=it.base)), 69, "^FAILED .*token: not judged")

    def asked(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked)
        server.seen, server.believes_all = [], False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, "http://127.0.0.1:%d" % server.server_address[1]

    def introspecting(self, it, url, secret="right"):
        who = {"client_id": "c", "client_secret_file": self.write("secret-" + secret, secret)}
        jwks_file = self.write("k.json", json.dumps(jwks()))
        return {"issuer": "https://idp.test", "audiences": ["app"], "jwks_file": jwks_file, "allow_http": True,
                "introspection": {"url": url + "/introspect", **who}}

    def test_introspection(self):
        """One question about a token that nobody gave out tells whether our credential is taken."""
        server, url = self.asked()
        cfg = self.cfg(self.introspecting(None, url))
        out = self.assertSays(self.check(cfg), 0, "^ok .*introspection corp: the provider takes tollgate's credential")
        self.assertEqual([p for p, _ in server.seen], ["/introspect"])
        self.assertRegex(server.seen[0][1], r"^tollgate-check-[0-9a-f]{32}$")
        self.assertNotIn(server.seen[0][1], out)
        wrong = self.cfg(self.introspecting(None, url, "wrong"))
        out = self.assertSays(self.check(wrong), 69, "^FAILED .*introspection corp: .*own credential .status 401")
        self.assertNotIn("wrong", out)
        away = self.cfg(self.introspecting(None, "http://127.0.0.1:%d" % free_port()))
        self.assertSays(self.check(away), 69, "^FAILED .*introspection corp: .*refused|^FAILED .*introspection corp: .*connect")
        server.believes_all = True
        self.assertSays(self.check(cfg), 69, "^FAILED .*introspection corp: .*random token that it is active")

    def test_opaque_token(self):
        _, url = self.asked()
        cfg = self.cfg(self.introspecting(None, url))
        self.assertSays(self.check(cfg, "--token", "known"), 0, "^ok .*token: an opaque token, and provider corp says")
        self.assertSays(self.check(cfg, "--token", "unknown"), 1, "^FAILED .*token: an opaque token.*not active")
        wrong = self.cfg(self.introspecting(None, url, "wrong"))
        self.assertSays(self.check(wrong, "--token", "known"), 69, "^FAILED .*token: not judged: provider corp: ")

    def test_token_of_its_own(self):
        it = self.issuer()
        cfg = {**self.cfg(self.idp(it)), "personal_access_tokens": {"enabled": True}, "state_dir": self.dir}
        self.assertSays(self.check(cfg), 0, "^ok .*personal_access_tokens: none was made yet")
        code, made, err = run("token", "create", "--name", "n", "-c", self.path("tollgate.json"))
        self.assertEqual(code, 0, err)
        self.assertSays(self.check(cfg), 0, "^ok .*personal_access_tokens: kept in %s/tollgate.db" % self.dir)
        self.assertSays(self.check(cfg, "--token", made.strip()), 0, "^warning .*token: not judged: a personal access token")
        self.assertSays(self.check(cfg, "--token", made.strip()[:-1]), 1, "^FAILED .*token: .*mistyped or cut")
        self.assertSays(self.check(cfg, "--token", token(iss="urn:tollgate:pat")), 1, "^FAILED .*token: issuer found: \"urn")

    def test_upstream_auth(self):
        it = self.issuer()
        server, url = self.asked()
        own = {"grant": "client_credentials", "token_url": url + "/token", "client_id": "c", "allow_http": True,
               "client_secret_file": self.write("right", "right")}
        cfg = self.cfg(self.idp(it), upstream_auth=own, name="orders")
        cfg["routes"].append(members(self.up.url, prefix="/two", name="two", upstream_auth=own))
        out = self.assertSays(self.check(cfg), 0, r"^ok .*upstream_auth orders: .*a token for (59\d|600) s$")
        self.assertNotIn("upstream_auth two", out)
        self.assertEqual([p for p, _ in server.seen], ["/token"], "equal settings are one credential")
        bad = dict(own, client_secret_file=self.write("wrong", "hidden"))
        out = self.assertSays(self.check(self.cfg(self.idp(it), upstream_auth=bad, name="orders")), 69,
                              "^FAILED .*upstream_auth orders: .*no token; .*status 401, invalid_client$")
        self.assertNotIn("hidden", out)
        filed = {"token_file": self.write("own", "static")}
        out = self.assertSays(self.check(self.cfg(self.idp(it), upstream_auth=filed, name="orders")), 0,
                              "^ok .*upstream_auth orders: own: a token$")
        self.assertNotIn("static", out)

    def test_files(self):
        it = self.issuer()
        feed = self.write("feed", "".join(json.dumps({"iss": it.base, "jti": str(i), "exp": 4e9}) + "\n" for i in range(3)))
        pem = self.path("sign.pem")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True, capture_output=True)
        os.chmod(pem, 0o600)
        cfg = {**self.cfg(self.idp(it)), "revoked_tokens_file": feed, "signing_key_file": pem}
        self.assertSays(self.check(cfg), 0, "^ok .*revoked_tokens_file: 3 entries$",
                        "^ok .*signing_key: 1 key is published at /.well-known/pomerium/jwks.json, for EdDSA$")
        cfg = self.cfg(self.idp(it), pass_identity_headers=True)
        self.assertSays(self.check(cfg), 0, "^warning .*signing_key: none is given, and there is no state_dir")
        self.assertSays(self.check({**cfg, "state_dir": self.dir}), 0, "^ok .*signing_key: none is given: one is made")

    def test_broken_configuration(self):
        code, out, err = self.check({})
        self.assertEqual((code, out), (78, ""), err)

    def test_hostile_words(self):
        """What a provider says reaches the terminal without its control characters."""
        it = self.issuer()
        it.say(issuer="https://x\u001b[2J\u009b31m\nok       provider corp: fine")
        code, out, err = self.check(self.cfg(self.idp(it)))
        self.assertEqual(code, 69)
        self.assertNotRegex(out.replace("\n", ""), "[\x00-\x1f\x7f-\x9f]")
        self.assertNotRegex(out, "(?m)^ok .*fine")
        path = "/k\u009b31m\u202e"
        keys = jwks()["keys"] + [{"kty": "RSA", "kid": "\u009b31m\u202e", "n": "AQAB", "e": "AQAB"}]
        it.say(jwks_uri="https://localhost:%d%s" % (it.port, path))
        it.write(path, {"keys": keys})
        out = self.assertSays(
            self.check(self.cfg(self.idp(it)), "--token", token(iss="https://\u009b31m\u202e.test")),
            1,
            r"1 usable key at .*/k\?\?31m",
            "1 of its keys cannot be used",
            "issuer found",
        )
        self.assertNotRegex(out.replace("\n", ""), "[\x00-\x1f\x7f-\x9f\u202e]")


class Forwarded(Case):
    """X-Forwarded-For from somebody who is not believed."""

    FIELD = ("X-Forwarded-For", "203.0.113.9")

    @classmethod
    def routes(cls, up):
        return [members(up)]

    def count(self, gate):
        return gate.metric("tollgate_untrusted_forwarded_total")

    def online(self, gate):
        return run("check", "-c", gate.config_path, "--online")[1]

    def test_counted_and_told_once(self):
        gate = self.start(config([members(self.up)]))
        good = auth(token())
        ask(gate.port, "GET", "/", good)
        self.assertEqual(self.count(gate), 0)
        self.assertIn("no X-Forwarded-For came", self.online(gate))
        for fields in ([self.FIELD], [("Forwarded", "for=203.0.113.9")], [self.FIELD, ("Forwarded", "for=a")]):
            self.assertStatus(ask(gate.port, "GET", "/", good + fields), 200)
        self.assertEqual(self.count(gate), 3)
        told = [x for x in gate.stderr().splitlines() if "trusted_proxies" in x]
        self.assertEqual(len(told), 1, told)
        self.assertIn('"peer":"127.0.0.1"', told[0])
        out = self.online(gate)
        self.assertRegex(out, "(?m)^warning +running: 3 requests .*trusted_proxies")

    def test_believed(self):
        gate = self.start(config([members(self.up)], trusted_proxies=["127.0.0.0/8"]))
        ask(gate.port, "GET", "/", auth(token()) + [self.FIELD])
        self.assertEqual(self.count(gate), 0)
        self.assertNotIn("one rate-limit bucket", gate.stderr())


if __name__ == "__main__":
    main()
