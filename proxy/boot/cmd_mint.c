/*
 * cmd_mint - a key pair, and test tokens signed with it.
 */
#include "boot/commands.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/setting.h"
#include "boot/options.h"
#include "jose/mint.h"
#include "token_check.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define DEFAULT_LIFE_MS INT64_C(3600000)
#define KEY_BYTES ((size_t)1 << 20)

enum { OPT_KEY = TG_OPT_FIRST_OWN, OPT_ALG, OPT_KID, OPT_ISSUER, OPT_AUDIENCE, OPT_SUBJECT, OPT_EMAIL, OPT_CLAIM,
       OPT_EXPIRES, OPT_TYPE, OPT_FOR_TOKEN, OPT_GENERATE, OPT_JWKS, OPT_FORCE };
static const struct tg_option options[] = {
    {OPT_KEY, 'k', "key", "FILE", "private key in PEM; for HS* the secret"},
    {OPT_ALG, 'a', "alg", "ALG", "algorithm to sign with (RS256, ES256, EdDSA, ...)"},
    {OPT_KID, 0, "kid", "KID", "key id; else the key's thumbprint (RFC 7638)"},
    {OPT_ISSUER, 'i', "issuer", "URL", "claim iss"},
    {OPT_AUDIENCE, 0, "audience", "AUD", "claim aud; several times: a list"},
    {OPT_SUBJECT, 's', "subject", "SUB", "claim sub"},
    {OPT_EMAIL, 'e', "email", "EMAIL", "claim email"},
    {OPT_CLAIM, 0, "claim", "NAME=VALUE", "any claim; VALUE is JSON when it parses as JSON, else text"},
    {OPT_EXPIRES, 0, "expires", "DURATION", "from now: 1h (when not said), 90d; -5m: expired already"},
    {OPT_TYPE, 0, "type", "TYPE", "JWT (when not said), at+jwt, or dpop+jwt: a DPoP proof, with the key in its header"},
    {OPT_FOR_TOKEN, 0, "for-token", "TOKEN", "with dpop+jwt: claim ath, of this access token (-: standard input)"},
    {OPT_GENERATE, 'g', "generate", "ALG", "first make a key pair and write it to --key (mode 0600)"},
    {OPT_JWKS, 0, "jwks", "FILE", "with --generate: write the public key as a JWK set there"},
    {OPT_FORCE, 0, "force", NULL, "with --generate: replace files that exist"},
};
static const struct tg_usage usage = {
    .command = "mint",
    .line = "--key FILE --alg ALG [CLAIMS]  |  --generate ALG --key FILE [--jwks FILE] [CLAIMS]",
    .about = "Signs a token for tests; it stands alone on standard output. iat is now. With --generate and no claim a\n"
             "key pair is made and no token.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate mint --generate ES256 --key test.pem --jwks test.jwks.json\n"
                "  tollgate mint --key test.pem --alg ES256 --issuer https://issuer.test --audience my-api \\\n"
                "                --subject alice --email alice@example.com --claim 'groups=[\"staff\"]' --expires 1h\n"
                "  tollgate mint --key dpop.pem --alg ES256 --type dpop+jwt --for-token - < token \\\n"
                "                --claim htm=GET --claim htu=https://api.example.com/things",
};

struct minting {
    struct tg_options o;
    const char *key_file, *jwks_file, *type, *for_token;
    struct tg_slice kid;
    enum tg_alg alg;
    bool has_alg, generate, force, any_claim;
    int64_t life_ms;
    cJSON *claims, *audiences;
    struct tg_signer *signer;
};

/* ---- the command line ---- */

static bool parse_alg(struct minting *m, const char *text)
{
#define X(a) #a,
    static const char *const names[] = {TG_ALGS(X)};
#undef X
    enum tg_alg alg;
    const char *near;

    if (!tg_alg_parse(tg_slice_str(text), &alg)) {
        near = tg_nearest(text, names, ARRAY_LEN(names));
        m->o.code = tg_usage_error(&usage, "\"%.20s\" is no algorithm to sign with%s%s%s", text,
                                   near ? "; did you mean " : "",
                                   near ? near : "", near ? "?" : "");
        return false;
    }
    if (m->has_alg && alg != m->alg) {
        m->o.code = tg_usage_error(&usage, "--alg and --generate name different algorithms");
        return false;
    }
    m->alg = alg;
    m->has_alg = true;
    return true;
}

static bool parse_life(struct minting *m, const char *text)
{
    bool past = text[0] == '-';

    if (!tg_duration_parse(tg_slice_str(text + past), &m->life_ms) || m->life_ms > INT64_C(100) * 365 * 86400000) {
        m->o.code = tg_usage_error(&usage, "--expires is a duration from now, as in 30s, 1h, 90d or -5m");
        return false;
    }
    if (past)
        m->life_ms = -m->life_ms;
    return true;
}

static void set_claim(struct minting *m, const char *name, cJSON *value)
{
    tg_assert(value);
    cJSON_DeleteItemFromObjectCaseSensitive(m->claims, name);
    tg_assert(cJSON_AddItemToObject(m->claims, name, value));
    m->any_claim = true;
}

