"""The contract's acceptance checks of management, sync, webhooks and audit, in its order and with its commands.

A test's name is that of its checks. Commands run in a shell as they are printed there, with its variables and its
functions code and j; what it gives to jq is done in Python. Each answer of the management API is judged by openapi.json.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from control_plane import ControlPlane
from harness import PATIENCE, Case, Tollgate, config, free_port, main, members, mint, run, token, wait_until
from openapi import check
from sync_case import API_USER, ORG, policy
from test_webhooks import Sink

# code and j print what the contract's do; i is `curl -si`. All keep the whole exchange in $LOG for the judge.
SHELL = r"""
exchange() {
    local n; n=$(mktemp "$LOG/XXXXXXXX"); : >"$n.body"
    command curl -s -o "$n.body" -D "$n.head" -w '%{method} %{url} %{http_code}' "$@" >"$n.what"; echo "$n"
}
code() { sed 's/.* //' "$(exchange "$@").what"; echo; }
j() { cat "$(exchange "$@").body"; }
i() { local n; n=$(exchange "$@"); cat "$n.head" "$n.body"; }
"""
KEY = mint.ec_key("P-256", "operators")
LIMITS = {"unauthenticated": 1000}  # R3 sends many refused requests
ALLOW = {"allow": {"and": [{"email": {"is": "at@example.com"}}]}}


class Acceptance(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dir = tempfile.mkdtemp(prefix="tollgate-acceptance.")
        cls.sink = Sink()
        cls.plane = ControlPlane()
        cls.manager = free_port()
        cls.env = {
            "LOG": os.path.join(cls.dir, "log"),
            "MG": "http://127.0.0.1:%d" % cls.manager,
            "UP": cls.up.url,
            "HOOK": cls.sink.url,
            "AT": token(email="at@example.com", sub="at"),
            "AT_USER": token(),
        }
        for folder in ("log", "state", "cache"):
            os.mkdir(os.path.join(cls.dir, folder))
        cls.write("operator.pem", mint.pem(mint.spki(KEY)))
        cls.gate = cls.managing()
        code, out, err = run("token", "create", "--kind", "api-user", "--name", "acceptance", "--role", "owner", "-c",
                             cls.gate.config_path)  # fmt: skip
        assert code == 0, err
        cls.env["API"] = out.strip()

    @classmethod
    def tearDownClass(cls):
        cls.sink.stop()
        cls.plane.stop()
        super().tearDownClass()
        shutil.rmtree(cls.dir, True)

    @classmethod
    def write(cls, name, text):
        path = os.path.join(cls.dir, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    @classmethod
    def managing(cls):
        routes = [members(cls.up, name="echo", prefix="/echo"),
                  members(cls.up, name="zerops", prefix="/fmt-zerops", error_format="zerops")]  # fmt: skip
        management = {
            "address": "127.0.0.1:%d" % cls.manager,
            "limits": LIMITS,
            "webhooks": {"allowed_networks": ["127.0.0.0/8"]},
            "operators": [{"id": "system", "public_key_file": os.path.join(cls.dir, "operator.pem")}],
        }
        state = os.path.join(cls.dir, "state")
        gate = Tollgate(config(routes, management=management, state_dir=state))
        cls.env["DP"] = "http://127.0.0.1:%d" % gate.port
        return gate

    def sh(self, script, **more):
        """What the script prints; its exchanges with the management API are judged."""
        log = self.env["LOG"]
        p = subprocess.run(["bash", "-c", SHELL + script], env={**os.environ, **self.env, **more}, text=True,
                           stdout=subprocess.PIPE, timeout=60 * PATIENCE)  # fmt: skip
        for name in sorted(os.listdir(log)):
            if name.endswith(".what"):
                self.judge(os.path.join(log, name[:-5]))
        shutil.rmtree(log)
        os.mkdir(log)
        return p.stdout

    def judge(self, path):
        with open(path + ".what", encoding="ascii") as f:
            method, url, status = f.read().split()
        if not url.startswith(self.env["MG"]):
            return
        with open(path + ".head", encoding="latin-1") as f:
            lines = f.read().replace("\r", "").split("\n")[1:]
        with open(path + ".body", "rb") as f:
            body = f.read()
        fields = [(n.lower(), v.strip()) for n, _, v in (x.partition(":") for x in lines if x)]
        check(method, url[len(self.env["MG"]):], int(status), fields, body)

    def codes(self, script, **more):
        return [int(x) for x in self.sh(script, **more).split()]

    def json(self, script, **more):
        return json.loads(self.sh(script, **more))

    # -- the first block runs first: it sets $ID and $ORG
    def test_01_P2_P3(self):
        said = self.json(r"""
