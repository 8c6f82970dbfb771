"""No page leads nowhere, and none needs the network: links, anchors and whatever a browser loads are looked up."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class Page(HTMLParser):
    """What a page has to link to, what it links to, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        for name in ("href", "src"):
            if value := given.get(name):
                (self.links if tag == "a" else self.loads).add(value)


def troubles(folder: Path) -> Iterator[str]:
    """Each thing that is wrong with the pages in this folder, in a sentence."""
    pages = {file: Page(file) for file in sorted(folder.rglob("*.html"))}
    for file, page in pages.items():
        where = file.relative_to(folder)
        for load in sorted(page.loads):
            if urlsplit(load).netloc:
                yield f"{where} loads {load} from elsewhere"
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                yield f"{where} leads to {link}, which is not there"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{where} leads to {link}: the page has no such place"
    for file in sorted(folder.rglob("*.css")):
        text = file.read_text(encoding="utf-8")
        if "url(http" in text or "url(//" in text or "@import" in text:
            yield f"{file.relative_to(folder)} loads something from elsewhere"


def look(app: Sphinx, error: Exception | None) -> None:
    from sphinx.util import logging  # the rest of this file is used without Sphinx, by the tests

    log = logging.getLogger(__name__)
    if error is None and app.builder.name == "html":
        for trouble in troubles(Path(app.outdir).resolve()):
            log.warning("%s", trouble)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", look, priority=900)
    return {"parallel_read_safe": True}
