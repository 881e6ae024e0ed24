"""The pages for readers, read as they would: every command of README.md and of docs is typed, every policy judged.

    [TOLLGATE=build/release/tollgate] python3 tests/readme/test_readme.py [-v] [Class.test]

In a copy of the checkout and, where the kernel lets us, in a network of its own, so that the ports of the text are
free. Each command has to be known to a rule below: it is run, or the rule says which other test runs it and looks at
what can be looked at. A command or an example that no rule knows is a failure. Policies and the tables below them are
read by examples.py; what a ```text block shows, the command before it must have said. The provider wants `npm ci` in
tests/oidc, the schema of compose in tests/container.
"""

import base64
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(TESTS, "wire"), os.path.join(TESTS, "oidc")]
import certs  # noqa: E402
import examples  # noqa: E402
import pages  # noqa: E402
from harness import (  # noqa: E402
    BIN,
    TOP,
    Upstream,
    ask,
    ask_tls,
    environment,
    free_port,
    jwks,
    key,
    main,
    mint,
    provider,
    run,
    tls_context,
    token,
    wait_until,
)
from test_five_minutes import bare_checkout  # noqa: E402
from test_oidc import Node, need_node  # noqa: E402

GATE, HEALTH, SERVICE = 8080, 9090, 3000                 # the ports of the text
AUDIENCE = "urn:test:es256"
TYPING_S = 120
BASE = "identity_providers:\n  corp: {issuer: https://idp.example.com, audiences: [orders-api]}\n"
# What the policies of a page are judged in: clients are asked for certificates, so that criteria may ask about them.
JUDGED = """certificate_file: tls.crt
certificate_key_file: tls.key
downstream_mtls: {ca_file: clients-ca.pem, enforcement: policy}
policies_dir: policies-of-page
upstream: {to: "http://127.0.0.1:3000", policies: [example]}
"""
# An example is no bad example because the machine that tests it is a container, or because it trusts nobody by default.
EXPECTED_WARNING = re.compile(r"is loopback, and this is a container")


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


# ---- a network of its own -----------------------------------------------------------------------------------------
def alone():
    """Starts this program again in a new network namespace, once; True in there, with loopback up."""
    if os.environ.get("README_ALONE") != "yes":
        way = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
        if not shutil.which("unshare") or subprocess.run(way + ["true"], stderr=subprocess.DEVNULL).returncode != 0:
            return False
        os.environ["README_ALONE"] = "yes"
        os.execvp(way[0], way + [sys.executable] + sys.argv)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        up = struct.pack("16sh14x", b"lo", 0x1 | 0x40)   # IFF_UP, IFF_RUNNING
        fcntl.ioctl(s, 0x8914, up)                       # SIOCSIFFLAGS
    return True


def need_ports():
    for port in (GATE, HEALTH, SERVICE):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                raise unittest.SkipTest("port %d of the text is in use, and no network of our own is to be had" % port)


