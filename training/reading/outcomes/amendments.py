"""What rules say after the read pass: rows beside the scratch folder, joined to the calls by their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from router.records import Json
from router.settings.outcome_rules import OutcomeRule
from training.reading.outcomes.rules import NOT_DRAWN, Said, source_of

if TYPE_CHECKING:
    import daft

VERDICTS = pa.schema(
    {
        "place": pa.int64(), "yes": pa.int64(), "no": pa.int64(),
        "found": pa.bool_(), "found_source": pa.large_string(),
    }
)  # fmt: skip
"""The bits of `Said` of all rules up to now, and the outcome where it is another one than before."""


def session_verdicts(folder: Path) -> Path:
    """The file, beside the scratch folder, that holds what the rules of a session said."""
    return folder.parent / "session_verdicts.parquet"


def judge_verdicts(folder: Path) -> Path:
    """Likewise, what the judge said; its rows know what the sessions' rules said."""
    return folder.parent / "judge_verdicts.parquet"


def amendment(rules: Sequence[OutcomeRule], place: int, before: Said, said: Said) -> Mapping[str, Json]:
    """The row of a call of which some rules say something beside what was said before."""
    whole, first = before | said, said.decision()
    decided = whole.decision()
    assert decided is not None, "a call of which a rule says something is decided"
    is_new = first is not None and decided[0] == first[0]
    return {
        "place": place,
        "yes": whole.yes,
        "no": whole.no,
        "found": decided[1] if is_new else None,
        "found_source": source_of(rules[decided[0]], None) if is_new else None,
    }


def not_drawn(place: int, said: Said) -> Mapping[str, Json]:
    """The row of a call whose outcome counts as unknown, because a judge's sample is without it."""
    return {"place": place, "yes": said.yes, "no": said.no, "found": None, "found_source": NOT_DRAWN}


def with_amendments(frame: daft.DataFrame, verdicts: daft.DataFrame) -> daft.DataFrame:
    """Calls with the outcomes that were found later, in the place of those of later rules."""
    from daft import DataType, lit
    from daft.functions import when

    named = verdicts.select(
        "place", "found", "found_source", verdicts["yes"].alias("all_yes"), verdicts["no"].alias("all_no")
    )
    joined = frame.join(named, on="place", how="left")
    return joined.with_columns(
        {
            "success": when(
                joined["found_source"].fill_null("") == NOT_DRAWN, lit(None).cast(DataType.bool())
            ).otherwise(joined["found"].fill_null(joined["success"])),
            "outcome_source": joined["found_source"].fill_null(joined["outcome_source"]),
            "yes": joined["all_yes"].fill_null(joined["yes"]),
            "no": joined["all_no"].fill_null(joined["no"]),
        }
    ).exclude("found", "found_source", "all_yes", "all_no")
