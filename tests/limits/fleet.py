#!/usr/bin/env python3
"""fleet: what a hundred sidecars ask of one Redis, and how far their sum may be off, by a model of many processes.

    tests/limits/fleet.py [table]              the cases below
    tests/limits/fleet.py check                the model against three real tollgates, redis-server and clients
    tests/limits/fleet.py one NAME=VALUE ...   your own traffic: sidecars=100 keys=1000 rate=5000 window=60 limit=1000

fleet.c runs the real leases and the real script of proxy/limit on virtual time. Names of `one`: sidecars, keys, spread
(sidecars that see a key; 0: all), rate (requests a second, all together), zipf (0: all keys alike), window and seconds,
limit, burst (the part of each window that is asked in), sliding, deny, latency_us (one way), timeout_ms, skew_ms, seed,
wipe_at, away_from, away_to. `under`: refused although the limit was not reached, of what was due; `worst`: of one key
in one window. Needs redis-server, a C compiler and libhiredis-dev.
"""

import argparse
import collections
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "wire"))
LEASES = ("table", "lease", "pace", "clock", "script")
MINUTE = {"sidecars": 100, "window": 60, "seconds": 300, "limit": 1000}

CASES = (
    ("one caller, evenly over all, half its limit", {**MINUTE, "rate": 8}),
    ("one caller, evenly over all, nine tenths of its limit", {**MINUTE, "rate": 15}),
    ("one caller, evenly over all, five times its limit", {**MINUTE, "rate": 83}),
    ("one busy caller, below its limit", {**MINUTE, "rate": 3000, "limit": 200000}),
    ("one busy caller, above its limit", {**MINUTE, "rate": 3000, "limit": 100000}),
    ("one busy caller, all in the first tenth of the minute", {**MINUTE, "rate": 1500, "limit": 100000, "burst": 0.1}),
    ("1,000 callers at one sidecar each, 60 a minute", {**MINUTE, "keys": 1000, "rate": 1000, "spread": 1}),
    ("100 callers over three sidecars each, some above", {**MINUTE, "keys": 100, "rate": 1000, "spread": 3, "zipf": 1}),
    ("100 callers over all, alike", {**MINUTE, "keys": 100, "rate": 500}),
    ("100 callers over all, some above", {**MINUTE, "keys": 100, "rate": 500, "zipf": 1}),
    ("sliding, one busy caller above", {**MINUTE, "rate": 1000, "limit": 20000, "sliding": 1, "seconds": 180}),
    ("one busy caller above, the store wiped", {**MINUTE, "rate": 3000, "limit": 100000, "wipe_at": 90}),
    ("the same, wiped when all is handed out", {**MINUTE, "rate": 3000, "limit": 100000, "wipe_at": 110}),
    ("the store away for 90 s, local", {**MINUTE, "rate": 3000, "limit": 10000, "away_from": 80, "away_to": 170}),
    (
        "the store away for 90 s, deny",
        {**MINUTE, "rate": 3000, "limit": 10000, "away_from": 80, "away_to": 170, "deny": 1},
    ),
)


def can():
    """Whether the model can be built here."""
    header = glob.glob("/usr/include/hiredis/hiredis.h") + glob.glob("/usr/include/*/hiredis/hiredis.h")
    return bool(shutil.which("cc") and header)


class Model:
    """fleet.c, built, and a store of its own."""

    def __init__(self):
        from redis_server import Redis

        self.dir = tempfile.mkdtemp(prefix="tollgate-fleet.")
        self.program = os.path.join(self.dir, "fleet")
        proxy = os.path.join(TOP, "proxy")
        files = [os.path.join(proxy, "limit", "remote_%s.c" % n) for n in LEASES]
        files += [os.path.join(proxy, *n) for n in (("io", "wheel.c"), ("base", "buf.c"), ("base", "err.c"))]
        flags = ["-O2", "-std=gnu17", "-D_GNU_SOURCE", "-I" + os.path.join(TOP, "include"), "-I" + proxy + "/limit"]
        source = [os.path.join(HERE, "fleet.c")]
        libraries = ["-lhiredis", "-lm", "-lpthread"]
        subprocess.run(["cc"] + flags + ["-o", self.program] + source + files + libraries, check=True)
        self.redis = Redis(unix=True)

    def run(self, **wanted):
        words = ["%s=%s" % x for x in wanted.items()]
        out = subprocess.run(
            [self.program, self.redis.path] + words, stdout=subprocess.PIPE, text=True, timeout=300, check=True
        ).stdout
        return json.loads(out)

    def close(self):
        self.redis.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- the model against the thing itself -----------------------------------------------------------------------------
