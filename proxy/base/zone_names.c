/*
 * zone_names - time zones by their names: where the system's files are, and those that were read before.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "zone_internal.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define NAME_CHARS 100
#define PATH_CHARS 4096
#define FOLDER "/usr/share/zoneinfo"
#define LOOK_AGAIN_MS 1000

/* ---- by name ---- */
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool is_utc(struct tg_slice name)
{
    return tg_slice_eq(name, TG_S("UTC")) || tg_slice_eq(name, TG_S("Etc/UTC"));
}

/* Letters, digits, "_", "+", "-" and single slashes: nothing that leads out of the folder. */
static bool is_safe(struct tg_slice name)
{
    if (name.len == 0 || name.len > NAME_CHARS || name.ptr[name.len - 1] == '/')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (c == '/' ? i == 0 || name.ptr[i - 1] == '/' : !is_letter(c) && !strchr("0123456789_+-", c))
            return false;
        if (c == '\0')
            return false;
    }
    return true;
}

static enum tg_status path_of(struct tg_slice name, char path[static PATH_CHARS], struct tg_err *err)
{
    const char *folder = getenv("TZDIR");
    int len;

    if (!is_safe(name))
        return tg_fail(err, TG_NOT_FOUND, "this is not the name of a time zone, such as Europe/Prague or UTC");
    len = snprintf(path, PATH_CHARS, "%s/" TG_S_FMT, folder && *folder ? folder : FOLDER, TG_S_ARG(name));
    return len < PATH_CHARS ? TG_OK : tg_fail(err, TG_BAD_INPUT, "$TZDIR is too long");
}

static enum tg_status not_found(struct tg_slice name, struct tg_err *err)
{
    return tg_fail(err, TG_NOT_FOUND, "there is no time zone " TG_S_FMT " on this system; names are as Europe/Prague "
                   "or UTC, with the same capitals", TG_S_ARG(name));
}

static enum tg_status load(struct tg_slice name, const char *path, struct tg_arena *arena, const struct tg_zone **out,
                           struct tg_err *err)
{
    struct tg_buf content = {0};
    struct tg_err why = {0};
    enum tg_status st = tg_file_read(path, TG_ZONE_BYTES, &content, &why);

    if (st == TG_NOT_FOUND)
        return not_found(name, err);
    if (st != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "%s", why.text);
    st = tg_zone_read(tg_buf_slice(&content), arena, out, &why);
    tg_buf_fini(&content);
    return st == TG_OK ? TG_OK : tg_fail(err, TG_BAD_INPUT, "%s: %s", path, why.text);
}

/* What stands at the path; a folder of zones is no zone. */
static enum tg_status look(struct tg_slice name, const char *path, struct stat *st, struct tg_err *err)
{
    if (stat(path, st) != 0 || S_ISDIR(st->st_mode))
        return not_found(name, err);
    return S_ISREG(st->st_mode) ? TG_OK : tg_fail(err, TG_BAD_INPUT, "%s: not a file", path);
}

enum tg_status tg_zone_load(struct tg_slice name, struct tg_arena *arena, const struct tg_zone **out,
                            struct tg_err *err)
{
    char path[PATH_CHARS];
    struct stat st;
    enum tg_status status;

    if (is_utc(name)) {
        *out = &tg_zone_utc;
        return TG_OK;
    }
    status = path_of(name, path, err);
    if (status == TG_OK)
        status = look(name, path, &st, err);
    return status == TG_OK ? load(name, path, arena, out, err) : status;
}

/* ---- what was read before ---- */
struct kept {
    struct tg_arena memory;
    const struct tg_zone *zone;
    struct stat file;
    int64_t looked_ms;                                   /* when the file was this one last */
    struct kept *older;                                  /* replaced, perhaps still in use */
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tg_map *kept_zones;                        /* path to struct kept */

static struct kept *find_kept(const char *path)
{
    if (!kept_zones)
        kept_zones = tg_map_new(NULL);
    return tg_map_get(kept_zones, tg_slice_str(path));
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A new file gets a new entry before the old one: whoever has the old zone keeps it. */
static enum tg_status read_anew(struct tg_slice name, const char *path, const struct stat *file, struct kept **kept,
                                struct tg_err *err)
{
    struct kept *made = TG_NEW(struct kept);
    enum tg_status status = load(name, path, &made->memory, &made->zone, err);

    if (status != TG_OK) {
        tg_arena_fini(&made->memory);
        free(made);
        return status;
    }
    made->file = *file;
    made->older = *kept;
    tg_map_put(kept_zones, tg_slice_str(path), made);
    *kept = made;
    return TG_OK;
}

static enum tg_status get_locked(struct tg_slice name, const char *path, const struct tg_zone **out, struct tg_err *err)
{
    struct kept *kept = find_kept(path);
    int64_t now_ms = tg_clock_mono_ms();
    enum tg_status status = TG_OK;
    struct stat file;

    if (!kept || now_ms - kept->looked_ms >= LOOK_AGAIN_MS) {
        status = look(name, path, &file, err);
        if (status == TG_OK && (!kept || !same_file(&kept->file, &file)))
            status = read_anew(name, path, &file, &kept, err);
        if (status != TG_OK)
            return status;
        kept->looked_ms = now_ms;
    }
    *out = kept->zone;
    return TG_OK;
}

enum tg_status tg_zone_get(struct tg_slice name, const struct tg_zone **out, struct tg_err *err)
{
    char path[PATH_CHARS];
    enum tg_status status;

    if (is_utc(name)) {
        *out = &tg_zone_utc;
        return TG_OK;
    }
    status = path_of(name, path, err);
    if (status != TG_OK)
        return status;
    pthread_mutex_lock(&lock);
    status = get_locked(name, path, out, err);
    pthread_mutex_unlock(&lock);
    return status;
}

const struct tg_zone *tg_zone_kept(struct tg_slice name)
{
    const struct tg_zone *zone = &tg_zone_utc;
    char path[PATH_CHARS];
    struct kept *kept;

    if (is_utc(name))
        return zone;
    tg_assert(path_of(name, path, NULL) == TG_OK);
    pthread_mutex_lock(&lock);
    kept = find_kept(path);
    tg_assert(kept);
    zone = kept->zone;
    pthread_mutex_unlock(&lock);
    return zone;
}
