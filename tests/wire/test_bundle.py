"""bundle: policies and routes from one signed file, by a file that is swapped or a URL, and the commands that make it."""

import base64
import http.server
import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time

from harness import Case, NotStarted, Tollgate, ask, bearer, config, free_port, main, run, wait_until

ALLOW_STAFF = {"allow": {"and": [{"domain": {"is": "example.com"}}]}}
ALLOW_NOBODY = {"allow": {"and": [{"domain": {"is": "nobody.test"}}]}}


class Keys:
    """Ed25519 keys as `openssl genpkey` makes them, and bundles signed with them."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-bundle.")

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name) + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.path(name) + ".new", self.path(name))
        return self.path(name)

    def make(self, name, algorithm="ed25519"):
        """NAME.pem and NAME.pub"""
        private, public = self.path(name + ".pem"), self.path(name + ".pub")
        subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
        return public

    def bundle(self, document, sequence, key="a", expires="1h"):
        code, payload, err = run(
            "bundle", "build", "--sequence", str(sequence), "--expires", expires, "-", stdin=json.dumps(document)
        )
        assert code == 0, err
        code, text, err = run("bundle", "sign", "--key", self.path(key + ".pem"), "-", stdin=payload)
        assert code == 0, err
        return text

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def document(up, prefix="/s1", ppl=ALLOW_STAFF, **changes):
    """One policy, and one route for it under `prefix`."""
    route = {"from": "https://app.test", "prefix": prefix, "to": up.url, "policies": ["staff"], **changes}
    return {"policies": [{"name": "staff", "ppl": ppl}], "routes": [route]}


class WithKeys(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = Keys()
        cls.keys.make("a")
        cls.keys.make("b")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.keys.remove()

    def folder(self):
        path = tempfile.mkdtemp(prefix="tollgate-bundle.")
        self.addCleanup(shutil.rmtree, path, True)
        return path

    def settings(self, **changes):
        bundle = {"public_key_file": self.keys.path("a.pub"), **changes}
        return {k: v for k, v in bundle.items() if v is not None}

    def put(self, path, text):
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def status(self, gate, target, fields=None):
        return ask(gate.port, "GET", target, [bearer()] if fields is None else fields).status

    def details(self, gate):
        return ask(gate.health, "GET", "/readyz?verbose").body.decode()

    def wait_status(self, gate, target, status):
        wait_until(lambda: self.status(gate, target) == status, 5)
        self.assertEqual(self.status(gate, target), status, gate.stderr()[-2000:])

    def wait_told(self, gate, words):
        """In the log and in the details of readiness."""
        self.assertTrue(wait_until(lambda: words in gate.stderr(), 5), "%s\n%s" % (words, gate.stderr()[-3000:]))
        self.assertTrue(wait_until(lambda: words in self.details(gate), 3), self.details(gate))


class Alone(WithKeys):
    """Nothing but a signed file: no control plane, no state, no route of its own."""

    def test_a_new_process_enforces(self):
        path = self.keys.write("alone.bundle", self.keys.bundle(document(self.up), 1))
        gate = self.start(config(None, bundle=self.settings(file=path)))
        self.assertEqual(self.status(gate, "/s1/x"), 200)
        self.assertEqual(self.status(gate, "/s1/x", []), 401)
        self.assertEqual(self.status(gate, "/s1/x", [bearer(email="eve@evil.test")]), 403)
        self.assertEqual(self.status(gate, "/other"), 404)
        self.assertIn("sequence 1, signed by ", self.details(gate))
        self.assertEqual(gate.metric("tollgate_policy_set_sequence"), 1)

    def test_without_any_bundle_nothing_is_served(self):
        path = self.keys.path("late.bundle")
        gate = self.start(config(None, bundle=self.settings(file=path)), ready=False)
        self.assertTrue(wait_until(lambda: ask(gate.health, "GET", "/readyz").status == 503, 5))
        self.assertEqual(self.status(gate, "/s1"), 503)
        self.wait_told(gate, "No such file")
        self.put(path, self.keys.bundle(document(self.up), 1))
        self.wait_status(gate, "/s1", 200)
        self.assertTrue(wait_until(lambda: ask(gate.health, "GET", "/readyz").status == 200, 3))

    def test_routes_of_the_file_may_use_its_policies(self):
        path = self.keys.write("beside.bundle", self.keys.bundle(document(self.up), 1))
        own = {"name": "own", "prefix": "/own", "to": self.up.url, "policies": ["staff"]}
        gate = self.start(config([own], bundle=self.settings(file=path)))
        self.assertEqual(self.status(gate, "/own"), 200)
        self.assertEqual(self.status(gate, "/own", [bearer(email="eve@evil.test")]), 403)
        self.assertEqual(self.status(gate, "/s1"), 200)

    def test_where_routes_may_lead_is_the_machines_to_say(self):
        far = document(self.up)
        far["routes"][0]["to"] = "http://169.254.169.254/"
        path = self.keys.write("far.bundle", self.keys.bundle(far, 1))
        gate = self.start(config(None, bundle=self.settings(file=path)), ready=False)
        self.assertTrue(wait_until(lambda: "169.254.169.254" in gate.stderr(), 5), gate.stderr())
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 503)
        self.assertEqual(self.status(gate, "/s1"), 503)

    def test_the_keys_are_checked_at_the_start(self):
        self.keys.make("x", "x25519")
        for name in ("x.pub", "missing.pub"):
            with self.assertRaises(NotStarted) as refused:
                Tollgate(config(None, bundle=self.settings(file="b", public_key_file=self.keys.path(name))))
            self.assertEqual(refused.exception.status, 78)
            self.assertIn("public_key_file", refused.exception.stderr)


class Refused(WithKeys):
    """Whatever is wrong with a bundle, the last good set stays in force, and it is said why."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.state = tempfile.mkdtemp(prefix="tollgate-state.")
        cls.path = cls.keys.write("live.bundle", cls.keys.bundle(document(cls.up), 5))
        cls.gate = Tollgate(
            config(
                None,
                state_dir=cls.state,
                bundle={"public_key_file": cls.keys.path("a.pub"), "file": cls.path, "interval": "1s"},
            )
        )

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.state, ignore_errors=True)

    def refuse(self, text, words):
        self.put(self.path, text)
        self.wait_told(self.gate, words)
        self.assertEqual(self.status(self.gate, "/s1"), 200)
        self.assertEqual(self.status(self.gate, "/s2"), 404)
        self.assertEqual(self.gate.metric("tollgate_policy_set_sequence"), 5)
        self.assertEqual(ask(self.gate.health, "GET", "/readyz").status, 200)

    def next(self, sequence=6, **kwargs):
        return self.keys.bundle(document(self.up, "/s2"), sequence, **kwargs)

    def test_a_flipped_bit(self):
        head, payload, signature = self.next().strip().split(".")
        raw = bytearray(base64.urlsafe_b64decode(payload + "=="))
        raw[raw.index(b"/s2") + 2] ^= 1
        payload = base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
        self.refuse(".".join((head, payload, signature)), "the signature is wrong")

    def test_a_stripped_signature(self):
        head, payload, _ = self.next().strip().split(".")
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        self.refuse("%s.%s." % (none, payload), "no bundle")
        self.refuse("%s.%s." % (head, payload), "the signature is wrong")

    def test_another_key(self):
        self.refuse(self.next(key="b"), "a key that is not trusted here")

    def test_an_older_sequence(self):
        self.refuse(self.next(4), "its sequence 4 is older than 5")

    def test_the_same_sequence_with_other_content(self):
        self.refuse(self.next(5), "its sequence 5 was taken already")

    def test_an_expired_one(self):
        text = self.next(expires="1s")
        time.sleep(1.1)
        self.refuse(text, "it expired at")

    def test_what_is_no_bundle(self):
        self.refuse("{}", "it is not signed")
        self.refuse("", "no bundle")

    def test_one_that_this_machine_does_not_take(self):
        far = document(self.up, "/s2")
        far["routes"][0]["to"] = "http://10.1.2.3/"
        self.refuse(self.keys.bundle(far, 6), "10.1.2.3")
        offers = self.gate.metric("tollgate_policy_set_offers_total", result="refused")
        self.assertGreaterEqual(offers, 1)

    def test_a_file_that_vanishes(self):
        os.unlink(self.path)
        self.wait_told(self.gate, "No such file")
        self.assertEqual(self.status(self.gate, "/s1"), 200)


