/* SPDX-License-Identifier: Apache-2.0
 *
 * Which families of routes the server has. */
#include <string.h>

#include "native/native.h"
#include "page/page.h"
#include "qdrant/qdrant.h"
#include "serve/inner.h"

size_t ks_serve_families(ks_family families[KS_FAMILIES]) {
    const ks_family all[] = {ks_native_family, ks_watch_family, ks_page_family, ks_qdrant_family};
    _Static_assert(sizeof(all) / sizeof(*all) <= KS_FAMILIES, "there is room for all");
    memcpy(families, all, sizeof(all));
    return sizeof(all) / sizeof(*all);
}
