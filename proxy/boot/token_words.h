/*
 * token_words - what the words of `token_refused` in the log mean, for `why` and `explain`.
 */
#pragma once
#include "base/buf.h"

struct token_word {
    const char *name, *means;                            /* means: a sentence without an end, about "it", the token */
    bool unjudged;                                       /* it was not refused: nobody could say what it is */
};
const struct token_word *token_word_find(struct tg_slice name); /* NULL: no such word */
