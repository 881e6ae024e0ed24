/* webhooks: what is signed, where they may go, in which order they are sent, and when one is given up. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/admin/webhooks.h"
#include "base/clock.h"
#include "base/log.h"
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char folder[64], path[96];
static struct tg_db *db;

static int up(void **state)
{
    struct tg_err err;

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tollgate-hooks-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof(path), "%s/tollgate.db", folder);
    if (tg_db_open(path, &db, &err) != TG_OK || tg_audit_prepare(db, &err) != TG_OK ||
        webhook_prepare(db, &err) != TG_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int down(void **state)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    char name[128];

    (void)state;
    tg_db_close(db);
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        snprintf(name, sizeof(name), "%s%s", path, tails[i]);
        unlink(name);
    }
    return rmdir(folder);
}

/* ---- what is signed ---- */

/* Computed with `openssl dgst -sha256 -hmac your-webhook-secret`. */
static void vector(void **state)
{
    static const char body[] = "{\"event\":\"policy.updated\",\"timestamp\":\"2026-02-12T10:30:00Z\","
                               "\"data\":{\"policy_id\":\"p1\"}}";
    char signature[WEBHOOK_SIGNATURE];
    struct tg_buf made = {0};

    (void)state;
    webhook_body("policy.updated", TG_S("{\"policy_id\":\"p1\"}"), 1770892200, &made);
    assert_string_equal(tg_buf_cstr(&made), body);
    assert_int_equal(made.len, 87);
    webhook_sign(TG_S("your-webhook-secret"), tg_buf_slice(&made), signature);
    assert_string_equal(signature, "sha256=c304f14ed490c05fc25fc596963adfdc692cd0aaf4d352d7e32c84ae21230cc0");
    tg_buf_fini(&made);
}

/* ---- where they may go ---- */

enum { NOTHING, LOOPBACK, NAMED };
static struct tg_slice loopback[] = {TG_S_INIT("127.0.0.0/8"), TG_S_INIT("fd00::/8")};
static struct tg_slice named[] = {TG_S_INIT("hooks.test")};
static const struct tg_strings allowed[] = {[NOTHING] = {NULL, 0, false}, [LOOPBACK] = {loopback, 2, true},
                                            [NAMED] = {named, 1, true}};