j --location "$MG/api/v0/token" --header 'Content-Type: application/json' --data "{\"refreshToken\":\"$API\"}" """)
        self.assertIsInstance(said["expiresInSeconds"], str)
        self.env["ID"] = said["idToken"]
        organizations = self.json(r"""
j --location "$MG/api/v0/organizations" -H "Authorization: Bearer $ID" """)
        self.assertEqual(len(organizations), 1)
        self.env["ORG"] = organizations[0]["id"]
        self.env.update(A="Authorization: Bearer " + said["idToken"], J="Content-Type: application/json")
        self.env["O"] = "%s/api/v0/organizations/%s" % (self.env["MG"], self.env["ORG"])

    def test_02_Z1_Z2_Z3(self):
        said = self.sh(r"""i "$MG/api/v1/health" | tr -d '\r' | grep -iE '^(HTTP|x-ratelimit)' """).splitlines()
        self.assertIn(" 200", said[0])
        self.assertEqual(len(said), 4)
        self.assertEqual(self.json(r"""j -H "Authorization: Bearer $ID" "$MG/api/v9/x" """)["code"], 404)
        self.assertEqual(self.codes(r"""
code -XPOST -H "Authorization: Bearer $ID" -H 'Content-Type: text/plain' -d x "$MG/api/v1/policies" """), [415])
        said = self.json(r"""
j -XPOST -H "Authorization: Bearer $ID" -H 'Content-Type: application/json' -d '{' "$MG/api/v1/policies" """)
        self.assertEqual(said["code"], 400)
        self.assertTrue(said["details"])

    def test_03_Z4(self):
        said = self.json(r"""j "$MG/api/v1/policies" """)
        self.assertEqual((said["code"], type(said["message"])), (401, str))

    def test_04_Z5(self):
        said = self.json(r"""j -H "Authorization: Bearer $ID" "$MG/api/v1/policies?page=1&page_size=2" """)
        self.assertEqual(sorted(said), ["data", "page", "page_size", "total", "total_pages"])
        self.assertEqual(self.codes(r"""
code -H "Authorization: Bearer $ID" "$MG/api/v1/policies?page_size=101"; code -H "Authorization: Bearer $ID" "$MG/api/v1/policies?page=0"
"""), [400, 400])
        said = self.json(r"""j -H "Authorization: Bearer $ID" "$MG/api/v1/policies?page=9999" """)
        self.assertEqual(said["data"], [])

    def test_05_Z11_on_the_management_API(self):
        self.assertEqual(self.codes(r"""code -XPOST -d '{}' "$MG/api/v1/auth/login" """), [404])

    def test_06_Z13(self):
        self.assertEqual(self.codes(r"""
I2=$(j "$MG/api/v0/token" -H "$J" --data "{\"refreshToken\":\"$API\"}" | sed 's/.*"idToken": *"\([^"]*\)".*/\1/')
code -XPOST -H "Authorization: Bearer $I2" "$MG/api/v1/auth/logout"
code -H "Authorization: Bearer $I2" "$MG/api/v0/organizations"; code -H "$A" "$MG/api/v0/organizations"
"""), [204, 401, 200])

    def test_07_Z19_to_Z23(self):
        said = self.sh(r"""
i -XPOST -H "Authorization: Bearer $ID" -H 'Content-Type: application/json' -d '{"name":"p","policy_data":{"ppl":{"allow":{"and":[{"email":{"is":"a@b.c"}}]}}}}' "$MG/api/v1/policies"
""")
        head, _, body = said.replace("\r", "").partition("\n\n")
        made = json.loads(body)
        self.assertIn(" 201", head.splitlines()[0])
        self.assertIn("location: /api/v1/policies/" + made["id"], head.lower())
        self.assertEqual(made["version"], 1)
        self.assertEqual(self.json(r"""
j -XPUT -H "Authorization: Bearer $ID" -H 'Content-Type: application/json' -d '{"name":"p2","policy_data":{"ppl":{"deny":{"and":[{"accept":true}]}}}}' "$MG/api/v1/policies/$PID"
""", PID=made["id"])["version"], 2)
        self.assertEqual(self.codes(r"""
