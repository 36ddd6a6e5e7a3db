"""What a call log lacks for a good router, in sentences that say what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from router.errors.masking import without_credentials
from router.numbers import UNKNOWN, decimal, dollars, level, rate, unit_of
from router.records import Json
from router.settings.sections import Training
from router.text import shortened
from training.inspecting.counting import NONE
from training.inspecting.inspection import CostCheck, Inspection
from training.pages.rendering import Showable
from training.reading.summary import same_names
from training.recommending import LEAST_JUDGED, outcomes_missing

LEAST_PROMPTS = 500
"""Fewer distinct prompts teach little more than each model's mean."""
LEAST_OUTCOMES = 200
"""With fewer known outcomes a model's head is mostly noise: at 200 its success rate is +-7 points."""
LEAST_SHARED = 0.05
"""Models can be compared if at least this share of the prompts was tried on several of them."""
LEAST_CONSTANT = 20
"""So many equal outcomes of a model are no accident: at a true rate of 86 % they are one in twenty."""
MUCH_CUT = 0.05
MUCH_OFF = 0.10
MUCH_SKIPPED = 0.05
FEW_DAYS = 7
MOST_NAMED = 5
LONG_NAME = 120
FIRST_DAY = "2019-01-01"
"""No earlier call was made to a model of today: such a time is of a wrong unit."""


CALLS = "CALLS"
"""Stands for the logs in a command."""
WITH_SETTINGS = ("inspect", CALLS, "--config", "pointsman.yaml")
REPLAY = (
    "replay",
    CALLS,
    "--router",
    "models/router",
    "--out",
    "replayed.jsonl",
    "--budget",
    "1",
    "--dry-run",
)
MORE = ("inspect", CALLS, "MORE_CALLS")
JUDGE = (
    *("import", CALLS, "--out", "judged.parquet"),
    *("--judge", "MODEL", "--judge-budget", "1", "--dry-run"),
)
MOST_SOURCES = 4


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a log lacks.

    Attributes:
        sentence: what it is, and what to do.
        command: the arguments of `pointsman` that come next.
    """

    sentence: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What a log is good for.

    Attributes:
        can_train: `train` makes a router of it.
        can_judge: it holds enough outcomes to compare that router on prompts held out.
        outcomes_missing: about so many more known outcomes would be enough for that.
        sentence: both, for people.
    """

    can_train: bool
    can_judge: bool
    outcomes_missing: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LogReport(Showable):
    """What a call log holds, and what it lacks for a router.

    Attributes:
        missing: sentences, the gravest first, with the command to run next in back-ticks.
        next: the command that makes a router of the log; empty if it can train none.
    """

    inspection: Inspection
    missing: Sequence[str]
    readiness: Readiness
    next: str

    @staticmethod
    def of(inspection: Inspection, training: Training, sources: Sequence[str] = (CALLS,)) -> LogReport:
        """The report on a log.

        Args:
            sources: the logs, as they are given to a command.
        """
        readiness = readiness_of(inspection, training)
        return LogReport(
            inspection=inspection,
            missing=missing_for_a_router(inspection, sources, can_train=readiness.can_train),
            readiness=readiness,
            next=command_on(sources, "train", CALLS, "--out", "models/router") if readiness.can_train else "",
        )

    def to_json(self) -> dict[str, Json]:
        """What `pointsman inspect --json` prints."""
        return self.inspection.to_json() | {
            "missing": list(self.missing),
            "readiness": asdict(self.readiness),
        }

    def in_short(self) -> str:
        """See `Showable`."""
        return self.readiness.sentence + "".join(f" Missing: {sentence}" for sentence in self.missing[:1])

    def in_rows(self) -> Sequence[Sequence[str]]:
        """One row a model; see `Showable`."""
        head = ("model", "calls", "prompts", "known outcomes", "success", "cost")
        return [
            head,
            *(
                (
                    model.name,
                    f"{model.calls:,}",
                    f"{model.prompts:,}",
                    f"{model.known:,}",
                    rate(model.success),
                    dollars(model.cost_usd) if model.costed else UNKNOWN,
                )
                for model in self.inspection.models
            ),
        ]


