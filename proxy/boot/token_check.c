/*
 * token_check - the steps, their names and where they are written down.
 */
#include "token_check.h"
#include "base/json.h"
#include <stdio.h>

#define TOKEN_BYTES ((size_t)1 << 20)

static const struct {
    const char *name, *rule;
} steps[] = {
    [TOKEN_FORM] = {"form", "RFC 7515 §5.2 and §7.1"},
    [TOKEN_PAYLOAD] = {"payload", "RFC 7519 §7.2"},
    [TOKEN_ALGORITHM] = {"algorithm", "RFC 8725 §3.1"},
    [TOKEN_KEY] = {"key", "RFC 7515 §4.1.4"},
    [TOKEN_SIGNATURE] = {"signature", "RFC 7515 §5.2"},
    [TOKEN_ISSUER] = {"issuer", "RFC 7519 §4.1.1"},
    [TOKEN_AUDIENCE] = {"audience", "RFC 7519 §4.1.3"},
    [TOKEN_SUBJECT] = {"subject", "RFC 7519 §4.1.2"},
    [TOKEN_TYPE] = {"type", "RFC 8725 §3.11"},
    [TOKEN_REQUIRED] = {"required", "RFC 7519 §4"},
    [TOKEN_TIMES] = {"times", "RFC 7519 §2 and §4.1.4"},
    [TOKEN_EXPIRES] = {"expires", "RFC 7519 §4.1.4"},
    [TOKEN_NOT_BEFORE] = {"not before", "RFC 7519 §4.1.5"},
    [TOKEN_ISSUED] = {"issued", "RFC 7519 §4.1.6"},
    [TOKEN_LIFETIME] = {"lifetime", "RFC 9700 §2.2"},
    [TOKEN_AGE] = {"age", "RFC 7519 §4.1.6"},
    [TOKEN_DONE] = {"all", ""},
};

const char *token_step_name(enum token_step step) { return steps[step].name; }
const char *token_step_rule(enum token_step step) { return steps[step].rule; }

static bool broken(struct token_check *c, enum token_step step)
{
    c->broken = step;
    return false;
}

/* What people paste by mistake, each with its own shape. */
static void tell_shape(struct tg_slice token, bool *opaque, struct tg_err *err)
{
    size_t dots = 0;

    for (size_t i = 0; i < token.len; i++)
        dots += token.ptr[i] == '.';
    *opaque = dots != 2;
    if (tg_slice_starts_with(token, TG_S("Bearer ")) || tg_slice_starts_with(token, TG_S("bearer ")))
        tg_fail(err, TG_BAD_INPUT, "leave out \"Bearer\": only the token itself is wanted");
    else if (dots == 4)
        tg_fail(err, TG_BAD_INPUT,
                "this is an encrypted token (JWE, five parts); only signed ones (JWS, three) can be verified");
    else if (dots != 2)
        tg_fail(err, TG_BAD_INPUT,
                "a signed token has three parts with dots between them, this has %zu; an opaque token "
                "cannot be verified with keys", dots + 1);
}

bool token_check_open(struct token_check *c, struct tg_slice token, bool any_payload, struct tg_arena *arena)
{
    *c = (struct token_check){.broken = TOKEN_DONE};
    if (tg_jws_split(token, arena, &c->jws, &c->err) != TG_OK) {
        c->jws = (struct tg_jws){0};
        tell_shape(token, &c->opaque, &c->err);
        return broken(c, TOKEN_FORM);
    }
    if (!any_payload && tg_jwt_claims(c->jws.payload, &c->claims, &c->err) != TG_OK)
        return broken(c, TOKEN_PAYLOAD);
    return true;
}

bool token_check_signature(struct token_check *c, const struct tg_jwks *keys, tg_algs algs)
{
    switch (tg_jws_verify(&c->jws, keys, algs, &c->err)) {
    case TG_OK: return true;
    case TG_BAD_INPUT:
    case TG_UNSUPPORTED: return broken(c, TOKEN_ALGORITHM);
    case TG_NOT_FOUND: return broken(c, TOKEN_KEY);
    default: return broken(c, TOKEN_SIGNATURE);
    }
}

static enum token_step step_of(enum tg_jwt_fault fault)
{
    switch (fault) {
    case TG_JWT_OK: return TOKEN_DONE;
    case TG_JWT_PAYLOAD: return TOKEN_PAYLOAD;
    case TG_JWT_ISSUER: return TOKEN_ISSUER;
    case TG_JWT_AUDIENCE: return TOKEN_AUDIENCE;
    case TG_JWT_SUBJECT: return TOKEN_SUBJECT;
    case TG_JWT_TYPE: return TOKEN_TYPE;
    case TG_JWT_REQUIRED: return TOKEN_REQUIRED;
    case TG_JWT_TIMES: return TOKEN_TIMES;
    case TG_JWT_EXPIRED: return TOKEN_EXPIRES;
    case TG_JWT_NOT_BEFORE: return TOKEN_NOT_BEFORE;
    case TG_JWT_ISSUED_AHEAD: return TOKEN_ISSUED;
    case TG_JWT_LIFETIME: return TOKEN_LIFETIME;
    case TG_JWT_AGE: return TOKEN_AGE;
    }
    return TOKEN_PAYLOAD;
}

bool token_check_claims(struct token_check *c, const struct tg_jwt_rules *rules, int64_t now_s)
{
    c->broken = step_of(tg_jwt_check(c->claims, c->jws.typ, rules, now_s, &c->exp_s, &c->err));
    return c->broken == TOKEN_DONE;
}

void token_check_fini(struct token_check *c)
{
    tg_jws_fini(&c->jws);
    cJSON_Delete(c->claims);
    c->claims = NULL;
}

enum tg_status token_read(const char *argument, struct tg_buf *out, struct tg_err *err)
{
    char part[4096];
    size_t n;

    if (strcmp(argument, "-") != 0) {
        tg_buf_adds(out, argument);
        return TG_OK;
    }
    while ((n = fread(part, 1, sizeof part, stdin)) > 0) {
        tg_buf_add(out, part, n);
        if (out->len > TOKEN_BYTES)
            return tg_fail(err, TG_LIMIT, "what stands on standard input is too long for a token");
    }
    if (ferror(stdin))
        return tg_fail(err, TG_IO, "cannot read standard input");
    if (out->len > 0 && out->data[out->len - 1] == '\n')
        out->len--;
    if (out->len > 0 && out->data[out->len - 1] == '\r')
        out->len--;
    return TG_OK;
}

const char *token_trim(struct tg_buf *text)
{
    const char *begin = tg_buf_cstr(text);

    begin += strspn(begin, " \t\r\n");
    while (text->len > 0 && strchr(" \t\r\n", text->data[text->len - 1]))
        text->data[--text->len] = '\0';
    return begin;
}
