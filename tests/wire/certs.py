"""Certificates for the wire tests, made by the openssl command: authorities, leaves, lists of revoked ones.

    authority = certs.ca(directory)
    server = certs.leaf(directory, authority, ["app.test", "127.0.0.1"])
    server.cert, server.key, server.chain        # paths; chain: the leaf and the authorities between it and the root
    authority.cert                               # the path of the root

Every file is named after `name`, so two things of one directory need two names. Keys are written with mode 0600.
"""

import os
import subprocess
import time

DAY = 86400
KEY_ARGS = {
    "ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ec384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa1024": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    "ed25519": ["-algorithm", "ED25519"],
}


class Files:
    """What one certificate consists of. `issuer`: who signed it, None for a self-signed one."""

    def __init__(self, directory, name, issuer=None):
        self.directory, self.name, self.issuer = directory, name, issuer
        self.cert = os.path.join(directory, name + ".pem")
        self.key = os.path.join(directory, name + ".key")
        self.chain = os.path.join(directory, name + ".chain.pem")
        self.request = os.path.join(directory, name + ".csr")
        self.database = os.path.join(directory, name + ".db")  # an authority's: folder of what `openssl ca` keeps

    def text(self, what="cert"):
        """The PEM text of cert, key or chain."""
        with open(getattr(self, what), encoding="ascii") as f:
            return f.read()

    def fingerprint(self):
        """SHA-256 over the DER, lower-case hex without colons."""
        said = openssl("x509", "-in", self.cert, "-noout", "-fingerprint", "-sha256").decode()
        return said.strip().split("=")[1].replace(":", "").lower()

    def serial(self):
        """The serial number, upper-case hex."""
        return openssl("x509", "-in", self.cert, "-noout", "-serial").decode().strip().split("=")[1]


def openssl(*args, stdin=None):
    """Runs the openssl command; its standard output. A failure is raised with its words."""
    p = subprocess.run(
        ["openssl"] + list(args), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False
    )
    if p.returncode:
        raise AssertionError("openssl %s: %s" % (" ".join(args), p.stderr.decode(errors="replace")[-2000:]))
    return p.stdout


def new_key(path, kind="ec"):
    """A private key of its own, as PKCS#8 PEM, that only its owner may read."""
    text = openssl("genpkey", *KEY_ARGS[kind])
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
        f.write(text)


def stamp(seconds):
    """A point in time as `openssl ca` reads it."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds))


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def alternative(name):
    """One subjectAltName entry: an address, an e-mail address, a URI, else a DNS name. `TYPE:value` stays as it is."""
    if name.split(":")[0] in ("DNS", "IP", "email", "URI", "otherName"):
        return name
    if "://" in name:
        return "URI:" + name
    if "@" in name:
        return "email:" + name
    bare = name.strip("[]")
    if ":" in bare or bare.replace(".", "").isdigit():
        return "IP:" + bare
    return "DNS:" + name


CONFIG = """
[ca]
default_ca = it
[it]
database = {database}/index
crlnumber = {database}/crlnumber
new_certs_dir = {database}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
default_crl_days = 30
x509_extensions = ext
email_in_dn = no
[any]
commonName = optional
organizationName = optional
organizationalUnitName = optional
countryName = optional
[req]
distinguished_name = dn
[dn]
[ext]
{extensions}
"""


def configuration(database, extensions):
    path = os.path.join(database, "openssl.cnf")
    write(path, CONFIG.format(database=database, extensions="\n".join(extensions)))
    return path


def sign(made, issuer, subject, extensions, start, end):
    """A certificate for made.key, signed by `issuer` (made itself: self-signed)."""
    signer = issuer or made
    if not os.path.isdir(signer.database):
        os.makedirs(signer.database)
        write(os.path.join(signer.database, "index"), "")
        write(os.path.join(signer.database, "crlnumber"), "01\n")
    config = configuration(signer.database, extensions)
    openssl("req", "-new", "-config", config, "-key", made.key, "-subj", subject, "-out", made.request)
    who = ["-cert", issuer.cert] if issuer else ["-selfsign"]
    now = time.time()
    openssl(
        "ca", "-batch", "-notext", "-config", config, *who, "-keyfile", signer.key, "-in", made.request,
        "-out", made.cert, "-startdate", stamp(now + start * DAY), "-enddate", stamp(now + end * DAY),
    )  # fmt: skip
    above, chain = made.issuer, made.text()
    while above and above.issuer:  # the root itself is not sent
        chain += above.text()
        above = above.issuer
    write(made.chain, chain)
    return made


def ca(directory, name="ca", parent=None, key="ec", common_name=None, start=-1, end=365, path_length=None):
    """An authority: a root, or with `parent` one between. `start`, `end`: days from now."""
    made = Files(directory, name, parent)
    new_key(made.key, key)
    limit = "" if path_length is None else ",pathlen:%d" % path_length
    extensions = [
        "basicConstraints = critical,CA:TRUE" + limit,
        "keyUsage = critical,keyCertSign,cRLSign",
        "subjectKeyIdentifier = hash",
    ]
    return sign(made, parent, "/O=tollgate tests/CN=%s" % (common_name or name), extensions, start, end)


def leaf(directory, issuer, names, name="leaf", key="ec", common_name=None, start=-1, end=30, usage="both", more=()):
    """
    A certificate for `names` (DNS names, addresses, e-mail addresses, URIs; may be empty), signed by `issuer`; None:
    self-signed. `usage`: server, client, both or none (no extendedKeyUsage). `start`, `end`: days from now, so that
    end=-0.1 has expired and start=1 is not valid yet. `more`: lines of openssl's extension syntax.
    """
    made = Files(directory, name, issuer)
    new_key(made.key, key)
    extensions = ["basicConstraints = CA:FALSE", "subjectKeyIdentifier = hash", "keyUsage = critical,digitalSignature"]
    if names:
        extensions.append("subjectAltName = " + ",".join(alternative(n) for n in names))
    purpose = {"server": "serverAuth", "client": "clientAuth", "both": "serverAuth,clientAuth", "none": None}[usage]
    if purpose:
        extensions.append("extendedKeyUsage = " + purpose)
    common_name = common_name if common_name is not None else (names[0] if names else name)
    subject = "/O=tollgate tests" + ("/CN=%s" % common_name.replace("/", "\\/") if common_name else "")
    return sign(made, issuer, subject, extensions + list(more), min(start, end - 1), end)


def crl(issuer, *revoked, name="crl", end=30):
    """A list of what `issuer` revoked: these, and those of earlier lists. Its path. `end`: days until the next one."""
    config = os.path.join(issuer.database, "openssl.cnf")
    who = ["-config", config, "-cert", issuer.cert, "-keyfile", issuer.key]
    for one in revoked:
        openssl("ca", *who, "-revoke", one.cert)
    path = os.path.join(issuer.directory, name + ".pem")
    now = time.time()
    dates = ["-crl_lastupdate", stamp(now - 2 * DAY), "-crl_nextupdate", stamp(now + end * DAY)]
    openssl("ca", *who, "-gencrl", *dates, "-out", path)
    return path
