"""`run --dashboard`: in a real browser the page shows what `stats()` says, and does what its token allows."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import Consumer, Drop, Lane, MemoryQueue, Supervision, each
from queue_consumer.cli._dashboard import Dashboard
from queue_consumer.cli._target import Target
from support.browser import Browser
from support.lifecycle import until
from support.lifecycle_handlers import Gate, act


class Lanes:
    """Two queues: one with an item at a gate, one with items of all kinds."""

    def __init__(self, gate: Gate) -> None:
        self.usual = MemoryQueue(wait=0.05)
        self.urgent = MemoryQueue(wait=0.05)
        for body in ("ok", "ok", "ok", "raise", "drop"):
            self.usual.put(body)
        self.urgent.put(gate.item)
        self.lanes = (Lane(self.urgent, 5, "urgent"), Lane(self.usual, 1, "usual"))


@each
def handle(message: Any) -> None:
    if message.body == "drop":
        raise Drop("not wanted")
    act(iter([message.body]))


Shown = tuple[Dashboard, Consumer[Any], Gate, Lanes]


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    """A consumer at rest but for one handler, and its page."""
    gate = Gate(tmp_path)
    lanes = Lanes(gate)
    policy = Supervision(polling_time=0.02)
    consumer = Consumer(lanes, handle, max_workers=2, max_handlers=2, backoff=lambda attempt: 600, supervision=policy)
    dashboard = Dashboard(("127.0.0.1", 0), [Target("shop:orders", consumer)])
    dashboard.open()
    with consumer:
        gate.wait_for()
        until(lambda: consumer.stats().cleaned == 3 and consumer.stats().released == 1, "the others are done")
        yield dashboard, consumer, gate, lanes
        gate.open()
    dashboard.close()
    assert consumer.shutdown().balanced


FIELD = "document.querySelector('[data-field={}]').textContent"


def test_the_page_shows_what_stats_say(shown: Shown, tmp_path: Path) -> None:
    """Every figure on the page is that of `stats()`; failures have their reasons; the lanes stand by priority; buttons
    are there for who has the token; nothing is asked of another server; and it fits, light, dark and narrow."""
    dashboard, consumer, gate, _ = shown
    with Browser(tmp_path / "profile") as browser:
        browser.open(dashboard.address)
        browser.wait_for("Number(document.body?.dataset.looks) > 2")
        stats = consumer.stats()
        assert (stats.received, stats.cleaned, stats.dropped, stats.released, stats.in_flight) == (6, 3, 1, 1, 1)
        for name in ("received", "cleaned", "in_flight", "failed", "dropped", "released", "left", "lost", "stuck"):
            assert browser.ask(FIELD.format(name)) == str(getattr(stats, name)), name
        assert browser.ask(FIELD.format("state")) == "running"
        assert browser.ask(FIELD.format("busy")) == "1"
        assert browser.ask("document.querySelectorAll('.slot').length") == 2
        lanes = "[...document.querySelectorAll('[data-lane]')].map(e => e.dataset.lane).join()"
        assert browser.ask(lanes) == "urgent,usual"
        assert "ValueError" in browser.ask("document.querySelector('[data-list=failures]').innerText")
        assert browser.ask("performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin))")
        fits = "document.documentElement.scrollWidth <= innerWidth"
        for scheme, width in (("light", 1100), ("dark", 1100), ("light", 360)):
            browser.prefer(scheme)
            browser.resize(width, 900)
            assert browser.ask(fits), (scheme, width)
            browser.photograph(tmp_path / f"{scheme}-{width}.png")
            assert (tmp_path / f"{scheme}-{width}.png").stat().st_size > 10_000
        browser.resize(1100, 900)
        browser.ask("document.querySelector('[data-verb=more]').click()")
        until(lambda: consumer.options.handlers == 3, "+ makes it three")
        browser.ask("document.querySelector('[data-verb=pause]').click()")
        until(lambda: consumer.stats().fetching == "paused", "it is paused")
        browser.wait_for("document.querySelector('[data-verb=pause]').textContent === 'Resume'")
        browser.ask("document.querySelector('[data-verb=pause]').click()")
        until(lambda: consumer.stats().fetching == "yes", "it is resumed")
        gate.open()
        browser.wait_for(FIELD.format("cleaned") + " === '4'")
        browser.open(str(dashboard))
        browser.wait_for("document.querySelector('.actions')?.hidden")


def request(dashboard: Dashboard, method: str, path: str, body: str = "", **headers: str) -> tuple[int, bytes]:
    line = http.client.HTTPConnection(str(dashboard).removeprefix("http://"), timeout=40)
    try:
        line.request(method, path, body, headers)
        answer = line.getresponse()
        return answer.status, answer.read() if path != "/events" else answer.readline()
    finally:
        line.close()


def test_orders_need_the_token(shown: Shown) -> None:
    """Without the token, or with another, nothing is done; with it the order is carried out, or refused."""
    dashboard, consumer, _, _ = shown
    order = json.dumps({"verb": "pause"})
    assert request(dashboard, "POST", "/", order)[0] == 401
    assert request(dashboard, "POST", "/", order, **{"X-Token": "guessed"})[0] == 401
    assert consumer.stats().fetching != "paused"
    token = {"X-Token": dashboard.token}
    assert request(dashboard, "POST", "/", order, **token) == (200, b'{"done": ["shop:orders"]}')
    until(lambda: consumer.stats().fetching == "paused", "it is paused")
    assert b"there are look, pause" in request(dashboard, "POST", "/", "[]", **token)[1]


def test_only_this_machine_is_answered(shown: Shown) -> None:
    """A request that was meant for another name is refused: it comes from a page that a browser here has open."""
    dashboard, _, _, _ = shown
    token = {"X-Token": dashboard.token}
    for host in ("evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example:80", "[::1"):
        for path in ("/", "/events"):
            assert request(dashboard, "GET", path, Host=host)[0] == 403
        assert request(dashboard, "POST", "/", "{}", Host=host, **token)[0] == 403
    for host in ("localhost:80", "127.0.0.1", "[::1]:80", ""):
        assert request(dashboard, "GET", "/", Host=host)[0] == 200
    assert request(dashboard, "GET", "/nothing")[0] == 404


def test_pages_from_elsewhere_are_refused(shown: Shown) -> None:
    """What a page from elsewhere asks for is refused, token or not; our own page is answered."""
    dashboard, consumer, _, _ = shown
    order, token = json.dumps({"verb": "pause"}), {"X-Token": dashboard.token}
    for origin in ("http://evil.example", "null", "http://localhost:1"):
        assert request(dashboard, "POST", "/", order, Origin=origin, **token)[0] == 403
        assert request(dashboard, "GET", "/events", Origin=origin)[0] == 403
    assert consumer.stats().fetching != "paused"
    assert request(dashboard, "POST", "/", order, Origin=str(dashboard), **token)[0] == 200


def test_nonsense_is_refused(shown: Shown, capfd: pytest.CaptureFixture[str]) -> None:
    """What is no order, or too long for one, is refused in a sentence, and leaves no traceback."""
    dashboard, _, _, _ = shown
    token = {"X-Token": dashboard.token}
    assert request(dashboard, "POST", "/", "nonsense", **token)[0] == 400
    for size in ("-1", "many", "10001"):
        status, said = request(dashboard, "POST", "/", "{}", **token, **{"Content-Length": size})
        assert status == 400
        assert b"an order is a JSON object of at most 10000 bytes" in said
    assert request(dashboard, "POST", "/", "{}", **{"X-Token": "\xfc"})[0] == 401
    assert request(dashboard, "GET", "/")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_pages_say_little_about_us(shown: Shown) -> None:
    """No version is told; nothing from elsewhere may be loaded or frame the page; and it is not kept."""
    line = http.client.HTTPConnection(str(shown[0]).removeprefix("http://"), timeout=40)
    line.request("GET", "/")
    answer = line.getresponse()
    answer.read()
    line.close()
    assert answer.headers["Server"].strip() == "queue-consumer"
    assert answer.headers["Cache-Control"] == "no-store"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy


def test_bodies_are_not_sent(shown: Shown) -> None:
    """What the page is sent has ids of items, and never what is in them."""
    dashboard, _, gate, _ = shown
    line = request(dashboard, "GET", "/events")[1].decode()
    assert line.startswith("data: {")
    (told,) = json.loads(line.removeprefix("data: "))["consumers"]
    assert gate.item not in line
    assert told["stats"]["received"] == 6
    (failure,) = told["failures"]
    assert (failure["kind"], failure["reason"], len(failure["items"])) == ("ValueError", "a bad item", 1)
