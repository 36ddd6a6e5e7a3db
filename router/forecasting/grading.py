"""How likely answers are good, by a logistic regression on their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from router.forecasting.head import sigmoid
from router.records import FloatArray, IntArray

FARTHEST = 4.0
"""Standard deviations at which a number is cut, so that no single one decides."""

Groups: TypeAlias = Sequence[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers of logged calls.

    Attributes:
        numbers: shape (n, p); as `answer_numbers` gives them, perhaps with more beside them.
        models: of each.
        task_types: of each.
    """

    numbers: FloatArray
    models: Groups
    task_types: Groups

    def rows(self, index: IntArray) -> Answers:
        """The answers at `index`."""
        return Answers(
            numbers=self.numbers[index],
            models=[self.models[row] for row in index],
            task_types=[self.task_types[row] for row in index],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grader:
    """A logistic regression on an answer's numbers, model and task type, and its calibration per model.

    Attributes:
        centre, spread: shape (p,); of the numbers.
        models, task_types: names with a level of their own.
        weights: shape (1 + p + models + task types,).
        calibration: shape (2 + 2 models,); level and slope of all models, then what each adds.
    """

    centre: FloatArray
    spread: FloatArray
    models: Sequence[str]
    task_types: Sequence[str]
    weights: FloatArray
    calibration: FloatArray

    def __call__(self, answers: Answers) -> FloatArray:
        """Chance that each answer is good, shape (n,)."""
        logits = self.inputs(answers) @ self.weights
        return sigmoid(self.calibration_inputs(logits, answers.models) @ self.calibration)

    def inputs(self, answers: Answers) -> FloatArray:
        """What the regression weighs, shape (n, 1 + p + models + task types)."""
        scaled = np.clip((answers.numbers - self.centre) / self.spread, -FARTHEST, FARTHEST)
        groups = [_one_hot(answers.models, self.models), _one_hot(answers.task_types, self.task_types)]
        return np.hstack([np.ones((len(scaled), 1)), scaled, *groups])

    def calibration_inputs(self, logits: FloatArray, models: Groups) -> FloatArray:
        """What the calibration weighs, shape (n, 2 + 2 models)."""
        own = _one_hot(models, self.models)
        return np.hstack([np.ones((len(own), 1)), logits[:, None], own, own * logits[:, None]])


def _one_hot(names: Groups, known: Sequence[str]) -> FloatArray:
    """Shape (n, known names); a row of zeros for any other name."""
    place = {name: column for column, name in enumerate(known)}
    out = np.zeros((len(names), len(known)))
    for row, name in enumerate(names):
        if name in place:
            out[row, place[name]] = 1.0
    return out