static const struct {
    const char *url;
    int given;
    bool taken;
} targets[] = {
    {"https://example.com/hook?x=1", NOTHING, true},
    {"https://example.com:8443", NOTHING, true},
    {"https://93.184.216.34/", NOTHING, true},
    {"https://[2606:2800:220:1::1]/", NOTHING, true},
    {"http://example.com/", NOTHING, false},
    {"http://93.184.216.34/", NOTHING, false},
    {"ftp://example.com/", NOTHING, false},
    {"file:///etc/passwd", NOTHING, false},
    {"gopher://127.0.0.1/", LOOPBACK, false},
    {"unix:/run/x.sock", LOOPBACK, false},
    {"", NOTHING, false},
    {"example.com", NOTHING, false},
    {"https://", NOTHING, false},
    {"https://user@example.com/", NOTHING, false},
    {"https://user:pass@example.com/", NOTHING, false},
    {"https://example.com@127.0.0.1/", NOTHING, false},
    {"https://example.com/#x", NOTHING, false},
    {"https://example.com\\@127.0.0.1/", NOTHING, false},
    {"https://example.com/\r\nX: y", NOTHING, false},
    {"https://exa mple.com/", NOTHING, false},
    {"http://169.254.169.254/", NOTHING, false},
    {"https://169.254.169.254/latest/meta-data", NOTHING, false},
    {"https://127.0.0.1/", NOTHING, false},
    {"https://127.0.0.2:8443/", NOTHING, false},
    {"https://0.0.0.0/", NOTHING, false},
    {"https://10.0.0.1/", NOTHING, false},
    {"https://100.64.0.1/", NOTHING, false},
    {"https://172.16.0.1/", NOTHING, false},
    {"https://172.31.255.255/", NOTHING, false},
    {"https://172.32.0.1/", NOTHING, true},
    {"https://192.168.1.1/", NOTHING, false},
    {"https://192.0.2.1/", NOTHING, false},
    {"https://198.18.0.1/", NOTHING, false},
    {"https://224.0.0.1/", NOTHING, false},
    {"https://255.255.255.255/", NOTHING, false},
    {"https://[::1]/", NOTHING, false},
    {"https://[::]/", NOTHING, false},
    {"https://[::ffff:127.0.0.1]/", NOTHING, false},
    {"https://[::ffff:7f00:1]/", NOTHING, false},
    {"https://[::ffff:169.254.169.254]/", NOTHING, false},
    {"https://[::127.0.0.1]/", NOTHING, false},
    {"https://[64:ff9b::7f00:1]/", NOTHING, false},
    {"https://[2002:7f00:1::]/", NOTHING, false},
    {"https://[2001:0:7f00:1::]/", NOTHING, false},
    {"https://[fe80::1]/", NOTHING, false},
    {"https://[fe80::1%25eth0]/", NOTHING, false},
    {"https://[fec0::1]/", NOTHING, false},
    {"https://[fc00::1]/", NOTHING, false},
    {"https://[ff02::1]/", NOTHING, false},
    {"https://[::ffff:0:7f00:1]/", NOTHING, false},      /* SIIT */
    {"https://[64:ff9b:1::7f00:1]/", NOTHING, false},
    {"https://[4000::1]/", NOTHING, false},              /* given to nobody */
    {"https://[5f00::1]/", NOTHING, false},
    {"https://[8000::1]/", NOTHING, false},
    {"https://[fe00::1]/", NOTHING, false},
    {"https://[3ffe::1]/", NOTHING, true},
    {"https://2130706433/", NOTHING, false},
    {"https://0x7f000001/", NOTHING, false},
    {"https://0x7f.0.0.1/", NOTHING, false},
    {"https://127.0.0.0x1/", NOTHING, false},
    {"https://017700000001/", NOTHING, false},
    {"https://0177.0.0.1/", NOTHING, false},
    {"https://127.1/", NOTHING, false},
    {"https://127.0.0.1./", NOTHING, false},
    {"https://2852039166/", NOTHING, false},
    {"https://0251.0376.0251.0376/", NOTHING, false},
    {"https://93.184.216.034/", NOTHING, false},
    {"https://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1/", NOTHING, false},
    {"https://%31%32%37.0.0.1/", NOTHING, false},
    {"https://localhost/", NOTHING, false},
    {"https://LOCALHOST./", NOTHING, false},
    {"https://a.localhost:1/", NOTHING, false},
    {"https://notlocalhost/", NOTHING, true},
    {"http://127.0.0.1:9000/hook", LOOPBACK, true},
    {"https://127.0.0.1:9000/hook", LOOPBACK, true},
    {"http://localhost:9000/", LOOPBACK, true},
    {"http://[fd00::7]/", LOOPBACK, true},
    {"http://[::1]/", LOOPBACK, false},
    {"http://10.0.0.1/", LOOPBACK, false},
    {"http://2130706433/", LOOPBACK, false},
    {"http://example.com/", LOOPBACK, false},
    {"http://hooks.test/", NAMED, true},
    {"http://HOOKS.test.:80/", NAMED, true},
    {"http://x.hooks.test/", NAMED, false},
    {"https://localhost/", NAMED, false},
};

static void where_they_go(void **state)
{
    struct tg_buf long_url = {0};
    struct tg_err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        bool taken = webhook_target_check(&allowed[targets[i].given], tg_slice_str(targets[i].url), &err) == TG_OK;

        if (taken != targets[i].taken)
            fail_msg("%s is%s taken: %s", targets[i].url, taken ? "" : " not", taken ? "" : err.text);
    }
    tg_buf_adds(&long_url, "https://example.com/");
    while (long_url.len <= WEBHOOK_URL)
        tg_buf_addc(&long_url, 'a');
    assert_int_equal(webhook_target_check(&allowed[NOTHING], tg_buf_slice(&long_url), NULL), TG_BAD_INPUT);
    long_url.len = WEBHOOK_URL;
    assert_int_equal(webhook_target_check(&allowed[NOTHING], tg_buf_slice(&long_url), NULL), TG_OK);
    tg_buf_fini(&long_url);
}

