/* audit: what is listed of what was put, what is thrown away, and that nothing a worker notes is lost in silence. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/store/audit_internal.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define T0_US INT64_C(1700000000000000)
#define SECOND INT64_C(1000000)

static char folder[64], path[96];
static struct tg_db *db;

static int up(void **state)
{
    struct tg_err err;

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tollgate-audit-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof(path), "%s/tollgate.db", folder);
    if (tg_db_open(path, &db, &err) != TG_OK || tg_audit_prepare(db, &err) != TG_OK)
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

static struct tg_audit_entry entry(int64_t s, const char *actor, const char *action, const char *resource,
                                   const char *result)
{
    return (struct tg_audit_entry){
        .time_us = T0_US + s * SECOND, .actor = tg_slice_str(actor), .action = tg_slice_str(action),
        .resource = tg_slice_str(resource), .result = tg_slice_str(result), .source_ip = TG_S("192.0.2.1"),
        .request_id = TG_S("r"), .details = TG_S("{\"a\":1}"),
    };
}

static void put(const struct tg_audit_entry *e)
{
    struct tg_err err;

    if (tg_audit_put(db, e, &err) != TG_OK)
        fail_msg("%s", err.text);
}

/* The seconds since T0 of what is listed, as "3 2 1". */
struct listed {
    struct tg_buf text;
    uint64_t lost, decisions;
};

static void add_listed(void *arg, const struct tg_audit_entry *e, int64_t n)
{
    struct listed *l = arg;

    assert_true(n > 0);
    tg_buf_addf(&l->text, "%s%lld", l->text.len ? " " : "", (long long)((e->time_us - T0_US) / SECOND));
}

static void expect(const char *why, const struct tg_audit_query *q, const char *want, uint64_t want_total)
{
    struct listed l = {0};
    uint64_t total = 0;
    struct tg_err err;

    if (tg_audit_list(db, q, add_listed, &l, &total, &err) != TG_OK)
        fail_msg("%s: %s", why, err.text);
    if (strcmp(tg_buf_cstr(&l.text), want) != 0 || total != want_total)
        fail_msg("%s: \"%s\" of %llu instead of \"%s\" of %llu", why, tg_buf_cstr(&l.text), (unsigned long long)total,
                 want, (unsigned long long)want_total);
    tg_buf_fini(&l.text);
}

#define Q(...) (&(struct tg_audit_query){__VA_ARGS__})

