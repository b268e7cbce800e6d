# SPDX-License-Identifier: Apache-2.0
"""The web page of `kith serve` in a real browser, at the width of a phone and of a desk, light and dark: every view is
drawn without an error and without being wider than the page, queries and likes do what they say, and what lies in
payloads stays text. Needs playwright (tests/requirements/page.txt) and Debian's chromium; `make page-test` has
both.
"""

import base64
import http.server
import json
import os
import re
import shutil
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
import zlib

import pytest

from test_cli import KITH, good

playwright = pytest.importorskip(
    "playwright.sync_api", reason="make page-test runs these, in an environment of its own"
)
CHROMIUM = os.environ.get("KITH_CHROMIUM") or shutil.which("chromium")
VIEWS = ["overview", "collections", "console", "similar", "shop", "map", "tuner", "segments"]
KINDS = ["Sneaker", "Bag", "Coat", "Dress"]
EACH, DIM = 60, 16
LARGE = 2**53 + 1
HOSTILE = {
    900: {
        "title": "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>",
        "text": "<b>" + "x" * 500,
    },
    901: {"title": "\u05e9\u05dc\u05d5\u05dd \u202e gnp.exe", "nested": {"b": "</div>", "list": [1, "<i>"]}},
    902: {"name": "W" * 300, "image": "javascript:window.hacked=1"},
    903: {"name": "\U0001f469\u200d\U0001f467" * 60, "image_url": "https://pictures.example/one.png"},
    904: {"name": "svg", "image": "data:image/svg+xml;base64,PHN2Zy8+"},
    LARGE: {"name": "a large id", "number": 1234567890123456789},
}


def png(grey):
    """A picture of 8 x 8 points of one grey."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress((b"\0" + bytes([grey]) * 8) * 8)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def vector(group, number):
    """Near the others of its group, and never the same twice."""
    return [(40 if place // 4 == group else 4) + (number * (place + 3) % 11) / 4 for place in range(DIM)]


def lines_of_shop():
    for number in range(EACH * len(KINDS)):
        group = number % len(KINDS)
        payload = {"kind": KINDS[group], "price": 5 + number % 90, "image": png(40 * group + 20)}
        yield {"id": number, "vector": vector(group, number), "payload": payload}


def make(folder, name, lines, fields):
    good("create", folder / name, "--dim", DIM, "--metric", "cosine", *(["--fields", fields] if fields else []))
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    good("add", folder / name, path)
    path.unlink()


class Server:
    def __init__(self, folder, *options):
        self.process = subprocess.Popen(
            [KITH, "serve", str(folder), "--port", "0", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        found = re.search(r"http://[^ /]+", self.process.stdout.readline())
        assert found, "it says where it serves"
        self.address = found.group()

    def stop(self):
        self.process.terminate()
        try:
            assert self.process.wait(30) == 0
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    make(folder, "shop", lines_of_shop(), "kind:tag,price:float")
    make(
        folder,
        "odd",
        ({"id": key, "vector": vector(1, key % 97), "payload": payload} for key, payload in HOSTILE.items()),
        "",
    )
    return folder


@pytest.fixture(scope="module")
def server(folder):
    server = Server(folder)
    yield server.address
    server.stop()


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM, "chromium is not installed (tools/setup page)"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                "--disable-quic",
                "--no-first-run",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


class Tab:
    """A page, and what went wrong in it. What its server answered with 4xx is named in the console too; a test that
    asks for that says so by `expected`."""

    def __init__(self, browser, address, width=1280, scheme="light"):
        self.address, self.troubles, self.expected, self.requests = address, [], None, []
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30000)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.troubles.append(message.text)
        )
        self.page.on("request", lambda request: self.requests.append(request.url))

    def show(self, *parts):
        self.page.goto(f"{self.address}/ui/#/" + "/".join(str(part) for part in parts))
        self.page.wait_for_selector("main .view > :nth-child(2)", state="attached")
        return self.page

    def until(self, expression, argument=None):
        """Wait until it is true. Not wait_for_function(), which asks by eval(), and the page's policy allows none."""
        give_up = time.monotonic() + 30
        while not self.page.evaluate(expression, argument):
            assert time.monotonic() < give_up, f"still not so: {expression}"
            time.sleep(0.05)

    def text(self, selector="main"):
        return self.page.inner_text(selector)

    def ids(self):
        return self.page.eval_on_selector_all(".card", "cards => cards.map(card => card.dataset.id)")

    def close(self):
        self.context.close()
        assert [trouble for trouble in self.troubles if not (self.expected and re.search(self.expected, trouble))] == []


@pytest.fixture
def tab(browser, server):
    tab = Tab(browser, server)
    yield tab
    tab.close()


