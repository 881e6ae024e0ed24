/*
 * log - JSON lines: the program's own log, and a sink with a thread of its own for the access log.
 *
 * tg_log writes one line to stderr at once; it is for start, reload, and trouble, not for requests. A sink takes whole
 * lines from any thread into a bounded ring; its thread writes them; when the ring is full the line is dropped and
 * counted, never waited for. Control bytes and invalid UTF-8 are escaped, so a line is always one line.
 * No field may hold a token, a secret or an Authorization value.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

enum tg_log_level { TG_LOG_OFF = -1, TG_LOG_ERROR, TG_LOG_WARN, TG_LOG_INFO, TG_LOG_DEBUG };

struct tg_log_field {
    const char *name;                                    /* NULL ends the list */
    enum { TG_LOG_STR, TG_LOG_INT } kind;
    struct tg_slice str;
    int64_t num;
};
#define TG_F_STR(n, s) ((struct tg_log_field){(n), TG_LOG_STR, tg_slice_str(s), 0})
#define TG_F_SLICE(n, s) ((struct tg_log_field){(n), TG_LOG_STR, (s), 0})
#define TG_F_INT(n, v) ((struct tg_log_field){(n), TG_LOG_INT, {NULL, 0}, (int64_t)(v)})

void tg_log_set_level(enum tg_log_level level);          /* default info */
void tg_log_set_text(bool text);                         /* plain "level message key=value" for a terminal */
bool tg_log_level_parse(struct tg_slice name, enum tg_log_level *out);
void tg_log_fields(enum tg_log_level level, const char *message, const struct tg_log_field *fields);
/* tg_log(TG_LOG_WARN, "keys not refreshed", TG_F_SLICE("issuer", iss), TG_F_INT("age_s", age)) */
#define tg_log(level, message, ...) \
    tg_log_fields((level), (message), (const struct tg_log_field[]){__VA_ARGS__ __VA_OPT__(,) {.name = NULL}})

/* Appends `s` as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void tg_log_json_string(struct tg_buf *out, struct tg_slice s);

struct tg_log_sink;
/*
 * `output`: "stdout", "stderr" or a file path (opened for append, 0640). Starts the thread. `ring_bytes`: how much may
 * wait (0: 4 MiB).
 */
enum tg_status tg_log_sink_open(struct tg_slice output, size_t ring_bytes, struct tg_log_sink **out,
                                struct tg_err *err);
void tg_log_sink_write(struct tg_log_sink *sink, struct tg_slice line);  /* without the newline; any thread */
void tg_log_sink_reopen(struct tg_log_sink *sink);       /* the file by its name again (rotation) */
uint64_t tg_log_sink_dropped(const struct tg_log_sink *sink);
void tg_log_sink_close(struct tg_log_sink *sink);        /* writes what waits, at most a second; NULL is fine */
/* The process ignores SIGPIPE. When closing, a write that never returns is left behind with the sink's thread. */