class Followed(WithKeys):
    def test_a_newer_one_is_taken(self):
        path = self.keys.write("newer.bundle", self.keys.bundle(document(self.up), 1))
        gate = self.start(config(None, bundle=self.settings(file=path)))
        self.assertEqual(self.status(gate, "/s1"), 200)
        self.put(path, self.keys.bundle(document(self.up, "/s2"), 2))
        self.wait_status(gate, "/s2", 200)
        self.assertEqual(self.status(gate, "/s1"), 404)
        self.put(path, self.keys.bundle(document(self.up, "/s2", ALLOW_NOBODY), 3))
        self.wait_status(gate, "/s2", 403)

    def test_a_config_map_is_swapped(self):
        """Kubernetes: FOLDER/policies.bundle -> ..data/policies.bundle, and ..data is renamed over."""
        folder = self.folder()
        for number in (1, 2):
            os.mkdir(os.path.join(folder, "..%d" % number))
            self.put(
                os.path.join(folder, "..%d" % number, "policies.bundle"),
                self.keys.bundle(document(self.up, "/s%d" % number), number),
            )
        os.symlink("..1", os.path.join(folder, "..data"))
        os.symlink("..data/policies.bundle", os.path.join(folder, "policies.bundle"))
        gate = self.start(config(None, bundle=self.settings(file=os.path.join(folder, "policies.bundle"))))
        self.assertEqual(self.status(gate, "/s1"), 200)
        os.symlink("..2", os.path.join(folder, "..tmp"))
        os.rename(os.path.join(folder, "..tmp"), os.path.join(folder, "..data"))
        shutil.rmtree(os.path.join(folder, "..1"))
        self.wait_status(gate, "/s2", 200)

    def test_a_restart_does_not_go_back(self):
        state, path = self.folder(), self.keys.path("back.bundle")
        newer, older = self.keys.bundle(document(self.up, "/s2"), 2), self.keys.bundle(document(self.up, "/s1"), 1)
        cfg = config(None, state_dir=state, bundle=self.settings(file=path))
        self.put(path, newer)
        with Tollgate(cfg) as gate:
            self.assertEqual(self.status(gate, "/s2"), 200)
        self.put(path, older)
        with Tollgate(cfg) as gate:
            self.assertEqual(self.status(gate, "/s2"), 200)
            self.wait_told(gate, "its sequence 1 is older than 2")
            self.assertEqual(self.status(gate, "/s1"), 404)
        os.unlink(path)
        with Tollgate(cfg) as gate:
            self.assertEqual(self.status(gate, "/s2"), 200)
            self.wait_told(gate, "No such file")

    def test_it_ends_while_it_serves(self):
        path = self.keys.write("short.bundle", self.keys.bundle(document(self.up), 1, expires="3s"))
        gate = self.start(config(None, bundle=self.settings(file=path, when_stale="deny")))
        self.assertEqual(self.status(gate, "/s1"), 200)
        self.wait_status(gate, "/s1", 503)
        self.put(path, self.keys.bundle(document(self.up), 2))
        self.wait_status(gate, "/s1", 200)

    def test_keys_are_rotated(self):
        both = self.keys.write("both.pub", open(self.keys.path("a.pub")).read() + open(self.keys.path("b.pub")).read())
        path = self.keys.write("rotation.bundle", self.keys.bundle(document(self.up), 1))
        gate = self.start(config(None, bundle=self.settings(file=path, public_key_file=both)))
        self.assertEqual(self.status(gate, "/s1"), 200)
        self.put(path, self.keys.bundle(document(self.up, "/s2"), 2, key="b"))
        self.wait_status(gate, "/s2", 200)
        with open(self.keys.path("b.pub"), encoding="utf-8") as f:
            self.put(both, f.read())
        gate.reload()
        self.assertTrue(wait_until(lambda: '"reloaded"' in gate.stderr(), 5), gate.stderr())
        self.put(path, self.keys.bundle(document(self.up, "/s3"), 3))
        self.wait_told(gate, "a key that is not trusted here")
        self.assertEqual(self.status(gate, "/s2"), 200)


