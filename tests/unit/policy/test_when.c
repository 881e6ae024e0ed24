/* Time: which instants are within, at the edges of bounds, days and daylight saving; what is no date, day or time. */
#include "support.h"
#include "base/clock.h"

static int64_t ms_of(const char *rfc3339)
{
    int64_t ms = 0;

    if (!tg_clock_parse(tg_slice_str(rfc3339), &ms))
        fail_msg("%s", rfc3339);
    return ms;
}

static const struct {
    const char *criterion, *at;
    bool holds;
} cases[] = {
    /* date: strict, UTC */
    {"date: {after: '2026-03-01T08:00:00'}", "2026-03-01T08:00:00Z", false},
    {"date: {after: '2026-03-01T08:00:00'}", "2026-03-01T08:00:00.001Z", true},
    {"date: {before: '2026-03-01T08:00:00'}", "2026-03-01T08:00:00Z", false},
    {"date: {before: '2026-03-01T08:00:00'}", "2026-03-01T07:59:59.999Z", true},
    {"date: {after: '2026-03-01T08:00:00Z'}", "2026-03-01T08:00:01Z", true},
    {"date: {after: '2026-03-01T08:00:00+02:00'}", "2026-03-01T06:00:00.001Z", true},
    {"date: {after: '2026-03-01T08:00:00+02:00'}", "2026-03-01T06:00:00Z", false},
    {"date: {before: '2026-03-01T08:00:00-05:00'}", "2026-03-01T12:59:59Z", true},
    {"date: {after: 2026-03-01}", "2026-03-01T00:00:00Z", false},
    {"date: {after: 2026-03-01}", "2026-03-01T00:00:00.001Z", true},
    {"date: {after: 2026-03-01T08:30}", "2026-03-01T08:30:00.001Z", true},
    {"date: {after: 2026-03-01T08:30Z}", "2026-03-01T08:30:00Z", false},
    {"date: {after: 2026-03-01T08:30+01:00}", "2026-03-01T07:30:00.001Z", true},
    {"date: {after: 2026-03-01T08:30:00.5}", "2026-03-01T08:30:00.500Z", false},
    {"date: {after: 2026-03-01, before: 2026-04-01}", "2026-03-31T23:59:59.999Z", true},
    {"date: {after: 2026-03-01, before: 2026-04-01}", "2026-04-01T00:00:00Z", false},
    {"date: {after: 2026-04-01, before: 2026-03-01}", "2026-03-15T00:00:00Z", false},
    {"date: {after: 1969-12-31}", "1969-12-31T12:00:00Z", true},
    {"date: {}", "2026-03-01T00:00:00Z", true},
    /* day_of_week: UTC; 2026-03-01 is a Sunday */
    {"day_of_week: '*'", "2026-03-01T12:00:00Z", true},
    {"day_of_week: sun", "2026-03-01T00:00:00Z", true},
    {"day_of_week: sun", "2026-03-01T23:59:59.999Z", true},
    {"day_of_week: sun", "2026-03-02T00:00:00Z", false},
    {"day_of_week: sun", "2026-02-28T23:59:59.999Z", false},
    {"day_of_week: Sunday", "2026-03-01T12:00:00Z", true},
    {"day_of_week: MON", "2026-03-02T12:00:00Z", true},
    {"day_of_week: 'mon,wed,fri'", "2026-03-04T12:00:00Z", true},
    {"day_of_week: 'mon,wed,fri'", "2026-03-05T12:00:00Z", false},
    {"day_of_week: ' mon , wed '", "2026-03-04T12:00:00Z", true},
    {"day_of_week: mon-fri", "2026-03-06T12:00:00Z", true},
    {"day_of_week: mon-fri", "2026-03-07T12:00:00Z", false},
    {"day_of_week: mon - friday", "2026-03-06T12:00:00Z", true},
    {"day_of_week: fri-mon", "2026-03-06T12:00:00Z", true},
    {"day_of_week: fri-mon", "2026-03-01T12:00:00Z", true},
    {"day_of_week: fri-mon", "2026-03-02T12:00:00Z", true},
    {"day_of_week: fri-mon", "2026-03-03T12:00:00Z", false},
    {"day_of_week: fri-mon", "2026-03-05T12:00:00Z", false},
    {"day_of_week: 'mon-tue,thu'", "2026-03-05T12:00:00Z", true},
    {"day_of_week: 'mon-tue,thu'", "2026-03-04T12:00:00Z", false},
    {"day_of_week: tue-tue", "2026-03-03T12:00:00Z", true},
    {"day_of_week: tue-tue", "2026-03-04T12:00:00Z", false},
    {"day_of_week: thu", "1970-01-01T00:00:00Z", true},
    {"day_of_week: wed", "1969-12-31T23:59:59.999Z", true},
    {"day_of_week: sun", "0001-12-30T00:00:00Z", true},
    /* time_of_day: strict, by that zone's clock */
    {"time_of_day: {timezone: UTC, after: '9:00', before: '17:00'}", "2026-03-01T09:00:00Z", false},
    {"time_of_day: {timezone: UTC, after: '9:00', before: '17:00'}", "2026-03-01T09:00:00.001Z", true},
    {"time_of_day: {timezone: UTC, after: '9:00', before: '17:00'}", "2026-03-01T16:59:59.999Z", true},
    {"time_of_day: {timezone: UTC, after: '9:00', before: '17:00'}", "2026-03-01T17:00:00Z", false},
    {"time_of_day: {timezone: UTC, after: '09:00'}", "2026-03-01T23:59:59Z", true},
    {"time_of_day: {timezone: UTC, before: '00:00'}", "2026-03-01T00:00:00Z", false},
    {"time_of_day: {timezone: UTC, after: '0:00'}", "2026-03-01T00:00:00Z", false},
    {"time_of_day: {timezone: UTC, after: 2:20:00, before: 4:30PM}", "2026-03-01T02:20:00Z", false},
    {"time_of_day: {timezone: UTC, after: 2:20:00, before: 4:30PM}", "2026-03-01T16:29:59Z", true},
    {"time_of_day: {timezone: UTC, after: 2:20:00, before: 4:30PM}", "2026-03-01T16:30:00Z", false},
    {"time_of_day: {timezone: UTC, after: 3 PM}", "2026-03-01T15:00:00.001Z", true},
    {"time_of_day: {timezone: UTC, after: 3PM}", "2026-03-01T15:00:00Z", false},
    {"time_of_day: {timezone: UTC, after: 03:04 pm}", "2026-03-01T15:04:00.001Z", true},
    {"time_of_day: {timezone: UTC, after: 12 AM}", "2026-03-01T00:00:00.001Z", true},
    {"time_of_day: {timezone: UTC, before: 12:01Am}", "2026-03-01T00:00:59Z", true},
    {"time_of_day: {timezone: UTC, after: 12 PM}", "2026-03-01T12:00:00.001Z", true},
    {"time_of_day: {timezone: UTC, after: 12 PM}", "2026-03-01T11:59:59Z", false},
    {"time_of_day: {timezone: UTC, after: 12:30 PM}", "2026-03-01T12:30:01Z", true},
    {"time_of_day: {timezone: UTC, after: '15:04:05.5'}", "2026-03-01T15:04:05.500Z", false},
    {"time_of_day: {timezone: UTC, after: '15:04:05.499999999'}", "2026-03-01T15:04:05.500Z", true},
    {"time_of_day: {timezone: UTC, before: '15:04:05.500000001'}", "2026-03-01T15:04:05.500Z", true},
    {"time_of_day: {timezone: UTC, after: '17:00', before: '9:00'}", "2026-03-01T20:00:00Z", false},
    {"time_of_day: {timezone: UTC}", "2026-03-01T20:00:00Z", true},
    {"time_of_day: {timezone: UTC, after: '23:59'}", "1969-12-31T23:59:00.001Z", true},
    {"time_of_day: {timezone: America/Phoenix, after: '9:00', before: '17:00'}", "2026-03-01T10:00:00Z", false},
    {"time_of_day: {timezone: America/Phoenix, after: '9:00', before: '17:00'}", "2026-03-01T17:00:00Z", true},
    /* Prague leaves winter at 2026-03-29T01:00Z and summer at 2026-10-25T01:00Z */
    {"time_of_day: {timezone: Europe/Prague, after: '2:00', before: '3:00'}", "2026-03-29T00:59:59Z", false},
    {"time_of_day: {timezone: Europe/Prague, before: '2:00'}", "2026-03-29T00:59:59Z", true},
    {"time_of_day: {timezone: Europe/Prague, after: '2:59:59'}", "2026-03-29T01:00:00Z", true},
    {"time_of_day: {timezone: Europe/Prague, after: '2:00', before: '3:00'}", "2026-10-25T00:30:00Z", true},
    {"time_of_day: {timezone: Europe/Prague, after: '2:00', before: '3:00'}", "2026-10-25T01:30:00Z", true},
    {"time_of_day: {timezone: Europe/Prague, after: '2:00', before: '3:00'}", "2026-10-25T02:30:00Z", false},
    {"time_of_day: {timezone: Europe/Prague, after: '14:00'}", "2150-07-01T12:00:01Z", true},
    {"time_of_day: {timezone: Europe/Prague, after: '14:00'}", "2150-01-01T12:00:01Z", false},
    {"time_of_day: {timezone: Asia/Kathmandu, after: '5:45'}", "2026-03-01T00:00:00.001Z", true},
    {"time_of_day: {timezone: Asia/Kathmandu, after: '5:45'}", "2026-03-01T00:00:00Z", false},
};

