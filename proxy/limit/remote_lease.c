/*
 * remote_lease - taking permits, and what to ask of the store.
 *
 * `granted` less `permits`, plus what is owed, is what is known to be used or to be in the hands of others; a request
 * is admitted by a permit while that is below the limit, and refused without asking when it is not. What is known is
 * never too high within a window, except for what others give back.
 */
#include "remote_lease.h"
#include "base/buf.h"

#define CELLS (TG_SLIDING_STEPS + 1)

static uint32_t clamp(uint64_t n) { return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX; }

static uint64_t own_sum(const struct tg_lease *l)
{
    uint64_t sum = 0;

    if (!l->sliding)
        return l->used;
    for (size_t i = 0; i < CELLS; i++)
        sum += l->own[i];
    return sum;
}

static uint64_t spoken_for(const struct tg_lease *l)
{
    uint64_t others = l->told && l->granted > l->permits ? l->granted - l->permits : 0;

    return others + l->owed;
}

/* ---- from one window to the next ---- */

static void roll_sliding(struct tg_lease *l, int64_t number)
{
    if (l->permits) {                                    /* go back: they would count for ten more steps */
        l->granted -= l->granted < l->permits ? l->granted : l->permits;
        l->back = l->back_number == l->number ? l->back + l->permits : l->permits;
        l->back_number = l->number;
    }
    l->permits = 0;
    if (number - l->number > CELLS)
        memset(l->own, 0, CELLS * sizeof(l->own[0]));
    else
        for (int64_t m = l->number + 1; m <= number; m++)
            l->own[m % CELLS] = 0;
    l->told = false;                                     /* something may have fallen out, or come back */
}

static void roll_fixed(struct tg_lease *l, int64_t number)
{
    bool leased = l->next_number == number;

    l->permits = l->had = leased ? l->next_permits : 0;
    l->incarnation = leased ? l->next_incarnation : 0;
    l->granted = l->seen = leased ? l->next_granted : 0;
    l->told = leased;
    l->full_until = number + 1;
    l->last_grant = l->permits;
    l->next_permits = 0;
    l->owed = 0;
}

static void roll(struct tg_lease *l, int64_t number)
{
    l->former = number == l->number + 1 ? l->used : 0;
    if (l->sliding)
        roll_sliding(l, number);
    else
        roll_fixed(l, number);
    l->number = number;
    l->used = l->requests = l->commands = 0;
    l->retries = 0;
    l->retry_us = 0;
}

/* The store's clock was set: nothing is known of any window. */
static void forget(struct tg_lease *l, int64_t number)
{
    roll(l, number);
    l->permits = l->had = l->back = l->next_permits = 0;
    l->incarnation = 0;
    l->granted = l->seen = 0;
    l->told = false;
}

/* The number of the window it is for certain, or -1; the entry is in that window then. */
static int64_t settle(struct tg_lease *l, const struct tg_lease_moment *m)
{
    int64_t low = m->store.low_us / l->span_us, high = m->store.high_us / l->span_us;

    if (l->clock_steps != m->steps) {
        l->clock_steps = m->steps;
        if (m->known && l->number > high)
            forget(l, high);
    }
    if (!m->known || low != high || low < l->number)
        return -1;
    if (low > l->number)
        roll(l, low);
    return low;
}

/* ---- taking ---- */

void tg_lease_touch(struct tg_lease *l, uint32_t limit, const struct tg_lease_moment *m)
{
    int64_t gap_us = m->mono_us - l->last_us;

    settle(l, m);
    if (l->requests || l->former)
        l->gap_us = (3 * l->gap_us + (gap_us < l->span_us ? gap_us : l->span_us)) / 4;
    l->last_us = m->mono_us;
    l->limit = limit;
    l->requests++;
}

static void count_own(struct tg_lease *l)
{
    l->used++;
    if (l->sliding)
        l->own[l->number % CELLS]++;
}

enum tg_lease_take tg_lease_take(struct tg_lease *l, uint32_t limit, const struct tg_lease_moment *m, bool look)
{
    bool has_room;

