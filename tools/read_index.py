#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Read a kith index file with nothing but Python: a second reader, written from docs/format.md alone, that keeps that page honest.

  read_index.py info FILE                      header, sections and their parts
  read_index.py verify FILE                    every rule of "valid if and only if" that concerns bytes
  read_index.py check FILE                     verify, then every code, bound, id, order and string
  read_index.py vector FILE ID                 a stored vector
  read_index.py calibration FILE               what searches of some vectors found at what cost
  read_index.py table FILE                     the rows of a collection's table: one object a row, fields by number
  read_index.py search FILE --k K < QUERIES    plain scan; one query a line, a JSON array (b1: its bytes)

Answers are JSON, one object a line. Distances are computed exactly as the public header defines them: sixteen partial sums
of fused multiply-adds in single precision. Slow on purpose: it is for checking, not for use. Exit status 1: the file is not
valid, 2: wrong usage.
"""

import argparse
import array
import bisect
import json
import math
import mmap
import struct
import sys

MAGIC = b"\x89KIT\r\n\x1a\n"
PAGE, BLOCK, TABLE = 4096, 65536, 8192
DTYPES = {1: "f32", 2: "f16", 3: "bf16", 4: "i8", 5: "u8", 6: "b1"}
ELEMENT_BYTES = {"f32": 4, "f16": 2, "bf16": 2, "i8": 1, "u8": 1}
METRICS = {1: "l2", 2: "ip", 3: "cosine", 4: "hamming", 5: "jaccard"}
ID_KINDS = {0: "row", 1: "u64", 2: "string"}
FAMILIES = {
    1: ("lists", ["table", "centroids", "bounds", "codes", "factors", "first_codes", "first_factors", "supers"]),
    2: ("first_level", ["basis", "codes", "factors"]),
    3: ("codes", ["codes", "factors"]),
    4: ("second_code", ["model", "codes", "factors"]),
    5: ("second_lists", ["counts", "entries", "codes", "factors"]),
    6: ("ids", ["ids", "order"]),
    7: ("originals", ["rows", "inverse_norms", "norms2"]),
    8: ("strings", ["ends", "bytes", "order"]),
    9: ("names", ["ends", "bytes"]),
    10: ("meta", ["json"]),
    11: ("calibration", ["settings"]),
    12: ("rows", ["keys", "ends", "bytes", "order"]),
    13: ("columns", ["directory", "data"]),
    14: ("graph", ["model", "rows"]),
    15: ("hnsw", ["model", "links"]),
    16: ("lsh", ["model", "tables"]),
}
# What was a section of its own in version 1, by its kind.
VERSION1 = {
    1: "lists/table", 2: "lists/centroids", 3: "codes/codes", 4: "codes/factors", 5: "first_level/basis",
    6: "first_level/codes", 7: "first_level/factors", 8: "originals/rows", 9: "originals/inverse_norms", 10: "ids/ids",
    11: "ids/order", 12: "strings/ends", 13: "strings/bytes", 14: "strings/order", 15: "names/ends", 16: "names/bytes",
    17: "meta/json", 18: "lists/codes", 19: "lists/factors", 20: "lists/bounds", 21: "lists/supers",
    22: "second_code/model", 23: "second_code/codes", 24: "second_code/factors", 25: "calibration/settings",
    26: "second_lists/counts", 27: "second_lists/entries", 28: "second_lists/codes", 29: "second_lists/factors",
    30: "lists/first_codes", 31: "lists/first_factors",
}  # fmt: skip
ORIGINALS, NAMES, WHOLE_CODES = 1, 2, 4
FEATURE_LISTS, FEATURE_TABLE, FEATURE_FLAT_CODE = 1, 2, 4
FIELD_TYPES = {1: "tag", 2: "tags", 3: "int", 4: "float", 5: "bool", 6: "time"}
PLANS = {1: "plain", 2: "scan", 3: "levels", 4: "gather", 5: "ivf", 6: "graph", 7: "hnsw", 8: "lsh", 9: "pq"}
WALKS = (6, 7, 8)  # which have an effort in place of lists
SCAN_CODES = {0: "auto", 1: "int8", 2: "second", 3: "levels", 4: "first"}
FLT_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


class Invalid(Exception):
    pass


def demand(condition, text):
    if not condition:
        raise Invalid(text)


def length(x, y=None):
    """|x|, or |x - y|."""
    return math.sqrt(math.fsum(a * a for a in x) if y is None else math.fsum((a - b) ** 2 for a, b in zip(x, y)))


def round_up(value, step):
    return (value + step - 1) // step * step


# ---- XXH3, 64 bits, seed 0, inputs longer than 240 bytes: the only form that the format uses -----------------------------

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
M64 = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
STRIPE, STRIPES_PER_ROUND = 64, (len(SECRET) - 64) // 8
KEYS = [struct.unpack_from("<8Q", SECRET, 8 * i) for i in range(STRIPES_PER_ROUND)]
SCRAMBLE_KEYS = struct.unpack_from("<8Q", SECRET, len(SECRET) - 64)
LAST_KEYS = struct.unpack_from("<8Q", SECRET, len(SECRET) - 64 - 7)


def xxh3_accumulate(acc, lanes, keys):
    for i in range(8):
        value = lanes[i]
        key = value ^ keys[i]
        acc[i ^ 1] = (acc[i ^ 1] + value) & M64
        acc[i] = (acc[i] + (key & 0xFFFFFFFF) * (key >> 32)) & M64


def xxh3_python(data):
    size = len(data)
    assert size > 240
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    stripes = (size - 1) // STRIPE
    words = struct.unpack_from("<%dQ" % (stripes * 8), data)
    for stripe in range(stripes):
        turn = stripe % STRIPES_PER_ROUND
        xxh3_accumulate(acc, words[8 * stripe : 8 * stripe + 8], KEYS[turn])
        if turn == STRIPES_PER_ROUND - 1:
            acc = [((a ^ (a >> 47) ^ key) * P32_1) & M64 for a, key in zip(acc, SCRAMBLE_KEYS)]
    xxh3_accumulate(acc, struct.unpack_from("<8Q", data, size - STRIPE), LAST_KEYS)
    result = size * P64_1
    for i in range(4):
        low, high = struct.unpack_from("<2Q", SECRET, 11 + 16 * i)
        product = (acc[2 * i] ^ low) * (acc[2 * i + 1] ^ high)
        result += (product & M64) ^ (product >> 64)
    result &= M64
    result = ((result ^ (result >> 37)) * 0x165667919E3779F9) & M64
    return result ^ (result >> 32)


try:
    import xxhash

    def xxh3(data):
        return xxhash.xxh3_64_intdigest(data)
except ImportError:
    xxh3 = xxh3_python


# ---- The file ----------------------------------------------------------------------------------------------------------


def part_name(family, number):
    name, parts = FAMILIES.get(family, ("unknown", []))
    known = "head" if number == 0 else parts[number - 1] if number <= len(parts) else "unknown"
    return name + "/" + known


def place(name):
    """A part's name, for people."""
    return "section '%s', part '%s'" % tuple(name.split("/")) if "/" in name else "an unknown section"


class Part:
    """A run of bytes of one meaning; the head of a section is one too."""

    def __init__(self, name, key, offset, size, count):
        self.name, self.key, self.offset, self.bytes, self.count = name, key, offset, size, count
        self.place = place(name)
        self.is_head = name.endswith("/head")


