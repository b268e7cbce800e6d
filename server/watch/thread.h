/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that signals pass by: those of the process go to who waits for them, never in the middle of this. */
#ifndef KITH_SERVER_WATCH_THREAD_H
#define KITH_SERVER_WATCH_THREAD_H

#include "kith.h"

#include <pthread.h>

/* what: it is for, for the error's sentence. KITH_E_NOMEM. */
kith_status ks_thread_start(pthread_t *thread, void *(*run)(void *context), void *context, const char *what,
                            kith_error *error);

#endif
