/*
 * fetch_answer - what came of a fetch: the parts of the head that callers go by, or what went wrong, in words.
 */
#include "base/clock.h"
#include "fetch_internal.h"
#include <errno.h>

#define ETAG_BYTES 512
#define LAST_DATE_S INT64_C(253402300799)                /* the year 9999 */

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
        return tg_fail(err, TG_LIMIT, "the answer's head is larger than %zu bytes", FETCH_HEAD_BYTES);
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

/* ---- the head ---- */

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

void fetch_read_answer(const struct tg_fetch *f, CURLcode code, struct tg_fetch_answer *answer, struct tg_err *err)
{
    *answer = (struct tg_fetch_answer){.max_age_s = -1, .retry_after_s = -1};
    if (code == CURLE_OK) {
        read_head(f, answer);
        answer->body = tg_buf_slice(&f->body);
    } else {
        answer->status = describe(f, code, err);
        answer->error = tg_err_text(err);
    }
}
