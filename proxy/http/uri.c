/*
 * uri - canonical paths, authorities and configured URLs (see http/uri.h).
 */
#include "http/uri.h"
#include "base/ip.h"
#include "internal.h"

#define HOST_BYTES 255                                   /* RFC 1035 §2.3.4 */
#define LABEL_BYTES 63

/* Already canonical, as almost every path is: no escape, no empty or dot segment. False for what is refused, too. */
static bool is_canonical(struct tg_slice path)
{
    char last = 0;

    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];

        if (!octet_is(c, CLASS_PATH) || c == '%')
            return false;
        if (last == '/' && (c == '/' || c == '.' || c == ';'))
            return false;
        last = c;
    }
    return true;
}

/* The octet an escape at `p` stands for, or -1 when it is malformed. */
static int escaped_octet(const char *p, const char *end)
{
    if (end - p < 3 || !octet_is(p[1], CLASS_HEX) || !octet_is(p[2], CLASS_HEX))
        return -1;
    return (int)(hex_value(p[1]) << 4 | hex_value(p[2]));
}

/* UTF-8 never writes an ASCII character in two to four octets; a careless decoder reads %C0%AE as a dot. */
static bool is_overlong(int octet, const char *next, const char *end)
{
    int follow = next < end && *next == '%' ? escaped_octet(next, end) : -1;

    if (follow < 0x80 || follow > 0xbf)
        return false;
    return octet == 0xc0 || octet == 0xc1 || (octet == 0xe0 && follow < 0xa0) || (octet == 0xf0 && follow < 0x90);
}

/* Writes `path` to `out` (as long as it) with escapes in their one form; its length, or 0 and the reason in `err`. */
static size_t normalise_escapes(struct tg_slice path, char *out, struct tg_err *err)
{
    static const char hex[] = "0123456789ABCDEF";
    const char *p = path.ptr, *end = p + path.len;
    char *o = out;

    while (p < end) {
        int octet;

        if (*p != '%') {
            if (!octet_is(*p, CLASS_PATH)) {
                tg_fail(err, TG_BAD_INPUT, "the path has a character that RFC 3986 does not allow");
                return 0;
            }
            *o++ = *p++;
            continue;
        }
        octet = escaped_octet(p, end);
        p += 3;
        if (octet < 0) {
            tg_fail(err, TG_BAD_INPUT, "the path has a malformed percent-escape");
            return 0;
        }
        if (octet < 0x20 || octet == 0x7f || octet == '/' || octet == '\\') {
            tg_fail(err, TG_BAD_INPUT, "the path has an escaped control, slash or backslash (%%%02X)", (unsigned)octet);
            return 0;
        }
        if (is_overlong(octet, p, end)) {
            tg_fail(err, TG_BAD_INPUT, "the path has an overlong UTF-8 sequence");
            return 0;
        }
        if (octet_is((char)octet, CLASS_UNRESERVED)) {
            *o++ = (char)octet;
        } else {
            *o++ = '%';
            *o++ = hex[octet >> 4];
            *o++ = hex[octet & 15];
        }
    }
    return (size_t)(o - out);
}

/* "..;x", ".;", ";x", with ";" raw or escaped: a server that cuts parameters off sees a dot or an empty segment. */
static bool is_dots_with_parameters(const char *segment, size_t len)
{
    size_t dots = 0;

    while (dots < len && dots < 2 && segment[dots] == '.')
        dots++;
    segment += dots;
    len -= dots;
    return len > 0 && (*segment == ';' || (len >= 3 && memcmp(segment, "%3B", 3) == 0));
}

