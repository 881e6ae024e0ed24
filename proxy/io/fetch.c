/*
 * fetch - libcurl's multi_socket interface on the worker's loop.
 *
 * curl says which sockets to watch and when to wake it; finished transfers are collected after each of its turns,
 * outside of its callbacks, so that a `done` may start and cancel others.
 */
#include "base/file.h"
#include "fetch_internal.h"
#include "internal.h"
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>

#define DEFAULT_TIMEOUT_MS 10000
#define DEFAULT_BYTES ((size_t)1 << 20)
#define IDLE_CONNECTIONS 8L
#define CA_BYTES ((size_t)4 << 20)

struct tg_fetcher {
    struct tg_worker *worker;
    CURLM *multi;
    struct event *timer;                                 /* curl's one timeout */
    struct event *refused;                               /* reports requests that could not be started */
    struct tg_fetch *fetches;
};

/* ---- bytes that come ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct tg_fetch *f = arg;
    size_t n = size * count;

    if (n > f->max_bytes - f->body.len) {
        f->too_large = true;
        return 0;                                        /* less than n: curl gives up */
    }
    tg_buf_add(&f->body, data, n);
    return n;
}

static size_t on_head(char *data, size_t size, size_t count, void *arg)
{
    struct tg_fetch *f = arg;
    size_t n = size * count;

    (void)data;
    f->head_bytes += n;
    if (f->head_bytes > FETCH_HEAD_BYTES) {
        f->head_too_large = true;
        return 0;
    }
    return n;
}

/* ---- the life of a fetch ---- */

static void free_fetch(struct tg_fetch *f)
{
    if (f->next)
        f->next->prev = f->prev;
    *f->prev = f->next;
    curl_multi_remove_handle(f->fetcher->multi, f->easy); /* harmless when it was never added */
    curl_easy_cleanup(f->easy);
    for (struct curl_slist *h = f->headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));        /* may hold a bearer token */
    curl_slist_free_all(f->headers);
    tg_buf_wipe(&f->body);                               /* a token of ours */
    free(f);
}

static void finish(struct tg_fetch *f, CURLcode code)
{
    struct tg_fetch_answer answer;
    struct tg_err err = {0};

    f->finishing = true;
    curl_multi_remove_handle(f->fetcher->multi, f->easy);
    fetch_read_answer(f, code, &answer, &err);
    f->done(f->arg, &answer);
    free_fetch(f);
}

static void collect(struct tg_fetcher *fetcher)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(fetcher->multi, &left))) {
        CURLcode code = msg->data.result;
        char *private = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        finish((struct tg_fetch *)(void *)private, code); /* msg is gone with the handle */
    }
}

/* ---- curl and the loop ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct tg_fetcher *fetcher = arg;
    int running;

    (void)fd;
    (void)what;
    tg_worker_enter(fetcher->worker);
    curl_multi_socket_action(fetcher->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(fetcher);
    tg_worker_leave(fetcher->worker);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct tg_fetcher *fetcher = arg;
    int action = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;

    tg_worker_enter(fetcher->worker);
    curl_multi_socket_action(fetcher->multi, (curl_socket_t)fd, action, &running);
    collect(fetcher);
    tg_worker_leave(fetcher->worker);
}

static void on_refused(evutil_socket_t fd, short what, void *arg)
{
    struct tg_fetcher *fetcher = arg;
    struct tg_fetch *f = fetcher->fetches;

    (void)fd;
    (void)what;
    tg_worker_enter(fetcher->worker);
    while (f) {
        if (f->refused == CURLE_OK) {
            f = f->next;
            continue;
        }
        finish(f, f->refused);
        f = fetcher->fetches;                            /* `done` may have changed the list */
    }
    tg_worker_leave(fetcher->worker);
}

static int watch_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct tg_fetcher *fetcher = arg;
    struct timeval tv = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

    (void)multi;
    if (timeout_ms < 0)
        event_del(fetcher->timer);
    else
        event_add(fetcher->timer, &tv);
    return 0;
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock)
{
    struct tg_fetcher *fetcher = arg;
    struct event *ev = sock;
    short events = (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);

    (void)easy;
    if (ev)
        event_free(ev);
    ev = NULL;
    if (what != CURL_POLL_REMOVE) {
        ev = event_new(fetcher->worker->base, fd, events, on_socket, fetcher);
        if (!ev || event_add(ev, NULL) != 0) {
            if (ev)
                event_free(ev);
            curl_multi_assign(fetcher->multi, fd, NULL);
            return -1;
        }
    }
    curl_multi_assign(fetcher->multi, fd, ev);
    return 0;
}

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

enum tg_status tg_fetcher_new(struct tg_worker *w, struct tg_fetcher **out, struct tg_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct tg_fetcher *f = TG_NEW(struct tg_fetcher);

    pthread_once(&once, init_curl);
    f->worker = w;
    f->multi = curl_multi_init();
    f->timer = event_new(w->base, -1, 0, on_timer, f);
    f->refused = event_new(w->base, -1, 0, on_refused, f);
    if (!f->multi || !f->timer || !f->refused) {
        tg_fetcher_free(f);
        return tg_fail(err, TG_IO, "libcurl cannot be started");
    }
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, watch_timer);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    *out = f;
    return TG_OK;
}

void tg_fetcher_free(struct tg_fetcher *f)
{
    if (!f)
        return;
    while (f->fetches)
        free_fetch(f->fetches);
    if (f->multi)
        curl_multi_cleanup(f->multi);
    if (f->timer)
        event_free(f->timer);
    if (f->refused)
        event_free(f->refused);
    free(f);
}

