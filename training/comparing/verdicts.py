"""What a comparison comes to, in sentences: losses first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from training.comparing.baselines import BEST_SINGLE, SHUFFLE, TASK_TYPE
from training.comparing.evaluated import Comparison, CurveResult, Outcome, PolicyResult, SliceResult, Verdict
from training.evaluation import ROUNDING
from training.intervals import UNKNOWN, Interval

SUCCESS_MARGIN = 0.01
"""A success rate that may be this much lower counts as equal."""
COST_MARGIN = 0.05
"""A mean cost that may be this much higher, as a share, counts as equal."""
FEW = 30
"""Fewer independent groups of prompts give no verdict: percentile intervals from them are too narrow."""
MOST_SLICES = 3

ORDER: tuple[Outcome, ...] = ("loss", "undecided", "trade-off", "win")
LEADS = {
    "loss": "It does not beat {}: ",
    "undecided": "Undecided against {}: ",
    "trade-off": "A trade-off against {}: ",
    "win": "The router beats {}: ",
}


def classify(success: Interval, cost_ratio: Interval) -> Outcome:
    """What two intervals say about the router against one baseline.

    A win is better success at no higher cost, or lower cost at no lower success, within the margins. A loss
    is one of the two shown to be worse and the other not shown to be better. Unknown intervals show nothing.

    Args:
        success: the router's less the baseline's.
        cost_ratio: the router's over the baseline's.
    """
    better, worse = success.low > ROUNDING, success.high < -ROUNDING
    cheaper, dearer = cost_ratio.high < 1 - ROUNDING, cost_ratio.low > 1 + ROUNDING
    if (better and dearer) or (worse and cheaper):
        return "trade-off"
    if worse or dearer:
        return "loss"
    no_dearer = math.isnan(cost_ratio.value) or cost_ratio.high <= 1 + COST_MARGIN
    if (better and no_dearer) or (cheaper and success.low >= -SUCCESS_MARGIN):
        return "win"
    return "undecided"


def verdicts(comparison: Comparison) -> tuple[Verdict, ...]:
    """Every sentence of a comparison, losses first, then undecided ones, trade-offs and wins."""
    found = [
        *_against_baselines(comparison),
        *_at_equal_quality(comparison),
        *_ranking(comparison),
        *_on_slices(comparison),
    ]
    return tuple(sorted(found, key=lambda verdict: ORDER.index(verdict.outcome)))


def _settled(outcome: Outcome, comparison: Comparison) -> Outcome:
    """No outcome is claimed from few groups of prompts."""
    return outcome if comparison.clusters >= FEW else "undecided"


def headline(verdict: Sequence[Verdict]) -> str:
    """The verdicts counted, losses first: one sentence."""
    wording = {
        "loss": "loses {}",
        "undecided": "leaves {} undecided",
        "trade-off": "trades cost against success in {}",
        "win": "wins {}",
    }
    if not verdict:
        return "There is nothing to compare the router with."
    counts = {outcome: sum(one.outcome == outcome for one in verdict) for outcome in ORDER}
    parts = [
        wording[outcome].format(count or "none")
        for outcome, count in counts.items()
        if count or outcome == "loss"
    ]
    noun = "comparison" if len(verdict) == 1 else "comparisons"
    return f"Of {len(verdict)} {noun}, the router {_listed(parts)}."


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _against_baselines(comparison: Comparison) -> Iterator[Verdict]:
    """A sentence for each baseline and the shuffle, and for each single model that the router loses to."""
    told: set[str] = set()
    for result in comparison.policies:
        if result.kind in ("baseline", "control") and result.name not in told:
            told |= {result.name, *result.aliases}
            tell = _shuffle_verdict if result.kind == "control" else _baseline_verdict
            yield tell(result, comparison)
        elif result.kind == "single model" and not result.aliases:
            verdict = _baseline_verdict(result, comparison)
            if verdict.outcome == "loss":
                yield verdict


def _baseline_verdict(result: PolicyResult, comparison: Comparison) -> Verdict:
    names = _listed([result.name, *result.aliases])
    named = result.model and result.kind == "baseline"
    title = f"{names} ({result.model})" if named else names
    if result.same_as_router:
        text = f"The router makes the same choices as {title}."
        return Verdict(outcome="undecided", against=result.name, text=text)
    success = guarded(result.router_success_difference, comparison.clusters)
    outcome = _settled(_resolved(classify(success, result.router_cost_ratio), result), comparison)
    text = LEADS[outcome].format(title) + _difference(success, result.router_cost_ratio)
    if (success.value < 0) == (result.router_cost_ratio.value < 1):
        text += _at_its_success(result.learned_cost_at_equal_success)
    if result.prompts < comparison.prompts:
        text += f" (on the {result.prompts:,} prompts that it can choose for)"
    return Verdict(outcome=outcome, against=result.name, text=text + ".")


def _at_its_success(ratio: Interval) -> str:
    """What the learned policy costs at a baseline's own success rate, as a clause to add."""
    if math.isnan(ratio.value):
        return ""
    if math.isinf(ratio.value):
        return "; the learned policy never reaches its success rate"
    return f"; at equal success the learned policy costs {share(ratio)} of it"


