"""The router as an MLflow pyfunc model, defined by this code rather than by a pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import mlflow
import pandas as pd  # type: ignore[import-untyped]
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from router.errors import NoModelAllowed
from router.records import Json, Request, Wishes
from router.version import Version


class PointsmanModel(PythonModel):
    """Takes rows of requests and returns one decision per row, as `pointsman route` writes it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the router that MLflow logged beside this code."""
        self.version = Version.load(Path(context.artifacts["router"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Json = None
    ) -> list[Json]:
        """Decide for each row of a table with `prompt` or `messages` and optional other request columns."""
        return [self._answer(_without_nan(row)) for row in model_input.to_dict(orient="records")]

    def _answer(self, row: Mapping[str, Json]) -> dict[str, Json]:
        try:
            return self.version.decide(Request.from_json(row), Wishes.from_json(row)).to_json()
        except NoModelAllowed as error:
            return {"error": str(error), "rejected": error.rejected}


def _without_nan(row: Mapping[str, Json]) -> dict[str, Json]:
    """Drop the fields that pandas filled with NaN because only other rows have them."""
    return {
        name: value for name, value in row.items() if not isinstance(value, float) or not math.isnan(value)
    }


mlflow.models.set_model(PointsmanModel())
