"""A second judge: every token and proof here is judged by tollgate over the wire and by oauth4webapi (or jose).

Both say the same, or tollgate is the stricter one for a reason that stands in STRICTER (docs/identity.md tells them
too). What tollgate takes and the other refuses stands in WIDER. A reason that no case uses is a failure. With
JUDGE_SHOWS=yes the cases that needed one are printed. The tokens are signed here, in Python, so that anything can be
wrong with them. Needs node and `npm ci` in this directory.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
from harness import ALG_OF, Case, ask, jwks, key, main, mint  # noqa: E402
from test_oidc import need_node  # noqa: E402

AUDIENCE = "urn:test:api"
RFC9068, PLAIN, ACCESS = "https://rfc9068.test", "https://plain.test", "https://access.test"
KEYS = ("ec256", "ec384", "ec521", "rsaA", "ed")
ALGS = ["ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"]
URL = "http://app.test/dpop"

# Cases by the beginning of their names: what only tollgate refuses, and why.
STRICTER = {
    r"dup ": "a member that stands twice: RFC 8725 §2.4 leaves the choice, and two readers may choose differently",
    r"iat ahead": "a token from the future tells of a wrong clock or a forger; RFC 7519 has no rule",
    r"plain: claim sub=": "`sub` is the name that policies, limits and logs go by",
    r"(plain|access|rfc9068): claim (exp|iat|nbf)=": "NumericDate: a number from 0 to 2^53 (RFC 7519 §2)",
    r"rfc9068: claim (sub|client_id|jti)=\"\"": "an empty name is no name",
    r"access: (at_hash|nonce|sid|c_hash|s_hash)": "`token_use: access` knows an ID token by its claims",
    r"access: no jti": "`token_use: access` requires it",
    r"plain: typ ": "RFC 8725 §3.11: a JWT of another kind (logout, secevent, dpop) is no access token",
    r"form ": "base64url without padding or loose bits, and JSON that all read alike (RFC 7515 §2, RFC 8259)",
    r"header ": "of the header only what RFC 7515 lets stand there, in its type",
    r"proof iat -1": "`dpop.proof_lifetime`: one minute unless set",
    r"proof typ ": "written as RFC 9449 §4.2 has it; other writings of a media type are for other JWTs",
    r"proof jti ": "an identifier that tells proofs apart (RFC 9449 §4.2)",
    r"proof dup": "a member that stands twice",
    r"proof again": "oauth4webapi leaves replay to its caller; a proof is good once (RFC 9449 §11.1)",
}
WIDER = {
    r"proof htu escaped": "RFC 9449 §4.3 recommends to compare after normalisation (RFC 3986 §6.2.2): %70 is p",
}


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def thumbprint(jwk):
    """RFC 7638."""
    members = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}[jwk["kty"]]
    text = json.dumps({m: jwk[m] for m in members}, separators=(",", ":"), sort_keys=True)
    return b64u(hashlib.sha256(text.encode()).digest())


PROVER, OTHER = key("ecX256"), key("ec256")


class Question:
    """One request: `name`, the judge's operation and issuer, what is sent."""

    def __init__(self, name, issuer, token, scheme="Bearer", proofs=(), method="GET", target="/dpop"):
        self.name, self.issuer, self.token, self.scheme = name, issuer, token, scheme
        self.proofs, self.method, self.target = list(proofs), method, target


def claims(issuer, **changes):
    now = int(time.time())
    body = {"iss": issuer, "aud": AUDIENCE, "sub": "user", "client_id": "robot", "jti": os.urandom(9).hex()}
    body.update(iat=now, exp=now + 600)
    body.update(changes)
    return {k: v for k, v in body.items() if v is not ...}


def signed(body, signer="ec256", header=None, sign=None, raw_header=None):
    jwk = key(signer)
    alg = (header or {}).get("alg") if isinstance((header or {}).get("alg"), str) else ALG_OF[signer]
    head = {"alg": ALG_OF[signer], "typ": "at+jwt", "kid": jwk["kid"], **(header or {})}
    head = {k: v for k, v in head.items() if v is not ...}
    return mint.jws(jwk, raw_header or head, body, alg=alg if alg in ALG_OF.values() or alg == "PS256" else None,
                    sign=sign or (None if alg in ALGS else lambda si: mint.sign_input(jwk, ALG_OF[signer], si)))


def by_stranger(signing_input):
    return mint.sign_input(key("ecX256"), "ES256", signing_input)


