/* random_policy - documents by chance, always the same ones: made of a small world, so that things meet. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* ---- random ---- */
static uint64_t seed;

static inline uint64_t draw(uint64_t below)
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

#define PICK(list) ((list)[draw(ARRAY_LEN(list))])

/* ---- documents ---- */
static const char *const texts[] = {"\"\"", "\"a@x\"", "\"b@x\"", "\"c@y\"", "\"x\"", "\"y\"", "\"u1\"", "\"u2\"",
    "\"GET\"",
                                    "\"PUT\"", "\"/a\"", "\"/a/b\"", "\"/\"", "\"g1\"", "\"g2\"", "\"5\"", "\"@\""};
static const char *const others[] = {"5", "5.0", "0.5", "7", "true", "false", "null", "[\"g1\"]", "[5]", "[]",
    "{\"k\":1}"};
static const char *const claim_names[] = {"groups", "level", "plan.tier", "deep.er.name",
                                          "roles",  "none",  "plan/tier", ""};
static const char *const nets[] = {
    "\"10.0.0.1\"",      "\"10.0.0.0/8\"",    "\"10.0.0.0/9\"",    "\"10.0.0.0/23\"",        "\"10.0.1.0/24\"",
    "\"192.0.2.0/24\"",  "\"192.0.2.128/25\"", "\"192.0.2.129\"",   "\"::1\"",               "\"2001:db8::/32\"",
    "\"2001:db8:1::/63\"", "\"2001:db8:1::9\"", "\"::ffff:10.0.0.0/104\"", "\"0.0.0.0/0\"",   "\"::/0\""};

/* ---- time: what each text means, in ms since 1970, in bits from Sunday, in ms since midnight ---- */
static const struct {
    const char *json;
    int64_t ms;
} instants[] = {
    {"\"2026-03-01\"", INT64_C(1772323200000)},
    {"\"2026-03-01T08:00:00\"", INT64_C(1772352000000)},
    {"\"2026-03-01T08:00:00.5Z\"", INT64_C(1772352000500)},
    {"\"2026-03-02T01:00:00+02:00\"", INT64_C(1772406000000)},
    {"\"1969-12-31T23:59\"", INT64_C(-60000)},
};
static const struct {
    const char *json;
    unsigned days;
} weeks[] = {
    {"\"*\"", 0x7f}, {"\"sun\"", 0x01}, {"\"mon-fri\"", 0x3e}, {"\"Saturday, mon\"", 0x42}, {"\"fri-mon\"", 0x63},
};
static const struct {
    const char *json;
    int64_t ms;
} clocks[] = {
    {"\"0:00\"", 0},           {"\"12 AM\"", 0},            {"\"8:00\"", 28800000},
    {"\"08:00:00.500\"", 28800500}, {"\"12:00 PM\"", 43200000}, {"\"11PM\"", 82800000},
};

static const char *const fingerprints[] = {"0000000000000000000000000000000000000000000000000000000000000000",
                                           "fd1e6361bc8224582d51dc25b07c18951c00b9b87ebc3daedc88d22dbc8e8a0d"};
static const char *const fingerprints_written[] = {
    "\"0000000000000000000000000000000000000000000000000000000000000000\"",
    "\"fd1e6361bc8224582d51dc25b07c18951c00b9b87ebc3daedc88d22dbc8e8a0d\"",
    "\"FD:1E:63:61:BC:82:24:58:2D:51:DC:25:B0:7C:18:95:1C:00:B9:B8:7E:BC:3D:AE:DC:88:D2:2D:BC:8E:8A:0D\"",
    "\"ac6c9f1b980d33c400dc1c3f21a128cfcc21e03c627be65ec260333c05b24516\""};
static const char *const spki_hashes[] = {"h7shtelye6fVp99/9FkLrI3cWWG1FQr06DeaQ1tEqvY=",
                                          "As6pEJay3yJsHU8YHGd0qRhs1UOykM6ZTMwb+S6WYZA="};

static inline void add_value(struct tg_buf *b, bool text_only)
{
    tg_buf_adds(b, text_only || draw(4) ? PICK(texts) : PICK(others));
}