static struct tg_verdict decide(struct loaded *l, const char *criterion, const char *action, int64_t wall_ms)
{
    struct tg_facts facts;
    struct tg_verdict v;
    char text[512];

    loaded_init(l);
    snprintf(text, sizeof(text), "{allow: {%s: [{%s}]}}", action, criterion);
    if (!loaded_add(l, text))
        fail_msg("%s: %s", text, l->problems.items[0].text);
    l->program = tg_ppl_finish(l->builder);
    facts_of(&(struct request){0}, &facts);
    facts.wall_ms = wall_ms;
    tg_ppl_decide(l->program, &facts, &v);
    return v;
}

static const char *reason_of(const char *criterion, bool holds)
{
    switch (criterion[0] == 'd' ? criterion[2] : 'c') {
    case 't': return holds ? "date-ok" : "date-unauthorized";
    case 'y': return holds ? "day-of-week-ok" : "day-of-week-unauthorized";
    default: return holds ? "time-of-day-ok" : "time-of-day-unauthorized";
    }
}

static void instants(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int inverted = 0; inverted < 2; inverted++) {
            struct loaded l;
            struct tg_verdict v = decide(&l, cases[i].criterion, inverted ? "not" : "and", ms_of(cases[i].at));
            char reasons[256];

            if (v.allow != (cases[i].holds != inverted))
                fail_msg("%s at %s%s", cases[i].criterion, cases[i].at, inverted ? ", inverted" : "");
            assert_string_equal(reasons_text(v.allow_reasons, reasons, sizeof(reasons)),
                                reason_of(cases[i].criterion, cases[i].holds));
            loaded_fini(&l);
        }
    }
}

