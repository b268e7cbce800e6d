/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of JSON as text.
 *
 * Reading. Up to 19 digits are gathered in a u64 `w`, eight at a time, and w x 10^q is computed in double: converting
 * w, and one multiplication or division by an exact power of ten (two for small numbers), each rounded once [Clinger
 * 1990]. So the double is at most 3 of its units (in the last place) off. Rounding it to float again gives the float
 * nearest to the text unless a midpoint between two floats lies between text and double: midpoints are doubles whose
 * low 29 bits are 2^28, so the double would be at most that far from one. Those, and what lies outside of the normal
 * floats, go to strtof(), which rounds once. Python writes floats as their double with 17 digits: these lie far from
 * midpoints.
 *
 * Writing. A decimal of 6 digits survives a float, 9 digits always suffice: the first of 6, 7, 8, 9 that reads back is
 * the shortest, as zeros at its end are cut. Scaling by an exact power of ten in double may pick the neighbour of the
 * right decimal where two are about as near; it is written only if it reads back.
 *
 * strtof() and printf() follow the locale: nobody in the command sets one, so it is "C". */
#include "json/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    DIGITS_MAX = 19,
    EXACT = 22,  /* the largest power of ten that is exact as a double */
    OFF_MAX = 8, /* units that a double may be off, with room to spare */
    EXPONENT_CAP = 100000
};

static const double power[EXACT + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

typedef struct decimal {
    uint64_t digits;
    int exponent; /* capped */
    int negative, truncated;
} decimal;

static int is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* How many of eight bytes are digits up to the first one that is none. Sums may carry into the bytes behind that one,
 * which do not count. */
static unsigned digits_in(uint64_t word) {
    const uint64_t other = ((word + 0x4646464646464646) | (word - 0x3030303030303030)) & 0x8080808080808080;
    return other ? (unsigned)__builtin_ctzll(other) / 8 : 8;
}

/* The number that eight digits are: pairs, fours and eights are summed side by side within a word. */
static uint64_t sum_eight(uint64_t word) {
    word &= 0x0f0f0f0f0f0f0f0f;
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ff;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffff;
    return (word * 10000 + (word >> 32)) & 0xffffffff;
}
#endif

/* Numbers of a vector have different lengths, which no branch can foresee: so less than eight digits are summed as
 * eight with zeros before them. */
INLINE const char *scan_digits(const char *at, const char *end, uint64_t *digits) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static const uint32_t ten[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        const unsigned count = digits_in(word),
                       half = 4 * (8 - count); /* a shift by all 64 bits at once is undefined */
        *digits = *digits * ten[count] + sum_eight(word << half << half);
        at += count;
        if (count < 8) return at;
    }
#endif
    for (; at < end && is_digit(*at); at++) *digits = *digits * 10 + (uint64_t)(*at - '0');
    return at;
}

/* The digits that count, of a number that begins at `at`: without zeros at its beginning. */
static size_t significant(const char *at, const char *end) {
    size_t count = 0;
    while (at < end && (*at == '0' || *at == '.')) at++;
    for (; at < end; at++) count += *at != '.';
    return count;
}

static const char *scan_exponent(const char *at, const char *end, decimal *number) {
    int exponent = 0, negative = 0;
    if (at < end && (*at == '+' || *at == '-')) negative = *at++ == '-';
    if (at >= end || !is_digit(*at)) return NULL;
    for (; at < end && is_digit(*at); at++)
        if (exponent < EXPONENT_CAP) exponent = exponent * 10 + (*at - '0');
    number->exponent += negative ? -exponent : exponent;
    return at;
}

/* The end of JSON's number at `at`, or NULL. digits may have overflowed where it is truncated. */
INLINE const char *scan(const char *at, const char *end, decimal *number) {
    number->negative = at < end && *at == '-';
    at += number->negative;
    if (at >= end || !is_digit(*at)) return NULL;
    const char *whole = at, *part = NULL;
    /* Most numbers of vectors are less than one. */
    at = *at == '0' && end - at > 1 && at[1] == '.' ? at + 1 : scan_digits(at, end, &number->digits);
    if (*whole == '0' && at - whole > 1) return NULL;
    ptrdiff_t count = at - whole, behind = 0;
    if (at < end && *at == '.') {
        part = ++at;
        at = scan_digits(at, end, &number->digits);
        behind = at - part;
        if (behind == 0) return NULL;
        count += behind;
    }
    number->truncated = count > DIGITS_MAX && significant(whole, at) > DIGITS_MAX;
    number->exponent = behind < EXPONENT_CAP ? -(int)behind : -EXPONENT_CAP;
    if (at < end && (*at == 'e' || *at == 'E')) return scan_exponent(at + 1, end, number);
    return at;
}

