"""What a good router needs and a call log lacks, in sentences that say what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.inspecting.counting import NONE
from training.inspecting.inspection import CostCheck, Group, Inspection
from training.pages.numbers import rate

LEAST_PROMPTS = 500
"""Fewer distinct prompts teach little beyond each model's mean."""
LEAST_OUTCOMES = 200
"""Known outcomes of a model below which its head is mostly noise: the rate is +-7 points at 200."""
LEAST_SHARED = 0.05
"""Share of prompts with several models tried from which models can be compared on the same prompts."""
MUCH_CUT = 0.05
MUCH_OFF = 0.10
MUCH_APART = 0.05
FEW_DAYS = 7
MOST_NAMED = 5


def missing_for_a_router(found: Inspection) -> list[str]:
    """One sentence a gap, the gravest first; none where nothing is missing."""
    return [
        *_models(found),
        *_outcomes(found),
        *_prompts(found),
        *_overlap(found),
        *_labels(found),
        *_texts(found),
        *_costs(found),
    ]


def _models(found: Inspection) -> Iterator[str]:
    if len(found.models) == 1:
        yield (
            f"Only one model, {found.models[0].name}, is in the log, so there is nothing to choose between: "
            "call a "
            "cheaper and a stronger one on some of these prompts, and record the outcomes."
        )


def _outcomes(found: Inspection) -> Iterator[str]:
    total = found.total
    if not total.known:
        yield (
            f"None of the {total.calls:,} calls has an outcome, and without outcomes nothing can be learnt: "
            "give "
            "`success` or `score` from feedback, evaluations or checks of the answers (--map reads another "
            "column)."
        )
        return
    if total.known < total.calls / 2:
        yield (
            f"Only {rate(total.known / total.calls)} of the calls have an outcome; the others count for "
            "costs only. "
            "Record feedback, or grade a sample of the answers."
        )
    few = [model for model in found.models if model.known < LEAST_OUTCOMES]
    if few:
        named = _named([f"{model.name} ({model.known:,})" for model in few])
        yield (
            f"Fewer than {LEAST_OUTCOMES} known outcomes: {named}. Call them on more of the logged prompts, "
            "or leave "
            "them out of the choice."
        )
    constant = [model for model in found.models if model.known and model.succeeded in (0, model.known)]
    if constant:
        named = _named([f"{model.name} ({rate(model.success)})" for model in constant])
        yield (
            f"Outcomes that never differ tell no prompt from another: {named}. If only failures, or only "
            "successes, "
            "are recorded there, record both."
        )
    yield from _conflicts(found)


def _conflicts(found: Inspection) -> Iterator[str]:
    ruled = found.reading.outcomes
    if ruled and ruled.conflicting:
        pairs = _named([f"{pair} ({calls:,})" for pair, calls in ruled.conflicts.items()])
        yield (
            f"On {ruled.conflicting:,} calls two outcome rules say different things: {pairs}. The first one "
            "decides; check that their order in pointsman.yaml is that of your trust."
        )
    if found.conflicts:
        yield (
            f"{found.conflicts:,} of {found.repeated:,} repeated pairs of prompt and model have a success "
            "and a "
            f"failure ({found.conflicts_of_sources:,} of them from different sources); training takes their "
            "mean."
        )
    if found.total.contradicting and ruled is None:
        yield (
            f"{found.total.contradicting:,} calls have a `success` that contradicts their score; `success` "
            "counts. "
            "Check training.success_score."
        )


def _prompts(found: Inspection) -> Iterator[str]:
    if found.total.prompts < LEAST_PROMPTS:
        yield (
            f"{found.total.prompts:,} distinct prompts are few: with less than {LEAST_PROMPTS} a router "
            "hardly learns "
            "more than which model is best on average. Log longer."
        )
    days = [day for day in found.days if day.name != NONE]
    if not days:
        yield "No call has a time, so that training can't test on the latest calls: log `time`."
    elif len(days) < FEW_DAYS:
        yield (
            f"The calls are of {len(days)} day{'s' * (len(days) > 1)} only; what a week looks like is not "
            "in the log."
        )


