/*
 * endpoint - see internal.h: a configured URL, or one member of a discovery document and who waits for it.
 */
#include "internal.h"
#include "auth/discovery.h"
#include "base/clock.h"
#include <stdio.h>

#define BELIEVED_MS 3600000
#define TROUBLE_MS 1000
#define ANSWER_BYTES ((size_t)1 << 20)

struct waiter {
    struct waiter *next;
    void (*found)(void *arg, const char *url, const char *trouble);
    void *arg;
};
struct tg_endpoint {
    struct tg_fetcher *fetcher;
    char *url;                                           /* NULL: not known (any more) */
    char *document;                                      /* of the issuer; NULL: the URL is configured */
    char *issuer, *member, *ca_file, *token_file, *proxy;
    bool allow_http;
    int64_t timeout_ms;
    int64_t told_ms;                                     /* when `url` or `trouble` was learned */
    char trouble[320];
    struct tg_fetch *fetch;
    struct waiter *waiters, **last;
};

struct tg_endpoint *tg_endpoint_new(struct tg_fetcher *fetcher, const struct tg_endpoint_settings *settings)
{
    struct tg_endpoint *e = TG_NEW(struct tg_endpoint);

    e->fetcher = fetcher;
    e->url = tg_slice_dup_or_null(settings->url);
    e->document = e->url ? NULL : tg_discovery_url(settings->issuer);
    e->issuer = tg_slice_dup(settings->issuer);
    e->member = tg_slice_dup(tg_slice_str(settings->member));
    e->ca_file = tg_slice_dup_or_null(settings->ca_file);
    e->token_file = tg_slice_dup_or_null(settings->token_file);
    e->proxy = tg_slice_dup_or_null(settings->proxy);
    e->allow_http = settings->allow_http;
    e->timeout_ms = settings->timeout_ms;
    e->last = &e->waiters;
    return e;
}

void tg_endpoint_free(struct tg_endpoint *e)
{
    struct waiter *next;

    if (!e)
        return;
    if (e->fetch)
        tg_fetch_cancel(e->fetch);
    for (struct waiter *w = e->waiters; w; w = next) {
        next = w->next;
        free(w);
    }
    free(e->url);
    free(e->document);
    free(e->issuer);
    free(e->member);
    free(e->ca_file);
    free(e->token_file);
    free(e->proxy);
    free(e);
}

/* ---- asking ---- */

/* One after the other off the list: `found` may find and cancel. */
static void tell_all(struct tg_endpoint *e)
{
    struct waiter *w;

    while ((w = e->waiters)) {
        e->waiters = w->next;
        if (!e->waiters)
            e->last = &e->waiters;
        w->found(w->arg, e->url, e->url ? NULL : e->trouble);
        free(w);
    }
}

static void fail(struct tg_endpoint *e, const char *why)
{
    snprintf(e->trouble, sizeof(e->trouble), "discovery document: %s", why);
    e->told_ms = tg_clock_mono_ms();
}

static void take(struct tg_endpoint *e, const struct tg_fetch_answer *answer)
{
    struct tg_err err;
    char words[96];

    if (answer->status != TG_OK) {
        fail(e, answer->error);
    } else if (answer->http_status != 200) {
        snprintf(words, sizeof(words), "the server answers with status %u%s", answer->http_status,
                 answer->http_status / 100 == 3 ? "; redirects are not followed" : "");
        fail(e, words);
    } else if (tg_discovery_endpoint(answer->body, tg_slice_str(e->issuer), e->member, e->allow_http, &e->url,
                                     &err) != TG_OK) {
        fail(e, tg_err_text(&err));
    } else {
        e->trouble[0] = '\0';
        e->told_ms = tg_clock_mono_ms();
    }
}

static void answered(void *arg, const struct tg_fetch_answer *answer)
{
    struct tg_endpoint *e = arg;

    e->fetch = NULL;
    take(e, answer);
    tell_all(e);
}

/* False: it could not be asked, and `trouble` says why. */
static bool ask(struct tg_endpoint *e)
{
    struct tg_buf bearer = {0};
    const char *headers[] = {"Accept: application/json", NULL, NULL};
    struct tg_fetch_request request = {.url = e->document, .headers = headers, .ca_file = e->ca_file,
                                       .proxy = e->proxy, .timeout_ms = e->timeout_ms, .max_bytes = ANSWER_BYTES};
    struct tg_err err;

    if (e->token_file && tg_bearer_line(e->token_file, &bearer, &err) != TG_OK) {
        fail(e, tg_err_text(&err));
        return false;
    }
    if (bearer.len)
        headers[1] = bearer.data;
    e->fetch = tg_fetch_start(e->fetcher, &request, answered, e);
    tg_buf_wipe(&bearer);
    return true;
}

void tg_endpoint_find(struct tg_endpoint *e, void (*found)(void *arg, const char *url, const char *trouble), void *arg)
{
    int64_t age_ms = tg_clock_mono_ms() - e->told_ms;
    struct waiter *w;

    if (e->url && e->document && age_ms >= BELIEVED_MS)
        tg_endpoint_doubt(e);
    if (e->url) {
        found(arg, e->url, NULL);
        return;
    }
    if (!e->fetch && ((e->trouble[0] && age_ms < TROUBLE_MS) || !ask(e))) {
        found(arg, NULL, e->trouble);
        return;
    }
    w = TG_NEW(struct waiter);
    w->found = found;
    w->arg = arg;
    *e->last = w;
    e->last = &w->next;
}

void tg_endpoint_cancel(struct tg_endpoint *e, const void *arg)
{
    struct waiter **link = &e->waiters, *w;

    while ((w = *link)) {
        if (w->arg != arg) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        free(w);
    }
    e->last = link;
}

void tg_endpoint_doubt(struct tg_endpoint *e)
{
    if (!e->document)
        return;
    free(e->url);
    e->url = NULL;
    e->trouble[0] = '\0';
}
