/*
 * matchers - the operators of the string matcher and the string-list matcher: their names, reading them, applying them.
 *
 * Comparing is by type and value: no coercion, no folding of case, no patterns. A text is never equal to anything but a
 * string, so sets for texts are asked for strings only.
 */
#include "base/json.h"
#include "internal.h"

static const struct tg_operator text_operators[] = {
    {"is", TG_OP_IN, TG_OPERAND_ANY, "it equals the value"},
    {"not", TG_OP_NOT_IN, TG_OPERAND_ANY, "it does not equal the value"},
    {"contains", TG_OP_CONTAINS, TG_OPERAND_STRING, "the value is somewhere in it"},
    {"starts_with", TG_OP_STARTS, TG_OPERAND_STRING, "it begins with the value"},
    {"ends_with", TG_OP_ENDS, TG_OPERAND_STRING, "it ends in the value"},
    {"in", TG_OP_IN, TG_OPERAND_ARRAY, "it equals one of the list; of an empty list: never"},
    {"not_in", TG_OP_NOT_IN, TG_OPERAND_ARRAY, "it equals none of the list; of an empty list: always"},
};
static const struct tg_operator list_operators[] = {
    {"has", TG_OP_HAS, TG_OPERAND_ANY, "one of the values equals it"},
    {"is", TG_OP_ONLY, TG_OPERAND_ANY, "there is one value only, and it equals it"},
    {"exclude", TG_OP_EXCLUDE, TG_OPERAND_ANY, "none of the values equals it; also when there are none"},
};
_Static_assert(ARRAY_LEN(text_operators) <= TG_TEXT_OPS && ARRAY_LEN(list_operators) <= TG_TEXT_OPS, "TG_TEXT_OPS");

const struct tg_operator *tg_operators(enum tg_shape shape, size_t *count)
{
    tg_assert(shape == TG_SHAPE_TEXT || shape == TG_SHAPE_LIST);
    *count = shape == TG_SHAPE_TEXT ? ARRAY_LEN(text_operators) : ARRAY_LEN(list_operators);
    return shape == TG_SHAPE_TEXT ? text_operators : list_operators;
}

/* The parser checked the data: every name is known. A value that is no object stands for {first operator: value}. */
size_t tg_matcher_read(enum tg_shape shape, const cJSON *data, struct tg_raw_op out[static TG_OPS_MAX])
{
    const struct tg_operator *operators;
    const cJSON *member;
    size_t known, count = 0;

    if (shape == TG_SHAPE_NONE)
        return 0;
    if (shape == TG_SHAPE_NETWORKS) {
        out[0] = (struct tg_raw_op){TG_OP_WITHIN, data, cJSON_IsArray(data), TG_PART_NONE};
        return 1;
    }
    if (shape == TG_SHAPE_CERTIFICATE)
        return tg_cert_matcher_read(data, out);
    if (shape == TG_SHAPE_TIME) {
        out[0] = (struct tg_raw_op){TG_OP_WHEN, data, false, TG_PART_NONE};
        return 1;
    }
    operators = tg_operators(shape, &known);
    if (!cJSON_IsObject(data)) {
        out[0] = (struct tg_raw_op){operators[0].kind, data, false, TG_PART_NONE};
        return 1;
    }
    cJSON_ArrayForEach(member, data) {
        for (size_t i = 0; i < known; i++) {
            if (strcmp(operators[i].name, member->string) == 0) {
                tg_assert(count < TG_OPS_MAX);
                out[count++] = (struct tg_raw_op){operators[i].kind, member, operators[i].operand == TG_OPERAND_ARRAY,
                                                  TG_PART_NONE};
            }
        }
    }
    return count;
}

bool tg_op_on_text(const struct tg_op *op, struct tg_text *text)
{
    switch (op->kind) {
    case TG_OP_IN: return tg_set_has_text(op->set, text);
    case TG_OP_NOT_IN: return !tg_set_has_text(op->set, text);
    case TG_OP_CONTAINS: return tg_slice_contains(text->s, op->text);
    case TG_OP_STARTS: return tg_slice_starts_with(text->s, op->text);
    case TG_OP_ENDS: return tg_slice_ends_with(text->s, op->text);
    default: return false;
    }
}

static bool has_any(const struct tg_set *set, const struct tg_claim *claim)
{
    for (size_t i = 0; claim && i < claim->count; i++) {
        if (tg_set_has_value(set, &claim->values[i]))
            return true;
    }
    return false;
}

bool tg_op_on_list(const struct tg_op *op, const struct tg_claim *claim)
{
    switch (op->kind) {
    case TG_OP_HAS: return has_any(op->set, claim);
    case TG_OP_ONLY: return claim && claim->count == 1 && has_any(op->set, claim);
    case TG_OP_EXCLUDE: return !has_any(op->set, claim);
    default: return false;
    }
}
