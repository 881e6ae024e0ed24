/*
 * plain_policy - an evaluator of policies that walks the document by the words of the language.
 *
 * It shares nothing with the one under test but slices and the tables of random_policy: its own equality of values, its
 * own address blocks, claims from the token's object, time from the tables. Slow, and plain enough to be read beside
 * the language's description.
 */
#pragma once
#include "random_policy.h"
#include "support.h"
#include <arpa/inet.h>

struct plain {
    bool value;
    tg_reasons reasons;
};
#define BIT(name) TG_REASON_BIT(TG_REASON_##name)

/* A request, and the claims of its token as they came. */
struct plain_request {
    const struct tg_facts *facts;
    const cJSON *claims;
};

static inline struct plain plain_of(bool value, tg_reasons pass, tg_reasons fail)
{
    return (struct plain){value, value ? pass : fail};
}

/* Members of an `or` (any) or an `and`, as they come. Of their reasons those of members with the value of all. */
struct plain_sum {
    bool any, true_one, false_one;
    tg_reasons of_true, of_false;
};

static inline void plain_add(struct plain_sum *sum, struct plain m)
{
    sum->true_one |= m.value;
    sum->false_one |= !m.value;
    *(m.value ? &sum->of_true : &sum->of_false) |= m.reasons;
}

static inline struct plain plain_result(const struct plain_sum *sum)
{
    return plain_of(sum->any ? sum->true_one : !sum->false_one, sum->of_true, sum->of_false);
}

static inline bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* ---- values ---- */
static inline bool plain_equal(const cJSON *a, const cJSON *b)
{
    const cJSON *x, *y = b->child;
    int members = 0;

    if ((a->type & 0xff) != (b->type & 0xff))
        return false;
    if (cJSON_IsNumber(a))
        return a->valuedouble >= b->valuedouble && a->valuedouble <= b->valuedouble;
    if (cJSON_IsString(a))
        return is(a->valuestring, b->valuestring);
    for (x = a->child; x; x = x->next) {
        if (cJSON_IsObject(a))
            y = cJSON_GetObjectItemCaseSensitive(b, x->string);
        if (!y || !plain_equal(x, y))
            return false;
        y = y->next;
        members++;
    }
    return cJSON_GetArraySize(b) == members;
}

static inline bool equals(const cJSON *value, struct tg_slice text)
{
    return cJSON_IsString(value) && strlen(value->valuestring) == text.len &&
           (text.len == 0 || memcmp(value->valuestring, text.ptr, text.len) == 0);
}

static inline bool one_of(const cJSON *list, struct tg_slice text)
{
    const cJSON *value;

    cJSON_ArrayForEach(value, list) {
        if (equals(value, text))
            return true;
    }
    return false;
}

/* ---- text ---- */
static inline bool found_at(struct tg_slice text, const char *part, size_t at)
{
    return memcmp(text.ptr + at, part, strlen(part)) == 0;
}

static inline bool plain_operation(const cJSON *m, struct tg_slice text)
{
    const char *name = m->string;
    size_t len = cJSON_IsString(m) ? strlen(m->valuestring) : 0;

    if (is(name, "is") || is(name, "not"))
        return equals(m, text) == is(name, "is");
    if (is(name, "in") || is(name, "not_in"))
        return one_of(m, text) == is(name, "in");
    if (len == 0 || len > text.len)
        return len == 0;
    if (is(name, "starts_with"))
        return found_at(text, m->valuestring, 0);
    if (is(name, "ends_with"))
        return found_at(text, m->valuestring, text.len - len);
    assert_string_equal(name, "contains");
    for (size_t i = 0; i + len <= text.len; i++) {
        if (found_at(text, m->valuestring, i))
            return true;
    }
    return false;
}

static inline bool plain_text(const cJSON *matcher, struct tg_slice text)
{
    const cJSON *m;

    if (!cJSON_IsObject(matcher))
        return equals(matcher, text);
    cJSON_ArrayForEach(m, matcher) {
        if (!plain_operation(m, text))
            return false;
    }
    return true;
}

/* ---- certificates ---- */
/* Each operator of a name's matcher is content with any of the names. */
static inline bool plain_names(const cJSON *matcher, const struct tg_cert_names *names)
{
    bool all = true, some = false;
    const cJSON *m;

    for (size_t i = 0; i < names->count; i++)
        some |= equals(matcher, names->items[i]);
    if (!cJSON_IsObject(matcher))
        return some;
    cJSON_ArrayForEach(m, matcher) {
        some = false;
        for (size_t i = 0; i < names->count; i++)
            some |= plain_operation(m, names->items[i]);
        all &= some;
    }
    return all;
}

