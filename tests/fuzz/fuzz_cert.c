/*
 * fuzz_cert - any octets as a certificate, DER or PEM.
 *
 * Laws: nothing crashes, nothing is left in OpenSSL's queue of errors; facts are ASCII or UTF-8 without controls and of
 * the length they must have; what was taken is refused with one octet more.
 */
#include "base/cert.h"
#include "base/json.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
unsigned long ERR_peek_error(void);                      /* of OpenSSL, whose headers are not needed here */

/* As a JSON string: the reader there takes UTF-8 only. */
static void must_be_text(struct tg_slice s)
{
    struct tg_buf json = {0};

    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
            abort();
    }
    tg_json_add_string(&json, s);
    if (tg_json_scan(tg_buf_slice(&json), NULL, NULL) != TG_OK)
        abort();
    tg_buf_fini(&json);
}

static void must_be_ascii(const struct tg_cert_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        for (size_t k = 0; k < names->items[i].len; k++) {
            if (names->items[i].ptr[k] <= 0)
                abort();
        }
    }
}

static void check(const struct tg_cert *cert)
{
    if (strlen(cert->fingerprint) != 64 || strlen(cert->spki_hash) != 44 || cert->serial.len < 2)
        abort();
    if (cert->dns.count + cert->emails.count + cert->uris.count > 1000)
        abort();
    must_be_text(cert->subject);
    must_be_text(cert->issuer);
    must_be_text(cert->serial);
    must_be_ascii(&cert->dns);
    must_be_ascii(&cert->emails);
    must_be_ascii(&cert->uris);
}

static void must_end_there(struct tg_slice der)
{
    struct tg_cert *cert = NULL;
    struct tg_buf more = {0};

    tg_buf_add_slice(&more, der);
    tg_buf_addc(&more, 0);
    if (tg_cert_from_der(tg_buf_slice(&more), &cert, NULL) == TG_OK)
        abort();
    tg_buf_fini(&more);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_slice input = tg_slice((const char *)data, size);
    struct tg_cert *cert = NULL;

    if (tg_cert_from_der(input, &cert, NULL) == TG_OK) {
        check(cert);
        tg_cert_free(cert);
        must_end_there(input);
    }
    if (tg_cert_from_pem(input, &cert, NULL) == TG_OK) {
        check(cert);
        tg_cert_free(cert);
    }
    if (ERR_peek_error() != 0)
        abort();
    return 0;
}
