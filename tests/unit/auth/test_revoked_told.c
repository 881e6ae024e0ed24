/* revoked_told: what was told is kept as long as it means something, within bounds, and in force after a restart. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/auth/revoked_set.h"
#include "base/clock.h"
#include "base/log.h"
#include <stdio.h>
#include <unistd.h>

static char folder[64], path[96];
static struct tg_db *db;
static struct tg_revocations *revocations;
static int64_t now_s;

static int up(void **state)
{
    struct tg_err err;

    (void)state;
    now_s = tg_clock_wall_ms() / 1000;
    snprintf(folder, sizeof(folder), "/tmp/tollgate-told-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof(path), "%s/tollgate.db", folder);
    revocations = tg_revocations_new();
    if (tg_db_open(path, &db, &err) != TG_OK || tg_revocations_prepare(db, &err) != TG_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int down(void **state)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    char name[128];

    (void)state;
    tg_revocations_free(revocations);
    tg_db_close(db);
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        snprintf(name, sizeof(name), "%s%s", path, tails[i]);
        unlink(name);
    }
    return rmdir(folder);
}

/* As the hook does it. */
static enum tg_status tell(const char *json, int64_t at_s, struct tg_err *err)
{
    cJSON *told = cJSON_Parse(json);
    size_t count = 0;
    enum tg_status st;

    assert_non_null(told);
    assert_int_equal(tg_db_begin(db, NULL), TG_OK);
    st = tg_revocations_keep(db, told, at_s, &count, err);
    if (st == TG_OK)
        st = tg_db_commit(db, err);
    if (st == TG_OK)
        tg_revocations_tell(revocations, told, at_s);
    tg_db_rollback(db);
    cJSON_Delete(told);
    return st;
}

static void told(const char *json)
{
    struct tg_err err;

    if (tell(json, now_s, &err) != TG_OK)
        fail_msg("%s: %s", json, err.text);
}

static int64_t rows(void)
{
    struct tg_query *q = tg_db_query(db, "SELECT count(*) FROM told_revocations");
    int64_t n;

    assert_true(tg_query_row(q));
    n = tg_query_int(q, 0);
    assert_int_equal(tg_query_end(q, NULL), TG_OK);
    return n;
}

static bool is_gone(const char *jti, const char *sub, int64_t iat_s, int64_t at_s)
{
    struct tg_identity id = {.issuer = TG_S("https://a"), .subject = tg_slice_str(sub), .iat_s = iat_s};
    struct tg_revoked_view view = {0};
    bool gone;

    id.jti = jti ? tg_slice_str(jti) : (struct tg_slice){0};
    tg_revoked_view_update(revocations, &view);
    gone = tg_is_revoked(&view, &id, at_s);
    tg_revoked_view_fini(&view);
    return gone;
}

