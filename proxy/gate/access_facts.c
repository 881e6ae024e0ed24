/*
 * access_facts - the member "facts" of a log line: what the decision used and no other member holds, so that the same
 * tree as of `explain` comes out of the line and the files.
 *
 * What a route's policies and the tiers read, and not more: a token holds much that is nobody's business in a log.
 * Straight into the line's buffer; what does not fit is taken back and named in "omitted". A fact that is known to be
 * none (null, an empty "email") is not the same as one that is not there.
 */
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "internal.h"

#define FACTS_BYTES ((size_t)8192)                       /* of all together */
#define OMITTED_BYTES ((size_t)1024)
#define END_BYTES (OMITTED_BYTES + 64)                   /* kept for what was omitted, and for closing */

struct facts {
    struct tg_buf *out;
    size_t end;                                          /* what out->len must not pass */
    bool too_long;                                       /* the member at hand: it is not added on */
    size_t omitted_len;
    bool more_omitted;                                   /* than there is room for their names */
    char omitted[OMITTED_BYTES];                         /* names, each in quotes with a comma behind it */
};

static void add(struct facts *f, struct tg_slice text) { tg_buf_add_slice(f->out, text); }

/* ---- what does not fit ---- */

static void add_omitted(struct facts *f, struct tg_slice text)
{
    memcpy(f->omitted + f->omitted_len, text.ptr, text.len);
    f->omitted_len += text.len;
}

/* Once there is no room for its name even, "..." stands for the rest. */
static void omit(struct facts *f, struct tg_slice group, struct tg_slice name)
{
    static const struct tg_slice more = TG_S_INIT("\"...\",");
    size_t mark = f->out->len;
    struct tg_slice quoted;

    if (f->more_omitted)
        return;
    if (name.len < OMITTED_BYTES)
        tg_log_json_string(f->out, name);
    quoted = tg_slice(f->out->data + mark, f->out->len - mark);
    f->more_omitted = quoted.len == 0 || f->omitted_len + group.len + quoted.len + 1 + more.len > OMITTED_BYTES;
    if (f->more_omitted) {
        add_omitted(f, more);
    } else {
        add_omitted(f, TG_S("\""));
        add_omitted(f, group);
        add_omitted(f, tg_slice(quoted.ptr + 1, quoted.len - 1));
        add_omitted(f, TG_S(","));
    }
    f->out->len = mark;
}

static bool fits(const struct facts *f) { return !f->too_long && f->out->len <= f->end; }

/* What was added since `mark` stays when it fits. */
static void settle(struct facts *f, size_t mark, struct tg_slice group, struct tg_slice name)
{
    if (fits(f))
        return;
    f->too_long = false;
    f->out->len = mark;
    omit(f, group, name);
}

static size_t room(const struct facts *f) { return f->out->len < f->end ? f->end - f->out->len : 0; }

/* Text of any length: what is too long is not even copied. */
static void add_text(struct facts *f, struct tg_slice text)
{
    if (text.len > room(f))
        f->too_long = true;
    else
        tg_log_json_string(f->out, text);
}

/* ---- claims ---- */

/* tg_json_print leaves DEL and the controls above it as they are, which drive terminals. */
static void escape_controls(struct tg_buf *out, size_t from)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = from; i < out->len; i++) {
        const unsigned char *at = (const unsigned char *)out->data + i;
        bool pair = at[0] == 0xc2 && i + 1 < out->len && at[1] < 0xa0;
        unsigned code = pair ? at[1] : at[0];
        size_t old = pair ? 2 : 1;
        char text[] = {'\\', 'u', '0', '0', hex[code >> 4], hex[code & 15]};

        if (!pair && at[0] != 0x7f)
            continue;
        tg_buf_reserve(out, sizeof(text));
        memmove(out->data + i + sizeof(text), out->data + i + old, out->len - i - old);
        memcpy(out->data + i, text, sizeof(text));
        out->len += sizeof(text) - old;
        i += sizeof(text) - 1;
    }
}

