/*
 * allocations - how often this program has asked for memory so far.
 *
 * A sanitizer tells it by a hook of its allocator; without one the program's own malloc counts, in front of the C
 * library's.
 */
#pragma once
#include <stddef.h>

static size_t allocation_count;

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) || \
    __has_feature(thread_sanitizer)
#define SANITIZED 1
int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t),
                                              void (*free_hook)(const volatile void *));

static void count_malloc(const volatile void *p, size_t size)
{
    (void)p, (void)size;
    allocation_count++;
}

static void count_free(const volatile void *p) { (void)p; }

static inline void allocations_start(void) { __sanitizer_install_malloc_and_free_hooks(count_malloc, count_free); }
#else
#define SANITIZED 0
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *p, size_t size);

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    allocation_count++;
    return __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
    allocation_count++;
    return __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size)
{
    allocation_count++;
    return __libc_realloc(p, size);
}

static inline void allocations_start(void) {}
#endif
