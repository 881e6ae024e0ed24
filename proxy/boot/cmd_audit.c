/*
 * cmd_audit - the audit log as JSON lines, newest first, beside a running process or without any.
 */
#include "base/clock.h"
#include "boot/commands.h"
#include "boot/options.h"
#include "store/audit.h"
#include "token_store.h"
#include <stdio.h>

#define WRITE_BYTES ((size_t)1 << 16)

enum { OPT_FROM = TG_OPT_FIRST_OWN, OPT_TO, OPT_ACTION, OPT_ACTOR, OPT_RESOURCE, OPT_RESULT, OPT_LIMIT };
static const struct tg_option options[] = {
    {OPT_FROM, 0, "from", "TIME", "at or after: 2026-02-12T10:30:00Z, or 2026-02-12 (midnight UTC)"},
    {OPT_TO, 0, "to", "TIME", "before"},
    {OPT_ACTION, 0, "action", "NAME", "exactly, or its beginning with * behind it: policy.*"},
    {OPT_ACTOR, 0, "actor", "WHO", "exactly, as the log has it"},
    {OPT_RESOURCE, 0, "resource", "WHAT", "exactly, or its beginning with * behind it: route:*"},
    {OPT_RESULT, 0, "result", "RESULT", "success, denied or failure"},
    {OPT_LIMIT, 'n', "limit", "NUMBER", "the newest so many"},
    TG_OPTION_CONFIG,
};
static const struct tg_usage usage = {
    .command = "audit",
    .line = "[--from TIME] [--to TIME] [--action NAME] [--actor WHO] [--resource WHAT] [--result RESULT]\n"
            "         [--limit NUMBER] [-c FILE]",
    .about = "Prints the audit log, newest first, one JSON object a line: changes made with the management API, and\n"
             "requests that were denied (`audit` in the configuration says which). A decision is in it a moment after\n"
             "its answer.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate audit --action 'policy.*' --from 2026-02-12\n"
                "  tollgate audit --result denied --limit 20",
};

struct asking {
    struct tg_options o;
    const char *config;
    struct tg_audit_query query;
};

static bool parse_time(struct asking *a, const char *name, const char *text, int64_t *out_us)
{
    struct tg_buf whole = {0};
    int64_t ms = 0;
    bool ok;

    tg_buf_addf(&whole, "%s%s", text, strlen(text) == 10 ? "T00:00:00Z" : "");
    ok = tg_clock_parse(tg_buf_slice(&whole), &ms) && ms > 0;
    tg_buf_fini(&whole);
    if (ok)
        *out_us = ms * 1000;
    else
        a->o.code = tg_usage_error(&usage, "--%s is a time, as in 2026-02-12T10:30:00Z or 2026-02-12", name);
    return ok;
}

static bool parse_result(struct asking *a, const char *text)
{
    if (strcmp(text, "success") == 0 || strcmp(text, "denied") == 0 || strcmp(text, "failure") == 0) {
        a->query.result = tg_slice_str(text);
        return true;
    }
    a->o.code = tg_usage_error(&usage, "--result is success, denied or failure");
    return false;
}

static bool parse_limit(struct asking *a, const char *text)
{
    if (tg_slice_to_u64(tg_slice_str(text), &a->query.limit) && a->query.limit > 0)
        return true;
    a->o.code = tg_usage_error(&usage, "--limit is a whole number from 1");
    return false;
}

static bool take(struct asking *a, int option, const char *value)
{
    switch (option) {
    case OPT_FROM: return parse_time(a, "from", value, &a->query.from_us);
    case OPT_TO: return parse_time(a, "to", value, &a->query.to_us);
    case OPT_ACTION: a->query.action = tg_slice_str(value); return true;
    case OPT_ACTOR: a->query.actor = tg_slice_str(value); return true;
    case OPT_RESOURCE: a->query.resource = tg_slice_str(value); return true;
    case OPT_RESULT: return parse_result(a, value);
    case OPT_LIMIT: return parse_limit(a, value);
    default: a->config = value; return true;
    }
}

struct printing {
    struct tg_buf out;
    bool failed;
};

static void flush(struct printing *p)
{
    if (p->out.len > 0 && fwrite(p->out.data, 1, p->out.len, stdout) != p->out.len)
        p->failed = true;                                /* the reader has gone: the rest is not read, either */
    p->out.len = 0;
}

static void print_entry(void *arg, const struct tg_audit_entry *e, int64_t n)
{
    struct printing *p = arg;

    if (p->failed)
        return;
    tg_audit_json(e, n, &p->out);
    tg_buf_addc(&p->out, '\n');
    if (p->out.len >= WRITE_BYTES)
        flush(p);
}

static int print_all(const struct asking *a)
{
    struct printing p = {0};
    struct tg_db *db = NULL;
    struct tg_err err = {0};
    int code = token_audit_open(a->config, &db);
    enum tg_status st;

    if (code != TG_EXIT_OK)
        return code;
    st = tg_audit_list(db, &a->query, print_entry, &p, NULL, &err);
    flush(&p);
    tg_buf_fini(&p.out);
    tg_db_close(db);
    if (st != TG_OK)
        return token_store_fail(st, &err);
    if (p.failed || fflush(stdout) != 0)
        return tg_complain(TG_EXIT_FAILURE, "cannot write to standard output");
    return TG_EXIT_OK;
}

int tg_cmd_audit(int argc, char **argv)
{
    struct asking a = {0};
    const char *value;
    int option;

    tg_options_start(&a.o, &usage, argc, argv);
    while ((option = tg_options_next(&a.o, &value)) != TG_OPT_END)
        if (option == TG_OPT_EXIT || !take(&a, option, value))
            return a.o.code;
    if (tg_options_extra(&a.o, 0))
        return a.o.code;
    return print_all(&a);
}
