/*
 * redis - one link of one worker to a Redis or Valkey server, for one script.
 *
 * Connects by itself, says AUTH and SELECT, loads the script, and connects again when the link is lost: at once, then
 * with a growing pause and jitter. Names are resolved by io/resolve, anew for each connection; no call blocks. A
 * command has no time limit of its own (its asker has one), but a link on which nothing was answered for `dead_ms` is
 * taken for lost, and so is one on which the server says what nobody asked for, or more than any answer needs. Logs
 * nothing: tells once that the store is away and why (never with a password), once that it is back.
 * The protocol is hiredis'; the connection is io/stream's, so that rediss checks the certificate's name, and works with
 * any version of the library.
 * Threads: one worker.
 */
#pragma once
#include "base/arena.h"
#include "io/resolve.h"

struct tg_redis;

struct tg_redis_address {                                /* where and as whom */
    struct tg_slice host;                                /* a name or an address; empty: a Unix socket */
    uint16_t port;                                       /* 6379 unless said */
    struct tg_slice path;                                /* of the socket */
    struct tg_slice username, password;                  /* empty: none */
    uint32_t database;                                   /* 0 unless said */
    bool tls;                                            /* rediss */
};
/*
 * redis://[user[:password]@]host[:port][/database], rediss:// likewise, unix:///path[?db=N] (also redis+unix://).
 * Percent-escapes in user and password are decoded (into the arena). Errors name the part, and never the password.
 */
enum tg_status tg_redis_parse(struct tg_slice url, struct tg_arena *arena, struct tg_redis_address *out,
                              struct tg_err *err);
/* The URL for people: without user and password. */
void tg_redis_describe(const struct tg_redis_address *address, struct tg_buf *out);

struct tg_redis_options {
    struct tg_redis_address address;                     /* copied */
    struct tg_slice ca_file;                             /* copied; empty: the system's */
    const char *script;                                  /* Lua; constant */
    int64_t dead_ms;                                     /* 0: 2 s; also for each attempt to connect */
    /* Up or down, when it is not as told before; from the loop. `why`: a sentence for a log when down, else "". */
    void (*changed)(void *arg, bool up, const char *why);
    /* Another attempt failed since it was told that it is down, perhaps for another reason; NULL is fine. */
    void (*still_down)(void *arg, const char *why);
    void *arg;
};
struct tg_redis *tg_redis_new(struct tg_worker *w, struct tg_resolver *resolver,
                              const struct tg_redis_options *options);
void tg_redis_free(struct tg_redis *r);                  /* pending calls are dropped without an answer; NULL is fine */
bool tg_redis_is_up(const struct tg_redis *r);           /* connected, logged in, the script is loaded */

/* What came back: an array of integers, or else `error`. */
struct tg_redis_answer {
    bool ok;
    const int64_t *numbers;                              /* valid during the call */
    size_t count;
    struct tg_slice error;                               /* "READONLY You can't write ..."; "" when the link was lost */
    bool lost;                                           /* nobody knows whether it was done */
    int64_t sent_us, answered_us;                        /* monotonic */
};
/*
 * EVALSHA of the script; on NOSCRIPT it is loaded and asked once more. keys then arguments, as octets (copied). `done`
 * is called once, from the loop, unless the link is freed first (it may do that itself). False: the link is not up, or
 * has more to do than it can; `done` is not called.
 */
bool tg_redis_eval(struct tg_redis *r, const struct tg_slice *keys, size_t key_count, const struct tg_slice *args,
                   size_t arg_count, void (*done)(void *arg, const struct tg_redis_answer *answer), void *arg);
/* The same without an answer, at the end: nothing is told by `changed` any more. */
void tg_redis_eval_last(struct tg_redis *r, const struct tg_slice *keys, size_t key_count, const struct tg_slice *args,
                        size_t arg_count);
/* Reads, and calls `done`, until nothing is without an answer, at most so long. Blocks: for the end. */
void tg_redis_wait(struct tg_redis *r, int64_t most_ms);
/* Commands sent and answers that were errors, since it was made. */
struct tg_redis_counts {
    uint64_t commands, errors, connects;                 /* connects: tried */
};
void tg_redis_counts(const struct tg_redis *r, struct tg_redis_counts *out);

/*
 * Connects, logs in, runs a script, all within `timeout_ms`, and waits for it: for a command. TG_OK or why not. The
 * script writes `key`, a hash that expires in a second; empty: it writes nothing.
 */
enum tg_status tg_redis_try(const struct tg_redis_address *address, struct tg_slice ca_file, struct tg_slice key,
                            int64_t timeout_ms, struct tg_err *err);
