/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS: the certificate and its key, read and checked before the server starts. */
#define _GNU_SOURCE
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/wire.h"

struct ks_tls {
    char *certificate, *key;
};

/* TLS 1.2 and 1.3, no weak ciphers. */
static const char priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

static kith_status read_file(const char *path, const char *what, char **text, kith_error *error) {
    gnutls_datum_t data = {0};
    errno = 0;
    const int code = gnutls_load_file(path, &data);
    if (code < 0) {
        if (error) {
            error->status = KITH_E_IO;
            snprintf(error->text, sizeof(error->text), "%s: the %s cannot be read: %s", path, what,
                     errno ? strerror(errno) : gnutls_strerror(code));
        }
        return KITH_E_IO;
    }
    *text = (char *)data.data; /* gnutls_load_file() puts a zero behind it */
    return KITH_OK;
}

static kith_status check(const ks_http_options *options, const ks_tls *tls, kith_error *error) {
    gnutls_certificate_credentials_t credentials = NULL;
    int code = gnutls_certificate_allocate_credentials(&credentials);
    const gnutls_datum_t certificate = {(unsigned char *)tls->certificate, (unsigned)strlen(tls->certificate)};
    const gnutls_datum_t key = {(unsigned char *)tls->key, (unsigned)strlen(tls->key)};
    if (code == 0) code = gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
    if (credentials) gnutls_certificate_free_credentials(credentials);
    if (code >= 0) return KITH_OK;
    if (error) {
        error->status = KITH_E_DATA;
        snprintf(error->text, sizeof(error->text), "%s and %s are no certificate and its key in PEM form: %s",
                 options->certificate, options->private_key, gnutls_strerror(code));
    }
    return KITH_E_DATA;
}

kith_status ks_tls_open(const ks_http_options *options, ks_tls **tls, kith_error *error) {
    if (!options->certificate && !options->private_key) return KITH_OK;
    if (!options->certificate || !options->private_key) {
        if (error) *error = (kith_error){KITH_E_ARG, "TLS needs both a certificate and its private key"};
        return KITH_E_ARG;
    }
    ks_tls *made = calloc(1, sizeof(*made));
    if (!made) {
        if (error) *error = (kith_error){KITH_E_NOMEM, "there is no memory for a certificate"};
        return KITH_E_NOMEM;
    }
    kith_status status = read_file(options->certificate, "certificate", &made->certificate, error);
    if (status == KITH_OK) status = read_file(options->private_key, "private key", &made->key, error);
    if (status == KITH_OK) status = check(options, made, error);
    if (status == KITH_OK) {
        *tls = made;
    } else {
        ks_tls_close(made);
    }
    return status;
}

void ks_tls_close(ks_tls *tls) {
    if (!tls) return;
    gnutls_free(tls->certificate);
    if (tls->key) gnutls_memset(tls->key, 0, strlen(tls->key));
    gnutls_free(tls->key);
    free(tls);
}

size_t ks_tls_options(ks_tls *tls, struct MHD_OptionItem *items, size_t room) {
    if (!tls || room < 3) return 0;
    items[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, tls->certificate};
    items[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, tls->key};
    items[2] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities};
    return 3;
}
