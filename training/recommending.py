"""Whether to deploy a router: one code and one sentence, from a rule that a reader can check.

The rule stands in `code_of`. "Shown" is a whole 95 % interval on one side; `SUCCESS_MARGIN` is the loss of
success that counts as none. A router must beat what runs today, and the best mix of single models at random:
without the second, the same is had without a router.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from router.numbers import (
    UNKNOWN,
    as_factor,
    decimal,
    dollars,
    level,
    relative,
    signed_percent,
    signed_points,
)
from training.statistics.intervals import TWO_SIDED_5_PERCENT, Interval, calls_to_settle
from training.statistics.policy_curves import ROUNDING

Code = Literal["deploy", "deploy_with_weight", "one_model", "cannot_tell", "losing"]

SUCCESS_MARGIN = 0.01
"""Success rates count as equal if one may be lower by at most this much."""
COST_MARGIN = 0.05
"""Mean costs count as equal if one may be higher by at most this share."""
FEW = 30
"""Fewer independent groups of prompts decide nothing: their percentile intervals are too narrow."""
SIGNIFICANT = 0.05
"""A difference counts as shown if its p-value, corrected for the number of comparisons, is below this."""
NOT_SHOWN = "not shown to differ"
CORRECTED = "not shown to differ once corrected for the number of comparisons"
NO_COSTS = "the costs are not known"
LEAST_JUDGED = 200
"""Held-out prompts with the outcomes of the models, from which on a comparison decides most questions."""
MOST_PROMPTS = 1_000_000
"""A question that takes more prompts than this counts as one that no number settles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeAgainst:
    """A router against another policy, on the same prompts.

    Attributes:
        against: the other policy, as a reader knows it.
        success: the router's success rate less the other's.
        cost: the router's mean cost less the other's, USD a call.
        usd_per_call: the other's mean cost; NaN is unknown.
    """

    against: str
    success: Interval
    cost: Interval
    usd_per_call: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterEvidence:
    """What a log shows of a router.

    Attributes:
        today: against what runs today.
        mix_gain: the router's success rate less that of the best mix of single models at random that costs
            no more, as `training.statistics.hull.gain_over_mix` gives it.
        mix: models of that mix, the largest share first.
        one_model: the model that gets every prompt; None if the router uses several.
        prompts: number behind the intervals.
        groups: independent ones among them.
        refused: why the log can't estimate the router; None if it can.
        replayable: prompts on which some model was not tried, of those held out: no others can judge it.
        usd_per_prompt: expected price of one prompt on the models that were not tried; NaN is unknown.
        calls: the log, as it is given to a command.
        router: the router, as it is given to a command.
        known: prompts with a known outcome of each model, of those that training did not see.
    """

    today: ChangeAgainst
    mix_gain: Interval
    mix: tuple[str, ...]
    one_model: str | None
    prompts: int
    groups: int
    refused: str | None = None
    replayable: int = 0
    usd_per_prompt: float = math.nan
    calls: Sequence[str] = ("CALLS",)
    router: str = "ROUTER"
    known: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to do with a router.

    Attributes:
        sentence: the advice with its reason.
        next: the command to run next.
    """

    code: Code
    sentence: str
    next: str


def above(interval: Interval, reference: float = 0.0) -> bool:
    """Whether an interval lies above a reference as a whole; an unknown one does not."""
    return interval.low > reference + ROUNDING


def below(interval: Interval, reference: float = 0.0) -> bool:
    """Whether an interval lies below a reference as a whole; an unknown one does not."""
    return interval.high < reference - ROUNDING


def known(interval: Interval) -> bool:
    """Whether a value and both its ends are finite."""
    return all(math.isfinite(end) for end in (interval.value, interval.low, interval.high))


def success_verdict(success: Interval, p_adjusted: float = 0.0) -> str:
    """What a difference of success rates shows: "more successful", "less successful" or neither.

    Args:
        p_adjusted: p-value after correction, where the difference is one of many that were tested.
    """
    return _verdict(success, "more successful", "less successful", p_adjusted)


def cost_verdict(cost: Interval, p_adjusted: float = 0.0) -> str:
    """What a difference of costs shows: "dearer", "cheaper" or neither; arguments as `success_verdict`."""
    return _verdict(cost, "dearer", "cheaper", p_adjusted)


def _verdict(difference: Interval, more: str, less: str, p_adjusted: float) -> str:
    if not known(difference):
        return UNKNOWN
    shown = more if above(difference) else less if below(difference) else NOT_SHOWN
    return shown if shown == NOT_SHOWN or p_adjusted < SIGNIFICANT else CORRECTED


def success_words(success: Interval, p_adjusted: float = 0.0) -> str:
    """A difference of success rates and its verdict: "success +2.1 points [+0.8, +3.4]: more successful".

    A loss that is not shown, and at most the margin, is said to be: it counts as none.
    """
    if math.isnan(success.value):
        return "success unknown"
    ends = f" [{signed_points(success.low)}, {signed_points(success.high)}]" if known(success) else ""
    verdict = success_verdict(success, p_adjusted)
    if verdict == NOT_SHOWN and success.low >= -SUCCESS_MARGIN:
        verdict += f", at most {decimal(SUCCESS_MARGIN * 100, 0)} point less successful"
    return f"success {signed_points(success.value)} points{ends}: {verdict}"


def cost_words(cost: Interval, usd_per_call: float = math.nan, p_adjusted: float = 0.0) -> str:
    """A difference of costs and its verdict: "cost -$2.00 per 1,000 (-50 %) [-$3.00, -$1.00]: cheaper".

    As `success_words`, with a margin for higher costs.

    Args:
        usd_per_call: cost of the other policy, for the percentage.
    """
    if math.isnan(cost.value):
        return "costs are unknown"
    percent = f" ({_change(cost.value / usd_per_call)})" if usd_per_call > 0 else ""
    ends = f" [{_thousand(cost.low)}, {_thousand(cost.high)}]" if known(cost) else ""
    verdict = cost_verdict(cost, p_adjusted)
    if verdict == NOT_SHOWN and cost.high <= COST_MARGIN * usd_per_call:
        verdict += f", at most {level(COST_MARGIN)} dearer"
    return f"cost {_thousand(cost.value)} per 1,000{percent}{ends}: {verdict}"


def _change(share: float) -> str:
    """What is added to a cost: "-50 %", "+424 %"; from ten times the cost on, the whole: "118x"."""
    return relative(1 + share) if as_factor(1 + share) else signed_percent(share)


def words_of(change: ChangeAgainst) -> str:
    """Both differences of a change and what they show."""
    return f"{success_words(change.success)}; {cost_words(change.cost, change.usd_per_call)}"


def _thousand(usd: float) -> str:
    return dollars(usd * 1000, signed=True)


def recommend(evidence: RouterEvidence) -> Recommendation:
    """The advice for a router, by the rule of `code_of`."""
    code = code_of(evidence)
    sentence, command = _ADVICE[code](evidence)
    return Recommendation(code=code, sentence=sentence, next=command)


def code_of(evidence: RouterEvidence) -> Code:
    """The code of the first line of the rule that holds."""
    today, gain = evidence.today, evidence.mix_gain
    better, worse = above(today.success), below(today.success)
    cheaper, dearer = below(today.cost), above(today.cost)
    no_worse = better or today.success.low >= -SUCCESS_MARGIN
    no_dearer = cheaper or today.cost.high <= COST_MARGIN * today.usd_per_call
    rule: list[tuple[bool, Code]] = [
        (_unknown(evidence) is not None, "cannot_tell"),
        ((worse and not cheaper) or (dearer and not better), "losing"),
        (evidence.one_model is not None, "one_model"),
        (gain.high <= SUCCESS_MARGIN, "one_model"),
        (not above(gain), "cannot_tell"),
        ((better and dearer) or (worse and cheaper), "deploy_with_weight"),
        ((better and no_dearer) or (cheaper and no_worse), "deploy"),
    ]
    return next((code for holds, code in rule if holds), "cannot_tell")


def _deployed(evidence: RouterEvidence) -> tuple[str, str]:
    command = f"pointsman route --router {shlex.quote(evidence.router)}"
    return f"Deploy the router: {_against(evidence)}.", command


def _lost(evidence: RouterEvidence) -> tuple[str, str]:
    reason = f"Do not deploy the router: {_against(evidence)}."
    return reason, _command("inspect", *evidence.calls)


def _against(evidence: RouterEvidence) -> str:
    return f"against {evidence.today.against}, {words_of(evidence.today)}"


def _points(gain: Interval) -> str:
    return f"{signed_points(gain.value)} points [{signed_points(gain.low)}, {signed_points(gain.high)}]"


def _unknown(evidence: RouterEvidence) -> str | None:
    """Why nothing can be said, or None."""
    today = evidence.today
    if evidence.refused is not None:
        return evidence.refused
    if evidence.groups < FEW:
        return f"{evidence.groups:,} independent prompts are too few, {FEW} are the least"
    if not known(today.success):
        return "the success rates are not known well enough for an interval"
    if not known(today.cost):
        return NO_COSTS
    return None if known(evidence.mix_gain) else "no single model is known well enough to compare with"


def _single(evidence: RouterEvidence) -> tuple[str, str]:
    """One model for everything, or a mix of two, because it is as good as the router."""
    if evidence.one_model is not None and _differs_nowhere(evidence):
        same = f"this one sends all requests to {evidence.one_model}, as {evidence.today.against} does"
        return f"Do without a router: {same}.", _command("inspect", *evidence.calls)
    if evidence.one_model is not None:
        gains = above(evidence.today.success) or below(evidence.today.cost)
        what = "Send all requests to" if gains else "Do without a router: this one sends all requests to"
        reason = f"{what} {evidence.one_model}{': the router does the same' if gains else ''}"
        return f"{reason} ({_against(evidence)}).", _alone(evidence, evidence.one_model)
    gain = f"at the router's cost (the router's gain: {_points(evidence.mix_gain)})"
    if len(evidence.mix) == 1:
        reason = f"Send all requests to {evidence.mix[0]}: it is at least as good {gain}."
    else:
        reason = (
            f"Do without a router: {' and '.join(evidence.mix)} mixed at random are at least as good {gain}."
        )
    return reason, _alone(evidence, evidence.mix[0])


def _traded(evidence: RouterEvidence) -> tuple[str, str]:
    """The trade-off as the price of one point of success, and a router that loses no more than the margin."""
    today = evidence.today
    price = dollars(abs(today.cost.value / today.success.value) * 10)
    worth = "less" if today.cost.value < 0 else "more"
    reason = (
        f"Deploy the router only if a point of success is worth {worth} than {price} per 1,000 requests to "
        f"you, or with another weight on cost; {_against(evidence)}."
    )
    weight = ["--out", f"{evidence.router}-safe", "--max-quality-loss", f"{SUCCESS_MARGIN:g}"]
    return reason, _command("train", *evidence.calls, *weight)


def _undecided(evidence: RouterEvidence) -> tuple[str, str]:
    """What would settle the question: a replay of prompts in the log if it has enough, else more outcomes."""
    reason, wanted = _open(evidence)
    more = min(_more_prompts(wanted, evidence.prompts), default=LEAST_JUDGED)
    start = f"The log can't tell: {reason.removesuffix('.')}."
    if reason == _same_choices(evidence):
        return f"{start} Only prompts on which they choose differently can.", _again(evidence)
    if reason == NO_COSTS:
        prices = ["--router", evidence.router, "--out", "report", "--config", "pointsman.yaml"]
        give = "Give the models prices in pointsman.yaml, or log `cost_usd` or token counts"
        return f"{start} {give}, then compare again.", _command("compare", *evidence.calls, *prices)
    again = _again(evidence)
    if more > MOST_PROMPTS:
        return f"{start} The difference is too small for any number of prompts to settle.", again
    settle = " to settle that" if wanted else ""
    if more > evidence.replayable:
        if not wanted:
            more = max(outcomes_missing(evidence.known), more)
        outcomes = "prompts with known outcomes" if wanted else "known outcomes"
        return f"{start} Collect about {more:,} more {outcomes}{settle}, then compare again.", again
    price = more * evidence.usd_per_prompt
    about = f" for about {dollars(price)}" if math.isfinite(price) else ""
    cents = max(math.ceil(price * 200), 1) if math.isfinite(price) else 0
    budget = f"{cents // 100}.{cents % 100:02d}" if cents else "USD"
    terms = ["--out", "replayed.jsonl", "--most", str(more), "--budget", budget]
    replay = _command("replay", *evidence.calls, "--router", evidence.router, "--purpose", "judge", *terms)
    return f"{start} Replay {more:,} prompts{about}{settle}, then compare again.", replay


def _again(evidence: RouterEvidence) -> str:
    return _command("compare", *evidence.calls, "MORE_CALLS", "--router", evidence.router, "--out", "report")


def _differs_nowhere(evidence: RouterEvidence) -> bool:
    """Whether the router does exactly what today's policy does."""
    changes = (evidence.today.success, evidence.today.cost)
    return all(end == 0 for part in changes for end in (part.low, part.value, part.high))


