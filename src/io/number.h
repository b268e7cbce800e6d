/* SPDX-License-Identifier: Apache-2.0
 *
 * Decimal numbers in text, the same in every locale.
 *
 * N1. A value is the double nearest to the text (ties to even), then the float nearest to that double.
 * N2. What is finite in the text and infinite as a float is an overflow, never an infinity.
 * N3. The byte at `end` must be readable and must not continue a number (a separator, a bracket or the NUL that the
 *     line reader puts behind each line): the slow path leaves the scan to strtod.
 *
 * Pure functions: any thread. */
#ifndef KI_IO_NUMBER_H
#define KI_IO_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False when memory for the C locale was refused. Ask before the first number is read or printed. */
bool ki_numbers_ready(void);

typedef enum ki_number {
    KI_NUMBER_OK,
    KI_NUMBER_NONE,    /* no number begins here */
    KI_NUMBER_OVERFLOW /* beyond the largest float */
} ki_number;

/* Read the number that begins at `text`; *next is the byte after it. json: JSON's grammar and NaN, Infinity, -Infinity;
 * otherwise also a plus sign, ".5", "5.", and nan, inf, infinity in any case. */
ki_number ki_parse_float(const char *text, const char *end, bool json, float *value, const char **next);

typedef enum ki_id_text {
    KI_ID_NUMBER,   /* a plain decimal below 2^64-1 without leading zeros */
    KI_ID_NEGATIVE, /* a minus sign and digits only */
    KI_ID_LARGE,    /* digits only, 2^64-1 or more, without leading zeros */
    KI_ID_WORD      /* anything else */
} ki_id_text;

/* Classify an id; *value is set for KI_ID_NUMBER only. "007" is a word, so that no digit of it is lost. */
ki_id_text ki_parse_id(const char *text, size_t bytes, uint64_t *value);

enum { KI_FLOAT_TEXT = 24 };

/* The shortest of %.6g .. %.9g that reads back as the same float; bytes written, no NUL counted (KI_FLOAT_TEXT bytes
 * suffice). */
size_t ki_print_float(float value, char *text);

#endif