/* Each day of 40 years, by counting. */
static void every_day(void **state)
{
    static const char *const names[] = {"thu", "fri", "sat", "sun", "mon", "tue", "wed"};
    struct loaded l[7];

    (void)state;
    for (size_t k = 0; k < 7; k++) {
        char text[64];

        loaded_init(&l[k]);
        snprintf(text, sizeof(text), "{allow: {and: [{day_of_week: %s}]}}", names[k]);
        assert_true(loaded_add(&l[k], text));
        l[k].program = tg_ppl_finish(l[k].builder);
    }
    for (int64_t day = -7300; day < 7300; day++) {
        for (size_t k = 0; k < 7; k++) {
            struct tg_facts facts = {.wall_ms = day * 86400000 + 86399999};
            struct tg_verdict v;

            tg_ppl_decide(l[k].program, &facts, &v);
            assert_int_equal(v.allow, (day % 7 + 7) % 7 == (int64_t)k);
        }
    }
    for (size_t k = 0; k < 7; k++)
        loaded_fini(&l[k]);
}

static const struct {
    const char *criterion, *error;
} wrong[] = {
    {"date: 2026-03-01", "allow.and[0].date: expected a mapping with after and before, not a string"},
    {"date: ~", "expected a mapping with after and before, not null"},
    {"date: [2026-03-01]", "not a list"},
    {"date: {since: 2026-03-01}", "allow.and[0].date: \"since\" is not known here (expected after or before)"},
    {"date: {befor: 2026-03-01}", "did you mean \"before\"?"},
    {"date: {timezone: UTC}", "\"timezone\" is not known here"},
    {"date: {after: 5}", "allow.and[0].date.after: expected a date as 2026-03-01 or 2026-03-01T08:00:00, in UTC unless "
                         "an offset follows, not a number"},
    {"date: {after: ~}", "not null"},
    {"date: {after: ''}", "allow.and[0].date.after: \"\" is not a date (expected"},
    {"date: {after: soon}", "\"soon\" is not a date"},
    {"date: {after: 2026-02-29}", "\"2026-02-29\" is not a date"},
    {"date: {after: 2026-13-01}", "is not a date"},
    {"date: {after: 2026-3-1}", "is not a date"},
    {"date: {after: 20260301}", "not a number"},
    {"date: {after: 2026-03-01T}", "is not a date"},
    {"date: {after: 2026-03-01T08}", "is not a date"},
    {"date: {after: 2026-03-01T24:00:00}", "is not a date"},
    {"date: {after: 2026-03-01T08:00:00 UTC}", "is not a date"},
    {"date: {after: '2026-03-01T08:00:00+0200'}", "is not a date"},
    {"date: {after: '2026-03-01T08:00:00ZZ'}", "is not a date"},
    {"date: {after: 01.03.2026}", "is not a date"},
    {"day_of_week: 1", "allow.and[0].day_of_week: expected days as in mon-fri, in \"sat, sun\", or *, as one text, not "
                       "a number"},
    {"day_of_week: [mon, tue]", "as one text, not a list"},
    {"day_of_week: {is: mon}", "not a mapping"},
    {"day_of_week: ''", "a day is missing"},
    {"day_of_week: 'mon,'", "a day is missing"},
    {"day_of_week: 'mon,,tue'", "a day is missing"},
    {"day_of_week: '-fri'", "a day is missing"},
    {"day_of_week: 'mon-'", "a day is missing"},
    {"day_of_week: mondy", "\"mondy\" is not a day of the week, did you mean \"monday\"?"},
    {"day_of_week: 'mon, Thursdey'", "\"Thursdey\" is not a day of the week, did you mean \"thursday\"?"},
    {"day_of_week: mon-wed-fri", "\"wed-fri\" is not a day of the week"},
    {"day_of_week: weekend", "\"weekend\" is not a day of the week"},
    {"day_of_week: mon tue", "\"mon tue\" is not a day"},
    {"day_of_week: 'mon,*'", "\"*\" is not a day"},
    {"day_of_week: lundi", "\"lundi\" is not a day"},
    {"time_of_day: '9:00'",
     "allow.and[0].time_of_day: expected a mapping with timezone, after and before, not a string"},
    {"time_of_day: {after: '9:00'}", "allow.and[0].time_of_day: `timezone` is missing"},
    {"time_of_day: {}", "`timezone` is missing"},
    {"time_of_day: {time_zone: UTC}", "\"time_zone\" is not known here, did you mean \"timezone\"? (expected timezone, "
                                      "after or before)"},
    {"time_of_day: {timezone: Europe/Prage}", "allow.and[0].time_of_day.timezone: \"Europe/Prage\": there is no time "
                                              "zone Europe/Prage on this system"},
    {"time_of_day: {timezone: europe/prague}", "there is no time zone"},
    {"time_of_day: {timezone: ''}", "this is not the name of a time zone"},
    {"time_of_day: {timezone: ../../../etc/passwd}", "this is not the name of a time zone"},
    {"time_of_day: {timezone: '+02:00'}", "a fixed offset has one too: Etc/GMT-2"},
    {"time_of_day: {timezone: 2}", "expected the name of a time zone, as Europe/Prague, not a number"},
    {"time_of_day: {timezone: ~}", "not null"},
    {"time_of_day: {timezone: UTC, after: 9}", "allow.and[0].time_of_day.after: expected a time as 15:04, 15:04:05 or "
                                               "3:04 PM, not a number"},
    {"time_of_day: {timezone: UTC, after: '9'}", "\"9\" is not a time of day (expected a time as 15:04"},
    {"time_of_day: {timezone: UTC, after: '24:00'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '9:60'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '9:5'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '9:05:5'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '9:05:60'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '9:05.5'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '9:05:05.'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '9:05:05.1234567891'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: 13 PM}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: 0 AM}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: PM}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '3:04:05 PM'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '3  PM'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: ' 9:00'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: '-9:00'}", "is not a time of day"},
    {"time_of_day: {timezone: UTC, after: noon}", "\"noon\" is not a time of day"},
};