static inline void add_values(struct tg_buf *b)
{
    uint64_t count = draw(3) ? draw(4) : draw(12);

    tg_buf_addc(b, '[');
    for (uint64_t i = 0; i < count; i++) {
        tg_buf_adds(b, i ? "," : "");
        add_value(b, false);
    }
    tg_buf_addc(b, ']');
}

/* `known`: 7 of a text, 6 (no not_in) of a certificate's names. */
static inline void add_text_operators(struct tg_buf *b, bool text_only, size_t known)
{
    static const char *const operators[] = {"is", "not", "contains", "starts_with", "ends_with", "in", "not_in"};
    unsigned first = 1;

    if (draw(3) == 0) {
        tg_buf_adds(b, text_only || draw(5) ? PICK(texts) : "7");
        return;
    }
    tg_buf_addc(b, '{');
    for (size_t i = 0; i < known; i++) {
        if (draw(i == 0 || i >= 5 ? 3 : 6) != 0)
            continue;
        tg_buf_addf(b, "%s\"%s\":", first ? "" : ",", operators[i]);
        if (i >= 5)
            add_values(b);
        else
            add_value(b, text_only || i >= 2);
        first = 0;
    }
    tg_buf_addc(b, '}');
}

static inline void add_text_matcher(struct tg_buf *b, bool text_only) { add_text_operators(b, text_only, 7); }

static inline void add_digests(struct tg_buf *b, bool fingerprint)
{
    uint64_t count = draw(3);

    tg_buf_adds(b, count == 1 ? "" : "[");
    for (uint64_t i = 0; i < count; i++) {
        tg_buf_adds(b, i ? "," : "");
        if (fingerprint)
            tg_buf_adds(b, PICK(fingerprints_written));
        else
            tg_buf_addf(b, "\"%s\"", PICK(spki_hashes));
    }
    tg_buf_adds(b, count == 1 ? "" : "]");
}

static inline void add_certificate_matcher(struct tg_buf *b)
{
    static const char *const properties[] = {"fingerprint", "spki_hash", "san_email", "san_dns", "san_uri"};
    static const char *const operators[] = {"is", "contains", "starts_with", "ends_with"};
    unsigned first = 1;

    if (draw(3) == 0) {
        tg_buf_addf(b, "{\"%s\":{\"%s\":%s}}", properties[2 + draw(3)], PICK(operators), PICK(texts));
        return;
    }
    tg_buf_addc(b, '{');
    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        if (draw(3))
            continue;
        tg_buf_addf(b, "%s\"%s\":", first ? "" : ",", properties[i]);
        if (i < 2)
            add_digests(b, i == 0);
        else
            add_text_operators(b, false, 6);
        first = 0;
    }
    tg_buf_addc(b, '}');
}

static inline void add_list_matcher(struct tg_buf *b)
{
    static const char *const operators[] = {"has", "is", "exclude"};
    unsigned first = 1;

    if (draw(2) == 0) {
        tg_buf_adds(b, draw(3) ? PICK(texts) : others[draw(ARRAY_LEN(others) - 1)]);
        return;
    }
    tg_buf_addc(b, '{');
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        if (draw(2))
            continue;
        tg_buf_addf(b, "%s\"%s\":", first ? "" : ",", operators[i]);
        add_value(b, false);
        first = 0;
    }
    tg_buf_addc(b, '}');
}

static inline void add_networks(struct tg_buf *b)
{
    uint64_t count = draw(5);

    if (draw(2)) {
        tg_buf_adds(b, PICK(nets));
        return;
    }
    tg_buf_addc(b, '[');
    for (uint64_t i = 0; i < count; i++)
        tg_buf_addf(b, "%s%s", i ? "," : "", PICK(nets));
    tg_buf_addc(b, ']');
}

/* Two bounds out of a table, or one, or none. */
#define ADD_BOUNDS(b, table, first) \
    do { \
        bool begun = (first); \
        for (int k_ = 0; k_ < 2; k_++) { \
            if (draw(3) == 0) \
                continue; \
            tg_buf_addf(b, "%s\"%s\":%s", begun ? "," : "", k_ ? "before" : "after", PICK(table).json); \
            begun = true; \
        } \
    } while (0)

