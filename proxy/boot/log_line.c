/*
 * log_line - reading what gate/access_log.c wrote.
 *
 * A member that is absent because there was nothing to say (no address of a unix socket, no certificate) is known to
 * be nothing; one that is absent because it was not asked to be logged is not known.
 */
#include "log_line.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "http/uri.h"

#define HTTPS_PORT 443                                   /* of a request over TLS that says none */

static const unsigned certificate_facts =
    TG_FACT_BIT(TG_FACT_CERT_FINGERPRINT) | TG_FACT_BIT(TG_FACT_CERT_SPKI) | TG_FACT_BIT(TG_FACT_CERT_EMAILS) |
    TG_FACT_BIT(TG_FACT_CERT_DNS) | TG_FACT_BIT(TG_FACT_CERT_URIS) | TG_FACT_BIT(TG_FACT_CERT_SUBJECT);

/* ---- members ---- */

/* ptr NULL when it is absent or no text. */
static struct tg_slice text_of(const cJSON *object, const char *name)
{
    struct tg_slice out = {NULL, 0};

    tg_json_str(tg_json_get(object, name), &out);
    return out;
}

static int64_t number_of(const cJSON *object, const char *name)
{
    int64_t out;

    return tg_json_int(tg_json_get(object, name), &out) ? out : -1;
}

static tg_reasons reasons_of(const cJSON *list)
{
    const cJSON *item;
    struct tg_slice name;
    tg_reasons set = 0;

    cJSON_ArrayForEach(item, list) {
        enum tg_reason r = tg_json_str(item, &name) ? tg_reason_find(name) : TG_REASON_COUNT;

        if (r != TG_REASON_COUNT)
            set |= TG_REASON_BIT(r);
    }
    return set;
}

/* ---- the request ---- */

static enum tg_status read_request(struct log_line *l, struct tg_err *err)
{
    struct explain_request *r = &l->request;
    struct tg_slice ip = text_of(l->json, "client_ip"), path = text_of(l->json, "path");
    struct tg_slice host = text_of(l->json, "host");

    explain_request_init(r);
    if (!tg_clock_parse(text_of(l->json, "ts"), &r->wall_ms))
        return tg_fail(err, TG_BAD_INPUT, "\"ts\" is no time");
    if (ip.ptr && !tg_ip_parse(ip, &r->source_ip))
        return tg_fail(err, TG_BAD_INPUT, "\"client_ip\" is no address");
    r->method = text_of(l->json, "method");
    if (host.len > 0)
        explain_set_host(r, host, err);                  /* one that cannot be read found no route */
    if (r->port < 0 && l->tls)
        r->port = HTTPS_PORT;
    l->known.facts |= TG_FACT_BIT(TG_FACT_TIME) | TG_FACT_BIT(TG_FACT_SOURCE_IP);
    if (r->method.ptr)
        l->known.facts |= TG_FACT_BIT(TG_FACT_METHOD);
    r->path = path.ptr ? path : TG_S("");
    if (!path.ptr)
        return TG_OK;
    if (explain_path(r, &l->arena, err) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "\"path\" is no canonical path");
    l->known.facts |= TG_FACT_BIT(TG_FACT_PATH);
    return TG_OK;
}

/* ---- the certificate ---- */

static struct tg_cert_names names_of(struct log_line *l, const cJSON *cert, const char *name, enum tg_fact fact)
{
    const cJSON *list = tg_json_get(cert, name), *item;
    struct tg_cert_names out = {NULL, 0};

    if (!cJSON_IsArray(list))
        return out;
    out.items = TG_ARENA_ARRAY(&l->arena, struct tg_slice, cJSON_GetArraySize(list));
    cJSON_ArrayForEach(item, list)
        out.count += tg_json_str(item, &out.items[out.count]);
    l->known.facts |= TG_FACT_BIT(fact);
    return out;
}

static void copy_text(char *out, size_t size, struct tg_slice text)
{
    size_t n = text.len < size ? text.len : size - 1;

    if (n > 0)
        memcpy(out, text.ptr, n);
    out[n] = '\0';
}

