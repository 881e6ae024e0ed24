/*
 * managers_credential - the token in the Authorization fields of the management API.
 *
 * Schemes in any case: Bearer, and Pomerium as an SDK writes it. A pasted command may bring an ID token without any:
 * what is a JWT by its form is then taken for one, when the configuration lets it. All other schemes are no credential.
 */
#include "authorization.h"
#include "managers_internal.h"
#include "base/digest.h"
#include "base/json.h"

static enum tg_manager_fault say_malformed(struct tg_err *err, const char *sentence)
{
    return managers_say(err, TG_MANAGER_MALFORMED, sentence);
}

/* A JOSE header: a JSON object with a text `alg`. */
static bool is_header(struct tg_slice segment)
{
    struct tg_buf text = {0};
    struct tg_slice alg;
    cJSON *header = NULL;
    size_t len = 0;
    bool ok;

    tg_buf_reserve(&text, segment.len);
    ok = tg_base64url_decode(segment, (uint8_t *)text.data, &len) &&
         tg_json_parse(tg_slice(text.data, len), NULL, &header, NULL) == TG_OK &&
         tg_json_str(tg_json_get(header, "alg"), &alg);
    cJSON_Delete(header);
    tg_buf_wipe(&text);
    return ok;
}

static bool is_base64url(struct tg_slice segment)
{
    struct tg_buf room = {0};
    size_t len = 0;
    bool ok;

    tg_buf_reserve(&room, segment.len + 1);
    ok = segment.len > 0 && tg_base64url_decode(segment, (uint8_t *)room.data, &len);
    tg_buf_wipe(&room);
    return ok;
}

static bool is_jwt(struct tg_slice value)
{
    struct tg_slice header, payload, signature, rest;

    if (value.len > MANAGERS_TOKEN_MAX || !tg_slice_cut(value, '.', &header, &rest) ||
        !tg_slice_cut(rest, '.', &payload, &signature))
        return false;
    return is_base64url(header) && is_base64url(payload) && is_base64url(signature) && is_header(header);
}

enum tg_manager_fault managers_read_credential(const struct tg_slice *fields, size_t count, bool accept_bare,
                                               struct manager_credential *out, struct tg_err *err)
{
    struct tg_slice value, scheme;
    const char *wrong;

    *out = (struct manager_credential){0};
    if (count == 0)
        return managers_say(err, TG_MANAGER_NONE, "no credential");
    if (count > 1)
        return say_malformed(err, "More than one Authorization field was sent");
    value = tg_slice_trim(fields[0]);
    scheme = tg_slice(value.ptr, tg_scheme_length(value));
    if (tg_slice_eq_nocase(scheme, TG_S("Bearer")) || tg_slice_eq_nocase(scheme, TG_S("Pomerium"))) {
        wrong = tg_token_after_scheme(value, scheme.len, MANAGERS_TOKEN_MAX, &out->token);
        return wrong ? say_malformed(err, wrong) : TG_MANAGER_OK;
    }
    if (!accept_bare || !is_jwt(value))
        return managers_say(err, TG_MANAGER_NONE, "no credential of a scheme that is taken here");
    out->token = value;
    out->bare = true;
    return TG_MANAGER_OK;
}
