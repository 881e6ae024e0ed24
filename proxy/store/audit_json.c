/*
 * audit_json - an entry as the API and `tollgate audit` show it.
 *
 * Its id is a UUID that nobody has to store: version 7 (RFC 9562 §5.7), of its time and its number in the table, so ids
 * are in the order of time, and the same whoever asks.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "store/audit.h"

static void add_id(struct tg_buf *out, int64_t time_us, int64_t n)
{
    uint64_t ms = (uint64_t)(time_us / 1000) & 0xffffffffffff, number = (uint64_t)n & 0x3fffffffffffffff;
    unsigned us = (unsigned)(time_us % 1000) & 0xfff;

    tg_buf_addf(out, "%08llx-%04llx-7%03x-%04llx-%012llx", (unsigned long long)(ms >> 16),
                (unsigned long long)(ms & 0xffff), us, (unsigned long long)(0x8000 | number >> 48),
                (unsigned long long)(number & 0xffffffffffff));
}

static void add_text(struct tg_buf *out, const char *name, struct tg_slice value)
{
    tg_buf_addf(out, ",\"%s\":", name);
    tg_log_json_string(out, value);
}

void tg_audit_json(const struct tg_audit_entry *entry, int64_t n, struct tg_buf *out)
{
    tg_buf_adds(out, "{\"id\":\"");
    add_id(out, entry->time_us, n);
    tg_buf_adds(out, "\",\"timestamp\":\"");
    tg_clock_add_s(out, entry->time_us / 1000000);       /* as all times of v1 */
    tg_buf_addc(out, '"');
    add_text(out, "actor", entry->actor);
    add_text(out, "action", entry->action);
    add_text(out, "resource", entry->resource);
    tg_buf_adds(out, ",\"details\":");
    tg_buf_add_slice(out, entry->details.len ? entry->details : TG_S("{}"));
    add_text(out, "source_ip", entry->source_ip);
    add_text(out, "result", entry->result);
    add_text(out, "request_id", entry->request_id);
    tg_buf_addc(out, '}');
}
