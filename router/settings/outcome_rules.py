"""Outcome rules: how a team defines success."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from router.settings.section import Seconds, Settings, Share, Usd

FUNCTION_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class FeedbackRule(Settings):
    """The success that the log itself states.

    Attributes:
        sources: the `outcome_source` must be one of these; None: any except "error". A success without a
            source counts as "feedback".
    """

    sources: list[str] | None = None


class EvaluationRule(Settings):
    """A grade: success from `min_score` up, failure below."""

    min_score: Share


class ErrorRule(Settings):
    """A failure if the log blames an error on the model.

    Attributes:
        classes: further errors that count, by their names in the log.
    """

    classes: list[str] = []


class FinishReasonRule(Settings):
    """A failure if the model stopped for one of these reasons, named as in the chat protocol."""

    reasons: list[str] = ["length", "content_filter"]


class SchemaRule(Settings):
    """A failure if the answer violates the request's JSON schema or a tool's signature.

    Attributes:
        max_bytes: a longer answer or schema is not checked.
        timeout_s: a check that takes longer has no result.
    """

    max_bytes: Annotated[int, Field(gt=0)] = 100_000
    timeout_s: Seconds = 0.5


class RetriedRule(Settings):
    """A failure if the session sends the same prompt again within `within_s`.

    Attributes:
        model: to which model: "same", "other", or "any" for either.
    """

    within_s: Seconds
    model: Literal["any", "same", "other"] = "any"


class NextTurnRule(Settings):
    """A failure if the user's next turn in the session, within `within_s`, suggests it.

    Attributes:
        complaint: the turn begins like a complaint (`training.reading.outcomes.complaints`).
        rephrasing: the turn rephrases the last: of the words in either, a share of `similarity` is in both.
    """

    within_s: Seconds
    complaint: bool = True
    rephrasing: bool = True
    similarity: Share = 0.6


class FunctionRule(Settings):
    """The result of a function that gets a call as a dictionary: true, false or None.

    Attributes:
        call: `module:function`.
        source: the `outcome_source` of its outcomes.
    """

    call: Annotated[str, Field(pattern=f"^{FUNCTION_NAME.pattern}$")]
    source: Annotated[str, Field(min_length=1)] = "function"


class JudgeRule(Settings):
    """A judge model's grade of the answer, on a sample of the calls that no earlier rule decides.

    Only `pointsman import` calls the model. Elsewhere the rule reads its earlier judgements.

    Attributes:
        model: its name under `models`, or LiteLLM's.
        rubric: file that defines a good answer, relative to the working directory; None: the package's own.
        most: size of the sample, which is uniform.
        budget_usd: most that all imports into one file may spend on it; None: the command must state it.
        repeats: how often each answer is judged; more than half of the judgements must agree.
        own_answers: whether the judge may grade answers of its own model.
        max_tokens: longest reply, including its thinking, unless the model's own settings state one.
        max_characters: a request and answer that are longer together are not judged.
        concurrency: most calls in flight.
        per_minute: most calls a minute; None: no limit.
    """

    model: Annotated[str, Field(min_length=1)]
    rubric: str | None = None
    most: Annotated[int, Field(ge=1)] = 500
    budget_usd: Usd | None = None
    repeats: Annotated[int, Field(ge=1, le=25)] = 1
    own_answers: bool = False
    max_tokens: Annotated[int, Field(ge=1)] = 512
    max_characters: Annotated[int, Field(gt=0)] = 100_000
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class OtherwiseRule(Settings):
    """The outcome of a call without an error that no other rule decides."""

    success: bool


class OutcomeRule(Settings):
    """One rule: exactly one field is set, whose name is the kind of the rule.

    A field for each kind, not a union of types: so the file reads `- error: {}`, and an error of pydantic's
    has the key in its location.
    """

    feedback: FeedbackRule | None = None
    evaluation: EvaluationRule | None = None
    error: ErrorRule | None = None
    finish_reason: FinishReasonRule | None = None
    answer_schema: SchemaRule | None = None
    retried: RetriedRule | None = None
    next_turn: NextTurnRule | None = None
    function: FunctionRule | None = None
    judge: JudgeRule | None = None
    otherwise: OtherwiseRule | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self._kinds) != 1:
            raise ValueError("a rule is one kind with its settings, such as 'feedback: {}'")
        return self

    @property
    def _kinds(self) -> list[str]:
        return [name for name, settings in self if settings is not None]

    @property
    def kind(self) -> str:
        """The rule's name in the file."""
        return self._kinds[0]

    @property
    def of_session(self) -> bool:
        """Whether the rule reads the calls of a session together."""
        return self.kind in ("retried", "next_turn")


MOST_OUTCOME_RULES = 60


class Outcomes(Settings):
    """How to tell whether logged calls succeeded.

    Attributes:
        rules: the first rule with a result for a call decides; without rules, the log's own `success` does,
            else its score and `training.success_score`.
        weights: weight of an outcome in training, by `outcome_source`; 1 unless stated, and 0 leaves it out.
        grade: whether `pointsman import` learns from the calls of known outcome how likely every other answer
            is good, and writes that chance as `graded`. A grade is never an outcome.
    """

    rules: Annotated[list[OutcomeRule], Field(max_length=MOST_OUTCOME_RULES)] = []
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    grade: bool = False

    @model_validator(mode="after")
    def _ends_otherwise(self) -> Self:
        if any(rule.otherwise for rule in self.rules[:-1]):
            raise ValueError("'otherwise' goes last: it decides before any rule after it")
        return self

    @model_validator(mode="after")
    def _has_one_judge(self) -> Self:
        if sum(rule.judge is not None for rule in self.rules) > 1:
            raise ValueError("there is one 'judge' at most: the judgements of two can't be distinguished")
        return self

    @property
    def judge(self) -> tuple[int, JudgeRule] | None:
        """The judge's number, from 0, and its settings; None without a judge."""
        judges = ((number, rule.judge) for number, rule in enumerate(self.rules) if rule.judge is not None)
        return next(judges, None)


def usual_rules(success_score: float) -> list[OutcomeRule]:
    """Rules that give a log's own outcomes the meaning that they have without rules."""
    return [
        OutcomeRule(feedback=FeedbackRule()),
        OutcomeRule(error=ErrorRule()),
        OutcomeRule(evaluation=EvaluationRule(min_score=success_score)),
    ]
