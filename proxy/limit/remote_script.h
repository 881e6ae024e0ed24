/*
 * remote_script - what runs in the store: one Lua script for the permits of several counters.
 *
 * One key a counter, TG_SCRIPT_ARGS arguments a key, all integers (below 2^53), in this order: */
#pragma once

enum tg_script_arg {
    TG_ARG_SLIDING,                                      /* 1: the counter has a cell for each step */
    TG_ARG_SPAN,                                         /* microseconds of a window, or of a step */
    TG_ARG_LIMIT,
    TG_ARG_TARGET,                                       /* number of the window wanted; of the next one: ahead */
    TG_ARG_WANT,                                         /* permits */
    TG_ARG_SURE,                                         /* of them, even when more than half of what is left */
    TG_ARG_NUMBER,                                       /* the window (step) that the following are of */
    TG_ARG_INCARNATION,                                  /* of the counter as it was known; 0: not */
    TG_ARG_HAD,                                          /* granted to this process in it and not given back */
    TG_ARG_SEEN,                                         /* the counter's serial as it was known */
    TG_ARG_OWED,                                         /* admitted without a permit */
    TG_ARG_BACK,                                         /* permits given back */
    TG_SCRIPT_ARGS
};
/* The answer: the store's time in microseconds, then for each key: */
enum tg_script_word {
    TG_WORD_NUMBER,                                      /* the window (step) that the others are of */
    TG_WORD_INCARNATION,
    TG_WORD_GIVEN,
    TG_WORD_GRANTED,                                     /* to all together, this grant included */
    TG_WORD_SERIAL,                                      /* all that was ever granted in it: only grows */
    TG_WORD_OLDEST,                                      /* sliding: the oldest step that still counts; else 0 */
    TG_SCRIPT_WORDS
};
#define TG_SLIDING_STEPS 10                              /* of a window; a request counts in its own and ten more */

extern const char tg_remote_script[];
