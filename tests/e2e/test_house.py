# SPDX-License-Identifier: Apache-2.0
"""The house: the checks of layers and of machine code refuse what they must, its map is true, the installed tree is
usable, and the README's examples work.

Needs a built tree: KITH_BUILD_DIR, or build/ in the source tree.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KITH_BUILD_DIR", SOURCE / "build"))


def run(command, **options):
    """Run, and fail with everything that was printed."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, f"{command}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


# ---- Layers ----------------------------------------------------------------------------------------------------------


def check_layers(root):
    return subprocess.run([sys.executable, SOURCE / "tools" / "check_layers", root], capture_output=True, text=True)


def house(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_layers_of_this_tree():
    done = check_layers(SOURCE)
    assert done.returncode == 0, done.stdout


def test_layers_accept_downward(tmp_path):
    root = house(tmp_path, {
        "src/base/a.h": "", "src/cpu/b.h": '#include "base/a.h"\n', "src/store/s.h": '#include "base/a.h"\n',
        "src/search/e.c": '#include "kith.h"\n#include "store/s.h"\n#include "cpu/b.h"\n#include <stdio.h>\n',
        "server/http/h.h": "", "server/run/r.c": '#include "http/h.h"\n#include "kith.h"\n',
        "server/serve/serve.h": "", "cli/own.h": "", "cli/main.c": '#include "kith.h"\n#include "own.h"\n#include "serve/serve.h"\n#include <stdio.h>\n'})
    done = check_layers(root)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name, line", [
    ("src/base/bad.c", '#include "cpu/x.h"'),           # upward
    ("src/store/bad.c", '#include "kernel/x.h"'),       # sideways
    ("src/flat/bad.c", '  #  include "ivf/x.h"'),       # sideways, oddly spaced
    ("src/io/bad.h", '#include "kernel/x.h"'),
    ("src/kernel/bad.c", '#include "../quant/x.h"'),    # through ..
    ("src/kernel/bad.c", '#include "quant/x.h" /* */'),
    ("src/kernel/bad.c", '#include "x.h"'),             # no path from src/
    ("src/kernel/bad.c", '#include <base/x.h>'),        # ours in brackets
    ("src/kernel/bad.c", '#include "base/absent.h"'),
    ("src/kernel/bad.c", "#include MACRO"),
    ("src/attic/bad.c", "int x;"),                      # no such room
    ("cli/bad.c", '#include "base/x.h"'),               # a client inside
    ("cli/bad.c", '#include "../src/base/x.h"'),
    ("cli/bad.c", '#include <base/x.h>'),
    ("cli/bad.c", '#include "http/x.h"'),               # what the server does not show to the command
    ("server/http/bad.c", '#include "run/x.h"'),        # upward in the server's house
    ("server/shelf/bad.c", '#include "http/x.h"'),
    ("server/native/bad.c", '#include "qdrant/x.h"'),   # sideways
    ("server/run/bad.c", '#include "base/x.h"'),        # inside the library
    ("server/attic/bad.c", '#include "http/x.h"'),
])
def test_layers_refuse(tmp_path, name, line):
    files = {f"src/{room}/x.h": "" for room in ("base", "cpu", "kernel", "quant", "store", "io", "view", "flat", "ivf", "index", "search")}
    files |= {f"server/{room}/x.h": "" for room in ("http", "shelf", "run", "native", "qdrant")}
    files[name] = f"/* first line */\n{line}\n"
    done = check_layers(house(tmp_path, files))
    assert done.returncode == 1
    assert name in done.stdout


# ---- The map of the house --------------------------------------------------------------------------------------------

ARCHITECTURE = (SOURCE / "docs" / "architecture.md").read_text()
PLACEHOLDERS = {"<isa>": "(avx2|avx512|amx|neon)", "<verb>": "[a-z]+"}


def files_named():
    """Patterns of the paths that the table of docs/architecture.md names, less their suffixes; a folder ends in "/".

    A name without a folder lies where the one before it in its row does; rooms are those of src/ but for cli, server and python."""
    for row in re.findall(r"^\| (`[^|]*) \|", ARCHITECTURE.split("\n## File by file\n")[1], flags=re.M):
        folder = ""
        for name in re.findall(r"`([^`]+)`", row):
            if "/" in name:
                folder = name.rpartition("/")[0] + "/"
                folder = folder if folder.startswith(("cli/", "python/", "server/")) else "src/" + folder
            pattern = re.escape(folder + name.rpartition("/")[2])
            for placeholder, stands_for in PLACEHOLDERS.items():
                pattern = pattern.replace(re.escape(placeholder), stands_for)
            yield pattern


