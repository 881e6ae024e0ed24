/*
 * lost_page - the handler of SIGBUS.
 */
#include "io/lost_page.h"
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define PAGES 16

static _Atomic(void *) pages[PAGES];                     /* whose loss is survived */
static __thread atomic_bool *noting;                     /* NULL: this thread survives the loss of no others */
static struct sigaction before;

static bool is_watched(const char *at)
{
    for (size_t i = 0; i < PAGES; i++) {
        char *page = atomic_load(&pages[i]);

        if (page && at >= page && at < page + TG_LOST_PAGE)
            return true;
    }
    return false;
}

static void lost_page(int sig, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    void *page = (void *)(at - at % TG_LOST_PAGE);
    bool watched = is_watched(info->si_addr);

    (void)context;
    if ((watched || (noting && info->si_code == BUS_ADRERR)) &&
        mmap(page, TG_LOST_PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
            MAP_FAILED) {
        if (!watched)
            atomic_store(noting, true);
        return;
    }
    sigaction(sig, &before, NULL);                       /* not ours: it happens again, as if nobody were here */
}

/* Before whoever is there now: a sanitizer, or nobody. */
void tg_lost_page_catch(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct sigaction action = {.sa_sigaction = lost_page, .sa_flags = SA_SIGINFO}, now;

    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&lock);
    if (sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction != lost_page) {
        before = now;
        sigaction(SIGBUS, &action, NULL);
    }
    pthread_mutex_unlock(&lock);
}

/* In the place of another, or of none. */
static void replace(void *page, void *instead)
{
    for (size_t i = 0; i < PAGES; i++) {
        void *expected = page;

        if (atomic_compare_exchange_strong(&pages[i], &expected, instead))
            return;
    }
}

void tg_lost_page_watch(void *page)
{
    tg_lost_page_catch();
    replace(NULL, page);
}

void tg_lost_page_forget(void *page)
{
    replace(page, NULL);
}

void tg_lost_page_note(atomic_bool *lost)
{
    noting = lost;
}
