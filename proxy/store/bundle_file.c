/*
 * bundle_file - a bundle in a file, looked at each second.
 *
 * What counts is what stands behind the name, also behind symbolic links: a mounted ConfigMap is swapped by renaming a
 * link to a folder. A file that is being written is no good bundle yet; that is told once two looks agree.
 */
#include "base/file.h"
#include "bundle_internal.h"
#include <sys/stat.h>

#define LOOK_MS 1000
#define SOON_MS 200                                      /* after the first look at something new and not good */

static enum tg_status read_file(struct tg_bundle_source *s, struct tg_err *err)
{
    struct tg_buf text = {0};
    struct stat is;
    enum tg_status st;

    if (stat(s->file, &is) == 0 && !S_ISREG(is.st_mode)) /* might be waited for without an end */
        return tg_fail(err, TG_BAD_INPUT, "%s: not a file", s->file);
    st = tg_file_read(s->file, TG_BUNDLE_BYTES, &text, err);
    if (st == TG_OK)
        st = bundle_take(s, s->file, tg_buf_slice(&text), err);
    tg_buf_fini(&text);
    return st;
}

static void plan_again(struct tg_bundle_source *s)
{
    s->refused = 0;
    s->again_ms = tg_clock_mono_ms() + s->interval_ms;
}

static void read_again(struct tg_bundle_source *s, uint64_t signature, bool rested)
{
    struct tg_err err = {0};
    enum tg_status st = read_file(s, &err);

    if (st == TG_AGAIN)
        return;                                          /* at the next look */
    plan_again(s);
    if (st == TG_OK) {
        s->taken = signature;
    } else if (rested) {
        s->refused = signature;
        bundle_fail(s, err.text);
    }
}

void bundle_file_look(struct tg_bundle_source *s)
{
    uint64_t now = tg_file_stamp(s->file);
    bool due = tg_clock_mono_ms() >= s->again_ms;
    bool rested = now == s->last || s->last == 0;        /* at the start nobody is waited for */
    bool changed = !rested && !s->restless;

    s->last = now;
    s->restless = !rested;
    if (now == s->taken) {
        if (due || s->trouble[0]) {
            bundle_confirm(s);
            plan_again(s);
        }
    } else if (now != s->refused || due) {
        read_again(s, now, rested);
    }
    bundle_plan(s, changed && now != s->taken ? SOON_MS : s->interval_ms < LOOK_MS ? s->interval_ms : LOOK_MS);
}
