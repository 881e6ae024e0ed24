/*
 * certificate - the matcher of client_certificate: what it may say, what it means, and asking it about a certificate.
 *
 * It looks at the certificate that was presented, whether valid or not: that is what invalid_client_certificate is for.
 * A certificate has several names of a kind, and each operator is content with any one of them. So `not_in` would hold
 * for a certificate that has a forbidden name beside another, which nobody means: it is refused.
 */
#include "base/digest.h"
#include "base/json.h"
#include "internal.h"

#define PROPERTIES "fingerprint, spki_hash, san_email, san_dns or san_uri"

static const struct {
    const char *name;
    enum tg_cert_part part;
    const char *takes;                                   /* for the reference */
} parts[] = {
    {"fingerprint", TG_PART_FINGERPRINT,
     "SHA-256 of the certificate, or a list of them: 64 lower-case hex digits, or 32 upper-case pairs with colons"},
    {"spki_hash", TG_PART_SPKI, "SHA-256 of its public key, or a list of them: base64"},
    {"san_email", TG_PART_EMAIL, "a text matcher; one of the e-mail addresses among its names is enough"},
    {"san_dns", TG_PART_DNS, "a text matcher; one of the DNS names is enough"},
    {"san_uri", TG_PART_URI, "a text matcher; one of the URIs is enough"},
};

static enum tg_cert_part part_of(const cJSON *member)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (strcmp(parts[i].name, member->string) == 0)
            return parts[i].part;
    }
    return TG_PART_NONE;
}

const char *tg_cert_part_name(enum tg_cert_part part)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i].part == part)
            return parts[i].name;
    }
    return NULL;
}

static bool is_digest(enum tg_cert_part part) { return part == TG_PART_FINGERPRINT || part == TG_PART_SPKI; }

/* ---- as written ---- */
bool tg_fingerprint_read(const char *text, char out[static TG_FINGERPRINT])
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    bool pairs = strlen(text) == 95;
    size_t len = 0;

    if (!pairs && strlen(text) != TG_FINGERPRINT - 1)
        return false;
    for (size_t i = 0; text[i]; i++) {
        const char *digit;

        if (pairs && i % 3 == 2) {
            if (text[i] != ':')
                return false;
            continue;
        }
        digit = strchr(pairs ? upper : lower, text[i]);
        if (!digit)
            return false;
        out[len++] = lower[digit - (pairs ? upper : lower)];
    }
    out[len] = '\0';
    return true;
}

static bool is_spki_hash(struct tg_slice text)
{
    uint8_t digest[TG_SHA256_LEN + 1];
    size_t len;

    return text.len == 44 && tg_base64_decode(text, digest, &len) && len == TG_SHA256_LEN;
}

static void check_digest(struct tg_parse *p, enum tg_cert_part part, const cJSON *value)
{
    char ignored[TG_FINGERPRINT], shown[TG_SHOWN];

    if (!cJSON_IsString(value))
        tg_parse_problem(p, value, false, "expected a string, not %s", tg_kind_of(value));
    else if (part == TG_PART_FINGERPRINT && !tg_fingerprint_read(value->valuestring, ignored))
        tg_parse_problem(p, value, false,
                         "\"%s\" is not a SHA-256 fingerprint: 64 lower-case hex digits, or 32 upper-case pairs with "
                         "colons", tg_shown(value->valuestring, shown));
    else if (part == TG_PART_SPKI && !is_spki_hash(tg_slice_str(value->valuestring)))
        tg_parse_problem(p, value, false, "\"%s\" is not the base64 of a SHA-256 digest",
                         tg_shown(value->valuestring, shown));
}

static void check_digests(struct tg_parse *p, enum tg_cert_part part, const cJSON *member)
{
    const cJSON *element;

    if (!cJSON_IsArray(member)) {
        if (cJSON_IsString(member))
            check_digest(p, part, member);
        else
            tg_parse_problem(p, member, false, "expected a string or a list of strings, not %s", tg_kind_of(member));
        return;
    }
    cJSON_ArrayForEach(element, member) {
        p->element++;
        check_digest(p, part, element);
    }
    p->element = 0;
}

static void check_names(struct tg_parse *p, const cJSON *member)
{
    const cJSON *not_in = tg_json_get(member, "not_in");

    tg_parse_matcher(p, TG_SHAPE_TEXT, false, member);
    if (not_in)
        tg_parse_problem(p, not_in, true,
                         "`not_in` is not supported on names of a certificate, which may have several: write `in` and "
                         "put the criterion under `not`");
}

