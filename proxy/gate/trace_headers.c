/*
 * trace_headers - how a request was decided, told in its own answer to whoever knows the route's debug_trace.
 *
 * One X-Tollgate-Trace a line: route, identity, tier, the tree that explain prints (its depth as leading dots), the
 * decision last. Bounded; what is no printable ASCII is written as \xNN. Never a token, and nothing at all without the
 * secret: an upstream's own fields of that name are dropped there, so that none is taken for ours.
 */
#include "base/digest.h"
#include "internal.h"

#define TRACE_BYTES 8192                                 /* of all lines */
#define LINE_BYTES 512                                   /* of one: what is longer is cut */
#define LAST_BYTES (2 * LINE_BYTES)                      /* kept free for the last lines */

static const struct tg_slice field_name = TG_S_INIT("X-Tollgate-Trace");

void tg_trace_ask(struct tg_exchange *ex)
{
    static const struct tg_slice name = TG_S_INIT("X-Tollgate-Debug");
    const struct tg_field *found = NULL;

    for (unsigned i = 0; i < ex->head.field_count; i++) {
        const struct tg_field *f = &ex->head.fields[i];

        if (f->id != TG_FIELD_OTHER || !tg_slice_eq_nocase(f->name, name))
            continue;
        if (found)
            return;                                      /* one, or none at all */
        found = f;
    }
    ex->traced = found && tg_equal_ct(found->value, ex->route->debug_trace);
}

void tg_trace_drop(struct tg_head *head)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < head->field_count; i++) {
        if (!tg_slice_eq_nocase(head->fields[i].name, field_name))
            head->fields[kept++] = head->fields[i];
    }
    head->field_count = kept;
}

/* ---- what there is to tell, as text ---- */

/* One octet as it may stand in a field; returns how many it became. */
static size_t put_octet(char *to, char c)
{
    static const char hex[] = "0123456789abcdef";

    if (c >= 0x20 && c < 0x7f) {
        *to = c;
        return 1;
    }
    to[0] = '\\';
    to[1] = 'x';
    to[2] = hex[(unsigned char)c >> 4];
    to[3] = hex[c & 15];
    return 4;
}

/* A value that may hold anything, also what would begin a line of its own. */
static void add_value(struct tg_buf *b, struct tg_slice value)
{
    char octets[4];

    for (size_t i = 0; i < value.len && i < LINE_BYTES; i++)
        tg_buf_add(b, octets, put_octet(octets, value.ptr[i]));
}

static void tell_identity(const struct tg_exchange *ex, struct tg_buf *b)
{
    const struct tg_identity *id = ex->identity;

    tg_buf_adds(b, "identity ");
    if (id) {
        add_value(b, id->subject);
        tg_buf_adds(b, " of ");
        add_value(b, id->provider->name);
        tg_buf_adds(b, " (");
        add_value(b, id->issuer);
        tg_buf_addc(b, ')');
    } else if (ex->pending) {
        tg_buf_addf(b, "none: the token was refused (%s)", ex->auth_reason ? ex->auth_reason : "invalid");
    } else {
        tg_buf_adds(b, "none");
    }
    tg_buf_addc(b, '\n');
}

static void tell_tier(const struct tg_exchange *ex, struct tg_buf *b)
{
    tg_buf_adds(b, "tier ");
    if (ex->charge.tier) {
        add_value(b, ex->charge.tier->name);
        tg_buf_addf(b, ", %u of %u left", ex->charge.remaining, ex->charge.limit);
        if (ex->charge.count > 1) {
            tg_buf_adds(b, " in ");
            add_value(b, ex->charge.windows[ex->charge.telling].window->name);
        }
        tg_buf_addf(b, ", by %s, counter %s", tg_limit_by_name(ex->charge.by), tg_counter_name(ex->charge.counter));
        if (ex->charge.shadow_full)
            tg_buf_adds(b, ", a limit in shadow mode was reached");
    } else {
        tg_buf_adds(b, "none");
    }
    tg_buf_addc(b, '\n');
}

static void tell_verdict(struct tg_buf *b, const char *what, const struct tg_verdict *v,
                         const struct tg_policy_text *texts, size_t count)
{
    const char *names[TG_REASON_COUNT];
    size_t n = tg_reasons_list(v->reasons, names);

    tg_buf_addf(b, "%s %s", what, tg_decision_name(v->decision));
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(b, "%s%s", i ? ", " : ": ", names[i]);
    if (v->policy >= 0 && (size_t)v->policy < count && texts[v->policy].name.len) {
        tg_buf_adds(b, ", by policy ");
        add_value(b, texts[v->policy].name);
    }
}

