/*
 * fetch - libcurl's multi_socket interface on the worker's loop.
 *
 * curl says which sockets to watch and when to wake it; finished transfers are collected after each of its turns,
 * outside of its callbacks, so that a `done` may start and cancel others.
 */
#include "io/fetch.h"
#include "base/ip.h"
#include "internal.h"
#include "base/clock.h"
#include "base/file.h"
#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_TIMEOUT_MS 10000
#define DEFAULT_BYTES ((size_t)1 << 20)
#define HEAD_BYTES ((size_t)64 << 10)
#define ETAG_BYTES 512
#define IDLE_CONNECTIONS 8L
#define CA_BYTES ((size_t)4 << 20)
#define LAST_DATE_S INT64_C(253402300799)                /* the year 9999 */

struct tg_fetcher {
    struct tg_worker *worker;
    CURLM *multi;
    struct event *timer;                                 /* curl's one timeout */
    struct event *refused;                               /* reports requests that could not be started */
    struct tg_fetch *fetches;
};
struct tg_fetch {
    struct tg_fetch *next, **prev;
    struct tg_fetcher *fetcher;
    CURL *easy;
    struct curl_slist *headers;
    struct tg_buf body;
    size_t head_bytes, max_bytes;
    int64_t timeout_ms;
    bool too_large, head_too_large, finishing, proxied;
    bool (*may_connect)(void *arg, const struct tg_ip *ip);
    void *may_connect_arg;
    bool forbidden;                                      /* it was refused an address */
    CURLcode refused;                                    /* not CURLE_OK: could not be started */
    char curl_words[CURL_ERROR_SIZE];
    void (*done)(void *arg, const struct tg_fetch_answer *answer);
    void *arg;
};

/* ---- what went wrong, in words ---- */

static const struct {
    CURLcode code;
    const char *words;
    bool detail;                                         /* curl's own sentence says more */
} sentences[] = {
    {CURLE_URL_MALFORMAT, "not a URL", false},
    {CURLE_UNSUPPORTED_PROTOCOL, "not an http or https URL, or the answer is not HTTP", false},
    {CURLE_COULDNT_RESOLVE_HOST, "the host name is not known", false},
    {CURLE_COULDNT_RESOLVE_PROXY, "the proxy's host name is not known", false},
    {CURLE_LOGIN_DENIED, "a URL with a user name is refused", false},
    {CURLE_WEIRD_SERVER_REPLY, "the answer is not HTTP", false},
    {CURLE_HTTP2, "the answer is not HTTP", false},
    {CURLE_GOT_NOTHING, "the connection was closed without an answer", false},
    {CURLE_PARTIAL_FILE, "the answer was cut short", false},
    {CURLE_SEND_ERROR, "the connection broke while asking", false},
    {CURLE_RECV_ERROR, "the connection broke before the whole answer was there", false},
    {CURLE_PEER_FAILED_VERIFICATION, "certificate not trusted", true},
    {CURLE_SSL_CACERT_BADFILE, "the CA file cannot be read or holds no certificate", false},
    {CURLE_SSL_CONNECT_ERROR, "the TLS handshake failed", true},
    {CURLE_SSL_ISSUER_ERROR, "certificate not trusted", true},
    {CURLE_OUT_OF_MEMORY, "out of memory", false},
};

static const char *connect_words(const struct tg_fetch *f)
{
    long os_errno = 0;

    curl_easy_getinfo(f->easy, CURLINFO_OS_ERRNO, &os_errno);
    switch (os_errno) {
    case ECONNREFUSED:
        return "connection refused";
    case ENETUNREACH:
        return "the network cannot be reached";
    case EHOSTUNREACH:
        return "the host cannot be reached";
    case ETIMEDOUT:
        return "no connection in time";
    default:
        return "cannot connect";
    }
}