/* Merges "//" and removes dot segments in place (RFC 3986 §5.2.4 on merged slashes). Returns the new length. */
static size_t remove_segments(char *path, size_t len)
{
    size_t in = 0, out = 0;

    while (in < len) {                                   /* path[in] is "/" */
        size_t from = in + 1, to = from;

        while (to < len && path[to] != '/')
            to++;
        bool last = to == len;
        size_t n = to - from;

        in = to;
        if (n == 2 && path[from] == '.' && path[from + 1] == '.') {
            while (out > 0 && path[--out] != '/')
                ;
            n = 0;
        } else if (n == 1 && path[from] == '.') {
            n = 0;
        }
        if (n == 0 && !last)
            continue;
        path[out++] = '/';
        memmove(path + out, path + from, n);
        out += n;
    }
    return out;
}

static bool has_dots_with_parameters(const char *path, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (path[i] == '/' && is_dots_with_parameters(path + i + 1, len - i - 1))
            return true;
    return false;
}

/* Every escape decoded once; the escapes are well-formed. */
static struct tg_slice decode(struct tg_slice s, struct tg_arena *arena)
{
    char *out = tg_arena_raw(arena, s.len);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        int octet = s.ptr[i] == '%' ? escaped_octet(s.ptr + i, s.ptr + s.len) : -1;

        out[n++] = octet < 0 ? s.ptr[i] : (char)octet;
        i += octet < 0 ? 0 : 2;
    }
    return tg_slice(out, n);
}

enum tg_status tg_uri_canonical_path(struct tg_slice path, struct tg_arena *arena, struct tg_slice *canonical,
                                     struct tg_slice *decoded, struct tg_err *err)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return tg_fail(err, TG_BAD_INPUT, "the path does not start with a slash");
    if (is_canonical(path)) {
        *canonical = *decoded = path;
        return TG_OK;
    }
    char *out = tg_arena_raw(arena, path.len);
    size_t len = normalise_escapes(path, out, err);

    if (len == 0)
        return TG_BAD_INPUT;
    if (has_dots_with_parameters(out, len))
        return tg_fail(err, TG_BAD_INPUT, "the path has an empty or dot segment with parameters");
    *canonical = tg_slice(out, remove_segments(out, len));
    *decoded = memchr(canonical->ptr, '%', canonical->len) ? decode(*canonical, arena) : *canonical;
    return TG_OK;
}

struct tg_slice tg_uri_loosest_path(struct tg_slice canonical, struct tg_arena *arena)
{
    struct tg_slice s = canonical;
    size_t n = 0;

    if (s.len == 0 || (!memchr(s.ptr, '%', s.len) && !memchr(s.ptr, ';', s.len)))
        return canonical;
    for (unsigned rounds = 0; rounds < 3 && memchr(s.ptr, '%', s.len); rounds++)
        s = decode(s, arena);
    char *out = tg_arena_raw(arena, s.len + 1);
    bool skip = false;                                   /* within parameters */

    for (size_t i = 0; i < s.len && s.ptr[i] != 0; i++) {
        char c = s.ptr[i] == '\\' ? '/' : s.ptr[i];

        if (c == '/' || c == ';')
            skip = c == ';';
        if (!skip)
            out[n++] = c;
    }
    while (n > 1 && (out[n - 1] == ' ' || out[n - 1] == '\t'))
        n--;
    return tg_slice(out, remove_segments(out, n));
}

static bool is_reg_name(struct tg_slice host)
{
    size_t label = 0;

    if (host.len > HOST_BYTES)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (!octet_is(host.ptr[i], CLASS_HOST) || ++label > LABEL_BYTES) {
            return false;
        }
    }
    return host.len > 0;
}

static bool read_port(struct tg_slice digits, int *port)
{
    uint64_t value = 0;

    if (digits.len > 0 && (digits.len > 10 || !tg_slice_to_u64(digits, &value) || value > UINT16_MAX))
        return false;
    *port = digits.len > 0 ? (int)value : -1;
    return true;
}

