/*
 * pat - the form of a token, the store and what it refuses, and the process: known at once, revoked at once, on every
 * worker, whatever happens to the files.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/auth/pat_internal.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "io/db.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOW_S INT64_C(1800000000)
#define NOW_MS (NOW_S * 1000)
#define WORKERS 3
#define PATIENCE_MS 20000

static char folder[] = "/tmp/tg-pat-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    tg_log_set_level(TG_LOG_OFF);
    return mkdtemp(folder) ? 0 : -1;
}

static char *in_folder(const char *name)
{
    static char path[2][80];
    static unsigned turn;
    char *here = path[turn++ % 2];

    snprintf(here, sizeof path[0], "%s/%s", folder, name);
    return here;
}

static int remove_files(void **state)
{
    static const char *const names[] = {"tollgate.db", "tollgate.db-wal", "tollgate.db-shm", "generation", "aside",
                                        "aside-wal"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(in_folder(names[i]));
    return 0;
}

static int drop_folder(void **state)
{
    remove_files(state);
    return rmdir(folder);
}

/* ---- the store ---- */

static struct tg_pat_store *open_store(void)
{
    struct tg_pat_store *store = NULL;
    struct tg_err err;

    if (tg_pat_store_open(folder, &store, &err) != TG_OK)
        fail_msg("%s", err.text);
    return store;
}

struct made {
    uint8_t digest[TG_SHA256_LEN];
    char id[TG_PAT_ID];
    char token[TG_PAT_LEN + 1];
};

static enum tg_status create(struct tg_pat_store *store, const char *name, const char *claims, int64_t expires_s,
                             struct made *out, struct tg_err *err)
{
    struct tg_pat_order order = {.name = tg_slice_str(name), .now_s = NOW_S, .expires_s = expires_s};
    struct tg_buf token = {0};
    cJSON *node = NULL;
    enum tg_status st;

    if (claims)
        assert_int_equal(tg_json_parse(tg_slice_str(claims), NULL, &node, NULL), TG_OK);
    order.claims = node;
    st = tg_pat_create(store, &order, &token, out->id, err);
    cJSON_Delete(node);
    if (st == TG_OK) {
        assert_int_equal(token.len, TG_PAT_LEN);
        tg_sha256(tg_buf_slice(&token), out->digest);
        memcpy(out->token, tg_buf_cstr(&token), sizeof out->token);
    }
    tg_buf_fini(&token);
    return st;
}

static struct made made_of(struct tg_pat_store *store, const char *name, const char *claims, int64_t expires_s)
{
    struct made made;
    struct tg_err err;

    if (create(store, name, claims, expires_s, &made, &err) != TG_OK)
        fail_msg("%s", err.text);
    return made;
}

static void revoke_it(struct tg_pat_store *store, const char *id)
{
    struct tg_err err;
    bool already;

    if (tg_pat_revoke(store, tg_slice_str(id), NOW_S, NULL, &already, &err) != TG_OK)
        fail_msg("%s", err.text);
}

/* ---- the form ---- */

