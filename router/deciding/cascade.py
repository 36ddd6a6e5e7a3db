"""The cascade: whether an answer is kept, or one more model is asked."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router.deciding.policy import assumed_cost
from router.errors import DamagedArtifact
from router.forecasting.answer_numbers import number_names
from router.forecasting.grading import Answers, Grader
from router.forecasting.head import log_odds, sigmoid
from router.loading.artifact import load_arrays, save_arrays
from router.records import Decision, FloatArray, Json, Request

logger = logging.getLogger(__name__)

CASCADE_FILE = "cascade.safetensors"
_ARRAYS = ("centre", "spread", "weights", "calibration")
_FORMS = ("json_object", "json_schema")


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The cascade of one task type.

    Attributes:
        grader: the chance that an answer is good, by its forecast and its numbers.
        follow: share in [0, 1] of the answer's surprise, in log odds, that the other models' chances follow.
        threshold: what the second model must be worth more than the answer at hand, in success.
    """

    grader: Grader
    follow: float
    threshold: float

    def grade(self, model: str, forecast: float, numbers: FloatArray) -> float:
        """The chance that one answer is good.

        Args:
            forecast: the model's chance before it answered.
            numbers: shape (p,); of the answer.
        """
        inputs = graded_inputs(np.array([forecast]), numbers[None])
        return float(self.grader(Answers(numbers=inputs, models=[model], task_types=[None]))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """The model to ask once more.

    Attributes:
        grade: the chance that the first answer is good, in [0, 1].
        advantage: what the second model is worth more, in success, its cost included.
    """

    model: str
    grade: float
    advantage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """The task types whose answers may be followed by a second model's.

    Attributes:
        numbers: names of the numbers of an answer, in the order that the graders take them.
        branches: by task type; "" is that of requests without one.
    """

    numbers: tuple[str, ...]
    branches: Mapping[str, Branch]

    @staticmethod
    def load(folder: Path, stored: Mapping[str, Json]) -> Cascade | None:
        """The cascade in a router's folder; None, with a warning, if this code lacks a number that it needs.

        Raises:
            DamagedArtifact: its file can't be read.
        """
        names = tuple(stored["numbers"])
        if lacking := sorted(set(names) - set(number_names())):
            logger.warning(
                "%s: no cascade: it needs the number %r of an answer, which this code lacks; train again",
                folder,
                lacking[0],
            )
            return None
        arrays = load_arrays(folder / CASCADE_FILE)
        branches = {}
        for place, one in enumerate(stored["task_types"]):
            own = {name: arrays[f"{place}.{name}"].astype(np.float64) for name in _ARRAYS}
            _check(own, len(names), len(one["models"]), folder)
            grader = Grader(**own, models=tuple(one["models"]), task_types=())
            branches[one["task_type"]] = Branch(
                grader=grader, follow=one["follow"], threshold=one["threshold"]
            )
        return Cascade(numbers=names, branches=branches)

    def save(self, folder: Path) -> None:
        """Write the arrays, in the order of the branches."""
        save_arrays(
            folder / CASCADE_FILE,
            {
                f"{place}.{name}": getattr(branch.grader, name)
                for place, branch in enumerate(self.branches.values())
                for name in _ARRAYS
            },
        )

    def branch(self, request: Request) -> Branch | None:
        """The branch of a request; None if its answer is not checked or its task type does not gain."""
        return self.branches.get(request.task_type or "") if is_checked(request) else None

    def row(self, numbers: Mapping[str, float]) -> FloatArray:
        """The numbers of one answer in the graders' order, shape (p,)."""
        return np.array([numbers[name] for name in self.numbers])


def _check(arrays: Mapping[str, FloatArray], numbers: int, models: int, folder: Path) -> None:
    """Check the shapes of one grader.

    Raises:
        DamagedArtifact: an array has another shape, or holds no numbers.
    """
    sizes = {"centre": numbers + 1, "spread": numbers + 1, "weights": numbers + models + 2}
    sizes["calibration"] = 2 + 2 * models
    for name, size in sizes.items():
        if arrays[name].shape != (size,) or np.isnan(arrays[name]).any():
            raise DamagedArtifact(
                f"{folder}: the cascade's {name} are no {size} numbers; train or fetch it again"
            )


def is_checked(request: Request) -> bool:
    """Whether answers to a request are checked before they are served: those to tools or in a JSON form."""
    form = request.response_format
    asks = bool(request.tools) or (isinstance(form, Mapping) and form.get("type") in _FORMS)
    return asks and not request.parameters.get("stream")


def graded_inputs(forecast: FloatArray, numbers: FloatArray) -> FloatArray:
    """What a grader of a cascade takes, shape (n, 1 + p): the forecast's log odds, then the numbers."""
    return np.column_stack([log_odds(forecast), numbers])


def moved(probability: FloatArray, grade: FloatArray, forecast: FloatArray, follow: float) -> FloatArray:
    """Other models' chances of success once an answer is seen, shape (n, n_models).

    An answer that surprises tells about its prompt too: their log odds follow a share of the surprise.

    Args:
        probability: shape (n, n_models); chances before anyone answered.
        grade: shape (n,); chance that the answer at hand is good.
        forecast: shape (n,); that chance before it was there.
    """
    surprise = follow * (log_odds(grade) - log_odds(forecast))
    return sigmoid(log_odds(probability) + surprise[:, None])


def advantages(
    probability: FloatArray, weighed: FloatArray, grade: FloatArray, forecast: FloatArray, follow: float
) -> FloatArray:
    """What each model is worth more than the answer at hand, in success, shape (n, n_models).

    Args:
        weighed: shape (n, n_models); expected cost, in success; the others are those of `moved`.
    """
    return moved(probability, grade, forecast, follow) - weighed - grade[:, None]


def second_model(
    branch: Branch, decision: Decision, grade: float, candidates: Sequence[str], weight: float
) -> Second | None:
    """The model to ask after the decision's has answered, or None to keep the answer.

    Args:
        candidates: models that may be asked.
        weight: success probability that one USD is worth now; infinite where only cost counts.
    """
    if not candidates or not math.isfinite(weight):
        return None
    chance = np.array([[decision.success_probability[model] for model in candidates]])
    cost = assumed_cost(np.array([[decision.expected_cost_usd[model] for model in candidates]]))
    forecast = np.array([decision.success_probability[decision.model]])
    worth = advantages(chance, weight * cost, np.array([grade]), forecast, branch.follow)[0]
    best = int(np.argmax(worth))
    if worth[best] <= branch.threshold:
        return None
    return Second(model=candidates[best], grade=grade, advantage=float(worth[best]))
