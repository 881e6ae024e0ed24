"""documented - every setting that `tollgate --help-settings` lists stands in the README or docs/configuration.md."""

import os
import re
import subprocess


def check():
    binary = os.environ.get("TOLLGATE", "build/release/tollgate")
    if not os.access(binary, os.X_OK):
        return []  # nothing built: nothing to ask
    out = subprocess.run(
        [binary, "--help-settings"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20
    )
    if out.returncode != 0:
        return ["%s --help-settings exits %d: %s" % (binary, out.returncode, out.stderr[:200])]
    names = set(re.findall(r"^  ([a-z][a-z0-9_]*)(?= )", out.stdout, re.M))
    if not names:
        return ["--help-settings lists no setting"]
    text = ""
    for path in ("README.md", "docs/configuration.md"):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                text += f.read()
    return ["the setting %s is not documented" % n for n in sorted(names) if not re.search(r"\b%s\b" % n, text)]
