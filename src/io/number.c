/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as text. Up to 19 digits are gathered into an integer; where that integer and the power of ten are exact as
 * doubles, one multiplication or division is correctly rounded and done. The rest goes to strtod in the C locale. */
#define _GNU_SOURCE
#include "io/number.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 19, EXACT_POWER = 22, EXPONENT_CAP = 100000 };

typedef struct decimal {
    uint64_t digits; /* the first DIGITS_MAX significant ones */
    int64_t exponent;
    bool negative, truncated;
} decimal;

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

bool ki_numbers_ready(void) {
    pthread_once(&c_locale_once, make_c_locale);
    return c_locale != (locale_t)0;
}

static bool is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

static const char *scan_digits(const char *at, const char *end, bool fraction, decimal *number, int *significant) {
    for (; at < end && is_digit(*at); at++) {
        if (*significant < DIGITS_MAX) {
            number->digits = number->digits * 10 + (uint64_t)(*at - '0');
            *significant += number->digits != 0;
            number->exponent -= fraction;
        } else {
            number->truncated = true;
            number->exponent += !fraction;
        }
    }
    return at;
}

/* The exponent part, if there is one; else `at`. */
static const char *scan_exponent(const char *at, const char *end, decimal *number) {
    if (at >= end || (*at != 'e' && *at != 'E')) return at;
    const char *digit = at + 1;
    bool negative = false;
    if (digit < end && (*digit == '+' || *digit == '-')) negative = *digit++ == '-';
    if (digit >= end || !is_digit(*digit)) return NULL;
    int64_t exponent = 0;
    for (; digit < end && is_digit(*digit); digit++)
        if (exponent < EXPONENT_CAP) exponent = exponent * 10 + (*digit - '0');
    number->exponent += negative ? -exponent : exponent;
    return digit;
}

/* The end of the number that begins at `at`, or NULL. */
static const char *scan(const char *at, const char *end, bool json, decimal *number) {
    int significant = 0;
    if (at < end && (*at == '-' || (*at == '+' && !json))) number->negative = *at++ == '-';
    const char *whole = at;
    at = scan_digits(at, end, false, number, &significant);
    const ptrdiff_t whole_digits = at - whole;
    if (json && (whole_digits == 0 || (whole_digits > 1 && *whole == '0'))) return NULL;
    ptrdiff_t part_digits = 0;
    if (at < end && *at == '.') {
        const char *part = ++at;
        at = scan_digits(at, end, true, number, &significant);
        part_digits = at - part;
        if (json && part_digits == 0) return NULL;
    }
    if (whole_digits + part_digits == 0) return NULL;
    return scan_exponent(at, end, number);
}

static const char *match(const char *at, const char *end, const char *word, bool any_case) {
    const size_t bytes = strlen(word);
    if ((size_t)(end - at) < bytes) return NULL;
    for (size_t i = 0; i < bytes; i++) {
        const char c = any_case && at[i] >= 'A' && at[i] <= 'Z' ? (char)(at[i] - 'A' + 'a') : at[i];
        if (c != word[i]) return NULL;
    }
    return at + bytes;
}

static const char *scan_special(const char *at, const char *end, bool json, float *value) {
    bool negative = false;
    const char *begin = at, *next;
    if (at < end && (*at == '-' || (*at == '+' && !json))) negative = *at++ == '-';
    if ((next = match(at, end, json ? "NaN" : "nan", !json)) && !(json && at != begin)) {
        *value = NAN;
        return next;
    }
    next = match(at, end, json ? "Infinity" : "infinity", !json);
    if (!next && !json) next = match(at, end, "inf", true);
    if (next) *value = negative ? -INFINITY : INFINITY;
    return next;
}

ki_number ki_parse_float(const char *text, const char *end, bool json, float *value, const char **next) {
    static const double power[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    decimal number = {0};
    const char *after = scan(text, end, json, &number);
    if (!after) {
        after = scan_special(text, end, json, value);
        if (after) *next = after;
        return after ? KI_NUMBER_OK : KI_NUMBER_NONE;
    }
    double wide;
    if (!number.truncated && number.digits <= UINT64_C(1) << 53 && number.exponent >= -EXACT_POWER &&
        number.exponent <= EXACT_POWER) {
        wide = (double)number.digits;
        wide = number.exponent < 0 ? wide / power[-number.exponent] : wide * power[number.exponent];
        if (number.negative) wide = -wide;
    } else {
        wide = strtod_l(text, NULL, c_locale);
    }
    *next = after;
    /* A double that rounds beyond FLT_MAX: compared before the conversion, which would be undefined. */
    if (isinf(wide) || fabs(wide) >= 0x1.ffffffp127) return KI_NUMBER_OVERFLOW;
    *value = (float)wide;
    return KI_NUMBER_OK;
}

ki_id_text ki_parse_id(const char *text, size_t bytes, uint64_t *value) {
    const size_t sign = bytes > 1 && text[0] == '-';
    for (size_t i = sign; i < bytes; i++)
        if (!is_digit(text[i])) return KI_ID_WORD;
    if (sign) return KI_ID_NEGATIVE;
    if (bytes == 0 || (bytes > 1 && text[0] == '0')) return KI_ID_WORD;
    if (bytes > 20) return KI_ID_LARGE;
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i++)
        if (__builtin_mul_overflow(sum, 10u, &sum) || __builtin_add_overflow(sum, (uint64_t)(text[i] - '0'), &sum))
            return KI_ID_LARGE;
    if (sum == UINT64_MAX) return KI_ID_LARGE;
    *value = sum;
    return KI_ID_NUMBER;
}

/* Small whole numbers are the common case of codes and counts, and need no search for digits. */
static size_t print_small(int value, char *text) {
    char digits[8];
    size_t used = 0, count = 0;
    if (value < 0) text[used++] = '-';
    unsigned rest = (unsigned)(value < 0 ? -value : value);
    do digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (count) text[used++] = digits[--count];
    text[used] = '\0';
    return used;
}

size_t ki_print_float(float value, char *text) {
    if (fabsf(value) < 1e5f && value == (float)(int)value && !(value == 0 && signbit(value)))
        return print_small((int)value, text);
    const locale_t before = uselocale(c_locale);
    int bytes = 0;
    for (int digits = 6; digits <= 9; digits++) {
        bytes = snprintf(text, KI_FLOAT_TEXT, "%.*g", digits, (double)value);
        if (digits == 9 || !isfinite(value) || strtof(text, NULL) == value) break;
    }
    uselocale(before);
    return (size_t)bytes;
}
