"""Which task types gain from asking a second model where the first one's answer looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from router.deciding.cascade import Branch, Cascade, advantages, graded_inputs, is_checked, moved
from router.forecasting.answer_numbers import number_names
from router.forecasting.grading import Answers, Grader
from router.forecasting.head import log_odds
from router.numbers import rate, signed
from router.records import BoolArray, FloatArray, IntArray, Json
from training.judging.grader import FOLDS, LEAST_KNOWN, grader_of
from training.learning.fitting import Fitted
from training.learning.material import Material
from training.learning.thresholds import STAKES, Backtest
from training.prompts.answers import AnswerTable
from training.statistics.intervals import LEVEL, resampled_sums
from training.statistics.logistic import log_loss

LEAST_PROMPTS = 200
"""Prompts of a task type with the answer and the outcome of every model, to judge on."""
MOST_GRADED = 6_000
"""Answers that a grader of one task type learns from."""
THRESHOLDS = (0.0, 0.05, 0.1, 0.2)
FOLLOWS = tuple(step / 10 for step in range(11))
CHECKED_ELSEWHERE = frozenset({"form kept", "form broken"})
"""Numbers that a serving router does not count: they need a whole check of a schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeTrial:
    """What the cascade would do to one task type, on prompts that nothing of it was learnt from.

    Attributes:
        task_type: "" is that of requests without one.
        prompts: with the answer and the outcome of every model.
        asked: share of them for which a second model is asked, at the router's own weight on cost.
        success: what the second model changes in success there, on the mean prompt.
        cost_usd: what it costs there on the mean prompt, beside the first call.
        gain: change in decision value on the mean prompt, as `decision_value` has it.
        low, high: its interval.
    """

    task_type: str
    prompts: int
    asked: float
    success: float
    cost_usd: float
    gain: float
    low: float
    high: float

    @property
    def pays(self) -> bool:
        """Whether the gain is above 0 for sure, and success rises at the router's own weight too."""
        return self.low > 0 and self.success > 0

    @property
    def sentence(self) -> str:
        """The trial for people, as a clause."""
        shown = [signed(1000 * value) for value in (self.gain, self.low, self.high)]
        return (
            f"{self.task_type or 'without a task type'} {shown[0]} [{shown[1]}, {shown[2]}] in "
            f"thousandths of decision value, asking twice for {rate(self.asked)} of {self.prompts:,} prompts"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedCascade:
    """The cascade of the task types that gain, and what was tried.

    Attributes:
        cascade: None if no task type gains.
        trials: one for each task type with enough prompts.
    """

    cascade: Cascade | None
    trials: Sequence[CascadeTrial]

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        if not self.trials:
            return (
                f"training.cascade: can't tell: no task type has {LEAST_PROMPTS:,} prompts with tools or a "
                "JSON form and with every model's answer and outcome in the log; replay makes them"
            )
        on = [trial.task_type or "without a task type" for trial in self.trials if trial.pays]
        found = f"{', '.join(on)} will gain" if on else "no task type gains for sure, so there is none"
        return f"training.cascade: {found} ({'; '.join(trial.sentence for trial in self.trials)})"

    def to_json(self) -> dict[str, Json] | None:
        """The manifest's entry; None without a cascade."""
        if self.cascade is None:
            return None
        trials = {trial.task_type: asdict(trial) for trial in self.trials}
        task_types = [
            {
                "task_type": name,
                "models": list(branch.grader.models),
                "follow": branch.follow,
                "threshold": branch.threshold,
                "trial": trials[name],
            }
            for name, branch in self.cascade.branches.items()
        ]
        return {"numbers": list(self.cascade.numbers), "task_types": task_types}


def with_cascade(fitted: Fitted, material: Material, answers: AnswerTable | None) -> Fitted:
    """The fitted router with what `learn_cascade` finds; as it is without answers."""
    return fitted if answers is None else replace(fitted, cascade=learn_cascade(fitted, material, answers))


def learn_cascade(fitted: Fitted, material: Material, answers: AnswerTable) -> LearnedCascade:
    """Learn a grader for each task type, and try it on the prompts that it did not learn from.

    Forecasts are those of the backtest, which have not seen their prompt. Graders, `follow` and threshold are
    learnt on four fifths of the prompts and tried on the last, five times; a task type that pays gets those
    learnt on all. With several task types the intervals are as much wider.

    Args:
        answers: to the prompts of the material.
    """
    names = number_names()
    kept = [place for place, name in enumerate(names) if name not in CHECKED_ELSEWHERE]
    trials: list[CascadeTrial] = []
    branches: dict[str, Branch] = {}
    with threadpool_limits(1):
        cases = [case for case in _cases(material, fitted, answers, kept) if case.enough]
        for case in cases:
            fold = case.folds(material.config.training.seed)
            grade = case.cross_graded(fold)
            trials.append(case.tried(grade, fold, 1.0 - (1.0 - LEVEL) / len(cases)))
            if trials[-1].pays:
                branches[case.task_type] = case.branch(grade)
    numbers = tuple(names[place] for place in kept)
    return LearnedCascade(
        cascade=Cascade(numbers=numbers, branches=branches) if branches else None, trials=trials
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """The prompts of one task type, n of them, m models; and their answers of known outcome.

    Attributes:
        weight: the policy's own, on cost.
        weights: those that decision value averages over.
        backtest: of these prompts.
        at: shape (n, m); row of `numbers` of each answer, -1 without one.
        clusters: shape (n,); prompts that share a number are in one fold.
        numbers: shape (n_answers, p); of answers.
    """

    task_type: str
    models: Sequence[str]
    weight: float
    weights: Sequence[float]
    backtest: Backtest
    at: IntArray
    clusters: IntArray
    numbers: FloatArray

    @property
    def full(self) -> IntArray:
        """The prompts on which every model's answer and outcome are known."""
        return np.flatnonzero(((self.at >= 0) & self.backtest.known).all(axis=1))

    @property
    def enough(self) -> bool:
        """Whether there is enough to learn and to try."""
        good = self.backtest.success[(self.at >= 0) & self.backtest.known]
        return len(self.full) >= LEAST_PROMPTS and min(good.sum(), (1 - good).sum()) >= LEAST_KNOWN

    def folds(self, seed: int) -> IntArray:
        """The fold of each prompt, shape (n,)."""
        names, number = np.unique(self.clusters, return_inverse=True)
        return np.asarray(np.random.default_rng(seed).permutation(len(names))[number] % FOLDS)

    def cross_graded(self, fold: IntArray) -> FloatArray:
        """The chance that each answer is good, shape (n, m), by graders that have not seen its prompt.

        NaN where an answer or outcome of the prompt is unknown.
        """
        grade = np.full(self.at.shape, np.nan)
        for number in range(FOLDS):
            rows = self.full[fold[self.full] == number]
            if not len(rows):
                continue
            grader = self._grader(fold != number)
            for column in range(len(self.models)):
                grade[rows, column] = grader(self._answers(rows, np.full(len(rows), column)))
        return grade

    def tried(self, grade: FloatArray, fold: IntArray, level: float) -> CascadeTrial:
        """Sum up what second models would have changed, by what was chosen on other folds."""
        value, own = np.zeros(len(fold)), np.zeros((3, len(fold)))
        for number in range(FOLDS):
            rows = self.full[fold[self.full] == number]
            follow, threshold = self._chosen(grade, self.full[fold[self.full] != number])
            value[rows] = self._value(grade, rows, follow)(threshold)
            worth, success, cost = self._seconds(grade, rows, follow, self.weight)
            own[:, rows] = np.stack([np.ones(len(rows)), success, cost]) * (worth > threshold)
        columns = np.column_stack([value, np.ones(len(fold))])[self.full]
        sums = resampled_sums(columns, self.clusters[self.full])
        gains = sums.draws[:, 0] / sums.draws[:, 1]
        edges = np.array([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
        low, high = np.quantile(gains, edges) if len(gains) else (np.nan, np.nan)
        asked, success, cost = own[:, self.full].mean(axis=1)
        return CascadeTrial(
            task_type=self.task_type,
            prompts=len(self.full),
            asked=float(asked),
            success=float(success),
            cost_usd=float(cost),
            gain=float(columns[:, 0].mean()),
            low=float(low),
            high=float(high),
        )

    def branch(self, grade: FloatArray) -> Branch:
        """What is served: a grader learnt on all prompts, with a threshold for grades of unseen ones."""
        follow, threshold = self._chosen(grade, self.full)
        grader = self._grader(np.ones(len(grade), dtype=np.bool_))
        return Branch(grader=grader, follow=follow, threshold=threshold)

    def _grader(self, learnt: BoolArray) -> Grader:
        """The grader that learns from the answers of known outcome to some prompts."""
        rows, columns = np.nonzero((self.at >= 0) & self.backtest.known & learnt[:, None])
        step = len(rows) // MOST_GRADED + 1
        rows, columns = rows[::step], columns[::step]
        return grader_of(self._answers(rows, columns), self.backtest.success[rows, columns])

    def _answers(self, rows: IntArray, columns: IntArray) -> Answers:
        forecast = self.backtest.probability[rows, columns]
        return Answers(
            numbers=graded_inputs(forecast, self.numbers[self.at[rows, columns]]),
            models=[self.models[column] for column in columns],
            task_types=[None] * len(rows),
        )

    def _chosen(self, grade: FloatArray, rows: IntArray) -> tuple[float, float]:
        """The `follow` under which other models' outcomes are likeliest, and the threshold of most value."""
        follow = min(FOLLOWS, key=lambda one: self._loss(grade, rows, one))
        value = self._value(grade, rows, follow)
        return follow, max(THRESHOLDS, key=lambda threshold: float(value(threshold).sum()))

    def _loss(self, grade: FloatArray, rows: IntArray, follow: float) -> float:
        """Log loss of every model's chance, once another one has answered."""
        chance, outcome = self.backtest.probability[rows], self.backtest.success[rows]
        losses = []
        for first in range(len(self.models)):
            others = np.arange(len(self.models)) != first
            logits = log_odds(moved(chance[:, others], grade[rows, first], chance[:, first], follow))
            losses.append(log_loss(logits.ravel(), outcome[:, others].ravel(), np.ones(logits.size)))
        return float(np.mean(losses))

    def _value(self, grade: FloatArray, rows: IntArray, follow: float) -> Callable[[float], FloatArray]:
        """What a threshold changes in decision value, shape (n_rows,)."""
        seconds = [(weight, self._seconds(grade, rows, follow, weight)) for weight in self.weights]

        def changed(threshold: float) -> FloatArray:
            changes = [
                np.where(worth > threshold, success - weight * cost, 0.0)
                for weight, (worth, success, cost) in seconds
            ]
            return np.asarray(np.mean(changes, axis=0))

        return changed

    def _seconds(
        self, grade: FloatArray, rows: IntArray, follow: float, weight: float
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Worth of the best second model, what it changes in success, and its cost in USD; (n_rows,) each."""
        first, every = self.backtest.choice(weight)[rows], np.arange(len(rows))
        chance, weighed = self.backtest.probability[rows], weight * self.backtest.expected_cost[rows]
        worth = advantages(chance, weighed, grade[rows, first], chance[every, first], follow)
        worth[every, first] = -np.inf
        second = worth.argmax(axis=1)
        success = self.backtest.success[rows]
        gained = success[every, second] - success[every, first]
        return worth[every, second], gained, self.backtest.cost[rows][every, second]


def _cases(material: Material, fitted: Fitted, answers: AnswerTable, kept: Sequence[int]) -> Iterator[_Case]:
    """The task types of the prompts whose answers can be checked, the most frequent first."""
    requests = [material.table.requests[row] for row in fitted.rows]
    types = [request.task_type or "" if is_checked(request) else None for request in requests]
    backtest = fitted.backtest
    paid = backtest.cost[:, backtest.best_single].mean()
    numbers = answers.numbers[:, kept] if len(answers.numbers) else answers.numbers
    for task_type, _ in Counter(one for one in types if one is not None).most_common():
        rows = np.array([row for row, one in enumerate(types) if one == task_type], dtype=np.int64)
        yield _Case(
            task_type=task_type,
            models=material.table.models,
            weight=fitted.policy.weight,
            weights=(STAKES / paid).tolist() if paid > 0 else [0.0],
            backtest=backtest.at(rows),
            at=answers.at[fitted.rows[rows]],
            clusters=material.table.groups[fitted.rows[rows]],
            numbers=numbers,
        )
