/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *kith_status_text(kith_status status) {
    static const char *const text[] = {
        "ok",
        "bad argument",
        "out of memory",
        "input/output error",
        "no space left",
        "not found",
        "malformed input file",
        "value refused",
        "damaged index file",
        "newer format",
        "over a limit",
        "busy",
        "cancelled",
        "deadline passed",
        "not supported",
    };
    const size_t number = (size_t)status;
    return number < sizeof(text) / sizeof(*text) ? text[number] : "unknown status";
}

const char *kith_version(void) {
#define KI_TEXT(x)          #x
#define KI_VERSION(a, b, c) KI_TEXT(a) "." KI_TEXT(b) "." KI_TEXT(c)
    return KI_VERSION(KITH_VERSION_MAJOR, KITH_VERSION_MINOR, KITH_VERSION_PATCH);
}

kith_status ki_fail(kith_error *error, kith_status status, const char *format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        vsnprintf(error->text, sizeof(error->text), format, arguments);
        va_end(arguments);
    }
    return status;
}

static kith_status status_of_errno(int number) {
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return KITH_E_NOSPACE;
    case ENOENT:
    case ENOTDIR:
        return KITH_E_NOTFOUND;
    case ENOMEM:
        return KITH_E_NOMEM;
    default:
        return KITH_E_IO;
    }
}

kith_status ki_fail_errno(kith_error *error, int number, const char *format, ...) {
    const kith_status status = status_of_errno(number);
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        vsnprintf(error->text, sizeof(error->text), format, arguments);
        va_end(arguments);
        const size_t used = strlen(error->text);
        snprintf(error->text + used, sizeof(error->text) - used, ": %s", strerror(number));
    }
    return status;
}
