/*
 * provider_visit - see provider_visit.h.
 */
#include "provider_visit.h"
#include "http/uri.h"
#include "plain.h"
#include <stdio.h>

#define ANSWER_BYTES ((size_t)1 << 20)
#define REASONS_SHOWN 3

struct asking {
    struct inquiry *q;
    const struct tg_provider *p;
    struct provider_visit *v;
    struct tg_buf *words;
};

void provider_add_algs(struct tg_buf *out, tg_algs algs)
{
    const char *between = "";

    for (unsigned i = 0; i < TG_ALG_COUNT; i++) {
        if (!(algs & TG_ALG_BIT(i)))
            continue;
        tg_buf_addf(out, "%s%s", between, tg_alg_name((enum tg_alg)i));
        between = ", ";
    }
}

/* A query may hold a key of its own. */
static struct tg_slice shown(const char *url) { return tg_slice(url, strcspn(url, "?")); }

/* ---- a certificate that is not trusted ---- */

/* Looks at the certificate itself, believing nothing, to name who signed it. */
static void look_at_certificate(const struct asking *a, const char *url, struct inquiry_contact *contact)
{
    struct tg_tls_client_settings settings = {.skip_verify = true};
    struct inquiry_place place = {.timeout_ms = a->p->timeout_ms};
    struct tg_url parts;

    *contact = (struct inquiry_contact){0};
    if (a->p->proxy.len || tg_url_parse(tg_slice_str(url), false, &parts, NULL) != TG_OK ||
        tg_tls_client_new(&settings, &place.tls, NULL) != TG_OK)
        return;
    place.host = place.name = parts.host;
    place.port = parts.port;
    inquiry_connect(a->q, &place, contact);
    tg_tls_client_unref(place.tls);
}

static void add_certificate_hint(const struct asking *a, const char *url, const char *error)
{
    struct inquiry_contact seen;
    bool expired = strstr(error, "expired") || strstr(error, "not yet valid");

    look_at_certificate(a, url, &seen);
    if (strstr(error, "subject name") || strstr(error, "hostname mismatch") || strstr(error, "IP address mismatch"))
        tg_buf_addf(a->words, "; it is for %s: use such a name in the URL", seen.names[0] ? seen.names : "other names");
    else if (expired)
        tg_buf_adds(a->words, "; the provider must renew it, unless this machine's clock is wrong");
    else if (a->p->ca_file.len)
        tg_buf_addf(a->words, "; it is signed by \"%s\", which ca_file " TG_S_FMT " does not vouch for",
                    seen.issuer[0] ? seen.issuer : "somebody", TG_S_ARG(a->p->ca_file));
    else
        tg_buf_addf(a->words, "; it is signed by \"%s\": give the certificate of that authority as ca_file (PEM)",
                    seen.issuer[0] ? seen.issuer : "a private authority");
}

/* ---- asking ---- */

static bool is_plain_http(const char *url) { return strncmp(url, "http://", strlen("http://")) == 0; }

static void add_status_hint(const struct asking *a, const char *url, unsigned status, bool discovery)
{
    tg_buf_addf(a->words, "the provider answers with status %u", status);
    if (status == 401 || status == 403)
        tg_buf_adds(a->words, a->p->token_file.len ? ": it does not take the token in token_file"
                                                   : ": it wants a bearer token; give it as token_file");
    else if (status == 400 && is_plain_http(url))        /* what servers say to HTTP on a TLS port */
        tg_buf_adds(a->words, ": is it an https:// URL?");
    else if (status / 100 == 3)
        tg_buf_adds(a->words, ": redirects are not followed; give the URL it leads to");
    else if (status == 404)
        tg_buf_adds(a->words, discovery ? ": there is no discovery document; is the issuer right? Else give its keys "
                                          "by jwks_url"
                                        : ": there are no keys; is the URL right?");
}

static void add_error_hint(const struct asking *a, const char *url, const char *error)
{
    if (strncmp(error, "certificate not trusted", strlen("certificate not trusted")) == 0)
        add_certificate_hint(a, url, error);
    else if (strstr(error, "speaks no TLS"))
        tg_buf_adds(a->words, ": is it an http:// URL, or another port?");
    else if (is_plain_http(url) && strstr(error, "connection") && strstr(error, "answer"))
        tg_buf_adds(a->words, ": is it an https:// URL?");
}

static void note_clock(const struct asking *a, const struct inquiry_answer *answer)
{
    int64_t middle_ms = (answer->asked_ms + answer->came_ms) / 2;

    if (answer->date_s == 0)
        return;
    a->v->dated = true;
    a->v->ahead_s = answer->date_s - middle_ms / 1000;
}

/* False: nothing was asked, for want of the bearer. */
static bool get(const struct asking *a, const char *url, struct inquiry_answer *answer)
{
    const struct tg_provider *p = a->p;
    char *ca_file = tg_slice_dup_or_null(p->ca_file);
    char *proxy = tg_slice_dup_or_null(p->proxy);
    char *token_file = tg_slice_dup_or_null(p->token_file);
    const char *headers[] = {"Accept: application/json", NULL, NULL};
    struct tg_fetch_request request = {.url = url, .headers = headers, .ca_file = ca_file, .proxy = proxy,
                                       .timeout_ms = p->timeout_ms, .max_bytes = ANSWER_BYTES};
    struct tg_buf bearer = {0};
    struct tg_err err;
    bool ok = !token_file || tg_bearer_line(token_file, &bearer, &err) == TG_OK;

    if (ok) {
        headers[1] = bearer.len ? bearer.data : NULL;
        inquiry_fetch(a->q, &request, answer);
    } else {
        tg_buf_addf(a->words, "token_file: %s", err.text);
    }
    tg_buf_wipe(&bearer);
    free(token_file);
    free(proxy);
    free(ca_file);
    return ok;
}

