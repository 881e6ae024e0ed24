/*
 * file - whole files in, whole files out.
 */
#include "base/file.h"
#include "base/clock.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX ((size_t)65536)
#define CHUNK ((size_t)16384)

enum tg_status tg_file_fail(struct tg_err *err, const char *path, const char *what)
{
    int e = errno;
    enum tg_status st = TG_IO;

    if (e == ENOENT || e == ENOTDIR)
        st = TG_NOT_FOUND;
    else if (e == EACCES || e == EPERM || e == EROFS)
        st = TG_DENIED;
    return tg_fail(err, st, "%s: %s: %s", path, what, e == ETIMEDOUT ? "nobody writes to this pipe" : strerror(e));
}

/* ---- waiting for a pipe, and not for ever: whoever reloads is who obeys SIGTERM ---- */

int tg_file_open(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* A pipe is empty, too, before its writer has come. */
static bool may_have_no_writer_yet(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* 0: something has happened. */
static int wait_for_writer(int fd, int64_t until_ms)
{
    int64_t left_ms = until_ms - tg_clock_mono_ms();
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int n = left_ms > 0 ? poll(&one, 1, (int)left_ms) : 0;

    if (n > 0 || (n < 0 && errno == EINTR))
        return 0;
    if (n == 0)
        errno = ETIMEDOUT;
    return -1;
}

ssize_t tg_file_take(int fd, void *into, size_t room, bool first, int64_t until_ms)
{
    for (;;) {
        ssize_t n = read(fd, into, room);

        if (n == 0 && first && may_have_no_writer_yet(fd))
            first = false;                               /* after the wait there was one: it said nothing */
        else if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            return n;
        if (wait_for_writer(fd, until_ms) != 0)
            return -1;
    }
}

/* Reads to the end: what fstat says is no bound, for files grow and a pipe has no size. */
static enum tg_status read_all(int fd, const char *path, size_t max, struct tg_buf *got, struct tg_err *err)
{
    int64_t until_ms = tg_clock_mono_ms() + TG_FILE_PATIENCE_MS;

    for (;;) {
        ssize_t n;

        tg_buf_reserve(got, CHUNK);
        n = tg_file_take(fd, got->data + got->len, CHUNK, got->len == 0, until_ms);
        if (n == 0)
            return TG_OK;
        if (n < 0)
            return tg_file_fail(err, path, "cannot be read");
        got->len += (size_t)n;
        if (got->len > max)
            return tg_fail(err, TG_LIMIT, "%s: larger than %zu bytes", path, max);
    }
}

enum tg_status tg_file_read(const char *path, size_t max, struct tg_buf *out, struct tg_err *err)
{
    struct tg_buf got = {0};
    enum tg_status st;
    int fd = tg_file_open(path);

    if (fd < 0)
        return tg_file_fail(err, path, "cannot be opened");
    st = read_all(fd, path, max, &got, err);
    close(fd);
    if (st != TG_OK) {
        tg_buf_wipe(&got);                               /* it may have been a secret */
        return st;
    }
    tg_buf_fini(out);
    *out = got;
    return TG_OK;
}

enum tg_status tg_file_read_secret(const char *path, struct tg_buf *out, struct tg_err *err)
{
    struct tg_buf got = {0};
    enum tg_status st = tg_file_read(path, SECRET_MAX, &got, err);

    if (st != TG_OK)
        return st;
    if (got.len && got.data[got.len - 1] == '\n') {
        got.len--;
        if (got.len && got.data[got.len - 1] == '\r')
            got.len--;
    }
    if (got.len == 0) {
        tg_buf_fini(&got);
        return tg_fail(err, TG_BAD_INPUT, "%s: the file is empty", path);
    }
    tg_buf_fini(out);
    *out = got;
    return TG_OK;
}

static bool write_all(int fd, struct tg_slice data)
{
    while (data.len) {
        ssize_t n = write(fd, data.ptr, data.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data.ptr += n;
        data.len -= (size_t)n;
    }
    return true;
}

/* The new name is safe only when the folder is, too. A folder that cannot be opened (no read permission) is let be. */
static bool sync_folder(const char *path)
{
    char *folder = tg_file_beside(path, ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd < 0 || fsync(fd) == 0 || errno == EINVAL;

    if (fd >= 0)
        close(fd);
    free(folder);
    return ok;
}

enum tg_status tg_file_replace(const char *path, struct tg_slice data, unsigned mode, struct tg_err *err)
{
    struct tg_buf name = {0};
    enum tg_status st = TG_OK;
    int fd;

    tg_buf_addf(&name, "%s.XXXXXX", path);
    tg_buf_cstr(&name);
    fd = mkostemp(name.data, O_CLOEXEC);
    if (fd < 0) {
        st = tg_file_fail(err, path, "cannot be written");
        tg_buf_fini(&name);
        return st;
    }
    if (fchmod(fd, (mode_t)mode) != 0 || !write_all(fd, data) || fsync(fd) != 0) {
        st = tg_file_fail(err, path, "cannot be written");
        close(fd);
        goto out;
    }
    if (close(fd) != 0 || rename(name.data, path) != 0) {
        st = tg_file_fail(err, path, "cannot be written");
        goto out;
    }
    if (!sync_folder(path))
        st = tg_file_fail(err, path, "its folder cannot be synced");
out:
    if (st != TG_OK)
        unlink(name.data);                               /* gone already after the rename */
    tg_buf_fini(&name);
    return st;
}

char *tg_file_beside(const char *base_file, const char *path)
{
    const char *slash = strrchr(base_file, '/');
    struct tg_buf joined = {0};

    if (path[0] != '/' && slash)
        tg_buf_add(&joined, base_file, (size_t)(slash - base_file) + 1);
    tg_buf_adds(&joined, path);
    tg_buf_cstr(&joined);
    return joined.data;
}

static uint64_t nanoseconds(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

uint64_t tg_file_stamp(const char *path)
{
    struct stat st;
    uint64_t sum;

    if (stat(path, &st) != 0)
        return 1;
    sum = tg_hash2((uint64_t)st.st_dev, (uint64_t)st.st_ino);
    sum = tg_hash2(tg_hash2(sum, nanoseconds(&st.st_mtim)), nanoseconds(&st.st_ctim));
    return tg_hash2(sum, (uint64_t)st.st_size) | 2;
}

bool tg_file_is_open_to_all(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && (st.st_mode & S_IROTH);
}
