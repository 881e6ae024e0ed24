/*
 * main - the three standard descriptors are there, a closed pipe is an error and no death; then the command.
 */
#include "boot/commands.h"
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* A descriptor closed by whoever started us would be given to the next socket, which then gets what is printed. */
static int hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    if (hold_standard_descriptors() != 0)
        return TG_EXIT_FAILURE;
    signal(SIGPIPE, SIG_IGN);
    return tg_main(argc, argv);
}
