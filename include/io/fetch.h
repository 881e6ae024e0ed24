/*
 * fetch - one outgoing control exchange (libcurl multi): keys, discovery, introspection, credentials, sync, bundles,
 * webhooks.
 *
 * Caps: size, time, no redirects, http and https only, no proxy from the environment unless asked. Threads: that of
 * the worker it was made for (control, management).
 */
#pragma once
#include "base/err.h"
#include "io/worker.h"

struct tg_ip;                                            /* base/ip.h */
struct tg_fetcher;                                       /* the multi handle on a worker's loop */
struct tg_fetch;

struct tg_fetch_request {
    const char *url;                                     /* copied, like everything here */
    const char *method;                                  /* NULL: GET */
    struct tg_slice body;
    const char *const *headers;                          /* "Name: value", NULL-terminated; NULL: none */
    const char *ca_file;                                 /* PEM, read now; NULL: $SSL_CERT_FILE, else the system's */
    const char *proxy;                                   /* NULL: none */
    int64_t timeout_ms;                                  /* 0: 10 s, connect included */
    size_t max_bytes;                                    /* 0: 1 MiB */
    /*
     * Asked for each address that is about to be connected to, after its name was resolved (with a proxy: the proxy's);
     * false: refused, and when no other address is left the answer's status is TG_DENIED. NULL: any. For what strangers
     * may name (webhooks). Such a request has a connection of its own.
     */
    bool (*may_connect)(void *arg, const struct tg_ip *ip);
    void *may_connect_arg;
};
struct tg_fetch_answer {
    /* TG_OK: an HTTP answer came; else `error` says what went wrong */
    enum tg_status status;
    unsigned http_status;
    struct tg_slice body;
    int64_t max_age_s;                                   /* of Cache-Control, less Age; -1: not said; 0: no-store */
    int64_t date_s;                                      /* Date, and a cache's Age since; 0: not said */
    struct tg_slice etag;                                /* as sent, with its quotes; empty: none, or too long */
    int64_t retry_after_s;                               /* Retry-After, of either form; -1: not said */
    const char *error;                                   /* in words: "certificate not trusted", "connection refused" */
};
enum tg_status tg_fetcher_new(struct tg_worker *w, struct tg_fetcher **out, struct tg_err *err);
/* Cancels what runs; callbacks are not called. Never from inside a `done`. NULL is fine. */
void tg_fetcher_free(struct tg_fetcher *f);
/* `done` is called once on the worker's thread, never before tg_fetch_start returned; the answer is valid inside it. */
struct tg_fetch *tg_fetch_start(struct tg_fetcher *f, const struct tg_fetch_request *request,
                                void (*done)(void *arg, const struct tg_fetch_answer *answer), void *arg);
void tg_fetch_cancel(struct tg_fetch *fetch);            /* `done` will not be called */

/*
 * Whether a configured or discovered URL may be asked: https, or http to a loopback host (127.0.0.0/8, ::1, localhost)
 * or to any host with `allow_http`; no user name, no fragment. Read by the parser that will fetch it. Any thread.
 */
enum tg_status tg_fetch_check_url(const char *url, bool allow_http, struct tg_err *err);
