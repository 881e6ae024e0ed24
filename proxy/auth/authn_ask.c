/*
 * authn_ask - tokens that keys alone do not settle: opaque ones, signed ones whose provider wants to be asked, personal
 * access tokens.
 *
 * An opaque token is shown to one provider, the only one that the route leaves. What would be a signed token of nobody
 * known here never gets this far.
 */
#include "authn_internal.h"
#include "base/json.h"

/* ---- a provider's answer (RFC 7662) ---- */

/* One that was active a moment ago is no newcomer, whatever its address did since. */
static enum tg_vouched vouched(const struct tg_asking *q, struct tg_introspection *i)
{
    const struct tg_authn_request *r = q->request;

    if (tg_introspection_was_active(i, q->digest, r->now_ms))
        return TG_VOUCHED_ROOM;
    return !r->has_room || r->has_room(r->arg) ? TG_VOUCHED_ROOM : TG_VOUCHED_NO_ROOM;
}

static enum tg_authn_result ask(const struct tg_asking *q, struct tg_introspection *i, bool is_signed)
{
    enum tg_introspect_asking refused;

    if (tg_authn_wait_answer(q, i, is_signed ? TG_VOUCHED_SIGNED : vouched(q, i), &refused))
        return TG_AUTHN_WAIT;
    if (refused == TG_INTROSPECT_NO_ROOM)
        return tg_authn_say(q, TG_AUTHN_LIMITED, "address");
    return tg_authn_say(q, TG_AUTHN_NO_ANSWER, refused == TG_INTROSPECT_NO_BUDGET ? "budget" : "no-answer");
}

static enum tg_authn_result answer_of(const struct tg_asking *q, const struct tg_provider *p, bool is_signed,
                                      struct tg_introspection_answer **answer)
{
    bool asked = (q->waited.kinds & TG_WAITED_ANSWER) != 0;

    if (!p->asked)
        return tg_authn_say(q, TG_AUTHN_NO_ANSWER, "no-answer");
    switch (tg_introspection_look(p->asked, q->digest, q->request->now_ms, asked, answer)) {
    case TG_INTROSPECT_ACTIVE:
        return TG_AUTHN_OK;
    case TG_INTROSPECT_INACTIVE:
        return tg_authn_say(q, TG_AUTHN_INVALID, "inactive");
    case TG_INTROSPECT_FAILED:
        return tg_authn_say(q, TG_AUTHN_NO_ANSWER, "no-answer");
    case TG_INTROSPECT_UNKNOWN:
        break;
    }
    return asked ? tg_authn_say(q, TG_AUTHN_NO_ANSWER, "no-answer") : ask(q, p->asked, is_signed);
}

/*
 * RFC 7662 §2.2 lets an answer have no `sub`, and a token that a client got for itself often has none: then the client
 * is its subject, as RFC 9068 §2.2 has it for signed tokens.
 */
static bool has_subject(cJSON *claims)
{
    struct tg_slice client;

    if (tg_json_get(claims, "sub"))
        return true;
    if (!tg_json_str(tg_json_get(claims, "client_id"), &client) || client.len == 0)
        return false;
    return cJSON_AddItemToObject(claims, "sub", cJSON_Duplicate(tg_json_get(claims, "client_id"), true));
}

enum tg_authn_result tg_authn_verify_opaque(const struct tg_asking *q)
{
    uint64_t left = q->request->allowed & q->a->opaque;
    struct tg_introspection_answer *answer;
    const struct tg_provider *p;
    enum tg_authn_result result;
    cJSON *claims;

    if (!q->request->accept_opaque || tg_providers_of_opaque(q->a->providers, left, &p) != 1)
        return tg_authn_say(q, TG_AUTHN_INVALID, "opaque");
    result = answer_of(q, p, false, &answer);
    if (result != TG_AUTHN_OK)
        return result;
    if (tg_jwt_claims(answer->claims, &claims, NULL) != TG_OK) {
        result = tg_authn_say(q, TG_AUTHN_INVALID, "payload");
    } else if (!has_subject(claims)) {
        cJSON_Delete(claims);
        result = tg_authn_say(q, TG_AUTHN_INVALID, "subject");
    } else {
        result = tg_authn_accept(q, TG_IDENTITY_INTROSPECTED, p, claims, 0, answer->exp_s, answer->until_ms / 1000);
    }
    tg_introspection_answer_unref(answer);
    return result;
}

