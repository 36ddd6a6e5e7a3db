"""The prompt table: what every model did on every prompt, which all steps after reading use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from router.effort import EFFORTS, action_name
from router.errors import TrainingError
from router.records import FloatArray, IntArray, Json, Request
from training.readers.cells import parse_json
from training.reading.calls import CallFiles
from training.reading.read_pass import Progress

if TYPE_CHECKING:
    import daft


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTable:
    """Outcomes per prompt and model, repeated calls averaged. NaN is unknown.

    Attributes:
        models: LiteLLM model names, sorted; the columns of every matrix.
        keys: prompt key of each row.
        requests: the request of each row.
        groups: shape (n_prompts,); rows that a session links share a number, and no split separates them.
        times: shape (n_prompts,); seconds since 1970 of the last call, NaN without a time.
        calls: shape (n_prompts, n_models); number of calls.
        success: shape (n_prompts, n_models); share of calls that succeeded, in [0, 1].
        score: shape (n_prompts, n_models); mean grade in [0, 1].
        cost: shape (n_prompts, n_models); mean USD a call.
        input_tokens: shape (n_prompts, n_models); mean a call.
        output_tokens: shape (n_prompts, n_models); mean a call.
        propensity: shape (n_prompts, n_models); harmonic mean of the logging policy's chances: calls are
            weighted by 1 / chance, so 1 / chance is averaged.
        weight: shape (n_prompts, n_models); mean weight of the calls with an outcome, by their sources;
            above 0. Fitting weighs outcomes by it; thresholds and comparisons count each outcome once.
        drawn: shape (n_prompts,); chance in (0, 1] with which a replay drew the prompt to call every model on
            it; 1 if no replay did. Weighted by the inverse, complete prompts are like the whole log.
        with_outcome: shape (n_prompts, n_models); number of calls with a known outcome of positive weight;
            None if the table does not come from a log: then every call of a known `success` has one.
        graded: shape (n_prompts, n_models); mean grade by a learned grader, which is no outcome; None if the
            table does not come from a log.
        cached_input_tokens: shape (n_prompts, n_models); mean a call that counts them; None if the table does
            not come from a log.
        prompts_in_log: prompts in the log before sampling; None if the table does not come from a log.
        truncated_calls: number of calls of these prompts whose text the log cut.
    """

    models: tuple[str, ...]
    keys: Sequence[str]
    requests: Sequence[Request]
    groups: IntArray
    times: FloatArray
    calls: IntArray
    success: FloatArray
    score: FloatArray
    cost: FloatArray
    input_tokens: FloatArray
    output_tokens: FloatArray
    propensity: FloatArray
    weight: FloatArray
    drawn: FloatArray
    with_outcome: IntArray | None = None
    graded: FloatArray | None = None
    cached_input_tokens: FloatArray | None = None
    prompts_in_log: int | None = None
    truncated_calls: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def known_calls(self) -> IntArray:
        """Count the calls with a known outcome, shape (n_prompts, n_models)."""
        counts = self.calls if self.with_outcome is None else self.with_outcome
        return np.where(np.isfinite(self.success), counts, 0)

    def rows(self, index: IntArray) -> Self:
        """The prompts at `index`, in that order."""
        kept: dict[str, Any] = {
            field.name: value[index]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }
        return replace(
            self, keys=[self.keys[i] for i in index], requests=[self.requests[i] for i in index], **kept
        )

    def columns(self, models: Sequence[str]) -> Self:
        """The same prompts with these `models`, in that order; a model that the log lacks has no calls."""
        place = {model: column for column, model in enumerate(self.models)}
        index = np.array([place.get(model, -1) for model in models], dtype=np.int64)
        kept: dict[str, Any] = {
            field.name: _columns(value, index)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray) and value.ndim == 2
        }
        return replace(self, models=tuple(models), **kept)


def _columns(values: NDArray[Any], index: IntArray) -> NDArray[Any]:
    """Columns of a matrix; -1 stands for a model without calls: 0 in counts, NaN in the rest."""
    nothing = 0 if values.dtype.kind == "i" else np.nan
    padded = np.hstack([values, np.full((len(values), 1), nothing, dtype=values.dtype)])
    return np.asarray(padded[:, index])


DAY_US = 86_400e6
MOST_HALF_LIVES = 30.0
"""Older calls fade no further: their weight stays a number that counts as known."""
_MEASURES = (
    "success", "score", "cost", "input_tokens", "output_tokens", "cached_input_tokens", "propensity",
    "graded",
)  # fmt: skip


def prompt_table(  # noqa: PLR0913 - each is a choice of the settings
    files: CallFiles,
    *,
    success_score: float | None,
    max_prompts: int,
    weights: Mapping[str, float] | None = None,
    apart: Set[str] = frozenset(),
    half_life_days: float | None = None,
    progress: Progress | None = None,
) -> PromptTable:
    """Group calls by prompt, sorted by prompt key; the order of the log does not matter.

    `success` says whether a call succeeded, else its score does; without either the outcome is unknown.
    Repeated calls of one prompt and model are averaged over their known values.

    Args:
        success_score: a call without `success` succeeded from this score on; None: its outcome is unknown.
        weights: weight of a call in the means of success and score, by its `outcome_source`; 1 by default.
        apart: models whose calls at a known effort are an action's, `gpt-5@low`.
        half_life_days: age, before the newest call, at which a call weighs half as much; None: age does not
            matter. A call without a time weighs like the newest.
        max_prompts: number of prompts to keep, those with the smallest keys; keys are hashes, so this is a
            uniform sample.
        progress: called with the number of buckets done and the number of all buckets.

    Raises:
        TrainingError: the log holds no call.
    """
    parts: list[_Part] = []
    seen = 0
    weighing = _Weighing(weights or {}, half_life_days, _newest(files) if half_life_days else None)
    for number in range(files.buckets):
        frame = files.bucket(number)
        if frame is not None and seen < max_prompts:
            frame = _with_actions(frame, apart) if apart else frame
            parts.append(_group(frame, success_score, weighing, max_prompts - seen))
            seen += parts[-1].prompts_seen
        elif frame is not None:
            seen += frame.select("prompt_key").distinct().count_rows()
        if progress:
            progress(number + 1, files.buckets)
    if not parts:
        raise TrainingError("the log holds no call to learn from; name logs with at least one readable call")
    return _assemble(_joined(parts, seen))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The grouped calls of some buckets, every frame with the column `prompt_key`.

    Attributes:
        outcomes: one row per prompt and model.
        prompts: one row per prompt, sorted by key.
        types, sessions, tags: one row per prompt and task type (with its calls), session, tag.
        prompts_seen: number of prompts, kept or not.
    """

    outcomes: pl.DataFrame
    prompts: pl.DataFrame
    types: pl.DataFrame
    sessions: pl.DataFrame
    tags: pl.DataFrame
    prompts_seen: int


