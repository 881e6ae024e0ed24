"""The management API's description by a judge of such documents. Needs node and `npm ci` in this directory."""

import copy
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
from harness import main  # noqa: E402
from openapi import DOCUMENT  # noqa: E402
from test_oidc import need_node  # noqa: E402

HEALTH = "/api/v1/health"


def judged(document):
    p = subprocess.run(["node", "openapi.mjs"], cwd=HERE, input=json.dumps(document), capture_output=True, text=True,
                       timeout=60)  # fmt: skip
    if p.returncode != 0:
        raise AssertionError(p.stderr)
    return json.loads(p.stdout)


class Document(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need_node()

    def test_is_openapi_3_1(self):
        said = judged(DOCUMENT)
        self.assertTrue(said["valid"], json.dumps(said["errors"], indent=1)[:4000])
        self.assertEqual(said["version"], "3.1")

    def test_the_judge_sees_mistakes(self):
        def spoilt(change):
            document = copy.deepcopy(DOCUMENT)
            change(document)
            return judged(document)["valid"]

        get = lambda d: d["paths"][HEALTH]["get"]  # noqa: E731
        for change in (
            lambda d: d["info"].pop("title"),
            lambda d: d.update(openapi="3.9.0"),
            lambda d: d["paths"].update({"no/slash": {}}),
            lambda d: get(d).update(responses={"20": {"description": "x"}}),
            lambda d: get(d)["responses"]["200"].pop("description"),
            lambda d: get(d).update(parameters=[{"name": "x"}]),
            lambda d: get(d).update(sumary="x"),
        ):
            self.assertFalse(spoilt(change))


if __name__ == "__main__":
    main()
