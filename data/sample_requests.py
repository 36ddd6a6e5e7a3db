"""The requests of the invented company: their texts and their difficulty."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from data.sample_pen import Pen
from router.records import Json

Message: TypeAlias = dict[str, str]

LONGEST = 6000
TURNS_SHARE = {"support": 0.2, "coding": 0.25, "analysis": 0.12, "chat": 0.6}
"""Share of the requests that become a conversation, per kind of work."""
TYPES = {"number": "number", "integer": "integer", "boolean": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One request, with properties that the log does not show.

    Attributes:
        kind: kind of work.
        difficulty: about 0 (trivial) to 4 (hard); success falls with it.
        foreign: the customer does not write English.
    """

    kind: str
    messages: tuple[Message, ...]
    difficulty: float
    foreign: bool = False
    tools: Json = None
    response_format: Json = None

    @property
    def text(self) -> str:
        """The text of all messages."""
        return "\n".join(message["content"] for message in self.messages)


def draw_conversation(kind: str, rng: random.Random, vocabulary: Mapping[str, Json]) -> tuple[Draft, ...]:
    """Draw the requests of one conversation, in order; most conversations have one.

    Args:
        kind: a key of `KINDS`.
    """
    while True:
        pen = Pen(rng, vocabulary)
        drafts = [_opening(kind, pen)]
        if pen.chance(TURNS_SHARE.get(kind, 0.0)):
            for _ in range(rng.choice((1, 1, 2, 3))):
                drafts.append(_next_turn(drafts[-1], Pen(rng, vocabulary)))
        if all(20 <= len(draft.text) <= LONGEST for draft in drafts):
            return tuple(drafts)


def _opening(kind: str, pen: Pen) -> Draft:
    draft = KINDS[kind](pen)
    text = _dressed(draft.messages[0]["content"], pen)
    if kind != "coding":
        text = _mistyped(text, pen)
    messages: list[Message] = [{"role": "user", "content": text}]
    systems = pen.vocabulary[kind].get("system", ())
    if systems and pen.chance(0.35):
        messages.insert(0, {"role": "system", "content": pen.one(systems)})
    return replace(draft, messages=tuple(messages))


def _next_turn(before: Draft, pen: Pen) -> Draft:
    """The request that follows `before`: its messages, an answer, and the next question."""
    words = pen.vocabulary[before.kind]
    answer = " ".join(pen.some(words["reply"], 1, 3))
    question = pen.graded(words["next"], 0.35)
    added: tuple[Message, ...] = (
        {"role": "assistant", "content": answer},
        {"role": "user", "content": question},
    )
    difficulty = pen.difficulty() + 0.25 * before.difficulty
    return replace(before, messages=(*before.messages, *added), difficulty=difficulty)


def _dressed(text: str, pen: Pen) -> str:
    words = pen.vocabulary["words"]
    before = [pen.one(words["chatter"])] if pen.chance(0.15) else []
    after = [pen.one(words["note"])] if pen.chance(0.12) else []
    return pen.rng.choice((" ", "\n")).join([*before, text.strip(), *after])


def _mistyped(text: str, pen: Pen) -> str:
    """Add typing errors: now and then two letters swapped, or no capitals."""
    if pen.chance(0.06):
        text = text.lower()
    if pen.chance(0.12):
        for _ in range(pen.rng.randint(1, 4)):
            at = pen.rng.randrange(len(text) - 1)
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text


def _user(text: str) -> tuple[Message, ...]:
    return ({"role": "user", "content": text},)


def _support(pen: Pen) -> Draft:
    words = pen.vocabulary["support"]
    language = pen.rng.choices(("issue", "de", "es", "zh"), (78, 10, 7, 5))[0]
    hard_share = pen.rng.choice((0.05, 0.15, 0.6))
    issues = [pen.graded(words[language], hard_share) for _ in range(pen.rng.choice((1, 1, 1, 2, 3)))]
    wishes = [pen.graded(words["wish"], 0.6 * hard_share) for _ in range(pen.rng.choice((0, 0, 1, 2)))]
    greeting, ending = ("", "") if language != "issue" else ("«hello»", "«bye»")
    mail = "\n".join(
        filter(None, (pen.fill(greeting), pen.rng.choice((" ", "\n")).join(issues), pen.fill(ending)))
    )
    parts = [f"{pen.one(words['opener'])}\n\n{mail}", " ".join(wishes)]
    if pen.chance(0.35):
        policy = pen.rng.sample(words["policy"], pen.rng.randint(2, len(words["policy"])))
        parts.insert(pen.rng.randint(0, len(parts)), pen.rng.choice(("\n", "\n- ")).join(policy))
    text = "\n\n".join(filter(None, parts))
    return Draft(
        kind="support", messages=_user(text), difficulty=pen.difficulty(), foreign=language != "issue"
    )


