/*
 * token_words - the words that auth/authn, auth/bound, auth/dpop and jose/jwt have for what is wrong with a token.
 */
#include "token_words.h"
#include "base/err.h"

static const struct token_word words[] = {
    /* its form, and whose it is */
    {"malformed", "it cannot be read as the signed token that it looks like", false},
    {"payload", "its payload is not one JSON object without duplicate members, or holds what no caller can have (a "
                "`cnf` of a kind that is not known)", false},
    {"issuer", "no configured provider has its issuer", false},
    {"provider", "the route does not take tokens of its provider", false},
    {"opaque", "it is no signed token, and the route leaves no provider that may be asked about such a one "
               "(accept_opaque)", false},
    /* signature and claims */
    {"unknown-kid", "the provider has no key of its key id", false},
    {"algorithm", "its algorithm is not allowed for the provider, or does not fit the key", false},
    {"signature", "its signature is not right for the key", false},
    {"audience", "it was made for another audience", false},
    {"expired", "it had expired", false},
    {"not_before", "it is not valid yet (nbf)", false},
    {"issued_ahead", "it was issued in the future (iat): a clock is wrong", false},
    {"subject", "it has no sub", false},
    {"type", "it is no access token, or not of the kind that the provider's token_use or profile asks for", false},
    {"times", "its times are no numbers, or one that is needed is missing", false},
    {"required", "it lacks a claim of the provider's required_claims", false},
    {"lifetime", "it lives longer than the provider's max_lifetime", false},
    {"age", "it is older than the provider's max_age", false},
    /* what its provider says */
    {"inactive", "its provider says that it is not active (revoked, expired, or none of its own), or that it is not "
                 "for this service", false},
    {"answer", "its provider answers about somebody else than the token names (sub or cnf differ)", false},
    {"revoked", "it was withdrawn: revoked_tokens_file names it", false},
    {"no-keys", "there were no keys of its provider", true},
    {"no-answer", "its provider was asked about it and did not answer properly", true},
    {"budget", "its provider was not asked about it, for it may not be asked so often (introspection.rate)", true},
    {"address", "only its provider knows it, and the client's address has no requests left to have it asked", true},
    /* personal access tokens */
    {"pat-malformed", "it begins like a personal access token, and its length or checksum is wrong: mistyped or cut",
     false},
    {"pat-unknown", "it has the form of a personal access token, and there is none (any more): revoked, perhaps",
     false},
    {"api-token", "it is the token of an API user, which is for the management API alone", false},
    {"pat-store", "the store of personal access tokens could not be read", true},
    /* bound to a key */
    {"bound-not", "it came under the scheme DPoP and is not bound to a key", false},
    {"bound-scheme", "it is bound to a DPoP key and came as a bearer token", false},
    {"bound-demanded", "it is not bound to a key of the kind that the route demands (proof_of_possession)", false},
    {"bound-no-certificate", "it is bound to a client certificate, and none was shown", false},
    {"bound-certificate", "it is bound to another client certificate than the one shown", false},
    {"proof-unknown", "it is bound to a key, and proofs are not checked here", false},
    {"proof-missing", "it is bound to a key, and there was no DPoP proof beside it", false},
    {"proof-several", "there was more than one DPoP proof beside it", false},
    {"proof-size", "the DPoP proof beside it is too long", false},
    {"proof-malformed", "the DPoP proof beside it is no signed token", false},
    {"proof-typ", "the DPoP proof beside it has not the type dpop+jwt", false},
    {"proof-alg", "the DPoP proof beside it is signed with an algorithm that dpop.algs does not allow", false},
    {"proof-key", "the DPoP proof beside it does not bring one usable public key", false},
    {"proof-other-key", "the DPoP proof beside it is by another key than the one the token is bound to", false},
    {"proof-signature", "the signature of the DPoP proof beside it is not right", false},
    {"proof-jti", "the DPoP proof beside it has no jti, or one that is too long", false},
    {"proof-htm", "the DPoP proof beside it is for another method", false},
    {"proof-htu", "the DPoP proof beside it is for another URL", false},
    {"proof-iat", "the DPoP proof beside it is not of now (dpop.proof_lifetime), or a clock is wrong", false},
    {"proof-ath", "the DPoP proof beside it is for another token", false},
    {"proof-nonce", "the DPoP proof beside it has no current nonce (dpop.require_nonce)", false},
    {"proof-replayed", "the DPoP proof beside it was used before", false},
    {"proof-no-room", "the table of DPoP proofs that were seen is full, so that none can be taken", false},
};

const struct token_word *token_word_find(struct tg_slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (tg_slice_eq(tg_slice_str(words[i].name), name))
            return &words[i];
    }
    return NULL;
}