static void tell_before(struct tg_exchange *ex, struct tg_buf *b)
{
    static const struct tg_fact_set but_content = {.facts = ~TG_FACT_BIT(TG_FACT_MCP_TOOL)};
    struct tg_facts facts = ex->facts;
    struct tg_verdict same;

    if (ex->body_unread)                                 /* then there is no identity, and no claim to know */
        facts.known = &but_content;
    tg_buf_adds(b, "route ");
    add_value(b, ex->route->name);
    tg_buf_addc(b, '\n');
    tell_identity(ex, b);
    tell_tier(ex, b);
    if (ex->judged)
        tg_trace_text(tg_ppl_trace(ex->route->policy, &facts, &ex->arena, &same), 0, false, b);
}

static void tell_last(struct tg_exchange *ex, struct tg_buf *b)
{
    const struct tg_route *route = ex->route;

    if (ex->judged && route->shadow) {
        tell_verdict(b, "in shadow mode", &ex->shadow_verdict, route->shadow_texts, route->shadow_count);
        tg_buf_addc(b, '\n');
    }
    if (ex->judged)
        tell_verdict(b, "decision", &ex->verdict, route->policy_texts, route->policy_count);
    else
        tg_buf_addf(b, "decision %s", tg_decided_name(tg_decided(ex)));
    if (ex->refusal)
        tg_buf_addf(b, "; refused: %s", tg_refusal_name(ex->refusal));
    tg_buf_addc(b, '\n');
}

/* ---- as fields ---- */

struct lines {
    struct tg_exchange *ex;
    struct tg_field *out;
    size_t count, bytes;
};

/* A field's value cannot begin with blanks: a dot for each step of depth. */
static struct tg_slice line_value(struct tg_arena *arena, struct tg_slice line)
{
    static const struct tg_slice cut = TG_S_INIT("...");
    char *out = tg_arena_raw(arena, LINE_BYTES);
    size_t n = 0;

    while (line.len >= 2 && line.ptr[0] == ' ' && line.ptr[1] == ' ' && n < LINE_BYTES / 4) {
        memcpy(out + n, ". ", 2);
        n += 2;
        line = tg_slice(line.ptr + 2, line.len - 2);
    }
    line = tg_slice_trim(line);
    for (size_t i = 0; i < line.len; i++) {
        if (n + 4 + cut.len > LINE_BYTES) {
            memcpy(out + n, cut.ptr, cut.len);
            n += cut.len;
            break;
        }
        n += put_octet(out + n, line.ptr[i]);
    }
    return tg_slice_trim(tg_slice(out, n));
}

/* False: no room for it. */
static bool add_line(struct lines *l, struct tg_slice line, size_t most_lines, size_t most_bytes)
{
    struct tg_slice value = line_value(&l->ex->arena, line);

    if (l->count >= most_lines || l->bytes + value.len > most_bytes)
        return false;
    l->out[l->count++] = (struct tg_field){field_name, value, TG_FIELD_OTHER};
    l->bytes += value.len;
    return true;
}

size_t tg_trace_fields(struct tg_exchange *ex, struct tg_field out[static TG_TRACE_LINES])
{
    struct lines l = {.ex = ex, .out = out};
    struct tg_buf text = {0};
    struct tg_slice rest, line;
    bool room = true;

    tell_before(ex, &text);
    for (rest = tg_buf_slice(&text); room && rest.len > 0;) {
        tg_slice_cut(rest, '\n', &line, &rest);
        room = add_line(&l, line, TG_TRACE_LINES - 3, TRACE_BYTES - LAST_BYTES - 3);
    }
    if (!room)
        add_line(&l, TG_S("..."), TG_TRACE_LINES, TRACE_BYTES);
    text.len = 0;
    tell_last(ex, &text);
    for (rest = tg_buf_slice(&text); rest.len > 0;) {
        tg_slice_cut(rest, '\n', &line, &rest);
        add_line(&l, line, TG_TRACE_LINES, TRACE_BYTES);
    }
    tg_buf_fini(&text);
    return l.count;
}
