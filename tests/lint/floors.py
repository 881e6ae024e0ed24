"""floors - every #include obeys the picture of the floors.

A file includes headers of its own folder and of lower floors, never of a neighbour on its floor; headers of one folder
make no circle; a foreign library is included only in its home.
"""

import os
import re

from common import c_files, read

# Bottom up; a folder may use everything on the lines above its own.
FLOORS = """
base
http jose policy io
auth upstream limit store
gate
admin
boot
"""
FLOOR = {folder: n for n, line in enumerate(FLOORS.split("\n")[1:-1]) for folder in line.split()}

# A foreign library's headers, and the files that may include them (below proxy/ or include/).
HOMES = (
    (r"event2/|event\.h", r"io/"),
    (r"ares|curl/", r"io/"),
    (r"hiredis/|sqlite3\.h", r"io/"),
    (r"openssl/", r"jose/|base/digest\.c|base/cert\.c|io/tls_\w+\.[ch]"),
    (r"jwt\.h", r"jose/mint\w*\.c"),
    (r"yaml\.h", r"base/tree\w*\.[ch]"),
    (r"nghttp2/", r"http/h2\w*\.[ch]"),
    (r"pcre2\.h", r"store/route\w*\.[ch]"),
)
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)


def folder_of(path):
    """The folder whose rules hold: proxy/auth/x.c, include/auth/x.h, tests/unit/auth/x.c: auth; main.c: boot."""
    parts = path.split("/")
    if parts[:2] == ["tests", "unit"] and len(parts) == 4:
        return parts[2]
    if parts[0] in ("proxy", "include"):
        return parts[1] if len(parts) > 2 else "boot"
    return None


def target(path, name):
    """What "name" means in the file: a path below the repository, or None for a foreign header."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    for candidate in (os.path.join("include", name), beside, os.path.join("proxy", name)):
        if os.path.exists(candidate):
            return candidate
    return None


def check():
    problems, graph = [], {}
    for path in c_files():
        mine = folder_of(path)
        if mine is None:
            continue
        if mine not in FLOOR:
            problems.append("%s: the folder %s is not in the picture of the floors" % (path, mine))
            continue
        for m in INCLUDE.finditer(read(path)):
            name = m[1] or m[2]
            line = read(path)[: m.start()].count("\n") + 1
            where = "%s:%d" % (path, line)
            got = target(path, name)
            if got is None:
                problems += foreign(where, path, name)
                if m[1]:
                    problems.append("%s: \"%s\" does not exist" % (where, name))
                continue
            theirs = folder_of(got)
            if theirs is None:
                continue
            if theirs != mine and FLOOR.get(theirs, 99) >= FLOOR[mine]:
                kind = "a neighbour" if FLOOR.get(theirs) == FLOOR[mine] else "a floor above"
                problems.append("%s: %s may not include %s of %s, %s" % (where, mine, name, theirs, kind))
            if theirs != mine and got.startswith("proxy/"):
                problems.append("%s: %s belongs to %s alone" % (where, name, theirs))
            if path.endswith(".h") and theirs == mine:
                graph.setdefault(path, []).append(got)
    return problems + circles(graph)


def foreign(where, path, name):
    below = path.split("/", 1)[1]
    if path.startswith("tests/"):  # a test may look at what its module stands on
        return []
    for headers, home in HOMES:
        if re.match(headers, name) and not re.match(home, below):
            return ["%s: <%s> has its home in %s" % (where, name, home.replace("\\", ""))]
    return []


def circles(graph):
    """Headers that include each other, directly or by others."""
    problems, done = [], set()

    def visit(node, way):
        if node in way:
            problems.append("circle: " + " -> ".join(way[way.index(node) :] + [node]))
            return
        if node in done:
            return
        for following in graph.get(node, ()):
            visit(following, way + [node])
        done.add(node)

    for node in sorted(graph):
        visit(node, [])
    return problems