    if (limit == 0)
        return TG_FULL;
    if (settle(l, m) < 0)
        return TG_NONE;
    has_room = spoken_for(l) < limit;
    if (l->permits && has_room) {
        if (!look) {
            l->permits--;
            count_own(l);
        }
        return TG_TOOK;
    }
    return l->told && !has_room ? TG_FULL : TG_NONE;
}

/* By the best guess of the time, and never back. */
static void settle_alone(struct tg_lease *l, const struct tg_lease_moment *m)
{
    int64_t number = tg_lease_now_us(m) / l->span_us;

    if (settle(l, m) < 0 && number > l->number)
        roll(l, number);
}

bool tg_lease_take_alone(struct tg_lease *l, uint32_t limit, const struct tg_lease_moment *m, bool look)
{
    uint64_t others = 0;

    settle_alone(l, m);
    if (l->told && l->granted > l->had)
        others = l->sliding ? 0 : l->granted - l->had;
    if (own_sum(l) + others >= limit)
        return false;
    if (!look)
        tg_lease_owe(l, m);
    return true;
}

void tg_lease_owe(struct tg_lease *l, const struct tg_lease_moment *m)
{
    settle_alone(l, m);
    count_own(l);
    l->owed++;
}

void tg_lease_untake(struct tg_lease *l, const struct tg_lease_taken *taken)
{
    if (l->number != taken->number || (!taken->alone && l->incarnation != taken->incarnation))
        return;
    if (taken->alone) {
        if (!l->owed)
            return;                                      /* told already */
        l->owed--;
    } else {
        l->permits++;
    }
    l->used -= l->used > 0;
    if (l->sliding && l->own[l->number % CELLS])
        l->own[l->number % CELLS]--;
}

/* ---- what is told ---- */

uint32_t tg_lease_remaining(const struct tg_lease *l, uint32_t limit)
{
    uint64_t used = spoken_for(l), own = own_sum(l);

    used = used > own ? used : own;
    return used < limit ? (uint32_t)(limit - used) : 0;
}

int64_t tg_lease_reset_us(const struct tg_lease *l, const struct tg_lease_moment *m)
{
    int64_t number = tg_lease_now_us(m) / l->span_us;

    if (l->number > number || (l->number == number - 1 && l->permits))
        number = l->number;
    if (!l->sliding)
        return ((l->number ? l->number : number) + 1) * l->span_us;
    return (l->full_until > number ? l->full_until : number + CELLS) * l->span_us;
}

/* ---- asking ---- */

static void pace_of(const struct tg_lease *l, const struct tg_lease_moment *m, struct tg_pace *out)
{
    int64_t elapsed_us = tg_lease_now_us(m) - l->number * l->span_us;

    *out = (struct tg_pace){
        .limit = l->limit,
        .span_us = l->span_us,
        .elapsed_us = elapsed_us < 0 ? 0 : elapsed_us < l->span_us ? elapsed_us : l->span_us,
        .used = l->used,
        .former = l->former,
        .permits = l->permits,
        .last_grant = l->last_grant,
        .waiting = l->waiting,
        .requests = l->requests,
        .commands = l->commands,
        .sliding = l->sliding,
    };
}

unsigned tg_lease_wishes(const struct tg_lease *l, enum tg_lease_take took, const struct tg_lease_moment *m)
{
    unsigned wishes = 0;
    struct tg_pace p;

    pace_of(l, m, &p);
    if (!l->told || l->asked_until_us > m->mono_us)
        wishes = 0;
    else if (took == TG_FULL)
        wishes = l->limit && m->mono_us >= l->retry_us ? TG_WISH_PERMITS : 0;
    else if (l->granted < l->limit && tg_pace_asks_ahead(&p))
        wishes = TG_WISH_PERMITS;
    if (took == TG_TOOK && l->next_asked != l->number + 1 && tg_pace_asks_next(&p, l->digest[0]))
        wishes |= TG_WISH_NEXT;
    return wishes;
}