class Shelf:
    """A web server with one bundle, an ETag, and moods."""

    def __init__(self):
        self.text, self.etag, self.fail, self.seen = "", None, None, []
        shelf = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                shelf.seen.append((self.headers.get("If-None-Match"), self.headers.get("Authorization")))
                shelf.answer(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.url = "http://127.0.0.1:%d/policies.bundle" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request):
        status, headers = self.fail or (200, {})
        body = b"" if self.fail else self.text.encode()
        if not self.fail and self.etag:
            headers = {"ETag": self.etag}
            if request.headers.get("If-None-Match") == self.etag:
                status, body = 304, b""
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if status != 304:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Fetched(WithKeys):
    def setUp(self):
        self.shelf = Shelf()
        self.addCleanup(self.shelf.stop)

    def start_with(self, text, etag='"1"', **changes):
        self.shelf.text, self.shelf.etag = text, etag
        return self.start(config(None, bundle=self.settings(url=self.shelf.url, interval="1s", **changes)))

    def test_it_is_asked_for_with_its_etag(self):
        gate = self.start_with(self.keys.bundle(document(self.up), 1))
        self.assertEqual(self.status(gate, "/s1"), 200)
        self.assertTrue(wait_until(lambda: self.shelf.seen.count(('"1"', None)) >= 2, 6), self.shelf.seen)
        self.assertEqual(self.shelf.seen[0], (None, None))
        self.assertGreaterEqual(gate.metric("tollgate_policy_set_offers_total", result="unchanged"), 1)
        self.shelf.text, self.shelf.etag = self.keys.bundle(document(self.up, "/s2"), 2), '"2"'
        self.wait_status(gate, "/s2", 200)
        self.assertEqual(gate.metric("tollgate_policy_set_offers_total", result="accepted"), 2)

    def test_trouble_leaves_what_there_is(self):
        gate = self.start_with(self.keys.bundle(document(self.up), 1))
        self.shelf.fail = (503, {"Retry-After": "1"})
        self.wait_told(gate, "HTTP 503")
        self.shelf.fail = (302, {"Location": self.shelf.url})
        self.wait_told(gate, "HTTP 302")
        self.shelf.fail = None
        self.shelf.text, self.shelf.etag = self.keys.bundle(document(self.up, "/s2"), 2, key="b"), '"2"'
        self.wait_told(gate, "a key that is not trusted here")
        self.assertEqual(self.status(gate, "/s1"), 200)
        self.assertTrue(wait_until(lambda: len(self.shelf.seen) > 5, 10))
        self.assertNotIn(('"2"', None), self.shelf.seen, "what was refused is asked for whole")
        self.shelf.text, self.shelf.etag = self.keys.bundle(document(self.up, "/s2"), 2), '"3"'
        self.wait_status(gate, "/s2", 200)

    def test_the_query_of_its_url_is_told_nowhere(self):
        """A presigned URL has its secret there."""
        self.shelf.url += "?signature=secret-of-the-url"
        gate = self.start_with(self.keys.bundle(document(self.up), 1))
        self.assertEqual(self.status(gate, "/s1"), 200)
        self.shelf.text, self.shelf.etag = "no bundle", '"2"'
        self.wait_told(gate, "/policies.bundle: no bundle")
        self.shelf.fail = (503, {})
        self.wait_told(gate, "/policies.bundle: HTTP 503")
        self.assertNotIn("secret-of-the-url", gate.stderr() + self.details(gate) + gate.metrics())

    def test_a_server_that_is_away_at_the_start(self):
        state = self.folder()
        cfg = config(None, state_dir=state, bundle=self.settings(url=self.shelf.url, interval="1s"))
        self.shelf.text = self.keys.bundle(document(self.up), 1)
        with Tollgate(cfg) as gate:
            self.assertEqual(self.status(gate, "/s1"), 200)
        dead = socket.socket()
        dead.bind(("127.0.0.1", 0))
        cfg["bundle"]["url"] = "http://127.0.0.1:%d/policies.bundle" % dead.getsockname()[1]
        self.addCleanup(dead.close)
        with Tollgate(cfg) as gate:
            self.assertEqual(self.status(gate, "/s1"), 200)
            self.wait_told(gate, "refused")

    def test_a_credential_is_sent(self):
        secret = self.keys.write("shelf.token", "s3cret-of-the-shelf\n")
        gate = self.start_with(self.keys.bundle(document(self.up), 1), credential={"token_file": secret})
        self.assertEqual(self.shelf.seen[0], (None, "Bearer s3cret-of-the-shelf"))
        self.assertNotIn("s3cret", gate.stderr() + self.details(gate))