static bool parse_claim(struct minting *m, const char *text)
{
    struct tg_slice name, value;
    cJSON *node = NULL;

    if (!tg_slice_cut(tg_slice_str(text), '=', &name, &value) || name.len == 0) {
        m->o.code = tg_usage_error(&usage, "--claim is NAME=VALUE, as in --claim plan=enterprise");
        return false;
    }
    if (tg_json_parse(value, NULL, &node, NULL) != TG_OK) {
        char *copy = tg_slice_dup(value);

        node = cJSON_CreateString(copy);
        free(copy);
    }
    char *key = tg_slice_dup(name);

    set_claim(m, key, node);
    free(key);
    return true;
}

static bool take_option(struct minting *m, int id, const char *value)
{
    switch (id) {
    case OPT_KEY: m->key_file = value; break;
    case OPT_JWKS: m->jwks_file = value; break;
    case OPT_KID: m->kid = tg_slice_str(value); break;
    case OPT_FORCE: m->force = true; break;
    case OPT_ALG: return parse_alg(m, value);
    case OPT_GENERATE: m->generate = true; return parse_alg(m, value);
    case OPT_ISSUER: set_claim(m, "iss", cJSON_CreateString(value)); break;
    case OPT_SUBJECT: set_claim(m, "sub", cJSON_CreateString(value)); break;
    case OPT_EMAIL: set_claim(m, "email", cJSON_CreateString(value)); break;
    case OPT_CLAIM: return parse_claim(m, value);
    case OPT_AUDIENCE:
        tg_assert(cJSON_AddItemToArray(m->audiences, cJSON_CreateString(value)));
        m->any_claim = true;
        break;
    case OPT_EXPIRES: m->any_claim = true; return parse_life(m, value);
    case OPT_TYPE:
        m->type = value;
        if (strcmp(value, "JWT") != 0 && strcmp(value, "at+jwt") != 0 && strcmp(value, "dpop+jwt") != 0) {
            m->o.code = tg_usage_error(&usage, "--type is JWT, at+jwt or dpop+jwt");
            return false;
        }
        break;
    case OPT_FOR_TOKEN: m->for_token = value; break;
    }
    return true;
}

static bool is_proof(const struct minting *m)
{
    return strcmp(m->type, "dpop+jwt") == 0;
}

static bool read_options(struct minting *m, int argc, char **argv)
{
    const char *value;
    int id;

    tg_options_start(&m->o, &usage, argc, argv);
    while ((id = tg_options_next(&m->o, &value)) != TG_OPT_END)
        if (id == TG_OPT_EXIT || !take_option(m, id, value))
            return false;
    if (tg_options_extra(&m->o, 0))
        return false;
    if (!m->key_file)
        m->o.code = tg_usage_error(&usage, "--key FILE is needed; --generate ES256 --key FILE makes one");
    else if (!m->has_alg)
        m->o.code = tg_usage_error(&usage, "--alg is needed, as in --alg ES256");
    else if (m->generate && (TG_ALG_BIT(m->alg) & TG_ALGS_HMAC))
        m->o.code = tg_usage_error(&usage, "a secret for %s is no key pair; take 32 random bytes or more",
                                   tg_alg_name(m->alg));
    else if (is_proof(m) && (TG_ALG_BIT(m->alg) & TG_ALGS_HMAC))
        m->o.code = tg_usage_error(&usage, "a proof shows its key to everybody, and %s has only a secret one",
                                   tg_alg_name(m->alg));
    else if (m->for_token && !is_proof(m))
        m->o.code = tg_usage_error(&usage, "--for-token goes with --type dpop+jwt");
    else if (m->jwks_file && !m->generate)
        m->o.code = tg_usage_error(&usage, "--jwks goes with --generate");
    else
        return true;
    return false;
}

/* ---- keys ---- */

static bool refuse_existing(const struct minting *m, const char *path)
{
    if (m->force || !path || access(path, F_OK) != 0)
        return false;
    tg_complain(TG_EXIT_FAILURE, "%s exists; --force replaces it", path);
    return true;
}

static enum tg_status generate(struct minting *m, struct tg_err *err)
{
    struct tg_buf pem = {0}, jwks = {0};
    enum tg_status st = tg_signer_generate(m->alg, &m->signer, err);

    if (st == TG_OK)
        st = tg_signer_pem(m->signer, &pem, err);
    if (st == TG_OK && m->kid.len > 0) {                 /* a key id of one's own: read back with it */
        tg_signer_free(m->signer);
        m->signer = NULL;
        st = tg_signer_load(m->alg, tg_buf_slice(&pem), m->kid, &m->signer, err);
    }
    if (st == TG_OK)
        st = tg_file_replace(m->key_file, tg_buf_slice(&pem), 0600, err);
    if (st == TG_OK && m->jwks_file) {
        tg_signer_jwks(m->signer, &jwks);
        tg_buf_adds(&jwks, "\n");
        st = tg_file_replace(m->jwks_file, tg_buf_slice(&jwks), 0644, err);
    }
    tg_buf_wipe(&pem);
    tg_buf_fini(&jwks);
    return st;
}

