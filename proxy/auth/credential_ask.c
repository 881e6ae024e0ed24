/*
 * credential_ask - one credential's cycle on the control thread: ask, take or fail, plan the next asking.
 *
 * A token file is looked at every second. For a grant, or an API user's token, the token endpoint is found, then
 * asked. Whatever happens ends in `succeed` or `fail`, which plan the next turn and wake who waits. What is refused for
 * good is not asked again for long, but the file of its token is looked at.
 */
#include "credential_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include <stdio.h>
#include <sys/stat.h>

#define ANSWER_BYTES ((size_t)256 << 10)
#define JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define AHEAD_MS 1250
#define LIFE_UNSAID_MS (INT64_C(365) * 86400000)         /* how long such a token is used if it cannot be renewed */

static void plan(struct tg_credential_source *s, int64_t delay_ms)
{
    tg_deadline_set(&s->control->wheel, &s->due, tg_clock_mono_ms() + delay_ms);
}

/* ---- what comes out of a turn ---- */

enum trouble { AWAY, BAD, FINAL };                       /* BAD: the server says our credential is; FINAL: for good */

static const char *lack_of(const struct tg_credential_source *s)
{
    return s->settings.control_plane ? "no token for the control plane, nothing is asked of it until there is one"
                                     : "no token of tollgate's own, requests of its routes get 503 until there is one";
}

static void tell(struct tg_credential_source *s, const char *words, enum trouble kind, bool has_text)
{
    int64_t now_ms = tg_clock_mono_ms();
    const char *message = kind != AWAY ? "tollgate's own credential is refused: it has to be put right"
                          : has_text   ? "tollgate's own token not renewed, the old one serves on"
                                       : lack_of(s);

    if (s->logged_ms != INT64_MIN && now_ms - s->logged_ms < s->periods.log && s->logged_bad == (kind != AWAY))
        return;
    s->logged_ms = now_ms;
    s->logged_bad = kind != AWAY;
    tg_log(kind == AWAY && has_text ? TG_LOG_WARN : TG_LOG_ERROR, message, TG_F_STR("credential", s->name),
           TG_F_STR("error", words), TG_F_INT("failures", s->failures));
}

static int64_t delay_after(const struct tg_credential_source *s, enum trouble kind, bool has_text)
{
    const struct tg_credential_periods *p = &s->periods;
    int64_t last = has_text ? p->retry_last : p->retry_last_empty;
    int64_t delay = p->retry_first << (s->failures < 16 ? s->failures : 16);

    if (s->settings.kind == TG_CREDENTIAL_FILE)
        return p->look;
    if (kind == FINAL)
        return tg_with_jitter(p->retry_final);
    if (kind == BAD)
        return tg_with_jitter(p->retry_bad);
    return tg_with_jitter(delay < last ? delay : last);
}

/* `least_ms`: not asked again before, whatever the back-off says. */
static void fail_for(struct tg_credential_source *s, enum trouble kind, const char *words, int64_t least_ms)
{
    const struct tg_credential_periods *p = &s->periods;
    bool has_text = tg_credential_source_has_text(s);
    int64_t delay_ms = delay_after(s, kind, has_text), hopeless_ms = kind == AWAY ? p->hopeless : p->hopeless_bad;

    if (least_ms > p->retry_after_most)
        least_ms = p->retry_after_most;
    if (delay_ms < least_ms)
        delay_ms = hopeless_ms = least_ms;
    if (kind == FINAL)
        hopeless_ms = delay_ms;
    s->failures++;
    tg_metric_add(kind == AWAY ? s->gauges->error : s->gauges->refused, 0, 1);
    tell(s, words, kind, has_text);
    s->final = kind == FINAL;
    s->retry_ms = tg_clock_mono_ms() + delay_ms;
    plan(s, s->final && s->settings.token_file.len && p->look < delay_ms ? p->look : delay_ms);
    tg_credential_flight_ends(s, words, hopeless_ms);
}

static void fail(struct tg_credential_source *s, enum trouble kind, const char *words) { fail_for(s, kind, words, 0); }

