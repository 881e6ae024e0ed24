/*
 * generation - a mapped counter, and behind it the time at which its file was made, in milliseconds since 1970. Of a
 * file that was cut both read as zero, which differs from what was remembered.
 */
#include "io/generation.h"
#include "base/clock.h"
#include "base/file.h"
#include "io/lost_page.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE 16
#define RENEWED_SHIFT 48                                 /* a file is bumped far less often than 2^48 times */

struct tg_generation {
    char *path;
    _Atomic uint64_t *mapped;                            /* [0] the counter, [1] the time */
    _Atomic uint64_t renewed;                            /* how often another file was mapped */
    dev_t device;
    ino_t inode;
};

/* ---- the file ---- */

/* Written, not only made longer: a hole has no place on a disk that is full, and storing into it would be SIGBUS. */
static bool fill(int fd)
{
    uint64_t words[] = {0, (uint64_t)tg_clock_wall_ms()};
    struct stat st;
    bool ok;

    _Static_assert(sizeof words == SIZE, "counter and time");

    if (flock(fd, LOCK_EX) != 0)                         /* two may find it empty */
        return false;
    ok = fstat(fd, &st) == 0;
    if (ok && st.st_size < SIZE)
        ok = pwrite(fd, words, SIZE, 0) == SIZE;
    flock(fd, LOCK_UN);
    return ok;
}

/* `at` NULL: anywhere; else there, in the place of what was mapped before, in one step for all who read. */
static enum tg_status map_file(struct tg_generation *g, void *at, void **page, struct tg_err *err)
{
    int fd = open(g->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    enum tg_status st = TG_OK;
    struct stat file;

    if (fd < 0)
        return tg_file_fail(err, g->path, "cannot be opened");
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) {
        st = tg_fail(err, TG_BAD_INPUT, "%s: is no file", g->path);
    } else if (!fill(fd)) {
        st = tg_file_fail(err, g->path, "cannot be written");
    } else {
        *page = mmap(NULL, TG_LOST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (*page != MAP_FAILED && at)                   /* moved over the other */
            *page = mremap(*page, TG_LOST_PAGE, TG_LOST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at);
        if (*page == MAP_FAILED)
            st = tg_file_fail(err, g->path, "cannot be mapped");
    }
    close(fd);
    if (st == TG_OK) {
        g->device = file.st_dev;
        g->inode = file.st_ino;
    }
    return st;
}

/* ---- the counter ---- */

enum tg_status tg_generation_open(const char *path, struct tg_generation **out, struct tg_err *err)
{
    struct tg_generation *g = TG_NEW(struct tg_generation);
    enum tg_status st;
    void *page = NULL;

    g->path = tg_slice_dup(tg_slice_str(path));
    st = map_file(g, NULL, &page, err);
    if (st != TG_OK) {
        free(g->path);
        free(g);
        return st;
    }
    g->mapped = page;
    tg_lost_page_watch(page);
    *out = g;
    return TG_OK;
}

void tg_generation_close(struct tg_generation *g)
{
    if (!g)
        return;
    tg_lost_page_forget(g->mapped);
    munmap(g->mapped, TG_LOST_PAGE);
    free(g->path);
    free(g);
}

uint64_t tg_generation_now(const struct tg_generation *g)
{
    return atomic_load_explicit(g->mapped, memory_order_acquire) +
           (atomic_load_explicit(&g->renewed, memory_order_relaxed) << RENEWED_SHIFT);
}

bool tg_generation_is_young(const struct tg_generation *g)
{
    int64_t made_ms = (int64_t)atomic_load(&g->mapped[1]);

    return made_ms != 0 && tg_clock_wall_ms() - made_ms < TG_GENERATION_YOUNG_MS;
}

void tg_generation_is_first(struct tg_generation *g)
{
    atomic_store(&g->mapped[1], 0);
}

void tg_generation_bump(struct tg_generation *g)
{
    atomic_fetch_add(g->mapped, 1);
}

enum tg_status tg_generation_renew(struct tg_generation *g, bool *renewed, struct tg_err *err)
{
    enum tg_status result;
    struct stat st;
    void *page;

    *renewed = false;
    if (stat(g->path, &st) == 0 && st.st_dev == g->device && st.st_ino == g->inode && st.st_size >= SIZE)
        return TG_OK;
    result = map_file(g, g->mapped, &page, err);
    if (result != TG_OK)
        return result;
    tg_generation_void(g);
    *renewed = true;
    return TG_OK;
}

uint64_t tg_generation_void(struct tg_generation *g)
{
    atomic_fetch_add(&g->renewed, 1);
    return UINT64_C(1) << RENEWED_SHIFT;
}