code -XDELETE -H "Authorization: Bearer $ID" "$MG/api/v1/policies/$PID"; code -H "Authorization: Bearer $ID" "$MG/api/v1/policies/$PID"
""", PID=made["id"]), [204, 404])

    def test_08_Z27_Z28(self):
        said = self.json(r"""
j -XPOST -H "Authorization: Bearer $ID" -H 'Content-Type: application/json' -d "{\"url\":\"$HOOK\",\"events\":[\"policy.updated\"],\"secret\":\"your-webhook-secret\"}" "$MG/api/v1/webhooks"
""")
        self.assertNotIn("secret", said)
        self.assertEqual(self.codes(r"""
code -XPOST -H "Authorization: Bearer $ID" -H 'Content-Type: application/json' -d '{"url":"http://169.254.169.254/","events":["policy.updated"],"secret":"s"}' "$MG/api/v1/webhooks"
"""), [400])
        self.sink.answers = [500]
        self.json(r"""
PID=$(j -XPOST -H "$A" -H "$J" -d '{"name":"w","policy_data":{"ppl":{"allow":{"and":[{"accept":true}]}}}}' "$MG/api/v1/policies" | sed 's/.*"id": *"\([^"]*\)".*/\1/')
j -XPUT -H "$A" -H "$J" -d '{"name":"w2","policy_data":{"ppl":{"allow":{"and":[{"accept":true}]}}}}' "$MG/api/v1/policies/$PID"
""")
        got = self.sink.deliveries(2, 5)
        self.assertEqual(len(got), 2)
        self.assertEqual(got[0][3], got[1][3])  # the same octets again
        for _, _, fields, body in got:
            fields = {k.lower(): v for k, v in fields.items()}
            signature = self.sh(r"""
printf %s "$B" | openssl dgst -sha256 -hmac your-webhook-secret | sed 's/.* /sha256=/' """, B=body.decode()).strip()
            self.assertEqual(fields["x-zero-signature"], signature)

    def test_09_Z29(self):
        page = self.json(r"""
j -H "Authorization: Bearer $ID" "$MG/api/v1/audit-logs?action=policy.update&page_size=5" """)
        self.assertEqual(page["total_pages"], 1)
        self.assertEqual({e["action"] for e in page["data"]}, {"policy.update"})
        self.assertEqual(sorted(page["data"][0]), sorted(
            ["id", "timestamp", "actor", "action", "resource", "details", "source_ip", "result", "request_id"]))  # fmt: skip
        everything = self.json(r"""j -H "Authorization: Bearer $ID" "$MG/api/v1/audit-logs?page_size=100" """)["data"]
        self.assertGreater(len(everything), 5)
        times = [e["timestamp"] for e in everything]
        self.assertEqual(times, sorted(times, reverse=True))
        self.assertEqual(self.sh(r"""
j -H "Authorization: Bearer $ID" "$MG/api/v1/audit-logs?page_size=100" | grep -cF -e "$API" -e "$AT" -e your-webhook-secret
"""), "0\n")

    def test_10_Z30(self):
        self.assertRegex(self.json(r"""j "$MG/api/v1/openapi.json" """)["openapi"], r"^3\.1\.\d+$")

    def test_11_P2_second_half(self):
        self.assertEqual(self.codes(r"""
code --location "$MG/api/v0/token" -H 'Content-Type: application/json' --data '{"refreshToken":"nope"}'; code --location "$MG/api/v0/token" --data '{}'
"""), [400, 400])

    def test_12_P1(self):
        made = self.json(r"""j -XPOST -H "$A" -H "$J" -d '{"name":"bot","role":"viewer"}' "$O/api-users" """)
        self.env["VIEWER"] = made["token"]
        self.assertEqual(self.sh(r"""j -H "$A" "$O/api-users" | grep -cF "$VIEWER" """), "0\n")
        self.assertEqual(self.sh(r"""j -H "$A" "$O/api-users" | grep -c '"bot"' """), "1\n")

    def test_13_P4(self):
        said = self.json(r"""
j --location "$MG/api/v0/organizations/$ORG/namespaces" -H "Authorization: Bearer $ID" """)
        self.assertEqual(len([n for n in said if n["type"] == "root" and n["id"] == self.env["ORG"]]), 1)

    def test_14_P5_P6(self):
        said = self.sh(r"""
