"""The management API's own description, as a judge of its answers: what is not in it is wrong.

    from openapi import Api
    api = Api(port, token="tga_...")
    answer = api.get("/api/v0/organizations")       # checked; answer.status, answer.headers, answer.json, answer.text

What the document does not know (an unknown path, a method that is not offered) must be an error in its view's shape.
"""

import http.client
import json
import os
import posixpath
import re
import ssl

import jsonschema

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(os.path.join(TOP, "proxy", "admin", "openapi.json"), encoding="utf-8") as _f:
    DOCUMENT = json.load(_f)
LIMIT_FIELDS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
FORMATS = jsonschema.FormatChecker(formats=())
_validators = {}


@FORMATS.checks("date-time")
def _is_time(text):
    return not isinstance(text, str) or bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", text))


def resolved(node):
    while isinstance(node, dict) and "$ref" in node:
        ref, node = node["$ref"], DOCUMENT
        for part in ref.lstrip("#/").split("/"):
            node = node[part]
    return node


def _validate(schema, value, what):
    text = json.dumps(schema, sort_keys=True)
    if text not in _validators:
        whole = dict(schema, components=DOCUMENT["components"])
        _validators[text] = jsonschema.Draft202012Validator(whole, format_checker=FORMATS)
    errors = ["%s: %s" % ("/".join(map(str, e.path)), e.message) for e in _validators[text].iter_errors(value)]
    if errors:
        raise AssertionError("%s is not as openapi.json has it: %s\n%s" % (what, "; ".join(errors), json.dumps(value)))


def canonical(target):
    path = target.split("?")[0]
    return posixpath.normpath("/" + path.lstrip("/")) + ("/" if path.endswith("/") and len(path) > 1 else "")


def operation_of(method, path):
    """(template, operation) of a request; (None, None): the document has no such path, (template, None): no method."""
    path = canonical(path)
    for template, item in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return template, item.get(method.lower())
    return None, None


def check(method, path, status, headers, body):
    """One answer against the document. `headers`: lower-case names, values; `body`: bytes."""
    what = "%s %s: %d" % (method, path, status)
    names = [name for name, _ in headers]
    for name in LIMIT_FIELDS:
        if names.count(name) != 1:
            raise AssertionError("%s has %s %d times" % (what, name, names.count(name)))
    _, operation = operation_of(method, path)
    if status == 500:
        raise AssertionError("%s, which no test may see: %r" % (what, body[:300]))
    if method == "HEAD":
        return
    view = "ErrorV0" if canonical(path).startswith("/api/v0/") else "ErrorV1"
    if operation is None:
        if status < 400:
            raise AssertionError("%s is not in openapi.json" % what)
        _validate({"$ref": "#/components/schemas/" + view}, json.loads(body), what)
        return
    response = resolved(operation["responses"].get(str(status)))
    if response is None:
        raise AssertionError("%s is a status that openapi.json does not have there: %r" % (what, body[:300]))
    for name in response.get("headers", {}):
        if name.lower() not in names:
            raise AssertionError("%s lacks %s" % (what, name))
    content = response.get("content")
    if not content:
        if body:
            raise AssertionError("%s has a body: %r" % (what, body[:300]))
        return
    kind = dict(headers).get("content-type", "").split(";")[0]
    if kind not in content:
        raise AssertionError("%s is %s" % (what, kind))
    if kind == "application/json":
        _validate(content[kind]["schema"], json.loads(body), what)


def check_message(method, path, m):
    """The same of an answer that was read octet by octet (harness.Client)."""
    check(method, path, m.status, [(k.decode().lower(), v.decode()) for k, v in m.headers], m.body)
    return m


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.fields, self.body = status, headers, body
        self.headers = dict(headers)
        self.text = body.decode("utf-8")
        self.json = json.loads(body) if self.headers.get("content-type", "").split(";")[0] == "application/json" else None


class Api:
    """A client of one management listener: a new connection for each call, every answer checked."""

    def __init__(self, port, token=None, host="127.0.0.1", tls=None):
        self.port, self.token, self.host, self.tls = port, token, host, tls

    def as_(self, token):
        return Api(self.port, token, self.host, self.tls)

    def call(self, method, path, body=None, headers=(), token=None, timeout=20):
        fields = dict(headers)
        token = token or self.token
        if token and "Authorization" not in fields:
            fields["Authorization"] = "Bearer " + token
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            fields.setdefault("Content-Type", "application/json")
        if self.tls:
            link = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)
        else:
            link = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            link.request(method, path, body, fields)
            got = link.getresponse()
            answer = Answer(got.status, [(k.lower(), v) for k, v in got.getheaders()], got.read())
        finally:
            link.close()
        check(method, path, answer.status, answer.fields, answer.body)
        return answer

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body, **more):
        return self.call("POST", path, body, **more)

    def put(self, path, body, **more):
        return self.call("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.call("DELETE", path, **more)


def trusting(ca_file):
    return ssl.create_default_context(cafile=ca_file)
