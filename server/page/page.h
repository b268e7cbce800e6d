/* SPDX-License-Identifier: Apache-2.0
 *
 * The web page: /ui and what it is made of. */
#ifndef KITH_SERVER_PAGE_PAGE_H
#define KITH_SERVER_PAGE_PAGE_H

#include "app.h"

extern const ks_family ks_page_family;

#endif
