/*
 * tls_server - the right certificate for each name, nothing old on the wire, no weak or open key, and clients judged
 * by the settings in force, also when they resume.
 */
#include "tls_bench.h"

static struct made root, middle, leaf_a, rsa_a, wild, by_cn;

/* ---- names ---- */

static struct tg_tls_server *many(void)
{
    struct tg_tls_server *s = tg_tls_server_new();

    add(s, &leaf_a, middle.cert);
    add(s, &wild, NULL);
    add(s, &by_cn, NULL);
    add(s, &rsa_a, NULL);
    return s;
}

static struct tg_tls_server *asking(const struct tg_tls_client_auth *auth)
{
    struct tg_tls_server *s = tg_tls_server_new();
    struct tg_err err;

    add(s, &leaf_a, NULL);
    add(s, &wild, NULL);
    assert_false(tg_tls_server_asks(s));
    if (tg_tls_server_verify_clients(s, auth, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_true(tg_tls_server_asks(s));
    return s;
}

static void names(void **state)
{
    (void)state;
    static const struct { const char *why, *name, *want; } cases[] = {
        {"none: the first", NULL, "leaf-a"},
        {"its own", "a.test", "leaf-a"},
        {"its second name", "www.a.test", "leaf-a"},
        {"case is no matter", "A.TeSt", "leaf-a"},
        {"nor a dot at the end", "a.test.", "leaf-a"},
        {"a wildcard", "one.w.test", "wild"},
        {"in any case", "ONE.W.test", "wild"},
        {"for one label only", "one.two.w.test", "leaf-a"},
        {"not for none", "w.test", "leaf-a"},
        {"itself before a wildcard", "exact.w.test", "by-exact"},
        {"a name without subjectAltName", "cn.test", "cn.test"},
        {"a common name beside subjectAltName is none", "leaf-a", "leaf-a"},
        {"unknown", "b.test", "leaf-a"},
        {"a star is no label", "*.w.test", "leaf-a"},
        {"no bytes of a name", "a b\xff.w.test", "leaf-a"},
        {"an empty label", "a..w.test", "leaf-a"},
        {"the last one, whose other names were taken", "late.test", "late"},
    };
    struct made exact = make((struct spec){.cn = "by-exact", .san = "DNS:exact.w.test"}, &root);
    struct made late = make((struct spec){.cn = "late", .san = "DNS:late.test,DNS:a.test,DNS:exact.w.test"}, &root);
    struct tg_tls_server *s = many();
    SSL_CTX *client = plain_client(NULL, NULL);
    char cn[64];

    add(s, &exact, NULL);
    add(s, &late, NULL);
    assert_int_equal(tg_tls_server_count(s), 6);
    assert_true(tg_slice_eq(tg_tls_server_certificate(s, 0)->subject, TG_S("CN=leaf-a")));
    assert_true(tg_slice_eq(tg_tls_server_certificate(s, 4)->dns.items[0], TG_S("exact.w.test")));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct link l = call(client, s, cases[i].name, NULL);

        common_name_of(SSL_get0_peer_certificate(l.client), cn);
        if (!is_good(&l) || strcmp(cn, cases[i].want) != 0)
            fail_msg("%s: got %s", cases[i].why, cn);
        part(&l);
    }
    SSL_CTX_free(client);
    tg_tls_server_unref(s);
    unmake(&exact);
    unmake(&late);
}

/* Two kinds of key for one name: what the client can, and ECDSA when it can both. Nothing leaks to other names. */
static void kinds(void **state)
{
    (void)state;
    static const struct { const char *why, *name, *sigalgs; int version; const char *want; } cases[] = {
        {"1.3, both", "a.test", NULL, TLS1_3_VERSION, "leaf-a"},
        {"1.3, RSA alone", "a.test", "rsa_pss_rsae_sha256", TLS1_3_VERSION, "rsa-a"},
        {"1.2, both, RSA wished first", "a.test", "RSA+SHA256:ECDSA+SHA256", TLS1_2_VERSION, "leaf-a"},
        {"1.2, RSA alone", "a.test", "RSA+SHA256", TLS1_2_VERSION, "rsa-a"},
        {"no name, RSA alone", NULL, "RSA+SHA256", TLS1_2_VERSION, "rsa-a"},
        {"a name that has no RSA", "www.a.test", "RSA+SHA256", TLS1_2_VERSION, NULL},
        {"another name that has none", "one.w.test", "rsa_pss_rsae_sha256", TLS1_3_VERSION, NULL},
    };
    struct tg_tls_server *s = many();
    char cn[64];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SSL_CTX *client = plain_client(NULL, NULL);
        struct link l;

        SSL_CTX_set_max_proto_version(client, cases[i].version);
        SSL_CTX_set_min_proto_version(client, cases[i].version);
        if (cases[i].sigalgs)
            assert_true(SSL_CTX_set1_sigalgs_list(client, cases[i].sigalgs));
        l = call(client, s, cases[i].name, NULL);
        common_name_of(SSL_get0_peer_certificate(l.client), cn);
        if (is_good(&l) != (cases[i].want != NULL) || (cases[i].want && strcmp(cn, cases[i].want) != 0))
            fail_msg("%s: got \"%s\"", cases[i].why, cn);
        part(&l);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

static void chain_follows(void **state)
{
    (void)state;
    struct tg_tls_server *s = many();
    SSL_CTX *client = plain_client(NULL, NULL);
    struct link l = call(client, s, "a.test", NULL);

    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(l.client)), 2);
    assert_int_equal(X509_cmp(sk_X509_value(SSL_get_peer_cert_chain(l.client), 1), middle.cert), 0);
    part(&l);
    l = call(client, s, "one.w.test", NULL);             /* nothing is made up from what else is known */
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(l.client)), 1);
    part(&l);
    tg_tls_server_unref(s);
    s = asking(&(struct tg_tls_client_auth){.ca_file = put_certs("ca.pem", root.cert, NULL, NULL)});
    l = call(client, s, "one.w.test", NULL);             /* nor from whom clients are trusted by */
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(l.client)), 1);
    part(&l);
    SSL_CTX_free(client);
    tg_tls_server_unref(s);
}

