/*
 * ppl_eval - a program and the facts of a request make a verdict.
 *
 * Reasons of a combination are those of the members that share its value, so every member is asked: stopping early
 * would lose reasons. Inversion flips the value and keeps the reasons, which makes `not` an inverted `or` and `nor` an
 * inverted `and`. Nothing here allocates.
 */
#include "base/hash.h"
#include "internal.h"

const struct tg_claim *tg_list_of(const struct tg_criterion *row, struct tg_slice name, uint64_t hash,
                                  const struct tg_facts *facts)
{
    if (!row->sub_path && facts->groups_claim.len > 0) { /* groups: which claim, the token's issuer decides */
        name = facts->groups_claim;
        hash = tg_hash_slice(name);
    }
    return facts->claims ? tg_claims_get(facts->claims, name, hash) : NULL;
}

static bool text_holds(const struct tg_program *program, const struct tg_test *test, struct tg_view *view)
{
    struct tg_text *text = &view->texts[test->row->subject];

    if (!text->looked) {
        text->looked = true;
        text->defined = test->row->text(view->facts, &text->s);
    }
    if (!text->defined)
        return false;
    for (uint32_t i = 0; i < test->op_count; i++) {
        if (!tg_op_on_text(&program->ops[test->first_op + i], text))
            return false;
    }
    return true;
}

static bool list_holds(const struct tg_program *program, const struct tg_test *test, const struct tg_facts *facts)
{
    const struct tg_claim *claim = tg_list_of(test->row, test->name, test->hash, facts);

    for (uint32_t i = 0; i < test->op_count; i++) {
        if (!tg_op_on_list(&program->ops[test->first_op + i], claim))
            return false;
    }
    return true;
}

static bool certificate_holds(const struct tg_program *program, const struct tg_test *test, const struct tg_cert *cert)
{
    if (!cert)
        return false;
    for (uint32_t i = 0; i < test->op_count; i++) {
        if (!tg_op_on_cert(&program->ops[test->first_op + i], cert))
            return false;
    }
    return true;
}

static struct tg_outcome run_test(const struct tg_program *program, const struct tg_test *test, struct tg_view *view)
{
    const struct tg_criterion *row = test->row;
    bool value = false;

    if (row->identity && !view->facts->identity)
        return (struct tg_outcome){false, TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED)};
    switch (row->shape) {
    case TG_SHAPE_NONE:
        return row->fixed(view->facts);
    case TG_SHAPE_TEXT:
        value = text_holds(program, test, view);
        break;
    case TG_SHAPE_LIST:
        value = list_holds(program, test, view->facts);
        break;
    case TG_SHAPE_NETWORKS:
        value = tg_ranges_hold(program->ops[test->first_op].ranges, &view->facts->source_ip);
        break;
    case TG_SHAPE_CERTIFICATE:
        value = certificate_holds(program, test, view->facts->certificate);
        break;
    }
    return (struct tg_outcome){value, TG_REASON_BIT(value ? row->pass : row->fail)};
}

struct tg_outcome tg_run_group(const struct tg_program *program, const struct tg_group *group, struct tg_view *view)
{
    tg_reasons of_true = 0, of_false = 0;
    bool any_true = false, any_false = false, value;

    for (uint32_t i = 0; i < group->test_count; i++) {
        struct tg_outcome o = run_test(program, &program->tests[group->first_test + i], view);

        any_true |= o.value;
        any_false |= !o.value;
        of_true |= o.value ? o.reasons : 0;
        of_false |= o.value ? 0 : o.reasons;
    }
    value = group->any ? any_true : !any_false;
    return (struct tg_outcome){value != group->inverted, value ? of_true : of_false};
}

/* One more alternative: a true one drops the reasons of the false ones before it, and the other way round. */
static void or_with(struct tg_outcome *sum, struct tg_outcome o)
{
    if (o.value == sum->value)
        sum->reasons |= o.reasons;
    else if (o.value)
        *sum = o;
}

static struct tg_outcome run_groups(const struct tg_program *program, uint32_t first, uint32_t count,
                                    struct tg_view *view)
{
    struct tg_outcome sum = {false, 0};

    for (uint32_t i = 0; i < count; i++)
        or_with(&sum, tg_run_group(program, &program->groups[first + i], view));
    return sum;
}

/* In this order: a certificate that is missing or bad, a missing login, deny, allow; else denied. */
static void conclude(struct tg_verdict *v, int denier, int refuser)
{
    const tg_reasons certificate = TG_REASON_BIT(TG_REASON_CLIENT_CERTIFICATE_REQUIRED) |
                                   TG_REASON_BIT(TG_REASON_INVALID_CLIENT_CERTIFICATE);
    const tg_reasons login = TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED);

    v->policy = -1;
    if (v->deny_reasons & certificate) {
        v->decision = TG_DENY;
        v->reasons = v->deny_reasons & certificate;
        v->policy = denier;
    } else if ((v->allow_reasons | v->deny_reasons) & login) {
        v->decision = TG_UNAUTHENTICATED;
        v->reasons = login;
    } else if (v->deny) {
        v->decision = TG_DENY;
        v->reasons = v->deny_reasons;
        v->policy = denier;
    } else if (v->allow) {
        v->decision = TG_ALLOW;
        v->reasons = v->allow_reasons;
    } else {
        v->decision = TG_DENY;
        v->reasons = v->allow_reasons;
        v->policy = refuser;
    }
}

void tg_ppl_decide(const struct tg_program *program, const struct tg_facts *facts, struct tg_verdict *out)
{
    struct tg_view view = {.facts = facts};
    struct tg_outcome allow = {false, 0}, deny = {false, 0};
    int denier = -1, refuser = -1;

    for (size_t i = 0; i < program->part_count; i++) {
        const struct tg_part *part = &program->parts[i];
        struct tg_outcome a = run_groups(program, part->first_group, part->allow_count, &view);
        struct tg_outcome d = run_groups(program, part->first_group + part->allow_count, part->deny_count, &view);

        if (d.value && denier < 0)
            denier = part->source->index;
        if (part->allow_count > 0 && !a.value && refuser < 0)
            refuser = part->source->index;
        or_with(&allow, a);
        or_with(&deny, d);
    }
    *out = (struct tg_verdict){.allow = allow.value, .deny = deny.value, .allow_reasons = allow.reasons,
                               .deny_reasons = deny.reasons};
    conclude(out, denier, refuser);
}

bool tg_ppl_holds(const struct tg_program *when, const struct tg_facts *facts)
{
    struct tg_view view = {.facts = facts};

    if (when->part_count != 1)
        return false;
    return run_groups(when, when->parts[0].first_group, when->parts[0].allow_count, &view).value;
}