/* `life_ms`: from when it was asked for; INT64_MAX: it has no end that is known. */
static void put_in_force(struct tg_credential_source *s, struct tg_credential_text *text, int64_t life_ms)
{
    bool had = tg_credential_source_has_text(s), moved = tg_credential_source_publish(s, text);

    if (life_ms != INT64_MAX) {
        tg_deadline_set(&s->control->wheel, &s->ends, s->asked_ms + life_ms);
        atomic_store_explicit(&s->gauges->until_ms, s->asked_ms + life_ms, memory_order_relaxed);
    }
    if (!had || s->failures)
        tg_log(TG_LOG_INFO, had ? "tollgate's own token renewed again" : "tollgate has a token of its own",
               TG_F_STR("credential", s->name));
    else if (moved && s->settings.kind == TG_CREDENTIAL_FILE)
        tg_log(TG_LOG_INFO, "tollgate's own token was replaced in its file", TG_F_STR("credential", s->name));
    s->failures = 0;
    s->final = false;
    s->logged_ms = INT64_MIN;
    tg_metric_add(s->gauges->ok, 0, 1);
}

/*
 * Servers count in whole seconds, so a token may end a second before it says; of a short life that is more than the
 * last fifth.
 */
static int64_t time_to_renew(int64_t life_ms)
{
    int64_t usual_ms = life_ms / 5 * 4, ahead_ms = life_ms - AHEAD_MS;

    if (ahead_ms < life_ms / 2)
        ahead_ms = life_ms / 2;
    return usual_ms < ahead_ms ? usual_ms : ahead_ms;
}

static void succeed(struct tg_credential_source *s, const struct tg_credential_answer *answer)
{
    const struct tg_credential_periods *p = &s->periods;
    int64_t life_ms = answer->life_s < 0 ? LIFE_UNSAID_MS : answer->life_s * 1000;
    int64_t renew_ms = answer->life_s < 0 ? p->life_unsaid : life_ms;
    int64_t asked_ago_ms = tg_clock_mono_ms() - s->asked_ms;

    put_in_force(s, answer->text, life_ms);
    if (renew_ms > p->life_most)
        renew_ms = p->life_most;
    renew_ms = tg_with_jitter(time_to_renew(renew_ms)) - asked_ago_ms;
    plan(s, renew_ms > p->renew_least ? renew_ms : p->renew_least);
    tg_credential_flight_ends(s, NULL, 0);
}

/* ---- a token file ---- */

/* What tells that it is another file now, or that something was written to it; "": there is none. */
static void print_file(const char *path, char out[static TG_CREDENTIAL_SEEN])
{
    struct stat st;

    out[0] = '\0';
    if (stat(path, &st) == 0)
        snprintf(out, TG_CREDENTIAL_SEEN, "%llx %llx %llx %llx.%lx", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino, (unsigned long long)st.st_size, (unsigned long long)st.st_ctim.tv_sec,
                 (unsigned long)st.st_ctim.tv_nsec);
}

enum tg_status tg_credential_token_read(const char *path, struct tg_buf *out, struct tg_err *err)
{
    const char *fault;
    struct stat info;
    enum tg_status st;

    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) /* reading a pipe might wait */
        return tg_fail(err, TG_BAD_INPUT, "%s: not a file", path);
    st = tg_file_read_secret(path, out, err);
    if (st == TG_OK && (fault = tg_credential_token_fault(tg_buf_slice(out))))
        st = tg_fail(err, TG_BAD_INPUT, "%s: %s", path, fault);
    return st;
}

static void read_file(struct tg_credential_source *s)
{
    struct tg_buf token = {0};
    struct tg_err err;
    enum tg_status st;

    print_file(s->settings.token_file.ptr, s->seen);     /* before: what is written meanwhile is seen later */
    st = tg_credential_token_read(s->settings.token_file.ptr, &token, &err);
    if (st == TG_OK) {
        put_in_force(s, tg_credential_text_new(tg_buf_slice(&token)), INT64_MAX);
        plan(s, s->periods.look);
        tg_credential_flight_ends(s, NULL, 0);
    }
    tg_buf_wipe(&token);
    if (st != TG_OK)
        fail(s, AWAY, tg_err_text(&err));
}

static void look(struct tg_credential_source *s)
{
    char now[TG_CREDENTIAL_SEEN];

    print_file(s->settings.token_file.ptr, now);
    if ((s->failures && !s->final) || strcmp(now, s->seen) != 0 || (s->final && tg_clock_mono_ms() >= s->retry_ms))
        tg_credential_ask_now(s);
    else
        plan(s, s->periods.look);
}

/* ---- the answer of a token endpoint ---- */

