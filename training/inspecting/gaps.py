"""What a call log lacks for a good router, in sentences that say what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.inspecting.counting import NONE
from training.inspecting.inspection import CostCheck, Group, Inspection
from training.pages.numbers import rate
from training.reading.summary import same_names

LEAST_PROMPTS = 500
"""Fewer distinct prompts teach little more than each model's mean."""
LEAST_OUTCOMES = 200
"""With fewer known outcomes a model's head is mostly noise: at 200 its success rate is +-7 points."""
LEAST_SHARED = 0.05
"""Models can be compared if at least this share of the prompts was tried on several of them."""
MUCH_CUT = 0.05
MUCH_OFF = 0.10
MUCH_SKIPPED = 0.05
FEW_DAYS = 7
MOST_NAMED = 5


def missing_for_a_router(inspection: Inspection) -> list[str]:
    """One sentence for each gap, the gravest first."""
    return [
        *_models(inspection),
        *_outcomes(inspection),
        *_prompts(inspection),
        *_overlap(inspection),
        *_labels(inspection),
        *_texts(inspection),
        *_costs(inspection),
    ]


def _models(inspection: Inspection) -> Iterator[str]:
    yield from same_names(inspection.reading)
    if len(inspection.models) == 1:
        yield (
            f"Only one model, {inspection.models[0].name}, is in the log, so there is nothing to choose "
            "between: call a cheaper and a stronger one on some of these prompts, and record the outcomes."
        )


def _outcomes(inspection: Inspection) -> Iterator[str]:
    total = inspection.total
    if not total.known:
        yield (
            f"None of the {total.calls:,} calls has an outcome, so there is nothing to learn from: record "
            "`success` or `score` from feedback, evaluations or checks of the answers (--map reads another "
            "column)."
        )
        return
    if total.known < total.calls / 2:
        yield (
            f"Only {rate(total.known / total.calls)} of the calls have an outcome; the others teach costs "
            "only. Record feedback, or grade a sample of the answers."
        )
    few = [model for model in inspection.models if model.known < LEAST_OUTCOMES]
    if few:
        named = _named([f"{model.name} ({model.known:,})" for model in few])
        yield (
            f"Fewer than {LEAST_OUTCOMES} known outcomes: {named}. Call these models on more of the logged "
            "prompts, or leave them out of the choice."
        )
    constant = [model for model in inspection.models if model.known and model.succeeded in (0, model.known)]
    if constant:
        named = _named([f"{model.name} ({rate(model.success)})" for model in constant])
        yield (
            f"Outcomes that never differ teach nothing about prompts: {named}. If the log records only "
            "failures or only successes there, record both."
        )
    yield from _conflicts(inspection)


def _conflicts(inspection: Inspection) -> Iterator[str]:
    rules = inspection.reading.outcomes
    if rules and rules.conflicting:
        pairs = _named([f"{pair} ({calls:,})" for pair, calls in rules.conflicts.items()])
        yield (
            f"On {rules.conflicting:,} calls two outcome rules disagree: {pairs}. The first rule decides; "
            "put the rule that you trust most first in pointsman.yaml."
        )
    if inspection.conflicts:
        yield (
            f"{inspection.conflicts:,} of {inspection.repeated:,} repeated pairs of prompt and model have a "
            f"success and a failure ({inspection.conflicts_of_sources:,} of them from different sources); "
            "training takes their mean."
        )
    if inspection.total.contradicting and rules is None:
        yield (
            f"{inspection.total.contradicting:,} calls have a `success` that contradicts their score; "
            "`success` counts. Check training.success_score."
        )


def _prompts(inspection: Inspection) -> Iterator[str]:
    if inspection.total.prompts < LEAST_PROMPTS:
        yield (
            f"{inspection.total.prompts:,} distinct prompts are few: with fewer than {LEAST_PROMPTS} a "
            "router hardly learns more than which model is best on average. Log longer."
        )
    days = [day for day in inspection.days if day.name != NONE]
    if not days:
        yield "No call has a time, so training can't test on the latest calls: log `time`."
    elif len(days) < FEW_DAYS:
        yield (
            f"The calls are of {len(days)} day{'s' * (len(days) > 1)} only, so the log does not show a whole "
            "week."
        )


