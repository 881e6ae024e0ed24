"""examples - the policies of a page, and what the table below each says of requests, held against the binary.

    | caller | request | answer |
    |---|---|---|
    | `groups: [a]` | `PUT /x` from 10.1.2.3 at 2026-10-18T09:00:00Z | 403 groups-unauthorized |

A caller is `no token` or claims as YAML writes them, with `sub: u1` unless they say another. A request is method and
path, then, in any order: from ADDRESS, at TIME, with `Header: value`, ..., tool NAME or body `TEXT`, and one of
`certificate of NAME`, `untrusted certificate of NAME`, `no certificate`. Without `from` the client is 192.0.2.10. An
answer is a status and, where reasons stand behind it, all of them. A line `# warning: WORDS` or `# error: WORDS` in
the policy is what `check` says of it.

    | written | is read as | meant, mostly |
    |---|---|---|
    | `email: [a@example.com]` | ... | `email: {in: [a@example.com]}` |

`check` warns about the first cell and not about the last. A cell holds criteria, several under `and`, or a document.
"""

import json
import os
import re

import certs
import pages

HEAD, WRONG = "caller", "written"
CLIENT = "192.0.2.10"
POLICY = re.compile(r"(?:#.*\n)*(?:- |\[)?(?:allow|deny|ppl|explanation):")
EXPECTED = re.compile(r"(?m)^# (warning|error): (.*)$")
BARE = re.compile(r'"(?:[^"\\]|\\.)*"|(?!: )[^\s{}\[\],"][^{}\[\],]*?(?=: |\s*[}\],]|\s*$)')
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}


def flow(text):
    """The value of flow-style YAML: words without quotes are texts unless JSON knows them."""

    def quoted(m):
        word = m[0].strip()
        if word.startswith('"') or re.fullmatch(r"-?\d+(\.\d+)?|true|false|null", word):
            return word
        return json.dumps(word)

    return json.loads(BARE.sub(quoted, text))


def claims(cell):
    """The claims of a caller, or None for no token."""
    if cell == "no token":
        return None
    text = re.fullmatch(r"`(.*)`", cell)[1]
    return {"sub": "u1", **flow(text if text.startswith("{") else "{%s}" % text)}


def request(cell, authority):
    """The options of `explain` for a request; `authority` signs its certificate."""
    m = re.match(r"`([A-Z]+) (\S+)`", cell)
    argv, rest = ["--method", m[1], "--url", "http://127.0.0.1:8080" + m[2]], cell[m.end() :]

    def take(pattern):
        nonlocal rest
        found = re.search(pattern, rest)
        if found:
            rest = rest.replace(found[0], "", 1)
        return found

    m = take(r" with ((?:`[\w-]+: [^`]*`(?:, )?)+)")
    for field in re.findall(r"`([^`]*)`", m[1] if m else ""):
        argv += ["--header", field]
    m = take(r" from (\S+)")
    argv += ["--source-ip", m[1] if m else CLIENT]
    for pattern, option in ((r" at (\S+)", "--time"), (r" body `([^`]*)`", "--body")):
        m = take(pattern)
        argv += [option, m[1]] if m else []
    m = take(r" tool (\S+)")
    if m:
        argv += ["--body", json.dumps({**CALL, "params": {"name": m[1]}})]
    m = take(r" (untrusted )?certificate of (\S+)")
    if m:
        name = "leaf-" + m[2]
        path = os.path.join(authority.directory, name + ".pem")
        argv += ["--client-cert", path if os.path.exists(path) else certs.leaf(authority.directory, authority, [m[2]],
                                                                              name=name).cert]
        argv += ["--client-cert-invalid"] if m[1] else []
    if take(r" no certificate"):
        argv += ["--client-cert", "none"]
    if rest.strip():
        raise AssertionError("not in the notation: " + rest)
    return argv


def rows(text, block):
    """The rows of the table right below a block, [] without one."""
    lines = text.split("\n")[block.end :]
    while lines and not lines[0].strip():
        lines.pop(0)
    if not lines or not lines[0].startswith("| %s |" % HEAD):
        return []
    end = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return pages.rows("\n".join(lines[:end]) + "\n", HEAD)


def is_policy(text):
    return POLICY.match(text)


def expected(text):
    """What `check` is to say: ("warning" | "error" | None, words)."""
    m = EXPECTED.search(text)
    return (m[1], m[2]) if m else (None, "")


def spellings(cell):
    """The documents of a cell of the table of traps."""
    for text in re.findall(r"`([^`]+)`", cell):
        if is_policy(text):
            yield text if text.startswith("[") else "{%s}" % text
        else:
            yield "allow: {and: [authenticated_user: true, %s]}" % text
