/*
 * cert - the facts of an X.509 certificate as a plain struct: what policies compare and logs show.
 *
 * Says nothing about validity. Immutable; owned by whoever made it. Alternative names that are not ASCII, or hold a
 * NUL, are left out, as if the certificate did not have them. At most 64 KiB of DER, 1000 alternative names and 1 MiB
 * of PEM text (TG_LIMIT beyond). Octets behind a certificate, two subjectAltName extensions or one that cannot be read:
 * no certificate (TG_BAD_INPUT).
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct tg_cert_names {
    struct tg_slice *items;
    size_t count;
};
struct tg_cert {
    char fingerprint[65];                                /* SHA-256 of the DER, 64 lower-case hex digits */
    char spki_hash[45];                                  /* SHA-256 of the SubjectPublicKeyInfo, standard base64 */
    struct tg_slice subject, issuer;                     /* RFC 4514 in UTF-8, most specific first */
    struct tg_slice serial;                              /* upper-case hex */
    int64_t not_before_s, not_after_s;                   /* seconds since 1970 */
    struct tg_cert_names dns, emails, uris;              /* subjectAltName by kind, as written */
};

enum tg_status tg_cert_from_der(struct tg_slice der, struct tg_cert **out, struct tg_err *err);
/* The first certificate of a PEM text; what stands before it (text, a key) is passed over. TG_NOT_FOUND: none. */
enum tg_status tg_cert_from_pem(struct tg_slice pem, struct tg_cert **out, struct tg_err *err);
void tg_cert_free(struct tg_cert *cert);                 /* NULL is fine */
