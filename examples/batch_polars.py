"""Route a table of prompts with polars before anything is called: which model each goes to, at what cost.

Run it in this folder: `pip install pointsman polars`, `python batch_polars.py prompts.parquet routed.parquet`
for a table with a column `prompt`, and perhaps `task_type`. The result has a column `model`, to make a batch
file for each of, `reason` or what is wrong with the row, and `expected_cost_usd`, which supposes a usual
answer if rules alone decide.
"""

import sys

import polars as pl

from pointsman import Router, RouterError


def routed(prompts: pl.DataFrame, router: Router) -> pl.DataFrame:
    """The table with the decision for each row beside it."""
    rows: list[tuple[str | None, str, float | None]] = []
    for result in router.route_many(prompts.iter_rows(named=True)):
        if isinstance(result, RouterError):
            rows.append((None, str(result), None))
        else:
            rows.append((result.model, result.reason, result.expected_cost_usd.get(result.model)))
    columns = {"model": pl.String, "reason": pl.String, "expected_cost_usd": pl.Float64}
    return prompts.hstack(pl.DataFrame(rows, schema=columns, orient="row"))


if __name__ == "__main__":
    table = pl.read_parquet(sys.argv[1])
    with Router.load("pointsman.yaml", config="pointsman.yaml") as router:
        result = routed(table, router)
    result.write_parquet(sys.argv[2])
    print(result.group_by("model").agg(pl.len(), pl.sum("expected_cost_usd")).sort("model"))
