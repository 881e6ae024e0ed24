/*
 * redis_reply - see redis_reply.h.
 */
#include "redis_reply.h"

#if HIREDIS_MAJOR > 0
typedef size_t element_count;
#else
typedef int element_count;
#endif

struct tg_redis_reader {
    redisReader *reader;
    redisReplyObjectFunctions makers;                    /* those of the library, two of them behind a bound */
    const redisReplyObjectFunctions *plain;
    size_t elements, text;                               /* of the answer that is being read */
    bool too_large;
};

/* The first object of an answer: a new account. */
static struct tg_redis_reader *account_of(const redisReadTask *task)
{
    struct tg_redis_reader *r = task->privdata;

    if (!task->parent)
        r->elements = r->text = 0;
    return r;
}

static void *make_string(const redisReadTask *task, char *bytes, size_t len)
{
    struct tg_redis_reader *r = account_of(task);

    if (len > TG_REDIS_TEXT - r->text) {
        r->too_large = true;
        return NULL;
    }
    r->text += len;
    return r->plain->createString(task, bytes, len);
}

static bool is_too_deep(const redisReadTask *task)
{
    unsigned depth = 0;

    for (const redisReadTask *t = task; t; t = t->parent)
        depth++;
    return depth > TG_REDIS_DEPTH;
}

static void *make_array(const redisReadTask *task, element_count count)
{
    struct tg_redis_reader *r = account_of(task);

    if ((size_t)count > TG_REDIS_ELEMENTS - r->elements || is_too_deep(task)) {
        r->too_large = true;
        return NULL;
    }
    r->elements += (size_t)count;
    return r->plain->createArray(task, count);
}

struct tg_redis_reader *tg_redis_reader_new(void)
{
    struct tg_redis_reader *r = TG_NEW(struct tg_redis_reader);

    r->reader = redisReaderCreate();
    tg_assert(r->reader);
    r->plain = r->reader->fn;
    r->makers = *r->plain;
    r->makers.createString = make_string;
    r->makers.createArray = make_array;
    r->reader->fn = &r->makers;
    r->reader->privdata = r;
    return r;
}

void tg_redis_reader_free(struct tg_redis_reader *r)
{
    if (!r)
        return;
    redisReaderFree(r->reader);
    free(r);
}

/* Its failure stays in the reader, and is told by the next call. */
void tg_redis_reader_feed(struct tg_redis_reader *r, const char *bytes, size_t n)
{
    redisReaderFeed(r->reader, bytes, n);
}

enum tg_status tg_redis_reader_next(struct tg_redis_reader *r, struct redisReply **out, struct tg_err *err)
{
    void *reply = NULL;
    int rc = redisReaderGetReply(r->reader, &reply);

    /* A string that is not whole yet waits in the reader's buffer. */
    if (r->too_large || (rc == REDIS_OK && !reply && r->reader->len - r->reader->pos > 2 * TG_REDIS_TEXT))
        return tg_fail(err, TG_LIMIT, "an answer is larger than any to this command");
    if (rc != REDIS_OK)
        return tg_fail(err, TG_BAD_INPUT, "%s", r->reader->errstr);
    *out = reply;
    return reply ? TG_OK : TG_AGAIN;
}

bool tg_redis_reply_numbers(const struct redisReply *reply, int64_t *numbers, size_t *count)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements > TG_REDIS_ELEMENTS)
        return false;
    for (size_t i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_INTEGER)
            return false;
        numbers[i] = reply->element[i]->integer;
    }
    *count = reply->elements;
    return true;
}
