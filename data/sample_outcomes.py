"""Each model's answer to a request: outcome, tokens, cost and time, drawn from the tables below."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from data.sample_requests import Draft

LOCAL, MINI, OLDER, STRONG = "ollama/llama3.1", "gpt-4.1-mini", "gpt-4o", "gpt-5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the sample. The skills are invented: they say nothing about the model of that name.

    Attributes:
        skill: log odds of success at difficulty 0, per kind of work.
        slope: log odds lost per unit of difficulty.
        foreign: log odds added if the customer does not write English.
        input_usd, output_usd: per million tokens.
        wordiness: output tokens, relative to a plain answer.
        thinking: output tokens added before the answer, at difficulty 1; they grow by 30 % per unit.
        tokens_a_second: speed of writing.
    """

    skill: Mapping[str, float]
    slope: float
    foreign: float
    input_usd: float
    output_usd: float
    wordiness: float
    thinking: float
    tokens_a_second: float


def _skills(*log_odds: float) -> Mapping[str, float]:
    """Skills in the order support, extraction, coding, analysis, tool use, chat."""
    kinds = ("support", "extraction", "coding", "analysis", "tool_use", "chat")
    return dict(zip(kinds, log_odds, strict=True))


MODELS: Mapping[str, Model] = {
    LOCAL: Model(
        skill=_skills(5.6, 4.6, 4.8, 4.5, 4.6, 5.8),
        slope=3.2, foreign=-1.6, input_usd=0.03, output_usd=0.06, wordiness=1.1,
        thinking=0, tokens_a_second=38,
    ),
    MINI: Model(
        skill=_skills(8.0, 9.6, 7.4, 7.0, 7.4, 8.0),
        slope=3.4, foreign=-0.2, input_usd=0.4, output_usd=1.6, wordiness=1.0,
        thinking=0, tokens_a_second=85,
    ),
    OLDER: Model(
        skill=_skills(7.7, 7.2, 7.1, 6.7, 7.0, 7.8),
        slope=3.4, foreign=0.8, input_usd=2.5, output_usd=10.0, wordiness=1.0,
        thinking=0, tokens_a_second=60,
    ),
    STRONG: Model(
        skill=_skills(2.7, 1.8, 3.2, 3.3, 3.0, 2.6),
        slope=0.4, foreign=0.2, input_usd=1.25, output_usd=10.0, wordiness=0.9,
        thinking=380, tokens_a_second=75,
    ),
}  # fmt: skip
"""The four models. gpt-5 costs more per call than its price suggests, because it thinks first."""

SMALL = "gpt-5-mini"
EFFORTS: Mapping[str, Model] = {
    LOCAL: MODELS[LOCAL],
    f"{SMALL}@low": replace(MODELS[MINI], input_usd=0.25, output_usd=2.0, thinking=60),
    f"{SMALL}@high": Model(
        skill=_skills(6.8, 7.6, 6.4, 6.0, 6.4, 6.8),
        slope=2.4, foreign=-0.2, input_usd=0.25, output_usd=2.0, wordiness=1.0,
        thinking=700, tokens_a_second=85,
    ),
    OLDER: MODELS[OLDER],
    f"{STRONG}@low": replace(
        MODELS[STRONG], skill=_skills(5.6, 4.7, 5.7, 5.6, 5.7, 5.6), slope=1.6, thinking=120
    ),
    f"{STRONG}@high": replace(
        MODELS[STRONG], skill=_skills(3.8, 2.9, 4.3, 4.4, 4.1, 3.7), thinking=900
    ),
}  # fmt: skip
"""The actions of a log with efforts, in which gpt-5-mini stands for gpt-4.1-mini."""

PLAIN_ANSWER_TOKENS = {
    "support": 170, "extraction": 190, "coding": 320, "analysis": 280, "tool_use": 60, "chat": 190,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of one call; `score` is the grade that goes with `success`, in [0, 1]."""

    success: bool
    score: float
    input_tokens: int
    output_tokens: int
    cost_usd: float
    latency_s: float


def success_probability(model: Model, draft: Draft) -> float:
    """Chance that the model succeeds: sigmoid(skill - slope * difficulty, + foreign where it applies)."""
    log_odds = model.skill[draft.kind] - model.slope * draft.difficulty + model.foreign * draft.foreign
    return 1 / (1 + math.exp(-log_odds))


def draw_answer(model: Model, draft: Draft, rng: random.Random) -> Answer:
    """One call of the model, at random."""
    success = rng.random() < success_probability(model, draft)
    score = round(rng.uniform(0.55, 1.0) if success else rng.uniform(0.0, 0.45), 2)
    input_tokens = _input_tokens(draft)
    output_tokens = _output_tokens(model, draft, rng)
    cost = (input_tokens * model.input_usd + output_tokens * model.output_usd) / 1e6
    latency = 0.3 * rng.lognormvariate(0, 0.4) + output_tokens / model.tokens_a_second * rng.lognormvariate(
        0, 0.2
    )
    return Answer(
        success=success,
        score=score,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=round(cost, 9),
        latency_s=round(latency, 3),
    )


def failed_answer(rng: random.Random) -> Answer:
    """A call that the provider broke off: nothing came back and nothing is billed."""
    latency = round(rng.uniform(0.2, 30.0), 3)
    return Answer(success=False, score=0.0, input_tokens=0, output_tokens=0, cost_usd=0.0, latency_s=latency)


def _input_tokens(draft: Draft) -> int:
    """About four ASCII characters a token, one of any other; tools and response format count as text."""
    whole = draft.text
    for extra in (draft.tools, draft.response_format):
        whole += json.dumps(extra) if extra else ""
    plain = sum(character.isascii() for character in whole)
    return 7 + 4 * len(draft.messages) + round(plain / 4.1) + len(whole) - plain


def _output_tokens(model: Model, draft: Draft, rng: random.Random) -> int:
    plain = PLAIN_ANSWER_TOKENS[draft.kind] * (0.7 + 0.25 * draft.difficulty)
    thinking: float = model.thinking * 1.3 ** (draft.difficulty - 1)
    spread = rng.lognormvariate(0, 0.3)
    return max(4, round((max(plain, 20) * model.wordiness + thinking) * spread))