static void lives_as_long_as_its_connections(void **state)
{
    (void)state;
    struct tg_tls_server *s = many();
    SSL_CTX *client = plain_client(NULL, NULL);
    SSL *ssl = SSL_new(client), *mine;
    struct link l;

    SSL_set_connect_state(ssl);
    SSL_set_tlsext_host_name(ssl, "one.w.test");
    mine = tg_tls_server_begin(s);
    tg_tls_server_unref(s);                              /* replaced by a reload, before the first octet came */
    l = join(ssl, mine);
    assert_true(is_good(&l));
    part(&l);
    SSL_CTX_free(client);
    s = tg_tls_server_new();
    assert_null(tg_tls_server_begin(s));
    tg_tls_server_unref(s);
    tg_tls_server_unref(NULL);
}

/* ---- what is spoken ---- */

static void alpn(void **state)
{
    (void)state;
    static const struct { const char *why, *offer; bool good; const char *want; } cases[] = {
        {"none", "", true, ""},
        {"ours", "\x08http/1.1", true, "http/1.1"},
        {"second", "\x02h2\x08http/1.1", true, "http/1.1"},
        {"h2 alone", "\x02h2", false, ""},
        {"the beginning of ours", "\x08http/1.0\x04http", false, ""},
        {"more than ours", "\x09http/1.1x", false, ""},
    };
    struct tg_tls_server *s = many();

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        const char *offer = cases[i / 2].offer;
        SSL_CTX *client = plain_client(NULL, NULL);
        const unsigned char *got;
        unsigned len;
        struct link l;

        if (*offer)
            SSL_CTX_set_alpn_protos(client, (const unsigned char *)offer, (unsigned)strlen(offer));
        l = call(client, s, i % 2 ? "one.w.test" : "a.test", NULL); /* in another context, too */
        SSL_get0_alpn_selected(l.client, &got, &len);
        if (is_good(&l) != cases[i / 2].good ||
            !tg_slice_eq(tg_slice((const char *)got, len), tg_slice_str(cases[i / 2].want)))
            fail_msg("%s", cases[i / 2].why);
        if (!cases[i / 2].good)
            assert_int_equal(l.client_reason, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
        part(&l);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

static void versions_and_ciphers(void **state)
{
    (void)state;
    static const struct { const char *why; int version; const char *ciphers, *groups; bool good; } cases[] = {
        {"TLS 1.0", TLS1_VERSION, "ALL:@SECLEVEL=0", NULL, false},
        {"TLS 1.1", TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL, false},
        {"TLS 1.2", TLS1_2_VERSION, "ALL:@SECLEVEL=0", NULL, true},
        {"TLS 1.3", TLS1_3_VERSION, NULL, NULL, true},
        {"AES-128-GCM", TLS1_2_VERSION, "ECDHE+AES128+AESGCM", NULL, true},
        {"AES-256-GCM", TLS1_2_VERSION, "ECDHE+AES256+AESGCM", NULL, true},
        {"ChaCha20", TLS1_2_VERSION, "ECDHE+CHACHA20", NULL, true},
        {"RSA in the same way", TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", NULL, true},
        {"CBC", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES256-SHA", NULL, false},
        {"CCM", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-CCM:ECDHE-ECDSA-AES128-CCM8", NULL, false},
        {"a static RSA key", TLS1_2_VERSION, "AES128-GCM-SHA256:AES256-GCM-SHA384", NULL, false},
        {"finite-field DH", TLS1_2_VERSION, "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-CHACHA20-POLY1305", NULL, false},
        {"no encryption", TLS1_2_VERSION, "NULL:aNULL:@SECLEVEL=0", NULL, false},
        {"X25519", TLS1_3_VERSION, NULL, "X25519", true},
        {"P-384", TLS1_3_VERSION, NULL, "P-384", true},
        {"P-224", TLS1_2_VERSION, NULL, "P-224", false},
        {"ffdhe2048", TLS1_3_VERSION, NULL, "ffdhe2048", false},
    };
    struct tg_tls_server *s = many();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SSL_CTX *client = plain_client(NULL, NULL);
        struct link l;

        assert_true(SSL_CTX_set_min_proto_version(client, cases[i].version));
        SSL_CTX_set_max_proto_version(client, cases[i].version);
        if (cases[i].ciphers)
            assert_true(SSL_CTX_set_cipher_list(client, cases[i].ciphers));
        if (cases[i].groups)
            assert_true(SSL_CTX_set1_groups_list(client, cases[i].groups));
        l = call(client, s, "a.test", NULL);
        if (is_good(&l) != cases[i].good)
            fail_msg("%s: %d %d %s", cases[i].why, l.client_reason, l.server_reason, SSL_get_cipher_name(l.client));
        part(&l);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

static void server_prefers(void **state)
{
    (void)state;
    static const struct { const char *ciphers, *want; } cases[] = {
        {"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
        {"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
        {"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    };
    struct tg_tls_server *s = many();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SSL_CTX *client = plain_client(NULL, NULL);
        struct link l;

        SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
        assert_true(SSL_CTX_set_cipher_list(client, cases[i].ciphers));
        l = call(client, s, "a.test", NULL);
        assert_string_equal(SSL_get_cipher_name(l.client), cases[i].want);
        part(&l);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

static void no_renegotiation(void **state)
{
    (void)state;
    struct tg_tls_server *s = many();
    SSL_CTX *client = plain_client(NULL, NULL);
    struct link l;
    char octet;

    SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
    l = call(client, s, "a.test", NULL);
    assert_true(is_good(&l));
    assert_int_equal(SSL_renegotiate(l.client), 1);
    SSL_do_handshake(l.client);
    assert_int_equal(SSL_read(l.server, &octet, 1), -1);
    assert_int_equal(SSL_do_handshake(l.client), -1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    part(&l);
    SSL_CTX_free(client);
    tg_tls_server_unref(s);
}

/* ---- files ---- */

static void refuse(struct tg_tls_server *s, const char *why, const char *cert, const char *key, enum tg_status want,
                   const char *says)
{
    struct tg_err err = {0};
    enum tg_status got = tg_tls_server_add(s, cert, key, &err);

    if (got != want || !strstr(err.text, says) || !strstr(err.text, bench_dir))
        fail_msg("%s: %d %s", why, got, err.text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void files(void **state)
{
    (void)state;
    struct tg_tls_server *s = tg_tls_server_new();
    const char *cert = put_certs("ok.pem", leaf_a.cert, middle.cert, NULL);
    const char *key = put_key("ok.key", leaf_a.key, NULL, 0600), *link = bench_path("link.key");
    const char *open_key = put_key("open.key", leaf_a.key, NULL, 0644), *reversed;
    struct tg_buf whole = {0}, broken = {0};
    SSL_CTX *client = plain_client(NULL, NULL);
    struct link l;

    assert_int_equal(symlink("open.key", link), 0);
    reversed = put_certs("reversed.pem", middle.cert, leaf_a.cert, NULL);
    refuse(s, "everybody may read", cert, open_key, TG_DENIED, "mode 0644");
    refuse(s, "behind a link", cert, link, TG_DENIED, "chmod 640");
    refuse(s, "no certificate file", bench_path("no.pem"), key, TG_NOT_FOUND, "no.pem");
    refuse(s, "no key file", cert, bench_path("no.key"), TG_NOT_FOUND, "no.key");
    refuse(s, "a folder", cert, bench_path("."), TG_IO, "directory");
    refuse(s, "a passphrase", cert, put_key("pass.key", leaf_a.key, "secret", 0600), TG_BAD_INPUT, "passphrase");
    refuse(s, "another's key", cert, put_key("other.key", wild.key, NULL, 0600), TG_BAD_INPUT, "does not belong");
    refuse(s, "the leaf is not first", reversed, key, TG_BAD_INPUT, "does not belong to the first certificate");
    refuse(s, "a certificate for a key", cert, put_certs("cert.key", leaf_a.cert, NULL, NULL), TG_DENIED, "mode");
    refuse(s, "no key in it", cert, put_file("none.key", TG_S("nothing\n"), 0600), TG_BAD_INPUT, "no PEM private key");
    refuse(s, "empty", cert, put_file("empty.key", TG_S(""), 0600), TG_BAD_INPUT, "no PEM private key");
    refuse(s, "no certificate in it", put_file("none.pem", TG_S("x"), 0644), key, TG_BAD_INPUT, "no PEM certificate");
    refuse(s, "an empty one", put_file("empty.pem", TG_S(""), 0644), key, TG_BAD_INPUT, "no PEM certificate");
    assert_int_equal(tg_file_read(cert, 65536, &whole, NULL), TG_OK);
    tg_buf_add(&broken, whole.data, whole.len - 60);
    refuse(s, "cut", put_file("cut.pem", tg_buf_slice(&broken), 0644), key, TG_BAD_INPUT, "certificate 2");
    broken.data[100] = '!';
    refuse(s, "damaged", put_file("bad.pem", tg_buf_slice(&broken), 0644), key, TG_BAD_INPUT, "certificate 1");
    if (geteuid() != 0) {
        put_key("closed.key", leaf_a.key, NULL, 0000);
        refuse(s, "nobody may read", cert, bench_path("closed.key"), TG_DENIED, "closed.key");
    }
    assert_int_equal(tg_tls_server_count(s), 0);

    assert_int_equal(tg_tls_server_add(s, cert, put_key("group.key", leaf_a.key, NULL, 0640), NULL), TG_OK);
    l = call(client, s, "a.test", NULL);
    assert_true(is_good(&l));
    part(&l);
    SSL_CTX_free(client);
    tg_buf_fini(&whole);
    tg_buf_fini(&broken);
    tg_tls_server_unref(s);
}

static void weak(void **state)
{
    (void)state;
    static const struct { const char *why, *kind; const EVP_MD *(*md)(void); const char *says; } cases[] = {
        {"RSA 1024", "rsa1024", EVP_sha256, "RSA key of 1024 bits"},
        {"P-224", "P-224", EVP_sha256, "P-256, P-384 or P-521"},
        {"another curve", "secp256k1", EVP_sha256, "P-256, P-384 or P-521"},
        {"SHA-1", "P-256", EVP_sha1, "signed with SHA1"},
        {"MD5", "P-256", EVP_md5, "signed with MD5"},
        {"Ed448", "ed448", EVP_sha256, "neither"},
        {"P-384", "P-384", EVP_sha256, NULL},
        {"P-521", "P-521", EVP_sha256, NULL},
        {"Ed25519", "ed25519", EVP_sha256, NULL},
    };
    struct made rsa_root = make((struct spec){.cn = "rsa-root", .ca = true, .key = EVP_RSA_gen(2048)}, NULL);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *kind = cases[i].kind;
        EVP_PKEY *key = strcmp(kind, "rsa1024") == 0   ? EVP_RSA_gen(1024)
                        : strncmp(kind, "ed", 2) == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, kind)
                                                      : EVP_EC_gen(kind);
        struct made m = make((struct spec){.cn = "weak", .san = "DNS:a.test", .key = key, .md = cases[i].md()},
                             &rsa_root);
        const char *cert = put_certs("weak.pem", m.cert, NULL, NULL), *file = put_key("weak.key", m.key, NULL, 0600);
        struct tg_tls_server *s = tg_tls_server_new();

        if (cases[i].says) {
            refuse(s, cases[i].why, cert, file, TG_BAD_INPUT, cases[i].says);
            assert_int_equal(tg_tls_server_count(s), 0);
        } else {
            SSL_CTX *client = plain_client(NULL, NULL);
            struct link l;

            add(s, &m, NULL);
            l = call(client, s, "a.test", NULL);
            if (!is_good(&l))
                fail_msg("%s", cases[i].why);
            part(&l);
            SSL_CTX_free(client);
        }
        tg_tls_server_unref(s);
        unmake(&m);
    }
    unmake(&rsa_root);
}

/* ---- clients' certificates ---- */

enum who { NOBODY, GOOD, BELOW, SELF_SIGNED, EXPIRED, EARLY, SERVER_ONLY, REVOKED, WEAK, STRANGER, IMPOSTOR, WHO };
static struct made whos[WHO];

static void make_clients(void)
{
    struct made stranger = make((struct spec){.cn = "stranger-root", .ca = true}, NULL);
    struct made false_root = make((struct spec){.cn = "root", .ca = true}, NULL);

    whos[GOOD] = make((struct spec){.cn = "good", .eku = "clientAuth"}, &root);
    whos[BELOW] = make((struct spec){.cn = "below"}, &middle);
    whos[SELF_SIGNED] = make((struct spec){.cn = "self"}, NULL);
    whos[EXPIRED] = make((struct spec){.cn = "expired", .from_s = -2 * HOUR_S, .to_s = -HOUR_S}, &root);
    whos[EARLY] = make((struct spec){.cn = "early", .from_s = HOUR_S, .to_s = 2 * HOUR_S}, &root);
    whos[SERVER_ONLY] = make((struct spec){.cn = "server", .eku = "serverAuth"}, &root);
    whos[REVOKED] = make((struct spec){.cn = "revoked"}, &root);
    whos[WEAK] = make((struct spec){.cn = "weak", .md = EVP_sha1()}, &root);
    whos[STRANGER] = make((struct spec){.cn = "stranger"}, &stranger);
    whos[IMPOSTOR] = make((struct spec){.cn = "good"}, &false_root);
    unmake(&stranger);
    unmake(&false_root);
}

static void judged(void **state)
{
    (void)state;
    enum crl { NO_CRL, FRESH, OLD, BOTH };
    static const struct { const char *why; enum who who; unsigned max_depth; enum crl crl; long want; } cases[] = {
        {"none shown", NOBODY, 1, NO_CRL, -1},
        {"below the root", GOOD, 1, NO_CRL, X509_V_OK},
        {"without a purpose", BELOW, 2, NO_CRL, X509_V_OK},
        {"too deep", BELOW, 1, NO_CRL, X509_V_ERR_CERT_CHAIN_TOO_LONG},
        {"no limit", BELOW, 0, NO_CRL, X509_V_OK},
        {"self-signed", SELF_SIGNED, 1, NO_CRL, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT},
        {"expired", EXPIRED, 1, NO_CRL, X509_V_ERR_CERT_HAS_EXPIRED},
        {"not valid yet", EARLY, 1, NO_CRL, X509_V_ERR_CERT_NOT_YET_VALID},
        {"a server's", SERVER_ONLY, 1, NO_CRL, X509_V_ERR_INVALID_PURPOSE},
        {"another's", STRANGER, 1, NO_CRL, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
        {"same name, other key", IMPOSTOR, 1, NO_CRL, X509_V_ERR_CERT_SIGNATURE_FAILURE},
        {"SHA-1", WEAK, 1, NO_CRL, X509_V_ERR_CA_MD_TOO_WEAK},
        {"revoked, unasked", REVOKED, 1, NO_CRL, X509_V_OK},
        {"revoked", REVOKED, 1, FRESH, X509_V_ERR_CERT_REVOKED},
        {"not revoked", GOOD, 1, FRESH, X509_V_OK},
        {"the list is out of date", GOOD, 1, OLD, X509_V_ERR_CRL_HAS_EXPIRED},
        {"no list of that issuer", BELOW, 2, FRESH, X509_V_ERR_UNABLE_TO_GET_CRL},
        {"the leaf's issuer alone", BELOW, 2, BOTH, X509_V_OK},
    };
    const char *crls[] = {NULL, put_crl("fresh.crl", &root, whos[REVOKED].cert, HOUR_S),
                          put_crl("old.crl", &root, NULL, -HOUR_S / 2),
                          put_crl("middle.crl", &middle, NULL, HOUR_S)};

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        bool reject = i % 2, good = cases[i / 2].want == X509_V_OK;
        const struct made *own = cases[i / 2].who == NOBODY ? NULL : &whos[cases[i / 2].who];
        struct tg_tls_client_auth auth = {.ca_file = put_certs("ca.pem", root.cert, NULL, NULL),
                                          .crl_file = crls[cases[i / 2].crl],
                                          .reject = reject,
                                          .max_depth = cases[i / 2].max_depth};
        struct tg_tls_server *s = asking(&auth);
        SSL_CTX *client = plain_client(own, cases[i / 2].who == BELOW ? middle.cert : NULL);

        for (int n = 0; n < 4; n++) {                    /* both versions, both contexts */
            struct link l;

            SSL_CTX_set_max_proto_version(client, n & 1 ? TLS1_2_VERSION : TLS1_3_VERSION);
            l = call(client, s, n & 2 ? "one.w.test" : "a.test", NULL);
            if (is_good(&l) != (good || !reject))
                fail_msg("%s, reject %d: %d", cases[i / 2].why, reject, l.server_reason);
            if (is_good(&l) && own && SSL_get_verify_result(l.server) != cases[i / 2].want)
                fail_msg("%s: %s", cases[i / 2].why, X509_verify_cert_error_string(SSL_get_verify_result(l.server)));
            assert_true(!is_good(&l) || (own != NULL) == (SSL_get0_peer_certificate(l.server) != NULL));
            part(&l);
        }
        SSL_CTX_free(client);
        tg_tls_server_unref(s);
    }
}

/* An authority that is not self-signed is an anchor, and then nothing above it counts. */
static void anchors(void **state)
{
    (void)state;
    struct tg_tls_client_auth auth = {.ca_file = put_certs("anchor.pem", middle.cert, NULL, NULL), .max_depth = 1,
                                      .reject = true};
    struct tg_tls_server *s = asking(&auth);
    SSL_CTX *client = plain_client(&whos[BELOW], NULL);
    struct link l = call(client, s, "a.test", NULL);
    const STACK_OF(X509_NAME) *asked = SSL_get0_peer_CA_list(l.client);

    assert_true(is_good(&l));
    assert_int_equal(sk_X509_NAME_num(asked), 1);        /* told whose certificates are wanted */
    assert_int_equal(X509_NAME_cmp(sk_X509_NAME_value(asked, 0), X509_get_subject_name(middle.cert)), 0);
    part(&l);
    SSL_CTX_free(client);
    client = plain_client(&whos[GOOD], NULL);
    l = call(client, s, "a.test", NULL);                 /* the root was not named */
    assert_false(is_good(&l));
    part(&l);
    SSL_CTX_free(client);
    tg_tls_server_unref(s);
}

static void bad_settings(void **state)
{
    (void)state;
    const char *ca = put_certs("ca.pem", root.cert, NULL, NULL);
    static const struct { const char *why, *ca, *crl, *says; enum tg_status want; } cases[] = {
        {"no CA file", "no.pem", NULL, "no.pem", TG_NOT_FOUND},
        {"no certificate", "junk.pem", NULL, "junk.pem: holds no PEM certificate", TG_BAD_INPUT},
        {"no list file", "ca.pem", "no.crl", "no.crl", TG_NOT_FOUND},
        {"no list in it", "ca.pem", "junk.pem", "junk.pem: holds no PEM revocation list", TG_BAD_INPUT},
        {"a damaged list", "ca.pem", "bad.crl", "bad.crl: revocation list 1", TG_BAD_INPUT},
    };
    struct tg_tls_server *s = tg_tls_server_new();
    struct tg_err err;

    (void)ca;
    add(s, &leaf_a, NULL);
    put_file("junk.pem", TG_S("junk"), 0644);
    put_file("bad.crl", TG_S("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), 0644);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_tls_client_auth auth = {.ca_file = bench_path(cases[i].ca),
                                          .crl_file = cases[i].crl ? bench_path(cases[i].crl) : NULL};
        enum tg_status got = tg_tls_server_verify_clients(s, &auth, &err);

        if (got != cases[i].want || !strstr(err.text, cases[i].says))
            fail_msg("%s: %d %s", cases[i].why, got, err.text);
        assert_false(tg_tls_server_asks(s));
        assert_int_equal(ERR_peek_error(), 0);
    }
    tg_tls_server_unref(s);
}

/* ---- resumption under settings ---- */

static struct tg_tls_server *plain_server(void)
{
    struct tg_tls_server *s = tg_tls_server_new();

    add(s, &leaf_a, NULL);
    add(s, &wild, NULL);
    return s;
}

/* A session of `first` with a client that shows `own`; is it resumed by `second`? */
static bool carries_over(int version, const struct made *own, struct tg_tls_server *first, struct tg_tls_server *second)
{
    SSL_CTX *client = plain_client(own, NULL);
    SSL_SESSION *session = NULL;
    bool resumed;

    SSL_CTX_set_max_proto_version(client, version);
    assert_false(resumes(client, first, &session));
    resumed = resumes(client, second, &session);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    return resumed;
}

static void scopes(void **state)
{
    (void)state;
    const char *ca = put_certs("one.pem", root.cert, NULL, NULL);
    const char *more = put_certs("two.pem", root.cert, middle.cert, NULL);
    const char *crl = put_crl("one.crl", &root, NULL, HOUR_S), *other = put_crl("two.crl", &root, middle.cert, HOUR_S);
    const struct { const char *why; struct tg_tls_client_auth a, b; bool want; } cases[] = {
        {"as it was", {ca, NULL, false, 1}, {ca, NULL, false, 1}, true},
        {"with a list", {ca, crl, false, 1}, {ca, crl, false, 1}, true},
        {"another CA", {ca, NULL, false, 1}, {more, NULL, false, 1}, false},
        {"another list", {ca, crl, false, 1}, {ca, other, false, 1}, false},
        {"a list at last", {ca, NULL, false, 1}, {ca, crl, false, 1}, false},
        {"a list no more", {ca, crl, false, 1}, {ca, NULL, false, 1}, false},
        {"another depth", {ca, NULL, false, 1}, {ca, NULL, false, 2}, false},
        {"rejecting now", {ca, NULL, false, 1}, {ca, NULL, true, 1}, false},
        {"asking now", {NULL, NULL, false, 0}, {ca, NULL, false, 1}, false},
        {"asking no more", {ca, NULL, false, 1}, {NULL, NULL, false, 0}, false},
        {"never asked", {NULL, NULL, false, 0}, {NULL, NULL, false, 0}, true},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        const struct tg_tls_client_auth *a = &cases[i / 2].a, *b = &cases[i / 2].b;
        struct tg_tls_server *first = a->ca_file ? asking(a) : plain_server();
        struct tg_tls_server *second = b->ca_file ? asking(b) : plain_server();

        if (carries_over(i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION, &whos[GOOD], first, second) != cases[i / 2].want)
            fail_msg("%s", cases[i / 2].why);
        tg_tls_server_unref(first);
        tg_tls_server_unref(second);
    }
}

static void other_certificates(void **state)
{
    (void)state;
    struct tg_tls_server *first = plain_server(), *second = tg_tls_server_new();

    add(second, &leaf_a, NULL);
    add(second, &by_cn, NULL);
    assert_false(carries_over(TLS1_3_VERSION, NULL, first, second));
    tg_tls_server_unref(first);
    tg_tls_server_unref(second);
}

/* A resumed client is who it was and as valid as it was; an invalid one is looked at again. */
static void resumed_clients(void **state)
{
    (void)state;
    static const struct { const char *why; enum who who; bool want; } cases[] = {
        {"valid", GOOD, true},
        {"showed none", NOBODY, true},
        {"expired", EXPIRED, false},
        {"self-signed", SELF_SIGNED, false},
    };
    struct tg_tls_client_auth auth = {put_certs("ca.pem", root.cert, NULL, NULL), NULL, false, 1};
    struct tg_tls_server *s = asking(&auth);

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        const struct made *own = cases[i / 2].who == NOBODY ? NULL : &whos[cases[i / 2].who];
        SSL_CTX *client = plain_client(own, NULL);
        SSL_SESSION *session = NULL;
        long first;

        SSL_CTX_set_max_proto_version(client, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
        for (int n = 0; n < 4; n++) {                    /* tickets of tickets, too */
            struct link l = call(client, s, n & 1 ? "one.w.test" : "a.test", &session);

            if (n == 0)
                first = SSL_get_verify_result(l.server);
            if (!is_good(&l) || SSL_get_verify_result(l.server) != first ||
                SSL_session_reused(l.server) != (n > 0 && cases[i / 2].want))
                fail_msg("%s, %d: %ld", cases[i / 2].why, n, SSL_get_verify_result(l.server));
            assert_true(!own || X509_cmp(SSL_get0_peer_certificate(l.server), own->cert) == 0);
            part(&l);
        }
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

/* Nothing that ends before a ticket does is outlived by it: the leaf, an authority below the root, a list. */
static void ends_while_resuming(void **state)
{
    (void)state;
    enum { SOON = 600 };
    int64_t now_ms = tg_clock_wall_ms();
    struct made brief = make((struct spec){.cn = "brief", .from_s = -HOUR_S, .to_s = SOON}, &root);
    struct made brief_ca = make((struct spec){.cn = "brief-ca", .ca = true, .from_s = -HOUR_S, .to_s = SOON}, &root);
    struct made under = make((struct spec){.cn = "under"}, &brief_ca);
    const struct { const char *why; const struct made *own; X509 *above; const char *crl; long then; } cases[] = {
        {"the leaf", &brief, NULL, NULL, X509_V_ERR_CERT_HAS_EXPIRED},
        {"its authority", &under, brief_ca.cert, NULL, X509_V_ERR_CERT_HAS_EXPIRED},
        {"the list", &whos[GOOD], NULL, put_crl("soon.crl", &root, NULL, SOON), X509_V_ERR_CRL_HAS_EXPIRED},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct tg_tls_client_auth auth = {put_certs("ca.pem", root.cert, NULL, NULL), cases[i / 2].crl, false, 0};
        struct tg_tls_server *s = asking(&auth);
        SSL_CTX *client = plain_client(cases[i / 2].own, cases[i / 2].above);
        SSL_SESSION *session = NULL;
        struct link l;

        SSL_CTX_set_max_proto_version(client, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
        tg_clock_set_wall_ms(now_ms);
        assert_false(resumes(client, s, &session));
        tg_clock_set_wall_ms(now_ms + (SOON - 30) * 1000);
        if (!resumes(client, s, &session))
            fail_msg("%s: not resumed before its end", cases[i / 2].why);
        tg_clock_set_wall_ms(now_ms + (SOON + 30) * 1000);
        l = call(client, s, "a.test", &session);
        if (SSL_session_reused(l.server) || SSL_get_verify_result(l.server) != cases[i / 2].then)
            fail_msg("%s: %ld", cases[i / 2].why, SSL_get_verify_result(l.server));
        part(&l);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        tg_tls_server_unref(s);
    }
    tg_clock_set_wall_ms(-1);
    unmake(&brief);
    unmake(&brief_ca);
    unmake(&under);
}

/* Tickets of tickets do not go on for ever: once a day a client shows that it still has its key. */
static void shows_its_key_daily(void **state)
{
    (void)state;
    enum { STEP_S = 3000, DAY_S = 86400 };
    struct tg_tls_client_auth auth = {put_certs("ca.pem", root.cert, NULL, NULL), NULL, true, 1};
    struct tg_tls_server *s = asking(&auth);
    int64_t now_ms = tg_clock_wall_ms();

    for (int i = 0; i < 2; i++) {
        SSL_CTX *client = plain_client(&whos[GOOD], NULL);
        SSL_SESSION *session = NULL;

        SSL_CTX_set_max_proto_version(client, i ? TLS1_2_VERSION : TLS1_3_VERSION);
        for (int n = 0; n < 60; n++) {
            int since_s = n % (DAY_S / STEP_S + 1) * STEP_S; /* the first step beyond the day starts anew */

            tg_clock_set_wall_ms(now_ms + (int64_t)(i * 100 + n) * STEP_S * 1000);
            if (resumes(client, s, &session) != (since_s > 0))
                fail_msg("%d s after it showed its key", since_s);
        }
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    tg_clock_set_wall_ms(-1);
    tg_tls_server_unref(s);
}

static int set_up(void **state)
{
    (void)state;
    bench_init();
    root = make((struct spec){.cn = "root", .ca = true}, NULL);
    middle = make((struct spec){.cn = "middle", .ca = true}, &root);
    leaf_a = make((struct spec){.cn = "leaf-a", .san = "DNS:a.test,DNS:www.A.test"}, &middle);
    rsa_a = make((struct spec){.cn = "rsa-a", .san = "DNS:a.test", .key = EVP_RSA_gen(2048)}, &root);
    wild = make((struct spec){.cn = "wild", .san = "DNS:*.w.test,DNS:part*.p.test"}, &root);
    by_cn = make((struct spec){.cn = "cn.test"}, &root);
    make_clients();
    return 0;
}

static int tear_down(void **state)
{
    struct made *all[] = {&root, &middle, &leaf_a, &rsa_a, &wild, &by_cn};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        unmake(all[i]);
    for (size_t i = 0; i < WHO; i++)
        unmake(&whos[i]);
    bench_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(kinds),
        cmocka_unit_test(chain_follows),
        cmocka_unit_test(lives_as_long_as_its_connections),
        cmocka_unit_test(alpn),
        cmocka_unit_test(versions_and_ciphers),
        cmocka_unit_test(server_prefers),
        cmocka_unit_test(no_renegotiation),
        cmocka_unit_test(files),
        cmocka_unit_test(weak),
        cmocka_unit_test(judged),
        cmocka_unit_test(anchors),
        cmocka_unit_test(bad_settings),
        cmocka_unit_test(scopes),
        cmocka_unit_test(other_certificates),
        cmocka_unit_test(resumed_clients),
        cmocka_unit_test(ends_while_resuming),
        cmocka_unit_test(shows_its_key_daily),
    };

    return cmocka_run_group_tests_name("tls_server", tests, set_up, tear_down);
}