static void read_certificate(struct log_line *l, const cJSON *facts)
{
    struct tg_slice fingerprint = text_of(l->json, "client_cert_fingerprint");
    const cJSON *node = tg_json_get(facts, "certificate");
    struct tg_slice subject = text_of(node, "subject"), spki = text_of(node, "spki");
    struct tg_cert *cert;

    l->client_cert = text_of(l->json, "client_cert");
    l->known.facts |= TG_FACT_BIT(TG_FACT_CLIENT_CERT);
    if (tg_slice_eq(l->client_cert, TG_S("missing")))
        l->request.client_cert = TG_CLIENT_CERT_MISSING;
    else if (tg_slice_starts_with(l->client_cert, TG_S("invalid")))
        l->request.client_cert = TG_CLIENT_CERT_INVALID;
    if (!fingerprint.ptr) {                              /* none was shown, which is all there is to know */
        l->known.facts |= certificate_facts;
        return;
    }
    cert = TG_ARENA_NEW(&l->arena, struct tg_cert);
    copy_text(cert->fingerprint, sizeof cert->fingerprint, fingerprint);
    l->known.facts |= TG_FACT_BIT(TG_FACT_CERT_FINGERPRINT);
    copy_text(cert->spki_hash, sizeof cert->spki_hash, spki);
    l->known.facts |= spki.ptr ? TG_FACT_BIT(TG_FACT_CERT_SPKI) : 0;
    cert->subject = subject.ptr ? subject : text_of(l->json, "client_cert_subject");
    l->known.facts |= subject.ptr ? TG_FACT_BIT(TG_FACT_CERT_SUBJECT) : 0;
    cert->emails = names_of(l, node, "emails", TG_FACT_CERT_EMAILS);
    cert->dns = names_of(l, node, "dns", TG_FACT_CERT_DNS);
    cert->uris = names_of(l, node, "uris", TG_FACT_CERT_URIS);
    l->request.certificate = cert;
}

/* ---- the identity ---- */

static int compare_names(const void *a, const void *b)
{
    return tg_slice_cmp(*(const struct tg_slice *)a, *(const struct tg_slice *)b);
}

static void know_claims(struct log_line *l, struct tg_slice *names, size_t count)
{
    uint64_t *hashes = TG_ARENA_ARRAY(&l->arena, uint64_t, count);
    size_t kept = 0;

    if (count > 0)
        qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || !tg_slice_eq(names[kept - 1], names[i]))
            names[kept++] = names[i];
    }
    for (size_t i = 0; i < kept; i++)
        hashes[i] = tg_hash_slice(names[i]);
    l->known.claims = names;
    l->known.hashes = hashes;
    l->known.claim_count = kept;
}

/* A text that stands elsewhere on the line is the claim of that name: whoever has an identity has both. */
static void add_claim(cJSON *claims, const char *name, struct tg_slice value, struct tg_slice *names, size_t *count)
{
    char *text;

    if (!value.ptr || tg_json_get(claims, name))
        return;
    text = tg_slice_dup(value);
    cJSON_AddStringToObject(claims, name, text);
    free(text);
    names[(*count)++] = tg_slice_str(name);
}

static enum tg_status read_claims(struct log_line *l, const cJSON *facts, struct tg_err *err)
{
    const cJSON *given = tg_json_get(facts, "claims"), *list = cJSON_IsObject(given) ? given : NULL, *item;
    struct tg_slice *names = TG_ARENA_ARRAY(&l->arena, struct tg_slice, cJSON_GetArraySize(list) + 3);
    cJSON *claims = cJSON_CreateObject();
    size_t count = 0;

