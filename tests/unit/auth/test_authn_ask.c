/* authn, where keys alone do not settle it: providers that are asked, personal access tokens, and all the waiting. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/introspect.h"
#include "auth/pat.h"
#include "auth/revoked.h"
#include "base/file.h"
#include "keys_bench.h"
#include <stdio.h>
#include <sys/stat.h>

#define THUMB "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

static char folder[] = "/tmp/tollgate-authn-ask-XXXXXX", secret_file[64], feed_file[64], url[96];
static struct tg_introspection_settings settings;
static struct tg_arena arena;

/* ---- a provider that is asked about tokens; all of it under peer.lock ---- */

static unsigned questions;
static const char *answer;                               /* NULL: 500 */

static void introspecting(struct http_peer *p, const char *head, struct tg_buf *out)
{
    if (strncmp(head, "POST /introspect ", 17) != 0) {
        script(p, head, out);
        return;
    }
    questions++;
    if (answer)
        http_peer_answer(out, 200, "", tg_slice_str(answer));
    else
        tg_buf_adds(out, "HTTP/1.1 500 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void say(const char *words)
{
    pthread_mutex_lock(&peer.lock);
    answer = words;
    pthread_mutex_unlock(&peer.lock);
}

static unsigned asked(void)
{
    unsigned n;

    pthread_mutex_lock(&peer.lock);
    n = questions;
    pthread_mutex_unlock(&peer.lock);
    return n;
}

#define INACTIVE "{\"active\":false}"
#define ACTIVE "{\"active\":true,\"sub\":\"u\",\"email\":\"admin@example.com\"}"

/* ---- up and down ---- */

static void make_introspector(struct tg_worker *w, void *arg)
{
    (void)arg;
    services.introspector = tg_introspector_new(w, fetcher);
    services.revocations = tg_revocations_new();
    tg_introspector_bind(services.introspector, &providers);
}

static void free_introspector(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_introspector_free(services.introspector);
    tg_revocations_free(services.revocations);
}

static void ask_up(void)
{
    tg_worker_call(control, make_introspector, NULL);
    up();
    assert_true(wait_ready(true));
}

static void ask_down(void)
{
    down();
    tg_worker_call(control, free_introspector, NULL);
}

static int begin(void **state)
{
    if (reset(state))
        return 1;
    settings = (struct tg_introspection_settings){
        .url = tg_slice_str(url), .accept_opaque = true, .ttl_ms = 30000, .negative_ttl_ms = 5000, .timeout_ms = 2000,
        .rate = 1000,
        .client = {.method = TG_CLIENT_BASIC, .client_id = TG_S("me"), .secret_file = tg_slice_str(secret_file)},
    };
    providers = (struct tg_providers){&item, 1};
    item.introspection = &settings;
    item.groups_claim = TG_S("groups");
    memset(&services, 0, sizeof(services));
    accept_opaque = true;
    allowed = 1;
    questions = 0;
    say(ACTIVE);
    return 0;
}

static void expect_reason(struct tg_slice token, enum tg_authn_result want, const char *reason)
{
    struct asking q = {0};

    begin_asking(&q, token);
    end_asking(&q);
    if (q.result != want || strcmp(q.reason, reason) != 0)
        fail_msg("%d %s, not %d %s", q.result, q.reason, want, reason);
}

/* ---- opaque tokens ---- */

static void opaque(void **state)
{
    struct asking q = {0}, again = {0};

    (void)state;
    ask_up();
    begin_asking(&q, TG_S("an-opaque.token"));
    end_asking(&q);
    assert_int_equal(q.result, TG_AUTHN_OK);
    assert_true(q.kind == TG_IDENTITY_INTROSPECTED && q.admin && q.waits == 1 && q.rooms == 1);
    begin_asking(&again, q.token);
    end_asking(&again);
    assert_true(again.result == TG_AUTHN_OK && again.waits == 0 && again.rooms == 0);
    assert_int_equal(asked(), 1);
    accept_opaque = false;                               /* a route of another mind, though it is in the cache */
    expect_reason(q.token, TG_AUTHN_INVALID, "opaque");
    expect_reason(TG_S("another"), TG_AUTHN_INVALID, "opaque");
    accept_opaque = true;
    allowed = 0;
    expect_reason(q.token, TG_AUTHN_INVALID, "provider");
    expect_reason(TG_S("another"), TG_AUTHN_INVALID, "opaque");
    assert_int_equal(asked(), 1);
    ask_down();
}

static void opaque_and_refused(void **state)
{
    (void)state;
    ask_up();
    say(INACTIVE);
    expect_reason(TG_S("a"), TG_AUTHN_INVALID, "inactive");
    expect_reason(TG_S("a"), TG_AUTHN_INVALID, "inactive");
    assert_int_equal(asked(), 1);
    say(NULL);
    expect_reason(TG_S("b"), TG_AUTHN_NO_ANSWER, "no-answer");
    say("{\"active\":true,\"sub\":\"u\",\"aud\":\"somebody else\"}");
    expect_reason(TG_S("c"), TG_AUTHN_INVALID, "inactive");
    say("{\"active\":true,\"sub\":\"u\",\"cnf\":{\"kid\":\"x\"}}");
    expect_reason(TG_S("d"), TG_AUTHN_INVALID, "payload"); /* bound in a way nobody here can check */
    say("{\"active\":true,\"sub\":\"u\",\"cnf\":{\"jkt\":\"" THUMB "\"}}");
    expect_reason(TG_S("e"), TG_AUTHN_OK, "ok");
    ask_down();
}

/* RFC 7662 §2.2: `sub` is optional. */
static void whose_it_is(void **state)
{
    struct asking q = {0};

    (void)state;
    ask_up();
    say("{\"active\":true,\"client_id\":\"user\",\"email\":\"admin@example.com\"}");
    begin_asking(&q, TG_S("a"));
    end_asking(&q);
    assert_true(q.result == TG_AUTHN_OK && q.admin);
    say("{\"active\":true}");
    expect_reason(TG_S("b"), TG_AUTHN_INVALID, "subject");
    say("{\"active\":true,\"client_id\":\"\"}");
    expect_reason(TG_S("c"), TG_AUTHN_INVALID, "subject");
    say("{\"active\":true,\"client_id\":\"user\",\"sub\":\"\"}");
    expect_reason(TG_S("d"), TG_AUTHN_INVALID, "inactive");
    ask_down();
}

/* Not one of these is shown to the provider. */
static void never_shown(void **state)
{
    static const char *const texts[] = {
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.",          /* none */
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.AAAA",     /* an unknown issuer */
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.AAAB=",    /* padding */
        "eyJhbGciOiJYIn0.e30.AA",                        /* an algorithm nobody knows */
        "eyJhbGciOiJSUzI1NiIsImNyaXQiOlsieCJdfQ.e30.AA", /* crit */
        "IHsiYWxnIjoiUlMyNTYifQ.e30.AA",                 /* a space before the brace */
        "e30.e30.AA", "e30..", "eyJ9.x.y", "eyJhbGciOiJSUzI1NiJ.e30.AA",
        "eyI/IjoxfQ==.e30.AA", "eyI+.x.y", "ey==.x.y", "eyJ~.x.y", /* in the other alphabet, or none */
    };
    struct tg_slice forged;

    (void)state;
    ask_up();
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (ask(tg_slice_str(texts[i])) != TG_AUTHN_INVALID)
            fail_msg("%s", texts[i]);
    forged = token_of(second, "mallory");
    ((char *)(uintptr_t)forged.ptr)[forged.len - 4] ^= 1;
    assert_int_equal(ask(forged), TG_AUTHN_INVALID);
    drop(forged);
    assert_int_equal(asked(), 0);
    ask_down();
}

/* Dots do not make a token signed. */
static void opaque_with_dots(void **state)
{
    static const char *const texts[] = {"ya29.a0Af.x", "v4.local.abc", "a.b", "..", "a.b.c.d", "x.e30.e30",
                                        "eyJhbGciOiJkaXIifQ.a.b.c.d" /* encrypted: for its issuer alone */};

    (void)state;
    ask_up();
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (ask(tg_slice_str(texts[i])) != TG_AUTHN_OK)
            fail_msg("%s", texts[i]);
    assert_int_equal(asked(), ARRAY_LEN(texts));
    ask_down();
}

static void empty_bucket(void **state)
{
    struct asking q = {.no_room = true}, known = {.no_room = true};
    struct tg_slice jwt;

    (void)state;
    ask_up();
    begin_asking(&q, TG_S("newcomer"));
    end_asking(&q);
    assert_int_equal(q.result, TG_AUTHN_LIMITED);
    assert_int_equal(q.rooms, 1);
    assert_int_equal(asked(), 0);
    expect_reason(TG_S("known"), TG_AUTHN_OK, "ok");
    begin_asking(&known, TG_S("known"));
    end_asking(&known);
    assert_true(known.result == TG_AUTHN_OK && known.rooms == 0);
    settings.always = true;
    jwt = token_of(first, "u");
    q = (struct asking){.no_room = true};
    begin_asking(&q, jwt);
    end_asking(&q);
    assert_true(q.result == TG_AUTHN_OK && q.rooms == 0); /* its signature vouches for it */
    drop(jwt);
    ask_down();
}

static void nobody_to_ask(void **state)
{
    (void)state;
    item.introspection = NULL;
    ask_up();
    expect_reason(TG_S("opaque"), TG_AUTHN_INVALID, "opaque");
    item.introspection = &settings;                      /* as if the process had no introspector */
    tg_worker_call(worker, free_authn, NULL);
    tg_worker_call(worker, make_authn, NULL);
    expect_reason(TG_S("opaque"), TG_AUTHN_NO_ANSWER, "no-answer");
    ask_down();
}

/* ---- signed tokens whose provider is asked too ---- */

static void always(void **state)
{
    static const struct {
        const char *said;
        enum tg_authn_result want;
        const char *reason;
        bool admin, bound;
    } cases[] = {
        {ACTIVE, TG_AUTHN_OK, "ok", true, false},
        {"{\"active\":true,\"sub\":\"u\"}", TG_AUTHN_OK, "ok", false, false},
        {"{\"active\":true,\"sub\":\"u\",\"cnf\":{\"jkt\":\"" THUMB "\"}}", TG_AUTHN_OK, "ok", false, true},
        {"{\"active\":true,\"sub\":\"u\",\"cnf\":{}}", TG_AUTHN_INVALID, "payload", false, false},
        {"{\"active\":true,\"sub\":\"v\",\"email\":\"admin@example.com\"}", TG_AUTHN_INVALID, "answer", false, false},
        {INACTIVE, TG_AUTHN_INVALID, "inactive", false, false},
        {"{\"active\":true,\"sub\":\"u\",\"exp\":1}", TG_AUTHN_INVALID, "inactive", false, false},
        {NULL, TG_AUTHN_NO_ANSWER, "no-answer", false, false},
        {"[]", TG_AUTHN_NO_ANSWER, "no-answer", false, false},
    };

    (void)state;
    settings.always = true;
    settings.ttl_ms = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_slice token = token_of(first, "u");
        struct asking q = {0};

        begin((void *[]){NULL});
        settings.always = true;
        say(cases[i].said);
        ask_up();
        begin_asking(&q, token);
        end_asking(&q);
        if (q.result != cases[i].want || strcmp(q.reason, cases[i].reason) != 0)
            fail_msg("%zu: %d %s", i, q.result, q.reason);
        if (q.result == TG_AUTHN_OK)
            assert_true(q.kind == TG_IDENTITY_SIGNED && q.admin == cases[i].admin && q.bound == cases[i].bound);
        assert_int_equal(asked(), 1);
        ask_down();
        drop(token);
    }
}

/* What the token says itself holds. */
static void answer_adds_only(void **state)
{
    struct tg_slice token;
    struct asking q = {0};

    (void)state;
    settings.always = true;
    ask_up();
    snprintf(claims_text, sizeof(claims_text),
             "{\"iss\":\"%s\",\"sub\":\"u\",\"aud\":\"api\",\"exp\":99999999999,\"email\":\"u@example.com\"}", issuer);
    token = issuer_token(first, claims_text);
    begin_asking(&q, token);
    end_asking(&q);
    assert_true(q.result == TG_AUTHN_OK && !q.admin);
    drop(token);
    ask_down();
}

/* Not kept at the provider's wish: each request asks, and none asks for ever. */
static void not_kept(void **state)
{
    (void)state;
    settings.ttl_ms = 0;
    ask_up();
    expect_reason(TG_S("a"), TG_AUTHN_OK, "ok");
    expect_reason(TG_S("a"), TG_AUTHN_OK, "ok");
    assert_int_equal(asked(), 2);
    say(INACTIVE);
    expect_reason(TG_S("a"), TG_AUTHN_INVALID, "inactive");
    ask_down();
}

/* As long as the provider was told to be believed, in this worker's cache too. */
static void kept_for_a_while(void **state)
{
    (void)state;
    settings.ttl_ms = 1500;
    ask_up();
    expect_reason(TG_S("a"), TG_AUTHN_OK, "ok");
    say(INACTIVE);
    expect_reason(TG_S("a"), TG_AUTHN_OK, "ok");
    usleep(1600000);
    expect_reason(TG_S("a"), TG_AUTHN_INVALID, "inactive");
    assert_int_equal(asked(), 2);
    ask_down();
}

static void signed_and_kept_for_a_while(void **state)
{
    struct tg_slice token = token_of(first, "u");

    (void)state;
    settings.always = true;
    settings.ttl_ms = 1500;
    ask_up();
    expect_reason(token, TG_AUTHN_OK, "ok");
    say(INACTIVE);
    expect_reason(token, TG_AUTHN_OK, "ok");
    usleep(1600000);
    expect_reason(token, TG_AUTHN_INVALID, "inactive");
    assert_int_equal(asked(), 2);
    drop(token);
    ask_down();
}

/* First for a key that is not known yet, then for the provider's answer. */
static void waits_for_both(void **state)
{
    struct tg_slice token = token_of(second, "u");
    struct asking q = {0};

    (void)state;
    settings.always = true;
    ask_up();
    publish(first, second);
    begin_asking(&q, token);
    end_asking(&q);
    assert_int_equal(q.result, TG_AUTHN_OK);
    assert_int_equal(q.waits, 2);
    assert_int_equal(asked(), 1);
    drop(token);
    ask_down();
}

/* The worker is busy while the answer comes, and the key goes. */
static void ask_and_be_busy(struct tg_worker *w, void *arg)
{
    struct asking *q = arg;

    (void)w;
    verify(q, false);
    assert_int_equal(q->result, TG_AUTHN_WAIT);
    publish(second, NULL);
    usleep(600000);
}

static void key_goes_before_the_answer(void **state)
{
    struct asking q = {.token = token_of(first, "u")};

    (void)state;
    PROVIDER(fields, "Cache-Control: max-age=0\r\n");
    settings.always = true;
    ask_up();
    pthread_mutex_init(&q.lock, NULL);
    pthread_cond_init(&q.cond, NULL);
    tg_worker_post(worker, ask_and_be_busy, &q);
    end_asking(&q);
    assert_int_equal(q.result, TG_AUTHN_INVALID);
    assert_string_equal(q.reason, "unknown-kid");
    drop(q.token);
    ask_down();
}

/* Nobody sends what he was not told to: who asks again without having been told waits for nobody. */
static void ask_again_untold(struct tg_worker *w, void *arg)
{
    struct asking *q = arg;

    (void)w;
    verify(q, true);
}

static void again_without_being_told(void **state)
{
    struct asking q = {.token = TG_S("opaque")};

    (void)state;
    ask_up();
    pthread_mutex_init(&q.lock, NULL);
    pthread_cond_init(&q.cond, NULL);
    tg_worker_post(worker, ask_again_untold, &q);
    end_asking(&q);
    assert_int_equal(q.result, TG_AUTHN_NO_ANSWER);
    assert_int_equal(asked() + q.rooms, 0);
    ask_down();
}

/* ---- going away while waiting ---- */

static bool verifier_goes;

static void cancel_late(struct tg_worker *w, void *arg)
{
    struct asking *q = arg;

    verify(q, false);
    assert_int_equal(q->result, TG_AUTHN_WAIT);
    usleep(200000);                                      /* it has been posted, and is not run */
    q->cancel = true;                                    /* ask_again asserts it */
    tg_authn_cancel(authn, q);
    if (verifier_goes) {                                 /* and the verifier goes too, before what was posted comes */
        free_authn(w, NULL);
        make_authn(w, NULL);
    }
    pthread_mutex_lock(&q->lock);
    q->over = true;
    pthread_cond_signal(&q->cond);
    pthread_mutex_unlock(&q->lock);
}

enum leaving { AT_ONCE, LATE, WITH_THE_VERIFIER, WAYS_TO_LEAVE };

static void go_away(struct tg_slice token, enum leaving how)
{
    struct asking q = {.token = token, .cancel = how == AT_ONCE};

    pthread_mutex_init(&q.lock, NULL);
    pthread_cond_init(&q.cond, NULL);
    verifier_goes = how == WITH_THE_VERIFIER;
    tg_worker_post(worker, how == AT_ONCE ? run_verify : cancel_late, &q);
    end_asking(&q);
    assert_int_equal(q.result, TG_AUTHN_WAIT);
}

static void cancelled(void **state)
{
    (void)state;
    for (enum leaving how = AT_ONCE; how < WAYS_TO_LEAVE; how++) {
        struct tg_slice unknown = token_of(second, "u"), known = token_of(first, "u");

        begin(state);
        settings.always = true;
        ask_up();
        go_away(TG_S("opaque"), how);
        go_away(known, how);
        go_away(unknown, how);
        assert_int_equal(ask(TG_S("opaque")), TG_AUTHN_OK);
        ask_down();
        drop(unknown);
        drop(known);
    }
}

/* ---- personal access tokens ---- */

static struct tg_pat_store *store;

static struct tg_slice make_pat(const char *name, char id[TG_PAT_ID], int64_t expires_s)
{
    const struct tg_pat_order order = {
        .name = tg_slice_str(name), .now_s = tg_clock_wall_ms() / 1000, .expires_s = expires_s};
    struct tg_buf token = {0};
    struct tg_err err = {0};

    if (tg_pat_create(store, &order, &token, id, &err) != TG_OK)
        fail_msg("%s", err.text);
    return tg_buf_slice(&token);
}

static void pat_up(void)
{
    struct tg_err err = {0};

    tg_arena_init(&arena, NULL, 0);
    tg_providers_add_pats(&providers, &arena);
    allowed = 3;
    if (tg_pat_store_open(folder, &store, &err) != TG_OK || tg_pats_new(folder, &services.pats, &err) != TG_OK)
        fail_msg("%s", err.text);
    ask_up();
}

static void pat_down(void)
{
    ask_down();
    tg_pats_free(services.pats);
    tg_pat_store_close(store);
    tg_arena_fini(&arena);
}

static void pats(void **state)
{
    char id[TG_PAT_ID], other[TG_PAT_ID];
    struct tg_slice token, made, wrong;
    struct asking q = {0};
    struct tg_metric *family = tg_metric_family(TG_COUNTER, "tollgate_token_cache_hits_total", "", "");
    int64_t hits;
    bool already;

    (void)state;
    pat_up();
    token = make_pat("one", id, INT64_MAX);
    begin_asking(&q, token);
    end_asking(&q);
    assert_true(q.result == TG_AUTHN_OK && q.kind == TG_IDENTITY_PAT);
    hits = tg_metric_value(tg_metric_series(family, NULL));
    expect_reason(token, TG_AUTHN_OK, "ok");
    assert_int_equal(tg_metric_value(tg_metric_series(family, NULL)) - hits, 1);
    made = make_pat("two", other, tg_clock_wall_ms() / 1000 + 2);
    expect_reason(made, TG_AUTHN_OK, "ok");
    allowed = 1;                                         /* a route that names its providers, and not this one */
    expect_reason(token, TG_AUTHN_INVALID, "provider");
    allowed = 3;
    assert_int_equal(tg_pat_revoke(store, tg_slice_str(id), tg_clock_wall_ms() / 1000, NULL, &already, NULL),
                     TG_OK);
    expect_reason(token, TG_AUTHN_INVALID, "pat-unknown");
    expect_reason(made, TG_AUTHN_OK, "ok");
    wrong = tg_slice_str(tg_slice_dup(token));
    ((char *)(uintptr_t)wrong.ptr)[10] ^= 1;
    expect_reason(wrong, TG_AUTHN_INVALID, "pat-malformed");
    expect_reason(TG_S("tgp_x"), TG_AUTHN_INVALID, "pat-malformed");
    sleep(2);
    expect_reason(made, TG_AUTHN_EXPIRED, "expired");
    assert_int_equal(asked(), 0);                        /* tollgate's own, shown to nobody */
    drop(token);
    drop(made);
    drop(wrong);
    pat_down();
}

/* The store has just changed, each time. */
static void cancelled_at_the_store(void **state)
{
    static const char *const names[][2] = {{"a", "b"}, {"c", "d"}, {"e", "f"}};

    (void)state;
    pat_up();
    for (enum leaving how = AT_ONCE; how < WAYS_TO_LEAVE; how++) {
        char id[TG_PAT_ID];
        struct tg_slice token = make_pat(names[how][0], id, INT64_MAX), other;

        assert_int_equal(ask(token), TG_AUTHN_OK);
        other = make_pat(names[how][1], id, INT64_MAX);
        go_away(token, how);
        assert_int_equal(ask(token), TG_AUTHN_OK);
        drop(token);
        drop(other);
    }
    pat_down();
}

/* A signed token that says it is tollgate's own is nobody's. */
static void signed_in_tollgates_name(void **state)
{
    struct tg_slice token = issuer_token(
        first, "{\"iss\":\"" TG_PAT_ISSUER "\",\"sub\":\"u\",\"aud\":\"api\",\"exp\":99999999999}");

    (void)state;
    pat_up();
    expect_reason(token, TG_AUTHN_INVALID, "issuer");
    drop(token);
    pat_down();
}

/* ---- tokens that were withdrawn ---- */

static const char *feed;

static void bind_feed(struct tg_worker *w, void *arg)
{
    struct tg_err err = {0};

    (void)w;
    (void)arg;
    assert_int_equal(tg_file_replace(feed_file, tg_slice_str(feed), 0600, NULL), TG_OK);
    if (tg_revocations_bind(services.revocations, TG_S(""), &err) != TG_OK ||
        tg_revocations_bind(services.revocations, tg_slice_str(feed_file), &err) != TG_OK)
        fail_msg("%s", err.text);
}

static void withdrawn(void **state)
{
    static char lines[256];
    struct tg_slice a = token_of(first, "a"), b = token_of(first, "b");

    (void)state;
    feed = lines;
    ask_up();
    expect_reason(a, TG_AUTHN_OK, "ok");
    snprintf(lines, sizeof(lines), "{\"iss\":\"%s\",\"sub\":\"a\"}\n{\"iss\":\"%s\",\"sub\":\"u\"}\n", issuer, issuer);
    tg_worker_call(control, bind_feed, NULL);
    for (int i = 0; i < 3; i++) {
        expect_reason(a, TG_AUTHN_INVALID, "revoked");   /* though it is in the cache */
        expect_reason(b, TG_AUTHN_OK, "ok");
        expect_reason(TG_S("opaque"), TG_AUTHN_INVALID, "revoked");
    }
    assert_int_equal(asked(), 1);
    snprintf(lines, sizeof(lines), "{\"iss\":\"%s\",\"sub\":\"b\"}\n", issuer);
    tg_worker_call(control, bind_feed, NULL);
    expect_reason(a, TG_AUTHN_OK, "ok");
    expect_reason(b, TG_AUTHN_INVALID, "revoked");
    expect_reason(TG_S("opaque"), TG_AUTHN_OK, "ok");
    drop(a);
    drop(b);
    ask_down();
}

/* ---- the end ---- */

static int setup_all(void **state)
{
    if (!mkdtemp(folder) || setup(state))
        return 1;
    peer.script = introspecting;
    snprintf(secret_file, sizeof(secret_file), "%s/secret", folder);
    snprintf(feed_file, sizeof(feed_file), "%s/feed", folder);
    snprintf(url, sizeof(url), "%s/introspect", issuer);
    return tg_file_replace(secret_file, TG_S("sesame-sesame\n"), 0600, NULL) != TG_OK;
}

static int teardown_all(void **state)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    return teardown(state) || system(command) != 0;
}

#define CASE(f) cmocka_unit_test_setup(f, begin)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(opaque), CASE(opaque_and_refused), CASE(whose_it_is), CASE(never_shown),
        CASE(opaque_with_dots), CASE(empty_bucket),
        CASE(nobody_to_ask), CASE(always), CASE(answer_adds_only), CASE(not_kept), CASE(kept_for_a_while),
        CASE(signed_and_kept_for_a_while),
        CASE(waits_for_both),
        CASE(key_goes_before_the_answer), CASE(again_without_being_told), CASE(cancelled), CASE(pats),
        CASE(cancelled_at_the_store),
        CASE(signed_in_tollgates_name), CASE(withdrawn),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
