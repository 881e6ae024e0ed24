/*
 * notify - datagrams to NOTIFY_SOCKET.
 */
#include "boot/notify.h"
#include "base/buf.h"
#include "base/log.h"
#include <errno.h>
#include <unistd.h>

#define MAX_WATCHDOG_US (UINT64_C(86400) * 1000000 * 365)

static bool read_address(struct tg_notify *n, const char *text)
{
    size_t len = strlen(text);

    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof(n->to.sun_path))
        return false;
    n->to.sun_family = AF_UNIX;
    memcpy(n->to.sun_path, text, len);
    if (text[0] == '@')
        n->to.sun_path[0] = '\0';                        /* abstract: as long as it is, without a NUL at the end */
    n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (text[0] == '/'));
    return true;
}

/* Meant for this process, or for whichever is the service's main one. */
static int64_t read_watchdog(const char *usec, const char *pid)
{
    uint64_t us, who;

    if (!usec || !tg_slice_to_u64(tg_slice_str(usec), &us) || us == 0 || us > MAX_WATCHDOG_US)
        return 0;
    if (pid && *pid && (!tg_slice_to_u64(tg_slice_str(pid), &who) || who != (uint64_t)getpid()))
        return 0;
    return us < 2000 ? 1 : (int64_t)(us / 1000);
}

void tg_notify_init(struct tg_notify *n, const char *(*env)(const char *name))
{
    const char *socket_name = env("NOTIFY_SOCKET");

    *n = (struct tg_notify){.fd = -1};
    if (!socket_name || !*socket_name)
        return;
    if (!read_address(n, socket_name)) {
        tg_log(TG_LOG_WARN, "NOTIFY_SOCKET is no unix socket; nobody is told that tollgate is ready");
        return;
    }
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (n->fd >= 0)
        n->watchdog_ms = read_watchdog(env("WATCHDOG_USEC"), env("WATCHDOG_PID"));
}

void tg_notify_fini(struct tg_notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
    n->watchdog_ms = 0;
}

void tg_notify_send(struct tg_notify *n, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;
    ssize_t sent;

    if (n->fd < 0)
        return;
    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    do
        sent = sendto(n->fd, text.data, text.len, MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_len);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && !n->failing)
        tg_log(TG_LOG_WARN, "the service manager cannot be told", TG_F_STR("error", strerror(errno)));
    n->failing = sent < 0;
    tg_buf_fini(&text);
}
