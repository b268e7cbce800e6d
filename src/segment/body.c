/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of segments, written and read. The dead rows are encoded straight from the words of the set of live ones,
 * 1,024 words (2^16 rows) a container: a scan over them costs a tenth of a millisecond for ten million rows, which is
 * what it may cost while writers wait. Any thread. */
#include "segment/body.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/status.h"

enum {
    HEAD_BYTES = 32,
    FILE_BYTES = 64,
    VERSION = 1,
    NO_RUNS = 12346, /* the cookie of a bitmap without run containers */
    CONTAINER_WORDS = 1024,
    CONTAINER_BYTES = 8192,
    ARRAY_MOST = 4096 /* a container with more rows than these is a bitmap */
};
static const uint32_t MAGIC = UINT32_C(0x4745534b); /* "KSEG" */

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* Word `at` of the dead rows. */
static uint64_t dead_word(const ki_bits *alive, uint64_t at) {
    const uint64_t dead = ~alive->word[at], from = at * 64;
    if (alive->rows >= from + 64) return dead;
    return alive->rows > from ? dead & ((UINT64_C(1) << (alive->rows - from)) - 1) : 0;
}

static uint64_t words_of(const ki_bits *alive, uint64_t container) {
    const uint64_t words = (alive->rows + 63) / 64, first = container * CONTAINER_WORDS;
    return ki_min_u64(CONTAINER_WORDS, words - first);
}

static uint32_t dead_in(const ki_bits *alive, uint64_t container) {
    const uint64_t first = container * CONTAINER_WORDS, words = words_of(alive, container);
    uint32_t dead = 0;
    for (uint64_t w = 0; w < words; w++) dead += (uint32_t)__builtin_popcountll(dead_word(alive, first + w));
    return dead;
}

static uint64_t containers_of(uint64_t rows) {
    return (rows + 65535) / 65536;
}

static uint32_t container_bytes(uint32_t dead) {
    return dead > ARRAY_MOST ? CONTAINER_BYTES : 2 * dead;
}

/* The bytes of the dead rows, and how many containers have any. */
static uint64_t dead_bytes(const ki_bits *alive, uint32_t *used) {
    const uint64_t containers = alive->set == alive->rows ? 0 : containers_of(alive->rows);
    uint64_t bytes = 8;
    *used = 0;
    for (uint64_t c = 0; c < containers; c++) {
        const uint32_t dead = dead_in(alive, c);
        if (!dead) continue;
        bytes += 8 + container_bytes(dead);
        ++*used;
    }
    return bytes;
}

static void put_container(const ki_bits *alive, uint64_t container, uint32_t dead, unsigned char *to) {
    const uint64_t first = container * CONTAINER_WORDS, words = words_of(alive, container);
    if (dead > ARRAY_MOST) memset(to, 0, CONTAINER_BYTES);
    for (uint64_t w = 0; w < words; w++) {
        uint64_t word = dead_word(alive, first + w);
        if (dead > ARRAY_MOST) {
            ki_store_u64(to + w * 8, word);
            continue;
        }
        for (; word; word &= word - 1, to += 2) {
            const uint16_t row = (uint16_t)(w * 64 + (unsigned)__builtin_ctzll(word));
            memcpy(to, &row, sizeof(row));
        }
    }
}

static void put_dead(const ki_bits *alive, uint32_t used, unsigned char *to) {
    const uint64_t containers = used ? containers_of(alive->rows) : 0;
    unsigned char *key = to + 8, *offset = key + 4 * (size_t)used;
    uint32_t at = 8 + 8 * used;
    ki_store_u32(to, NO_RUNS);
    ki_store_u32(to + 4, used);
    for (uint64_t c = 0; c < containers; c++) {
        const uint32_t dead = dead_in(alive, c);
        if (!dead) continue;
        ki_store_u32(key, (uint32_t)c | (dead - 1) << 16);
        ki_store_u32(offset, at);
        put_container(alive, c, dead, to + at);
        key += 4, offset += 4, at += container_bytes(dead);
    }
}

static void put_file(const ki_body_file *file, unsigned char *to) {
    ki_store_u64(to, file->bytes);
    ki_store_u64(to + 8, file->hash);
    memcpy(to + 16, file->name, KI_BODY_NAME_BYTES);
}

kith_status ki_body_encode(const ki_body *body, const ki_bits *alive, void **data, size_t *bytes, kith_error *error) {
    uint32_t used;
    const uint64_t files = FILE_BYTES * (1 + (uint64_t)body->specs), dead = dead_bytes(alive, &used);
    unsigned char *to = ki_alloc_array_zeroed(HEAD_BYTES + files + dead, 1);
    if (!to) return ki_fail(error, KITH_E_NOMEM, "out of memory for what the catalog keeps of a segment");
    ki_store_u32(to, MAGIC);
    ki_store_u32(to + 4, VERSION);
    ki_store_u64(to + 8, body->rows);
    ki_store_u64(to + 16, body->generation);
    ki_store_u32(to + 24, (uint32_t)body->specs);
    ki_store_u32(to + 28, (uint32_t)dead);
    put_file(&body->table, to + HEAD_BYTES);
    for (size_t s = 0; s < body->specs; s++) put_file(&body->index[s], to + HEAD_BYTES + FILE_BYTES * (1 + s));
    put_dead(alive, used, to + HEAD_BYTES + files);
    *data = to;
    *bytes = (size_t)(HEAD_BYTES + files + dead);
    return KITH_OK;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* A name is of small letters, digits, '.' and '-', does not begin with a dot, and ends in zeros. */
static int name_is_fine(const char *name) {
    size_t length = 0;
    for (; length < KI_BODY_NAME_BYTES && name[length]; length++) {
        const char c = name[length];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || (c == '.' && length))) return 0;
    }
    for (size_t i = length; i < KI_BODY_NAME_BYTES; i++)
        if (name[i]) return 0;
    return length < KI_BODY_NAME_BYTES;
}

