# SPDX-License-Identifier: Apache-2.0
"""`kith demo`: the page, the index and the shop beside it, made of drawn pictures that stand in for Fashion-MNIST; what it
says at its end works, a second run replaces what is its own, and nothing else. Standard library only.
"""
import base64
import gzip
import json
import os
import pty
import random
import shlex
import struct
import subprocess

import pytest

from test_cli import ABSENT, INPUT, KITH, USAGE, good, kith, refused

KINDS = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"]
TRAIN, TEST, SIDE, SHELF = 600, 200, 28, 8


def picture(kind, rng):
    """A bar for each kind, a little another one each time."""
    rows = bytearray(SIDE * SIDE)
    for y in range(2 + 2 * kind, 8 + 2 * kind):
        for x in range(4 + rng.randrange(3), 20 + rng.randrange(6)):
            rows[y * SIDE + x] = rng.randrange(120, 255)
    return bytes(rows)


def write_set(folder, name, count, seed):
    rng = random.Random(seed)
    labels = bytes(rng.randrange(10) for _ in range(count))
    with gzip.open(folder / f"{name}-images-idx3-ubyte.gz", "wb", 1) as file:
        file.write(struct.pack(">4I", 0x803, count, SIDE, SIDE) + b"".join(picture(kind, rng) for kind in labels))
    with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz", "wb", 1) as file:
        file.write(struct.pack(">2I", 0x801, count) + labels)
    return labels


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    labels = write_set(folder, "train", TRAIN, 1)
    write_set(folder, "t10k", TEST, 2)
    return folder, labels


@pytest.fixture(scope="module")
def demo(pictures, tmp_path_factory):
    """A first run in a folder with a space in its name: the folder, and what was printed."""
    folder = tmp_path_factory.mktemp("my demo")
    return folder, good("demo", "--data", pictures[0], "-o", folder / "page.html").stdout


def on_a_terminal(*arguments):
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen([KITH, *map(str, arguments)], stdout=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
        assert process.wait(60) == 0
    os.close(ours)
    return shown.decode()


def kinds_of(output):
    return [hit["payload"]["kind"] for line in output.splitlines() for hit in json.loads(line)["results"]]


def test_what_is_printed_works(demo):
    folder, printed = demo
    assert sorted(path.name for path in folder.iterdir()) == ["page.fashion-mnist.kith", "page.html", "page.shop"]
    assert f"{TRAIN} items" in printed and "likes a Sneaker and a Bag" in printed
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  kith ")]
    assert len(commands) == 4
    assert shlex.split(commands.pop()) == ["kith", "serve", str(folder / "page.shop")]
    assert "/ui/" in printed.splitlines()[-1]
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "kith" and good(*words[1:]).stdout
    good("verify", folder / "page.shop")
    page = (folder / "page.html").read_text()
    assert "Ann visits the shop" in page and page.count('class="shopper step"') == 4
    assert "kith query page.shop --profile ann" in page


def test_pictures_lie_in_the_payloads(demo):
    line = json.loads(good("query", demo[0] / "page.shop", "--profile", "ann", "-k", 1, "--json").stdout)
    kind, encoded = line["results"][0]["payload"]["image"].split(",")
    data = base64.b64decode(encoded, validate=True)
    assert kind == "data:image/png;base64" and data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (SIDE, SIDE) and len(data) < 1200


def test_a_terminal_shows_the_beginning_of_a_long_text(demo):
    """A picture in a payload does not push the rest off the screen; what is piped is whole."""
    question = ["query", demo[0] / "page.shop", "--profile", "ann", "-k", 2]
    shown = on_a_terminal(*question)
    assert shown.count("data:image/png;base64,") == 2 and '..."}' in shown and max(map(len, shown.splitlines())) < 250
    assert '..."' not in good(*question).stdout


def test_a_second_run_replaces_its_own(demo, pictures):
    folder, _ = demo
    shop = folder / "page.shop"
    good("profile", shop, "bo", "--like", 1)
    told = json.loads(good("demo", "--data", pictures[0], "-o", folder / "page.html", "--json").stdout)["shop"]
    labels = pictures[1]
    assert told["path"] == str(shop) and told["items"] == TRAIN and told["bytes"] > 0
    assert "no profile" in refused(ABSENT, "profile", shop, "bo")
    first, second, third, bags = told["visit"]
    assert [KINDS[labels[row]] for row in first["told"] + second["told"]] == ["Sneaker", "Sneaker", "Bag"]
    assert third["told"] == second["shown"][:1] and "told_ms" not in bags
    shown = [[KINDS[labels[row]] for row in step["shown"]] for step in told["visit"]]
    assert shown[0] == ["Sneaker"] * SHELF and set(shown[1]) == {"Sneaker", "Bag"}
    assert shown[2].count("Sneaker") < shown[1].count("Sneaker"), "a dislike changes what is recommended"
    liked = set(first["told"] + second["told"] + third["told"])
    for step in told["visit"]:
        assert len(set(step["shown"])) == len(step["shown"]) and step["asked_ms"] > 0
    assert not liked & set(third["shown"] + bags["shown"])
    assert set(shown[3]) == {"Bag"}
    # The visit left the profile as it says: the same question has the same answer.
    again = good("query", shop, "--profile", "ann", "-k", SHELF, "--where", 'kind = "Bag" and price < 50', "--json")
    assert [hit["id"] for hit in json.loads(again.stdout)["results"]] == bags["shown"]
    assert all(hit["payload"]["price"] < 50 for hit in json.loads(again.stdout)["results"])
    assert set(kinds_of(again.stdout)) == {"Bag"}


def test_what_is_not_its_own_stays(pictures, tmp_path):
    data = pictures[0]
    (tmp_path / "a.shop").write_text("mine")
    assert "no folder" in refused(USAGE, "demo", "--data", data, "-o", tmp_path / "a.html", "--force")
    assert (tmp_path / "a.shop").read_text() == "mine"
    good("create", tmp_path / "b.shop", "--dim", 3)
    assert "something else" in refused(USAGE, "demo", "--data", data, "-o", tmp_path / "b.html", "--force")
    good("verify", tmp_path / "b.shop")
    (tmp_path / "c.shop").mkdir()
    (tmp_path / "c.shop" / "notes.txt").write_text("mine")
    assert "no collection" in refused(USAGE, "demo", "--data", data, "-o", tmp_path / "c.html")
    assert (tmp_path / "c.shop" / "notes.txt").read_text() == "mine"
    os.symlink(tmp_path / "b.shop", tmp_path / "d.shop")
    assert "no folder" in refused(USAGE, "demo", "--data", data, "-o", tmp_path / "d.html")
    assert not list(tmp_path.glob("*.html")) and not list(tmp_path.glob("*.kith")), "nothing was made before"


def test_missing_and_wrong_pictures(pictures, tmp_path):
    assert "--data names the folder" in refused(ABSENT, "demo", "--data", tmp_path, "-o", tmp_path / "p.html")
    for path in pictures[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_set(tmp_path, "train", 100, 3)
    assert "at least" in refused(INPUT, "demo", "--data", tmp_path, "-o", tmp_path / "p.html")
    assert not (tmp_path / "p.shop").exists()
    assert kith("demo", "--data", tmp_path / "nowhere", "-o", tmp_path / "p.html").returncode == ABSENT