def by_ec256(signing_input):
    return mint.sign_input(OTHER, "ES256", signing_input)


# ---- tokens -----------------------------------------------------------------------------------------------------
def good_and_signature(issuer, name):
    """Every algorithm, and what can be done to a signature."""
    for signer, alg in [(k, ALG_OF[k]) for k in KEYS] + [("rsaA", "PS256")]:
        t = signed(claims(issuer), signer, {"alg": alg})
        head, payload, signature = t.split(".")
        raw = mint.unb64u(signature)
        other = "ES256" if alg != "ES256" else "RS256"
        variants = {
            "good": t,
            "no signature": head + "." + payload + ".",
            "two parts": head + "." + payload,
            "four parts": t + ".AAAA",
            "first bit": ".".join((head, payload, b64u(bytes([raw[0] ^ 1]) + raw[1:]))),
            "last bit": ".".join((head, payload, b64u(raw[:-1] + bytes([raw[-1] ^ 1])))),
            "half": ".".join((head, payload, b64u(raw[: len(raw) // 2]))),
            "longer": ".".join((head, payload, b64u(raw + b"\0"))),
            "zeros": ".".join((head, payload, b64u(bytes(len(raw))))),
            "other payload": ".".join((head, b64u(json.dumps(claims(issuer, sub="root")).encode()), signature)),
            "other key": signed(claims(issuer), signer, {"alg": alg}, sign=by_stranger),
            "alg none": ".".join((b64u(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()), payload, "")),
            "alg of another": ".".join(
                (b64u(json.dumps({"alg": other, "typ": "at+jwt", "kid": signer}).encode()), payload, signature)
            ),
            "kid of another": signed(claims(issuer), signer, {"alg": alg, "kid": "ed" if signer != "ed" else "ec256"}),
            "unknown kid": signed(claims(issuer), signer, {"alg": alg, "kid": "nobody"}),
            "HMAC with the public key": mint.jws(
                {"kty": "oct", "k": b64u(json.dumps(mint.public(key(signer))).encode())},
                {"alg": "HS256", "typ": "at+jwt", "kid": signer}, claims(issuer)),
        }
        if alg.startswith("ES"):
            n = len(raw) // 2
            variants["DER"] = ".".join((head, payload, b64u(mint.der_sig(mint.b2i(raw[:n]), mint.b2i(raw[n:])))))
        for why, variant in variants.items():
            yield Question("%s: %s %s" % (name, alg, why), issuer, variant)


def claim_by_claim(issuer, name):
    """Each claim: away, and of every type JSON has."""
    now = int(time.time())
    values = [..., None, True, 0, -1, 1.5, "", "x", [], ["x"], [AUDIENCE], [7], {}, {"a": 1}, 1e300, str(now + 600)]
    for claim in ("iss", "aud", "sub", "exp", "iat", "nbf", "jti", "client_id"):
        for v in values:
            text = "away" if v is ... else json.dumps(v)
            yield Question("%s: claim %s=%s" % (name, claim, text), issuer, signed(claims(issuer, **{claim: v})))
    for why, change in {
        "iss with a slash": {"iss": issuer + "/"},
        "iss in capitals": {"iss": issuer.upper()},
        "aud of another": {"aud": "urn:test:other"},
        "aud one of three": {"aud": ["a", AUDIENCE, "b"]},
        "aud none of two": {"aud": ["a", "b"]},
        "aud part": {"aud": AUDIENCE + "/"},
        "aud in capitals": {"aud": AUDIENCE.upper()},
        "expired": {"exp": now - 60},
        "expired long ago": {"exp": 1},
        "a fraction": {"exp": now + 600.75, "iat": now - 0.25},
        "nbf past": {"nbf": now - 60},
        "nbf ahead": {"nbf": now + 600},
        "scope": {"scope": "a b"},
        "unknown claims": {"https://x.test/y": {"z": [1, None]}, "ünï": "cödé"},
    }.items():
        yield Question("%s: %s" % (name, why), issuer, signed(claims(issuer, **change)))
    yield Question("iat ahead (%s)" % name, issuer, signed(claims(issuer, iat=now + 600, exp=now + 900)))


def headers_of(issuer, name):
    good = claims(issuer)
    for typ in (..., "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt", "logout+jwt",
                "dpop+jwt", "secevent+jwt", "application/jwt", "x", ""):
        yield Question("%s: typ %s" % (name, "away" if typ is ... else typ), issuer, signed(good, header={"typ": typ}))
    public = mint.public(key("ecX256"))
    for why, header in {
        "typ number": {"typ": 7},
        "typ null": {"typ": None},
        "alg number": {"alg": 7},
        "alg null": {"alg": None},
        "alg lower": {"alg": "es256"},
        "alg unknown": {"alg": "XX256"},
        "alg away": {"alg": ...},
        "kid number": {"kid": 7},
        "kid null": {"kid": None},
        "kid empty": {"kid": ""},
        "crit b64": {"crit": ["b64"], "b64": False},
        "crit unknown": {"crit": ["x"], "x": 1},
        "crit empty": {"crit": []},
        "crit null": {"crit": None},
        "b64 true": {"b64": True},
        "b64 false": {"b64": False},
        "cty JWT": {"cty": "JWT"},
        "cty number": {"cty": 7},
        "unknown member": {"x-note": {"a": [1]}},
        "zip": {"zip": "DEF"},
    }.items():
        yield Question("header %s (%s)" % (why, name), issuer, signed(good, header=header))
    for why, header in {                                 # a forger's own key: never looked at
        "jwk of a forger": {"jwk": public},
        "jku of a forger": {"jku": "https://evil.test/jwks"},
        "x5u of a forger": {"x5u": "https://evil.test/cert"},
        "kid a path": {"kid": "../../etc/passwd"},
    }.items():
        t = signed(good, header=header, sign=by_stranger)
        yield Question("%s: %s" % (name, why), issuer, t)
    yield Question("%s: kid away" % name, issuer, signed(good, "ec384", header={"kid": ...}))


def forms(issuer, name):
    """Bytes that are no clean JSON or base64url."""
    good = claims(issuer)
    text = json.dumps(good)
    now = int(time.time())
    for why, payload in {
        "spaces": json.dumps(good, indent=2).encode(),
        "escapes": text.replace("user", "\\u0075ser").encode(),
        "text behind": text.encode() + b"x",
        "two objects": text.encode() * 2,
        "a list": b"[" + text.encode() + b"]",
        "a text": json.dumps(text).encode(),
        "null": b"null",
        "empty": b"",
        "comma": text[:-1].encode() + b",}",
        "comment": text[:-1].encode() + b"/**/}",
        "NaN": text[:-1].encode() + b', "x": NaN}',
        "single quotes": text.replace('"', "'").encode(),
        "mark of order": b"\xef\xbb\xbf" + text.encode(),
        "UTF-16": text.encode("utf-16"),
        "UTF-8 broken": text.replace("user", "us\udcffer").encode("utf-8", "surrogateescape"),
        "NUL": text.encode() + b"\0",
        "half a pair": text.replace("user", "us\\ud800er").encode(),
        "NUL in a claim": text.replace("user", "us\\u0000er").encode(),
        "dup inside": text[:-1].encode() + b', "x": {"a": 1, "a": 2}}',
        "deep": text[:-1].encode() + b', "x": ' + b"[" * 200 + b"]" * 200 + b"}",
        "exp with an exponent": re.sub(r'"exp": \d+', '"exp": %d.5e1' % (now // 10 + 60), text).encode(),
        "exp beyond numbers": re.sub(r'"exp": \d+', '"exp": 1e999', text).encode(),
        "exp with a leading zero": re.sub(r'"exp": ', '"exp": 0', text).encode(),
    }.items():
        yield Question("form %s (%s)" % (why, name), issuer, signed(payload))
    others = {"sub": "root", "exp": now + 6000, "aud": "urn:test:other", "iss": "https://x", "x": 1}
    for member, value in others.items():
        twice = text[:-1] + ', "x": 1, %s: %s}' % (json.dumps(member), json.dumps(value))
        if member != "x":
            twice = twice.replace(', "x": 1', "")
        yield Question("dup %s (%s)" % (member, name), issuer, signed(twice.encode()))
        yield Question("dup first %s (%s)" % (member, name), issuer,
                       signed(("{%s: %s, " % (json.dumps(member), json.dumps(value)) + '"x": 1, ' * (member == "x") +
                               text[1:]).encode()))
    head = '{"alg":"ES256","typ":"at+jwt","kid":"ec256"'
    for why, raw in {
        "alg": head + ',"alg":"ES256"}',
        "alg none": head + ',"alg":"none"}',
        "kid": head + ',"kid":"ec256"}',
        "typ": head + ',"typ":"at+jwt"}',
    }.items():
        yield Question("dup in the header %s (%s)" % (why, name), issuer,
                       signed(text.encode(), raw_header=raw.encode(), sign=by_ec256))
    t = signed(good)
    h, p, s = t.split(".")
    loose = s[:-1] + chr(ord(s[-1]) + 1) if s[-1] in "AQgw" else s
    for why, variant in {
        "padding": t + "=",
        "padding twice": t + "==",
        "loose bits": ".".join((h, p, loose)),
        "a space inside": ".".join((h, p[:8] + " " + p[8:], s)),
        "plus and slash": ".".join((h, p, s.replace("-", "+").replace("_", "/"))) + "/",
        "dot in front": "." + t,
        "dot behind": t + ".",
        "empty header": "." + p + "." + s,
        "tilde": t + "~",
        "one character": "a",
        "three dots": "...",
        "five parts": "a.b.c.d.e",
    }.items():
        yield Question("form %s (%s)" % (why, name), issuer, variant)


# ---- proofs of possession -----------------------------------------------------------------------------------------
def proof(token, header=None, signer=PROVER, sign=None, raw=None, **changes):
    body = {"jti": os.urandom(12).hex(), "htm": "GET", "htu": URL, "iat": int(time.time()),
            "ath": b64u(hashlib.sha256(token.encode()).digest())}
    body.update(changes)
    body = {k: v for k, v in body.items() if v is not ...}
    head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": mint.public({k: v for k, v in signer.items() if k != "kid"})}
    head.update(header or {})
    head = {k: v for k, v in head.items() if v is not ...}
    own = {"RSA": "RS256", "Ed25519": "EdDSA", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
    own = own[signer.get("crv", signer["kty"])]
    alg = "PS256" if head.get("alg") == "PS256" else own
    return mint.jws(signer, head, raw or body, alg=alg, sign=sign or (lambda si: mint.sign_input(signer, alg, si)))


def proofs():
    now = int(time.time())
    ed, rsa = key("ed"), key("rsaB")
    bound = signed(claims(RFC9068, cnf={"jkt": thumbprint(PROVER)}))

    def asked(name, p, token=bound, scheme="DPoP", **more):
        return Question(name, RFC9068, token, scheme, p if isinstance(p, list) else [p], **more)

    for i in range(3):
        yield asked("proof good %d" % i, proof(bound))
    for name, k, alg in (("EdDSA", ed, "EdDSA"), ("RS256", rsa, "RS256"), ("PS256", rsa, "PS256"),
                         ("ES384", key("ec384"), "ES384"), ("ES512", key("ec521"), "ES512")):
        t = signed(claims(RFC9068, cnf={"jkt": thumbprint(k)}))
        yield asked("proof alg %s" % name, proof(t, {"alg": alg}, k), t)
    yield asked("proof none", [])
    yield asked("proof with Bearer", proof(bound), scheme="Bearer")
    yield asked("bound token alone", [], scheme="Bearer")
    yield asked("proof twice in the head", [proof(bound), proof(bound)])
    yield asked("proof empty", "")
    yield asked("proof no JWT", "x.y.z")
    free = signed(claims(RFC9068))
    yield asked("proof for a token that is not bound", proof(free), free)
    yield asked("unbound token with DPoP and no proof", [], free)
    other = signed(claims(RFC9068, cnf={"jkt": thumbprint(OTHER)}))
    yield asked("proof by a key that is not the token's", proof(other), other)
    yield asked("proof by the token's key, other jwk", proof(bound, {"jwk": mint.public(OTHER)}))
    for why, cnf in {"number": {"jkt": 7}, "empty": {"jkt": ""}, "text": "x", "list": [thumbprint(PROVER)],
                     "null": None,
                     "padded": {"jkt": thumbprint(PROVER) + "="}, "unknown": {"x": "y"},
                     "two": {"jkt": thumbprint(PROVER), "x5t#S256": "A" * 43}}.items():
        t = signed(claims(RFC9068, cnf=cnf))
        yield asked("cnf %s" % why, proof(t), t)
    t = signed(claims(RFC9068, cnf={"x5t#S256": "A" * 43}))
    yield Question("bound to a certificate that is not there", RFC9068, t)
    for why, header in {
        "typ away": {"typ": ...}, "typ JWT": {"typ": "JWT"}, "typ in capitals": {"typ": "DPOP+JWT"},
        "typ null": {"typ": None},
        "typ application": {"typ": "application/dpop+jwt"},
        "alg none": {"alg": "none"}, "alg HS256": {"alg": "HS256"}, "alg away": {"alg": ...},
        "alg RS256": {"alg": "RS256"},
        "jwk away": {"jwk": ...}, "jwk text": {"jwk": "x"}, "jwk empty": {"jwk": {}}, "jwk null": {"jwk": None},
        "jwk symmetric": {"jwk": {"kty": "oct", "k": "AAAA"}},
        "jwk point": {"jwk": {**mint.public(PROVER), "y": "AAAA"}},
        "jwk off the curve": {"jwk": {**{k: v for k, v in mint.public(PROVER).items() if k != "kid"}, "x": "A" * 43}},
        "private": {"jwk": {k: v for k, v in PROVER.items() if k != "kid"}},
        "crit": {"crit": ["x"], "x": 1}, "kid": {"kid": "x"}, "unknown member": {"x": 1},
    }.items():
        yield asked("proof " + why, proof(bound, header))
    for why, body in {
        "htm POST": {"htm": "POST"}, "htm lower": {"htm": "get"}, "htm away": {"htm": ...}, "htm number": {"htm": 7},
        "htm empty": {"htm": ""},
        "htu away": {"htu": ...}, "htu number": {"htu": 7}, "htu empty": {"htu": ""}, "htu relative": {"htu": "/dpop"},
        "htu of another path": {"htu": "http://app.test/other"},
        "htu of another host": {"htu": "http://other.test/dpop"},
        "htu below": {"htu": URL + "/x"}, "htu above": {"htu": "http://app.test/"},
        "htu with a slash": {"htu": URL + "/"},
        "htu of another port": {"htu": "http://app.test:81/dpop"}, "htu usual port": {"htu": "http://app.test:80/dpop"},
        "htu with a query": {"htu": URL + "?a=b"}, "htu with a fragment": {"htu": URL + "#a"},
        "htu host in capitals": {"htu": "http://APP.test/dpop"},
        "htu scheme in capitals": {"htu": "HTTP://app.test/dpop"},
        "htu path in capitals": {"htu": "http://app.test/DPOP"}, "htu with dots": {"htu": "http://app.test/x/../dpop"},
        "htu escaped": {"htu": "http://app.test/d%70op"}, "htu user": {"htu": "http://u@app.test/dpop"},
        "htu ftp": {"htu": "ftp://app.test/dpop"}, "htu list": {"htu": [URL]},
        "iat away": {"iat": ...}, "iat text": {"iat": str(now)}, "iat null": {"iat": None},
        "iat -1 minute 40": {"iat": now - 100},
        "iat -1 hour": {"iat": now - 3600}, "iat +1 hour": {"iat": now + 3600}, "iat negative": {"iat": -1},
        "iat fraction": {"iat": now + 0.5},
        "jti away": {"jti": ...}, "jti number": {"jti": 7}, "jti empty": {"jti": ""}, "jti null": {"jti": None},
        "ath away": {"ath": ...}, "ath of another token": {"ath": b64u(hashlib.sha256(b"x").digest())},
        "ath padded": {"ath": b64u(hashlib.sha256(bound.encode()).digest()) + "="}, "ath number": {"ath": 7},
        "exp past": {"exp": now - 60}, "nbf ahead": {"nbf": now + 600}, "nonce unasked": {"nonce": "abc"},
    }.items():
        yield asked("proof " + why, proof(bound, **body))
    p = proof(bound)
    h, b, s = p.split(".")
    raw = mint.unb64u(s)
    yield asked("proof signature bit", ".".join((h, b, b64u(raw[:-1] + bytes([raw[-1] ^ 1])))))
    yield asked("proof signature away", h + "." + b + ".")
    yield asked("proof body of another", ".".join((h, proof(bound).split(".")[1], s)))
    yield asked("proof signed by another", proof(bound, sign=by_ec256))
    text = json.dumps({"htm": "GET", "htu": URL, "iat": now, "ath": b64u(hashlib.sha256(bound.encode()).digest())})
    yield asked("proof dup", proof(bound, raw=(text[:-1] + ', "jti": "a1", "jti": "a2"}').encode()))
    yield asked("proof good of a POST", proof(bound, htm="POST"), method="POST")
    yield asked("proof good with a query sent", proof(bound), target="/dpop?a=b")
    once = proof(bound)
    yield asked("proof once", once)
    yield asked("proof again", once)


class Judged(Case):
    @classmethod
    def setUpClass(cls):
        need_node()
        cls.p = subprocess.Popen(
            ["node", "judge.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        super().setUpClass()
        cls.used, cls.count = set(), {"accepted": 0, "refused": 0, "stricter": 0, "wider": 0}

    @classmethod
    def tearDownClass(cls):
        cls.p.stdin.close()
        cls.p.wait()
        cls.p.stdout.close()
        print("judged twice: %s" % ", ".join("%s %d" % x for x in cls.count.items()))
        super().tearDownClass()

    @classmethod
    def routes(cls, up):
        return [{"name": "members", "prefix": "/", "to": up.url, "allow_any_authenticated_user": True}]

    @classmethod
    def settings(cls, up):
        common = {"audiences": [AUDIENCE], "supported_algs": ALGS, "jwks": jwks(*KEYS), "leeway": "0s"}
        return {
            "identity_providers": {
                "rfc9068": {"issuer": RFC9068, "token_use": "access", "profile": "rfc9068", **common},
                "plain": {"issuer": PLAIN, **common},
                "access": {"issuer": ACCESS, "token_use": "access", **common},
            },
            "dpop": {"algs": ALGS},
        }

    def other_judge(self, q):
        asked = {"issuer": q.issuer, "audience": AUDIENCE, "jwks": jwks(*KEYS), "token": q.token}
        if q.issuer == RFC9068:
            url = "http://app.test" + q.target
            asked.update(op="access", scheme=q.scheme, method=q.method, url=url, proofs=q.proofs)
        else:
            asked.update(op="jwt", algs=ALGS)
        self.p.stdin.write(json.dumps(asked) + "\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def tollgate(self, q):
        fields = [("Authorization", q.scheme + " " + q.token)] + [("DPoP", p) for p in q.proofs]
        m = ask(self.port, q.method, q.target, fields, b"" if q.method == "POST" else None)
        self.assertIn(m.status, (200, 400, 401), q.name)
        return m.status == 200

    def judge(self, questions):
        wrong = []
        for q in questions:
            ours, theirs = self.tollgate(q), self.other_judge(q)
            excuse = None
            if ours == theirs["ok"]:
                self.count["accepted" if ours else "refused"] += 1
                continue
            table, kind = (WIDER, "wider") if ours else (STRICTER, "stricter")
            excuse = next((pattern for pattern in table if re.match(pattern, q.name)), None)
            self.count[kind] += 1
            self.used.add(excuse)
            if os.environ.get("JUDGE_SHOWS"):
                print("  %-8s %s" % (kind, q.name))
            if excuse is None:
                said = "accepts" if theirs["ok"] else "refuses, " + theirs["why"]
                wrong.append("%s: tollgate %s, the other judge %s" % (q.name, "accepts" if ours else "refuses", said))
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_1_rfc9068(self):
        for part in (good_and_signature, claim_by_claim, headers_of, forms):
            with self.subTest(part.__name__):
                self.judge(part(RFC9068, "rfc9068"))

    def test_2_plain(self):
        for part in (good_and_signature, claim_by_claim, headers_of, forms):
            with self.subTest(part.__name__):
                self.judge(part(PLAIN, "plain"))

    def test_3_access(self):
        now = int(time.time())
        self.judge(
            Question("access: " + why, ACCESS, signed(claims(ACCESS, **change), header={"typ": typ}))
            for why, change, typ in (
                ("good", {}, "JWT"), ("good at+jwt", {}, "at+jwt"), ("no jti", {"jti": ...}, "JWT"),
                ("at_hash", {"at_hash": "x"}, "JWT"), ("nonce", {"nonce": "x"}, "JWT"), ("sid", {"sid": "x"}, "JWT"),
                ("c_hash", {"c_hash": "x"}, "JWT"), ("s_hash", {"s_hash": "x"}, "JWT"),
                ("expired", {"exp": now - 60}, "JWT"), ("aud of another", {"aud": "x"}, "JWT"),
            )
        )

    def test_4_proofs(self):
        self.judge(proofs())

    def test_5_reasons_are_used(self):
        self.assertGreater(sum(self.count.values()), 300)
        self.assertGreater(self.count["accepted"], 40)
        self.assertEqual((set(STRICTER) | set(WIDER)) - self.used, set(), "no case needs this reason")


if __name__ == "__main__":
    main()
