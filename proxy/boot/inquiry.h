/*
 * inquiry - what a command asks of the world outside, one thing at a time: an HTTP exchange, a connection.
 *
 * A thread with a loop of its own does the asking, with the fetcher, the resolver and the streams that a server uses,
 * so that a command finds what a server would find. Threads: the functions wait; one thread asks.
 */
#pragma once
#include "base/cert.h"
#include "io/fetch.h"
#include "io/tls.h"

struct inquiry;
/* From now on nothing is logged and SIGPIPE is ignored: what is found is told by the command. */
enum tg_status inquiry_start(struct inquiry **out, struct tg_err *err);
void inquiry_end(struct inquiry *q);                     /* NULL is fine */

struct inquiry_answer {
    enum tg_status status;                               /* TG_OK: an HTTP answer came; else `error` says why not */
    unsigned http_status;
    struct tg_buf body;
    int64_t date_s;                                      /* of Date; 0: not said */
    int64_t asked_ms, came_ms;                           /* wall time */
    char error[320];
};
void inquiry_fetch(struct inquiry *q, const struct tg_fetch_request *request, struct inquiry_answer *out);
void inquiry_answer_fini(struct inquiry_answer *a);

/* For what lives on the loop: `start` runs there, and what follows from it ends with inquiry_done. */
void inquiry_run(struct inquiry *q, void (*start)(struct tg_worker *w, void *arg), void *arg);
void inquiry_done(struct inquiry *q);
struct tg_fetcher *inquiry_fetcher(struct inquiry *q);

struct inquiry_place {                                   /* where to connect */
    struct tg_slice host;                                /* name or address */
    uint16_t port;
    struct tg_slice socket;                              /* instead: a unix socket's path; ptr NULL: none */
    struct tg_tls_client *tls;                           /* NULL: plain */
    struct tg_slice name;                                /* with TLS: whom the certificate must be for */
    int64_t timeout_ms;
};
struct inquiry_contact {
    enum tg_status status;                               /* TG_OK: connected, and with TLS its handshake done */
    bool handshake_failed;                               /* there is a connection, but no TLS */
    char error[320];
    char tls_version[16];                                /* "TLSv1.3"; "": plain */
    char issuer[160];                                    /* of the certificate shown, by common name; "": unknown */
    char names[160];                                     /* whom it is for */
};
/* Every address of a name is tried in turn. */
void inquiry_connect(struct inquiry *q, const struct inquiry_place *place, struct inquiry_contact *out);
