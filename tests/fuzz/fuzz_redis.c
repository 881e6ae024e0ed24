/*
 * fuzz_redis - any octets as what a Redis server says, and as a store's URL.
 *
 * Laws: however the network cuts what comes, the same answers come out, and after a refusal none; no answer is larger
 * than its bounds. A URL that is taken, told to people and read again, is the same place; neither what is told nor a
 * refusal holds the password.
 */
#include "../../proxy/io/redis_reply.h"
#include "io/redis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool law)
{
    if (!law)
        abort();
}

struct weight {
    size_t elements, text;
};

/* Writes it down, to be compared. */
static void write_down(const redisReply *reply, struct tg_buf *out, struct weight *w, unsigned depth)
{
    tg_buf_addf(out, "%d:%lld:%zu:%zu:", reply->type, reply->integer, reply->len, reply->elements);
    must(depth <= TG_REDIS_DEPTH + 1);
    if (reply->str) {
        tg_buf_add(out, reply->str, reply->len);
        w->text += reply->len;
    }
    w->elements += reply->elements;
    for (size_t i = 0; i < reply->elements; i++)
        write_down(reply->element[i], out, w, depth + 1);
}

static bool take(struct tg_redis_reader *r, struct tg_buf *out)
{
    static int64_t numbers[TG_REDIS_ELEMENTS];
    redisReply *reply;
    struct tg_err err = {0};
    enum tg_status st;
    size_t count;

    while ((st = tg_redis_reader_next(r, &reply, &err)) == TG_OK) {
        struct weight w = {0};

        write_down(reply, out, &w, 0);
        must(w.elements <= TG_REDIS_ELEMENTS && w.text <= TG_REDIS_TEXT);
        must(!tg_redis_reply_numbers(reply, numbers, &count) || count == reply->elements);
        freeReplyObject(reply);
    }
    must(st == TG_AGAIN || err.text[0]);
    return st == TG_AGAIN;
}

/* Parts of `step` octets; 0: all at once. */
static void hear(const char *bytes, size_t size, size_t step, struct tg_buf *out)
{
    struct tg_redis_reader *r = tg_redis_reader_new();
    bool goes_on = true;

    for (size_t at = 0; at < size && goes_on;) {
        size_t n = step == 0 || step > size - at ? size - at : step;

        tg_redis_reader_feed(r, bytes + at, n);
        goes_on = take(r, out);
        at += n;
    }
    tg_redis_reader_free(r);
}

static bool has_any(struct tg_slice s, const char *chars)
{
    for (size_t i = 0; i < s.len; i++)
        if (strchr(chars, s.ptr[i]))
            return true;
    return false;
}

static void check_url(struct tg_slice url)
{
    struct tg_redis_address a, again;
    struct tg_arena arena;
    struct tg_err err = {0};
    struct tg_buf told = {0};

    tg_arena_init(&arena, NULL, 0);
    if (tg_redis_parse(url, &arena, &a, &err) != TG_OK) {
        must(err.text[0] && !strstr(err.text, "secret"));
    } else {
        tg_redis_describe(&a, &told);
        if (!has_any(a.path, "?#%")) {                   /* which are told as they are */
            must(tg_redis_parse(tg_buf_slice(&told), &arena, &again, &err) == TG_OK);
            must(tg_slice_eq(a.host, again.host) && tg_slice_eq(a.path, again.path) && a.port == again.port);
            must(a.database == again.database && a.tls == again.tls && again.password.len + again.username.len == 0);
        }
    }
    tg_buf_fini(&told);
    tg_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_buf whole = {0}, parts = {0}, octets = {0};
    struct tg_buf url = {0};

    hear((const char *)data, size, 0, &whole);
    hear((const char *)data, size, 7, &parts);
    hear((const char *)data, size, 1, &octets);
    must(tg_slice_eq(tg_buf_slice(&whole), tg_buf_slice(&parts)));
    must(tg_slice_eq(tg_buf_slice(&whole), tg_buf_slice(&octets)));
    check_url(tg_slice((const char *)data, size));
    tg_buf_adds(&url, "redis://gate:secret");
    tg_buf_add(&url, data, size);
    check_url(tg_buf_slice(&url));
    tg_buf_fini(&whole);
    tg_buf_fini(&parts);
    tg_buf_fini(&octets);
    tg_buf_fini(&url);
    return 0;
}