/* ---- a request ---- */

#define SET(option, value) \
    do { \
        if (code == CURLE_OK) \
            code = curl_easy_setopt(f->easy, option, value); \
    } while (0)

static CURLcode set_guards(struct tg_fetch *f)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);                         /* else a timeout waits for a hanging getaddrinfo() */
    SET(CURLOPT_TIMEOUT_MS, (long)f->timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)f->timeout_ms);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, f);
    SET(CURLOPT_HEADERFUNCTION, on_head);
    SET(CURLOPT_HEADERDATA, f);
    SET(CURLOPT_ERRORBUFFER, f->curl_words);
    SET(CURLOPT_PRIVATE, f);
    SET(CURLOPT_USERAGENT, "tollgate");
    return code;
}

/*
 * The certificates of a ca_file are handed over as what they are now, not by name: curl keeps connections, sessions and
 * parsed files apart by the octets then, and nothing that was verified under the old file serves under the new one.
 * Without one $SSL_CERT_FILE goes before the system's, as with every other TLS connection (io/tls.h).
 */
static CURLcode set_trust(struct tg_fetch *f, const char *ca_file)
{
    const char *named = getenv("SSL_CERT_FILE");
    struct tg_buf pem = {0};
    struct curl_blob blob;
    CURLcode code = CURLE_OK;

    SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    SET(CURLOPT_CA_CACHE_TIMEOUT, 0L);
    if (!ca_file && named && *named)
        ca_file = named;
    if (!ca_file || code != CURLE_OK)
        return code;
    if (tg_file_read(ca_file, CA_BYTES, &pem, NULL) != TG_OK)
        return CURLE_SSL_CACERT_BADFILE;
    blob = (struct curl_blob){pem.data, pem.len, CURL_BLOB_COPY};
    SET(CURLOPT_CAINFO_BLOB, &blob);
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_PROXY_CAINFO_BLOB, &blob);
    SET(CURLOPT_PROXY_CAPATH, NULL);
    tg_buf_fini(&pem);
    return code;
}

/* curl's own way of making a socket, once the address is allowed. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct tg_fetch *f = arg;
    struct tg_ip ip;

    (void)purpose;
    tg_ip_from_sockaddr(&address->addr, &ip, NULL);
    if (ip.family == 0 || !f->may_connect(f->may_connect_arg, &ip)) {
        f->forbidden = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* A connection of its own: one that another request made was never asked about. */
static CURLcode set_addresses(struct tg_fetch *f, const struct tg_fetch_request *r)
{
    CURLcode code = CURLE_OK;

    if (!r->may_connect)
        return code;
    f->may_connect = r->may_connect;
    f->may_connect_arg = r->may_connect_arg;
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, f);
    SET(CURLOPT_FRESH_CONNECT, 1L);
    SET(CURLOPT_FORBID_REUSE, 1L);
    return code;
}

static CURLcode set_request(struct tg_fetch *f, const struct tg_fetch_request *r)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_PROXY, r->proxy ? r->proxy : "");        /* "": not even from the environment */
    if (!r->proxy)
        SET(CURLOPT_NOPROXY, "*");
    if (code == CURLE_OK)
        code = set_trust(f, r->ca_file);
    if (r->body.len || (r->method && strcmp(r->method, "POST") == 0)) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
        SET(CURLOPT_COPYPOSTFIELDS, r->body.len ? r->body.ptr : "");
        f->headers = curl_slist_append(f->headers, "Expect:");
    }
    if (r->method && strcmp(r->method, "HEAD") == 0)
        SET(CURLOPT_NOBODY, 1L);
    else if (r->method)
        SET(CURLOPT_CUSTOMREQUEST, r->method);
    for (size_t i = 0; r->headers && r->headers[i]; i++)
        f->headers = curl_slist_append(f->headers, r->headers[i]);
    SET(CURLOPT_HTTPHEADER, f->headers);
    return code;
}

struct tg_fetch *tg_fetch_start(struct tg_fetcher *fetcher, const struct tg_fetch_request *request,
                                void (*done)(void *arg, const struct tg_fetch_answer *answer), void *arg)
{
    struct tg_fetch *f = TG_NEW(struct tg_fetch);

    f->fetcher = fetcher;
    f->done = done;
    f->arg = arg;
    f->proxied = request->proxy != NULL;
    f->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : DEFAULT_TIMEOUT_MS;
    f->max_bytes = request->max_bytes ? request->max_bytes : DEFAULT_BYTES;
    f->next = fetcher->fetches;
    f->prev = &fetcher->fetches;
    if (f->next)
        f->next->prev = &f->next;
    fetcher->fetches = f;
    f->easy = curl_easy_init();
    tg_assert(f->easy);                                  /* memory alone can be missing */
    f->refused = set_guards(f);
    if (f->refused == CURLE_OK)
        f->refused = set_addresses(f, request);
    if (f->refused == CURLE_OK)
        f->refused = set_request(f, request);
    if (f->refused == CURLE_OK && curl_multi_add_handle(fetcher->multi, f->easy) != CURLM_OK)
        f->refused = CURLE_OUT_OF_MEMORY;
    if (f->refused != CURLE_OK)
        event_active(fetcher->refused, EV_TIMEOUT, 1);
    return f;
}

void tg_fetch_cancel(struct tg_fetch *f)
{
    if (!f->finishing)                                   /* else inside its own `done`: freed right after it */
        free_fetch(f);
}
