/*
 * process - what Prometheus clients customarily tell of their process, read from /proc when asked.
 */
#include "process.h"
#include "base/clock.h"
#include "base/metric.h"
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static double start_time_s;

static double read_cpu(void *arg)
{
    struct rusage u;

    (void)arg;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double read_statm(int field)
{
    unsigned long pages[2] = {0, 0};
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f)
        return 0;
    if (fscanf(f, "%lu %lu", &pages[0], &pages[1]) != 2)
        pages[0] = pages[1] = 0;
    fclose(f);
    return (double)pages[field] * (double)sysconf(_SC_PAGESIZE);
}

static double read_resident(void *arg)
{
    (void)arg;
    return read_statm(1);
}

static double read_virtual(void *arg)
{
    (void)arg;
    return read_statm(0);
}

static double read_fds(void *arg)
{
    DIR *d = opendir("/proc/self/fd");
    double n = 0;

    (void)arg;
    if (!d)
        return 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 3;                                        /* ".", ".." and the folder's own */
}

static double read_max_fds(void *arg)
{
    struct rlimit r;

    (void)arg;
    return getrlimit(RLIMIT_NOFILE, &r) == 0 ? (double)r.rlim_cur : 0;
}

static double read_start(void *arg)
{
    (void)arg;
    return start_time_s;
}

void tg_process_metrics_init(void)
{
    static const struct {
        enum tg_metric_kind kind;
        const char *name, *help;
        double (*read)(void *arg);
    } rows[] = {
        {TG_COUNTER, "process_cpu_seconds_total", "User and system CPU time spent.", read_cpu},
        {TG_GAUGE, "process_resident_memory_bytes", "Resident memory.", read_resident},
        {TG_GAUGE, "process_virtual_memory_bytes", "Virtual memory.", read_virtual},
        {TG_GAUGE, "process_open_fds", "Open file descriptors.", read_fds},
        {TG_GAUGE, "process_max_fds", "Limit of open file descriptors.", read_max_fds},
        {TG_GAUGE, "process_start_time_seconds", "When the process started, since the epoch.", read_start},
    };
    struct tg_slice version = TG_S(TG_VERSION);

    start_time_s = (double)tg_clock_wall_ms() / 1000.0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        tg_metric_callback(tg_metric_family(rows[i].kind, rows[i].name, rows[i].help, ""), NULL, rows[i].read, NULL);
    tg_metric_set(tg_metric_series(tg_metric_family(TG_GAUGE, "tollgate_build_info", "Always 1.", "version"), &version),
                  1);
}