static void form(void **state)
{
    static const char good[] = "tgp_2NeZXovBG1SNyUeUol5NbnmYGLxhhk-aRB9e1mZ4yes0yCeyL";
    struct tg_buf one = {0}, other = {0};
    char changed[sizeof good];

    (void)state;
    assert_true(tg_pat_is_wellformed(tg_slice_str(good)));
    assert_true(tg_pat_has_prefix(TG_S("tgp_")));
    assert_false(tg_pat_has_prefix(TG_S("tgp")));
    assert_false(tg_pat_is_wellformed(TG_S("")));
    for (size_t len = 0; len < sizeof good - 1; len++)
        assert_false(tg_pat_is_wellformed(tg_slice(good, len)));
    for (size_t i = 0; i < sizeof good - 1; i++)         /* one wrong character, whatever and wherever it is */
        for (int c = 0; c < 256; c++) {
            memcpy(changed, good, sizeof good);
            changed[i] = (char)c;
            assert_int_equal(tg_pat_is_wellformed(tg_slice(changed, sizeof good - 1)), (char)c == good[i]);
        }
    for (size_t i = 4; i + 2 < sizeof good; i++) {       /* two that changed places */
        memcpy(changed, good, sizeof good);
        changed[i] = good[i + 1];
        changed[i + 1] = good[i];
        assert_int_equal(tg_pat_is_wellformed(tg_slice_str(changed)), good[i] == good[i + 1]);
    }
    for (int i = 0; i < 200; i++) {
        one.len = other.len = 0;
        tg_pat_make(&one);
        tg_pat_make(&other);
        assert_true(tg_pat_is_wellformed(tg_buf_slice(&one)));
        assert_false(tg_slice_eq(tg_buf_slice(&one), tg_buf_slice(&other)));
    }
    tg_buf_fini(&one);
    tg_buf_fini(&other);
}

/* ---- what the store refuses ---- */

static void orders_that_are_none(void **state)
{
    static const struct {
        const char *why, *name, *claims, *words;
    } cases[] = {
        {"no name", "", NULL, "the name of a token"},
        {"white space around", " a", NULL, "the name of a token"},
        {"a control character", "a\nb", NULL, "the name of a token"},
        {"no UTF-8", "a\xff", NULL, "the name of a token"},
        {"tollgate's own", "a", "{\"iss\":\"x\"}", "the claim iss is tollgate's to say"},
        {"tollgate's own", "a", "{\"cnf\":{}}", "the claim cnf is tollgate's to say"},
        {"no subject", "a", "{\"sub\":\"\"}", "the claim sub"},
        {"a subject is a text", "a", "{\"sub\":1}", "the claim sub"},
    };
    static const char *const own[] = {"iss", "aud", "exp", "iat", "nbf", "jti", "cnf"};
    struct tg_pat_store *store = open_store();
    char long_name[TG_PAT_NAME_MAX + 2], *large = tg_alloc(TG_PAT_CLAIMS_MAX + 100);
    struct made made;
    struct tg_err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (create(store, cases[i].name, cases[i].claims, INT64_MAX, &made, &err) != TG_BAD_INPUT ||
            !strstr(err.text, cases[i].words))
            fail_msg("%s: %s", cases[i].why, err.text);
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        assert_true(tg_pat_is_reserved_claim(tg_slice_str(own[i])));
    assert_false(tg_pat_is_reserved_claim(TG_S("sub")));
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(create(store, long_name, NULL, INT64_MAX, &made, &err), TG_BAD_INPUT);
    long_name[TG_PAT_NAME_MAX] = '\0';
    made_of(store, long_name, NULL, INT64_MAX);
    memset(large, 'x', TG_PAT_CLAIMS_MAX + 99);
    memcpy(large, "{\"a\":\"", 6);
    memcpy(large + TG_PAT_CLAIMS_MAX + 90, "\"}", 3);
    assert_int_equal(create(store, "large", large, INT64_MAX, &made, &err), TG_BAD_INPUT);
    free(large);
    tg_pat_store_close(store);
    tg_pat_store_close(NULL);
}

struct listed {
    size_t count, revoked;
    char text[600];
};

static void note_row(void *arg, const struct tg_pat_row *row)
{
    struct listed *l = arg;

    l->count++;
    l->revoked += row->revoked_s >= 0;
    snprintf(l->text, sizeof l->text, TG_S_FMT "|" TG_S_FMT "|" TG_S_FMT "|%lld|%lld|%lld", TG_S_ARG(row->name),
             TG_S_ARG(row->sub), TG_S_ARG(row->claims), (long long)(row->created_s - NOW_S),
             (long long)(row->expires_s == INT64_MAX ? -1 : row->expires_s - NOW_S),
             (long long)(row->used_s < 0 ? -1 : row->used_s - NOW_S));
}