i --location "$MG/api/v0/organizations/$ORG/policies" -H 'Content-Type: application/json' -H "Authorization: $ID" --data-raw "{\"namespaceId\":\"$ORG\",\"name\":\"Allow only matching email\",\"enforced\":false,\"ppl\":{\"allow\":{\"and\":[{\"email\":{\"is\":\"user@example.com\"}}]}},\"description\":\"d\",\"explanation\":\"e\",\"remediation\":\"r\"}"
""")
        head, _, body = said.replace("\r", "").partition("\n\n")
        made = json.loads(body)
        self.assertIn(" 201", head.splitlines()[0])
        self.assertEqual((made["name"], made["routes"]), ("Allow only matching email", []))
        self.assertEqual(self.codes(r"""
code -H "Authorization: $AT" "$DP/echo"; code -H "Authorization: $API" "$MG/api/v0/organizations" """), [401, 401])

    def test_15_P7(self):
        made = self.json(r"""
j -XPOST -H "$A" -H "$J" -d "{\"namespaceId\":\"$ORG\",\"name\":\"q\",\"enforced\":false,\"ppl\":{\"allow\":{\"and\":[{\"accept\":true}]}}}" "$O/policies"
""")
        self.assertEqual(self.codes(r"""
code -H "$A" "$O/policies/$Q"; code -XPUT -H "$A" -H "$J" -d "$(j -H "$A" "$O/policies/$Q")" "$O/policies/$Q"
code -XDELETE -H "$A" "$O/policies/$Q"; code -H "$A" "$O/policies/$Q"
""", Q=made["id"]), [200, 200, 204, 404])

    def test_16_P9(self):
        policies = self.json(r"""j -H "$A" "$O/policies" """)
        self.env["PE"] = [p["id"] for p in policies if p["name"] == "Allow only matching email"][0]
        said = self.sh(r"""
i -XPOST -H "$A" -H "$J" -d "{\"namespaceId\":\"$ORG\",\"name\":\"HTTP Bin\",\"from\":\"http://httpbin.example.test\",\"to\":[\"$UP\"],\"policyIds\":[\"$PE\"]}" "$O/routes"
""").replace("\r", "")
        head, _, body = said.partition("\n\n")
        self.assertIn(" 201", head.splitlines()[0])
        made = json.loads(body)
        self.env["RT"] = made["id"]
        self.assertEqual((made["tlsSkipVerify"], made["policies"][0]["name"]), (False, "Allow only matching email"))
        self.assertEqual(self.codes(r"""
code -XPOST -H "$A" -H "$J" -d "{\"namespaceId\":\"$ORG\",\"name\":\"r2\",\"from\":\"http://r2.example.test\",\"to\":[\"$UP\"],\"policyIds\":[\"none\"]}" "$O/routes"
"""), [400])

    def test_17_P8(self):
        enforced = self.json(r"""
j -XPOST -H "$A" -H "$J" -d "{\"namespaceId\":\"$ORG\",\"name\":\"e\",\"enforced\":true,\"ppl\":{\"allow\":{\"and\":[{\"accept\":true}]}}}" "$O/policies"
""")["id"]
        self.assertEqual(self.json(r"""j -H "$A" "$O/routes/$RT" """)["enforcedPolicyIds"].count(enforced), 1)
        self.assertEqual(self.codes(r"""code -XDELETE -H "$A" "$O/policies/$E" """, E=enforced), [204])

    def test_18_P10(self):
        check_both = r"""
code -H 'Host: httpbin.example.test' -H "Authorization: Bearer $AT_USER" "$DP/"; code -H 'Host: httpbin.example.test' -H "Authorization: Bearer $AT" "$DP/"
"""
        self.assertEqual(self.codes("sleep 1" + check_both), [200, 403])
        cls = type(self)
        cls.gate.stop()
        cls.gate = self.managing()
        self.assertEqual(self.codes(check_both), [200, 403])

    def test_19_P5_role_b(self):
        """The synced route, from a stub of a control plane that is switched."""
        plane, cls = self.plane, type(self)
        route = {"id": "r", "name": "r", "namespaceId": ORG, "from": "https://127.0.0.1", "prefix": "/synced",
                 "to": [self.up.url], "policyIds": ["p"]}  # fmt: skip
        plane.publish([policy("p", ALLOW)], [route])
        synced = Tollgate(config(None, state_dir=os.path.join(self.dir, "cache"), sync={
            "url": plane.url, "interval": "1s", "credential": {"api_user_token": API_USER}}))  # fmt: skip
        self.addCleanup(synced.stop)
        ask_synced, dp = r"""code -H "Authorization: Bearer $AT" "$DP/synced" """, "http://127.0.0.1:%d" % synced.port
        got = []
        for mode in ("allow", "broken", "down", "deny"):
            if mode == "broken":
                plane.publish([policy("p", {"allow": {"and": [{"emial": {"is": "x"}}]}})], [route])
            elif mode == "down":
                plane.stop()
            elif mode == "deny":
                plane = cls.plane = ControlPlane(plane.port)
                plane.publish([policy("p", {"deny": {"and": [{"accept": True}]}})], [route])
                wait_until(lambda: self.codes(ask_synced, DP=dp) == [403], 10, 0.2)
            if mode in ("broken", "down"):
                time.sleep(2)
            got += self.codes(ask_synced, DP=dp)
        self.assertEqual(got, [200, 200, 200, 403])

    def test_20_P11(self):
        said = self.json(r"""j -H "$A" "$O/clusters" """)
        self.assertTrue(said and all("namespaceId" in c for c in said))

    def test_21_P12(self):
        self.assertEqual(self.codes(r"""
