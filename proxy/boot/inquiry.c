/*
 * inquiry - a loop that answers one question, then the next.
 *
 * What is asked lives on the asker's stack: it waits until the loop has written the answer there.
 */
#include "inquiry.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/resolve.h"
#include "io/stream.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

struct inquiry {
    struct tg_worker *worker;
    struct tg_fetcher *fetcher;
    struct tg_resolver *resolver;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool answered;
};

static enum tg_status begin(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct inquiry *q = arg;
    enum tg_status st = tg_fetcher_new(w, &q->fetcher, err);

    return st == TG_OK ? tg_resolver_new(w, &q->resolver, err) : st;
}

static void end(struct tg_worker *w, void *arg)
{
    struct inquiry *q = arg;

    (void)w;
    tg_fetcher_free(q->fetcher);
    tg_resolver_free(q->resolver);
}

enum tg_status inquiry_start(struct inquiry **out, struct tg_err *err)
{
    struct inquiry *q = TG_NEW(struct inquiry);
    struct tg_worker_hooks hooks = {begin, end, q};
    enum tg_status st;

    signal(SIGPIPE, SIG_IGN);
    tg_log_set_level(TG_LOG_OFF);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->cond, NULL);
    st = tg_worker_start(0, "inquiry", &hooks, &q->worker, err);
    if (st == TG_OK)
        *out = q;
    else
        inquiry_end(q);
    return st;
}