static struct listed list_of(struct tg_pat_store *store)
{
    struct listed l = {0};

    assert_int_equal(tg_pat_list(store, note_row, &l, NULL), TG_OK);
    return l;
}

static void names_of_live_ones_differ(void **state)
{
    struct tg_pat_store *store = open_store();
    struct made one = made_of(store, "deploy", "{\"sub\":\"ci\",\"email\":\"ci@example.com\"}", NOW_S + 60), other;
    struct tg_buf name = {0};
    struct tg_err err;
    bool already;

    (void)state;
    assert_string_equal(list_of(store).text, "deploy|ci|{\"email\":\"ci@example.com\"}|0|60|-1");
    assert_int_equal(create(store, "deploy", NULL, INT64_MAX, &other, &err), TG_LIMIT);
    assert_non_null(strstr(err.text, one.id));
    assert_int_equal(tg_pat_revoke(store, tg_slice_str(one.id), NOW_S, &name, &already, &err), TG_OK);
    assert_false(already);
    assert_string_equal(tg_buf_cstr(&name), "deploy");
    assert_int_equal(tg_pat_revoke(store, tg_slice_str(one.id), NOW_S, &name, &already, &err), TG_OK);
    assert_true(already);
    other = made_of(store, "deploy", NULL, NOW_S);       /* expired from the beginning */
    made_of(store, "deploy", NULL, INT64_MAX);
    assert_int_equal(list_of(store).count, 3);
    assert_int_equal(list_of(store).revoked, 1);
    assert_int_equal(tg_pat_revoke(store, TG_S("nobody"), NOW_S, NULL, &already, &err), TG_NOT_FOUND);
    assert_string_equal(err.text, "there is no token with the id \"nobody\"");
    tg_buf_fini(&name);
    tg_pat_store_close(store);
}

static void what_is_over_is_kept_for_a_while(void **state)
{
    struct tg_pat_store *store = open_store();
    struct made one = made_of(store, "a", NULL, INT64_MAX);
    struct tg_pat_order later = {.name = TG_S("d"), .now_s = NOW_S + TG_PAT_KEPT_S, .expires_s = INT64_MAX};
    struct tg_buf token = {0};
    char id[TG_PAT_ID];

    (void)state;
    made_of(store, "b", NULL, NOW_S + 1);
    made_of(store, "c", NULL, INT64_MAX);
    revoke_it(store, one.id);
    assert_int_equal(tg_pat_create(store, &later, &token, id, NULL), TG_OK);
    assert_int_equal(list_of(store).count, 4);
    later.name = TG_S("e");
    later.now_s += 10;
    token.len = 0;
    assert_int_equal(tg_pat_create(store, &later, &token, id, NULL), TG_OK);
    assert_int_equal(list_of(store).count, 3);
    tg_buf_fini(&token);
    tg_pat_store_close(store);
}

static void the_secret_is_nowhere(void **state)
{
    static const char *const names[] = {"tollgate.db", "tollgate.db-wal", "generation"};
    struct tg_pat_store *store = open_store();
    struct made one = made_of(store, "a", NULL, INT64_MAX);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *bytes = tg_alloc(1 << 20);
        int fd = open(in_folder(names[i]), O_RDONLY);
        ssize_t n = read(fd, bytes, 1 << 20);

        assert_true(n >= 0);
        assert_null(memmem(bytes, (size_t)n, one.token + 4, 20));
        assert_null(memmem(bytes, (size_t)n, "tgp_", 4));
        close(fd);
        free(bytes);
    }
    tg_pat_store_close(store);
}

