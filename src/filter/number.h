/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of JSON texts and of filters, exact and the same in every locale.
 *
 * D1. A number whose value is whole and fits in 64 signed bits is such an integer, however it is written: 3, 3.0 and
 *     30e-1 are one. All else is the nearest double.
 * D2. The text of a number says which number it is: equal integers and equal doubles have one text, but for whole
 *     numbers beyond 64 bits written without point and exponent, which keep all their digits.
 *
 * Pure functions: any thread. */
#ifndef KI_FILTER_NUMBER_H
#define KI_FILTER_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ki_decimal {
    bool whole; /* i is the value */
    bool large; /* the text is only digits, perhaps behind a minus, and not whole */
    int64_t i;
    double f; /* always; the nearest to i */
} ki_decimal;

/* The end of the number of JSON's grammar that begins at `text`, or NULL. */
const char *ki_decimal_scan(const char *text, const char *end);
/* The value of what was scanned. False: beyond the largest double. */
bool ki_decimal_parse(const char *text, size_t bytes, ki_decimal *number);

enum { KI_DECIMAL_TEXT = 32 };
/* The text of a number that is not `large` (whose text is its own); bytes written, no NUL counted. */
size_t ki_decimal_print(const ki_decimal *number, char text[KI_DECIMAL_TEXT]);

/* Less than, equal to or greater than 0 as a is to b, exactly; f finite. */
int ki_compare_int_float(int64_t i, double f);

#endif