class Command(WithKeys):
    def test_openssl_agrees(self):
        """The signature is plain Ed25519 over the JWS signing input; the key that of openssl genpkey."""
        text = self.keys.bundle(document(self.up), 1).strip()
        signed, _, signature = text.rpartition(".")
        with open(self.keys.path("input"), "wb") as f:
            f.write(signed.encode())
        with open(self.keys.path("sig"), "wb") as f:
            f.write(base64.urlsafe_b64decode(signature + "=="))
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", self.keys.path("a.pub"), "-rawin"]
            + ["-in", self.keys.path("input"), "-sigfile", self.keys.path("sig")],
            capture_output=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_verify(self):
        path = self.keys.write("v.bundle", self.keys.bundle(document(self.up), 42))
        code, out, err = run("bundle", "verify", "--key", self.keys.path("a.pub"), path)
        self.assertEqual(code, 0, err)
        for word in ("sequence   42", "policies   1", "routes     1", "signed by  ", "expires    20"):
            self.assertIn(word, out)
        code, out, err = run("bundle", "verify", "--key", self.keys.path("b.pub"), path)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("not trusted", err)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        code, out, err = run("bundle", "verify", "--key", self.keys.path("a.pub"), "-", stdin=text[:-10])
        self.assertEqual((code, out), (1, ""))
        self.assertIn("standard input", err)

    def test_errors_have_their_place(self):
        path = self.keys.write(
            "wrong.yaml",
            "policies:\n  - name: z\n    ppl: {allow: {and: [{user: ann}]}}\n"
            "  - name: a\n    ppl:\n      allow:\n        and:\n          - emial: x\n",
        )
        code, out, err = run("bundle", "build", path)
        self.assertEqual((code, out), (78, ""))
        self.assertIn("wrong.yaml:8:13: ", err)
        self.assertIn("emial", err)

    def test_a_whole_configuration(self):
        self.keys.write("conf.yaml", json.dumps(config([dict(document(self.up)["routes"][0], policies=["p"])],
                                                       policies_dir="rules")))
        os.makedirs(self.keys.path("rules"), exist_ok=True)
        self.keys.write("rules/p.yaml", json.dumps(ALLOW_STAFF))
        target = self.keys.path("conf.json")
        code, out, err = run("bundle", "build", "--sequence", "9", "-o", target, self.keys.path("conf.yaml"))
        self.assertEqual((code, out), (0, ""), err)
        self.assertIn("sequence 9: 1 policies, 1 routes", err)
        self.assertIn("identity_providers: left out", err)
        with open(target, encoding="utf-8") as f:
            payload = json.load(f)
        self.assertEqual(sorted(payload), ["exp", "iat", "seq", "set"])
        self.assertEqual(payload["exp"] - payload["iat"], 30 * 86400)
        self.assertNotIn("identity_providers", json.dumps(payload))

    def test_the_sequence_is_the_time(self):
        before = int(time.time())
        code, out, err = run("bundle", "build", "-", stdin=json.dumps(document(self.up)))
        self.assertEqual(code, 0, err)
        self.assertTrue(before <= json.loads(out)["seq"] <= time.time())

    def test_what_is_not_signed(self):
        self.keys.make("x", "x25519")
        code, payload, _ = run("bundle", "build", "-", stdin=json.dumps(document(self.up)))
        for key in ("x.pem", "a.pub", "none.pem"):
            code, out, err = run("bundle", "sign", "--key", self.keys.path(key), "-", stdin=payload)
            self.assertEqual((code, out), (1, ""), key)
        code, out, err = run("bundle", "sign", "--key", self.keys.path("a.pem"), "-", stdin="{}")
        self.assertEqual((code, out), (1, ""))
        self.assertIn('"seq"', err)

    def test_output_that_is_no_file_is_written_to(self):
        """Taking away the name of a pipe or a device, /dev/null say, would harm others; a link stays a link."""
        source = self.keys.write("p.yaml", json.dumps(document(self.up)))
        pipe, link, file = (self.keys.path(name) for name in ("out.pipe", "out.link", "out.file"))
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        code, out, err = run("bundle", "build", "-o", pipe, source)
        self.assertEqual((code, out), (0, ""), err)
        self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode))
        self.assertTrue(os.read(reader, 100).startswith(b'{"seq":'))
        self.keys.write("out.file", "old")
        os.symlink("out.file", link)
        code, out, err = run("bundle", "build", "-o", link, source)
        self.assertEqual((code, out), (0, ""), err)
        self.assertTrue(os.path.islink(link))
        with open(file, encoding="utf-8") as f:
            self.assertTrue(f.read().startswith('{"seq":'))

    def test_usage(self):
        for args in (
            [],
            ["bild"],
            ["build"],
            ["build", "a", "b"],
            ["build", "--sequence", "0", "-"],
            ["build", "--sequence", "-1", "-"],
            ["build", "--expires", "never", "-"],
            ["build", "--expires", "none", "-"],
            ["sign", "-"],
            ["verify", "-"],
            ["verify", "--key"],
        ):
            code, out, err = run("bundle", *args, stdin="")
            self.assertEqual((code, out), (2, ""), args)
            self.assertIn("--help", err)
        for args in (["--help"], ["build", "--help"], ["sign", "--help"], ["verify", "--help"]):
            code, out, err = run("bundle", *args)
            self.assertEqual((code, err), (0, ""), args)
            self.assertIn("Examples", out)


if __name__ == "__main__":
    main()
