"""What the data report finds, as values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import polars as pl

from router.models.prices import listed_price
from router.records import Json
from router.settings.sections import Config
from training.inspecting.counting import LogCounts, count, matrix
from training.progress import Reporter, stage_steps
from training.prompts.from_logs import ReadOptions, calls_of, success_score_of
from training.prompts.languages import languages
from training.reading.summary import ReadSummary

MOST_TEMPLATES = 20
REPEATED = 5
"""A template is an opening that at least this many prompts share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The calls of one model, task type, day, outcome source or decision source; or all of them.

    Attributes:
        known: calls whose outcome is known.
        costed: calls whose cost is known; `cost_usd` is their sum.
        cut: calls whose logged text is not the whole text.
        contradicting: calls whose `success` contradicts their score.
    """

    name: str
    calls: int
    prompts: int
    known: int
    succeeded: int
    costed: int
    cost_usd: float
    with_propensity: int
    in_session: int
    cut: int
    contradicting: int

    @property
    def success(self) -> float:
        """Share of successes among the known outcomes; NaN if none is known."""
        return self.succeeded / self.known if self.known else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class CostCheck:
    """One model's logged costs beside tokens x LiteLLM's list price.

    Attributes:
        listed: whether LiteLLM lists a price for it.
        in_settings: whether the settings hold one.
        compared: calls with a cost and both token counts.
        logged_usd, listed_usd: sums over the compared calls.
        off: compared calls whose cost is more than 5 % off the list price.
    """

    model: str
    listed: bool
    in_settings: bool
    calls: int
    compared: int
    logged_usd: float
    listed_usd: float
    off: int

    @property
    def ratio(self) -> float:
        """Logged over listed cost; NaN if unknown."""
        return self.logged_usd / self.listed_usd if self.listed_usd else math.nan

    @property
    def off_share(self) -> float:
        """Share of the compared calls that are off; NaN if the list price is nothing or none was compared."""
        return self.off / self.compared if self.listed_usd else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Prompts that share an opening.

    Attributes:
        opening: the text that they share; None unless the report may show texts.
        models: number of these prompts that each model was tried on.
    """

    prompts: int
    models: Mapping[str, int]
    opening: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a call log holds.

    Attributes:
        models, task_types, sources, decisions: groups with the most calls first.
        days: in order.
        repeats: calls that repeat a prompt on the same model.
        repeated: pairs of prompt and model with more than one call.
        conflicts: those of the repeated pairs that have a success and a failure.
        conflicts_of_sources: those of the conflicts whose outcomes come from several sources.
        several_models: prompts that more than one model was tried on.
        in_templates: prompts that belong to a template.
        same: prompts that both models of a pair were tried on; on the diagonal, all prompts of the model.
        both_known: those of them for which both outcomes are known.
        alike: prompts of the first model that share an opening with a prompt of the second.
        languages: prompts of the sample by language.
    """

    reading: ReadSummary
    total: Group
    models: Sequence[Group]
    task_types: Sequence[Group]
    days: Sequence[Group]
    sources: Sequence[Group]
    decisions: Sequence[Group]
    repeats: int
    repeated: int
    conflicts: int
    conflicts_of_sources: int
    several_models: int
    in_templates: int
    templates: Sequence[Template]
    same: Mapping[str, Mapping[str, int]]
    both_known: Mapping[str, Mapping[str, int]]
    alike: Mapping[str, Mapping[str, int]]
    languages: Mapping[str, int]
    costs: Sequence[CostCheck]

    def to_json(self) -> dict[str, Json]:
        """Plain JSON values; None means unknown."""
        whole = asdict(self)
        whole["total"] |= {"success": _or_none(self.total.success)}
        for name in ("models", "task_types", "days", "sources", "decisions"):
            whole[name] = [
                asdict(group) | {"success": _or_none(group.success)} for group in getattr(self, name)
            ]
        whole["costs"] = [
            asdict(cost) | {"ratio": _or_none(cost.ratio), "off_share": _or_none(cost.off_share)}
            for cost in self.costs
        ]
        return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectJob:
    """One inspection.

    Attributes:
        show_text: keep the openings of templates.
    """

    sources: Sequence[str]
    reading: ReadOptions
    show_text: bool = False


def inspect_calls(job: InspectJob, reporter: Reporter) -> Inspection:
    """Read call logs and count what they hold, however many rows can't be read.

    Raises:
        CallLogError: a file is damaged or missing, or no row can be read.
    """
    config = job.reading.config
    lenient = config.model_copy(
        update={"training": config.training.model_copy(update={"max_reject_share": 1.0})}
    )
    with calls_of(job.sources, replace(job.reading, config=lenient), reporter) as files:
        counts = count(
            files,
            success_score=success_score_of(config),
            price_of=lambda model: listed_price(config.of(model).litellm_model, model),
            progress=stage_steps(reporter, "counting calls"),
            keep_text=job.show_text,
        )
    return inspection_of(files.summary, counts, config)


def inspection_of(summary: ReadSummary, counts: LogCounts, config: Config) -> Inspection:
    """The inspection that the sums amount to."""
    total = counts.table("total")
    models = _groups(counts, "model")
    in_templates, templates = _templates(counts)
    same = counts.table("same")
    extra = {
        name: int(total[name][0])
        for name in ("repeats", "repeated", "conflicts", "conflicts_of_sources", "several_models")
    }
    return Inspection(
        reading=summary,
        total=_group("all", total.row(0, named=True)),
        models=models,
        task_types=_groups(counts, "task_type"),
        days=sorted(_groups(counts, "day"), key=lambda day: day.name),
        sources=_groups(counts, "source"),
        decisions=_groups(counts, "decision"),
        in_templates=in_templates,
        templates=templates,
        same=matrix(same, "prompts"),
        both_known=matrix(same, "known"),
        alike=_alike(counts.table("template_model")),
        languages=_languages(counts),
        costs=_cost_checks(counts, models, config),
        **extra,
    )


def _groups(counts: LogCounts, name: str) -> list[Group]:
    rows = counts.table(name).sort(["calls", name], descending=[True, False])
    return [_group(row[name], row) for row in rows.iter_rows(named=True)]


def _group(name: str, row: Mapping[str, Json]) -> Group:
    return Group(name=name, **{field: row[field] for field in Group.__slots__ if field != "name"})


def _templates(counts: LogCounts) -> tuple[int, list[Template]]:
    """Number of prompts that belong to a template, and the largest templates."""
    shared = counts.table("template").filter(pl.col("prompts") >= REPEATED)
    largest = shared.sort(["prompts", "template"], descending=[True, False]).head(MOST_TEMPLATES)
    is_largest = pl.col("template").is_in(largest["template"].to_list())
    models: dict[int, dict[str, int]] = {}
    tried = (
        counts.table("template_model").filter(is_largest).sort("prompts", "model", descending=[True, False])
    )
    for template, model, prompts in tried.select("template", "model", "prompts").iter_rows():
        models.setdefault(template, {})[model] = prompts
    templates = [
        Template(prompts=prompts, models=models[template], opening=counts.openings.get(template))
        for template, prompts in largest.select("template", "prompts").iter_rows()
    ]
    return int(shared["prompts"].sum()), templates


def _alike(tried: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Prompts of each model with a template that another model was tried on as well."""
    others = tried.select("template", other="model")
    pairs = tried.join(others, on="template").group_by("model", "other").agg(pl.col("prompts").sum())
    return matrix(pairs, "prompts")


def _languages(counts: LogCounts) -> dict[str, int]:
    named = Counter(name for names in languages(counts.sample) for name in names)
    return dict(named.most_common())


def _cost_checks(counts: LogCounts, models: Sequence[Group], config: Config) -> list[CostCheck]:
    rows = {row["model"]: row for row in counts.table("price").iter_rows(named=True)}
    nothing = {"compared": 0, "cost_usd": 0.0, "listed_usd": 0.0, "off": 0}
    return [
        CostCheck(
            model=model.name,
            listed=listed_price(config.of(model.name).litellm_model, model.name) is not None,
            in_settings=config.of(model.name).price is not None,
            calls=model.calls,
            compared=row["compared"],
            logged_usd=row["cost_usd"],
            listed_usd=row["listed_usd"],
            off=row["off"],
        )
        for model in models
        for row in [rows.get(model.name, nothing)]
    ]


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