def test_every_source_is_on_the_map():
    sources = [path.relative_to(SOURCE) for folder in ("src", "cli", "server", "python/src") for path in (SOURCE / folder).rglob("*")]
    stems = {str(path.with_suffix("")) for path in sources if path.suffix in (".c", ".h")}
    patterns = list(files_named())
    assert len(patterns) > 100
    missing = {stem for stem in stems if not any(re.fullmatch(pattern, stem) for pattern in patterns)}
    assert not missing, f"docs/architecture.md does not name {sorted(missing)}"


def test_the_map_names_no_absent_source():
    stems = {str(path.relative_to(SOURCE).with_suffix("")) for folder in ("src", "cli", "server", "python/src")
             for path in (SOURCE / folder).rglob("*") if path.suffix in (".c", ".h")}
    absent = {pattern for pattern in files_named()
              if not any(re.fullmatch(pattern, stem) for stem in stems)
              and not (pattern.endswith("/") and (SOURCE / pattern).is_dir())}
    assert not absent, f"docs/architecture.md names {sorted(absent)}, which do not exist"


def test_every_room_is_on_the_map():
    house = ARCHITECTURE.split("\n## The house\n")[1].split("\n## ")[0]
    named = set(re.findall(r"^src/(\w+)/", house, flags=re.M))
    assert named == {path.name for path in (SOURCE / "src").iterdir() if path.is_dir()}
    for room in named:
        assert re.search(rf"^    {room}\b", (SOURCE / "tools" / "check_layers").read_text(), flags=re.M), room


# ---- Old SSE code between wide code ----------------------------------------------------------------------------------

# Disassemblies in small: a function of 256 bits that calls a helper within its loop, as a kernel once did, and variants.
HELPER = """
0000000000000100 <helper>:
  100:	endbr64
  104:	movss  0x10(%rip),%xmm1        # 200 <_fini+0x8>
  10c:	mulss  %xmm1,%xmm0
  110:	ret
"""
CLEAN_HELPER = """
0000000000000100 <helper>:
  100:	vzeroupper
  103:	movss  (%rip),%xmm1        # 200 <_fini+0x8>
  10b:	ret
"""
INTEGER_HELPER = """
0000000000000100 <helper>:
  100:	lea    (%rdi,%rdi,1),%rax
  104:	ret
"""


