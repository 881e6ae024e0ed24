/* revoked: what a feed may say, whom it means, and how it is watched while somebody writes it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/auth/revoked_set.h"
#include "base/clock.h"
#include "base/file.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NOW_S INT64_C(1700000000)

static char folder[64], feed[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tollgate-revoked-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(feed, sizeof(feed), "%s/feed", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(feed);
    return rmdir(folder);
}

static void write_text(const char *mode, struct tg_slice text)
{
    FILE *f = fopen(feed, mode);

    assert_non_null(f);
    assert_int_equal(fwrite(text.ptr, 1, text.len, f), text.len);
    assert_int_equal(fclose(f), 0);
}

static void put(const char *text) { write_text("w", tg_slice_str(text)); }
static void append(const char *text) { write_text("a", tg_slice_str(text)); }
static void replace(const char *text)
{
    assert_int_equal(tg_file_replace(feed, tg_slice_str(text), 0600, NULL), TG_OK);
}

static bool has(const struct tg_revoked_set *set, enum tg_revoked_kind kind, const char *iss, const char *text,
                int64_t iat_s, int64_t now_s)
{
    return tg_revoked_set_has(set, kind, tg_slice_str(iss), tg_slice_str(text), iat_s, now_s);
}

static struct tg_revoked_set *read_feed(const char *text)
{
    struct tg_revoked_feed out;
    struct tg_err err;

    put(text);
    if (tg_revoked_read(feed, &(struct tg_revoked_extent){0}, NOW_S, &out, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_true(out.grown && out.ended);
    return out.set;
}

/* ---- whom an entry means ---- */

#define ENTRIES(separator) \
    "{\"iss\":\"https://a\",\"jti\":\"one\"}" separator \
    "{\"iss\":\"https://a\",\"sub\":\"alice\"}" separator \
    "{\"iss\":\"https://a\",\"sub\":\"bob\",\"not_before\":1600000000.5}" separator \
    "{\"iss\":\"https://a\",\"sub\":\"carol\",\"exp\":1700000100,\"why\":\"\",\"at\":[1,{\"x\":\"]}\"}]}" separator \
    " { \"iss\" : \"https://a\" , \"jti\" : \"d\\u00e9\\\\\\\"\\n\" } " separator \
    "{\"iss\":\"https://b\",\"jti\":\"gone\",\"exp\":1699999699}" separator \
    "{\"iss\":\"https://b\",\"jti\":\"going\",\"exp\":1699999700}"

static void whom_it_means(void **state)
{
    static const char *const forms[] = {
        ENTRIES("\n"), ENTRIES("\n") "\n", ENTRIES("\r\n") "\r\n", "\n \n" ENTRIES("\n\n") "\n\n",
        "[" ENTRIES(",") "]", " [ " ENTRIES(" ,\n ") " ] \n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tg_revoked_set *s = read_feed(forms[i]);

        assert_int_equal(tg_revoked_set_count(s), 6);    /* one is past already */
        assert_true(has(s, TG_REVOKED_JTI, "https://a", "one", 5, NOW_S));
        assert_true(has(s, TG_REVOKED_JTI, "https://a", "one", -1, INT64_C(1) << 40));
        assert_false(has(s, TG_REVOKED_JTI, "https://b", "one", 5, NOW_S));
        assert_false(has(s, TG_REVOKED_JTI, "https://a", "One", 5, NOW_S));
        assert_false(has(s, TG_REVOKED_JTI, "https://a", "on", 5, NOW_S));
        assert_false(has(s, TG_REVOKED_JTI, "https://a", "one ", 5, NOW_S));
        assert_false(has(s, TG_REVOKED_SUB, "https://a", "one", 5, NOW_S));
        assert_false(has(s, TG_REVOKED_JTI, "https://ao", "ne", 5, NOW_S));
        assert_true(has(s, TG_REVOKED_SUB, "https://a", "alice", NOW_S, NOW_S));
        assert_true(has(s, TG_REVOKED_SUB, "https://a", "bob", 1600000000, NOW_S));
        assert_false(has(s, TG_REVOKED_SUB, "https://a", "bob", 1600000001, NOW_S));
        assert_true(has(s, TG_REVOKED_SUB, "https://a", "bob", -1, NOW_S)); /* who knows when */
        assert_true(has(s, TG_REVOKED_SUB, "https://a", "carol", 5, NOW_S + 100 + TG_REVOKED_GRACE_S));
        assert_false(has(s, TG_REVOKED_SUB, "https://a", "carol", 5, NOW_S + 101 + TG_REVOKED_GRACE_S));
        assert_true(has(s, TG_REVOKED_JTI, "https://a", "d\xc3\xa9\\\"\n", 5, NOW_S));
        assert_true(has(s, TG_REVOKED_JTI, "https://b", "going", 5, NOW_S));
        assert_false(has(s, TG_REVOKED_JTI, "https://b", "gone", 5, NOW_S));
        tg_revoked_set_unref(s);
    }
    for (size_t i = 0; i < 4; i++) {
        static const char *const nothing[] = {"", "\n\n", "[]", " [ \n ]\n"};
        struct tg_revoked_set *s = read_feed(nothing[i]);

        assert_int_equal(tg_revoked_set_count(s), 0);
        tg_revoked_set_unref(s);
    }
}