def _resolved(outcome: Outcome, result: PolicyResult) -> Outcome:
    """A trade-off is a loss where the learned policy is dearer at the baseline's own success rate as well."""
    least = result.learned_cost_at_equal_success.low
    dearer = math.isfinite(least) and least > 1 + COST_MARGIN
    return "loss" if outcome == "trade-off" and dearer else outcome


def _shuffle_verdict(result: PolicyResult, comparison: Comparison) -> Verdict:
    if result.same_as_router:
        text = "The router sends every prompt to one model: there is no choice to judge."
        return Verdict(outcome="undecided", against=SHUFFLE, text=text)
    difference = result.router_success_difference
    outcome = _settled(classify(difference, result.router_cost_ratio), comparison)
    claim = {
        "loss": "It does not know which prompt needs which model",
        "undecided": "It is not shown to know which prompt needs which model",
        "trade-off": "It trades success against cost when it picks the prompts",
        "win": "It knows which prompt needs which model",
    }[outcome]
    text = f"{claim}: against its own choices shuffled over the prompts, " + _difference(
        difference, result.router_cost_ratio
    )
    return Verdict(outcome=outcome, against=SHUFFLE, text=text + ".")


def _at_equal_quality(comparison: Comparison) -> Iterator[Verdict]:
    """The sweep against the best single model, and against the sweep of the mean per task type."""
    best, curves = comparison.best_single, {curve.name: curve for curve in comparison.curves}
    learned = next((curve for name, curve in curves.items() if name != TASK_TYPE), None)
    if learned is None:
        return
    yield Verdict(
        outcome=_settled(_ratio_outcome(learned.cost_at_best), comparison),
        against=f"{BEST_SINGLE} at equal quality",
        text=f"Swept over its weight on cost, the learned policy {_reaches(learned, best)}.",
    )
    if comparison.equal_quality is not None:
        outcome = _settled(_ratio_outcome(comparison.equal_quality), comparison)
        yield _table_verdict(outcome, learned, curves[TASK_TYPE], comparison)


def _table_verdict(
    outcome: Outcome, learned: CurveResult, table: CurveResult, comparison: Comparison
) -> Verdict:
    ratio, best = comparison.equal_quality or UNKNOWN, comparison.best_single
    claim = {
        "loss": "Mean per task type is cheaper at equal quality",
        "undecided": "Undecided against mean per task type at equal quality",
        "trade-off": "",
        "win": "It is cheaper than mean per task type at equal quality",
    }[outcome]
    text = f"{claim}: the table {_reaches(table, best)}, the learned policy {_reaches(learned, best)}"
    if math.isfinite(ratio.value):
        text += f": {share(ratio)} of the table's cost"
    return Verdict(outcome=outcome, against=f"{TASK_TYPE} at equal quality", text=f"{text}.")


def _ratio_outcome(ratio: Interval) -> Outcome:
    if ratio.high < 1 - ROUNDING:
        return "win"
    return "loss" if ratio.low > 1 + ROUNDING else "undecided"


def _reaches(curve: CurveResult, best: str) -> str:
    if math.isnan(curve.cost_at_best.value):
        return f"can't be priced against {best}"
    if math.isinf(curve.cost_at_best.value):
        return f"never reaches the success rate of {best}"
    return f"reaches the success rate of {best} at {share(curve.cost_at_best)} of its cost"


