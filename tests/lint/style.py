"""style - what a reader may rely on in every C file; and, as hints only, what has grown long."""

import re

from common import c_files, read

WIDTH = 120
LONG_FILE, LONG_FUNCTION = 600, 80
WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
FUNCTION = re.compile(r"^[A-Za-z_][^;={}\n]*\)\n\{\n(.*?)^\}", re.M | re.S)
FUNCTION_NAME = re.compile(r"(\w+)\s*\(")


def check():
    problems = []
    for path in c_files():
        text = read(path)
        if not re.match(r"/\*\n? ?\*? ?\S", text):
            problems.append("%s:1: starts without a comment that says what it is for" % path)
        if path.startswith("include/") and "#pragma once" not in text:
            problems.append("%s:1: no #pragma once" % path)
        if "\r" in text or not text.endswith("\n"):
            problems.append("%s: carriage returns, or no newline at the end" % path)
        for n, line in enumerate(text.split("\n"), 1):
            if len(line) > WIDTH:
                problems.append("%s:%d: %d columns, more than %d" % (path, n, len(line), WIDTH))
            if "\t" in line:
                problems.append("%s:%d: a tab" % (path, n))
            if line != line.rstrip():
                problems.append("%s:%d: blanks at the end" % (path, n))
            if WORDS.search(line):
                problems.append("%s:%d: unfinished: %s" % (path, n, line.strip()))
    return problems


def hints():
    """Long files and functions: worth a look, no failure."""
    found = []
    for path in c_files("proxy", "include"):
        text = read(path)
        if text.count("\n") > LONG_FILE:
            found.append("%s: %d lines; does it still tell one thing?" % (path, text.count("\n")))
        for m in FUNCTION.finditer(text):
            lines = m[1].count("\n")
            if lines > LONG_FUNCTION:
                name = FUNCTION_NAME.search(m[0])
                found.append("%s: %s has %d lines" % (path, name[1] if name else "?", lines))
    return found
