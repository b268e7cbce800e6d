# SPDX-License-Identifier: Apache-2.0
"""An engine of this process: lists of lists of Arrow tables. It divides rows otherwise than any cluster would, and
works travel through pickle as they do there."""
import pickle

import pyarrow as pa

from kith._offline.building import build
from kith._offline.columns import Names
from kith._offline.generation import next_generation
from kith._offline.joining import knn_join


class Here:
    wide_numbers = True

    def __init__(self):
        self.stages = []

    def cores(self):
        return 2

    def tasks(self, count):
        return [[pa.table({"id": [number]})] for number in range(count)]

    def accept(self, given, columns, what):
        return [[given.select(columns).slice(at, 700)] for at in range(0, max(1, given.num_rows), 700)]

    def kind(self, frame, column):
        return frame[0][0].schema.field(column).type

    def map(self, frame, work, columns, threads=1):
        self.stages.append(work.title)
        found = []
        for part in frame:
            copy = pickle.loads(pickle.dumps(work))
            made = [pa.table(batch) if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
                    for batch in copy(batch for table in part for batch in table.to_batches(300))]
            for table in made:
                assert table.column_names == list(columns)
                # What Spark would have to be told beforehand.
                assert all(table.schema.field(name).type == kind for name, kind in columns.items()), table.schema
            found.append(made)
        return found

    def shuffle(self, frame, column, parts):
        found = [[] for _ in range(parts)]
        for part in frame:
            for table in part:
                to = table.column(column).to_numpy()
                for number in set(to.tolist()):
                    found[number].append(table.filter(pa.array(to == number)))
        return [part[::-1] for part in found]

    def union(self, frames):
        return [part for frame in frames for part in frame]

    def sample(self, frame, rows):
        return pa.concat_tables([table for part in frame for table in part]).slice(0, rows)

    def collect(self, frame, stage):
        tables = [table for part in frame for table in part]
        return pa.concat_tables(tables) if tables else pa.table({})

    def batches(self, frame, stage):
        for part in frame:
            for table in part:
                yield from table.to_batches()


def build_here(items, path, *, shards=1, by="hash", id="id", vector="vector", segment=None, metric="l2", threads=1,
               seed=0, replace=False, **options):
    return build(Here(), items, path, shards, by, Names(id, vector, segment if by == "segment" else None), metric,
                 threads, seed, replace, options)


def join_here(queries, items, k=10, *, target_recall=None, by=None, id="id", vector="vector", segment=None, threads=1,
              tasks=None):
    engine = Here()
    return engine.collect(knn_join(engine, queries, items, k, target_recall, by, Names(id, vector, segment), threads,
                                   tasks), "")


def generation_here(vectors, collection, *, model, id="id", vector="vector", name=None, least=(1.0, 0.0, 0.0),
                    drop_previous=False, flip=True):
    return next_generation(Here(), vectors, collection, model, Names(id, vector), name, least, drop_previous, flip)
