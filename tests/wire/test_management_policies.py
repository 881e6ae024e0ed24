"""Policies and routes by the management API: the guide's own commands, both views, and what becomes of them.

The commands of `Guide` are the public guide's, with only the host changed and what it says to replace replaced; every
answer of the others is judged by openapi.json (openapi.py).
"""

import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time

from harness import PATIENCE, SLOW, Case, Tollgate, ask, bearer, config, free_port, main, mint, wait_until
from openapi import Api

ORGANIZATION = "bwjkRZwxbNXBQHHcJHphGSNBbxt"  # as the guide's commands have it
CLUSTER = "trusted-dog-1049"
ALLOW = {"allow": {"and": [{"email": {"is": "user@example.com"}}]}}
ANYBODY = {"allow": {"and": [{"accept": True}]}}
NOBODY = {"deny": {"and": [{"accept": True}]}}
KEY = mint.ec_key("P-256", "management")
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
MICROSECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
PEACE = {"limits": {"authenticated": 1000000, "unauthenticated": 1000000}}


def operator(url, name="alice"):
    """A JWT that an operator signs himself."""
    now = int(time.time())
    claims = {"iss": name, "sub": name, "aud": url, "iat": now, "exp": now + 600}
    return mint.jws(KEY, {"alg": "ES256"}, claims, "ES256")


class Managing(Case):
    def manage(self, files=None, **changes):
        """A tollgate with the management API; .api is a client that may do everything, .org its organization's path."""
        port = free_port()
        management = {
            "address": "127.0.0.1:%d" % port,
            "organization": {"id": ORGANIZATION, "name": "personal"},
            "clusters": [CLUSTER, "other"],
            "operators": [{"id": "alice", "public_key_file": "alice.pem", "role": "owner"}],
            **PEACE,
            **changes.pop("management", {}),
        }
        cfg = config(changes.pop("routes", None), **{"state_dir": "state", "management": management, **changes})
        gate = Tollgate(cfg, files={"state/.keep": "", "alice.pem": mint.pem(mint.spki(KEY)), **(files or {})})
        gate.url, gate.manager_port = "http://127.0.0.1:%d" % port, port
        gate.api = Api(port, operator(gate.url))
        gate.org = "/api/v0/organizations/" + ORGANIZATION
        return gate

    def managed(self, **changes):
        gate = self.manage(**changes)
        self.addCleanup(gate.stop)
        return gate

    def made(self, answer, status=201):
        self.assertEqual(answer.status, status, answer.text)
        return answer.json

    def policy(self, gate, name="p", ppl=ALLOW, **more):
        return self.made(gate.api.post(gate.org + "/policies", {"name": name, "ppl": ppl, **more}))

    def route(self, gate, name="r", policies=(), **more):
        body = {"name": name, "from": "http://%s.example.com" % name, "to": [self.up.url]}
        return self.made(gate.api.post(gate.org + "/routes", {**body, "policyIds": list(policies), **more}))

    def status(self, gate, host="r.example.com", fields=None):
        return ask(gate.port, "GET", "/", [bearer()] if fields is None else fields, host=host).status

    def becomes(self, gate, status, host="r.example.com", fields=None):
        """Within a second of the answer that changed it."""
        began = time.monotonic()
        self.assertTrue(
            wait_until(lambda: self.status(gate, host, fields) == status, 1.0),
            "%d instead of %d after a second" % (self.status(gate, host, fields), status),
        )
        return time.monotonic() - began


