# SPDX-License-Identifier: Apache-2.0
"""RemoteCollection: a collection at a server, with the verbs of kith.Collection.

What is checked and packed is what a folder's collection checks and packs (_verbs.py); here it is put on the wire
(_wire.py, _http.py), and what comes back has the shape that the extension's answers have."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from . import _kith, _wire
from ._errors import (
    ArgumentError,
    CancelledError,
    DataError,
    Error,
    MissingIdError,
    NotFoundError,
    ServerError,
    UnsupportedError,
)
from ._http import JSON, LINES, RAW, Connections, encode, kind_of, part
from ._items import pack_id
from ._options import DTYPES, METRICS, whole
from ._progress import Progress, Report
from ._verbs import MODES, PAYLOAD, VECTORS, VERSION, Verbs

QUERIES = 1024  # of one call
LINE_PORTION = 1000  # lines of a stream that are parsed at once
URL_BYTES = 1500  # of members that may stand in an address
CHECKED = {"sample": 100, "k": 10, "target_recall": 0.95, "seed": 0}  # how a server checks what becomes current
EVENTS = {1: "like", 2: "dislike", 3: "view", 4: "seen"}
_DTYPES = {_kith.parse_dtype(word): word for word in DTYPES}
_METRICS = {_kith.parse_metric(word): word for word in METRICS}


class RemoteCollection(Verbs):
    """A collection at a server: what :func:`kith.connect` and :class:`kith.Server` give.

    It has the verbs of :class:`kith.Collection`, with the same arguments and results, so that a script moves from a
    folder to a server by the line that opens it. Any number of threads may use one at once; each has a connection of
    its own meanwhile.

    What differs: of much at once, :meth:`add` is all or nothing for each 10,000 items or 16 MiB, and :meth:`load`
    writes some thousand at a time; searches of more than 1,024 queries are asked in several calls; plans are chosen by
    the server. What belongs to a folder (:meth:`snapshot` to a path, :meth:`verify`, :meth:`repair`, :meth:`restore`)
    says what to do instead.

    >>> shop = kith.connect("http://127.0.0.1:6333/shop")             # doctest: +SKIP
    >>> shop.add([1, 2], [[0, 1], [1, 0]], [{"price": 9}, None])      # doctest: +SKIP
    >>> shop.search([0.1, 0.9], k=1, where="price < 20").ids          # doctest: +SKIP
    """

    __slots__ = ("_server", "_name", "_at", "_owned", "_closed", "_numbers", "_single", "_strings", "_segmented",
                 "_known", "__weakref__")
    _at_once = False
    _known: dict[int, list[tuple[str, int, bool]]]  # generation: (name, dim, bits) of its vectors; 0: the current one

    def __init__(self, server: Connections, name: str, owned: bool = False) -> None:
        self._server, self._name, self._owned, self._closed = server, name, owned, False
        self._at = f"/v1/collections/{part(name)}"
        info = self._info()
        self._numbers = {vector: number for number, (vector, *_) in enumerate(info["vectors"])}
        self._single = len(self._numbers) == 1
        self._strings = info["ids"] == "string"
        self._segmented = bool(info["segment_field"])
        self._known = {0: _known(info["vectors"])}

    # ---- Requests ----------------------------------------------------------------------------------------------------

    def _json(self, method: str, path: str, value: Any = None, **options: Any) -> Any:
        self._check_open()
        return self._server.json(method, self._at + path, value, **options)

    def _job(self, path: str, value: Any, report: Report | None) -> dict[str, Any]:
        """Long work at the server: begin it, follow it, and give what it made."""
        number = self._json("POST", path, value)["job"]
        try:
            return follow(self._server, number, report)
        except Error:
            raise
        except BaseException:  # Ctrl-C, or what the function raised that is told of progress
            self._server.json("DELETE", f"/v1/jobs/{number}", again=True)
            raise

    # ---- Writing -----------------------------------------------------------------------------------------------------

    def _write(self, ids: Any, columns: list[tuple[int, int, Any, Any]], payloads: Any, expires: Any, versions: Any,
               mode: int) -> tuple[int, ...]:
        count = len(ids[1]) if isinstance(ids, tuple) else len(ids)
        self._refuse_counts(count, columns, expires, versions)
        if not count:
            return self._info()["version"], 0, 0, 0, 0
        names = list(self._numbers)
        given = [_wire.Column(names[number], generation, rows, present, self._bits(generation)[number])
                 for number, generation, rows, present in columns]
        lines = _wire.point_lines(ids, given, payloads, expires, versions)
        done, version, sums = 0, 0, [0, 0, 0, 0]
        for some, body in _wire.portions(lines):
            try:
                reply = self._told(body, MODES[mode])
            except Error as error:
                self._known.pop(0, None)  # the current generation may be another one by now
                if done:
                    raise type(error)(f"of the items from {done} on, before which all are written: {error}") from None
                raise
            done += some
            version = reply["version"]
            sums = [sums[i] + reply[key] for i, key in enumerate(("inserted", "replaced", "removed", "unmet"))]
        return version, *sums

    def _told(self, body: bytes, mode: str) -> dict[str, Any]:
        self._check_open()
        return self._server.call("POST", f"{self._at}/points", asked={"mode": mode}, body=body, type=LINES).json()

    def _refuse_counts(self, count: int, columns: list[tuple[int, int, Any, Any]], expires: Any, versions: Any) -> None:
        for _, _, rows, _ in columns:
            if len(rows) != count:
                raise ArgumentError(f"there are {len(rows)} vectors for {count} items")
        for what, values in (("expires", expires), ("if_version", versions)):
            if values is not None and len(values) != count:
                raise ArgumentError(f"{what}: there are {len(values)} of them for {count} items")

    def _delete(self, what: Any, versions: Any) -> tuple[int, ...]:
        if isinstance(what, str):
            body: dict[str, Any] = {"filter": _text(what, "where")}
        else:
            ids = _wire.ids_of(what)
            if versions is not None and len(versions) != len(ids):
                raise ArgumentError(f"if_version: there are {len(versions)} of them for {len(ids)} items")
            if not ids:
                return self._info()["version"], 0, 0, 0, 0
            body = {"ids": ids}
            if versions is not None:
                body["if_version"] = versions.tolist()
        reply = self._json("POST", "/points/delete", body)
        return tuple(reply.get(key, 0) for key in ("version", "inserted", "replaced", "removed", "unmet"))

    def _declare(self, name: str, type: str) -> None:
        self._json("POST", "/fields", {"name": name, "type": type}, again=True)

    # ---- Reading -----------------------------------------------------------------------------------------------------

    def _get(self, ids: Any, parts: int, generation: int) -> tuple[Any, ...]:
        points = []
        names = _wire.ids_of(ids)
        for first in range(0, len(names), _wire.BODY_POINTS):
            body = {"ids": names[first:first + _wire.BODY_POINTS], "with": _with(parts)}
            if generation:
                body["generation"] = generation
            points += self._json("POST", "/points/get", body, again=True)["points"]
        return _wire.items(points, self._strings, self._shapes(generation) if parts & VECTORS else None)

    def _exists(self, ids: Any) -> np.ndarray:
        names = _wire.ids_of(ids)
        found: list[bool] = []
        for first in range(0, len(names), _wire.BODY_POINTS):
            body = {"ids": names[first:first + _wire.BODY_POINTS]}
            found += self._json("POST", "/points/exists", body, again=True)["exists"]
        return np.array(found, np.uint8)

    def _count(self, where: str | None) -> int:
        body = {} if where is None else {"filter": _text(where, "where")}
        return self._json("POST", "/points/count", body, again=True)["count"]

    def _key(self, id: int | str | None) -> int | None:
        if id is None:
            return None
        packed = pack_id(id, self._strings)
        if not self._strings:
            return int(packed[0])
        page = self._json("POST", "/points/scroll", {"filter": {"has_id": [id]}, "limit": 1, "with": []}, again=True)
        if not page["points"]:
            raise MissingIdError(f"after: the collection has no item {id!r}")
        return page["next"]  # the number that stands for it

    def _pages(self, where: str | None, after: int | None, vectors: bool, generation: int) -> Iterator[tuple[Any, ...]]:
        """A stream of items, some at a time. One that is broken off, since a server waits for no slow reader, goes on
        behind the last item that came."""
        body: dict[str, Any] = {"with": _with(PAYLOAD | VERSION | (VECTORS if vectors else 0))}
        if where is not None:
            body["filter"] = _text(where, "where")
        if generation:
            body["generation"] = generation
        shapes = self._shapes(generation) if vectors else None
        while True:
            self._check_open()
            if after is not None:
                body["after"] = after
            last = None
            try:
                for points in _portions(self._server.lines("POST", f"{self._at}/points/scroll", body)):
                    last = points[-1]["id"]
                    yield _wire.items(points, self._strings, shapes)
                return
            except ServerError:
                if last is None:
                    raise
                after = self._key(last)

    # ---- Searching ---------------------------------------------------------------------------------------------------

    def _search(self, legs: Any, k: int, where: str | None, segment: str | None, target: float, plan: str | None,
                parts: int, min_version: int, timeout_ns: int, model: str | None, explain: bool, chosen: Any,
                generation: int, user: str | None) -> tuple[Any, ...]:
        k = whole(k, "k", 1, _kith.K_MAX)
        _refuse_plan(plan)
        asked: dict[str, Any] = {"k": k}
        for name, value in (("filter", where), ("segment", segment), ("model", model), ("user", user)):
            if value is not None:
                asked[name] = _text(value, "where" if name == "filter" else name)
        asked |= {"target": target} if target else {"exact": True}
        for name, number in (("min_version", min_version), ("generation", generation),
                             ("timeout_ms", -(-timeout_ns // 1_000_000))):
            if number:
                asked[name] = number
        if chosen is not None:
            asked |= _taste(*chosen)
        if parts:
            asked["with"] = _with(parts)
        if explain:
            asked["explain"] = True
        wait = None if not timeout_ns else max(self._server.timeout, timeout_ns / 1e9 + 5)
        if segment is not None and not self._segmented:
            raise NotFoundError("the collection has no segment field: it was made without one")
        try:
            if isinstance(legs, tuple):
                return self._search_one(legs, asked, parts, wait)
            return self._search_legs(legs, asked, parts, wait)
        except ArgumentError:
            self._known.pop(0, None)  # the current generation may be another one by now
            if isinstance(legs, tuple):
                self._refuse_queries(legs, generation)
            raise

    def _search_one(self, leg: tuple[int, Any], asked: dict[str, Any], parts: int,
                    wait: float | None) -> tuple[Any, ...]:
        """Queries of one vector: raw, where what else is asked fits the address."""
        bits = self._bits(asked.get("generation", 0))[leg[0]]
        queries, single = _wire.queries_of(leg[1], bits)
        if not self._single:
            asked["using"] = list(self._numbers)[leg[0]]
        raw = not bits and sum(len(str(value)) for value in asked.values()) < URL_BYTES
        answers = []
        for first in range(0, max(len(queries), 1), QUERIES):
            some = queries[first:first + QUERIES]
            if len(queries) == 0:
                answers.append(_wire.hits_of({"results": []}, asked["k"], False, self._strings,
                                             self._parts(asked, parts)))
            elif raw:
                answers.append(self._asked_raw(some, single, asked, parts, wait))
            else:
                texts = _wire.vector_texts(some, bits, "queries")
                body = _joined(asked, f'"vectors":[{",".join(texts)}]')
                answers.append(self._answer(self._query(None, body, JSON, JSON, wait), single, asked, parts))
        return _wire.merged(answers)

    def _refuse_queries(self, leg: tuple[int, Any], generation: int) -> None:
        """Say what is wrong with queries that were refused, as a folder would."""
        name, dim, bits = self._shapes(generation)[leg[0]]
        queries, _ = _wire.queries_of(leg[1], bits)
        given = queries.shape[1] * (8 if bits else 1)
        if given != dim:
            raise ArgumentError(f'search: queries have {given} dimensions, vector "{name}" has {dim}')
        good = np.isfinite(queries).all(axis=1)
        if not good.all():
            raise DataError(f"query {int(np.argmin(good))} holds a NaN or an infinity")

    def _asked_raw(self, queries: np.ndarray, single: bool, asked: dict[str, Any], parts: int,
                   wait: float | None) -> tuple[Any, ...]:
        plain = not parts and "explain" not in asked
        members = {name: ("true" if value else "false") if isinstance(value, bool) else
                   ",".join(value) if isinstance(value, list) else value for name, value in asked.items()}
        answer = self._query(members, queries.data.cast("B"), RAW, RAW if plain else JSON, wait)
        return _wire.raw_hits(answer.body, asked["k"], single) if plain else self._answer(answer, single, asked, parts)

    def _search_legs(self, legs: Any, asked: dict[str, Any], parts: int, wait: float | None) -> tuple[Any, ...]:
        """Several named vectors, or a profile alone."""
        if legs is None:
            return self._answer(self._query(None, encode(asked), JSON, JSON, wait), True, asked, parts)
        names, bits = list(self._numbers), self._bits(asked.get("generation", 0))
        texts, single = [], True
        for number, rows, weight in legs:
            queries, single = _wire.queries_of(rows, bits[number])
            given = ",".join(_wire.vector_texts(queries, bits[number], f"queries of {names[number]!r}"))
            extra = "" if weight is None else f',"weight":{float(weight)!r}'
            texts.append(f'{{"using":{json.dumps(names[number])},"vectors":[{given}]{extra}}}')
        body = _joined(asked, f'"legs":[{",".join(texts)}]')
        return self._answer(self._query(None, body, JSON, JSON, wait), single, asked, parts)

    def _query(self, members: dict[str, Any] | None, body: Any, type: str, accept: str, wait: float | None) -> Any:
        self._check_open()
        return self._server.call("POST", f"{self._at}/query", asked=members, body=body, type=type, accept=accept,
                                 again=True, timeout=wait)

    def _answer(self, answer: Any, single: bool, asked: dict[str, Any], parts: int) -> tuple[Any, ...]:
        return _wire.hits_of(answer.json(), asked["k"], single, self._strings, self._parts(asked, parts))

    def _parts(self, asked: dict[str, Any], parts: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if parts & PAYLOAD:
            found["payload"] = True
        if parts & VERSION:
            found["versions"] = True
        if parts & VECTORS:
            found["vectors"] = self._shapes(asked.get("generation", 0))
        return found

    # ---- Profiles ----------------------------------------------------------------------------------------------------

    def _event(self, name: str, ids: Any, events: list[tuple[int, float, int]], vector: str | None, interests: int,
               seen: int, half_life_ms: int, threshold: float) -> None:
        told = []
        for item, (kind, weight, moment) in zip(_wire.ids_of(ids), events):
            event: dict[str, Any] = {"item": item, "kind": EVENTS[kind]}
            event |= ({"weight": weight} if weight else {}) | ({"time_ms": moment} if moment else {})
            told.append(event)
        options = {"vector": vector, "interests": interests, "seen": seen, "half_life_ms": half_life_ms,
                   "threshold": threshold}
        body = {"events": told, "options": {key: value for key, value in options.items() if value}}
        self._json("POST", f"/profiles/{part(_text(name, 'profile'))}/events", body)

    def _profile(self, name: str) -> dict[str, Any]:
        about = self._json("GET", f"/profiles/{part(_text(name, 'profile'))}", asked={"with": "vector"}, again=True)
        interests, half_life = about["interests"], about["half_life_ms"]
        return {"vector": about["vector"], "weights": np.array([one["weight"] for one in interests], np.float64),
                "vectors": np.array([one["vector"] for one in interests], np.float32), "dim": about["dim"],
                "interests": about["interests_max"], "seen": about["seen"], "remember": about["seen_max"],
                "events": about["events"], "time_ms": about["time_ms"],
                "half_life": half_life / 1000 if half_life else None, "threshold": about["threshold"]}

    def _rebuild_profile(self, name: str | None, report: Report | None) -> tuple[int, int, int]:
        made = self._job("/profiles/rebuild", {} if name is None else {"profile": _text(name, "profile")}, report)
        return made["profiles"], made["events"], made["skipped"]

    def _forget(self, name: str) -> None:
        self._json("DELETE", f"/profiles/{part(_text(name, 'profile'))}")

    # ---- Generations -------------------------------------------------------------------------------------------------

    def _begin(self, model: str | None, specs: list[tuple[str, int, int, int]]) -> int:
        vectors = [{"name": name, "dim": dim} | ({"dtype": _DTYPES[dtype]} if dtype else {}) |
                   ({"metric": _METRICS[metric]} if metric else {}) for name, dim, dtype, metric in specs]
        return self._json("POST", "/generations", ({} if model is None else {"model": model}) |
                          {"vectors": vectors})["number"]

    def _generations(self) -> list[dict[str, Any]]:
        return [{"number": one["number"], "state": one["state"], "model": one["model"], "share": one["share"],
                 "own": one["own"], "created": one["created_ms"],
                 "vectors": [(v["name"], v["dim"], v["dtype"], v["metric"]) for v in one["vectors"]]}
                for one in self._json("GET", "/generations", again=True)["generations"]]

    def _check(self, number: int, options: dict[str, Any], lacks: bool, report: Report | None) -> dict[str, Any]:
        _begun(report, "checking a generation")
        asked = {"target" if name == "target_recall" else name: value for name, value in options.items()}
        about = self._json("POST", f"/generations/{number}/check", asked, again=True)
        named = about.pop("first_lacking")
        if lacks and len(named) < about["lacking"]:
            raise UnsupportedError(f"{about['lacking']} items lack a vector, and a server names the first "
                                   f"{len(named)}: lacks=True is for folders, and for few")
        return about | {"lacks": [(one["id"], one["vector"]) for one in named]}

    def _flip(self, number: int, least: tuple[float, float, float] | None, options: dict[str, Any],
              report: Report | None) -> dict[str, Any]:
        if options != CHECKED:
            raise UnsupportedError("sample, k, target_recall and seed of flip() are for folders: a server checks with "
                                   f"{', '.join(f'{name} {value}' for name, value in CHECKED.items())}")
        _begun(report, "a flip")
        required = {} if least is None else dict(zip(("min_share", "min_recall", "min_overlap"), least))
        about = self._json("POST", "/flip", {"to": number} | required)
        self._known.clear()
        about["pause_seconds"] = about.pop("pause_ns") / 1e9
        return about

    def _canary(self, number: int, share: float) -> None:
        self._json("POST", f"/generations/{number}/canary", {"share": share}, again=True)

    def _generation_of(self, user: str) -> int:
        return self._json("GET", "/generations", asked={"user": user}, again=True)["asked"]

    def _drop(self, number: int) -> None:
        self._json("DELETE", f"/generations/{number}")
        self._known.pop(number, None)

    # ---- About it ----------------------------------------------------------------------------------------------------

    def _info(self) -> dict[str, Any]:
        found = dict(self._json("GET", "", again=True))
        found.pop("path", None)
        found["ids"] = "string" if found["ids"].startswith("string") else "number"
        found["vectors"] = [(v["name"], v["dim"], v["dtype"], v["metric"]) for v in found["vectors"]]
        found["fields"] = {field["name"]: field["type"] for field in found["fields"]}
        return found

    def _specs(self, generation: int) -> list[tuple[str, int, str, str]]:
        if not generation:
            return self._info()["vectors"]
        for one in self._generations():
            if one["number"] == generation:
                return one["vectors"]
        raise NotFoundError(f"{self._name}: there is no generation {generation}")

    def _shapes(self, generation: int) -> list[tuple[str, int, bool]]:
        """(name, dim, bits) of the vectors, as they were when last asked for: how they are sent is what depends on
        it, and what the server thinks of them is its own matter."""
        found = self._known.get(generation)
        if found is None:
            found = self._known[generation] = _known(self._specs(generation))
        return found

    def _bits(self, generation: int) -> list[bool]:
        return [bits for _, _, bits in self._shapes(generation)]

    # ---- Keeping -----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the server calls it."""
        return self._name

    @property
    def url(self) -> str:
        """Its address, as :func:`kith.connect` takes it."""
        return f"{self._server.url}/{part(self._name)}"

    @property
    def path(self) -> None:
        """None: there is no folder here."""
        return None

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed or self._server.closed

    def _compact(self, report: Report | None) -> None:
        self._job("/compact", {}, report)

    def warm(self, user: str, k: int = 10) -> dict[str, Any]:
        """Have the server keep in memory what a user will ask in a moment: the profile of that name, and what it
        finds."""
        return self._json("POST", "/warm", asked={"user": _text(user, "user"), "k": whole(k, "k", 1, _kith.K_MAX)},
                          again=True)

    @property
    def snapshots(self) -> list[Any]:
        """The snapshots that lie at the server."""
        return self._json("GET", "/snapshots", again=True)["snapshots"]

    def make_snapshot(self, name: str | None = None) -> dict[str, Any]:
        """A consistent copy of the current state, at the server; `name` is how it is called there."""
        return self._json("POST", "/snapshots", {} if name is None else {"name": _text(name, "name")})

    def snapshot(self, path: Any) -> None:
        """UnsupportedError: a server copies to its own disk, by :meth:`make_snapshot`."""
        raise UnsupportedError("a server writes no snapshot to a path of this machine: make_snapshot(name) makes one "
                               "at the server, and export(path) writes the items here")

    @staticmethod
    def restore(snapshot: Any, path: Any, *, progress: bool | Report | None = None) -> None:
        """UnsupportedError: a snapshot is restored where the server's folders are."""
        raise UnsupportedError("a snapshot is restored on the server's machine: kith.Collection.restore(), or `kith "
                               "restore`, to a folder that is then served")

    @staticmethod
    def verify(path: Any = None, *, progress: bool | Report | None = None) -> None:
        """UnsupportedError: files are verified where they lie."""
        raise UnsupportedError("files are verified on the server's machine: kith.Collection.verify(), or `kith "
                               "verify`, which may run beside the server")

    @staticmethod
    def repair(path: Any = None, *, progress: bool | Report | None = None) -> list[tuple[int | str, str]]:
        """UnsupportedError: a collection is repaired where it lies, while nobody has it open."""
        raise UnsupportedError("a collection is repaired on the server's machine: stop the server, then "
                               "kith.Collection.repair(), or `kith repair`")

    def close(self) -> None:
        """Close it; and the connections, if they were made for it alone."""
        self._closed = True
        if self._owned:
            self._server.close()

    def __reduce__(self) -> tuple:
        self._check_open()
        at = self._server
        if at.context is not None:
            raise ArgumentError("a collection whose connection has an ssl context cannot be pickled")
        return _reopen, (self.url, at.key, at.timeout, at.patience)

    def __repr__(self) -> str:
        if self.closed:
            return "<kith.RemoteCollection, closed>"
        return f"<kith.RemoteCollection: {len(self):,} items at {self.url}>"

    def _repr_html_(self) -> str:
        if self.closed:
            return f"<p>{escape(repr(self))}</p>"
        shown = {"url": self.url} | {key: value for key, value in self.info.items() if value not in (None, "")}
        lines = "".join(f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>" for key, value in shown.items())
        return f"<table><caption>kith.RemoteCollection</caption><tbody>{lines}</tbody></table>"


def _reopen(url: str, key: str | None, timeout: float, patience: float) -> Any:
    """What a pickle of a collection becomes: one with connections of its own."""
    from ._server import connect

    return connect(url, key=key, timeout=timeout, patience=patience)


def follow(server: Connections, number: int, report: Report | None) -> dict[str, Any]:
    """Wait for a job, telling how it gets on; what it made."""
    wait, cancelled = 0.01, False
    while True:
        job = server.json("GET", f"/v1/jobs/{number}", again=True)
        if job["state"] == "done":
            return job["made"] or {}
        if job["state"] == "cancelled":
            raise CancelledError(f"{job['kind']} was cancelled")
        if job["state"] == "failed":
            raise kind_of(job.get("error_kind"))(job["error"])
        if not cancelled and report is not None and job["stage"] and report(job["stage"], job["done"], job["total"]):
            server.json("DELETE", f"/v1/jobs/{number}", again=True)
            cancelled = True
        time.sleep(wait)
        wait = min(wait * 1.5, 1.0)


def _begun(report: Report | None, what: str) -> None:
    """Work that a server does in one call tells of no progress but that it begins."""
    if report is not None and report(what, 0, 0):
        raise CancelledError(f"{what} was cancelled")


def _portions(lines: Iterator[bytes]) -> Iterator[list[dict[str, Any]]]:
    """Lines of a stream, parsed some at a time."""
    held: list[bytes] = []
    for line in lines:
        held.append(line)
        if len(held) == LINE_PORTION:
            yield _parsed(held)
            held = []
    if held:
        yield _parsed(held)


def _parsed(lines: list[bytes]) -> list[dict[str, Any]]:
    try:
        return json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError as error:
        raise ServerError(f"the server's stream has a line that is no JSON: {error}") from None


def _known(specs: list[tuple[Any, ...]]) -> list[tuple[str, int, bool]]:
    return [(name, dim, dtype == "b1") for name, dim, dtype, _ in specs]


def _with(parts: int) -> list[str]:
    return [name for bit, name in ((PAYLOAD, "payload"), (VERSION, "version"), (VECTORS, "vector")) if parts & bit]


def _taste(profile: str | None, blend: float, leave_out_seen: bool, diversity: float) -> dict[str, Any]:
    found: dict[str, Any] = {} if profile is None else {"profile": _text(profile, "profile"),
                                                        "leave_out_seen": leave_out_seen}
    return found | ({"blend": blend} if blend else {}) | ({"diversity": diversity} if diversity else {})


def _joined(asked: dict[str, Any], member: str) -> bytes:
    """An object with one member more, which is text of JSON."""
    return encode(asked)[:-1] + b"," + member.encode() + b"}"


def _refuse_plan(plan: Any) -> None:
    if plan is None or plan == "auto":
        return
    if plan not in _kith.PLANS:
        raise ArgumentError(f"plan {plan!r} is unknown: {', '.join(_kith.PLANS)} are")
    raise UnsupportedError(f"plan={plan!r} is for folders: a server chooses the plan; target_recall= says how much is "
                           "to be found")


def _text(value: Any, what: str) -> str:
    """What goes to C as a text."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, not {value!r}")
    if "\0" in value:
        raise ArgumentError(f"{what}: has a null character, at byte {len(value[:value.index(chr(0))].encode())}")
    return value
