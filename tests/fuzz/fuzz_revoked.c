/*
 * fuzz_revoked - a feed of revoked tokens: whatever the bytes, no crash; where it was cut, the whole is known to have
 * grown from the part, and has all entries of it.
 *
 * The first byte says where the feed is cut (in 256ths).
 */
#include "../../proxy/auth/revoked_set.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tg_status read_feed(const uint8_t *data, size_t size, const struct tg_revoked_extent *before,
                                struct tg_revoked_feed *out)
{
    static int fd = -1;
    char path[64];
    struct tg_err err;

    if (fd < 0)
        fd = memfd_create("feed", 0);
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return tg_revoked_read(path, before, 1700000000, out, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_revoked_feed part = {0}, whole = {0};
    size_t cut;

    if (size < 1)
        return 0;
    cut = (size - 1) * data[0] / 256;
    if (read_feed(data + 1, cut, &(struct tg_revoked_extent){0}, &part) != TG_OK)
        return 0;
    if (read_feed(data + 1, size - 1, &part.extent, &whole) == TG_OK) {
        if (!whole.grown || tg_revoked_set_count(whole.set) < tg_revoked_set_count(part.set))
            abort();
        tg_revoked_set_unref(whole.set);
    }
    tg_revoked_set_unref(part.set);
    return 0;
}
