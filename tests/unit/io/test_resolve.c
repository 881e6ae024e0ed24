/*
 * resolve - literals and the hosts file answer, unknown names fail, a cancelled asker is never called.
 *
 * Only names that need no server are used (RFC 6761: localhost, invalid), so that the tests run anywhere.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "io/resolve.h"
#include <stdio.h>
#include <unistd.h>

static struct tg_worker *worker;
static struct tg_resolver *resolver;

struct asked {
    const char *host;
    enum tg_status st;                                   /* of tg_resolve itself */
    bool inside;                                         /* tg_resolve is on the stack */
    unsigned called, called_inside;
    size_t count;
    struct tg_ip ips[16];
    struct tg_resolve_query *query;
};

static void keep_answer(struct asked *a, const struct tg_ip *ips, size_t count)
{
    a->count = count;
    for (size_t i = 0; i < count && i < ARRAY_LEN(a->ips); i++)
        a->ips[i] = ips[i];
}

static void done(void *arg, const struct tg_ip *ips, size_t count)
{
    struct asked *a = arg;

    a->called++;
    a->called_inside += a->inside;
    a->query = NULL;
    keep_answer(a, ips, count);
}

static void ask(struct tg_worker *w, void *arg)
{
    struct asked *a = arg;
    const struct tg_ip *ips = NULL;
    size_t count = 0;

    (void)w;
    a->inside = true;
    a->st = tg_resolve(resolver, tg_slice_str(a->host), done, a, &ips, &count, &a->query);
    a->inside = false;
    if (a->st == TG_OK)
        keep_answer(a, ips, count);
}

static void cancel(struct tg_worker *w, void *arg)
{
    struct asked *a = arg;

    (void)w;
    if (a->query)
        tg_resolve_cancel(a->query);
    a->query = NULL;
}

static void copy(struct tg_worker *w, void *arg)
{
    struct asked **pair = arg;

    (void)w;
    *pair[1] = *pair[0];
}

/* Waits for the answer; servers that do not answer are given up by then. */
static struct asked answer_of(struct asked *a)
{
    struct asked now;
    struct asked *pair[2] = {a, &now};

    for (int i = 0; i < 3000; i++) {
        tg_worker_call(worker, copy, pair);
        if (now.st == TG_OK || now.called > 0)
            break;
        usleep(10000);
    }
    return now;
}

static void literals(void **state)
{
    (void)state;
    static const char *const texts[] = {"127.0.0.1", "192.0.2.7", "::1", "2001:db8::5", "255.255.255.255"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct asked a = {.host = texts[i]};
        struct tg_ip want;

        tg_worker_call(worker, ask, &a);
        assert_int_equal(a.st, TG_OK);                   /* known now: no call later */
        assert_int_equal(a.called, 0);
        assert_int_equal(a.count, 1);
        assert_true(tg_ip_parse(tg_slice_str(texts[i]), &want));
        assert_true(tg_ip_eq(&a.ips[0], &want));
    }
}

static void localhost(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {            /* known without asking, also where there is no hosts file */
        struct asked a = {.host = "localhost"};

        tg_worker_call(worker, ask, &a);
        struct asked got = answer_of(&a);
        assert_true(got.count > 0);
        for (size_t i = 0; i < got.count; i++)
            assert_true(tg_ip_is_loopback(&got.ips[i]));
        assert_int_equal(got.called_inside, 0);
        if (again)
            assert_int_equal(got.st, TG_OK);
    }
}

static void names_that_cannot_be(void **state)
{
    (void)state;
    static const char *const names[] = {
        "no-such-name.invalid", "..", "a..invalid", "-", "with space.invalid", "1.2.3.4.5.invalid",
        "0123456789012345678901234567890123456789012345678901234567890123456789.invalid", /* a label over 63 */
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct asked a = {.host = names[i]};

        tg_worker_call(worker, ask, &a);
        struct asked got = answer_of(&a);
        if (got.count != 0 || got.called_inside || (got.st != TG_OK && got.called != 1))
            fail_msg("%s: status %d, %zu addresses, called %u", names[i], got.st, got.count, got.called);
    }
}

/* In one job, so that no answer comes between: three askers of one query, the middle one goes away. */
static void ask_three(struct tg_worker *w, void *arg)
{
    struct asked *three = arg;

    for (int i = 0; i < 3; i++)
        ask(w, &three[i]);
    cancel(w, &three[1]);
}

static void ask_and_cancel(struct tg_worker *w, void *arg)
{
    ask(w, arg);
    cancel(w, arg);
}

static void cancelled_is_silent(void **state)
{
    (void)state;
    struct asked three[3] = {{.host = "shared.invalid"}, {.host = "shared.invalid"}, {.host = "shared.invalid"}};

    tg_worker_call(worker, ask_three, three);
    for (int i = 0; i < 3; i += 2) {
        struct asked got = answer_of(&three[i]);

        assert_true(got.st == TG_OK || got.called == 1);
    }
    struct asked silent;
    tg_worker_call(worker, copy, (struct asked *[2]){&three[1], &silent});
    assert_int_equal(silent.called, 0);

    /* All gone: the answer comes to nobody. */
    struct asked lone = {.host = "lone.invalid"};
    tg_worker_call(worker, ask_and_cancel, &lone);
    usleep(50000);
    tg_worker_call(worker, copy, (struct asked *[2]){&lone, &silent});
    assert_int_equal(silent.called, 0);
}

static enum tg_status init(struct tg_worker *w, void *arg, struct tg_err *err)
{
    (void)arg;
    return tg_resolver_new(w, &resolver, err);
}

static void fini(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_resolver_free(resolver);
    tg_resolver_free(NULL);
}

static int setup(void **state)
{
    struct tg_worker_hooks hooks = {init, fini, NULL};

    (void)state;
    return tg_worker_start(0, "resolve", &hooks, &worker, NULL) != TG_OK;
}

static int teardown(void **state)
{
    static struct asked pending = {.host = "pending.invalid"};

    (void)state;
    tg_worker_post(worker, ask, &pending);               /* freed while a query is under way, most likely */
    tg_worker_stop(worker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals),
        cmocka_unit_test(localhost),
        cmocka_unit_test(names_that_cannot_be),
        cmocka_unit_test(cancelled_is_silent),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
