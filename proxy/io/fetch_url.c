/*
 * fetch_url - which URLs may be asked, read by curl's own parser.
 */
#include "base/ip.h"
#include "io/fetch.h"
#include <curl/curl.h>

static bool is_loopback(const char *host)
{
    struct tg_slice name = tg_slice_str(host);
    struct tg_ip ip;

    if (name.len >= 2 && name.ptr[0] == '[')
        name = tg_slice(name.ptr + 1, name.len - 2);
    if (tg_ip_parse(name, &ip))
        return tg_ip_is_loopback(&ip);
    return tg_slice_eq_nocase(name, TG_S("localhost"));
}

enum tg_status tg_fetch_check_url(const char *url, bool allow_http, struct tg_err *err)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL, *fragment = NULL;
    enum tg_status st = TG_OK;

    tg_assert(u);
    if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
        st = tg_fail(err, TG_BAD_INPUT, "not an https URL");
    else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
        st = tg_fail(err, TG_BAD_INPUT, "a URL with a user name is refused");
    else if (curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_OK)
        st = tg_fail(err, TG_BAD_INPUT, "a URL with a fragment is refused");
    else if (strcmp(scheme, "http") == 0 && !allow_http && !is_loopback(host))
        st = tg_fail(err, TG_BAD_INPUT, "http is for loopback hosts only; use https, or set allow_http: true");
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(fragment);
    curl_url_cleanup(u);
    return st;
}
