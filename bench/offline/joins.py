# SPDX-License-Identifier: Apache-2.0
"""The joins that are measured, each from files to files: `kith join`, kith on Ray and on Spark, Faiss on Ray."""
from __future__ import annotations

import dataclasses
import functools
import pathlib
import resource
import shutil
import subprocess
import time
from typing import Any, Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import processes

CORES = 2
GROUP_ROWS = 1 << 14  # of the Parquet files: what a task reads at least
SAMPLE = 2000  # queries whose true neighbours are known
PROBES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


@dataclasses.dataclass
class Bench:
    """Files of one measurement. k, target: what is asked for."""

    folder: pathlib.Path
    kith: pathlib.Path
    k: int
    target: float
    rows: int = 0
    truth: Any = None  # (SAMPLE, k) ids

    def path(self, name: str) -> str:
        return str(self.folder / name)


@dataclasses.dataclass
class Run:
    """One join. worker_bytes 0: it has no workers."""

    seconds: float
    cpu: float
    cpu_workers: float
    worker_bytes: int
    recall: float


def lists(rows: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1])


def lay_out(bench: Bench, items: np.ndarray, queries: np.ndarray) -> None:
    """Both as .npy and as Parquet, an index of the items, and what is true of some queries."""
    import kith

    bench.rows = len(queries)
    for name, rows in (("items", items), ("queries", queries)):
        np.save(bench.path(f"{name}.npy"), rows)
        pq.write_table(pa.table({"id": np.arange(len(rows)), "vector": lists(rows)}), bench.path(f"{name}.parquet"),
                       row_group_size=GROUP_ROWS)
    with kith.Index.build(items, metric="ip", path=bench.path("items.kith"), progress=False) as index:
        bench.truth = index.search(queries[:SAMPLE], bench.k, threads=CORES).ids


def recall_of(bench: Bench, ids: Any) -> float:
    """ids: of the first SAMPLE queries, in their order."""
    found = sum(len(set(mine) & set(true)) for mine, true in zip(ids, bench.truth.tolist()))
    return found / bench.truth.size


def recall_of_files(bench: Bench, folder: str) -> float:
    table = pq.read_table(folder)
    if table.num_rows != bench.rows:
        raise RuntimeError(f"{folder}: has {table.num_rows} answers to {bench.rows} queries")
    table = table.filter(pa.compute.less(table["id"], len(bench.truth))).sort_by("id")
    return recall_of(bench, table["ids"].to_pylist())


def watched(bench: Bench, out: str, run: Callable[[], None]) -> Run:
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    with processes.Watch() as watch:
        run()
    return Run(time.monotonic() - began, watch.cpu, watch.cpu_workers, watch.worker_bytes, recall_of_files(bench, out))


# ---- kith's command --------------------------------------------------------------------------------------------------


def command(bench: Bench) -> Run:
    for old in bench.folder.glob("joined*"):
        old.unlink()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([bench.kith, "join", bench.path("queries.npy"), bench.path("items.kith"), "-k", str(bench.k),
                    "--target-recall", str(bench.target), "--threads", str(CORES), "-o", bench.path("joined")],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ids = np.load(bench.path("joined.ids.npy"), mmap_mode="r")[:len(bench.truth)].tolist()
    return Run(time.monotonic() - began, cpu, cpu, 0, recall_of(bench, ids))


# ---- Ray -------------------------------------------------------------------------------------------------------------


def start_ray() -> None:
    import ray

    # Ray ends idle processes beyond one for each core, and begins others a moment later: that would be measured.
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, configure_logging=False,
             _system_config={"num_workers_soft_limit": 64, "idle_worker_killing_time_threshold_ms": 600_000})
    ray.data.DataContext.get_current().enable_progress_bars = False


def on_ray(bench: Bench, items: str = "items.kith") -> Run:
    import kith.ray

    out = bench.path("ray-out")
    return watched(bench, out, lambda: kith.ray.knn_join(
        bench.path("queries.parquet"), bench.path(items), bench.k, target_recall=bench.target).write_parquet(out))


def shards_on_ray(bench: Bench, count: int) -> None:
    """In a session of its own: workers that have built would be larger ever after."""
    import ray

    import kith.ray

    start_ray()

    kith.ray.build(bench.path("items.parquet"), bench.path(f"shards-{count}"), shards=count, metric="ip", replace=True)
    ray.shutdown()


@functools.lru_cache(maxsize=1)
def _faiss(path: str, probes: int) -> Any:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.read_index(path)
    index.nprobe = probes
    return index


def search_faiss(batch: dict[str, np.ndarray], path: str, k: int, probes: int) -> dict[str, np.ndarray]:
    """What one writes with Faiss: an index that each worker loads once, searched by batches."""
    distances, ids = _faiss(path, probes).search(np.stack(batch["vector"]), k)
    return {"id": batch["id"], "ids": ids, "distances": distances}


def build_faiss(bench: Bench) -> int:
    """Build an IVF of whole vectors in as many lists as its makers advise; return how many of them reach the recall."""
    import faiss

    items = np.load(bench.path("items.npy")).astype(np.float32)
    queries = np.load(bench.path("queries.npy"), mmap_mode="r")[:len(bench.truth)].astype(np.float32)
    lists = max(1, int(4 * len(items)**0.5))
    index = faiss.index_factory(items.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(CORES)
    index.train(items)
    index.add(items)
    faiss.write_index(index, bench.path("items.faiss"))
    for probes in (*PROBES, lists):
        index.nprobe = probes
        if recall_of(bench, index.search(queries, bench.k)[1].tolist()) >= bench.target:
            break
    return probes


def faiss_on_ray(bench: Bench, probes: int) -> Run:
    import ray

    out = bench.path("faiss-out")

    def run() -> None:
        ray.data.read_parquet(bench.path("queries.parquet")).map_batches(
            search_faiss, fn_args=(bench.path("items.faiss"), bench.k, probes), batch_size=8192).write_parquet(out)

    return watched(bench, out, run)


# ---- Spark -----------------------------------------------------------------------------------------------------------


def start_spark(bench: Bench) -> None:
    import os
    import sys

    os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master(f"local[{CORES}]").config("spark.ui.enabled", "false").config(
        "spark.ui.showConsoleProgress", "false").config("spark.local.dir", bench.path("spark")).getOrCreate()
    session.sparkContext.setLogLevel("OFF")


def on_spark(bench: Bench, items: str = "items.kith") -> Run:
    import kith.spark

    out = bench.path("spark-out")
    return watched(bench, out, lambda: kith.spark.knn_join(
        bench.path("queries.parquet"), bench.path(items), bench.k, target_recall=bench.target).write.parquet(out))