def readiness_of(inspection: Inspection, training: Training) -> Readiness:
    """Say whether a log can train a router by the settings, and whether it can judge one.

    To judge takes `LEAST_JUDGED` known outcomes of each model that training does not see: those of the part
    held out, and those that are logged later.
    """
    usable = [model for model in inspection.models if model.known >= training.min_calls]
    can_train = len(usable) >= 2
    share = training.test_share
    unseen = sorted(
        (share * inspection.both_known.get(model.name, {}).get(model.name, 0) for model in inspection.models),
        reverse=True,
    )
    missing = outcomes_missing([*unseen, 0, 0][: max(len(usable), 2)])
    enough_prompts = share * inspection.total.prompts >= LEAST_JUDGED
    alike = sum(model.succeeded for model in usable) in (0, sum(model.known for model in usable))
    trains = (
        f"yes, on {len(usable)} models"
        + (", but all outcomes are alike, which teaches only costs" if alike else "")
        if can_train
        else f"no, two models with {training.min_calls:,} known outcomes each are needed, "
        f"{len(usable) or 'none'} has them"
    )
    judges = (
        "yes"
        if can_train and not missing
        else f"{'not for sure' if can_train else 'no'}, about {missing:,} more known outcomes are needed "
        f"after training ({LEAST_JUDGED} of each model on prompts that it did not see; of this log it leaves "
        f"out {level(share)})"
        + (f", or a replay of {LEAST_JUDGED:,} prompts" if can_train and enough_prompts else "")
    )
    return Readiness(
        can_train=can_train,
        can_judge=can_train and not missing,
        outcomes_missing=missing,
        sentence=f"Can train a router: {trains}. Can judge one: {judges}.",
    )


def missing_for_a_router(
    inspection: Inspection, sources: Sequence[str] = (CALLS,), *, can_train: bool = True
) -> list[str]:
    """One sentence for each gap, the gravest first, with the command to run next in back-ticks.

    Args:
        sources: the logs, as they are given to a command.
        can_train: the log can train a router, without which there is no replay.
    """
    gaps = (
        *_unread(inspection),
        *_models(inspection),
        *_outcomes(inspection),
        *_prompts(inspection),
        *_overlap(inspection),
        *_labels(inspection),
        *_texts(inspection),
        *_costs(inspection),
    )
    if not can_train:
        gaps = tuple(replace(gap, command=MORE) if gap.command == REPLAY else gap for gap in gaps)
        if len(inspection.models) > 1:
            named = [model.name for model in inspection.models]
            gaps = (Gap(f"Too few outcomes to train: {_by_rules(named)}", MORE), *gaps)
    return [f"{gap.sentence} `{command_on(sources, *gap.command)}`" for gap in gaps]


def command_on(sources: Sequence[str], *words: str) -> str:
    """A command on the logs, whose names stand in it if they are few."""
    named = [without_credentials(source) for source in sources] if len(sources) <= MOST_SOURCES else [CALLS]
    whole = [part for word in words for part in (named if word == CALLS else [word])]
    return shlex.join(["pointsman", *whole])


def _unread(inspection: Inspection) -> Iterator[Gap]:
    reading = inspection.reading
    if reading.rejected > MUCH_SKIPPED * reading.rows:
        why = _named([f"{reject.reason} ({reject.rows:,})" for reject in reading.rejects])
        yield Gap(
            f"{rate(reading.rejected / reading.rows)} of the rows can't be read: {why}; `train` stops at "
            "training.max_reject_share. Correct them, or map the columns (--map FIELD=COLUMN).",
            ("inspect", CALLS, "--rejects", "rejects.jsonl"),
        )


def _models(inspection: Inspection) -> Iterator[Gap]:
    for sentence, options in same_names(inspection.reading):
        yield Gap(f"{sentence}.", ("inspect", CALLS, *options))
    if len(inspection.models) == 1:
        yield Gap(
            f"Only one model, {_named([inspection.models[0].name])}, is in the log, so there is nothing to "
            "choose between: call a cheaper and a stronger one on some of these prompts, and record the "
            f"outcomes. {_by_rules([inspection.models[0].name, 'OTHER_MODEL'])}",
            MORE,
        )


def _by_rules(models: Sequence[str]) -> str:
    """How a log grows before a router can be trained."""
    return (
        f"`{shlex.join(['pointsman', 'init', *models[:MOST_NAMED]])}` makes a router of rules alone, whose "
        "`exploration` tries each model and whose log trains the first router."
    )