static void folders_that_are_none(void **state)
{
    struct tg_pat_store *store = NULL;
    struct tg_pats *pats = NULL;
    struct tg_err err;

    (void)state;
    assert_int_equal(tg_pat_store_open("/tmp/tg-no-such-folder", &store, &err), TG_DENIED);
    assert_string_equal(err.text, "state_dir /tmp/tg-no-such-folder: there is no such folder; it holds the personal "
                        "access tokens");
    assert_int_equal(tg_pats_new("/tmp/tg-no-such-folder", &pats, &err), TG_DENIED);
    assert_int_equal(tg_pat_store_open("/dev/null", &store, &err), TG_DENIED);
    close(open(in_folder("tollgate.db"), O_CREAT | O_WRONLY, 0600));
    assert_int_equal(truncate(in_folder("tollgate.db"), 5000), 0);
    assert_int_equal(tg_pats_new(folder, &pats, &err), TG_BAD_INPUT);
    assert_non_null(strstr(err.text, "tollgate.db: the database is damaged"));
    assert_null(store);
    assert_null(pats);
}

/* ---- the process ---- */

static struct tg_pats *start(void)
{
    struct tg_pats *pats = NULL;
    struct tg_err err;

    if (tg_pats_new(folder, &pats, &err) != TG_OK)
        fail_msg("%s", err.text);
    return pats;
}

static struct tg_worker *start_worker(unsigned i)
{
    static const struct tg_worker_hooks none;
    struct tg_worker *w = NULL;

    assert_int_equal(tg_worker_start(i, "test", &none, &w, NULL), TG_OK);
    return w;
}

/* A question asked on a worker until it is answered with more than "wait". */
struct question {
    struct tg_pat_view *view;
    const uint8_t *digest;
    int64_t now_ms;
    enum tg_pat_state state;
    struct tg_buf claims;
    unsigned waits;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;
};

static void ask(struct tg_worker *w, void *arg)
{
    struct question *q = arg;
    struct tg_pat_known known;
    enum tg_pat_state state = tg_pat_view_look(q->view, q->digest, q->now_ms, &known);

    if (state == TG_PAT_STALE) {
        q->waits++;
        tg_pat_view_wait(q->view, ask, q);
        return;
    }
    (void)w;
    if (state == TG_PAT_KNOWN)
        tg_buf_add_slice(&q->claims, known.claims);
    pthread_mutex_lock(&q->lock);
    q->state = state;
    q->done = true;
    pthread_cond_signal(&q->answered);
    pthread_mutex_unlock(&q->lock);
}

static void ask_at(struct tg_worker *w, struct question *q, struct tg_pat_view *view, const struct made *m,
                   int64_t now_ms)
{
    *q = (struct question){.view = view, .digest = m->digest, .now_ms = now_ms};
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->answered, NULL);
    tg_worker_post(w, ask, q);
    pthread_mutex_lock(&q->lock);
    while (!q->done)
        pthread_cond_wait(&q->answered, &q->lock);
    pthread_mutex_unlock(&q->lock);
    pthread_cond_destroy(&q->answered);
    pthread_mutex_destroy(&q->lock);
}

struct bench {
    struct tg_pats *pats;
    struct tg_worker *workers[WORKERS];
    struct tg_pat_view *views[WORKERS];
};

static void up(struct bench *b)
{
    b->pats = start();
    for (unsigned i = 0; i < WORKERS; i++) {
        b->workers[i] = start_worker(i + 1);
        b->views[i] = tg_pat_view_new(b->pats, b->workers[i]);
    }
}

static void down(struct bench *b)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        tg_worker_stop(b->workers[i]);
        tg_pat_view_free(b->views[i]);
    }
    tg_pats_free(b->pats);
}

static enum tg_pat_state look(struct bench *b, unsigned worker, const struct made *m, int64_t now_ms)
{
    struct question q;

    ask_at(b->workers[worker], &q, b->views[worker], m, now_ms);
    tg_buf_fini(&q.claims);
    return q.state;
}

static void expect_everywhere(struct bench *b, const struct made *m, enum tg_pat_state want)
{
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(look(b, i, m, NOW_MS), want);
}