CHECKS = (
    ("below the limit", {"keys": 4, "rate": 720, "limit": 1000}),
    ("above the limit", {"keys": 2, "rate": 900, "limit": 300}),
    ("sliding, above the limit", {"keys": 2, "rate": 600, "limit": 300, "sliding": 1}),
)
WINDOW, WINDOWS = 2, 4
COMMANDS_WITHIN, ADMITTED_WITHIN = 0.25, 0.03


def real(keys, rate, limit, sliding=0):
    """Three tollgates for so many windows: commands and admissions, under the same traffic."""
    import harness
    from load import Clients
    from redis_server import Redis

    tiers = [
        {"name": "authenticated", "limit": limit, "window": "%ds" % WINDOW},
        {"name": "unauthenticated", "limit": 10, "window": "1m"},
    ]
    with Redis(harness.free_port()) as redis:
        limits = {"tiers": tiers, "store": redis.url(), "store_secret": "a-secret-of-the-model"}
        limits["algorithm"] = "sliding" if sliding else "fixed"
        cfg = harness.config([harness.members("echo:")], workers=1, rate_limits=limits, access_log={"output": "off"})
        gates = [harness.Tollgate(cfg) for _ in range(3)]
        try:
            callers = [harness.request("GET", "/", [harness.bearer(sub="c%d" % k)]) for k in range(keys)]
            load = Clients([(g.port, c) for g in gates for c in callers], rate=rate / 3 / keys)
            time.sleep(WINDOW - time.time() % WINDOW)
            before = redis.commands()[0]
            with load:
                time.sleep(WINDOW * WINDOWS)
                commands = redis.commands()[0] - before
        finally:
            for g in gates:
                g.stop()
    if load.errors:
        raise AssertionError(load.errors[0])
    ends = load.start + WINDOW * WINDOWS
    answers = [a for a in load.answers if a.at < ends]
    return collections.Counter(a.status for a in answers), commands


def compare(model, name, wanted):
    """(what, model, real, within) for commands and admissions."""
    statuses, commands = real(**wanted)
    said = model.run(sidecars=3, window=WINDOW, seconds=WINDOW * WINDOWS, regular=1, latency_us=100, skew_ms=0, **wanted)
    scale = said["asked"] / sum(statuses.values())       # the clients are a little late
    return (
        (name + ": commands", said["commands"], commands, COMMANDS_WITHIN),
        (name + ": admitted", said["admitted"], statuses[200] * (scale if wanted["rate"] < wanted["limit"] else 1),
         ADMITTED_WITHIN),
    )


def is_near(said, found, within):
    return abs(said - found) <= within * max(said, found) + 3


def check(model):
    good = True
    print("| what | model | three tollgates | within |")
    print("|---|---|---|---|")
    for name, wanted in CHECKS:
        for what, said, found, within in compare(model, name, wanted):
            near = is_near(said, found, within)
            good = good and near
            print("| %s | %d | %d | %d%%%s |" % (what, said, found, within * 100, "" if near else " MISSED"), flush=True)
    return good


# ---- the table --------------------------------------------------------------------------------------------------
def row(name, wanted, said):
    seconds = wanted.get("seconds", 180)
    print("| %s | %d | %.1f | %.1f | %d | %.2f%% | %d | %d | %d |" % (
        name, said["asked"] / seconds, said["commands"] / seconds, said["asked"] / max(1, said["commands"]),
        said["over_worst"], 100 * said["under"] / max(1, said["due"]), said["under_worst"], said["limit"],
        said["unavailable"]), flush=True)  # fmt: skip


def table(model, cases):
    print("| traffic | requests/s | commands/s | requests/command | over, worst | under | under, worst | limit | 503 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, wanted in cases:
        said = model.run(**wanted)
        if wanted.get("sliding"):                        # its law is of any span, not of aligned windows
            said["over_worst"] = max(0, said["any_span"] - wanted["limit"])
        said["limit"] = wanted.get("limit", 1000)
        row(name, wanted, said)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", nargs="?", default="table", choices=["table", "check", "one"])
    ap.add_argument("wanted", nargs="*", metavar="NAME=VALUE")
    args = ap.parse_args()
    with Model() as model:
        if args.what == "check":
            return 0 if check(model) else 1
        own = {k: float(v) for k, v in (x.split("=", 1) for x in args.wanted)}
        table(model, CASES if args.what == "table" else [("yours", own)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