static enum tg_status load_key(struct minting *m, struct tg_err *err)
{
    struct tg_buf key = {0};
    bool secret = TG_ALG_BIT(m->alg) & TG_ALGS_HMAC;
    enum tg_status st = secret ? tg_file_read_secret(m->key_file, &key, err)
                               : tg_file_read(m->key_file, KEY_BYTES, &key, err);
    struct tg_err why;

    if (st == TG_OK) {
        st = tg_signer_load(m->alg, tg_buf_slice(&key), m->kid, &m->signer, &why);
        if (st != TG_OK)
            tg_fail(err, st, "%s: %s", m->key_file, why.text);
    }
    tg_buf_wipe(&key);
    return st;
}

/* ---- the token ---- */

/* RFC 9449 §4.2: ath is the hash of the token as it is sent. */
static enum tg_status add_ath(struct minting *m, struct tg_err *err)
{
    struct tg_buf token = {0}, text = {0};
    uint8_t digest[TG_SHA256_LEN];
    enum tg_status st = token_read(m->for_token, &token, err);

    if (st == TG_OK) {
        tg_sha256(tg_slice_str(token_trim(&token)), digest);
        tg_base64url_encode(tg_slice((const char *)digest, sizeof(digest)), &text);
        set_claim(m, "ath", cJSON_CreateString(tg_buf_cstr(&text)));
    }
    tg_buf_wipe(&token);
    tg_buf_fini(&text);
    return st;
}

/* The public key stands in the header; a proof is told from others by its jti, and has no end of its own. */
static enum tg_status sign_proof(struct minting *m, struct tg_buf *out, struct tg_err *err)
{
    struct tg_slice key = tg_signer_jwk(m->signer);
    struct tg_buf header = {0}, text = {0};
    enum tg_status st = m->for_token ? add_ath(m, err) : TG_OK;
    char jti[37];

    if (st == TG_OK) {
        tg_uuid(jti);
        if (!tg_json_get(m->claims, "jti"))
            set_claim(m, "jti", cJSON_CreateString(jti));
        if (!tg_json_get(m->claims, "iat"))
            set_claim(m, "iat", cJSON_CreateNumber((double)(tg_clock_wall_ms() / 1000)));
        tg_buf_addf(&header, "{\"typ\":\"dpop+jwt\",\"alg\":\"%s\",\"jwk\":" TG_S_FMT "}", tg_alg_name(m->alg),
                    TG_S_ARG(key));
        tg_json_print(&text, m->claims);
        st = tg_signer_sign_octets(m->signer, tg_buf_slice(&header), tg_buf_slice(&text), out, err);
    }
    tg_buf_fini(&header);
    tg_buf_fini(&text);
    return st;
}

static enum tg_status sign(struct minting *m, struct tg_buf *out, struct tg_err *err)
{
    int64_t now_s = tg_clock_wall_ms() / 1000;
    struct tg_buf text = {0};
    enum tg_status st;

    if (cJSON_GetArraySize(m->audiences) == 1)
        set_claim(m, "aud", cJSON_DetachItemFromArray(m->audiences, 0));
    else if (cJSON_GetArraySize(m->audiences) > 1)
        set_claim(m, "aud", cJSON_Duplicate(m->audiences, true));
    if (!tg_json_get(m->claims, "iat"))
        set_claim(m, "iat", cJSON_CreateNumber((double)now_s));
    if (!tg_json_get(m->claims, "exp"))
        set_claim(m, "exp", cJSON_CreateNumber((double)(now_s + m->life_ms / 1000)));
    tg_json_print(&text, m->claims);
    st = tg_signer_sign(m->signer, tg_buf_slice(&text), m->type, out, err);
    tg_buf_fini(&text);
    return st;
}

static int mint(struct minting *m)
{
    struct tg_buf out = {0};
    struct tg_err err;
    enum tg_status st;

    if (m->generate && (refuse_existing(m, m->key_file) || refuse_existing(m, m->jwks_file)))
        return TG_EXIT_FAILURE;
    st = m->generate ? generate(m, &err) : load_key(m, &err);
    if (st == TG_OK && (!m->generate || m->any_claim || is_proof(m))) {
        st = is_proof(m) ? sign_proof(m, &out, &err) : sign(m, &out, &err);
        tg_buf_adds(&out, "\n");
    }
    if (st == TG_OK)
        return tg_put_out(&out);
    tg_buf_fini(&out);
    return tg_complain(st == TG_DENIED ? TG_EXIT_PERMISSION : TG_EXIT_FAILURE, "%s", err.text);
}

int tg_cmd_mint(int argc, char **argv)
{
    struct minting m = {.type = "JWT", .life_ms = DEFAULT_LIFE_MS, .claims = cJSON_CreateObject(),
                        .audiences = cJSON_CreateArray()};
    int code;

    tg_assert(m.claims && m.audiences);
    code = read_options(&m, argc, argv) ? mint(&m) : m.o.code;
    tg_signer_free(m.signer);
    cJSON_Delete(m.claims);
    cJSON_Delete(m.audiences);
    return code;
}
