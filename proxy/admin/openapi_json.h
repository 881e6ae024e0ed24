/*
 * openapi_json - openapi.json in the program, without blanks; made by embed.py when tollgate is built.
 */
#pragma once
#include <stddef.h>

extern const unsigned char openapi_json[];
extern const size_t openapi_json_len;