# ---- the guide ----------------------------------------------------------------------------------------------------
TOKEN = r"""curl --location 'https://console.pomerium.app/api/v0/token' \
--header 'Content-Type: application/json' \
--data '{
  "refreshToken": "<API-USER-TOKEN>"
}'"""
ORGANIZATIONS = r"""curl --location 'https://console.pomerium.app/api/v0/organizations' \
--header 'Authorization: Bearer <ID-TOKEN>'"""
NAMESPACES = r"""curl --location 'https://console.pomerium.app/api/v0/organizations/{organizationId}/namespaces' \
--header 'Authorization: Bearer <ID-TOKEN>'"""
POLICY = r"""curl --location 'https://console.pomerium.app/api/v0/organizations/{organizationId}/policies' \
--header 'Content-Type: application/json' \
--header 'Authorization: <ID-TOKEN>' \
--data-raw '{
  "namespaceId": "bwjkRZwxbNXBQHHcJHphGSNBbxt",
  "name": "Allow only matching email",
  "enforced": false,
  "ppl": {
    "allow": {
      "and": [
        {"email":
            {
            "is": "user@example.com"
            }
        }
      ]
    }
  },
  "description": "Only allow users access with a matching email address.",
  "explanation": "You don'\''t have the correct email address to access this service.",
  "remediation": "Use account credentials that match policy requirements."
}'"""
ROUTE = r"""curl --location 'https://console.pomerium.app/api/v0/organizations/{organizationId}/routes' \
--header 'Content-Type: application/json' \
--header 'Authorization: Bearer {ID-TOKEN}' \
--data '{
    "namespaceId": "bwjkRZwxbNXBQHHcJHphGSNBbxt",
    "name": "HTTP Bin",
    "from": "https://httpbin.{CLUSTER_STARTER_SUBDOMAIN}.pomerium.app",
    "to": ["http://httpbin:80"],
    "policyIds": ["bgrXNgrJFJmMZvPsVsbZHGWxVWP"]
}'"""
SHOWN = {  # the members that the guide's answers have
    "token": "expiresInSeconds idToken",
    "organization": "createdAt id joinedAt name organizationType ownerUserId role updatedAt",
    "root": "createdAt id name role type updatedAt",
    "cluster": "createdAt id name parentId role type updatedAt",
    "policy": "createdAt description enforced enforcedRoutes explanation id name namespaceId ppl remediation routes "
    "updatedAt",
    "route": "allowSpdy allowWebsockets createdAt enableGoogleCloudServerlessAuthentication enforcedPolicies "
    "enforcedPolicyIds from id name namespaceId policies policyIds preserveHostHeader showErrorDetails tlsSkipVerify "
    "tlsUpstreamAllowRenegotiation to updatedAt",
}