def _overlap(found: Inspection) -> Iterator[str]:
    total = found.total
    if len(found.models) < 2:
        return
    shared = found.several_models / total.prompts
    if shared < LEAST_SHARED:
        yield (
            f"Only {rate(shared)} of the prompts ({found.several_models:,}) were tried on more than one "
            "model. Replay "
            "a sample of them on the other models: a prompt that several models answered teaches most."
        )
        apart = _apart(found)
        if apart:
            yield (
                f"Models with no prompt in common, not even one that opens alike: {_named(apart)}. Whether "
                "one could "
                "do the other's work is not in the log."
            )
    if not total.with_propensity and shared < 1:
        yield (
            "No call has a `propensity`, the chance that its model was picked, so that an off-policy "
            "comparison has "
            "to guess it. Log it; pointsman's own log has it. A little random exploration (`explore`) makes "
            "it useful."
        )
    elif total.with_propensity < total.calls / 2 and shared < 1:
        share = rate(total.with_propensity / total.calls)
        yield f"Only {share} of the calls have a `propensity`: log it always."


def _apart(found: Inspection) -> list[str]:
    """Pairs of models without a prompt or a template in common."""
    names = [model.name for model in found.models]
    return [
        f"{first} and {second}"
        for place, first in enumerate(names)
        for second in names[place + 1 :]
        if not found.same.get(first, {}).get(second) and not found.alike.get(first, {}).get(second)
    ]


def _labels(found: Inspection) -> Iterator[str]:
    untyped = sum(group.prompts for group in found.task_types if group.name == NONE)
    if untyped > found.total.prompts / 2:
        yield (
            f"{rate(untyped / found.total.prompts)} of the prompts have no task type; knowing the task is "
            "worth "
            "about as much as the text. Log `task_type`, or map the column that says it (--map "
            "task_type=...)."
        )
    if not found.total.in_session:
        yield (
            "No call names its session, so that prompts of one conversation may land in training and test "
            "both: "
            "log `session_id`."
        )


def _texts(found: Inspection) -> Iterator[str]:
    total, reading = found.total, found.reading
    if total.cut > MUCH_CUT * total.calls:
        yield (
            f"{rate(total.cut / total.calls)} of the calls have a text that was cut short; a router then "
            "judges by "
            "the beginning only. Raise the limit of what is logged, or read the log that keeps whole texts."
        )
    apart = sum(reading.set_apart.values()) + reading.without_text
    if apart > MUCH_APART * reading.rows:
        reasons = [f"{reason} ({rows:,})" for reason, rows in reading.set_apart.items()]
        reasons += [f"text was not kept ({reading.without_text:,})"] if reading.without_text else []
        yield (
            f"{rate(apart / reading.rows)} of the rows are nothing to learn from: {_named(reasons)}. Where "
            "texts are "
            "missing or redacted, log them from now on."
        )
    if reading.rejected > MUCH_APART * reading.rows:
        yield (
            f"{rate(reading.rejected / reading.rows)} of the rows can't be read; `train` stops at "
            "training.max_reject_share. Correct them, or map the columns (--map FIELD=COLUMN)."
        )


def _costs(found: Inspection) -> Iterator[str]:
    free = [group for group in found.models if not group.costed]
    if free:
        yield (
            f"No cost is logged for {_named([group.name for group in free])}: give prices in "
            "pointsman.yaml, or log "
            "`cost_usd` or token counts."
        )
    off = [cost for cost in found.costs if _is_off(cost)]
    if off:
        named = _named([f"{cost.model} ({cost.ratio:.2f} times)" for cost in off])
        yield (
            f"Costs that don't match tokens x LiteLLM's list price: {named}. Discounts, cached tokens, "
            "reasoning or an "
            "old price list explain some of it; where the log is right, `prices: log` uses it."
        )
    unlisted = [
        cost.model for cost in found.costs if not cost.listed and not _costed(found.models, cost.model)
    ]
    if unlisted:
        names = _named(unlisted)
        yield f"LiteLLM lists no price for {names}, and the log has no cost: give one in pointsman.yaml."


def _is_off(cost: CostCheck) -> bool:
    """Whether the calls of a model that LiteLLM lists with a price cost something else."""
    return cost.listed_usd > 0 and (cost.off_share > MUCH_OFF or abs(cost.ratio - 1) > MUCH_OFF)


def _costed(models: Sequence[Group], name: str) -> bool:
    return any(model.name == name and model.costed for model in models)


def _named(names: Sequence[str]) -> str:
    """Names in a sentence; of many the first few."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
