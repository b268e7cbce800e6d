/* SPDX-License-Identifier: Apache-2.0
 *
 * What went wrong, said. */
#include "error/error.h"

#include <stdarg.h>
#include <stdio.h>

kith_status ks_error(kith_error *error, kith_status status, const char *format, ...) {
    va_list values;
    if (!error) return status;
    error->status = status;
    va_start(values, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, values);
    va_end(values);
    return status;
}
