#!/usr/bin/env python3
"""The checks themselves: broken trees must be found out. python3 tests/lint/test_floors.py"""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
import floors  # noqa: E402
import style  # noqa: E402


class Floors(unittest.TestCase):
    def problems(self, files, check=floors.check):
        with tempfile.TemporaryDirectory() as d:
            for path, text in files.items():
                os.makedirs(os.path.join(d, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(d, path), "w", encoding="utf-8") as f:
                    f.write(text)
            back = os.getcwd()
            os.chdir(d)
            common.read.cache_clear()
            common.c_files.cache_clear()
            try:
                return check()
            finally:
                os.chdir(back)

    def test_includes(self):
        """(why, including file, included, allowed)"""
        headers = {"include/%s/x.h" % f: "/* x */\n#pragma once\n" for f in floors.FLOOR}
        for why, path, name, allowed in (
            ("own folder", "proxy/auth/a.c", "auth/x.h", True),
            ("lower floor", "proxy/auth/a.c", "jose/x.h", True),
            ("far below", "proxy/boot/a.c", "base/x.h", True),
            ("a neighbour", "proxy/auth/a.c", "limit/x.h", False),
            ("a floor above", "proxy/base/a.c", "gate/x.h", False),
            ("header above", "include/base/y.h", "io/x.h", False),
            ("main.c is boot's", "proxy/main.c", "gate/x.h", True),
            ("a test is its folder's", "tests/unit/http/test_a.c", "gate/x.h", False),
            ("libevent in io", "proxy/io/a.c", "<event2/event.h>", True),
            ("libevent elsewhere", "proxy/gate/a.c", "<event2/event.h>", False),
            ("OpenSSL in digest", "proxy/base/digest.c", "<openssl/evp.h>", True),
            ("OpenSSL in auth", "proxy/auth/a.c", "<openssl/evp.h>", False),
            ("libjwt in mint", "proxy/jose/mint.c", "<jwt.h>", True),
            ("libjwt in jws", "proxy/jose/jws.c", "<jwt.h>", False),
            ("the system's", "proxy/http/a.c", "<string.h>", True),
            ("missing", "proxy/http/a.c", "http/none.h", False),
        ):
            with self.subTest(why):
                line = "#include %s\n" % (name if name.startswith("<") else '"%s"' % name)
                got = self.problems({**headers, path: "/* a */\n" + line})
                self.assertEqual(not got, allowed, got)

    def test_private_header(self):
        files = {"proxy/http/internal.h": "/* i */\n", "proxy/http/a.c": '#include "internal.h"\n'}
        self.assertEqual(self.problems(files), [])
        files["proxy/auth/a.c"] = '#include "http/internal.h"\n'
        self.assertTrue(self.problems(files))

    def test_circle(self):
        self.assertTrue(
            self.problems({"include/base/a.h": '#include "base/b.h"\n', "include/base/b.h": '#include "base/a.h"\n'})
        )

    def test_style(self):
        good = "/*\n * a - what it is for.\n */\nint a;\n"
        self.assertEqual(self.problems({"proxy/base/a.c": good}, style.check), [])
        for why, text in (
            ("no head", "int a;\n"),
            ("tab", good + "\tint b;\n"),
            ("wide", good + "int " + "b" * 120 + ";\n"),
            ("unfinished", good + "/* TO" "DO: more */\n"),
            ("no newline", good.rstrip()),
        ):
            with self.subTest(why):
                self.assertTrue(self.problems({"proxy/base/a.c": text}, style.check))


if __name__ == "__main__":
    unittest.main()
