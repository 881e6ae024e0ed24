/*
 * worker - what is posted runs once, in order, on its thread, also when the end is near; deferred calls wait their
 * turn.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "io/worker.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define POSTERS 4
#define POSTS 5000

static const struct tg_worker_hooks no_hooks;

static struct tg_worker *start(const struct tg_worker_hooks *hooks)
{
    struct tg_worker *w = NULL;

    assert_int_equal(tg_worker_start(3, "test", hooks, &w, NULL), TG_OK);
    assert_int_equal(w->index, 3);
    return w;
}

/* ---- posting ---- */

struct poster {
    struct tg_worker *w;
    unsigned next;                                       /* the worker's alone */
    bool mixed;
};
struct numbered {
    struct poster *from;
    unsigned number;
};

static void take_number(struct tg_worker *w, void *arg)
{
    struct numbered *n = arg;

    if (n->from->next++ != n->number || tg_worker_self() != w)
        n->from->mixed = true;
    free(n);
}

static void *post_many(void *arg)
{
    struct poster *p = arg;

    for (unsigned i = 0; i < POSTS; i++) {
        struct numbered *n = TG_NEW(struct numbered);

        n->from = p;
        n->number = i;
        tg_worker_post(p->w, take_number, n);
    }
    return NULL;
}

static void nothing(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
}

static void posted_in_order(void **state)
{
    (void)state;
    struct tg_worker *w = start(&no_hooks);
    struct poster posters[POSTERS] = {{w, 0, false}, {w, 0, false}, {w, 0, false}, {w, 0, false}};
    pthread_t threads[POSTERS];

    for (int i = 0; i < POSTERS; i++)
        pthread_create(&threads[i], NULL, post_many, &posters[i]);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    tg_worker_call(w, nothing, NULL);                    /* behind all of them */
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(posters[i].next, POSTS);
        assert_false(posters[i].mixed);
    }
    tg_worker_stop(w);
    tg_worker_stop(NULL);
}

static void count_up(struct tg_worker *w, void *arg)
{
    (void)w;
    ++*(unsigned *)arg;
}

static void *call_many(void *arg)
{
    struct poster *p = arg;
    unsigned mine = 0;

    for (unsigned i = 1; i <= 500; i++) {
        tg_worker_call(p->w, count_up, &mine);
        p->mixed |= mine != i;                           /* it has run when call returns, and only once */
    }
    return NULL;
}

static void called_and_waited_for(void **state)
{
    (void)state;
    struct tg_worker *w = start(&no_hooks);
    struct poster posters[POSTERS] = {{w, 0, false}, {w, 0, false}, {w, 0, false}, {w, 0, false}};
    pthread_t threads[POSTERS];

    assert_null(tg_worker_self());
    for (int i = 0; i < POSTERS; i++)
        pthread_create(&threads[i], NULL, call_many, &posters[i]);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(posters[i].mixed);
    }
    tg_worker_stop(w);
}

/* A job that posts goes on later, behind what was posted meanwhile, and the loop wakes up for it. */
static void post_again(struct tg_worker *w, void *arg)
{
    if (atomic_fetch_add((atomic_uint *)arg, 1) < 99)
        tg_worker_post(w, post_again, arg);
}

static void posted_by_jobs(void **state)
{
    (void)state;
    struct tg_worker *w = start(&no_hooks);
    atomic_uint count = 0;

    tg_worker_post(w, post_again, &count);
    for (int i = 0; i < 5000 && atomic_load(&count) < 100; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&count), 100);
    tg_worker_stop(w);
}

/* ---- the end ---- */

static void sleep_a_little(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    usleep(20000);
}

static void stopped_with_jobs_waiting(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct tg_worker *w = start(&no_hooks);
        unsigned ran = 0;

        if (round % 2)
            tg_worker_post(w, sleep_a_little, NULL);
        for (int i = 0; i < 200; i++)
            tg_worker_post(w, count_up, &ran);
        tg_worker_stop(w);
        assert_int_equal(ran, 200);
    }
}

static enum tg_status note_init(struct tg_worker *w, void *arg, struct tg_err *err)
{
    (void)err;
    ((char *)arg)[0] = tg_worker_self() == w ? 'i' : '?';
    tg_worker_post(w, nothing, NULL);                    /* already possible */
    return TG_OK;
}

static void note_fini(struct tg_worker *w, void *arg)
{
    ((char *)arg)[1] = tg_worker_self() == w ? 'f' : '?';
    tg_worker_post(w, nothing, NULL);                    /* too late to run, but not lost memory */
}

static enum tg_status refuse_init(struct tg_worker *w, void *arg, struct tg_err *err)
{
    (void)w;
    (void)arg;
    return tg_fail(err, TG_DENIED, "not today");
}

static void hooks_run_on_the_thread(void **state)
{
    (void)state;
    char notes[3] = "--";
    struct tg_worker_hooks hooks = {note_init, note_fini, notes};
    struct tg_worker *w = start(&hooks);
    struct tg_err err;

    assert_string_equal(notes, "i-");
    tg_worker_stop(w);
    assert_string_equal(notes, "if");

    w = NULL;
    hooks.init = refuse_init;
    notes[1] = '-';
    assert_int_equal(tg_worker_start(0, "a name that is too long", &hooks, &w, &err), TG_DENIED);
    assert_string_equal(err.text, "not today");
    assert_null(w);
    assert_int_equal(notes[1], '-');                     /* no fini without an init */
}

/* ---- deferred calls ---- */