static bool fetch(const struct asking *a, const char *url, bool discovery, struct inquiry_answer *answer)
{
    *answer = (struct inquiry_answer){0};
    if (!get(a, url, answer))
        return false;
    a->v->answered = a->v->answered || answer->status == TG_OK;
    if (answer->status == TG_OK && answer->http_status == 200) {
        note_clock(a, answer);
        return true;
    }
    tg_buf_addf(a->words, TG_S_FMT ": ", TG_S_ARG(shown(url)));
    if (answer->status == TG_OK) {
        add_status_hint(a, url, answer->http_status, discovery);
    } else {
        tg_buf_adds(a->words, answer->error);
        add_error_hint(a, url, answer->error);
    }
    return false;
}

/* A login page, or an app's first page, is what comes from a URL that is a little wrong. */
static const char *why_unread(struct tg_slice body, const struct tg_err *err)
{
    size_t at = 0;

    while (at < body.len && (unsigned char)body.ptr[at] <= ' ')
        at++;
    return at < body.len && body.ptr[at] == '<' ? "a web page, where JSON is expected; is the URL right?" : err->text;
}

/* ---- the two steps ---- */

static bool take_discovery(const struct asking *a, const char *url, struct tg_slice body)
{
    struct tg_discovery *d = &a->v->discovery;
    struct tg_err err;

    if (tg_discovery_read(body, d, &err) != TG_OK) {
        tg_buf_addf(a->words, TG_S_FMT ": no discovery document: %s", TG_S_ARG(shown(url)), why_unread(body, &err));
        return false;
    }
    if (!tg_slice_eq(tg_slice_str(d->issuer), a->p->issuer)) {
        tg_buf_addf(a->words, "the provider says it is issuer `%.200s`, not `%.*s`%s; write issuer: %.200s", d->issuer,
                    a->p->issuer.len > 200 ? 200 : (int)a->p->issuer.len, a->p->issuer.ptr,
                    tg_issuer_slash_words(a->p->issuer, tg_slice_str(d->issuer)), d->issuer);
        return false;
    }
    if (tg_discovery_check(d, a->p->issuer, a->p->allow_http, &err) != TG_OK) {
        tg_buf_addf(a->words, "jwks_uri of the discovery document: %s", err.text);
        return false;
    }
    a->v->found = true;
    return true;
}

static bool discover(const struct asking *a)
{
    char *url = tg_discovery_url(a->p->issuer);
    struct inquiry_answer answer;
    struct tg_err err;
    bool ok = tg_fetch_check_url(url, a->p->allow_http, &err) == TG_OK;

    if (!ok) {
        tg_buf_addf(a->words, TG_S_FMT ": %s", TG_S_ARG(shown(url)), err.text);
        free(url);
        return false;
    }
    ok = fetch(a, url, true, &answer) && take_discovery(a, url, tg_buf_slice(&answer.body));
    inquiry_answer_fini(&answer);
    if (ok)
        a->v->jwks_url = tg_slice_dup(tg_slice_str(a->v->discovery.jwks_uri));
    free(url);
    return ok;
}

static bool take_keys(const struct asking *a, struct tg_slice body)
{
    struct tg_slice url = shown(a->v->jwks_url);
    struct tg_jwks *set = NULL;
    struct tg_err err;

    if (tg_jwks_parse(body, false, &set, &err) != TG_OK) {
        tg_buf_addf(a->words, TG_S_FMT ": %s", TG_S_ARG(url), why_unread(body, &err));
        return false;
    }
    if (tg_jwks_count(set) == 0) {
        tg_buf_addf(a->words, TG_S_FMT ": no usable key in the set", TG_S_ARG(url));
        for (size_t i = 0; i < REASONS_SHOWN && tg_jwks_skip_reason(set, i); i++)
            tg_buf_addf(a->words, "; %s", tg_jwks_skip_reason(set, i));
        tg_jwks_unref(set);
        return false;
    }
    a->v->keys = set;
    return true;
}

static bool fetch_keys(const struct asking *a)
{
    struct inquiry_answer answer;
    bool ok = fetch(a, a->v->jwks_url, false, &answer) && take_keys(a, tg_buf_slice(&answer.body));

    inquiry_answer_fini(&answer);
    return ok;
}

bool provider_visit(struct inquiry *q, const struct tg_provider *p, struct provider_visit *v, struct tg_buf *words)
{
    struct asking a = {q, p, v, words};
    bool ok = true;

    *v = (struct provider_visit){0};
    if (p->local) {
        v->keys = tg_jwks_ref(p->local);
        return true;
    }
    if (p->discovery)
        ok = discover(&a);
    else
        v->jwks_url = tg_slice_dup(p->jwks_url);
    ok = ok && fetch_keys(&a);
    make_plain(words, 0);
    return ok;
}

void provider_visit_fini(struct provider_visit *v)
{
    tg_discovery_fini(&v->discovery);
    free(v->jwks_url);
    tg_jwks_unref(v->keys);
    *v = (struct provider_visit){0};
}