def _ranking(comparison: Comparison) -> Iterator[Verdict]:
    apgr = comparison.apgr
    if apgr is None or math.isnan(apgr.value):
        return
    shown: Outcome = "win" if apgr.low > 0.5 else "loss" if apgr.high < 0.5 else "undecided"
    outcome = _settled(shown, comparison)
    verb = {"win": "ranks", "loss": "ranks wrongly", "undecided": "is not shown to rank"}[outcome]
    text = (
        f"It {verb} the prompts by their need of {comparison.best_single}: it recovers {apgr.value:.2f} "
        f"[{apgr.low:.2f}, {apgr.high:.2f}] of the gap on average (APGR), random routing 0.50."
    )
    yield Verdict(outcome=outcome, against="random ranking", text=text)


def _on_slices(comparison: Comparison) -> Iterator[Verdict]:
    """Task types on which the router is shown to succeed less often than the best single model."""
    best = comparison.best_single
    worse = [
        one
        for one in comparison.slices
        if one.prompts >= FEW
        and one.success_difference.high < 0
        and one.success_difference.value <= -SUCCESS_MARGIN
    ]
    for outcome in ORDER:
        found = [one for one in worse if classify(one.success_difference, one.cost_ratio) == outcome]
        if found:
            text = f"On {_number_of_types(found)} it succeeds less often than {best}: {_worst(found)}."
            settled = _settled(outcome, comparison)
            yield Verdict(outcome=settled, against=f"{BEST_SINGLE} by task type", text=text)


def _number_of_types(slices: Sequence[SliceResult]) -> str:
    return "1 task type" if len(slices) == 1 else f"{len(slices)} task types"


def _worst(slices: Sequence[SliceResult]) -> str:
    """The slices with the greatest loss of success, worst first, as a list in words."""
    worst = sorted(slices, key=lambda one: one.success_difference.value)
    told = [
        f"{one.task_type or 'prompts without one'} ({points(one.success_difference)}"
        + ("" if math.isnan(one.cost_ratio.value) else f" at {share(one.cost_ratio)} of its cost")
        + ")"
        for one in worst[:MOST_SLICES]
    ]
    return _listed([*told, *([f"{len(worst) - MOST_SLICES} more"] if len(worst) > MOST_SLICES else [])])


def guarded(difference: Interval, clusters: int) -> Interval:
    """A difference of success rates, widened where no group of prompts shows any.

    Resampling equal values gives an interval of no width. With 0 of n groups differing, up to 3 / n of them
    may (the rule of three: Hanley & Lippman-Hand 1983).
    """
    if difference.low != difference.high:
        return difference
    bound = 3 / clusters
    return Interval(
        value=difference.value,
        low=difference.value - bound,
        high=difference.value + bound,
        above=difference.above,
    )


def _difference(success: Interval, cost_ratio: Interval = UNKNOWN) -> str:
    """Cost and success of the router against a baseline, as a clause."""
    if math.isnan(cost_ratio.value):
        return f"{points(success)} (costs are not known)"
    return f"it costs {share(cost_ratio)} of it at {points(success)}"


def points(difference: Interval) -> str:
    """A difference of success rates: "0.2 points [-0.9, +1.1] better success"."""
    word = "better" if difference.value >= 0 else "worse"
    if math.isnan(difference.low):
        return f"{abs(difference.value) * 100:.1f} points {word} success"
    low, high = difference.low * 100, difference.high * 100
    return f"{abs(difference.value) * 100:.1f} points [{low:+.1f}, {high:+.1f}] {word} success"


def share(ratio: Interval) -> str:
    """A ratio as per cent: "38 % [30, 47]"; a bound that is infinite reads "no limit"."""
    value = f"{percent(ratio.value)} %"
    return value if math.isnan(ratio.low) else f"{value} [{percent(ratio.low)}, {percent(ratio.high)}]"


def percent(ratio: float) -> str:
    """A ratio in per cent without the sign, two digits or more."""
    if math.isinf(ratio):
        return "no limit"
    return f"{ratio * 100:,.0f}" if ratio >= 0.1 or ratio == 0 else f"{ratio * 100:.2g}"
