#!/usr/bin/env python3
"""What testssl.sh, an independent scanner, finds at a tollgate that speaks TLS: no weak protocol, cipher or known hole.

    TOLLGATE=path/to/tollgate python3 tests/tls/test_testssl.py

The certificate is made here and signed by nobody known, so findings about trust, revocation and transparency are of this
test and not of tollgate; so are HTTP headers, which are the service's. Everything else of severity LOW or above fails.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
import certs  # noqa: E402
from harness import Case, config, main, public  # noqa: E402

# About the test's certificate, or the scanner's own openssl, and not about the server.
OURS = ("cert_trust", "cert_chain_of_trust", "cert_caa", "DNS_CAArecord", "cert_crlDistributionPoints", "cert_ocspURL",
        "cert_revocation", "certificate_transparency", "OCSP_stapling", "cert_expirationStatus", "cert_notAfter",
        "cert_mustStapleExtension", "cert_extlifeSpan", "overall_grade", "engine_problem", "cert_validityPeriod", "cert_commonName_wo_SNI")
BAD = ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL")


@unittest.skipUnless(shutil.which("testssl"), "testssl.sh is not installed")
class Scan(Case):
    def scan(self, kind):
        folder = tempfile.mkdtemp(prefix="tollgate-testssl.")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        pair = certs.leaf(folder, certs.ca(folder), ["localhost"], key=kind)
        settings = {"certificate_file": pair.chain, "certificate_key_file": pair.key}
        gate = self.start(config([public(self.upstream())], **settings))
        out = os.path.join(folder, "out.json")
        done = subprocess.run(
            ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--nodns", "min", "-p", "-s",
             "-f", "-P", "-S", "-U", "--jsonfile", out, "localhost:%d" % gate.port],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400,
        )
        with open(out, encoding="utf-8") as f:
            return json.load(f), done.stdout

    def judge(self, kind):
        findings, text = self.scan(kind)
        by_id = {}
        for f in findings:
            by_id.setdefault(f["id"], f)
        bad = ["%s: %s: %s" % (f["severity"], f["id"], f["finding"]) for f in findings
               if f["severity"] in BAD and not f["id"].startswith(OURS)]
        self.assertEqual(bad, [], text[-4000:])
        for old in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
            self.assertIn("not offered", by_id[old]["finding"], old)
        for now in ("TLS1_2", "TLS1_3"):
            self.assertIn("offered", by_id[now]["finding"], now)
        for hole in ("heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS",
                     "POODLE_SSL", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4"):
            found = [f for f in findings if f["id"].split(" ")[0] == hole]
            self.assertTrue(found, "%s was not looked at" % hole)
            self.assertEqual([f["severity"] for f in found if f["severity"] in BAD], [], hole)

    def test_ecdsa(self):
        self.judge("ec")

    def test_rsa(self):
        self.judge("rsa")


if __name__ == "__main__":
    main()
