/* SPDX-License-Identifier: Apache-2.0 */
#include "device/opencl/loader.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ki_cl table;
static kith_error table_error;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

/* KITH_OPENCL names another loader. A symbol's address is no object's: hence memcpy. */
static void load_table(void) {
    const char *named = getenv("KITH_OPENCL"), *name = named && named[0] ? named : "libOpenCL.so.1";
    void *loader = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!loader) {
        ki_cl_say(&table_error, KITH_E_UNSUPPORTED, "OpenCL: there is no loader on this machine: %s", dlerror());
        return;
    }
#define CL_LOAD(function)                                                                                              \
    {                                                                                                                  \
        void *symbol = dlsym(loader, #function);                                                                       \
        if (!symbol) {                                                                                                 \
            ki_cl_say(&table_error, KITH_E_UNSUPPORTED, "OpenCL: %s is older than OpenCL 1.2: it has no %s", name,     \
                      #function);                                                                                      \
            return;                                                                                                    \
        }                                                                                                              \
        memcpy(&table.function, &symbol, sizeof(symbol));                                                              \
    }
    CL_FUNCTIONS(CL_LOAD)
#undef CL_LOAD
}

const ki_cl *ki_cl_load(kith_error *error) {
    pthread_once(&table_once, load_table);
    if (table_error.status == KITH_OK) return &table;
    if (error) *error = table_error;
    return NULL;
}

kith_status ki_cl_say(kith_error *error, kith_status status, const char *format, ...) {
    if (!error) return status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    error->status = status;
    return status;
}

kith_status ki_cl_fail(kith_error *error, cl_int code, const char *function) {
    switch (code) {
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_RESOURCES:
    case CL_OUT_OF_HOST_MEMORY:
    case CL_INVALID_BUFFER_SIZE:
        return ki_cl_say(error, KITH_E_NOMEM, "OpenCL: out of memory: %s returned %d", function, (int)code);
    default:
        return ki_cl_say(error, KITH_E_IO, "OpenCL: the device failed: %s returned %d", function, (int)code);
    }
}

void ki_cl_text(const ki_cl *cl, cl_device_id device, cl_device_info what, char *to, size_t bytes) {
    char text[512] = "";
    size_t length = 0;
    to[0] = 0;
    if (cl->clGetDeviceInfo(device, what, sizeof(text) - 1, text, &length) != CL_SUCCESS) return;
    snprintf(to, bytes, "%.*s", (int)bytes - 1, text);
}

kith_status ki_cl_find(const ki_cl *cl, size_t which, cl_device_id *device, kith_error *error) {
    enum { PLATFORMS = 16, DEVICES = 64 };
    cl_platform_id platform[PLATFORMS];
    cl_uint platforms = 0;
    /* Loaders without a driver return CL_PLATFORM_NOT_FOUND_KHR, which cl.h does not name. */
    if (cl->clGetPlatformIDs(PLATFORMS, platform, &platforms) != CL_SUCCESS || platforms == 0)
        return ki_cl_say(error, KITH_E_NOTFOUND, "OpenCL: no driver is installed");
    size_t before = 0;
    for (cl_uint p = 0; p < platforms && p < PLATFORMS; p++) {
        cl_device_id found[DEVICES];
        cl_uint count = 0;
        if (cl->clGetDeviceIDs(platform[p], CL_DEVICE_TYPE_ALL, DEVICES, found, &count) != CL_SUCCESS) continue;
        if (count > DEVICES) count = DEVICES;
        if (which < before + count) {
            *device = found[which - before];
            return KITH_OK;
        }
        before += count;
    }
    if (before == 0) return ki_cl_say(error, KITH_E_NOTFOUND, "OpenCL: the driver has no device");
    return ki_cl_say(error, KITH_E_NOTFOUND, "OpenCL: there is no device %zu, only %zu", which, before);
}