def _invoice(pen: Pen) -> str:
    words = pen.vocabulary["extraction"]
    count = pen.rng.choice((1, 2, 3, 4, 6, 9, 14, 22))
    pen.count(0.05 * count)
    total, rows = 0.0, []
    for number in range(1, count + 1):
        pieces, price = pen.rng.randint(1, 60), pen.rng.randint(150, 24_000) / 100
        total += pieces * price
        rows.append(f"{number:>2}  {pen.one(words['item'])}  {pieces} x {price:.2f}  {pieces * price:.2f}")
    head = pen.fill(
        "«supplier»\n«city»\nInvoice «n:10000-99999» of «date»\nTo: Tallowmere Cycles, «city», ref. «order»"
    )
    rate = pen.rng.randint(19, 21)
    gross = total * (1 + rate / 100)
    foot = pen.fill(f"Net {total:.2f}\nVAT {rate} %\nGross {gross:.2f} EUR, payable within «n:7-45» days")
    return "\n".join([head, *rows, foot])


def _blurred(text: str, pen: Pen) -> str:
    """Add the errors of a bad scan."""
    swaps = {"0": "O", "1": "l", "5": "S", "m": "rn", "e": "c", "B": "8", "i": "1"}
    return "".join(swaps[c] if c in swaps and pen.chance(0.12) else c for c in text)


def _schema(fields: Sequence[str], with_lines: bool) -> Json:
    properties: dict[str, Json] = {field: {"type": ["string", "null"]} for field in fields}
    if with_lines:
        line = {"description": {"type": "string"}, "pieces": {"type": "number"}, "price": {"type": "number"}}
        properties["lines"] = {"type": "array", "items": {"type": "object", "properties": line}}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "json_schema", "json_schema": {"name": "document", "schema": schema}}


def _extraction(pen: Pen) -> Draft:
    words = pen.vocabulary["extraction"]
    is_invoice = pen.chance(0.55)
    document = _invoice(pen) if is_invoice else "\n".join(pen.some(words["mail"], 1, 3))
    noise = pen.rng.sample(words["noise"], pen.rng.randint(1, len(words["noise"]))) if pen.chance(0.4) else []
    pen.count(0.1 * len(noise))
    if pen.chance(0.2):
        pen.count(0.8)
        document = _blurred(document, pen)
    demands = [pen.graded(words["demand"], 0.4) for _ in range(pen.rng.choice((0, 1, 1, 2)))]
    fields = sorted(pen.rng.sample(words["field"], pen.rng.randint(3, 12)))
    pen.count(0.05 * len(fields))
    form = _schema(fields, is_invoice and pen.chance(0.6)) if pen.chance(0.75) else {"type": "json_object"}
    named = f"Fields: {', '.join(fields)}." if form["type"] == "json_object" or pen.chance(0.3) else ""
    order = [
        " ".join(filter(None, (pen.one(words["opener"]), *demands, named))),
        "\n".join([document, *map(pen.fill, noise)]),
    ]
    text = "\n\n".join(order if pen.chance(0.8) else reversed(order))
    return Draft(kind="extraction", messages=_user(text), difficulty=pen.difficulty(), response_format=form)


def _coding(pen: Pen) -> Draft:
    words = pen.vocabulary["coding"]
    knotty = pen.chance(0.33)
    task = pen.graded(words["hard" if knotty else "task"], 1.0 if knotty else 0.2)
    code = pen.one(words["knots" if knotty != pen.chance(0.12) else "snippets"])
    filler = pen.some(words["filler"], 1, 14) if pen.chance(0.45) else []
    pen.count(0.04 * len(filler))
    wishes = [pen.graded(words["wish"], 0.0) for _ in range(pen.rng.choice((0, 0, 1, 2)))]
    pieces = [code, *filler]
    pen.rng.shuffle(pieces)
    block = "\n".join(pieces).strip()
    if pen.chance(0.5):
        block = f"```\n{block}\n```"
    question = " ".join(filter(None, (pen.one(words["opener"]), task, *wishes)))
    order = [question, block] if pen.chance(0.7) else [block, question]
    return Draft(kind="coding", messages=_user("\n\n".join(order)), difficulty=pen.difficulty())


def _table(pen: Pen) -> str:
    """Rows of a spreadsheet, as people paste them."""
    mark = pen.rng.choice((";", ",", "\t", " | "))
    rows = [mark.join(("depot", "product", "rented", "repaired", "income", "month"))]
    for _ in range(pen.rng.choice((4, 8, 15, 30, 60))):
        rows.append(
            pen.fill(
                mark.join(("«city»", "«product»", "«n:3-400»", "«n:0-40»", "«n:90-9900»", "2026-0«n:1-9»"))
            )
        )
    return "\n".join(rows)


