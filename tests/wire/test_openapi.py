"""The management API's description: complete, of one piece, and of the endpoints that there are, no more and no fewer.

Every answer of the other tests is compared with it (openapi.py); here it is the document itself.
"""

import glob
import json
import os
import re
import unittest

from harness import TOP, Case, ask, main, value
from openapi import DOCUMENT, LIMIT_FIELDS, resolved, check, check_message
from test_management import PEACE, start, user

METHODS = ("get", "post", "put", "patch", "delete")
ENDPOINT = re.compile(r'\{TG_METHOD_(\w+), (ALL)?\s*(?:"([^"]*)")?, API_(\w+), API_(\w+), \w+\}')
NAME = re.compile(r"\{(\w+)\}")


def operations():
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def tables():
    """{(METHOD, path): (need, body)}, from the tables of the sources."""
    found = {}
    for source in sorted(glob.glob(os.path.join(TOP, "proxy", "admin", "v[01]_*.c"))):
        with open(source, encoding="utf-8") as f:
            text = f.read()
        base = re.findall(r'^#define ALL "([^"]+)"$', text, re.M)
        lines = re.findall(r"^    \{TG_METHOD_", text, re.M)
        entries = ENDPOINT.findall(text)
        if len(entries) != len(lines):
            raise AssertionError("%s: a table of another form" % source)
        for method, everything, path, need, body in entries:
            found[method, (base[0] if everything else "") + path] = need, body
    return found