# ---- the reader ---------------------------------------------------------------------------------------------------
class Reader:
    """Somebody with a checkout, a shell and a service on port 3000, who types what a page says."""

    def __init__(self):
        need_ports()
        self.dir = tempfile.mkdtemp(prefix="tollgate-readme.")
        self.tree, self.root = os.path.join(self.dir, "tollgate"), os.path.join(self.dir, "root")
        os.makedirs(self.tree)
        bare_checkout(self.tree)
        # What is built already is not built again: scripts/build finds this tree, and brings it up to date.
        os.makedirs(os.path.join(self.tree, "build"))
        os.symlink(os.path.dirname(os.path.realpath(BIN)), os.path.join(self.tree, "build", "release"))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("TOLLGATE")}
        self.service = Upstream(SERVICE)
        self.nodes, self.served, self.written, self.heading, self.heard = [], None, None, "", ""

    def path(self, name):
        return os.path.join(self.tree, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def gets_a_provider(self):
        """ISSUER, AUDIENCE and TOKEN, as somebody with a provider has them."""
        port = free_port()
        issuer = "http://127.0.0.1:%d" % port
        self.nodes.append(Node("provider.mjs", str(port), os.path.join(self.dir, "keys.json")))
        form = {"grant_type": "client_credentials", "resource": AUDIENCE, "scope": "api"}
        basic = base64.b64encode(b"robot:robot-secret").decode()
        request = urllib.request.Request(
            issuer + "/token", urllib.parse.urlencode(form).encode(), {"Authorization": "Basic " + basic}
        )
        with urllib.request.urlopen(request, timeout=10) as r:
            self.env.update(ISSUER=issuer, AUDIENCE=AUDIENCE, TOKEN=json.load(r)["access_token"])

    def section(self, heading):
        """What an earlier section wrote by hand is gone; what `init` wrote is there."""
        if heading != self.heading and self.written:
            self.write("tollgate.yaml", self.written)
        self.heading = heading

    def type(self, line):
        """(exit status, all that was said)."""
        p = subprocess.run(
            ["sh", "-c", line],
            cwd=self.tree,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TYPING_S,
            check=False,
        )
        self.heard = p.stdout
        return p.returncode, p.stdout

    def serve(self, line, ready):
        """Starts what goes on running, until ready(what it said)."""
        self.stop()
        with open(os.path.join(self.dir, "served"), "w", encoding="utf-8") as f:
            self.served = subprocess.Popen(
                ["sh", "-c", "exec " + line],
                cwd=self.tree,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=f,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self.served.poll() is not None or ready(self.said()), 15, 0.05)
        if self.served.poll() is not None or not ready(self.said()):
            raise AssertionError("%s: not ready: %s" % (line, self.said()))

    def said(self):
        with open(os.path.join(self.dir, "served"), encoding="utf-8") as f:
            return f.read()

    def stop(self):
        """Ctrl-C for what goes on running."""
        if self.served:
            self.served.send_signal(signal.SIGINT)
            status, self.served = self.served.wait(30), None
            if status != 0:
                raise AssertionError("exit %d: %s" % (status, self.said()))

    def leaves(self):
        try:
            self.stop()
        finally:
            for node in self.nodes:
                node.stop()
            self.service.stop()
            shutil.rmtree(self.dir, ignore_errors=True)


# ---- what a rule does with a command: (test, reader, command, match) ------------------------------------------------
def runs(says="", exits=0):
    def rule(t, reader, command, _):
        status, said = reader.type(command.text)
        t.assertEqual(status, exits, said)
        t.assertRegex(said, "(?m)" + says)

    return rule


def builds(t, reader, command, _):
    status, said = reader.type(command.text)
    t.assertEqual(status, 0, said)
    t.assertEqual(said.splitlines()[-1], reader.path("build/release/tollgate"))
    t.assertTrue(os.access(reader.path("build/release/tollgate"), os.X_OK))


def inits(t, reader, command, _):
    status, said = reader.type(command.text)
    t.assertEqual(status, 0, said)
    t.assertIn("usable keys", said)
    with open(reader.path("tollgate.yaml"), encoding="utf-8") as f:
        reader.written = f.read()


def is_ready(_):
    try:
        return ask(HEALTH, "GET", "/readyz", timeout=1).status == 200
    except (OSError, AssertionError):
        return False


def serves(t, reader, command, _):
    reader.serve(command.typed, is_ready)


def develops(t, reader, command, _):
    """What `dev` prints is for the reader to paste, too."""
    reader.serve(command.typed, lambda said: said.count("curl -i") >= 4 and is_ready(said))
    pasted = re.findall(r"^# (.*) \((\d+)\)\n(curl .*)$", reader.said(), re.M)
    t.assertEqual(sorted(status for _, status, _ in pasted), ["200", "401", "401", "403"])
    for what, status, line in pasted:
        t.assertEqual(answers(reader.type(line)[1]), [status], what)
    reader.stop()


def answers(said):
    return re.findall(r"^HTTP/1\.1 (\d{3}) ", said, re.M)


def asks(t, reader, command, _):
    claimed = re.findall(r"\b\d{3}\b", command.remark)
    t.assertTrue(claimed, "the text does not say what is answered")
    status, said = reader.type(command.text)
    t.assertEqual((status, answers(said)), (0, claimed), said)


def asks_why(t, reader, command, _):
    """REQUEST_ID is of the first request that was denied, as its caller has it."""

    def denied():
        with open(reader.path("access.log"), encoding="utf-8") as f:
            return [x for x in map(json.loads, f) if x.get("refused") == "denied"]

    reader.env["REQUEST_ID"] = wait_until(denied, 5)[0]["request_id"]
    status, said = reader.type(command.text)
    t.assertEqual(status, 0, said)
    t.assertRegex(said, "(?m)^status +403 ")


def replays(t, reader, command, _):
    with open(reader.path("access.log"), encoding="utf-8") as f:
        t.assertTrue(f.read())
    runs("^would lose access")(t, reader, command, _)


def explains(t, reader, command, _):
    status, said = reader.type(command.text)
    claimed = re.findall(r"\b\d{3}\b", command.remark)
    t.assertEqual(re.findall(r"^status +(\d+)\b", said, re.M), claimed, said)
    t.assertEqual(status, 0 if claimed[0] < "400" else 1)


def greps(t, reader, command, m):
    """A line of the access log; it is written within moments."""
    t.assertTrue(wait_until(lambda: reader.type(command.text)[0] == 0 and reader.type(command.text)[1], 5, 0.2))
    line = json.loads(reader.type(command.text)[1])
    t.assertEqual(str(line["status"]), m[1])
    t.assertIn("refused", line)


def prints_schema(t, reader, command, m):
    status, said = reader.type(command.text)
    t.assertEqual(status, 0, said)
    with open(reader.path(m[1]), encoding="utf-8") as f:
        t.assertIn("identity_providers", json.load(f)["properties"])


def installs(t, reader, command, m):
    """Into a root of its own: nothing of this machine is changed."""
    os.makedirs(reader.root + "/usr/bin", exist_ok=True)
    os.makedirs(reader.root + "/etc/systemd/system", exist_ok=True)
    status, said = reader.type(re.sub(r" (/(?:usr|etc)/)", " " + reader.root + r"\1", command.text))
    t.assertEqual(status, 0, said)
    t.assertEqual(oct(os.stat(reader.root + m[2]).st_mode & 0o777), "0o" + m[1])


def systemctl(t, reader, command, _):
    """Needs systemd as init. The unit that was installed is judged by systemd-analyze, and by tests/container too."""
    path = reader.root + "/etc/systemd/system/tollgate.service"
    with open(path, encoding="utf-8") as f:
        unit = f.read()
    binary, file = re.search(r"(?m)^ExecStart=(\S+) run -c (\S+)$", unit).groups()
    t.assertTrue(os.access(reader.root + binary, os.X_OK) and os.path.exists(reader.root + file), unit)
    for word, line in (("enable", r"WantedBy="), ("reload", r"ExecReload=")):
        if word in command.typed.replace("daemon-reload", ""):
            t.assertRegex(unit, "(?m)^" + line)
    if not shutil.which("systemd-analyze"):
        t.skipTest("systemd-analyze is not installed")
    moved = os.path.join(reader.dir, "tollgate.service")
    with open(moved, "w", encoding="utf-8") as f:
        f.write(unit.replace("=" + binary, "=" + reader.root + binary))
    verify = ["systemd-analyze", "verify", moved]
    p = subprocess.run(verify, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    t.assertEqual((p.returncode, p.stdout), (0, ""))


def elsewhere(needle, file="tests/container/test_container.py", why="wants a container engine or an image registry"):
    """Not run here; `file` runs the nearest to it, as long as it holds `needle`. The files it names are there."""

    def rule(t, reader, command, _):
        t.assertIn(needle, read(file), "%s no longer covers: %s" % (file, command.typed))
        for word in command.typed.split():
            if word.startswith(("docker/", "docs/", "scripts/")):
                t.assertTrue(os.path.exists(reader.path(word)), word)
        print("\n  not here (%s), but in %s: %s" % (why, file, command.typed))

    return rule


def kustomize(t, reader, command, m):
    """Wants a cluster. What it would be sent is put together; tests/container holds it against the schemas."""
    folder = reader.path(m[1])
    resources = re.findall(r"^  - (\S+)", read(m[1], "kustomization.yaml"), re.M)
    t.assertEqual([n for n in resources if not os.path.exists(os.path.join(folder, n))], [])
    kinds = ["ConfigMap", "Deployment", "NetworkPolicy", "Service"]
    if shutil.which("kubectl"):
        status, said = reader.type("kubectl kustomize " + m[1])
        t.assertEqual((status, sorted(re.findall(r"^kind: (\w+)", said, re.M))), (0, kinds), said)
    t.assertEqual(sorted(re.findall(r"^kind: (\w+)", "\n".join(read(m[1], n) for n in resources), re.M)), kinds)
    print("\n  wants a cluster, its files looked at: %s" % command.typed)


def in_cluster(t, reader, command, m):
    text = read("docker", "kubernetes", "sidecar.yaml")
    t.assertRegex(text, r"kind: Deployment\nmetadata:\n  name: %s\n" % m[1])
    for container in re.findall(r" -c (\S+)", command.typed):
        t.assertRegex(text, r"- name: %s\n" % container)
    print("\n  wants a cluster, its names looked at: %s" % command.typed)


def measures(t, reader, command, m):
    """Takes minutes and a quiet machine; it is there, and knows the word."""
    status, said = reader.type(m[1] + " --help")
    t.assertEqual(status, 0, said)
    t.assertRegex(said, "(?m)^%s: " % m[2])


def own_tokens(says, find=None):
    """The configuration's state_dir is brought here; ID is that of the token in the list."""

    def rule(t, reader, command, _):
        os.makedirs(reader.path("state"), mode=0o700, exist_ok=True)
        with open(reader.path("tollgate.yaml"), encoding="utf-8") as f:
            text = f.read()
        reader.write("tollgate.yaml", re.sub(r"(?m)^state_dir: .*", "state_dir: " + reader.path("state"), text))
        runs(says)(t, reader, command, _)
        if find:
            reader.env["ID"] = re.search("(?m)" + find, reader.heard)[1]

    return rule


def assigns(t, reader, command, m):
    """A variable for the commands that follow."""
    status, said = reader.type('%s; printf "%%s" "$%s"' % (command.text, m[1]))
    t.assertEqual(status, 0, said)
    t.assertRegex(said, r"\A[\x21-\x7e].*\Z")
    t.assertNotEqual(said, "null")
    reader.env[m[1]] = said


def copies(t, reader, command, _):
    """The store as it was, whole."""
    runs()(t, reader, command, _)
    with sqlite3.connect(reader.path("backup.db")) as copy:
        t.assertEqual(copy.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        t.assertGreater(copy.execute("SELECT count(*) FROM audit").fetchone()[0], 5)


OURS = r"build/release/tollgate "
RULES = [
    (r"scripts/demo --once", runs("All six as expected")),
    (r"scripts/build", builds),
    (OURS + r"dev .*", develops),
    (OURS + r"init .*", inits),
    (OURS + r"run -c tollgate\.yaml >access\.log", serves),
    (OURS + r"run --help-settings", runs("^  identity_providers ")),
    (OURS + r"run --schema >(\S+)", prints_schema),
    (OURS + r"check -c tollgate\.yaml", runs("^configuration ok$")),
    (OURS + r"check -c tollgate\.yaml --online .*", runs("^all is well$")),
    (OURS + r"verify .*", runs("^the token is good")),
    (OURS + r"explain .*", explains),
    (OURS + r"why --all access\.log .*", runs("^ +0 +the files decide otherwise, although")),
    (OURS + r'why "\$REQUEST_ID" access\.log.*', asks_why),
    (OURS + r"replay --policy .*", replays),
    (OURS + r"test policies/?", runs("^ok: [0-9]+ policies, [0-9]+ cases passed, 0 failed")),
    (OURS + r"healthcheck .*", runs()),
    (r"python3 \S+\.py --help", runs("^usage: ")),
    (r"curl -s?i .*", asks),
    (r"curl -s \S+/metrics \| grep .*", runs("^tollgate_")),
    (r"grep '\"status\":(\d+)' access\.log \| tail -n 1", greps),
    (r"install (?:-D )?-m (\d+) \S+ (\S+)", installs),
    (r"(?:systemctl daemon-reload && )?systemctl (?:enable --now|reload) tollgate", systemctl),
    (r"docker build -f docker/Dockerfile -t \S+ \.", elsewhere("buildah", "docker/build")),
    (r"docker/build", elsewhere('call("image", ["docker/build"]', "tests/stages.py", "takes minutes")),
    (r"docker run --rm --read-only --cap-drop all .*", elsewhere("--read-only --cap-drop all")),
    (r"docker compose -f docker/compose\.yaml up .*", elsewhere("def test_as_documented")),
    (r"kubectl apply -k (docker/kubernetes)", kustomize),
    (r"kubectl (?:rollout status|logs) deployment/(\w+).*", in_cluster),
]
EXPLAINING = [
    (r"echo '(.*)' \| " + OURS + r"explain --batch", runs('^{"decision"')),
    (OURS + r"test rules", runs("^failed: ", exits=1)),
] + RULES
IDENTITY = [
    (OURS + r"token create .*", own_tokens(r"^tgp_[\w-]{49}$")),
    (OURS + r"token list .*", own_tokens("deploy", find=r"^(\S+) .* deploy$")),
    (OURS + r"token revoke .*", own_tokens("")),
] + RULES
MANAGED = [
    (r"(?s)([A-Z_]+)=(.*)", assigns),
    (OURS + r"mint --generate .*", runs()),
    (r"mkdir .*", runs()),
    (OURS + r"token create --kind api-user .*", runs("^API user .* it is not shown again$")),
    (OURS + r"run -c manager\.yaml >access\.log", serves),
    (OURS + r"audit --result denied .*", runs(r'"action":"request\.denied"')),
    (r"(?s)curl -i .*", asks),
    (r"printf %s .* >body", runs()),
    (r"openssl dgst .* body", runs("^c304f14ed490c05fc25fc596963adfdc692cd0aaf4d352d7e32c84ae21230cc0 ")),
    (r"openssl pkey .*", runs()),
    (r"sqlite3 .*", copies),
] + RULES
CONTROLLED = [
    (OURS + r"token create --kind api-user .*", elsewhere("--kind", "tests/wire/test_two_processes.py", "elsewhere")),
    (OURS + r"mint --generate .*", runs()),
    (r"openssl .*", runs()),
    (r"mkdir .*", runs()),
    (OURS + r"bundle build .*", runs("^sequence [0-9]+: 1 policies, 1 routes, until ")),
    (OURS + r"bundle sign .*", runs()),
    (OURS + r"bundle verify .*", runs("^routes +1$")),
    (OURS + r"run -c sidecar\.yaml >access\.log", serves),
] + RULES
LIMITS = [(r"(bench/limits) (cost|three)", measures)] + RULES
# The lines of the compose example are typed in its pod.
COMPOSE = elsewhere("def test_as_documented", why="wants the compose example to run")
DEPLOYING = [
    (r"(?s)token\(\) \{.*\}", COMPOSE),
    (r"(?:for .*)?curl -i http://localhost:8080/orders.*", COMPOSE),
] + RULES


# ---- configurations -------------------------------------------------------------------------------------------------
SECRET = "a-secret-of-this-page"


def made(reader, setting, name, ca, leaf):
    """The text of a file that a setting names."""
    if "jwks" in setting:
        return json.dumps(jwks())
    if name == "signing.pub":                            # of a bundle
        pair = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True).stdout
        public = subprocess.run(["openssl", "pkey", "-pubout"], input=pair, capture_output=True, check=True).stdout
        return public.decode()
    if setting == "public_key_file":
        return mint.pem(mint.spki(key("rsaA")))
    if "debug_trace" in setting or "secret" in setting or setting.endswith(("token_file", "password_file")):
        return SECRET + "\n"
    if setting == "revoked_tokens_file":
        return json.dumps({"iss": "https://idp.example.com", "jti": "7"}) + "\n"
    if setting == "private_key_file" and name.endswith(".json"):
        ids = {"type": "application", "clientId": "1@p", "appId": "2"}
        ids = ids if "application" in name else {"type": "serviceaccount", "userId": "3"}
        with open(leaf.key, encoding="ascii") as f:
            return json.dumps({**ids, "keyId": "4", "key": f.read()})
    if "crl" in setting:
        path = certs.crl(ca, name=os.path.join(reader.dir, "crl%d" % time.monotonic_ns()))
    else:
        path = leaf.key if "key" in setting else ca.cert if "ca_" in setting else leaf.chain
    with open(path, encoding="ascii") as f:
        return f.read()


def make_files(reader, text):
    """The files a configuration names: its text, with absolute paths brought here."""
    ca = certs.ca(reader.dir, "ca%d" % time.monotonic_ns())
    leaf = certs.leaf(reader.dir, ca, ["localhost", "127.0.0.1"], name="leaf%d" % time.monotonic_ns())
    for setting, name in re.findall(r"(\w+_file): ([^\s,}]+)", text):
        target = os.path.basename(name)
        reader.write(target, made(reader, setting, target, ca, leaf))
        os.chmod(reader.path(target), 0o600)
        text = text.replace(name, target)
    return text, ca, leaf


def whole_configuration(base, text):
    """An excerpt with the rest of the page's configuration."""
    if "identity_providers:" in text:
        return text
    if re.search(r"(?m)^(routes|upstream):", text):
        base = re.sub(r"(?m)^upstream:.*\n", "", base)
    elif not re.search(r"(?m)^upstream:", base):
        base += "upstream: http://127.0.0.1:3000\n"
    for name in re.findall(r"(?m)^(address|state_dir):", text):
        base = re.sub(r"(?m)^%s:.*\n" % name, "", base)
    if "downstream_mtls:" in text and "certificate_file:" not in text:
        base += "certificate_file: tls.crt\ncertificate_key_file: tls.key\n"
    return base + text


def shakes_hands(t, reader, ca, leaf):
    """The configuration with a certificate serves TLS."""
    port = free_port()
    env = dict(environment(), TOLLGATE_ADDRESS="127.0.0.1:%d" % port, TOLLGATE_HEALTH_ADDRESS="none")
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    p = subprocess.Popen([BIN, "run", "-c", "tollgate.yaml"], cwd=reader.tree, env=env, **silent)
    try:
        context = tls_context(ca.cert, leaf)

        def shown():
            try:
                return ask_tls(port, context, name="localhost", timeout=2).status
            except OSError:
                return None

        t.assertIn(wait_until(shown, 10, 0.1), (401, 403, 503))
    finally:
        p.terminate()
        t.assertEqual(p.wait(30), 0)


def compose(t, reader, text):
    """A compose file: by its schema, and what tollgate's service needs to be reached and to write nothing."""
    if not os.path.isdir(os.path.join(TESTS, "container", "node_modules")):
        t.skipTest("run `npm ci` in tests/container first")
    reader.write("compose.yaml", text)
    argv = ["node", "manifests.mjs", "compose", reader.path("compose.yaml")]
    p = subprocess.run(argv, cwd=os.path.join(TESTS, "container"), stdout=subprocess.PIPE, text=True, timeout=60)
    found = json.loads(p.stdout)[0]
    t.assertEqual(found["problems"], [])
    services = found["object"]["services"]
    version = re.search(r"version: '([^']+)'", read("meson.build"))[1]
    t.assertEqual(services["tollgate"]["image"], "tollgate:" + version)
    t.assertTrue(services["tollgate"]["read_only"])
    t.assertEqual(services["app"]["network_mode"], "service:tollgate")
    t.assertNotIn("ports", services["app"])


def continuous(t, reader, text):
    """A snippet for continuous integration: what its container would run is run, and leaves cases for machines."""
    line = re.search(r"(?s)docker run (.*?) tollgate:[\d.]+\s+(.*?)>(\S+)", text)
    t.assertIn("-v \"$PWD/policies:/policies:ro\"", line[1])
    argv = line[2].replace("/policies", reader.path("policies")).split()
    status, said, err = run(*argv)
    t.assertEqual(status, 0, said + err)
    suites = xml.etree.ElementTree.fromstring(said).findall("testsuite")
    t.assertGreater(len(suites), 5)
    t.assertTrue(all(x.findall("testcase") for x in suites))
    t.assertGreater(text.count(line[3]), 1)              # what is kept is what was written


# ---- what commands say ----------------------------------------------------------------------------------------------
# What differs from run to run: moments, ids and digests, counters, how long it took.
VOLATILE = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b(?=[0-9a-f-]*\d)[0-9a-f]{8}(-?[0-9a-f]{4,})+\b", "ID"),
    (r"\b\d+ of (\d+) left", r"N of \1 left"),
    (r"\d+(\.\d+)? (s|ms|us)\b", "SOME"),
    (r'("(duration_ms|upstream_duration_ms|remaining|bytes_out)": ?)[\d.]+', r"\1N"),
    (r'"token_id": ?"\w+"', '"token_id":ID'),
    (r"^(Date|X-RateLimit-Reset): .*", r"\1: SOME"),
    (r"^(signed by|sequence) +\S+", r"\1 SOME"),
    (r"[ \r]+$", ""),
)


def settled(text):
    for pattern, instead in VOLATILE:
        text = re.sub("(?m)" + pattern, instead, text)
    return text.strip("\n")


# ---- a page: one test for each command and each configuration, in the order of the page ------------------------------
class Page(unittest.TestCase):
    has_provider = False
    first = BASE                                         # what its excerpts are completed by

    @classmethod
    def prepare(cls):
        """What its reader has besides."""

    @classmethod
    def setUpClass(cls):
        if cls.has_provider:
            need_node()
        cls.reader = Reader()
        cls.addClassCleanup(cls.reader.leaves)
        cls.base = cls.first
        if cls.has_provider:
            cls.reader.gets_a_provider()
        else:
            cls.reader.write("tollgate.yaml", BASE + "upstream: http://127.0.0.1:3000\n")
        cls.prepare()

    def types(self, command, rules):
        for pattern, rule in rules:
            m = re.fullmatch(pattern, command.typed)
            if m:
                return rule(self, self.reader, command, m)
        self.fail("no rule of tests/readme knows this command: " + command.typed)

    def configures(self, block):
        if re.search(r"(?m)^services:", block.text):
            return compose(self, self.reader, block.text)
        if "docker run" in block.text:
            return continuous(self, self.reader, block.text)
        if self.keeps(block) or not re.search(r"(?m)^\w", block.text):
            return None
        text, ca, leaf = make_files(self.reader, whole_configuration(self.base, block.text + "\n"))
        kind, words = examples.expected(block.text)
        if "identity_providers:" in block.text and not kind:
            type(self).base = text
        self.reader.write("tollgate.yaml", text)
        status, said = self.reader.type(BIN + " check -c tollgate.yaml")
        warned = [x for x in said.splitlines() if "warning:" in x and not EXPECTED_WARNING.search(x)]
        self.assertEqual((status, [words in x for x in warned]), (0, [True] if kind else []), said)
        self.assertIn("configuration ok", said)
        if re.search(r"(?m)^certificate", text):
            shakes_hands(self, self.reader, ca, leaf)

    def checked(self, policy):
        """What `check` says of a policy alone: exit status, its warnings, all of it."""
        os.makedirs(self.reader.path("policies-of-page"), exist_ok=True)
        self.reader.write("policies-of-page/example.yaml", policy + "\n")
        text, _, _ = make_files(self.reader, BASE + JUDGED)
        self.reader.write("judged.yaml", text)
        status, said = self.reader.type(BIN + " check -c judged.yaml")
        return status, [x for x in said.splitlines() if "warning:" in x and not EXPECTED_WARNING.search(x)], said

    def hears(self, path, block):
        """What the page shows is what the last command said; a line `...` stands for any number of lines.

        README_WRITE=yes puts what was said into the page, but for blocks with such lines.
        """
        heard, shown = settled(self.reader.heard), settled(block.text)
        if os.environ.get("README_WRITE") == "yes" and heard != shown and "..." not in shown.split("\n"):
            text = read(path)
            said = "\n".join(line.rstrip() for line in self.reader.heard.strip("\n").split("\n"))
            with open(os.path.join(TOP, path), "w", encoding="utf-8") as f:
                f.write(text.replace("```text\n" + block.text + "\n```", "```text\n" + said + "\n```"))
            return
        pattern = "".join("(?:.*\n)*" if x == "..." else re.escape(x) + "\n" for x in shown.split("\n"))
        self.assertTrue(re.fullmatch(pattern, heard + "\n"), "shown:\n%s\nsaid:\n%s" % (shown, heard))

    def logs(self, shown):
        """A line of the access log on the page has what the reader's own has: the same members, the same decision."""
        if "request_id" not in shown:
            return
        with open(self.reader.path("access.log"), encoding="utf-8") as f:
            line = next(x for x in map(json.loads, f) if x["request_id"] == self.reader.env["REQUEST_ID"])
        self.assertEqual(list(shown), list(line))
        for member in ("status", "decision", "reasons", "policy", "shadow", "refused", "facts", "route", "sub"):
            self.assertEqual(shown[member], line[member])

    def keeps(self, block):
        """A file that later commands want: its first line says its name."""
        named = re.match(r"# (\S+\.yaml)\n", block.text)
        if named:
            os.makedirs(os.path.dirname(self.reader.path(named[1])), exist_ok=True)
            self.reader.write(named[1], block.text + "\n")
        return named

    def judges(self, block, rows):
        """A policy of the page: what `check` says of it, and its table."""
        kind, words = examples.expected(block.text)
        self.keeps(block)
        status, warned, said = self.checked(block.text)
        self.assertEqual(status, 78 if kind == "error" else 0, said)
        if kind == "error":
            self.assertIn(words, said)
        elif block.heading != "Criteria":                # there one of each stands together: it compiles

            self.assertEqual([words in x for x in warned], [True] if kind else [], said)
        self.answers(rows, "judged.yaml")

    def traps(self, row):
        """A row of wrong and right spellings: `check` warns about the one and has nothing to say of the other."""
        for cell, wrong in ((row[0], True), (row[-1], False)):
            for policy in examples.spellings(cell):
                status, warned, said = self.checked(policy)
                self.assertEqual((status, bool(warned)), (0, wrong), policy + "\n" + said)

    def answers(self, rows, configuration="tollgate.yaml"):
        """The requests of a table, asked of a configuration."""
        for caller, request, answer in rows:
            with self.subTest("%s, %s" % (caller, request)):
                claims = examples.claims(caller)
                argv = ["explain", "-c", self.reader.path(configuration), "--json"]
                argv += ["--claims", json.dumps(claims)] if claims else []
                _, out, err = run(*argv, *examples.request(request, self.authority()))
                self.assertTrue(out, err)
                got = json.loads(out)
                said = sorted(answer.replace(",", "").split()[1:])
                self.assertEqual(str(got["status"]), answer[:3], out)
                if said:
                    self.assertEqual(sorted(got["reasons"]), said, out)

    @classmethod
    def authority(cls):
        if not hasattr(cls, "_authority"):
            cls._authority = certs.ca(cls.reader.dir, "clients-of-page")
        return cls._authority


def steps(path, rules):
    """The methods of a page's class."""
    found = {}

    def step(line, what, work):
        slug = re.sub(r"\W+", "_", what)[:50].strip("_")
        work.__doc__ = "%s:%d: %s" % (path, line, what.split("\n")[0])
        found["test_%04d_%s" % (line, slug)] = work

    for block in pages.blocks(read(path)):
        if block.kind == "yaml" and examples.is_policy(block.text):
            step(block.line, "policy " + block.heading, lambda t, b=block: t.judges(b, examples.rows(read(path), b)))
            continue
        if block.kind == "sh":
            for c in pages.commands(block):
                step(c.line, c.typed, lambda t, c=c: (t.reader.section(c.heading), t.types(c, rules)))
        elif block.kind == "yaml":
            rows = examples.rows(read(path), block)
            work = lambda t, b=block, r=rows: (t.reader.section(b.heading), t.configures(b), t.answers(r))  # noqa: E731
            step(block.line, "yaml " + block.heading, work)
        elif block.kind == "output":
            step(block.line, "output " + block.heading, lambda t, b=block: t.hears(path, b))
        elif block.kind == "json":
            step(block.line, "json " + block.heading, lambda t, b=block: t.logs(json.loads(b.text)))
        elif block.kind != "text":
            step(block.line, "unknown block", lambda t, b=block: t.fail("no rule for a block of " + b.kind))
    if "\n| %s |" % examples.WRONG in read(path):
        for i, row in enumerate(pages.rows(read(path), examples.WRONG)):
            step(10000 + i, "trap " + row[0], lambda t, r=row: t.traps(r))
    return found


def page(name, path, rules=RULES, **members_):
    return type(name, (Page,), {"__module__": "__main__", **members_, **steps(path, rules)})


Readme = page("Readme", "README.md", has_provider=True)
Deploying = page("Deploying", "docs/deploying.md", DEPLOYING)
Tls = page("Tls", "docs/tls.md")
Policies = page("Policies", "docs/ppl.md")
Identity = page("Identity", "docs/identity.md", IDENTITY)
Limits = page("Limits", "docs/limits.md", LIMITS)
KEPT = BASE + "state_dir: state\n"
Management = page("Management", "docs/management.md", MANAGED, first=KEPT)
ControlPlane = page("ControlPlane", "docs/control-plane.md", CONTROLLED, first=KEPT)


def two_tokens(cls):
    given = {"iss": "https://idp.example.com", "aud": "orders-api"}
    cls.reader.env["ANN"] = token(sub="u1", email="ann@example.com", role="viewer", **given)
    cls.reader.env["BOB"] = token(sub="u2", email="bob@example.com", role="editor", **given)


LOCAL = BASE.replace("[orders-api]", "[orders-api], jwks_file: keys.json")
Explaining = page("Explaining", "docs/explain.md", EXPLAINING, first=LOCAL, prepare=classmethod(two_tokens))


if __name__ == "__main__":
    print("in a network of its own" if alone() else "on this machine's network")
    main()