def _paper(kind: str, pen: Pen) -> str:
    if kind == "table":
        return _table(pen)
    lines = pen.some(pen.vocabulary["analysis"][kind], 4, pen.rng.choice((8, 16, 30, 55)))
    pen.count(0.015 * len(lines))
    numbered = pen.chance(0.6) and kind == "clauses"
    return "\n".join(f"{number}. {line}" if numbered else line for number, line in enumerate(lines, start=1))


def _analysis(pen: Pen) -> Draft:
    words = pen.vocabulary["analysis"]
    wishes = [pen.graded(words["wish"], 0.0) for _ in range(pen.rng.choice((0, 0, 1)))]
    hard_share = pen.rng.choice((0.05, 0.2, 0.8))
    if pen.chance(0.25):
        parts = [" ".join((pen.graded(words["riddles"], max(hard_share, 0.3)), *wishes))]
    else:
        kind = pen.rng.choice(("clauses", "clauses", "events", "table"))
        entries = words["asked_of_any"] + words[f"asked_of_{kind}"]
        questions = [pen.graded(entries, hard_share) for _ in range(pen.rng.choice((1, 1, 2, 3)))]
        question = pen.rng.choice((" ", "\n")).join((pen.one(words["opener"]), *questions, *wishes))
        parts = [question, _paper(kind, pen)]
        pen.rng.shuffle(parts)
    return Draft(kind="analysis", messages=_user("\n\n".join(parts)), difficulty=pen.difficulty())


def _property(spelled: str) -> tuple[str, Json]:
    """One parameter: `name`, `name:type`, `name:a|b` or `name:array{...}` as a JSON schema."""
    name, _, kind = spelled.partition(":")
    if "{" in kind:
        outer, _, inner = kind[:-1].partition("{")
        shape = {"type": "object", "properties": dict(_property(one) for one in inner.split())}
        return name, {"type": "array", "items": shape} if outer == "array" else shape
    if "|" in kind:
        return name, {"type": "string", "enum": kind.split("|")}
    return name, {"type": TYPES.get(kind, "string")}


def _parameters(spelled: str) -> list[str]:
    """Split a line into its parameters; spaces within braces do not separate them."""
    return re.findall(r"[^\s{]+(?:\{[^}]*\})?", spelled)


def _tool(name: str, entry: Sequence[str]) -> Json:
    description, needed, optional = entry
    properties = dict(_property(one) for one in _parameters(f"{needed} {optional}"))
    required = [_property(one)[0] for one in _parameters(needed)]
    parameters = {"type": "object", "properties": properties, "required": required}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


def _tool_use(pen: Pen) -> Draft:
    words = pen.vocabulary["tool_use"]
    questions: list[str] = []
    needed: set[str] = set()
    entries = words["several"] if pen.chance(0.36) else words["single"]
    for _ in range(pen.rng.choice((1, 1, 2)) if entries is words["single"] else 1):
        grade, names, text = pen.rng.choice(entries)
        pen.count(grade)
        questions.append(pen.fill(text))
        needed |= set(names.split())
    others = sorted(set(words["tools"]) - needed)
    total = max(len(needed), pen.rng.randint(1, 6), 1)
    names = [*sorted(needed), *pen.rng.sample(others, total - len(needed))]
    pen.rng.shuffle(names)
    pen.count(0.12 * (total - 1))
    tools = [_tool(name, words["tools"][name]) for name in names]
    return Draft(
        kind="tool_use", messages=_user(" ".join(questions)), difficulty=pen.difficulty(), tools=tools
    )


def _chat(pen: Pen) -> Draft:
    words = pen.vocabulary["chat"]
    question = pen.graded(words["ask"], 0.3)
    context = pen.some(words["context"], 1, 5) if pen.chance(0.5) else []
    order = [question, " ".join(context)] if pen.chance(0.6) else [" ".join(context), question]
    foreign = any(sign in question for sign in ("Schreib ", "Escribe ", "请"))
    text = pen.rng.choice((" ", "\n\n")).join(filter(None, order))
    return Draft(kind="chat", messages=_user(text), difficulty=pen.difficulty(), foreign=foreign)


KINDS: Mapping[str, Callable[[Pen], Draft]] = {
    "support": _support,
    "extraction": _extraction,
    "coding": _coding,
    "analysis": _analysis,
    "tool_use": _tool_use,
    "chat": _chat,
}
"""How a request of each kind of work is drawn."""
