# SPDX-License-Identifier: Apache-2.0
"""The verbs of a collection that are about profiles and generations.

Where a collection lies says how these are done: _event, _profile, _rebuild_profile, _forget, _begin, _generations,
_check, _flip, _canary, _generation_of, _drop."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._items import is_id, pack_ids
from ._options import whole
from ._progress import Progress, Report
from ._words import event_ms, half_life_ms, share, word


async def in_thread(call: Any, *args: Any, **options: Any) -> Any:
    import asyncio  # which takes as long to import as all of kith

    return await asyncio.to_thread(call, *args, **options)


class ModelVerbs:
    """Profiles and generations."""

    __slots__ = ()
    _strings: bool
    _event: Any
    _profile: Any
    _rebuild_profile: Any
    _forget: Any
    _begin: Any
    _generations: Any
    _check: Any
    _flip: Any
    _canary: Any
    _generation_of: Any
    _drop: Any

    # ---- Profiles ----------------------------------------------------------------------------------------------------

    def event(self, name: str, *, like: Any = None, dislike: Any = None, view: Any = None, seen: Any = None,
              weight: float | None = None, time: datetime.datetime | float | None = None, vector: str | None = None,
              interests: int | None = None, remember: int | None = None,
              half_life: datetime.timedelta | float | None = None, threshold: float | None = None) -> None:
        """Tell a profile what was liked; it is made when it is not there. All or nothing, and durable on return.

        like, dislike, view, seen
            Ids, or one. A view is a quarter of a like; `seen` moves nothing. All of them are left out of searches by
            the profile. They happen in the order: seen, view, like, dislike.
        weight
            Of each event, in place of 1, or 0.25.
        time
            When it happened: a datetime, or seconds since 1970. Now, otherwise.
        vector, interests, remember, half_life, threshold
            How the profile is made: which named vector it is of, how many interests it may have (1 to 16; 1), how
            many seen items it remembers (1,000), in which time weights halve (a timedelta or seconds; never), and how
            similar an item must be to an interest not to begin one (0 to 1; 0.7). All but `vector` may be changed
            later.

        >>> shop = kith.Collection.create(None, dim=2, metric="cosine")
        >>> _ = shop.add([1, 2, 3, 4], [[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
        >>> shop.event("ann", like=1)
        >>> shop.search(profile="ann", k=1).ids.tolist()
        [2]
        """
        kinds = ((seen, 4), (view, 3), (like, 1), (dislike, 2))
        ids: list[Any] = []
        events = []
        moment = 0 if time is None else event_ms(time)
        for given, kind in kinds:
            some = [] if given is None else [given] if is_id(given) else list(given)
            ids += some
            events += [(kind, 0.0 if weight is None else float(weight), moment)] * len(some)
        packed, _ = pack_ids(ids if ids or self._strings else np.empty(0, np.uint64), self._strings)
        self._event(name, packed, events, vector,
                    0 if interests is None else whole(interests, "interests", 1, 16),
                    0 if remember is None else whole(remember, "remember", 1, 5000),
                    0 if half_life is None else half_life_ms(half_life),
                    0.0 if threshold is None else share(threshold, "threshold"))

    def profile(self, name: str) -> dict[str, Any]:
        """A profile: ``vectors``, a row for each interest, and their ``weights``; what it remembers, and how it was
        made. NotFoundError when there is none."""
        about = self._profile(name)
        about["vectors"] = about["vectors"].reshape(-1, about["dim"])
        return about

    def rebuild_profile(self, name: str | None = None, *, progress: bool | Report | None = None) -> dict[str, int]:
        """Make a profile's interests anew of the events that it remembers and the vectors that their items have now;
        without a name, of all profiles. For when vectors of items have changed, which by itself moves no profile.

        Returns how many ``profiles`` and ``events`` that were, and how many of the events were ``skipped`` because
        their item is gone or lacks the vector.
        """
        with Progress(progress) as watcher:
            profiles, events, skipped = self._rebuild_profile(name, watcher.report)
        return {"profiles": profiles, "events": events, "skipped": skipped}

    def forget(self, name: str) -> None:
        """Remove a profile. NotFoundError when there is none."""
        self._forget(name)

    # ---- Generations -------------------------------------------------------------------------------------------------

    def begin_generation(self, model: str | None = None, *, dim: int | None = None, dtype: Any = None,
                         metric: str | None = None, vectors: Mapping[str, Any] | None = None) -> int:
        """Begin a generation: what another model makes of the same items. Returns its number. It has no vectors yet,
        and is filled by ``update(ids, vectors, generation=number)``, while the current one is searched.

        model
            What makes its vectors.
        dim, dtype, metric
            What the vectors are like, where an item has one; dtype and metric are those of the current generation
            unless others are given.
        vectors
            Of which named vectors the generation has its own: name: dim, or a tuple of dim, dtype and metric. It
            shares the others with the current one.

        ArgumentError, NotFoundError (a name), LimitError: there are 16 generations.

        >>> shop = kith.Collection.create(None, dim=2, model="old")
        >>> _ = shop.add([1, 2], [[0, 0], [3, 4]])
        >>> number = shop.begin_generation("new", dim=3)
        >>> _ = shop.update([1, 2], [[0, 0, 1], [0, 1, 0]], generation=number)
        >>> shop.check_generation(number)["lacking"], shop.flip(number)["to"]
        (0, 2)
        >>> shop.search([0, 1, 0], k=1, model="new").ids.tolist()
        [2]
        >>> shop.flip()["to"], shop.search([3, 4], k=1, model="old").ids.tolist()
        (1, [2])
        """
        from . import _generations

        return _generations.begin(self, model, dim, dtype, metric, vectors)

    @property
    def generations(self) -> list[dict[str, Any]]:
        """All generations by their numbers: ``number``, ``state`` ("building", "current", "previous", "former"),
        ``model``, ``share`` of the users that are sent to it, ``vectors`` as in `info`, how many of which are its
        ``own``, and when it was ``created``."""
        from . import _generations

        return _generations.listed(self)

    def check_generation(self, number: int, *, sample: int = 100, k: int = 10, target_recall: float = 0.95,
                         seed: int = 0, lacks: bool = False,
                         progress: bool | Report | None = None) -> dict[str, Any]:
        """Look at a generation beside the current one: how many ``items`` there are, how many of them have its vectors
        (``with_vectors``) and how many are ``lacking`` one; what searches at a target find of what exact ones do
        (``recall``); and what share of the exact neighbours are also the current generation's (``overlap``).

        sample, k, seed
            Stored vectors of each name that are sought, 0: none; their neighbours; and which are chosen.
        target_recall
            Of the searches that are held against exact ones.
        lacks
            True: also ``lacks``, a list of (id, name of the vector).

        Searches and writes go on. NotFoundError: there is no such generation.
        """
        from . import _generations

        options = _generations.check_options(sample, k, target_recall, seed)
        with Progress(progress) as watcher:
            return _generations.check(self, number, options, lacks, watcher.report)

    def flip(self, number: int | None = None, *, min_share: float | None = None, min_recall: float = 0.0,
             min_overlap: float = 0.0, sample: int = 100, k: int = 10, target_recall: float = 0.95, seed: int = 0,
             progress: bool | Report | None = None) -> dict[str, Any]:
        """Make a generation current, for all searches and in all processes at once. Each is answered by one alone.

        number
            None: back to the one that was current before.
        min_share, min_recall, min_overlap
            What :meth:`check_generation` must find, or DataError, and nothing changes: ``with_vectors / items`` (1;
            going back 0), ``recall``, ``overlap``.
        sample, k, target_recall, seed
            How it is checked.

        Returns what was done: ``from``, ``to``, what was found, and for how long writes waited (``pause_seconds``).
        NotFoundError: there is no such generation.
        """
        from . import _generations

        options = _generations.check_options(sample, k, target_recall, seed)
        with Progress(progress) as watcher:
            return _generations.flip(self, number, min_share, min_recall, min_overlap, options, watcher.report)

    def canary(self, number: int, share: float) -> None:
        """Send a share of the users (0 to 1) to a generation that is not current, in searches that name a `user`:
        always the same ones, and those of a smaller share stay with a larger one. 0 ends that.

        BusyError: another generation is the canary, or this one is current.
        """
        from . import _generations

        self._canary(_generations.number_of(number), _generations.share_of(share, "share"))

    def generation_of(self, user: str) -> int:
        """The number of the generation that a user's searches are answered by."""
        return self._generation_of(word(user, "user"))

    def drop_generation(self, number: int) -> None:
        """Remove a generation that is not current, with the vectors that no other one shares."""
        from . import _generations

        self._drop(_generations.number_of(number))

    async def aevent(self, *args: Any, **options: Any) -> None:
        """:meth:`event` in a thread, to be awaited."""
        await in_thread(self.event, *args, **options)

    async def aflip(self, *args: Any, **options: Any) -> dict[str, Any]:
        """:meth:`flip` in a thread, to be awaited."""
        return await in_thread(self.flip, *args, **options)