static void fill(struct tg_lease *l, struct tg_lease_item *item)
{
    item->lease = l;
    item->args[TG_ARG_SLIDING] = l->sliding;
    item->args[TG_ARG_SPAN] = l->span_us;
    item->args[TG_ARG_LIMIT] = l->limit;
    l->commands++;
    l->refs++;
}

static void fill_next(struct tg_lease *l, const struct tg_pace *p, struct tg_lease_item *item)
{
    struct tg_pace next = *p;
    bool known = l->next_number == l->number + 1;

    *item = (struct tg_lease_item){0};
    fill(l, item);
    next.former = p->used > p->former ? p->used : p->former;
    next.used = next.waiting = 0;
    next.elapsed_us = 0;
    item->args[TG_ARG_TARGET] = item->args[TG_ARG_NUMBER] = l->next_asked = l->number + 1;
    item->args[TG_ARG_WANT] = tg_pace_want(&next);
    item->args[TG_ARG_SURE] = tg_pace_sure(&next, (uint32_t)item->args[TG_ARG_WANT]);
    item->args[TG_ARG_INCARNATION] = known ? l->next_incarnation : 0;
    item->args[TG_ARG_HAD] = known ? l->next_permits : 0;
}

/* Of a window that has not begun. */
static void fill_next_back(struct tg_lease *l, struct tg_lease_item *item)
{
    *item = (struct tg_lease_item){0};
    fill(l, item);
    item->args[TG_ARG_TARGET] = item->args[TG_ARG_NUMBER] = l->next_number;
    item->args[TG_ARG_INCARNATION] = l->next_incarnation;
    item->args[TG_ARG_HAD] = item->args[TG_ARG_BACK] = l->next_permits;
    l->next_permits = 0;
}

/* What goes back: of a sliding window's former step first, else all that is in hand. */
static void fill_back(struct tg_lease *l, bool all, struct tg_lease_item *item)
{
    item->args[TG_ARG_NUMBER] = l->number;
    if (l->back) {
        item->args[TG_ARG_NUMBER] = l->back_number;
        item->args[TG_ARG_BACK] = l->back;
        l->back = 0;
    } else if (all) {
        item->args[TG_ARG_BACK] = l->permits;
        l->granted -= l->granted < l->permits ? l->granted : l->permits;
        l->had -= l->had < l->permits ? l->had : l->permits;
        l->permits = 0;
    }
}

static void fill_current(struct tg_lease *l, const struct tg_pace *p, unsigned wishes, struct tg_lease_item *item)
{
    uint64_t own = own_sum(l);

    *item = (struct tg_lease_item){0};
    fill(l, item);
    if (l->sliding && l->owed > own)
        l->owed = (uint32_t)own;                         /* what is older does not count any more */
    item->args[TG_ARG_INCARNATION] = l->incarnation;
    item->args[TG_ARG_SEEN] = (int64_t)l->seen;
    item->args[TG_ARG_OWED] = l->owed;
    item->args[TG_ARG_HAD] = l->had;
    if (l->sliding)
        item->args[TG_ARG_HAD] = (int64_t)(own - l->owed + l->permits + l->back);
    fill_back(l, (wishes & TG_WISH_BACK) != 0, item);
    l->owed = 0;
    if (wishes & TG_WISH_PERMITS) {
        item->args[TG_ARG_WANT] = tg_pace_want(p);
        item->args[TG_ARG_SURE] = tg_pace_sure(p, (uint32_t)item->args[TG_ARG_WANT]);
    }
}

size_t tg_lease_items(struct tg_lease *l, const struct tg_lease_moment *m, int64_t until_us,
                      struct tg_lease_item out[static 2])
{
    unsigned wishes = l->wishes;
    struct tg_pace p;
    size_t count = 0;

