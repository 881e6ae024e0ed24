/*
 * credential_source - what all threads see of one of tollgate's own credentials: the token, and who waits for another.
 *
 * A reader compares one atomic number; only when it moved does it take the lock. The control thread alone publishes.
 */
#include "credential_internal.h"
#include "base/clock.h"
#include <math.h>
#include <stdio.h>

#define TOKEN_BYTES ((size_t)16384)                      /* more than any service takes in a field */
#define SCHEME "Bearer "

/* ---- the token ---- */

const char *tg_credential_token_fault(struct tg_slice token)
{
    if (token.len == 0)
        return "the token is empty";
    if (token.len > TOKEN_BYTES)
        return "the token is longer than 16 KiB";
    for (size_t i = 0; i < token.len; i++)
        if (token.ptr[i] <= ' ' || token.ptr[i] > '~')
            return "the token is not one word of visible ASCII";
    return NULL;
}

struct tg_credential_text *tg_credential_text_new(struct tg_slice token)
{
    size_t len = strlen(SCHEME) + token.len;
    struct tg_credential_text *text = tg_alloc(sizeof(*text) + len);

    atomic_init(&text->refs, 1);
    text->len = len;
    memcpy(text->value, SCHEME, strlen(SCHEME));
    memcpy(text->value + strlen(SCHEME), token.ptr, token.len);
    return text;
}

static struct tg_credential_text *text_ref(struct tg_credential_text *text)
{
    atomic_fetch_add_explicit(&text->refs, 1, memory_order_relaxed);
    return text;
}

void tg_credential_text_unref(struct tg_credential_text *text)
{
    if (!text || atomic_fetch_sub_explicit(&text->refs, 1, memory_order_acq_rel) > 1)
        return;
    explicit_bzero(text->value, text->len);
    free(text);
}

/* ---- settings ---- */

static struct tg_slice copy(struct tg_arena *arena, struct tg_slice s)
{
    return s.len ? tg_slice_str(tg_arena_str(arena, s)) : (struct tg_slice){NULL, 0};
}

static void copy_settings(struct tg_credential_source *s, const struct tg_credential_settings *from)
{
    struct tg_credential_settings *to = &s->settings;

    *to = *from;
    to->token_file = copy(&s->arena, from->token_file);
    to->api_user_token = copy(&s->arena, from->api_user_token);
    to->token_url = copy(&s->arena, from->token_url);
    to->issuer = copy(&s->arena, from->issuer);
    to->scope = copy(&s->arena, from->scope);
    to->resource = copy(&s->arena, from->resource);
    to->audience = copy(&s->arena, from->audience);
    to->ca_file = copy(&s->arena, from->ca_file);
    to->proxy = copy(&s->arena, from->proxy);
    tg_client_auth_copy(&from->client, &s->arena, &to->client);
    if (to->key)
        atomic_fetch_add_explicit(&to->key->refs, 1, memory_order_relaxed);
}

static void print_text(struct tg_buf *out, struct tg_slice s)
{
    tg_buf_addf(out, "%zu:", s.len);
    tg_buf_add_slice(out, s);
}

static void print_key(struct tg_buf *out, const struct tg_service_key *key)
{
    if (!key)
        return;
    print_text(out, key->id);
    tg_signer_jwks(key->signer, out);                    /* the public half tells which it is */
}

void tg_credential_print(const struct tg_credential_settings *s, uint8_t out[TG_SHA256_LEN])
{
    const struct tg_slice texts[] = {s->token_file, s->api_user_token, s->token_url, s->issuer, s->scope, s->resource,
                                     s->audience, s->ca_file, s->proxy, s->client.client_id, s->client.secret_file};
    struct tg_buf text = {0};

    tg_buf_addf(&text, "%d %d %d %d %lld ", (int)s->kind, s->control_plane, (int)s->client.method, s->allow_http,
                (long long)s->timeout_ms);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        print_text(&text, texts[i]);
    print_key(&text, s->client.key);
    print_key(&text, s->key);
    tg_sha256(tg_buf_slice(&text), out);
    tg_buf_wipe(&text);
}