static int get_file(const unsigned char *from, ki_body_file *file) {
    file->bytes = ki_load_u64(from);
    file->hash = ki_load_u64(from + 8);
    memcpy(file->name, from + 16, KI_BODY_NAME_BYTES);
    return name_is_fine(file->name) && (file->name[0] || (!file->bytes && !file->hash));
}

/* Clear the rows of one container; false: it does not hold `dead` rows below the last one in ascending order. */
static int get_container(const unsigned char *from, uint64_t first, uint32_t dead, ki_bits *alive) {
    if (dead > ARRAY_MOST) {
        uint32_t found = 0;
        for (uint64_t w = 0; w < CONTAINER_WORDS; w++) {
            for (uint64_t word = ki_load_u64(from + w * 8); word; word &= word - 1, found++) {
                const uint64_t row = first + w * 64 + (unsigned)__builtin_ctzll(word);
                if (row >= alive->rows) return 0;
                ki_bits_clear(alive, row);
            }
        }
        return found == dead;
    }
    int64_t before = -1;
    for (uint32_t i = 0; i < dead; i++) {
        const uint16_t low = ki_load_u16(from + 2 * (size_t)i);
        if (low <= before || first + low >= alive->rows) return 0;
        ki_bits_clear(alive, first + low);
        before = low;
    }
    return 1;
}

/* Clear the dead rows; false: these are no such bytes. */
static int get_dead(const unsigned char *from, size_t bytes, ki_bits *alive) {
    if (bytes < 8 || ki_load_u32(from) != NO_RUNS) return 0;
    const uint32_t used = ki_load_u32(from + 4);
    if (used > 65536 || bytes < 8 + 8 * (size_t)used) return 0;
    size_t at = 8 + 8 * (size_t)used;
    int64_t before = -1;
    for (uint32_t u = 0; u < used; u++) {
        const uint32_t word = ki_load_u32(from + 8 + 4 * (size_t)u), key = word & 0xffff, dead = (word >> 16) + 1;
        const size_t size = container_bytes(dead);
        if (key <= before || ki_load_u32(from + 8 + 4 * ((size_t)used + u)) != at || bytes - at < size) return 0;
        if (!get_container(from + at, (uint64_t)key * 65536, dead, alive)) return 0;
        at += size;
        before = key;
    }
    return at == bytes;
}

static kith_status corrupt(uint64_t number, const char *what, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "the catalog's row of segment %llu is damaged: %s",
                   (unsigned long long)number, what);
}

static kith_status get_head(const unsigned char *from, size_t bytes, uint64_t number, ki_body *body,
                            kith_error *error) {
    if (bytes < HEAD_BYTES || ki_load_u32(from) != MAGIC) return corrupt(number, "it does not begin as one", error);
    if (ki_load_u32(from + 4) != VERSION)
        return ki_fail(error, KITH_E_VERSION, "segment %llu is of version %u, which needs a newer kith",
                       (unsigned long long)number, ki_load_u32(from + 4));
    body->rows = ki_load_u64(from + 8);
    body->generation = ki_load_u64(from + 16);
    body->specs = ki_load_u32(from + 24);
    if (!body->rows || body->rows > KITH_ROWS_MAX) return corrupt(number, "its row count is out of range", error);
    if (body->specs > KITH_VECTORS_MAX) return corrupt(number, "its number of vectors is out of range", error);
    const size_t dead = ki_load_u32(from + 28), files = FILE_BYTES * (1 + body->specs);
    if (bytes - HEAD_BYTES < files || bytes - HEAD_BYTES - files != dead)
        return corrupt(number, "its size is not what its counts say", error);
    if (!get_file(from + HEAD_BYTES, &body->table) || !body->table.name[0])
        return corrupt(number, "the name of its table cannot be one", error);
    for (size_t s = 0; s < body->specs; s++)
        if (!get_file(from + HEAD_BYTES + FILE_BYTES * (1 + s), &body->index[s]))
            return corrupt(number, "the name of an index cannot be one", error);
    return KITH_OK;
}

kith_status ki_body_files(const void *data, size_t bytes, uint64_t number, ki_body *body, kith_error *error) {
    ki_body read;
    const kith_status status = get_head(data, bytes, number, &read, error);
    if (status == KITH_OK) *body = read;
    return status;
}

kith_status ki_body_alive(const void *data, size_t bytes, uint64_t number, const ki_body *body, ki_bits **alive,
                          kith_error *error) {
    const size_t files = HEAD_BYTES + FILE_BYTES * (1 + body->specs);
    ki_bits *bits = ki_bits_create(body->rows, 1);
    if (!bits) return ki_fail(error, KITH_E_NOMEM, "out of memory for %llu rows", (unsigned long long)body->rows);
    if (!get_dead((const unsigned char *)data + files, bytes - files, bits)) {
        ki_bits_release(bits);
        return corrupt(number, "its dead rows are none of it", error);
    }
    *alive = bits;
    return KITH_OK;
}

kith_status ki_body_decode(const void *data, size_t bytes, uint64_t number, ki_body *body, ki_bits **alive,
                           kith_error *error) {
    ki_body read;
    kith_status status = ki_body_files(data, bytes, number, &read, error);
    if (status == KITH_OK) status = ki_body_alive(data, bytes, number, &read, alive, error);
    if (status == KITH_OK) *body = read;
    return status;
}