def _overlap(inspection: Inspection) -> Iterator[str]:
    total = inspection.total
    if len(inspection.models) < 2:
        return
    shared = inspection.several_models / total.prompts
    if shared < LEAST_SHARED:
        yield (
            f"Only {rate(shared)} of the prompts ({inspection.several_models:,}) were tried on more than one "
            "model. Replay a sample of them on the other models: a prompt that several models answered "
            "teaches most."
        )
        disjoint = _disjoint(inspection)
        if disjoint:
            yield (
                f"Models with no prompt in common, and none with the same opening: {_named(disjoint)}. The "
                "log can't tell whether one could do the other's work."
            )
    if not total.with_propensity and shared < 1:
        yield (
            "No call has a `propensity`, the chance that its model was picked, so an off-policy comparison "
            "has to estimate it. Log it, as pointsman's own log does. A little random exploration "
            "(`explore`) makes it useful."
        )
    elif total.with_propensity < total.calls / 2 and shared < 1:
        share = rate(total.with_propensity / total.calls)
        yield f"Only {share} of the calls have a `propensity`: log it for every call."


def _disjoint(inspection: Inspection) -> list[str]:
    """Pairs of models without a prompt or a template in common."""
    names = [model.name for model in inspection.models]
    return [
        f"{first} and {second}"
        for place, first in enumerate(names)
        for second in names[place + 1 :]
        if not inspection.same.get(first, {}).get(second) and not inspection.alike.get(first, {}).get(second)
    ]


def _labels(inspection: Inspection) -> Iterator[str]:
    untyped = sum(group.prompts for group in inspection.task_types if group.name == NONE)
    if untyped > inspection.total.prompts / 2:
        yield (
            f"{rate(untyped / inspection.total.prompts)} of the prompts have no task type, which is worth "
            "about as much as the text. Log `task_type`, or map the column that holds it (--map "
            "task_type=...)."
        )
    if not inspection.total.in_session:
        yield (
            "No call names its session, so prompts of one conversation may land in both training and test: "
            "log `session_id`."
        )


def _texts(inspection: Inspection) -> Iterator[str]:
    total, reading = inspection.total, inspection.reading
    if total.cut > MUCH_CUT * total.calls:
        yield (
            f"{rate(total.cut / total.calls)} of the calls have a text that was cut short, so a router "
            "judges by its beginning only. Raise the size limit of the log, or read a log that keeps whole "
            "texts."
        )
    skipped = sum(reading.set_apart.values()) + reading.without_text
    if skipped > MUCH_SKIPPED * reading.rows:
        reasons = [f"{reason} ({rows:,})" for reason, rows in reading.set_apart.items()]
        reasons += [f"text was not kept ({reading.without_text:,})"] if reading.without_text else []
        yield (
            f"{rate(skipped / reading.rows)} of the rows are nothing to learn from: {_named(reasons)}. If "
            "texts are missing or redacted, log them from now on."
        )
    if reading.rejected > MUCH_SKIPPED * reading.rows:
        yield (
            f"{rate(reading.rejected / reading.rows)} of the rows can't be read; `train` stops at "
            "training.max_reject_share. Correct them, or map the columns (--map FIELD=COLUMN)."
        )


def _costs(inspection: Inspection) -> Iterator[str]:
    free = [group for group in inspection.models if not group.costed]
    if free:
        yield (
            f"No cost is logged for {_named([group.name for group in free])}: give prices in pointsman.yaml, "
            "or log `cost_usd` or token counts."
        )
    off = [cost for cost in inspection.costs if _is_off(cost)]
    if off:
        named = _named([f"{cost.model} ({cost.ratio:.2f} times)" for cost in off])
        yield (
            f"Costs that don't match tokens x LiteLLM's list price: {named}. Discounts, cached tokens, "
            "reasoning or an old price list explain some of it; if the log is right, set `prices: log`."
        )
    unlisted = [
        cost.model
        for cost in inspection.costs
        if not cost.listed and not _costed(inspection.models, cost.model)
    ]
    if unlisted:
        names = _named(unlisted)
        yield f"LiteLLM lists no price for {names}, and the log has no cost: give one in pointsman.yaml."


def _is_off(cost: CostCheck) -> bool:
    """Whether a model's logged costs differ from LiteLLM's list price."""
    return cost.listed_usd > 0 and (cost.off_share > MUCH_OFF or abs(cost.ratio - 1) > MUCH_OFF)


def _costed(models: Sequence[Group], name: str) -> bool:
    return any(model.name == name and model.costed for model in models)


def _named(names: Sequence[str]) -> str:
    """Names for a sentence: the first few, and the number of the others."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
