"""The router as an MLflow pyfunc model, defined by this code rather than by a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from router.client import Router
from router.records import Request


class PointsmanModel(PythonModel):
    """Rows of requests in, one decision a row out, as `pointsman route` writes it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the router that was logged beside this code."""
        self.router = Router.load(Path(context.artifacts["router"]))

    def predict(self, context: PythonModelContext, model_input: Any, params: Any = None) -> Any:  # noqa: ANN401
        """Decide for each row of a table with `prompt` or `messages` and optional other request columns."""
        rows = model_input.to_dict(orient="records") if hasattr(model_input, "to_dict") else model_input
        return [self.router.decide(Request.from_json(row)).to_json() for row in rows]


mlflow.models.set_model(PointsmanModel())
