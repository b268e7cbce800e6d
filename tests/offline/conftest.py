# SPDX-License-Identifier: Apache-2.0
"""What the tests of clusters share: made-up items and queries as Parquet files, truth from one index, and the clusters,
each started once."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from beginnings import begin_as_by_default

begin_as_by_default()
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kith

DIM, ITEMS, QUERIES, K = 24, 3000, 500, 10
SEGMENTS = ("de", "fr", "it", "one", "none")


def lists_of(rows):
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


class World:
    """Items and queries, with equal distances among them: whole numbers, and copies."""

    def __init__(self, folder):
        rng = np.random.default_rng(14)
        self.folder = folder
        self.items = rng.integers(-3, 4, (ITEMS, DIM)).astype("f4")
        self.items[100:200] = self.items[:100]
        self.ids = rng.permutation(ITEMS * 7)[:ITEMS].astype("i8")
        self.queries = rng.integers(-3, 4, (QUERIES, DIM)).astype("f4")
        self.users = rng.permutation(QUERIES * 3)[:QUERIES].astype("i8") + 10**6
        # Skewed: most of all in one segment; one that a single item has, one that only queries have.
        self.item_segments = rng.choice(SEGMENTS[:3], ITEMS, p=[0.9, 0.07, 0.03])
        self.item_segments[0] = "one"
        self.segments = rng.choice(SEGMENTS, QUERIES, p=[0.85, 0.05, 0.04, 0.03, 0.03])
        self.index = kith.Index.build(self.items, self.ids, metric="l2", path=str(folder / "one.kith"))
        self.found = self.index.search(self.queries, K)
        self.items_path = self.write(folder / "items", {
            "id": pa.array(self.ids), "vector": lists_of(self.items),
            "segment": pa.array(self.item_segments)}, 3, group=400)
        # Lists of variable length, other columns, and a file without rows.
        self.users_path = self.write(folder / "users", {
            "name": pa.array([f"user {i}" for i in self.users]), "user": pa.array(self.users),
            "taste": pa.array(list(self.queries), pa.list_(pa.float32())), "country": pa.array(self.segments)}, 2,
            group=90)
        pq.write_table(pq.read_table(self.users_path).slice(0, 0), folder / "users" / "part-9.parquet")

    @staticmethod
    def write(folder, columns, files, group=1 << 20):
        table = pa.table(columns)
        folder.mkdir(parents=True, exist_ok=True)
        each = -(-table.num_rows // files)
        for number in range(files):
            pq.write_table(table.slice(number * each, each), folder / f"part-{number}.parquet", row_group_size=group)
        (folder / "_SUCCESS").write_text("")
        return str(folder)

    def check(self, table, truth=None, users=None):
        """The answer of every query is one index's, to the bit."""
        ids, distances = truth or (self.found.ids, self.found.distances)
        users = self.users if users is None else users
        assert table.num_rows == len(users)
        got = {row["id"]: row for row in table.select(["id", "ids", "distances"]).to_pylist()}
        assert set(got) == set(users.tolist())
        for user, near, far in zip(users.tolist(), ids, distances):
            there = np.isfinite(far)
            assert got[user]["ids"] == near[there].tolist()
            assert np.array(got[user]["distances"], "f4").tobytes() == far[there].tobytes()

    def by_segment(self):
        """What each query finds in its own segment."""
        ids = np.full((QUERIES, K), -1, "i8")
        distances = np.full((QUERIES, K), np.inf, "f4")
        for segment in SEGMENTS:
            asked = np.flatnonzero(self.segments == segment)
            own = self.ids[self.item_segments == segment]
            if len(asked) and len(own):
                ids[asked], distances[asked] = self.index.search(self.queries[asked], K, allow=own)
        return ids, distances


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


NAMES = {"id": "user", "vector": "taste"}


@pytest.fixture(scope="session")
def ray_cluster():
    """Two nodes on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 128 << 20}
    # Ray ends idle processes beyond one for each core, and begins others a moment later: five seconds each.
    keep = {"num_workers_soft_limit": 16, "idle_worker_killing_time_threshold_ms": 600_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "_system_config": keep})
    try:
        cluster.add_node(**node)
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


# The quick compiler, no checks of Spark's own classes, a collector without threads: these JVMs live for a minute.
JAVA = "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@pytest.fixture(scope="session")
def spark_session(tmp_path_factory):
    """A master and two workers on this machine, each with an executor of its own process."""
    os.environ.update(PYSPARK_PYTHON=sys.executable, PYSPARK_DRIVER_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1",
                      SPARK_WORKER_DIR=str(tmp_path_factory.mktemp("spark-work")),
                      SPARK_LOCAL_DIRS=str(tmp_path_factory.mktemp("spark-local")))
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local-cluster[2,1,512]").appName("kith")
    for name, value in {
            "driver.bindAddress": "127.0.0.1", "driver.host": "127.0.0.1", "driver.memory": "512m",
            "executor.memory": "512m", "driver.extraJavaOptions": JAVA, "executor.extraJavaOptions": JAVA,
            "ui.enabled": "false", "ui.showConsoleProgress": "false", "sql.shuffle.partitions": "2",
            "sql.adaptive.enabled": "false", "task.maxFailures": "2", "sql.codegen.wholeStage": "false",
            "sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}.items():
        builder = builder.config(f"spark.{name}", value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    try:
        yield session
    finally:
        session.stop()
