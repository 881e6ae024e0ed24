"""common - what the checks share: the source files and their text. The checks run from the repository's root."""

import functools
import os


@functools.lru_cache(maxsize=None)
def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


@functools.lru_cache(maxsize=None)
def c_files(*roots):
    """Every .c and .h below the roots, sorted."""
    found = []
    for root in roots or ("proxy", "include", "tests/unit", "tests/fuzz"):
        for where, folders, names in os.walk(root):
            folders.sort()
            found += [os.path.join(where, n) for n in sorted(names) if n.endswith((".c", ".h"))]
    return found
