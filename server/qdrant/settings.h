/* SPDX-License-Identifier: Apache-2.0
 *
 * What collections were made with, by Qdrant's clients: kept beside them, so that they are told it again.
 *
 * An object with the members of the body that made it which clients ask for (hnsw_config, optimizers_config, ...,
 * "vectors" by name), and "indexes": the type that each declared field was said to have, or false where its index was
 * deleted. It describes only: two changes at the same time may lose one. */
#ifndef KITH_SERVER_QDRANT_SETTINGS_H
#define KITH_SERVER_QDRANT_SETTINGS_H

#include "qdrant/inner.h"

/* The settings, empty ones where nothing was kept: the caller's to decref. NULL: failed. */
json_t *ks_qd_settings_read(const ks_qd_place *place);
/* 0, or -1: failed. */
int ks_qd_settings_write(const ks_qd_place *place, const json_t *settings);
/* An object in an object, made where there is none; borrowed. NULL: no memory. */
json_t *ks_qd_settings_part(json_t *settings, const char *name);
/* A deep copy whose numbers are jansson's own again. NULL: no memory, or it cannot be. */
json_t *ks_qd_settings_copy(const json_t *value);

#endif