class Guide(Managing):
    def shell(self, gate, command, **replaced):
        """(status, answer) of a command as printed, but for the host and what it says to replace."""
        command = command.replace("https://console.pomerium.app", gate.url).replace("{organizationId}", ORGANIZATION)
        for old, new in replaced.items():
            command = command.replace(old, new)
        for old in ("<ID-TOKEN>", "{ID-TOKEN}"):
            command = command.replace(old, gate.id_token)
        said = subprocess.run(
            ["bash", "-c", command + r" --silent --show-error --write-out '\n%{http_code} %{num_redirects}'"],
            stdout=subprocess.PIPE,
            timeout=20 * PATIENCE,
            text=True,
            check=True,
        ).stdout
        body, _, tail = said.rpartition("\n")
        status, redirects = tail.split()
        self.assertEqual(redirects, "0")
        return int(status), json.loads(body)

    def shape(self, value, name):
        """Member for member, in the order of the guide."""
        self.assertEqual(list(value), SHOWN[name].split())

    def test_every_command(self):
        gate = self.managed(management={"allowed_upstreams": ["httpbin", "127.0.0.0/8"]})
        user = self.made(gate.api.post(gate.org + "/api-users", {"name": "guide", "role": "admin"}))
        gate.id_token = ""
        status, token = self.shell(gate, TOKEN, **{"<API-USER-TOKEN>": user["token"]})
        self.assertEqual((status, token["expiresInSeconds"]), (200, "3600"))
        self.assertEqual(sorted(token), SHOWN["token"].split())
        gate.id_token = token["idToken"]

        status, organizations = self.shell(gate, ORGANIZATIONS)
        self.assertEqual((status, len(organizations)), (200, 1))
        self.assertEqual(set(SHOWN["organization"].split()) - set(organizations[0]), set())
        self.assertEqual((organizations[0]["id"], organizations[0]["name"]), (ORGANIZATION, "personal"))

        status, namespaces = self.shell(gate, NAMESPACES)
        self.assertEqual((status, len(namespaces)), (200, 3))
        self.shape(namespaces[0], "root")
        self.shape(namespaces[1], "cluster")
        self.assertEqual((namespaces[0]["id"], namespaces[0]["type"]), (ORGANIZATION, "root"))
        self.assertEqual((namespaces[1]["name"], namespaces[1]["parentId"]), (CLUSTER, ORGANIZATION))
        self.assertEqual(namespaces[1]["role"], "admin")

        status, policy = self.shell(gate, POLICY)
        self.assertEqual(status, 201, policy)
        self.shape(policy, "policy")
        sent = json.loads(re.search(r"--data-raw '(.*)'\Z", POLICY, re.S)[1].replace(r"'\''", "'"))
        self.assertEqual({k: policy[k] for k in sent}, sent)
        self.assertEqual((policy["routes"], policy["enforcedRoutes"]), ([], []))
        self.assertRegex(policy["id"], "^%s$" % UUID)
        self.assertRegex(policy["createdAt"], "^%s$" % MICROSECONDS)

        status, route = self.shell(
            gate, ROUTE, **{"{CLUSTER_STARTER_SUBDOMAIN}": CLUSTER, "bgrXNgrJFJmMZvPsVsbZHGWxVWP": policy["id"]}
        )
        self.assertEqual(status, 201, route)
        self.shape(route, "route")
        self.assertEqual(route["from"], "https://httpbin.trusted-dog-1049.pomerium.app")
        self.assertEqual(route["to"], ["http://httpbin:80"])
        self.assertEqual([(x["id"], x["name"]) for x in route["policies"]], [(policy["id"], policy["name"])])
        self.assertEqual((route["policyIds"], route["enforcedPolicies"]), ([policy["id"]], []))
        for name in SHOWN["route"].split():
            if isinstance(route[name], bool):
                self.assertIs(route[name], False, name)
        host = "httpbin.trusted-dog-1049.pomerium.app"
        self.becomes(gate, 403, host, [bearer(email="other@example.com")])
        self.assertEqual(self.status(gate, host, []), 401)