    l->wishes = 0;
    settle(l, m);
    pace_of(l, m, &p);
    if ((wishes & TG_WISH_PERMITS) || l->owed || l->back || ((wishes & TG_WISH_BACK) && l->permits)) {
        fill_current(l, &p, wishes, &out[count++]);
        if (wishes & TG_WISH_PERMITS)
            l->asked_until_us = until_us;
        l->waiting = 0;
    }
    if ((wishes & TG_WISH_NEXT) && !l->sliding && l->in_table)
        fill_next(l, &p, &out[count++]);
    else if ((wishes & TG_WISH_LAST) && l->next_permits && l->next_number == l->number + 1)
        fill_next_back(l, &out[count++]);
    return count;
}

static uint64_t take_waiting(struct tg_lease *l)
{
    uint64_t workers = l->waiting_workers;

    l->waiting_workers = 0;
    l->asked_until_us = 0;
    return workers;
}

static void answer_next(struct tg_lease *l, const int64_t *words)
{
    if (l->next_number != words[TG_WORD_NUMBER])
        l->next_permits = 0;
    l->next_number = words[TG_WORD_NUMBER];
    l->next_incarnation = words[TG_WORD_INCARNATION];
    l->next_granted = (uint64_t)words[TG_WORD_GRANTED];
    l->next_permits = clamp((uint64_t)l->next_permits + (uint64_t)words[TG_WORD_GIVEN]);
}

/* A counter that is new to us, and knows what we had, is the one to speak of from now on. */
static void adopt(struct tg_lease *l, const struct tg_lease_item *item, const int64_t *words)
{
    bool spoken_of = l->sliding || item->args[TG_ARG_NUMBER] == words[TG_WORD_NUMBER];
    uint64_t serial = (uint64_t)words[TG_WORD_SERIAL];

    if (l->incarnation == words[TG_WORD_INCARNATION])
        l->seen = serial > l->seen ? serial : l->seen;
    else if (spoken_of || l->had == 0)
        l->seen = serial;
    else
        return;
    l->incarnation = words[TG_WORD_INCARNATION];
}

static void when_full(struct tg_lease *l, const struct tg_lease_moment *m, bool asked)
{
    struct tg_pace p;

    pace_of(l, m, &p);
    if (l->granted <= (l->sliding ? own_sum(l) + l->permits : l->had))
        l->retry_us = INT64_MAX;                         /* nobody else has any to give back */
    else if (asked)
        l->retry_us = m->mono_us + tg_pace_retry_us(&p, l->retries++);
}

uint64_t tg_lease_answer(struct tg_lease *l, const struct tg_lease_item *item, const int64_t words[TG_SCRIPT_WORDS],
                         const struct tg_lease_moment *m)
{
    int64_t number = words[TG_WORD_NUMBER];
    uint32_t given = clamp((uint64_t)words[TG_WORD_GIVEN]);

    settle(l, m);
    if (item->args[TG_ARG_TARGET] == number && number > l->number) {
        answer_next(l, words);
        return 0;
    }
    if (number < l->number)
        return take_waiting(l);                          /* of a window that is over */
    if (number > l->number)
        roll(l, number);
    adopt(l, item, words);
    l->permits = clamp((uint64_t)l->permits + given);
    l->had = clamp((uint64_t)l->had + given +
                   (item->args[TG_ARG_NUMBER] == number ? (uint64_t)item->args[TG_ARG_OWED] : 0));
    l->granted = (uint64_t)words[TG_WORD_GRANTED];
    l->told = true;
    l->full_until = l->sliding ? words[TG_WORD_OLDEST] + CELLS : number + 1;
    if (given)
        l->last_grant = given;
    if (l->granted >= l->limit)
        when_full(l, m, item->args[TG_ARG_WANT] > 0);
    if (l->in_table)
        tg_lease_schedule(l, m);
    return take_waiting(l);
}

uint64_t tg_lease_failed(struct tg_lease *l, const struct tg_lease_item *item)
{
    if (item->args[TG_ARG_OWED] && (l->sliding || item->args[TG_ARG_NUMBER] == l->number))
        l->owed = clamp((uint64_t)l->owed + (uint64_t)item->args[TG_ARG_OWED]);
    if (l->next_asked == item->args[TG_ARG_TARGET])
        l->next_asked = 0;
    return take_waiting(l);
}
