#!/usr/bin/env python3
"""Runs the wire tests, several programs at a time, against one binary.

    tests/wire/run.py [--bin build/release/tollgate] [--kind release|asan|tsan] [--jobs 2] [--logs DIR] [test_proxy ...]

Each program's output goes to DIR/NAME.log; of a failed one it is shown. The last line: `N passed, N failed, N skipped`.
"""

import argparse
import glob
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
OIDC = os.path.join(TOP, "tests", "oidc")  # what needs its node modules
LIMIT_S = 420  # for one program
EXPLAINED = {}  # log lines, all programs together
ALONE = ("test_robust",)  # judges time and memory: nothing runs beside it


def one(path, args, results):
    name = os.path.basename(path)[:-3]
    log = os.path.join(args.logs, "%s-%s.log" % (args.kind, name))
    env = dict(os.environ, TOLLGATE=os.path.abspath(args.bin), TOLLGATE_KIND=args.kind)
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as f:
        try:
            code = subprocess.run(
                [sys.executable, path],
                stdout=f,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=env,
                timeout=LIMIT_S,
            ).returncode
        except subprocess.TimeoutExpired:
            code = "timeout"
    with open(log, encoding="utf-8", errors="replace") as f:
        text = f.read()
    m = re.search(r"^(\d+) passed, (\d+) failed, (\d+) skipped\n?\Z", text, re.M)
    passed, failed, skipped = map(int, m.groups()) if m else (0, 1, 0)
    if code != 0 and not failed:
        failed = 1
    for what, count in re.findall(r"(\w[\w ]*) (\d+)", "".join(re.findall(r"^log lines explained: (.*)$", text, re.M))):
        EXPLAINED[what] = EXPLAINED.get(what, 0) + int(count)
    results.append((name, passed, failed, skipped))
    print(
        "  %-20s %3d passed, %d failed, %d skipped  %5.1f s" % (name, passed, failed, skipped, time.monotonic() - start)
    )
    for line in re.findall(r"^skipped: .*$", text, re.M):
        print("    " + line)
    if failed:
        reports = re.findall(r"^(?:FAIL|ERROR): .*$", text, re.M)
        print("    " + "\n    ".join(reports or [str(code)] + text.splitlines()[-20:]))
        print("    the whole log: " + log)
    sys.stdout.flush()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bin", default=os.path.join(TOP, "build", "release", "tollgate"))
    ap.add_argument("--kind", choices=["release", "asan", "tsan"], default="release")
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("--logs", default=os.path.join(TOP, "build", "logs"))
    ap.add_argument("tests", nargs="*", help="names, as test_proxy; default: all but those in tests/oidc")
    args = ap.parse_args()
    os.makedirs(args.logs, exist_ok=True)
    if not os.access(args.bin, os.X_OK):
        print("no binary at " + args.bin)
        print("0 passed, 1 failed, 0 skipped")
        return 1
    places = {os.path.basename(p)[:-3]: p for p in glob.glob(os.path.join(OIDC, "test_*.py"))}
    paths = [places.get(n) or os.path.join(HERE, n + ".py") for n in args.tests]
    paths = paths or sorted(glob.glob(os.path.join(HERE, "test_*.py")))
    results, lock = [], threading.Lock()
    queue = [p for p in paths if os.path.basename(p)[:-3] not in ALONE]

    def work():
        while True:
            with lock:
                if not queue:
                    return
                path = queue.pop(0)
            one(path, args, results)

    threads = [threading.Thread(target=work) for _ in range(args.jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for path in paths:
        if os.path.basename(path)[:-3] in ALONE:
            one(path, args, results)
    print("log lines explained: " + ", ".join("%s %d" % x for x in EXPLAINED.items()))
    totals = [sum(r[i] for r in results) for i in (1, 2, 3)]
    print("%d passed, %d failed, %d skipped" % tuple(totals))
    return 1 if totals[1] else 0


sys.exit(main())
