"""Small call logs for the tests of reading and labelling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from router.records import Json, Request
from training.prompts.table import PromptTable, prompt_table
from training.reading.calls import CallFiles, read_calls


def call(**fields: Json) -> dict[str, Any]:
    """One logged call; fields given override the plain one's."""
    return {"prompt": "2 + 2?", "model": "small", **fields}


def write_lines(path: Path, *rows: dict[str, Any] | bytes) -> str:
    """Write a file of JSON lines; a row given as bytes is written as it is."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def read(folder: Path, *sources: str, **settings: Json) -> CallFiles:
    """Read logs, with a scratch folder under `folder`."""
    return read_calls(sources, scratch=folder / "scratch", **{"max_reject_share": 1.0, **settings})


def read_rows(folder: Path, *rows: dict[str, Any] | bytes) -> CallFiles:
    """Write the rows into one file of JSON lines and read it."""
    return read(folder, write_lines(folder / "calls.jsonl", *rows))


def table_of(folder: Path, *rows: dict[str, Any], max_prompts: int = 100) -> PromptTable:
    """The prompt table of a log of these rows."""
    return prompt_table(read_rows(folder, *rows), success_score=0.5, max_prompts=max_prompts)


def made_table(
    success: list[list[float]], cost: list[list[float]], groups: list[int] | None = None
) -> PromptTable:
    """A prompt table with these outcomes and costs, a row a prompt; NaN is unknown."""
    known = np.array(success, dtype=np.float64)
    unknown = np.full(known.shape, np.nan)
    rows, columns = known.shape
    return PromptTable(
        models=tuple("abcdefgh"[:columns]),
        keys=[f"{row:032x}" for row in range(rows)],
        requests=[Request.of(f"prompt {row}") for row in range(rows)],
        groups=np.array(groups if groups is not None else range(rows), dtype=np.int64),
        times=np.full(rows, np.nan),
        calls=np.where(np.isnan(known) & np.isnan(np.array(cost)), 0, 1).astype(np.int64),
        success=known,
        score=unknown,
        cost=np.array(cost, dtype=np.float64),
        input_tokens=unknown,
        output_tokens=unknown,
        propensity=unknown,
        weight=np.ones(known.shape),
        drawn=np.ones(rows),
    )