@dataclass(frozen=True, slots=True)
class _Weighing:
    """How much calls weigh: by the source of their outcome, and by their age.

    Attributes:
        newest: time of the log's newest call, in microseconds since 1970; None if no call has one.
    """

    sources: Mapping[str, float]
    half_life_days: float | None
    newest: int | None

    @property
    def weighted(self) -> bool:
        """Whether any call may weigh more or less than another."""
        return bool(self.sources) or self.newest is not None

    def of(self, calls: daft.DataFrame) -> Any:  # noqa: ANN401 - daft's expressions are untyped
        """The weight of each call, above 0 unless its source's is 0."""
        from daft import lit

        source: Any = calls["outcome_source"]
        weight = _weight(source, self.sources)
        if self.newest is None or self.half_life_days is None:
            return weight
        time: Any = calls["time"]
        half_lives = (lit(self.newest) - time.cast("int64")) / (DAY_US * self.half_life_days)
        return weight * (half_lives.clip(0.0, MOST_HALF_LIVES) * -math.log(2)).exp().fill_null(1.0)


def _newest(files: CallFiles) -> int | None:
    """The time of the newest call, in microseconds since 1970; None if no call has one."""
    frames = (files.bucket(number) for number in range(files.buckets))
    times = [_frame(frame.agg(frame["time"].max())) for frame in frames if frame is not None]
    return max((t for frame in times for t in frame["time"].cast(pl.Int64) if t is not None), default=None)


