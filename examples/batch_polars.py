"""Route a table of prompts with polars before anything is called: which model each goes to, at what cost.

Run it in this folder: `pip install pointsman polars`, `python batch_polars.py prompts.parquet routed.parquet`
for a table with a column `prompt`, and perhaps `task_type`. The result has a column `model`, to make a batch
file for each of, `reason`, and `expected_cost_usd`, which supposes a usual answer if rules alone decide.
"""

import sys

import polars as pl

from pointsman import Router


def routed(prompts: pl.DataFrame, router: Router) -> pl.DataFrame:
    """The table with the decision for each row beside it."""
    decisions = [
        router.route(row["prompt"], task_type=row.get("task_type")) for row in prompts.iter_rows(named=True)
    ]
    return prompts.with_columns(
        model=pl.Series([decision.model for decision in decisions], dtype=pl.String),
        reason=pl.Series([decision.reason for decision in decisions], dtype=pl.String),
        expected_cost_usd=pl.Series(
            [decision.expected_cost_usd.get(decision.model) for decision in decisions], dtype=pl.Float64
        ),
    )


if __name__ == "__main__":
    table = pl.read_parquet(sys.argv[1])
    with Router.load("pointsman.yaml", config="pointsman.yaml") as router:
        result = routed(table, router)
    result.write_parquet(sys.argv[2])
    print(result.group_by("model").agg(pl.len(), pl.sum("expected_cost_usd")).sort("model"))