static void claims_are(struct bench *b, const struct made *m, const char *want)
{
    struct question q;
    cJSON *got, *wanted;
    struct tg_buf text = {0};

    for (; *want; want++)                                /* "@" stands for the id */
        if (*want == '@')
            tg_buf_adds(&text, m->id);
        else
            tg_buf_addc(&text, *want);
    ask_at(b->workers[0], &q, b->views[0], m, NOW_MS);
    assert_int_equal(q.state, TG_PAT_KNOWN);
    assert_int_equal(tg_json_parse(tg_buf_slice(&q.claims), NULL, &got, NULL), TG_OK);
    assert_int_equal(tg_json_parse(tg_buf_slice(&text), NULL, &wanted, NULL), TG_OK);
    if (!tg_json_eq(got, wanted))
        fail_msg("%s, not %s", tg_buf_cstr(&q.claims), tg_buf_cstr(&text));
    cJSON_Delete(got);
    cJSON_Delete(wanted);
    tg_buf_fini(&q.claims);
    tg_buf_fini(&text);
}

static void what_an_identity_is_made_of(void **state)
{
    struct tg_pat_store *store = open_store();
    struct bench b;
    struct made plain = made_of(store, "a", NULL, INT64_MAX);
    struct made rich = made_of(store, "b", "{\"sub\":\"ci \\\"1\\\"\",\"groups\":[\"x\"],\"plan\":{\"a\":1}}",
                               NOW_S + 9);
    struct made named = made_of(store, "c", "{\"sub\":\"only\"}", INT64_MAX);

    (void)state;
    up(&b);
#define ISSUER "\"iss\":\"urn:tollgate:pat\",\"iat\":1800000000"
    claims_are(&b, &plain, "{" ISSUER ",\"jti\":\"@\",\"sub\":\"pat:@\"}");
    claims_are(&b, &rich, "{" ISSUER ",\"jti\":\"@\",\"sub\":\"ci \\\"1\\\"\",\"exp\":1800000009,\"groups\":[\"x\"],"
               "\"plan\":{\"a\":1}}");
    claims_are(&b, &named, "{" ISSUER ",\"jti\":\"@\",\"sub\":\"only\"}");
    assert_int_equal(look(&b, 0, &rich, NOW_MS + 8999), TG_PAT_KNOWN);
    assert_int_equal(look(&b, 0, &rich, NOW_MS + 9000), TG_PAT_EXPIRED);
    down(&b);
    tg_pat_store_close(store);
}

/* Once a command has returned, every worker knows: no time passes, and no worker has been told. */
static void at_once_on_every_worker(void **state)
{
    struct bench b;
    struct tg_pat_store *store;

    (void)state;
    up(&b);
    store = open_store();
    for (int round = 0; round < 20; round++) {
        char name[20];
        struct made m;
        uint64_t before = tg_pat_generation(b.pats);

        snprintf(name, sizeof name, "t%d", round);
        m = made_of(store, name, NULL, INT64_MAX);
        assert_int_not_equal(tg_pat_generation(b.pats), before);
        expect_everywhere(&b, &m, TG_PAT_KNOWN);
        before = tg_pat_generation(b.pats);
        revoke_it(store, m.id);
        assert_int_not_equal(tg_pat_generation(b.pats), before);
        expect_everywhere(&b, &m, TG_PAT_UNKNOWN);
        assert_int_equal(tg_pat_generation(b.pats), before + 1);
    }
    tg_pat_store_close(store);
    down(&b);
}

struct changer {
    struct made made[40];
    _Atomic unsigned created, revoked;                   /* so many of them, whatever anybody sees */
};

static void *change(void *arg)
{
    struct changer *c = arg;
    struct tg_pat_store *store = open_store();

    for (unsigned i = 0; i < ARRAY_LEN(c->made); i++) {
        char name[20];

        snprintf(name, sizeof name, "n%u", i);
        c->made[i] = made_of(store, name, NULL, INT64_MAX);
        atomic_store(&c->created, i + 1);
        if (i < 4)
            continue;
        revoke_it(store, c->made[i - 4].id);
        atomic_store(&c->revoked, i - 3);
    }
    tg_pat_store_close(store);
    return NULL;
}

