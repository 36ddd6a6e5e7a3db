"""The claims of a comparison, in sentences: losses first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from router.numbers import as_factor, bounds, decimal, relative, signed_points
from training.comparing.evaluated import (
    Claim,
    Comparison,
    CurveResult,
    Difference,
    Outcome,
    PolicyResult,
    SliceResult,
)
from training.comparing.policies.baselines import BEST_SINGLE, SHUFFLE, TASK_TYPE
from training.recommending import (
    CORRECTED,
    COST_MARGIN,
    FEW,
    NOT_SHOWN,
    SIGNIFICANT,
    SUCCESS_MARGIN,
    cost_verdict,
    cost_words,
    success_verdict,
    success_words,
)
from training.statistics.intervals import UNKNOWN, Interval
from training.statistics.policy_curves import ROUNDING

MOST_SLICES = 3

ORDER: tuple[Outcome, ...] = ("loss", "undecided", "trade-off", "win")


def classify(success: Difference, cost_ratio: Difference) -> Outcome:
    """Conclude from two differences how the router stands against one baseline.

    A win is better success at no higher cost, or lower cost at no lower success, within the margins. A loss
    is one of the two shown to be worse and the other not shown to be better. Unknown intervals show nothing.

    Args:
        success: the router's less the baseline's.
        cost_ratio: the router's over the baseline's.
    """
    better, worse = shown_above(success, 0.0), shown_below(success, 0.0)
    cheaper, dearer = shown_below(cost_ratio, 1.0), shown_above(cost_ratio, 1.0)
    if (better and dearer) or (worse and cheaper):
        return "trade-off"
    if worse or dearer:
        return "loss"
    cost = cost_ratio.interval
    no_dearer = math.isnan(cost.value) or cost.high <= 1 + COST_MARGIN
    if (better and no_dearer) or (cheaper and success.interval.low >= -SUCCESS_MARGIN):
        return "win"
    return "undecided"


def shown_above(difference: Difference, reference: float) -> bool:
    """Whether a difference is shown to lie above a reference, after Holm's correction."""
    return difference.interval.low > reference + ROUNDING and difference.p_adjusted < SIGNIFICANT


def shown_below(difference: Difference, reference: float) -> bool:
    """Whether a difference is shown to lie below a reference, after Holm's correction."""
    return difference.interval.high < reference - ROUNDING and difference.p_adjusted < SIGNIFICANT


def verdicts(comparison: Comparison) -> tuple[Claim, ...]:
    """All claims of a comparison: losses, then undecided ones, trade-offs and wins."""
    claims = [
        *_against_baselines(comparison),
        *_at_equal_quality(comparison),
        *_ranking(comparison),
        *_on_slices(comparison),
    ]
    return tuple(sorted(claims, key=lambda claim: ORDER.index(claim.outcome)))


def _settled(outcome: Outcome, comparison: Comparison) -> Outcome:
    """The outcome, or "undecided" if there are too few groups of prompts."""
    return outcome if comparison.clusters >= FEW else "undecided"


def headline(claims: Sequence[Claim]) -> str:
    """One sentence that counts what is shown against the other policies, losses first."""
    compared = [claim for claim in claims if claim.success]
    if not compared:
        return "This log can't compare the router with any other policy."
    verdicts = Counter(word for claim in compared for word in (claim.success, claim.cost))
    words = ("less successful", "dearer", "more successful", "cheaper")
    parts = [f"{word} than {verdicts[word] or 'none'}" for word in words]
    return f"Of {len(compared)} other policies, the router is shown to be {_listed(parts)}."


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _against_baselines(comparison: Comparison) -> Iterator[Claim]:
    """A claim for each policy and the shuffle, and for each single model that the router loses to."""
    covered: set[str] = set()
    for result in comparison.policies:
        if result.kind not in ("bound", "single model") and result.name not in covered:
            covered |= {result.name, *result.aliases}
            claim_of = _shuffle_claim if result.kind == "control" else _baseline_claim
            yield claim_of(result, comparison)
        elif result.kind == "single model" and not result.aliases:
            claim = _baseline_claim(result, comparison)
            if claim.outcome == "loss":
                yield claim


