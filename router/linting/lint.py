"""Finds prompts in a team's files that name a model and break when they are routed to another."""

from __future__ import annotations

import codecs
import io
import os
import re
import token
import tokenize
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from router.linting.wording import may_hold_wordings, wordings

ALLOW = "pointsman: allow"
"""Silences a finding, if it is on the same line or on the last line of the Python literal."""
MOST_BYTES = 32 * 1024 * 1024
FOREIGN_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
"""Folders to skip, beside the hidden ones."""
_PROSE = frozenset(" .md .markdown .mdx .rst .txt .adoc .org .j2 .jinja .jinja2 .html .tex".split(" "))
"""Endings of prose files, where quotation marks quote and backslashes are plain; others may be code."""
_ESCAPE = re.compile(r"\\(?:u(?P<hex>[0-9a-fA-F]{4})|(?P<one>[\s\S]))")
_MEANS = {"n": "\n", "r": "\n", "t": "\t", "\n": ""}
_QUOTE = re.compile(r"(?P<prefix>[A-Za-z]{0,2})(?P<quote>\"\"\"|'''|\"|')")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Words in a file that tie its prompt to one model.

    Attributes:
        line, column: where the words begin, in lines and characters from 1.
        rule: id of the rule.
        breaks: what goes wrong on another model.
        better: what to write instead.
    """

    path: str
    line: int
    column: int
    rule: str
    words: str
    breaks: str
    better: str


@dataclass(slots=True, kw_only=True)
class Report:
    """The findings in all files.

    Attributes:
        checked: number of files checked.
        skipped: path and reason of each skipped file: binary, or too large.
        failed: path and reason of each file that can't be read.
    """

    findings: list[Finding] = field(default_factory=list)
    checked: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def lint(paths: Iterable[Path]) -> Report:
    """Check files, and those in folders, in order of their names."""
    report = Report()
    for path in _files(paths):
        try:
            text = _text_of(path)
        except OSError as error:
            report.failed.append((str(path), error.strerror or repr(error)))
            continue
        except ValueError as error:
            report.skipped.append((str(path), str(error)))
            continue
        report.findings += lint_text(text, str(path))
        report.checked += 1
    return report


def lint_text(text: str, path: str) -> list[Finding]:
    """The findings in one text, in order; the ending of its path says how to read it."""
    if not may_hold_wordings(text):
        return []
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    allowed = {bisect_right(lines, match.start()) for match in re.finditer(ALLOW, text)}
    ending, findings = Path(path).suffix.lower(), []
    prose = ending in _PROSE
    for passage in _passages(text, ending, lines):
        for rule, wording in wordings(passage.text, prose=prose or passage.last_line > 0):
            words = passage.text[wording.start : wording.end]
            place = passage.place(wording.start)
            line = bisect_right(lines, place)
            if allowed & {line, passage.last_line} or passage.is_keyword(rule.id, words):
                continue
            finding = Finding(
                path=path,
                line=line,
                column=place - lines[line - 1] + 1,
                rule=rule.id,
                words=" ".join(words.split()).encode("utf-8", "replace").decode(),
                breaks=rule.breaks,
                better=wording.better,
            )
            findings.append(finding)
    return findings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passage:
    """A part of a file that is read as one text, with its escapes resolved.

    Attributes:
        here, there: positions in the text, ascending from 0, and their places in the file; in between, both
            advance together.
        last_line: of a literal in code, from 1; 0 elsewhere.
    """

    text: str
    here: Sequence[int]
    there: Sequence[int]
    last_line: int = 0

    def place(self, position: int) -> int:
        """The place in the file of a position in the text."""
        step = bisect_right(self.here, position) - 1
        return self.there[step] + position - self.here[step]

    def is_keyword(self, rule: str, words: str) -> bool:
        """Whether the literal is only a mark or a keyword, as in code that searches for it or stops at it."""
        alone = self.last_line > 0 and self.text.strip() == words
        return alone and (rule == "control-token" or not words[0].isupper())


def _passages(text: str, ending: str, lines: Sequence[int]) -> Iterator[_Passage]:
    """The string literals of Python code; any other text, and invalid code, as a whole."""
    if ending in (".py", ".pyi"):
        try:
            spans = list(_literals(text, lines))
        except (tokenize.TokenError, SyntaxError):
            spans = []
        else:
            for start, end in spans:
                yield _literal(text, start, end, bisect_right(lines, end - 1))
            return
    yield _plain(text, 0, last_line=0) if ending in _PROSE else _unescaped(text, 0, last_line=0)


def _literals(text: str, lines: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Start and end of every string literal; an f-string, which newer Pythons split, is one literal."""
    opening = {getattr(token, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
    closing = {getattr(token, name, -1) for name in ("FSTRING_END", "TSTRING_END")}
    depth, start = 0, 0
    for one in tokenize.generate_tokens(io.StringIO(text, newline="").readline):
        if one.type in opening:
            start = start if depth else _place(lines, one.start)
            depth += 1
        elif one.type in closing:
            depth -= 1
            if not depth:
                yield start, _place(lines, one.end)
        elif one.type == token.STRING and not depth:
            yield _place(lines, one.start), _place(lines, one.end)


def _place(lines: Sequence[int], where: tuple[int, int]) -> int:
    """The place in the file of a row, from 1, and a column."""
    return lines[where[0] - 1] + where[1]


def _literal(text: str, start: int, end: int, last_line: int) -> _Passage:
    """The text of a literal, without its quotes."""
    opened = _QUOTE.match(text, start)
    if opened is None:
        return _plain(text[start:end], start, last_line=last_line)
    inside = text[opened.end() : end - len(opened["quote"])]
    read = _plain if "r" in opened["prefix"].lower() else _unescaped
    return read(inside, opened.end(), last_line=last_line)


def _plain(text: str, start: int, *, last_line: int) -> _Passage:
    return _Passage(text=text, here=(0,), there=(start,), last_line=last_line)


def _unescaped(text: str, start: int, *, last_line: int) -> _Passage:
    pieces, here, there = list[str](), array("q", [0]), array("q", [start])
    done = length = 0
    for match in _ESCAPE.finditer(text):
        meant = chr(int(match["hex"], 16)) if match["hex"] else _MEANS.get(match["one"], match["one"])
        pieces += [text[done : match.start()], meant]
        length += match.start() - done + len(meant)
        done = match.end()
        here.append(length)
        there.append(start + done)
    pieces.append(text[done:])
    return _Passage(text="".join(pieces), here=here, there=there, last_line=last_line)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, inside, names in os.walk(path):
            inside[:] = sorted(
                name for name in inside if not name.startswith(".") and name not in FOREIGN_FOLDERS
            )
            files = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            yield from (file for file in files if file.is_file())


def _text_of(path: Path) -> str:
    """A file's text; invalid UTF-8 is replaced.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds no text, or too much of it.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES // 1024**2} MiB")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:8192]:
        raise ValueError("binary")
    return content.decode("utf-8-sig", "replace")