bool tg_uri_split_authority(struct tg_slice authority, struct tg_slice *host, int *port)
{
    struct tg_slice name, rest;
    int number = -1;

    if (authority.len > 0 && authority.ptr[0] == '[') {
        struct tg_ip ip;

        if (!tg_slice_cut(tg_slice(authority.ptr + 1, authority.len - 1), ']', &name, &rest) ||
            !memchr(name.ptr, ':', name.len) || !tg_ip_parse(name, &ip))
            return false;
        if (rest.len > 0 && (rest.ptr[0] != ':' || !read_port(tg_slice(rest.ptr + 1, rest.len - 1), &number)))
            return false;
    } else {
        bool has_port = tg_slice_cut(authority, ':', &name, &rest);

        if (!is_reg_name(name) || (has_port && !read_port(rest, &number)))
            return false;
    }
    *host = name;
    *port = number;
    return true;
}

static bool all_of(struct tg_slice s, unsigned class)
{
    for (size_t i = 0; i < s.len; i++)
        if (!octet_is(s.ptr[i], class))
            return false;
    return true;
}

static bool escapes_are_well_formed(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '%' && escaped_octet(s.ptr + i, s.ptr + s.len) < 0)
            return false;
    return true;
}

/* unix:/path/of/socket */
static enum tg_status read_unix(struct tg_slice text, struct tg_slice file, struct tg_url *out, struct tg_err *err)
{
    if (file.len < 2 || file.ptr[0] != '/')
        return tg_fail(err, TG_BAD_INPUT, "a unix URL needs an absolute path: unix:/path");
    if (file.len > 107 || memchr(file.ptr, 0, file.len)) /* sun_path */
        return tg_fail(err, TG_BAD_INPUT, "the path of a unix socket has at most 107 octets and no NUL");
    *out = (struct tg_url){.unix_socket = true, .scheme = tg_slice(text.ptr, 4), .path = file};
    return TG_OK;
}

enum tg_status tg_url_parse(struct tg_slice text, bool allow_unix, struct tg_url *out, struct tg_err *err)
{
    struct tg_url url = {0};
    struct tg_slice rest, authority, target;
    size_t n = 0;
    int port;

    if (!tg_slice_cut(text, ':', &url.scheme, &rest))
        return tg_fail(err, TG_BAD_INPUT, "a URL starts with http:// or https://");
    if (allow_unix && tg_slice_eq_nocase(url.scheme, TG_S("unix")))
        return read_unix(text, rest, out, err);
    url.tls = tg_slice_eq_nocase(url.scheme, TG_S("https"));
    if ((!url.tls && !tg_slice_eq_nocase(url.scheme, TG_S("http"))) || !tg_slice_starts_with(rest, TG_S("//")))
        return tg_fail(err, TG_BAD_INPUT, "a URL starts with http:// or https://%s", allow_unix ? " or unix:/" : "");
    rest = tg_slice(rest.ptr + 2, rest.len - 2);
    while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?' && rest.ptr[n] != '#')
        n++;
    authority = tg_slice(rest.ptr, n);
    rest = tg_slice(rest.ptr + n, rest.len - n);
    if (memchr(rest.ptr, '#', rest.len))
        return tg_fail(err, TG_BAD_INPUT, "a URL here has no fragment (#)");
    if (n > 0 && memchr(authority.ptr, '@', n))
        return tg_fail(err, TG_BAD_INPUT, "a URL here holds no user name or password");
    if (!tg_uri_split_authority(authority, &url.host, &port))
        return tg_fail(err, TG_BAD_INPUT, "the URL's host or port is not valid");
    if (port == 0)
        return tg_fail(err, TG_BAD_INPUT, "port 0 is no port to connect to");
    if (tg_slice_cut(rest, '?', &target, &url.query) && !all_of(url.query, CLASS_QUERY))
        return tg_fail(err, TG_BAD_INPUT, "the URL's query has a character that is not allowed there");
    url.path = target;
    if (!all_of(url.path, CLASS_PATH) || !escapes_are_well_formed(url.path) || !escapes_are_well_formed(url.query))
        return tg_fail(err, TG_BAD_INPUT, "the URL's path has a character or escape that is not allowed there");
    url.port_given = port > 0;
    url.port = port > 0 ? (uint16_t)port : url.tls ? 443 : 80;
    *out = url;
    return TG_OK;
}
