"""revoked_tokens_file: tokens withdrawn before they end, from a feed that is watched while it changes."""

import json
import os
import shutil
import signal
import tempfile
import time

from harness import (
    Case,
    ISSUER,
    NotStarted,
    Tollgate,
    ask,
    config,
    main,
    members,
    run,
    token,
    wait_until,
)


def line(**members_):
    return json.dumps({"iss": ISSUER, **members_}) + "\n"


class Feed:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-revoked.")
        self.path = os.path.join(self.dir, "feed")
        self.put("")

    def put(self, text):
        """As a good writer does: another file, renamed."""
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.path + ".new", self.path)

    def append(self, text):
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(text)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Revoked(Case):
    @classmethod
    def routes(cls, up):
        return [members(up)]

    @classmethod
    def settings(cls, up):
        cls.feed = Feed()
        return {"workers": 4, "revoked_tokens_file": cls.feed.path}

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.feed.remove()

    def setUp(self):
        self.feed.put("")
        self.become(0)

    def status(self, access):
        return self.ask(fields=[("Authorization", "Bearer " + access)]).status

    def become(self, entries):
        self.assertTrue(wait_until(lambda: self.entries() == entries, 6), "%s entries" % self.entries())

    def entries(self):
        return self.gate.metric("tollgate_revocations")

    def good(self):
        return self.gate.metric("tollgate_revocations_last_reload_successful")

    def verbose(self):
        return ask(self.gate.health, target="/readyz?verbose").body.decode()

    def test_a_token_in_use(self):
        """It was verified, lies in the caches of all workers, and its connections stay open: refused all the same."""
        withdrawn, other = token(jti="t-1"), token(jti="t-2")
        clients = [self.client() for _ in range(8)]
        for c in clients:
            for access in (withdrawn, other):
                c.request(fields=[("Authorization", "Bearer " + access)])
                self.assertStatus(c.response(), 200)
        before = time.monotonic()
        self.feed.append(line(jti="t-1"))
        self.become(1)
        self.assertLess(time.monotonic() - before, 3)
        for c in clients:
            m = c.request(target="/gone", fields=[("Authorization", "Bearer " + withdrawn)]).response()
            self.assertStatus(m, 401)
            self.assertIn(b'error="invalid_token", error_description="The access token is invalid"',
                          m.get(b"WWW-Authenticate")[0])  # fmt: skip
            c.request(fields=[("Authorization", "Bearer " + other)])
            self.assertStatus(c.response(), 200)
        self.assertEqual(self.gate.log("/gone")[0]["token_refused"], "revoked")
        self.feed.put("")
        self.become(0)
        self.assertEqual(self.status(withdrawn), 200)

    def test_exact(self):
        now = int(time.time())
        self.feed.put(
            line(jti="t-1")
            + line(sub="mallory")
            + line(sub="bob", not_before=now - 100)
            + line(jti="t-past", exp=now - 1000)
            + json.dumps({"iss": "https://other.test", "sub": "carol"})
            + "\n"
        )
        self.become(4)
        for want, claims in (
            (401, {"jti": "t-1"}),
            (200, {"jti": "t-11"}),
            (200, {"jti": "T-1"}),
            (200, {}),
            (401, {"sub": "mallory"}),
            (401, {"sub": "mallory", "jti": "t-9"}),
            (200, {"sub": "mallor"}),
            (200, {"sub": "t-1"}),
            (200, {"jti": "mallory"}),
            (401, {"sub": "bob", "iat": now - 101}),
            (200, {"sub": "bob", "iat": now - 100}),
            (401, {"sub": "bob", "iat": None}),
            (200, {"jti": "t-past"}),
            (200, {"sub": "carol"}),
        ):
            with self.subTest(**claims):
                self.assertEqual(self.status(token(**claims)), want)

    def test_a_list(self):
        self.feed.put(json.dumps([json.loads(line(jti="t-1")), json.loads(line(sub="mallory"))], indent=1))
        self.become(2)
        self.assertEqual(self.status(token(jti="t-1")), 401)

    def test_bad_feed(self):
        """It keeps the last good one, and says so wherever somebody looks."""
        self.feed.put(line(jti="t-1"))
        self.become(1)
        self.assertEqual(self.good(), 1)
        self.assertIn("revoked tokens: 1 entries", self.verbose())
        for text, words in ((line(jti="t-1") + "no JSON\n", "feed:2: "), (line(jti=7), "feed:1: "), (None, "opened")):
            with self.subTest(words):
                if text is None:
                    os.unlink(self.feed.path)
                else:
                    self.feed.put(text)
                self.assertTrue(wait_until(lambda: self.good() == 0 and words in self.verbose(), 6), self.verbose())
                self.assertEqual(self.status(token(jti="t-1")), 401)
                self.assertEqual(ask(self.gate.health, target="/readyz").status, 200)
        self.assertIn("revoked tokens not read", self.gate.stderr())
        self.feed.put(line(jti="t-2"))
        self.assertTrue(wait_until(lambda: self.good() == 1, 6))
        self.assertEqual(self.status(token(jti="t-1")), 200)
        self.assertEqual(self.status(token(jti="t-2")), 401)

    def test_written_in_pieces(self):
        """What was appended counts whole line by line; a shorter file only once it rests."""
        self.feed.append(line(jti="t-1") + line(jti="t-2")[:-9])
        self.become(1)
        self.feed.append(line(jti="t-2")[-9:])
        self.become(2)
        with open(self.feed.path, "w", encoding="utf-8") as f:  # the same anew, in place: it is cut at first
            for _ in range(6):
                f.write(line(jti="u-%d" % time.time_ns()))
                f.flush()
                time.sleep(0.4)
                self.assertEqual(self.status(token(jti="t-1")), 401)
        self.become(6)
        self.assertEqual(self.status(token(jti="t-1")), 200)

    def test_behind_a_link(self):
        d = tempfile.mkdtemp(prefix="tollgate-revoked.")
        self.addCleanup(shutil.rmtree, d)
        for name, text in (("one", line(jti="t-1")), ("two", line(jti="t-1") + line(jti="t-2"))):
            os.mkdir(os.path.join(d, name))
            with open(os.path.join(d, name, "feed"), "w", encoding="utf-8") as f:
                f.write(text)
        os.symlink("one", d + "/data")
        gate = self.start(config(self.routes(self.up), revoked_tokens_file=d + "/data/feed"))
        os.symlink("two", d + "/next")
        os.rename(d + "/next", d + "/data")
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_revocations") == 2, 6))

    def test_restart(self):
        self.feed.put(line(jti="t-1"))
        self.become(1)
        other = config(self.routes(self.up), revoked_tokens_file=self.feed.path)
        for _ in range(2):
            again = Tollgate(other)
            m = ask(again.port, fields=[("Authorization", "Bearer " + token(jti="t-1"))])
            again.proc.send_signal(signal.SIGKILL)
            again.stop(expect=-9)
            self.assertStatus(m, 401)

    def test_start_needs_a_good_one(self):
        for text, words in ((line(jti="t-1") + "{\n", "bad:2: "), (None, "cannot be opened")):
            path = os.path.join(self.feed.dir, "bad" if text else "none")
            if text:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
            cfg = config(self.routes(self.up), revoked_tokens_file=path)
            with self.assertRaises(NotStarted) as caught:
                self.start(cfg)
            self.assertEqual(caught.exception.status, 78)
            self.assertIn(words, caught.exception.stderr)
            code, _, err = run("check", "-c", self.gate.write("bad.json", {**self.gate.fixed, **cfg}))
            self.assertEqual(code, 78)
            self.assertIn(words, err)

    def test_reload(self):
        """Another file, none, and one that cannot be read: the old configuration stays then, with its feed."""
        self.feed.put(line(jti="t-1"))
        self.become(1)
        cfg = dict(self.gate.cfg)
        second = os.path.join(self.feed.dir, "second")
        with open(second, "w", encoding="utf-8") as f:
            f.write(line(jti="t-2") + line(jti="t-3"))
        self.gate.configure({**cfg, "revoked_tokens_file": second})
        self.gate.reload()
        self.become(2)
        self.assertEqual(self.status(token(jti="t-1")), 200)
        self.assertEqual(self.status(token(jti="t-2")), 401)
        self.gate.configure({**cfg, "revoked_tokens_file": second + ".none"})
        self.gate.reload()
        self.assertTrue(wait_until(lambda: "second.none: cannot be opened" in self.gate.stderr(), 6))
        self.assertEqual(self.status(token(jti="t-2")), 401)
        self.gate.configure({k: v for k, v in cfg.items() if k != "revoked_tokens_file"})
        self.gate.reload()
        self.become(0)
        self.assertTrue(wait_until(lambda: self.status(token(jti="t-2")) == 200, 6))
        self.gate.configure(cfg)
        self.gate.reload()
        self.become(1)
        self.assertEqual(self.status(token(jti="t-1")), 401)


if __name__ == "__main__":
    main()