class Index:
    """A mapped index file whose header, section table and sizes hold, of version 1 or 2."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.file_bytes = file.seek(0, 2)
            demand(self.file_bytes >= 3 * PAGE, "a file of %d bytes is smaller than any index" % self.file_bytes)
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.header = self.choose_header()
        self.read_header()
        self.parts = []
        end = self.read_version1() if self.version == 1 else self.read_sections()
        self.read_ends(end)

    def choose_header(self):
        for copy in (self.map[:PAGE], self.map[-PAGE:]):
            if copy[:8] == MAGIC and struct.unpack_from("<Q", copy, 4088)[0] == xxh3(copy[:4088]):
                return copy
        raise Invalid("no valid header at the start or the end")

    def read_header(self):
        header = self.header
        self.version, header_bytes = struct.unpack_from("<2I", header, 8)
        self.feature_compat, self.feature_incompat, size, self.rows = struct.unpack_from("<4Q", header, 16)
        known = FEATURE_LISTS | FEATURE_TABLE | FEATURE_FLAT_CODE
        demand(self.version in (1, 2) and self.feature_incompat & ~known == 0, "needs a newer reader")
        self.dim, dtype, metric, id_kind, self.lists, self.level1_dim, self.flags, self.section_count = (
            struct.unpack_from("<8I", header, 48)
        )
        self.table_offset, self.block_count, block_bytes, entry_bytes = struct.unpack_from("<2Q2I", header, 80)
        self.code_error, self.level1_error = struct.unpack_from("<2d", header, 104)
        self.parameter = struct.unpack_from("<16d", header, 120)
        self.block_table_hash = struct.unpack_from("<Q", header, 248)[0]
        self.file_hash = struct.unpack_from("<Q", header, 4080)[0]
        self.section_table_hash, self.section_table_bytes = struct.unpack_from("<QI", header, 256)
        expected = (PAGE, 64, BLOCK) if self.version == 1 else (PAGE, 32, BLOCK)
        demand((header_bytes, entry_bytes, block_bytes) == expected, "sizes of header, entry or block")
        demand(size == self.file_bytes, "the header says %d bytes, the file has %d" % (size, self.file_bytes))
        demand(self.section_count <= (32 if self.version == 1 else 256), "%d sections" % self.section_count)
        self.dtype, self.metric = DTYPES.get(dtype, "?"), METRICS.get(metric, "?")
        self.id_kind = ID_KINDS.get(id_kind, "?")

    def read_version1(self):
        """Each section is one part. Gives where they end."""
        end = PAGE
        for i in range(self.section_count):
            kind, _, offset, size, count = struct.unpack_from("<2I3Q", self.header, 1024 + 64 * i)
            demand(kind != 0 and kind not in [part.key for part in self.parts], "section kinds")
            part = Part(VERSION1.get(kind, "unknown"), kind, offset, size, count)
            demand(offset == end, part.place + " does not begin where the one before ends")
            end += round_up(size, PAGE)
            self.parts.append(part)
        return end

    def read_table(self):
        demand(self.section_table_bytes == TABLE and self.file_bytes >= 2 * (PAGE + TABLE) + PAGE, "the section table's size")
        for begin in (PAGE, self.file_bytes - PAGE - TABLE):
            table = self.map[begin : begin + TABLE]
            if xxh3(table) == self.section_table_hash:
                return table
        raise Invalid("no valid section table at the start or the end")

    def read_sections(self):
        """Each section has a head that lists its parts. Gives where they end."""
        table, end, families = self.read_table(), PAGE + TABLE, set()
        for i in range(self.section_count):
            family, head_bytes, offset, size, head_hash = struct.unpack_from("<2I3Q", table, 32 * i)
            where = place(part_name(family, 0))
            demand(1 <= family <= 65535 and family not in families, "families of sections")
            families.add(family)
            demand(offset == end, where + " does not begin where the section before ends")
            demand(256 <= head_bytes <= 65536 and head_bytes <= size <= self.file_bytes - offset, where + ": its size")
            head = self.map[offset : offset + head_bytes]
            demand(xxh3(head) == head_hash, where + ": its hash")
            demand(self.read_head(family, head, offset) == offset + size, where + ": its section has another size")
            end = round_up(offset + size, PAGE)
        return end

    def read_head(self, family, head, begin):
        """The parts of a section that begins here. Gives where they end."""
        where = place(part_name(family, 0))
        magic, repeated, version, count = struct.unpack_from("<4s3I", head)
        demand(magic == b"KISH" and repeated == family, where + " is not the head of this section")
        demand(version == 1, where + " needs a newer reader")
        demand(count >= 1 and len(head) == round_up(64 + 32 * count, 256), where + " has %d parts" % count)
        self.parts.append(Part(part_name(family, 0), family << 16, begin, len(head), count))
        end, before = begin + len(head), 0
        for i in range(count):
            number, _, offset, size, elements = struct.unpack_from("<2I3Q", head, 64 + 32 * i)
            demand(before < number <= 65535, where + ": its parts do not ascend")
            part = Part(part_name(family, number), family << 16 | number, begin + offset, size, elements)
            demand(part.offset == round_up(end, 256 if size < BLOCK else PAGE), part.place + " does not lie in its place")
            demand(size <= self.file_bytes, part.place + " is too large")
            self.parts.append(part)
            end, before = part.offset + size, number
        return end

    def read_ends(self, end):
        """Where the range of each part ends: where the next one begins. Then what follows the sections."""
        blocks = 0
        for part, following in zip(self.parts, self.parts[1:] + [None]):
            part.end = following.offset if following else end
            blocks += (part.end - part.offset + BLOCK - 1) // BLOCK
        demand(len(self.parts) <= 4096, "%d parts" % len(self.parts))
        self.table_bytes = max(round_up(8 * blocks, PAGE), PAGE)
        tail = self.table_bytes + PAGE + (0 if self.version == 1 else TABLE)
        demand(self.table_offset == end and self.block_count == blocks, "place or count of the block table")
        demand(self.file_bytes == end + tail, "sizes do not add up to the file's")

    def data(self, name):
        for part in self.parts:
            if part.name == name:
                return memoryview(self.map)[part.offset : part.offset + part.bytes]
        return None

    def need(self, name, size):
        data = self.data(name)
        demand(data is not None, place(name) + " is missing")
        demand(len(data) == size, "%s has %d bytes, expected %d" % (place(name), len(data), size))
        return data

    def verify(self):
        demand(self.map[:PAGE] == self.map[-PAGE:], "the header copies differ")
        demand(xxh3(self.header[:4080]) == self.file_hash, "file_hash")
        table = self.map[self.table_offset : self.table_offset + self.table_bytes]
        demand(xxh3(table) == self.block_table_hash, "block_table_hash")
        demand(not any(table[8 * self.block_count :]), "padding of the block table")
        if self.version != 1:
            demand(self.map[PAGE : PAGE + TABLE] == self.map[-PAGE - TABLE : -PAGE], "the section tables differ")
        number = 0
        for part in self.parts:
            demand(not any(self.map[part.offset + part.bytes : part.end]), "padding after " + part.place)
            for begin in range(part.offset, part.end, BLOCK):
                expected = struct.unpack_from("<Q", table, 8 * number)[0]
                demand(
                    xxh3(self.map[begin : min(begin + BLOCK, part.end)]) == expected,
                    "%s: the block at byte %d does not match its hash" % (part.place, begin),
                )
                number += 1

    # ---- Vectors ----

    def row_bytes(self):
        return self.dim // 8 if self.dtype == "b1" else self.dim * ELEMENT_BYTES[self.dtype]

    def vector(self, position):
        """The stored vector: floats, or bytes for b1."""
        size = self.row_bytes()
        data = self.need("originals/rows", self.rows * size)[position * size : (position + 1) * size]
        if self.dtype == "b1":
            return bytes(data)
        if self.dtype == "bf16":
            words = struct.unpack("<%dH" % self.dim, data)
            return struct.unpack("<%df" % self.dim, struct.pack("<%dI" % self.dim, *[w << 16 for w in words]))
        letter = {"f32": "f", "f16": "e", "i8": "b", "u8": "B"}[self.dtype]
        return tuple(float(x) for x in struct.unpack("<%d%s" % (self.dim, letter), data))

    def floats(self, name, count=None):
        data = self.data(name) if count is None else self.need(name, 4 * count)
        demand(data is not None and len(data) % 4 == 0, place(name) + " holds no floats")
        return struct.unpack("<%df" % (len(data) // 4), data)

    def ids(self):
        return struct.unpack("<%dQ" % self.rows, self.need("ids/ids", 8 * self.rows))

    def factors(self, prefix, blocks, block, v):
        data = self.need(prefix + "factors", blocks * 256)
        return [struct.unpack_from("<f", data, block * 256 + 64 * f + 4 * v)[0] for f in range(4)]

    def code_at(self, prefix, dim, blocks, block, v):
        """The signed code of vector v of a block and its factors (a, bias, norm, error)."""
        rows4 = (dim + 3) // 4
        codes = self.need(prefix + "codes", blocks * rows4 * 64)
        start = block * rows4 * 64 + v * 4
        code = [byte - 128 for j in range(rows4) for byte in codes[start + 64 * j : start + 64 * j + 4]]
        return code, self.factors(prefix, blocks, block, v)

    def place(self, position):
        """The block of a vector and its number in it: every list begins with a fresh block."""
        number = bisect.bisect_right(self.list_first, position) - 1
        block, v = divmod(position - self.list_first[number], 16)
        return self.list_block[number] + block, v

    def code(self, position, level1=False):
        """The signed code of a vector and its factors (a, bias, norm, error)."""
        dim, prefix = (self.level1_dim, "first_level/") if level1 else (self.dim, "codes/")
        return self.code_at(prefix, dim, self.list_block[-1], *self.place(position))

    def strings(self, what):
        data = self.data(what + "/bytes")
        ends = struct.unpack("<%dQ" % self.rows, self.need(what + "/ends", 8 * self.rows))
        demand(data is not None and ends[-1] == len(data), place(what + "/bytes") + " has another size than its ends")
        texts, begin = [], 0
        for end in ends:
            demand(begin <= end, place(what + "/ends") + " does not ascend")
            texts.append(bytes(data[begin:end]))
            begin = end
        return texts

    # ---- Meaning ----

    def check_lists(self):
        """Lists lie one after the other and hold all vectors. Gives list_first, list_block (of each list, and the ends)
        and list_of (of each position)."""
        demand(bool(self.feature_incompat & FEATURE_LISTS) == (self.lists > 1), "the feature bit of lists")
        demand(1 <= self.lists <= 65536 and (self.lists == 1 or self.dtype != "b1"), "%d lists" % self.lists)
        table = struct.unpack("<%dQ" % (2 * self.lists), self.need("lists/table", 16 * self.lists))
        position, block, self.list_of, self.list_first, self.list_block = 0, 0, [], [], []
        for number in range(self.lists):
            demand(table[2 * number] == position, "list %d does not begin where the one before ends" % number)
            self.list_first.append(position)
            self.list_block.append(block)
            position += table[2 * number + 1]
            block += (table[2 * number + 1] + 15) // 16
            demand(position <= self.rows, "list %d has too many vectors" % number)
            self.list_of += [number] * table[2 * number + 1]
        demand(position == self.rows, "lists hold %d of %d vectors" % (position, self.rows))
        self.list_first.append(position)
        self.list_block.append(block)

    def check_ids(self):
        ids = self.ids()
        order = struct.unpack("<%dI" % self.rows, self.need("ids/order", 4 * self.rows))
        demand(sorted(order) == list(range(self.rows)), "section 'ids', part 'order' is no permutation")
        for a, b in zip(order, order[1:]):
            demand(ids[a] < ids[b], "section 'ids', part 'order' does not ascend, or an id is there twice")
        demand(ids[order[-1]] != M64, "the reserved id is used")
        if self.id_kind != "u64":
            demand(sorted(ids) == list(range(self.rows)), "ids are not the row numbers")

    def check_strings(self):
        texts = self.strings("strings")
        order = struct.unpack("<%dI" % self.rows, self.need("strings/order", 4 * self.rows))
        demand(sorted(order) == list(range(self.rows)), "section 'strings', part 'order' is no permutation")
        for a, b in zip(order, order[1:]):
            demand(texts[a] < texts[b], "section 'strings', part 'order' does not ascend, or a string is there twice")

    def check_padding(self, level1):
        dim, prefix = (self.level1_dim, "first_level/") if level1 else (self.dim, "codes/")
        for number in range(self.lists):
            for missing in range(self.list_first[number + 1] - self.list_first[number], 16 * self.list_blocks(number)):
                block = self.list_block[number] + missing // 16
                code, factors = self.code_at(prefix, dim, self.list_block[-1], block, missing % 16)
                demand(not any(code) and factors == [0, -FLT_MAX, 0, 0], "vectors past a list's last are not empty")
        for position in range(self.rows):
            demand(not any(self.code(position, level1)[0][dim:]), "places past the last dimension are not empty")

    def list_blocks(self, number):
        return self.list_block[number + 1] - self.list_block[number]

    def residual(self, position, centre):
        x = self.vector(position)
        factor = inverse_norm(x) if self.metric == "cosine" else 1.0
        return [value * factor - c for value, c in zip(x, centre)]

    def read_centroids(self):
        """Of each list; and the centre of all vectors, which with one list is its centroid."""
        count = self.lists + 1 if self.lists > 1 else 1
        floats = self.floats("lists/centroids", count * self.dim)
        rows = [floats[i * self.dim : (i + 1) * self.dim] for i in range(count)]
        self.centroids, self.centre = rows[: self.lists], rows[-1]

    def check_norms(self):
        """The squared norms are those of the vectors, to the bit; in old files the inverse norms are."""
        old = self.data("originals/norms2") is None and self.data("originals/inverse_norms") is not None
        norms = self.floats("originals/inverse_norms" if old else "originals/norms2", self.rows)
        for position, norm in enumerate(norms):
            x = self.vector(position)
            wanted = inverse_norm(x) if old else dot(x, x)
            demand(norm == wanted, "position %d: the norm is %r, expected %r" % (position, norm, wanted))

    def bias_of(self, r, centre):
        """What the bias of residual r to `centre` should be, and how large its terms are."""
        if self.metric != "l2":
            return 0.0, 0.0
        half = math.fsum(x * x for x in r) / 2
        terms = [(c - m) * x for c, m, x in zip(centre, self.centre, r)]
        return -(math.fsum(terms) + half), length(centre, self.centre) * math.sqrt(2 * half) + half

    def check_code(self, where, r, bias_of, code, factors, whole):
        """One code against its residual; |r - a u| over its bound, and over |r|."""
        a, bias, norm, error = factors
        norm_exact = length(r)
        missed = length(r, [a * u for u in code])
        demand(missed <= error, where + "|r - a u| is %r, its bound %r" % (missed, error))
        demand(norm_exact <= norm, where + "|r| is %r, its bound %r" % (norm_exact, norm))
        wanted, size = bias_of
        demand(abs(bias - wanted) <= 1e-4 * size + 1e-30, where + "bias is %r, expected %r" % (bias, wanted))
        demand(not whole or (a == 1 and missed == 0), where + "the code is not the value")
        return missed / error if error else 0.0, missed / norm_exact if norm_exact else 0.0

    def check_codes(self):
        """Every code decodes to its vector within its own bound, and the bounds are not idle."""
        whole = bool(self.flags & WHOLE_CODES)
        radius = self.floats("lists/bounds", self.lists) if self.lists > 1 else None
        worst = total = 0.0
        for position in range(self.rows):
            number, where = self.list_of[position], "position %d: " % position
            centre = self.centre if whole or self.lists == 1 else self.centroids[number]
            r = self.residual(position, centre)
            code, factors = self.code(position)
            over, share = self.check_code(where, r, self.bias_of(r, centre), code, factors, whole)
            worst, total = max(worst, over), total + share
            if radius:
                away = length(self.residual(position, self.centroids[number]))
                demand(away <= radius[number], where + "is %r from its centroid, beyond %r" % (away, radius[number]))
        return {"worst_error_over_bound": worst, "mean_error": total / self.rows}

    def check_coarse(self):
        """Centroids are coded as vectors around the centre; supers divide the lists."""
        blocks = (self.lists + 15) // 16
        for number in range(16 * blocks):
            code, factors = self.code_at("lists/", self.dim, blocks, number // 16, number % 16)
            where = "coarse code %d: " % number
            if number >= self.lists:
                demand(not any(code) and factors == [0, -FLT_MAX, 0, 0], where + "is not empty")
                continue
            r = [c - m for c, m in zip(self.centroids[number], self.centre)]
            self.check_code(where, r, self.bias_of(r, self.centre), code, factors, False)
            demand(not any(code[self.dim :]), where + "places past the last dimension are not empty")
            demand(length(r) <= self.parameter[1], where + "is farther from the centre than parameter[1]")
            demand(length(self.centroids[number]) <= self.parameter[2], where + "is longer than parameter[2]")
        data = self.data("lists/supers")
        if data is not None:
            count = struct.unpack_from("<I", data)[0]
            ends = struct.unpack_from("<%dI" % count, data, 4)
            demand(1 <= count <= self.lists and ends[-1] == self.lists, "supers do not end with the last list")
            demand(list(ends) == sorted(ends), "the ends of supers do not ascend")
            demand(len(data) == round_up(4 + 4 * count, 64) + 4 * self.dim * count, "the size of " + place("lists/supers"))

    def check_second(self):
        """Factors of the second code: bounds hold, and absent vectors never win."""
        blocks = self.list_block[-1]
        demand(len(self.data("second_code/codes")) % blocks == 0, "section 'second_code', part 'codes' is not made of blocks")
        magic = bytes(self.data("second_code/model")[:4])
        demand(magic == b"KI2C", "section 'second_code', part 'model' does not begin with its magic")
        for number in range(self.lists):
            for place in range(16 * self.list_blocks(number)):
                position = self.list_first[number] + place
                block = self.list_block[number] + place // 16
                a, bias, norm, error = self.factors("second_code/", blocks, block, place % 16)
                where = "second code of block %d, vector %d: " % (block, place % 16)
                if position >= self.list_first[number + 1]:
                    demand(a == 0 and bias == -FLT_MAX, where + "is not empty")
                elif self.flags & ORIGINALS:
                    r = self.residual(position, self.centroids[number])
                    wanted, size = self.bias_of(r, self.centroids[number])
                    rounding = 2.0**-23 if self.metric == "cosine" else 0.0  # of x / |x|, before the centroid is taken off
                    demand(length(r) <= norm + rounding, where + "|r| is %r, its bound %r" % (length(r), norm))
                    demand(0 <= error < math.inf, where + "error is %r" % error)
                    demand(abs(bias - wanted) <= 1e-4 * size + 1e-30, where + "bias is %r, not %r" % (bias, wanted))

    def check_second_lists(self):
        """Second lists: each vector is in one at most, not its first, and coded there as in the first or anew."""
        counts = struct.unpack("<%dI" % self.lists, self.need("second_lists/counts", 4 * self.lists))
        blocks, entry, seen = sum((count + 15) // 16 for count in counts), 0, set()
        entries = struct.unpack("<%dI" % (2 * sum(counts)), self.need("second_lists/entries", 8 * sum(counts)))
        dim, whole, block = self.level1_dim or self.dim, bool(self.flags & WHOLE_CODES), 0
        for number, count in enumerate(counts):
            for place in range((count + 15) // 16 * 16):
                code, factors = self.code_at("second_lists/", dim, blocks, block + place // 16, place % 16)
                where = "second list %d, entry %d: " % (number, place)
                if place >= count:
                    demand(not any(code) and factors == [0, -FLT_MAX, 0, 0], where + "is not empty")
                    continue
                position, first = entries[2 * (entry + place)], entries[2 * (entry + place) + 1]
                demand(position < self.rows and position not in seen, where + "position %d" % position)
                demand(first == self.list_of[position] and first != number, where + "first list %d" % first)
                seen.add(position)
                if self.level1_dim:
                    self.check_level1_code(where, self.residual(position, self.level1_centre), code, factors)
                    continue
                if whole:
                    demand((code, factors) == self.code(position), where + "has another code")
                    continue
                r = self.residual(position, self.centroids[number])
                self.check_code(where, r, self.bias_of(r, self.centroids[number]), code, factors, False)
            entry, block = entry + count, block + (count + 15) // 16
        return {"spilled": len(seen)}

    def calibration(self):
        """What section 'calibration' says; None without one, or with one of another version."""
        data = self.data("calibration/settings")
        if data is None:
            return None
        where = "section 'calibration': "
        demand(len(data) >= 72 and bytes(data[:8]) == b"KITHCAL\n", where + "does not begin with its magic")
        if xxh3 is not xxh3_python or len(data) - 8 > 240:
            demand(xxh3(bytes(data[:-8])) == struct.unpack_from("<Q", data, len(data) - 8)[0], where + "its hash")
        version, count, queries, flags, seed, below, median = struct.unpack_from("<4IQ2d", data, 8)
        if version != 1:
            return None
        demand(1 <= count <= 8192, where + "%d settings" % count)
        demand(len(data) == 64 + 56 * count + 8, where + "%d bytes are too many or few for %d settings" % (len(data), count))
        demand(flags <= 1 and not any(data[56:64]), where + "flags are %d, or reserved bytes are not zero" % flags)
        near, = struct.unpack_from("<d", data, 48)
        demand(0 <= near <= 1, where + "near_duplicates is %r" % near)
        demand(math.isfinite(below) and math.isfinite(median), where + "unusual_below or median is no number")
        settings = [self.calibrated(number, struct.unpack_from("<6I4d", data, 64 + 56 * number)) for number in range(count)]
        keys = [key for key, _ in settings]
        for number in range(1, count):
            demand(keys[number - 1] < keys[number], where + "setting %d does not ascend" % number)
        return {"queries": queries, "held_out": bool(flags), "seed": seed, "unusual_below": below, "median": median,
                "near_duplicates": near,
                "settings": [setting for _, setting in settings]}  # fmt: skip

    def calibrated(self, number, fields):
        """A setting of the calibration: what orders it, and what it says."""
        plan, code, k, batch, nprobe, rerank, recall, error, cost, lost = fields
        where = "section 'calibration', setting %d: " % number
        demand(plan in PLANS and code in SCAN_CODES, where + "plan %d, code %d" % (plan, code))
        demand(code != 2 or self.data("second_code/model") is not None, where + "there is no second code")
        demand(code != 4 or self.level1_dim, where + "there is no first level")
        demand(1 <= k <= 10000 and 1 <= batch <= 16777216, where + "k is %d, batch %d" % (k, batch))
        if plan == 5:
            demand(nprobe >= 1 and k <= rerank <= 40000, where + "nprobe is %d, rerank %d" % (nprobe, rerank))
        if plan > 5:
            demand(code == 0 and (rerank == 0 or k <= rerank <= 40000), where + "code %d, rerank %d" % (code, rerank))
            demand((nprobe == 0 and rerank > 0) if plan == 9 else nprobe > 0, where + "effort %d, rerank %d" % (nprobe, rerank))
        demand(nprobe <= (65536 if plan <= 5 else 1000000), where + "nprobe is %d" % nprobe)
        for name, share in (("recall", recall), ("recall_error", error), ("lost", lost)):
            demand(0 <= share <= 1, where + "%s is %r" % (name, share))
        demand(0 < cost < 1e18, where + "query_ns is %r" % cost)
        setting = {"plan": PLANS[plan], "code": SCAN_CODES[code], "k": k, "batch": batch,
                   "nprobe": 0 if plan in WALKS else nprobe, "effort": nprobe if plan in WALKS else 0, "rerank": rerank,
                   "recall": recall, "recall_error": error, "query_ns": cost, "lost": lost}  # fmt: skip
        return (k, plan, code, nprobe, rerank, batch), setting

    def read_basis(self):
        """The first level's centre and basis."""
        columns, directions = self.level1_dim, self.level1_dim - 4
        floats = self.floats("first_level/basis", self.dim * (columns + 1))
        self.level1_centre = floats[: self.dim]
        self.basis = [floats[self.dim + j * columns : self.dim + (j + 1) * columns] for j in range(self.dim)]
        demand(not any(any(row[directions:]) for row in self.basis), "the last columns of the basis are not zero")

    def check_level1_code(self, where, r, code, factors):
        """A first-level code of r holds the projection within its bound and no less than the length of the rest."""
        directions, (a, _, norm, error) = self.level1_dim - 4, factors
        h = [math.fsum(x * row[c] for x, row in zip(r, self.basis)) for c in range(directions)]
        size = length(r)
        missed = math.sqrt(math.fsum((x - a * u) ** 2 for x, u in zip(h, code)))
        rest = math.sqrt(math.fsum((x - math.fsum(v * y for v, y in zip(row, h))) ** 2 for x, row in zip(r, self.basis)))
        slack = (self.dim * 2.0**-24 * math.sqrt(self.level1_dim) + abs(self.parameter[0])) * size
        demand(size <= norm, where + "|r| is %r, its bound %r" % (size, norm))
        demand(missed <= error + slack, where + "|h - a u| is %r, its bound %r" % (missed, error))
        demand(len(set(code[directions:])) == 1, where + "the last four places differ")
        demand(rest <= 2 * a * code[-1] + slack, where + "the rest is %r, its bound %r" % (rest, 2 * a * code[-1]))

    def check_level1(self):
        for position in range(self.rows):
            r = self.residual(position, self.level1_centre)
            self.check_level1_code("position %d, first level: " % position, r, *self.code(position, True))

    def check_coarse_first(self):
        """Centroids are coded in the first level too."""
        blocks = (self.lists + 15) // 16
        for number in range(16 * blocks):
            code, factors = self.code_at("lists/first_", self.level1_dim, blocks, number // 16, number % 16)
            where = "coarse code %d of the first level: " % number
            if number >= self.lists:
                demand(not any(code) and factors == [0, -FLT_MAX, 0, 0], where + "is not empty")
            else:
                r = [c - m for c, m in zip(self.centroids[number], self.level1_centre)]
                self.check_level1_code(where, r, code, factors)

    def check(self):
        self.verify()
        if self.feature_incompat & FEATURE_TABLE:
            table = Table(self)
            return {"valid": True, "rows": self.rows, "columns": len(table.columns)}
        demand(1 <= self.rows <= 4294967280 and 1 <= self.dim <= 65536, "rows or dim")
        demand("?" not in (self.dtype, self.metric, self.id_kind), "dtype, metric or id_kind")
        result = {"valid": True, "rows": self.rows}
        self.check_lists()
        self.check_ids()
        if self.id_kind == "string":
            self.check_strings()
        if self.flags & NAMES:
            self.strings("names")
        if self.data("meta/json") is not None:
            demand(isinstance(json.loads(bytes(self.data("meta/json"))), dict), "section 'meta', part 'json' is no JSON object")
        flat_code = self.data("second_code/model") is not None and self.lists == 1
        demand(bool(self.feature_incompat & FEATURE_FLAT_CODE) == flat_code, "features and section 'second_code' do not fit")
        if self.dtype != "b1":
            result.update(self.check_all_codes())
        for name, check in (("graph", check_graph), ("hnsw", check_hnsw), ("lsh", check_lsh)):
            if self.data(name + "/model") is not None:
                result[name] = check(self)
        calibration = self.calibration()
        if calibration:
            result["calibration_settings"] = len(calibration["settings"])
        return result

    def check_all_codes(self):
        result = {}
        self.read_centroids()
        self.check_padding(False)
        if self.level1_dim:
            self.check_padding(True)
        if self.lists > 1:
            self.check_coarse()
        if self.data("second_code/model") is not None:
            self.check_second()
        if self.level1_dim:
            self.read_basis()
            if self.lists > 1:
                self.check_coarse_first()
        if self.flags & ORIGINALS:
            if self.metric == "cosine":
                self.check_norms()
            result.update(self.check_codes())
            if self.data("second_lists/entries") is not None:
                result.update(self.check_second_lists())
            if self.level1_dim:
                self.check_level1()
        return result


# ---- Graphs, HNSW, hash tables -----------------------------------------------------------------------------------------


def rotated(signs, x):
    """Four rounds of sign flips and of a Hadamard transform of the first or last 2^k elements."""
    n, part = len(x), 8
    while 2 * part <= n:
        part *= 2
    x = list(x)
    for turn in range(4):
        flips = signs[turn * n // 8 : (turn + 1) * n // 8]
        x = [-v if flips[j // 8] >> j % 8 & 1 else v for j, v in enumerate(x)]
        begin, step = (n - part if turn % 2 else 0), 1
        y = [v / math.sqrt(part) for v in x[begin : begin + part]]
        while step < part:
            for j in range(0, part, 2 * step):
                for i in range(j, j + step):
                    y[i], y[i + step] = y[i] + y[i + step], y[i] - y[i + step]
            step *= 2
        x[begin : begin + part] = y
    return x


def unreached(rows, entries, neighbours):
    """How many no path from the entries comes to."""
    seen, front = set(entries), list(entries)
    while front:
        fresh = {y for x in front for y in neighbours[x] if y not in seen}
        seen |= fresh
        front = list(fresh)
    return rows - len(seen)


def check_decoded(where, scale, code, exact):
    """x' = scale * code is what was coded, to half a step; what it takes for zero is."""
    most = max(map(abs, exact), default=0.0)
    step = 0.5 * scale + 1e-5 * most + 1e-30
    demand(0 <= scale < math.inf, where + "scale is %r" % scale)
    demand(all(abs(x - scale * u) <= step for x, u in zip(exact, code)), where + "the code is not that of the vector")


class Graph:
    """Section 'graph': the model, and rows read one at a time."""

    def __init__(self, index):
        where, model = "section 'graph', part 'model': ", index.data("graph/model")
        magic, self.degree, self.bits, self.width, entries, self.limit = struct.unpack_from("<8s4If", model)
        demand(magic == b"KITHGRA1" and not any(model[28:64]), where + "its head")
        demand(self.degree in (32, 48, 64) and self.bits in (0, 1, 2, 4), where + "degree or bits")
        demand(self.width == round_up(index.dim, 16) and 0 <= self.limit < math.inf, where + "width or limit")
        demand(1 <= entries <= min(4096, index.rows), where + "%d entries" % entries)
        signs_at = round_up(64 + 4 * index.dim, 64)
        entries_at = round_up(signs_at + self.width // 2, 64)
        self_bytes = round_up(self.width, 64)
        self.copies_at, self.copy_bytes, self.model = round_up(entries_at + 4 * entries, 64), 64 + self_bytes, model
        demand(len(model) == self.copies_at + entries * self.copy_bytes, where + "its size")
        self.centre = struct.unpack_from("<%df" % index.dim, model, 64)
        self.signs = bytes(model[signs_at : signs_at + self.width // 2])
        self.entries = struct.unpack_from("<%dI" % entries, model, entries_at)
        demand(all(entry < index.rows for entry in self.entries), where + "an entry lies outside")
        demand(all(map(math.isfinite, self.centre)), where + "the centre is not finite")
        self.lists_end = 16 + 4 * self.degree * (3 if self.bits else 1)
        self.self_at = round_up(self.lists_end, 64)
        self.codes_at = self.self_at + self_bytes
        self.plane = self.degree * self.width // 8
        self.row_bytes = round_up(self.codes_at + self.bits * self.plane, 64)
        self.rows = index.need("graph/rows", index.rows * self.row_bytes)

    def row(self, v):
        return self.rows[v * self.row_bytes : (v + 1) * self.row_bytes]

    def check_copies(self):
        """The model has the heads and codes of the entries' rows once more."""
        for number, v in enumerate(self.entries):
            at, row = self.copies_at + number * self.copy_bytes, self.row(v)
            wanted = bytes(row[:16]) + bytes(48) + bytes(row[self.self_at : self.codes_at])
            demand(bytes(self.model[at : at + self.copy_bytes]) == wanted, "graph: entry %d is not its vertex" % number)

    def head(self, v):
        """scale, norm, neighbours."""
        row = self.row(v)
        scale, norm, count, zero = struct.unpack_from("<2f2I", row)
        demand(count <= self.degree and zero == 0, "graph, vertex %d: its head" % v)
        return scale, norm, struct.unpack_from("<%dI" % self.degree, row, 16)[:count]

    def decoded(self, v):
        scale = self.head(v)[0]
        return [scale * u for u in struct.unpack_from("<%db" % self.width, self.row(v), self.self_at)]

    def edge_code(self, v, n):
        row, steps, most = self.row(v), self.width // 16, 2**self.bits - 1
        code = [-most] * self.width
        for b in range(self.bits):
            at = self.codes_at + b * self.plane + n // 16 * steps * 32
            for j in range(self.width):
                byte = row[at + j // 16 * 32 + (16 if j % 8 >= 4 else 0) + n % 16]
                code[j] += 2 * (byte >> (j % 4 + (4 if j % 16 >= 8 else 0)) & 1) << b
        return code

    def check_row(self, index, v):
        row, where = self.row(v), "graph, vertex %d: " % v
        scale, norm, neighbours = self.head(v)
        ids = struct.unpack_from("<%dI" % self.degree, row, 16)
        count = len(neighbours)
        demand(len(set(neighbours)) == count and v not in neighbours, where + "a neighbour twice, or itself")
        demand(all(y < index.rows for y in neighbours), where + "a neighbour outside")
        demand(all(y == v for y in ids[count:]), where + "places without a neighbour")
        if self.bits:
            add, mul = (struct.unpack_from("<%df" % self.degree, row, 16 + 4 * self.degree * i) for i in (1, 2))
            demand(all(map(math.isfinite, add[:count] + mul[:count])), where + "factors are not finite")
            demand(all(a == math.inf for a in add[count:]) and not any(mul[count:]), where + "factors of no neighbour")
            if count:
                self.check_edge(where, v, v % count, neighbours[v % count], add[v % count], mul[v % count])
        ends = self.codes_at + self.bits * self.plane
        gaps = (row[self.lists_end : self.self_at], row[self.self_at + self.width : self.codes_at], row[ends:])
        demand(not any(map(any, gaps)), where + "padding is not zero")
        return scale, norm

    def check_edge(self, where, v, n, other, add, mul):
        """The factors of an edge are those that make its code an estimate."""
        x, y, u = self.decoded(v), self.decoded(other), self.edge_code(v, n)
        r = [b - a for a, b in zip(x, y)]
        ru, xu, xr = (math.fsum(a * b for a, b in zip(p, q)) for p, q in ((r, u), (x, u), (x, r)))
        rho = length(r) ** 2 / ru if mul else 0.0
        norms = self.head(other)[1], self.head(v)[1]
        terms = [norms[0], -norms[1], -2 * xr, 2 * rho * xu]
        near = 1e-3 * math.fsum(map(abs, terms)) + 1e-30
        demand(abs(mul + 2 * rho) <= 1e-3 * abs(mul) and abs(add - math.fsum(terms)) <= near, where + "factors of edge %d" % n)


def check_graph(index):
    """Rows hold their vectors and estimates; every vertex can be reached."""
    graph = Graph(index)
    for v in range(index.rows):
        scale, norm = graph.check_row(index, v)
        if not index.flags & ORIGINALS:
            continue
        where, code = "graph, vertex %d: " % v, struct.unpack_from("<%db" % graph.width, graph.row(v), graph.self_at)
        r = index.residual(v, graph.centre) + [0.0] * (graph.width - index.dim)
        check_decoded(where, scale, code, rotated(graph.signs, r))
        wanted = math.fsum((scale * u) ** 2 for u in code)
        size = wanted
        if index.metric == "ip":
            centre2, x2 = length(graph.centre) ** 2, length(index.vector(v)) ** 2
            wanted, size = wanted + centre2 - x2, wanted + centre2 + x2
        demand(abs(norm - wanted) <= 1e-4 * size + 1e-30, where + "norm is %r, expected %r" % (norm, wanted))
    graph.check_copies()
    lost = unreached(index.rows, graph.entries, [graph.head(v)[2] for v in range(index.rows)])
    demand(lost == 0, "graph: %d vertices cannot be reached" % lost)
    return {"degree": graph.degree, "bits": graph.bits}


class Hnsw:
    """Section 'hnsw'."""

    def __init__(self, index):
        where, model = "section 'hnsw', part 'model': ", index.data("hnsw/model")
        magic, self.m, _, self.entry, self.top, blocks = struct.unpack_from("<8s4IQ", model)
        demand(magic == b"KITHNSW1" and not any(model[32:64]), where + "its head")
        demand(2 <= self.m <= 128 and self.entry < index.rows and self.top <= 15, where + "m, entry or top level")
        self.blocks_at, self.block_bytes = round_up(64 + 4 * index.dim, 64), 4 + 4 * self.m
        demand(len(model) == self.blocks_at + blocks * self.block_bytes, where + "its size")
        self.model, self.blocks = model, blocks
        self.centre = struct.unpack_from("<%df" % index.dim, model, 64)
        self.code_bytes = round_up(index.row_bytes() if index.dtype == "b1" else index.dim, 32)
        self.row_bytes = round_up(32 + self.code_bytes + 8 * self.m, 64)
        self.rows = index.need("hnsw/links", index.rows * self.row_bytes)

    def row(self, v):
        """scale, norm, state, first block, level, next, code, neighbours in layer 0."""
        row, where = self.rows[v * self.row_bytes : (v + 1) * self.row_bytes], "hnsw, vertex %d: " % v
        scale, norm, state, count, upper, level, following, zero = struct.unpack_from("<2f6I", row)
        demand(count <= 2 * self.m and zero == 0 and level <= self.top, where + "its head")
        demand(not any(row[32 + self.code_bytes + 8 * self.m :]), where + "padding is not zero")
        ids = struct.unpack_from("<%dI" % count, row, 32 + self.code_bytes)
        return scale, norm, state, upper, level, following, row[32 : 32 + self.code_bytes], ids

    def upper(self, block):
        at = self.blocks_at + block * self.block_bytes
        count = struct.unpack_from("<I", self.model, at)[0]
        demand(block < self.blocks and count <= self.m, "hnsw, block %d" % block)
        return struct.unpack_from("<%dI" % count, self.model, at + 4)


def check_hnsw_code(index, hnsw, v, scale, norm, code):
    where, x = "hnsw, vertex %d: " % v, index.vector(v)
    if index.dtype == "b1":
        demand(bytes(code[: len(x)]) == x and scale == norm == 0, where + "the code is not the vector")
        return
    r = list(x) if index.metric == "ip" else index.residual(v, hnsw.centre)
    code = struct.unpack("<%db" % len(code), code)
    check_decoded(where, scale, code, r)
    wanted = length(x) ** 2 if index.metric == "ip" else math.fsum((scale * u) ** 2 for u in code)
    demand(abs(norm - wanted) <= 1e-4 * wanted + 1e-30, where + "norm is %r, expected %r" % (norm, wanted))


def check_hnsw(index):
    """Links lead to vertices of their layer, every vertex is reached in the lowest, twins hang on one that is equal."""
    hnsw, vertex, twin = Hnsw(index), 1, 2
    rows = [hnsw.row(v) for v in range(index.rows)]
    states, levels, hanging = [row[2] for row in rows], [row[4] for row in rows], set()
    demand(states[hnsw.entry] == vertex and levels[hnsw.entry] == hnsw.top, "hnsw: the entry is not of the top level")
    for v, (scale, norm, state, upper, level, following, code, ids) in enumerate(rows):
        where = "hnsw, vertex %d: " % v
        demand(state in (vertex, twin), where + "state %d" % state)
        demand(state == vertex or not (ids or level), where + "a twin has links")
        for layer in range(level + 1):
            links = hnsw.upper(upper + layer - 1) if layer else ids
            fine = len(set(links)) == len(links) and v not in links and all(y < index.rows for y in links)
            demand(fine, where + "links of layer %d" % layer)
            demand(all(states[y] == vertex and levels[y] >= layer for y in links), where + "links out of layer %d" % layer)
        if index.flags & ORIGINALS:
            check_hnsw_code(index, hnsw, v, scale, norm, code)
        while state == vertex and following != 0xFFFFFFFF:
            demand(following < index.rows and states[following] == twin, where + "its twins")
            demand(following not in hanging, where + "a twin hangs twice")
            demand(not index.flags & ORIGINALS or index.vector(following) == index.vector(v), where + "a twin is another")
            hanging.add(following)
            following = rows[following][5]
    demand(len(hanging) == states.count(twin), "hnsw: a twin hangs on nothing")
    lost = unreached(states.count(vertex), [hnsw.entry], [row[7] for row in rows])
    demand(lost == 0, "hnsw: %d vertices cannot be reached" % lost)
    return {"m": hnsw.m, "twins": len(hanging)}


def check_lsh(index):
    """Each table holds every position once, in ascending order inside of a bucket; bits lie where their keys say."""
    where, model = "section 'lsh', part 'model': ", index.data("lsh/model")
    magic, kind, tables, functions, reach, width, buckets, limit = struct.unpack_from("<8s6If", model)
    demand(magic == b"KITHLSH1" and not any(model[36:64]), where + "its head")
    demand(kind == {"hamming": 2, "jaccard": 3}.get(index.metric, 1), where + "kind %d" % kind)
    demand(1 <= tables <= 1024 and 1 <= functions <= 64 and 1 <= buckets <= 1 << 26, where + "tables, functions or buckets")
    demand(1 <= reach <= max(width, 1) and 0 <= limit < math.inf, where + "reach or limit")
    positions_at = round_up(4 * (buckets + 1), 64)
    size = positions_at + round_up(4 * index.rows, 64)
    data = index.need("lsh/tables", tables * size)
    multiplier = struct.unpack_from("<%dQ" % functions, model, 64)
    for table in range(tables):
        where, part = "lsh, table %d: " % table, data[table * size : (table + 1) * size]
        first = struct.unpack_from("<%dI" % (buckets + 1), part)
        positions = struct.unpack_from("<%dI" % index.rows, part, positions_at)
        demand(first[0] == 0 and first[-1] == index.rows and list(first) == sorted(first), where + "buckets do not ascend")
        demand(sorted(positions) == list(range(index.rows)), where + "positions are no permutation")
        gaps = (part[4 * (buckets + 1) : positions_at], part[positions_at + 4 * index.rows :])
        demand(not any(map(any, gaps)), where + "padding is not zero")
        bucket_of = {}
        for bucket in range(buckets):
            held = positions[first[bucket] : first[bucket + 1]]
            demand(list(held) == sorted(held), where + "bucket %d does not ascend" % bucket)
            bucket_of.update(dict.fromkeys(held, bucket))
        if kind != 2:
            continue
        bits_at = round_up(64 + 8 * functions, 64) + 4 * table * functions
        taken = struct.unpack_from("<%dI" % functions, model, bits_at)
        demand(all(bit < index.dim for bit in taken), where + "a bit that vectors do not have")
        for v in range(index.rows):
            x = index.vector(v)
            key = sum((x[bit // 8] >> bit % 8 & 1) * m for bit, m in zip(taken, multiplier)) & M64
            demand(bucket_of[v] == lsh_bucket(key, buckets, 2**functions), where + "vector %d lies in another bucket" % v)
    return {"tables": tables, "functions": functions, "buckets": buckets}


def lsh_bucket(key, buckets, keys):
    """The key itself where there are as many buckets; otherwise it is mixed."""
    if keys == buckets:
        return min(key, buckets - 1)
    key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 & M64
    key = (key ^ key >> 27) * 0x94D049BB133111EB & M64
    return ((key ^ key >> 31) >> 32) * buckets >> 32


# ---- Tables ------------------------------------------------------------------------------------------------------------


def bits_of(data, rows, where):
    """The rows of a bitmap."""
    number = int.from_bytes(data, "little")
    demand(number >> rows == 0, where + "a bit beyond the last row is set")
    return [row for row in range(rows) if number >> row & 1]


class Column:
    """A column whose runs lie as its counts say, and whose values by row and by value are the same."""

    def __init__(self, rows, entry, data):
        self.rows, self.where = rows, "field number %d: " % entry[0]
        self.field, kind, _, size, self.present, self.words, self.word_bytes, self.entries, self.units = entry
        demand(kind in FIELD_TYPES and self.present <= rows, self.where + "its type or count")
        self.type, self.bitmap_bytes = FIELD_TYPES[kind], (rows + 63) // 64 * 8
        self.data, self.end = data, 0
        has = self.run(self.bitmap_bytes if self.present < rows else 0)
        self.has = bits_of(has, rows, self.where) if self.present < rows else list(range(rows))
        demand(len(self.has) == self.present, self.where + "another number of rows has a value")
        self.values = [None] * rows
        if self.type in ("tag", "tags"):
            self.read_texts()
        else:
            demand(not any((self.words, self.word_bytes, self.entries, self.units)), self.where + "counts of words")
            self.read_numbers()
        demand(self.end == size == len(data), self.where + "its runs make another size")

    def run(self, size):
        """The next run."""
        if size == 0:
            return b""
        begin = round_up(self.end, 8)
        demand(begin + size <= len(self.data), self.where + "a run reaches past the column")
        demand(not any(self.data[self.end : begin]), self.where + "bytes between runs are not zero")
        self.end = begin + size
        return self.data[begin : self.end]

    def numbers(self, letter, count):
        return struct.unpack("<%d%s" % (count, letter), self.run(count * struct.calcsize("<" + letter)))

    def read_numbers(self):
        present = set(self.has)
        if self.type == "bool":
            ones = set(bits_of(self.run(self.bitmap_bytes), self.rows, self.where))
            demand(ones <= present, self.where + "a row is true and has no value")
            for row in self.has:
                self.values[row] = row in ones
            return
        values = self.numbers("d" if self.type == "float" else "q", self.rows)
        demand(all(map(math.isfinite, values)), self.where + "a value is not finite")
        demand(all(row in present or value == 0 for row, value in enumerate(values)), self.where + "bytes without a value")
        order = self.numbers("I", self.present)
        demand(list(order) == sorted(self.has, key=lambda row: (values[row], row)), self.where + "the order of its values")
        for row in self.has:
            self.values[row] = values[row]

    def read_texts(self):
        ends = self.numbers("Q", self.rows) if self.type == "tags" else ()
        width = 1 if self.words <= 256 else 2 if self.words <= 65536 else 4
        count = self.rows if self.type == "tag" else self.entries
        numbers = self.numbers({1: "B", 2: "H", 4: "I"}[width], count)
        word_ends = self.numbers("Q", self.words)
        text = bytes(self.run(self.word_bytes))
        words = self.slices(word_ends, text)
        demand(all(a < b for a, b in zip(words, words[1:])), self.where + "words do not ascend")
        unit_ends = self.numbers("Q", self.words)
        units = self.slices(unit_ends, self.numbers("I", self.units))
        present, pairs = set(self.has), set()
        of_row = self.slices(ends, numbers) if ends else [(n,) if r in present else () for r, n in enumerate(numbers)]
        for row, of in enumerate(of_row):
            demand(bool(of) == (row in present) and list(of) == sorted(set(of)), self.where + "the words of row %d" % row)
            demand(all(number < self.words for number in of), self.where + "row %d has an unknown word" % row)
            demand(self.type == "tags" or of or not numbers[row], self.where + "row %d has a number and no value" % row)
            pairs.update((number, row) for number in of)
            texts = [words[number].decode() for number in of]
            if of:
                self.values[row] = texts if self.type == "tags" else texts[0]
        demand(len(pairs) == self.entries, self.where + "the number of strings")
        self.check_units(units, pairs)

    def slices(self, ends, of):
        demand((ends[-1] if ends else 0) == len(of), self.where + "ends leave something over")
        begins = (0,) + tuple(ends[:-1])
        demand(all(a <= b for a, b in zip(begins, ends)), self.where + "ends do not ascend")
        return [of[a:b] for a, b in zip(begins, ends)]

    def check_units(self, units, pairs):
        dense, found = self.bitmap_bytes // 4, set()
        for number, of in enumerate(units):
            where = self.where + "word %d: " % number
            demand(1 <= len(of) <= dense, where + "%d units" % len(of))
            rows = list(of) if len(of) < dense else bits_of(struct.pack("<%dI" % dense, *of), self.rows, where)
            demand(rows == sorted(set(rows)) and (len(of) < dense or len(rows) >= dense), where + "its rows")
            found.update((number, row) for row in rows)
        demand(found == pairs, self.where + "words have other rows than rows have words")


class Table:
    """The table of a collection's segment, its rows and columns read and checked."""

    def __init__(self, index):
        demand(index.feature_incompat == FEATURE_TABLE, "is an index, not a table")
        demand(1 <= index.rows <= 4294967280 and index.id_kind in ("u64", "string"), "rows or id_kind")
        demand(not any((index.lists, index.level1_dim, index.flags, index.dim)), "the header has numbers of an index")
        self.keys = struct.unpack("<%dQ" % index.rows, index.need("rows/keys", 8 * index.rows))
        demand(all(a < b for a, b in zip(self.keys, self.keys[1:])) and self.keys[-1] != M64, "keys do not ascend")
        self.texts = None
        if index.id_kind == "string":
            self.texts = index.strings("rows")
            order = struct.unpack("<%dI" % index.rows, index.need("rows/order", 4 * index.rows))
            demand(list(order) == sorted(range(index.rows), key=self.texts.__getitem__), "the order of string ids")
            demand(len(set(self.texts)) == index.rows and all(1 <= len(t) <= 4096 for t in self.texts), "string ids")
        self.columns = self.read_columns(index)

    def read_columns(self, index):
        directory, data = index.data("columns/directory"), index.data("columns/data")
        demand((directory is None) == (data is None), "there is a directory or data alone")
        if directory is None:
            return []
        demand(len(directory) % 64 == 0 and len(directory) // 64 <= 1024, "the directory's size")
        columns, end = [], 0
        for entry in struct.iter_unpack("<2I7Q", directory):
            demand(not columns or columns[-1].field < entry[0], "fields do not ascend")
            begin = round_up(end, 64)
            demand(entry[2] == begin and not any(data[end:begin]), "a column does not lie behind the one before")
            end = begin + entry[3]
            columns.append(Column(index.rows, entry, data[begin:end]))
        demand(end == len(data), "bytes behind the last column")
        return columns

    def row(self, number):
        answer = {"key": self.keys[number]}
        if self.texts:
            answer["id"] = self.texts[number].decode()
        answer["fields"] = {c.field: c.values[number] for c in self.columns if c.values[number] is not None}
        return answer


# ---- Distances, to the bit ---------------------------------------------------------------------------------------------


def f32(x):
    try:
        return struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def fma32(a, b, c):
    """a * b + c for floats of single precision, rounded once. The product is exact in double precision; the sum is rounded
    to odd there, which keeps the second rounding honest."""
    product = a * b
    total = product + c
    if math.isinf(total):
        return total
    other = total - product
    lost = (product - (total - other)) + (c - other)
    if lost and not struct.unpack("<Q", struct.pack("<d", total))[0] & 1:
        total = math.nextafter(total, math.copysign(math.inf, lost))
    return f32(total)


def tree(s):
    while len(s) > 1:
        half = len(s) // 2
        s = [f32(s[j] + s[j + half]) for j in range(half)]
    return s[0]


def sixteen(q, x, step):
    sums = [0.0] * 16
    padded = round_up(len(q), 16)
    for i in range(padded):
        a, b = (q[i], x[i]) if i < len(q) else (0.0, 0.0)
        sums[i % 16] = step(a, b, sums[i % 16])
    return tree(sums)


def dot(q, x):
    return sixteen(q, x, fma32)


def l2sq(q, x):
    def step(a, b, s):
        t = f32(a - b)
        return fma32(t, t, s)

    return sixteen(q, x, step)


def norm2(x):
    sums = [0.0] * 16
    for i, value in enumerate(x):
        sums[i % 16] += value * value  # the square is exact, so this is one rounding, as with a fused operation
    while len(sums) > 1:
        half = len(sums) // 2
        sums = [sums[j] + sums[j + half] for j in range(half)]
    return sums[0]


def inverse_norm(x):
    return min(f32(1.0 / math.sqrt(norm2(x))), FLT_MAX)


def distance(metric, q, x):
    if metric == "l2":
        return l2sq(q, x)
    if metric == "ip":
        return -dot(q, x)
    if metric == "cosine":
        return f32(min(max(1.0 - dot(q, x) / math.sqrt(dot(q, q) * dot(x, x)), 0.0), 2.0))
    either = sum(bin(a | b).count("1") for a, b in zip(q, x))
    both = sum(bin(a & b).count("1") for a, b in zip(q, x))
    if metric == "hamming":
        return float(either - both)
    return f32((either - both) / either) if either else 0.0


# ---- Commands ----------------------------------------------------------------------------------------------------------


def info(index):
    return {
        "format_version": index.version,
        "file_bytes": index.file_bytes,
        "file_hash": "%016x" % index.file_hash,
        "rows": index.rows,
        "dim": index.dim,
        "dtype": index.dtype,
        "metric": index.metric,
        "id_kind": index.id_kind,
        "lists": index.lists,
        "second_code_error": index.parameter[3],
        "first_level_dim": index.level1_dim,
        "spilled_rows": len(index.data("second_lists/entries") or b"") // 8,
        "has_originals": bool(index.flags & ORIGINALS),
        "has_names": bool(index.flags & NAMES),
        "integer_codes": bool(index.flags & WHOLE_CODES),
        "code_error": index.code_error,
        "first_level_error": index.level1_error,
        "blocks": index.block_count,
        "sections": [
            {"name": part.name, "key": part.key, "offset": part.offset, "bytes": part.bytes, "count": part.count}
            for part in index.parts
            if not part.is_head
        ],
    }


def vector(index, wanted):
    ids = index.ids()
    demand(wanted in ids, "no vector has id %d" % wanted)
    position = ids.index(wanted)
    answer = {"id": wanted, "position": position, "vector": list(index.vector(position))}
    if index.id_kind == "string":
        answer["string"] = index.strings("strings")[wanted].decode("utf-8", "replace")
    if index.flags & NAMES:
        answer["name"] = index.strings("names")[position].decode("utf-8", "replace")
    return answer


def search(index, k, lines):
    ids = index.ids()
    strings = index.strings("strings") if index.id_kind == "string" else None
    vectors = [index.vector(position) for position in range(index.rows)]
    for line in lines:
        query = json.loads(line)
        demand(len(query) == len(vectors[0]), "a query has %d elements, expected %d" % (len(query), len(vectors[0])))
        if index.dtype != "b1":
            query = list(array.array("f", query))
        found = sorted((distance(index.metric, query, x), ids[p]) for p, x in enumerate(vectors))[:k]
        answer = {"ids": [number for _, number in found], "distances": [d for d, _ in found]}
        if strings:
            answer["strings"] = [strings[number].decode("utf-8", "replace") for _, number in found]
        yield answer


def main():
    parser = argparse.ArgumentParser(description="Read a kith index file with nothing but Python.")
    parser.add_argument("command", choices=["info", "verify", "check", "vector", "calibration", "search", "table"])
    parser.add_argument("file")
    parser.add_argument("id", nargs="?", type=int, help="vector: which one")
    parser.add_argument("--k", type=int, default=10, help="search: neighbours of each query")
    arguments = parser.parse_args()
    if (arguments.command == "vector") != (arguments.id is not None):
        parser.error("an id belongs to 'vector'")
    try:
        index = Index(arguments.file)
        if arguments.command == "table":
            table = Table(index)
            for number in range(index.rows):
                print(json.dumps(table.row(number)))
            return 0
        if arguments.command == "search":
            for answer in search(index, arguments.k, filter(str.strip, sys.stdin)):
                print(json.dumps(answer), flush=True)
            return 0
        if arguments.command == "verify":
            index.verify()
            answer = {"valid": True}
        elif arguments.command == "vector":
            answer = vector(index, arguments.id)
        elif arguments.command == "calibration":
            answer = index.calibration()
        else:
            answer = info(index) if arguments.command == "info" else index.check()
        print(json.dumps(answer))
        return 0
    except (Invalid, OSError) as problem:
        print(json.dumps({"valid": False, "error": "%s: %s" % (arguments.file, problem)}))
        return 1


if __name__ == "__main__":
    sys.exit(main())
