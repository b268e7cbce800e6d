# SPDX-License-Identifier: Apache-2.0
"""kith.h, walked from end to end: what holds for one function or struct holds for all, and nothing that a program was
compiled against has moved since. tests/fixtures/headers/ has the header of every release; tests/unit/test_contract.c
and tests/fixtures/client.c call what is only read here.

Needs a C compiler, and a built tree for the example: KITH_BUILD_DIR, or build/ in the source tree.
"""

import os
import pathlib
import re
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KITH_BUILD_DIR", SOURCE / "build"))
HEADER = SOURCE / "include" / "kith.h"
RELEASED = sorted((SOURCE / "tests" / "fixtures" / "headers").glob("kith-*.h"))
CALLS = (SOURCE / "tests" / "unit" / "test_contract.c").read_text()

# They fail by a programmer's mistake only, and returned nothing in 0.1: sources of then still compile without warning.
MAY_GO_UNCHECKED = {"kith_index_get_info", "kith_reader_get_info", "kith_result_hits"}
# The library fills it and nobody else: a callback sees how far it reaches.
NOT_HANDED_IN = {"kith_progress"}
# Functions that were void: a caller that looks at nothing is none the worse for a status.
RETURNS_MORE = {"kith_index_get_info", "kith_reader_get_info"}


def blank(text):
    """Text without comments, which become blanks so that places stay."""
    return re.sub(r"/\*.*?\*/", lambda found: re.sub(r"[^\n]", " ", found.group()), text, flags=re.S)


class Header:
    def __init__(self, path):
        self.path = path
        self.text = path.read_text()
        self.code = blank(self.text)
        self.version = tuple(int(re.search(rf"#define KITH_VERSION_{part} (\d+)", self.code).group(1))
                             for part in ("MAJOR", "MINOR"))

    def functions(self):
        """{name: (prototype in one line, where it begins)}"""
        found = {}
        for match in re.finditer(r"^KITH_API\b[^;{]*?\b(kith_\w+)\s*\([^;]*\);", self.code, flags=re.M):
            found[match.group(1)] = (" ".join(match.group().split()), match.start())
        return found

    def comment_of(self, start):
        """The comment in front of a declaration, or of the first of several that share one."""
        before = self.text[:start]
        while True:
            line = before.rstrip("\n").rsplit("\n", 1)[-1]
            if line.rstrip().endswith("*/") and not re.match(r"(KITH_API\b|    +\w)", line):
                return before[before.rindex("/*"):]
            assert line.strip(), f"{self.path.name}: a declaration without a comment: {self.text[start:start + 80]}"
            before = before[:len(before.rstrip('\n')) - len(line)]

    def structs(self):
        """{name: [member, ...]} of the structs that programs see inside."""
        found = {}
        for match in re.finditer(r"typedef struct (kith_\w+) \{(.*?)^\} \1;", self.code, flags=re.M | re.S):
            body = re.sub(r"struct \{.*?\}", "inner", match.group(2), flags=re.S)
            members = []
            for declaration in filter(str.strip, body.split(";")):
                pointer = re.search(r"\(\*(\w+)\)\s*\(", declaration)
                members += [pointer.group(1)] if pointer else [
                    re.search(r"(\w+)\s*(\[\w+\])?\s*$", part).group(1) for part in declaration.split(",")]
            found[match.group(1)] = members
        return found

    def constants(self):
        """Names of enumerators, and of macros that are numbers in structs or files."""
        names = []
        for body in re.findall(r"enum(?: \w+)? \{(.*?)\}", self.code, flags=re.S):
            names += re.findall(r"\b(KITH_\w+)", body)
        return names + ["KITH_ERROR_TEXT_BYTES", "KITH_SECTIONS_MAX", "KITH_ID_NONE"]


TODAY = Header(HEADER)
HEADERS = [Header(path) for path in RELEASED]
HANDED = {name: members for name, members in TODAY.structs().items() if members[0] == "struct_size"}


