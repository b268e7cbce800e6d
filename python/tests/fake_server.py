"""A stand-in for `kith serve` while that is not there: /v1 over kith.Collection."""
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

import kith

CODES = [(kith.LimitError, 413), (kith.NotFoundError, 404), (kith.BusyError, 409), (kith.DeadlineError, 504),
         (kith.CancelledError, 499), (kith.NoSpaceError, 507), (ValueError, 400), (TypeError, 400)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        args = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        parts = [urllib.parse.unquote(p) for p in url.path.strip("/").split("/")]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            with self.server.lock:
                reply = self.answer(self.command, parts[1:], args, body)
        except kith.Error as error:
            code = next((c for k, c in CODES if isinstance(error, k)), 500)
            return self.send(code, json.dumps({"error": {"status": code, "message": str(error), "kind": error.status}}).encode())
        except (ValueError, TypeError, KeyError) as error:
            return self.send(400, json.dumps({"error": {"status": 400, "message": repr(error)}}).encode())
        if isinstance(reply, bytes):
            return self.send(200, reply)
        self.send(200, json.dumps(reply).encode())

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def send(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, method, parts, args, body):
        shops = self.server.shops
        if parts == []:
            return {"name": "kith", "version": "0", "uptime_s": 1, "read_only": False, "collections": len(shops)}
        if parts == ["collections"]:
            return {"collections": [{"name": n, "items": len(s), "vectors": specs(s.info["vectors"])} for n, s in shops.items()]}
        if parts[0] == "jobs":
            if len(parts) == 1:
                return {"jobs": list(self.server.jobs.values())}
            return self.server.jobs[int(parts[1])]
        if parts[0] == "stats":
            return {"calls_per_s": 1}
        name, rest = parts[1], parts[2:]
        if method == "PUT":
            if name in shops:
                raise kith.BusyError(f"there is a collection {name!r}")
            b = json.loads(body)
            shops[name] = kith.Collection.create(
                None, vectors={v["name"]: (v["dim"], v.get("dtype"), v.get("metric")) for v in b["vectors"]},
                fields={f["name"]: f["type"] for f in b["fields"]}, ids="string" if b["ids"] == "string" else "number",
                segment_field=b.get("segment_field"), model=b.get("model"), background=False, threads=1)
            return {}
        if name not in shops:
            raise kith.NotFoundError(f"there is no collection {name!r}")
        shop = shops[name]
        if not rest:
            if method == "DELETE":
                del shops[name]
                return {}
            info = shop.info
            info["vectors"] = specs(info["vectors"])
            info["fields"] = [{"name": n, "type": t} for n, t in info["fields"].items()]
            info["ids"] = "string" if info["ids"] == "string" else "u64"
            return info
        if rest == ["points"]:
            return self.write(shop, args, body)
        if rest == ["query"]:
            return self.query(shop, args, body)
        b = json.loads(body) if body else {}
        if rest[:1] == ["points"]:
            return self.points(shop, rest[1], b)
        if rest == ["fields"]:
            shop.declare(b["name"], b["type"])
            return {}
        if rest[0] == "profiles":
            return self.profiles(shop, method, rest[1:], b)
        if rest[0] == "generations":
            return self.generations(shop, method, rest[1:], b, args)
        if rest == ["flip"]:
            to = b.pop("to", None)
            return self.job(shop.flip(to, **b))
        if rest == ["compact"]:
            shop.compact()
            return self.job({})
        raise kith.NotFoundError(f"no route {parts}")

    def job(self, result):
        number = len(self.server.jobs) + 1
        self.server.jobs[number] = {"number": number, "state": "done", "result": result}
        return {"job": number}

    def generations(self, shop, method, rest, b, args):
        if rest and rest[1:] == ["check"]:
            return self.job(shop.check_generation(int(rest[0]), **b))
        if rest and rest[1:] == ["canary"]:
            shop.canary(int(rest[0]), b["share"])
            return {}
        if method == "DELETE":
            shop.drop_generation(int(rest[0]))
            return {}
        if method == "POST":
            return {"number": shop.begin_generation(b.get("model"), vectors={
                v["name"]: (v["dim"], v.get("dtype"), v.get("metric")) for v in b["vectors"]})}
        if "user" in args:
            return {"generation": shop.generation_of(args["user"])}
        found = shop._generations()
        for one in found:
            one["created_ms"] = one.pop("created")
            one["vectors"] = specs(one["vectors"])
        return {"generations": found}

    def profiles(self, shop, method, rest, b):
        if rest == ["rebuild"]:
            return self.job(shop.rebuild_profile(b.get("profile")))
        if method == "DELETE":
            shop.forget(rest[0])
            return {}
        if method == "GET":
            about = shop.profile(rest[0])
            about["half_life_ms"] = about.pop("half_life") and int(1000 * shop.profile(rest[0])["half_life"])
            about["vectors"], about["weights"] = about["vectors"].tolist(), about["weights"].tolist()
            return about
        kinds = {"like": 1, "dislike": 2, "view": 3, "seen": 4}
        from kith._items import pack_ids
        o = b.get("options", {})
        ids = [e["item"] for e in b["events"]]
        packed = pack_ids(ids, shop._strings)[0]
        shop._event(rest[0], packed, [(kinds[e["kind"]], e.get("weight", 0.0), e.get("time_ms", 0)) for e in b["events"]],
                    o.get("vector"), o.get("interests", 0), o.get("seen", 0), o.get("half_life_ms", 0), o.get("threshold", 0.0))
        return {}

    def write(self, shop, args, body):
        from kith import _items
        points = [json.loads(line) for line in body.splitlines()]
        mode = ["upsert", "insert", "update", "merge"].index(args.get("mode", "upsert"))
        ids = _items.pack_ids([p["id"] for p in points], shop._strings)[0]
        gens = [p["generation"] for p in points if "generation" in p]
        names = list(shop._numbers)
        named = {}
        for row, p in enumerate(points):
            v = p.get("vector")
            if v is not None and not isinstance(v, dict):
                v = {"" if "" in names else names[0]: v}
            for n, x in (v or {}).items():
                named.setdefault(n, [None] * len(points))[row] = x
        cols = shop._columns(named or None, gens[0] if gens else 0)
        exp = np.array([p.get("expires_ms") or 0 for p in points], np.uint64) if any("expires_ms" in p for p in points) else None
        ver = None
        if any("if_version" in p for p in points):
            ver = np.array([p.get("if_version", 2**64 - 1) for p in points], np.uint64)
        pay = _items.pack_payloads([p.get("payload") for p in points], len(points)) if any("payload" in p for p in points) else None
        return dict(zip(("version", "inserted", "replaced", "removed", "unmet"), shop._write(ids, cols, pay, exp, ver, mode)))

    def one(self, item, w):
        p = {"id": item.id}
        if "payload" in w:
            p["payload"] = item.payload
        if "version" in w:
            p["version"] = item.version
            p["expires_ms"] = item.expires and round(item.expires.timestamp() * 1000)
        if "vector" in w:
            v = {n: x.tolist() for n, x in (item.vectors or {}).items()}
            p["vector"] = v.get("") if list(v) in ([""], []) else v
        return p

    def points(self, shop, verb, b):
        w = b.get("with", [])
        v = {"vectors": "vector" in w, **({"generation": b["generation"]} if b.get("generation") else {})}
        if verb == "get":
            return {"points": [self.one(i, w) for i in shop.get(b["ids"], **v)]}
        if verb == "exists":
            return {"exists": shop.exists(b["ids"]).tolist()}
        if verb == "count":
            return {"count": shop.count(b.get("filter"))}
        if verb == "scroll":
            return b"".join(json.dumps(self.one(i, w)).encode() + b"\n" for i in shop.scroll(b.get("filter"), after=b.get("after"), **v))
        if verb == "delete":
            if "filter" in b:
                return shop.delete(where=b["filter"])._asdict()
            return shop.delete(b["ids"], if_version=b.get("if_version"))._asdict()
        raise kith.NotFoundError(verb)

    def query(self, shop, args, body):
        raw = self.headers.get("Content-Type") == "application/octet-stream"
        if raw:
            a = {k: (v if k in ("filter", "segment", "using", "model", "user", "profile") else v.split(",") if k == "with" else json.loads(v)) for k, v in args.items()}
            name = a.pop("using", None)
            dim = {n: d for n, d, *_ in shop._specs(a.get("generation", 0))}[name if name is not None else next(iter(shop._numbers))]
            if len(body) % (4 * dim):
                raise kith.ArgumentError(f"the body has {len(body)} bytes, no rows of {dim} floats")
            Q = np.frombuffer(body, np.float32).reshape(-1, dim)
        else:
            a = json.loads(body)
            name = a.pop("using", None)
            Q = a.pop("vectors", None)
            if Q is None and "vector" in a:
                Q = [a.pop("vector")]
            if any(s[2] == "b1" for s in shop._specs(a.get("generation", 0))):
                Q = np.array(Q, np.uint8)
            if "legs" in a:
                legs = a.pop("legs")
                Q = {leg["using"]: leg["vectors"] for leg in legs}
                a["weights"] = {leg["using"]: leg["weight"] for leg in legs if "weight" in leg}
        a.pop("exact", None)
        if "target" in a:
            a["target_recall"] = a.pop("target")
        if "timeout_ms" in a:
            a["timeout"] = a.pop("timeout_ms") / 1000
        if name is not None:
            a["vector"] = name
        w = a.pop("with", [])
        if "filter" in a:
            a["where"] = a.pop("filter")
        hits = shop.search(Q, **a, payload="payload" in w, versions="version" in w, vectors="vector" in w)
        if self.headers.get("Accept") == "application/octet-stream":
            ids, dist, ends, texts = hits._answer[:4]
            ids, dist = np.atleast_2d(ids), np.atleast_2d(dist)
            counts = np.diff(ends.astype(int), prepend=0)
            there = np.arange(ids.shape[1]) < counts[:, None]
            out = b"KITHRES1" + np.array([len(ends), 1 if texts else 0], np.uint32).tobytes() + ends.astype(np.uint32).tobytes()
            out += bytes(-len(out) % 8) + ids[there].astype(np.uint64).tobytes() + dist[there].tobytes()
            if texts:
                out += texts[1].astype(np.uint32).tobytes() + texts[0]
            return out
        counts = np.diff(hits._answer[2].astype(int), prepend=0)
        ids, dist = np.atleast_2d(hits.ids), np.atleast_2d(hits.distances)
        res, at = [], 0
        for q, n in enumerate(counts):
            row = []
            for r in range(n):
                h = {"id": ids[q, r] if shop._strings else int(ids[q, r]), "distance": float(dist[q, r])}
                if "payload" in w:
                    h["payload"] = np.atleast_1d(hits.payloads)[r] if hits.distances.ndim == 1 else hits.payloads[q][r]
                if "version" in w:
                    h["version"] = int(hits.versions[at])
                if "vector" in w:
                    v = {n_: None if np.isnan(x[at]).any() else x[at].tolist() for n_, x in hits.vectors.items()}
                    h["vector"] = v.get("") if list(v) == [""] else {a: b for a, b in v.items() if b is not None}
                row.append(h)
                at += 1
            res.append(row)
        return {"version": shop.info["version"], "results": res, **({"explain": hits.explain} if a.get("explain") else {})}


def specs(vectors):
    return [dict(zip(("name", "dim", "dtype", "metric"), v)) for v in vectors]


def start():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.lock, server.shops, server.jobs = threading.Lock(), {}, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"
