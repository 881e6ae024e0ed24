/*
 * redis_internal - what the files of a link share: redis.c has its commands and answers, redis_connect.c how it comes
 * and goes.
 */
#pragma once
#include "io/redis.h"
#include "io/stream.h"
#include "redis_reply.h"

#define TG_REDIS_ADDRESSES 8                             /* of a name, that are tried */
#define TG_REDIS_SHA1 40                                 /* in hex digits */

enum redis_state { REDIS_PAUSING, REDIS_RESOLVING, REDIS_CONNECTING, REDIS_GREETING, REDIS_UP };

enum redis_failure { FAILED_NAME, FAILED_CONNECT, FAILED_SILENT, FAILED_TLS }; /* a later one tells more */

enum redis_call_kind { CALL_AUTH, CALL_SELECT, CALL_LOAD, CALL_EVAL };

struct redis_call {                                            /* a command without its answer */
    struct redis_call *next;
    enum redis_call_kind kind;
    bool again;                                          /* asked for the second time */
    char *command;                                       /* as sent; of hiredis */
    size_t len;
    void (*done)(void *arg, const struct tg_redis_answer *answer); /* NULL: nobody is to be told */
    void *arg;
    int64_t sent_us;
};

struct tg_redis {
    struct tg_stream stream;                             /* first: its events find the link by it */
    struct tg_worker *worker;
    struct tg_resolver *resolver;
    struct tg_resolve_query *query;
    struct tg_redis_options options;                     /* its slices are in `arena` */
    struct tg_arena arena;
    enum redis_state state;
    unsigned calling;                                    /* callbacks that we are inside of */
    bool freed, told, told_up;                           /* told: `changed` was called */
    struct tg_ip ips[TG_REDIS_ADDRESSES];
    size_t ip_count, ip_at;
    struct tg_deadline timer;                            /* pausing: begin; up: no answer for too long; else: give up */
    struct tg_deferred connect;                          /* the next address, outside of the stream's own callback */
    struct tg_tls_client *tls;
    struct tg_redis_reader *reader;
    struct redis_call *calls, **calls_tail;
    size_t call_count;
    int64_t up_since_ms, read_us;
    unsigned failures;                                   /* since a link was good */
    char sha[TG_REDIS_SHA1 + 1];
    const char **argv;
    size_t *argv_len, argv_room;
    int64_t *numbers;
    struct tg_redis_counts counts;
    char failure[320];                                   /* of the address tried last, or got furthest with */
    enum redis_failure failed;
};

/* Around everything that may call back: whoever is called may free the link, which stays until we are out of it. */
static inline void tg_redis_enter(struct tg_redis *r) { r->calling++; }
static inline void tg_redis_leave(struct tg_redis *r)
{
    if (--r->calling == 0 && r->freed)
        free(r);
}

/* ---- redis.c ---- */
void tg_redis_greet(struct tg_redis *r);                 /* it is connected */
void tg_redis_read(struct tg_redis *r);                  /* something came */
void tg_redis_tell(struct tg_redis *r, bool up, const char *why); /* unless it was told */
void tg_redis_drop_calls(struct tg_redis *r, bool tell); /* their answers are lost */

/* ---- redis_connect.c ---- */
void tg_redis_connect_soon(struct tg_redis *r);
void tg_redis_lost(struct tg_redis *r, const char *why); /* hangs up, tells, and comes again after a pause */
void tg_redis_hang_up(struct tg_redis *r);
