"""What session rules, the judge and the grader add after the read pass: rows beside the scratch folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from router.records import Json
from router.settings.outcome_rules import OutcomeRule
from training.reading.outcomes.rules import NOT_DRAWN, RuleVotes, source_of

if TYPE_CHECKING:
    import daft

VERDICTS = pa.schema(
    {
        "place": pa.int64(), "yes": pa.int64(), "no": pa.int64(),
        "new_success": pa.bool_(), "new_source": pa.large_string(),
    }
)  # fmt: skip
"""The bits of all `RuleVotes` so far, and the outcome if it changed."""

GRADES = pa.schema({"place": pa.int64(), "new_grade": pa.float64()})
"""The grader's chances that answers are good."""
GRADER = "grader"
"""`graded_source` of a grade; no `outcome_source`, as a grade is no outcome."""


def session_verdicts(folder: Path) -> Path:
    """The file, beside the scratch folder, with the amendments of session rules."""
    return folder.parent / "session_verdicts.parquet"


def judge_verdicts(folder: Path) -> Path:
    """The same for the judge; its rows include the votes of session rules."""
    return folder.parent / "judge_verdicts.parquet"


def grades_beside(folder: Path) -> Path:
    """The file, beside the scratch folder, with the grades."""
    return folder.parent / "grades.parquet"


def amendment(
    rules: Sequence[OutcomeRule], place: int, before: RuleVotes, votes: RuleVotes
) -> Mapping[str, Json]:
    """The row of a call that gets further votes."""
    total = before | votes
    decision = total.decision()
    assert decision is not None, "a call with votes is decided"
    changed = decision == votes.decision()
    return {
        "place": place,
        "yes": total.yes,
        "no": total.no,
        "new_success": decision.success if changed else None,
        "new_source": source_of(rules[decision.rule], None) if changed else None,
    }


def not_drawn(place: int, votes: RuleVotes) -> Mapping[str, Json]:
    """The row of a call whose outcome counts as unknown because it is not in the judge's sample."""
    return {"place": place, "yes": votes.yes, "no": votes.no, "new_success": None, "new_source": NOT_DRAWN}


def with_amendments(frame: daft.DataFrame, amendments: daft.DataFrame) -> daft.DataFrame:
    """Calls with the amended outcomes instead of the earlier ones."""
    from daft import DataType, lit
    from daft.functions import when

    named = amendments.select(
        "place",
        "new_success",
        "new_source",
        amendments["yes"].alias("new_yes"),
        amendments["no"].alias("new_no"),
    )
    joined = frame.join(named, on="place", how="left")
    return joined.with_columns(
        {
            "success": when(
                joined["new_source"].fill_null("") == NOT_DRAWN, lit(None).cast(DataType.bool())
            ).otherwise(joined["new_success"].fill_null(joined["success"])),
            "outcome_source": joined["new_source"].fill_null(joined["outcome_source"]),
            "yes": joined["new_yes"].fill_null(joined["yes"]),
            "no": joined["new_no"].fill_null(joined["no"]),
        }
    ).exclude("new_success", "new_source", "new_yes", "new_no")


def with_grades(frame: daft.DataFrame, grades: daft.DataFrame) -> daft.DataFrame:
    """Calls with their grades instead of earlier ones; outcomes stay as they are."""
    from daft import DataType, lit
    from daft.functions import when

    joined = frame.exclude("graded").join(grades, on="place", how="left")
    source = when(joined["new_grade"].not_null(), lit(GRADER)).otherwise(lit(None).cast(DataType.string()))
    return joined.with_columns({"graded": joined["new_grade"], "graded_source": source}).exclude("new_grade")
