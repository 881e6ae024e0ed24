/*
 * keys_bench - a scripted provider on one side, tg_keys and a worker's verifier on the other, for the tests of keys.
 *
 * The including file has cmocka and these as its own: every test begins with `reset` and goes up() and down().
 */
#pragma once
#include "../../../proxy/auth/internal.h"
#include "../io/http_peer.h"
#include "auth/authn.h"
#include "base/clock.h"
#include "base/log.h"
#include "issuer.h"
#include <signal.h>

static const struct tg_key_periods quick = {
    .refetch = 10000, .retry_first = 50, .retry_last = 200, .retry_last_empty = 100,
    .age_least = 100, .age_most = 1000, .age_unsaid = 60000, .discovery = 60000, .log = 60000, .timeout = 300,
};

/* ---- the provider ---- */

static struct http_peer peer;
static char issuer[64], keys_url[80], claims_text[256];
static struct {                                          /* under peer.lock */
    const char *said_issuer, *jwks_uri, *fields, *raw_keys;
    struct tg_buf jwks;
    unsigned discoveries, fetches, bearers;
} provider;
static struct tg_signer *first, *second;

static inline void script(struct http_peer *p, const char *head, struct tg_buf *out)
{
    struct tg_buf body = {0};

    (void)p;
    provider.bearers += strstr(head, "\r\nAuthorization: Bearer sesame\r\n") != NULL;
    if (strncmp(head, "GET /keys ", 10) == 0) {
        provider.fetches++;
        if (provider.raw_keys)
            tg_buf_adds(out, provider.raw_keys);
        else
            http_peer_answer(out, 200, provider.fields, tg_buf_slice(&provider.jwks));
        return;
    }
    assert_int_equal(strncmp(head, "GET /.well-known/openid-configuration ", 38), 0);
    provider.discoveries++;
    tg_buf_addf(&body, "{\"issuer\":\"%s\",\"jwks_uri\":\"%s\"}", provider.said_issuer, provider.jwks_uri);
    http_peer_answer(out, 200, "", tg_buf_slice(&body));
    tg_buf_fini(&body);
}

static inline void publish(const struct tg_signer *a, const struct tg_signer *b)
{
    pthread_mutex_lock(&peer.lock);
    tg_buf_fini(&provider.jwks);
    issuer_jwks(a, b, &provider.jwks);
    pthread_mutex_unlock(&peer.lock);
}

/* Sets one member of the provider while it may be answering. */
#define PROVIDER(member, value) \
    do { \
        pthread_mutex_lock(&peer.lock); \
        provider.member = (value); \
        pthread_mutex_unlock(&peer.lock); \
    } while (0)

static inline unsigned fetches(void)
{
    unsigned n;

    pthread_mutex_lock(&peer.lock);
    n = provider.fetches;
    pthread_mutex_unlock(&peer.lock);
    return n;
}

/* ---- tollgate's side ---- */

static struct tg_worker *control, *worker;
static struct tg_fetcher *fetcher;
static struct tg_keys *keys;
static struct tg_authn *authn;
static struct tg_slice audience = TG_S_INIT("api");
static struct tg_provider item;
static struct tg_providers providers = {&item, 1};
static struct tg_key_periods periods;
static const char *state_dir;
static struct tg_auth_services services;
static bool accept_opaque;
static uint64_t allowed = 1;

static inline void make_provider(struct tg_provider *p)
{
    memset(p, 0, sizeof(*p));
    p->name = TG_S("corp");
    p->issuer = tg_slice_str(issuer);
    p->algs = TG_ALGS_DEFAULT;
    p->rules = (struct tg_jwt_rules){.issuer = p->issuer, .audiences = &audience, .audience_count = 1, .leeway_s = 30};
    p->discovery = true;
    p->max_stale_ms = 60000;
}

static inline void bind_on_control(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_keys_bind(keys, arg);
}

static inline void make_keys(struct tg_worker *w, void *arg)
{
    (void)arg;
    keys = tg_keys_new(w, fetcher, state_dir);
    tg_keys_set_periods(keys, &periods);
    tg_keys_bind(keys, &providers);
}

static inline void make_authn(struct tg_worker *w, void *arg)
{
    (void)arg;
    authn = tg_authn_new(w, &providers, &services, 4096);
}

static inline void free_authn(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_authn_free(authn);
}

static inline void free_keys(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_keys_free(keys);
}

static inline void up(void)
{
    tg_worker_call(control, make_keys, NULL);
    tg_worker_call(worker, make_authn, NULL);
}

static inline void down(void)
{
    tg_worker_call(worker, free_authn, NULL);
    tg_providers_fini(&providers);
    tg_worker_call(control, free_keys, NULL);
}

/* Waits at most 2 s. */
static inline bool wait_ready(bool want)
{
    int64_t end_ms = tg_clock_mono_ms() + 2000;

    while (tg_keys_ready(keys) != want && tg_clock_mono_ms() < end_ms)
        usleep(5000);
    return tg_keys_ready(keys) == want;
}

/* ---- asking as a request does ---- */

