/*
 * forward_checks - what a request says about where it comes from and what it wants, believed or not; the date.
 */
#include "base/err.h"
#include "forward_names.h"
#include <time.h>

static bool is_trusted(const struct tg_ip *ip, const struct tg_cidr *trusted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tg_cidr_contains(&trusted[i], ip))
            return true;
    return false;
}

/* An element of X-Forwarded-For: an address, by some proxies with a port. */
static bool read_address(struct tg_slice text, struct tg_ip *out)
{
    struct tg_slice host, rest;

    if (text.len > 0 && text.ptr[0] == '[')
        return tg_slice_cut(tg_slice(text.ptr + 1, text.len - 1), ']', &host, &rest) && tg_ip_parse(host, out) &&
               (rest.len == 0 || rest.ptr[0] == ':');
    if (tg_ip_parse(text, out))
        return true;
    return tg_slice_cut(text, ':', &host, &rest) && !memchr(rest.ptr, ':', rest.len) && tg_ip_parse(host, out);
}

/* Cuts off what stands behind the last comma. False when nothing is left. */
static bool last_element(struct tg_slice *list, struct tg_slice *element)
{
    size_t from = list->len;

    if (list->len == 0)
        return false;
    while (from > 0 && list->ptr[from - 1] != ',')
        from--;
    *element = tg_slice_trim(tg_slice(list->ptr + from, list->len - from));
    list->len = from > 0 ? from - 1 : 0;
    return true;
}

struct tg_ip tg_forward_client_ip(const struct tg_head *in, const struct tg_ip *peer, const struct tg_cidr *trusted,
                                  size_t trusted_count)
{
    struct tg_ip believed = *peer, next;

    if (!is_trusted(peer, trusted, trusted_count) || !(in->seen & field_bit(TG_FIELD_X_FORWARDED_FOR)))
        return believed;
    for (unsigned i = in->field_count; i-- > 0;) {
        struct tg_slice list = in->fields[i].value, element;

        if (in->fields[i].id != TG_FIELD_X_FORWARDED_FOR)
            continue;
        while (last_element(&list, &element)) {
            if (element.len == 0)
                continue;
            if (!read_address(element, &next))
                return believed;                         /* garbage: nobody vouches for what is left of it */
            believed = next;
            if (!is_trusted(&next, trusted, trusted_count))
                return believed;
        }
    }
    return believed;
}

bool tg_request_id_valid(struct tg_slice id)
{
    for (size_t i = 0; i < id.len; i++)
        if (!octet_is(id.ptr[i], CLASS_UNRESERVED) || id.ptr[i] == '~')
            return false;
    return id.len > 0 && id.len <= 128;
}

/* `n` lower-case hex digits at `p`; *zero: all of them "0". */
static bool is_lower_hex(const char *p, size_t n, bool *zero)
{
    *zero = true;
    for (size_t i = 0; i < n; i++) {
        if (!octet_is(p[i], CLASS_HEX) || (p[i] >= 'A' && p[i] <= 'F'))
            return false;
        *zero = *zero && p[i] == '0';
    }
    return true;
}

/* W3C Trace Context §3.2.2: 2-32-16-2 lower-case hex digits. */
bool tg_traceparent_valid(struct tg_slice v)
{
    bool zero;

    if (v.len < 55 || v.ptr[2] != '-' || v.ptr[35] != '-' || v.ptr[52] != '-')
        return false;
    if (!is_lower_hex(v.ptr, 2, &zero) || memcmp(v.ptr, "ff", 2) == 0 ||
        (zero ? v.len != 55 : v.len > 55 && v.ptr[55] != '-'))
        return false;
    if (!is_lower_hex(v.ptr + 3, 32, &zero) || zero || !is_lower_hex(v.ptr + 36, 16, &zero) || zero)
        return false;
    return is_lower_hex(v.ptr + 53, 2, &zero);
}

/* The value of a field that must be there once. */
static bool single(const struct tg_head *h, unsigned id, struct tg_slice *value)
{
    unsigned found = 0;

    for (unsigned i = 0; i < h->field_count; i++) {
        if (h->fields[i].id == id) {
            *value = h->fields[i].value;
            found++;
        }
    }
    return found == 1;
}

static bool upgrades_to_websocket(const struct tg_head *h)
{
    struct tg_slice value;

    return h->minor == 1 && tg_field_lists(h, TG_FIELD_CONNECTION, TG_S("upgrade")) &&
           single(h, TG_FIELD_UPGRADE, &value) && tg_slice_eq_nocase(value, TG_S("websocket"));
}

/* Base64 of 16 octets: 21 free digits, one whose low four bits are zero, "==". */
static bool is_key(struct tg_slice s)
{
    if (s.len != 24 || memcmp(s.ptr + 22, "==", 2) != 0 || !strchr("AQgw", s.ptr[21]) || s.ptr[21] == 0)
        return false;
    for (size_t i = 0; i < 22; i++) {
        char lower = ascii_lower(s.ptr[i]);

        if (!(lower >= 'a' && lower <= 'z') && !(lower >= '0' && lower <= '9') && lower != '+' && lower != '/')
            return false;
    }
    return true;
}

bool tg_is_websocket(const struct tg_head *in)
{
    struct tg_slice key = {0}, version = {0};

    return in->method_id == TG_METHOD_GET && in->framing == TG_BODY_NONE && (in->seen & field_bit(TG_FIELD_UPGRADE)) &&
           upgrades_to_websocket(in) && single(in, TG_FIELD_SEC_WEBSOCKET_VERSION, &version) &&
           tg_slice_eq(version, TG_S("13")) && single(in, TG_FIELD_SEC_WEBSOCKET_KEY, &key) && is_key(key);
}

bool tg_is_websocket_accept(const struct tg_head *response)
{
    return response->status == 101 && upgrades_to_websocket(response);
}

static void put_two(char *out, int n)
{
    out[0] = (char)('0' + n / 10);
    out[1] = (char)('0' + n % 10);
}

/* No strftime: its names follow the locale. */
void tg_http_date(int64_t wall_s, char out[30])
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const int64_t last_s = INT64_C(253402300799); /* the end of the year 9999 */
    time_t t = (time_t)(wall_s < 0 ? 0 : wall_s > last_s ? last_s : wall_s);
    struct tm tm;

    if (!gmtime_r(&t, &tm))
        tg_panic(__FILE__, __LINE__, "a time that has no date");
    memcpy(out, "Sun, 01 Jan 1970 00:00:00 GMT", 30);
    memcpy(out, days + 3 * tm.tm_wday, 3);
    put_two(out + 5, tm.tm_mday);
    memcpy(out + 8, months + 3 * tm.tm_mon, 3);
    put_two(out + 12, (tm.tm_year + 1900) / 100);
    put_two(out + 14, (tm.tm_year + 1900) % 100);
    put_two(out + 17, tm.tm_hour);
    put_two(out + 20, tm.tm_min);
    put_two(out + 23, tm.tm_sec);
}
