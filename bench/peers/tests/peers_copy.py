# SPDX-License-Identifier: Apache-2.0
"""A copy of this bench whose only library is a test's own."""
import pathlib
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[3]


def copy_bench(folder: pathlib.Path, name: str, source: str) -> None:
    """folder/peers, with one library of this name and text."""
    for path in (ROOT / "bench/peers").rglob("*.py"):
        copy = folder / "peers" / path.relative_to(ROOT / "bench/peers")
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        if copy.name == "__init__.py" and copy.parent.name == "libraries":
            start = text.index("LIBRARIES = (")
            text = text[:start] + f'LIBRARIES = ("{name}",)\n' + text[text.index("\n", start):]
        copy.write_text(text)
    (folder / f"peers/libraries/{name}.py").write_text(textwrap.dedent(source))