/* What had been made when the question was asked is known, what had been revoked is not, while changes go on. */
static void while_it_changes(void **state)
{
    struct changer *c = TG_NEW(struct changer);
    unsigned created, revoked, asked = 0;
    pthread_t thread;
    struct bench b;

    (void)state;
    up(&b);
    pthread_create(&thread, NULL, change, c);
    do {
        revoked = atomic_load(&c->revoked);
        created = atomic_load(&c->created);
        if (revoked)
            assert_int_equal(look(&b, asked % WORKERS, &c->made[revoked - 1], NOW_MS), TG_PAT_UNKNOWN);
        if (created > revoked + 6)
            fail();
        if (created)
            look(&b, ++asked % WORKERS, &c->made[created - 1], NOW_MS);
    } while (created < ARRAY_LEN(c->made));
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < ARRAY_LEN(c->made); i++)
        expect_everywhere(&b, &c->made[i], i + 4 < ARRAY_LEN(c->made) ? TG_PAT_UNKNOWN : TG_PAT_KNOWN);
    free(c);
    down(&b);
}

static void never_called(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    abort();
}

static void count_call(struct tg_worker *w, void *arg)
{
    atomic_uint *calls = arg;

    (void)w;
    (*calls)++;
}

/* Forgotten: not called. Posted already: called. */
static void forgotten_or_called(void **state)
{
    atomic_uint calls = 0;
    struct bench b;

    (void)state;
    up(&b);
    for (int i = 0; i < 300; i++) {
        bool forgotten;

        tg_pat_view_wait(b.views[0], count_call, &calls);
        if (i % 3)
            usleep((useconds_t)(i % 7) * 20);
        forgotten = tg_pat_view_forget(b.views[0], &calls);
        for (int64_t end = tg_clock_mono_ms() + PATIENCE_MS; !forgotten && calls == 0;)
            assert_true(tg_clock_mono_ms() < end);
        usleep(50);
        assert_int_equal(calls, !forgotten);
        calls = 0;
    }
    assert_false(tg_pat_view_forget(b.views[0], &b));
    tg_pat_view_wait(b.views[0], never_called, &b);
    while (!tg_pat_view_forget(b.views[1], &b) && !tg_pat_view_forget(b.views[0], &b))
        tg_pat_view_wait(b.views[0], never_called, &b);  /* abort() says that it was called */
    down(&b);
}

static void comes_to(struct bench *b, const struct made *m, enum tg_pat_state want, const char *when)
{
    int64_t end = tg_clock_mono_ms() + PATIENCE_MS;

    while (look(b, 1, m, NOW_MS) != want) {
        if (tg_clock_mono_ms() > end)
            fail_msg("%s", when);
        usleep(10000);
    }
    expect_everywhere(b, m, want);
}

/* A maker that is killed between its commit and its bump, as with a statement of sqlite3's own shell. */
static void changes_that_nobody_told(void **state)
{
    struct tg_pat_store *store = open_store();
    struct made one = made_of(store, "a", NULL, INT64_MAX), other = made_of(store, "b", NULL, INT64_MAX);
    struct bench b;

    (void)state;
    up(&b);
    expect_everywhere(&b, &one, TG_PAT_KNOWN);
    assert_int_equal(tg_db_run(tg_pat_store_db(store), "UPDATE pats SET revoked_s = 1 WHERE name = 'a'", NULL), TG_OK);
    comes_to(&b, &one, TG_PAT_UNKNOWN, "revoked");
    expect_everywhere(&b, &other, TG_PAT_KNOWN);
    assert_int_equal(tg_db_run(tg_pat_store_db(store), "DELETE FROM pats WHERE name = 'b'", NULL), TG_OK);
    comes_to(&b, &other, TG_PAT_UNKNOWN, "deleted");
    assert_int_equal(tg_db_run(tg_pat_store_db(store), "UPDATE pats SET revoked_s = NULL", NULL), TG_OK);
    comes_to(&b, &one, TG_PAT_KNOWN, "known again");
    tg_pat_store_close(store);
    down(&b);
}

