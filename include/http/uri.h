/*
 * uri - request targets and configured URLs (RFC 3986), and the one canonical form of a path.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

/*
 * The canonical form that is matched and forwarded: escapes of unreserved characters decoded, hex upper-case, "//"
 * merged, dot segments removed, everything else as sent. *decoded is the canonical form with each escape decoded once
 * (what policy criteria see). Refused (TG_BAD_INPUT, answer 400): a malformed escape, %2F, %5C, %00, an escaped
 * control, raw backslash, controls, "#", characters outside RFC 3986 (but "[", "]", "|", which browsers send raw),
 * overlong UTF-8, an empty or dot segment with parameters ("..;x", "%2e%2e;", ";/"), no leading "/".
 * The usual path, already canonical and without escapes, costs one pass and no copy: both results are `path` itself.
 */
enum tg_status tg_uri_canonical_path(struct tg_slice path, struct tg_arena *arena, struct tg_slice *canonical,
                                     struct tg_slice *decoded, struct tg_err *err);

/*
 * What the most careless server could take a canonical path for: escapes decoded again and again, "\" as "/",
 * parameters (";x") cut off, a NUL or trailing white space ending it. Not to be forwarded: when it belongs to another
 * route than the canonical path does, the request is ambiguous and must be refused. The usual path is returned itself.
 */
struct tg_slice tg_uri_loosest_path(struct tg_slice canonical, struct tg_arena *arena);

/* host[:port] (RFC 3986 §3.2.2: reg-name without escapes, IPv4, [IPv6]); no userinfo; port 0..65535 or absent (-1).
 * *host is without brackets. An empty host is refused. */
bool tg_uri_split_authority(struct tg_slice authority, struct tg_slice *host, int *port);

struct tg_url {
    bool tls;                                            /* https */
    bool unix_socket;                                    /* unix:/path: then `path` is the socket's file */
    struct tg_slice scheme, host, path, query;           /* host without brackets; path "" or starting with "/" */
    uint16_t port;                                       /* the scheme's own when absent */
    bool port_given;
};
/* A URL from the configuration: http, https (unix:/path when `allow_unix`). No userinfo, no fragment. Slices point
 * into it. */
enum tg_status tg_url_parse(struct tg_slice text, bool allow_unix, struct tg_url *out, struct tg_err *err);
