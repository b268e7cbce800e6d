/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* mkostemp() */
#include "device/opencl/program.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const unsigned char ki_cl_kernels[];
extern const size_t ki_cl_kernels_bytes;

enum { OPTIONS_BYTES = 1024, PATH_BYTES = 4096, MAGIC = 0x314c434b };
static const uint64_t most_bytes = 64 << 20; /* of a binary */

/* The head of a file of the cache. */
struct entry {
    uint32_t magic, zero;
    XXH128_hash_t of; /* text, options, device and driver */
    uint64_t bytes, hash;
};

/* Languages of 3.0 know the feature macro of the integer dot product. KITH_OPENCL_OPTIONS adds options. */
static void options_for(const ki_cl *cl, cl_device_id device, unsigned tile, int bits, char options[OPTIONS_BYTES]) {
    char language[KI_DEVICE_TEXT];
    unsigned major = 1, minor = 2;
    const char *more = getenv("KITH_OPENCL_OPTIONS");
    ki_cl_text(cl, device, CL_DEVICE_OPENCL_C_VERSION, language, sizeof(language));
    if (sscanf(language, "OpenCL C %u.%u", &major, &minor) != 2) major = 1;
    snprintf(options, OPTIONS_BYTES, "-cl-std=%s -DTILE=%u -DBITS=%d %s", major >= 3 ? "CL3.0" : "CL1.2", tile, bits,
             more ? more : "");
}

static XXH128_hash_t identity(const ki_cl *cl, cl_device_id device, const char *options) {
    static const cl_device_info parts[] = {CL_DEVICE_NAME, CL_DEVICE_VENDOR, CL_DEVICE_VERSION, CL_DRIVER_VERSION};
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        char text[512];
        ki_cl_text(cl, device, parts[i], text, sizeof(text));
        XXH3_128bits_update(&state, text, strlen(text) + 1);
    }
    XXH3_128bits_update(&state, options, strlen(options) + 1);
    XXH3_128bits_update(&state, ki_cl_kernels, ki_cl_kernels_bytes);
    return XXH3_128bits_digest(&state);
}

/* ---- The cache --------------------------------------------------------------------------------------------------- */

/* XDG_CACHE_HOME/kith, or ~/.cache/kith, which is made; 0: there is no such place. */
static int cache_path(XXH128_hash_t of, char path[PATH_BYTES]) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[PATH_BYTES / 2];
    int length;
    if (cache && cache[0] == '/')
        length = snprintf(folder, sizeof(folder), "%s", cache);
    else if (home && home[0] == '/')
        length = snprintf(folder, sizeof(folder), "%s/.cache", home);
    else
        return 0;
    if (length < 0 || (size_t)length + 8 > sizeof(folder)) return 0;
    if (mkdir(folder, 0700) && errno != EEXIST) return 0;
    strcat(folder, "/kith");
    if (mkdir(folder, 0700) && errno != EEXIST) return 0;
    snprintf(path, PATH_BYTES, "%s/opencl-%016llx%016llx.bin", folder, (unsigned long long)of.high64,
             (unsigned long long)of.low64);
    return 1;
}

/* The binary of a whole entry, to be freed, or NULL. */
static unsigned char *read_entry(const char *path, XXH128_hash_t of, size_t *bytes) {
    FILE *file = fopen(path, "rbe");
    struct entry entry;
    unsigned char *binary = NULL;
    if (!file) return NULL;
    if (fread(&entry, sizeof(entry), 1, file) == 1 && entry.magic == MAGIC && XXH128_isEqual(entry.of, of) &&
        entry.bytes && entry.bytes <= most_bytes)
        binary = malloc((size_t)entry.bytes);
    if (binary && (fread(binary, 1, (size_t)entry.bytes, file) != entry.bytes ||
                   XXH3_64bits(binary, (size_t)entry.bytes) != entry.hash)) {
        free(binary);
        binary = NULL;
    }
    if (binary) *bytes = (size_t)entry.bytes;
    fclose(file);
    return binary;
}