static struct tg_worker *deferring;
static char order[64];
static bool inside;

struct letter {
    struct tg_deferred d;
    char name;
    unsigned again;
    struct letter *drop, *add;
};

static void run_letter(struct tg_deferred *d)
{
    struct letter *l = (struct letter *)(void *)d;
    size_t n = strlen(order);

    if (n < sizeof(order) - 1)
        order[n] = inside ? '!' : l->name;
    if (l->drop)
        tg_worker_undefer(deferring, &l->drop->d);
    if (l->add)
        tg_worker_defer(deferring, &l->add->d);
    if (l->again) {
        l->again--;
        tg_worker_defer(deferring, d);
    }
}

static struct letter letters[4];

static void reset_letters(void)
{
    memset(order, 0, sizeof(order));
    memset(letters, 0, sizeof(letters));
    for (int i = 0; i < 4; i++)
        letters[i] = (struct letter){.d.run = run_letter, .name = (char)('a' + i)};
}

/* "+a" defers, "-a" takes back; then how each letter behaves was set before. */
static void follow(struct tg_worker *w, void *arg)
{
    deferring = w;
    inside = true;
    for (const char *p = arg; *p; p += 2) {
        struct tg_deferred *d = &letters[p[1] - 'a'].d;

        if (*p == '+')
            tg_worker_defer(w, d);
        else
            tg_worker_undefer(w, d);
    }
    inside = false;
}

static void script(struct tg_worker *w, const char *text)
{
    tg_worker_call(w, follow, (void *)(uintptr_t)text);
    for (int turn = 0; turn < 5; turn++)
        tg_worker_call(w, nothing, NULL);
}

static void deferred_in_order(void **state)
{
    (void)state;
    struct tg_worker *w = start(&no_hooks);
    static const struct { const char *why, *script, *want; } cases[] = {
        {"as set", "+a+b+c", "abc"},
        {"twice is once", "+a+b+a+b", "ab"},
        {"the first taken back", "+a+b+c-a", "bc"},
        {"the middle taken back", "+a+b+c-b", "ac"},
        {"the last taken back, and more behind", "+a+b+c-c+d", "abd"},
        {"all taken back, then one", "+a+b-a-b+c", "c"},
        {"all taken back", "+a+b-b-a", ""},
        {"never set", "-a+b", "b"},
        {"taken back and set again goes last", "+a+b-a+a", "ba"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        reset_letters();
        script(w, cases[i].script);
        if (strcmp(order, cases[i].want) != 0)
            fail_msg("%s: \"%s\" ran \"%s\"", cases[i].why, cases[i].script, order);
    }

    reset_letters();
    letters[0].again = 2;                                /* each time behind the others */
    script(w, "+a+b");
    assert_string_equal(order, "abaa");

    reset_letters();
    letters[0].drop = &letters[1];                       /* one takes another back and sets a third */
    letters[0].add = &letters[2];
    script(w, "+a+b");
    assert_string_equal(order, "ac");
    tg_worker_stop(w);
}

static unsigned spins;
static bool stop_spinning;

static void spin(struct tg_deferred *d)
{
    tg_worker_undefer(deferring, &letters[1].d);
    if (!stop_spinning && ++spins < 200000)
        tg_worker_defer(deferring, d);
}

static void stop_spin(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    stop_spinning = true;
}

/* One that sets itself again and again leaves the loop its turns, also when it took back the last of the turn. */
static void deferring_starves_nobody(void **state)
{
    (void)state;
    struct tg_worker *w = start(&no_hooks);

    reset_letters();
    letters[0].d.run = spin;
    script(w, "+a+b");
    tg_worker_call(w, stop_spin, NULL);
    assert_true(spins < 200000);
    tg_worker_stop(w);                                   /* what is still deferred is dropped */
}

/* ---- deadlines of the loop ---- */

struct timed {
    struct tg_deadline d;
    int64_t set_ms, rang_ms;
};
static struct timed timed[8];

static void note_time(struct tg_deadline *d)
{
    ((struct timed *)(void *)d)->rang_ms = tg_clock_mono_ms();
}

static void set_timed(struct tg_worker *w, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(timed); i++) {
        timed[i] = (struct timed){.d.expired = note_time, .set_ms = w->now_ms};
        tg_deadline_set(&w->wheel, &timed[i].d, w->now_ms + 20 * (int64_t)i);
    }
}

static void deadlines_in_real_time(void **state)
{
    (void)state;
    struct tg_worker *w = start(&no_hooks);

    for (int round = 0; round < 2; round++) {            /* the second after the tick has stopped */
        tg_worker_call(w, set_timed, NULL);
        usleep(450000);
        tg_worker_call(w, nothing, NULL);
        for (size_t i = 0; i < ARRAY_LEN(timed); i++) {
            int64_t took_ms = timed[i].rang_ms - timed[i].set_ms;

            if (timed[i].rang_ms == 0 || took_ms < 20 * (int64_t)i)
                fail_msg("%zu: rang after %jd ms", i, (intmax_t)took_ms);
        }
        usleep(150000);
    }
    tg_worker_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posted_in_order),           cmocka_unit_test(called_and_waited_for),
        cmocka_unit_test(posted_by_jobs),            cmocka_unit_test(stopped_with_jobs_waiting),
        cmocka_unit_test(hooks_run_on_the_thread),   cmocka_unit_test(deferred_in_order),
        cmocka_unit_test(deferring_starves_nobody),  cmocka_unit_test(deadlines_in_real_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
