/* SPDX-License-Identifier: Apache-2.0
 *
 * What a request does, by its method and path: whether any of several servers that hold the same may answer it, and
 * whether it may be asked twice. */
#ifndef KITH_SERVER_FLEET_KIND_H
#define KITH_SERVER_FLEET_KIND_H

#include "http/call.h"

typedef enum ks_kind {
    KS_KIND_READ = 0, /* any may answer, and it may be asked again */
    KS_KIND_OWN,  /* reads what one server keeps for itself (jobs, snapshots, profiles): the one that is written to */
    KS_KIND_WRITE /* changes something, or may */
} ks_kind;

/* path: as it was sent, without what follows a "?". Whatever is not known to read, writes. */
ks_kind ks_kind_of(ks_method method, const char *path);

#endif
