/*
 * redis - see io/redis.h: what is said on a link, and what comes back.
 *
 * The connection is a stream like any other, with its TLS, and hiredis makes the commands and reads the answers. Its
 * asynchronous half is not used: there an answer that nobody asked for ends the process (an assertion), a name in a
 * certificate is not looked at, and which of the two sides frees a connection depends on how it failed.
 * Invariants: answers come in the order of the commands; whoever is called back may free the link (`calling` keeps it
 * until we are out of it); nothing is called back from inside tg_redis_new, tg_redis_eval or tg_redis_free.
 */
#include "redis_internal.h"
#include "base/clock.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#define CALLS_MAX 1024                                   /* waiting for an answer */
#define BACKLOG_MAX ((size_t)1 << 20)
#define DEAD_MS 2000

/* ---- commands ---- */

/* An AUTH command is a secret. */
static void free_call(struct redis_call *c)
{
    if (c->kind == CALL_AUTH)
        explicit_bzero(c->command, c->len);
    redisFreeCommand(c->command);
    free(c);
}

/* To the socket at once, or as far as it goes; the rest waits in the stream. */
static void send_call(struct tg_redis *r, struct redis_call *c)
{
    c->next = NULL;
    *r->calls_tail = c;
    r->calls_tail = &c->next;
    if (r->call_count++ == 0)
        tg_deadline_set(&r->worker->wheel, &r->timer, r->worker->now_ms + r->options.dead_ms);
    r->counts.commands++;
    c->sent_us = tg_clock_mono_us();
    tg_stream_put(&r->stream, c->command, c->len);
    tg_stream_flush(&r->stream);
}

static struct redis_call *shift_call(struct tg_redis *r)
{
    struct redis_call *c = r->calls;

    if (!c)
        return NULL;
    r->calls = c->next;
    if (!r->calls)
        r->calls_tail = &r->calls;
    r->call_count--;
    return c;
}

static struct redis_call *new_call(enum redis_call_kind kind, int argc, const char **argv, const size_t *argv_len)
{
    struct redis_call *c = TG_NEW(struct redis_call);

    c->kind = kind;
    c->len = (size_t)redisFormatCommandArgv(&c->command, argc, argv, argv_len);
    tg_assert(c->command);
    return c;
}

static void say(struct tg_redis *r, enum redis_call_kind kind, const struct tg_slice *words, int count)
{
    const char *argv[3];
    size_t len[3];

    for (int i = 0; i < count; i++) {
        argv[i] = words[i].len > 0 ? words[i].ptr : "";
        len[i] = words[i].len;
    }
    send_call(r, new_call(kind, count, argv, len));
}

static void load_script(struct tg_redis *r)
{
    const struct tg_slice words[] = {TG_S("SCRIPT"), TG_S("LOAD"), tg_slice_str(r->options.script)};

    say(r, CALL_LOAD, words, 3);
}

/* All at once: an answer that is an error ends it, whatever the following ones are. */
void tg_redis_greet(struct tg_redis *r)
{
    const struct tg_redis_address *a = &r->options.address;
    char number[16];

    r->state = REDIS_GREETING;
    r->reader = tg_redis_reader_new();
    if (a->username.len > 0)
        say(r, CALL_AUTH, (struct tg_slice[]){TG_S("AUTH"), a->username, a->password}, 3);
    else if (a->password.len > 0)
        say(r, CALL_AUTH, (struct tg_slice[]){TG_S("AUTH"), a->password}, 2);
    if (a->database > 0) {
        snprintf(number, sizeof(number), "%u", a->database);
        say(r, CALL_SELECT, (struct tg_slice[]){TG_S("SELECT"), tg_slice_str(number)}, 2);
    }
    load_script(r);
}

/* ---- answers ---- */

