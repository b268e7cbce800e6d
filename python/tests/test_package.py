# SPDX-License-Identifier: Apache-2.0
"""The package as such: doctests, types, the command, what importing it costs."""
import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kith

FOLDER = Path(kith.__file__).parent
NEEDS = {"kith.langchain": "langchain_core", "kith.llama_index": "llama_index.core", "kith.ray": "ray.data",
         "kith.spark": "pyspark"}


def modules():
    return [name for _, name, _ in pkgutil.walk_packages([str(FOLDER)], "kith.") if not name.endswith("__main__")]


@pytest.mark.parametrize("name", ["kith", *modules()])
def test_doctests(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in finder.find(module, globs={"kith": kith, "np": np}):
        runner.run(test)
    assert runner.failures == 0


def test_doctests_of_the_extension():
    text = kith.Index.search.__doc__
    test = doctest.DocTestParser().get_doctest(text, {"kith": kith, "np": np}, "Index.search", None, None)
    runner = doctest.DocTestRunner()
    runner.run(test)
    assert test.examples and runner.failures == 0


def test_everything_public_is_documented():
    for name in kith.__all__:
        if name == "version":
            continue
        thing = getattr(kith, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing) and name != "Source":  # whose docstring is a table of its attributes
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert inspect.getdoc(value), f"{name}.{member}"


def stub_body(tree, node):
    """What the stub says of a class, and of those in the stub that it is made of."""
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
    return node.body + [member for other in tree.body if isinstance(other, ast.ClassDef) and other.name in bases and
                        other.name.startswith("_") for member in other.body]


def stub_names(tree, public=True):
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.asname}
    return {name for name in names if not (public and name.startswith("_"))}


@pytest.mark.parametrize("alias, words", [("_Plan", kith._kith.PLANS), ("_Code", kith._kith.CODES)])
def test_the_stub_has_the_words_of_the_library(alias, words):
    tree = ast.parse((FOLDER / "__init__.pyi").read_text())
    values = {node.target.id: node.value for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert ast.literal_eval(values[alias].slice) == words and len(words) > 1


def test_the_stub_says_what_there_is():
    tree = ast.parse((FOLDER / "__init__.pyi").read_text())
    assert stub_names(tree) == set(kith.__all__) and (FOLDER / "py.typed").exists()
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for name in stub_names(node, public=False) - {"status"}:
                if name in ("seconds", "stage_seconds") or node.name == "Explain":
                    continue
                assert hasattr(getattr(kith, node.name), name), f"{node.name}.{name}"
        if isinstance(node, ast.FunctionDef) and node.name not in ("open", "verify"):
            assert parameters(node) == list(inspect.signature(getattr(kith, node.name)).parameters)


def parameters(node):
    return [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def test_the_stubs_parameters_are_those_of_the_methods():
    tree = ast.parse((FOLDER / "__init__.pyi").read_text())
    named = ("Index", "Collection", "RemoteCollection", "Server")
    for stub in [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in named]:
        there = getattr(kith, stub.name)
        for node in stub_body(tree, stub):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and "property" not in words(node):
                given = parameters(node)[1:] if "classmethod" in words(node) else parameters(node)
                assert given == list(inspect.signature(getattr(there, node.name)).parameters), node.name


def words(node):
    return [decorator.id for decorator in node.decorator_list]


def test_the_stub_of_collections_says_what_they_have():
    tree = ast.parse((FOLDER / "__init__.pyi").read_text())
    for name in ("Collection", "RemoteCollection", "Server", "Hits", "Item", "Written"):
        (stub,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
        there = {member for base in getattr(kith, name).__mro__[:-1] for member in vars(base)}
        public = {member for member in there if not member.startswith("_")}
        inherited = {"count", "index"} if issubclass(getattr(kith, name), tuple) else set()
        body = stub_body(tree, stub)
        told = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        told |= {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
        assert {member for member in told if not member.startswith("_")} == public - inherited


def test_the_stub_of_the_extension_says_what_there_is():
    tree = ast.parse((FOLDER / "_kith.pyi").read_text())
    there = {name for name in vars(kith._kith) if not name.startswith("__")}
    assert stub_names(tree, public=False) == there


def test_version():
    assert kith.__version__ == kith.version and re.fullmatch(r"\d+\.\d+\.\d+", kith.version)
    assert importlib.import_module("importlib.metadata").version("kith-search") == kith.version


def test_the_command():
    for command in ([sys.executable, "-m", "kith"], [os.path.join(os.path.dirname(sys.executable), "kith")]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert kith.version in done.stdout
        wrong = subprocess.run([*command, "nonsense"], capture_output=True, text=True, check=False)
        assert wrong.returncode == 2 and "nonsense" in wrong.stderr


def test_the_command_and_the_package_agree(tmp_path):
    rows = np.random.default_rng(5).standard_normal((300, 8), dtype=np.float32)
    np.save(tmp_path / "x.npy", rows)
    subprocess.run([sys.executable, "-m", "kith", "build", "x.npy", "-o", "x.kith"], cwd=tmp_path, check=True,
                   capture_output=True)
    subprocess.run([sys.executable, "-m", "kith", "search", "x.kith", "x.npy", "-k", "5", "-o", "x.ivecs"],
                   cwd=tmp_path, check=True, capture_output=True)
    ids = np.fromfile(tmp_path / "x.ivecs", np.int32).reshape(300, 6)[:, 1:]
    assert np.array_equal(kith.open(tmp_path / "x.kith").search(rows, 5).ids, ids)


def test_importing_is_light():
    """What others need is imported when it is used: tqdm, tables and metadata are not, and nothing starts threads."""
    script = """
import sys, numpy
before = set(sys.modules)
import kith
print(" ".join(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - {"kith"})))
index = kith.Index.build(numpy.eye(8, dtype="f4"))
index.search(numpy.eye(8, dtype="f4"))
print(" ".join(name for name in ("tqdm", "pandas", "pyarrow", "polars", "h5py", "ml_dtypes") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    more, heavy = done.stdout.split("\n")[:2]
    assert heavy == ""
    assert not {"tqdm", "tempfile", "shutil", "secrets", "random", "importlib_metadata", "IPython", "asyncio",
                "multiprocessing", "http", "xml"} & set(more.split())


def test_the_extension_is_of_the_stable_abi():
    assert kith._kith.__file__.endswith(".abi3.so")
