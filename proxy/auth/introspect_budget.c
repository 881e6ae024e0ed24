/*
 * introspect_budget - how often a provider is asked about tokens that nobody vouched for.
 *
 * Two buckets. Newcomers have three quarters of the rate, and as many at once as it says; the rest, saved up for twice
 * as many, is for tokens that are shown again. Junk is new each time: however much of it there is, it takes none of
 * that. Junk that is shown again all the same is shown seldom, for there is much of it: a token that was shown n times
 * leaves the n-th part of each bucket to those shown more often. Both together never pass the rate for long.
 */
#include "introspect_internal.h"

#define ONE 4000                                         /* a question, in parts: quarters of the rate a millisecond */
#define OF_NEW 3
#define OF_AGAIN 1
#define OFTEN 16                                         /* shown so often, it leaves nothing */
#define LONG_MS 60000                                    /* whatever was spent, by then both are full */

static int64_t room_for_new(const struct tg_budget *b)
{
    return (int64_t)b->rate * ONE;
}

static int64_t room_for_again(const struct tg_budget *b)
{
    return 2 * (int64_t)b->rate * ONE;
}

static int64_t at_most(int64_t level, int64_t room)
{
    return level < room ? level : room;
}

void tg_budget_init(struct tg_budget *b, uint64_t rate, int64_t now_ms)
{
    b->rate = rate;
    b->of_new = room_for_new(b);
    b->of_again = room_for_again(b);
    b->at_ms = now_ms;
}

void tg_budget_set_rate(struct tg_budget *b, uint64_t rate)
{
    b->rate = rate;
    b->of_new = at_most(b->of_new, room_for_new(b));
    b->of_again = at_most(b->of_again, room_for_again(b));
}

static void fill(struct tg_budget *b, int64_t now_ms)
{
    int64_t parts = at_most(now_ms - b->at_ms, LONG_MS) * (int64_t)b->rate;

    if (parts <= 0)
        return;
    b->of_new = at_most(b->of_new + parts * OF_NEW, room_for_new(b));
    b->of_again = at_most(b->of_again + parts * OF_AGAIN, room_for_again(b));
    b->at_ms = now_ms;
}

static int64_t left_by(unsigned shown, int64_t room)
{
    return shown < OFTEN ? room / shown : 0;
}

static bool take(int64_t *level, int64_t left)
{
    if (*level < left + ONE)
        return false;
    *level -= ONE;
    return true;
}

bool tg_budget_take(struct tg_budget *b, unsigned shown, int64_t now_ms)
{
    fill(b, now_ms);
    if (shown <= 1)
        return take(&b->of_new, 0);
    return take(&b->of_again, left_by(shown, room_for_again(b))) || take(&b->of_new, left_by(shown, room_for_new(b)));
}