# ---- one document -------------------------------------------------------------------------------------------------
class Documents(Managing):
    def setUp(self):
        self.gate = self.managed()
        self.api, self.org = self.gate.api, self.gate.org

    def test_put_of_a_get(self):
        """Nothing changes but version and time; what the API gives is passed over."""
        policy = self.policy(self.gate, enforced=True, description="d", originatorId="me")
        route = self.route(self.gate, policies=[policy["id"]], timeout="10s", setRequestHeaders={"X-A": "b"})
        for path in ("/policies/" + policy["id"], "/routes/" + route["id"]):
            before = self.api.get(self.org + path)
            after = self.api.put(self.org + path, before.json)
            self.assertEqual(after.status, 200, after.text)
            self.assertEqual(
                dict(after.json, updatedAt="", policies=0, enforcedPolicies=0, routes=0, enforcedRoutes=0),
                dict(before.json, updatedAt="", policies=0, enforcedPolicies=0, routes=0, enforcedRoutes=0),
            )
            self.assertGreater(after.json["updatedAt"], before.json["updatedAt"])
            for answer, version in ((before, 1), (after, 2)):
                self.assertRegex(answer.headers["etag"], r'^"v%d-r\d+"$' % version)
            self.assertEqual(self.api.get(self.org + path).json, after.json)
        v1 = self.api.get("/api/v1/policies/" + policy["id"]).json
        again = self.api.put("/api/v1/policies/" + policy["id"], v1)
        self.assertEqual(again.status, 200, again.text)
        self.assertEqual(dict(again.json, updated_at=0), dict(v1, version=3, updated_at=0))
        self.assertEqual(self.api.get(self.org + "/policies/" + policy["id"]).json["originatorId"], "me")

    def test_life(self):
        for kind, body in (
            ("policies", {"name": "p", "ppl": ALLOW}),
            ("routes", {"name": "r", "from": "https://r.example.com", "to": [self.up.url]}),
        ):
            made = self.api.post(self.org + "/" + kind, body)
            self.assertEqual(made.status, 201, made.text)
            path = made.headers["location"]
            self.assertEqual(path, "%s/%s/%s" % (self.org, kind, made.json["id"]))
            self.assertEqual(self.api.get(path).json, made.json)
            changed = self.api.put(path, dict(body, name="new"))
            self.assertEqual((changed.status, changed.json["name"]), (200, "new"))
            self.assertEqual(changed.json["createdAt"], made.json["createdAt"])
            gone = self.api.delete(path)
            self.assertEqual((gone.status, gone.body), (204, b""))
            for answer in (self.api.get(path), self.api.put(path, body), self.api.delete(path)):
                self.assertEqual(answer.status, 404)
        self.assertEqual(self.api.get(self.org.replace(ORGANIZATION, "another") + "/policies").status, 404)
        self.assertEqual(self.api.call("PATCH", path, []).status, 405)

    def test_a_tag_is_of_all_that_is_shown(self):
        """A policy shows its routes: a new one is another representation of the policy, and no change of it."""
        policy = self.policy(self.gate)
        path = self.org + "/policies/" + policy["id"]
        tag = self.api.get(path).headers["etag"]
        route = self.route(self.gate, policies=[policy["id"]])
        again = self.api.get(path, headers={"If-None-Match": tag})
        self.assertEqual(again.status, 200)
        self.assertEqual([r["id"] for r in again.json["routes"]], [route["id"]])
        self.assertEqual(self.api.put(path, again.json, headers={"If-Match": tag}).status, 200)

    def test_entity_tags(self):
        path = self.org + "/policies/" + self.policy(self.gate)["id"]
        for tag, status in ((self.api.get(path).headers["etag"], 304), ('"v2"', 200), ('"v1"', 200)):
            self.assertEqual(self.api.get(path, headers={"If-None-Match": tag}).status, status)
        body = {"name": "q", "ppl": ALLOW}
        for old in ('"v2"', '"x"', '"v1-x"', '"v1-r"', '"v1-"', '"v-r1"', '"v2-r1"', 'W/"v1"'):
            self.assertEqual(self.api.put(path, body, headers={"If-Match": old}).status, 412)
            self.assertEqual(self.api.delete(path, headers={"If-Match": old}).status, 412)
        self.assertEqual(self.api.put(path, body, headers={"If-Match": '"v1"'}).status, 200)
        self.assertEqual(self.api.put(path, body, headers={"If-Match": "*"}).status, 200)
        v1 = "/api/v1/policies/" + path.rpartition("/")[2]
        self.assertEqual(self.api.get(v1, headers={"If-None-Match": '"v3"'}).status, 304)
        stale = self.api.put(v1, {"name": "x", "policy_data": {"ppl": ALLOW}}, headers={"If-Match": '"v2"'})
        self.assertEqual((stale.status, stale.json["code"]), (412, 412))
        self.assertEqual(self.api.delete(path, headers={"If-Match": '"v3"'}).status, 204)

    def test_conflicts(self):
        policy = self.policy(self.gate)
        route = self.route(self.gate, policies=[policy["id"]])
        body = {k: route[k] for k in ("from", "to")}
        twice = self.api.post(self.org + "/routes", dict(body, name="other"))
        self.assertEqual((twice.status, twice.json["error"]), (
            409, "from: the route r has the same from, path and prefix"))
        other = self.made(self.api.post(self.org + "/routes", dict(body, name="other", prefix="/a")))
        self.assertEqual(self.api.put(self.org + "/routes/" + other["id"], dict(body, name="o")).status, 409)
        for path in (self.org + "/policies/", "/api/v1/policies/"):
            used = self.api.delete(path + policy["id"])
            self.assertEqual(used.status, 409)
            self.assertIn("in use: 1 route names it", used.text)
        self.assertEqual(self.api.delete(self.org + "/routes/" + route["id"]).status, 204)
        self.assertEqual(self.api.delete(self.org + "/policies/" + policy["id"]).status, 204)

    def test_refused(self):
        """400, and the sentence names the place."""
        route = {"name": "r", "from": "https://r.example.com", "to": ["http://127.0.0.1"]}
        bad = {"allow": {"and": [{"emial": {"is": "a"}}]}}
        for path, body, place in (
            ("/policies", {"name": "p"}, "ppl: "),
            ("/policies", {"name": "p", "ppl": bad}, "ppl.allow.and[0]: "),
            ("/policies", {"name": "p", "ppl": [ALLOW, bad]}, "ppl[1].allow.and[0]: "),
            ("/policies", {"name": "p", "ppl": {"alow": {}}}, "ppl"),
            ("/policies", {"name": "", "ppl": ALLOW}, "name: "),
            ("/policies", {"name": "é" * 129, "ppl": ALLOW}, "name: at most 128 characters"),
            ("/policies", {"name": "p", "ppl": ALLOW, "enforcd": 1}, "enforcd: is no member of a policy; did you mean"),
            ("/policies", {"name": "p", "ppl": ALLOW, "namespaceId": "x"}, "namespaceId: "),
            ("/routes", dict(route, policyIds=["none"]), "policyIds[0]: "),
            ("/routes", dict(route, to=["http://10.1.2.3"]), "to[0]: "),
            ("/routes", dict(route, to=["http://127.0.0.1", "unix:/run/docker.sock"]), "to[1]: "),
            ("/routes", dict(route, to=["http://169.254.169.254/latest"]), "to[0]: "),
            ("/routes", dict(route, tlsSkipVerify=True), "tlsSkipVerify: "),
            ("/routes", dict(route, prefix="a"), "prefix: "),
            ("/routes", dict(route, prefixRewrite="a"), "prefixRewrite: "),
            ("/routes", dict(route, regex=".*"), "regex: "),
            ("/routes", dict(route, policy=bad), "policy.allow.and[0]: "),
            ("/routes", dict(route, tlsCustomCaFile="/etc/passwd"), "tlsCustomCaFile: "),
            ("/routes", dict(route, upstreamAuth={}), "upstreamAuth: "),
            ("/routes", dict(route, **{"from": "r.example.com"}), "from: "),
            ("/routes", dict(route, identityProviders=["test", "tets"]), "identityProviders[1]: "),
        ):
            with self.subTest(body=body):
                answer = self.api.post(self.org + path, body)
                self.assertEqual(answer.status, 400, answer.text)
                self.assertTrue(answer.json["error"].startswith(place), answer.json["error"])
        for body, place in (
            ({"name": "p", "policy_data": {"ppl": bad}}, "policy_data.ppl.allow.and[0]: "),
            ({"name": "p", "policy_data": {"usb": {}}}, "policy_data.usb: "),
            ({"name": "p", "policy_data": {}}, "policy_data.ppl: must be given"),
            ({"name": "p", "policy_data": {"ppl": ALLOW}, "activ": True}, "activ: is no member of a policy; did you"),
            ({"name": "p", "ppl": ALLOW}, "ppl: "),
        ):
            with self.subTest(body=body):
                answer = self.api.post("/api/v1/policies", body)
                self.assertEqual((answer.status, answer.json["code"]), (400, 400), answer.text)
                self.assertTrue(answer.json["details"].startswith(place), answer.json["details"])
        self.assertEqual(self.api.get(self.org + "/policies").json, [])
        self.assertEqual(self.api.get(self.org + "/routes").json, [])
        self.assertEqual(self.status(self.gate), 404)

    def test_read_only_things(self):
        organization = self.api.get(self.org).json
        self.assertEqual((organization["role"], organization["readOnly"]), ("owner", False))
        clusters = self.api.get(self.org + "/clusters").json
        namespaces = self.api.get(self.org + "/namespaces").json
        self.assertEqual([x["namespaceId"] for x in clusters], [x["id"] for x in namespaces[1:]])
        user = self.made(self.api.post(self.org + "/api-users", {"name": "v", "role": "viewer"}))
        viewer = self.api.as_(user["token"])
        self.assertEqual(viewer.get(self.org + "/namespaces").json[0]["role"], "viewer")
        self.assertEqual(viewer.get(self.org + "/policies").status, 200)
        for path in (self.org + "/policies", self.org + "/routes", "/api/v1/policies"):
            self.assertEqual(viewer.post(path, {}).status, 403)


