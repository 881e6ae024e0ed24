"""The image and what is shipped to deploy it: built, run confined in a pod, stopped under load, and the manifests read.

    [TOLLGATE_IMAGE=build/image/tollgate.tar] python3 tests/container/test_container.py [-v] [Class.test]

The image is what `docker/build` leaves; without it, and where the kernel refuses to run it, those tests are skipped and
say why. The manifests' schemas need `npm ci` in this directory, the compose example's issuer `npm ci` in tests/oidc.
"""

import base64
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
sys.path.insert(0, HERE)
from harness import Client, TOP, ask, jwks, main, provider, request, token, value, wait_until  # noqa: E402
from podman import Podman, Refused, inside  # noqa: E402

IMAGE = os.environ.get("TOLLGATE_IMAGE", os.path.join(TOP, "build", "image", "tollgate.tar"))
DOCKER = os.path.join(TOP, "docker")
SIZE_MAX, DISK_MAX = 12000000, 30000000
ADDRESS = "10.88.77.66"  # the pod's own, beside loopback
CONFINED = "--read-only --cap-drop all --security-opt no-new-privileges --memory 64m --pids-limit 64".split()


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


@functools.lru_cache(maxsize=None)
def judged(kind, *files):
    """What manifests.mjs says of YAML files."""
    if not os.path.isdir(os.path.join(HERE, "node_modules")):
        raise unittest.SkipTest("run `npm ci` in tests/container first")
    argv = ["node", "manifests.mjs", kind] + [os.path.join(DOCKER, f) for f in files]
    p = subprocess.run(argv, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    if p.returncode != 0:
        raise AssertionError("manifests.mjs: " + p.stderr[-3000:])
    return json.loads(p.stdout)


def objects(*files):
    return {d["object"]["kind"]: d["object"] for d in judged("kubernetes", *files)}


# ---- the image: one podman for all tests ------------------------------------------------------------------------
@functools.lru_cache(maxsize=None)
def engine():
    """(podman with the image loaded, the image's name), or None and why not."""
    if not os.path.exists(IMAGE):
        return None, "no image at %s (docker/build makes it)" % IMAGE
    if not shutil.which("podman"):
        return None, "podman is not installed (scripts/deps image)"
    podman = Podman()
    unittest.addModuleCleanup(podman.close)
    try:
        podman("info")
    except Refused as e:
        return None, "podman does not work here: %s" % e
    name = podman("load", "-q", "-i", IMAGE).split()[-1]
    code, _, err = podman.run("run", "--rm", "--network", "none", *CONFINED, name, "--version")
    if code in (125, 126, 127):  # podman's own; tollgate's would be a failure of the tests below
        return None, "containers do not run here: %s" % err
    return podman, name


class Engine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.podman, cls.image = engine()
        if not cls.podman:
            raise unittest.SkipTest(cls.image)
        cls.dir = tempfile.mkdtemp(prefix="tollgate-container.")
        os.chmod(cls.dir, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.dir, True)

    @classmethod
    def folder(cls, name, **files):
        """A folder to be mounted, with files: their text or what becomes JSON."""
        where = os.path.join(cls.dir, name)
        os.makedirs(where, exist_ok=True)
        for file, content in files.items():
            with open(os.path.join(where, file.replace("_yaml", ".yaml")), "w", encoding="utf-8") as f:
                f.write(content if isinstance(content, str) else json.dumps(content))
        return where

    @classmethod
    def new_pod(cls, name, *options):
        """A pod with loopback and one address more; the process id of its network."""
        cls.podman("pod", "create", "--name", name, "--network", "none", *options)
        cls.addClassCleanup(cls.podman.run, "pod", "rm", "-f", "-t", "0", name)
        cls.podman("pod", "start", name)
        return cls.addressed(cls.podman("pod", "inspect", "--format", "{{.InfraContainerID}}", name))

    @classmethod
    def addressed(cls, infra):
        pid = cls.podman.pid(infra)
        add = ["nsenter", "-t", str(pid), "-n", "ip", "address", "add", ADDRESS + "/32", "dev", "lo"]
        subprocess.run(add, check=True, timeout=10)
        return pid

    @classmethod
    def add(cls, pod, name, folder, *options):
        mount = folder + ":/etc/tollgate:ro"
        cls.podman("run", "-d", "--pod", pod, "--name", name, *CONFINED, "-v", mount, *options, cls.image)

    @classmethod
    def app(cls, pod, name):
        """Stands for the application: loopback only, answers everybody."""
        route = {"name": "app", "prefix": "/", "to": "echo:", "allow_public_unauthenticated_access": True}
        quiet = {"access_log": {"output": "off"}, "rate_limits": "off"}
        folder = cls.folder(name, tollgate_yaml={"routes": [route], **quiet})
        cls.add(pod, name, folder, "-e", "TOLLGATE_ADDRESS=127.0.0.1:3000", "-e", "TOLLGATE_HEALTH_ADDRESS=none")

    def ready(self, pid, limit=10):
        def up():
            try:
                return inside(pid, lambda: ask(9090, "GET", "/readyz", address=ADDRESS, timeout=1)).status == 200
            except (OSError, AssertionError):
                return False

        self.assertTrue(wait_until(up, limit, 0.05), "not ready")


def gate_config(**changes):
    tight = {"name": "tight", "limit": 3, "window": "1m", "when": [{"claim/plan": "trial"}]}
    wide = [{"name": n, "limit": 100000000, "window": "1m"} for n in ("authenticated", "unauthenticated")]
    return {
        "workers": 2,
        "upstream": {
            "to": "http://127.0.0.1:3000",
            "policy": {"allow": {"and": [{"domain": {"is": "example.com"}}]}},
            "forward_authorization": "strip",
        },
        "identity_providers": {"test": provider()},
        "rate_limits": {"tiers": [tight] + wide},
        "drain": {"delay": "1s", "timeout": "10s"},
        **changes,
    }


def bearer(**claims):
    return [("Authorization", "Bearer " + token(**claims))]


class Image(Engine):
    """What is in it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with tarfile.open(IMAGE) as archive:
            manifest = json.load(archive.extractfile("manifest.json"))[0]
            cls.config = json.load(archive.extractfile(manifest["Config"]))
            cls.files = {}
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=archive.extractfile(layer)) as content:
                    cls.files.update({m.name.strip("/"): m for m in content})

    def test_size(self):
        packed = int(subprocess.check_output("gzip -c '%s' | wc -c" % IMAGE, shell=True, timeout=60))
        self.assertLess(packed, SIZE_MAX)
        self.assertLess(sum(m.size for m in self.files.values()), DISK_MAX)
        self.assertLess(os.path.getsize(IMAGE), DISK_MAX)

    def test_only_what_is_needed(self):
        programs = [n for n, m in self.files.items() if m.isfile() and m.mode & 0o111 and ".so" not in n]
        self.assertEqual(programs, ["usr/bin/tollgate"])
        for word in ("bin/sh", "bash", "busybox", "apt", "perl", "python"):
            self.assertFalse([n for n in self.files if re.search(r"bin/.*%s$" % re.escape(word), n)], word)
        self.assertFalse([n for n, m in self.files.items() if m.mode & 0o6000], "set-user-id")
        writable = [n for n, m in self.files.items() if not m.issym() and (m.mode & 0o002 or m.uid not in (0, 65532))]
        self.assertFalse(writable)
        state = self.files["var/lib/tollgate"]
        self.assertEqual((state.uid, state.mode & 0o777), (65532, 0o700))

    def test_what_must_be_there(self):
        for name in (
            "etc/ssl/certs/ca-certificates.crt",
            "etc/nsswitch.conf",
            "etc/os-release",
            "usr/share/zoneinfo/UTC",
            "usr/share/zoneinfo/Europe/Prague",
            "usr/share/zoneinfo/America/New_York",
            "var/lib/dpkg/status.d/libssl3",
            "usr/share/doc/libgnutls30/copyright",
        ):
            self.assertIn(name, self.files)
        self.assertGreater(self.files["etc/ssl/certs/ca-certificates.crt"].size, 100000)
        self.assertFalse([n for n in self.files if n.startswith("etc/apt")], "the build machine's package sources")

    def test_how_it_starts(self):
        config, labels = self.config["config"], self.config["config"]["Labels"]
        version = re.search(r"version: '([^']+)'", read("meson.build"))[1]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual((config["Entrypoint"], config["Cmd"]), (["/usr/bin/tollgate"], ["run"]))
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "/usr/bin/tollgate", "healthcheck"])
        self.assertFalse([v for v in config.get("Env", []) if v.startswith("TOLLGATE_")], "would go before the file")
        settings = self.podman("run", "--rm", "--network", "none", *CONFINED, self.image, "run", "--help-settings")
        self.assertIn("[::]:8080", settings)
        self.assertIn("[::]:9090", settings)
        self.assertEqual(labels["org.opencontainers.image.version"], version)
        self.assertEqual(labels["org.opencontainers.image.licenses"], "Apache-2.0")
        self.assertTrue(labels["org.opencontainers.image.revision"])
        out = self.podman("run", "--rm", "--network", "none", *CONFINED, self.image, "--version")
        self.assertIn("tollgate " + version, out)

    def test_without_configuration(self):
        """It says what is missing and ends with the status for that."""
        code, _, err = self.podman.run("run", "--rm", "--network", "none", *CONFINED, self.image)
        self.assertEqual(code, 78)
        self.assertIn("/etc/tollgate/tollgate.yaml", err)

    def test_signatures(self):
        """OpenSSL's own provider is enough: a key of every kind is made and signs, with no file of OpenSSL's there."""
        for alg in ("ES256", "RS256", "PS256", "EdDSA"):
            with self.subTest(alg):
                keys = os.path.join(self.dir, alg)
                os.makedirs(keys)
                os.chown(keys, 65532, 65532)
                run = ["run", "--rm", "--network", "none", *CONFINED, "-v", keys + ":/keys", self.image]
                self.podman(*run, "mint", "--generate", alg, "--key", "/keys/key.pem", "--jwks", "/keys/jwks.json")
                if alg != "EdDSA":
                    sign = ["mint", "--key", "/keys/key.pem", "--alg", alg, "--subject", "u", "--expires=1h"]
                    made = self.podman(*run, *sign)
                    self.podman(*run, "verify", "--jwks", "/keys/jwks.json", "--alg", alg, made)


class Pod(Engine):
    """Beside an app, with nothing it does not need: read-only, no capability, 64 MiB."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pid = cls.new_pod("pod")
        cls.app("pod", "app")
        cls.add("pod", "gate", cls.folder("gate", tollgate_yaml=gate_config()))

    def setUp(self):
        self.ready(self.pid)

    def ask(self, fields=(), port=8080, target="/x"):
        return inside(self.pid, lambda: ask(port, "GET", target, fields, address=ADDRESS))

    def test_answers(self):
        """Through the pod's address, not loopback."""
        m = self.ask(bearer())
        self.assertEqual((m.status, value(m, "X-RateLimit-Limit")), (200, "100000000"))
        self.assertEqual(json.loads(m.body)["uri"], "/x")
        self.assertEqual(self.ask().status, 401)
        self.assertEqual(self.ask(bearer(aud="other")).status, 401)
        self.assertEqual(self.ask(bearer(email="user@elsewhere.test")).status, 403)
        trial = bearer(sub="trial", plan="trial")
        self.assertEqual([self.ask(trial).status for _ in range(5)], [200, 200, 200, 429, 429])

    def test_the_app_is_out_of_reach(self):
        with self.assertRaises(ConnectionRefusedError):
            self.ask(port=3000)

    def test_health(self):
        self.podman("healthcheck", "run", "gate")
        self.assertEqual(self.podman.inspect("gate")["State"]["Health"]["Status"], "healthy")
        code, _, err = self.podman.run("exec", "gate", "/usr/bin/tollgate", "healthcheck", "-u", "http://127.0.0.1:1/")
        self.assertEqual(code, 1, err)
        self.assertIn(b"tollgate_build_info", self.ask(port=9090, target="/metrics").body)

    def test_reload(self):
        """SIGHUP reaches process 1."""
        self.podman("kill", "-s", "HUP", "gate")
        self.assertTrue(wait_until(lambda: '"message":"reloaded"' in self.podman.logs("gate")))
        self.assertEqual(self.ask(bearer()).status, 200)

    def test_confined(self):
        pid = self.podman.pid("gate")
        status = dict(re.findall(r"^(\w+):\s+(.*)$", open("/proc/%d/status" % pid, encoding="utf-8").read(), re.M))
        self.assertEqual(status["Uid"].split(), ["65532"] * 4)
        self.assertEqual([int(status[n], 16) for n in ("CapEff", "CapPrm", "CapBnd", "CapAmb")], [0] * 4)
        self.assertEqual(status["NoNewPrivs"], "1")
        with open("/proc/%d/mountinfo" % pid, encoding="utf-8") as f:
            root = [line.split() for line in f if line.split()[4] == "/"][-1]
        self.assertIn("ro", root[5].split(","))
        self.assertEqual(self.podman.inspect("gate")["HostConfig"]["Memory"], 64 << 20)
        self.assertLess(int(status["VmHWM"].split()[0]), 48 << 10)

    def test_names_and_authorities(self):
        """A provider's name is looked up by the C library's own files and DNS; nothing has to be loaded for it."""
        self.podman("exec", "gate", "/usr/bin/tollgate", "healthcheck", "-u", "http://localhost:9090/livez")
        maps = open("/proc/%d/maps" % self.podman.pid("gate"), encoding="utf-8").read()
        self.assertIn("/usr/lib/", maps)
        self.assertNotIn("libnss_", maps)


class Load:
    """Clients that ask without pause until nobody listens. Every request that was sent must be answered."""

    def __init__(self):
        self.lock, self.answers, self.lost, self.first = threading.Lock(), 0, [], threading.Event()
        self.head = request("GET", "/work", bearer(), host="app.test")
        self.last_head = request("GET", "/work", bearer() + [("Connection", "close")], host="app.test")

    def one(self, again):
        """`again`: many requests on one connection."""
        deadline = time.monotonic() + 30
        client = None
        while time.monotonic() < deadline:
            try:
                client = client or Client(8080, ADDRESS, timeout=10)
            except ConnectionRefusedError:
                return  # nothing was sent
            except OSError as e:
                return self.note("connecting: %r" % e)
            try:
                m = client.send(self.head if again else self.last_head).response()
            except (AssertionError, OSError) as e:
                client.close()
                return self.note(repr(e))
            if m.status != 200:
                self.note("status %d" % m.status)
            with self.lock:
                self.answers += 1
            self.first.set()
            if not again or (value(m, "Connection") or "").lower() == "close":
                client.close()
                client = None
        self.note("it never stopped listening")

    def note(self, what):
        with self.lock:
            self.lost.append(what)

    def run(self):
        threads = [threading.Thread(target=self.one, args=(i % 2 == 0,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()


class Stop(Engine):
    def test_no_request_is_lost(self):
        """SIGTERM while eight clients ask: each request sent is answered 200, by the app, and the exit status is 0."""
        pid = self.new_pod("stop")
        self.app("stop", "stop-app")
        self.add("stop", "stop-gate", self.folder("stop-gate", tollgate_yaml=gate_config(access_log={"output": "off"})))
        self.ready(pid)
        load = Load()
        thread = threading.Thread(target=lambda: inside(pid, load.run))
        thread.start()
        self.assertTrue(load.first.wait(10), load.lost)
        time.sleep(1)
        before = load.answers
        self.podman("stop", "-t", "25", "stop-gate")
        thread.join(40)
        self.assertEqual(load.lost, [], "of %d requests" % load.answers)
        self.assertGreater(before, 100)
        self.assertGreater(load.answers, before, "it goes on answering while it drains")
        self.assertEqual(self.podman.exit_code("stop-gate"), 0)
        self.assertIn('"message":"stopped"', self.podman.logs("stop-gate"))


class Kubernetes(Engine):
    """The shipped pod, played: only the images, the keys' source and the app's own configuration are put in."""

    def test_play(self):
        shipped = objects("kubernetes/config.yaml", "kubernetes/plain.yaml")
        settings, deployment = shipped["ConfigMap"], shipped["Deployment"]
        issuer = re.search(r"issuer: (\S+)", settings["data"]["tollgate.yaml"])[1]
        settings["data"]["tollgate.yaml"] = re.sub(
            r"( +)(issuer: \S+).*", r"\1\2\n\1jwks: " + json.dumps(jwks("ec256")), settings["data"]["tollgate.yaml"]
        )
        app_route = {"name": "app", "prefix": "/", "to": "echo:", "allow_public_unauthenticated_access": True}
        keys = {"test": provider(issuer=issuer, audiences=["orders-api"])}  # it is handed the caller's token
        app_config = {"routes": [app_route], "rate_limits": "off", "identity_providers": keys}
        app_settings = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "app"},
            "data": {"tollgate.yaml": json.dumps(app_config)},
        }
        # podman 4.3 does not know `optional`, so the secret has to be there.
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders-tollgate"},
            "data": {"tls.key": base64.b64encode(b"a key\n").decode()},
        }
        deployment["spec"]["replicas"] = 1
        spec = deployment["spec"]["template"]["spec"]
        gate, app = spec["containers"]
        self.assertEqual((gate["name"], app["name"]), ("tollgate", "orders"))
        for container in (gate, app):
            container.update(image=self.image, imagePullPolicy="Never")
        # podman 4.3 would publish every port named, which a pod without a bridge cannot.
        ports = {port["name"]: port["containerPort"] for port in gate.pop("ports")}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            gate[probe]["httpGet"]["port"] = ports[gate[probe]["httpGet"]["port"]]
        app["env"] = [
            {"name": "TOLLGATE_ADDRESS", "value": "127.0.0.1:3000"},
            {"name": "TOLLGATE_HEALTH_ADDRESS", "value": "none"},
        ]
        app["volumeMounts"] = [{"name": "app", "mountPath": "/etc/tollgate", "readOnly": True}]
        spec["volumes"].append({"name": "app", "configMap": {"name": "app"}})
        played = os.path.join(self.dir, "played.yaml")
        with open(played, "w", encoding="utf-8") as f:
            f.write("\n---\n".join(json.dumps(o) for o in (settings, app_settings, secret, deployment)))
        self.podman("kube", "play", "--network", "none", played)
        self.addCleanup(self.podman.run, "kube", "down", played)
        names = self.podman("ps", "-a", "--format", "{{.Names}}").split()
        gate_name = [n for n in names if n.endswith("-tollgate") and "orders" in n][0]
        infra = self.podman.inspect(gate_name)["Dependencies"][0]
        pid = self.addressed(infra)
        self.ready(pid)

        def status(*fields):
            return inside(pid, lambda: ask(8080, "GET", "/x", fields, address=ADDRESS)).status

        good = ("Authorization", "Bearer " + token(iss=issuer, aud="orders-api"))
        self.assertEqual((status(good), status()), (200, 401))
        facts = self.podman.inspect(gate_name)
        self.assertTrue(facts["HostConfig"]["ReadonlyRootfs"])
        self.assertEqual(facts["HostConfig"]["Memory"], 64 << 20)
        self.assertEqual(facts["Config"]["User"], "65532:65532")
        self.assertEqual(facts["EffectiveCaps"] or [], [])


class Compose(Engine):
    """The compose example without compose: its configuration, its issuer and its app, sharing one network."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        packages = os.path.join(TOP, "tests", "oidc", "node_modules")
        if not os.path.isdir(os.path.join(packages, "oidc-provider")):
            raise unittest.SkipTest("run `npm ci` in tests/oidc first")
        cls.pid = cls.new_pod("compose")
        example = cls.folder("issuer")
        os.symlink(packages, os.path.join(example, "node_modules"))
        for name in ("issuer.mjs", "app.mjs"):
            shutil.copy(os.path.join(DOCKER, "issuer", name), example)
            argv = ["nsenter", "-t", str(cls.pid), "-n", "node", name]
            p = subprocess.Popen(argv, cwd=example, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            cls.addClassCleanup(p.stdout.close)
            cls.addClassCleanup(p.wait)
            cls.addClassCleanup(p.kill)
            if p.stdout.readline() != "ready\n":
                raise AssertionError(name + " did not start")
        folder = cls.folder("compose-gate")
        shutil.copy(os.path.join(DOCKER, "tollgate.yaml"), folder)
        hosts = os.path.join(cls.folder("names", hosts="127.0.0.1 localhost issuer\n"), "hosts") + ":/etc/hosts:ro"
        cls.add("compose", "compose-gate", folder, "-v", "compose-state:/var/lib/tollgate", "-v", hosts)

    def test_as_documented(self):
        """The lines of docs/deploying.md, from the token to the 429."""
        self.ready(self.pid)
        lines = re.search(r"A token, and the answers:\n\n((?:    .*\n)+)", read("docs", "deploying.md"))[1]
        shell = ["nsenter", "-t", str(self.pid), "-n", "sh", "-c", lines]
        p = subprocess.run(shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        answers = re.findall(r"^HTTP/1\.1 (\d+)", p.stdout, re.M)
        self.assertEqual(answers, ["401", "200", "403", "200", "200", "200", "429"], p.stdout + p.stderr)
        self.assertIn('"path":"/orders"', p.stdout)


# ---- what is shipped beside the image ------------------------------------------------------------------------------
class Shipped(unittest.TestCase):
    def assertSound(self, found):
        for one in found:
            self.assertEqual(one["problems"], [], os.path.relpath(one["file"], TOP))

    def test_dockerfile(self):
        text = re.sub(r"\\\n", " ", read("docker", "Dockerfile"))
        lines = [x for x in text.splitlines() if x and not x.startswith("#")]
        final = lines[max(i for i, x in enumerate(lines) if x.startswith("FROM ")) :]
        self.assertEqual(final[0], "FROM scratch")
        self.assertEqual(len([x for x in lines if x.startswith("FROM ")]), 2)
        words = {x.split()[0] for x in final}
        self.assertLessEqual({"USER", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL", "EXPOSE"}, words)
        self.assertNotIn("RUN", words)
        self.assertNotIn("ADD", {x.split()[0] for x in lines})
        self.assertRegex(text, r"(?m)^USER \d+:\d+$")
        for word in ("ENTRYPOINT", "CMD"):
            json.loads([x for x in final if x.startswith(word + " ")][0][len(word) :])
        version = re.search(r"version: '([^']+)'", read("meson.build"))[1]
        self.assertIn("ARG VERSION=%s" % version, lines)
        for name in ("docker/build", "docker/rootfs"):
            self.assertEqual(subprocess.run(["sh", "-n", os.path.join(TOP, name)]).returncode, 0, name)
            self.assertTrue(os.access(os.path.join(TOP, name), os.X_OK), name)

    def test_nothing_else_is_sent_to_the_build(self):
        lines = [x for x in read(".dockerignore").splitlines() if x and not x.startswith("#")]
        self.assertEqual(lines[0], "*")
        for line in lines[1:]:
            self.assertTrue(line.startswith("!") and os.path.exists(os.path.join(TOP, line[1:])), line)

    def test_compose(self):
        found = judged("compose", "compose.yaml")
        self.assertSound(found)
        services = found[0]["object"]["services"]
        for name, service in services.items():
            with self.subTest(name):
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
        self.assertEqual(services["tollgate"]["mem_limit"], "64m")
        self.assertEqual(services["app"]["network_mode"], "service:tollgate")
        self.assertNotIn("ports", services["app"])
        self.assertEqual([p for p in services["tollgate"]["ports"] if not p.endswith(":8080")], [])
        for source in ("docker/tollgate.yaml", "docker/issuer/Dockerfile", "docker/issuer/package-lock.json"):
            self.assertTrue(os.path.exists(os.path.join(TOP, source)), source)
        example, tested = (json.loads(read(*p, "package-lock.json")) for p in (("docker", "issuer"), ("tests", "oidc")))
        example["packages"].pop("")
        for package, told in example["packages"].items():  # the tests have clients of the issuer beside it
            with self.subTest(package):
                tried = tested["packages"].get(package, {})
                self.assertEqual(
                    (told["version"], told["integrity"]),
                    (tried.get("version"), tried.get("integrity")),
                    "the example's issuer is not the tested one",
                )

    def test_kubernetes(self):
        folder = os.path.join(DOCKER, "kubernetes")
        found = judged("kubernetes", *sorted("kubernetes/" + n for n in os.listdir(folder)))
        self.assertSound(found)
        by_file = {os.path.basename(d["file"]): d["object"] for d in found}
        version = re.search(r"version: '([^']+)'", read("meson.build"))[1]
        pods = {n: by_file[n]["spec"]["template"]["spec"] for n in ("sidecar.yaml", "plain.yaml")}
        gate, native = pods["plain.yaml"]["containers"][0], dict(pods["sidecar.yaml"]["initContainers"][0])
        self.assertEqual(native.pop("restartPolicy"), "Always")
        self.assertEqual(native, gate, "the two forms differ")
        self.assertEqual(gate["image"], "tollgate:" + version)
        security = gate["securityContext"]
        self.assertEqual(
            (security["runAsNonRoot"], security["runAsUser"], security["readOnlyRootFilesystem"]), (True, 65532, True)
        )
        self.assertEqual((security["allowPrivilegeEscalation"], security["capabilities"]), (False, {"drop": ["ALL"]}))
        ports = {p["name"]: p["containerPort"] for p in gate["ports"]}
        self.assertEqual(ports, {"http": 8080, "health": 9090})
        for probe, path in (("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            self.assertEqual(gate[probe]["httpGet"], {"path": path, "port": "health"})
        text = by_file["config.yaml"]["data"]["tollgate.yaml"]
        drain = [int(x) for x in re.search(r"drain: \{delay: (\d+)s, timeout: (\d+)s\}", text).groups()]
        for name, pod in pods.items():
            with self.subTest(name):
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                secret = [v["secret"] for v in pod["volumes"] if "secret" in v][0]
                self.assertEqual((secret["defaultMode"], pod["securityContext"]["fsGroup"]), (0o440, 65532))
                sleep = pod["containers"][-1]["lifecycle"]["preStop"]["sleep"]["seconds"]
                at_once = name == "plain.yaml"
                self.assertGreater(sleep, drain[0] if at_once else 0)
                self.assertLess(sum(drain) + (0 if at_once else sleep), pod["terminationGracePeriodSeconds"])
        open_ports = [p["port"] for rule in by_file["networkpolicy.yaml"]["spec"]["ingress"] for p in rule["ports"]]
        self.assertEqual(open_ports, [8080, 9090])
        labels = by_file["plain.yaml"]["spec"]["template"]["metadata"]["labels"]
        for selector in (
            by_file["service.yaml"]["spec"]["selector"],
            by_file["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        ):
            self.assertLessEqual(selector.items(), labels.items())
        self.assertEqual(by_file["service.yaml"]["spec"]["ports"][0]["targetPort"], "http")

    def test_systemd(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        unit = read("docker", "tollgate.service")
        self.assertRegex(unit, r"(?m)^Type=notify$")
        with tempfile.TemporaryDirectory() as where:
            path = os.path.join(where, "tollgate.service")
            with open(path, "w", encoding="utf-8") as f:
                f.write(unit.replace("/usr/bin/tollgate", "/bin/true"))
            said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 60}
            p = subprocess.run(["systemd-analyze", "verify", path], **said)
            self.assertEqual((p.returncode, p.stdout), (0, ""))
            out = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", path], **said).stdout
        score = float(re.search(r"exposure level for \S+: ([\d.]+)", out)[1])
        print("\ntollgate.service: exposure %.1f of 10" % score)
        self.assertLessEqual(score, 1.5)


if __name__ == "__main__":
    main()