def _outcomes(inspection: Inspection) -> Iterator[Gap]:
    total = inspection.total
    if not total.known:
        yield Gap(
            f"None of the {total.calls:,} calls has an outcome, so there is nothing to learn from: record "
            "`success` or `score` from feedback, evaluations or checks of the answers (--map reads another "
            f"column){_scores(inspection)}.",
            JUDGE,
        )
        return
    if total.known < total.calls / 2:
        yield Gap(
            f"Only {rate(total.known / total.calls)} of the calls have an outcome; the others teach costs "
            "only. Record feedback, or grade a sample of the answers.",
            JUDGE,
        )
    few = [model for model in inspection.models if model.known < LEAST_OUTCOMES]
    if few:
        named = _named([f"{model.name} ({model.known:,})" for model in few])
        yield Gap(
            f"Fewer than {LEAST_OUTCOMES:,} known outcomes: {named}. Call these models on more of the logged "
            "prompts, or leave them out of the choice.",
            REPLAY,
        )
    constant = [
        model
        for model in inspection.models
        if model.known >= LEAST_CONSTANT and model.succeeded in (0, model.known)
    ]
    if constant:
        named = _named([f"{model.name} ({rate(model.success)})" for model in constant])
        yield Gap(
            f"Outcomes that never differ teach nothing about prompts: {named}. If the log records only "
            "failures or only successes there, record both.",
            JUDGE,
        )
    yield from _conflicts(inspection)


def _scores(inspection: Inspection) -> str:
    """What an export of Langfuse without scores needs."""
    of_langfuse = any(name.startswith("langfuse") for name in inspection.reading.readers)
    return ", or read the export's scores as well" if of_langfuse and not inspection.reading.joined else ""


def _conflicts(inspection: Inspection) -> Iterator[Gap]:
    rules = inspection.reading.outcomes
    if rules and rules.conflicting:
        pairs = _named([f"{pair} ({calls:,})" for pair, calls in rules.conflicts.items()])
        yield Gap(
            f"On {rules.conflicting:,} calls two outcome rules disagree: {pairs}. The first rule decides; "
            "put the rule that you trust most first in pointsman.yaml.",
            WITH_SETTINGS,
        )
    if inspection.conflicts:
        yield Gap(
            f"{inspection.conflicts:,} of {inspection.repeated:,} repeated pairs of prompt and model have a "
            f"success and a failure ({inspection.conflicts_of_sources:,} of them from different sources); "
            "training takes their mean.",
            WITH_SETTINGS,
        )
    if inspection.total.contradicting and rules is None:
        yield Gap(
            f"{inspection.total.contradicting:,} calls have a `success` that contradicts their score; "
            "`success` counts. Check training.success_score.",
            WITH_SETTINGS,
        )


def _prompts(inspection: Inspection) -> Iterator[Gap]:
    if inspection.total.prompts < LEAST_PROMPTS:
        yield Gap(
            f"Few distinct prompts ({inspection.total.prompts:,}): with fewer than {LEAST_PROMPTS} a router "
            " hardly learns more than which model is best on average. Log longer.",
            MORE,
        )
    days = [day for day in inspection.days if day.name != NONE]
    if not days:
        yield Gap(
            "No call has a time, so training can't test on the latest calls: log `time`.",
            ("inspect", CALLS, "--map", "time=COLUMN"),
        )
        return
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    wrong = [day for day in days if not FIRST_DAY <= day.name <= tomorrow]
    if wrong:
        named = _named([f"{day.name} ({day.calls:,} calls)" for day in wrong])
        yield Gap(
            f"Times that can't be right: {named}. Training tests on the latest calls, so correct `time`, or "
            "map another column.",
            ("inspect", CALLS, "--map", "time=COLUMN"),
        )
    if len(days) < FEW_DAYS:
        yield Gap(
            f"The calls are of {len(days)} day{'s' * (len(days) > 1)} only, so the log does not show a whole "
            "week.",
            MORE,
        )


def _overlap(inspection: Inspection) -> Iterator[Gap]:
    total = inspection.total
    if len(inspection.models) < 2:
        return
    shared = inspection.several_models / total.prompts
    if shared < LEAST_SHARED:
        few = f"Only {rate(shared)} of the prompts ({inspection.several_models:,}) were"
        yield Gap(
            f"{few if shared else 'None of the prompts was'} tried on more than one model. Replay a sample "
            "of them on the other models: a prompt that several models answered teaches most.",
            REPLAY,
        )
        disjoint = _disjoint(inspection)
        if disjoint:
            yield Gap(
                f"Models with no prompt in common, and none with the same opening: {_named(disjoint)}. The "
                "log can't tell whether one could do the other's work.",
                REPLAY,
            )
    if not total.with_propensity and shared < 1:
        yield Gap(
            "No call has a `propensity`, the chance that its model was picked, so an off-policy comparison "
            "has to estimate it. Log it, as pointsman's own log does. A little random exploration "
            "(`explore`) makes it useful.",
            ("inspect", CALLS, "--map", "propensity=COLUMN"),
        )
    elif total.with_propensity < total.calls / 2 and shared < 1:
        share = rate(total.with_propensity / total.calls)
        yield Gap(
            f"Only {share} of the calls have a `propensity`: log it for every call.",
            MORE,
        )