static void files_that_go_away(void **state)
{
    struct tg_pat_store *store = open_store();
    struct made one = made_of(store, "a", NULL, INT64_MAX), other;
    struct bench b;

    (void)state;
    tg_pat_store_close(store);
    up(&b);
    expect_everywhere(&b, &one, TG_PAT_KNOWN);

    assert_int_equal(rename(in_folder("tollgate.db"), in_folder("aside")), 0);
    comes_to(&b, &one, TG_PAT_FAILED, "the database is gone");
    assert_int_equal(rename(in_folder("aside"), in_folder("tollgate.db")), 0);
    comes_to(&b, &one, TG_PAT_KNOWN, "it is back");

    unlink(in_folder("generation"));                     /* who changes something now waits until it is noticed */
    store = open_store();
    revoke_it(store, one.id);
    expect_everywhere(&b, &one, TG_PAT_UNKNOWN);
    tg_pat_store_close(store);

    assert_int_equal(truncate(in_folder("generation"), 0), 0);
    expect_everywhere(&b, &one, TG_PAT_UNKNOWN);         /* and nobody dies of it */

    remove_files(NULL);                                  /* another store in its place */
    store = open_store();
    other = made_of(store, "other", NULL, INT64_MAX);
    comes_to(&b, &other, TG_PAT_KNOWN, "the new one");
    expect_everywhere(&b, &one, TG_PAT_UNKNOWN);
    tg_pat_store_close(store);
    down(&b);
}

static int64_t used_of(struct tg_pat_store *store, const char *name)
{
    struct tg_query *q = tg_db_query(tg_pat_store_db(store), "SELECT used_s FROM pats WHERE name = ?1");
    int64_t used;

    tg_query_bind_text(q, 1, tg_slice_str(name));
    assert_true(tg_query_row(q));
    used = tg_query_is_null(q, 0) ? -1 : tg_query_int(q, 0) - NOW_S;
    assert_int_equal(tg_query_end(q, NULL), TG_OK);
    return used;
}

/* To the minute, at the end at the latest, and never backwards. */
static void last_use(void **state)
{
    struct tg_pat_store *store = open_store();
    struct made one = made_of(store, "a", NULL, INT64_MAX);
    struct bench b;

    (void)state;
    up(&b);
    assert_int_equal(look(&b, 0, &one, NOW_MS + 61000), TG_PAT_KNOWN);
    made_of(store, "b", NULL, INT64_MAX);                /* a set is made anew: the use is not forgotten */
    assert_int_equal(look(&b, 1, &one, NOW_MS), TG_PAT_KNOWN);
    tg_pat_view_used(b.views[1], one.digest, NOW_MS + 190000);
    tg_pat_view_used(b.views[2], one.digest, NOW_MS);    /* its view has no set yet */
    down(&b);
    tg_pat_store_close(store);
    store = open_store();
    assert_int_equal(used_of(store, "a"), 180);
    assert_int_equal(used_of(store, "b"), -1);
    tg_pat_store_close(store);
    up(&b);
    assert_int_equal(look(&b, 0, &one, NOW_MS), TG_PAT_KNOWN);
    down(&b);
    store = open_store();
    assert_int_equal(used_of(store, "a"), 180);
    tg_pat_store_close(store);
}

