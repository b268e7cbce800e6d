/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* dladdr() */
#include "device/plugin.h"

#include "base/status.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char plugin_name[] = "libkith_opencl.so";
static const ki_device_backend *opened;
static kith_error open_error;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The folder of the library or program that this function is in, with its '/'; "" where it is not known. */
static void own_folder(char folder[PATH_MAX]) {
    Dl_info info;
    void *self;
    kith_status (*const function)(const ki_device_backend **, kith_error *) = ki_device_opencl;
    memcpy(&self, &function, sizeof(self));
    folder[0] = 0;
    if (!dladdr(self, &info) || !info.dli_fname) return;
    char real[PATH_MAX];
    /* Of a program it is the name that it was called by, which may say nothing of where it lies. */
    const char *path = realpath(strchr(info.dli_fname, '/') ? info.dli_fname : "/proc/self/exe", real);
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (slash) snprintf(folder, PATH_MAX, "%.*s", (int)(slash - path) + 1, path);
}

/* From one folder; "": where the system looks. */
static void *open_in(const char *folder, const char *below) {
    char path[PATH_MAX + sizeof(plugin_name) + 16];
    snprintf(path, sizeof(path), "%s%s%s", folder, below, plugin_name);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void *find_plugin(void) {
    const char *named = getenv("KITH_DEVICE_PATH");
    char folder[PATH_MAX];
    if (named && named[0]) return open_in(named, "/");
    own_folder(folder);
    static const char *const below[] = {"", "lib/", "../lib/"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof(below) / sizeof(*below) && folder[0] && !library; i++)
        library = open_in(folder, below[i]);
    return library ? library : open_in("", "");
}

static void open_plugin(void) {
    void *library = find_plugin(), *symbol = library ? dlsym(library, KI_DEVICE_PLUGIN) : NULL;
    ki_device_plugin *plugin = NULL;
    if (!library) {
        ki_fail(&open_error, KITH_E_UNSUPPORTED, "there is no device: %s", dlerror());
        return;
    }
    memcpy(&plugin, &symbol, sizeof(plugin));
    opened = plugin ? plugin(KI_DEVICE_INTERFACE) : NULL;
    if (!opened || opened->interface != KI_DEVICE_INTERFACE) {
        opened = NULL;
        ki_fail(&open_error, KITH_E_UNSUPPORTED, "there is no device: %s is of another version of kith", plugin_name);
    }
}

kith_status ki_device_opencl(const ki_device_backend **backend, kith_error *error) {
    pthread_once(&once, open_plugin);
    if (opened) {
        *backend = opened;
        return KITH_OK;
    }
    return ki_fail(error, open_error.status, "%s", open_error.text);
}