void tg_redis_tell(struct tg_redis *r, bool up, const char *why)
{
    if (r->told && r->told_up == up) {
        if (!up && r->options.still_down)
            r->options.still_down(r->options.arg, why);
        return;
    }
    r->told = true;
    r->told_up = up;
    if (r->options.changed)
        r->options.changed(r->options.arg, up, why);
}

/*
 * What was refused, for a log. The answer to AUTH is told only when it is one that is known to repeat nothing: a server
 * that does not know the command shows its arguments.
 */
static void refusal(enum redis_call_kind kind, struct tg_slice text, char *out, size_t room)
{
    static const char *const harmless[] = {
        "WRONGPASS ", "NOAUTH ", "NOPERM ", "LOADING ", "BUSY ", "DENIED ", "ERR max number of clients",
        "ERR invalid password", "ERR AUTH <password> called without", "ERR Client sent AUTH, but no password is set"};
    static const char *const names[] = {
        [CALL_AUTH] = "AUTH", [CALL_SELECT] = "SELECT", [CALL_LOAD] = "SCRIPT LOAD", [CALL_EVAL] = "EVALSHA"};
    struct tg_slice rest;

    if (kind == CALL_AUTH) {
        bool known = false;

        for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
            known = known || tg_slice_starts_with(text, tg_slice_str(harmless[i]));
        if (!known)
            tg_slice_cut(text, ' ', &text, &rest);
    }
    snprintf(out, room, "%s is refused: %.*s", names[kind], (int)(text.len < 200 ? text.len : 200), text.ptr);
}

static struct tg_slice text_of(const redisReply *reply) { return tg_slice(reply->str, reply->len); }

/* Without the digest and line of the script, which the server writes behind it. */
static struct tg_slice error_of(const redisReply *reply)
{
    const char *script = memmem(reply->str, reply->len, " script: ", 9);

    return tg_slice(reply->str, script && script > reply->str ? (size_t)(script - reply->str) : reply->len);
}

/* "OK" to AUTH and SELECT, the digest to SCRIPT LOAD. */
static bool is_expected(struct tg_redis *r, enum redis_call_kind kind, const redisReply *reply)
{
    if (kind != CALL_LOAD)
        return reply->type == REDIS_REPLY_STATUS;
    if (reply->type != REDIS_REPLY_STRING || reply->len != TG_REDIS_SHA1)
        return false;
    memcpy(r->sha, reply->str, TG_REDIS_SHA1);
    return true;
}

static void answer_greeting(struct tg_redis *r, const struct redis_call *c, const redisReply *reply)
{
    char why[320];

    if (reply->type == REDIS_REPLY_ERROR) {
        refusal(c->kind, text_of(reply), why, sizeof(why));
        tg_redis_lost(r, why);
    } else if (!is_expected(r, c->kind, reply)) {
        tg_redis_lost(r, "it does not answer as a Redis server");
    } else if (r->call_count == 0) {
        r->state = REDIS_UP;
        r->up_since_ms = r->worker->now_ms;
        tg_redis_tell(r, true, "");
    }
}

static bool is_unknown_script(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && tg_slice_starts_with(text_of(reply), TG_S("NOSCRIPT"));
}

static void tell_answer(struct tg_redis *r, const struct redis_call *c, const redisReply *reply)
{
    struct tg_redis_answer a = {.sent_us = c->sent_us, .answered_us = r->read_us, .numbers = r->numbers};

    if (reply->type == REDIS_REPLY_ERROR)
        a.error = error_of(reply);
    else if (tg_redis_reply_numbers(reply, r->numbers, &a.count))
        a.ok = true;
    else
        a.error = TG_S("ERR the answer is not a list of integers");
    if (c->done)
        c->done(c->arg, &a);
}

/* True: `c` lives on. */
static bool answer_eval(struct tg_redis *r, struct redis_call *c, const redisReply *reply)
{
    if (c->kind != CALL_EVAL)                            /* loaded again; if it was refused the next answer tells */
        return false;
    if (is_unknown_script(reply) && !c->again && c->done) {
        c->again = true;
        load_script(r);
        send_call(r, c);
        return true;
    }
    tell_answer(r, c, reply);
    return false;
}

