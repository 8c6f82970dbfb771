"""Pages that are written elsewhere, and links that lead there.

Documents are written to be read in the repository: the README tells of `docs/sqs.md`, and that of `../README.md`. In
the site each link leads to the page that tells what the file tells:

- a page of `docs/` is a page;
- a page with an `{include}` tells what it includes (a README, the changelog);
- a page with `{sources}` and a pattern shows files of code, one below the other;
- the front page is `docs/README.md`, and each of its sections becomes a part of the table of contents;
- any other file is there to be downloaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FENCE = re.compile(r"(^```.*?^```$)", flags=re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r"^```\{include\} (?P<file>\S+)\n```$", flags=re.MULTILINE)
SOURCES = re.compile(r"^```\{sources\} (?P<pattern>\S+)\n```$", flags=re.MULTILINE)
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]\n]*(?:\n[^\]\n]+)?)\]\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
SECTION = re.compile(r"^## (.+)\n", flags=re.MULTILINE)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".service": "ini"}


class Pages:
    """Which page tells what a file of the repository tells."""

    def __init__(self, folder: Path, front: str) -> None:
        self.folder = folder
        self.front = folder / "README.md"
        self.page_of: dict[Path, str] = {self.front: f"/{front}.md", folder: f"/{front}.md"}
        for page in sorted(folder.rglob("*.md")):
            if page != self.front:
                self._add(page)

    def _add(self, page: Path) -> None:
        name = f"/{page.relative_to(self.folder).as_posix()}"
        self.page_of[page] = name
        text = page.read_text(encoding="utf-8")
        for found in INCLUDE.finditer(text):
            self.page_of[(page.parent / found["file"]).resolve()] = name
        for file in sources_in(page, text):
            self.page_of[file] = f"{name}#{anchor_of(file)}"
            self.page_of[file.parent] = name

    def docname(self, origin: Path, path: str) -> str | None:
        """The page that a link leads to, as a table of contents has it."""
        page = self.page_of.get((origin.parent / path).resolve())
        return None if page is None else page.partition(".md")[0]

    def linked(self, text: str, origin: Path, page: Path) -> str:
        """Text of `origin`, to be shown on `page`, with links that lead from there to where they should."""

        def link(found: re.Match[str]) -> str:
            target = (origin.parent / found["path"]).resolve()
            if not target.exists():
                return found[0]  # Sphinx has a word for it
            told = self.page_of.get(target)
            path = os.path.relpath(target, page.parent) if told is None else told + (found["anchor"] or "")
            return f"{found['image']}[{found['text']}]({path})"

        parts = FENCE.split(text)
        return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)


def sources_in(page: Path, text: str) -> Iterator[Path]:
    for found in SOURCES.finditer(text):
        pattern = found["pattern"]
        folder = (page.parent / pattern).parent.resolve()
        yield from sorted(path for path in folder.glob(Path(pattern).name) if path.is_file())


def anchor_of(file: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{file.parent.name}-{file.name}".lower()).strip("-")


def shown(file: Path) -> str:
    """A file of code under its name."""
    language = LANGUAGES.get(file.suffix, "docker" if file.name == "Dockerfile" else "text")
    text = file.read_text(encoding="utf-8")
    return f"({anchor_of(file)})=\n\n## `{file.name}`\n\n````{language}\n{text}````\n"


def contents(pages: Pages, text: str) -> str:
    """The front page: each section's links, in their order and words, are a part of the table of contents."""
    before, *parts = SECTION.split(text)
    result = [before]
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        entries = {
            docname: f"{found['text']} <{docname}>"
            for row in re.findall(r"^\| (\[.+?) \|", body, flags=re.MULTILINE)
            for found in LINK.finditer(row)
            if (docname := pages.docname(pages.front, found["path"])) is not None
        }
        listed = "\n".join(entries.values())
        result.append(f"## {title}\n{body}")
        if listed:
            result.append(f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{listed}\n```\n\n")
    return "".join(result)


def told(pages: Pages, docname: str) -> tuple[str, list[Path]]:
    """The text of a page, and the files that it tells."""
    page = pages.folder / f"{docname}.md"
    told = [page]
    if pages.page_of[pages.front] == f"/{docname}.md":
        told = [pages.front]
        return pages.linked(contents(pages, pages.front.read_text(encoding="utf-8")), pages.front, page), told

    def included(found: re.Match[str]) -> str:
        file = (page.parent / found["file"]).resolve()
        told.append(file)
        return pages.linked(file.read_text(encoding="utf-8"), file, page)

    def code(found: re.Match[str]) -> str:
        files = list(sources_in(page, found[0]))
        told.extend(files)
        return "\n".join(map(shown, files))

    text = pages.linked(page.read_text(encoding="utf-8"), page, page)
    return SOURCES.sub(code, INCLUDE.sub(included, text)), told


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0], files = told(Pages(Path(app.srcdir), app.config.root_doc), docname)
    for file in files:
        app.env.note_dependency(str(file))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