struct asking {
    struct tg_slice token;
    enum tg_authn_result result;
    const char *reason;
    bool waited, cancel;
    unsigned waits, rooms;
    enum tg_identity_kind kind;                          /* OK: and whether it is the administrator's, and bound */
    bool admin, bound;
    bool no_room;                                        /* its address bucket is empty */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool over;
};

static inline void verify(struct asking *q, bool again);

static inline void ask_again(void *arg)
{
    struct asking *q = arg;

    assert_false(q->cancel);
    q->waited = true;
    verify(q, true);
}

static inline bool has_room(void *arg)
{
    struct asking *q = arg;

    q->rooms++;
    return !q->no_room;
}

static inline void verify(struct asking *q, bool again)
{
    const struct tg_identity *id = NULL;
    const struct tg_authn_request request = {
        .token = q->token, .allowed = allowed, .accept_opaque = accept_opaque, .now_ms = tg_clock_wall_ms(),
        .again = again, .has_room = has_room, .done = ask_again, .arg = q,
    };

    q->result = tg_authn_verify(authn, &request, &id, &q->reason);
    if (id) {
        q->kind = id->kind;
        q->admin = tg_slice_eq(id->email, TG_S("admin@example.com"));
        q->bound = id->jkt.len > 0;
    }
    tg_identity_unref(id);
    if (q->result == TG_AUTHN_WAIT) {
        assert_true(q->waits++ < 4);
        if (!q->cancel)
            return;
        tg_authn_cancel(authn, q);
        tg_authn_cancel(authn, q);                       /* twice is fine */
    }
    pthread_mutex_lock(&q->lock);
    q->over = true;
    pthread_cond_signal(&q->cond);
    pthread_mutex_unlock(&q->lock);
}

static inline void run_verify(struct tg_worker *w, void *arg)
{
    (void)w;
    verify(arg, false);
}

static inline void begin_asking(struct asking *q, struct tg_slice token)
{
    q->token = token;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->cond, NULL);
    tg_worker_post(worker, run_verify, q);
}

static inline void end_asking(struct asking *q)
{
    pthread_mutex_lock(&q->lock);
    while (!q->over)
        pthread_cond_wait(&q->cond, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

static inline enum tg_authn_result ask(struct tg_slice token)
{
    struct asking q = {0};

    begin_asking(&q, token);
    end_asking(&q);
    return q.result;
}

static inline struct tg_slice token_of(const struct tg_signer *signer, const char *subject)
{
    snprintf(claims_text, sizeof(claims_text), "{\"iss\":\"%s\",\"sub\":\"%s\",\"aud\":\"api\",\"exp\":%lld}", issuer,
             subject,
             (long long)(tg_clock_wall_ms() / 1000 + 600));
    return issuer_token(signer, claims_text);
}

static inline void drop(struct tg_slice token)
{
    free((char *)(uintptr_t)token.ptr);
}

static inline void expect(const struct tg_signer *signer, const char *subject, enum tg_authn_result want)
{
    struct tg_slice token = token_of(signer, subject);

    assert_int_equal(ask(token), want);
    drop(token);
}

static inline bool describes(const char *words)
{
    struct tg_buf text = {0};
    bool found;

    tg_keys_describe(keys, &text);
    found = strstr(tg_buf_cstr(&text), words) != NULL;
    if (!found)
        print_message("%s", text.data);
    tg_buf_fini(&text);
    return found;
}

/* ---- around every test ---- */

static inline int reset(void **state)
{
    (void)state;
    publish(first, NULL);
    PROVIDER(said_issuer, issuer);
    PROVIDER(jwks_uri, keys_url);
    PROVIDER(fields, "");
    PROVIDER(raw_keys, NULL);
    PROVIDER(discoveries, 0);
    PROVIDER(fetches, 0);
    PROVIDER(bearers, 0);
    http_peer_delay(&peer, 0);
    periods = quick;
    state_dir = NULL;
    make_provider(&item);
    return 0;
}

static inline enum tg_status init_control(struct tg_worker *w, void *arg, struct tg_err *err)
{
    (void)arg;
    return tg_fetcher_new(w, &fetcher, err);
}

static inline void fini_control(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_fetcher_free(fetcher);
}

static inline int setup(void **state)
{
    struct tg_worker_hooks hooks = {init_control, fini_control, NULL}, none = {0};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    if (!getenv("TOLLGATE_TEST_LOG"))
        tg_log_set_level(TG_LOG_ERROR);
    peer.script = script;
    http_peer_start(&peer);
    snprintf(issuer, sizeof(issuer), "http://127.0.0.1:%u", peer.port);
    snprintf(keys_url, sizeof(keys_url), "%s/keys", issuer);
    first = issuer_key(TG_ALG_ES256);
    second = issuer_key(TG_ALG_EdDSA);
    return tg_worker_start(200, "control", &hooks, &control, NULL) != TG_OK ||
           tg_worker_start(0, "worker", &none, &worker, NULL) != TG_OK;
}

static inline int teardown(void **state)
{
    (void)state;
    tg_worker_stop(worker);
    tg_worker_stop(control);
    http_peer_stop(&peer);
    tg_buf_fini(&provider.jwks);
    tg_signer_free(first);
    tg_signer_free(second);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, reset)
