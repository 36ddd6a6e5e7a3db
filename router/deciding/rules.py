"""The rules that decide if the policy does not: the team's table, and the keyword complexity score."""

from __future__ import annotations

from collections.abc import Collection

from router.records import Request, message_texts
from router.settings.sections import HeuristicModels, Rules

KEYWORDS = ("implement", "refactor", "analyze")
LONG_CHARACTERS = 2000
MANY_NEWLINES = 10
STRONG_FROM = 0.75
MIDDLE_FROM = 0.4


def complexity_score(text: str) -> float:
    """The keyword complexity heuristic: share of four checks that hold, one of 0, 0.25, 0.5, 0.75 and 1."""
    lowered = text.lower()
    checks = (
        len(text) > LONG_CHARACTERS,
        any(keyword in lowered for keyword in KEYWORDS),
        text.count("\n") > MANY_NEWLINES,
        "```" in text,
    )
    return sum(checks) / len(checks)


def heuristic_model(text: str, models: HeuristicModels) -> str:
    """The model that the complexity score gives a text: strong from 0.75, middle from 0.4, else cheap."""
    score = complexity_score(text)
    if score >= STRONG_FROM:
        return models.strong
    return models.middle if score >= MIDDLE_FROM else models.cheap


def whole_text(request: Request) -> str:
    """The text of all messages, which the heuristic reads."""
    return "\n".join(text for _, text in message_texts(request.messages))


def rule_choice(
    request: Request, rules: Rules, default: str, allowed: Collection[str]
) -> tuple[str, str] | None:
    """The rule table's model for a request and the rule that named it; None if no named model is allowed.

    Order: the task type's entry, the complexity score if it is switched on, the default.

    Args:
        default: used if the table has no default.
        allowed: models that the limits allow.
    """
    candidates = []
    if request.task_type in rules.task_types:
        candidates.append((rules.task_types[request.task_type], f"task type {request.task_type!r}"))
    if rules.heuristic:
        candidates.append((heuristic_model(whole_text(request), rules.heuristic), "complexity score"))
    candidates.append((rules.default or default, "default"))
    return next(((model, rule) for model, rule in candidates if model in allowed), None)