/* "service.token" of a file; of a grant the server, and who asks. */
static char *name_of(const struct tg_credential_settings *s)
{
    struct tg_buf name = {0};

    if (s->kind == TG_CREDENTIAL_FILE) {
        const char *slash = memrchr(s->token_file.ptr, '/', s->token_file.len);

        tg_buf_adds(&name, slash ? slash + 1 : s->token_file.ptr);
    } else if (s->kind == TG_CREDENTIAL_API_USER) {
        tg_buf_addf(&name, TG_S_FMT " (API user)", TG_S_ARG(s->token_url));
    } else {
        tg_buf_add_slice(&name, s->issuer.len ? s->issuer : s->token_url);
        tg_buf_addf(&name, " (" TG_S_FMT ")", TG_S_ARG(s->client.client_id));
    }
    tg_buf_cstr(&name);
    return name.data;
}

/* ---- what is measured ---- */

static double read_expiry(void *arg)
{
    struct tg_credential_gauges *g = arg;
    int64_t until_ms = atomic_load_explicit(&g->until_ms, memory_order_relaxed);

    if (until_ms == INT64_MAX)
        return (double)NAN;
    return until_ms == INT64_MIN ? -1 : (double)(until_ms - tg_clock_mono_ms()) / 1000;
}

static struct tg_credential_gauges *make_gauges(const char *name, bool ends)
{
    struct tg_credential_gauges *g = TG_NEW(struct tg_credential_gauges);
    struct tg_slice of = tg_slice_str(name);
    struct tg_slice ok[] = {of, TG_S("ok")}, error[] = {of, TG_S("error")}, refused[] = {of, TG_S("refused")};
    struct tg_metric *renewals, *expiry;

    renewals = tg_metric_family(TG_COUNTER, "tollgate_credential_renewals_total",
                                "Attempts to get a token of tollgate's own for a service; refused: the server says "
                                "that the credential is bad.", "credential,result");
    expiry = tg_metric_family(TG_GAUGE, "tollgate_credential_expiry_seconds",
                              "Time until a token of tollgate's own ends; -1: none is usable, NaN: no route uses it "
                              "any more.", "credential");
    g->name = tg_slice_dup(of);
    atomic_init(&g->until_ms, INT64_MIN);
    g->ok = tg_metric_series(renewals, ok);
    g->error = tg_metric_series(renewals, error);
    g->refused = tg_metric_series(renewals, refused);
    if (ends)
        tg_metric_callback(expiry, &of, read_expiry, g);
    return g;
}

static struct tg_credential_gauges *gauges_of(const char *name, bool ends)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct tg_credential_gauges *all;
    struct tg_credential_gauges *g;

    pthread_mutex_lock(&lock);
    for (g = all; g && strcmp(g->name, name) != 0; g = g->next)
        ;
    if (!g) {
        g = make_gauges(name, ends);
        g->next = all;
        all = g;
    }
    pthread_mutex_unlock(&lock);
    return g;
}

/* ---- life ---- */

struct tg_credential_source *tg_credential_source_new(const struct tg_credential_settings *settings,
                                                      const struct tg_credential_periods *periods)
{
    struct tg_credential_source *s = TG_NEW(struct tg_credential_source);

    atomic_init(&s->refs, 1);
    atomic_init(&s->version, 1);                         /* a zeroed view is behind */
    s->refused_until_ms = s->hopeless_until_ms = s->logged_ms = INT64_MIN;
    pthread_mutex_init(&s->lock, NULL);
    tg_arena_init(&s->arena, NULL, 0);
    copy_settings(s, settings);
    tg_credential_print(settings, s->print);
    s->name = name_of(&s->settings);
    s->gauges = gauges_of(s->name, s->settings.kind != TG_CREDENTIAL_FILE);
    s->periods = *periods;
    return s;
}