def _disjoint(inspection: Inspection) -> list[str]:
    """Pairs of models without a prompt or a template in common."""
    names = [model.name for model in inspection.models]
    return [
        f"{first} and {second}"
        for place, first in enumerate(names)
        for second in names[place + 1 :]
        if not inspection.same.get(first, {}).get(second) and not inspection.alike.get(first, {}).get(second)
    ]


def _labels(inspection: Inspection) -> Iterator[Gap]:
    untyped = sum(group.prompts for group in inspection.task_types if group.name == NONE)
    if untyped > inspection.total.prompts / 2:
        yield Gap(
            f"{rate(untyped / inspection.total.prompts)} of the prompts have no task type, which is worth "
            "about as much as the text. Log `task_type`, or map the column that holds it (--map "
            "task_type=...).",
            ("import", CALLS, "--out", "calls.parquet", "--infer-tasks"),
        )
    if not inspection.total.in_session:
        yield Gap(
            "No call names its session, so prompts of one conversation may land in both training and test: "
            "log `session_id`.",
            ("inspect", CALLS, "--map", "session_id=COLUMN"),
        )


def _texts(inspection: Inspection) -> Iterator[Gap]:
    total, reading = inspection.total, inspection.reading
    if total.cut > MUCH_CUT * total.calls:
        yield Gap(
            f"{rate(total.cut / total.calls)} of the calls have a text that was cut short, so a router "
            "judges by its beginning only. Raise the size limit of the log, or read a log that keeps whole "
            "texts.",
            MORE,
        )
    skipped = sum(reading.set_apart.values()) + reading.without_text
    if skipped > MUCH_SKIPPED * reading.rows:
        reasons = [f"{reason} ({rows:,})" for reason, rows in reading.set_apart.items()]
        reasons += [f"text was not kept ({reading.without_text:,})"] if reading.without_text else []
        yield Gap(
            f"{rate(skipped / reading.rows)} of the rows are nothing to learn from: {_named(reasons)}. If "
            "texts are missing or redacted, log them from now on.",
            MORE,
        )


def _costs(inspection: Inspection) -> Iterator[Gap]:
    costed = {group.name: group.costed for group in inspection.models}
    free = [cost for cost in inspection.costs if not costed.get(cost.model) and not cost.in_settings]
    if listed := [cost.model for cost in free if cost.listed]:
        yield Gap(
            f"No cost is logged for {_named(listed)}: LiteLLM's list price counts; give your own in "
            "pointsman.yaml, or log `cost_usd` or token counts.",
            WITH_SETTINGS,
        )
    if unlisted := [cost.model for cost in free if not cost.listed]:
        yield Gap(
            f"No cost is logged for {_named(unlisted)}, and LiteLLM lists no price: give one in "
            "pointsman.yaml, or log `cost_usd`. A limit on costs rules out a model of unknown price.",
            WITH_SETTINGS,
        )
    partly = [group for group in inspection.models if 0 < group.costed < group.calls * (1 - MUCH_OFF)]
    if partly:
        named = _named([f"{group.name} ({rate(1 - group.costed / group.calls)})" for group in partly])
        yield Gap(
            f"Calls of unknown cost, which sums and prices leave out: {named}. Log `cost_usd` or token "
            "counts with every call.",
            WITH_SETTINGS,
        )
    off = [cost for cost in inspection.costs if _is_off(cost)]
    if off:
        named = _named([f"{cost.model} ({decimal(cost.ratio, 2)} times)" for cost in off])
        units = {unit_of(cost.ratio) for cost in off}
        unit = units.pop() if len(units) == 1 else ""
        why = (
            f"They look like {unit}: `cost_usd` is in dollars, so convert the column first."
            if unit
            else "Discounts, cached tokens, reasoning or an old price list explain some of it; if the log is "
            "right, set `prices: log`."
        )
        yield Gap(
            f"Costs that don't match tokens x LiteLLM's list price: {named}. {why}",
            WITH_SETTINGS,
        )


def _is_off(cost: CostCheck) -> bool:
    """Whether a model's logged costs differ from LiteLLM's list price."""
    return cost.listed_usd > 0 and (cost.off_share > MUCH_OFF or abs(cost.ratio - 1) > MUCH_OFF)


def _named(names: Sequence[str]) -> str:
    """Names for a sentence: the first few, and the number of the others."""
    more = len(names) - MOST_NAMED
    return ", ".join(shortened(name, LONG_NAME) for name in names[:MOST_NAMED]) + (
        f" and {more} more" if more > 0 else ""
    )