/* ---- a signed token, confirmed ---- */

static cJSON *member_of(const cJSON *object, const char *name)
{
    return (cJSON *)(uintptr_t)tg_json_get(object, name);
}

/* An answer about somebody else, or about another key, is none about this token. */
static bool contradicts(const cJSON *claims, const cJSON *said, const char *name)
{
    const cJSON *a = tg_json_get(claims, name), *b = tg_json_get(said, name);

    return a && b && !tg_json_eq(a, b);
}

/* What the token says itself holds; the answer adds what is missing, as an e-mail address or a `cnf`. */
static void unite(cJSON *claims, cJSON *said)
{
    cJSON *next;

    for (cJSON *member = said->child; member; member = next) {
        next = member->next;
        if (strcmp(member->string, "active") != 0 && !member_of(claims, member->string))
            cJSON_AddItemToArray(claims, cJSON_DetachItemViaPointer(said, member)); /* with the name it has */
    }
}

enum tg_authn_result tg_authn_confirm(const struct tg_asking *q, const struct tg_provider *p, cJSON *claims,
                                      int64_t *exp_s, int64_t *until_s)
{
    struct tg_introspection_answer *answer;
    enum tg_authn_result result = answer_of(q, p, true, &answer);
    cJSON *said = NULL;

    if (result != TG_AUTHN_OK)
        return result;
    if (tg_jwt_claims(answer->claims, &said, NULL) != TG_OK)
        result = tg_authn_say(q, TG_AUTHN_INVALID, "payload");
    else if (contradicts(claims, said, "sub") || contradicts(claims, said, "cnf"))
        result = tg_authn_say(q, TG_AUTHN_INVALID, "answer");
    else
        unite(claims, said);
    if (answer->exp_s < *exp_s)
        *exp_s = answer->exp_s;
    *until_s = answer->until_ms / 1000;
    cJSON_Delete(said);
    tg_introspection_answer_unref(answer);
    return result;
}

/* ---- personal access tokens ---- */

static enum tg_authn_result accept_pat(const struct tg_asking *q, const struct tg_pat_known *known,
                                       uint64_t generation)
{
    cJSON *claims;

    if (tg_jwt_claims(known->claims, &claims, NULL) != TG_OK)
        return tg_authn_say(q, TG_AUTHN_INVALID, "payload");
    return tg_authn_accept(q, TG_IDENTITY_PAT, q->a->pat_provider, claims, generation, known->exp_s, INT64_MAX);
}

enum tg_authn_result tg_authn_verify_pat(const struct tg_asking *q)
{
    struct tg_authn *a = q->a;
    struct tg_pat_known known;
    uint64_t generation;

    if (!tg_pat_is_wellformed(q->request->token))
        return tg_authn_say(q, TG_AUTHN_INVALID, "pat-malformed");
    if (!tg_authn_allows(a, a->pat_provider, q->request->allowed))
        return tg_authn_say(q, TG_AUTHN_INVALID, "provider");
    if (!a->pat_view)
        return tg_authn_say(q, TG_AUTHN_NO_ANSWER, "pat-store");
    generation = tg_pat_generation(a->pats);             /* before it is looked up: what comes between makes it stale */
    switch (tg_pat_view_look(a->pat_view, q->digest, q->request->now_ms, &known)) {
    case TG_PAT_KNOWN:
        return accept_pat(q, &known, generation);
    case TG_PAT_UNKNOWN:
        return tg_authn_say(q, TG_AUTHN_INVALID, "pat-unknown");
    case TG_PAT_EXPIRED:
        return tg_authn_say(q, TG_AUTHN_EXPIRED, "expired");
    case TG_PAT_STALE:
        if (tg_authn_wait_store(q))
            return TG_AUTHN_WAIT;
        break;
    case TG_PAT_FAILED:
        break;
    }
    return tg_authn_say(q, TG_AUTHN_NO_ANSWER, "pat-store");
}
