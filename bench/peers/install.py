# SPDX-License-Identifier: Apache-2.0
"""Install the libraries into the environment that runs this, one after another, so that one which cannot be installed
leaves the others alone. Why it could not is kept in <environment>/failed.json and told beside the results."""
from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Callable, Iterable

from . import libraries

SOURCES = ("src", "include", "python", "cli", "cmake")


def newest_source(root: pathlib.Path) -> float:
    """When kith's sources last changed."""
    files = [path for folder in SOURCES for path in (root / folder).rglob("*") if path.is_file()]
    return max((path.stat().st_mtime for path in files), default=0.0)


def import_error(library: str) -> str:
    """Why a process of its own cannot load the library; the empty text if it can."""
    module = {"vsag": "pyvsag"}.get(library, library)
    done = subprocess.run([sys.executable, "-c", f"import {module}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, cwd="/", check=False)
    said = done.stdout.strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"exit code {done.returncode}")


def install(names: Iterable[str], say: Callable[[str], None] = print,
            package_of: Callable[[str], str] = libraries.package) -> dict[str, str]:
    """Install what these libraries lack. package_of: what pip installs for one, by its name, which is that of its
    module: a path relative to the repository, or names of packages. Returns why, for each that could not be installed.
    """
    environment, root = pathlib.Path(sys.prefix), libraries.source_folder()
    failed: dict[str, str] = {}
    for library in names:
        package = package_of(library)
        stamp = environment / f".{library}.installed"
        own = package.startswith(".")
        if stamp.exists() and (not own or stamp.stat().st_mtime > newest_source(root)):
            continue
        say(f"installing {package}")
        target = [str(root / package)] if own else package.split()
        extra = ["--force-reinstall", "--no-deps"] if own and stamp.exists() else []
        done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                               *extra, *target], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root,
                              check=False)
        problem = import_error(library) if done.returncode == 0 else ""
        if done.returncode == 0 and not problem:
            stamp.touch()
            continue
        lines = [line for line in done.stdout.splitlines() if "error" in line.lower()] or done.stdout.splitlines()
        reason = f"installed, but its import fails: {problem}" if problem else (lines or ["no reason given"])[0].strip()
        failed[library] = f"pip install {package}: {reason}"
        say(failed[library])
    path = environment / "failed.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    kept = {name: why for name, why in before.items() if not (environment / f".{name}.installed").exists()}
    path.write_text(json.dumps({**kept, **failed}, indent=1) + "\n")
    return failed


def reasons() -> dict[str, str]:
    """What the last installation noted."""
    path = pathlib.Path(sys.prefix) / "failed.json"
    return json.loads(path.read_text()) if path.exists() else {}