code -H "Authorization: Bearer $VIEWER" "$O/policies"
code -XPOST -H "Authorization: Bearer $VIEWER" -H 'Content-Type: application/json' -d '{}' "$MG/api/v0/organizations/$ORG/policies"
"""), [200, 403])

    def test_22_R1_R2_R3(self):
        made = self.json(r"""
j -XPOST -H "Authorization: Bearer $ID" -H 'Content-Type: application/json' -d '{"name":"ci"}' "$MG/api/v1/tokens" """)
        self.env["V"] = made["token"]
        self.assertEqual(self.codes(r"""code -H "Authorization: Bearer $V" "$MG/api/v1/policies" """), [200])
        self.assertEqual(self.sh(r"""j -H "Authorization: Bearer $ID" "$MG/api/v1/tokens" | grep -cF "$V" """), "0\n")
        got = self.codes(r"""
code -XDELETE -H "Authorization: Bearer $ID" "$MG/api/v1/tokens/$T"; for i in $(seq 50); do code -H "Authorization: Bearer $V" "$MG/api/v1/policies"; done
""", T=made["id"])
        self.assertEqual(got, [204] + [401] * 50)

    def test_23_R6_R8(self):
        self.assertEqual(self.codes(r"""
code -H "Authorization: Bearer $VIEWER" "$MG/api/v1/policies"; code -XPOST -H "Authorization: Bearer $VIEWER" -H "$J" -d '{}' "$MG/api/v1/policies"
"""), [200, 403])
        said = self.json(r"""j -H "$A" "$MG/api/v1/tokens" """)["data"]
        self.assertRegex(said[0]["last_used_at"], r"^\d{4}-.*Z$")
        self.assertTrue(all(t["last_used_at"] for t in said), said)

    def test_24_R5(self):
        self.assertEqual(self.sh(r"""
for h in "X: y" "Authorization: Bearer junk" "Authorization: Bearer $V"; do j -H "$h" "$DP/fmt-zerops" | sha256sum; done | sort -u | wc -l
""").strip(), "1")

    def test_25_I7(self):
        for aud, status in (("app", 200), (["x", "app"], 200), (None, 401), ("other", 401)):
            got = self.codes(r"""code -H "Authorization: Bearer $T" "$DP/echo" """, T=token(aud=aud))
            self.assertEqual(got, [status], aud)
        self.assertEqual(self.codes(r"""code -H "Authorization: Bearer $AT" "$MG/api/v0/organizations" """), [401])

    def test_26_I11(self):
        def signed(aud, age=0):
            now = int(time.time()) - age
            claims = {"iss": "system", "sub": "system", "aud": aud, "iat": now, "exp": now + age + 3600}
            return mint.jws(KEY, {"alg": "ES256"}, claims, "ES256")

        url = self.env["MG"]
        noport = re.sub(r":\d+$", "", url)
        self.assertEqual(self.codes(r"""
for t in "$SYSJWT" "$SYSJWT_OLD" "$SYSJWT_NOPORT"; do code -H "Authorization: Bearer $t" "$MG/api/v0/organizations"; done
""", SYSJWT=signed(url), SYSJWT_OLD=signed(url, 7200), SYSJWT_NOPORT=signed(noport)), [200, 401, 401])

    def test_27_I22_on_the_management_API(self):
        self.assertEqual(self.codes(r"""code -XPOST -d grant_type=client_credentials "$MG/oauth/v2/token" """), [404])


if __name__ == "__main__":
    main()
