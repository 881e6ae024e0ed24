/*
 * refusals - the table of include/gate/refusal.h.
 */
#include "gate/refusal.h"

/* name, status, details; challenge, description, close; means */
const struct tg_refusal_row tg_refusals[TG_REFUSE_COUNT] = {
    [TG_REFUSE_NONE] = {"none", 500, NULL, TG_CHALLENGE_NONE, NULL, true, NULL},
    [TG_REFUSE_HEAD] = {"malformed-request", 400, "malformed request", TG_CHALLENGE_NONE, NULL, true,
        "the octets were no request that HTTP allows (or the head was too large); nobody was asked who calls"},
    [TG_REFUSE_PATH] = {"ambiguous-path", 400, "the path is malformed or ambiguous", TG_CHALLENGE_NONE, NULL, false,
        "the path has a malformed escape or a second reading, by which an upstream might serve what another route "
        "guards"},
    [TG_REFUSE_SLOW_HEAD] = {"slow-head", 408, "the request did not arrive in time", TG_CHALLENGE_NONE, NULL, true,
        "the head did not arrive within timeouts.head"},
    [TG_REFUSE_SLOW_BODY] = {"slow-body", 408, "the request body did not arrive in time", TG_CHALLENGE_NONE, NULL, true,
        "the content did not go on within timeouts.body; or, where a policy asks for its tool, it was not whole within "
        "the route's timeout"},
    [TG_REFUSE_BODY_FRAMING] = {"malformed-body", 400, "malformed request body", TG_CHALLENGE_NONE, NULL, true,
        "the content was framed in a way that HTTP forbids"},
    [TG_REFUSE_BODY_SIZE] = {"body-too-large", 413, "the request body is too large", TG_CHALLENGE_NONE, NULL, true,
        "the content is larger than limits.body, the route's max_request_bytes or, where a policy asks for its tool, "
        "limits.mcp_body"},
    [TG_REFUSE_CONTENT_CODING] = {"content-coding", 415, "the request body must be plain UTF-8 text", TG_CHALLENGE_NONE,
        NULL, false,
        "a policy of this route asks which tool is called, and the content is compressed or in another charset"},
    [TG_REFUSE_MALFORMED_CALL] = {"malformed-call", 400, "the request body is not one unambiguous JSON-RPC message",
        TG_CHALLENGE_NONE, NULL, false,
        "a policy of this route asks which tool is called, and the content is not one unambiguous JSON-RPC object"},
    [TG_REFUSE_METHOD] = {"method", 405, "method not allowed", TG_CHALLENGE_NONE, NULL, true,
        "CONNECT and TRACE are never taken, and what is published under /.well-known is only read"},
    [TG_REFUSE_NO_ROUTE] = {"no-route", 404, "no route for this host and path", TG_CHALLENGE_NONE, NULL, false,
        "no route matches this host and path"},
    [TG_REFUSE_CREDENTIAL] = {"malformed-credential", 400, "malformed credentials", TG_CHALLENGE_REQUEST, NULL, true,
        "the Authorization field is no bearer token in a form that RFC 6750 allows, or there is more than one"},
    [TG_REFUSE_NO_TOKEN] = {"no-token", 401, "authentication required", TG_CHALLENGE_BARE, NULL, false,
        "the policy asks who is calling, or the route for a scope, and no token was sent"},
    [TG_REFUSE_EXPIRED] = {"token-expired", 401, "token expired", TG_CHALLENGE_TOKEN, "The access token expired", false,
        "the token has expired: the client must get a new one"},
    [TG_REFUSE_INVALID] = {"token-invalid", 401, "invalid token", TG_CHALLENGE_TOKEN, "The access token is invalid",
        false, "the token was refused, before any policy was asked; `tollgate verify` tells more of a token"},
    [TG_REFUSE_PROOF] = {"proof-invalid", 401, "invalid proof of possession", TG_CHALLENGE_PROOF,
        "The DPoP proof is invalid", false,
        "the token is bound to a key, and the DPoP proof beside it does not fit: of another request, key, token or "
        "time, or seen before"},
    [TG_REFUSE_NONCE] = {"nonce-required", 401, "a nonce is required in the proof of possession", TG_CHALLENGE_NONCE,
        "The DPoP proof needs a current nonce", false,
        "dpop.require_nonce is set, and the DPoP proof had no nonce or an old one; clients try again with that of "
        "the answer"},
    [TG_REFUSE_SCOPE] = {"scope", 403, "insufficient scope", TG_CHALLENGE_SCOPE, "The access token lacks a scope",
        false, "the token was not granted every scope that the route and its provider require (required_scopes)"},
    [TG_REFUSE_LIMIT] = {"rate-limited", 429, "rate limit exceeded", TG_CHALLENGE_NONE, NULL, false,
        "the counter of the tier was used up; no policy was asked"},
    [TG_REFUSE_NO_COUNTER] = {"no-counter", 503, "the rate limit cannot be counted now", TG_CHALLENGE_NONE, NULL, false,
        "the store of the rate limits (rate_limits.store) did not answer, no permit of it was left here, and "
        "rate_limits.when_store_fails is deny; no policy was asked"},
    [TG_REFUSE_DENIED] = {"denied", 403, "access denied by policy", TG_CHALLENGE_NONE, NULL, false,
        "the policy says no"},
    [TG_REFUSE_CERTIFICATE_MISSING] = {"certificate-required", 403, "a client certificate is required",
        TG_CHALLENGE_NONE, NULL, false, "the policy asks for a client certificate, and none was shown"},
    [TG_REFUSE_CERTIFICATE_INVALID] = {"certificate-invalid", 403, "the client certificate is not valid",
        TG_CHALLENGE_NONE, NULL, false, "the policy asks for a client certificate, and that shown is not valid"},
    [TG_REFUSE_WEBSOCKET] = {"websocket", 403, "websockets are not allowed here", TG_CHALLENGE_NONE, NULL, false,
        "the policy admits the request, but the route has no allow_websockets"},
    [TG_REFUSE_NO_KEYS] = {"no-keys", 503, "tokens cannot be verified at the moment", TG_CHALLENGE_NONE, NULL, false,
        "there were no usable keys of the token's provider; `tollgate check --online` tells whether it can be reached"},
    [TG_REFUSE_NO_ANSWER] = {"no-answer", 503, "tokens cannot be verified at the moment", TG_CHALLENGE_NONE, NULL,
        false, "the token's provider was asked about it and did not answer, or may not be asked so often now"},
    [TG_REFUSE_NO_CREDENTIAL] = {"no-credential", 503, "the service cannot be called at the moment",
        TG_CHALLENGE_NONE, NULL, false,
        "the policy admits the request, but tollgate has no token of its own for the service (upstream_auth)"},
    [TG_REFUSE_NOT_READY] = {"not-ready", 503, "not ready", TG_CHALLENGE_NONE, NULL, true,
        "no configuration was in force yet"},
    [TG_REFUSE_NOT_LOADED] = {"not-loaded", 503, "policies are not loaded yet", TG_CHALLENGE_NONE, NULL, false,
        "no route of the file matches, and those of the control plane (sync, bundle or management) were never loaded; "
        "readiness tells why"},
    [TG_REFUSE_NO_POLICY] = {"no-policy", 503, "the policies of this route are not loaded", TG_CHALLENGE_NONE, NULL,
        false, "the route names a policy that neither the file nor the control plane has, so nobody is let in"},
    [TG_REFUSE_STALE] = {"stale-policies", 503, "the policies of this route are out of date", TG_CHALLENGE_NONE, NULL,
        false, "the control plane was not heard for longer than max_stale (or the bundle has ended), and when_stale is "
        "deny"},
    [TG_REFUSE_UPSTREAM] = {"upstream-failed", 502, "the upstream did not answer properly", TG_CHALLENGE_NONE, NULL,
        false, "the policy admits the request, but the service could not be reached or broke off"},
    [TG_REFUSE_UPSTREAM_SLOW] = {"upstream-slow", 504, "the upstream did not answer in time", TG_CHALLENGE_NONE, NULL,
        false, "the policy admits the request, but the service did not answer in time (timeouts.first_byte, the "
        "route's timeout)"},
};

