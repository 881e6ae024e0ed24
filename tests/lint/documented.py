"""documented - the references in the pages are what the program's own tables say, word for word."""

import os
import subprocess

# The page, the command that prints its reference, and what the print is known by.
REFERENCES = (
    ("docs/configuration.md", ("run", "--settings-markdown"), "| setting |"),
    ("docs/ppl.md", ("explain", "--criteria"), "| criterion |"),
)


def check():
    binary = os.environ.get("TOLLGATE", "build/release/tollgate")
    if not os.access(binary, os.X_OK):
        return []  # nothing built: nothing to ask
    return [problem for page, command, head in REFERENCES for problem in compare(page, (binary,) + command, head)]


def compare(page, command, head):
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
    if out.returncode != 0 or head not in out.stdout:
        return ["%s exits %d: %s" % (" ".join(command), out.returncode, out.stderr[:200])]
    with open(page, encoding="utf-8") as f:
        text = f.read()
    if out.stdout.strip() in text:
        return []
    missing = [line for line in out.stdout.splitlines() if line.strip() and line not in text]
    said = "`tollgate %s`" % " ".join(command[1:])
    return ["%s differs from %s: %s" % (page, said, line[:90]) for line in missing[:5] or ["order"]]
