/*
 * credential_answer - what a token endpoint says (RFC 6749 §5; the Zero API's exchange).
 *
 * The body holds a token: nothing of it is ever told, but for the error words that are registered.
 */
#include "credential_internal.h"
#include "base/json.h"

#define LIFE_MOST_S (INT64_C(365) * 86400)
#define LIFE_DIGITS 10                                   /* of the Zero API, and the largest of them */
#define LIFE_MOST INT64_C(9999999999)

static void wipe_json(cJSON *root, const char *member)
{
    cJSON *token = cJSON_GetObjectItemCaseSensitive(root, member);

    if (cJSON_IsString(token))
        explicit_bzero(token->valuestring, strlen(token->valuestring));
    cJSON_Delete(root);
}

/* A number; some servers write it as text, some as 3600.0 or larger than any number that counts. */
static enum tg_status read_life(const cJSON *node, int64_t *out, struct tg_err *err)
{
    struct tg_slice text;
    uint64_t digits = 0;
    double life;

    *out = -1;
    if (!node || cJSON_IsNull(node))
        return TG_OK;
    if (cJSON_IsNumber(node)) {
        life = node->valuedouble;
    } else if (tg_json_str(node, &text) && text.len > 0 && strspn(text.ptr, "0123456789") == text.len) {
        life = tg_slice_to_u64(text, &digits) ? (double)digits : (double)LIFE_MOST_S;
    } else {
        return tg_fail(err, TG_BAD_INPUT, "`expires_in` is no number");
    }
    if (!(life >= 1))
        return tg_fail(err, TG_BAD_INPUT, "`expires_in` says that the token is over already");
    *out = life > (double)LIFE_MOST_S ? LIFE_MOST_S : (int64_t)life;
    return TG_OK;
}

enum tg_status tg_credential_answer_read(struct tg_slice body, struct tg_credential_answer *out, struct tg_err *err)
{
    struct tg_slice token, type;
    const char *fault;
    struct tg_err why;
    cJSON *root = NULL;
    enum tg_status st;

    if (tg_json_parse(body, NULL, &root, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "the answer is not JSON");
    if (!tg_json_str(tg_json_get(root, "access_token"), &token)) {
        st = tg_fail(err, TG_BAD_INPUT, "the answer has no `access_token`");
    } else if (!tg_json_str(tg_json_get(root, "token_type"), &type) || !tg_slice_eq_nocase(type, TG_S("Bearer"))) {
        st = tg_fail(err, TG_BAD_INPUT, "the `token_type` of the answer is not Bearer");
    } else if ((fault = tg_credential_token_fault(token))) {
        st = tg_fail(err, TG_BAD_INPUT, "%s", fault);
    } else {
        st = read_life(tg_json_get(root, "expires_in"), &out->life_s, err);
        if (st == TG_OK)
            out->text = tg_credential_text_new(token);
    }
    wipe_json(root, "access_token");
    return st;
}

/* Whole seconds as text or number, at most ten digits: what the Zero API's clients take. */
static enum tg_status read_seconds(const cJSON *node, int64_t *out, struct tg_err *err)
{
    struct tg_slice text;
    uint64_t digits = 0;
    int64_t number = 0;
    bool good = tg_json_int(node, &number);

    *out = -1;
    if (!node || cJSON_IsNull(node))
        return TG_OK;
    if (!good && tg_json_str(node, &text) && text.len <= LIFE_DIGITS && tg_slice_to_u64(text, &digits)) {
        number = (int64_t)digits;
        good = true;
    }
    if (!good || number > LIFE_MOST)
        return tg_fail(err, TG_BAD_INPUT, "`expiresInSeconds` is no number of seconds");
    if (number < 1)
        return tg_fail(err, TG_BAD_INPUT, "`expiresInSeconds` says that the token is over already");
    *out = number > LIFE_MOST_S ? LIFE_MOST_S : number;
    return TG_OK;
}

enum tg_status tg_credential_id_token_read(struct tg_slice body, struct tg_credential_answer *out, struct tg_err *err)
{
    struct tg_slice token;
    const char *fault;
    cJSON *root = NULL;
    enum tg_status st;

    if (tg_json_parse(body, NULL, &root, NULL) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "the answer is not JSON");
    if (!tg_json_str(tg_json_get(root, "idToken"), &token)) {
        st = tg_fail(err, TG_BAD_INPUT, "the answer has no `idToken`");
    } else if ((fault = tg_credential_token_fault(token))) {
        st = tg_fail(err, TG_BAD_INPUT, "%s", fault);
    } else {
        st = read_seconds(tg_json_get(root, "expiresInSeconds"), &out->life_s, err);
        if (st == TG_OK)
            out->text = tg_credential_text_new(token);
    }
    wipe_json(root, "idToken");
    return st;
}

const char *tg_credential_answer_error(struct tg_slice body)
{
    static const char *const words[] = {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
                                        "unsupported_grant_type", "invalid_scope", "invalid_target"};
    struct tg_slice error;
    cJSON *root = NULL;
    const char *found = "";

    if (tg_json_parse(body, NULL, &root, NULL) != TG_OK)
        return "";
    if (tg_json_str(tg_json_get(root, "error"), &error))
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            if (tg_slice_eq(error, tg_slice_str(words[i])))
                found = words[i];
    cJSON_Delete(root);
    return found;
}
