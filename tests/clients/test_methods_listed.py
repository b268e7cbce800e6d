# SPDX-License-Identifier: Apache-2.0
"""docs/qdrant.md says of each method of the client whether it is offered, and is right about it."""
import pathlib
import re
import uuid

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "qdrant.md"
HERE = pathlib.Path(__file__).resolve().parent


def listed(heading):
    """Names in the first column of the table below a heading."""
    part = DOCS.read_text(encoding="utf-8").split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


@pytest.mark.parametrize("kind", [QdrantClient, AsyncQdrantClient])
def test_each_method_stands_in_one_list(kind):
    names = listed("Offered") + listed("Not offered")
    assert sorted(names) == sorted(set(names))
    methods = {name for name in dir(kind) if not name.startswith("_")}
    assert methods - set(names) == set()
    both = {name for each in (QdrantClient, AsyncQdrantClient) for name in dir(each)}
    assert set(names) - both == set()


def test_what_is_offered_is_tried():
    tried = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_co*.py"))
    own = {"close", "http", "init_options", "DEFAULT_BATCH_SIZE", "info"}
    assert {name for name in listed("Offered") if name not in own and not re.search(rf"\b{name}\b", tried)} == set()


def test_what_is_not_offered_is_refused_by_name(client):
    name, moving = f"l-{uuid.uuid4().hex[:8]}", models.MoveShard(shard_id=0, to_peer_id=1, from_peer_id=2)
    client.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    dense = models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=4, distance=models.Distance.DOT))
    calls = {
        "cluster_collection_update": (name, models.MoveShardOperation(move_shard=moving)),
        "cluster_telemetry": (), "collection_cluster_info": (name,),
        "remove_peer": (1,), "recover_current_peer": (),
        "create_shard_key": (name, "k"), "delete_shard_key": (name, "k"), "list_shard_keys": (name,),
        "create_snapshot": (name,), "list_snapshots": (name,), "delete_snapshot": (name, "s"),
        "recover_snapshot": (name, "file:///s"), "create_full_snapshot": (), "list_full_snapshots": (),
        "delete_full_snapshot": ("s",), "create_shard_snapshot": (name, 0), "list_shard_snapshots": (name, 0),
        "delete_shard_snapshot": (name, 0, "s"), "recover_shard_snapshot": (name, 0, "file:///s"),
        "create_vector_name": (name, "v", dense), "delete_vector_name": (name, "v"), "get_optimizations": (name,),
        "search_matrix_offsets": (name,), "search_matrix_pairs": (name,),
    }
    of_the_client = {"grpc_collections", "grpc_points", "get_embedding_size"}
    for method in listed("Not offered"):
        if method in of_the_client or re.fullmatch("list_.*_models", method):
            continue
        with pytest.raises(UnexpectedResponse) as caught:
            getattr(client, method)(*calls.pop(method))
        assert caught.value.status_code == 501, method
        assert "kith does not offer" in caught.value.structured()["status"]["error"], method
    assert calls == {}
    client.delete_collection(name)
