/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of JSON as text, both ways, for the thousands of floats that vectors and distances are. */
#ifndef KITH_SERVER_JSON_NUMBER_H
#define KITH_SERVER_JSON_NUMBER_H

#include <stddef.h>
#include <stdint.h>

enum { KS_NUMBER_TEXT = 32 }; /* more than any number that is written takes */

/* The number that begins at `at`, by JSON's grammar: 1, the float nearest to it (infinite beyond a float's range), and
 * where it ends; 0 when there is none. The byte at `end` can be read and is no part of a number. */
int ks_number_float(const char *at, const char *end, float *value, const char **next);

/* Whether these bytes are a whole number of JSON without sign, fraction and exponent that fits a u64. */
int ks_number_uint(const char *text, size_t bytes, uint64_t *value);

/* The shortest text that reads back as the same float or double; finite ones only. Bytes written, without a zero. */
size_t ks_number_print_float(float value, char text[KS_NUMBER_TEXT]);
size_t ks_number_print_real(double value, char text[KS_NUMBER_TEXT]);
size_t ks_number_print_uint(uint64_t value, char text[KS_NUMBER_TEXT]);

#endif
