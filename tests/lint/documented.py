"""documented - the reference in docs/configuration.md is what the settings tables say, word for word."""

import os
import subprocess

DOCS = "docs/configuration.md"


def check():
    binary = os.environ.get("TOLLGATE", "build/release/tollgate")
    if not os.access(binary, os.X_OK):
        return []  # nothing built: nothing to ask
    out = subprocess.run(
        [binary, "run", "--settings-markdown"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20
    )
    if out.returncode != 0 or "| setting |" not in out.stdout:
        return ["%s run --settings-markdown exits %d: %s" % (binary, out.returncode, out.stderr[:200])]
    with open(DOCS, encoding="utf-8") as f:
        text = f.read()
    if out.stdout.strip() in text:
        return []
    missing = [line for line in out.stdout.splitlines() if line.strip() and line not in text]
    return ["%s differs from `tollgate run --settings-markdown`: %s" % (DOCS, line[:90]) for line in missing[:5] or ["order"]]