/* Under a name of its own first: readers see whole entries. */
static void write_entry(const char *path, XXH128_hash_t of, const unsigned char *binary, size_t bytes) {
    char unfinished[PATH_BYTES + 32];
    const struct entry entry = {.magic = MAGIC, .of = of, .bytes = bytes, .hash = XXH3_64bits(binary, bytes)};
    snprintf(unfinished, sizeof(unfinished), "%s.XXXXXX", path);
    const int fd = mkostemp(unfinished, O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!file) {
        if (fd >= 0) {
            close(fd);
            unlink(unfinished);
        }
        return;
    }
    const int written = fwrite(&entry, sizeof(entry), 1, file) == 1 && fwrite(binary, 1, bytes, file) == bytes;
    if (fclose(file) || !written || rename(unfinished, path)) unlink(unfinished);
}

/* ---- Programs ---------------------------------------------------------------------------------------------------- */

static cl_program from_cache(const ki_cl *cl, cl_context context, cl_device_id device, const char *options,
                             const char *path, XXH128_hash_t of) {
    size_t bytes = 0;
    unsigned char *binary = read_entry(path, of, &bytes);
    cl_int code = CL_SUCCESS, state = CL_SUCCESS;
    if (!binary) return NULL;
    const unsigned char *binaries[] = {binary};
    cl_program program = cl->clCreateProgramWithBinary(context, 1, &device, &bytes, binaries, &state, &code);
    free(binary);
    if (code != CL_SUCCESS) return NULL;
    if (state == CL_SUCCESS && cl->clBuildProgram(program, 1, &device, options, NULL, NULL) == CL_SUCCESS)
        return program;
    cl->clReleaseProgram(program);
    return NULL;
}

static void to_cache(const ki_cl *cl, cl_program program, const char *path, XXH128_hash_t of) {
    size_t bytes = 0;
    if (cl->clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(bytes), &bytes, NULL) != CL_SUCCESS || !bytes ||
        bytes > most_bytes)
        return;
    unsigned char *binary = malloc(bytes);
    if (!binary) return;
    if (cl->clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(binary), &binary, NULL) == CL_SUCCESS)
        write_entry(path, of, binary, bytes);
    free(binary);
}

/* What the compiler said, as far as an error's text has room for it. */
static kith_status fail_build(const ki_cl *cl, cl_program program, cl_device_id device, cl_int code,
                              kith_error *error) {
    size_t bytes = 0;
    char *log = NULL;
    if (cl->clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) == CL_SUCCESS && bytes &&
        bytes < most_bytes)
        log = calloc(1, bytes + 1);
    if (log && cl->clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, bytes, log, NULL) != CL_SUCCESS)
        log[0] = 0;
    for (char *at = log; at && *at; at++)
        if (*at == '\n') *at = ' ';
    const kith_status status =
        ki_cl_say(error, KITH_E_UNSUPPORTED, "OpenCL: the device's compiler refused the kernels (%d): %s", (int)code,
                  log && log[0] ? log : "it does not say why");
    free(log);
    return status;
}

static kith_status from_text(const ki_cl *cl, cl_context context, cl_device_id device, const char *options,
                             cl_program *program, kith_error *error) {
    const char *text = (const char *)ki_cl_kernels;
    cl_int code = CL_SUCCESS;
    *program = cl->clCreateProgramWithSource(context, 1, &text, &ki_cl_kernels_bytes, &code);
    if (code != CL_SUCCESS) {
        *program = NULL;
        return ki_cl_fail(error, code, "clCreateProgramWithSource");
    }
    code = cl->clBuildProgram(*program, 1, &device, options, NULL, NULL);
    if (code == CL_SUCCESS) return KITH_OK;
    const kith_status status = fail_build(cl, *program, device, code, error);
    cl->clReleaseProgram(*program);
    *program = NULL;
    return status;
}

kith_status ki_cl_program(const ki_cl *cl, cl_context context, cl_device_id device, unsigned tile, int bits,
                          cl_program *program, kith_error *error) {
    char options[OPTIONS_BYTES], path[PATH_BYTES];
    options_for(cl, device, tile, bits, options);
    const XXH128_hash_t of = identity(cl, device, options);
    const int cached = cache_path(of, path);
    *program = cached ? from_cache(cl, context, device, options, path, of) : NULL;
    if (*program) return KITH_OK;
    const kith_status status = from_text(cl, context, device, options, program, error);
    if (status == KITH_OK && cached) to_cache(cl, *program, path, of);
    return status;
}
