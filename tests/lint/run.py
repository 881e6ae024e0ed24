#!/usr/bin/env python3
"""Runs the checks of tests/lint from the repository's root. The last line: `N passed, N failed`."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
os.chdir(os.path.dirname(os.path.dirname(HERE)))
import documented  # noqa: E402
import floors  # noqa: E402
import repository  # noqa: E402
import style  # noqa: E402


def checks_work():
    """The checks find what they are there to find."""
    p = subprocess.run(
        [sys.executable, os.path.join(HERE, "test_floors.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return [] if p.returncode == 0 else p.stdout.splitlines()[-20:]


CHECKS = (
    ("the checks work", checks_work),
    ("every #include obeys the floors", floors.check),
    ("C files read alike", style.check),
    ("settings and criteria are documented", documented.check),
    ("the repository is in order", repository.check),
)


def main():
    failed = 0
    for name, check in CHECKS:
        problems = check()
        failed += bool(problems)
        print("%s: %s" % ("FAIL" if problems else "ok", name))
        for p in problems:
            print("  " + p)
    for h in style.hints():
        print("hint: " + h)
    print("%d passed, %d failed" % (len(CHECKS) - failed, failed))
    return 1 if failed else 0


sys.exit(main())
