/* reasons - the names of reasons. */
#include "policy/ppl.h"
#include "base/err.h"

static const char *const names[] = {
#define X(id, name) name,
    TG_REASONS(X)
#undef X
};
_Static_assert(TG_REASON_COUNT <= 64, "a set of reasons is a 64-bit mask");

const char *tg_reason_name(enum tg_reason r)
{
    return (size_t)r < ARRAY_LEN(names) ? names[r] : "unknown";
}

enum tg_reason tg_reason_find(struct tg_slice name)
{
    size_t r = 0;

    while (r < ARRAY_LEN(names) && !tg_slice_eq(tg_slice_str(names[r]), name))
        r++;
    return (enum tg_reason)r;
}

size_t tg_reasons_list(tg_reasons set, const char *out[static TG_REASON_COUNT])
{
    size_t count = 0;

    for (size_t r = 0; r < ARRAY_LEN(names); r++) {
        if (set & TG_REASON_BIT(r))
            out[count++] = names[r];
    }
    return count;
}

const char *tg_decision_name(enum tg_decision decision)
{
    static const char *const decisions[] = {[TG_ALLOW] = "allow", [TG_DENY] = "deny",
                                            [TG_UNAUTHENTICATED] = "unauthenticated"};

    return decisions[decision];
}
