"""The official MCP client against an official MCP server with tollgate between: who signs is found by RFC 9728.

The client knows the server's URL and its own secret, nothing else. The provider is oidc-provider. Needs node and
`npm ci` in this directory (scripts/test does it).
"""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
from harness import PATIENCE, Case, ask, config, free_port, main, value, wait_until  # noqa: E402
from test_oidc import Node, need_node  # noqa: E402

TOOLS = {
    "allow": {"and": [{"domain": {"is": "corp.example"}}]},
    "deny": {"and": [{"mcp_tool": {"not_in": ["read_orders"]}}]},
}
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_orders"}}).encode()
JSON = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]


class McpSdk(Case):
    @classmethod
    def setUpClass(cls):
        need_node()
        super().setUpClass()

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="tollgate-mcp.")
        self.addCleanup(holder.cleanup)
        issuer_port, server_port, port = free_port(), free_port(), free_port()
        self.issuer = "http://127.0.0.1:%d" % issuer_port
        self.url = "http://127.0.0.1:%d/mcp" % port
        for args in (("provider.mjs", str(issuer_port), os.path.join(holder.name, "keys.json")),
                     ("mcp_server.mjs", str(server_port))):
            node = Node(*args)
            self.addCleanup(node.stop)
        self.server = node
        route = {
            "name": "mcp",
            "prefix": "/mcp",
            "to": "http://127.0.0.1:%d" % server_port,
            "policy": TOOLS,
            "resource_metadata": {"scopes_supported": ["api"], "resource_name": "Orders"},
        }
        cfg = config(
            [route], address="127.0.0.1:%d" % port,
            identity_providers={"corp": {"issuer": self.issuer, "audiences": [self.url], "profile": "rfc9068"}},
        )
        self.gate_of_test = self.start(cfg)
        self.gate_of_test.port = port
        self.host = "127.0.0.1:%d" % port

    def client(self, *args):
        p = subprocess.run(["node", "mcp_client.mjs", self.url] + list(args), cwd=HERE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=60 * PATIENCE, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)
        return json.loads(p.stdout)

    def test_finds_its_way(self):
        """One 401, the metadata of the resource, that of the authorization server, a token, and the tool answers."""
        said = self.client("robot", "read_orders", "delete_orders")
        self.assertNotIn("error", said, said)
        self.assertEqual(said["tools"], ["read_orders", "delete_orders"])
        self.assertEqual(said["calls"]["read_orders"], "read_orders: done")
        self.assertEqual(said["calls"]["delete_orders"], {"status": 403})
        asked = said["asked"]
        self.assertEqual(asked[0], "POST %s 401" % self.url)
        self.assertEqual(asked[1], "GET http://%s/.well-known/oauth-protected-resource/mcp 200" % self.host)
        self.assertTrue(all(a.split()[1].startswith((self.issuer, self.url)) for a in asked[2:]), asked)
        self.assertEqual([a for a in asked if "/token " in a], ["POST %s/token 200" % self.issuer])
        called = json.loads(self.server.p.stdout.readline())
        self.assertEqual(called["tool"], "read_orders")
        self.assertTrue(called["authorization"].startswith("Bearer "))

        def refused():
            return [x for x in self.gate_of_test.log("/mcp", 0) if x.get("status") == 403]

        self.assertTrue(wait_until(lambda: len(refused()) == 1), refused())

    def test_somebody_else(self):
        """A token that the policy does not want: the tools are not even listed."""
        said = self.client("stranger", "read_orders")
        self.assertIn("403", said["error"])
        self.assertNotIn("tools", said)

    def test_metadata(self):
        """What the client found, as RFC 9728 §2, §3 and §5.1 want it."""
        m = ask(self.gate_of_test.port, "POST", "/mcp", JSON, CALL, host=self.host)
        where = "http://%s/.well-known/oauth-protected-resource/mcp" % self.host
        self.assertStatus(m, 401)
        self.assertEqual(value(m, "WWW-Authenticate").count("resource_metadata="), 1)
        self.assertIn('resource_metadata="%s"' % where, value(m, "WWW-Authenticate"))
        self.assertNotIn("error=", value(m, "WWW-Authenticate"))
        m = ask(self.gate_of_test.port, "GET", "/.well-known/oauth-protected-resource/mcp", host=self.host)
        self.assertStatus(m, 200)
        self.assertEqual(value(m, "Content-Type"), "application/json")
        self.assertEqual(value(m, "Access-Control-Allow-Origin"), "*")
        doc = json.loads(m.body)
        self.assertEqual(doc["resource"], self.url)
        self.assertEqual(doc["authorization_servers"], [self.issuer])
        self.assertEqual(doc["bearer_methods_supported"], ["header"])
        self.assertEqual(doc["scopes_supported"], ["api"])
        self.assertEqual(doc["resource_name"], "Orders")


if __name__ == "__main__":
    main()
