/*
 * credential - what an outgoing call of the control thread asks for its Authorization (implemented in auth).
 */
#pragma once
#include "base/buf.h"

struct tg_bearer {
    /* "Bearer TOKEN" of now, borrowed until the next call; empty: none is usable at the moment. */
    struct tg_slice (*value)(void *arg);
    /*
     * Asks for another because that one was refused (401) or there is none. True: done(done_arg) will be called once
     * when that ended, well or not, never from inside. False: it was asked a moment ago; there is no hope yet.
     */
    bool (*renew)(void *arg, void (*done)(void *done_arg), void *done_arg);
    void (*cancel)(void *arg, void *done_arg);           /* done of that argument will not be called */
    void *arg;
};
