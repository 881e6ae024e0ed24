"""A second reader of RateLimit and RateLimit-Policy: structured-headers (RFC 9651) reads what tollgate writes, and what
an upstream writes means to both the same. Needs node and `npm ci` in this directory.
"""

import json
import os
import random
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
from harness import Client, ask, bearer, main, public, value  # noqa: E402
from limits import DAY, Begun  # noqa: E402
from test_oidc import need_node  # noqa: E402

EVERY_MARK = "a!#$%&'*+-.^_`|~Z9"  # of a token (RFC 9110 section 5.6.2): what a tier's name may hold
LEFT = 100  # what tollgate itself has left to tell


class Judged(Begun):
    @classmethod
    def setUpClass(cls):
        need_node()
        cls.node = subprocess.Popen(
            ["node", "fields.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        cls.node.stdin.close()
        cls.node.wait(10)
        cls.node.stdout.close()
        super().tearDownClass()

    def read(self, text):
        self.node.stdin.write(json.dumps(text) + "\n")
        self.node.stdin.flush()
        return json.loads(self.node.stdout.readline())


class Written(Judged):
    def judge(self, m):
        """Both fields, as draft-ietf-httpapi-ratelimit-headers-10 has them: Strings with whole numbers, in canonical
        form."""
        told, policy = (self.read(value(m, n)) for n in ("RateLimit", "RateLimit-Policy"))
        for field, required in ((told, {"r", "t"}), (policy, {"q", "w"})):
            self.assertTrue(field.get("same"), field)
            for name, parameters in field["items"]:
                self.assertIn("string", name)
                self.assertEqual(set(parameters), required)
                for number in parameters.values():
                    self.assertIsInstance(number, int)
                    self.assertGreaterEqual(number, 0)
        self.assertEqual([n for n, _ in told["items"]], [n for n, _ in policy["items"]])
        return [(n["string"], p["r"], q["q"]) for (n, p), (_, q) in zip(told["items"], policy["items"])]

    def test_what_tollgate_writes(self):
        largest = [{"limit": 2147483647, "window": w} for w in ("1s", "1m", "1h", DAY)]
        for them, names in (
            ([("authenticated", 3, "1m")], ["authenticated"]),
            ([(EVERY_MARK, 3, "1m")], [EVERY_MARK]),
            ([("n" * 64, 3, DAY)], ["n" * 64]),
            ([("all", largest)], ["all-1s", "all-1m", "all-1h", "all-24h"]),
            ([("own", 3, "1m", {"limit_claim": "quota", "limit_ceiling": 9})], ["own"]),
            ([("slide", 3, "10s", {"algorithm": "sliding"})], ["slide"]),
        ):
            gate = self.begin(*them, ("unauthenticated", 2, "1m"))
            for fields in ([bearer(quota=2)], []):
                for _ in range(5):                           # the last ones are 429
                    m = ask(gate.port, "GET", "/", fields)
                    told = self.judge(m)
                    self.assertEqual([n for n, _, _ in told], names if fields else ["unauthenticated"])
                    self.assertIn(int(value(m, "X-RateLimit-Remaining")), [r for _, r, _ in told])


SEEDS = (
    '"up";r=5;t=9', '"up";r=99', '"up";r=100', '"a";r=500, "b";r=5;t=1', '"a";r=1;pk=:cHsdsRa894==:;q="x\\"y"',
    '"a";r=7;w=tok/en:x;d=-1.25;y=?1;n, "b";r=300', '"a"; r=3 , "b";r=4', '"\\\\";r=0', '"d";x=%"f%c3%bc";r=5',
    '"d";x=@1767225600;r=5', "limit=50, remaining=5, reset=9", '("a" "b");r=5', "up;r=5", '"a";r=5;r=500', '"a";r=1.5',
    '"a";r=-5', '"a";r=000000000000001', '"a";r=9999999999999999', '"a";*x=1;r=2', '"a";r',
)  # fmt: skip
MARKS = list('"\\;=,:?@%*().-_ \t019arAR/!')


def mutated(rng, text):
    text = list(text)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text) + 1)
        how = rng.randrange(3)
        if how == 0:
            text.insert(at, rng.choice(MARKS))
        elif at < len(text) and len(text) > 1:
            text[at : at + 1] = [] if how == 1 else [rng.choice(MARKS)]
    return "".join(text).strip(" \t")


class Read(Judged):
    def stricter(self, text):
        """What the field means by the other reader; None: it cannot tell. It takes 5.0 for the Integer 5, and a Date for
        malformed unless it stands at the end. Display Strings, which no rate limit has, are nothing to tollgate, and what
        a Byte Sequence holds is not decoded: the draft's own example of `pk` is no whole base64."""
        if re.search(r";[ ]*r=-?\d*\.", text) or "@" in text or '%"' in text:
            return None
        field = self.read(text)
        if "valid base64" in field.get("why", ""):
            return None
        left = [p.get("r") for n, p in field.get("items", []) if "string" in n]
        if not left or len(left) != len(field["items"]) or not all(isinstance(r, int) and r >= 0 for r in left):
            return False
        return min(left) < LEFT

    def test_what_an_upstream_writes(self):
        """The upstream's RateLimit passes where by RFC 9651 it says that fewer are left, and only there."""
        rng = random.Random(9651)
        texts = list(SEEDS) + [mutated(rng, rng.choice(SEEDS)) for _ in range(1500)]
        answer = [None]
        self.up.on("/own", lambda c, r: c.answer(200, [("RateLimit", answer[0])]))
        gate = self.begin(
            ("authenticated", 1, DAY), ("unauthenticated", LEFT + 1, DAY), routes=[public(self.up)],
            trusted_proxies=["127.0.0.0/8"],
        )
        seen = {True: 0, False: 0}
        with Client(gate.port) as c:
            for n, text in enumerate(texts):
                means = self.stricter(text)
                if not text or means is None:
                    continue
                answer[0] = text
                address = "10.0.%d.%d" % (n >> 8, n & 255)   # each has as much left
                told = value(c.request("GET", "/own", [("X-Forwarded-For", address)]).response(), "RateLimit")
                if means:
                    self.assertEqual(told, text)
                else:
                    self.assertRegex(told, r'^"unauthenticated";r=%d;t=\d+$' % LEFT, text)
                seen[means] += 1
        self.assertGreater(min(seen.values()), 100, seen)


if __name__ == "__main__":
    main()