/* In pairs with colons or without. */
static inline bool is_fingerprint(const cJSON *value, const char *fingerprint)
{
    char text[65];
    size_t len = 0;

    for (const char *c = value->valuestring; *c && len < 64; c++) {
        if (*c != ':')
            text[len++] = *c >= 'A' && *c <= 'F' ? (char)(*c - 'A' + 'a') : *c;
    }
    text[len] = '\0';
    return is(text, fingerprint);
}

static inline bool plain_certificate(const cJSON *matcher, const struct tg_cert *cert)
{
    const cJSON *m, *value;

    if (!cert)
        return false;
    cJSON_ArrayForEach(m, matcher) {
        bool ok = false;

        if (is(m->string, "fingerprint")) {
            ok = cJSON_IsString(m) && is_fingerprint(m, cert->fingerprint);
            for (value = m->child; value; value = value->next)
                ok |= is_fingerprint(value, cert->fingerprint);
        } else if (is(m->string, "spki_hash")) {
            ok = equals(m, tg_slice_str(cert->spki_hash)) || one_of(m, tg_slice_str(cert->spki_hash));
        } else {
            ok = plain_names(m, is(m->string, "san_dns")     ? &cert->dns
                                : is(m->string, "san_email") ? &cert->emails
                                                             : &cert->uris);
        }
        if (!ok)
            return false;
    }
    return true;
}

/* ---- claims ---- */
/* The claim of a dotted name; NULL: none. An object is no claim, only what is in it. */
static inline const cJSON *plain_claim(const cJSON *object, const char *name)
{
    const char *dot = strchr(name, '.');
    const cJSON *found = object ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
    char first[32];

    if (found || !dot)
        return cJSON_IsObject(found) ? NULL : found;
    snprintf(first, sizeof(first), "%.*s", (int)(dot - name), name);
    found = object ? cJSON_GetObjectItemCaseSensitive(object, first) : NULL;
    return cJSON_IsObject(found) ? plain_claim(found, dot + 1) : NULL;
}

static inline bool plain_has(const cJSON *claim, const cJSON *value)
{
    const cJSON *element;

    if (!cJSON_IsArray(claim))
        return claim && plain_equal(claim, value);
    cJSON_ArrayForEach(element, claim) {
        if (plain_equal(element, value))
            return true;
    }
    return false;
}

static inline bool plain_list(const cJSON *matcher, const cJSON *claim)
{
    int elements = !claim ? 0 : cJSON_IsArray(claim) ? cJSON_GetArraySize(claim) : 1;
    const cJSON *m;

    if (!cJSON_IsObject(matcher))
        return plain_has(claim, matcher);
    cJSON_ArrayForEach(m, matcher) {
        bool has = plain_has(claim, m);

        if (is(m->string, "has") ? !has : is(m->string, "exclude") ? has : !has || elements != 1)
            return false;
    }
    return true;
}

/* ---- addresses ---- */
/* As sixteen bytes, IPv4 as ::ffff:a.b.c.d. */
static inline void plain_address(const char *text, size_t len, uint8_t out[16])
{
    char copy[64];

    snprintf(copy, sizeof(copy), "%s%.*s", memchr(text, ':', len) ? "" : "::ffff:", (int)len, text);
    assert_int_equal(inet_pton(AF_INET6, copy, out), 1);
}

