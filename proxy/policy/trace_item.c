/*
 * trace_item - one criterion asked as it was written, and the value it saw: for traces, apart from the program.
 */
#include "base/hash.h"
#include "base/json.h"
#include "internal.h"

struct asking {                                          /* of one criterion of a request */
    struct tg_arena *arena;
    const struct tg_facts *facts;
};

/* ---- its matcher ---- */

static const cJSON *first_of(const struct tg_raw_op *op) { return op->each ? op->values->child : op->values; }
static const cJSON *next_of(const struct tg_raw_op *op, const cJSON *at) { return op->each ? at->next : NULL; }

static bool is_text(const struct tg_raw_op *op, const cJSON *value, struct tg_slice text)
{
    char fingerprint[TG_FINGERPRINT];

    if (!cJSON_IsString(value))
        return false;
    if (op->part == TG_PART_FINGERPRINT)                 /* written in one of two ways */
        return tg_fingerprint_read(value->valuestring, fingerprint) &&
               tg_slice_eq(tg_slice_str(fingerprint), text);
    return tg_slice_eq(tg_slice_str(value->valuestring), text);
}

static bool is_among(const struct tg_raw_op *op, struct tg_slice text)
{
    for (const cJSON *at = first_of(op); at; at = next_of(op, at)) {
        if (is_text(op, at, text))
            return true;
    }
    return false;
}

static bool text_op(const struct tg_raw_op *op, struct tg_slice text)
{
    switch (op->kind) {
    case TG_OP_IN: return is_among(op, text);
    case TG_OP_NOT_IN: return !is_among(op, text);
    case TG_OP_CONTAINS: return tg_slice_contains(text, tg_slice_str(op->values->valuestring));
    case TG_OP_STARTS: return tg_slice_starts_with(text, tg_slice_str(op->values->valuestring));
    case TG_OP_ENDS: return tg_slice_ends_with(text, tg_slice_str(op->values->valuestring));
    default: return false;
    }
}

static bool has_any(const struct tg_raw_op *op, const struct tg_claim *claim)
{
    for (size_t i = 0; claim && i < claim->count; i++) {
        for (const cJSON *at = first_of(op); at; at = next_of(op, at)) {
            if (tg_json_eq(at, claim->values[i].json))
                return true;
        }
    }
    return false;
}

static bool list_op(const struct tg_raw_op *op, const struct tg_claim *claim)
{
    switch (op->kind) {
    case TG_OP_HAS: return has_any(op, claim);
    case TG_OP_ONLY: return claim && claim->count == 1 && has_any(op, claim);
    case TG_OP_EXCLUDE: return !has_any(op, claim);
    default: return false;
    }
}

static bool address_op(const struct tg_raw_op *op, const struct tg_ip *ip)
{
    struct tg_cidr block;

    for (const cJSON *at = first_of(op); at; at = next_of(op, at)) {
        if (tg_cidr_parse(tg_slice_str(at->valuestring), &block) && tg_cidr_contains(&block, ip))
            return true;
    }
    return false;
}

static bool names_op(const struct tg_raw_op *op, const struct tg_cert_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (text_op(op, names->items[i]))
            return true;
    }
    return false;
}

static bool certificate_op(const struct tg_raw_op *op, const struct tg_cert *cert)
{
    switch (op->part) {
    case TG_PART_FINGERPRINT: return text_op(op, tg_slice_str(cert->fingerprint));
    case TG_PART_SPKI: return text_op(op, tg_slice_str(cert->spki_hash));
    case TG_PART_EMAIL: return names_op(op, &cert->emails);
    case TG_PART_DNS: return names_op(op, &cert->dns);
    case TG_PART_URI: return names_op(op, &cert->uris);
    case TG_PART_NONE: break;
    }
    return false;
}

static const struct tg_claim *claim_of(const struct asking *a, const struct tg_rule_item *item)
{
    struct tg_slice name = item->row->sub_path ? item->name : TG_S("groups");

    if (!name.ptr)
        name = TG_S("");
    return tg_list_of(item->row, name, tg_hash_slice(name), a->facts);
}

