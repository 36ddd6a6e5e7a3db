"""What differs between two routers: data, settings, metrics, rules, and their decisions on a log."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from router.errors import NoModelAllowed
from router.records import Json, Request, last_said
from router.version import Version
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions, calls_of, table_of

NOBODY = "no model"
"""Stands for the model of a request that the limits leave none for."""
DEFAULT_RULE = "(any other)"
TEXT = 80
Direction = str
"""Of a decision that changes: "dearer", "cheaper", "as dear", or "unknown" where a cost is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPrompt:
    """One prompt that goes to another model.

    Attributes:
        key: first 16 hexadecimal digits of the prompt's key.
        text: the start of its last user turn; None unless texts may be shown.
    """

    key: str
    task_type: str | None
    old: str
    new: str
    direction: Direction
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionChanges:
    """What the two routers decide on the prompts of a log.

    Attributes:
        moves: number of prompts by their model before and after, the most frequent first.
        directions: number of changed prompts by what the change does to the expected cost.
    """

    prompts: int
    changed: int
    moves: Mapping[tuple[str, str], int]
    directions: Mapping[Direction, int]
    examples: Sequence[ChangedPrompt]

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values."""
        return {
            "prompts": self.prompts,
            "changed": self.changed,
            "moves": [{"old": old, "new": new, "prompts": n} for (old, new), n in self.moves.items()],
            "directions": dict(self.directions),
            "examples": [asdict(example) for example in self.examples],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDifference:
    """What differs between two routers; a value of None is missing on that side.

    Attributes:
        data, settings, metrics: by name, the old and the new value, only where they differ.
        rules: model by task type of each rule table, the default last.
        decisions: None without a log.
    """

    data: Mapping[str, tuple[Json, Json]]
    settings: Mapping[str, tuple[Json, Json]]
    metrics: Mapping[str, tuple[Json, Json]]
    rules: tuple[Mapping[str, str], Mapping[str, str]]
    decisions: DecisionChanges | None

    def to_json(self) -> dict[str, Json]:
        """What `pointsman diff --json` prints."""
        parts = {"data": self.data, "settings": self.settings, "metrics": self.metrics}
        return {
            **{
                part: {name: {"old": old, "new": new} for name, (old, new) in pairs.items()}
                for part, pairs in parts.items()
            },
            "rules": {"old": dict(self.rules[0]), "new": dict(self.rules[1])},
            "decisions": self.decisions.to_json() if self.decisions else None,
        }


def difference(old: Version, new: Version, decisions: DecisionChanges | None = None) -> RouterDifference:
    """Compare what two routers' folders record."""
    return RouterDifference(
        data=_differing(_data(old), _data(new)),
        settings=_differing(_settings(old), _settings(new)),
        metrics=_differing(_leaves(old.manifest.get("metrics")), _leaves(new.manifest.get("metrics"))),
        rules=(_rules(old), _rules(new)),
        decisions=decisions,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffJob:
    """Two routers on one log.

    Attributes:
        examples: most examples to name.
        show_text: whether they may hold the start of the prompt.
    """

    old: Version
    new: Version
    sources: Sequence[str]
    reading: ReadOptions
    examples: int = 10
    show_text: bool = False


def decision_changes(job: DiffJob, reporter: Reporter) -> DecisionChanges:
    """Let both routers decide on every prompt of a log, by their limits and rules as in service.

    Raises:
        CallLogError: the log can't be read.
    """
    with calls_of(job.sources, job.reading, reporter) as files:
        table = table_of(files, job.reading.config, reporter)
    advance = reporter.stage("deciding", len(table))
    changed: list[ChangedPrompt] = []
    for key, request in zip(table.keys, table.requests, strict=True):
        (old, old_usd), (new, new_usd) = _choice(job.old, request), _choice(job.new, request)
        if old != new:
            text = " ".join(last_said(request.messages).split())[:TEXT] if job.show_text else None
            direction = _direction(old_usd, new_usd)
            changed.append(
                ChangedPrompt(
                    key=key[:16],
                    task_type=request.task_type,
                    old=old,
                    new=new,
                    direction=direction,
                    text=text,
                )
            )
        advance(1)
    return DecisionChanges(
        prompts=len(table),
        changed=len(changed),
        moves=dict(Counter((one.old, one.new) for one in changed).most_common()),
        directions=dict(Counter(one.direction for one in changed).most_common()),
        examples=changed[: job.examples],
    )


def _choice(version: Version, request: Request) -> tuple[str, float]:
    """The model that a request goes to, and its expected cost in USD."""
    try:
        decision = version.decide(request)
    except NoModelAllowed:
        return NOBODY, math.nan
    return decision.model, decision.expected_cost_usd[decision.model]


def _direction(old_usd: float, new_usd: float) -> Direction:
    if math.isnan(old_usd) or math.isnan(new_usd):
        return "unknown"
    if math.isclose(old_usd, new_usd):
        return "as dear"
    return "dearer" if new_usd > old_usd else "cheaper"


def _data(version: Version) -> dict[str, Json]:
    manifest = version.manifest
    whole = {
        "policy_version": version.policy_version,
        "models": ", ".join(version.models),
        "estimator": manifest.get("head"),
        "encoder": manifest.get("encoder", {}).get("name"),
        **{f"data.{name}": manifest["data"].get(name) for name in ("digest", "calls", "prompts")},
        **{f"policy.{name}": value for name, value in manifest.get("policy", {}).items()},
    }
    return {name: value for name, value in whole.items() if value is not None}


def _settings(version: Version) -> dict[str, Json]:
    return _leaves(version.config.model_dump(mode="json", exclude_defaults=True))


def _rules(version: Version) -> dict[str, str]:
    rules = version.config.rules
    return {
        **dict(sorted(rules.task_types.items())),
        DEFAULT_RULE: rules.default or version.policy.best_single,
    }


def _leaves(value: Json) -> dict[str, Json]:
    """The values of nested mappings by their dotted names."""
    return dict(_named("", value)) if value else {}


def _named(name: str, value: Json) -> Iterator[tuple[str, Json]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _named(f"{name}.{key}" if name else str(key), inner)


def _differing(old: Mapping[str, Json], new: Mapping[str, Json]) -> dict[str, tuple[Json, Json]]:
    names = dict.fromkeys([*old, *new])
    pairs = {name: (old.get(name), new.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
