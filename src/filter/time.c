/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/time.h"

typedef struct cursor {
    const char *at, *end;
} cursor;

static bool take(cursor *text, char c) {
    if (text->at >= text->end || *text->at != c) return false;
    text->at++;
    return true;
}

/* Exactly `digits` digits, low..high. */
static bool number(cursor *text, int digits, int low, int high, int *value) {
    if (text->end - text->at < digits) return false;
    *value = 0;
    for (int i = 0; i < digits; i++, text->at++) {
        if ((unsigned char)(*text->at - '0') > 9) return false;
        *value = *value * 10 + (*text->at - '0');
    }
    return *value >= low && *value <= high;
}

/* Days from 1970-01-01, in the Gregorian calendar carried back. Years begin in March, so that the leap day is last. */
static int64_t days_of(int year, int month, int day) {
    const int64_t y = (int64_t)year - (month <= 2);
    const int64_t months = (month + 9) % 12;
    const int64_t floor4 = y >= 0 ? y / 4 - y / 100 + y / 400 : -1; /* the year before 0 is the only negative one */
    return y * 365 + floor4 + (months * 153 + 2) / 5 + day - 1 - 719468;
}

static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool date(cursor *text, int64_t *days) {
    int year, month, day;
    if (!number(text, 4, 0, 9999, &year) || !take(text, '-') || !number(text, 2, 1, 12, &month) || !take(text, '-') ||
        !number(text, 2, 1, days_in(year, month), &day))
        return false;
    *days = days_of(year, month, day);
    return true;
}

static bool fraction(cursor *text, int *ms) {
    int digits = 0;
    *ms = 0;
    for (; text->at < text->end && (unsigned char)(*text->at - '0') <= 9; text->at++, digits++)
        if (digits < 3) *ms = *ms * 10 + (*text->at - '0');
    for (int i = digits; i < 3; i++) *ms *= 10;
    return digits > 0;
}

/* The offset from UTC in minutes. */
static bool offset(cursor *text, int *minutes) {
    *minutes = 0;
    if (text->at == text->end || take(text, 'Z') || take(text, 'z')) return true;
    const bool west = take(text, '-');
    int hour, minute;
    if ((!west && !take(text, '+')) || !number(text, 2, 0, 23, &hour) || !take(text, ':') ||
        !number(text, 2, 0, 59, &minute))
        return false;
    *minutes = (hour * 60 + minute) * (west ? -1 : 1);
    return true;
}

bool ki_time_parse(const char *text, size_t bytes, int64_t *ms) {
    cursor at = {text, text + bytes};
    int64_t days;
    if (!date(&at, &days)) return false;
    int hour = 0, minute = 0, second = 0, part = 0, east = 0;
    if (at.at < at.end) {
        if (!take(&at, 'T') && !take(&at, 't') && !take(&at, ' ')) return false;
        if (!number(&at, 2, 0, 23, &hour) || !take(&at, ':') || !number(&at, 2, 0, 59, &minute)) return false;
        if (take(&at, ':') && (!number(&at, 2, 0, 60, &second) || (take(&at, '.') && !fraction(&at, &part))))
            return false;
        if (!offset(&at, &east) || at.at != at.end) return false;
    }
    *ms = (((days * 24 + hour) * 60 + minute - east) * 60 + second) * 1000 + part;
    return true;
}