TOO_WIDE = """() => document.documentElement.scrollWidth > document.documentElement.clientWidth
    ? [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 5).map(e => `${e.tagName}.${e.className}`) : null"""


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_drawn(browser, server, width, scheme):
    tab = Tab(browser, server, width, scheme)
    for collection in ("shop", "odd"):
        for view in VIEWS if collection == "shop" else ["similar", "console", "map"]:
            rest = (
                ["900"]
                if view in ("similar", "console") and collection == "odd"
                else ["7"] if view == "similar" else []
            )
            page = tab.show(view, *([] if view in ("overview", "collections") else [collection]), *rest)
            assert page.inner_text("h1").lower().startswith(view)
            tab.until("document.getElementById('pulse').dataset.state === 'live'")
            page.wait_for_load_state("networkidle") if view not in ("overview", "collections", "segments") else None
            assert page.evaluate(TOO_WIDE) is None, f"{view} of {collection} is wider than the page"
            assert "That did not work" not in tab.text()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", dark)[:3])) < 60) == (scheme == "dark")
    tab.expected = r"status of 404"  # a visitor of whom nothing is known, asked for as somebody who is
    tab.close()


def test_all_comes_from_the_server(tab):
    for view in VIEWS:
        tab.show(view)
    assert {"/".join(url.split("/")[:3]) for url in tab.requests if not url.startswith("data:")} == {tab.address}
    tab.expected = "404|Content Security Policy"
    assert (
        tab.page.evaluate(
            """() => { const script = document.createElement('script'); script.textContent = 'window.ran = 1';
        document.head.append(script); return window.ran; }"""
        )
        is None
    )
    assert tab.page.evaluate("typeof Chart") == "function"


