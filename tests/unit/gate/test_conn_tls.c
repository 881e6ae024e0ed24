/*
 * conn_tls - what a client's certificate is worth to a request, and what a log says of a handshake.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/gate/internal.h"
#include "base/json.h"

#define NOW_S 1000

static const struct {
    const char *why;
    bool plain, ca;                                      /* the connection; the configuration of the request */
    enum tg_tls_peer peer;
    int64_t until_s;
    enum tg_client_cert want;
    const char *words;
} cases[] = {
    {"nobody asks, plain", true, false, TG_TLS_PEER_UNASKED, 0, TG_CLIENT_CERT_VALID, NULL},
    {"nobody asks, TLS", false, false, TG_TLS_PEER_UNASKED, 0, TG_CLIENT_CERT_VALID, NULL},
    {"nobody asks any more", false, false, TG_TLS_PEER_INVALID, 0, TG_CLIENT_CERT_VALID, NULL},
    {"a plain connection from before TLS", true, true, TG_TLS_PEER_UNASKED, 0, TG_CLIENT_CERT_MISSING, NULL},
    {"a connection from before the CA", false, true, TG_TLS_PEER_UNASKED, 0, TG_CLIENT_CERT_MISSING, NULL},
    {"none shown", false, true, TG_TLS_PEER_MISSING, 0, TG_CLIENT_CERT_MISSING, NULL},
    {"a bad one", false, true, TG_TLS_PEER_INVALID, NOW_S + 1, TG_CLIENT_CERT_INVALID, "self-signed"},
    {"a good one", false, true, TG_TLS_PEER_VALID, NOW_S + 1, TG_CLIENT_CERT_VALID, NULL},
    {"in its last second", false, true, TG_TLS_PEER_VALID, NOW_S, TG_CLIENT_CERT_VALID, NULL},
    {"ended since the handshake", false, true, TG_TLS_PEER_VALID, NOW_S - 1, TG_CLIENT_CERT_INVALID,
     "certificate has expired"},
};

static void worth(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char words[] = "self-signed";
        struct tg_conn_tls tls = {.peer = (uint8_t)cases[i].peer, .peer_until_s = cases[i].until_s,
                                  .peer_error = cases[i].peer == TG_TLS_PEER_INVALID ? words : NULL};
        struct tg_config config = {.route_defaults.client_ca = cases[i].ca};
        struct tg_runtime rt = {.config = &config};
        struct tg_conn conn = {.tls = cases[i].plain ? NULL : &tls};
        struct tg_exchange ex = {.rt = &rt, .conn = &conn, .wall_ms = NOW_S * 1000 + 999};
        const char *why = "";

        print_message("# %s\n", cases[i].why);
        assert_int_equal(tg_conn_tls_certificate(&ex, &why), cases[i].want);
        if (cases[i].words)
            assert_string_equal(why, cases[i].words);
        else
            assert_null(why);
    }
}

static void before_a_configuration(void **state)
{
    struct tg_conn conn = {0};
    struct tg_exchange ex = {.conn = &conn};
    const char *why = "";

    (void)state;
    assert_int_equal(tg_conn_tls_certificate(&ex, &why), TG_CLIENT_CERT_VALID);
}

static cJSON *log_of(const struct tg_tls_facts *facts)
{
    struct tg_buf line = {0};
    struct tg_err err;
    cJSON *tree = NULL;

    tg_buf_adds(&line, "{\"a\":1");
    tg_access_log_tls(facts, &line);
    tg_buf_addc(&line, '}');
    if (tg_json_parse(tg_buf_slice(&line), NULL, &tree, &err) != TG_OK)
        fail_msg("%s: %s", tg_buf_cstr(&line), err.text);
    tg_buf_fini(&line);
    return tree;
}

static void expect(const cJSON *line, const char *name, const char *want)
{
    struct tg_slice got = {0};

    if (!want) {
        assert_null(tg_json_get(line, name));
        return;
    }
    assert_true(tg_json_str(tg_json_get(line, name), &got));
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static void handshake(void **state)
{
    struct tg_tls_facts facts = {.version = "TLSv1.3", .cipher = "TLS_AES_128_GCM_SHA256"};
    cJSON *line = log_of(&facts);

    (void)state;
    expect(line, "tls_version", "TLSv1.3");
    expect(line, "tls_cipher", "TLS_AES_128_GCM_SHA256");
    expect(line, "sni", NULL);
    expect(line, "client_cert_fingerprint", NULL);
    expect(line, "client_cert_subject", NULL);
    cJSON_Delete(line);
}

/* The client writes its subject and the name it asks for: a line stays a line, and short. */
static void what_a_client_writes(void **state)
{
    static char lots[70000];
    struct tg_cert cert = {.fingerprint = "ab"};
    struct tg_tls_facts facts = {.version = "TLSv1.2", .cipher = "c", .server_name = TG_S("a\"},{\n\xff.test"),
                                 .certificate = &cert};
    struct tg_slice subject;
    cJSON *line;

    (void)state;
    memset(lots, 'x', sizeof(lots));
    lots[3] = '"';
    lots[4] = '\n';
    cert.subject = tg_slice(lots, sizeof(lots));
    line = log_of(&facts);
    expect(line, "sni", "a\"},{\n\xef\xbf\xbd.test");
    expect(line, "client_cert_fingerprint", "ab");
    assert_true(tg_json_str(tg_json_get(line, "client_cert_subject"), &subject));
    assert_int_equal(subject.len, 256);
    assert_memory_equal(subject.ptr, lots, 256);
    cJSON_Delete(line);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(worth),
        cmocka_unit_test(before_a_configuration),
        cmocka_unit_test(handshake),
        cmocka_unit_test(what_a_client_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
