"""Comparisons made by hand, to test what is told of one: each reader's case, and hostile ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from training.comparing.evaluated import (
    Calibration,
    ChangeFromToday,
    Claim,
    Comparison,
    CurveResult,
    Difference,
    Example,
    Kind,
    OffPolicy,
    PolicyResult,
    Promise,
    Provenance,
    Ranking,
    SliceResult,
    Support,
)
from training.recommending import Recommendation
from training.statistics.intervals import UNKNOWN, Interval

HOSTILE = (
    "</script><script>window.hacked = true; alert('x')</script>",
    "<img src=x onerror=\"window.hacked = true; alert('x')\">",
    "\"'><svg onload='window.hacked = true'><a href=\"javascript:window.hacked=true\">click</a>",
    "\u202e\u05de\u05d5\u05d3\u05dc\u202c \u2028 %{x} {{ 7 * 7 }} <b>bold</b>",
    "\U0001f682 \U0001f3f3\ufe0f\u200d\U0001f308 " + "long" * 1250,
)
"""Names and texts that would do harm if they were taken for markup, a script, a template or a short word."""
NEVER = Interval(value=math.inf, low=0.8, high=math.inf, above=1.0)
MODELS = ("gpt-4o", "claude-sonnet-4", "gpt-4o-mini", "llama-3.1-8b")
DOLLARS = dict(zip(MODELS, (4.10, 5.35, 0.41, 0.12), strict=True))
SUCCESS = dict(zip(MODELS, (0.842, 0.827, 0.761, 0.634), strict=True))


def of(value: float, half: float, *, reference: float = 0.0) -> Interval:
    """An interval of `half` on each side of its value."""
    return Interval(value=value, low=value - half, high=value + half, above=float(value > reference))


def difference(value: float, half: float, *, reference: float = 0.0) -> Difference:
    settled = abs(value - reference) > half
    return Difference(
        interval=of(value, half, reference=reference),
        p_value=0.001 if settled else 0.31,
        p_adjusted=0.012 if settled else 1.0,
        calls_to_settle=None if settled else 18_400,
    )


UNKNOWN_DIFFERENCE = Difference(interval=UNKNOWN, p_value=math.nan, p_adjusted=math.nan, calls_to_settle=None)


def policy(
    name: str, kind: Kind, success: float, dollars: float, *, model: str | None = None
) -> PolicyResult:
    """One policy on 2,400 prompts against a router of 83.6 % at $1.72 per 1,000 calls."""
    usd, half = dollars / 1000, 0.014
    return PolicyResult(
        name=name,
        kind=kind,
        model=model,
        aliases=(),
        same_as_router=False,
        prompts=2400,
        success=of(success, half),
        cost_usd_per_call=of(usd, usd * 0.04),
        cost_relative_to_best_single=of(usd / 0.0041, 0.03, reference=1),
        success_difference=difference(0.836 - success, half * 0.8),
        cost_ratio=difference(0.00172 / usd, 0.05, reference=1),
        cost_difference=of(0.00172 - usd, 0.0001),
        cost_at_equal_quality=of(0.71, 0.09, reference=1) if success < 0.845 else NEVER,
        quality_at_equal_cost=of(0.012, 0.01),
        regret=of(0.951 - success, half),
        label_agreement=0.41,
        shares={model: 1.0} if model else {"gpt-4o": 0.31, "gpt-4o-mini": 0.52, "llama-3.1-8b": 0.17},
        support=None,
    )


def policies() -> tuple[PolicyResult, ...]:
    singles = [
        policy(f"always {name}", "single model", SUCCESS[name], DOLLARS[name], model=name) for name in MODELS
    ]
    named = ("best single", "all-strong", "", "all-cheap")
    singles = [replace(one, aliases=(name,) * bool(name)) for one, name in zip(singles, named, strict=True)]
    return (
        policy("best single", "baseline", SUCCESS["gpt-4o"], DOLLARS["gpt-4o"], model="gpt-4o"),
        policy("all-cheap", "baseline", 0.634, 0.12, model="llama-3.1-8b"),
        policy("all-strong", "baseline", 0.827, 5.35, model="claude-sonnet-4"),
        policy("mean per task type", "baseline", 0.839, 1.36),
        policy("k nearest neighbours", "baseline", 0.838, 1.58),
        policy("keyword heuristic", "baseline", 0.781, 2.20),
        policy("LiteLLM complexity v1", "baseline", 0.776, 1.95),
        policy("LiteLLM heuristic_v2", "baseline", 0.785, 1.83),
        policy("rule table", "baseline", 0.801, 2.75),
        policy("random", "baseline", 0.766, 2.48),
        policy("router v6", "other router", 0.829, 1.66),
        policy("choices.jsonl", "own policy", 0.812, 2.02),
        policy("the log", "logged", 0.823, 3.35),
        policy("cost-matched shuffle", "control", 0.772, 1.72),
        policy("oracle", "bound", 0.951, 0.61),
        *singles,
    )


def curve(name: str, best: float, steepness: float) -> CurveResult:
    """A concave curve of 60 weights, from dear to cheap."""
    part = [1 - step / 59 for step in range(60)]
    success = tuple(0.634 + (best - 0.634) * (1 - math.exp(-steepness * at)) for at in part)
    return CurveResult(
        name=name,
        weight=tuple(float(2**step) for step in range(60)),
        success=success,
        success_ci_low=tuple(value - 0.013 for value in success),
        success_ci_high=tuple(value + 0.013 for value in success),
        cost_usd_per_call=tuple((0.12 + 4.4 * at**1.5) / 1000 for at in part),
        cost_at_best=of(0.52, 0.11, reference=1) if best > 0.845 else NEVER,
        aiq=of(0.79 if best > 0.845 else 0.78, 0.008),
    )


def slice_(dimension: str, name: str, prompts: int, gain: float) -> SliceResult:
    half = 0.6 / math.sqrt(prompts)
    return SliceResult(
        dimension=dimension,
        name=name,
        prompts=prompts,
        router_success=0.82 + gain,
        reference_success=0.82,
        success_difference=difference(gain, half),
        router_cost_usd_per_call=0.0016,
        cost_ratio=of(0.48, 0.06, reference=1),
        rule_share=0.08,
    )


def slices() -> tuple[SliceResult, ...]:
    return (
        slice_("task type", "summarize", 740, 0.021),
        slice_("task type", "extract", 610, -0.004),
        slice_("task type", "code", 520, -0.061),
        slice_("task type", "translate", 330, 0.011),
        slice_("task type", "", 200, -0.012),
        slice_("tag", "customer-facing", 410, 0.004),
        slice_("language", "en", 1980, 0.002),
        slice_("language", "de", 420, -0.017),
        slice_("length", "up to 200 tokens", 1310, 0.003),
        slice_("length", "over 2,000 tokens", 190, -0.118),
        slice_("tools", "with tools", 260, 0.0),
        slice_("decision source", "learned", 2210, 0.001),
        slice_("decision source", "rule", 190, 0.0),
        slice_("confidence", "0.9 to 1.0", 980, 0.004),
    )


def calibration() -> Calibration:
    edges = [(step + 1) / 15 for step in range(5, 15)]
    counts = (31, 54, 92, 140, 205, 298, 391, 446, 428, 315)
    return Calibration(
        expected_calibration_error=0.021,
        brier=0.118,
        all_models_expected_calibration_error=0.027,
        all_models_brier=0.143,
        bins=tuple(
            {
                "upper_edge": edge,
                "prompts": count,
                "confidence": edge - 0.033,
                "success": min(1.0, edge - 0.033 + 0.03 * math.sin(9 * edge)),
            }
            for edge, count in zip(edges, counts, strict=True)
        ),
        risk_coverage=tuple(
            {"coverage": at / 50, "threshold": 0.99 - 0.6 * at / 50, "risk": 0.03 + 0.134 * (at / 50) ** 1.4}
            for at in range(1, 51)
        ),
        risk_coverage_area=0.081,
    )


def verdict() -> tuple[Claim, ...]:
    return (
        Claim(
            outcome="loss",
            against="mean per task type",
            text="Against mean per task type: success -0.3 points [-1.4, +0.8]: not shown to differ; cost "
            "+$0.35 per 1,000 (+26 %) [+$0.28, +$0.42]: dearer.",
            success="not shown to differ",
            cost="dearer",
        ),
        Claim(
            outcome="loss",
            against="gpt-4o by length",
            text="On 2 slices it succeeds less often than gpt-4o: over 2,000 tokens (-11.8 points [-16.2, "
            "-7.4] at 48 % [42, 54] of its cost) and code (-6.1 points [-8.7, -3.5] at 48 % [42, 54] of its "
            "cost).",
        ),
        Claim(
            outcome="undecided",
            against="k nearest neighbours",
            text="Against k nearest neighbours: success -0.2 points [-1.3, +0.9]: not shown to differ; cost "
            "+$0.14 per 1,000 (+9 %) [-$0.02, +$0.30]: not shown to differ.",
            success="not shown to differ",
            cost="not shown to differ",
        ),
        Claim(
            outcome="trade-off",
            against="all-cheap",
            text="Against all-cheap (llama-3.1-8b): success +20.2 points [+19.1, +21.3]: more successful; "
            "cost +$1.60 per 1,000 (+1333 %) [+$1.54, +$1.66]: dearer.",
            success="more successful",
            cost="dearer",
        ),
        Claim(
            outcome="win",
            against="keyword heuristic",
            text="Against keyword heuristic: success +5.5 points [+4.4, +6.6]: more successful; cost -$0.48 "
            "per 1,000 (-22 %) [-$0.59, -$0.37]: cheaper.",
            success="more successful",
            cost="cheaper",
        ),
        Claim(
            outcome="win",
            against="cost-matched shuffle",
            text="It knows which prompt needs which model: against its own choices shuffled over the "
            "prompts, success +6.4 points [+5.3, +7.5]: more successful; cost +$0.00 per 1,000 (+0 %) "
            "[-$0.08, +$0.08]: not shown to differ.",
            success="more successful",
            cost="not shown to differ",
        ),
    )


def examples() -> tuple[Example, ...]:
    def example(key: str, text: str | None, ours: float, theirs: float) -> Example:
        return Example(
            key=key * 8,
            text=text,
            task_type="code",
            router_model="gpt-4o-mini",
            reference_model="gpt-4o",
            router_success=ours,
            reference_success=theirs,
            router_confidence=0.78,
        )

    return (
        example("a1b2", "Write a function that merges two sorted linked lists in place.", 0.0, 1.0),
        example("c3d4", "Translate to French: “The train on platform 4 is late.”", 1.0, 0.0),
        example("e5f6", None, 1.0, 1.0),
        example("0718", "Explain this stack trace:\n  File x.py, line 3\nKeyError: 'model'", math.nan, 1.0),
    )


def promise(*, weight: float | None = 812.0) -> Promise:
    return Promise(
        max_quality_loss=0.02,
        confidence=0.95,
        weight=weight,
        calibration_prompts=1200,
        bound=0.0187,
        test_prompts=2400,
        loss=of(0.006, 0.011),
        cost_ratio=of(0.47, 0.05, reference=1),
        kept=True,
        method="Learn then Test, fixed-sequence testing with Hoeffding-Bentkus p-values "
        "(Angelopoulos et al. 2021)",
        assumptions=("New requests are drawn as the calibration prompts were.", "Sessions are independent."),
    )


def exact() -> Comparison:
    """Four models of which every outcome is known, a router that saves, and two losses."""
    router = policy("router", "router", 0.836, 1.72)
    return Comparison(
        method="exact",
        recommendation=Recommendation(
            code="deploy",
            sentence="Deploy the router against best single: success -0.2 points [-0.9, +0.4]: not shown to "
            "differ; cost -$2.38 per 1,000 (-58 %) [-$2.55, -$2.21]: cheaper.",
            next="pointsman route --router models/support",
        ),
        change=ChangeFromToday(
            today="best single", usd_per_1000=of(-2.38, 0.17), failures_per_1000=of(6.1, 9.8)
        ),
        verdict=verdict(),
        provenance=Provenance(
            router_version="support-bot v7",
            data_digest="sha256:9f2c4e1ab07d55c3",
            left_out={"seen in training": 9120, "not every model was tried": 311},
            objective="least cost at the best single model's success rate",
            dominated={"claude-sonnet-4": "gpt-4o"},
        ),
        models=MODELS,
        prompts=2400,
        clusters=1812,
        costs_known=True,
        best_single="gpt-4o",
        router=router,
        policies=policies(),
        cost_at_equal_quality=of(0.52, 0.11, reference=1),
        quality_at_equal_cost=of(0.011, 0.009),
        curves=(
            curve("learned policy", 0.858, 3.4),
            curve("router v6", 0.846, 3.2),
            curve("mean per task type", 0.842, 3.8),
        ),
        equal_quality=of(1.08, 0.12, reference=1),
        ranking=Ranking(
            weak="llama-3.1-8b",
            strong="gpt-4o",
            apgr=of(0.71, 0.03, reference=0.5),
            cpt_50=of(0.24, 0.03),
            cpt_80=of(0.49, 0.05),
            auc=of(0.741, 0.018, reference=0.5),
            auc_by_score={"keyword heuristic": of(0.52, 0.02), "LiteLLM heuristic_v2": of(0.62, 0.02)},
        ),
        calibration=calibration(),
        sources={"learned": 0.92, "rule": 0.08},
        reference="best single",
        slices=slices(),
        examples=examples(),
        promise=promise(),
        off_policy=None,
        text_shown=True,
        looked_at={"policies": 18, "slices": 14},
        warnings=("On these prompts 3 % of the costs were estimated from today's prices.",),
        n_resamples=2000,
        seed=0,
    )


def support(*, refused: str | None = None) -> Support:
    names = ("direct method", "IPS", "self-normalised IPS", "doubly robust", "switch-DR")
    return Support(
        matched_share=0.38,
        mean_weight=0.98,
        effective_sample_size=1430.0,
        largest_weight_share=0.011,
        weight_quantiles={"0.5": 1.4, "0.9": 4.2, "0.99": 13.8, "1": 41.0},
        refused=refused,
        cost_refused=refused,
        estimates={} if refused else {name: of(0.83 + 0.002 * at, 0.02) for at, name in enumerate(names)},
        cost_estimates={} if refused else {name: of(0.0017, 0.0002) for name in names},
    )


def supported(result: PolicyResult) -> PolicyResult:
    if result.name not in ("oracle", "LiteLLM complexity v1"):
        return replace(result, support=support(), regret=UNKNOWN, label_agreement=math.nan)
    why = "the log never took its choice on 41 % of the calls"
    return replace(
        result,
        support=support(refused=why),
        success=UNKNOWN,
        cost_usd_per_call=UNKNOWN,
        cost_relative_to_best_single=UNKNOWN,
        success_difference=UNKNOWN_DIFFERENCE,
        cost_ratio=UNKNOWN_DIFFERENCE,
        cost_difference=UNKNOWN,
        cost_at_equal_quality=UNKNOWN,
        quality_at_equal_cost=UNKNOWN,
        regret=UNKNOWN,
        label_agreement=math.nan,
    )


def off_policy() -> Comparison:
    """A log of one call per prompt, of which two policies can't be judged."""
    case = exact()
    overlap: tuple[Mapping[str, str | float], ...] = (
        {"task_type": "summarize", "calls": 740, "effective_sample_size": 402.0, "least_propensity": 0.05},
        {"task_type": "code", "calls": 520, "effective_sample_size": 18.0, "least_propensity": 0.004},
        {"task_type": "", "calls": 200, "effective_sample_size": 97.0, "least_propensity": 0.05},
    )
    return replace(
        case,
        method="off-policy",
        change=replace(case.change, today="the log"),
        router=supported(case.router),
        policies=tuple(supported(one) for one in case.policies),
        ranking=None,
        reference="the log",
        off_policy=OffPolicy(
            propensities="estimated",
            outcome_model="ridge regression on the embedding, cross-fitted in 5 folds",
            calls=2400,
            overlap=overlap,
            propensity_calibration_error=0.034,
            warnings=("On code the log gives 18 effective calls: its estimate rests on the outcome model.",),
        ),
        promise=promise(weight=None),
    )


