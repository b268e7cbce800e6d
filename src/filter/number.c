/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers without the locale: up to 19 digits are gathered into an integer, which mostly is the value. What is not
 * goes to strtod as digits and exponent, without a decimal point, which is a comma in some locales. */
#include "filter/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A double is decided by its first 768 digits and by whether anything follows. */
enum { DIGITS_MAX = 19, DECIDING_DIGITS = 770, EXPONENT_CAP = 100000, EXACT_POWER = 22 };

typedef struct parts {
    uint64_t digits;      /* the first DIGITS_MAX significant ones */
    int significant;      /* how many the text has, at most DIGITS_MAX + 1: more */
    int64_t exponent;     /* of the whole text: value = digits * 10^exponent where not more */
    bool negative, plain; /* plain: neither point nor exponent */
} parts;

static bool is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

static const char *scan_digits(const char *at, const char *end) {
    while (at < end && is_digit(*at)) at++;
    return at;
}

const char *ki_decimal_scan(const char *text, const char *end) {
    const char *at = text;
    if (at < end && *at == '-') at++;
    const char *whole = at;
    at = scan_digits(at, end);
    if (at == whole || (at - whole > 1 && *whole == '0')) return NULL;
    if (at < end && *at == '.') {
        const char *part = ++at;
        at = scan_digits(at, end);
        if (at == part) return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        const char *power = at;
        at = scan_digits(at, end);
        if (at == power) return NULL;
    }
    return at;
}

static int64_t exponent_of(const char *at, const char *end) {
    bool negative = false;
    if (*at == '+' || *at == '-') negative = *at++ == '-';
    int64_t exponent = 0;
    for (; at < end; at++)
        if (exponent < EXPONENT_CAP) exponent = exponent * 10 + (*at - '0');
    return negative ? -exponent : exponent;
}

static parts take_apart(const char *text, const char *end) {
    parts part = {.plain = true};
    bool fraction = false;
    const char *at = text;
    if (*at == '-') {
        part.negative = true;
        at++;
    }
    for (; at < end; at++) {
        if (*at == '.') {
            fraction = true;
            part.plain = false;
        } else if (!is_digit(*at)) {
            part.plain = false;
            part.exponent += exponent_of(at + 1, end);
            break;
        } else if (part.significant < DIGITS_MAX) {
            part.digits = part.digits * 10 + (uint64_t)(*at - '0');
            part.significant += part.digits != 0;
            part.exponent -= fraction;
        } else if (!fraction || *at != '0') { /* zeros at the end of a fraction say nothing */
            part.significant = DIGITS_MAX + 1;
        }
    }
    return part;
}

/* Whether the value is a whole number of 64 signed bits. */
static bool is_whole(parts part, int64_t *value) {
    if (part.digits == 0) {
        *value = 0;
        return true;
    }
    if (part.significant > DIGITS_MAX) return false;
    for (; part.exponent < 0 && part.digits % 10 == 0; part.exponent++) part.digits /= 10;
    for (; part.exponent > 0; part.exponent--)
        if (__builtin_mul_overflow(part.digits, 10u, &part.digits)) return false;
    const uint64_t most = (uint64_t)INT64_MAX + part.negative;
    if (part.exponent < 0 || part.digits > most) return false;
    *value = part.negative ? -(int64_t)(part.digits - 1) - 1 : (int64_t)part.digits;
    return true;
}

/* The slow way: all that decides, as "digits e exponent". */
static double by_strtod(const char *text, const char *end) {
    char buffer[DECIDING_DIGITS + 32];
    size_t used = 0;
    int64_t exponent = 0;
    bool fraction = false, more = false;
    const char *at = text;
    if (*at == '-') buffer[used++] = *at++;
    const size_t sign = used;
    for (; at < end; at++) {
        if (*at == '.') {
            fraction = true;
        } else if (!is_digit(*at)) {
            exponent += exponent_of(at + 1, end);
            break;
        } else if (used - sign < DECIDING_DIGITS) {
            if (used > sign || *at != '0') buffer[used++] = *at;
            exponent -= fraction;
        } else {
            more |= *at != '0';
            exponent += !fraction;
        }
    }
    if (used == sign) buffer[used++] = '0';
    if (more) {
        buffer[used++] = '1';
        exponent--;
    }
    snprintf(buffer + used, sizeof buffer - used, "e%lld", (long long)exponent);
    return strtod(buffer, NULL);
}

bool ki_decimal_parse(const char *text, size_t bytes, ki_decimal *number) {
    static const double power[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *end = text + bytes;
    const parts part = take_apart(text, end);
    *number = (ki_decimal){0};
    if (is_whole(part, &number->i)) {
        number->whole = true;
        number->f = (double)number->i;
        return true;
    }
    number->large = part.plain;
    if (part.significant <= DIGITS_MAX && part.digits <= UINT64_C(1) << 53 && part.exponent >= -EXACT_POWER &&
        part.exponent <= EXACT_POWER) {
        const double whole = (double)part.digits;
        const double value = part.exponent < 0 ? whole / power[-part.exponent] : whole * power[part.exponent];
        number->f = part.negative ? -value : value;
    } else {
        number->f = by_strtod(text, end);
    }
    if (!isfinite(number->f)) return false;
    /* Many digits that come to a whole number as a double: D1. */
    if (!number->large && number->f == rint(number->f) && fabs(number->f) < 0x1p63) {
        number->whole = true;
        number->i = (int64_t)number->f;
    }
    return true;
}

/* strtod and snprintf use the process's locale alike; only the point must be put back. */
static void point_instead_of_comma(char *text) {
    for (; *text; text++)
        if (!is_digit(*text) && *text != '-' && *text != '+' && *text != 'e') *text = '.';
}

size_t ki_decimal_print(const ki_decimal *number, char text[KI_DECIMAL_TEXT]) {
    if (number->whole) return (size_t)snprintf(text, KI_DECIMAL_TEXT, "%lld", (long long)number->i);
    int bytes = 0;
    for (int digits = 15; digits <= 17; digits++) {
        bytes = snprintf(text, KI_DECIMAL_TEXT, "%.*g", digits, number->f);
        if (strtod(text, NULL) == number->f) break;
    }
    point_instead_of_comma(text);
    return (size_t)bytes;
}

int ki_compare_int_float(int64_t i, double f) {
    if (f >= 0x1p63) return -1;
    if (f < -0x1p63) return 1;
    const int64_t whole = (int64_t)f; /* towards 0 */
    if (i != whole) return i < whole ? -1 : 1;
    const double rest = f - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}