static inline bool is_mapped(const uint8_t a[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(a, prefix, sizeof(prefix)) == 0;
}

/* Families never mix: ::/0 holds no IPv4 address, although it holds the sixteen bytes of one. */
static inline bool plain_within(const cJSON *block, const struct tg_ip *ip)
{
    const char *text = block->valuestring, *slash = strchr(text, '/');
    uint8_t net[16], address[16] = {[10] = 0xff, [11] = 0xff};
    int bits = slash ? atoi(slash + 1) : 128;

    if (ip->family == 0)
        return false;
    plain_address(text, slash ? (size_t)(slash - text) : strlen(text), net);
    if (slash && !strchr(text, ':'))
        bits += 96;
    memcpy(address + (ip->family == 4 ? 12 : 0), ip->bytes, ip->family == 4 ? 4 : 16);
    if ((ip->family == 4) != (is_mapped(net) && bits >= 96))
        return false;
    for (int bit = 0; bit < bits; bit++) {
        if ((net[bit / 8] ^ address[bit / 8]) & 0x80 >> bit % 8)
            return false;
    }
    return true;
}

static inline bool plain_network(const cJSON *data, const struct tg_ip *ip)
{
    const cJSON *block;

    if (cJSON_IsString(data))
        return plain_within(data, ip);
    cJSON_ArrayForEach(block, data) {
        if (plain_within(block, ip))
            return true;
    }
    return false;
}

/* ---- time ---- */
/* The row of a table whose JSON is this string. */
#define ROW_OF(table, node, row) \
    do { \
        for ((row) = 0; (row) < ARRAY_LEN(table); (row)++) { \
            const char *j_ = (table)[row].json, *s_ = (node)->valuestring; \
            if (strlen(s_) + 2 == strlen(j_) && memcmp(j_ + 1, s_, strlen(s_)) == 0) \
                break; \
        } \
        assert_true((row) < ARRAY_LEN(table)); \
    } while (0)

static inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static inline bool plain_time(const cJSON *c, int64_t now)
{
    const int64_t day = 86400000;
    const cJSON *m;
    size_t row;

    if (is(c->string, "day_of_week")) {
        ROW_OF(weeks, c, row);
        return weeks[row].days >> ((floor_div(now, day) + 4) % 7 + 7) % 7 & 1; /* 1970 began on a Thursday */
    }
    cJSON_ArrayForEach(m, c) {
        int64_t bound, at = now;

        if (is(m->string, "timezone"))
            continue;
        if (is(c->string, "date")) {
            ROW_OF(instants, m, row);
            bound = instants[row].ms;
        } else {
            ROW_OF(clocks, m, row);
            bound = clocks[row].ms;
            at = now - floor_div(now, day) * day;
        }
        if (is(m->string, "after") ? at <= bound : at >= bound)
            return false;
    }
    return true;
}

/* ---- criteria ---- */
static inline struct plain plain_public(const cJSON *c, const struct tg_facts *f)
{
    const char *name = c->string;

    if (is(name, "accept"))
        return (struct plain){true, BIT(ACCEPT)};
    if (is(name, "reject"))
        return (struct plain){false, BIT(REJECT)};
    if (is(name, "cors_preflight"))
        return plain_of(f->cors_preflight, BIT(CORS_REQUEST), BIT(NON_CORS_REQUEST));
    if (is(name, "invalid_client_certificate")) {
        if (f->client_cert == TG_CLIENT_CERT_VALID)
            return (struct plain){false, BIT(VALID_CLIENT_CERTIFICATE)};
        return (struct plain){true, f->client_cert == TG_CLIENT_CERT_MISSING ? BIT(CLIENT_CERTIFICATE_REQUIRED)
                                                                             : BIT(INVALID_CLIENT_CERTIFICATE)};
    }
    if (is(name, "client_certificate"))
        return plain_of(plain_certificate(c, f->certificate), BIT(CLIENT_CERTIFICATE_OK),
                        BIT(CLIENT_CERTIFICATE_UNAUTHORIZED));
    if (is(name, "http_method"))
        return plain_of(plain_text(c, f->method), BIT(HTTP_METHOD_OK), BIT(HTTP_METHOD_UNAUTHORIZED));
    if (is(name, "http_path"))
        return plain_of(plain_text(c, f->path), BIT(HTTP_PATH_OK), BIT(HTTP_PATH_UNAUTHORIZED));
    if (is(name, "mcp_tool") && !f->mcp_tool_call)
        return (struct plain){false, BIT(MCP_NOT_A_TOOL_CALL)};
    if (is(name, "mcp_tool"))
        return plain_of(plain_text(c, f->mcp_tool), BIT(MCP_TOOL_MATCH), BIT(MCP_TOOL_NO_MATCH));
    if (is(name, "date"))
        return plain_of(plain_time(c, f->wall_ms), BIT(DATE_OK), BIT(DATE_UNAUTHORIZED));
    if (is(name, "day_of_week"))
        return plain_of(plain_time(c, f->wall_ms), BIT(DAY_OF_WEEK_OK), BIT(DAY_OF_WEEK_UNAUTHORIZED));
    if (is(name, "time_of_day"))
        return plain_of(plain_time(c, f->wall_ms), BIT(TIME_OF_DAY_OK), BIT(TIME_OF_DAY_UNAUTHORIZED));
    assert_string_equal(name, "source_ip");
    return plain_of(plain_network(c, &f->source_ip), BIT(SOURCE_IP_OK), BIT(SOURCE_IP_UNAUTHORIZED));
}

/* Between the first and the second @. */
static inline bool plain_domain(const cJSON *c, struct tg_slice email)
{
    const char *at = email.len ? memchr(email.ptr, '@', email.len) : NULL, *end;
    size_t len;

    if (!at)
        return false;
    len = (size_t)(email.ptr + email.len - at - 1);
    end = memchr(at + 1, '@', len);
    return plain_text(c, tg_slice(at + 1, end ? (size_t)(end - at - 1) : len));
}

static inline struct plain plain_criterion(const cJSON *c, const struct plain_request *r)
{
    static const char *const who[] = {"authenticated_user", "user", "email", "domain", "groups"};
    bool identity = strncmp(c->string, "claim/", 6) == 0;
    const struct tg_facts *f = r->facts;

    for (size_t i = 0; i < ARRAY_LEN(who); i++)
        identity |= is(c->string, who[i]);
    if (!identity)
        return plain_public(c, f);
    if (!f->identity)
        return (struct plain){false, BIT(USER_UNAUTHENTICATED)};
    if (is(c->string, "authenticated_user"))
        return plain_of(f->user.len > 0, BIT(USER_OK), BIT(USER_UNAUTHORIZED));
    if (is(c->string, "user"))
        return plain_of(plain_text(c, f->user), BIT(USER_OK), BIT(USER_UNAUTHORIZED));
    if (is(c->string, "email"))
        return plain_of(plain_text(c, f->email), BIT(EMAIL_OK), BIT(EMAIL_UNAUTHORIZED));
    if (is(c->string, "domain"))
        return plain_of(plain_domain(c, f->email), BIT(DOMAIN_OK), BIT(DOMAIN_UNAUTHORIZED));
    if (is(c->string, "groups"))
        return plain_of(plain_list(c, plain_claim(r->claims, f->groups_claim.len ? "roles" : "groups")), BIT(GROUPS_OK),
                        BIT(GROUPS_UNAUTHORIZED));
    return plain_of(plain_list(c, plain_claim(r->claims, c->string + 6)), BIT(CLAIM_OK), BIT(CLAIM_UNAUTHORIZED));
}

/* ---- lists, documents, decisions ---- */
/* not: all inverted ones hold; nor: one of them does. Inversion keeps the reason. */
static inline struct plain plain_operator(const cJSON *list, const struct plain_request *r)
{
    bool inverted = list->string[0] == 'n';
    struct plain_sum sum = {.any = is(list->string, "or") || is(list->string, "nor")};
    const cJSON *item;

    cJSON_ArrayForEach(item, list) {
        struct plain m = plain_criterion(item->child, r);

        m.value ^= inverted;
        plain_add(&sum, m);
    }
    return plain_result(&sum);
}

/* One document, a list of rules. `lists`: how many there are that have an effect. */
static inline struct plain plain_action(const cJSON *document, const char *action, const struct plain_request *r,
                                        size_t *lists)
{
    struct plain_sum sum = {.any = true};
    const cJSON *rule, *list;

    *lists = 0;
    cJSON_ArrayForEach(rule, document) {
        cJSON_ArrayForEach(list, cJSON_GetObjectItemCaseSensitive(rule, action)) {
            if (!list->child)
                continue;
            plain_add(&sum, plain_operator(list, r));
            ++*lists;
        }
    }
    return plain_result(&sum);
}

/* `index`: of each document, as a verdict names it. */
static inline void plain_decide(const cJSON *const *documents, const int *index, size_t count,
                                const struct plain_request *r, struct tg_verdict *out)
{
    struct plain_sum allows = {.any = true}, denies = {.any = true};
    int denier = -1, refuser = -1;
    struct plain a, d;
    size_t lists;

    for (size_t i = 0; i < count; i++) {
        a = plain_action(documents[i], "allow", r, &lists);
        if (lists > 0)
            plain_add(&allows, a);
        if (lists > 0 && !a.value && index[i] >= 0 && refuser < 0)
            refuser = index[i];
        d = plain_action(documents[i], "deny", r, &lists);
        if (lists > 0)
            plain_add(&denies, d);
        if (d.value && index[i] >= 0 && denier < 0)
            denier = index[i];
    }
    a = plain_result(&allows);
    d = plain_result(&denies);
    *out = (struct tg_verdict){.allow = a.value, .deny = d.value, .allow_reasons = a.reasons, .deny_reasons = d.reasons,
                               .policy = -1};
    if (d.reasons & (BIT(CLIENT_CERTIFICATE_REQUIRED) | BIT(INVALID_CLIENT_CERTIFICATE))) {
        out->decision = TG_DENY;
        out->reasons = d.reasons & (BIT(CLIENT_CERTIFICATE_REQUIRED) | BIT(INVALID_CLIENT_CERTIFICATE));
        out->policy = denier;
    } else if ((a.reasons | d.reasons) & BIT(USER_UNAUTHENTICATED)) {
        out->decision = TG_UNAUTHENTICATED;
        out->reasons = BIT(USER_UNAUTHENTICATED);
    } else if (d.value) {
        out->decision = TG_DENY;
        out->reasons = d.reasons;
        out->policy = denier;
    } else {
        out->decision = a.value ? TG_ALLOW : TG_DENY;
        out->reasons = a.reasons;
        out->policy = a.value ? -1 : refuser;
    }
}