void inquiry_end(struct inquiry *q)
{
    if (!q)
        return;
    tg_worker_stop(q->worker);
    pthread_cond_destroy(&q->cond);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* Waits until somebody on the loop calls inquiry_done. */
void inquiry_run(struct inquiry *q, void (*start)(struct tg_worker *w, void *arg), void *arg)
{
    q->answered = false;
    tg_worker_post(q->worker, start, arg);
    pthread_mutex_lock(&q->lock);
    while (!q->answered)
        pthread_cond_wait(&q->cond, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

void inquiry_done(struct inquiry *q)
{
    pthread_mutex_lock(&q->lock);
    q->answered = true;
    pthread_cond_signal(&q->cond);
    pthread_mutex_unlock(&q->lock);
}

struct tg_fetcher *inquiry_fetcher(struct inquiry *q) { return q->fetcher; }

/* ---- an HTTP exchange ---- */

struct exchange {
    struct inquiry *q;
    const struct tg_fetch_request *request;
    struct inquiry_answer *out;
};

static void on_answer(void *arg, const struct tg_fetch_answer *answer)
{
    struct exchange *x = arg;
    struct inquiry_answer *out = x->out;

    out->came_ms = tg_clock_wall_ms();
    out->status = answer->status;
    out->http_status = answer->http_status;
    out->date_s = answer->date_s;
    tg_buf_add_slice(&out->body, answer->body);
    snprintf(out->error, sizeof(out->error), "%s", answer->error ? answer->error : "");
    inquiry_done(x->q);
}

static void start_exchange(struct tg_worker *w, void *arg)
{
    struct exchange *x = arg;

    (void)w;
    x->out->asked_ms = tg_clock_wall_ms();
    tg_fetch_start(x->q->fetcher, x->request, on_answer, x);
}

void inquiry_fetch(struct inquiry *q, const struct tg_fetch_request *request, struct inquiry_answer *out)
{
    struct exchange x = {q, request, out};

    *out = (struct inquiry_answer){0};
    inquiry_run(q, start_exchange, &x);
}

void inquiry_answer_fini(struct inquiry_answer *a) { tg_buf_fini(&a->body); }

/* ---- a connection ---- */

#define ADDRESSES 8                                      /* of a name, that are tried */

struct visit {
    struct tg_stream stream;                             /* first: its events find the visit by it */
    struct inquiry *q;
    const struct inquiry_place *place;
    struct inquiry_contact *out;
    struct tg_ip ips[ADDRESSES];
    size_t count, at;
    struct tg_resolve_query *query;
    struct tg_deadline deadline;
    struct tg_deferred next, over;
};

static struct visit *of_stream(struct tg_stream *s) { return (struct visit *)(void *)s; }

static void finish(struct visit *v, enum tg_status st, const char *words)
{
    v->out->status = st;
    if (words != v->out->error)
        snprintf(v->out->error, sizeof(v->out->error), "%s", words);
    tg_worker_defer(v->q->worker, &v->over);
}

static void on_over(struct tg_deferred *d)
{
    struct visit *v = (struct visit *)(void *)((char *)d - offsetof(struct visit, over));

    if (v->query)
        tg_resolve_cancel(v->query);
    tg_stream_close(&v->stream, false);
    tg_deadline_clear(&v->q->worker->wheel, &v->deadline);
    tg_worker_undefer(v->q->worker, &v->next);
    inquiry_done(v->q);
}

static void on_deadline(struct tg_deadline *d)
{
    struct visit *v = (struct visit *)(void *)((char *)d - offsetof(struct visit, deadline));
    char words[120];

    snprintf(words, sizeof(words), "no %s within %lld ms", v->query ? "address of the name" : "connection",
             (long long)v->place->timeout_ms);
    finish(v, TG_UNAVAILABLE, words);
}

/* "CN=Corp CA,O=Corp": the common name says most. */
static struct tg_slice common_name(struct tg_slice dn)
{
    struct tg_slice part, rest = dn;

    while (rest.len) {
        tg_slice_cut(rest, ',', &part, &rest);
        if (tg_slice_starts_with(part, TG_S("CN=")))
            return tg_slice(part.ptr + 3, part.len - 3);
    }
    return dn;
}

static void note_facts(struct visit *v)
{
    const struct tg_tls_facts *facts = tg_stream_tls(&v->stream);
    const struct tg_cert *cert = facts ? facts->certificate : NULL;
    struct inquiry_contact *out = v->out;
    struct tg_slice name;
    size_t len = 0;

    if (facts)
        snprintf(out->tls_version, sizeof(out->tls_version), "%s", facts->version);
    if (!cert)
        return;
    name = common_name(cert->issuer);
    snprintf(out->issuer, sizeof(out->issuer), "%.*s", (int)(name.len > 150 ? 150 : name.len), name.ptr);
    for (size_t i = 0; i < cert->dns.count; i++) {
        name = cert->dns.items[i];
        if (len + name.len + sizeof(", ...") + 2 > sizeof(out->names)) {
            snprintf(out->names + len, sizeof(out->names) - len, "%s...", len ? ", " : "");
            return;
        }
        len += (size_t)snprintf(out->names + len, sizeof(out->names) - len, "%s" TG_S_FMT, len ? ", " : "",
                                TG_S_ARG(name));
    }
}

static const char *error_words(int error)
{
    switch (error) {
    case ECONNREFUSED: return "connection refused: nothing listens there";
    case ENETUNREACH: return "the network cannot be reached";
    case EHOSTUNREACH: return "the host cannot be reached";
    case ETIMEDOUT: return "no connection in time";
    case ENOENT: return "there is no such socket";
    case EACCES: return "no permission to connect";
    default: return strerror(error);
    }
}

static void on_connected(struct tg_stream *s, int error)
{
    struct visit *v = of_stream(s);

    if (error == 0) {
        note_facts(v);
        finish(v, TG_OK, "");
    } else if (error == EPROTO) {
        v->out->handshake_failed = true;
        finish(v, TG_UNAVAILABLE, tg_stream_tls_error(s));
    } else {
        snprintf(v->out->error, sizeof(v->out->error), "%s", error_words(error));
        tg_worker_defer(v->q->worker, &v->next);
    }
}

/* Whatever the other side says, nothing was asked. */
static void on_other(struct tg_stream *s) { tg_stream_pause(s); }
static void on_broken(struct tg_stream *s) { (void)s; }

static const struct tg_stream_events events = {
    .readable = on_other, .drained = on_broken, .connected = on_connected, .broken = on_broken};

static void connect_to(struct visit *v, const struct tg_address *to)
{
    const struct inquiry_place *p = v->place;
    enum tg_status st;

    errno = 0;
    st = p->tls ? tg_stream_connect_tls(&v->stream, v->q->worker, to, &events, p->tls, p->name, NULL)
                : tg_stream_connect(&v->stream, v->q->worker, to, &events);

    if (st == TG_OK)
        return;
    snprintf(v->out->error, sizeof(v->out->error), "%s", errno ? error_words(errno) : "no socket can be made");
    tg_worker_defer(v->q->worker, &v->next);
}

static void on_next(struct tg_deferred *d)
{
    struct visit *v = (struct visit *)(void *)((char *)d - offsetof(struct visit, next));
    struct tg_address to;

    tg_stream_close(&v->stream, false);
    if (v->at == v->count)
        finish(v, TG_UNAVAILABLE, v->out->error);
    else if (tg_address_from_ip(&v->ips[v->at++], v->place->port, &to))
        connect_to(v, &to);
    else
        tg_worker_defer(v->q->worker, &v->next);
}

static void on_addresses(void *arg, const struct tg_ip *ips, size_t count)
{
    struct visit *v = arg;

    v->query = NULL;
    v->count = count < ADDRESSES ? count : ADDRESSES;
    if (count == 0) {
        finish(v, TG_UNAVAILABLE, "the host name is not known");
        return;
    }
    memcpy(v->ips, ips, v->count * sizeof(*ips));
    tg_worker_defer(v->q->worker, &v->next);
}

static void start_visit(struct tg_worker *w, void *arg)
{
    struct visit *v = arg;
    const struct inquiry_place *p = v->place;
    const struct tg_ip *ips;
    struct tg_address local;
    struct tg_err err;
    size_t count;

    tg_deadline_set(&w->wheel, &v->deadline, w->now_ms + p->timeout_ms);
    if (p->socket.ptr) {
        if (tg_address_from_path(p->socket, &local, &err) == TG_OK)
            connect_to(v, &local);
        else
            finish(v, TG_UNAVAILABLE, tg_err_text(&err));
    } else if (tg_resolve(v->q->resolver, p->host, on_addresses, v, &ips, &count, &v->query) == TG_OK) {
        v->query = NULL;
        on_addresses(v, ips, count);
    }
}

void inquiry_connect(struct inquiry *q, const struct inquiry_place *place, struct inquiry_contact *out)
{
    struct visit v = {.q = q, .place = place, .out = out};

    *out = (struct inquiry_contact){0};
    v.stream.fd = -1;
    v.deadline.expired = on_deadline;
    v.next.run = on_next;
    v.over.run = on_over;
    inquiry_run(q, start_visit, &v);
}