def check_transitions(tmp_path, *functions):
    """The check of crafted functions: its exit code, and what it prints."""
    text = tmp_path / "disassembly"
    text.write_text("\nx.so:     file format elf64-x86-64\n\nDisassembly of section .text:\n" + "\n".join(functions))
    done = subprocess.run([sys.executable, SOURCE / "tools" / "check_transitions", "--text", text],
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def kernel(*lines):
    """A function at 0x20 that dirties upper halves, then has these lines at 0x28, 0x30 and so on."""
    body = [f"  {0x28 + 8 * i:x}:\t{line}" for i, line in enumerate(lines)]
    return "\n".join(["0000000000000020 <kernel_avx2>:", "  20:\tvmovups (%rsi),%ymm0", *body, ""])


TO_HELPER = "call   100 <helper>"
FINE = {
    "a helper after vzeroupper": (kernel("vzeroupper", TO_HELPER, "ret"), HELPER),
    "a helper that begins with vzeroupper": (kernel(TO_HELPER, "ret"), CLEAN_HELPER),
    "a helper of integers": (kernel(TO_HELPER, "vzeroupper", "ret"), INTEGER_HELPER),
    "old code on another path": (kernel("je     48 <kernel_avx2+0x28>", "vzeroupper", "addss  %xmm1,%xmm0", "ret",
                                        "vzeroupper", "ret"),),
    "128 bits in the new encoding": (kernel("vaddss %xmm1,%xmm0,%xmm0", "vzeroupper", "ret"),),
    "registers above 15": (kernel("vzeroupper", "vmovdqu64 (%rsi),%zmm17", "addss  %xmm1,%xmm0", "ret"),),
    "out of the library after vzeroupper": (kernel("vzeroupper", "jmp    10 <memcpy@plt>"),),
    "old code only": (HELPER,),
}
OFFENCES = {
    "a helper in a loop": (kernel(TO_HELPER, "jne    28 <kernel_avx2+0x8>", "vzeroupper", "ret"), HELPER),
    "a helper's helper": (kernel("call   180 <between>", "vzeroupper", "ret"), HELPER,
                          "0000000000000180 <between>:\n  180:\tcall   100 <helper>\n  185:\tret\n"),
    "a helper by way of a last jump": (kernel("jmp    100 <helper>"), HELPER),
    "old code in the function itself": (kernel("addss  %xmm1,%xmm0", "vzeroupper", "ret"),),
    "old code around a loop": (kernel("vzeroupper", "sqrtss %xmm0,%xmm0", "vmovups (%rsi),%zmm1",
                                      "jne    30 <kernel_avx2+0x10>", "vzeroupper", "ret"),),
    "a float converted from memory": (kernel("cvttss2si (%rdi),%eax", "vzeroupper", "ret"),),
    "a case of a switch": (kernel("notrack jmp *%rax", "vzeroupper", "ret", "addss  %xmm1,%xmm0", "ret"),),
    "out of the library": (kernel("call   10 <sqrtf@plt>", "vzeroupper", "ret"),),
    "through a pointer": (kernel("call   *0x28(%rax)", "vzeroupper", "ret"),),
    "no vzeroupper at the end": (kernel("ret"),),
}


@pytest.mark.parametrize("name", FINE)
def test_transitions_accept(tmp_path, name):
    code, printed = check_transitions(tmp_path, *FINE[name])
    assert code == 0, printed


@pytest.mark.parametrize("name", OFFENCES)
def test_transitions_refuse(tmp_path, name):
    code, printed = check_transitions(tmp_path, *OFFENCES[name])
    assert code == 1 and "kernel_avx2" in printed


def test_transitions_name_the_old_code(tmp_path):
    _, printed = check_transitions(tmp_path, kernel(TO_HELPER, "vzeroupper", "ret"), HELPER)
    assert "28: kernel_avx2: calls helper while upper halves are in use; there helper has movss" in printed


def test_transitions_refuse_what_they_cannot_judge(tmp_path):
    other = tmp_path / "other"
    other.write_text("x.so:     file format elf64-littleaarch64\n")
    done = subprocess.run([sys.executable, SOURCE / "tools" / "check_transitions", "--text", other],
                          capture_output=True, text=True)
    assert done.returncode == 2 and "x86-64" in done.stderr


def test_no_old_code_between_wide_code():
    """Called helpers without the attribute once took a third of the time of batches on processors by Intel."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("wide code beside old code is a matter of x86-64")
    if not shutil.which("objdump"):
        pytest.skip("no objdump here")
    library, cache = BUILD / "libkith.so", (BUILD / "CMakeCache.txt").read_text()
    if not library.exists():
        pytest.skip("no shared library: this build is for sanitizers, fuzzing or emulation")
    if not re.search(r"^CMAKE_BUILD_TYPE:\w+=Rel", cache, flags=re.M):
        pytest.skip("compilers put vzeroupper in optimised code only")
    run([sys.executable, SOURCE / "tools" / "check_transitions", library])


# ---- Set-up ----------------------------------------------------------------------------------------------------------


def test_setup_refuses_unknown_purpose():
    done = subprocess.run([SOURCE / "tools" / "setup", "--dry-run", "cellar"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "cellar" in done.stderr


def test_version_is_said_once():
    version = (SOURCE / "VERSION").read_text().strip()
    assert f"## {version}\n" in (SOURCE / "CHANGELOG.md").read_text()
    header = (SOURCE / "include" / "kith.h").read_text()
    parts = [re.search(rf"#define KITH_VERSION_{part} (\d+)", header).group(1) for part in ("MAJOR", "MINOR", "PATCH")]
    assert ".".join(parts) == version


def test_links_of_the_documents_lead_somewhere():
    for page in [*SOURCE.glob("*.md"), *(SOURCE / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


# ---- The installed tree, and the README in it ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Environment in which an installed kith is found, as after `make install`."""
    image = tmp_path_factory.mktemp("image")
    run(["cmake", "--install", BUILD], env={**os.environ, "DESTDIR": str(image)})
    prefix = next(image.rglob("include")).parent
    library = next(prefix.rglob("libkith.so")).parent
    environment = {**os.environ, "PATH": f"{prefix}/bin:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(library),
                   "PKG_CONFIG_PATH": f"{library}/pkgconfig", "NO_COLOR": "1"}
    return prefix, library, environment


def readme_tour():
    """The code blocks of the tour, in order: (language, text)."""
    tour = (SOURCE / "README.md").read_text().split("\n## Five minutes\n")[1].split("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", tour, flags=re.M | re.S)


@pytest.fixture(scope="module")
def tour(installed, tmp_path_factory):
    """Run the tour as it stands in the README; return the folder and all that was printed."""
    folder = tmp_path_factory.mktemp("tour")
    printed = ""
    for language, text in readme_tour():
        if language == "c":
            (folder / "first.c").write_text(text)
        else:
            assert language == "sh"
            printed += run(["sh", "-eu", "-c", text], cwd=folder, env=installed[2])
    return folder, printed


def test_readme_tour(tour):
    folder, printed = tour
    assert "salmon" in printed and "tomato" in printed
    assert "the same answers, byte for byte" in printed
    assert (folder / "bench.svg").read_text().lstrip().startswith("<")


def test_readme_program_prints_what_it_says(tour, installed):
    printed = run(["./first"], cwd=tour[0], env=installed[2])
    assert printed == "1 285\n2 449\n3 1282\n"


def test_program_with_the_static_library(tour, installed):
    prefix, library, environment = installed
    private = run(["pkg-config", "--static", "--libs-only-l", "kith"], env=environment).split()
    run(["cc", "first.c", "-o", "static", f"-I{prefix}/include", library / "libkith.a",
         *[flag for flag in private if flag != "-lkith"]], cwd=tour[0], env=environment)
    without = {key: value for key, value in environment.items() if key != "LD_LIBRARY_PATH"}
    assert run(["./static"], cwd=tour[0], env=without) == "1 285\n2 449\n3 1282\n"


def test_program_in_cpp(installed, tmp_path):
    if not shutil.which("c++"):
        pytest.skip("no C++ compiler here")
    (tmp_path / "first.cc").write_text("#include <kith.h>\nint main() { return kith_version() == nullptr; }\n")
    run(["sh", "-c", "c++ -Wall -Wextra -Werror first.cc -o first $(pkg-config --cflags --libs kith) && ./first"],
        cwd=tmp_path, env=installed[2])


def test_cmake_package(tour, installed):
    prefix, _, environment = installed
    for target in ("kith::kith", "kith::kith_static"):
        folder = tour[0] / target.replace(":", "")
        folder.mkdir()
        (folder / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(user C)\nfind_package(kith 0.1 REQUIRED)\n"
            f"add_executable(user ../first.c)\ntarget_link_libraries(user {target})\n")
        run(["cmake", "-G", "Ninja", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}"],
            env=environment)
        run(["cmake", "--build", folder / "build"], env=environment)
        assert run([folder / "build" / "user"], cwd=tour[0], env=environment) == "1 285\n2 449\n3 1282\n"


def test_manual_and_completions(installed):
    prefix, _, _ = installed
    if shutil.which("scdoc"):
        manual = next(prefix.rglob("kith.1*"))
        text = manual.read_text()
        assert ".TH" in text and "search" in text
    for name in ("bash-completion/completions/kith", "zsh/site-functions/_kith", "fish/vendor_completions.d/kith.fish"):
        assert "search" in next(prefix.rglob(name)).read_text()


def test_nothing_else_was_installed(installed):
    prefix, _, _ = installed
    names = {path.name for path in prefix.rglob("*") if path.is_file() or path.is_symlink()}
    expected = {"kith", "_kith", "kith.fish", "kith.1", "kith.h", "kith.pc", "libkith.a", "libkith.so", "libkith.so.0",
                "libkith_opencl.so"}
    extra = {name for name in names - expected if not re.match(r"libkith\.so\.0\.|kith(Config|Targets).*\.cmake", name)}
    assert not extra