void tg_cert_matcher_check(struct tg_parse *p, const cJSON *data)
{
    const char *names[ARRAY_LEN(parts)];
    const cJSON *member;

    if (!cJSON_IsObject(data)) {
        tg_parse_problem(p, data, false, "expected a mapping with " PROPERTIES ", not %s", tg_kind_of(data));
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        names[i] = parts[i].name;
    cJSON_ArrayForEach(member, data) {
        enum tg_cert_part part = part_of(member);

        if (part == TG_PART_NONE) {
            tg_parse_unknown_key(p, member, "a property of a certificate", names, ARRAY_LEN(names), PROPERTIES);
            continue;
        }
        p->part = member->string;
        if (is_digest(part))
            check_digests(p, part, member);
        else
            check_names(p, member);
        p->part = NULL;
    }
}

void tg_cert_matcher_warn(struct tg_parse *p, const cJSON *data)
{
    const cJSON *member;

    cJSON_ArrayForEach(member, data) {
        p->part = member->string;
        if (!is_digest(part_of(member)))
            tg_warn_text(p, TG_SUBJECT_COUNT, member);
        else if (cJSON_IsArray(member) && !member->child)
            tg_parse_warning(p, member, "no certificate is in an empty list");
        p->part = NULL;
    }
}

size_t tg_cert_matcher_read(const cJSON *data, struct tg_raw_op out[static TG_OPS_MAX])
{
    const cJSON *member;
    size_t count = 0;

    cJSON_ArrayForEach(member, data) {
        enum tg_cert_part part = part_of(member);
        size_t more = 1;

        tg_assert(count + TG_TEXT_OPS <= TG_OPS_MAX);
        if (is_digest(part))
            out[count] = (struct tg_raw_op){TG_OP_IN, member, cJSON_IsArray(member), TG_PART_NONE};
        else
            more = tg_matcher_read(TG_SHAPE_TEXT, member, out + count);
        for (; more > 0; more--)
            out[count++].part = part;
    }
    return count;
}

/* ---- asking ---- */
static const struct tg_cert_names *names_of(enum tg_cert_part part, const struct tg_cert *cert)
{
    switch (part) {
    case TG_PART_EMAIL: return &cert->emails;
    case TG_PART_DNS: return &cert->dns;
    case TG_PART_URI: return &cert->uris;
    default: return NULL;
    }
}

static struct tg_slice digest_of(enum tg_cert_part part, const struct tg_cert *cert)
{
    if (part == TG_PART_FINGERPRINT)
        return tg_slice(cert->fingerprint, sizeof(cert->fingerprint) - 1);
    return tg_slice(cert->spki_hash, sizeof(cert->spki_hash) - 1);
}

bool tg_op_on_cert(const struct tg_op *op, const struct tg_cert *cert)
{
    const struct tg_cert_names *names = names_of(op->part, cert);

    if (!names)
        return tg_op_on_text(op, &(struct tg_text){.s = digest_of(op->part, cert)});
    for (size_t i = 0; i < names->count; i++) {
        if (tg_op_on_text(op, &(struct tg_text){.s = names->items[i]}))
            return true;
    }
    return false;
}

static void add_names(struct tg_buf *out, const struct tg_cert_names *names)
{
    tg_buf_addc(out, '[');
    for (size_t i = 0; i < names->count; i++) {
        tg_buf_adds(out, i ? "," : "");
        tg_json_add_string(out, names->items[i]);
    }
    tg_buf_addc(out, ']');
}

void tg_cert_saw(const cJSON *data, const struct tg_cert *cert, struct tg_buf *out)
{
    const cJSON *member;

    if (!data->child) {
        tg_buf_add_slice(out, cert->subject.len > 0 ? cert->subject : digest_of(TG_PART_FINGERPRINT, cert));
        return;
    }
    cJSON_ArrayForEach(member, data) {
        enum tg_cert_part part = part_of(member);

        tg_buf_addf(out, "%s\"%s\":", member == data->child ? "{" : ",", member->string);
        if (is_digest(part))
            tg_json_add_string(out, digest_of(part, cert));
        else
            add_names(out, names_of(part, cert));
    }
    tg_buf_addc(out, '}');
}

void tg_cert_describe(struct tg_buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        tg_buf_addf(out, "| `%s` | %s |\n", parts[i].name, parts[i].takes);
}