def unknown_costs() -> Comparison:
    """Success rates alone."""

    def priceless(one: PolicyResult) -> PolicyResult:
        return replace(
            one,
            cost_usd_per_call=UNKNOWN,
            cost_relative_to_best_single=UNKNOWN,
            cost_ratio=UNKNOWN_DIFFERENCE,
            cost_difference=UNKNOWN,
            cost_at_equal_quality=UNKNOWN,
            quality_at_equal_cost=UNKNOWN,
        )

    case = exact()
    return replace(
        case,
        costs_known=False,
        change=replace(case.change, usd_per_1000=UNKNOWN),
        router=priceless(case.router),
        policies=tuple(priceless(one) for one in case.policies),
        cost_at_equal_quality=UNKNOWN,
        quality_at_equal_cost=UNKNOWN,
        curves=(),
        equal_quality=None,
        slices=tuple(
            replace(one, cost_ratio=UNKNOWN, router_cost_usd_per_call=math.nan) for one in case.slices
        ),
        promise=None,
    )


def one_model() -> Comparison:
    """Nothing to choose from, and nothing to tell: no slice, no example, no verdict, one prompt."""
    case = exact()
    only = policy("best single", "baseline", 0.836, 1.72, model="gpt-4o")
    return replace(
        case,
        change=ChangeFromToday(today="best single", usd_per_1000=UNKNOWN, failures_per_1000=UNKNOWN),
        verdict=(),
        provenance=Provenance(router_version="v1", data_digest="d1"),
        models=("gpt-4o",),
        prompts=1,
        clusters=1,
        router=replace(
            policy("router", "router", 1.0, 1.72, model="gpt-4o"), success=replace(UNKNOWN, value=1)
        ),
        policies=(replace(only, same_as_router=True, success=replace(UNKNOWN, value=1.0)),),
        curves=(),
        equal_quality=None,
        ranking=None,
        calibration=replace(calibration(), bins=(), risk_coverage=(), expected_calibration_error=math.nan),
        slices=(),
        examples=(),
        promise=None,
        looked_at={},
        warnings=("There is only one model, gpt-4o: nothing can be routed.",),
    )


