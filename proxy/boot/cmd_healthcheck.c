/*
 * cmd_healthcheck - is the tollgate beside us ready? For HEALTHCHECK in an image without curl.
 *
 * One GET over a plain socket, with one deadline for all of it. Only the status counts.
 */
#include "boot/commands.h"
#include "base/clock.h"
#include "base/err.h"
#include "boot/options.h"
#include "boot/settings.h"
#include "http/uri.h"
#include "io/listener.h"
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define TIMEOUT_MS 3000
#define STATUS_LINE_BYTES 12                             /* "HTTP/1.1 200" */

enum { OPT_URL = TG_OPT_FIRST_OWN };
static const struct tg_option options[] = {
    TG_OPTION_CONFIG,
    {OPT_URL, 'u', "url", "URL", "what to ask; else /readyz at the configured health_address"},
};
static const struct tg_usage usage = {
    .command = "healthcheck",
    .line = "[-c FILE | --url URL]",
    .about = "Asks a running tollgate whether it is ready: ends with 0 when the answer is 200 within 3 seconds, else\n"
             "says why in one line and ends with 1.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate healthcheck\n"
                "  tollgate healthcheck --url http://127.0.0.1:9090/livez",
};

struct question {
    struct tg_buf host, target;
    struct tg_address address;
};

/* The name of a host may have several addresses; loopback has few, and the first is taken. */
static enum tg_status resolve(struct tg_slice host, uint16_t port, struct tg_address *out, struct tg_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    char *name = tg_slice_dup(host), service[8];
    int failed;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    failed = getaddrinfo(name, service, &hints, &list);
    if (!failed && list->ai_addrlen <= sizeof out->sa) {
        memcpy(&out->sa, list->ai_addr, list->ai_addrlen);
        out->len = list->ai_addrlen;
    }
    if (list)
        freeaddrinfo(list);
    free(name);
    return failed ? tg_fail(err, TG_NOT_FOUND, "\"" TG_S_FMT "\": %s", TG_S_ARG(host), gai_strerror(failed)) : TG_OK;
}

static enum tg_status ask_url(const char *text, struct question *q, struct tg_err *err)
{
    struct tg_url url;
    enum tg_status st = tg_url_parse(tg_slice_str(text), false, &url, err);

    if (st != TG_OK)
        return st;
    if (url.tls)
        return tg_fail(err, TG_UNSUPPORTED, "the health listener speaks plain http, not https");
    tg_buf_addf(&q->host, memchr(url.host.ptr, ':', url.host.len) ? "[" TG_S_FMT "]:%u" : TG_S_FMT ":%u",
                TG_S_ARG(url.host), (unsigned)url.port);
    tg_buf_addf(&q->target, TG_S_FMT, TG_S_ARG(url.path.len ? url.path : TG_S("/")));
    if (url.query.ptr)
        tg_buf_addf(&q->target, "?" TG_S_FMT, TG_S_ARG(url.query));
    return resolve(url.host, url.port, &q->address, err);
}

static enum tg_status ask_configured(const char *config, struct question *q, struct tg_err *err)
{
    struct tg_listen_address at;
    struct tg_buf text = {0};
    enum tg_status st;

    tg_settings_health_address(tg_settings_path(config), &text);
    if (text.len == 0) {
        tg_buf_fini(&text);
        return tg_fail(err, TG_NOT_FOUND, "health_address is none, so there is nothing to ask");
    }
    st = tg_listen_parse(tg_buf_slice(&text), &at, err);
    tg_buf_fini(&text);
    if (st != TG_OK)
        return st;
    q->address = at.address;                             /* "all addresses" reaches this host when connected to */
    tg_buf_adds(&q->host, "localhost");
    tg_buf_adds(&q->target, "/readyz");
    return TG_OK;
}