/* False: the link is not what it was, or is gone. */
static bool on_reply(struct tg_redis *r, const redisReply *reply)
{
    struct redis_call *c = shift_call(r);
    enum redis_state before = r->state;
    char why[320];

    if (reply->type == REDIS_REPLY_ERROR)
        r->counts.errors++;
    if (!c) {
        snprintf(why, sizeof(why), "it said what nobody had asked for: %.*s",
                 reply->type == REDIS_REPLY_ERROR ? (int)(reply->len < 200 ? reply->len : 200) : 0,
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "");
        tg_redis_lost(r, why);
        return false;
    }
    if (r->call_count == 0)
        tg_deadline_rest(&r->timer);
    else
        tg_deadline_set(&r->worker->wheel, &r->timer, r->worker->now_ms + r->options.dead_ms);
    if (before == REDIS_GREETING) {
        answer_greeting(r, c, reply);
        free_call(c);
    } else if (!answer_eval(r, c, reply)) {
        free_call(c);
    }
    return !r->freed && r->state >= REDIS_GREETING;
}

static void read_answers(struct tg_redis *r)
{
    redisReply *reply;
    struct tg_err err;
    enum tg_status st;
    bool goes_on = true;

    while (goes_on && (st = tg_redis_reader_next(r->reader, &reply, &err)) != TG_AGAIN) {
        if (st != TG_OK) {
            tg_redis_lost(r, err.text);
            return;
        }
        goes_on = on_reply(r, reply);
        freeReplyObject(reply);
    }
}

void tg_redis_read(struct tg_redis *r)
{
    struct tg_stream *s = &r->stream;
    ssize_t n = tg_stream_read(s, r->worker->scratch, TG_SCRATCH_BYTES);
    char why[320];

    if (n == -1)
        return;
    r->read_us = tg_clock_mono_us();
    tg_redis_enter(r);
    if (n == 0) {
        tg_redis_lost(r, "it closed the connection");
    } else if (n < 0) {
        snprintf(why, sizeof(why), "the connection broke: %s",
                 *tg_stream_tls_error(s) ? tg_stream_tls_error(s) : strerror(errno));
        tg_redis_lost(r, why);
    } else {
        tg_redis_reader_feed(r->reader, r->worker->scratch, (size_t)n);
        read_answers(r);
    }
    tg_redis_leave(r);
}

void tg_redis_drop_calls(struct tg_redis *r, bool tell)
{
    const struct tg_redis_answer a = {.lost = true, .answered_us = tg_clock_mono_us()};
    struct redis_call *c = r->calls;

    r->calls = NULL;
    r->calls_tail = &r->calls;
    r->call_count = 0;
    while (c) {
        struct redis_call *next = c->next;
        struct tg_redis_answer mine = a;

        mine.sent_us = c->sent_us;
        if (tell && !r->freed && c->done)
            c->done(c->arg, &mine);
        free_call(c);
        c = next;
    }
}

/* ---- from outside ---- */

static struct tg_slice keep(struct tg_arena *arena, struct tg_slice s)
{
    return s.len > 0 ? tg_slice(tg_arena_str(arena, s), s.len) : tg_slice(NULL, 0);
}

struct tg_redis *tg_redis_new(struct tg_worker *w, struct tg_resolver *resolver, const struct tg_redis_options *options)
{
    struct tg_redis *r = TG_NEW(struct tg_redis);
    struct tg_redis_address *a = &r->options.address;

    r->worker = w;
    r->resolver = resolver;
    r->options = *options;
    tg_arena_init(&r->arena, NULL, 0);
    a->host = keep(&r->arena, a->host);
    a->path = keep(&r->arena, a->path);
    a->username = keep(&r->arena, a->username);
    a->password = keep(&r->arena, a->password);
    r->options.ca_file = keep(&r->arena, options->ca_file);
    if (options->dead_ms <= 0)
        r->options.dead_ms = DEAD_MS;
    r->stream.fd = -1;
    r->calls_tail = &r->calls;
    r->numbers = TG_NEW_ARRAY(int64_t, TG_REDIS_ELEMENTS);
    tg_redis_connect_soon(r);
    return r;
}