static enum tg_status describe(const struct tg_fetch *f, CURLcode code, struct tg_err *err)
{
    if (f->too_large)
        return tg_fail(err, TG_LIMIT, "the answer is larger than %zu bytes", f->max_bytes);
    if (f->head_too_large)
        return tg_fail(err, TG_LIMIT, "the answer's head is larger than %zu bytes", HEAD_BYTES);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return tg_fail(err, TG_IO, "no whole answer within %lld ms", (long long)f->timeout_ms);
    if (code == CURLE_COULDNT_CONNECT && f->forbidden)
        return tg_fail(err, TG_DENIED, "an address of the host may not be connected to");
    if (code == CURLE_COULDNT_CONNECT)
        return tg_fail(err, TG_IO, "%s%s", f->proxied ? "the proxy: " : "", connect_words(f));
    if (f->proxied && strncmp(f->curl_words, "CONNECT", strlen("CONNECT")) == 0)
        return tg_fail(err, TG_IO, "the proxy does not let it through (%s)", f->curl_words);
    if (code == CURLE_SSL_CONNECT_ERROR && strstr(f->curl_words, "wrong version number"))
        return tg_fail(err, TG_IO, "the peer speaks no TLS");
    for (size_t i = 0; i < ARRAY_LEN(sentences); i++) {
        if (sentences[i].code != code)
            continue;
        if (sentences[i].detail && f->curl_words[0])
            return tg_fail(err, TG_IO, "%s (%s)", sentences[i].words, f->curl_words);
        return tg_fail(err, TG_IO, "%s", sentences[i].words);
    }
    return tg_fail(err, TG_IO, "%s", curl_easy_strerror(code));
}

/* ---- the answer ---- */

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
    if (f->head_bytes > HEAD_BYTES) {
        f->head_too_large = true;
        return 0;
    }
    return n;
}

/* RFC 9111 §5.2.2, as far as a private cache cares: the shortest life named wins, a broken number means none. */
static void read_directives(struct tg_slice value, int64_t *max_age_s)
{
    struct tg_slice one, name, number, rest = value;
    bool more, valued;

    do {
        uint64_t seconds = 0;

        more = tg_slice_cut(rest, ',', &one, &rest);
        valued = tg_slice_cut(tg_slice_trim(one), '=', &name, &number);
        if (tg_slice_eq_nocase(name, TG_S("no-store")) || tg_slice_eq_nocase(name, TG_S("no-cache"))) {
            *max_age_s = 0;
        } else if (tg_slice_eq_nocase(name, TG_S("max-age"))) {
            if (!valued)
                number = tg_slice("", 0);
            if (number.len >= 2 && number.ptr[0] == '"' && number.ptr[number.len - 1] == '"')
                number = tg_slice(number.ptr + 1, number.len - 2);
            if (!tg_slice_to_u64(number, &seconds))
                seconds = 0;
            if (seconds > INT32_MAX)
                seconds = INT32_MAX;
            if (*max_age_s < 0 || (int64_t)seconds < *max_age_s)
                *max_age_s = (int64_t)seconds;
        }
    } while (more);
}

/* How long a cache between has kept the answer (RFC 9111 §5.1); -1: it says something that is no number. */
static int64_t read_age(const struct tg_fetch *f)
{
    struct curl_header *h;
    uint64_t age_s = 0;

    if (curl_easy_header(f->easy, "Age", 0, CURLH_HEADER, -1, &h) == CURLHE_OK &&
        (!tg_slice_to_u64(tg_slice_str(h->value), &age_s) || age_s > INT32_MAX))
        return -1;
    return (int64_t)age_s;
}

