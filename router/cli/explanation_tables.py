"""An explanation as tables, with sentences on what would change the decision."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.cli.console import one_line_text
from router.explaining.change import Change
from router.explaining.explain import Evidence, Explanation, Prospect
from router.explaining.nearest import Neighbour
from router.numbers import decimal, rate, signed, significant, usd_per_thousand

WIDE = 200
"""Width of the tables if they do not go to a terminal."""
RULES_ALONE = "Rules alone decide: no chance of success is known before a router is trained on a log."
NO_KEYS = "The nearest training prompts are missing: this router's folder does not hold their keys."


def print_explanation(explanation: Explanation) -> None:
    """Print an explanation to standard output."""
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, emoji=False, width=WIDE)
    console.print(_decision_line(explanation), soft_wrap=True)
    console.print(_prospects(explanation))
    if explanation.evidence is None or explanation.similarity is None:
        console.print(RULES_ALONE, soft_wrap=True)
        return
    console.print(_evidence(explanation.evidence))
    if explanation.neighbours is None:
        console.print(NO_KEYS, soft_wrap=True)
    else:
        console.print(_nearest(explanation.neighbours, explanation.similarity))
    for sentence in sentences_on(explanation):
        console.print(one_line_text(sentence), soft_wrap=True)


def sentences_on(explanation: Explanation) -> Iterator[str]:
    """Say what may follow the answer, and what would send the request to another model."""
    change, decision = explanation.change, explanation.decision
    if (following := explanation.cascade) is not None:
        yield (
            f"If the answer looks wrong, one of {', '.join(following.models)} is asked too: the one worth "
            f"most, if that is over {decimal(following.threshold)} more in success, its cost included "
            "(cascade: auto)."
        )
    if decision is None:
        yield "Relax the limits, or add a model."
    elif change is None:
        yield "No other model is possible: this one was pinned, or the limits left no other."
    elif decision.source == "rule":
        yield from _missing_for_policy(change)
    else:
        yield from _sufficient_changes(change, decision.model, explanation)


def _missing_for_policy(change: Change) -> Iterator[str]:
    yield f"The policy's own choice is {change.model}. It would decide"
    if change.missing_confidence is not None:
        yield f"- if its confidence were {decimal(100 * change.missing_confidence, 1)} points higher"
    if change.missing_similarity is not None:
        yield f"- if the nearest training prompts were more alike by {decimal(change.missing_similarity)}"


def _sufficient_changes(change: Change, chosen: str, explanation: Explanation) -> Iterator[str]:
    """Yield a sentence for each change that alone sends the request to the next model."""
    now = {one.model: one.success_probability for one in explanation.prospects}
    other = change.model
    yield f"The router would choose {other} instead"
    if change.success_probability is not None:
        yield f"- if its chance of success were above {_percent(change.success_probability, now[other])}"
    if change.cost_share is not None:
        yield f"- if its cost were below {_share(change.cost_share)} the present one"
    if change.chosen_success_probability is not None:
        limit = _percent(change.chosen_success_probability, now[chosen])
        yield f"- if the chance of {chosen} were below {limit}"
    if change.chosen_cost_share is not None:
        yield f"- if the cost of {chosen} were above {_share(change.chosen_cost_share)} the present one"
    if change.tradeoff is not None:
        yield f"- with a trade-off of {decimal(change.tradeoff)} (0: success, 0.5: as trained, 1: cost)"


def _decision_line(explanation: Explanation) -> Text:
    decision = explanation.decision
    if decision is None:
        return one_line_text("no model may serve this request")
    return Text.assemble(
        (one_line_text(decision.model).plain, "bold"),
        f" ({decision.source}): ",
        one_line_text(decision.reason),
    )


def _prospects(explanation: Explanation) -> Table:
    """Chance and cost per model, with the reason if a model is ruled out."""
    table = Table(box=SIMPLE)
    table.add_column("model", overflow="fold")
    for header in ("success", "USD per 1k calls", "value"):
        table.add_column(header, justify="right")
    table.add_column("", overflow="fold")
    chosen = explanation.decision.model if explanation.decision else None
    for prospect in explanation.prospects:
        table.add_row(*_prospect_cells(prospect, chosen))
    return table


def _prospect_cells(prospect: Prospect, chosen: str | None) -> Iterator[Text]:
    cost = prospect.expected_cost_usd
    yield one_line_text(prospect.model)
    known = not math.isnan(prospect.value)
    yield Text(rate(prospect.success_probability) if known else "unknown")
    yield Text(usd_per_thousand(cost))
    yield Text(decimal(prospect.value) if known else "unknown")
    note = "chosen" if prospect.model == chosen else prospect.rejected and f"ruled out: {prospect.rejected}"
    yield one_line_text(note or "")


def _evidence(evidence: Evidence) -> Table:
    """The effect of each group of features on the odds, starting from a request with none known."""
    title = one_line_text(f"evidence for the chance of {evidence.model}")
    table = Table(box=SIMPLE, title=title, title_justify="left")
    table.add_column("")
    for header in ("log odds", "odds times", "success"):
        table.add_column(header, justify="right")
    table.add_row("nothing known", "", "", rate(evidence.reference))
    for group, weight in sorted(evidence.log_odds.items(), key=lambda item: -abs(item[1])):
        table.add_row(group, signed(weight, 2), decimal(math.exp(weight), 2), "")
    table.add_row("this request", "", "", rate(evidence.success_probability))
    return table


def _nearest(neighbours: tuple[Neighbour, ...], similarity: float) -> Table:
    title = f"nearest training prompts (mean similarity {decimal(similarity, 2)})"
    table = Table(box=SIMPLE, title=title, title_justify="left")
    table.add_column("key", no_wrap=True)
    table.add_column("similarity", justify="right")
    for header in ("succeeded", "failed", "sometimes"):
        table.add_column(header, overflow="fold")
    if any(neighbour.text is not None for neighbour in neighbours):
        table.add_column("text", overflow="fold")
    for neighbour in neighbours:
        table.add_row(*_neighbour_cells(neighbour))
    return table


def _neighbour_cells(neighbour: Neighbour) -> Iterator[Text]:
    outcomes = neighbour.outcomes.items()
    yield Text(neighbour.key)
    yield Text(decimal(neighbour.cosine, 2))
    yield one_line_text(", ".join(model for model, share in outcomes if share == 1.0))
    yield one_line_text(", ".join(model for model, share in outcomes if share == 0.0))
    yield one_line_text(
        ", ".join(f"{model} ({rate(share)})" for model, share in outcomes if 0.0 < share < 1.0)
    )
    if neighbour.text is not None:
        yield one_line_text(neighbour.text)


def _percent(limit: float, now: float) -> str:
    return f"{rate(limit)} (it is {rate(now)})"


def _share(share: float) -> str:
    return f"{rate(share)} of" if share < 2.0 else f"{significant(share, 3)} times"