def hostile(case: Comparison) -> Comparison:
    """A comparison whose every text from outside is hostile."""
    script, image, quotes, _, long = HOSTILE
    names = dict(zip(case.models, (script, image, quotes, long), strict=False))

    def renamed(one: PolicyResult) -> PolicyResult:
        return replace(
            one,
            model=names.get(one.model or "", one.model),
            name={"router v6": long, "choices.jsonl": script, "all-cheap": image}.get(one.name, one.name),
            shares={names.get(name, name): share for name, share in one.shares.items()},
        )

    return replace(
        case,
        models=tuple(names.values()),
        best_single=script,
        change=replace(case.change, today=long),
        verdict=tuple(
            replace(one, text=f"{one.text} {text}") for one, text in zip(case.verdict, HOSTILE, strict=False)
        ),
        provenance=replace(
            case.provenance,
            router_version=script,
            objective=image,
            left_out={quotes: 3},
            dominated={long: script},
        ),
        policies=tuple(renamed(one) for one in case.policies),
        curves=tuple(replace(one, name=name) for one, name in zip(case.curves, HOSTILE, strict=False)),
        sources={script: 0.9, long: 0.1},
        slices=tuple(
            replace(one, name=HOSTILE[at % 5], dimension=one.dimension) for at, one in enumerate(case.slices)
        ),
        examples=tuple(
            replace(one, text=text, task_type=text, router_model=text)
            for one, text in zip((*case.examples, case.examples[0]), HOSTILE, strict=True)
        ),
        warnings=HOSTILE,
    )


CASES: Mapping[str, Callable[[], Comparison]] = {
    "exact": exact,
    "off-policy": off_policy,
    "costs unknown": unknown_costs,
    "one model": one_model,
    "hostile": lambda: hostile(exact()),
    "hostile off-policy": lambda: hostile(off_policy()),
}
"""By name; each makes a comparison."""
