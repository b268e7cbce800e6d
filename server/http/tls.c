/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS: the certificate and its key, read and checked before the server starts, and read again while it runs.
 *
 * libmicrohttpd knows the first pair alone. Each connection is given the newest one before its handshake; those before
 * live on until the end, since open connections use them. */
#define _GNU_SOURCE
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/wire.h"

/* One pair that was read. */
typedef struct ks_pair {
    struct ks_pair *older;
    gnutls_certificate_credentials_t credentials;
} ks_pair;

struct ks_tls {
    char *certificate, *key;   /* as libmicrohttpd wants them: PEM texts */
    _Atomic(ks_pair *) newest; /* written by ks_tls_renew() */
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

static kith_status no_memory(kith_error *error) {
    if (error) *error = (kith_error){KITH_E_NOMEM, "there is no memory for a certificate"};
    return KITH_E_NOMEM;
}

/* Apart from the key, so that the error names the file; and GnuTLS loses the key's memory when it meets both. */
static kith_status check_certificate(const char *path, const gnutls_datum_t *text, kith_error *error) {
    gnutls_x509_crt_t *list = NULL;
    unsigned count = 0;
    const int code = gnutls_x509_crt_list_import2(&list, &count, text, GNUTLS_X509_FMT_PEM, 0);
    for (unsigned i = 0; code >= 0 && i < count; i++) gnutls_x509_crt_deinit(list[i]);
    if (code >= 0) gnutls_free(list);
    if (code >= 0 && count) return KITH_OK;
    if (error) {
        error->status = KITH_E_DATA;
        snprintf(error->text, sizeof(error->text), "%s is no certificate in PEM form: %s", path, gnutls_strerror(code));
    }
    return KITH_E_DATA;
}

static kith_status make_pair(const ks_http_options *options, const char *certificate, const char *key, ks_pair **made,
                             kith_error *error) {
    const gnutls_datum_t first = {(unsigned char *)(uintptr_t)certificate, (unsigned)strlen(certificate)};
    const gnutls_datum_t second = {(unsigned char *)(uintptr_t)key, (unsigned)strlen(key)};
    const kith_status status = check_certificate(options->certificate, &first, error);
    if (status != KITH_OK) return status;
    ks_pair *pair = calloc(1, sizeof(*pair));
    if (!pair) return no_memory(error);
    int code = gnutls_certificate_allocate_credentials(&pair->credentials);
    if (code == 0) code = gnutls_certificate_set_x509_key_mem(pair->credentials, &first, &second, GNUTLS_X509_FMT_PEM);
    if (code >= 0) {
        *made = pair;
        return KITH_OK;
    }
    if (pair->credentials) gnutls_certificate_free_credentials(pair->credentials);
    free(pair);
    if (error) {
        error->status = KITH_E_DATA;
        snprintf(error->text, sizeof(error->text),
                 "%.200s is not the private key, in PEM form, of the certificate %.200s: %s", options->private_key,
                 options->certificate, gnutls_strerror(code));
    }
    return KITH_E_DATA;
}

static void forget_key(char *key) {
    if (key) gnutls_memset(key, 0, strlen(key));
    gnutls_free(key);
}

/* Read and check both files; texts are the caller's. */
static kith_status read_pair(const ks_http_options *options, char **certificate, char **key, ks_pair **made,
                             kith_error *error) {
    kith_status status = read_file(options->certificate, "certificate", certificate, error);
    if (status == KITH_OK) status = read_file(options->private_key, "private key", key, error);
    if (status == KITH_OK) status = make_pair(options, *certificate, *key, made, error);
    return status;
}

kith_status ks_tls_open(const ks_http_options *options, ks_tls **tls, kith_error *error) {
    if (!options->certificate && !options->private_key) return KITH_OK;
    if (!options->certificate || !options->private_key) {
        if (error) *error = (kith_error){KITH_E_ARG, "TLS needs both a certificate and its private key"};
        return KITH_E_ARG;
    }
    ks_tls *made = calloc(1, sizeof(*made));
    ks_pair *first = NULL;
    if (!made) return no_memory(error);
    const kith_status status = read_pair(options, &made->certificate, &made->key, &first, error);
    if (status == KITH_OK) {
        atomic_store(&made->newest, first);
        *tls = made;
    } else {
        ks_tls_close(made);
    }
    return status;
}

kith_status ks_tls_renew(ks_tls *tls, const ks_http_options *options, kith_error *error) {
    char *certificate = NULL, *key = NULL;
    ks_pair *next = NULL;
    const kith_status status = read_pair(options, &certificate, &key, &next, error);
    gnutls_free(certificate);
    forget_key(key);
    if (status != KITH_OK) return status;
    next->older = atomic_load(&tls->newest);
    atomic_store(&tls->newest, next);
    return KITH_OK;
}

void ks_tls_dress(ks_tls *tls, struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info =
        tls ? MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION) : NULL;
    if (!info) return;
    ks_pair *newest = atomic_load(&tls->newest);
    (void)gnutls_credentials_set(info->tls_session, GNUTLS_CRD_CERTIFICATE, newest->credentials);
}

void ks_tls_close(ks_tls *tls) {
    if (!tls) return;
    for (ks_pair *at = atomic_load(&tls->newest), *older; at; at = older) {
        older = at->older;
        gnutls_certificate_free_credentials(at->credentials);
        free(at);
    }
    gnutls_free(tls->certificate);
    forget_key(tls->key);
    free(tls);
}

size_t ks_tls_options(ks_tls *tls, struct MHD_OptionItem *items, size_t room) {
    if (!tls || room < 3) return 0;
    items[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, tls->certificate};
    items[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, tls->key};
    items[2] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities};
    return 3;
}
