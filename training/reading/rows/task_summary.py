"""What one task of the read pass counts and learns, as a value that can travel as text."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from training.reading.files.raw import RawBatch
from training.reading.rows.cleaning import CleanRows


@dataclass(kw_only=True)
class TaskSummary:
    """What one task counted in its part of a file, or `spool` in a file of joining rows.

    Attributes:
        file: number of the file; None for a spool, which holds rows of several files.
        rows: all rows of the source; 0 for a spool, whose rows were counted in their own files.
        repaired: calls in which a lone surrogate was replaced.
        without_text: valid rows of which only the prompt's key was logged.
        joined: rows whose content went into another row.
        skipped: number of skipped rows per reason.
        left_out: number of values that can't be read and that a call does not need, per reason.
        names: column names in the source.
        split: names of models that were split into model and effort.
        error: why the source can't be read to its end; None if it can.
        digest: hash of all rows of a database; None for a file.
    """

    file: int | None
    rows: int = 0
    repaired: int = 0
    without_text: int = 0
    joined: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    names: set[str] = field(default_factory=set)
    split: set[str] = field(default_factory=set)
    error: str | None = None
    digest: str | None = None

    def add(self, batch: RawBatch, clean: CleanRows) -> None:
        """Count one batch, and its rows after they were checked."""
        if self.file is not None:
            self.rows += len(clean.keys) if batch.rows_in is None else batch.rows_in
        self.repaired += clean.repaired
        self.without_text += len(clean.without_text)
        self.joined += batch.joined
        self.skipped.update(batch.skipped)
        self.skipped.update(clean.skipped.values())
        self.left_out.update(clean.left_out)
        self.names |= batch.names
        self.split |= clean.split
        self.digest = batch.digest or self.digest

    def to_json(self) -> str:
        """The summary as JSON text."""
        return json.dumps(vars(self), default=sorted)

    @staticmethod
    def from_json(text: str) -> TaskSummary:
        """The summary that `to_json` wrote."""
        values = json.loads(text)
        counts = {name: Counter(values[name]) for name in ("skipped", "left_out")}
        sets = {name: set(values[name]) for name in ("names", "split")}
        return TaskSummary(**{**values, **counts, **sets})