void tg_redis_free(struct tg_redis *r)
{
    if (!r || r->freed)
        return;
    r->freed = true;
    tg_redis_hang_up(r);
    tg_redis_drop_calls(r, false);
    tg_tls_client_unref(r->tls);
    if (r->options.address.password.len > 0)
        explicit_bzero((char *)(uintptr_t)r->options.address.password.ptr, r->options.address.password.len);
    tg_arena_fini(&r->arena);
    free(r->numbers);
    free(r->argv);
    free(r->argv_len);
    tg_redis_enter(r);
    tg_redis_leave(r);
}

bool tg_redis_is_up(const struct tg_redis *r) { return r->state == REDIS_UP; }

void tg_redis_counts(const struct tg_redis *r, struct tg_redis_counts *out) { *out = r->counts; }

/* EVALSHA digest number-of-keys keys... arguments... */
static void fill_argv(struct tg_redis *r, const char *number, const struct tg_slice *keys, size_t key_count,
                      const struct tg_slice *args, size_t arg_count)
{
    const struct tg_slice head[] = {TG_S("EVALSHA"), tg_slice(r->sha, TG_REDIS_SHA1), tg_slice_str(number)};
    size_t count = ARRAY_LEN(head) + key_count + arg_count;

    if (count > r->argv_room) {
        r->argv_room = 2 * count;
        r->argv = tg_realloc(r->argv, r->argv_room * sizeof(*r->argv));
        r->argv_len = tg_realloc(r->argv_len, r->argv_room * sizeof(*r->argv_len));
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = i - ARRAY_LEN(head);
        struct tg_slice word = i < ARRAY_LEN(head) ? head[i] : at < key_count ? keys[at] : args[at - key_count];

        r->argv[i] = word.len > 0 ? word.ptr : "";
        r->argv_len[i] = word.len;
    }
}

bool tg_redis_eval(struct tg_redis *r, const struct tg_slice *keys, size_t key_count, const struct tg_slice *args,
                   size_t arg_count, void (*done)(void *arg, const struct tg_redis_answer *answer), void *arg)
{
    char number[24];
    struct redis_call *c;

    if (r->state != REDIS_UP || r->freed || r->call_count >= CALLS_MAX || tg_stream_backlog(&r->stream) > BACKLOG_MAX)
        return false;
    snprintf(number, sizeof(number), "%zu", key_count);
    fill_argv(r, number, keys, key_count, args, arg_count);
    c = new_call(CALL_EVAL, (int)(3 + key_count + arg_count), r->argv, r->argv_len);
    c->done = done;
    c->arg = arg;
    send_call(r, c);
    return true;
}

void tg_redis_eval_last(struct tg_redis *r, const struct tg_slice *keys, size_t key_count, const struct tg_slice *args,
                        size_t arg_count)
{
    r->options.changed = NULL;
    tg_redis_eval(r, keys, key_count, args, arg_count, NULL, NULL);
}

void tg_redis_wait(struct tg_redis *r, int64_t most_ms)
{
    int64_t until_ms = tg_clock_mono_ms() + most_ms, left_ms;

    tg_redis_enter(r);
    while (!r->freed && r->state == REDIS_UP && r->call_count > 0 && (left_ms = until_ms - tg_clock_mono_ms()) > 0) {
        struct pollfd p = {.fd = r->stream.fd, .events = POLLIN};

        if (tg_stream_backlog(&r->stream) > 0)
            break;                                       /* only the loop writes the rest */
        if (poll(&p, 1, (int)left_ms) > 0)
            tg_redis_read(r);
    }
    tg_redis_leave(r);
}
