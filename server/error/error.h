/* SPDX-License-Identifier: Apache-2.0
 *
 * How the server's own functions say what went wrong, as those of kith.h do. */
#ifndef KITH_SERVER_ERROR_ERROR_H
#define KITH_SERVER_ERROR_ERROR_H

#include "kith.h"

/* Write status and sentence to *error, unless it is NULL; the status. */
kith_status ks_error(kith_error *error, kith_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
