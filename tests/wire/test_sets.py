"""Policies and routes from elsewhere: a set comes in force, is kept for the next start, grows old, and is refused."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from harness import (
    Case,
    Client,
    Tollgate,
    ask,
    bearer,
    config,
    main,
    members,
    run,
    value,
    wait_until,
)

ADMINS = {"allow": {"and": [{"email": {"is": "admin@example.com"}}]}}
USERS = {"allow": {"and": [{"email": {"is": "user@example.com"}}]}}
NOBODY = {"deny": {"or": [{"accept": True}]}}


def policy(id_, ppl=USERS, **more):
    return {"id": id_, "name": more.pop("name", "policy " + id_), "namespaceId": "root", "ppl": ppl, **more}


def route(up, prefix, *policies, **more):
    path = more.pop("from", "https://app.test")
    return {
        "id": "route" + prefix.replace("/", "-"),
        "name": "route" + prefix.replace("/", "-"),
        "namespaceId": "root",
        "from": path,
        "prefix": prefix,
        "to": [up.url if hasattr(up, "url") else up],
        "policyIds": list(policies),
        "preserveHostHeader": True,
        **more,
    }


class Publisher:
    """Somebody who signs bundles; `path` is where a tollgate looks."""

    def __init__(self, lives="1h"):
        self.dir = tempfile.mkdtemp(prefix="tollgate-sets.")
        self.key, self.public = os.path.join(self.dir, "key.pem"), os.path.join(self.dir, "key.pub")
        self.path, self.sequence, self.lives = os.path.join(self.dir, "policies.bundle"), 0, lives
        for args in (("genpkey", "-algorithm", "ed25519", "-out", self.key),
                     ("pkey", "-in", self.key, "-pubout", "-out", self.public)):
            subprocess.run(("openssl",) + args, check=True, capture_output=True, timeout=20)

    def publish(self, policies=(), routes=(), lives=None):
        text = json.dumps({"policies": list(policies), "routes": list(routes)})
        self.sequence += 1
        code, payload, err = run("bundle", "build", "--sequence", str(self.sequence), "--expires", lives or self.lives,
                                 "-", stdin=text)
        assert code == 0, err
        code, bundle, err = run("bundle", "sign", "--key", self.key, "-", stdin=payload)
        assert code == 0, err
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            f.write(bundle)
        os.rename(self.path + ".new", self.path)

    def hide(self):
        os.rename(self.path, self.path + ".hidden")

    def settings(self, **more):
        return {"file": self.path, "public_key_file": self.public, "interval": "1s", **more}

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Sets(Case):
    def publisher(self, **kwargs):
        p = Publisher(**kwargs)
        self.addCleanup(p.remove)
        return p

    def state(self):
        path = tempfile.mkdtemp(prefix="tollgate-state.")
        self.addCleanup(shutil.rmtree, path, True)
        return path

    def gate_of(self, publisher, routes=None, ready=True, bundle=None, **more):
        return self.start(config(routes, bundle=publisher.settings(**(bundle or {})), **more), ready=ready)

    def statuses(self, gate, *paths, email="user@example.com"):
        return [ask(gate.port, "GET", p, [bearer(email=email)]).status for p in paths]

    def becomes(self, gate, path, status, limit=5.0, email="user@example.com"):
        got = wait_until(lambda: self.statuses(gate, path, email=email) == [status], limit)
        self.assertTrue(got, "%s is %s, not %d\n%s" % (path, self.statuses(gate, path, email=email), status,
                                                       gate.stderr()[-3000:]))

    def verbose(self, gate):
        return ask(gate.health, "GET", "/readyz?verbose")


class InForce(Sets):
    def test_a_file_with_nothing_but_a_bundle_serves_by_it_from_the_first_request(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p)
        self.assertEqual(self.statuses(gate, "/"), [200])
        self.assertEqual(self.statuses(gate, "/", email="admin@example.com"), [403])
        self.assertEqual(ask(gate.port, "GET", "/").status, 401)
        self.assertEqual(gate.metric("tollgate_policy_set_routes", source="bundle"), 1)
        self.assertIn("1 policies, 1 routes", self.verbose(gate).body.decode())

    def test_a_change_takes_effect_without_a_signal(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p)
        p.publish([policy("a", ADMINS)], [route(self.up, "/", "a")])
        self.becomes(gate, "/", 403)
        self.assertEqual(self.statuses(gate, "/", email="admin@example.com"), [200])

    def test_the_file_goes_first_and_its_enforced_policies_hold_for_the_set_too(self):
        p = self.publisher()
        p.publish([policy("a"), policy("never", NOBODY, enforced=True)],
                  [route(self.up, "/mine", "a"), route(self.up, "/set", "a")])
        gate = self.gate_of(p, [members(self.up, name="mine", prefix="/mine")])
        self.assertEqual(self.statuses(gate, "/mine", "/set", "/else"), [200, 403, 404])
        p.publish([policy("a")], [route(self.up, "/set", "a")])
        self.becomes(gate, "/set", 200)
        gate.configure({**gate.cfg, "policies": [{"name": "admins", "enforced": True, "ppl": {
            "deny": {"not": [{"email": {"is": "admin@example.com"}}]}}}]})
        gate.reload()
        self.becomes(gate, "/set", 403)
        self.assertEqual(self.statuses(gate, "/mine"), [403])

    def test_verified_tokens_outlive_a_change_of_policies(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p, workers=1)
        who = [bearer()]
        self.assertEqual(ask(gate.port, "GET", "/", who).status, 200)
        before = gate.metric("tollgate_token_cache_misses_total")
        p.publish([policy("a"), policy("b")], [route(self.up, "/", "a"), route(self.up, "/b", "b")])
        self.assertTrue(wait_until(lambda: ask(gate.port, "GET", "/nowhere", who, host="b.test").status == 404 and
                                   gate.metric("tollgate_policy_set_routes") == 2))
        self.assertEqual(ask(gate.port, "GET", "/b", who).status, 200)
        self.assertEqual(gate.metric("tollgate_token_cache_misses_total"), before)

    def test_requests_under_way_end_under_the_policies_they_began_with(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p)
        with Client(gate.port) as c:
            c.send(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n%s: %s\r\n\r\nab" %
                   tuple(x.encode() for x in bearer()))
            time.sleep(0.1)
            p.publish([policy("a")], [route(self.up, "/else", "a")])
            self.becomes(gate, "/", 404)
            c.send(b"cd")
            self.assertEqual(c.response().status, 200)


class Metrics(Sets):
    def test_series_of_a_route_end_with_it_and_those_of_others_go_on(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/stays", "a"), route(self.up, "/goes", "a")])
        gate = self.gate_of(p)
        self.assertEqual(self.statuses(gate, "/stays", "/goes"), [200, 200])
        self.assertEqual(gate.metric("tollgate_http_requests_total", route="route-goes"), 1)
        p.publish([policy("a")], [route(self.up, "/stays", "a")])
        self.becomes(gate, "/goes", 404)
        gone = 'route="route-goes"'
        self.assertTrue(wait_until(lambda: gone not in ask(gate.health, "GET", "/metrics").body.decode()))
        self.statuses(gate, "/stays")
        self.assertEqual(gate.metric("tollgate_http_requests_total", route="route-stays", code="200"), 2)
        self.assertEqual(gate.metric("tollgate_http_request_duration_seconds_count", route="route-stays"), 2)

    def test_nothing_tells_a_digest_of_what_holds_secrets(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a", setRequestHeaders={"X-Key": "4711"})])
        gate = self.gate_of(p, state_dir=self.state())
        with open(os.path.join(gate.cfg["state_dir"], "policies.set"), "rb") as f:
            text = f.read()
        digest = hashlib.sha256(text[text.index(b"\n\n") + 2 :]).hexdigest()[:12]
        self.assertIn("policies in force", gate.stderr())
        self.assertNotIn(digest, gate.stderr() + self.verbose(gate).body.decode())


class References(Sets):
    def test_a_route_of_the_file_may_name_a_policy_of_the_set(self):
        p = self.publisher()
        p.publish([policy("a", name="staff")], [])
        gate = self.gate_of(p, [{"name": "by-name", "prefix": "/n", "to": self.up.url, "policies": ["staff"]},
                                {"name": "by-id", "prefix": "/i", "to": self.up.url, "policies": ["a"]}])
        self.assertEqual(self.statuses(gate, "/n", "/i"), [200, 200])
        p.publish([policy("b", name="others")], [])
        self.becomes(gate, "/n", 503)
        got = ask(gate.port, "GET", "/i", [bearer()])
        self.assertProblem(got, 503, "service unavailable", "the policies of this route are not loaded")
        self.assertEqual(gate.log("/i", 2)[-1]["refused"], "no-policy")

    def test_a_reference_of_the_set_that_leads_nowhere_fails_closed(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/a", "a"), route(self.up, "/b", "a", "gone")])
        gate = self.gate_of(p)
        self.assertEqual(self.statuses(gate, "/a", "/b"), [200, 503])
        self.assertEqual(ask(gate.port, "GET", "/b").status, 503)


class Refused(Sets):
    def test_a_set_that_does_not_compile_leaves_the_last_good_one(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p)
        p.publish([policy("a")], [route(self.up, "/", "a", identityProviders=["nobody"])])
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_policy_set_offers_total", result="refused") == 1))
        self.assertEqual(self.statuses(gate, "/"), [200])
        said = self.verbose(gate)
        self.assertEqual(said.status, 200)
        self.assertIn("nobody", said.body.decode())
        self.assertIn("policies are refused", gate.stderr())
        time.sleep(1.2)  # told once, however often it is found again
        self.assertEqual(gate.stderr().count("policies are refused"), 1)
        # the file learns of the provider: what was refused is tried again
        gate.configure({**gate.cfg, "identity_providers": {**gate.cfg["identity_providers"], "nobody": {
            "issuer": "https://nobody.test", "audiences": ["x"], "supported_algs": ["ES256"],
            "jwks": gate.cfg["identity_providers"]["test"]["jwks"]}}})
        gate.reload()
        self.becomes(gate, "/", 401)
        self.assertNotIn("nobody", self.verbose(gate).body.decode().split("policies from")[1].split("\n")[0])

    def test_where_routes_may_lead_is_said_by_the_file_and_may_change(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p)
        p.publish([policy("a")], [route(self.up, "/", "a"), route("http://10.1.2.3:80", "/far", "a")])
        self.assertTrue(wait_until(lambda: "policies are refused" in gate.stderr()))
        self.assertEqual(self.statuses(gate, "/"), [200])
        gate.configure({**gate.cfg, "bundle": p.settings(allowed_upstreams=["127.0.0.0/8", "10.0.0.0/8"])})
        gate.reload()
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_policy_set_routes") == 2))
        # narrower than what is in force: then the file is refused, for the set is not let go silently
        gate.configure({**gate.cfg, "bundle": p.settings()})
        gate.reload()
        self.assertTrue(wait_until(lambda: "not reloaded" in gate.stderr()))
        self.assertEqual(gate.metric("tollgate_policy_set_routes"), 2)

    def test_another_source_needs_a_restart(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p)
        gate.configure({k: v for k, v in gate.cfg.items() if k != "bundle"} | {"routes": [members(self.up)]})
        gate.reload()
        self.assertTrue(wait_until(lambda: "bundle can only change with a restart" in gate.stderr()))
        gate.configure({**gate.cfg, "bundle": p.settings(file=p.path + ".other")})
        gate.reload()
        self.assertTrue(wait_until(lambda: "only change with a restart" in gate.stderr()))


class Kept(Sets):
    def test_a_start_without_the_source_serves_what_was_kept_from_the_first_request(self):
        p, state = self.publisher(), self.state()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        first = Tollgate(config(None, bundle=p.settings(), state_dir=state))
        self.assertEqual(self.statuses(first, "/"), [200])
        kept = os.path.join(state, "policies.set")
        self.assertEqual(os.stat(kept).st_mode & 0o777, 0o600)
        first.stop()
        p.hide()
        gate = self.gate_of(p, state_dir=state)
        self.assertEqual(self.statuses(gate, "/"), [200])
        self.assertEqual(self.statuses(gate, "/", email="admin@example.com"), [403])
        self.assertIn("failed", self.verbose(gate).body.decode())

    def test_a_damaged_file_is_told_and_passed_over(self):
        p, state = self.publisher(), self.state()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        Tollgate(config(None, bundle=p.settings(), state_dir=state)).stop()
        p.hide()
        path = os.path.join(state, "policies.set")
        with open(path, "rb") as f:
            whole = bytearray(f.read())
        whole[-20] ^= 1
        with open(path, "wb") as f:
            f.write(whole)
        gate = self.gate_of(p, ready=False, state_dir=state)
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 503)
        self.assertEqual(self.statuses(gate, "/"), [503])
        self.assertEqual(gate.log("/", 1)[-1]["refused"], "not-loaded")
        self.assertIn("damaged", gate.stderr())

    def test_before_anything_was_loaded_routes_of_the_file_serve_and_others_are_503(self):
        p = self.publisher()
        gate = self.gate_of(p, [members(self.up, prefix="/mine")], ready=False)
        self.assertEqual(self.statuses(gate, "/mine", "/else"), [200, 503])
        got = ask(gate.port, "GET", "/else")
        self.assertProblem(got, 503, "service unavailable", "policies are not loaded yet")
        self.assertEqual(value(got, "Retry-After"), "5")
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 503)
        p.publish([policy("a")], [route(self.up, "/set", "a")])
        self.becomes(gate, "/set", 200)
        self.assertEqual(self.statuses(gate, "/else"), [404])
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 200)


class Commands(Sets):
    """What runs beside a process goes by what that has kept."""

    def test_explain_check_and_why_know_the_policies_in_force(self):
        p, state = self.publisher(), self.state()
        p.publish([policy("a", name="staff")], [route(self.up, "/", "a"), route(self.up, "/open", "gone")])
        gate = self.gate_of(p, state_dir=state)
        self.assertEqual(self.statuses(gate, "/", "/open"), [200, 503])
        self.assertEqual(self.statuses(gate, "/", email="admin@example.com"), [403])
        gate.log(count=3)
        said = gate.explain()
        self.assertEqual((said["judged"], said["equal"], said["differ_since"]), (2, 2, 0))
        code, out, err = run("check", "-c", gate.config_path)
        self.assertEqual(code, 0, err)
        self.assertIn("policies kept of their source: 1, with 2 routes", out)
        args = ("explain", "-c", gate.config_path, "--host", "app.test", "--claims",
                json.dumps({"sub": "x", "email": "user@example.com"}))
        code, out, err = run(*args, "--path", "/", "--json")
        self.assertEqual((code, json.loads(out)["status"]), (0, 200), err)
        code, out, err = run(*args, "--path", "/open")
        self.assertIn("the policies of this route are not loaded", out, err)

    def test_explain_knows_that_nothing_was_loaded_yet(self):
        p = self.publisher()
        gate = self.gate_of(p, [members(self.up, prefix="/mine")], ready=False, state_dir=self.state())
        code, out, err = run("explain", "-c", gate.config_path, "--host", "app.test", "--path", "/", "--claims",
                             '{"sub": "x"}')
        self.assertIn("policies are not loaded yet", out, err)

    def test_check_tells_that_what_is_kept_would_not_compile_any_more(self):
        p, state = self.publisher(), self.state()
        p.publish([policy("a")], [route(self.up, "/", "a", identityProviders=["test"])])
        gate = self.gate_of(p, state_dir=state)
        gate.configure({**gate.cfg, "identity_providers": {"other": gate.cfg["identity_providers"]["test"]}})
        code, out, err = run("check", "-c", gate.config_path)
        self.assertEqual(code, 78)
        self.assertIn('there is no identity provider "test"', err)
        gate.reload()
        self.assertTrue(wait_until(lambda: "not reloaded" in gate.stderr()))
        self.assertEqual(self.statuses(gate, "/"), [200])


class Stale(Sets):
    def test_a_bundle_that_has_ended_is_refused_to_its_callers_where_the_file_says_so(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")], lives="3s")
        gate = self.gate_of(p, [members(self.up, prefix="/mine"),
                                {"name": "shared", "prefix": "/shared", "to": self.up.url, "policies": ["a"]}],
                            bundle={"when_stale": "deny"})
        self.assertEqual(self.statuses(gate, "/", "/mine", "/shared"), [200, 200, 200])
        self.becomes(gate, "/", 503)
        self.assertEqual(self.statuses(gate, "/mine", "/shared"), [200, 503])
        self.assertEqual(gate.log("/shared", 2)[-1]["refused"], "stale-policies")
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 503)
        self.assertEqual(gate.metric("tollgate_policy_set_stale"), 1)
        p.publish([policy("a")], [route(self.up, "/", "a")])
        self.becomes(gate, "/", 200)
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 200)

    def test_or_goes_on_where_it_does_not_until_a_new_file_says_so(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")], lives="3s")
        gate = self.gate_of(p)
        self.assertTrue(wait_until(lambda: gate.metric("tollgate_policy_set_stale") == 1))
        self.assertEqual(self.statuses(gate, "/"), [200])
        self.assertEqual(ask(gate.health, "GET", "/readyz").status, 200)
        gate.configure({**gate.cfg, "bundle": p.settings(when_stale="deny")})
        gate.reload()
        self.becomes(gate, "/", 503)


class Reloads(Sets):
    def test_a_reload_takes_an_offer_that_waits_and_loses_none(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p)
        for n in range(6):  # a set and a file at the same time, again and again
            p.publish([policy("a")], [route(self.up, "/", "a"), route(self.up, "/n%d" % n, "a")])
            gate.configure({**gate.cfg, "realm": "r%d" % n})
            gate.reload()
            time.sleep(0.05 * n)
        self.becomes(gate, "/n5", 200)
        got = ask(gate.port, "GET", "/")
        self.assertEqual(value(got, "WWW-Authenticate"), 'Bearer realm="r5"')


class Signals(Sets):
    def test_a_set_is_taken_while_draining(self):
        p = self.publisher()
        p.publish([policy("a")], [route(self.up, "/", "a")])
        gate = self.gate_of(p, drain={"delay": "2s", "timeout": "5s"})
        gate.proc.send_signal(signal.SIGTERM)
        self.assertTrue(wait_until(lambda: "draining" in gate.stderr()))
        p.publish([policy("a", ADMINS)], [route(self.up, "/", "a")])
        self.becomes(gate, "/", 403, limit=1.8)
        gate.proc.wait(20)
        self.gate = None

    def test_one_from_outside_does_no_harm(self):
        gate = self.start(config([members(self.up)]))
        for _ in range(3):
            gate.proc.send_signal(signal.SIGUSR2)
        self.assertEqual(self.statuses(gate, "/"), [200])


if __name__ == "__main__":
    main()