static void add_value(struct facts *f, const struct tg_claim_value *value)
{
    size_t mark = f->out->len;

    if (value->str.ptr) {
        add_text(f, value->str);
        return;
    }
    tg_json_print(f->out, value->json);
    if (fits(f) && (cJSON_IsArray(value->json) || cJSON_IsObject(value->json)))
        escape_controls(f->out, mark);
}

static void add_claim(struct facts *f, const struct tg_claims *claims, struct tg_slice name, uint64_t hash)
{
    const struct tg_claim *claim = tg_claims_get(claims, name, hash);
    size_t mark = f->out->len;

    add_text(f, name);
    if (!claim) {
        add(f, TG_S(":null,"));
        settle(f, mark, TG_S("claims."), name);
        return;
    }
    add(f, TG_S(":["));
    for (size_t i = 0; i < claim->count && fits(f); i++) {
        if (i > 0)
            add(f, TG_S(","));
        add_value(f, &claim->values[i]);
    }
    add(f, TG_S("],"));
    settle(f, mark, TG_S("claims."), name);
}

static void add_claims(struct facts *f, const struct tg_fact_set *reads, const struct tg_facts *facts)
{
    struct tg_slice groups = facts->groups_claim.len > 0 ? facts->groups_claim : TG_S("groups");
    bool with_groups = (reads->facts & TG_FACT_BIT(TG_FACT_GROUPS)) && !tg_fact_set_has_claim(reads, groups);

    if (reads->claim_count == 0 && !with_groups)
        return;
    add(f, TG_S("\"claims\":{"));
    if (with_groups)
        add_claim(f, facts->claims, groups, tg_hash_slice(groups));
    for (size_t i = 0; i < reads->claim_count; i++)
        add_claim(f, facts->claims, reads->claims[i], reads->hashes[i]);
    if (f->out->data[f->out->len - 1] == ',')
        f->out->len--;
    add(f, TG_S("},"));
}

/* A claim called "groups" would be taken for that of the groups, were their claim not named. */
static bool tells_groups(const struct tg_fact_set *reads)
{
    return (reads->facts & TG_FACT_BIT(TG_FACT_GROUPS)) || tg_fact_set_has_claim(reads, TG_S("groups"));
}

static void add_identity(struct facts *f, const struct tg_fact_set *reads, const struct tg_facts *facts)
{
    size_t mark = f->out->len;

    if (reads->facts & TG_FACT_BIT(TG_FACT_EMAIL)) {
        add(f, TG_S("\"email\":"));
        add_text(f, facts->email);
        add(f, TG_S(","));
        settle(f, mark, TG_S("email"), TG_S(""));
    }
    mark = f->out->len;
    if (facts->groups_claim.len > 0 && !tg_slice_eq(facts->groups_claim, TG_S("groups")) && tells_groups(reads)) {
        add(f, TG_S("\"groups_claim\":"));
        add_text(f, facts->groups_claim);
        add(f, TG_S(","));
        settle(f, mark, TG_S("groups_claim"), TG_S(""));
    }
}

/* ---- the client's certificate ---- */

static const struct {
    const char *name;
    enum tg_fact fact;
} parts[] = {
    {"subject", TG_FACT_CERT_SUBJECT}, {"spki", TG_FACT_CERT_SPKI}, {"emails", TG_FACT_CERT_EMAILS},
    {"dns", TG_FACT_CERT_DNS},         {"uris", TG_FACT_CERT_URIS},
};
_Static_assert(ARRAY_LEN(parts) == TG_CERT_FACTS, "one for each");

static void add_names(struct tg_buf *out, const struct tg_cert_names *names)
{
    tg_buf_addc(out, '[');
    for (size_t i = 0; i < names->count; i++) {
        if (i > 0)
            tg_buf_addc(out, ',');
        tg_log_json_string(out, names->items[i]);
    }
    tg_buf_addc(out, ']');
}

