/*
 * mcp - the tool that a request calls: JSON-RPC 2.0 with the method "tools/call", as the Model Context Protocol has it.
 *
 * A policy that asks about tools must see the same call as the service behind it: content that two readers might read
 * in two ways (duplicate members, octets behind the value, a batch, no JSON at all) is not guessed at but refused.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/arena.h"

struct tg_mcp_call {
    bool tool_call;
    struct tg_slice tool;                                /* unescaped, in the arena */
};
/*
 * Reads the whole content of a request. Any JSON-RPC object that is no "tools/call" (also a response, which has no
 * method) is no tool call. TG_BAD_INPUT: not one unambiguous JSON-RPC object, with why in `err`; a "tools/call"
 * without params.name as text too. No content at all: no tool call.
 */
enum tg_status tg_mcp_read(struct tg_slice content, struct tg_arena *arena, struct tg_mcp_call *out,
                           struct tg_err *err);
