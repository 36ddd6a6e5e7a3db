"""The outcome rules: how a team says what success is."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from router.settings.section import Seconds, Settings, Share, Usd

FUNCTION_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class FeedbackRule(Settings):
    """Success as the log itself has it.

    Attributes:
        sources: only where `outcome_source` is one of these; None: any but "error". A success without a
            source counts as "feedback".
    """

    sources: list[str] | None = None


class EvaluationRule(Settings):
    """A grade: success from `min_score` on, failure below."""

    min_score: Share


class ErrorRule(Settings):
    """A failure where the log blames an error on the model.

    Attributes:
        classes: errors that count as well, by the name that the log has for them.
    """

    classes: list[str] = []


class FinishReasonRule(Settings):
    """A failure where the model stopped for one of these reasons, by their names in the chat protocol."""

    reasons: list[str] = ["length", "content_filter"]


class SchemaRule(Settings):
    """A failure where the answer breaks the JSON schema or a tool's signature that the request gave.

    Attributes:
        max_bytes: a longer answer or schema is not checked.
        timeout_s: a check that takes longer says nothing.
    """

    max_bytes: Annotated[int, Field(gt=0)] = 100_000
    timeout_s: Seconds = 0.5


class RetriedRule(Settings):
    """A failure where the session asks the same prompt again within `within_s`.

    Attributes:
        model: "same": of the same model; "other": of another one; "any": of either.
    """

    within_s: Seconds
    model: Literal["any", "same", "other"] = "any"


class NextTurnRule(Settings):
    """A failure where the user's next turn in the session, within `within_s`, says so.

    Attributes:
        complaint: it begins as a complaint (`training.reading.outcomes.complaints`).
        rephrasing: it says the same in other words: of the words in either turn, `similarity` are in both.
    """

    within_s: Seconds
    complaint: bool = True
    rephrasing: bool = True
    similarity: Share = 0.6


class FunctionRule(Settings):
    """What a function says: true, false or None, of a call as a dictionary.

    Attributes:
        call: `module:function`.
        source: what `outcome_source` becomes.
    """

    call: Annotated[str, Field(pattern=FUNCTION_NAME.pattern + "$")]
    source: Annotated[str, Field(min_length=1)] = "function"


class JudgeRule(Settings):
    """What a judge model says of the answer, on a sample of the calls that no rule before it judges.

    Only `pointsman import` asks the model. Elsewhere the rule finds what was judged then.

    Attributes:
        model: its name under `models`, or LiteLLM's.
        rubric: file that says what a good answer is, from the working directory; None: the package's own.
        most: calls judged at most: a uniform sample.
        budget_usd: what all imports into one file may spend on it; None: the command has to say it.
        repeats: how often each answer is judged; more than half of the verdicts must be the same.
        own_answers: the judge may grade answers of its own model.
        max_tokens: longest reply, its thinking included, where the model's own settings name none.
        max_characters: a longer request and answer, together, is not judged.
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
    """What a call without an error is that no other rule judges."""

    success: bool


class OutcomeRule(Settings):
    """One rule, by its kind: exactly one is set."""

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
        if sum(value is not None for _, value in self) != 1:
            raise ValueError("a rule is one kind with its settings, such as 'feedback: {}'")
        return self

    @property
    def kind(self) -> str:
        """Its name in the file."""
        return next(name for name, value in self if value is not None)

    @property
    def of_session(self) -> bool:
        """Whether it looks at the calls of a session together."""
        return self.retried is not None or self.next_turn is not None


MOST_OUTCOME_RULES = 60


class Outcomes(Settings):
    """Whether logged calls succeeded.

    Attributes:
        rules: the first one that says anything of a call decides; none: the log's own `success`, else its
            score against `training.success_score`.
        weights: how much an outcome teaches, by its `outcome_source`; 1 if not given, and 0 leaves it out.
    """

    rules: Annotated[list[OutcomeRule], Field(max_length=MOST_OUTCOME_RULES)] = []
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}

    @model_validator(mode="after")
    def _ends_otherwise(self) -> Self:
        if any(rule.otherwise for rule in self.rules[:-1]):
            raise ValueError("'otherwise' goes last: no rule after it would be asked")
        return self

    @model_validator(mode="after")
    def _has_one_judge(self) -> Self:
        if sum(rule.judge is not None for rule in self.rules) > 1:
            raise ValueError("there is one 'judge' at most: the verdicts of two could not be told apart")
        return self

    @property
    def judge(self) -> tuple[int, JudgeRule] | None:
        """The rule of the judge and its number from 0; None without one."""
        found = ((number, rule.judge) for number, rule in enumerate(self.rules) if rule.judge is not None)
        return next(found, None)