const struct tg_refusal_row *tg_refusal_find(struct tg_slice name)
{
    for (size_t i = TG_REFUSE_NONE + 1; i < TG_REFUSE_COUNT; i++) {
        if (tg_slice_eq(tg_slice_str(tg_refusals[i].name), name))
            return &tg_refusals[i];
    }
    return NULL;
}

/* A client certificate that was asked for goes before what else there is to say. */
enum tg_refusal tg_refusal_of(const struct tg_verdict *verdict)
{
    if (verdict->decision == TG_ALLOW)
        return TG_REFUSE_NONE;
    if (verdict->decision == TG_UNAUTHENTICATED)
        return TG_REFUSE_NO_TOKEN;
    if (verdict->reasons & TG_REASON_BIT(TG_REASON_CLIENT_CERTIFICATE_REQUIRED))
        return TG_REFUSE_CERTIFICATE_MISSING;
    if (verdict->reasons & TG_REASON_BIT(TG_REASON_INVALID_CLIENT_CERTIFICATE))
        return TG_REFUSE_CERTIFICATE_INVALID;
    return TG_REFUSE_DENIED;
}

/* ---- WWW-Authenticate ---- */

const char *tg_challenge_error(enum tg_challenge challenge)
{
    static const char *const errors[] = {
        [TG_CHALLENGE_REQUEST] = "invalid_request",  [TG_CHALLENGE_TOKEN] = "invalid_token",
        [TG_CHALLENGE_SCOPE] = "insufficient_scope", [TG_CHALLENGE_PROOF] = "invalid_dpop_proof",
        [TG_CHALLENGE_NONCE] = "use_dpop_nonce",
    };

    return errors[challenge];
}