def _baseline_claim(result: PolicyResult, comparison: Comparison) -> Claim:
    names = _listed([result.name, *result.aliases])
    named = result.model and result.kind == "baseline"
    title = f"{names} ({result.model})" if named else names
    if result.name == comparison.reference:
        title += ", which runs today"
    if result.same_as_router:
        text = f"The router makes the same choices as {title}."
        return Claim(outcome="undecided", against=result.name, text=text)
    success, cost = result.success_difference, result.cost_ratio
    if math.isnan(success.interval.value):
        refused = result.support.refused if result.support is not None else None
        why = f"{title}: {refused}" if refused else f"the router or for {title}"
        return Claim(outcome="undecided", against=result.name, text=f"The log can't speak for {why}.")
    outcome = _settled(_resolved(classify(success, cost), result), comparison)
    claim = _compared(result, success, comparison)
    text = f"Against {title}: {claim.text}"
    if (success.interval.value < 0) == (cost.interval.value < 1):
        text += _at_its_success(result.cost_at_equal_quality)
    if result.prompts < comparison.prompts:
        text += f" (on the {result.prompts:,} prompts that it can choose for)"
    if claim.success in (NOT_SHOWN, CORRECTED) and result.success_difference.calls_to_settle:
        more = result.success_difference.calls_to_settle
        text += f"; about {more:,} more prompts would show which of the two succeeds more often"
    return replace(claim, outcome=outcome, text=text + ".")


def _compared(result: PolicyResult, success: Difference, comparison: Comparison) -> Claim:
    """Both differences from a policy with their verdicts; what runs today is one look, the rest are many."""
    alone = result.name == comparison.reference
    looks = [0.0 if alone else one.p_adjusted for one in (success, result.cost_ratio)]
    usd = result.cost_usd_per_call.value
    few = comparison.clusters < FEW
    words = (
        success_words(success.interval, looks[0]),
        cost_words(result.cost_difference, usd, looks[1]),
    )
    return Claim(
        outcome="undecided",
        against=result.name,
        text="; ".join(words) + (f"; too few prompts for a verdict ({FEW} are the least)" if few else ""),
        success=NOT_SHOWN if few else success_verdict(success.interval, looks[0]),
        cost=NOT_SHOWN if few else cost_verdict(result.cost_difference, looks[1]),
    )


def _at_its_success(ratio: Interval) -> str:
    """A clause on the cost of the learned policy at a baseline's own success rate."""
    if math.isnan(ratio.value):
        return ""
    if math.isinf(ratio.value):
        return "; the learned policy never reaches its success rate"
    return f"; at equal success the learned policy costs {_of_it(ratio)}"


def _resolved(outcome: Outcome, result: PolicyResult) -> Outcome:
    """Turn a trade-off into a loss if the learned policy is dearer at the baseline's own success rate too."""
    least = result.cost_at_equal_quality.low
    dearer = math.isfinite(least) and least > 1 + COST_MARGIN
    return "loss" if outcome == "trade-off" and dearer else outcome


def _shuffle_claim(result: PolicyResult, comparison: Comparison) -> Claim:
    if result.same_as_router:
        text = "The router sends every prompt to one model: there is no choice to judge."
        return Claim(outcome="undecided", against=SHUFFLE, text=text)
    difference = result.success_difference
    if math.isnan(difference.interval.value):
        return Claim(
            outcome="undecided", against=SHUFFLE, text="The log can't speak for the shuffled choices."
        )
    outcome = _settled(classify(difference, result.cost_ratio), comparison)
    lead = {
        "loss": "It does not know which prompt needs which model",
        "undecided": "It is not shown to know which prompt needs which model",
        "trade-off": "It trades success against cost when it picks the prompts",
        "win": "It knows which prompt needs which model",
    }[outcome]
    claim = _compared(result, difference, comparison)
    text = f"{lead}: against its own choices shuffled over the prompts, {claim.text}."
    return replace(claim, outcome=outcome, text=text)


def _at_equal_quality(comparison: Comparison) -> Iterator[Claim]:
    """Claims on the swept policy, against the best single model and the swept means per task type."""
    best, curves = comparison.best_single, {curve.name: curve for curve in comparison.curves}
    learned = next((curve for name, curve in curves.items() if name != TASK_TYPE), None)
    if learned is None:
        return
    yield Claim(
        outcome=_settled(_ratio_outcome(learned.cost_at_best), comparison),
        against=f"{BEST_SINGLE} at equal quality",
        text=f"Swept over its weight on cost, the learned policy {_reaches(learned, best)}.",
    )
    if comparison.equal_quality is not None:
        outcome = _settled(_ratio_outcome(comparison.equal_quality), comparison)
        yield _table_claim(outcome, learned, curves[TASK_TYPE], comparison)