static int64_t resident_kb(void)
{
    char line[128];
    long long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %lld", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

static void digest_of(int i, uint8_t digest[TG_SHA256_LEN])
{
    tg_sha256(tg_slice((const char *)&i, sizeof i), digest);
}

static void fill(struct tg_db *db, int count)
{
    static const char claims[] = "{\"email\":\"someone@example.com\",\"groups\":[\"staff\",\"deployers\"]}";
    struct tg_query *q = tg_db_query(db, "INSERT INTO pats (n, id, name, digest, sub, claims, created_s) VALUES (?1, "
                                     "printf('00000000-0000-4000-8000-%012d', ?1), ?1, ?2, 'subject ' || ?1, ?3, 1)");
    uint8_t digest[TG_SHA256_LEN];

    assert_int_equal(tg_db_begin(db, NULL), TG_OK);
    for (int i = 1; i <= count; i++) {
        digest_of(i, digest);
        tg_query_again(q);
        tg_query_bind_int(q, 1, i);
        tg_query_bind_blob(q, 2, tg_slice((const char *)digest, sizeof digest));
        tg_query_bind_text(q, 3, tg_slice_str(claims));
        tg_query_row(q);
    }
    assert_int_equal(tg_query_end(q, NULL), TG_OK);
    assert_int_equal(tg_db_commit(db, NULL), TG_OK);
}

/* Sets against a plain list, over many random changes at once: found is what is there, changes or whole. */
static void many(void **state)
{
    struct tg_pat_store *store = open_store();
    int count = getenv("TG_PAT_MANY") ? atoi(getenv("TG_PAT_MANY")) : 5000;
    struct tg_pat_set *set = NULL, *next = NULL;
    int64_t seen = -1, begun, memory;
    uint8_t digest[TG_SHA256_LEN];

    (void)state;
    fill(tg_pat_store_db(store), count);
    memory = resident_kb();
    begun = tg_clock_mono_us();
    assert_int_equal(tg_pat_load(store, NULL, &seen, &set, NULL), TG_OK);
    print_message("%d tokens: read in %lld us, %lld kB\n", count, (long long)(tg_clock_mono_us() - begun),
                  (long long)(resident_kb() - memory));
    assert_int_equal(tg_pat_set_count(set), count);
    for (int round = 1; round <= 20; round++) {
        char sentence[200];
        struct tg_pat_entry *entry;

        snprintf(sentence, sizeof sentence, "UPDATE pats SET revoked_s = 1 WHERE n %% 1000 = %d", round);
        assert_int_equal(tg_db_run(tg_pat_store_db(store), sentence, NULL), TG_OK);
        begun = tg_clock_mono_us();
        assert_int_equal(tg_pat_load(store, set, &seen, &next, NULL), TG_OK);
        if (round == 1)
            print_message("a change: read in %lld us\n", (long long)(tg_clock_mono_us() - begun));
        tg_pat_set_unref(set);
        set = next;
        assert_int_equal(tg_pat_set_count(set), count - round * (count / 1000));
        for (int i = 1; i <= count; i += 1 + count / 3000) {
            digest_of(i, digest);
            entry = tg_pat_set_find(set, digest);
            assert_int_equal(entry != NULL, i % 1000 == 0 || i % 1000 > round);
            if (entry)
                assert_int_equal(entry->row, i);
        }
    }
    assert_int_equal(tg_pat_load(store, set, &seen, &next, NULL), TG_OK);
    assert_ptr_equal(set, next);                         /* nothing has changed */
    tg_pat_set_unref(next);
    tg_pat_set_unref(set);
    tg_pat_store_close(store);
}

#define TEST(t) cmocka_unit_test_teardown(t, remove_files)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(form), TEST(orders_that_are_none), TEST(names_of_live_ones_differ),
        TEST(what_is_over_is_kept_for_a_while),
        TEST(the_secret_is_nowhere), TEST(folders_that_are_none), TEST(what_an_identity_is_made_of),
        TEST(at_once_on_every_worker), TEST(while_it_changes), TEST(forgotten_or_called),
        TEST(changes_that_nobody_told),
        TEST(files_that_go_away), TEST(last_use), TEST(many),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
