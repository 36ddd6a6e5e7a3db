"""Sums over a call log, bucket by bucket: small tables, whatever the number of calls."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from router.models.prices import ModelPrice
from router.records import Json, Request
from training.prompts.languages import MOST_READ, asked_text
from training.prompts.table import stored_request

if TYPE_CHECKING:
    import daft

    from training.reading.calls import CallFiles
    from training.reading.read_pass import Progress

OPENING = 60
"""Number of leading characters of the user's text that prompts of a template share, whatever the digits."""
OFF = 0.05
"""A cost is off if it differs by more than this share from tokens x list price."""
NONE = "(none)"
_DIGITS = re.compile(r"\d+")
_COLUMNS = (
    "prompt_key", "prompt", "messages", "model", "task_type", "time", "session_id", "success", "score",
    "outcome_source", "cost_usd", "input_tokens", "output_tokens", "propensity", "decision_source",
    "truncated",
)  # fmt: skip
_KEYS: Mapping[str, tuple[str, ...]] = {
    "total": (), "model": ("model",), "task_type": ("task_type",), "day": ("day",), "source": ("source",),
    "decision": ("decision",), "same": ("model", "other"), "template": ("template",),
    "template_model": ("template", "model"), "price": ("model",),
}  # fmt: skip
"""The columns that identify a row of each table."""

PriceOf = Callable[[str], ModelPrice | None]
"""From a model's name to LiteLLM's list price; None if there is none."""


@dataclass(slots=True, kw_only=True)
class LogCounts:
    """The sums so far. Prompts add up over buckets, because all calls of a prompt are in one bucket.

    Attributes:
        parts: for each name of `_KEYS` one frame per bucket. The hash of its opening identifies a template;
            only the two tables of templates grow with the log, by about 40 bytes a prompt.
        sample: requests from all over the log, with the user's text only.
        openings: text of each template; empty unless the report may show it.
    """

    parts: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    sample: list[Request] = field(default_factory=list)
    openings: dict[int, str] = field(default_factory=dict)

    def add(self, name: str, part: pl.DataFrame) -> None:
        """Add a bucket's part of a table."""
        self.parts.setdefault(name, []).append(part)

    def table(self, name: str) -> pl.DataFrame:
        """The sums over all buckets."""
        whole = pl.concat(self.parts[name])
        keys = _KEYS[name]
        return whole.group_by(keys).agg(pl.all().sum()) if keys else whole.sum()