    tg_assert(claims);
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsArray(item) && !cJSON_IsNull(item))
            continue;
        names[count++] = tg_slice_str(item->string);
        if (cJSON_IsArray(item))                         /* null: the token has none */
            cJSON_AddItemToObject(claims, item->string, cJSON_Duplicate(item, true));
    }
    add_claim(claims, "sub", l->facts.user, names, &count);
    add_claim(claims, "iss", l->issuer, names, &count);
    if (l->facts.email.len > 0)
        add_claim(claims, "email", l->facts.email, names, &count);
    l->claims = tg_claims_new(claims);                   /* takes it over in any case */
    if (!l->claims)
        return tg_fail(err, TG_BAD_INPUT, "\"facts\" holds claims that are too large");
    know_claims(l, names, count);
    return TG_OK;
}

/* "...": there was no room for more names. */
static bool is_omitted(const cJSON *facts, const char *name)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, tg_json_get(facts, "omitted")) {
        if (cJSON_IsString(item) && (strcmp(item->valuestring, name) == 0 || strcmp(item->valuestring, "...") == 0))
            return true;
    }
    return false;
}

void log_line_take_groups(struct log_line *l, struct tg_slice claim)
{
    l->facts.groups_claim = claim;
    l->known.facts &= ~TG_FACT_BIT(TG_FACT_GROUPS);
    if (tg_fact_set_has_claim(&l->known, claim.len > 0 ? claim : TG_S("groups")))
        l->known.facts |= TG_FACT_BIT(TG_FACT_GROUPS);
}

static enum tg_status read_identity(struct log_line *l, const cJSON *facts, struct tg_err *err)
{
    struct tg_facts *f = &l->facts;
    struct tg_slice user = text_of(l->json, "sub");
    enum tg_status st;

    l->known.facts |= TG_FACT_BIT(TG_FACT_USER);
    if (!user.ptr) {                                     /* nobody: all that could be asked of an identity is known */
        l->known.facts |= TG_FACT_BIT(TG_FACT_EMAIL) | TG_FACT_BIT(TG_FACT_GROUPS);
        return TG_OK;
    }
    f->identity = true;
    f->user = user;
    if (tg_json_str(tg_json_get(facts, "email"), &f->email))
        l->known.facts |= TG_FACT_BIT(TG_FACT_EMAIL);
    st = read_claims(l, facts, err);
    if (st != TG_OK)
        return st;
    f->claims = l->claims;
    f->groups_claim = text_of(facts, "groups_claim");
    if (f->groups_claim.ptr || !is_omitted(facts, "groups_claim"))
        log_line_take_groups(l, f->groups_claim);
    return TG_OK;
}

/* ---- what else policies may ask ---- */

static void read_preflight(struct log_line *l, const cJSON *facts)
{
    if (!l->request.method.ptr || (tg_slice_eq(l->request.method, TG_S("OPTIONS")) && !facts))
        return;
    l->known.facts |= TG_FACT_BIT(TG_FACT_PREFLIGHT);
    l->facts.cors_preflight = cJSON_IsTrue(tg_json_get(facts, "preflight"));
}

static void read_tool(struct log_line *l, const cJSON *facts)
{
    const cJSON *tool = tg_json_get(facts, "tool");

    if (!tool)
        return;
    l->known.facts |= TG_FACT_BIT(TG_FACT_MCP_TOOL);
    l->facts.mcp_tool_call = tg_json_str(tool, &l->facts.mcp_tool);
}

