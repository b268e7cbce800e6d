# SPDX-License-Identifier: Apache-2.0
"""kith.llama_index, in a folder and at a server: each operation of LlamaIndex's vector stores, and an index over one."""
import asyncio
import doctest
import itertools

import numpy as np
import pytest

pytest.importorskip("llama_index.core")
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

import kith
import kith.llama_index
from kith.llama_index import KithVectorStore

NUMBERS = itertools.count()
ROWS = np.random.default_rng(3).standard_normal((20, 4)).astype(np.float32)


@pytest.fixture(params=["folder", "server"])
def place(request, tmp_path):
    """Where a new collection lies."""
    if request.param == "folder":
        return tmp_path / "shop"
    return f"{request.getfixturevalue('kith_url')}/llama-{next(NUMBERS)}"


def node(number, **metadata):
    return TextNode(id_=f"n{number}", text=f"text {number}", embedding=ROWS[number].tolist(), metadata=metadata,
                    relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{number // 5}")})


@pytest.fixture
def store(place):
    made = KithVectorStore.create(place, 4, fields={"color": "tag"})
    nodes = [node(i, color=["red", "blue"][i % 2], price=i, tags=["all", f"t{i}"]) for i in range(20)]
    assert made.add(nodes) == [f"n{i}" for i in range(20)] and made.add([]) == []
    yield made
    made.client.close()


def only(*filters, condition=FilterCondition.AND):
    return MetadataFilters(filters=list(filters), condition=condition)


def has(key, value, operator=FilterOperator.EQ):
    return MetadataFilter(key=key, value=value, operator=operator)


def test_nodes_come_back_as_they_went(store):
    result = store.query(VectorStoreQuery(query_embedding=ROWS[3].tolist(), similarity_top_k=3))
    assert result.ids[0] == "n3" and len(result.nodes) == 3 and result.similarities[0] == pytest.approx(1, abs=1e-6)
    assert result.similarities == sorted(result.similarities, reverse=True)
    assert result.nodes[0].get_content() == "text 3" and result.nodes[0].ref_doc_id == "doc0"
    assert result.nodes[0].metadata == {"color": "blue", "price": 3, "tags": ["all", "t3"]}
    near = np.argsort([1 - ROWS[3] @ row / np.linalg.norm(ROWS[3]) / np.linalg.norm(row) for row in ROWS])[:3]
    assert result.ids == [f"n{i}" for i in near]


@pytest.mark.parametrize("filters, ids", [
    (only(has("color", "red"), has("price", 6, FilterOperator.LT)), {0, 2, 4}),
    (only(has("price", 3), has("price", 18, FilterOperator.GTE), condition=FilterCondition.OR), {3, 18, 19}),
    (only(has("price", 1, FilterOperator.GT), condition=FilterCondition.NOT), {0, 1}),
    (only(has("color", "red", FilterOperator.NE), has("price", 16, FilterOperator.GT)), {17, 19}),
    (only(has("price", [1, 2, 99], FilterOperator.IN)), {1, 2}),
    (only(has("price", list(range(19)), FilterOperator.NIN)), {19}),
    (only(has("tags", "t7", FilterOperator.CONTAINS)), {7}), (only(has("tags", ["t7", "t8"], FilterOperator.ANY)), {7, 8}),
    (only(has("tags", ["t7", "all"], FilterOperator.ALL)), {7}), (only(has("price", 18, FilterOperator.LTE),
                                                                     has("price", 18, FilterOperator.GTE)), {18}),
    (only(has("nothing", None, FilterOperator.IS_EMPTY), has("price", 2)), {2}),
    (only(only(has("price", 1), has("price", 2), condition=FilterCondition.OR), has("color", "red")), {2})])
def test_filters(store, filters, ids):
    query = VectorStoreQuery(query_embedding=ROWS[0].tolist(), similarity_top_k=20, filters=filters)
    assert {int(id[1:]) for id in store.query(query).ids} == ids
    assert {int(one.node_id[1:]) for one in store.get_nodes(filters=filters)} == ids
    store.delete_nodes(filters=filters)
    assert len(store.client) == 20 - len(ids)


def test_some_nodes_only(store):
    def ids(**options):
        return set(store.query(VectorStoreQuery(query_embedding=ROWS[0].tolist(), similarity_top_k=20, **options)).ids)

    assert ids(node_ids=["n3", "n9", "none"]) == {"n3", "n9"} and len(ids(node_ids=[], doc_ids=[])) == 20
    assert ids(doc_ids=["doc1"]) == {f"n{i}" for i in range(5, 10)}
    assert ids(doc_ids=["doc1"], filters=only(has("color", "red"))) == {"n6", "n8"}
    assert [one.node_id for one in store.get_nodes(["n3", "none"])] == ["n3"] and len(store.get_nodes()) == 20
    query = VectorStoreQuery(query_embedding=ROWS[0].tolist(), similarity_top_k=20)
    assert set(store.query(query, where="price between 3 and 4").ids) == {"n3", "n4"}


def test_results_that_differ(store):
    query = VectorStoreQuery(query_embedding=ROWS[3].tolist(), similarity_top_k=5)
    near = store.query(query).ids
    query.mode, query.mmr_threshold = VectorStoreQueryMode.MMR, 1.0
    assert store.query(query).ids == near
    query.mmr_threshold = 0.1
    assert store.query(query).ids != near and store.query(query).ids[0] == "n3"
    query.mode = VectorStoreQueryMode.HYBRID
    with pytest.raises(kith.UnsupportedError, match="'hybrid'"):
        store.query(query)


def test_removing(store):
    store.delete("doc0")
    assert len(store.client) == 15
    store.delete_nodes(["n5", "n6"])
    store.delete_nodes(["n7", "n8"], only(has("color", "red")))
    assert [one.node_id for one in store.get_nodes()][:2] == ["n7", "n9"]
    with pytest.raises(kith.ArgumentError, match="clear"):
        store.delete_nodes()
    store.clear()
    assert len(store.client) == 0


def test_awaited(store):
    async def work():
        await store.async_add([node(3, price=100)])
        await store.adelete("doc1")
        await store.adelete_nodes(["n19"])
        nodes = await store.aget_nodes(["n3"])
        result = await store.aquery(VectorStoreQuery(query_embedding=ROWS[3].tolist(), similarity_top_k=1))
        return nodes, result

    nodes, result = asyncio.run(work())
    assert nodes[0].metadata == {"price": 100} and result.ids == ["n3"] and len(store.client) == 14
    asyncio.run(store.aclear())
    assert len(store.client) == 0


def test_tenants_see_their_own(place):
    store = KithVectorStore.create(place, 4, fields={"user": "tag"}, segment_field="user", tenant="one")
    store.add([node(1)])
    store.add([node(2)], tenant="two")
    query = VectorStoreQuery(query_embedding=ROWS[0].tolist(), similarity_top_k=5)
    assert store.query(query).ids == ["n1"] and store.query(query, tenant="two").ids == ["n2"]
    assert [one.node_id for one in store.get_nodes()] == ["n1"]
    store.delete("doc0")
    store.clear()
    assert [item.id for item in store.client.scroll()] == ["n2"]
    store.client.close()


def test_what_somebody_likes(store):
    store.event("ann", like=["n7"])
    query = VectorStoreQuery(query_embedding=ROWS[3].tolist(), similarity_top_k=19)
    assert "n7" not in store.query(query, user="ann").ids
    query.query_embedding = None
    assert len(store.query(query, user="ann").ids) == 19


def test_an_index_over_it(place):
    store = KithVectorStore.create(place, 4)
    index = VectorStoreIndex.from_documents([], storage_context=StorageContext.from_defaults(vector_store=store),
                                            embed_model=MockEmbedding(embed_dim=4))
    index.insert_nodes([TextNode(text=f"text {i}", metadata={"n": i}) for i in range(5)])
    found = index.as_retriever(similarity_top_k=2, filters=only(has("n", 3))).retrieve("text")
    assert [one.node.get_content() for one in found] == ["text 3"]
    store.client.close()


def test_mistakes(store):
    query = VectorStoreQuery(query_embedding=ROWS[0].tolist(), similarity_top_k=1)
    with pytest.raises(kith.UnsupportedError, match="'text_match' on 'color'"):
        store.query(VectorStoreQuery(query_embedding=[1, 0, 0, 0], filters=only(
            has("color", "r", FilterOperator.TEXT_MATCH))))
    with pytest.raises(kith.ArgumentError, match="no segment field"):
        store.query(query, tenant="one")
    with pytest.raises(kith.ArgumentError, match="no embedding"):
        store.query(VectorStoreQuery())
    with pytest.raises(kith.ArgumentError, match="stands in place"):
        query.filters = only(has("n", 3))
        store.query(query, where="true")
    with pytest.raises(TypeError, match="'batch'"):
        store.add([node(1)], batch=1)
    with pytest.raises(kith.ArgumentError, match='ids="string"'):
        KithVectorStore(kith.Collection.create(None, dim=2))


def test_what_the_module_shows():
    found = doctest.testmod(kith.llama_index, extraglobs={"kith": kith})
    assert found.attempted > 3 and not found.failed