static inline void add_time(struct tg_buf *b)
{
    switch (draw(3)) {
    case 0:
        tg_buf_adds(b, "\"date\":{");
        ADD_BOUNDS(b, instants, false);
        tg_buf_addc(b, '}');
        break;
    case 1:
        tg_buf_addf(b, "\"day_of_week\":%s", PICK(weeks).json);
        break;
    default:
        tg_buf_adds(b, "\"time_of_day\":{\"timezone\":\"UTC\"");
        ADD_BOUNDS(b, clocks, true);
        tg_buf_addc(b, '}');
    }
}

/* The criteria are as frequent as `kind` says: those that many others can meet more often. */
static inline void add_criterion_of(struct tg_buf *b, uint64_t kind)
{
    static const char *const fixed[] = {"accept", "reject", "authenticated_user", "cors_preflight",
                                        "invalid_client_certificate"};
    static const char *const text[] = {"email", "email", "email", "http_method", "http_path", "mcp_tool", "user",
                                       "domain"};
    uint64_t which;

    tg_buf_addc(b, '{');
    if (kind < 2) {
        tg_buf_addf(b, "\"%s\":true", PICK(fixed));
    } else if (kind < 7) {
        which = draw(ARRAY_LEN(text));
        tg_buf_addf(b, "\"%s\":", text[which]);
        add_text_matcher(b, which >= 6);
    } else if (kind < 10) {
        tg_buf_addf(b, "\"claim/%s\":", PICK(claim_names));
        add_list_matcher(b);
    } else if (kind == 10) {
        tg_buf_adds(b, "\"groups\":");
        add_list_matcher(b);
    } else if (kind == 11) {
        tg_buf_adds(b, "\"client_certificate\":");
        add_certificate_matcher(b);
    } else if (kind == 12) {
        add_time(b);
    } else {
        tg_buf_adds(b, "\"source_ip\":");
        add_networks(b);
    }
    tg_buf_addc(b, '}');
}

static inline void add_criterion(struct tg_buf *b) { add_criterion_of(b, draw(14)); }

static const char *const list_operators[] = {"and", "or", "not", "nor"};

static inline void add_rule_object(struct tg_buf *b)
{
    bool deny = draw(3) == 0, first = true;

    tg_buf_addf(b, "{\"%s\":{", deny ? "deny" : "allow");
    for (size_t i = 0; i < ARRAY_LEN(list_operators); i++) {
        uint64_t count = draw(4) ? 1 + draw(4) : draw(9);

        if (draw(3))
            continue;
        tg_buf_addf(b, "%s\"%s\":[", first ? "" : ",", list_operators[i]);
        for (uint64_t k = 0; k < count; k++) {
            tg_buf_adds(b, k ? "," : "");
            add_criterion(b);
        }
        tg_buf_addc(b, ']');
        first = false;
    }
    tg_buf_adds(b, "}}");
}

/* One rule of one list: many such policies are what the compiler makes tables of. */
static inline void add_short_rule(struct tg_buf *b)
{
    uint64_t count = 1 + draw(3);

    tg_buf_addf(b, "{\"%s\":{\"%s\":[", draw(3) ? "allow" : "deny", draw(2) ? "and" : PICK(list_operators));
    for (uint64_t k = 0; k < count; k++) {
        tg_buf_adds(b, k ? "," : "");
        add_criterion(b);
    }
    tg_buf_adds(b, "]}}");
}

/* Up to `max` criteria of one kind. */
static inline void add_long_rule(struct tg_buf *b, uint64_t max)
{
    uint64_t count = 1 + draw(max), kind = draw(14);

    tg_buf_addf(b, "{\"%s\":{\"%s\":[", draw(2) ? "allow" : "deny", PICK(list_operators));
    for (uint64_t k = 0; k < count; k++) {
        tg_buf_adds(b, k ? "," : "");
        add_criterion_of(b, kind);
    }
    tg_buf_adds(b, "]}}");
}

static inline void add_document(struct tg_buf *b)
{
    uint64_t count = draw(4);

    tg_buf_addc(b, '[');
    for (uint64_t i = 0; i < count; i++) {
        tg_buf_adds(b, i ? "," : "");
        add_rule_object(b);
    }
    tg_buf_addc(b, ']');
}