/* All operators of the matcher. `undefined`: there is nothing to ask about. */
static bool item_holds(const struct asking *a, const struct tg_rule_item *item, bool *undefined)
{
    const struct tg_facts *f = a->facts;
    struct tg_raw_op ops[TG_OPS_MAX];
    size_t count = tg_matcher_read(item->row->shape, item->data, ops);
    const struct tg_claim *claim = item->row->shape == TG_SHAPE_LIST ? claim_of(a, item) : NULL;
    struct tg_slice text = {NULL, 0};
    bool holds = true;

    *undefined = item->row->shape == TG_SHAPE_TEXT && !item->row->text(f, &text);
    if (*undefined || (item->row->shape == TG_SHAPE_CERTIFICATE && !f->certificate))
        return false;
    for (size_t i = 0; i < count && holds; i++) {
        switch (item->row->shape) {
        case TG_SHAPE_NONE: break;
        case TG_SHAPE_TEXT: holds = text_op(&ops[i], text); break;
        case TG_SHAPE_LIST: holds = list_op(&ops[i], claim); break;
        case TG_SHAPE_NETWORKS: holds = address_op(&ops[i], &f->source_ip); break;
        case TG_SHAPE_CERTIFICATE: holds = certificate_op(&ops[i], f->certificate); break;
        case TG_SHAPE_TIME:
            holds = tg_when_holds(tg_when_make(a->arena, item->row, item->data), f->wall_ms);
            break;
        }
    }
    return holds;
}

struct tg_outcome tg_item_ask(const struct tg_rule_item *item, const struct tg_facts *facts, struct tg_arena *arena)
{
    const struct asking a = {arena, facts};
    const struct tg_criterion *row = item->row;
    bool undefined, value;

    if (row->identity && !facts->identity)
        return (struct tg_outcome){false, TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED)};
    if (row->shape == TG_SHAPE_NONE)
        return row->fixed(facts);
    value = item_holds(&a, item, &undefined);
    if (undefined && row->has_undefined)
        return (struct tg_outcome){false, TG_REASON_BIT(row->undefined)};
    return (struct tg_outcome){value, TG_REASON_BIT(value ? row->pass : row->fail)};
}

/* ---- the value it saw ---- */

static struct tg_slice keep(const struct asking *a, struct tg_buf *text)
{
    struct tg_slice out = tg_arena_dup(a->arena, tg_buf_slice(text));

    tg_buf_fini(text);
    return out;
}

static struct tg_slice saw_list(const struct asking *a, const struct tg_rule_item *item)
{
    const struct tg_claim *claim = claim_of(a, item);
    struct tg_buf text = {0};

    if (!claim)
        return TG_S("(none)");
    tg_buf_adds(&text, "[");
    for (size_t i = 0; i < claim->count; i++) {
        if (i > 0)
            tg_buf_adds(&text, ",");
        tg_json_print(&text, claim->values[i].json);
    }
    tg_buf_adds(&text, "]");
    return keep(a, &text);
}

static struct tg_slice saw_certificate(const struct asking *a, const struct tg_rule_item *item)
{
    struct tg_buf text = {0};

    if (!a->facts->certificate)
        return TG_S("(none)");
    tg_cert_saw(item->data, a->facts->certificate, &text);
    return keep(a, &text);
}

static struct tg_slice saw_time(const struct asking *a, const struct tg_rule_item *item)
{
    struct tg_buf text = {0};

    tg_when_saw(tg_when_make(a->arena, item->row, item->data), a->facts->wall_ms, &text);
    return keep(a, &text);
}

struct tg_slice tg_item_saw(const struct tg_rule_item *item, const struct tg_facts *facts, struct tg_arena *arena)
{
    const struct asking a = {arena, facts};
    struct tg_slice out = {NULL, 0};
    char address[TG_IP_TEXT];

    if (item->row->identity && !facts->identity)
        return TG_S("(none)");
    switch (item->row->shape) {
    case TG_SHAPE_NONE:
        if (item->row->saw)
            out = item->row->saw(facts);
        break;
    case TG_SHAPE_TEXT:
        if (!item->row->text(facts, &out))
            out.len = 0;
        break;
    case TG_SHAPE_LIST:
        return saw_list(&a, item);
    case TG_SHAPE_CERTIFICATE:
        return saw_certificate(&a, item);
    case TG_SHAPE_TIME:
        return saw_time(&a, item);
    case TG_SHAPE_NETWORKS:
        if (facts->source_ip.family)
            out = tg_slice(address, tg_ip_format(&facts->source_ip, address));
        break;
    }
    return out.len > 0 ? tg_arena_dup(arena, out) : TG_S("(none)");
}
