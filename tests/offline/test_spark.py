# SPDX-License-Identifier: Apache-2.0
"""kith.spark on a cluster of two executors. What does not depend on the engine is tried in test_here.py."""
import os
import signal
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DIM, ITEMS, K, NAMES, lists_of

import kith

pytest.importorskip("pyspark")


@pytest.fixture(scope="module")
def spark(spark_session):
    return spark_session


@pytest.fixture(scope="module")
def engine(spark_session):
    import kith.spark

    return kith.spark


@pytest.fixture(scope="module")
def three(world, engine):
    """Three shards by segment, which serve all kinds of joins."""
    made = engine.build(world.items_path, world.folder / "spark", shards=3, by="segment", segment="segment")
    assert made.rows == ITEMS and len(made.shards) == 3
    return made


def test_executors(spark):
    def parents(batches):
        for batch in batches:
            yield pa.RecordBatch.from_arrays([pa.array([os.getppid()] * batch.num_rows)], ["pid"])

    found = spark.range(0, 8, 1, 8).mapInArrow(parents, "pid bigint").toArrow()
    assert len(set(found["pid"].to_pylist())) >= 2


def test_files_to_files(world, engine, three, tmp_path):
    found = engine.knn_join(world.users_path, three.path, K, tasks=3, **NAMES)
    found.write.parquet(str(tmp_path / "out"))
    world.check(pq.read_table(tmp_path / "out"))


def test_a_frame_by_cluster(world, engine, spark, tmp_path):
    made = engine.build(spark.read.parquet(world.items_path), tmp_path / "c", shards=2, by="cluster")
    asked = spark.read.parquet(world.users_path).repartition(3)
    world.check(engine.knn_join(asked, made, K, tasks=2, **NAMES).toArrow())


def test_segments(world, engine, spark, three):
    asked = spark.read.parquet(world.users_path)
    found = engine.knn_join(asked, three, K, by="segment", segment="country", tasks=4, **NAMES)
    world.check(found.toArrow(), world.by_segment())


def test_a_worker_that_is_killed(world, engine, tmp_path):
    """What was searched once is searched again, and nothing comes twice or is lost."""
    mark = str(tmp_path / "died")

    def die(batches):
        for batch in batches:
            yield batch
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)

    found = engine.knn_join(world.users_path, world.index.path, K, **NAMES)
    found.mapInArrow(die, found.schema).write.parquet(str(tmp_path / "out"))
    assert os.path.exists(mark)
    world.check(pq.read_table(tmp_path / "out"))


def test_an_index_elsewhere(world, engine, tmp_path):
    """Workers copy what is no file of theirs."""
    with zipfile.ZipFile(tmp_path / "far.zip", "w") as packed:
        packed.write(world.index.path, "one.kith")
    found = engine.knn_join(world.users_path, f"zip://one.kith::file://{tmp_path}/far.zip", K, **NAMES)
    world.check(found.toArrow())


def test_refused_on_a_worker(world, engine, spark, tmp_path):
    rows = world.queries.tolist()
    rows[133] = None
    path = world.write(tmp_path / "bad", {"user": world.users, "taste": pa.array(rows, pa.list_(pa.float32()))}, 1, 90)
    with pytest.raises(Exception, match="part-0.parquet: column 'taste': row 133: is missing"):
        engine.knn_join(path, world.index.path, K, **NAMES).collect()
    with pytest.raises(kith.DataError, match="row 133: is missing"):
        engine.build(path, tmp_path / "never", shards=2, **NAMES)
    with pytest.raises(TypeError, match="must be a DataFrame or paths"):
        engine.knn_join(3, world.index.path)
    with pytest.raises(kith.ArgumentError, match="has no column 'x'; it has id"):
        engine.knn_join(spark.range(3), world.index.path, vector="x")
    ids = world.ids.astype("u8") + np.uint64(2**63)
    kith.Index.build(world.items, ids, path=str(tmp_path / "wide.kith"))
    with pytest.raises(kith.UnsupportedError, match="beyond"):
        engine.knn_join(world.users_path, tmp_path / "wide.kith", **NAMES)


def test_the_next_generation(world, engine, spark):
    shop = kith.Collection.create(None, dim=DIM, model="old")
    shop.add(world.ids, world.items)
    new = -world.items[:, :5].copy()
    vectors = spark.createDataFrame(pa.table({"id": world.ids, "vector": lists_of(new)}))
    done = engine.next_generation(vectors, shop, model="new", min_recall=0.9)
    assert (done["to"], done["updated"], shop.info["model"]) == (2, ITEMS, "new")
    assert np.array_equal(shop[int(world.ids[7])].vector, new[7])