static void listed(void **state)
{
    const struct tg_audit_entry all[] = {
        entry(1, "operator:alice", "policy.create", "policy:1", "success"),
        entry(2, "operator:alice", "policy.update", "policy:1", "success"),
        entry(3, "operator:bob", "route.create", "route:1", "success"),
        entry(4, "", "auth.denied", "", "denied"),
        entry(5, "https://idp alice", "request.denied", "route:orders", "denied"),
        entry(6, "operator:bob", "policy.delete", "policy:10", "failure"),
    };

    (void)state;
    expect("nothing yet", Q(0), "", 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        put(&all[i]);
    expect("newest first", Q(0), "6 5 4 3 2 1", 6);
    expect("the first page", Q(.limit = 2), "6 5", 6);
    expect("the last page", Q(.limit = 4, .offset = 4), "2 1", 6);
    expect("behind the last", Q(.limit = 4, .offset = 6), "", 6);
    expect("an action", Q(.action = TG_S("policy.update")), "2", 1);
    expect("actions by their beginning", Q(.action = TG_S("policy.*")), "6 2 1", 3);
    expect("its pages", Q(.action = TG_S("policy.*"), .limit = 1, .offset = 1), "2", 3);
    expect("a beginning in another letter", Q(.action = TG_S("Policy.*")), "", 0);
    expect("a star alone", Q(.action = TG_S("*")), "6 5 4 3 2 1", 6);
    expect("a resource is exact", Q(.resource = TG_S("policy:1")), "2 1", 2);
    expect("resources by their beginning", Q(.resource = TG_S("policy:1*")), "6 2 1", 3);
    expect("an actor", Q(.actor = TG_S("operator:bob")), "6 3", 2);
    expect("an actor has no beginnings", Q(.actor = TG_S("operator:*")), "", 0);
    expect("a result", Q(.result = TG_S("denied")), "5 4", 2);
    expect("from is in, to is not", Q(.from_us = T0_US + 2 * SECOND, .to_us = T0_US + 4 * SECOND), "3 2", 2);
    expect("a microsecond", Q(.from_us = T0_US + 2 * SECOND + 1), "6 5 4 3", 4);
    expect("all at once", Q(.from_us = T0_US + SECOND, .to_us = T0_US + 9 * SECOND, .action = TG_S("policy.*"),
                            .resource = TG_S("policy:1*"), .actor = TG_S("operator:bob"), .result = TG_S("failure")),
           "6", 1);
    expect("what looks like SQL", Q(.action = TG_S("' OR 1=1 --*")), "", 0);
}

static void with_the_change(void **state)
{
    struct tg_audit_entry e = entry(1, "a", "policy.create", "p", "success");

    (void)state;
    assert_int_equal(tg_db_begin(db, NULL), TG_OK);
    put(&e);
    tg_db_rollback(db);
    expect("what was not changed is not there", Q(0), "", 0);
    assert_int_equal(tg_db_begin(db, NULL), TG_OK);
    put(&e);
    assert_int_equal(tg_db_commit(db, NULL), TG_OK);
    expect("what was is", Q(0), "1", 1);
}

/* ---- one entry ---- */

static void as_json(void **state)
{
    struct tg_audit_entry e = entry(0, "a \"b\"\n\xff", "policy.create", "policy:\xc3\xa9", "success");
    static const char *const names[] = {"id", "timestamp", "actor", "action", "resource", "details", "source_ip",
                                        "result", "request_id"};
    struct tg_buf out = {0}, later = {0};
    cJSON *doc = NULL;
    struct tg_err err;

    (void)state;
    e.time_us += 123456;
    tg_audit_json(&e, 7, &out);
    if (tg_json_parse(tg_buf_slice(&out), NULL, &doc, &err) != TG_OK)
        fail_msg("%s in %s", err.text, tg_buf_cstr(&out));
    assert_int_equal(cJSON_GetArraySize(doc), ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_non_null(tg_json_get(doc, names[i]));
    assert_string_equal(tg_json_get(doc, "id")->valuestring, "018bcfe5-687b-71c8-8000-000000000007");
    assert_string_equal(tg_json_get(doc, "timestamp")->valuestring, "2023-11-14T22:13:20Z");
    assert_string_equal(tg_json_get(doc, "actor")->valuestring, "a \"b\"\n\xef\xbf\xbd");
    assert_true(cJSON_IsObject(tg_json_get(doc, "details")));
    cJSON_Delete(doc);
    e.details = (struct tg_slice){0};
    tg_audit_json(&e, INT64_C(1) << 50, &later);
    assert_non_null(strstr(tg_buf_cstr(&later), "018bcfe5-687b-71c8-8004-000000000000"));
    assert_non_null(strstr(tg_buf_cstr(&later), "\"details\":{}"));
    tg_buf_fini(&out);
    tg_buf_fini(&later);
}

static void keep_details(void *arg, const struct tg_audit_entry *e, int64_t n)
{
    struct tg_buf *out = arg;

    (void)n;
    tg_buf_add_slice(out, e->details);
    tg_buf_addf(out, " %zu %zu\n", e->actor.len, e->action.len);
}

static void bounds_of_texts(void **state)
{
    struct tg_buf long_text = {0}, got = {0};
    struct tg_audit_entry e;

    (void)state;
    for (int i = 0; i < 20000; i++)
        tg_buf_adds(&long_text, "\xc3\xa9");
    e = entry(1, "", "a", "b", "success");
    e.actor = tg_buf_slice(&long_text);
    e.action = tg_slice(long_text.data + 1, 5000);       /* begins within a character, and is cut within one */
    e.details = tg_buf_slice(&long_text);
    put(&e);
    e.details = TG_S("{\"open\":");
    put(&e);
    e.details = TG_S("[1]");
    put(&e);
    e.details = (struct tg_slice){0};
    put(&e);
    assert_int_equal(tg_audit_list(db, Q(0), keep_details, &got, NULL, NULL), TG_OK);
    assert_string_equal(tg_buf_cstr(&got),
                        "{} 512 127\n{\"omitted\":\"malformed\"} 512 127\n{\"omitted\":\"malformed\"} 512 127\n"
                        "{\"omitted\":\"too long\"} 512 127\n");
    tg_buf_fini(&long_text);
    tg_buf_fini(&got);
}

/* ---- what is thrown away ---- */

static uint64_t trim(int64_t retention_ms, uint64_t max_bytes, int64_t now_s)
{
    struct tg_audit_settings s = {.retention_ms = retention_ms, .max_bytes = max_bytes};
    uint64_t removed = 0;
    struct tg_err err;

    if (tg_audit_trim(db, &s, T0_US + now_s * SECOND, &removed, &err) != TG_OK)
        fail_msg("%s", err.text);
    return removed;
}

static void by_age(void **state)
{
    (void)state;
    for (int i = 1; i <= 5; i++) {
        struct tg_audit_entry e = entry(i, "a", i % 2 ? "request.denied" : "policy.create", "r", "denied");

        put(&e);
    }
    assert_int_equal(trim(10000, 0, 11), 0);
    assert_int_equal(trim(10000, 0, 13), 2);
    expect("the youngest stay", Q(0), "5 4 3", 3);
    assert_int_equal(trim(0, 0, 1000000), 0);            /* no retention: by size alone */
    assert_int_equal(trim(1, 0, 1000000), 3);
    expect("none", Q(0), "", 0);
}

static size_t count_of(const char *action)
{
    struct listed l = {0};
    uint64_t total = 0;

    assert_int_equal(tg_audit_list(db, Q(.action = tg_slice_str(action), .limit = 1), add_listed, &l, &total, NULL),
                     TG_OK);
    tg_buf_fini(&l.text);
    return total;
}

/* Whoever is refused often enough must not push out what somebody changed. */
static void by_size(void **state)
{
    const uint64_t max = 1 << 19;
    uint64_t entries, bytes;

    (void)state;
    assert_int_equal(tg_db_begin(db, NULL), TG_OK);
    for (int i = 0; i < 200; i++) {
        struct tg_audit_entry e = entry(i, "operator:a", "policy.create", "policy:1", "success");

        put(&e);
    }
    for (int i = 200; i < 5000; i++) {
        struct tg_audit_entry e = entry(i, "", i % 2 ? "request.denied" : "auth.denied", "route:r", "denied");

        put(&e);
    }
    assert_int_equal(tg_db_commit(db, NULL), TG_OK);
    assert_true(trim(0, max, 0) > 2000);
    assert_int_equal(tg_audit_totals(db, &entries, &bytes, NULL), TG_OK);
    assert_true(bytes <= max && bytes > max / 4);
    assert_int_equal(count_of("policy.*"), 200);
    assert_int_equal(trim(0, max, 0), 0);
    expect("the newest denial is there", Q(.limit = 1), "4999", entries);
    assert_int_equal(tg_db_begin(db, NULL), TG_OK);
    for (int i = 5000; i < 8000; i++) {
        struct tg_audit_entry e = entry(i, "operator:a", "policy.update", "policy:1", "success");

        put(&e);
    }
    assert_int_equal(tg_db_commit(db, NULL), TG_OK);
    trim(0, max, 0);
    assert_int_equal(tg_audit_totals(db, &entries, &bytes, NULL), TG_OK);
    assert_true(bytes <= max);                           /* changes alone are bounded, too */
    assert_int_equal(count_of("policy.create"), 0);
    expect("the newest change is there", Q(.limit = 1), "7999", entries);
}

/* ---- from workers ---- */

static const struct tg_audit_settings on = {.set = true, .denied = true, .retention_ms = 0, .max_bytes = 1 << 30};

static void what_is_wanted(void **state)
{
    struct tg_audit_settings s = on;
    struct tg_audit *a;

    (void)state;
    assert_false(tg_audit_wants(NULL, true));
    assert_int_equal(tg_audit_new(folder, &s, 1, &a, NULL), TG_OK);
    assert_true(tg_audit_wants(a, true));
    assert_false(tg_audit_wants(a, false));
    s.allowed = true;
    s.denied = false;
    tg_audit_bind(a, &s);
    assert_false(tg_audit_wants(a, true));
    assert_true(tg_audit_wants(a, false));
    s.set = false;
    tg_audit_bind(a, &s);
    assert_false(tg_audit_wants(a, false));
    tg_audit_free(a);
    assert_int_equal(tg_audit_new("/nowhere/at/all", &on, 1, &a, NULL), TG_NOT_FOUND);
}

struct noting {
    struct tg_audit *audit;
    unsigned worker;
    int count;
};

static void *note_many(void *arg)
{
    struct noting *n = arg;

    for (int i = 0; i < n->count; i++) {
        struct tg_audit_entry e = entry(i, "somebody", "request.denied", "route:r", "denied");

        tg_audit_note(n->audit, n->worker, &e);
    }
    return NULL;
}

static void count_entry(void *arg, const struct tg_audit_entry *e, int64_t n)
{
    struct listed *l = arg;
    cJSON *details = NULL;
    int64_t lost;

    (void)n;
    if (!tg_slice_eq(e->action, TG_S("audit.lost"))) {
        l->decisions++;
        return;
    }
    assert_int_equal(tg_json_parse(e->details, NULL, &details, NULL), TG_OK);
    assert_true(tg_json_int(tg_json_get(details, "entries"), &lost));
    l->lost += (uint64_t)lost;
    cJSON_Delete(details);
}

static struct listed count_all(void)
{
    struct listed l = {0};

    assert_int_equal(tg_audit_list(db, Q(0), count_entry, &l, NULL, NULL), TG_OK);
    return l;
}

/* Every one of a flood is in the table or in a number there. */
static void flood(void **state)
{
    enum { WORKERS = 4, EACH = 20000 };
    struct noting n[WORKERS];
    pthread_t threads[WORKERS];
    struct tg_audit *a;
    struct listed l;

    (void)state;
    assert_int_equal(tg_audit_new(folder, &on, WORKERS, &a, NULL), TG_OK);
    for (unsigned i = 0; i < WORKERS; i++) {
        n[i] = (struct noting){a, i, EACH};
        assert_int_equal(pthread_create(&threads[i], NULL, note_many, &n[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    tg_audit_free(a);                                    /* what waits is written */
    l = count_all();
    assert_true(l.lost > 0);                             /* else this shows nothing */
    assert_true(l.decisions > 1000);
    assert_int_equal(l.decisions + l.lost, WORKERS * EACH);
}

/* Workers are not in step: what was decided first is listed as the older, whoever decided it. */
static void in_order_of_time(void **state)
{
    struct tg_audit *a;

    (void)state;
    assert_int_equal(tg_audit_new(folder, &on, 2, &a, NULL), TG_OK);
    for (int i = 1; i <= 4; i++) {
        struct tg_audit_entry e = entry(i, "", "request.denied", "route:r", "denied");

        tg_audit_note(a, i <= 2 ? 1 : 0, &e);
    }
    tg_audit_free(a);                                    /* what waits is written */
    expect("newest first", Q(0), "4 3 2 1", 4);
}

/* The bounds are looked at after so many entries, too, not only when it is time: a flood does not outgrow them. */
static void bounded_in_a_flood(void **state)
{
    struct tg_audit_settings few = {.set = true, .denied = true, .max_bytes = 65536};
    struct timespec pause = {0, 20000000};
    uint64_t entries = 0, bytes = 0;
    bool outgrown = false;
    struct tg_audit *a;

    (void)state;
    assert_int_equal(tg_audit_new(folder, &few, 1, &a, NULL), TG_OK);
    for (int i = 0; i < 250 && (!outgrown || bytes > few.max_bytes); i++) {
        note_many(&(struct noting){a, 0, 500});
        nanosleep(&pause, NULL);
        assert_int_equal(tg_audit_totals(db, &entries, &bytes, NULL), TG_OK);
        outgrown |= bytes > 2 * few.max_bytes;
    }
    assert_true(outgrown && bytes <= few.max_bytes);
    tg_audit_free(a);
}

/* Records of many lengths, around the end of the ring many times. */
static void all_of_it(void **state)
{
    struct tg_audit *a;
    struct tg_buf text = {0};
    struct listed l;
    struct timespec pause = {0, 1000000};

    (void)state;
    for (int i = 0; i < 3000; i++)
        tg_buf_addc(&text, 'x');
    assert_int_equal(tg_audit_new(folder, &on, 1, &a, NULL), TG_OK);
    for (int i = 0; i < 600; i++) {
        struct tg_audit_entry e = entry(i, "", "request.denied", "", "denied");

        e.actor = tg_slice(text.data, (size_t)i % 512);
        e.resource = tg_slice(text.data, (size_t)i * 7 % 512);
        tg_audit_note(a, 0, &e);
        nanosleep(&pause, NULL);
    }
    tg_audit_free(a);
    tg_buf_fini(&text);
    l = count_all();
    assert_int_equal(l.decisions, 600);
    assert_int_equal(l.lost, 0);
    assert_int_equal(count_of("request.denied"), 600);
}

static void wait_ms(int64_t ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

/* A limit on the size of files is what a full disk is: nothing can be written until it is lifted. */
static void full_disk(void **state)
{
    struct rlimit before, none;
    struct tg_audit *a;
    struct noting n;
    struct listed l;
    struct tg_buf words = {0};

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(tg_audit_new(folder, &on, 1, &a, NULL), TG_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    n = (struct noting){a, 0, 20000};
    note_many(&n);
    wait_ms(400);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    tg_audit_describe(a, &words);
    if (!strstr(tg_buf_cstr(&words), "cannot be written at the moment"))
        fail_msg("%s", words.data);
    for (int i = 0; i < 100; i++) {                      /* by itself, without a new record */
        words.len = 0;
        tg_audit_describe(a, &words);
        if (!strstr(tg_buf_cstr(&words), "at the moment"))
            break;
        wait_ms(50);
    }
    assert_null(strstr(tg_buf_cstr(&words), "at the moment"));
    tg_buf_fini(&words);
    tg_audit_free(a);
    l = count_all();
    assert_true(l.decisions > 100 && l.lost > 0);
    assert_int_equal(l.decisions + l.lost, 20000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(listed),   TEST(with_the_change), TEST(as_json),        TEST(bounds_of_texts), TEST(by_age),
        TEST(by_size),  TEST(what_is_wanted),  TEST(flood),          TEST(bounded_in_a_flood),
        TEST(in_order_of_time), TEST(all_of_it), TEST(full_disk),
    };

    tg_log_set_level(TG_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