def _same_choices(evidence: RouterEvidence) -> str:
    return f"the router makes the same choices as {evidence.today.against}"


def outcomes_missing(known: Iterable[float]) -> int:
    """Further known outcomes until a router can be judged: `LEAST_JUDGED` of each model, unseen in training.

    Args:
        known: prompts with a known outcome of each model, among those that training does not see.

    Returns:
        Rounded up to two digits, because it is a rule of thumb.
    """
    missing = math.ceil(sum(max(LEAST_JUDGED - count, 0.0) for count in known))
    step: int = 10 ** max(len(str(missing)) - 2, 0)
    return math.ceil(missing / step) * step


def _open(evidence: RouterEvidence) -> tuple[str, list[tuple[Interval, float]]]:
    """Why nothing is shown, and the intervals that would have to exclude a value; any of them would do."""
    today, gain = evidence.today, evidence.mix_gain
    against = f"Against {today.against}: {words_of(today)}"
    unknown = _unknown(evidence)
    if unknown is not None:
        return unknown, []
    if _differs_nowhere(evidence):
        return _same_choices(evidence), []
    if not above(gain):
        mix = f"a mix of single models at random may be as good (the router's gain: {_points(gain)})"
        return f"{mix}. {against}", [(gain, 0.0), (gain, SUCCESS_MARGIN)]
    if below(today.cost):
        lost = f"a loss of over {decimal(SUCCESS_MARGIN * 100, 0)} point of success is not ruled out"
        return f"{lost}. {against}", [(today.success, -SUCCESS_MARGIN)]
    if above(today.success):
        dearer = f"costs higher by over {level(COST_MARGIN)} are not ruled out. {against}"
        return dearer, [(today.cost, COST_MARGIN * today.usd_per_call), (today.cost, 0.0)]
    return f"no gain without a possible loss is shown. {against}", [(today.success, 0.0), (today.cost, 0.0)]


_ADVICE: Mapping[Code, Callable[[RouterEvidence], tuple[str, str]]] = {
    "deploy": _deployed,
    "deploy_with_weight": _traded,
    "one_model": _single,
    "cannot_tell": _undecided,
    "losing": _lost,
}


def _more_prompts(wanted: Sequence[tuple[Interval, float]], prompts: int) -> Iterator[int]:
    """Further prompts after which a comparison would settle each question."""
    for interval, target in wanted:
        away, half = abs(interval.value - target), (interval.high - interval.low) / 2
        more = 1 if away >= half else calls_to_settle(away, half / TWO_SIDED_5_PERCENT, prompts)
        yield MOST_PROMPTS + 1 if more is None else more


def _alone(evidence: RouterEvidence, model: str) -> str:
    today = ["--today", f"always {model}"]
    return _command("compare", *evidence.calls, "--router", evidence.router, "--out", "report", *today)


def _command(name: str, *arguments: str) -> str:
    return shlex.join(["pointsman", name, *arguments])
