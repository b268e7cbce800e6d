# SPDX-License-Identifier: Apache-2.0
"""connect() and Server: the collections of a `kith serve`, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ._errors import ArgumentError, NotFoundError, ServerError
from ._http import Connections, part, split_url
from ._options import whole
from ._progress import Progress, Report
from ._remote import _DTYPES, _METRICS, RemoteCollection, follow
from ._words import made, real, word


def connect(url: str, *, key: str | None = None, timeout: float = 60.0, ssl: Any = None,
            patience: float = 10.0) -> Any:
    """A server, as a :class:`Server`; or one of its collections, as a :class:`RemoteCollection`.

    url
        ``"http://127.0.0.1:6333"`` is the server, ``"http://127.0.0.1:6333/shop"`` its collection shop. With https the
        server must show a certificate that this machine trusts.
    key
        What `kith key` made, where the server wants one.
    timeout
        Seconds without a sign of life after which a call gives up (DeadlineError).
    ssl
        An ``ssl.SSLContext`` for https, where a private authority signs (``ssl.create_default_context(cafile=...)``),
        or the server asks for a certificate.
    patience
        Seconds that a call may spend in waiting, in all, where a busy server says when to come again (Retry-After).
        BusyError afterwards; 0: at once.

    ServerError: nobody answers there, or it is no server of kith; AccessError: the key is wrong, or missing;
    NotFoundError: there is no such collection.

    >>> server = kith.connect("http://127.0.0.1:6333")                          # doctest: +SKIP
    >>> shop = server.create("shop", dim=2, fields={"price": "float"})          # doctest: +SKIP
    >>> shop.add([1, 2], [[0, 0], [1, 0]], [{"price": 9}, None]).inserted       # doctest: +SKIP
    2
    >>> kith.connect("http://127.0.0.1:6333/shop").search([1, 0], k=1).ids      # doctest: +SKIP
    array([2])
    """
    *_, name = split_url(url)
    for what, seconds, least in (("timeout", timeout, True), ("patience", patience, False)):
        if not (real(seconds, what) > 0 if least else real(seconds, what) >= 0):
            raise ArgumentError(f"{what} is {seconds}, seconds were expected")
    connections = Connections(url, key, float(timeout), float(patience), ssl)
    try:
        return Server(connections) if name is None else RemoteCollection(connections, name, owned=True)
    except BaseException:
        connections.close()
        raise


class Server:
    """A `kith serve`: made by :func:`connect`.

    ``server["shop"]`` is a collection, ``"shop" in server`` whether there is one, and iterating gives their names. Any
    number of threads may use one at once. Close it, or use a ``with`` block.
    """

    __slots__ = ("_server", "__weakref__")

    def __init__(self, server: Connections) -> None:
        self._server = server
        about = self.info
        if not isinstance(about, dict) or about.get("name") != "kith":
            raise ServerError(f"{server.url}: answers, but is no server of kith")

    # ---- Collections -------------------------------------------------------------------------------------------------

    def collections(self) -> list[dict[str, Any]]:
        """What collections there are: dicts of ``name``, ``items``, and ``vectors``: tuples of name, dim, dtype and
        metric."""
        found = self._server.json("GET", "/v1/collections", again=True)["collections"]
        for one in found:
            one["vectors"] = [(v["name"], v["dim"], v["dtype"], v["metric"]) for v in one["vectors"]]
        return found

    def collection(self, name: str) -> RemoteCollection:
        """A collection of this name. NotFoundError: there is none."""
        return RemoteCollection(self._server, word(name, "the name of a collection"))

    def create(self, name: str, *, dim: int | None = None, metric: str | None = None, dtype: Any = None,
               vectors: Mapping[str, Any] | None = None, fields: Mapping[str, Any] | None = None, ids: str = "number",
               segment_field: str | None = None, model: str | None = None) -> RemoteCollection:
        """Make an empty collection at the server, with the options of :meth:`kith.Collection.create`.

        BusyError: there is one of this name, or the server has one folder alone.
        """
        strings, specs, typed, segment, model = made(dim, metric, dtype, vectors, fields, ids, segment_field, model)
        body: dict[str, Any] = {
            "ids": "string" if strings else "u64",
            "vectors": [{"name": each, "dim": size} | ({"dtype": _DTYPES[kind]} if kind else {}) |
                        ({"metric": _METRICS[measure]} if measure else {}) for each, size, kind, measure in specs],
            "fields": [{"name": each, "type": kind} for each, kind in typed]}
        body |= {key: value for key, value in (("segment_field", segment), ("model", model)) if value is not None}
        self._server.json("PUT", f"/v1/collections/{part(word(name, 'the name of a collection'))}", body)
        return self.collection(name)

    def drop(self, name: str) -> None:
        """Remove a collection and all that is in it. NotFoundError: there is none."""
        self._server.json("DELETE", f"/v1/collections/{part(word(name, 'the name of a collection'))}")

    # ---- What it does ------------------------------------------------------------------------------------------------

    @property
    def info(self) -> dict[str, Any]:
        """``name``, ``version``, ``uptime_s``, ``read_only``, and how many ``collections`` there are."""
        return self._server.json("GET", "/v1", again=True)

    @property
    def url(self) -> str:
        """Its address."""
        return self._server.url

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._server.closed

    def stats(self) -> dict[str, Any]:
        """Figures of the last seconds: calls, queries and errors a second, their times, how long the queue is."""
        return self._server.json("GET", "/v1/stats", again=True)

    def jobs(self) -> list[dict[str, Any]]:
        """Long work, newest first: dicts of ``job`` (its number), ``kind``, ``collection``, ``state``, ``stage``,
        ``done``, ``total``, and ``made`` or ``error``."""
        return self._server.json("GET", "/v1/jobs", again=True)["jobs"]

    def job(self, number: int) -> dict[str, Any]:
        """One of the jobs. NotFoundError: there is none of this number."""
        return self._server.json("GET", f"/v1/jobs/{_job(number)}", again=True)

    def wait(self, number: int, *, progress: bool | Report | None = None) -> dict[str, Any]:
        """Wait for a job; what it made. A progress function that returns True cancels it."""
        with Progress(progress) as watcher:
            return follow(self._server, _job(number), watcher.report)

    def cancel(self, number: int) -> None:
        """Stop a job. NotFoundError: there is none of this number."""
        self._server.json("DELETE", f"/v1/jobs/{_job(number)}", again=True)

    # ---- As a mapping of names ---------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> RemoteCollection:
        return self.collection(name)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name:
            return False
        try:
            self._server.call("GET", f"/v1/collections/{part(name)}", again=True)
        except NotFoundError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter([one["name"] for one in self.collections()])

    def __len__(self) -> int:
        return self.info["collections"]

    def close(self) -> None:
        """Close all connections; its collections are closed with it."""
        self._server.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<kith.Server at {self.url}{', closed' if self.closed else ''}>"


def _job(number: Any) -> int:
    return whole(number, "the number of a job", 0, 2**63 - 1)


for _public in (connect, Server, RemoteCollection):
    _public.__module__ = "kith"  # where people find it, and where pickles look
del _public