def evaluated(header, tmp_path):
    """What a compiler makes of a header: {"struct member": (offset, bytes), "struct": (0, bytes), "CONSTANT": value}"""
    lines = []
    for name, members in header.structs().items():
        lines.append(f'printf("{name}=0,%zu\\n", sizeof({name}));')
        for member in members:
            lines.append(f'printf("{name} {member}=%zu,%zu\\n", offsetof({name}, {member}), '
                         f'sizeof((({name} *)0)->{member}));')
    for name in header.constants():
        lines.append(f'printf("{name}=%llu,0\\n", (unsigned long long){name});')
    (tmp_path / "layout.c").write_text(f'#include "{header.path}"\n#include <stdio.h>\nint main(void) {{\n'
                                       + "\n".join(lines) + "\nreturn 0;\n}\n")
    subprocess.run(["cc", "layout.c", "-o", "layout"], cwd=tmp_path, check=True)
    printed = subprocess.run(["./layout"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in printed.splitlines():
        name, numbers = line.split("=")
        found[name] = tuple(int(number) for number in numbers.split(","))
    return found


# ---- Today's header --------------------------------------------------------------------------------------------------


def test_the_walk_sees_all():
    functions, structs = TODAY.functions(), TODAY.structs()
    assert len(functions) == len(re.findall(r"^KITH_API\b", TODAY.code, flags=re.M))
    assert len(structs) == len(re.findall(r"^typedef struct kith_\w+ \{", TODAY.code, flags=re.M))
    assert "kith_search" in functions and structs["kith_queries"][-1] == "stride_bytes"
    assert structs["kith_source"][-2:] == ["read", "context"] and "considered" in structs["kith_explain"]
    assert set(MAY_GO_UNCHECKED) < set(functions)


def test_statuses_must_be_checked():
    for name, (prototype, _) in TODAY.functions().items():
        gives = re.match(r"KITH_API (KITH_MUST_CHECK )?kith_status kith_(?!\w*_parse)", prototype) is not None
        checked = "KITH_MUST_CHECK" in prototype
        assert checked == (gives and name not in MAY_GO_UNCHECKED), prototype


def test_error_comes_last():
    for prototype, _ in TODAY.functions().values():
        if "kith_error *" in prototype:
            assert prototype.endswith("kith_error *error);") and " kith_status " in prototype, prototype


def test_every_function_says_since_when():
    for name, (_, start) in TODAY.functions().items():
        since = re.findall(r"Since (\d+)\.(\d+)\.", TODAY.comment_of(start))
        assert since, f"{name}: its comment does not say since when it is there"
        first = next((header.version for header in HEADERS if name in header.functions()), TODAY.version)
        assert tuple(int(part) for part in since[-1]) == first, name


def test_every_function_is_called_with_null():
    for name, (prototype, _) in TODAY.functions().items():
        if re.search(r"\bkith_status kith_", prototype) and "*" in prototype:
            assert re.search(rf"\bCALL\({name[5:]}, \d\)", CALLS), f"tests/unit/test_contract.c does not call {name}"
        if re.search(r"_(close|destroy|abandon)$", name):
            assert f"    {name}(NULL);" in CALLS, f"tests/unit/test_contract.c does not hand NULL to {name}"


def test_every_struct_that_grows_is_initialised_and_tried():
    shapes = (SOURCE / "src" / "base" / "grow.c").read_text()
    for name in set(HANDED) - NOT_HANDED_IN:
        init = f"{name.upper()}_INIT"
        assert re.search(rf"#define {init}\s*\\\n\s*\{{ \.struct_size = sizeof\({name}\)", TODAY.text), init
        assert f"GIVE({name[5:]}, " in CALLS, f"tests/unit/test_contract.c does not try sizes of {name}"
        shape = re.search(rf"SHAPE\({name}, {init}, (\w+)\)", shapes)
        assert shape, f"src/base/grow.c has no row for {name}"
        first = next((header for header in [*HEADERS, TODAY] if name in header.structs()))
        assert shape.group(1) == first.structs()[name][-1], f"src/base/grow.c: the last member of {name} in its first release"
    for name in re.findall(r"#define (KITH_\w+_INIT)\b", TODAY.code):
        assert name.removesuffix("_INIT").lower() in HANDED, name


def test_no_garbage_of_a_caller_is_read(tmp_path):
    """A struct that is handed in has no padding at its end: nobody initialises padding."""
    layout = evaluated(TODAY, tmp_path)
    for name, members in HANDED.items():
        offset, size = layout[f"{name} {members[-1]}"]
        assert offset + size == layout[name][1], f"{name}: name its last bytes `reserved`"


def test_the_example_works(tmp_path):
    text = TODAY.text.split(" * Example:")[1].split("\n *\n", 1)[1].split("\n *\n")[0]
    lines = [line.removeprefix(" *") for line in text.split("\n")]
    assert 10 <= len(lines) <= 20
    (tmp_path / "example.c").write_text("#include <kith.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines)
                                        + "\n    return status != KITH_OK;\n}\n")
    (tmp_path / "points.csv").write_text("9,9\n0,2\n7,7\n1,2\n0.5,1\n")
    kith = os.environ.get("KITH_BIN", BUILD / "kith")
    subprocess.run([kith, "build", "points.csv", "-o", "points.kith"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "example.c", "-o", "example", f"-I{SOURCE / 'include'}",
                    f"-L{BUILD}", f"-Wl,-rpath,{BUILD}", "-lkith"], cwd=tmp_path, check=True)
    done = subprocess.run(["./example"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n3\n4\n", "")


# ---- Against the headers of all releases -----------------------------------------------------------------------------


def test_headers_of_all_releases_are_kept():
    versions = re.findall(r"^## (\d+\.\d+)\.\d+$", (SOURCE / "CHANGELOG.md").read_text(), flags=re.M)
    current = ".".join((SOURCE / "VERSION").read_text().strip().split(".")[:2])
    kept = {path.name for path in RELEASED}
    for version in set(versions) - {current}:
        assert f"kith-{version}.h" in kept, f"tests/fixtures/headers/ lacks the kith.h of {version}"


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.path.stem)
def test_functions_are_as_they_were(header):
    today = TODAY.functions()
    for name, (prototype, _) in header.functions().items():
        assert name in today, f"{name} is gone"
        now = today[name][0]
        if name in RETURNS_MORE and "void " in prototype:
            prototype, now = prototype.replace("void ", "", 1), now.replace("kith_status ", "", 1)
        assert now == prototype


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.path.stem)
def test_structs_only_grow(header, tmp_path):
    """Old members lie where they lay; new ones begin where the old struct ended, its padding included, without holes."""
    then, now = evaluated(header, tmp_path), evaluated(TODAY, tmp_path)
    for name, place in then.items():
        assert name in now, f"{name} is gone"
        if " " in name or name.startswith("KITH_"):
            assert now[name] == place, f"{name} has moved"
    for name, members in header.structs().items():
        if members[0] != "struct_size":
            assert now[name] == then[name], f"{name} has grown, and nobody can tell how large a caller's is"
        added, end = TODAY.structs()[name][len(members):], sum(then[f"{name} {members[-1]}"])
        for member in added:
            offset, size = now[f"{name} {member}"]
            in_padding = offset < then[name][1]
            assert offset == end, f"{name}: a hole before {member}"
            assert not in_padding or member == "reserved", f"{name}: {member} lies where older callers have padding"
            end = offset + size
