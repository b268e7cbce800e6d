# SPDX-License-Identifier: Apache-2.0
"""server/native/openapi.json against the routes of the code, in both directions; and each of its operations against a
running server: examples are what their schemas say, and so are the answers. Standard library only."""

import json
import pathlib
import re
import time

import pytest

from serving import PATIENCE_S, Server

NATIVE = pathlib.Path(__file__).resolve().parents[2] / "server" / "native"
DOCUMENT = json.loads((NATIVE / "openapi.json").read_text())
# Each operation once, in an order in which each finds what it is about; path parameters as they are then.
STORY = [
    "root",
    "openapi",
    "createCollection",
    "collections",
    "collection",
    "writePoints",
    "declareField",
    "query",
    "point",
    "getPoints",
    "pointsExist",
    "countPoints",
    "scrollPoints",
    "deletePoints",
    "tellProfile",
    "profile",
    "warm",
    "rebuildProfiles",
    "beginGeneration",
    "generations",
    "checkGeneration",
    "canary",
    "flip",
    "dropGeneration",
    "makeSnapshot",
    "snapshots",
    "join",
    "compact",
    "tune",
    "jobs",
    "job",
    "cancelJob",
    "forgetProfile",
    "stats",
    "dropCollection",
]
PARTS = {"collection": "shop", "id": 1, "profile": "ann", "generation": 2, "job": 1}
QUERIES = {"warm": "?user=ann&k=2", "point": "?with=payload,version,vector", "profile": "?with=vector"}


def operations():
    """(operation id, method, path, operation)."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield operation["operationId"], method.upper(), path, operation


def resolve(schema):
    while "$ref" in schema:
        place = DOCUMENT
        for part in schema["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        schema = place
    return schema


TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def fault(value, schema, where="it"):
    """What of a value is not as a schema says, or None: as much of JSON Schema as the document uses."""
    schema = resolve(schema)
    unknown = set(schema) - {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "oneOf",
        "enum",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minLength",
        "pattern",
        "default",
        "description",
        "format",
    }
    assert not unknown, unknown
    if "oneOf" in schema:
        faults = [fault(value, each, where) for each in schema["oneOf"]]
        if faults.count(None) != 1:
            return f"{where} fits {faults.count(None)} of what it may be: {faults}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is {value!r}"
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return f"{where} is no {kind}: {value!r}"
    if kind in ("integer", "number"):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            return f"{where} is {value}"
    if kind == "string" and not re.search(schema.get("pattern", ""), value):
        return f"{where} is {value!r}"
    if kind == "array":
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{where} has {len(value)}"
        return next(filter(None, (fault(each, schema["items"], f"{where}[{i}]") for i, each in enumerate(value))), None)
    if kind == "object":
        lacking = set(schema.get("required", ())) - set(value)
        if lacking:
            return f"{where} lacks {lacking}"
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name, each in value.items():
            if name not in known and others is False:
                return f"{where} has {name}"
            inside = known.get(name, others if isinstance(others, dict) else {})
            found = fault(each, inside, f"{where}.{name}")
            if found:
                return found
    return None


def test_the_schemas_can_refuse():
    point = {"$ref": "#/components/schemas/Point"}
    assert fault({"id": 1, "vector": [1]}, point) is None
    for bad in [{}, {"id": -1}, {"id": 1, "extra": 1}, {"id": 1, "vector": ["x"]}, {"id": 1, "payload": []}, []]:
        assert fault(bad, point), bad


def test_routes_and_document_agree():
    text = (NATIVE / "native.c").read_text()
    words = {"V1": "/v1", "COLLECTION": "/v1/collections/{}"}
    roles = {"NOBODY": "nobody", "READ": "read", "WRITE": "write", "ADMIN": "admin"}
    routes = {}
    for method, pattern, role in re.findall(r"\{KS_(GET|PUT|POST|DELETE|PATCH), ([^,]+), KS_(\w+), ", text):
        path = "".join(words.get(part, part.strip('"')) for part in pattern.split())
        routes[method, path] = roles[role]
    assert len(routes) > 30
    described = {
        (method, re.sub(r"\{\w+\}", "{}", path)): operation["x-role"] for _, method, path, operation in operations()
    }
    assert routes == described


def test_path_parameters_are_described():
    for name, _, path, operation in operations():
        given = {p["name"] for p in map(resolve, operation.get("parameters", [])) if p["in"] == "path"}
        assert given == set(re.findall(r"\{(\w+)\}", path)), name


def test_members_of_bodies_are_described():
    """What a handler knows beside what the document says: each list of members of the code is one of a schema."""
    lists = []
    for source in NATIVE.glob("*.c"):
        for names in re.findall(r"known\[\] = \{([^;]*?),\s*NULL\};", source.read_text(), re.S):
            lists.append((source.name, frozenset(re.findall(r'"(\w+)"', names))))
    assert len(lists) > 15

    def members(schema):
        schema = resolve(schema) if isinstance(schema, dict) else {}
        for each in schema.get("oneOf", []):
            yield from members(each)
        if schema.get("properties"):
            yield frozenset(schema["properties"])
            for each in schema["properties"].values():
                yield from members(each)

    described = set()
    for schema in DOCUMENT["components"]["schemas"].values():
        described |= set(members(schema))
    described.add(frozenset(["ids", "if_version", "filter"]))  # two bodies, which are read as one
    for source, names in lists:
        assert names in described, (source, sorted(names))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("shelf")) as server:
        yield server


def wait_for_jobs(server):
    until = time.monotonic() + PATIENCE_S
    while True:
        jobs = json.loads(server.ask("GET", "/v1/jobs")[2])["jobs"]
        if all(job["ended_ms"] for job in jobs):
            return jobs
        assert time.monotonic() < until, jobs
        time.sleep(0.01)


def test_the_document_is_served(server):
    status, headers, body = server.ask("GET", "/v1/openapi.json")
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    assert json.loads(body) == DOCUMENT


def test_operations_are_what_the_document_says(server):
    known = {name: (method, path, operation) for name, method, path, operation in operations()}
    assert sorted(STORY) == sorted(known)
    for name in STORY:
        method, path, operation = known[name]
        parts = dict(PARTS, generation=1) if name == "dropGeneration" else PARTS
        where = re.sub(r"\{(\w+)\}", lambda part: str(parts[part[1]]), path) + QUERIES.get(name, "")
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        body = content["example"] if content else None
        if content:
            assert fault(body, content["schema"], f"the example of {name}") is None
        status, _, answer = server.ask(method, where, body)
        assert str(status) in operation["responses"], (name, status, answer)
        described = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        assert fault(json.loads(answer), described, name) is None
        if status == 202:
            jobs = wait_for_jobs(server)
            assert jobs[0]["state"] == "done", jobs[0]


def test_errors_are_what_the_document_says(server):
    error = {"$ref": "#/components/schemas/Error"}
    for method, path, body in [
        ("GET", "/v1/nothing", None),
        ("GET", "/v1/collections/none", None),
        ("POST", "/v1/collections/none/query", {}),
        ("PUT", "/v1/collections/x", {"vectors": 1}),
        ("DELETE", "/v1", None),
        ("GET", "/v1/jobs/99", None),
    ]:
        status, _, answer = server.ask(method, path, body)
        answer = json.loads(answer)
        assert fault(answer, error) is None
        assert status >= 400 and answer["error"]["status"] == status
