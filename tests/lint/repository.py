"""repository - what no file of the repository may hold."""

import json
import os
import re
import subprocess


def check():
    problems = []
    for lock in ("tests/oidc", "tests/container", "docker/issuer"):
        lock += "/package-lock.json"
        with open(lock, encoding="utf-8") as f:
            packages = json.load(f)["packages"]
        for name, package in packages.items():
            if "resolved" in package:
                problems.append("%s: %s names a download address (\"resolved\"); remove it" % (lock, name))
            if name and "integrity" not in package:
                problems.append("%s: %s has no integrity" % (lock, name))
    for script in ("deps", "build", "test", "demo", "peers"):
        path = os.path.join("scripts", script)
        if not os.access(path, os.X_OK):
            problems.append("%s is missing or not executable" % path)
        elif subprocess.run(["sh", "-n", path], stderr=subprocess.DEVNULL).returncode != 0:
            problems.append("%s: sh does not take its syntax" % path)
    for path in sorted(os.listdir("include")) if os.path.isdir("include") else []:
        if not os.path.isdir(os.path.join("proxy", path)):
            problems.append("include/%s has no proxy/%s" % (path, path))
    pages = sorted(os.path.join("docs", name) for name in os.listdir("docs") if name.endswith(".md"))
    for path in ["README.md", "CONTRIBUTING.md", "LICENSE", "policies/README.md"] + pages:
        if not os.path.exists(path):
            problems.append("%s is missing" % path)
            continue
        problems += ["%s: a link to %s, which is not there" % (path, target) for target in dangling(path)]
    return problems


def dangling(path):
    """Links of a page to files, or to headings of its own, that are not there."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    headings = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"(?m)^#+ (.*)$", text)}
    for file, heading in re.findall(r"\]\(([^)#:\s]*)#?([^)\s:]*)\)", text):
        if file and not os.path.exists(os.path.join(os.path.dirname(path), file)):
            yield file
        elif not file and heading not in headings:
            yield "#" + heading