def _group(calls: daft.DataFrame, success_score: float | None, weighing: _Weighing, most: int) -> _Part:
    """Group the calls of one bucket by prompt; keep the `most` smallest keys."""
    weights = weighing.weighted
    col: dict[str, Any] = {name: calls[name] for name in calls.column_names}
    scored = calls.with_column("succeeded", _succeeded(calls, success_score))
    if weights:
        scored = scored.with_column("weight", weighing.of(calls))
    key = "prompt_key"
    prompts = _frame(
        calls.groupby(key).agg(
            *(col[name].min() for name in ("prompt", "messages", "tools", "response_format")),
            col["time"].max(),
            col["truncated"].cast("int64").sum(),
            col["sampling_probability"].max(),
        )
    ).sort(key)
    kept = prompts.head(most)
    last = kept[key][-1]
    known = scored.where(col[key] <= last)
    means = {"success": "succeeded", "cost": "cost_usd"}
    outcomes = known.groupby(key, "model").agg(
        col["place"].count().alias("calls"),
        _with_outcome(scored, weighted=weights).cast("int64").sum().alias("with_outcome"),
        *(
            _mean(scored, means.get(name, name), weighted=weights and name in ("success", "score")).alias(
                name
            )
            for name in _MEASURES
            if name != "propensity"
        ),
        (1.0 / col["propensity"].cast("double")).mean().alias("propensity"),
        *([_mean_weight(scored).alias("weight")] if weights else []),
    )
    typed = known.where(col["task_type"].not_null())
    tagged = known.select(key, "tags").explode("tags")
    return _Part(
        outcomes=_frame(outcomes),
        prompts=kept,
        types=_frame(typed.groupby(key, "task_type").agg(col["place"].count().alias("calls"))),
        sessions=_frame(known.where(col["session_id"].not_null()).select(key, "session_id").distinct()),
        tags=_frame(tagged.where(tagged["tags"].not_null()).distinct()),
        prompts_seen=len(prompts),
    )


def _with_actions(calls: daft.DataFrame, apart: Set[str]) -> daft.DataFrame:
    """The calls with the name of their action in place of the model's, for the models to tell apart."""
    from daft import lit
    from daft.functions import when

    model: Any = calls["model"]
    effort: Any = calls["effort"]
    known = effort.is_in(list(EFFORTS)) | effort.startswith("thinking=")
    told = (model.is_in(sorted(apart)) & known).fill_null(False)
    return calls.with_column("model", when(told, model + lit("@") + effort).otherwise(model))


def known_by_effort(files: CallFiles, *, success_score: float | None) -> dict[tuple[str, str], int]:
    """Count the calls with a known outcome of each model at each effort that an action may have."""
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(files.buckets):
        if (frame := files.bucket(number)) is None:
            continue
        calls = frame.where(frame["effort"].not_null())
        known = calls.with_column("known", _succeeded(calls, success_score).not_null().cast("int64"))
        sums = known.groupby("model", "effort").agg(known["known"].sum()).to_pydict()
        for model, effort, count in zip(sums["model"], sums["effort"], sums["known"], strict=True):
            if action_name(model, effort) != model:
                counts[model, effort] += count
    return dict(counts)


def _succeeded(calls: daft.DataFrame, success_score: float | None) -> Any:  # noqa: ANN401 - as below
    """Whether a call succeeded, as a number; null if nothing says."""
    succeeded: Any = calls["success"].cast("double")
    if success_score is None:
        return succeeded
    score: Any = calls["score"]
    return succeeded.fill_null((score >= success_score).cast("double"))


def _weight(source: Any, weights: Mapping[str, float]) -> Any:  # noqa: ANN401 - daft's expressions are untyped
    from daft import lit
    from daft.functions import when

    result = lit(1.0)
    for name, weight in weights.items():
        result = when(source.fill_null("") == name, lit(float(weight))).otherwise(result)
    return result


def _mean(calls: daft.DataFrame, name: str, *, weighted: bool) -> Any:  # noqa: ANN401 - as above
    """The mean of a column over the calls that have it; NaN if they all have weight 0."""
    value: Any = calls[name]
    if not weighted:
        return value.mean()
    weight: Any = calls["weight"]
    known = value.not_null().cast("double")
    return (value * weight).sum() / (known * weight).sum()


def _with_outcome(calls: daft.DataFrame, *, weighted: bool) -> Any:  # noqa: ANN401 - as above
    """Whether a call has an outcome of positive weight."""
    known: Any = calls["succeeded"].not_null()
    weight: Any = calls["weight"] if weighted else None
    return known & (weight > 0) if weighted else known


