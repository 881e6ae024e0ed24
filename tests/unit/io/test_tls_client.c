/*
 * tls_client - an upstream is who its certificate says or there is no connection; a session is resumed by whom and for
 * what it was made.
 */
#include "tls_bench.h"

static struct made root, middle, leaf, rsa_other;
static const char *root_file;

static struct tg_tls_client *new_client(const struct tg_tls_client_settings *settings)
{
    struct tg_tls_client *c;
    struct tg_err err;

    if (tg_tls_client_new(settings, &c, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(ERR_peek_error(), 0);
    return c;
}

static struct tg_tls_client *trusting(const char *ca_file)
{
    return new_client(&(struct tg_tls_client_settings){.ca_file = ca_file});
}

static SSL_CTX *plain_server(const struct made *m, X509 *above)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    assert_non_null(ctx);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4);
    assert_true(SSL_CTX_use_certificate(ctx, m->cert));
    assert_true(SSL_CTX_use_PrivateKey(ctx, m->key));
    if (above)
        assert_true(SSL_CTX_add1_chain_cert(ctx, above));
    return ctx;
}

static struct link to(SSL_CTX *server, struct tg_tls_client *c, const char *name, struct tg_tls_resume *resume)
{
    SSL *ssl = SSL_new(server);

    SSL_set_accept_state(ssl);
    return join(tg_tls_client_begin(c, tg_slice_str(name), resume), ssl);
}

/* ---- trust and names ---- */

