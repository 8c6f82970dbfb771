"""The site of the documents: where its links lead, what becomes of docstrings, and that a dead link is found.

The site itself is made by `make check`; what makes it stands in docs/making/.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


class Modules:
    """The modules that make the site, by name."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(f"making.{name}")


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    yield Modules()
    for name in [name for name in sys.modules if name.partition(".")[0] == "making"]:
        del sys.modules[name]


# Links


@pytest.mark.parametrize(
    ("given", "leads_to"),
    [
        ("[sqs](sqs.md#errors)", "[sqs](/sqs.md#errors)"),
        ("[all](../README.md#pools)", "[all](/project/readme.md#pools)"),
        ("[these](README.md)", "[these](/index.md)"),
        ("[a queue](../examples/own_queue.py)", "[a queue](/project/examples.md#examples-own-queue-py)"),
        ("[programs](../examples)", "[programs](/project/examples.md)"),
        ("[licence](../LICENSE)", "[licence](../LICENSE)"),
        ("![plot](../benchmarks/results/throughput.png)", "![plot](../benchmarks/results/throughput.png)"),
        ("[nothing](no-such-page.md)", "[nothing](no-such-page.md)"),
        ("[elsewhere](https://example.org/sqs.md)", "[elsewhere](https://example.org/sqs.md)"),
        ("So:\n```text\n[sqs](sqs.md)\n```", "So:\n```text\n[sqs](sqs.md)\n```"),
    ],
)
def test_links_of_the_repository_lead_to_pages(making: Modules, given: str, leads_to: str) -> None:
    """A link to a file leads to the page that tells what is in the file; what has no page stays a file."""
    pages = making.pages.Pages(DOCS, "index")
    assert pages.linked(given, DOCS / "jobs.md", DOCS / "jobs.md") == leads_to


def test_a_document_of_another_folder_keeps_its_pictures(making: Modules) -> None:
    """What is included is read from where it stands, and shown from where its page is."""
    pages = making.pages.Pages(DOCS, "index")
    shown = pages.linked("![plot](docs/cost.png)", DOCS.parent / "README.md", DOCS / "project" / "readme.md")
    assert shown == "![plot](../cost.png)"


def test_every_page_is_on_the_front_page(making: Modules) -> None:
    """docs/README.md has each page once, and its sections are the table of contents."""
    pages = making.pages.Pages(DOCS, "index")
    text, _ = making.pages.told(pages, "index")
    listed = [line.partition("<")[2].strip("<>") for line in text.splitlines() if line.endswith(">") and " </" in line]
    there = {f"/{page.relative_to(DOCS).with_suffix('').as_posix()}" for page in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(there - {"/README", "/index"})


def test_what_is_wrong_with_pages_is_found(making: Modules, tmp_path: Path) -> None:
    """Dead links, dead anchors, and what is loaded from elsewhere; not what a reader may click to elsewhere."""
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="#top"></a><a href="b.html#there"></a><a href="https://example.org"></a>'
        '<a href="c.html"></a><a href="b.html#gone"></a><a href="#gone"></a>'
        '<img src="plot.png"><script src="//cdn.example.org/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1><link href="site.css">')
    (tmp_path / "site.css").write_text("@import 'https://example.org/font.css';")
    assert list(making.links.troubles(tmp_path)) == [
        "a.html loads //cdn.example.org/x.js from elsewhere",
        "a.html leads to #gone: the page has no such place",
        "a.html leads to b.html#gone: the page has no such place",
        "a.html leads to c.html, which is not there",
        "a.html leads to plot.png, which is not there",
        "site.css loads something from elsewhere",
    ]


# Docstrings


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("Calls `get()`.", "Calls ``get()``."),
        ("A `Consumer` of `item`s.", "A :py:obj:`Consumer <queue_consumer.Consumer>` of ``item``\\ s."),
        ("Two:\n- one\n- two", "Two:\n\n- one\n- two"),
        ("So:\n\n    run(1)\n\nEnd.", "So:\n\n\n.. code-block:: python\n\n    run(1)\n\n\nEnd."),
        ("So:\n\n    >>> 1\n    1", "So:\n\n\n.. code-block:: pycon\n\n    >>> 1\n    1\n"),
        ("Args:\n    one: first.\n\n        And more.", "Args:\n    one: first.\n\n        And more."),
        (
            "| a | b |\n|---|---|\n| `x|y` | z |",
            "\n.. list-table::\n   :header-rows: 1\n\n   * - a\n     - b\n   * - ``x|y``\n     - z\n\n",
        ),
    ],
)
def test_docstrings_are_rewritten_for_sphinx(making: Modules, given: str, read: str) -> None:
    """Code, names, points, programs and tables; the arguments of a function are left to Sphinx."""
    assert "\n".join(making.docstrings.rewritten(given.split("\n"))) == read


def test_every_public_name_has_one_place_in_the_reference(making: Modules) -> None:
    """What two modules offer is documented under the first, and private files lead there."""
    public = making.public
    assert public.documented()["queue_consumer.memory.MemoryQueue"] == "queue_consumer.MemoryQueue"
    assert public.homes()["queue_consumer._consumer.Consumer"] == "queue_consumer.Consumer"
    assert "typing.Any" not in public.homes()
