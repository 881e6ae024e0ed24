/*
 * main - the three standard descriptors are there, a closed pipe is an error and no death, nothing is dumped; then the
 * command.
 */
#include "boot/commands.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* A descriptor closed by whoever started us would be given to the next socket, which then gets what is printed. */
static int hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
            return -1;
    return 0;
}

/*
 * Before anything secret is read: no core with tokens and keys in it, and none of /proc/PID/mem, environ and ptrace for
 * other processes of the same user.
 */
static void keep_secrets(void)
{
    struct rlimit none = {0, 0};

    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
}

int main(int argc, char **argv)
{
    if (hold_standard_descriptors() != 0)
        return TG_EXIT_FAILURE;
    keep_secrets();
    signal(SIGPIPE, SIG_IGN);
    return tg_main(argc, argv);
}
