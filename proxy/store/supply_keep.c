/*
 * supply_keep - what is in force, in state_dir: written when it changes, and now and then because the source was heard.
 */
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "supply_internal.h"

#define KEEP_FIRST_MS 1000                               /* `heard` is written down after a tenth of max_stale, */
#define KEEP_LAST_MS (10 * 60000)                        /* within these bounds */

const char *supply_source(const char *name)
{
    static const char *const names[] = {"sync", "bundle", "management"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return names[i];
    tg_panic(__FILE__, __LINE__, "a source of policies that nobody knows");
}

void supply_origin(const char *words, char out[static SUPPLY_ORIGIN])
{
    uint8_t digest[TG_SHA256_LEN];

    tg_sha256(tg_slice_str(words), digest);
    tg_hex(digest, sizeof digest, out);
}

char *supply_path(const char *state_dir)
{
    struct tg_buf path = {0};
    char *out;

    if (!state_dir)
        return NULL;
    tg_buf_addf(&path, "%s/" SUPPLY_FILE, state_dir);
    out = tg_slice_dup(tg_buf_slice(&path));
    tg_buf_fini(&path);
    return out;
}

int64_t supply_heard(int64_t then_ms)
{
    int64_t now_ms = tg_clock_wall_ms();

    return then_ms < now_ms ? then_ms : now_ms;
}

/* ---- reading ---- */

enum tg_status tg_supply_read(const struct tg_supply_settings *settings, struct tg_set **out,
                              struct tg_supply_meta *meta, struct tg_err *err)
{
    struct supply_kept kept = {.source = supply_source(settings->source)};
    char *path = supply_path(settings->state_dir);
    enum tg_status st;

    supply_origin(settings->origin, kept.origin);
    st = path ? supply_read(path, &kept, err) : tg_fail(err, TG_NOT_FOUND, "nothing is kept: there is no state_dir");
    free(path);
    if (st != TG_OK)
        return st;
    *out = kept.set;
    *meta = kept.meta;
    return TG_OK;
}

static enum tg_status read_kept(const struct tg_supply *s, struct supply_kept *kept, struct tg_err *err)
{
    memcpy(kept->origin, s->origin, sizeof kept->origin);
    return s->path ? supply_read(s->path, kept, err)
                   : tg_fail(err, TG_NOT_FOUND, "nothing is kept: there is no state_dir");
}

enum tg_status tg_supply_restore(struct tg_supply *s, struct tg_err *err)
{
    struct supply_kept kept = {.source = s->source};
    struct tg_err why = {0};
    enum tg_status st = read_kept(s, &kept, &why);

    if (st != TG_OK) {
        tg_log(st == TG_BAD_INPUT ? TG_LOG_ERROR : TG_LOG_INFO, "no policies of a former run",
               TG_F_STR("reason", why.text));
        return tg_fail(err, st, "%s", why.text);
    }
    kept.meta.heard_ms = supply_heard(kept.meta.heard_ms);
    pthread_mutex_lock(&s->lock);
    supply_drop(&s->waiting);
    s->waiting = (struct held){kept.set, kept.meta};
    supply_reach(s, kept.meta.sequence);
    pthread_mutex_unlock(&s->lock);
    return TG_OK;
}

/* ---- writing ---- */

static int64_t pause_ms(const struct tg_supply *s)
{
    int64_t tenth = s->max_stale_ms / 10;

    return tenth == 0 || tenth > KEEP_LAST_MS ? KEEP_LAST_MS : tenth < KEEP_FIRST_MS ? KEEP_FIRST_MS : tenth;
}

/* Whether it is time to write; then a copy of what is to be written, with a reference. */
static bool is_due(struct tg_supply *s, struct supply_kept *out)
{
    int64_t now_ms = tg_clock_mono_ms();
    bool due;

    pthread_mutex_lock(&s->lock);
    due = s->path && s->unwritten && s->current.set && (!s->written_ms || now_ms - s->written_ms >= pause_ms(s));
    if (due) {
        s->unwritten = false;
        s->written_ms = now_ms;
        *out = (struct supply_kept){tg_set_ref(s->current.set), s->current.meta, s->source, {0}};
        memcpy(out->origin, s->origin, sizeof out->origin);
    }
    pthread_mutex_unlock(&s->lock);
    return due;
}

void supply_keep(struct tg_supply *s)
{
    struct tg_buf text = {0};
    struct supply_kept kept;
    struct tg_err err = {0};

    if (!is_due(s, &kept))
        return;
    supply_write(&kept, &text);
    if (tg_file_replace(s->path, tg_buf_slice(&text), 0600, &err) == TG_OK) {
        s->unwritable = false;
    } else if (!s->unwritable) {
        s->unwritable = true;
        tg_log(TG_LOG_WARN, "policies are not kept: the next start will need their source",
               TG_F_STR("source", s->source), TG_F_STR("error", err.text));
    }
    tg_buf_fini(&text);
    tg_set_unref(kept.set);
}