/* The float nearest to a decimal, without its sign: 1; 0 when that is not sure. */
INLINE int nearest(const decimal *number, float *value) {
    if (number->truncated || number->exponent > EXACT || number->exponent < -2 * EXACT) return 0;
    if (number->digits == 0) {
        *value = 0;
        return 1;
    }
    double wide = (double)number->digits;
    if (number->exponent >= 0)
        wide *= power[number->exponent];
    else if (number->exponent >= -EXACT)
        wide /= power[-number->exponent];
    else
        wide = wide / power[EXACT] / power[-number->exponent - EXACT];
    if (wide < (double)FLT_MIN * 2 || wide > (double)FLT_MAX / 2) return 0;
    uint64_t bits;
    memcpy(&bits, &wide, sizeof bits);
    const int64_t off = (int64_t)(bits & ((UINT64_C(1) << 29) - 1)) - (INT64_C(1) << 28);
    if (off >= -OFF_MAX && off <= OFF_MAX) return 0;
    *value = (float)wide;
    return 1;
}

int ks_number_float(const char *at, const char *end, float *value, const char **next) {
    decimal number = {0};
    const char *after = scan(at, end, &number);
    if (!after) return 0;
    float near;
    const int found = nearest(&number, &near);
    /* Half of a vector's numbers are negative, and no branch can foresee which. */
    *value = found ? copysignf(near, number.negative ? -1.0f : 1.0f) : strtof(at, NULL);
    *next = after;
    return 1;
}

int ks_number_uint(const char *text, size_t bytes, uint64_t *value) {
    uint64_t sum = 0;
    if (bytes == 0 || bytes > 20 || (bytes > 1 && text[0] == '0')) return 0;
    for (size_t i = 0; i < bytes; i++)
        if (!is_digit(text[i]) || __builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(text[i] - '0'), &sum))
            return 0;
    *value = sum;
    return 1;
}

size_t ks_number_print_uint(uint64_t value, char text[KS_NUMBER_TEXT]) {
    char digits[20];
    size_t count = 0, used = 0;
    do digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count) text[used++] = digits[--count];
    return used;
}

/* digits x 10^exponent, whose zeros at the end go; the first digit stands for 10^lead. As printf's %g has it. */
static size_t write_decimal(uint64_t digits, int lead, char *text) {
    char all[KS_NUMBER_TEXT];
    while (digits % 10 == 0) digits /= 10;
    const size_t count = ks_number_print_uint(digits, all);
    size_t used = 0;
    if (lead < -5 || lead >= 9) {
        text[used++] = all[0];
        if (count > 1) text[used++] = '.';
        memcpy(text + used, all + 1, count - 1);
        used += count - 1;
        return used + (size_t)snprintf(text + used, 8, "e%+03d", lead);
    }
    if (lead < 0) {
        memcpy(text, "0.00000", 7);
        used = (size_t)(1 - lead);
        memcpy(text + used, all, count);
        return used + count;
    }
    for (int i = 0; i <= lead || (size_t)i < count; i++) {
        if (i == lead + 1) text[used++] = '.';
        text[used++] = (size_t)i < count ? all[i] : '0';
    }
    return used;
}

/* Of a float between 1e-13 and 1e30. Bytes, or 0 when nothing read back. */
static size_t print_middling(float value, char *text) {
    int lead = (int)floor(log10((double)value)); /* may be one too small or large beside a power of ten */
    for (int count = 6; count <= 9; count++) {
        const int up = count - 1 - lead;
        if (up > EXACT || up < -EXACT) return 0;
        uint64_t digits = (uint64_t)(up >= 0 ? (double)value * power[up] + 0.5 : (double)value / power[-up] + 0.5);
        const uint64_t over = (uint64_t)power[count];
        if (digits < over / 10) return 0;
        decimal number = {.digits = digits, .exponent = -up};
        float again;
        if (!nearest(&number, &again)) return 0;
        if (again == value) return write_decimal(digits, digits >= over ? lead + 1 : lead, text);
    }
    return 0;
}

size_t ks_number_print_float(float value, char text[KS_NUMBER_TEXT]) {
    size_t used = 0;
    if (signbit(value)) text[used++] = '-';
    const float size = fabsf(value);
    if (size < 1e6f && size == (float)(uint32_t)size) return used + ks_number_print_uint((uint32_t)size, text + used);
    const size_t quick = size > 1e-13f && size < 1e30f ? print_middling(size, text + used) : 0;
    if (quick) return used + quick;
    for (int digits = size < FLT_MIN ? 1 : 6;; digits++) { /* those below FLT_MIN have less than 6 */
        const int bytes = snprintf(text, KS_NUMBER_TEXT, "%.*g", digits, (double)value);
        if (digits == 9 || strtof(text, NULL) == value) return (size_t)bytes;
    }
}

size_t ks_number_print_real(double value, char text[KS_NUMBER_TEXT]) {
    for (int digits = 15;; digits++) {
        const int bytes = snprintf(text, KS_NUMBER_TEXT, "%.*g", digits, value);
        if (digits == 17 || strtod(text, NULL) == value) return (size_t)bytes;
    }
}
