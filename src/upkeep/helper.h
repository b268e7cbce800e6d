/* SPDX-License-Identifier: Apache-2.0
 *
 * Work that a thread of its own does while the caller waits, and looks after other things meanwhile. */
#ifndef KI_UPKEEP_HELPER_H
#define KI_UPKEEP_HELPER_H

/* Of background work: a tenth of the time of a busy core, as heads must not pile up for ever. A guess. */
enum { KI_NICE = 10 };

/* Run fn(context) on a thread of this niceness (0: as the caller) that is made for it, and return when it is done.
 * meanwhile (NULL: nothing) is called on the calling thread every twentieth of a second until then. Where no thread can
 * be made the caller does the work. */
typedef void (*ki_help_fn)(void *context);
void ki_help(ki_help_fn fn, void *context, int niceness, ki_help_fn meanwhile, void *meanwhile_context);

#endif