static void add_part(struct tg_buf *out, const struct tg_cert *cert, enum tg_fact fact)
{
    switch (fact) {
    case TG_FACT_CERT_SUBJECT: tg_log_json_string(out, cert->subject); break;
    case TG_FACT_CERT_SPKI: tg_log_json_string(out, tg_slice_str(cert->spki_hash)); break;
    case TG_FACT_CERT_EMAILS: add_names(out, &cert->emails); break;
    case TG_FACT_CERT_DNS: add_names(out, &cert->dns); break;
    default: add_names(out, &cert->uris); break;
    }
}

void tg_access_facts_certificate(const struct tg_cert *cert, struct tg_conn_tls *tls)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t mark = tls->cert.len;

        tg_buf_addf(&tls->cert, "\"%s\":", parts[i].name);
        add_part(&tls->cert, cert, parts[i].fact);
        tg_buf_addc(&tls->cert, ',');
        if (tls->cert.len - mark > FACTS_BYTES)          /* it would never be logged */
            tls->cert.len = mark;
        tls->cert_ends[i] = tls->cert.len;
    }
}

static void add_certificate(struct facts *f, unsigned reads, const struct tg_conn_tls *tls)
{
    size_t from = 0, opened = f->out->len;

    add(f, TG_S("\"certificate\":{"));
    for (size_t i = 0; i < ARRAY_LEN(parts); from = tls->cert_ends[i++]) {
        size_t mark = f->out->len, len = tls->cert_ends[i] - from;

        if (!(reads & TG_FACT_BIT(parts[i].fact)))
            continue;
        if (len == 0 || len > room(f)) {
            omit(f, TG_S("certificate."), tg_slice_str(parts[i].name));
            continue;
        }
        add(f, tg_slice(tls->cert.data + from, len));
        settle(f, mark, TG_S("certificate."), tg_slice_str(parts[i].name));
    }
    if (f->out->data[f->out->len - 1] == '{') {
        f->out->len = opened;
        return;
    }
    f->out->data[f->out->len - 1] = '}';
    add(f, TG_S(","));
}

/* ---- all ---- */

static void add_tool(struct facts *f, const struct tg_facts *facts)
{
    size_t mark = f->out->len;

    add(f, TG_S("\"tool\":"));
    if (facts->mcp_tool_call)
        add_text(f, facts->mcp_tool);
    else
        add(f, TG_S("null"));
    add(f, TG_S(","));
    settle(f, mark, TG_S("tool"), TG_S(""));
}

void tg_access_facts(const struct tg_exchange *ex, struct tg_buf *out)
{
    const struct tg_fact_set *reads = ex->route->reads;
    struct facts f;

    f.out = out;
    f.end = out->len + FACTS_BYTES - END_BYTES;
    f.omitted_len = 0;
    f.too_long = f.more_omitted = false;
    add(&f, TG_S(",\"facts\":{"));
    if (ex->facts.cors_preflight)
        add(&f, TG_S("\"preflight\":true,"));
    if ((reads->facts & TG_FACT_BIT(TG_FACT_MCP_TOOL)) && ex->judged && !ex->body_unread && !ex->call_unknown)
        add_tool(&f, &ex->facts);
    if (ex->conn->tls && ex->conn->tls->cert.len > 0)
        add_certificate(&f, reads->facts, ex->conn->tls);
    if (ex->facts.identity) {
        add_identity(&f, reads, &ex->facts);
        add_claims(&f, reads, &ex->facts);
    }
    if (f.omitted_len > 0) {
        add(&f, TG_S("\"omitted\":["));
        add(&f, tg_slice(f.omitted, f.omitted_len - 1));
        add(&f, TG_S("],"));
    }
    if (out->data[out->len - 1] == ',')
        out->len--;
    add(&f, TG_S("}"));
}
