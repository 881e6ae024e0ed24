/*
 * fetch_internal - one fetch, for the files that make it and read its answer.
 */
#pragma once
#include "base/ip.h"
#include "io/fetch.h"
#include <curl/curl.h>

#define FETCH_HEAD_BYTES ((size_t)64 << 10)              /* of an answer's head, all together */

struct tg_fetch {
    struct tg_fetch *next, **prev;
    struct tg_fetcher *fetcher;
    CURL *easy;
    struct curl_slist *headers;
    struct tg_buf body;
    size_t head_bytes, max_bytes;
    int64_t timeout_ms;
    bool too_large, head_too_large, finishing, proxied;
    bool (*may_connect)(void *arg, const struct tg_ip *ip);
    void *may_connect_arg;
    bool forbidden;                                      /* it was refused an address */
    CURLcode refused;                                    /* not CURLE_OK: could not be started */
    char curl_words[CURL_ERROR_SIZE];
    void (*done)(void *arg, const struct tg_fetch_answer *answer);
    void *arg;
};

/* fetch_answer.c: what came, valid as long as `f`; without an HTTP answer `err` holds the sentence. */
void fetch_read_answer(const struct tg_fetch *f, CURLcode code, struct tg_fetch_answer *answer, struct tg_err *err);
