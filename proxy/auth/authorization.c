/*
 * authorization - what the Authorization field carries, before anything is verified (RFC 6750 §2.1, §3.1, RFC 9449
 * §7.1).
 */
#include "authorization.h"
#include "auth/authn.h"
#include "base/digest.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* RFC 9110 §5.6.2. */
static bool is_tchar(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

/* RFC 6750 §2.1: b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=" */
static bool is_b64token(struct tg_slice s)
{
    static const bool in_token[256] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true,
        ['.'] = true,         ['_'] = true,         ['~'] = true,         ['+'] = true, ['/'] = true,
    };
    size_t i = 0;

    while (i < s.len && in_token[(unsigned char)s.ptr[i]])
        i++;
    if (i == 0)
        return false;
    while (i < s.len && s.ptr[i] == '=')
        i++;
    return i == s.len;
}

/* Whether `name`, with its escapes taken for what they mean, is `want`: an upstream would read it so. */
static bool is_name(struct tg_slice name, struct tg_slice want)
{
    size_t i = 0, n = 0;

    while (i < name.len && n < want.len) {
        char c = name.ptr[i++];

        if (c == '%' && i + 1 < name.len && tg_hex_digit(name.ptr[i]) >= 0 && tg_hex_digit(name.ptr[i + 1]) >= 0) {
            c = (char)(tg_hex_digit(name.ptr[i]) * 16 + tg_hex_digit(name.ptr[i + 1]));
            i += 2;
        }
        if (c != want.ptr[n++])
            return false;
    }
    return i == name.len && n == want.len;
}

static bool has_parameter(struct tg_slice query, struct tg_slice name)
{
    bool more;

    do {
        struct tg_slice pair, key, value;

        more = tg_slice_cut(query, '&', &pair, &query);
        tg_slice_cut(pair, '=', &key, &value);
        if (is_name(key, name))
            return true;
    } while (more);
    return false;
}

static void malformed(struct tg_credential *out, const char *what)
{
    out->kind = TG_CREDENTIAL_MALFORMED;
    out->what = what;
}

size_t tg_scheme_length(struct tg_slice value)
{
    size_t n = 0;

    while (n < value.len && is_tchar(value.ptr[n]))
        n++;
    return n;
}

const char *tg_token_after_scheme(struct tg_slice value, size_t scheme, size_t max_token, struct tg_slice *token)
{
    size_t space;

    for (space = scheme; space < value.len && value.ptr[space] == ' '; space++)
        ;
    *token = tg_slice(value.ptr + space, value.len - space);
    if (token->len == 0)
        return "The Authorization field holds no token";
    if (space == scheme)
        return "The scheme is not followed by a space";
    if (token->len > max_token)
        return "The token is too long";
    return is_b64token(*token) ? NULL : "The token holds characters that no token has";
}

void tg_credential_classify(const struct tg_slice *values, size_t count, struct tg_slice query, size_t max_token,
                            struct tg_credential *out)
{
    struct tg_slice value, token;
    enum tg_credential_kind kind;
    const char *what;
    size_t scheme;

    memset(out, 0, sizeof(*out));
    if (count == 0)
        return;
    if (count > 1) {
        malformed(out, "More than one Authorization field was sent");
        return;
    }
    if (query.len && has_parameter(query, TG_S("access_token"))) {
        malformed(out, "A token was sent in the query beside the Authorization field");
        return;
    }
    value = tg_slice_trim(values[0]);
    scheme = tg_scheme_length(value);
    if (tg_slice_eq_nocase(tg_slice(value.ptr, scheme), TG_S("Bearer")))
        kind = TG_CREDENTIAL_BEARER;
    else if (tg_slice_eq_nocase(tg_slice(value.ptr, scheme), TG_S("DPoP")))
        kind = TG_CREDENTIAL_DPOP;
    else
        return;
    what = tg_token_after_scheme(value, scheme, max_token, &token);
    if (what) {
        malformed(out, what);
        return;
    }
    out->kind = kind;
    out->token = token;
}