def refs(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for v in node.values():
            yield from refs(v)
    elif isinstance(node, list):
        for v in node:
            yield from refs(v)


def schemas(node):
    """Everything below that is a schema with members."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            yield node
        for v in node.values():
            yield from schemas(v)
    elif isinstance(node, list):
        for v in node:
            yield from schemas(v)


class Document(unittest.TestCase):
    def test_every_operation_says_what_it_is(self):
        tags = {t["name"] for t in DOCUMENT["tags"]}
        ids, used = [], set()
        for path, method, op in operations():
            what = "%s %s" % (method, path)
            self.assertIn(method, METHODS, what)
            ids.append(op["operationId"])
            self.assertRegex(op["operationId"], r"^[a-z][A-Za-z0-9]+$", what)
            for member in ("summary", "description"):
                self.assertTrue(op[member].strip(), what)
            self.assertNotIn(op["description"].rstrip("."), (op["summary"], ""), what)
            self.assertEqual(len(op["tags"]), 1, what)
            self.assertIn(op["tags"][0], tags, what)
            used.add(op["tags"][0])
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual(used, tags)

    def test_every_reference_is_there_and_every_component_is_used(self):
        used = set(refs(DOCUMENT))
        for ref in used:
            self.assertTrue(ref.startswith("#/components/"), ref)
            self.assertTrue(resolved({"$ref": ref}), ref)
        there = {
            "#/components/%s/%s" % (kind, name)
            for kind, all_ in DOCUMENT["components"].items()
            for name in all_
            if kind != "securitySchemes"
        }
        self.assertEqual(there - used, set())

    def test_parameters(self):
        for path, method, op in operations():
            what = "%s %s" % (method, path)
            given = [resolved(p) for p in op.get("parameters", [])]
            self.assertEqual(len({(p["in"], p["name"]) for p in given}), len(given), what)
            self.assertEqual([p["name"] for p in given if p["in"] == "path"], NAME.findall(path), what)
            for p in given:
                self.assertTrue(p["description"] and p["schema"], what)
                self.assertEqual(p.get("required", False), p["in"] == "path" or p["name"] == "X-Zero-Signature", what)

    def test_statuses(self):
        for path, method, op in operations():
            what, codes = "%s %s" % (method, path), set(op["responses"])
            want = {"400", "429", "500", "503"}
            if op.get("security") != []:
                want |= {"401", "403"}
            if "{" in path:
                want.add("404")
            if "requestBody" in op:
                want |= {"413"} if path == "/api/v0/token" else {"413", "415"}
            self.assertLessEqual(want, codes, what)
            good = {c for c in codes if c < "300"}
            self.assertEqual(good, {{"delete": "204"}.get(method, min(good))}, what)
            given = {resolved(p)["name"] for p in op.get("parameters", [])}
            self.assertEqual(("304" in codes, "412" in codes), ("If-None-Match" in given, "If-Match" in given), what)
            view = "ErrorV0" if path.startswith("/api/v0/") else "ErrorV1"
            for code, response in op["responses"].items():
                response = resolved(response)
                self.assertTrue(response["description"], what)
                self.assertLessEqual(set(LIMIT_FIELDS), {n.lower() for n in response["headers"]}, what + code)
                if code >= "400":
                    self.assertEqual(
                        response["content"], {"application/json": {"schema": {"$ref": "#/components/schemas/" + view}}}
                    )
                self.assertEqual(code in ("204", "304"), "content" not in response, what + code)
                if code == "201":
                    self.assertIn("Location", response["headers"], what)
                if code in ("401",):
                    self.assertIn("WWW-Authenticate", response["headers"], what)
                if code in ("429", "503"):
                    self.assertIn("Retry-After", response["headers"], what)

    def test_answers_are_closed(self):
        """Else a member that the document lacks would go unseen."""
        for name, schema in DOCUMENT["components"]["schemas"].items():
            for part in schemas(schema):
                self.assertLessEqual(set(part.get("required", [])), set(part["properties"]), name)
                if part is schema and name in ("PolicyBody", "RouteBody", "PolicyV1Body"):
                    continue  # what only answers have is ignored there
                self.assertIs(part.get("additionalProperties"), False, name)

    def test_the_tables_of_the_sources(self):
        there = {(m.upper(), p): o for p, m, o in operations()}
        table = tables()
        self.assertGreater(len(table), 30)
        self.assertEqual(set(there), set(table))
        for key, (need, body) in table.items():
            self.assertEqual(there[key].get("security") == [], need == "PUBLIC", key)
            self.assertEqual("requestBody" in there[key], body != "NO_BODY", key)


class Judge(unittest.TestCase):
    """openapi.py itself: what it must not let pass."""

    GOOD = [("content-type", "application/json")] + [(n, "1") for n in LIMIT_FIELDS]

    def test_wrong_answers(self):
        health = {"status": "ok", "version": "1", "time": "2026-02-12T10:30:00Z"}
        check("GET", "/api/v1/health", 200, self.GOOD, json.dumps(health).encode())
        for method, path, status, fields, body in (
            ("GET", "/api/v1/health", 200, self.GOOD, {**health, "more": 1}),
            ("GET", "/api/v1/health", 200, self.GOOD, {"version": "1"}),
            ("GET", "/api/v1/health", 200, self.GOOD, {**health, "status": "bad"}),
            ("GET", "/api/v1/health", 200, self.GOOD, {**health, "time": "2026-02-12 10:30"}),
            ("GET", "/api/v1/health", 200, self.GOOD[:-1], health),
            ("GET", "/api/v1/health", 200, self.GOOD + self.GOOD[-1:], health),
            ("GET", "/api/v1/health", 200, [("content-type", "text/plain")] + self.GOOD[1:], health),
            ("GET", "/api/v1/health", 201, self.GOOD, health),
            ("GET", "/api/v1/health", 400, self.GOOD, {"error": "the other view's"}),
            ("GET", "/api/v1/health", 500, self.GOOD, {"code": 500, "message": "internal server error"}),
            ("PATCH", "/api/v1/health", 200, self.GOOD, health),
            ("GET", "/api/v1/policies", 200, self.GOOD, []),
            ("GET", "/api/v1/policies/x", 401, self.GOOD, {"code": 401, "message": "unauthorized"}),
            ("GET", "/api/v1/nothing", 200, self.GOOD, {}),
            ("GET", "/api/v0/nothing", 404, self.GOOD, {"code": 404, "message": "not found"}),
        ):
            with self.assertRaises(AssertionError, msg=(method, path, status, body)):
                check(method, path, status, fields, json.dumps(body).encode())


class Served(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gate = start(cls.up, limits=PEACE)
        cls.owner = user(cls.gate, "owner")

    def test_each_path_offers_its_methods_alone(self):
        for path, item in DOCUMENT["paths"].items():
            target = NAME.sub("org", path, count=1) if "{organization}" in path else path
            target = NAME.sub("none", target)
            allowed = [m.upper() for m in METHODS if m in item]
            for method in METHODS:
                m = ask(self.gate.api_port, method.upper(), target, [("Authorization", "Bearer " + self.owner)])
                check_message(method.upper(), target, m)
                if method in item:
                    self.assertNotEqual(m.status, 405, (method, target))
                    continue
                self.assertEqual(m.status, 405, (method, target))
                offered = [a for a in value(m, "Allow").split(", ") if a != "HEAD"]
                self.assertEqual(sorted(offered), sorted(allowed), target)

    def test_without_a_credential_all_but_the_open_ones_are_401(self):
        for path, method, op in operations():
            m = ask(self.gate.api_port, method.upper(), NAME.sub("x", path))
            check_message(method.upper(), NAME.sub("x", path), m)
            self.assertEqual(m.status == 401, op.get("security") != [], (method, path, m.status))


if __name__ == "__main__":
    main()