def _mean_weight(calls: daft.DataFrame) -> Any:  # noqa: ANN401 - as above
    """The mean weight of the calls with an outcome of positive weight."""
    weight: Any = calls["weight"]
    known = _with_outcome(calls, weighted=True).cast("double")
    return (known * weight).sum() / known.sum()


def _frame(result: daft.DataFrame) -> pl.DataFrame:
    return pl.DataFrame(result.to_arrow())


def _joined(parts: Sequence[_Part], seen: int) -> _Part:
    names = ("outcomes", "prompts", "types", "sessions", "tags")
    whole = {name: pl.concat([getattr(part, name) for part in parts]) for name in names}
    return _Part(prompts_seen=seen, **whole)


def _assemble(part: _Part) -> PromptTable:
    keys = part.prompts["prompt_key"].to_list()
    row_of = {key: row for row, key in enumerate(keys)}
    models = sorted(part.outcomes["model"].unique().to_list())
    rows = np.array([row_of[key] for key in part.outcomes["prompt_key"]], dtype=np.int64)
    columns = np.array([models.index(model) for model in part.outcomes["model"]], dtype=np.int64)
    times = part.prompts["time"].cast(pl.Int64).cast(pl.Float64) / 1e6
    calls = np.zeros((len(keys), len(models)), dtype=np.int64)
    calls[rows, columns] = part.outcomes["calls"].to_numpy()
    with_outcome = np.zeros_like(calls)
    with_outcome[rows, columns] = part.outcomes["with_outcome"].to_numpy()
    names = (*_MEASURES, "weight") if "weight" in part.outcomes.columns else _MEASURES
    measures = {name: np.full(calls.shape, np.nan) for name in names}
    for name, matrix in measures.items():
        matrix[rows, columns] = part.outcomes[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    measures["propensity"] = 1.0 / measures["propensity"]
    measures.setdefault("weight", np.ones(calls.shape))
    return PromptTable(
        models=tuple(models),
        keys=keys,
        requests=_requests(part, row_of),
        groups=_linked(part.sessions, row_of),
        times=times.fill_null(np.nan).to_numpy().copy(),
        calls=calls,
        with_outcome=with_outcome,
        prompts_in_log=part.prompts_seen,
        drawn=part.prompts["sampling_probability"].fill_null(1.0).to_numpy().copy(),
        truncated_calls=int(part.prompts["truncated"].sum()),
        **measures,
    )


def _requests(part: _Part, row_of: dict[str, int]) -> list[Request]:
    """The request of each prompt, with its most frequent task type (on ties the first) and all its tags."""
    by_count = part.types.sort("calls", "task_type", descending=[False, True])
    task_type = dict(by_count.select("prompt_key", "task_type").iter_rows())
    tags: dict[str, list[str]] = {}
    for key, tag in part.tags.sort("tags").select("prompt_key", "tags").iter_rows():
        tags.setdefault(key, []).append(tag)
    fields_ = ("prompt", "messages", "tools", "response_format")
    texts = zip(*(part.prompts[name].to_list() for name in fields_), strict=True)
    return [
        stored_request(*row, task_type=task_type.get(key), tags=tuple(tags.get(key, ())))
        for key, row in zip(row_of, texts, strict=True)
    ]


def stored_request(
    prompt: str | None, messages: str | None, tools: str | None, response_format: str | None, **labels: Json
) -> Request:
    """Build a request from the columns of the canonical log; all but `prompt` are JSON texts."""
    return Request.of(
        parse_json(messages)[0] if messages is not None else prompt or "",
        tools=tools and parse_json(tools)[0],
        response_format=response_format and parse_json(response_format)[0],
        **labels,
    )


def _linked(sessions: pl.DataFrame, row_of: dict[str, int]) -> IntArray:
    """Group of each prompt: prompts that sessions link, directly or through others, share a number."""
    parent = list(range(len(row_of)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first_of: dict[str, int] = {}
    for key, session in sessions.select("prompt_key", "session_id").iter_rows():
        row = row_of[key]
        first, second = sorted((root(row), root(first_of.setdefault(session, row))))
        parent[second] = first
    roots = [root(row) for row in range(len(parent))]
    return np.unique(np.array(roots, dtype=np.int64), return_inverse=True)[1].astype(np.int64)
