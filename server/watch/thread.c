/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting a thread (thread.h). */
#define _GNU_SOURCE
#include "watch/thread.h"

#include <signal.h>
#include <stdio.h>

kith_status ks_thread_start(pthread_t *thread, void *(*run)(void *context), void *context, const char *what,
                            kith_error *error) {
    sigset_t passed_by, before;
    sigfillset(&passed_by);
    /* Faults are the thread's own: the library answers SIGBUS of a mapped file. */
    static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) sigdelset(&passed_by, faults[i]);
    pthread_sigmask(SIG_SETMASK, &passed_by, &before);
    const int refused = pthread_create(thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!refused) return KITH_OK;
    if (error) {
        error->status = KITH_E_NOMEM;
        snprintf(error->text, sizeof(error->text),
                 "the thread that %s cannot be started: the system refuses another one", what);
    }
    return KITH_E_NOMEM;
}