static void whom_to_trust(void **state)
{
    (void)state;
    enum { OK = X509_V_OK, HOST = X509_V_ERR_HOSTNAME_MISMATCH, IP = X509_V_ERR_IP_ADDRESS_MISMATCH };
    static const struct { const char *why, *san, *name; long want; } names[] = {
        {"its name", "DNS:up.test", "up.test", OK},
        {"its second", "DNS:x.test,DNS:up.test", "up.test", OK},
        {"in any case, with a dot", "DNS:Up.Test", "uP.tesT.", OK},
        {"another", "DNS:up.test", "down.test", HOST},
        {"below it", "DNS:up.test", "a.up.test", HOST},
        {"above it", "DNS:a.up.test", "up.test", HOST},
        {"a wildcard", "DNS:*.up.test", "a.up.test", OK},
        {"for one label", "DNS:*.up.test", "b.a.up.test", HOST},
        {"not for none", "DNS:*.up.test", "up.test", HOST},
        {"no part of a label", "DNS:a*.up.test", "ab.up.test", HOST},
        {"not inside", "DNS:a.*.test", "a.up.test", HOST},
        {"no common name", NULL, "leaf.test", HOST},
        {"nor beside others", "IP:127.0.0.1", "leaf.test", HOST},
        {"an address", "IP:127.0.0.1", "127.0.0.1", OK},
        {"another address", "IP:127.0.0.1", "127.0.0.2", IP},
        {"an address is no name", "DNS:127.0.0.1", "127.0.0.1", IP},
        {"a name is no address", "IP:127.0.0.1", "localhost", HOST},
        {"IPv6", "IP:::1", "::1", OK},
        {"IPv6 in brackets, written long", "IP:::1", "[0:0:0:0:0:0:0:1]", OK},
        {"another IPv6", "IP:::1", "::2", IP},
        {"a name with an underscore", "DNS:my_app.test", "my_app.test", OK},
    };
    struct tg_tls_client *c = trusting(root_file);

    for (size_t i = 0; i < 2 * ARRAY_LEN(names); i++) {
        struct made m = make((struct spec){.cn = "leaf.test", .san = names[i / 2].san}, &root);
        SSL_CTX *server = plain_server(&m, NULL);
        struct link l;

        SSL_CTX_set_max_proto_version(server, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
        l = to(server, c, names[i / 2].name, NULL);
        if (is_good(&l) != (names[i / 2].want == OK) || SSL_get_verify_result(l.client) != names[i / 2].want)
            fail_msg("%s: %ld", names[i / 2].why, SSL_get_verify_result(l.client));
        part(&l);
        SSL_CTX_free(server);
        unmake(&m);
    }
    tg_tls_client_unref(c);
}

static void chains(void **state)
{
    (void)state;
    struct made below = make((struct spec){.cn = "b", .san = "DNS:up.test"}, &middle);
    struct made self = make((struct spec){.cn = "s", .san = "DNS:up.test"}, NULL);
    struct made old = make((struct spec){.cn = "o", .san = "DNS:up.test", .from_s = -9, .to_s = -5}, &root);
    struct made for_clients = make((struct spec){.cn = "c", .san = "DNS:up.test", .eku = "clientAuth"}, &root);
    struct made weak = make((struct spec){.cn = "w", .san = "DNS:up.test", .key = EVP_RSA_gen(1024)}, &root);
    struct made sha1 = make((struct spec){.cn = "w", .san = "DNS:up.test", .md = EVP_sha1()}, &root);
    const char *middle_file = put_certs("middle.pem", middle.cert, NULL, NULL);
    const char *self_file = put_certs("self.pem", self.cert, NULL, NULL);
    const struct { const char *why; const struct made *m; X509 *above; const char *ca; long want; } cases[] = {
        {"a whole chain", &below, middle.cert, root_file, X509_V_OK},
        {"a link is missing", &below, NULL, root_file, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
        {"the link is an anchor", &below, NULL, middle_file, X509_V_OK},
        {"above the anchor", &leaf, NULL, middle_file, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
        {"self-signed", &self, NULL, root_file, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT},
        {"self-signed and trusted", &self, NULL, self_file, X509_V_OK},
        {"expired", &old, NULL, root_file, X509_V_ERR_CERT_HAS_EXPIRED},
        {"a client's", &for_clients, NULL, root_file, X509_V_ERR_INVALID_PURPOSE},
        {"RSA 1024", &weak, NULL, root_file, X509_V_ERR_EE_KEY_TOO_SMALL},
        {"SHA-1", &sha1, NULL, root_file, X509_V_ERR_CA_MD_TOO_WEAK},
        {"the system's store", &leaf, NULL, NULL, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_tls_client *c = trusting(cases[i].ca);
        SSL_CTX *server = plain_server(cases[i].m, cases[i].above);
        struct link l = to(server, c, "up.test", NULL);

        if (is_good(&l) != (cases[i].want == X509_V_OK) || SSL_get_verify_result(l.client) != cases[i].want)
            fail_msg("%s: %ld", cases[i].why, SSL_get_verify_result(l.client));
        part(&l);
        SSL_CTX_free(server);
        tg_tls_client_unref(c);
    }
    unmake(&below);
    unmake(&self);
    unmake(&old);
    unmake(&for_clients);
    unmake(&weak);
    unmake(&sha1);
}

static void skipped(void **state)
{
    (void)state;
    struct tg_tls_client *c = new_client(&(struct tg_tls_client_settings){.ca_file = root_file, .skip_verify = true});
    struct made self = make((struct spec){.cn = "s", .from_s = -9, .to_s = -5}, NULL);
    SSL_CTX *server = plain_server(&self, NULL);
    struct link l = to(server, c, "up.test", NULL);

    assert_true(is_good(&l));
    assert_string_equal(SSL_get_servername(l.server, TLSEXT_NAMETYPE_host_name), "up.test");
    part(&l);
    l = to(server, c, "", NULL);                         /* nobody is looked for */
    assert_true(is_good(&l));
    part(&l);
    SSL_CTX_free(server);
    tg_tls_client_unref(c);
    unmake(&self);
}

static void names_that_nobody_has(void **state)
{
    (void)state;
    static const char *const names[] = {"", ".", "a..b", "*.up.test", "up test", "up.test/", "\xc3\xa4.test"};
    struct tg_tls_client *c = trusting(root_file);

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (tg_tls_client_begin(c, tg_slice_str(names[i]), NULL))
            fail_msg("\"%s\"", names[i]);
    assert_null(tg_tls_client_begin(c, TG_S("up.test\0.evil"), NULL));
    tg_tls_client_unref(c);
}

/* ---- what is said ---- */

static int take_http(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                     unsigned int in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    assert_int_equal(in_len, 9);
    assert_memory_equal(in, "\x08http/1.1", 9);
    *out = in + 1;
    *out_len = 8;
    return SSL_TLSEXT_ERR_OK;
}

static void hello(void **state)
{
    (void)state;
    static const struct { const char *why, *name, *sni; } cases[] = {
        {"a name", "up.test", "up.test"}, {"in lower case", "UP.test.", "up.test"}, {"an address", "127.0.0.1", NULL}};
    struct made m = make((struct spec){.cn = "m", .san = "DNS:up.test,IP:127.0.0.1"}, &root);
    struct tg_tls_client *c = trusting(root_file);
    SSL_CTX *server = plain_server(&m, NULL);

    SSL_CTX_set_alpn_select_cb(server, take_http, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct link l = to(server, c, cases[i].name, NULL);
        const char *sni = SSL_get_servername(l.server, TLSEXT_NAMETYPE_host_name);
        const unsigned char *alpn;
        unsigned len;

        SSL_get0_alpn_selected(l.client, &alpn, &len);
        if (!is_good(&l) || (sni == NULL) != (cases[i].sni == NULL) || (sni && strcmp(sni, cases[i].sni) != 0))
            fail_msg("%s: %s", cases[i].why, sni ? sni : "none");
        assert_true(tg_slice_eq(tg_slice((const char *)alpn, len), TG_S("http/1.1")));
        part(&l);
    }
    SSL_CTX_free(server);
    tg_tls_client_unref(c);
    unmake(&m);
}

static void old_servers(void **state)
{
    (void)state;
    static const struct { const char *why; int version; const char *ciphers; bool good; } cases[] = {
        {"TLS 1.1", TLS1_1_VERSION, "ALL:@SECLEVEL=0", false},
        {"TLS 1.2", TLS1_2_VERSION, "ECDHE+AESGCM", true},
        {"CBC", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA", false},
        {"TLS 1.3", TLS1_3_VERSION, NULL, true},
    };
    struct tg_tls_client *c = trusting(root_file);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SSL_CTX *server = plain_server(&leaf, NULL);
        struct link l;

        SSL_CTX_set_min_proto_version(server, cases[i].version);
        SSL_CTX_set_max_proto_version(server, cases[i].version);
        if (cases[i].ciphers)
            assert_true(SSL_CTX_set_cipher_list(server, cases[i].ciphers));
        l = to(server, c, "up.test", NULL);
        if (is_good(&l) != cases[i].good)
            fail_msg("%s: %d", cases[i].why, l.client_reason);
        part(&l);
        SSL_CTX_free(server);
    }
    tg_tls_client_unref(c);
}

/* A connection that ends without close_notify may be cut: that is an error. */
static void cut_off(void **state)
{
    (void)state;
    struct tg_tls_client *c = trusting(root_file);
    SSL_CTX *server = plain_server(&leaf, NULL);
    struct link l = to(server, c, "up.test", NULL);
    char octet;

    assert_true(is_good(&l));
    BIO_shutdown_wr(SSL_get_wbio(l.server));
    assert_int_equal(SSL_get_error(l.client, SSL_read(l.client, &octet, 1)), SSL_ERROR_SSL);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_UNEXPECTED_EOF_WHILE_READING);
    ERR_clear_error();
    part(&l);
    SSL_CTX_free(server);
    tg_tls_client_unref(c);
}

static void no_renegotiation(void **state)
{
    (void)state;
    struct tg_tls_client *c = trusting(root_file);
    SSL_CTX *server = plain_server(&leaf, NULL);
    struct link l;
    char octet;

    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    l = to(server, c, "up.test", NULL);
    assert_true(is_good(&l));
    assert_int_equal(SSL_renegotiate(l.server), 1);
    SSL_do_handshake(l.server);
    assert_int_equal(SSL_read(l.client, &octet, 1), -1);
    ERR_clear_error();
    assert_int_equal(SSL_read(l.server, &octet, 1), -1); /* a warning, or the end */
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    part(&l);
    SSL_CTX_free(server);
    tg_tls_client_unref(c);
}

static void own_certificate(void **state)
{
    (void)state;
    struct made mine = make((struct spec){.cn = "mine", .eku = "clientAuth"}, &middle);
    struct tg_tls_server *s = tg_tls_server_new();
    struct tg_tls_client_auth auth = {.ca_file = root_file, .reject = true, .max_depth = 2};
    struct tg_tls_client_settings with = {
        .ca_file = root_file,
        .certificate_file = put_certs("mine.pem", mine.cert, middle.cert, NULL),
        .key_file = put_key("mine.key", mine.key, NULL, 0600),
    };
    struct tg_buf pem = {0}, key = {0};
    char cn[64];

    add(s, &leaf, NULL);
    assert_int_equal(tg_tls_server_verify_clients(s, &auth, NULL), TG_OK);
    assert_int_equal(tg_file_read(with.certificate_file, 65536, &pem, NULL), TG_OK);
    assert_int_equal(tg_file_read(with.key_file, 65536, &key, NULL), TG_OK);
    for (int i = 0; i < 3; i++) {
        struct tg_tls_client_settings in_text = {
            .ca_file = root_file, .certificate_pem = tg_buf_slice(&pem), .key_pem = tg_buf_slice(&key)};
        struct tg_tls_client *c = i == 0 ? trusting(root_file) : new_client(i == 1 ? &with : &in_text);
        struct link l = join(tg_tls_client_begin(c, TG_S("up.test"), NULL), tg_tls_server_begin(s));

        assert_int_equal(is_good(&l), i > 0);
        common_name_of(SSL_get0_peer_certificate(l.server), cn);
        assert_string_equal(cn, i > 0 ? "mine" : "");
        part(&l);
        tg_tls_client_unref(c);
    }
    tg_buf_fini(&pem);
    tg_buf_fini(&key);
    tg_tls_server_unref(s);
    unmake(&mine);
}

/* ---- resumption ---- */

static bool again(SSL_CTX *server, struct tg_tls_client *c, const char *name, struct tg_tls_resume *resume)
{
    struct link l = to(server, c, name, resume);
    bool resumed = SSL_session_reused(l.client);

    assert_true(is_good(&l));
    part(&l);
    return resumed;
}

static void resumption(void **state)
{
    (void)state;
    struct made m = make((struct spec){.cn = "m", .san = "DNS:up.test,DNS:other.test,IP:127.0.0.1"}, &root);
    struct tg_tls_client *c = trusting(root_file), *same = trusting(root_file);
    struct tg_tls_client_settings skipping = {.ca_file = root_file, .skip_verify = true};
    struct tg_tls_client *skips = new_client(&skipping);

    for (int v = 0; v < 2; v++) {
        struct tg_tls_resume resume = {0};
        SSL_CTX *server = plain_server(&m, NULL);

        SSL_CTX_set_max_proto_version(server, v ? TLS1_2_VERSION : TLS1_3_VERSION);
        assert_false(again(server, c, "up.test", NULL));
        assert_null(resume.session);
        assert_false(again(server, c, "up.test", &resume));
        assert_non_null(resume.session);
        for (int i = 0; i < 3; i++)
            assert_true(again(server, c, "up.test", &resume));
        assert_true(again(server, same, "up.test", &resume)); /* another of the same settings, after a reload */
        assert_false(again(server, c, "other.test", &resume)); /* whose name was never compared */
        assert_true(again(server, c, "other.test", &resume));
        assert_false(again(server, c, "127.0.0.1", &resume));
        assert_true(again(server, c, "127.0.0.1", &resume));
        assert_false(again(server, skips, "127.0.0.1", &resume));
        assert_false(again(server, c, "127.0.0.1", &resume)); /* nor one that was not verified at all */
        SSL_CTX_free(server);
        server = plain_server(&m, NULL);                 /* restarted: its keys are gone, ours is no good */
        assert_false(again(server, c, "127.0.0.1", &resume));
        SSL_CTX_free(server);
        tg_tls_resume_fini(&resume);
        assert_null(resume.session);
        tg_tls_resume_fini(&resume);
    }
    tg_tls_client_unref(c);
    tg_tls_client_unref(same);
    tg_tls_client_unref(skips);
    unmake(&m);
}

static void certificate_ends_while_resuming(void **state)
{
    (void)state;
    struct made brief = make((struct spec){.cn = "b", .san = "DNS:up.test", .from_s = -9, .to_s = 600}, &root);
    struct tg_tls_client *c = trusting(root_file);
    SSL_CTX *server = plain_server(&brief, NULL);
    struct tg_tls_resume resume = {0};
    int64_t now_ms = tg_clock_wall_ms();

    assert_false(again(server, c, "up.test", &resume));
    tg_clock_set_wall_ms(now_ms + 590 * 1000);
    assert_true(again(server, c, "up.test", &resume));
    tg_clock_set_wall_ms(now_ms + 610 * 1000);
    assert_false(again(server, c, "up.test", &resume));
    tg_clock_set_wall_ms(-1);
    tg_tls_resume_fini(&resume);
    SSL_CTX_free(server);
    tg_tls_client_unref(c);
    unmake(&brief);
}

/* A server that is not trusted leaves nothing behind to be resumed. */
static void nothing_kept_of_strangers(void **state)
{
    (void)state;
    struct made self = make((struct spec){.cn = "s", .san = "DNS:up.test"}, NULL);
    struct tg_tls_client *c = trusting(root_file);

    for (int v = 0; v < 2; v++) {
        SSL_CTX *server = plain_server(&self, NULL);
        struct tg_tls_resume resume = {0};
        struct link l;

        SSL_CTX_set_max_proto_version(server, v ? TLS1_2_VERSION : TLS1_3_VERSION);
        l = to(server, c, "up.test", &resume);
        assert_false(is_good(&l));
        part(&l);
        assert_null(resume.session);
        SSL_CTX_free(server);
    }
    tg_tls_client_unref(c);
    unmake(&self);
}

/* ---- settings ---- */

static void refused_settings(void **state)
{
    (void)state;
    const char *cert = put_certs("own.pem", leaf.cert, NULL, NULL), *key = put_key("own.key", leaf.key, NULL, 0600);
    const char *open_key = put_key("open.key", leaf.key, NULL, 0604), *none = bench_path("none");
    const char *other = put_key("other.key", rsa_other.key, NULL, 0600), *junk = put_file("junk", TG_S("x"), 0600);
    const struct { const char *why; struct tg_tls_client_settings s; enum tg_status st; const char *says; } cases[] = {
        {"no CA file", {.ca_file = none}, TG_NOT_FOUND, "none"},
        {"no CA in it", {.ca_file = junk}, TG_BAD_INPUT, "junk: holds no PEM certificate"},
        {"no CA in the text", {.ca_pem = TG_S_INIT("x")}, TG_BAD_INPUT, "tls_custom_ca: holds no PEM certificate"},
        {"no key", {.ca_file = root_file, .certificate_file = cert}, TG_BAD_INPUT, "needs its key"},
        {"no key file", {.ca_file = root_file, .certificate_file = cert, .key_file = none}, TG_NOT_FOUND, "none"},
        {"an open key", {.ca_file = root_file, .certificate_file = cert, .key_file = open_key}, TG_DENIED, "0604"},
        {"not its", {.ca_file = root_file, .certificate_file = cert, .key_file = other}, TG_BAD_INPUT, "not belong"},
        {"no leaf", {.ca_file = root_file, .certificate_file = junk, .key_file = key}, TG_BAD_INPUT, "junk: holds"},
        {"no key in the text", {.ca_file = root_file, .certificate_file = cert, .key_pem = TG_S_INIT("x")},
         TG_BAD_INPUT, "tls_client_key: holds no PEM private key"},
    };
    struct tg_tls_client *c = NULL;
    struct tg_err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum tg_status got = tg_tls_client_new(&cases[i].s, &c, &err);

        if (got != cases[i].st || !strstr(err.text, cases[i].says))
            fail_msg("%s: %d %s", cases[i].why, got, err.text);
        assert_null(c);
        assert_int_equal(ERR_peek_error(), 0);
    }
    tg_tls_client_unref(NULL);
}

static void fingerprints(void **state)
{
    (void)state;
    const char *cert = put_certs("own.pem", leaf.cert, NULL, NULL), *key = put_key("own.key", leaf.key, NULL, 0600);
    const char *copy = put_certs("copy.pem", root.cert, NULL, NULL);
    const char *both = put_certs("both.pem", root.cert, middle.cert, NULL);
    struct tg_buf pem = {0};
    char all[6][65];

    assert_int_equal(tg_file_read(root_file, 65536, &pem, NULL), TG_OK);
    const struct tg_tls_client_settings settings[] = {
        {.ca_file = root_file},
        {.ca_file = both},
        {.ca_file = root_file, .skip_verify = true},
        {.ca_file = root_file, .certificate_file = cert, .key_file = key},
        {.ca_file = NULL},
        {.ca_file = NULL, .skip_verify = true},
    }, equal[] = {{.ca_file = copy}, {.ca_pem = tg_buf_slice(&pem)}};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        struct tg_tls_client *c = new_client(&settings[i]);

        assert_int_equal(strlen(tg_tls_client_fingerprint(c)), 64);
        memcpy(all[i], tg_tls_client_fingerprint(c), 65);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(all[i], all[k]);
        tg_tls_client_unref(c);
    }
    for (size_t i = 0; i < ARRAY_LEN(equal); i++) {
        struct tg_tls_client *c = new_client(&equal[i]);

        assert_string_equal(tg_tls_client_fingerprint(c), all[0]);
        tg_tls_client_unref(c);
    }
    tg_buf_fini(&pem);
}

/* One store for all, and another when the file is another. */
static void the_systems_store(void **state)
{
    (void)state;
    const char *file = put_certs("system.pem", rsa_other.cert, NULL, NULL);
    SSL_CTX *server = plain_server(&leaf, NULL);
    struct tg_tls_client *before, *same, *after, *none = NULL;
    struct link l;

    setenv("SSL_CERT_FILE", file, 1);
    before = trusting(NULL);
    same = trusting(NULL);
    assert_string_equal(tg_tls_client_fingerprint(before), tg_tls_client_fingerprint(same));
    l = to(server, before, "up.test", NULL);
    assert_false(is_good(&l));
    part(&l);
    put_certs("system.pem", rsa_other.cert, root.cert, NULL); /* update-ca-certificates */
    after = trusting(NULL);
    assert_string_not_equal(tg_tls_client_fingerprint(before), tg_tls_client_fingerprint(after));
    l = to(server, after, "up.test", NULL);
    assert_true(is_good(&l));
    part(&l);
    l = to(server, before, "up.test", NULL);             /* what was made stays as it was */
    assert_false(is_good(&l));
    part(&l);
    put_file("system.pem", TG_S("half written"), 0644);
    assert_int_equal(tg_tls_client_new(&(struct tg_tls_client_settings){0}, &none, NULL), TG_BAD_INPUT);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(tg_tls_client_new(&(struct tg_tls_client_settings){0}, &none, NULL), TG_NOT_FOUND);
    assert_null(none);
    unsetenv("SSL_CERT_FILE");
    tg_tls_client_unref(before);
    tg_tls_client_unref(same);
    tg_tls_client_unref(after);
    SSL_CTX_free(server);
}

static int set_up(void **state)
{
    (void)state;
    unsetenv("SSL_CERT_FILE");
    bench_init();
    root = make((struct spec){.cn = "root", .ca = true}, NULL);
    middle = make((struct spec){.cn = "middle", .ca = true}, &root);
    leaf = make((struct spec){.cn = "leaf", .san = "DNS:up.test,DNS:a.test"}, &root);
    rsa_other = make((struct spec){.cn = "other-root", .ca = true, .key = EVP_RSA_gen(2048)}, NULL);
    root_file = put_certs("root.pem", root.cert, NULL, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unmake(&root);
    unmake(&middle);
    unmake(&leaf);
    unmake(&rsa_other);
    bench_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whom_to_trust),
        cmocka_unit_test(chains),
        cmocka_unit_test(skipped),
        cmocka_unit_test(names_that_nobody_has),
        cmocka_unit_test(hello),
        cmocka_unit_test(old_servers),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(no_renegotiation),
        cmocka_unit_test(own_certificate),
        cmocka_unit_test(resumption),
        cmocka_unit_test(certificate_ends_while_resuming),
        cmocka_unit_test(nothing_kept_of_strangers),
        cmocka_unit_test(refused_settings),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(the_systems_store),
    };

    return cmocka_run_group_tests_name("tls_client", tests, set_up, tear_down);
}
