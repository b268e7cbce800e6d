# SPDX-License-Identifier: Apache-2.0
"""Chroma's HTTP server (pip install chromadb) with the same vectors and the same loader: what its processor does for a
query, beside ours in this run."""
from __future__ import annotations

import json
import pathlib
import shutil
import socket
import sys
from typing import Optional

from . import asked, process
from .rows import Bench

PATH = "/api/v2/tenants/default_tenant/databases/default_database/collections"
SETTINGS = {"hnsw": {"space": "ip", "ef_search": 100}}


def program() -> Optional[pathlib.Path]:
    """In the environment of this Python, or NULL."""
    beside = pathlib.Path(sys.executable).with_name("chroma")
    found = beside if beside.exists() else shutil.which("chroma")
    return pathlib.Path(found) if found else None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def fill(port: int, data: asked.Data) -> str:
    """The id of the collection."""
    import chromadb

    client = chromadb.HttpClient(host="127.0.0.1", port=port)
    shop = client.create_collection("bench", configuration=SETTINGS)
    for start in range(0, len(data.base), 2000):
        rows = data.base[start:start + 2000]
        shop.add(ids=[str(start + i) for i in range(len(rows))], embeddings=rows)
    return str(shop.id)


def measure(bench: Bench) -> None:
    """1 and 16 clients that keep their connections, as the issue's mark has them."""
    chroma = program()
    if chroma is None:
        process.say("Chroma is not installed (PEERS=chromadb installs it): it is left out")
        return
    folder, port = bench.tools.folder / "chroma", free_port()
    shutil.rmtree(folder, ignore_errors=True)
    words = [chroma, "run", "--path", folder, "--host", "127.0.0.1", "--port", port]
    with process.Server(words, bench.tools.serve_on, bench.tools.folder / "chroma.log") as server:
        server.wait_for(f"http://127.0.0.1:{port}/api/v2/heartbeat")
        process.say("filling Chroma")
        name = fill(port, bench.data)
        bodies = ({"query_embeddings": [row.tolist()], "n_results": asked.K, "include": ["distances"]}
                  for row in bench.data.queries[:500])
        requests = asked.write(bench.tools.folder / "chroma.requests",
                               (asked.http("POST", f"{PATH}/{name}/query", json.dumps(body).encode(),
                                           "application/json") for body in bodies))
        for clients in (1, 16):
            seen = process.load(bench.tools, server, port, requests, clients, bench.effort.seconds)
            bench.values |= {f"chroma {clients}.rate": seen.rate, f"chroma {clients}.cpu_us": seen.cpu_us,
                             f"chroma {clients}.p99_ms": seen.ms("p99")}
    shutil.rmtree(folder, ignore_errors=True)