def test_the_files_are_known_by_their_hash(server):
    def ask(path, **headers):
        request = urllib.request.Request(server + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    status, headers, body = ask("/ui/app.js")
    assert status == 200 and headers["Content-Type"].startswith("text/javascript") and len(body) > 1000
    assert ask("/ui/app.js", **{"If-None-Match": headers["ETag"]})[0] == 304
    assert ask("/ui/app.js", **{"If-None-Match": '"0000000000000000"'})[0] == 200
    assert ask("/ui")[1]["Content-Type"] == "text/html; charset=utf-8", "it leads to /ui/"
    assert ask("/ui/none.js")[0] == 404 and ask("/ui/%2e%2e/app.js")[0] in (400, 404)


def test_a_query_by_item_filter_and_json(tab):
    page = tab.show("console", "shop", 8)
    page.wait_for_selector(".card")
    assert tab.ids()[0] == "8" and len(tab.ids()) == 12
    assert "Where the time went" in tab.text() and "From many to few" in tab.text()
    page.fill("input[name=filter]", 'kind = "Bag" and price < 50')
    page.click("button.main")
    tab.until("[...document.querySelectorAll('.card .name')].every(name => name.textContent === 'Bag')")
    page.get_by_role("button", name="Table").click()
    cells = page.eval_on_selector_all(
        ".results tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert cells and all(int(row[2]) % 4 == 1 and float(row[5]) < 50 for row in cells)
    page.get_by_role("button", name="JSON").click()
    assert '"results"' in tab.text(".results pre") and len(tab.text(".results pre")) < 20000, "pictures are cut"
    page.select_option("form select >> nth=0", "json")
    page.fill("textarea[name=body]", json.dumps({"vectors": [vector(0, 1), vector(2, 1)], "k": 3, "with": ["payload"]}))
    page.click("button.main")
    page.wait_for_selector("text=Query 2")
    names = page.eval_on_selector_all(".card .name", "names => names.map(name => name.textContent)")
    assert names == ["Sneaker"] * 3 + ["Coat"] * 3
    tab.expected = "status of 400"
    page.fill("textarea[name=body]", '{"vector": [1, 2], "k": 3}')
    page.click("button.main")
    page.wait_for_selector(".notes .wrong")
    assert str(DIM) in tab.text(".notes"), "the server's sentence is told"


def test_similar_leads_on(tab):
    page = tab.show("similar", "shop", 5)
    page.wait_for_selector(".card")
    first = tab.ids()
    assert "5" not in first and len(first) == 24 and all(int(found) % 4 == 1 for found in first)
    assert page.eval_on_selector_all(".card img", "all => all.every(one => one.complete && one.naturalWidth === 8)")
    page.locator(".card a").first.click()
    tab.until(f"location.hash.endsWith('/{first[0]}')")
    tab.until("id => document.querySelector('.self .mono')?.textContent === `#${id}`", first[0])
    assert first[0] not in tab.ids()


def test_likes_change_what_is_recommended(tab):
    tab.expected = "status of 404"
    page = tab.show("shop", "shop")
    page.fill("input[name=visitor]", "somebody new")
    page.click("button.main")
    page.wait_for_selector("text=In the window")

    def vote(kind, verb):
        """Vote on the first card of a kind, and wait for what follows: (its id, the kinds that are shown then)."""
        card = page.locator(".card", has=page.locator(f".name:text-is('{kind}')")).first
        voted = card.get_attribute("data-id")
        said = page.locator("#answered").inner_text()
        card.get_by_role("button", name=verb).first.click()
        tab.until("said => document.getElementById('answered')?.innerText !== said", said)
        tab.until("document.querySelectorAll('.interests li').length > 0")
        return voted, page.eval_on_selector_all(".card .name", "names => names.map(name => name.textContent)")

    page.fill("input[name=filter]", 'kind = "Sneaker"')
    page.click("button.main")
    tab.until("[...document.querySelectorAll('.card .name')].every(name => name.textContent === 'Sneaker')")
    page.fill("input[name=filter]", "")
    liked, kinds = vote("Sneaker", "Like Sneaker")
    assert set(kinds) == {"Sneaker"} and liked not in tab.ids()
    assert "new, after" in tab.text("#answered")
    vote("Sneaker", "Like Sneaker")
    disliked, _ = vote("Sneaker", "Dislike Sneaker")
    assert disliked not in tab.ids() and page.locator(".steps li").count() == 3
    assert "3 events" in tab.text(".taste")
    page.click("text=Begin anew")
    page.wait_for_selector("text=In the window")
    assert "A new visitor" in tab.text(".taste")


def test_the_map_is_drawn(tab):
    page = tab.show("map", "shop")
    page.wait_for_selector("canvas[data-drawn]")
    assert page.get_attribute("canvas", "data-drawn") == str(EACH * len(KINDS))
    inked = page.evaluate("""() => { const canvas = document.querySelector('canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const colours = new Set();
        for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] > 190) colours.add(data[i] >> 5 | data[i + 1] >> 5 << 3 | data[i + 2] >> 5 << 6);
        return colours.size; }""")
    assert inked >= len(KINDS), "a colour a kind"
    assert set(page.eval_on_selector_all(".legend span", "all => all.map(one => one.textContent)")) == set(KINDS)
    page.focus("canvas")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".found h2")
    assert tab.text(".found h2") in KINDS
    page.keyboard.press("Enter")
    tab.until("location.hash.startsWith('#/similar/shop/')")


def test_the_tuner_measures(tab):
    page = tab.show("tuner", "shop")
    page.fill("input[type=number] >> nth=0", "6")
    page.click("text=Measure")
    page.wait_for_selector("button.main:not([disabled])")
    rows = page.eval_on_selector_all(
        "tbody tr", "rows => rows.map(row => row.cells[0].textContent + ' ' + row.cells[1].textContent)"
    )
    assert rows[0] == "exact 100 %" and len(rows) == 7 and page.locator("canvas").count() == 1


def test_what_is_hostile_stays_text(tab):
    page = tab.show("similar", "odd", 900)
    page.wait_for_selector(".card")
    text = tab.text()
    assert HOSTILE[900]["title"] in text and "</div>" in text and "a large id" in text
    assert page.evaluate("window.hacked") is None and page.locator("main script, main b:has-text('xxx')").count() == 0
    assert page.locator(".card img").count() == 0, "neither scripts, nor SVG, nor what lies elsewhere is a picture"
    assert not [url for url in tab.requests if "pictures.example" in url]
    page.route(
        "https://pictures.example/*",
        lambda route: route.fulfill(body=base64.b64decode(png(9).split(",")[1]), content_type="image/png"),
    )
    page.click("text=Show them")
    tab.until("document.querySelector('.card img')?.naturalWidth === 8")
    for view in ("console", "map"):
        tab.show(view, "odd", 900)
        page.wait_for_timeout(300)
        assert page.evaluate("window.hacked") is None and page.evaluate(TOO_WIDE) is None


def test_ids_of_64_bits(tab):
    page = tab.show("similar", "odd", LARGE)
    page.wait_for_selector(".self h2")
    assert tab.text(".self h2") == "a large id" and f"#{LARGE}" in tab.text(".self")
    assert "1234567890123456789" in tab.text(".self")
    page = tab.show("console", "odd", LARGE)
    page.wait_for_selector(".card")
    assert tab.ids()[0] == str(LARGE)


def test_collections_come_and_go(tab):
    page = tab.show("collections")
    page.wait_for_selector("article")
    page.click("text=Create a collection")
    form = page.locator("details.panel form")
    form.get_by_label("Name").fill("made here")
    form.get_by_label("Dimensions").fill("3")
    form.get_by_label("Fields").fill("colour:tag, price:float")
    form.get_by_role("button", name="Create").click()
    made = page.locator("article[data-name='made here']")
    made.wait_for()
    made.get_by_text("Fields and vectors").click()
    assert "colour" in made.inner_text() and "3 f32, cosine" in made.inner_text()
    made.get_by_role("button", name="Drop…").click()
    drop = made.get_by_role("button", name="Drop it")
    assert drop.is_disabled()
    made.locator("input").fill("made here")
    drop.click()
    made.wait_for(state="detached")
    tab.until("document.querySelectorAll('article').length === 2")


def test_the_overview_follows(tab, server):
    page = tab.show("overview")
    asked = json.dumps({"vectors": [vector(1, number) for number in range(5)], "k": 3}).encode()
    request = urllib.request.Request(f"{server}/v1/collections/shop/query", asked, {"Content-Type": "application/json"})
    figure = "document.querySelector('.figure output').textContent"
    give_up = time.monotonic() + 30
    while page.evaluate(figure) in ("0", "–"):
        assert time.monotonic() < give_up
        with urllib.request.urlopen(request, timeout=20) as reply:
            assert len(json.load(reply)["results"]) == 5
    assert "shop" in tab.text("tbody") and page.locator(".tiles dd").count() == 9


def test_a_collection_is_tended(tab):
    page = tab.show("segments", "shop")
    page.get_by_role("button", name="Compact").click()
    page.locator("tr", has_text="compact").get_by_text("done").first.wait_for()
    tab.until("document.querySelector('.legend b').textContent === '240'")
    page.get_by_role("button", name="Take a snapshot").click()
    page.locator(".panel", has_text="Snapshots").locator("li").first.wait_for()
    told = json.dumps({"events": [{"item": 1, "kind": "like"}]}).encode()
    path = f"{tab.address}/v1/collections/shop/profiles/ann/events"
    urllib.request.urlopen(urllib.request.Request(path, told, {"Content-Type": "application/json"}), timeout=20).close()
    page.fill("input[name=user]", "ann")
    page.get_by_role("button", name="Warm").click()
    page.get_by_text("What ann asks next is in memory").wait_for()


def test_without_charts(tab):
    """Built where chart.js was not installed."""
    tab.page.route("**/chart.js", lambda route: route.fulfill(body="/* none */", content_type="text/javascript"))
    page = tab.show("overview")
    page.get_by_text("chart.js was not there").first.wait_for()
    page.wait_for_selector(".tiles dd")
    assert page.locator("canvas").count() == 0


def test_not_inside_of_another_page(tab):
    body = f"<iframe src='{tab.address}/ui/#/collections'></iframe>".encode()

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        tab.page.goto(f"http://127.0.0.1:{other.server_port}/")
        inner = tab.page.frame_locator("iframe").locator("main")
        inner.get_by_text("not shown inside of others").wait_for()
        assert inner.locator("article, button").count() == 0
        other.shutdown()


def test_light_and_dark_by_hand(tab):
    page = tab.show("overview")
    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser, server, scheme):
    """Of each pair of ink and ground that carries text, as WCAG 2.1 computes it."""
    tab = Tab(browser, server, scheme=scheme)
    tab.show("overview")

    def luminance(name):
        digits = tab.page.evaluate(
            "name => getComputedStyle(document.documentElement).getPropertyValue(name)", name
        ).strip()[1:]
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for ink, ground in [
        (ink, ground)
        for ink in ("--ink", "--soft", "--accent", "--wrong", "--good")
        for ground in ("--paper", "--card")
    ] + [("--on-accent", "--accent"), ("--soft", "--sunk"), ("--accent", "--wash"), ("--paper", "--ink")]:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{ink} on {ground} ({scheme})"
    tab.close()


