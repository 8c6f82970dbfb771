"""`llms.txt` at the site's root, for readers that are programs: every page, in a sentence each, as Markdown.

The list is that of the front page. Beside each page lies its text, `sqs.md` beside `sqs.html`, and all of them in a row
are `llms-full.txt`. What is made when the site is made, docstrings and the help of the commands, is plain text there.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.builders.text import TextBuilder
from sphinx.writers.text import TextTranslator

from .pages import FENCE, LINK, SECTION, Pages, told

ROW = re.compile(r"^\| (?P<link>\[.+?\]\(\S+?\)) \| (?P<what>.+) \|$", flags=re.MULTILINE)
MADE = ("{eval-rst}", "{command-help}")


def plain(app: Sphinx, docname: str) -> str:
    """A page as plain text."""
    builder = TextBuilder(app, app.env)
    builder.init()
    doctree = app.env.get_and_resolve_doctree(docname, builder, tags=app.tags)
    translator = TextTranslator(doctree, builder)
    doctree.walkabout(translator)
    return translator.body


def as_markdown(app: Sphinx, pages: Pages, docname: str) -> str:
    """A page as a program reads it: links are relative to it, and of what is no page only the words are left."""
    text, _ = told(pages, docname)
    if any(made in text for made in MADE):
        return plain(app, docname)
    root = "../" * docname.count("/")

    def link(found: re.Match[str]) -> str:
        page = found["path"].startswith("/")
        return f"[{found['text']}]({root}{found['path'][1:]}{found['anchor'] or ''})" if page else found["text"]

    parts = (part for part in FENCE.split(text) if not part.startswith("```{toctree}"))
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)


def write(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.name != "html":
        return
    pages = Pages(Path(app.srcdir), app.config.root_doc)
    front = pages.front.read_text(encoding="utf-8")
    head, *sections = SECTION.split(front)
    title, summary, *_ = head.strip().split("\n\n")
    lines = [title, "", f"> {' '.join(summary.split())}", ""]
    texts: list[str] = []
    out = Path(app.outdir)
    (out / "index.md").write_text(as_markdown(app, pages, app.config.root_doc), encoding="utf-8")
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        lines += [f"## {name}", ""]
        for row in ROW.finditer(body):
            link = LINK.match(row["link"])
            docname = pages.docname(pages.front, link["path"]) if link else None
            if link is None or docname is None:
                continue
            text = as_markdown(app, pages, docname.lstrip("/"))
            (out / f"{docname.lstrip('/')}.md").write_text(text, encoding="utf-8")
            texts.append(text.strip())
            lines.append(f"- [{link['text']}]({docname.lstrip('/')}.md): {row['what']}")
        lines.append("")
    (out / "llms.txt").write_text("\n".join(lines), encoding="utf-8")
    (out / "llms-full.txt").write_text("\n\n\n".join(texts) + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