static void refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct loaded l;
        char text[512];

        loaded_init(&l);
        snprintf(text, sizeof(text), "{allow: {and: [{%s}]}}", wrong[i].criterion);
        if (loaded_add(&l, text))
            fail_msg("%s: no error", text);
        if (!strstr(l.problems.items[0].text, wrong[i].error))
            fail_msg("%s: \"%s\" lacks \"%s\"", text, l.problems.items[0].text, wrong[i].error);
        loaded_fini(&l);
    }
}

static void warned(void **state)
{
    static const struct {
        const char *criterion, *warning;                 /* NULL: none */
    } traps[] = {
        {"date: {after: 2026-03-01, before: 2026-03-02}", NULL},
        {"date: {}", "neither `after` nor `before`"},
        {"date: {after: 2026-03-02, before: 2026-03-02}", "never true"},
        {"time_of_day: {timezone: UTC, after: '9:00'}", NULL},
        {"time_of_day: {timezone: UTC}", "neither `after` nor `before`"},
        {"time_of_day: {timezone: UTC, after: '22:00', before: '6:00'}",
         "never true: no time of a day is later than `after` and earlier than `before`; a range over midnight is two "
         "criteria under `or`"},
        {"day_of_week: '*'", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(traps); i++) {
        struct loaded l;
        char text[256];
        bool found = false;

        loaded_init(&l);
        snprintf(text, sizeof(text), "{allow: {and: [{email: a@x}, {%s}]}}", traps[i].criterion);
        assert_true(loaded_add(&l, text));
        for (size_t k = 0; k < l.problems.count; k++)
            found |= !traps[i].warning || strstr(l.problems.items[k].text, traps[i].warning);
        if (found != (traps[i].warning != NULL))
            fail_msg("%s: %s", text, l.problems.count ? l.problems.items[0].text : "no warning");
        loaded_fini(&l);
    }
}

/* What explain shows: the time where the criterion looked. */
static void seen(void **state)
{
    static const struct {
        const char *criterion, *saw;
    } shown[] = {
        {"date: {after: 2026-03-01}", "2026-07-01T12:30:00.500Z"},
        {"day_of_week: mon", "wed, 2026-07-01T12:30:00.500Z"},
        {"time_of_day: {timezone: Europe/Prague, after: '9:00'}", "14:30:00.500 in Europe/Prague (UTC+02:00)"},
        {"time_of_day: {timezone: America/St_Johns, after: '9:00'}", "10:00:00.500 in America/St_Johns (UTC-02:30)"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        struct loaded l;
        struct tg_verdict v = decide(&l, shown[i].criterion, "and", 0);
        struct tg_facts facts = {.wall_ms = ms_of("2026-07-01T12:30:00.500Z")};
        const struct tg_trace_node *node = tg_ppl_trace(l.program, &facts, &l.arena, &v);

        while (node->kind != TG_TRACE_CRITERION)
            node = node->children;
        assert_int_equal(node->saw.len, strlen(shown[i].saw));
        assert_memory_equal(node->saw.ptr, shown[i].saw, node->saw.len);
        loaded_fini(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instants), cmocka_unit_test(every_day), cmocka_unit_test(refused),
        cmocka_unit_test(warned),   cmocka_unit_test(seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