class Lists(Managing):
    def test_windows(self):
        gate = self.managed()
        api, org = gate.api, gate.org
        spaces = [x["id"] for x in api.get(org + "/namespaces").json]
        for name, space in (("b", 0), ("a", 1), ("d", 1), ("c", 2)):
            self.policy(gate, name, namespaceId=spaces[space])

        def names(query, status=200):
            answer = api.get(org + "/policies?" + query)
            self.assertEqual(answer.status, status, answer.text)
            return "".join(x["name"] for x in answer.json) if status == 200 else answer.json["error"]

        self.assertEqual(names(""), "badc")
        self.assertEqual(names("limit=2"), "ba")
        self.assertEqual(names("limit=2&offset=2"), "dc")
        self.assertEqual(names("limit=2&offset=4"), "")
        self.assertEqual(names("namespaceId=" + spaces[0]), "b")
        self.assertEqual(names("namespaceId=%s&includeDescendants=true" % spaces[0]), "badc")
        self.assertEqual(names("namespaceId=%s&includeDescendants=true" % spaces[1]), "ad")
        self.assertEqual(names("namespaceId=%s&limit=1&offset=1" % spaces[1]), "d")
        self.assertEqual(names("orderBy=name"), "abcd")
        self.assertEqual(names("orderBy=-name&limit=3"), "dcb")
        self.assertEqual(names("orderBy=-updatedAt"), "cdab")
        self.assertEqual(names("unknown=1"), "badc")
        for query, word in (("limit=0", "limit"), ("limit=x", "limit"), ("offset=-1", "offset"),
                            ("namespaceId=none", "namespaceId"), ("includeDescendants=maybe", "includeDescendants"),
                            ("orderBy=ppl", "orderBy"), ("filter=%7B%7D", "filter")):  # fmt: skip
            self.assertIn(word, names(query, 400))
        tag = api.get(org + "/policies").headers["etag"]
        self.assertEqual(api.get(org + "/policies", headers={"If-None-Match": tag}).status, 304)
        self.route(gate)
        self.assertEqual(api.get(org + "/policies", headers={"If-None-Match": tag}).status, 200)

    def test_pages(self):
        """v1: numbered pages with their totals; past the end there is nothing."""
        api = self.managed().api
        for i in range(5):
            body = {"name": "p%d" % i, "description": "d", "policy_data": {"ppl": ALLOW}}
            made = self.made(api.post("/api/v1/policies", body))
            self.assertEqual((made["version"], made["active"], made["device_count"]), (1, True, 0))
            self.assertEqual((made["organization_id"], made["policy_data"]), (ORGANIZATION, {"ppl": ALLOW}))
            self.assertRegex(made["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        page = api.get("/api/v1/policies?page=2&page_size=2").json
        self.assertEqual([x["name"] for x in page["data"]], ["p2", "p3"])
        self.assertEqual([page[x] for x in ("total", "page", "page_size", "total_pages")], [5, 2, 2, 3])
        self.assertEqual(api.get("/api/v1/policies?page=4&page_size=2").json["data"], [])
        self.assertEqual(api.get("/api/v1/policies").json["page_size"], 20)
        for query in ("page=0", "page_size=0", "page_size=101", "page=x"):
            self.assertEqual(api.get("/api/v1/policies?" + query).status, 400)


# ---- what becomes of them -----------------------------------------------------------------------------------------
class Force(Managing):
    def setUp(self):
        self.gate = self.managed()
        self.api, self.org = self.gate.api, self.gate.org

    def test_within_a_second(self):
        """Made, changed, deleted: what comes next is decided by it, in the same process."""
        gate, pid = self.gate, self.gate.proc.pid
        other = [bearer(email="other@example.com")]
        self.assertEqual(self.status(gate), 404)
        policy = self.policy(gate)
        route = self.route(gate, policies=[policy["id"]])
        took = [self.becomes(gate, 200), self.becomes(gate, 403, fields=other), self.becomes(gate, 401, fields=[])]
        for i in range(5):
            self.made(self.api.put(self.org + "/policies/" + policy["id"], {"name": "p", "ppl": NOBODY}), 200)
            took.append(self.becomes(gate, 403))
            self.made(self.api.put(self.org + "/policies/" + policy["id"], {"name": "p", "ppl": ANYBODY}), 200)
            took.append(self.becomes(gate, 200, fields=other))
        self.assertEqual(self.api.delete(self.org + "/routes/" + route["id"]).status, 204)
        took.append(self.becomes(gate, 404))
        self.assertEqual((gate.proc.poll(), gate.pid), (None, pid))
        self.assertLess(max(took), 1.0 * PATIENCE)

    def test_enforced(self):
        """It holds for routes that are there and that come, of its namespace and below, while it is enforced."""
        gate = self.gate
        spaces = [x["id"] for x in self.api.get(self.org + "/namespaces").json]
        open_to_all = self.policy(gate, "all", ANYBODY)
        first = self.route(gate, "first", [open_to_all["id"]], namespaceId=spaces[1])
        second = self.route(gate, "second", [open_to_all["id"]], namespaceId=spaces[2])
        self.becomes(gate, 200, "second.example.com", [])
        guard = self.policy(gate, "guard", NOBODY, enforced=True, namespaceId=spaces[1])
        self.assertEqual([x["id"] for x in guard["enforcedRoutes"]], [first["id"]])
        self.becomes(gate, 403, "first.example.com")
        self.assertEqual(self.status(gate, "second.example.com"), 200)
        third = self.route(gate, "third", [open_to_all["id"]], namespaceId=spaces[1])
        self.assertEqual(third["enforcedPolicyIds"], [guard["id"]])
        self.assertEqual(third["enforcedPolicies"][0]["name"], "guard")
        self.becomes(gate, 403, "third.example.com")
        body = {"name": "guard", "ppl": NOBODY, "enforced": True}  # no namespace: the root's, for all
        self.made(self.api.put(self.org + "/policies/" + guard["id"], body), 200)
        self.becomes(gate, 403, "second.example.com")
        shown = self.api.get(self.org + "/routes/" + second["id"]).json
        self.assertEqual((shown["enforcedPolicyIds"], shown["policyIds"]), ([guard["id"]], [open_to_all["id"]]))
        self.made(self.api.put(self.org + "/policies/" + guard["id"], dict(body, enforced=False)), 200)
        for name in ("first", "second", "third"):
            self.becomes(gate, 200, name + ".example.com")
        self.assertEqual(self.api.get(self.org + "/routes/" + first["id"]).json["enforcedPolicyIds"], [])

    def test_inactive(self):
        """Neither admits nor denies; a client of v0 that does not know the word leaves it as it is."""
        gate = self.gate
        policy, guard = self.policy(gate, "p", ANYBODY), self.policy(gate, "guard", NOBODY)
        self.route(gate, policies=[policy["id"], guard["id"]])
        self.becomes(gate, 403)
        path = "/api/v1/policies/" + guard["id"]
        body = self.api.get(path).json
        self.made(self.api.put(path, dict(body, active=False)), 200)
        self.becomes(gate, 200)
        shown = self.api.get(self.org + "/policies/" + guard["id"]).json
        self.assertIs(shown["active"], False)
        self.made(self.api.put(self.org + "/policies/" + guard["id"], {"name": "guard", "ppl": NOBODY}), 200)
        self.assertIs(self.api.get(path).json["active"], False)
        self.assertEqual(self.status(gate), 200)
        self.made(self.api.put(path, {"name": "guard", "policy_data": {"ppl": NOBODY}}), 200)
        self.becomes(gate, 403)

    def test_settings_of_a_route(self):
        """What a body says of forwarding is what happens."""
        policy = self.policy(self.gate, ppl=ANYBODY)
        self.route(
            self.gate,
            policies=[policy["id"]],
            prefix="/a/",
            prefixRewrite="/b/",
            setRequestHeaders={"X-From-The-API": "yes"},
            setResponseHeaders={"X-Answer": "also"},
            hostRewrite="inner.example.com",
        )
        self.becomes(self.gate, 404)
        self.assertTrue(
            wait_until(lambda: ask(self.gate.port, "GET", "/a/x", host="r.example.com").status == 200, 1.0)
        )
        answer = ask(self.gate.port, "GET", "/a/x?q=1", host="r.example.com")
        self.assertEqual(answer.get(b"X-Answer"), [b"also"])
        seen = self.up.requests[-1]
        self.assertEqual(seen.target, "/b/x?q=1")
        self.assertEqual(seen.get("X-From-The-API"), ["yes"])
        self.assertEqual(seen.get("Host"), ["inner.example.com"])

    def test_no_policy_denies(self):
        self.route(self.gate)
        self.becomes(self.gate, 403)


class Kept(Managing):
    def state(self):
        folder = tempfile.TemporaryDirectory(prefix="tollgate-manage.")
        self.addCleanup(folder.cleanup)
        return folder.name

    def test_killed_while_writing(self):
        """After kill -9 all that was acknowledged is there, and in force; what was not is whole or not there."""
        state = self.state()
        gate = self.manage(state_dir=state)
        policy = self.policy(gate, "keeper", ANYBODY)
        acknowledged, stop = [], threading.Event()

        def write(n):
            for i in range(100000):
                if stop.is_set():
                    return
                name = "w%d-%d" % (n, i)
                body = {"name": name, "from": "http://%s.example.com" % name, "to": [self.up.url]}
                try:
                    answer = gate.api.post(gate.org + "/routes", dict(body, policyIds=[policy["id"]]))
                except (OSError, AssertionError, ValueError, http.client.HTTPException):
                    return
                if answer.status == 201:
                    acknowledged.append(answer.json)

        writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        for w in writers:
            w.start()
        self.assertTrue(wait_until(lambda: len(acknowledged) >= 25, 20))
        os.kill(gate.pid, signal.SIGKILL)
        stop.set()
        for w in writers:
            w.join()
        gate.stop(expect=-signal.SIGKILL)
        again = self.managed(state_dir=state)
        routes = {x["id"]: x for x in again.api.get(again.org + "/routes").json}
        for route in acknowledged:
            self.assertEqual(routes[route["id"]], route)
        self.assertLessEqual(len(routes), len(acknowledged) + 3)
        for route in acknowledged[:: max(1, len(acknowledged) // 10)]:
            self.assertEqual(self.status(again, route["name"] + ".example.com", []), 200)

    def test_a_thousand(self):
        count = 200 if SLOW else 1000
        gate = self.managed(state_dir=self.state())
        names = ["p%04d" % i for i in range(count)]
        link = Api(gate.manager_port, gate.api.token)
        for i, name in enumerate(names):
            ppl = {"allow": {"or": [{"email": {"is": "u%d@example.com" % i}}, {"groups": {"has": name}}]}}
            last = link.post(gate.org + "/policies", {"name": name, "ppl": ppl})
            self.assertEqual(last.status, 201, last.text)
        listed = []
        while len(listed) % 300 == 0:
            page = gate.api.get(gate.org + "/policies?limit=300&offset=%d" % len(listed)).json
            if not page:
                break
            listed += [x["name"] for x in page]
        self.assertEqual(listed, names)
        self.route(gate, policies=[last.json["id"]])
        self.assertLess(self.becomes(gate, 200, fields=[bearer(email="u%d@example.com" % (count - 1))]), 1.0 * PATIENCE)
        self.assertEqual(self.status(gate), 403)


if __name__ == "__main__":
    main()
