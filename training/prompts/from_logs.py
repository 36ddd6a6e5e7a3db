"""Reads calls, and groups and embeds their prompts: how `train` and `compare` both begin."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from router.effort import effort_in, endpoint_of
from router.errors import ConfigError
from router.forecasting.encoder import Encoder, Encoding
from router.forecasting.features import embedded_text
from router.settings.outcome_rules import usual_rules
from router.settings.sections import Config, Training
from training.progress import Reporter, stage_steps
from training.prompts.embeddings import encode_all
from training.prompts.table import PromptTable, known_by_effort, prompt_table
from training.reading.calls import CallFiles, read_calls
from training.reading.rows.recognising import AUTO
from training.statistics import blocks

EMBEDDINGS = "embeddings.sqlite"

MANY = 1_000_000
"""Prompts to fit on with the static encoder, unless the settings say how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read call logs.

    Attributes:
        mapping: source column per canonical field.
        rejects: file for the rejected rows; None: they are only counted.
        cache: folder of exported encoders and embeddings.
        format: name of a reader, or "auto".
        frames: tables in memory, by the name that they have among the sources.
    """

    mapping: Mapping[str, str]
    rejects: Path | None
    config: Config
    cache: Path
    format: str = AUTO
    frames: Mapping[str, pa.Table] = field(default_factory=dict, repr=False)

    def given(self, sources: Sequence[str]) -> list[str]:
        """Logs as the next command is to be given them: their names, and the columns that are mapped."""
        return [*sources, *(f"--map={field}={column}" for field, column in self.mapping.items())]


@contextmanager
def calls_of(
    sources: Sequence[str], reading: ReadOptions, reporter: Reporter, *, grade: bool = False
) -> Iterator[CallFiles]:
    """Read the calls of logs into a scratch folder that lasts as long as the block.

    Args:
        grade: keep what a grader learns from; without declared outcome rules, by the usual ones.

    Raises:
        CallLogError: a file can't be read, or too many rows are rejected.
        ConfigError: the settings' scratch folder does not exist.
    """
    settings, rules = reading.config.training, reading.config.outcomes.rules
    place = settings.scratch and Path(settings.scratch).resolve()
    if place and not place.is_dir():
        raise ConfigError(f"training.scratch: {place} is no folder here; make it, or name another")
    with tempfile.TemporaryDirectory(prefix="pointsman-", dir=place) as scratch:
        yield read_calls(
            sources,
            scratch=Path(scratch) / "calls",
            mapping=reading.mapping,
            format=reading.format,
            runner=settings.runner,
            ray_address=settings.ray_address,
            rejects=reading.rejects,
            max_reject_share=settings.max_reject_share,
            rules=rules or (usual_rules(settings.success_score) if grade else ()),
            grade=grade,
            aliases=reading.config.names_in_logs(),
            frames=reading.frames,
            progress=stage_steps(reporter, "reading calls"),
        )


def success_score_of(config: Config) -> float | None:
    """Score from which a call without `success` succeeded; None if outcome rules alone decide."""
    return None if config.outcomes.rules else config.training.success_score


def models_apart(files: CallFiles, config: Config) -> Set[str]:
    """The models whose efforts are actions of their own, by the settings and the outcomes in a log."""
    if config.training.efforts == "together":
        return frozenset()
    counts = known_by_effort(files, success_score=success_score_of(config))
    if config.training.efforts == "apart":
        return {model for model, _ in counts}
    enough = Counter(model for (model, _), count in counts.items() if count >= config.training.min_calls)
    return {model for model, efforts in enough.items() if efforts > 1}


def table_of(
    files: CallFiles,
    config: Config,
    reporter: Reporter,
    models: Sequence[str] | None = None,
    *,
    training: bool = False,
) -> PromptTable:
    """Build the prompt table as the settings say.

    Args:
        models: of a router, whose actions the table tells apart; None: those that `training.efforts` says.
        training: whether to fit on the table: then calls weigh less with age, as `training.half_life_days`
            says, and it may have more than `AT_ONCE` prompts.
    """
    apart = (
        models_apart(files, config) if models is None else {endpoint_of(m) for m in models if effort_in(m)}
    )
    return prompt_table(
        files,
        success_score=success_score_of(config),
        apart=apart,
        weights=config.outcomes.weights,
        half_life_days=config.training.half_life_days if training else None,
        max_prompts=most_prompts(config.training, training=training),
        progress=stage_steps(reporter, "grouping prompts"),
    )


def most_prompts(settings: Training, *, training: bool) -> int:
    """Number of prompts that a table keeps; only one to fit on may have more than are in memory at once."""
    usual = MANY if settings.encoder == "static" else blocks.AT_ONCE
    most = usual if settings.max_prompts is None else settings.max_prompts
    return most if training else min(most, blocks.AT_ONCE)


def encodings_of(
    table: PromptTable, encoder: Encoder, cache: Path, reporter: Reporter
) -> tuple[Sequence[Encoding], int]:
    """Embed the prompts; returns how many were not in the cache as well."""
    texts = [embedded_text(request) for request in table.requests]
    return encode_all(encoder, texts, cache / EMBEDDINGS, reporter.stage("embedding prompts", len(texts)))
