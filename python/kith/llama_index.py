# SPDX-License-Identifier: Apache-2.0
"""A vector store for LlamaIndex over a collection, in a folder or at a server. It needs llama-index-core.

>>> from llama_index.core.schema import TextNode
>>> from llama_index.core.vector_stores import VectorStoreQuery
>>> from kith.llama_index import KithVectorStore
>>> store = KithVectorStore(kith.Collection.create(None, dim=2, ids="string", metric="cosine"))
>>> store.add([TextNode(id_="a", text="tea", embedding=[1, 0]), TextNode(id_="b", text="coffee", embedding=[0, 1])])
['a', 'b']
>>> store.query(VectorStoreQuery(query_embedding=[0.9, 0.1], similarity_top_k=1)).ids
['a']
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._errors import ArgumentError, UnsupportedError
from ._stores import both, compared, metric_of, opened, opened_or_made, refuse_numbers, relevance

try:
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import BaseNode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
except ImportError as error:
    raise ImportError("kith.llama_index needs the package llama-index-core, which is not installed") from error

_OPERATORS = {
    FilterOperator.EQ: "$eq", FilterOperator.NE: "$ne", FilterOperator.GT: "$gt", FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt", FilterOperator.LTE: "$lte", FilterOperator.IN: "$in", FilterOperator.NIN: "$nin",
    FilterOperator.ANY: "$in", FilterOperator.ALL: "$all", FilterOperator.CONTAINS: "$eq"}
_CLAUSES = {FilterCondition.AND: "must", FilterCondition.OR: "should", FilterCondition.NOT: "must_not"}
_DOCUMENT = "ref_doc_id"  # of the payload: the document that a node is of
MMR = 0.5  # threshold, unless said otherwise


class KithVectorStore(BasePydanticVectorStore):
    """Nodes in a collection with ids that are strings. Their metadata are keys of the payload.

    collection
        A :class:`kith.Collection` or what :func:`kith.connect` gave; or a folder; or ``"http://host:port/name"``.
    tenant
        A value of the collection's segment field: nodes are added for it, and only its nodes are found. ``add`` and
        ``query`` take another one.
    vector
        Which named vector, where the collection has several.
    target_recall
        The share of the true neighbours that queries should find; None: all, by exact search.

    ``query`` takes, beside the query, ``tenant``, ``user`` (the name of a profile, towards whose likes results are
    moved; see :meth:`event`), ``where`` (a filter in kith's language, in place of the query's filters), ``blend``,
    ``diversity``, ``target_recall`` and ``timeout``.
    """

    stores_text: bool = True
    flat_metadata: bool = False
    _collection: Any = PrivateAttr()
    _tenant: str | None = PrivateAttr()
    _vector: str | None = PrivateAttr()
    _target_recall: float | None = PrivateAttr()
    _segment_field: str = PrivateAttr()
    _metric: str = PrivateAttr()

    def __init__(self, collection: Any, *, tenant: str | None = None, vector: str | None = None,
                 target_recall: float | None = None) -> None:
        super().__init__()
        self._collection = opened(collection)
        refuse_numbers(self._collection, "a vector store of LlamaIndex")
        self._tenant, self._vector, self._target_recall = tenant, vector, target_recall
        self._segment_field = self._collection.info["segment_field"]
        self._metric = metric_of(self._collection, vector)

    @classmethod
    def create(cls, at: Any, dim: int, *, metric: str = "cosine", fields: Any = None, segment_field: str | None = None,
               options: dict[str, Any] | None = None, **more: Any) -> KithVectorStore:
        """A store over a collection that is made when it is not there: a folder, ``"http://host:port/name"``, or None
        for one in memory. `options` are those of opening; `more` those of the class."""
        shape = {"dim": dim, "metric": metric, "ids": "string", "fields": fields, "segment_field": segment_field}
        return cls(opened_or_made(at, shape, **(options or {})), **more)

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it."""
        return "KithVectorStore"

    @property
    def client(self) -> Any:
        """The collection."""
        return self._collection

    # ---- Writing -----------------------------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], tenant: str | None = None, **more: Any) -> list[str]:
        """Add nodes, or replace those whose ids are there; returns their ids."""
        _refuse(more)
        if nodes:
            rows = np.array([node.get_embedding() for node in nodes], np.float32)
            self._collection.add([node.node_id for node in nodes],
                                 rows if self._vector is None else {self._vector: rows},
                                 [self._payload(node, tenant) for node in nodes])
        return [node.node_id for node in nodes]

    def _payload(self, node: BaseNode, tenant: str | None) -> dict[str, Any]:
        body = node_to_metadata_dict(node, remove_text=False, flat_metadata=self.flat_metadata)
        if chosen := self._tenant_of(tenant):
            body[self._segment_field] = chosen
        return body

    def delete(self, ref_doc_id: str, **more: Any) -> None:
        """Remove the nodes of a document."""
        tenant = more.pop("tenant", None)
        _refuse(more)
        where = {"key": _DOCUMENT, "match": {"value": ref_doc_id}}
        self._collection.delete(where=both(where, self._segment_field, self._tenant_of(tenant)))

    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None,
                     **more: Any) -> None:
        """Remove nodes by their ids, by filters, or those for which both hold."""
        tenant = more.pop("tenant", None)
        _refuse(more)
        if node_ids is None and filters is None:
            raise ArgumentError("delete_nodes takes node_ids, filters, or both; clear() removes all")
        self._collection.delete(where=self._where(filters, node_ids, None, tenant))

    def clear(self) -> None:
        """Remove all nodes (of the tenant)."""
        where = both(None, self._segment_field, self._tenant_of(None))
        self._collection.delete(where="true" if where is None else where)

    def event(self, user: str, **events: Any) -> None:
        """Tell the profile of a user what was liked: ``event("ann", like=["a"])``, as of
        :meth:`kith.Collection.event`."""
        self._collection.event(user, **events)

    # ---- Reading -----------------------------------------------------------------------------------------------------

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes by their ids, by filters, or those for which both hold; without either all."""
        if node_ids is not None and filters is None and self._tenant is None:
            found = self._collection.get(node_ids) if node_ids else []
        else:
            found = list(self._collection.scroll(self._where(filters, node_ids, None, None)))
        return [metadata_dict_to_node(item.payload) for item in found]

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """The nodes nearest to a vector; with mode MMR such that differ from each other (`mmr_threshold`: 1 for
        nearness alone, 0 for the greatest difference)."""
        tenant, user, where = (options.pop(name, None) for name in ("tenant", "user", "where"))
        recall = options.pop("target_recall", self._target_recall)
        threshold = options.pop("mmr_threshold", query.mmr_threshold)
        if query.mode == VectorStoreQueryMode.MMR:
            options.setdefault("diversity", 1.0 - (MMR if threshold is None else threshold))
        elif query.mode != VectorStoreQueryMode.DEFAULT:
            raise UnsupportedError(f"mode {query.mode.value!r} is not offered: 'default' and 'mmr' are")
        if query.query_embedding is None and user is None:
            raise ArgumentError("the query has no embedding")
        if where is not None and (query.filters or query.node_ids or query.doc_ids):
            raise ArgumentError("where= stands in place of the query's filters, node_ids and doc_ids")
        vector = None if query.query_embedding is None else np.asarray(query.query_embedding, np.float32)
        hits = self._collection.search(
            vector, query.similarity_top_k, segment=self._tenant_of(tenant), profile=user, vector=self._vector,
            where=self._where(query.filters, query.node_ids or None, query.doc_ids or None, None, False)
            if where is None else where,
            target_recall=recall, payload=True, **options)
        bodies = hits.payloads
        return VectorStoreQueryResult(
            nodes=[metadata_dict_to_node(body) for body in bodies], ids=hits.ids[:len(bodies)].tolist(),
            similarities=[relevance(self._metric, float(distance)) for distance in hits.distances[:len(bodies)]])

    # ---- Awaitable ---------------------------------------------------------------------------------------------------

    async def async_add(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """:meth:`add` in a thread, to be awaited."""
        return await asyncio.to_thread(self.add, nodes, **options)

    async def aquery(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """:meth:`query` in a thread, to be awaited."""
        return await asyncio.to_thread(self.query, query, **options)

    async def adelete(self, ref_doc_id: str, **options: Any) -> None:
        """:meth:`delete` in a thread, to be awaited."""
        await asyncio.to_thread(self.delete, ref_doc_id, **options)

    async def adelete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None,
                            **options: Any) -> None:
        """:meth:`delete_nodes` in a thread, to be awaited."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **options)

    async def aclear(self) -> None:
        """:meth:`clear` in a thread, to be awaited."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(self, node_ids: list[str] | None = None,
                         filters: MetadataFilters | None = None) -> list[BaseNode]:
        """:meth:`get_nodes` in a thread, to be awaited."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    # ---- Inside ------------------------------------------------------------------------------------------------------

    def _tenant_of(self, tenant: str | None) -> str | None:
        chosen = self._tenant if tenant is None else tenant
        if chosen is not None and not self._segment_field:
            raise ArgumentError(f"tenant is {chosen!r}, but the collection has no segment field")
        return chosen

    def _where(self, filters: MetadataFilters | None, node_ids: list[str] | None, doc_ids: list[str] | None,
               tenant: str | None, bound: bool = True) -> Any:
        """All of that; bound: and the tenant's."""
        parts: list[Any] = [] if filters is None or not filters.filters else [conditions(filters)]
        if node_ids is not None:
            parts.append({"has_id": list(node_ids)})
        if doc_ids is not None:
            parts.append({"key": _DOCUMENT, "match": {"any": list(doc_ids)}})
        where = None if not parts else parts[0] if len(parts) == 1 else {"must": parts}
        return both(where, self._segment_field, self._tenant_of(tenant)) if bound else where


def conditions(filters: MetadataFilters) -> dict[str, Any]:
    """LlamaIndex's filters in kith's JSON form."""
    clause = _CLAUSES[filters.condition or FilterCondition.AND]
    return {clause: [conditions(one) if isinstance(one, MetadataFilters) else _condition(one)
                     for one in filters.filters]}


def _condition(one: MetadataFilter) -> dict[str, Any]:
    if one.operator == FilterOperator.IS_EMPTY:
        return {"is_empty": {"key": one.key}}
    operator = _OPERATORS.get(one.operator)
    if operator is None:
        raise UnsupportedError(f"the filter {one.operator.value!r} on {one.key!r} is not offered: kith looks for no "
                               "parts of texts")
    return compared(one.key, operator, one.value)


def _refuse(more: dict[str, Any]) -> None:
    """What a base class passes on is refused by name: a misspelt option must not be passed over."""
    if more:
        raise TypeError(f"unknown: {', '.join(map(repr, more))}")
