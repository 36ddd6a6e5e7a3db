"""What `pointsman import` takes for a judge model, and how it asks before it calls one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from router.cli.console import Stages, print_json, say
from router.errors import ConfigError
from router.records import Json
from router.settings.outcome_rules import ErrorRule, EvaluationRule, FeedbackRule, JudgeRule, OutcomeRule
from router.settings.sections import Config
from training.commands.paying import confirm_price, told_borne, usd

if TYPE_CHECKING:
    from training.judging.run import JudgeOffer, JudgeTerms
    from training.reading.summary import ReadSummary

Judge = Annotated[
    str | None,
    typer.Option(
        "--judge", metavar="MODEL", help="Let a model judge answers that no other rule does, on a sample."
    ),
]
Rubric = Annotated[
    Path | None,
    typer.Option("--judge-rubric", help="File that says what a good answer is."),
]
Most = Annotated[int | None, typer.Option("--judge-most", min=1, help="Calls judged at most; 500.")]
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        "--judge-budget", metavar="USD", min=0, help="Most that all imports into this --out may cost."
    ),
]
Repeats = Annotated[
    int | None, typer.Option("--judge-repeats", min=1, max=25, help="Verdicts on each answer; 1.")
]
OwnAnswers = Annotated[
    bool, typer.Option("--judge-own-answers", help="The judge may grade answers of its own model.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what the judge would cost; call nobody, and write nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before calling.")]


def judge_options(
    model: str | None,
    rubric: Path | None,
    most: int | None,
    budget: float | None,
    repeats: int | None,
    *,
    own_answers: bool,
) -> Mapping[str, Json]:
    """The settings of a judge that a command line gives, by their names in the file."""
    given = {
        "model": model,
        "rubric": None if rubric is None else str(rubric),
        "most": most,
        "budget_usd": budget,
        "repeats": repeats,
        "own_answers": own_answers or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def with_judge(config: Config, given: Mapping[str, Json]) -> Config:
    """The settings with a judge among the outcome rules, where the command line asks for one or changes it.

    A new one goes to the end, before an `otherwise`. Where there are no rules, those that say what a log's
    own outcomes mean without rules go before it.

    Raises:
        ConfigError: there is no judge that the options could change, or a value is wrong.
    """
    if not given:
        return config
    present = config.outcomes.judge
    if present is None and "model" not in given:
        name = next(iter(given)).removesuffix("_usd").replace("_", "-")
        raise ConfigError(
            f"--judge-{name}: there is no judge; give --judge MODEL, or a judge among the rules of outcomes"
        )
    before = present[1].model_dump(exclude_unset=True) if present else {}
    try:
        rule = OutcomeRule(judge=JudgeRule.model_validate({**before, **given}))
    except ValidationError as error:
        raise ConfigError(f"--judge: {error.errors()[0]['msg'].lower()}") from error
    rules = list(config.outcomes.rules)
    if present:
        rules[present[0]] = rule
    else:
        rules = rules or _as_without_rules(config)
        rules.insert(len(rules) - bool(rules[-1].otherwise), rule)
    outcomes = config.outcomes.model_copy(update={"rules": rules})
    return config.model_copy(update={"outcomes": outcomes})


def _as_without_rules(config: Config) -> list[OutcomeRule]:
    """The rules that say what a log's own outcomes mean where there are none."""
    score = config.training.success_score
    return [
        OutcomeRule(feedback=FeedbackRule()),
        OutcomeRule(error=ErrorRule()),
        OutcomeRule(evaluation=EvaluationRule(min_score=score)),
    ]


def judge_terms(out: Path, agree: Callable[[JudgeOffer], None]) -> JudgeTerms:
    """How an import into a file asks its judge."""
    from training.judging.run import JudgeTerms, record_beside

    return JudgeTerms(record=record_beside(out), agree=agree)


def asked_first(progress: Stages, *, yes: bool, dry_run: bool, as_json: bool) -> Callable[[JudgeOffer], None]:
    """What shows an offer and asks whether to take it.

    Raises, when called:
        ConfigError: there is nobody to ask.
        typer.Abort: the answer is no.
        typer.Exit: nothing is to be called.
    """

    def agree(offer: JudgeOffer) -> None:
        if not progress.bars.disable:
            progress.bars.stop()
        if dry_run and as_json:
            print_json(_offer_json(offer))
        elif not as_json:
            _show(offer)
        if dry_run:
            raise typer.Exit
        if offer.calls and not yes:
            confirm_price(offer.calls, offer.expected_usd, offer.at_most_usd, offer.affordable)
        if not progress.bars.disable:
            progress.bars.start()

    return agree


def calls_failed(summary: ReadSummary) -> bool:
    """Whether an import lacks verdicts because calls of its judge failed."""
    report = summary.outcomes.judge if summary.outcomes else None
    return bool(report and (report.failed or report.given_up))


def _offer_json(offer: JudgeOffer) -> Json:
    plan = offer.plan
    return {
        "judge": plan.rule.model,
        "eligible": plan.eligible,
        "sampled": len(plan.sample),
        "set_apart": dict(plan.set_apart),
        "repeats": plan.rule.repeats,
        "calls": offer.calls,
        "surely_borne": offer.affordable.surely,
        "expected_borne": offer.affordable.expected,
        "over_budget": offer.over_budget,
        "reused": offer.reused,
        "expected_usd": offer.expected_usd,
        "at_most_usd": offer.at_most_usd,
        "budget_usd": offer.budget_usd,
        "spent_usd": offer.spent_usd,
    }


def _show(offer: JudgeOffer) -> None:
    plan = offer.plan
    say(
        f"judge {plan.rule.model}: {len(plan.sample)} of {plan.eligible} calls that no rule before it "
        f"decides, {plan.rule.repeats} verdict(s) on each answer"
    )
    for reason, count in plan.set_apart.items():
        say(f"  {count} calls are left out: {reason}")
    if offer.reused:
        say(f"  {offer.reused} verdicts are there from earlier imports")
    if offer.over_budget:
        say(f"  {offer.over_budget} calls may cost more than what is left of the budget, and are not made")
    say(
        f"  {offer.calls} calls for about {usd(offer.expected_usd)}, at most {usd(offer.at_most_usd)}; "
        f"of the budget of {usd(offer.budget_usd)}, {usd(offer.spent_usd)} is spent: "
        f"{told_borne(offer.affordable, offer.calls)}"
    )
