/*
 * fetched_keys - a control thread for the moment: bound to one provider, asked until it knows, taken down.
 */
#include "fetched_keys.h"
#include "auth/keys.h"
#include "base/clock.h"
#include "base/log.h"
#include <signal.h>
#include <time.h>

#define SLACK_MS 1000
#define POLL_NS 10000000

struct session {
    struct tg_provider provider;                         /* a copy: the configuration's own stays unbound */
    struct tg_providers one;
    struct tg_fetcher *fetcher;
    struct tg_keys *keys;
};

static enum tg_status begin(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct session *s = arg;
    enum tg_status st = tg_fetcher_new(w, &s->fetcher, err);

    if (st != TG_OK)
        return st;
    s->keys = tg_keys_new(w, s->fetcher, NULL);
    tg_keys_bind(s->keys, &s->one);
    return TG_OK;
}

static void end(struct tg_worker *w, void *arg)
{
    struct session *s = arg;

    (void)w;
    s->provider.release(s->provider.source);
    tg_keys_free(s->keys);
    tg_fetcher_free(s->fetcher);
}

/* "ISSUER: no keys; trouble": what is behind the semicolon. False while nothing went wrong. */
static bool has_trouble(struct session *s, struct tg_err *err)
{
    struct tg_buf text = {0};
    struct tg_slice head, trouble;
    bool found;

    tg_keys_describe(s->keys, &text);
    found = tg_slice_cut(tg_buf_slice(&text), ';', &head, &trouble);
    if (found)
        tg_fail(err, TG_UNAVAILABLE, "the keys of " TG_S_FMT " cannot be fetched:" TG_S_FMT,
                TG_S_ARG(s->provider.issuer), (int)trouble.len - 1, trouble.ptr);
    tg_buf_fini(&text);
    return found;
}

static enum tg_status await_keys(struct session *s, struct tg_jwks **out, struct tg_err *err)
{
    int64_t patience_ms = 2 * s->provider.timeout_ms + SLACK_MS; /* discovery, then the keys */
    int64_t until_ms = tg_clock_mono_ms() + patience_ms;
    struct timespec pause = {0, POLL_NS};
    struct tg_key_view view = {0};

    while (!tg_keys_ready(s->keys)) {
        if (has_trouble(s, err))
            return TG_UNAVAILABLE;
        if (tg_clock_mono_ms() >= until_ms)
            return tg_fail(err, TG_UNAVAILABLE, "the keys of " TG_S_FMT " did not come within %d s",
                           TG_S_ARG(s->provider.issuer), (int)(patience_ms / 1000));
        nanosleep(&pause, NULL);
    }
    tg_key_view_update(s->provider.source, &view);
    if (!view.set)
        return tg_fail(err, TG_UNAVAILABLE, "the keys of " TG_S_FMT " are gone again", TG_S_ARG(s->provider.issuer));
    *out = tg_jwks_ref(view.set);
    tg_key_view_fini(&view);
    return TG_OK;
}

enum tg_status tg_fetched_keys(const struct tg_provider *p, struct tg_jwks **out, struct tg_err *err)
{
    struct session s = {.provider = *p};
    struct tg_worker_hooks hooks = {begin, end, &s};
    struct tg_worker *control;
    enum tg_status st;

    if (p->local) {
        *out = tg_jwks_ref(p->local);
        return TG_OK;
    }
    s.one = (struct tg_providers){&s.provider, 1};
    signal(SIGPIPE, SIG_IGN);
    tg_log_set_level(TG_LOG_OFF);                        /* the sentence returned says it all */
    st = tg_worker_start(0, "keys", &hooks, &control, err);
    if (st != TG_OK)
        return st;
    st = await_keys(&s, out, err);
    tg_worker_stop(control);
    return st;
}