def count(
    files: CallFiles,
    *,
    success_score: float | None,
    price_of: PriceOf,
    progress: Progress,
    keep_text: bool = False,
) -> LogCounts:
    """Sum up all calls, with one bucket at a time in memory.

    Args:
        success_score: least score of a success, for calls without `success`; None leaves them unknown.
        progress: called with the number of buckets done, and of all buckets.
        keep_text: keep the openings of templates.
    """
    counts = LogCounts()
    most = -(-MOST_READ // files.buckets)
    for number in range(files.buckets):
        progress(number, files.buckets)
        frame = files.bucket(number)
        if frame is None:
            continue
        calls = _calls(frame, success_score)
        for name, part in _sums(calls).items():
            counts.add(name, part)
        counts.add("price", _priced(calls, price_of))
        _count_openings(counts, calls, most, keep_text)
    progress(files.buckets, files.buckets)
    return counts


def _calls(frame: daft.DataFrame, success_score: float | None) -> pl.DataFrame:
    """The calls of a bucket with their outcome and day, and "(none)" for what is missing."""
    calls = pl.DataFrame(frame.select(*_COLUMNS).to_arrow())
    good = pl.lit(None, pl.Boolean) if success_score is None else pl.col("score") >= success_score
    return calls.with_columns(
        outcome=pl.coalesce(pl.col("success"), good),
        day=pl.col("time").dt.strftime("%Y-%m-%d").fill_null(NONE),
        task_type=pl.col("task_type").fill_null(NONE),
        source=pl.col("outcome_source").fill_null(NONE),
        decision=pl.col("decision_source").fill_null(NONE),
        contradicts=pl.col("success") != good,
    )


def _measures() -> list[pl.Expr]:
    column = pl.col
    return [
        pl.len().cast(pl.Int64).alias("calls"),
        column("prompt_key").n_unique().cast(pl.Int64).alias("prompts"),
        column("outcome").count().cast(pl.Int64).alias("known"),
        column("outcome").sum().cast(pl.Int64).alias("succeeded"),
        column("cost_usd").count().cast(pl.Int64).alias("costed"),
        column("cost_usd").sum().alias("cost_usd"),
        column("propensity").count().cast(pl.Int64).alias("with_propensity"),
        column("session_id").count().cast(pl.Int64).alias("in_session"),
        column("truncated").fill_null(value=False).sum().cast(pl.Int64).alias("cut"),
        column("contradicts").fill_null(value=False).sum().cast(pl.Int64).alias("contradicting"),
    ]


def _sums(calls: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables that need no texts."""
    measures = _measures()
    by = ("model", "task_type", "day", "source", "decision")
    sums = {name: calls.group_by(name).agg(measures) for name in by}
    pairs = calls.group_by("prompt_key", "model").agg(
        pl.len().cast(pl.Int64).alias("calls"),
        pl.col("outcome").drop_nulls().n_unique().gt(1).alias("conflict"),
        pl.col("source").filter(pl.col("outcome").is_not_null()).n_unique().gt(1).alias("two_sources"),
        pl.col("outcome").count().gt(0).alias("known"),
    )
    sums["total"] = calls.select(measures).hstack(_repeats(pairs))
    tried = pairs.select("prompt_key", "model", "known")
    both = tried.join(tried.rename({"model": "other", "known": "known_other"}), on="prompt_key")
    sums["same"] = both.group_by("model", "other").agg(
        pl.len().cast(pl.Int64).alias("prompts"),
        (pl.col("known") & pl.col("known_other")).sum().cast(pl.Int64).alias("known"),
    )
    return sums


def _repeats(pairs: pl.DataFrame) -> pl.DataFrame:
    """How often a prompt was repeated on the same model, and whether the outcomes agree."""
    models = pairs.group_by("prompt_key").len()
    column = pl.col
    sums = pairs.select(
        (column("calls") - 1).sum().alias("repeats"),
        (column("calls") > 1).sum().cast(pl.Int64).alias("repeated"),
        column("conflict").sum().cast(pl.Int64).alias("conflicts"),
        (column("conflict") & column("two_sources")).sum().cast(pl.Int64).alias("conflicts_of_sources"),
    )
    return sums.with_columns(several_models=pl.lit((models["len"] > 1).sum(), dtype=pl.Int64))


def _priced(calls: pl.DataFrame, price_of: PriceOf) -> pl.DataFrame:
    """Logged cost and tokens x list price per model, over the calls with a cost and both token counts."""
    names = calls["model"].unique().to_list()
    listed = {name: price for name in names if (price := price_of(name)) is not None}
    known = ("cost_usd", "input_tokens", "output_tokens")
    whole = calls.filter(pl.all_horizontal(pl.col(known).is_not_null()), pl.col("model").is_in(list(listed)))
    per_token = {
        side: pl.col("model").replace_strict(
            {name: getattr(price, f"per_{side}_token") for name, price in listed.items()},
            default=None,
            return_dtype=pl.Float64,
        )
        for side in ("input", "output")
    }
    listed_usd = pl.col("input_tokens") * per_token["input"] + pl.col("output_tokens") * per_token["output"]
    priced = whole.select("model", "cost_usd", listed_usd=listed_usd).with_columns(
        off=(pl.col("cost_usd") - pl.col("listed_usd")).abs() > OFF * pl.col("listed_usd")
    )
    return priced.group_by("model").agg(
        pl.len().cast(pl.Int64).alias("compared"),
        pl.col("cost_usd", "listed_usd").sum(),
        pl.col("off").sum().cast(pl.Int64),
    )


def _count_openings(counts: LogCounts, calls: pl.DataFrame, most: int, keep_text: bool) -> None:
    """Add the templates of a bucket, and `most` of its prompts to the sample."""
    # Keys are hashes, so the smallest ones of a bucket are a uniform sample of it.
    prompts = calls.sort("prompt_key").unique("prompt_key", keep="first", maintain_order=True)
    texts = [_user_text(*row) for row in prompts.select("prompt", "messages").iter_rows()]
    counts.sample += [Request.of(text) for text in texts[:most]]
    opening = pl.Series([opening_of(text) for text in texts], dtype=pl.String)
    prompts = prompts.select("prompt_key", template=opening.hash(seed=0))
    if keep_text:
        counts.openings |= dict(zip(prompts["template"], opening, strict=True))
    models = calls.select("prompt_key", "model", "outcome").join(prompts, on="prompt_key")
    size = pl.len().cast(pl.Int64).alias("prompts")
    counts.add("template", prompts.group_by("template").agg(size))
    tried = models.unique(["prompt_key", "model"])
    counts.add("template_model", tried.group_by("template", "model").agg(size))


def _user_text(prompt: str | None, messages: str | None) -> str:
    """The start of the user's text."""
    return asked_text(stored_request(prompt, messages, None, None))


def opening_of(text: str) -> str:
    """The opening that a prompt shares with its template, with digits, spaces and case made equal."""
    return " ".join(_DIGITS.sub("0", text).split())[:OPENING].casefold()


def matrix(pairs: pl.DataFrame, value: str) -> dict[str, dict[str, Json]]:
    """Nest a table of pairs of models: the value by the first model and the second."""
    rows: dict[str, dict[str, Json]] = defaultdict(dict)
    for model, other, cell in pairs.sort("model", "other").select("model", "other", value).iter_rows():
        rows[model][other] = cell
    return dict(rows)