/* RFC 6750 §3, RFC 9449 §7.1 and RFC 9728 §5.1: every value is of the configuration or of a fixed list. */
static void write_challenge(const struct tg_refusal_row *r, const struct tg_challenge_words *words, bool dpop,
                            struct tg_buf *out)
{
    const char *description = r->challenge == TG_CHALLENGE_REQUEST ? words->fault : r->description;
    const char *error = tg_challenge_error(r->challenge);

    tg_buf_addf(out, "%s realm=\"" TG_S_FMT "\"", dpop ? "DPoP" : "Bearer", TG_S_ARG(words->realm));
    if (error) {
        tg_buf_addf(out, ", error=\"%s\"", error);
        if (description)
            tg_buf_addf(out, ", error_description=\"%s\"", description);
    }
    if (r->challenge == TG_CHALLENGE_SCOPE && words->scope.len)
        tg_buf_addf(out, ", scope=\"" TG_S_FMT "\"", TG_S_ARG(words->scope));
    if (dpop && words->dpop_algs.len)
        tg_buf_addf(out, ", algs=\"" TG_S_FMT "\"", TG_S_ARG(words->dpop_algs));
    if (words->resource_metadata.len)
        tg_buf_addf(out, ", resource_metadata=\"" TG_S_FMT "\"", TG_S_ARG(words->resource_metadata));
}

size_t tg_refusal_challenge(const struct tg_refusal_row *r, const struct tg_challenge_words *words,
                            struct tg_buf out[static 2])
{
    bool of_proof = r->challenge == TG_CHALLENGE_PROOF || r->challenge == TG_CHALLENGE_NONCE;
    size_t n = 0;

    if (r->challenge == TG_CHALLENGE_NONE)
        return 0;
    if (!of_proof && (words->bearer || !words->dpop))
        write_challenge(r, words, false, &out[n++]);
    if (of_proof || words->dpop)
        write_challenge(r, words, true, &out[n++]);
    return n;
}
