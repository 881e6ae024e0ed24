/*
 * step_bound - the last part of authentication: a token that is bound to a key has to be shown with it (RFC 9449, RFC
 * 8705), and a route may take no other tokens.
 *
 * Not asked of the usual token on the usual route. A token whose proof is missing is nobody's: its owner is not charged
 * for whoever shows a copy of it.
 */
#include "auth/bound.h"
#include "internal.h"

#define OTHER_URL "proof-htu"                            /* tg_dpop_check's word */
#define MAX_PROOFS 4                                     /* more than one is refused anyway */

static size_t proofs_of(const struct tg_exchange *ex, struct tg_slice out[static MAX_PROOFS])
{
    size_t count = 0;

    if (!(ex->head.seen >> TG_FIELD_DPOP & 1))
        return 0;
    for (unsigned i = 0; i < ex->head.field_count && count < MAX_PROOFS; i++)
        if (ex->head.fields[i].id == TG_FIELD_DPOP)
            out[count++] = ex->head.fields[i].value;
    return count;
}

static struct tg_slice scheme_name(bool https)
{
    return https ? TG_S("https") : TG_S("http");
}

/*
 * A proof names the URL that the client called. Proxies in front of us may have changed what we see of it, and what
 * they tell may be less than the truth: so the URL as it came is right too. False: it is the same.
 */
static bool take_url_as_it_came(const struct tg_exchange *ex, struct tg_bound_request *request)
{
    struct tg_slice scheme = scheme_name(ex->conn->tls != NULL);

    if (tg_slice_eq(scheme, request->scheme_name) && tg_slice_eq(ex->head.authority, request->authority))
        return false;
    request->scheme_name = scheme;
    request->authority = ex->head.authority;
    return true;
}

static enum tg_bound_result check(struct tg_exchange *ex)
{
    struct tg_dpop *dpop = ex->gate->shared->auth.dpop;
    const struct tg_tls_facts *tls = tg_stream_tls(&ex->conn->stream);
    struct tg_slice proofs[MAX_PROOFS];
    struct tg_bound_request request = {
        .identity = ex->identity,
        .scheme = ex->credential.kind,
        .demanded = (enum tg_possession)ex->route->possession,
        .certificate = tls ? tls->certificate : NULL,
        .proofs = proofs,
        .proof_count = proofs_of(ex, proofs),
        .method = ex->head.method,
        .scheme_name = scheme_name(tg_seen_https(ex, ex->route)),
        .authority = tg_seen_authority(ex),
        .path = ex->path,
        .now_ms = ex->wall_ms,
    };
    enum tg_bound_result result = tg_bound_check(dpop, &request, &ex->auth_reason);

    if (result == TG_BOUND_PROOF && strcmp(ex->auth_reason, OTHER_URL) == 0 && take_url_as_it_came(ex, &request))
        result = tg_bound_check(dpop, &request, &ex->auth_reason);
    return result;
}

void tg_check_bound(struct tg_exchange *ex)
{
    const struct tg_identity *id = ex->identity;
    bool dpop = id->jkt.len > 0, mtls = id->x5t.len > 0;

    if (!dpop && !mtls && ex->credential.kind == TG_CREDENTIAL_BEARER &&
        ex->route->possession == TG_POSSESSION_WHEN_BOUND)
        return;
    ex->wants_dpop = dpop;
    switch (check(ex)) {
    case TG_BOUND_OK:
        ex->bound = dpop ? "dpop" : "mtls";
        return;
    case TG_BOUND_INVALID:
        ex->pending = TG_REFUSE_INVALID;
        break;
    case TG_BOUND_PROOF:
        ex->pending = TG_REFUSE_PROOF;
        break;
    case TG_BOUND_NONCE:
        ex->pending = TG_REFUSE_NONCE;
        break;
    }
    tg_identity_unref(id);
    ex->identity = NULL;
}