static void restart(void)
{
    struct tg_err err;

    tg_revocations_free(revocations);
    revocations = tg_revocations_new();
    if (tg_revocations_restore(revocations, folder, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static void in_force_and_after_a_restart(void **state)
{
    (void)state;
    assert_false(is_gone("one", "x", 1, now_s));
    told("{\"iss\":\"https://a\",\"jti\":\"one\"}");
    told("[{\"iss\":\"https://a\",\"sub\":\"bob\",\"not_before\":1600000000},{\"iss\":\"https://a\",\"jti\":\"two\"}]");
    told("[]");
    for (int i = 0; i < 2; i++) {
        assert_true(is_gone("one", "x", 1, now_s));
        assert_true(is_gone("two", "x", 1, now_s));
        assert_false(is_gone("three", "x", 1, now_s));
        assert_true(is_gone("z", "bob", 1599999999, now_s));
        assert_false(is_gone("z", "bob", 1600000000, now_s));
        assert_int_equal(tg_revoked_set_count(tg_revocations_told(revocations)), 3);
        restart();
    }
}

/* An entry ends with its token and the longest leeway; its row goes with the next that is told. */
static void it_ends(void **state)
{
    char text[128];

    (void)state;
    snprintf(text, sizeof(text), "{\"iss\":\"https://a\",\"jti\":\"one\",\"exp\":%lld}", (long long)now_s);
    told(text);
    assert_true(is_gone("one", "x", 1, now_s + TG_REVOKED_GRACE_S));
    assert_false(is_gone("one", "x", 1, now_s + TG_REVOKED_GRACE_S + 1));
    assert_int_equal(rows(), 1);
    assert_int_equal(tell("{\"iss\":\"https://a\",\"jti\":\"two\"}", now_s + TG_REVOKED_GRACE_S + 1, NULL), TG_OK);
    assert_int_equal(rows(), 1);
    assert_int_equal(tg_revoked_set_count(tg_revocations_told(revocations)), 1);
    assert_true(is_gone("two", "x", 1, now_s));
    assert_false(is_gone("one", "x", 1, now_s));
}

/* Copies with what is past in them: with less than a quarter it stays, and means nothing. */
static void copies_with_past_entries(void **state)
{
    struct tg_buf text = {0};

    (void)state;
    tg_buf_addf(&text, "[{\"iss\":\"https://a\",\"jti\":\"past\",\"exp\":%lld}", (long long)now_s);
    for (int i = 0; i < 9; i++)
        tg_buf_addf(&text, ",{\"iss\":\"https://%c\",\"jti\":\"j%d\"}", i % 2 ? 'a' : 'b', i);
    tg_buf_adds(&text, "]");
    told(tg_buf_cstr(&text));
    tg_buf_fini(&text);
    assert_int_equal(tell("{\"iss\":\"https://a\",\"jti\":\"more\"}", now_s + 1000, NULL), TG_OK);
    assert_false(is_gone("past", "x", 1, now_s + 1000));
    assert_true(is_gone("j1", "x", 1, now_s + 1000));
    assert_false(is_gone("j2", "x", 1, now_s + 1000));   /* of the other issuer */
    assert_true(is_gone("more", "x", 1, now_s + 1000));
    assert_int_equal(rows(), 10);
}

/* A subject who is logged out again and again is one row, not one for each time. */
static void what_is_covered_is_not_kept(void **state)
{
    char text[128];

    (void)state;
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "{\"iss\":\"https://a\",\"sub\":\"bob\",\"not_before\":%d}", 1000 + i);
        told(text);
    }
    assert_int_equal(rows(), 1);
    told("{\"iss\":\"https://a\",\"sub\":\"bob\",\"not_before\":1020}");
    told("{\"iss\":\"https://a\",\"sub\":\"bob\",\"not_before\":1049}");
    assert_int_equal(rows(), 1);
    told("{\"iss\":\"https://a\",\"jti\":\"bob\"}");      /* another kind, another issuer: others */
    told("{\"iss\":\"https://b\",\"sub\":\"bob\"}");
    assert_int_equal(rows(), 3);
    restart();
    assert_true(is_gone("z", "bob", 1048, now_s));
    assert_false(is_gone("z", "bob", 1049, now_s));
    told("{\"iss\":\"https://a\",\"sub\":\"bob\"}");
    assert_int_equal(rows(), 3);
    assert_true(is_gone("z", "bob", now_s, now_s));
}

/* What is said to be kept is in force, and does not keep the next start from reading all. */
static void too_many_of_one(void **state)
{
    struct tg_buf text = {0};
    struct tg_err err = {0};

    (void)state;
    tg_buf_adds(&text, "[");
    for (int i = 0; i < 1100; i++)
        tg_buf_addf(&text, "%s{\"iss\":\"https://a\",\"sub\":\"bob\",\"not_before\":%d,\"exp\":%lld}", i ? "," : "",
                    1000 + i, (long long)now_s + 100000 - i);
    tg_buf_adds(&text, "]");
    assert_int_equal(tell(tg_buf_cstr(&text), now_s, &err), TG_LIMIT);
    assert_non_null(strstr(err.text, "of one token or subject"));
    assert_int_equal(rows(), 0);
    tg_buf_fini(&text);
    restart();
    told("{\"iss\":\"https://a\",\"sub\":\"bob\"}");
    assert_true(is_gone("z", "bob", 1, now_s));
}

static void mistakes(void **state)
{
    static const struct { const char *json, *why; } bad[] = {
        {"{\"iss\":\"https://a\"}", "data: "},
        {"\"x\"", "data: an entry is a JSON object"},
        {"[{\"iss\":\"https://a\",\"jti\":\"1\"},{\"iss\":\"\",\"jti\":\"1\"}]", "data[1]: "},
        {"[[]]", "data[0]: "},
        {"{\"iss\":\"https://a\",\"jti\":\"1\",\"exp\":\"soon\"}", "numbers of seconds"},
        {"{\"iss\":\"https://a\",\"jti\":\"1\",\"not_before\":-1}", "numbers of seconds"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tg_err err = {0};

        assert_int_equal(tell(bad[i].json, now_s, &err), TG_BAD_INPUT);
        if (!strstr(err.text, bad[i].why))
            fail_msg("%s: %s", bad[i].json, err.text);
    }
    assert_int_equal(rows(), 0);
    assert_null(tg_revocations_told(revocations));
}

/* The table is full: nothing of the message is kept. Rows of another process count, too. */
static void the_limit(void **state)
{
    char sql[512];
    struct tg_err err = {0};

    (void)state;
    snprintf(sql, sizeof(sql), "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < %d) "
             "INSERT INTO told_revocations (issuer, kind, text, not_before_s, until_s, told_s) "
             "SELECT 'i', 0, x, 4294967295, 4294967295, 1 FROM c", TG_REVOCATIONS_TOLD - 1);
    assert_int_equal(tg_db_run(db, sql, NULL), TG_OK);
    assert_int_equal(tell("[{\"iss\":\"https://a\",\"jti\":\"1\"},{\"iss\":\"https://a\",\"jti\":\"2\"}]", now_s, &err),
                     TG_UNAVAILABLE);
    assert_int_equal(rows(), TG_REVOCATIONS_TOLD - 1);
    assert_false(is_gone("1", "x", 1, now_s));
    told("{\"iss\":\"https://a\",\"jti\":\"1\"}");
    assert_int_equal(tell("{\"iss\":\"https://a\",\"jti\":\"2\"}", now_s, &err), TG_UNAVAILABLE);
}

static void nothing_there(void **state)
{
    struct tg_revocations *r = tg_revocations_new();

    (void)state;
    assert_int_equal(tg_revocations_restore(r, "/nonexistent", NULL), TG_OK);
    assert_null(tg_revocations_told(r));
    tg_revocations_free(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(in_force_and_after_a_restart),
        TEST(it_ends),
        TEST(copies_with_past_entries),
        TEST(what_is_covered_is_not_kept),
        TEST(too_many_of_one),
        TEST(mistakes),
        TEST(the_limit),
        TEST(nothing_there),
    };
    tg_log_set_level(TG_LOG_OFF);
    return cmocka_run_group_tests_name("auth/revoked_told", tests, NULL, NULL);
}