static enum trouble kind_of(const struct tg_credential_source *s, unsigned status)
{
    if (s->settings.kind == TG_CREDENTIAL_API_USER)
        return status == 400 ? FINAL : AWAY;
    return status == 400 || status == 401 ? BAD : AWAY;
}

static void refuse(struct tg_credential_source *s, const struct tg_fetch_answer *answer)
{
    const char *error = tg_credential_answer_error(answer->body);
    char words[128];

    snprintf(words, sizeof(words), "the token endpoint answers with status %u%s%s%s", answer->http_status,
             *error ? ", " : "", error, answer->http_status / 100 == 3 ? "; redirects are not followed" : "");
    fail_for(s, kind_of(s, answer->http_status), words, answer->retry_after_s > 0 ? answer->retry_after_s * 1000 : 0);
}

static enum tg_status read_answer(const struct tg_credential_source *s, struct tg_slice body,
                                  struct tg_credential_answer *out, struct tg_err *err)
{
    if (s->settings.kind == TG_CREDENTIAL_API_USER)
        return tg_credential_id_token_read(body, out, err);
    return tg_credential_answer_read(body, out, err);
}

static void answered(void *arg, const struct tg_fetch_answer *answer)
{
    struct tg_credential_source *s = arg;
    struct tg_credential_answer got = {0};
    struct tg_err err;

    s->fetch = NULL;
    if (answer->status == TG_OK && answer->http_status == 200 &&
        read_answer(s, answer->body, &got, &err) == TG_OK) {
        succeed(s, &got);
        return;
    }
    tg_endpoint_doubt(s->endpoint);                      /* perhaps it moved */
    if (answer->status != TG_OK)
        fail(s, AWAY, answer->error);
    else if (answer->http_status != 200)
        refuse(s, answer);
    else
        fail(s, AWAY, tg_err_text(&err));
}

/* ---- asking it ---- */

/* Scheme, host and port: what an assertion is for when no issuer is configured. */
static struct tg_slice origin_of(const char *url)
{
    const char *host = strstr(url, "://");

    host = host ? host + 3 : url;
    return tg_slice(url, (size_t)(host - url) + strcspn(host, "/?"));
}

static enum tg_status add_assertion(const struct tg_credential_settings *c, struct tg_slice audience, int64_t now_s,
                                    struct tg_buf *form, struct tg_err *err)
{
    struct tg_buf assertion = {0};
    enum tg_status st = tg_service_key_assert(c->key, c->client.client_id, audience, now_s, &assertion, err);

    tg_form_add(form, "grant_type", TG_S(JWT_BEARER));
    if (st == TG_OK)
        tg_form_add(form, "assertion", tg_buf_slice(&assertion));
    tg_buf_wipe(&assertion);
    return st;
}

static enum tg_status compose_form(const struct tg_credential_settings *c, const char *url, struct tg_buf *form,
                              struct tg_buf *line, struct tg_err *err)
{
    struct tg_slice audience = c->issuer.len ? c->issuer : origin_of(url);
    int64_t now_s = tg_clock_wall_ms() / 1000;
    enum tg_status st = TG_OK;

    if (c->kind == TG_CREDENTIAL_JWT_GRANT)
        st = add_assertion(c, audience, now_s, form, err);
    else
        tg_form_add(form, "grant_type", TG_S("client_credentials"));
    if (c->scope.len)
        tg_form_add(form, "scope", c->scope);
    if (c->resource.len)
        tg_form_add(form, "resource", c->resource);
    if (c->audience.len)
        tg_form_add(form, "audience", c->audience);
    if (st == TG_OK && c->kind == TG_CREDENTIAL_CLIENT)
        st = tg_client_auth_apply(&c->client, audience, now_s, form, line, err);
    return st;
}

/* {"refreshToken": TOKEN}; its file is read each time. */
static enum tg_status compose_exchange(struct tg_credential_source *s, struct tg_buf *body, struct tg_err *err)
{
    const struct tg_credential_settings *c = &s->settings;
    struct tg_buf token = {0};
    enum tg_status st = TG_OK;

    if (c->token_file.len) {
        print_file(c->token_file.ptr, s->seen);
        st = tg_credential_token_read(c->token_file.ptr, &token, err);
    } else {
        tg_buf_add_slice(&token, c->api_user_token);
    }
    if (st == TG_OK) {
        tg_buf_adds(body, "{\"refreshToken\":");
        tg_json_add_string(body, tg_buf_slice(&token));
        tg_buf_addc(body, '}');
    }
    tg_buf_wipe(&token);
    return st;
}