static void read_omitted(struct log_line *l, const cJSON *facts)
{
    const cJSON *item;
    struct tg_buf text = {0};
    struct tg_slice name;

    cJSON_ArrayForEach(item, tg_json_get(facts, "omitted")) {
        if (tg_json_str(item, &name))
            tg_buf_addf(&text, "%s" TG_S_FMT, text.len > 0 ? ", " : "", TG_S_ARG(name));
    }
    if (text.len > 0)
        l->omitted = tg_arena_str(&l->arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
}

static enum tg_status read_facts(struct log_line *l, struct tg_err *err)
{
    const cJSON *facts = tg_json_get(l->json, "facts");
    enum tg_status st;

    if (!cJSON_IsObject(facts))
        facts = NULL;
    l->has_facts = facts != NULL;
    read_certificate(l, facts);
    explain_facts(&l->request, &l->facts);
    l->facts.known = &l->known;
    st = read_identity(l, facts, err);
    if (st != TG_OK)
        return st;
    read_preflight(l, facts);
    read_tool(l, facts);
    read_omitted(l, facts);
    return TG_OK;
}

/* ---- what was decided ---- */

static enum tg_status read_decision(struct log_line *l, struct tg_err *err)
{
    const cJSON *shadow = tg_json_get(l->json, "shadow");
    int64_t status = number_of(l->json, "status");

    l->decision = text_of(l->json, "decision");
    if (!l->decision.ptr || status < 0 || status > 999)
        return tg_fail(err, TG_BAD_INPUT, "\"decision\" and \"status\" are not there");
    l->status = (unsigned)status;
    l->reasons = reasons_of(tg_json_get(l->json, "reasons"));
    l->token_refused = text_of(l->json, "token_refused");
    l->refused = text_of(l->json, "refused");
    l->judged = tg_slice_eq(l->decision, TG_S("allow")) || tg_slice_eq(l->decision, TG_S("deny")) ||
                (tg_slice_eq(l->decision, TG_S("unauthenticated")) && !l->token_refused.ptr &&
                 !tg_slice_starts_with(l->refused, TG_S("token-")));
    l->shadow_decision = text_of(shadow, "decision");
    l->shadow_policy = text_of(shadow, "policy");
    l->shadow_reasons = reasons_of(tg_json_get(shadow, "reasons"));
    return TG_OK;
}

static void read_rest(struct log_line *l)
{
    l->request_id = text_of(l->json, "request_id");
    l->route = text_of(l->json, "route");
    l->provider = text_of(l->json, "provider");
    l->issuer = text_of(l->json, "issuer");
    l->error = text_of(l->json, "error");
    l->policy = text_of(l->json, "policy");
    l->tier = text_of(l->json, "tier");
    l->limit_key = text_of(l->json, "limit_key");
    l->window = text_of(l->json, "window");
    l->counter = text_of(l->json, "counter");
    l->policy_set = text_of(l->json, "policy_set");
    l->key_set = text_of(l->json, "key_set");
    l->bound = text_of(l->json, "bound");
    l->limit = number_of(l->json, "limit");
    l->remaining = number_of(l->json, "remaining");
    l->tls = text_of(l->json, "tls_version").ptr != NULL;
    l->shadow_limited = tg_json_get(l->json, "shadow_limited");
    if (!cJSON_IsArray(l->shadow_limited) || !l->shadow_limited->child)
        l->shadow_limited = NULL;
}

/* The object of a line; what others put before it may have braces of its own. NULL: there is none. */
static const char *object_of(struct tg_slice text)
{
    const char *end = text.ptr + text.len, *at = text.ptr, *in;

    while (at < end && (at = memchr(at, '{', (size_t)(end - at)))) {
        for (in = ++at; in < end && *in == ' ';)
            in++;
        if (in < end && *in == '"')
            return at - 1;
    }
    return NULL;
}

enum tg_status log_line_read(struct tg_slice text, struct log_line *out, struct tg_err *err)
{
    static const struct tg_json_limits limits = {.bytes = LOG_LINE_BYTES, .depth = 48};
    const char *start = object_of(text);
    enum tg_status st;

    memset(out, 0, sizeof *out);
    out->request.port = -1;
    out->limit = out->remaining = -1;
    tg_arena_init(&out->arena, NULL, 0);
    if (!start)
        return tg_fail(err, TG_BAD_INPUT, "no JSON object");
    text = tg_slice(start, text.len - (size_t)(start - text.ptr));
    if (tg_json_parse(text, &limits, &out->json, err) != TG_OK)
        return TG_BAD_INPUT;
    read_rest(out);
    st = read_decision(out, err);
    if (st == TG_OK)
        st = read_request(out, err);
    return st == TG_OK ? read_facts(out, err) : st;
}

void log_line_fini(struct log_line *l)
{
    tg_claims_free(l->claims);
    explain_request_fini(&l->request);
    cJSON_Delete(l->json);
    tg_arena_fini(&l->arena);
    memset(l, 0, sizeof *l);
}
