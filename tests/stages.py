#!/usr/bin/env python3
"""The stages of scripts/test: builds what each needs, runs it, counts, and ends with `N passed, N failed`."""

import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(TOP, "build", "logs")
CI = os.environ.get("CI") == "true"
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS") or (30 if CI else 5))
CORES = os.cpu_count() or 1

# The build trees. Release carries no tests: it is what scripts/build leaves and what users run.
TREES = {
    "release": ["--buildtype=release", "-Dtests=false"],
    "asan": ["--buildtype=debugoptimized", "-Db_sanitize=address,undefined", "-Db_lundef=false"],
    "tsan": ["--buildtype=debugoptimized", "-Db_sanitize=thread", "-Db_lundef=false"],
    "fuzz": [
        "--buildtype=debugoptimized",
        "-Dtests=false",
        "-Dfuzz=true",
        "-Db_sanitize=address,undefined",
        "-Db_lundef=false",
    ],
}
SANITIZED = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1",
}


class Failed(Exception):
    """A stage could not do its work."""


def log_of(name):
    return os.path.join(LOGS, name + ".log")


def call(name, argv, limit=600, env=None, shown=30):
    """Runs a command with its output in the log `name`: (exit status, output). The log is named when it fails."""
    with open(log_of(name), "w", encoding="utf-8") as f:
        f.write("$ " + " ".join(argv) + "\n")
        f.flush()
        try:
            code = subprocess.run(
                argv,
                cwd=TOP,
                stdout=f,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                timeout=limit,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
            f.write("\nnot finished after %d s\n" % limit)
    with open(log_of(name), encoding="utf-8", errors="replace") as f:
        text = f.read()
    if code != 0 and shown:
        print("\n".join("    " + line for line in text.splitlines()[-shown:]))
        print("    the whole log: " + log_of(name))
    return code, text


def build(tree):
    """The tree, built; its path."""
    where = os.path.join(TOP, "build", tree)
    more = os.environ.get("TOLLGATE_MESON_ARGS", "").split()
    env = {"CC": "clang"} if tree == "fuzz" else {}
    start = time.monotonic()
    if not os.path.exists(os.path.join(where, "build.ninja")):
        if call("setup-" + tree, ["meson", "setup", where] + TREES[tree] + more, env=env)[0] != 0:
            raise Failed("meson setup of build/%s" % tree)
    if call("build-" + tree, ["ninja", "-C", where], limit=1200)[0] != 0:
        raise Failed("the build of build/%s" % tree)
    print("  built build/%s in %.0f s" % (tree, time.monotonic() - start))
    return where


def binary(tree):
    return os.path.join(build(tree), "tollgate")


def counts(text):
    """What a program's last line says: (passed, failed)."""
    m = re.search(r"^(\d+) passed, (\d+) failed(?:, \d+ skipped)?\s*\Z", text, re.M)
    if not m:
        raise Failed("no closing line with counts")
    return int(m[1]), int(m[2])


def lint():
    """The checks; without a binary they go on, and the missing build is one failure more."""
    unbuilt = 0
    try:
        build("release")
    except Failed as e:
        print("  FAILED: %s" % e)
        unbuilt = 1
    env = {"TOLLGATE": os.path.join(TOP, "build", "release", "tollgate")}
    _, text = call("lint", [sys.executable, "tests/lint/run.py"], env=env, shown=0)
    print("\n".join("  " + line for line in text.splitlines()[1:-1]))
    passed, failed = counts(text)
    return passed, failed + unbuilt


def unit(tree):
    """meson's unit suite. Every TAP line counts; a program that fails without one counts once."""
    where = build(tree)
    wrapper = ["--wrapper", "setarch -R"] if tree == "tsan" else []
    call(
        "unit-" + tree,
        [
            "meson",
            "test",
            "-C",
            where,
            "--suite",
            "unit",
            "--no-rebuild",
            "--print-errorlogs",
            "--timeout-multiplier",
            "4",
            "--num-processes",
            str(CORES),
        ]
        + wrapper,
        env=SANITIZED,
        shown=0,
    )
    # A wrapper's name becomes part of the log's name.
    logs = glob.glob(os.path.join(where, "meson-logs", "testlog*.json"))
    if not logs:
        raise Failed("meson test ran nothing; see " + log_of("unit-" + tree))
    with open(max(logs, key=os.path.getmtime), encoding="utf-8") as f:
        programs = [json.loads(line) for line in f]
    passed = failed = 0
    for p in programs:
        out = (p.get("stdout") or "") + "\n" + (p.get("stderr") or "")
        good, bad = len(re.findall(r"^ok\b", out, re.M)), len(re.findall(r"^not ok\b", out, re.M))
        if p["result"] not in ("OK", "SKIP"):
            bad = max(bad, 1)
            print("  FAIL %s (%s)" % (p["name"], p["result"]))
            interesting = [x for x in out.splitlines() if not re.match(r"ok\b|\d+\.\.\d+", x)]
            print("\n".join("    " + x for x in interesting[-25:]))
        passed, failed = passed + max(good, 0 if bad else 1), failed + bad
    if failed:
        print("  the whole log: " + os.path.join(where, "meson-logs", "testlog.txt"))
    return passed, failed


def wire(tree, *tests):
    argv = [
        sys.executable,
        "tests/wire/run.py",
        "--bin",
        binary(tree),
        "--kind",
        tree,
        "--jobs",
        str(CORES),
        "--logs",
        LOGS,
    ] + list(tests)
    name = "wire-%s%s" % (tree, "-oidc" if tests else "")
    code, text = call(name, argv, limit=1500, shown=0)
    print("\n".join(text.splitlines()[1:-1]))
    return counts(text)


def npm(folder):
    """The packages of tests/<folder>, as its lock file has them."""
    where = os.path.join(TOP, "tests", folder)
    stamp = os.path.join(where, "node_modules", ".package-lock.json")
    lock = os.path.join(where, "package-lock.json")
    if not os.path.exists(stamp) or os.path.getmtime(stamp) < os.path.getmtime(lock):
        if call("npm-" + folder, ["npm", "ci", "--no-audit", "--no-fund", "--prefix", where], limit=300)[0] != 0:
            raise Failed("npm ci in tests/" + folder)


def oidc():
    """All that needs its node modules: the provider, the second judge, the MCP client."""
    npm("oidc")
    programs = glob.glob(os.path.join(TOP, "tests", "oidc", "test_*.py"))
    return wire("release", *sorted(os.path.basename(p)[:-3] for p in programs))


def container():
    """The image, built and run where the machine lets us, and the manifests beside it."""
    npm("container")
    npm("oidc")
    code, text = call("image", ["docker/build"], limit=900, shown=0)
    last = text.splitlines()[-1]
    print("  " + (re.findall(r"^image: .*$", text, re.M) + [last])[0])
    image = last if code == 0 else os.path.join(TOP, "build", "image", "none")
    argv = [sys.executable, "tests/container/test_container.py"]
    _, tests = call("container", argv, env={"TOLLGATE_IMAGE": image}, shown=0)
    print("\n".join("  " + x for x in re.findall(r"^(?:skipped: |FAIL: |ERROR: |\S+\.service: ).*$", tests, re.M)))
    passed, failed = counts(tests)
    if code not in (0, 77):  # 77: not on this machine, which is no failure
        print("\n".join("    " + x for x in text.splitlines()[-30:]))
    if failed or code not in (0, 77):
        print("    the whole logs: %s %s" % (log_of("image"), log_of("container")))
    return passed + (code == 0), failed + (code not in (0, 77))


def tls():
    """What an independent scanner finds."""
    code, text = call(
        "tls", [sys.executable, "tests/tls/test_testssl.py"], limit=400, env={"TOLLGATE": binary("release")}, shown=0
    )
    print("\n".join("  " + x for x in text.splitlines() if re.match(r"(FAIL|ERROR|skipped|AssertionError)", x)))
    return counts(text)


def conformance():
    """The HTTP and token sets, and PPL."""
    tollgate = binary("release")
    code, text = call(
        "conformance", [sys.executable, "tests/conformance/run", "--bin", tollgate, "--set", "http,jwt"], shown=0
    )
    sets = re.findall(r"^== .*: passed (\d+), failed (\d+) .*$", text, re.M)
    print("\n".join("  " + x for x in re.findall(r"^(?:==|   FAIL) .*$", text, re.M)[:60]))
    if not sets:
        print("\n".join("  " + x for x in text.splitlines()[-20:]))
        raise Failed("the conformance driver could not work; see " + log_of("conformance"))
    passed, failed = sum(int(a) for a, _ in sets), sum(int(b) for _, b in sets)
    code, text = call("ppl", [sys.executable, "tests/conformance/ppl_run", tollgate, "--all"], shown=0)
    print("\n".join("  " + x for x in text.splitlines()[1:][-40:]))
    m = re.search(r"^ppl: (\d+) passed, (\d+) failed", text, re.M)
    if not m:
        return passed, failed + 1
    return passed + int(m[1]), failed + int(m[2])


def policies():
    """The policies for users to copy, by their cases; every criterion must have been true and false."""
    argv = [binary("release"), "test", "--require-tests", "--require-coverage", "--format", "tap", "policies/"]
    code, text = call("policies", argv, shown=0)
    passed, failed = len(re.findall(r"^ok\b", text, re.M)), len(re.findall(r"^not ok\b", text, re.M))
    if failed or code != 0:
        found = re.findall(r"^not ok .*$|^# .*$", text, re.M)
        print("\n".join("  " + x for x in found[:20] or text.splitlines()[-20:]))
    return passed, max(failed, code != 0)


def law():
    """The compiled policies against a plain evaluator: a million random pairs of a program and a request."""
    code, text = call("law", [sys.executable, "bench/ppl", "--law"], limit=300, env={"TOLLGATE": binary("release")})
    done = re.search(r"^\d+ pairs .*$", text, re.M)
    print("  " + (done[0] if done else "not finished"))
    return (1, 0) if code == 0 and done else (0, 1)


def fuzz():
    """Every target for FUZZ_SECONDS, from its seeds; what it finds is kept in build/logs."""
    where = build("fuzz")
    targets = sorted(
        p
        for p in glob.glob(os.path.join(where, "tests", "fuzz", "fuzz_*"))
        if os.path.isfile(p) and os.access(p, os.X_OK) and "." not in os.path.basename(p)
    )
    if not targets:
        raise Failed("no fuzz target was built")

    def one(path):
        name = os.path.basename(path)
        corpus = os.path.join(TOP, "build", "corpus", name)
        os.makedirs(corpus, exist_ok=True)
        short = name[len("fuzz_") :]
        seeds = [
            d for d in (os.path.join(TOP, "tests", "fuzz", "corpus", n) for n in (short, name)) if os.path.isdir(d)
        ]
        dictionary = os.path.join(TOP, "tests", "fuzz", short + ".dict")
        argv = (
            [path, corpus]
            + seeds
            + [
                "-max_total_time=%d" % FUZZ_SECONDS,
                "-timeout=10",
                "-rss_limit_mb=1024",
                "-print_final_stats=1",
                "-artifact_prefix=%s/%s-" % (LOGS, name),
            ]
        )
        argv += ["-dict=" + dictionary] if os.path.exists(dictionary) else []
        code, text = call(name, argv, limit=FUZZ_SECONDS + 120, shown=0)
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
        return name, code, runs[1] if runs else "?", text

    passed = failed = 0
    with ThreadPoolExecutor(min(2, CORES)) as pool:
        for name, code, runs, text in pool.map(one, targets):
            print("  %-24s %s after %s runs" % (name, "no finding" if code == 0 else "FOUND SOMETHING", runs))
            passed, failed = passed + (code == 0), failed + (code != 0)
            if code != 0:
                print("\n".join("    " + x for x in text.splitlines()[-30:]))
                print("    the whole log: " + log_of(name))
    return passed, failed


def readme():
    """Every command of the pages for readers; the README's table of refusals."""
    npm("oidc")
    npm("container")
    env = {"TOLLGATE": binary("release")}
    passed = failed = 0
    for name in ("readme", "refusals"):
        code, text = call(name, [sys.executable, "tests/readme/test_%s.py" % name], limit=300, env=env, shown=0)
        found = re.findall(r"^(?:FAIL|ERROR|skipped): .*$|^(?:AssertionError|ValueError).*$|^  not here .*$", text, re.M)
        print("\n".join("  " + x.strip()[:160] for x in found))
        good, bad = counts(text)
        passed, failed = passed + good, failed + max(bad, code != 0)
        if code != 0:
            print("    the whole log: " + log_of(name))
    return passed, failed


def demo():
    """The README's first command; its own exit status judges the answers."""
    start = time.monotonic()
    code, _ = call("demo", ["scripts/demo", "--once"], limit=300)
    print("  scripts/demo --once: exit %d after %.1f s" % (code, time.monotonic() - start))
    return (1, 0) if code == 0 else (0, 1)


STAGES = (
    ("lint", "floors, file heads, settings documented", lint),
    ("unit-asan", "unit tests under ASan and UBSan", lambda: unit("asan")),
    ("unit-tsan", "unit tests under TSan", lambda: unit("tsan")),
    ("wire-release", "wire tests, release binary", lambda: wire("release")),
    ("wire-asan", "wire tests, ASan and UBSan binary", lambda: wire("asan")),
    ("wire-tsan", "wire tests, TSan binary", lambda: wire("tsan")),
    ("oidc", "a real OpenID provider; second signer and judge; a real MCP client", oidc),
    ("tls", "testssl.sh against the release binary", tls),
    ("conformance", "HTTP, token and policy sets", conformance),
    ("policies", "the policy library by its cases", policies),
    ("law", "compiled policies against a plain evaluator, a million pairs", law),
    ("container", "the image, built and run confined; manifests", container),
    ("readme", "every command of the README and of docs, typed", readme),
    ("fuzz", "fuzz targets, %d s each" % FUZZ_SECONDS, fuzz),
    ("demo", "scripts/demo --once", demo),
)


def main():
    ap = argparse.ArgumentParser(prog="scripts/test", description="Builds and runs the tests.")
    ap.add_argument("--list", action="store_true", help="the stages")
    ap.add_argument("stages", nargs="*", help="as lint, unit, wire-asan; default: all")
    args = ap.parse_args()
    if args.list:
        for name, what, _ in STAGES:
            print("%-14s %s" % (name, what))
        return 0
    unknown = [w for w in args.stages if not any(n == w or n.startswith(w + "-") for n, _, _ in STAGES)]
    if unknown:
        ap.error("no stage %s (see --list)" % ", ".join(unknown))
    os.makedirs(LOGS, exist_ok=True)
    total_passed = total_failed = 0
    summary = []
    for name, what, work in STAGES:
        if args.stages and not any(name == w or name.startswith(w + "-") for w in args.stages):
            continue
        print("\n== %s: %s" % (name, what), flush=True)
        start = time.monotonic()
        try:
            passed, failed = work()
        except Failed as e:
            print("  FAILED: %s" % e)
            passed, failed = 0, 1
        total_passed, total_failed = total_passed + passed, total_failed + failed
        summary.append("%-14s %5d ok %5d failed %6.0f s" % (name, passed, failed, time.monotonic() - start))
        sys.stdout.flush()
    print("\n== summary\n  " + "\n  ".join(summary) + "\n")
    print("%d passed, %d failed" % (total_passed, total_failed))
    return 1 if total_failed or not total_passed else 0


sys.exit(main())
