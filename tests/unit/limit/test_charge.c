/*
 * test_charge - what is told of several windows, and whose counter a request goes to.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/claims.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "limit/charge.h"

#define NOW_MS INT64_C(1767225600000)
#define NOW_S INT64_C(1767225600)

/* ---- the story ---- */

struct said {                                            /* of one window */
    uint32_t limit, remaining;
    bool full, shadow;
    int64_t reset_ms;                                    /* from now */
};

static void settle(struct tg_charge *c, const struct said *said, unsigned count, bool failed)
{
    static struct tg_window windows[TG_TIER_WINDOWS];
    static struct tg_tier tier;

    memset(c, 0xff, sizeof(*c));                         /* nothing is taken from what was there before */
    tier = (struct tg_tier){.windows = windows, .window_count = count};
    c->tier = &tier;
    c->failed = failed;
    c->count = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        windows[i] = (struct tg_window){.limit = said[i].limit, .shadow = said[i].shadow};
        c->windows[i] = (struct tg_charge_window){&windows[i], said[i].limit, said[i].remaining, said[i].full,
                                                  NOW_MS + said[i].reset_ms};
    }
    tg_charge_settle(c, NOW_MS);
}

static void what_is_told(void **state)
{
    static const struct {
        const char *why;
        struct said said[TG_TIER_WINDOWS];
        unsigned count;
        bool failed, admitted, shadow_full;
        uint8_t telling;
        uint32_t remaining;
        int64_t reset_s;                                 /* from now */
        uint32_t retry_s;
    } cases[] = {
        {"one window", {{10, 4, false, false, 30000}}, 1, false, true, false, 0, 4, 30, 30},
        {"rounded up", {{10, 4, false, false, 29001}}, 1, false, true, false, 0, 4, 30, 30},
        {"at least a second", {{10, 0, true, false, 100}}, 1, false, false, false, 0, 0, 1, 1},
        {"an end that is past", {{10, 0, true, false, -2500}}, 1, false, false, false, 0, 0, -2, 1},
        {"full", {{10, 0, true, false, 5500}}, 1, false, false, false, 0, 0, 6, 6},
        {"full in shadow mode", {{10, 0, true, true, 5500}}, 1, false, true, true, 0, 0, 6, 6},
        {"the fewest left", {{10, 4, false, false, 500}, {100, 3, false, false, 60000}, {1000, 9, false, false, 90000}},
         3, false, true, false, 1, 3, 60, 60},
        {"as few left: the one that ends last", {{10, 3, false, false, 500}, {100, 3, false, false, 60000}}, 2, false,
         true, false, 1, 3, 60, 60},
        {"of full ones the one that ends last",
         {{10, 0, true, false, 500}, {100, 0, true, false, 60000}, {1000, 0, false, false, 90000}}, 3, false, false,
         false, 1, 0, 60, 60},
        {"a full one before one with none left", {{10, 0, true, false, 500}, {100, 0, false, false, 60000}}, 2, false,
         false, false, 0, 0, 1, 1},
        {"refused: none remain, whatever that window says", {{10, 7, true, false, 500}}, 1, false, false, false, 0, 0,
         1, 1},
        {"a shadow has no say", {{10, 0, true, true, 500}, {100, 50, false, false, 60000}}, 2, false, true, true, 1, 50,
         60, 60},
        {"nor when the other is full", {{10, 5, true, false, 500}, {100, 0, true, true, 60000}}, 2, false, false, true,
         0, 0, 1, 1},
        {"shadows only: one of them", {{10, 2, false, true, 500}, {100, 0, true, true, 60000}}, 2, false, true, true, 1,
         0, 60, 60},
        {"the store is away: not for the whole window", {{10, 4, false, false, 30000}}, 1, true, false, false, 0, 0, 5,
         5},
        {"or for as long", {{10, 4, false, false, 1500}}, 1, true, false, false, 0, 0, 2, 2},
        {"or all of them", {{10, 4, false, false, 1500}, {100, 50, false, false, 60000}, {9, 8, false, true, 90000}}, 3,
         true, false, false, 1, 0, 5, 5},
        {"the store is away and nothing is known", {{0}}, 0, true, false, false, 0, 0, -NOW_S, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_charge c;

        settle(&c, cases[i].said, cases[i].count, cases[i].failed);
        if (c.admitted != cases[i].admitted || c.shadow_full != cases[i].shadow_full ||
            c.telling != cases[i].telling || c.remaining != cases[i].remaining ||
            c.limit != cases[i].said[cases[i].telling].limit || c.reset_s != NOW_S + cases[i].reset_s ||
            c.retry_after_s != cases[i].retry_s)
            fail_msg("%s: admitted %d, shadow %d, telling %u, remaining %u, reset %lld, retry %u", cases[i].why,
                     c.admitted, c.shadow_full, c.telling, c.remaining, (long long)(c.reset_s - NOW_S),
                     c.retry_after_s);
        assert_int_equal(c.at_ms, NOW_MS);
        for (unsigned k = 0; k < c.count; k++)
            assert_int_equal(c.windows[k].remaining,
                             c.failed && !c.windows[k].window->shadow ? 0 : cases[i].said[k].remaining);
    }
    assert_string_equal(tg_counter_name(TG_COUNTER_NONE), "none");
    assert_string_equal(tg_counter_name(TG_COUNTER_MEMORY), "memory");
    assert_string_equal(tg_counter_name(TG_COUNTER_REDIS), "redis");
    assert_string_equal(tg_counter_name(TG_COUNTER_LOCAL), "local");
}

/* ---- whose counter ---- */

static struct tg_claims *claims_of(const char *json)
{
    struct tg_err err = {0};
    cJSON *object = NULL;

    assert_int_equal(tg_json_parse(tg_slice_str(json), NULL, &object, &err), TG_OK);
    return tg_claims_new(object);
}

struct who {
    enum tg_limit_by by;
    const char *issuer, *subject, *claims, *ip, *route;
};

static void key_of(const struct who *who, struct tg_limit_key *key, struct tg_buf *text)
{
    struct tg_tier tier = {.by = who->by, .by_claim = TG_S("org"), .by_claim_hash = tg_hash_slice(TG_S("org"))};
    struct tg_limit_caller caller = {.issuer = tg_slice_str(who->issuer), .subject = tg_slice_str(who->subject),
                                     .route = tg_slice_str(who->route)};
    struct tg_claims *claims = who->claims ? claims_of(who->claims) : NULL;

    if (who->subject)
        caller.identity_key = tg_hash2(tg_hash_slice(caller.issuer), tg_hash_slice(caller.subject));
    if (who->ip)
        assert_true(tg_ip_parse(tg_slice_str(who->ip), &caller.ip));
    caller.claims = claims;
    tg_limit_key_of(&tier, &caller, key);
    tg_limit_key_text(&tier, &caller, text);
    tg_claims_free(claims);
}

#define IP "192.0.2.1"
static void who_shares_with_whom(void **state)
{
    static const struct { const char *why; struct who a, b; bool same; enum tg_limit_by by; } cases[] = {
        {"a subject, from anywhere", {TG_BY_SUBJECT, "i", "s", NULL, IP, "r"},
         {TG_BY_SUBJECT, "i", "s", "{\"org\":1}", "192.0.2.9", "x"}, true, TG_BY_SUBJECT},
        {"another subject", {TG_BY_SUBJECT, "i", "s", NULL, IP, "r"}, {TG_BY_SUBJECT, "i", "t", NULL, IP, "r"}, false,
         TG_BY_SUBJECT},
        {"another issuer's", {TG_BY_SUBJECT, "i", "s", NULL, IP, "r"}, {TG_BY_SUBJECT, "j", "s", NULL, IP, "r"}, false,
         TG_BY_SUBJECT},
        {"a name cut elsewhere", {TG_BY_SUBJECT, "ab", "c", NULL, IP, "r"}, {TG_BY_SUBJECT, "a", "bc", NULL, IP, "r"},
         false, TG_BY_SUBJECT},
        {"one organisation, two subjects", {TG_BY_CLAIM, "i", "s", "{\"org\":\"o\"}", IP, "r"},
         {TG_BY_CLAIM, "i", "t", "{\"org\":\"o\",\"x\":1}", "192.0.2.9", "x"}, true, TG_BY_CLAIM},
        {"a list of one is its element", {TG_BY_CLAIM, "i", "s", "{\"org\":\"o\"}", IP, "r"},
         {TG_BY_CLAIM, "i", "t", "{\"org\":[\"o\"]}", IP, "r"}, true, TG_BY_CLAIM},
        {"two organisations", {TG_BY_CLAIM, "i", "s", "{\"org\":\"o\"}", IP, "r"},
         {TG_BY_CLAIM, "i", "s", "{\"org\":\"p\"}", IP, "r"}, false, TG_BY_CLAIM},
        {"an organisation of that name elsewhere", {TG_BY_CLAIM, "i", "s", "{\"org\":\"o\"}", IP, "r"},
         {TG_BY_CLAIM, "j", "s", "{\"org\":\"o\"}", IP, "r"}, false, TG_BY_CLAIM},
        {"a number", {TG_BY_CLAIM, "i", "s", "{\"org\":7}", IP, "r"}, {TG_BY_CLAIM, "i", "t", "{\"org\":7}", IP, "r"},
         true, TG_BY_CLAIM},
        {"a number and its text", {TG_BY_CLAIM, "i", "s", "{\"org\":7}", IP, "r"},
         {TG_BY_CLAIM, "i", "s", "{\"org\":\"7\"}", IP, "r"}, false, TG_BY_CLAIM},
        {"true and its text", {TG_BY_CLAIM, "i", "s", "{\"org\":true}", IP, "r"},
         {TG_BY_CLAIM, "i", "s", "{\"org\":\"true\"}", IP, "r"}, false, TG_BY_CLAIM},
        {"no such claim: the subject", {TG_BY_CLAIM, "i", "s", "{\"x\":7}", IP, "r"},
         {TG_BY_CLAIM, "i", "s", NULL, "192.0.2.9", "r"}, true, TG_BY_SUBJECT},
        {"no such claim: not all as one", {TG_BY_CLAIM, "i", "s", "{\"x\":7}", IP, "r"},
         {TG_BY_CLAIM, "i", "t", "{\"x\":7}", IP, "r"}, false, TG_BY_SUBJECT},
        {"null is none", {TG_BY_CLAIM, "i", "s", "{\"org\":null}", IP, "r"}, {TG_BY_CLAIM, "i", "s", "{}", IP, "r"},
         true, TG_BY_SUBJECT},
        {"of a list of two none is it", {TG_BY_CLAIM, "i", "s", "{\"org\":[\"o\",\"p\"]}", IP, "r"},
         {TG_BY_CLAIM, "i", "s", "{}", IP, "r"}, true, TG_BY_SUBJECT},
        {"an object in a list", {TG_BY_CLAIM, "i", "s", "{\"org\":[{\"a\":1}]}", IP, "r"},
         {TG_BY_CLAIM, "i", "s", "{}", IP, "r"}, true, TG_BY_SUBJECT},
        {"nobody: the address", {TG_BY_SUBJECT, NULL, NULL, NULL, IP, "r"}, {TG_BY_CLAIM, NULL, NULL, NULL, IP, "x"},
         true, TG_BY_ADDRESS},
        {"one address, two subjects", {TG_BY_ADDRESS, "i", "s", NULL, IP, "r"},
         {TG_BY_ADDRESS, "i", "t", NULL, IP, "x"}, true, TG_BY_ADDRESS},
        {"two addresses", {TG_BY_ADDRESS, "i", "s", NULL, IP, "r"}, {TG_BY_ADDRESS, "i", "s", NULL, "192.0.2.2", "r"},
         false, TG_BY_ADDRESS},
        {"mapped is IPv4", {TG_BY_ADDRESS, NULL, NULL, NULL, IP, NULL},
         {TG_BY_ADDRESS, NULL, NULL, NULL, "::ffff:192.0.2.1", NULL}, true, TG_BY_ADDRESS},
        {"IPv6 counts by /64", {TG_BY_ADDRESS, NULL, NULL, NULL, "2001:db8::1", NULL},
         {TG_BY_ADDRESS, NULL, NULL, NULL, "2001:db8::ffff:1:2", NULL}, true, TG_BY_ADDRESS},
        {"another /64", {TG_BY_ADDRESS, NULL, NULL, NULL, "2001:db8::1", NULL},
         {TG_BY_ADDRESS, NULL, NULL, NULL, "2001:db8:0:1::1", NULL}, false, TG_BY_ADDRESS},
        {"IPv6 is not the IPv4 of its octets", {TG_BY_ADDRESS, NULL, NULL, NULL, IP, NULL},
         {TG_BY_ADDRESS, NULL, NULL, NULL, "c000:201::", NULL}, false, TG_BY_ADDRESS},
        {"no address: one for all of them", {TG_BY_ADDRESS, NULL, NULL, NULL, NULL, "r"},
         {TG_BY_ADDRESS, NULL, NULL, NULL, NULL, "x"}, true, TG_BY_ADDRESS},
        {"a route as a whole", {TG_BY_ROUTE, "i", "s", NULL, IP, "r"}, {TG_BY_ROUTE, NULL, NULL, NULL, NULL, "r"}, true,
         TG_BY_ROUTE},
        {"another route", {TG_BY_ROUTE, "i", "s", NULL, IP, "r"}, {TG_BY_ROUTE, "i", "s", NULL, IP, "x"}, false,
         TG_BY_ROUTE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_limit_key a, b;
        struct tg_buf a_text = {0}, b_text = {0};

        key_of(&cases[i].a, &a, &a_text);
        key_of(&cases[i].b, &b, &b_text);
        if ((a.hash == b.hash) != cases[i].same)
            fail_msg("%s: by hash", cases[i].why);
        if (tg_slice_eq(tg_buf_slice(&a_text), tg_buf_slice(&b_text)) != cases[i].same)
            fail_msg("%s: by text", cases[i].why);
        if (a.by != cases[i].by)
            fail_msg("%s: counted by %s", cases[i].why, tg_limit_by_name(a.by));
        assert_true(a.hash != 0);
        tg_buf_fini(&a_text);
        tg_buf_fini(&b_text);
    }
}

/* No two kinds are ever spelled alike, whatever names a caller may choose. */
static void kinds_never_meet(void **state)
{
    static const struct who who[] = {
        {TG_BY_SUBJECT, "x", "x", NULL, IP, "x"}, {TG_BY_CLAIM, "x", "x", "{\"org\":\"x\"}", IP, "x"},
        {TG_BY_ADDRESS, "x", "x", NULL, IP, "x"}, {TG_BY_ROUTE, "x", "x", NULL, IP, "x"},
        {TG_BY_ROUTE, "x", "x", NULL, IP, "\x04\xc0"}, {TG_BY_SUBJECT, "org", "x", NULL, IP, "x"},
    };
    struct tg_limit_key keys[ARRAY_LEN(who)];
    struct tg_buf texts[ARRAY_LEN(who)] = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(who); i++) {
        key_of(&who[i], &keys[i], &texts[i]);
        for (size_t j = 0; j < i; j++) {
            assert_true(keys[i].hash != keys[j].hash);
            assert_false(tg_slice_eq(tg_buf_slice(&texts[i]), tg_buf_slice(&texts[j])));
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(who); i++)
        tg_buf_fini(&texts[i]);
}

/* Octet for octet: another release of tollgate beside this one counts in the same place. */
static void text_stays(void **state)
{
    static const struct { struct who who; const char *text; size_t len; } cases[] = {
#define TEXT(s) s, sizeof(s) - 1
        {{TG_BY_SUBJECT, "i", "s", NULL, IP, "r"}, TEXT("\0\0\0\7subject\0\0\0\1i\0\0\0\1s")},
        {{TG_BY_CLAIM, "i", "s", "{\"org\":\"o\"}", IP, "r"}, TEXT("\0\0\0\5claim\0\0\0\3org\0\0\0\1i\0\0\0\3\"o\"")},
        {{TG_BY_CLAIM, "i", "s", "{\"org\":7}", IP, "r"}, TEXT("\0\0\0\5claim\0\0\0\3org\0\0\0\1i\0\0\0\1" "7")},
        {{TG_BY_ADDRESS, NULL, NULL, NULL, IP, NULL}, TEXT("\0\0\0\7address\0\0\0\5\4\300\0\2\1")},
        {{TG_BY_ADDRESS, NULL, NULL, NULL, "2001:db8::1", NULL},
         TEXT("\0\0\0\7address\0\0\0\11\6\x20\1\x0d\xb8\0\0\0\0")},
        {{TG_BY_ADDRESS, NULL, NULL, NULL, NULL, NULL}, TEXT("\0\0\0\7address\0\0\0\1\0")},
        {{TG_BY_ROUTE, NULL, NULL, NULL, NULL, "api"}, TEXT("\0\0\0\5route\0\0\0\3api")},
#undef TEXT
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_limit_key key;
        struct tg_buf text = {0};

        key_of(&cases[i].who, &key, &text);
        if (!tg_slice_eq(tg_buf_slice(&text), tg_slice(cases[i].text, cases[i].len)))
            fail_msg("case %zu: %zu octets for %zu", i, text.len, cases[i].len);
        tg_buf_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_told),
        cmocka_unit_test(who_shares_with_whom),
        cmocka_unit_test(kinds_never_meet),
        cmocka_unit_test(text_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
