/* SPDX-License-Identifier: Apache-2.0
 *
 * Characters of UTF-8 [RFC 3629]: no overlong forms, no surrogates, nothing beyond U+10FFFF. Pure functions: any
 * thread. */
#ifndef KI_BASE_UTF8_H
#define KI_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the valid character at `at`, which lies before `end`; 0 if there is none. NUL is one. */
size_t ki_utf8_step(const char *at, const char *end);
/* Is this valid UTF-8 without NUL? */
bool ki_utf8_valid(const char *text, size_t bytes);
/* Write a code point that UTF-8 can say; how many bytes. */
size_t ki_utf8_put(uint32_t point, char to[4]);

#endif
