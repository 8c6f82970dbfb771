"""Docstrings are prose with the signs of Markdown: code in backticks, tables with pipes, programs indented by four.

Sphinx reads reStructuredText, so they are rewritten on their way there, before the sections (`Args:`) are looked at.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from .public import short

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
NAME = re.compile(r"(?:\w+\.)*(\w+)(\(\))?$")


def rewritten(lines: Sequence[str]) -> list[str]:
    """The lines of a docstring, as Sphinx reads them."""
    result: list[str] = []
    for kind, block in blocks(lines):
        match kind:
            case "table":
                result += ["", *table(block), ""]
            case "program":
                result += ["", f".. code-block:: {language(block)}", "", *block, ""]
            case _:
                result += prose(block)
    return result


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def blocks(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Tables, programs, and what is between them."""
    kinds: list[str] = []
    above = ""  # the last line that is not empty
    for number, line in enumerate(lines):
        kind = "prose"
        if line.lstrip().startswith("|"):
            kind = "table"
        elif not line.strip():
            kind = "program" if kinds[-1:] == ["program"] else "prose"
        elif indent(line) >= 4:
            begins = not lines[number - 1].strip() and not indent(above)
            kind = "program" if begins or kinds[-1:] == ["program"] else "prose"
        kinds.append(kind)
        above = line if line.strip() else above
    numbered = zip(kinds, lines, strict=True)
    for kind, found in groupby(numbered, key=lambda pair: pair[0]):
        yield kind, [line for _, line in found]


def language(program: Sequence[str]) -> str:
    text = "\n".join(program)
    if ">>> " in text:
        return "pycon"
    try:
        ast.parse("if 1:\n" + text)
    except SyntaxError:
        return "text"
    return "python"


def prose(lines: Sequence[str]) -> Iterator[str]:
    above = ""
    for line in lines:
        is_point = line.lstrip().startswith(("- ", "* "))
        if is_point and above.strip() and not above.lstrip().startswith(("- ", "* ")) and indent(above) <= indent(line):
            yield ""
        yield inline(line)
        above = line


def inline(line: str) -> str:
    parts = CODE.split(line)
    for number in range(1, len(parts), 2):
        before, after = parts[number - 1], parts[number + 1]
        parts[number] = code(parts[number])
        if before[-1:].isalnum():
            parts[number] = f"\\ {parts[number]}"
        if after[:1].isalnum():  # `item`s
            parts[number] += "\\ "
    return "".join(parts)


def code(text: str) -> str:
    """What stands in backticks, as a link if it is a public name."""
    found = NAME.match(text)
    public = short().get(found[1]) if found else None
    if public is None or (found and "." in text and not public.endswith(text.removesuffix("()"))):
        return f"``{text}``"
    return f":py:obj:`{text} <{public}>`"


def table(lines: Sequence[str]) -> Iterator[str]:
    margin = " " * indent(lines[0])
    rows = [cells(line) for line in lines]
    head, *body = (row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row))
    yield f"{margin}.. list-table::"
    if any(head):
        yield f"{margin}   :header-rows: 1"
        body.insert(0, head)
    yield ""
    for row in body:
        for number, cell in enumerate(row):
            yield f"{margin}   {' ' if number else '*'} - {inline(cell)}".rstrip()
    yield ""


def cells(line: str) -> list[str]:
    """The cells of a row; a pipe inside code is none of its walls."""
    guarded = CODE.sub(lambda found: found[0].replace("|", "\0"), line.strip().strip("|"))
    return [cell.strip().replace("\0", "|") for cell in guarded.split("|")]


def process(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    if what == "module":  # goes on with a map for those who read the code
        end = lines.index("") if "" in lines else len(lines)
        del lines[end:]
    elif what == "data" and " ".join(lines).split() == (type(obj).__doc__ or "").split():
        lines.clear()  # a constant has its own words or none, and not those of its type
    lines[:] = rewritten(lines)


def signature(app: Sphinx, what: str, name: str, obj: object, *_: Any) -> tuple[str, None] | None:
    """Nobody makes an object of a protocol, so it is shown without arguments."""
    return ("", None) if what == "class" and getattr(obj, "_is_protocol", False) else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
