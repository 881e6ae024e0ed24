"""What the tests of limits share: tiers as a section, what an answer tells, a tollgate with tiers of its own."""

from harness import Case, ask, bearer, config, members, value

DAY = "24h"  # a window that hardly ends while a test runs
OTHERS = ("unauthenticated", 200000000, DAY)


def trio(m):
    """(limit, remaining, reset) of a response; each exactly once."""
    return tuple(int(value(m, "X-RateLimit-" + n)) for n in ("Limit", "Remaining", "Reset"))


def tiers(*items):
    """A section of these tiers: (name, limit, window, more) or (name, windows)."""
    names = ("name", "limit", "window")

    def tier(item):
        if isinstance(item[1], list):
            return {"name": item[0], "windows": item[1], **(item[2] if len(item) > 2 else {})}
        return {**dict(zip(names, item[:3])), **(item[3] if len(item) > 3 else {})}

    return {"tiers": [tier(i) for i in items]}


def items(m, name="RateLimit"):
    """[(name of a window, {parameter: number})] of a field; it is read strictly elsewhere."""
    found = []
    for item in value(m, name).split(", "):
        window, *parameters = item.split(";")
        found.append((window.strip('"'), {k: int(v) for k, v in (p.split("=") for p in parameters)}))
    return found


class Begun(Case):
    """Each test starts its own tollgate with these tiers."""

    def begin(self, *them, routes=None, workers=2, section=None, **changes):
        limits = {**tiers(*them), **(section or {})}
        return self.start(
            config(routes or [members(self.up)], workers=workers, **{"rate_limits": limits, **changes})
        )

    def statuses(self, gate, count, fields=None, path="/"):
        return [ask(gate.port, "GET", path, fields or [bearer()]).status for _ in range(count)]