def test_by_keyboard(tab):
    page = tab.show("overview")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Console"
    page.keyboard.press("Enter")
    page.wait_for_selector("form.ask")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea, a, canvas')].filter(one =>
        !(one.getAttribute('aria-label') || one.labels?.length || one.textContent.trim())).map(one => one.outerHTML)"""
    )
    assert unnamed == []


def test_a_key_is_asked_for_once(browser, folder, tmp_path):
    keys = tmp_path / "keys.json"
    secret = good("key", "page", "--role", "read", "--keys", keys).stdout.split()[0]
    server = Server(folder / "odd", "--keys", keys, "--read-only")
    tab = Tab(browser, server.address)
    tab.expected = "status of 40[13]"
    try:
        page = tab.page
        page.goto(f"{server.address}/ui/")
        page.fill("dialog input", "wrong")
        page.click("dialog button.main")
        tab.until("document.querySelector('dialog input')?.value === ''")
        page.fill("dialog input", secret)
        page.click("dialog button.main")
        tab.until("document.getElementById('pulse').dataset.state === 'live'")
        page.reload()
        page.wait_for_selector(".tiles dd")
        assert page.locator("dialog").count() == 0
        stored = page.evaluate("[JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]")
        assert secret not in stored[0] and secret in stored[1] and stored[2] == ""
        tab.close()
    finally:
        server.stop()