/* Several entries of one token: each counts, and one that says less than another is not kept. */
static void several_of_one(void **state)
{
    struct tg_revoked_set *s = read_feed(
        "{\"iss\":\"i\",\"sub\":\"s\",\"not_before\":100,\"exp\":1700001000}\n"
        "{\"iss\":\"i\",\"sub\":\"s\",\"not_before\":100,\"exp\":1700001000}\n"
        "{\"iss\":\"i\",\"sub\":\"s\",\"not_before\":50,\"exp\":1700000500}\n"
        "{\"iss\":\"i\",\"sub\":\"s\",\"not_before\":200,\"exp\":1700002000}\n"
        "{\"iss\":\"i\",\"sub\":\"s\",\"not_before\":300,\"exp\":1700000000}\n");

    (void)state;
    assert_int_equal(tg_revoked_set_count(s), 2);
    assert_true(has(s, TG_REVOKED_SUB, "i", "s", 299, NOW_S));
    assert_false(has(s, TG_REVOKED_SUB, "i", "s", 299, NOW_S + 1000));
    assert_true(has(s, TG_REVOKED_SUB, "i", "s", 199, NOW_S + 1000));
    assert_false(has(s, TG_REVOKED_SUB, "i", "s", 200, NOW_S + 1000));
    tg_revoked_set_unref(s);
}

static void identities(void **state)
{
    struct tg_identity id = {.issuer = TG_S("https://a"), .subject = TG_S("carol"), .iat_s = 7};
    struct tg_revoked_view view = {.set = read_feed("{\"iss\":\"https://a\",\"jti\":\"one\"}\n"
                                                    "{\"iss\":\"https://a\",\"sub\":\"alice\"}\n"), .version = 1};

    (void)state;
    assert_false(tg_is_revoked(&(struct tg_revoked_view){0}, &id, NOW_S));
    assert_false(tg_is_revoked(&view, &id, NOW_S));
    id.jti = TG_S("two");
    assert_false(tg_is_revoked(&view, &id, NOW_S));
    id.jti = TG_S("one");
    assert_true(tg_is_revoked(&view, &id, NOW_S));
    id.jti = TG_S("alice");
    assert_false(tg_is_revoked(&view, &id, NOW_S));
    id.subject = TG_S("alice");
    assert_true(tg_is_revoked(&view, &id, NOW_S));
    id.issuer = TG_S("https://b");
    assert_false(tg_is_revoked(&view, &id, NOW_S));
    tg_revoked_view_fini(&view);
}

/* ---- what is no feed ---- */