def _table_claim(outcome: Outcome, learned: CurveResult, table: CurveResult, comparison: Comparison) -> Claim:
    ratio, best = comparison.equal_quality or UNKNOWN, comparison.best_single
    claim = {
        "loss": "Mean per task type is cheaper at equal quality",
        "undecided": "Not shown to differ from mean per task type at equal quality",
        "trade-off": "",
        "win": "It is cheaper than mean per task type at equal quality",
    }[outcome]
    text = f"{claim}: the table {_reaches(table, best)}, the learned policy {_reaches(learned, best)}"
    if math.isfinite(ratio.value):
        text += ": " + share_of(ratio, "the table's cost")
    return Claim(outcome=outcome, against=f"{TASK_TYPE} at equal quality", text=f"{text}.")


def _ratio_outcome(ratio: Interval) -> Outcome:
    if ratio.high < 1 - ROUNDING:
        return "win"
    return "loss" if ratio.low > 1 + ROUNDING else "undecided"


def _reaches(curve: CurveResult, best: str) -> str:
    if math.isnan(curve.cost_at_best.value):
        return f"can't be priced against {best}"
    if math.isinf(curve.cost_at_best.value):
        return f"never reaches the success rate of {best}"
    return f"reaches the success rate of {best} at {share_of(curve.cost_at_best, 'its cost')}"


def _ranking(comparison: Comparison) -> Iterator[Claim]:
    ranking = comparison.ranking
    if ranking is None or math.isnan(ranking.apgr.value):
        return
    apgr = ranking.apgr
    shown: Outcome = "win" if apgr.low > 0.5 else "loss" if apgr.high < 0.5 else "undecided"
    outcome = _settled(shown, comparison)
    verb = {"win": "ranks", "loss": "ranks wrongly", "undecided": "is not shown to rank"}[outcome]
    text = (
        f"It {verb} the prompts by their need of {ranking.strong} over {ranking.weak}: it recovers "
        f"{decimal(apgr.value, 2)} {bounds(apgr, 'number')} of the gap on average (APGR), random "
        "routing 0.50."
    )
    yield Claim(outcome=outcome, against="random ranking", text=text)


def _on_slices(comparison: Comparison) -> Iterator[Claim]:
    """Claims on the slices where the router is shown to succeed less often than what runs today."""
    worse = [
        one
        for one in comparison.slices
        if one.prompts >= FEW
        and shown_below(one.success_difference, 0.0)
        and one.success_difference.interval.value <= -SUCCESS_MARGIN
    ]
    for outcome in ORDER:
        slices = [one for one in worse if _slice_outcome(one) == outcome]
        if slices:
            number = "1 slice" if len(slices) == 1 else f"{len(slices)} slices"
            text = (
                f"On {number} of {len(comparison.slices)} it succeeds less often than "
                f"{comparison.reference}: {_worst(slices)}."
            )
            settled = _settled(outcome, comparison)
            yield Claim(outcome=settled, against=f"{comparison.reference} by slice", text=text)


def _slice_outcome(one: SliceResult) -> Outcome:
    return "trade-off" if one.cost_ratio.high < 1 - ROUNDING else "loss"


def _worst(slices: Sequence[SliceResult]) -> str:
    """The slices that lose most success, worst first, as a list in words."""
    worst = sorted(slices, key=lambda one: one.success_difference.interval.value)
    texts = [
        f"{one.dimension} {one.name} ({points(one.success_difference.interval)}"
        + ("" if math.isnan(one.cost_ratio.value) else f" at {share_of(one.cost_ratio, 'its cost')}")
        + ")"
        for one in worst[:MOST_SLICES]
    ]
    return _listed([*texts, *([f"{len(worst) - MOST_SLICES} more"] if len(worst) > MOST_SLICES else [])])


def _of_it(ratio: Interval) -> str:
    """A cost relative to the one just named: "38 % [30, 47] of it", "14x [13, 15] as much"."""
    return f"{share(ratio)} as much" if as_factor(ratio.value) else f"{share(ratio)} of it"


def points(difference: Interval) -> str:
    """A difference of success rates: "+0.2 points [-0.9, +1.1]"."""
    return f"{signed_points(difference.value)} points {bounds(difference, 'points')}".rstrip()


def share(ratio: Interval) -> str:
    """A ratio with its interval: "38 % [30, 47]"."""
    return f"{relative(ratio.value)} {bounds(ratio, 'ratio')}".rstrip()


def share_of(ratio: Interval, whole: str) -> str:
    """A ratio of something: "38 % [30, 47] of its cost", "14x [13, 15] its cost"."""
    return f"{share(ratio)} {whole}" if as_factor(ratio.value) else f"{share(ratio)} of {whole}"
