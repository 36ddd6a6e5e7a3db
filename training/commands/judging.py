"""The options of `pointsman import` for a judge model, and the question before it calls one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from router.cli.console import Stages, print_json, say
from router.errors import ConfigError
from router.records import Json
from router.settings.outcome_rules import JudgeRule, OutcomeRule, usual_rules
from router.settings.sections import Config
from training.commands.paying import confirm_price, coverage, usd

if TYPE_CHECKING:
    from training.judging.run import JudgeOffer, JudgeTerms
    from training.reading.summary import ReadSummary

Judge = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="MODEL",
        help="Let a model judge a sample of the answers that no other rule judges.",
    ),
]
Rubric = Annotated[
    Path | None,
    typer.Option("--judge-rubric", help="File that describes a good answer."),
]
Most = Annotated[int | None, typer.Option("--judge-most", min=1, help="Most calls to judge; default: 500.")]
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        "--judge-budget", metavar="USD", min=0, help="Most that all imports into this --out may spend."
    ),
]
Repeats = Annotated[
    int | None, typer.Option("--judge-repeats", min=1, max=25, help="Judgements of each answer; default: 1.")
]
OwnAnswers = Annotated[
    bool, typer.Option("--judge-own-answers", help="Let the judge grade answers of its own model.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what the judge would cost; call no model and write nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Call without asking first.")]


def judge_options(
    model: str | None,
    rubric: Path | None,
    most: int | None,
    budget: float | None,
    repeats: int | None,
    *,
    own_answers: bool,
) -> Mapping[str, Json]:
    """The judge settings that a command line gives, by their names in the settings file."""
    settings = {
        "model": model,
        "rubric": None if rubric is None else str(rubric),
        "most": most,
        "budget_usd": budget,
        "repeats": repeats,
        "own_answers": own_answers or None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def with_judge(config: Config, options: Mapping[str, Json]) -> Config:
    """Add a judge to the outcome rules, or change the one that is there, as the command line requests.

    A new judge comes last, but before an `otherwise`. If the settings declare no rules, rules that give a
    log's own outcomes their usual meaning come before it.

    Args:
        options: as `judge_options` returns them; if there are none, the settings stay as they are.

    Raises:
        ConfigError: the options change a judge that does not exist, or a value is wrong.
    """
    if not options:
        return config
    present = config.outcomes.judge
    if present is None and "model" not in options:
        name = next(iter(options)).removesuffix("_usd").replace("_", "-")
        raise ConfigError(
            f"--judge-{name}: there is no judge to change; give --judge MODEL, or declare a judge in "
            "outcomes.rules"
        )
    before = present[1].model_dump(exclude_unset=True) if present else {}
    try:
        rule = OutcomeRule(judge=JudgeRule.model_validate({**before, **options}))
    except ValidationError as error:
        raise ConfigError(f"--judge: {error.errors()[0]['msg'].lower()}") from error
    rules = list(config.outcomes.rules)
    if present:
        rules[present[0]] = rule
    else:
        rules = rules or usual_rules(config.training.success_score)
        rules.insert(len(rules) - bool(rules[-1].otherwise), rule)
    outcomes = config.outcomes.model_copy(update={"rules": rules})
    return config.model_copy(update={"outcomes": outcomes})


def judge_terms(out: Path, agree: Callable[[JudgeOffer], None]) -> JudgeTerms:
    """The terms on which an import into a file calls its judge."""
    from training.judging.run import JudgeTerms, record_beside

    return JudgeTerms(record=record_beside(out), agree=agree)


def asked_first(progress: Stages, *, yes: bool, dry_run: bool, as_json: bool) -> Callable[[JudgeOffer], None]:
    """Return a function that shows an offer and asks whether to take it.

    The function raises:
        ConfigError: there is no terminal to ask at.
        typer.Abort: the answer is no.
        typer.Exit: it is a dry run.
    """

    def agree(offer: JudgeOffer) -> None:
        if not progress.bars.disable:
            progress.bars.stop()
        if dry_run and as_json:
            print_json(_offer_json(offer))
        elif not as_json:
            _show(offer, print if dry_run else say)
        if dry_run:
            raise typer.Exit
        if offer.calls and not yes:
            confirm_price(offer.calls, offer.expected_usd, offer.at_most_usd, offer.affordable)
        if not progress.bars.disable:
            progress.bars.start()

    return agree


def calls_failed(summary: ReadSummary) -> bool:
    """Whether an import lacks judgements because calls of its judge failed."""
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


def _show(offer: JudgeOffer, say: Callable[[str], None]) -> None:
    plan = offer.plan
    say(
        f"judge {plan.rule.model}: {len(plan.sample)} of {plan.eligible} calls that no rule before it "
        f"decides, {plan.rule.repeats} judgement(s) of each answer"
    )
    for reason, count in plan.set_apart.items():
        say(f"  {count} calls are left out: {reason}")
    if offer.reused:
        say(f"  {offer.reused} judgements come from earlier imports")
    if offer.over_budget:
        say(f"  {offer.over_budget} calls are left out: they may cost more than the rest of the budget")
    say(
        f"  {offer.calls} calls for about {usd(offer.expected_usd)}, at most {usd(offer.at_most_usd)}; of "
        f"the budget of {usd(offer.budget_usd)}, {usd(offer.spent_usd)} is spent: "
        f"{coverage(offer.affordable, offer.calls)}"
    )