static void what_may_be_allowed(void **state)
{
    static const char *const good[] = {"10.0.0.0/8", "10.0.0.1", "fd00::/8", "::1", "::ffff:10.0.0.0/104", "hooks.test",
                                       "HOOKS.test.", "localhost", "a_b-c.x1"};
    static const char *const bad[] = {"", ".", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/08", "10.0.0.256",
                                      "fd00::/129", "fd00:::/8", "[::1]", "*.test", "hooks..test", ".test", "a b",
                                      "hooks.test:80", "http://hooks.test", "127.1", "2130706433", "h\xc3\xb6.test"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!webhook_network_is_good(tg_slice_str(good[i])))
            fail_msg("%s is not taken", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (webhook_network_is_good(tg_slice_str(bad[i])))
            fail_msg("%s is taken", bad[i]);
}

static bool may(int given, const char *host, const char *address)
{
    struct tg_ip ip;

    assert_true(tg_ip_parse(tg_slice_str(address), &ip));
    return webhook_may_connect(&allowed[given], tg_slice_str(host), &ip);
}

/* Whatever a name resolves to. */
static void what_is_connected_to(void **state)
{
    (void)state;
    assert_true(may(NOTHING, "example.com", "93.184.216.34"));
    assert_true(may(NOTHING, "example.com", "2606:2800:220:1::1"));
    assert_false(may(NOTHING, "example.com", "127.0.0.1"));
    assert_false(may(NOTHING, "example.com", "::1"));
    assert_false(may(NOTHING, "example.com", "::ffff:10.0.0.1"));
    assert_false(may(NOTHING, "example.com", "169.254.169.254"));
    assert_false(may(NOTHING, "example.com", "64:ff9b::a00:1"));
    assert_true(may(LOOPBACK, "example.com", "127.0.0.1"));
    assert_true(may(LOOPBACK, "example.com", "::ffff:127.0.0.1"));
    assert_false(may(LOOPBACK, "example.com", "10.0.0.1"));
    assert_true(may(NAMED, "hooks.test", "10.0.0.1"));
    assert_false(may(NAMED, "other.test", "10.0.0.1"));
}

/* ---- the tables ---- */

static void make(const char *id, const char *url, const char *events, bool active)
{
    struct webhook w = {.id = tg_slice_str(id), .url = tg_slice_str(url), .events = tg_slice_str(events),
                        .secret = TG_S("s"), .active = active, .created_s = 7};
    struct tg_err err;

    if (webhook_create(db, &w, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static struct webhook_ids full;
static uint64_t add(const char *event, const char *body)
{
    struct tg_err err;

    if (webhook_queue_add(db, event, tg_slice_str(body), 1000, &full, &err) != TG_OK)
        fail_msg("%s", err.text);
    return full.count;
}

static void add_head(void *arg, const struct delivery *d)
{
    tg_buf_addf(arg, "%.1s:%.*s ", d->webhook_id.ptr, (int)d->body.len, d->body.ptr);
}

static void expect_heads(const char *want)
{
    struct tg_buf got = {0};

    assert_int_equal(webhook_queue_heads(db, add_head, &got, NULL), TG_OK);
    assert_string_equal(tg_buf_cstr(&got), want);
    tg_buf_fini(&got);
}

static int64_t seq_of_head(const char *id)
{
    struct tg_query *q = tg_db_query(db, "SELECT min(seq) FROM webhook_queue WHERE webhook = "
                                     "(SELECT n FROM webhooks WHERE id = ?1)");
    int64_t seq;

    tg_query_bind_text(q, 1, tg_slice_str(id));
    assert_true(tg_query_row(q));
    seq = tg_query_int(q, 0);
    assert_int_equal(tg_query_end(q, NULL), TG_OK);
    return seq;
}

static void who_is_told(void **state)
{
    (void)state;
    make("a", "https://a", "[\"policy.created\",\"route.deleted\"]", true);
    make("b", "https://b", "[\"*\"]", true);
    make("c", "https://c", "[\"*\"]", false);            /* not active */
    make("d", "https://d", "[\"policy.create\"]", true); /* no event of ours */
    assert_int_equal(add("policy.created", "1"), 0);
    assert_int_equal(add("policy.updated", "2"), 0);
    assert_int_equal(add("route.deleted", "3"), 0);
    expect_heads("a:1 b:1 ");
    assert_int_equal(webhook_queue_delay(db, seq_of_head("b"), 5000, NULL), TG_OK);
    expect_heads("a:1 b:1 ");                            /* one that waits is not overtaken */
    assert_int_equal(webhook_queue_remove(db, seq_of_head("a"), NULL), TG_OK);
    assert_int_equal(webhook_queue_remove(db, seq_of_head("b"), NULL), TG_OK);
    expect_heads("b:2 a:3 ");
    assert_int_equal(webhook_delete(db, TG_S("b"), NULL), TG_OK);
    expect_heads("a:3 ");
    assert_int_equal(webhook_delete(db, TG_S("b"), NULL), TG_NOT_FOUND);
}

static void take_secret(void *arg, const struct delivery *d)
{
    tg_buf_add_slice(arg, d->secret);
}

static void replaced(void **state)
{
    struct webhook w = {.id = TG_S("a"), .url = TG_S("https://z"), .events = TG_S("[\"*\"]"), .active = true,
                        .updated_s = 9};
    struct tg_buf secret = {0};

    (void)state;
    make("a", "https://a", "[\"*\"]", true);
    add("policy.created", "1");
    assert_int_equal(webhook_replace(db, &w, NULL), TG_OK);
    assert_int_equal(webhook_queue_heads(db, take_secret, &secret, NULL), TG_OK);
    assert_string_equal(tg_buf_cstr(&secret), "s");      /* the old one stays */
    secret.len = 0;
    w.secret = TG_S("new");
    assert_int_equal(webhook_replace(db, &w, NULL), TG_OK);
    assert_int_equal(webhook_queue_heads(db, take_secret, &secret, NULL), TG_OK);
    assert_string_equal(tg_buf_cstr(&secret), "new");
    w.id = TG_S("b");
    assert_int_equal(webhook_replace(db, &w, NULL), TG_NOT_FOUND);
    tg_buf_fini(&secret);
}

static void bounds(void **state)
{
    struct webhook more = {.id = TG_S("more"), .url = TG_S("https://a"), .events = TG_S("[]"), .secret = TG_S("s")};
    struct tg_buf big = {0};
    uint64_t dropped = 0;
    char id[16];

    (void)state;
    assert_int_equal(tg_db_begin(db, NULL), TG_OK);
    make("a", "https://a", "[\"*\"]", true);
    for (int i = 1; i < WEBHOOKS_MAX; i++) {
        snprintf(id, sizeof(id), "id%d", i);
        make(id, "https://a", "[\"x\"]", true);
    }
    assert_int_equal(webhook_create(db, &more, NULL), TG_LIMIT);
    for (int i = 0; i < WEBHOOK_QUEUE; i++)
        assert_int_equal(add("policy.created", "1"), 0);
    assert_int_equal(add("policy.created", "1"), 1);
    assert_string_equal(full.ids[0], "a");
    assert_int_equal(add("x", "1"), 1);                  /* those of others have room */
    assert_int_equal(tg_db_run(db, "DELETE FROM webhook_queue", NULL), TG_OK);
    for (int i = 0; i < 1 << 20; i++)
        tg_buf_addc(&big, 'x');
    for (int i = 0; i < 18; i++)
        dropped += add("policy.created", tg_buf_cstr(&big));
    assert_int_equal(dropped, 2);
    tg_db_rollback(db);
    tg_buf_fini(&big);
}

/* ---- given up ---- */

static const int64_t quick[] = {5, 10};
static struct api api;
static struct tg_slice here = TG_S_INIT("127.0.0.0/8");

static void open_all(struct tg_worker *w, void *arg)
{
    struct tg_err err;

    (void)arg;
    api.worker = w;
    if (webhooks_open(&api, &err) != TG_OK)
        fail_msg("%s", err.text);
    webhooks_set_pace(api.webhooks, quick, ARRAY_LEN(quick), 1000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tg_db_begin(db, NULL), TG_OK);
        assert_int_equal(webhooks_enqueue(api.webhooks, "policy.created", TG_S("{}"), tg_clock_wall_ms() * 1000, NULL),
                         TG_OK);
        assert_int_equal(tg_db_commit(db, NULL), TG_OK);
    }
    webhooks_kick(api.webhooks);
}

static void close_all(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    webhooks_free(api.webhooks);
}

static uint64_t drops;
static void count_drop(void *arg, const struct tg_audit_entry *e, int64_t n)
{
    (void)arg;
    (void)n;
    assert_true(tg_slice_eq(e->resource, TG_S("webhook:a")));
    assert_true(tg_slice_contains(e->details, TG_S("\"tries\":3")));
    drops++;
}

static void look_for_drops(struct tg_worker *w, void *arg)
{
    struct tg_audit_query q = {.action = TG_S("webhook.drop")};

    (void)w;
    (void)arg;
    drops = 0;
    assert_int_equal(tg_audit_list(db, &q, count_drop, NULL, NULL, NULL), TG_OK);
}

/* A port of our own that nobody listens at. */
static unsigned dead_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    return ntohs(sa.sin_port);                           /* stays bound: nobody else gets it */
}

static void given_up(void **state)
{
    struct tg_worker_hooks hooks = {0};
    struct timespec pause = {0, 20000000};
    struct tg_worker *w;
    char url[64];

    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", dead_port());
    make("a", url, "[\"*\"]", true);
    api = (struct api){.db = db, .settings = {.webhook_networks = {&here, 1, true}}};
    assert_int_equal(tg_worker_start(3, "manage", &hooks, &w, NULL), TG_OK);
    tg_worker_call(w, open_all, NULL);
    for (int i = 0; i < 200 && drops < 3; i++) {
        nanosleep(&pause, NULL);
        tg_worker_call(w, look_for_drops, NULL);
    }
    assert_int_equal(drops, 3);
    tg_worker_call(w, close_all, NULL);
    tg_worker_stop(w);
    expect_heads("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(vector),    TEST(where_they_go), TEST(what_may_be_allowed), TEST(what_is_connected_to), TEST(who_is_told),
        TEST(replaced),  TEST(bounds),        TEST(given_up),
    };

    tg_log_set_level(TG_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
