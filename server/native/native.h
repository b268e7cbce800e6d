/* SPDX-License-Identifier: Apache-2.0
 *
 * kith's own API: /v1. */
#ifndef KITH_SERVER_NATIVE_NATIVE_H
#define KITH_SERVER_NATIVE_NATIVE_H

#include "app.h"

extern const ks_family ks_native_family;

#endif