static void mistakes(void **state)
{
    static const struct { const char *text, *place; } bad[] = {
        {"{\"iss\":\"i\",\"jti\":\"j\"}\n\n{\"iss\":\"i\"}\n", ":3: "},
        {"{\"iss\":\"i\",\"jti\":\"j\",\"sub\":\"s\"}\n", ":1: "},
        {"{\"jti\":\"j\"}\n", ":1: "},
        {"{\"iss\":\"\",\"jti\":\"j\"}\n", ":1: "},
        {"{\"iss\":\"i\",\"jti\":\"\"}\n", ":1: "},
        {"{\"iss\":\"i\",\"jti\":7}\n", ":1: "},
        {"{\"iss\":\"i\",\"jti\":null}\n", ":1: "},
        {"{\"iss\":[\"i\"],\"jti\":\"j\"}\n", ":1: "},
        {"{\"iss\":\"i\",\"sub\":\"s\",\"not_before\":\"1\"}\n", ":1: "},
        {"{\"iss\":\"i\",\"sub\":\"s\",\"not_before\":null}\n", ":1: "},
        {"{\"iss\":\"i\",\"sub\":\"s\",\"exp\":-1}\n", ":1: "},
        {"{\"iss\":\"i\",\"jti\":\"j\",\"jti\":\"k\"}\n", ":1: "},
        {"{\"iss\":\"i\",\"jti\":\"j\"} {\"iss\":\"i\",\"jti\":\"k\"}\n", ":1: "},
        {"{\"iss\":\"i\",\"jti\":\"\xff\"}\n", ":1: "},
        {"{\"iss\":\"i\",\n\"jti\":\"j\"}\n", ":1: "},
        {"\"j\"\n", ":1: "},
        {"j\n", ":1: "},
        {"[{\"iss\":\"i\",\"jti\":\"j\"},\n{\"iss\":\"i\"}]", ":2: "},
        {"[{\"iss\":\"i\",\"jti\":\"j\"}", ":1: "},
        {"[{\"iss\":\"i\",\"jti\":\"j\"}\n,]", ":2: "},
        {"[,{\"iss\":\"i\",\"jti\":\"j\"}]", ":1: "},
        {"[{\"iss\":\"i\",\"jti\":\"j\"}]\n\n[]", ":3: "},
        {"[{\"iss\":\"i\",\"jti\":\"j\"} {\"iss\":\"i\",\"jti\":\"k\"}]", ":1: "},
        {"[[]]", ":1: "},
        {"[7]", ":1: "},
    };
    struct tg_revoked_feed out;
    struct tg_err err;
    size_t entries;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char want[128];

        put(bad[i].text);
        if (tg_revoked_read(feed, &(struct tg_revoked_extent){0}, NOW_S, &out, &err) == TG_OK)
            fail_msg("taken: %s", bad[i].text);
        snprintf(want, sizeof(want), "%s%s", feed, bad[i].place);
        if (!strstr(err.text, want))
            fail_msg("%s: %s", bad[i].text, err.text);
    }
    put("{\"iss\":\"i\",\"jti\":\"j\"}\n");
    assert_int_equal(tg_revocations_check(feed, &entries, &err), TG_OK);
    assert_int_equal(entries, 1);
    unlink(feed);
    assert_int_equal(tg_revocations_check(feed, &entries, &err), TG_NOT_FOUND);
    assert_int_equal(tg_revocations_check(folder, &entries, &err), TG_BAD_INPUT);
    assert_int_equal(mkfifo(feed, 0600), 0);
    assert_int_equal(tg_revocations_check(feed, &entries, &err), TG_BAD_INPUT); /* and does not wait for a writer */
    unlink(feed);
}

/* ---- growing ---- */

/* Wherever a writer is when it is read: whole lines count, and what follows is found to be an addition. */
static void grows(void **state)
{
    struct tg_buf text = {0};
    struct tg_revoked_extent before = {0};
    size_t lines = 0, cut = 0;
    struct tg_revoked_feed out;

    (void)state;
    for (unsigned i = 0; i < 4000; i++)                  /* several blocks */
        tg_buf_addf(&text, "{\"iss\":\"https://issuer.example\",\"jti\":\"%u-%u\"}\n", i, i * 7919);
    while (cut < text.len) {
        cut = cut + 9973 < text.len ? cut + 9973 : text.len;
        write_text("w", tg_slice(text.data, cut));
        assert_int_equal(tg_revoked_read(feed, &before, NOW_S, &out, NULL), TG_OK);
        assert_true(out.grown);
        for (lines = 0; lines < cut && memchr(text.data + lines, '\n', cut - lines);)
            lines = (size_t)((char *)memchr(text.data + lines, '\n', cut - lines) - text.data) + 1;
        assert_true(out.extent.bytes <= cut && out.extent.bytes + 200 > lines);
        before = out.extent;
        tg_revoked_set_unref(out.set);
    }
    assert_int_equal(before.bytes, text.len);
    text.data[70000] = text.data[70000] == 'x' ? 'y' : 'x'; /* somewhere in the second block */
    tg_buf_adds(&text, "\n");
    write_text("w", tg_buf_slice(&text));
    if (tg_revoked_read(feed, &before, NOW_S, &out, NULL) == TG_OK) {
        assert_false(out.grown);
        tg_revoked_set_unref(out.set);
    }
    write_text("w", tg_slice(text.data, 60000));
    assert_int_equal(tg_revoked_read(feed, &before, NOW_S, &out, NULL), TG_OK);
    assert_false(out.grown || out.ended);                /* shorter than it was */
    tg_revoked_set_unref(out.set);
    tg_buf_fini(&text);
}

/* ---- watched ---- */

static struct tg_revocations *revocations;
static struct tg_revoked_view view;

