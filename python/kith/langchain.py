# SPDX-License-Identifier: Apache-2.0
"""A vector store for LangChain over a collection, in a folder or at a server. It needs langchain-core.

>>> from langchain_core.embeddings import DeterministicFakeEmbedding
>>> from kith.langchain import KithVectorStore
>>> store = KithVectorStore.from_texts(["tea", "coffee"], DeterministicFakeEmbedding(size=8), [{"hot": True}, {}])
>>> [document.page_content for document in store.similarity_search("tea", k=1)]
['tea']
>>> [document.page_content for document in store.similarity_search("coffee", k=2, filter={"hot": True})]
['tea']
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ._errors import ArgumentError
from ._stores import both, condition, metric_of, opened, opened_or_made, refuse_numbers, relevance

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore
except ImportError as error:
    raise ImportError("kith.langchain needs the package langchain-core, which is not installed") from error

FOUND = 4  # documents, unless said otherwise


class KithVectorStore(VectorStore):
    """Documents in a collection with ids that are strings.

    collection
        A :class:`kith.Collection` or what :func:`kith.connect` gave; or a folder; or ``"http://host:port/name"``.
    embedding
        What makes vectors of texts.
    text_key
        The key of the payload that has a document's text; all others are its metadata.
    tenant
        A value of the collection's segment field: documents are added for it, and only its documents are found. Each
        method takes another one.
    vector
        Which named vector, where the collection has several.
    target_recall
        The share of the true neighbours that searches should find; None: all, by exact search.

    Searches take ``filter`` (kith's language as text, its JSON form, or ``{"color": "red", "price": {"$lt": 5}}``),
    ``tenant``, ``user`` (the name of a profile, towards whose likes results are moved; see :meth:`event`), ``blend``,
    ``diversity``, ``target_recall`` and ``timeout``.
    """

    def __init__(self, collection: Any, embedding: Embeddings | None = None, *, text_key: str = "page_content",
                 tenant: str | None = None, vector: str | None = None, target_recall: float | None = None) -> None:
        self.collection = opened(collection)
        refuse_numbers(self.collection, "a vector store of LangChain")
        self._embedding, self._text_key, self._tenant = embedding, text_key, tenant
        self._vector, self._target_recall = vector, target_recall
        self._segment_field = self.collection.info["segment_field"]
        self._metric = metric_of(self.collection, vector)

    @classmethod
    def from_texts(cls, texts: list[str], embedding: Embeddings, metadatas: list[dict] | None = None, *,
                   ids: list[str] | None = None, collection: Any = None, metric: str = "cosine",
                   fields: Any = None, segment_field: str | None = None, options: dict[str, Any] | None = None,
                   **more: Any) -> KithVectorStore:
        """Add texts to a collection, which is made when it is not there.

        collection
            As of the class; None: in memory.
        metric, fields, segment_field
            How it is made: as of :meth:`kith.Collection.create`.
        options
            How it is opened: those of :class:`kith.Collection`, or of :func:`kith.connect`.
        more
            Options of the class, and `tenant`.
        """
        vectors = embedding.embed_documents(texts) if texts else []
        dim = len(vectors[0]) if vectors else len(embedding.embed_query("a"))
        shape = {"dim": dim, "metric": metric, "ids": "string", "fields": fields, "segment_field": segment_field}
        store = cls(opened_or_made(collection, shape, **(options or {})), embedding, **more)
        if texts:
            store._add(texts, vectors, metadatas, ids, None)
        return store

    @property
    def embeddings(self) -> Embeddings | None:
        """What makes vectors of texts."""
        return self._embedding

    # ---- Writing -----------------------------------------------------------------------------------------------------

    def add_texts(self, texts: Iterable[str], metadatas: list[dict] | None = None, *, ids: list[str] | None = None,
                  tenant: str | None = None, **more: Any) -> list[str]:
        """Add texts, or replace those whose ids are there; returns their ids."""
        _refuse(more)
        texts = list(texts)
        return self._add(texts, self._embedded(texts), metadatas, ids, tenant)

    def add_documents(self, documents: list[Document], *, ids: list[str | None] | None = None,
                      tenant: str | None = None, **more: Any) -> list[str]:
        """Add documents, or replace those whose ids are there; returns their ids. Without `ids`, those of the
        documents, or new ones."""
        _refuse(more)
        texts = [document.page_content for document in documents]
        return self._add_documents(documents, self._embedded(texts), ids, tenant)

    async def aadd_texts(self, texts: Iterable[str], metadatas: list[dict] | None = None, *,
                         ids: list[str] | None = None, tenant: str | None = None, **more: Any) -> list[str]:
        """:meth:`add_texts`, to be awaited."""
        _refuse(more)
        texts = list(texts)
        vectors = await self._embeds().aembed_documents(texts) if texts else []
        return await asyncio.to_thread(self._add, texts, vectors, metadatas, ids, tenant)

    async def aadd_documents(self, documents: list[Document], *, ids: list[str | None] | None = None,
                             tenant: str | None = None, **more: Any) -> list[str]:
        """:meth:`add_documents`, to be awaited."""
        _refuse(more)
        texts = [document.page_content for document in documents]
        vectors = await self._embeds().aembed_documents(texts) if texts else []
        return await asyncio.to_thread(self._add_documents, documents, vectors, ids, tenant)

    def _add_documents(self, documents: list[Document], vectors: list[list[float]], ids: list[str | None] | None,
                       tenant: str | None) -> list[str]:
        given = [document.id for document in documents] if ids is None else ids
        return self._add([document.page_content for document in documents], vectors,
                         [document.metadata for document in documents], given, tenant)

    def _add(self, texts: list[str], vectors: list[list[float]], metadatas: list[dict] | None,
             ids: Sequence[str | None] | None, tenant: str | None) -> list[str]:
        given = [None] * len(texts) if ids is None else list(ids)
        bodies = [{}] * len(texts) if metadatas is None else metadatas
        if not len(given) == len(bodies) == len(texts):
            raise ArgumentError(f"there are {len(given)} ids and {len(bodies)} metadatas for {len(texts)} texts")
        names = [str(uuid.uuid4()) if name is None else name for name in given]
        if texts:
            rows = np.asarray(vectors, np.float32)
            self.collection.add(names, rows if self._vector is None else {self._vector: rows},
                                [self._payload(text, body, tenant) for text, body in zip(texts, bodies)])
        return names

    def _payload(self, text: str, metadata: dict, tenant: str | None) -> dict[str, Any]:
        if self._text_key in metadata:
            raise ArgumentError(f"the metadata has a key {self._text_key!r}, which is where the text goes: text_key= "
                                "names another one")
        body = {**metadata, self._text_key: text}
        if tenant := self._tenant_of(tenant):
            body[self._segment_field] = tenant
        return body

    def delete(self, ids: list[str] | None = None, *, filter: Any = None, tenant: str | None = None,
               **more: Any) -> bool:
        """Remove documents: by ids, or by a filter, or all of them (of the tenant)."""
        _refuse(more)
        if ids is not None:
            if filter is not None:
                raise ArgumentError("delete takes ids, or filter=")
            self.collection.delete(ids)
            return True
        where = both(condition(filter), self._segment_field, self._tenant_of(tenant))
        self.collection.delete(where="true" if where is None else where)
        return True

    def event(self, user: str, **events: Any) -> None:
        """Tell the profile of a user what was liked: ``event("ann", like=["a"], view=["b"])``, as of
        :meth:`kith.Collection.event`. Searches with ``user="ann"`` are moved towards that."""
        self.collection.event(user, **events)

    # ---- Reading -----------------------------------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in that order; those that are not there are left out."""
        return [self._document(item.id, item.payload) for item in self.collection.get(list(ids))] if ids else []

    def similarity_search(self, query: str, k: int = FOUND, **options: Any) -> list[Document]:
        """The k documents nearest to a text."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **options)]

    def similarity_search_with_score(self, query: str, k: int = FOUND, **options: Any) -> list[tuple[Document, float]]:
        """The same with their distances: smaller is nearer."""
        return self._found(self._embeds().embed_query(query), k, **options)

    def similarity_search_by_vector(self, embedding: list[float], k: int = FOUND, **options: Any) -> list[Document]:
        """The k documents nearest to a vector."""
        return [document for document, _ in self._found(embedding, k, **options)]

    def similarity_search_with_score_by_vector(self, embedding: list[float], k: int = FOUND,
                                               **options: Any) -> list[tuple[Document, float]]:
        """The same with their distances."""
        return self._found(embedding, k, **options)

    def max_marginal_relevance_search(self, query: str, k: int = FOUND, fetch_k: int = 20, lambda_mult: float = 0.5,
                                      **options: Any) -> list[Document]:
        """k documents near to a text that differ from each other. `lambda_mult`: 1 for nearness alone, 0 for the
        greatest difference; kith chooses among its own number of candidates, not `fetch_k`."""
        return self.max_marginal_relevance_search_by_vector(self._embeds().embed_query(query), k, fetch_k, lambda_mult,
                                                            **options)

    def max_marginal_relevance_search_by_vector(self, embedding: list[float], k: int = FOUND, fetch_k: int = 20,
                                                lambda_mult: float = 0.5, **options: Any) -> list[Document]:
        """The same for a vector."""
        if not 0 <= lambda_mult <= 1:
            raise ArgumentError(f"lambda_mult is {lambda_mult}, 0 to 1 are possible")
        options.setdefault("diversity", 1.0 - lambda_mult)
        return [document for document, _ in self._found(embedding, k, **options)]

    # ---- Awaitable: the model awaits, the search is in a thread ------------------------------------------------------

    async def asimilarity_search(self, query: str, k: int = FOUND, **options: Any) -> list[Document]:
        """:meth:`similarity_search`, to be awaited."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **options)]

    async def asimilarity_search_with_score(self, query: str, k: int = FOUND,
                                            **options: Any) -> list[tuple[Document, float]]:
        """:meth:`similarity_search_with_score`, to be awaited."""
        vector = await self._embeds().aembed_query(query)
        return await asyncio.to_thread(self._found, vector, k, **options)

    async def amax_marginal_relevance_search(self, query: str, k: int = FOUND, fetch_k: int = 20,
                                             lambda_mult: float = 0.5, **options: Any) -> list[Document]:
        """:meth:`max_marginal_relevance_search`, to be awaited."""
        vector = await self._embeds().aembed_query(query)
        return await asyncio.to_thread(self.max_marginal_relevance_search_by_vector, vector, k, fetch_k, lambda_mult,
                                       **options)

    async def amax_marginal_relevance_search_by_vector(self, embedding: list[float], k: int = FOUND, fetch_k: int = 20,
                                                       lambda_mult: float = 0.5, **options: Any) -> list[Document]:
        """:meth:`max_marginal_relevance_search_by_vector`, to be awaited."""
        return await asyncio.to_thread(self.max_marginal_relevance_search_by_vector, embedding, k, fetch_k, lambda_mult,
                                       **options)

    # ---- Inside ------------------------------------------------------------------------------------------------------

    def _found(self, vector: Any, k: int, *, filter: Any = None, tenant: str | None = None, user: str | None = None,
               target_recall: float | None = None, **options: Any) -> list[tuple[Document, float]]:
        hits = self.collection.search(
            np.asarray(vector, np.float32), k, where=condition(filter), segment=self._tenant_of(tenant), profile=user,
            vector=self._vector, target_recall=self._target_recall if target_recall is None else target_recall,
            payload=True, **options)
        ids = hits.ids.tolist()
        return [(self._document(ids[rank], body), float(hits.distances[rank]))
                for rank, body in enumerate(hits.payloads)]

    def _document(self, id: Any, payload: dict[str, Any] | None) -> Document:
        body = dict(payload or {})
        return Document(id=id, page_content=str(body.pop(self._text_key, "")), metadata=body)

    def _embeds(self) -> Embeddings:
        if self._embedding is None:
            raise ArgumentError("this store was made without embedding=, and a text needs one")
        return self._embedding

    def _embedded(self, texts: list[str]) -> list[list[float]]:
        return self._embeds().embed_documents(texts) if texts else []

    def _tenant_of(self, tenant: str | None) -> str | None:
        chosen = self._tenant if tenant is None else tenant
        if chosen is not None and not self._segment_field:
            raise ArgumentError(f"tenant is {chosen!r}, but the collection has no segment field")
        return chosen

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda distance: relevance(self._metric, distance)


def _refuse(more: dict[str, Any]) -> None:
    """What a base class passes on is refused by name: a misspelt option must not be passed over."""
    if more:
        raise TypeError(f"unknown: {', '.join(map(repr, more))}")