static void send_question(struct tg_credential_source *s, const char *url)
{
    const struct tg_credential_settings *c = &s->settings;
    bool exchange = c->kind == TG_CREDENTIAL_API_USER;
    struct tg_buf form = {0}, line = {0};
    const char *type = exchange ? "Content-Type: application/json" : "Content-Type: application/x-www-form-urlencoded";
    const char *headers[] = {type, "Accept: application/json", NULL, NULL};
    struct tg_fetch_request request = {.url = url, .method = "POST", .headers = headers, .ca_file = c->ca_file.ptr,
                                       .proxy = c->proxy.ptr, .timeout_ms = c->timeout_ms, .max_bytes = ANSWER_BYTES};
    struct tg_err err;
    enum tg_status st = exchange ? compose_exchange(s, &form, &err) : compose_form(c, url, &form, &line, &err);

    if (st == TG_OK) {
        request.body = tg_buf_slice(&form);
        if (line.len)
            headers[2] = line.data;
        s->asked_ms = tg_clock_mono_ms();
        s->fetch = tg_fetch_start(s->fetcher, &request, answered, s);
    }
    tg_buf_wipe(&form);
    tg_buf_wipe(&line);
    if (st != TG_OK)
        fail(s, AWAY, tg_err_text(&err));
}

static void found(void *arg, const char *url, const char *trouble)
{
    struct tg_credential_source *s = arg;

    s->finding = false;
    if (url)
        send_question(s, url);
    else
        fail(s, AWAY, trouble);
}

/* ---- turns ---- */

void tg_credential_ask_now(struct tg_credential_source *s)
{
    if (s->fetch || s->finding)
        return;
    tg_deadline_clear(&s->control->wheel, &s->due);
    tg_credential_flight_begins(s);
    if (s->settings.kind == TG_CREDENTIAL_FILE) {
        read_file(s);
        return;
    }
    s->finding = true;
    tg_endpoint_find(s->endpoint, found, s);
}

static void on_due(struct tg_deadline *d)
{
    struct tg_credential_source *s =
        (struct tg_credential_source *)(void *)((char *)d - offsetof(struct tg_credential_source, due));

    if (tg_credential_source_is_forsaken(s))
        return;
    if (s->settings.kind == TG_CREDENTIAL_FILE || (s->final && s->settings.token_file.len))
        look(s);
    else
        tg_credential_ask_now(s);
}

static void on_end(struct tg_deadline *d)
{
    struct tg_credential_source *s =
        (struct tg_credential_source *)(void *)((char *)d - offsetof(struct tg_credential_source, ends));

    tg_credential_source_publish(s, NULL);
    if (tg_credential_source_is_forsaken(s)) {           /* nobody's trouble; it is swept at the next reload */
        if (s->gauges->users == 1)
            atomic_store_explicit(&s->gauges->until_ms, INT64_MAX, memory_order_relaxed);
        return;
    }
    atomic_store_explicit(&s->gauges->until_ms, INT64_MIN, memory_order_relaxed);
    tg_log(TG_LOG_ERROR, "tollgate's own token has ended, and there is no other", TG_F_STR("credential", s->name));
}

void tg_credential_ask_start(struct tg_credential_source *s)
{
    const struct tg_credential_settings *c = &s->settings;
    struct tg_endpoint_settings where = {.url = c->token_url, .issuer = c->issuer, .member = "token_endpoint",
                                         .ca_file = c->ca_file, .proxy = c->proxy, .allow_http = c->allow_http,
                                         .timeout_ms = c->timeout_ms};

    s->due.expired = on_due;
    s->ends.expired = on_end;
    if (c->kind != TG_CREDENTIAL_FILE)
        s->endpoint = tg_endpoint_new(s->fetcher, &where);
    tg_credential_ask_now(s);
}

void tg_credential_ask_stop(struct tg_credential_source *s)
{
    if (s->fetch)
        tg_fetch_cancel(s->fetch);
    s->fetch = NULL;
    tg_endpoint_free(s->endpoint);
    s->endpoint = NULL;
    s->finding = false;
    tg_deadline_clear(&s->control->wheel, &s->due);
    tg_deadline_clear(&s->control->wheel, &s->ends);
}