static size_t count(void)
{
    tg_revoked_view_update(revocations, &view);
    return view.set ? tg_revoked_set_count(view.set) : 0;
}

/* The number of entries within `ms`. */
static bool becomes(size_t want, int64_t ms)
{
    int64_t until_ms = tg_clock_mono_ms() + ms;
    struct timespec pause = {0, 10000000};

    while (count() != want) {
        if (tg_clock_mono_ms() > until_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

/* Whether readiness comes to say so, or (`words` "") to have nothing to complain about. */
static bool told(const char *words)
{
    int64_t until_ms = tg_clock_mono_ms() + 4000;
    struct timespec pause = {0, 10000000};
    struct tg_buf out = {0};
    bool found = false;

    while (!found && tg_clock_mono_ms() < until_ms) {
        out.len = 0;
        tg_revocations_describe(revocations, &out);
        found = *words ? strstr(tg_buf_cstr(&out), words) != NULL : !strchr(tg_buf_cstr(&out), ';');
        nanosleep(&pause, NULL);
    }
    tg_buf_fini(&out);
    return found;
}

#define ONE "{\"iss\":\"i\",\"jti\":\"1\"}\n"
#define TWO "{\"iss\":\"i\",\"jti\":\"2\"}\n"
#define THREE "{\"iss\":\"i\",\"jti\":\"3\"}\n"

static void watched(void **state)
{
    struct tg_revocations_next *next = NULL;
    struct tg_err err;
    struct tg_buf out = {0};
    uint64_t version;

    (void)state;
    revocations = tg_revocations_new();
    tg_revocations_set_pace(revocations, 100);
    assert_int_equal(tg_revocations_bind(revocations, tg_slice_str(""), &err), TG_OK);
    tg_revocations_describe(revocations, &out);
    assert_int_equal(out.len, 0);
    unlink(feed);
    assert_int_equal(tg_revocations_bind(revocations, tg_slice_str(feed), &err), TG_NOT_FOUND);
    put(ONE "{\"iss\":");
    assert_int_equal(tg_revocations_bind(revocations, tg_slice_str(feed), &err), TG_BAD_INPUT);
    assert_non_null(strstr(err.text, "feed:2: "));
    assert_int_equal(count(), 0);
    put(ONE);
    assert_int_equal(tg_revocations_read(revocations, tg_slice_str(feed), &next, &err), TG_OK);
    assert_int_equal(count(), 0);                        /* something else may still refuse that configuration */
    tg_revocations_next_free(next);
    assert_int_equal(tg_revocations_bind(revocations, tg_slice_str(feed), &err), TG_OK);
    assert_int_equal(count(), 1);
    version = view.version;
    append(TWO "{\"iss\":\"i\",\"jt");                   /* the line's rest comes later; the one before it counts */
    assert_true(becomes(2, 2500));
    assert_true(told("the last line is not ended"));
    append("i\":\"3\"}\n");
    assert_true(becomes(3, 2500));
    assert_true(told(""));
    assert_true(view.version > version);
    put(ONE);                                            /* written in place, and shorter: at rest, two looks */
    assert_true(becomes(1, 4000));
    replace(TWO THREE);
    assert_true(becomes(2, 4000));
    replace(ONE "nonsense\n");
    assert_true(told("feed:2: "));
    assert_int_equal(count(), 2);                        /* the last good ones */
    unlink(feed);
    assert_true(told("cannot be opened"));
    assert_int_equal(count(), 2);
    replace(TWO THREE);                                  /* as it was: nothing moves, the trouble is over */
    version = view.version;
    assert_true(told(""));
    assert_int_equal(count(), 2);
    assert_int_equal(view.version, version);
    assert_int_equal(tg_revocations_bind(revocations, tg_slice_str(folder), &err), TG_BAD_INPUT);
    assert_int_equal(count(), 2);
    assert_int_equal(tg_revocations_read(revocations, tg_slice_str(""), &next, &err), TG_OK);
    assert_int_equal(count(), 2);
    tg_revocations_put(revocations, next);
    assert_int_equal(count(), 0);
    tg_revocations_free(revocations);
    tg_revoked_view_fini(&view);
    tg_buf_fini(&out);
}

/* What Kubernetes does to a mounted ConfigMap: the folder behind a symbolic link changes. */
static void behind_links(void **state)
{
    char link_path[128], first[128], second[128], next[128];
    struct tg_err err;

    (void)state;
    snprintf(link_path, sizeof(link_path), "%s/link", folder);
    snprintf(next, sizeof(next), "%s/next", folder);
    snprintf(first, sizeof(first), "%s/first", folder);
    snprintf(second, sizeof(second), "%s/second", folder);
    assert_int_equal(tg_file_replace(first, TG_S(ONE), 0600, NULL), TG_OK);
    assert_int_equal(tg_file_replace(second, TG_S(ONE TWO THREE), 0600, NULL), TG_OK);
    assert_int_equal(symlink("first", link_path), 0);
    revocations = tg_revocations_new();
    tg_revocations_set_pace(revocations, 100);
    assert_int_equal(tg_revocations_bind(revocations, tg_slice_str(link_path), &err), TG_OK);
    assert_int_equal(count(), 1);
    assert_int_equal(symlink("second", next), 0);
    assert_int_equal(rename(next, link_path), 0);
    assert_true(becomes(3, 4000));
    tg_revocations_free(revocations);
    tg_revoked_view_fini(&view);
    unlink(link_path);
    unlink(first);
    unlink(second);
}

/* ---- from many threads ---- */

static atomic_bool done;

static void *ask(void *arg)
{
    struct tg_revocations *r = arg;
    struct tg_identity id = {.issuer = TG_S("i"), .subject = TG_S("s"), .jti = TG_S("1")};
    struct tg_revoked_view own = {0};
    size_t wrong = 0;

    while (!atomic_load(&done)) {
        tg_revoked_view_update(r, &own);
        wrong += !tg_is_revoked(&own, &id, NOW_S);       /* it is in every feed */
    }
    tg_revoked_view_fini(&own);
    return (void *)wrong;
}

static void from_threads(void **state)
{
    struct tg_revocations *r = tg_revocations_new();
    struct timespec pause = {0, 50000000};
    pthread_t threads[4];
    struct tg_err err;
    void *wrong;

    (void)state;
    tg_revocations_set_pace(r, 20);
    put(ONE);
    assert_int_equal(tg_revocations_bind(r, tg_slice_str(feed), &err), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, r), 0);
    for (int i = 0; i < 30; i++) {
        append(TWO THREE);
        nanosleep(&pause, NULL);
    }
    replace(THREE ONE);
    nanosleep(&(struct timespec){1, 0}, NULL);
    atomic_store(&done, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    tg_revocations_free(r);
}

/* ---- a million ---- */

static void a_million(void **state)
{
    size_t n = getenv("TG_REVOKED_MILLION") ? 1000000 : 50000;
    struct tg_revoked_feed out;
    struct tg_buf text = {0};
    int64_t start_ms;
    char jti[40];

    (void)state;
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(&text, "{\"iss\":\"https://issuer.example.com\",\"jti\":\"%08zx-7b9c-4d1e-8f60-%012zx\","
                    "\"exp\":%lld}\n", i * 2654435761u % 4294967296u, i, (long long)NOW_S + 43200);
    write_text("w", tg_buf_slice(&text));
    start_ms = tg_clock_mono_ms();
    assert_int_equal(tg_revoked_read(feed, &(struct tg_revoked_extent){0}, NOW_S, &out, NULL), TG_OK);
    printf("# %zu entries of %zu bytes read in %lld ms, %zu bytes of memory\n", n, text.len,
           (long long)(tg_clock_mono_ms() - start_ms), tg_revoked_set_bytes(out.set));
    assert_int_equal(tg_revoked_set_count(out.set), n);
    assert_true(tg_revoked_set_bytes(out.set) < 80 * n);
    start_ms = tg_clock_mono_ms();
    for (size_t i = 0; i < n; i++) {
        snprintf(jti, sizeof(jti), "%08zx-7b9c-4d1e-8f60-%012zx", i * 2654435761u % 4294967296u, i);
        assert_true(has(out.set, TG_REVOKED_JTI, "https://issuer.example.com", jti, 1, NOW_S));
        jti[0] = jti[0] == 'g' ? 'h' : 'g';
        assert_false(has(out.set, TG_REVOKED_JTI, "https://issuer.example.com", jti, 1, NOW_S));
    }
    printf("# %zu look-ups in %lld ms\n", 2 * n, (long long)(tg_clock_mono_ms() - start_ms));
    tg_revoked_set_unref(out.set);
    tg_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whom_it_means),
        cmocka_unit_test(several_of_one),
        cmocka_unit_test(identities),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(grows),
        cmocka_unit_test(watched),
        cmocka_unit_test(behind_links),
        cmocka_unit_test(from_threads),
        cmocka_unit_test(a_million),
    };
    return cmocka_run_group_tests_name("auth/revoked", tests, make_folder, remove_folder);
}
