"""Which of a router's models a written name means, in any of LiteLLM's spellings."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

from router.effort import effort_in, effort_rank, endpoint_of
from router.errors import ConfigError
from router.errors.masking import shown_value
from router.models.model_list import listed_entry, provider_of
from router.settings.sections import Config

ALIKE = 0.75
"""Likeness in [0, 1] from which on a name counts as another one with a slip."""
MOST_NAMED = 5
"""Unknown names that an error lists, each with a guess, which takes time."""
DATE = re.compile(r"[-@](\d{4}-\d\d-\d\d|\d{8}|\d{4}|latest)$")
"""The dated version at the end of a name."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """A name in its parts: the last part of `path` is without its date, which may be missing."""

    path: tuple[str, ...]
    date: str | None

    @classmethod
    def of(cls, name: str) -> Self:
        """Read a name; upper and lower case are the same."""
        *providers, bare = name.strip().casefold().split("/")
        date = DATE.search(bare)
        return cls((*providers, bare[: date.start()] if date else bare), date[1] if date else None)

    def covers(self, other: Self) -> bool:
        """Whether the other name says all that this one says: `gpt-5` covers `openai/gpt-5-2025-08-07`."""
        return other.path[-len(self.path) :] == self.path and self.date in (None, other.date)

    def may_mean(self, other: Self) -> bool:
        """Whether the two contradict each other in nothing that both say."""
        shared = min(len(self.path), len(other.path))
        same_date = self.date is None or other.date is None or self.date == other.date
        return same_date and self.path[-shared:] == other.path[-shared:]


def differ_by_provider(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ by their provider only, each with the fullest name last."""
    groups: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for name in names:
        spelling = Spelling.of(name)
        groups[spelling.path[-1], spelling.date].append(name)
    by_fullness = [sorted(group, key=lambda name: (name.count("/"), name)) for group in groups.values()]
    return sorted(tuple(group) for group in by_fullness if len(group) > 1)


class ModelNames:
    """The names of a router's models: its own for them, and those in calls to LiteLLM."""

    def __init__(self, models: Iterable[str], config: Config) -> None:
        self._config = config
        self._written = {
            model: {model, endpoint_of(model), config.of(model).litellm_model or model} for model in models
        }
        self._spellings = {model: _spellings(names) for model, names in self._written.items()}

    def denied_by(self, names: Iterable[str]) -> frozenset[str]:
        """The models that a list of denied names may mean: in doubt, all of them."""
        return frozenset(model for name in names for model in self.meant(name))

    def allowed_by(self, names: Iterable[str]) -> frozenset[str]:
        """The models that a list of allowed names means; a name that is unknown or ambiguous allows none."""
        found = (self.candidates(name) for name in names)
        return frozenset(model for models in found if _is_one(models) for model in models)

    def meant(self, name: str) -> tuple[str, ...]:
        """Models that a name covers, or if there are none, may mean."""
        spelling = Spelling.of(name)
        covered = self._where(spelling.covers)
        return covered or self._where(spelling.may_mean)

    def candidates(self, name: str) -> tuple[str, ...]:
        """The models that a name means: by its own name, else by its name in calls, else as in `meant`.

        The name of a model means all of its actions.
        """
        if own := tuple(model for model in self._written if name in (model, endpoint_of(model))):
            return own
        folded = name.strip().casefold()
        exact = (m for m, names in self._written.items() if folded in {one.casefold() for one in names})
        return tuple(exact) or self.meant(name)

    def problem(self, names: Collection[str], *, one: bool) -> str | None:
        """What is wrong with a list of names, with the way out; None: nothing.

        Args:
            one: whether each must mean exactly one model; otherwise, at least one.
        """
        if unknown := sorted(name for name in names if not self.meant(name)):
            more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
            unknown = unknown[:MOST_NAMED]
            guesses = [guess for name in unknown for guess in self._close(name)]
            hint = f"did you mean {' or '.join(map(repr, guesses))}? " if guesses else ""
            listed, known = ", ".join(repr(shown_value(name)) for name in unknown), ", ".join(self._written)
            return f"{listed}{more}, which this router does not know; {hint}its models are {known}"
        for name in sorted(names) if one else ():
            if len(found := self.candidates(name)) > 1 and not _is_one(found):
                return f"{name!r}, which may mean {' or '.join(map(repr, found))}; write one of these"
        return None

    def refuse_misspelt(self, names: Collection[str]) -> None:
        """Raise if one of the names is nearly that of a model, and is no other model that anybody knows.

        LiteLLM knows a model that it lists; the team one that has an address or a LiteLLM name of its own.

        Raises:
            ConfigError: names the two.
        """
        for name in sorted(names):
            settings = self._config.of(name)
            another = settings.api_base or settings.litellm_model or self.meant(name) or listed_entry(name)
            if not another and (close := get_close_matches(name, self._written, n=1, cutoff=ALIKE)):
                raise ConfigError(
                    f"models: {name!r} is no model of this router, and LiteLLM lists no such name; did you "
                    f"mean {close[0]!r}? If it is another model, give its litellm_model"
                )

    def own(self, name: str, effort: str | None = None) -> str:
        """The router's own name for a model; a name that is unknown or ambiguous as it is.

        Of a model with several actions it is the one with this effort, else with the provider's default, else
        with the most.
        """
        found = self.candidates(name)
        if not _is_one(found):
            return name
        efforts = {effort_in(model): model for model in found}
        return efforts.get(effort) or efforts.get(None) or efforts[max(efforts, key=effort_rank)]

    def _where(self, matches: Callable[[Spelling], bool]) -> tuple[str, ...]:
        return tuple(model for model, ones in self._spellings.items() if any(map(matches, ones)))

    def _close(self, name: str) -> Sequence[str]:
        folded = {one.casefold(): one for names in self._written.values() for one in sorted(names)}
        return [folded[one] for one in get_close_matches(name.casefold(), folded, n=1)]


def _is_one(models: Sequence[str]) -> bool:
    """Whether the models are one, or actions of one."""
    return len(set(map(endpoint_of, models))) == 1


def with_own_names(config: Config, names: ModelNames) -> Config:
    """The settings with the router's own name wherever rules, chains or baseline name a model."""
    rules, calls, own = config.rules, config.calls, names.own
    heuristic = rules.heuristic
    changed = config.model_copy(
        update={
            "baseline": own(config.baseline) if config.baseline else None,
            "rules": rules.model_copy(
                update={
                    "default": own(rules.default) if rules.default else None,
                    "task_types": {kind: own(model) for kind, model in rules.task_types.items()},
                    "heuristic": heuristic.model_copy(
                        update={size: own(model) for size, model in heuristic.model_dump().items()}
                    )
                    if heuristic
                    else None,
                }
            ),
            "calls": calls.model_copy(update={"fallbacks": _own_chains(calls.fallbacks, names)}),
        }
    )
    return config if changed == config else changed


def _own_chains(chains: Mapping[str, Sequence[str]], names: ModelNames) -> dict[str, list[str]]:
    by_model = sorted(
        chains.items(), key=lambda item: effort_in(item[0]) is not None
    )  # an action's own is last
    return {
        own: [names.own(one) for one in chain]
        for model, chain in by_model
        for own in ([model] if model == "*" else names.candidates(model) or [model])
    }


def _spellings(names: Iterable[str]) -> frozenset[Spelling]:
    """The spellings of one model's names, with the provider that LiteLLM calls for a name without one."""
    whole = {
        f"{provider}/{name}" if "/" not in name and (provider := provider_of(name)) else name
        for name in names
    }
    return frozenset(map(Spelling.of, {*names, *whole}))
