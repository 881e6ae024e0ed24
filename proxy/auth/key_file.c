/*
 * key_file - written beside, then linked to its name.
 */
#include "key_file.h"
#include "base/digest.h"
#include "base/file.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum tg_status tg_key_file_keep(const char *path, struct tg_slice pem, struct tg_err *err)
{
    struct tg_buf beside = {0};
    enum tg_status st;
    char unique[37];

    tg_uuid(unique);
    tg_buf_addf(&beside, "%s.%s", path, unique);
    st = tg_file_replace(tg_buf_cstr(&beside), pem, 0600, err);
    if (st == TG_OK && link(beside.data, path) != 0) {
        if (errno == EEXIST)
            st = tg_fail(err, TG_DENIED, "%s: another process made it", path);
        else if (rename(beside.data, path) != 0)         /* a file system without hard links */
            st = tg_fail(err, TG_IO, "%s: cannot be written: %s", path, strerror(errno));
    }
    unlink(beside.data);
    tg_buf_fini(&beside);
    return st;
}
