/* SPDX-License-Identifier: Apache-2.0
 *
 * Failing with a sentence. Every function that can fail returns kith_status and fills the caller's kith_error through
 * ki_fail(), so that text and code never drift apart. Any thread. */
#ifndef KI_BASE_STATUS_H
#define KI_BASE_STATUS_H

#include "kith.h"

/* Fill *error (if not NULL) and return `status`. The text is cut at KITH_ERROR_TEXT_BYTES. */
kith_status ki_fail(kith_error *error, kith_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: adds ": <strerror(number)>" and picks the status from the errno value
 * (ENOSPC, EDQUOT, EFBIG: NOSPACE; ENOENT, ENOTDIR: NOTFOUND; ENOMEM: NOMEM; otherwise IO). */
kith_status ki_fail_errno(kith_error *error, int number, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