/* Waits for `events` until the deadline; false when it passed. */
static bool wait_for(int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = {fd, events, 0};
    int64_t left = deadline_ms - tg_clock_mono_ms();
    int got;

    do {
        got = left > 0 ? poll(&p, 1, (int)left) : 0;
        left = deadline_ms - tg_clock_mono_ms();
    } while (got < 0 && errno == EINTR);
    return got > 0;
}

static enum tg_status connect_to(int fd, const struct tg_address *to, int64_t deadline_ms, struct tg_err *err)
{
    int failed = 0;
    socklen_t len = sizeof failed;

    if (connect(fd, &to->sa.any, to->len) == 0)
        return TG_OK;
    if (errno != EINPROGRESS)
        failed = errno;
    else if (!wait_for(fd, POLLOUT, deadline_ms))
        failed = ETIMEDOUT;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0)
        failed = errno;
    return failed ? tg_fail(err, TG_UNAVAILABLE, "no connection: %s", strerror(failed)) : TG_OK;
}

/* Sends the request and reads as much of the answer as has its status. */
static enum tg_status exchange(int fd, struct question *q, int64_t deadline_ms, unsigned *status, struct tg_err *err)
{
    struct tg_buf request = {0};
    char answer[STATUS_LINE_BYTES];
    size_t got = 0;
    ssize_t n;
    uint64_t code;

    tg_buf_addf(&request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", tg_buf_cstr(&q->target),
                tg_buf_cstr(&q->host));
    n = send(fd, request.data, request.len, MSG_NOSIGNAL);
    bool sent = n >= 0 && (size_t)n == request.len;
    tg_buf_fini(&request);
    if (!sent)
        return tg_fail(err, TG_IO, "cannot send the request");
    while (got < sizeof answer) {
        if (!wait_for(fd, POLLIN, deadline_ms))
            return tg_fail(err, TG_UNAVAILABLE, "no answer within %d s", TIMEOUT_MS / 1000);
        n = recv(fd, answer + got, sizeof answer - got, 0);
        if (n <= 0)
            return tg_fail(err, TG_IO, "the connection ended before an answer");
        got += (size_t)n;
    }
    if (memcmp(answer, "HTTP/1.", 7) != 0 || answer[8] != ' ' || !tg_slice_to_u64(tg_slice(answer + 9, 3), &code))
        return tg_fail(err, TG_BAD_INPUT, "the answer is not HTTP/1.1");
    *status = (unsigned)code;
    return TG_OK;
}

static enum tg_status ask(struct question *q, unsigned *status, struct tg_err *err)
{
    int64_t deadline_ms = tg_clock_mono_ms() + TIMEOUT_MS;
    int fd = socket(q->address.sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    enum tg_status st;

    if (fd < 0)
        return tg_fail(err, TG_IO, "no socket: %s", strerror(errno));
    st = connect_to(fd, &q->address, deadline_ms, err);
    if (st == TG_OK)
        st = exchange(fd, q, deadline_ms, status, err);
    close(fd);
    return st;
}

int tg_cmd_healthcheck(int argc, char **argv)
{
    struct question q = {0};
    struct tg_options o;
    struct tg_err err;
    const char *value, *config = NULL, *url = NULL;
    unsigned status = 0;
    enum tg_status st;
    int id;

    tg_options_start(&o, &usage, argc, argv);
    while ((id = tg_options_next(&o, &value)) != TG_OPT_END) {
        if (id == TG_OPT_EXIT)
            return o.code;
        if (id == TG_OPT_CONFIG)
            config = value;
        else
            url = value;
    }
    if (tg_options_extra(&o, 0))
        return o.code;
    st = url ? ask_url(url, &q, &err) : ask_configured(config, &q, &err);
    if (st == TG_OK)
        st = ask(&q, &status, &err);
    tg_buf_fini(&q.host);
    tg_buf_fini(&q.target);
    if (st != TG_OK)
        return tg_complain(TG_EXIT_FAILURE, "healthcheck: %s", err.text);
    if (status != 200)
        return tg_complain(TG_EXIT_FAILURE, "healthcheck: the answer is %u", status);
    return TG_EXIT_OK;
}