struct tg_credential_source *tg_credential_source_ref(struct tg_credential_source *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

bool tg_credential_source_is_forsaken(struct tg_credential_source *s)
{
    return atomic_load_explicit(&s->refs, memory_order_acquire) == 1;
}

void tg_credential_source_unref(struct tg_credential_source *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    tg_assert(!s->fetch && !s->endpoint);
    tg_credential_text_unref(s->text);
    if (s->settings.api_user_token.len)
        explicit_bzero((char *)s->settings.api_user_token.ptr, s->settings.api_user_token.len);
    tg_credential_settings_fini(&s->settings);
    pthread_mutex_destroy(&s->lock);
    tg_arena_fini(&s->arena);
    tg_waiters_fini(&s->waiters);
    free(s->name);
    free(s);
}

/* ---- publishing ---- */

static bool same_text(const struct tg_credential_text *a, const struct tg_credential_text *b)
{
    return a && b ? tg_slice_eq(tg_slice(a->value, a->len), tg_slice(b->value, b->len)) : a == b;
}

bool tg_credential_source_publish(struct tg_credential_source *s, struct tg_credential_text *text)
{
    struct tg_credential_text *gone = text;
    bool moved;

    pthread_mutex_lock(&s->lock);
    moved = !same_text(s->text, text);
    if (moved) {
        gone = s->text;
        s->text = text;
        atomic_fetch_add_explicit(&s->version, 1, memory_order_release);
    }
    pthread_mutex_unlock(&s->lock);
    tg_credential_text_unref(gone);
    return moved;
}

bool tg_credential_source_has_text(struct tg_credential_source *s)
{
    bool has;

    pthread_mutex_lock(&s->lock);
    has = s->text != NULL;
    pthread_mutex_unlock(&s->lock);
    return has;
}

/* ---- a worker's view ---- */

bool tg_credential_view_update(struct tg_credential_source *s, struct tg_credential_view *view, struct tg_slice *value)
{
    struct tg_credential_text *before = view->text;

    if (atomic_load_explicit(&s->version, memory_order_acquire) != view->version) {
        pthread_mutex_lock(&s->lock);
        view->text = s->text ? text_ref(s->text) : NULL;
        view->version = atomic_load_explicit(&s->version, memory_order_relaxed);
        pthread_mutex_unlock(&s->lock);
        tg_credential_text_unref(before);
    }
    if (view->text)
        *value = tg_slice(view->text->value, view->text->len);
    return view->text != NULL;
}

void tg_credential_view_fini(struct tg_credential_view *view)
{
    tg_credential_text_unref(view->text);
    *view = (struct tg_credential_view){0};
}

/* ---- waiting for another token ---- */

static void run_ask(struct tg_worker *control, void *arg)
{
    struct tg_credential_source *s = arg;

    s->ask(control, s);
    tg_credential_source_unref(s);                       /* of the post */
}

bool tg_credential_renew(struct tg_credential_source *s, uint64_t version, struct tg_worker *w,
                         void (*done)(struct tg_worker *w, void *arg), void *arg)
{
    int64_t now_ms = tg_clock_mono_ms();
    bool hope = false;

    pthread_mutex_lock(&s->lock);
    if (!s->control)
        goto out;
    hope = true;
    if (s->text && atomic_load_explicit(&s->version, memory_order_relaxed) != version) {
        if (done)
            tg_worker_post(w, done, arg);                /* another one is here already */
        goto out;
    }
    if (!s->flying) {
        hope = now_ms >= s->hopeless_until_ms && !(s->text && now_ms < s->refused_until_ms);
        if (!hope)
            goto out;
        if (s->text)
            s->refused_until_ms = now_ms + s->periods.again;
        s->flying = true;
        tg_worker_post(s->control, run_ask, tg_credential_source_ref(s));
    }
    if (done)
        tg_waiters_add(&s->waiters, (struct tg_waiter){w, done, arg});
out:
    pthread_mutex_unlock(&s->lock);
    return hope;
}

bool tg_credential_forget(struct tg_credential_source *s, const void *arg)
{
    bool found;

    pthread_mutex_lock(&s->lock);
    found = tg_waiters_drop(&s->waiters, arg);
    pthread_mutex_unlock(&s->lock);
    return found;
}

void tg_credential_flight_begins(struct tg_credential_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->flying = true;
    pthread_mutex_unlock(&s->lock);
}

void tg_credential_flight_ends(struct tg_credential_source *s, const char *trouble, int64_t hopeless_ms)
{
    pthread_mutex_lock(&s->lock);
    s->flying = false;
    snprintf(s->trouble, sizeof(s->trouble), "%s", trouble ? trouble : "");
    s->hopeless_until_ms = trouble ? tg_clock_mono_ms() + hopeless_ms : INT64_MIN;
    tg_waiters_call(&s->waiters);
    pthread_mutex_unlock(&s->lock);
}

void tg_credential_give_up(struct tg_credential_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->control = NULL;
    s->flying = false;
    tg_waiters_call(&s->waiters);
    pthread_mutex_unlock(&s->lock);
}
