# SPDX-License-Identifier: Apache-2.0
"""kith.ray on a cluster of two nodes. What does not depend on the engine is tried in test_here.py."""
import os
import signal
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DIM, ITEMS, K, NAMES, lists_of

import kith

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def engine(ray_cluster):
    import kith.ray

    return kith.ray


@pytest.fixture(scope="module")
def three(world, engine):
    """Three shards by segment, which serve all kinds of joins."""
    made = engine.build(world.items_path, world.folder / "ray", shards=3, by="segment", segment="segment")
    assert made.rows == ITEMS and len(made.shards) == 3
    return made


def table_of(dataset):
    return pa.concat_tables(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))


def test_nodes(ray_cluster):
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2


def test_files_to_files(world, engine, three, tmp_path):
    found = engine.knn_join(world.users_path, three.path, K, tasks=3, **NAMES)
    found.write_parquet(str(tmp_path / "out"))
    world.check(pq.read_table(tmp_path / "out"))


def test_a_dataset_by_cluster(world, engine, tmp_path):
    """From datasets: lists of variable length, a column more, and a block without rows."""
    items = pq.read_table(world.items_path)
    made = engine.build(ray.data.from_arrow([items.slice(0, 0), items.slice(0, 900), items.slice(900)]), tmp_path / "c",
                        shards=2, by="cluster")
    users = pq.read_table(world.users_path)
    asked = ray.data.from_arrow([users.slice(0, 200), users.slice(200, 0), users.slice(200)])
    found = engine.knn_join(asked, made, K, tasks=2, **NAMES)
    stages = found.materialize().stats()
    assert "kith_search_shard_1_of_2" in stages and "kith_merge_shards" in stages
    world.check(table_of(found))


def test_segments(world, engine, three):
    found = engine.knn_join(world.users_path, three, K, by="segment", segment="country", tasks=4, **NAMES)
    world.check(table_of(found), world.by_segment())


def test_a_worker_that_is_killed(world, engine, tmp_path):
    """What was searched once is searched again, and nothing comes twice or is lost."""
    mark = str(tmp_path / "died")

    def die(table):
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return table
        os.kill(os.getpid(), signal.SIGKILL)

    found = engine.knn_join(world.users_path, world.index.path, K, **NAMES)
    found.map_batches(die, batch_format="pyarrow", batch_size=None).write_parquet(str(tmp_path / "out"))
    assert os.path.exists(mark)
    world.check(pq.read_table(tmp_path / "out"))


def test_an_index_elsewhere(world, engine, tmp_path, monkeypatch):
    """Workers copy what is no file of theirs."""
    with zipfile.ZipFile(tmp_path / "far.zip", "w") as packed:
        packed.write(world.index.path, "one.kith")
    found = engine.knn_join(world.users_path, f"zip://one.kith::file://{tmp_path}/far.zip", K, **NAMES)
    world.check(table_of(found))


def test_refused_on_a_worker(world, engine, tmp_path):
    rows = world.queries.tolist()
    rows[133] = None
    path = world.write(tmp_path / "bad", {"user": world.users, "taste": pa.array(rows, pa.list_(pa.float32()))}, 1, 90)
    with pytest.raises(kith.DataError, match="part-0.parquet: column 'taste': row 133: is missing"):
        engine.knn_join(path, world.index.path, K, **NAMES).materialize()
    with pytest.raises(kith.DataError, match="row 133: is missing"):
        engine.build(path, tmp_path / "never", shards=2, **NAMES)
    with pytest.raises(TypeError, match="must be a ray.data.Dataset or paths"):
        engine.knn_join(3, world.index.path)


def test_the_next_generation(world, engine):
    shop = kith.Collection.create(None, dim=DIM, model="old")
    shop.add(world.ids, world.items)
    new = -world.items[:, :5].copy()
    vectors = ray.data.from_arrow(pa.table({"id": world.ids, "vector": lists_of(new)}))
    done = engine.next_generation(vectors, shop, model="new", min_recall=0.9)
    assert (done["to"], done["updated"], shop.info["model"]) == (2, ITEMS, "new")
    assert np.array_equal(shop[int(world.ids[7])].vector, new[7])
