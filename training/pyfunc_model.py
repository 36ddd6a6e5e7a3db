"""The router as an MLflow pyfunc model, defined by this code rather than by a pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import mlflow
import pandas as pd  # type: ignore[import-untyped]
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from router.client import Router
from router.records import Json, Request


class PointsmanModel(PythonModel):
    """Rows of requests in, one decision a row out, as `pointsman route` writes it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the router that was logged beside this code."""
        self.router = Router.load(Path(context.artifacts["router"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Json = None
    ) -> list[Json]:
        """Decide for each row of a table with `prompt` or `messages` and optional other request columns."""
        rows = model_input.to_dict(orient="records")
        return [self.router.decide(Request.from_json(_given(row))).to_json() for row in rows]


def _given(row: Mapping[str, Json]) -> dict[str, Json]:
    """A row without the fields that pandas filled with NaN because only other rows have them."""
    return {
        name: value for name, value in row.items() if not isinstance(value, float) or not math.isnan(value)
    }


mlflow.models.set_model(PointsmanModel())