/* What the server's clock shows now: Date, and the time since. */
static int64_t read_date(const struct tg_fetch *f, int64_t age_s)
{
    struct curl_header *h;
    time_t date;

    if (curl_easy_header(f->easy, "Date", 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return 0;
    date = curl_getdate(h->value, NULL);
    if (date <= 0 || date > LAST_DATE_S || age_s < 0)
        return 0;
    return (int64_t)date + age_s;
}

/* Seconds, or a date, which is compared with the server's own when it says one (RFC 9110 §10.2.3). */
static int64_t read_retry_after(const struct tg_fetch *f, int64_t date_s)
{
    struct curl_header *h;
    uint64_t seconds;
    time_t until;

    if (curl_easy_header(f->easy, "Retry-After", 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return -1;
    if (tg_slice_to_u64(tg_slice_str(h->value), &seconds))
        return seconds < INT32_MAX ? (int64_t)seconds : INT32_MAX;
    until = curl_getdate(h->value, NULL);
    if (until <= 0 || until > LAST_DATE_S)
        return -1;
    if (date_s == 0)
        date_s = tg_clock_wall_ms() / 1000;
    return until > date_s ? (until - date_s < INT32_MAX ? (int64_t)until - date_s : INT32_MAX) : 0;
}

/* One, of a length that can be sent back; else there is none. */
static struct tg_slice read_etag(const struct tg_fetch *f)
{
    struct tg_slice etag = {NULL, 0};
    struct curl_header *h;

    if (curl_easy_header(f->easy, "ETag", 0, CURLH_HEADER, -1, &h) != CURLHE_OK || h->amount != 1)
        return etag;
    for (const char *c = h->value; *c; c++)
        if (*c <= ' ' || *c > '~')
            return etag;
    if (strlen(h->value) <= ETAG_BYTES)
        etag = tg_slice_str(h->value);
    return etag;
}

static void read_head(const struct tg_fetch *f, struct tg_fetch_answer *answer)
{
    int64_t age_s = read_age(f);
    struct curl_header *h;
    long code = 0;

    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &code);
    answer->http_status = code > 0 ? (unsigned)code : 0;
    for (size_t i = 0; curl_easy_header(f->easy, "Cache-Control", i, CURLH_HEADER, -1, &h) == CURLHE_OK; i++)
        read_directives(tg_slice_str(h->value), &answer->max_age_s);
    if (answer->max_age_s > 0 && age_s > 0)
        answer->max_age_s = answer->max_age_s > age_s ? answer->max_age_s - age_s : 0;
    answer->date_s = read_date(f, age_s);
    answer->retry_after_s = read_retry_after(f, answer->date_s);
    answer->etag = read_etag(f);
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
    struct tg_fetch_answer answer = {.max_age_s = -1, .retry_after_s = -1};
    struct tg_err err = {0};

    f->finishing = true;
    curl_multi_remove_handle(f->fetcher->multi, f->easy);
    if (code == CURLE_OK) {
        read_head(f, &answer);
        answer.body = tg_buf_slice(&f->body);
    } else {
        answer.status = describe(f, code, &err);
        answer.error = tg_err_text(&err);
    }
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

/* ---- URLs ---- */

static bool is_loopback(const char *host)
{
    struct tg_slice name = tg_slice_str(host);
    struct tg_ip ip;

    if (name.len >= 2 && name.ptr[0] == '[')
        name = tg_slice(name.ptr + 1, name.len - 2);
    if (tg_ip_parse(name, &ip))
        return tg_ip_is_loopback(&ip);
    return tg_slice_eq_nocase(name, TG_S("localhost"));
}

enum tg_status tg_fetch_check_url(const char *url, bool allow_http, struct tg_err *err)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL, *fragment = NULL;
    enum tg_status st = TG_OK;

    tg_assert(u);
    if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK || curl_url_get(u, CURLUPART_SCHEME, &scheme,
                                                                            0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
        st = tg_fail(err, TG_BAD_INPUT, "not an https URL");
    else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
        st = tg_fail(err, TG_BAD_INPUT, "a URL with a user name is refused");
    else if (curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_OK)
        st = tg_fail(err, TG_BAD_INPUT, "a URL with a fragment is refused");
    else if (strcmp(scheme, "http") == 0 && !allow_http && !is_loopback(host))
        st = tg_fail(err, TG_BAD_INPUT, "http is for loopback hosts only; use https, or set allow_http: true");
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(fragment);
    curl_url_cleanup(u);
    return st;
}
