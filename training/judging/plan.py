"""Chooses the answers that a judge model grades, and estimates the cost."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import pyarrow as pa

from router.deciding.limits import DENIED, NOT_LOCAL, LimitCheck
from router.errors import ConfigError
from router.models.prices import current_prices
from router.records import NO_WISHES, Json, Request
from router.settings.outcome_rules import JudgeRule
from router.settings.sections import Config
from training.judging.own_model import names_of
from training.judging.prompt import instructions, instructions_hash, messages_for
from training.readers.cells import parse_json
from training.reading.calls import CallFiles
from training.reading.outcomes.rules import RuleVotes
from training.spending.cost_bound import Bound, bound_of, only_texts

FAILED = "ended in an error"
NO_ANSWER = "the log has no whole answer"
CUT = "the logged request is not the whole request"
NO_TEXT = "the request holds images or files"
OWN_ANSWER = "an answer of the judge's own model"
TOO_LONG = "request and answer are too long"
LIMITED = "the judge's context window or limits.max_cost_usd rules it out"

CHARACTERS_A_TOKEN = 4
EXPECTED_REPLY = 80
"""Tokens of a usual reply. Both estimates are for the expected price, never for the one that is set aside."""
_COLUMNS = (
    "place", "call_id", "prompt_key", "model", "prompt", "messages", "tools", "response_format", "task_type",
    "tags", "truncated", "yes", "no", "failed", "answer",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A logged call for the judge to grade.

    Attributes:
        rank: random; the sample has the calls with the smallest ranks.
        place: in the log.
        votes: of the outcome rules.
        key: of its prompt.
        answer: JSON text.
    """

    rank: int
    place: int
    votes: RuleVotes
    key: str
    request: Request
    answer: str

    @property
    def identity(self) -> tuple[str, str]:
        """Hashes of prompt and answer: calls with the same ones share their verdicts."""
        return self.key, hashlib.sha256(self.answer.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCall:
    """One call of the judge, for one verdict on one answer.

    Attributes:
        key, answer_hash: of the prompt and its answer.
        instructions_hash: of the judge's instructions and parameters.
        called: the judge's LiteLLM name.
        repeat: number of the verdict, from 1.
        arguments: LiteLLM's, without the model.
        expected_usd: at most `at_most_usd`.
    """

    key: str
    answer_hash: str
    instructions_hash: str
    called: str
    repeat: int
    model: str
    arguments: Mapping[str, Json]
    bound: Bound
    expected_usd: float
    at_most_usd: float

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """The values by which the record finds its line."""
        return self.key, self.answer_hash, self.called, self.instructions_hash, self.repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePlan:
    """The answers for the judge to grade, and the calls for that.

    Attributes:
        number: of the judge's rule, from 0.
        calls: sorted by answer.
        eligible: number of calls from which the sample was drawn.
        last_rank: the largest rank in the sample; None if the sample has all eligible calls.
        set_apart: calls that no rule before the judge decides but that it can't grade, by reason.
    """

    number: int
    rule: JudgeRule
    sample: Sequence[Sampled]
    calls: Sequence[JudgeCall]
    eligible: int
    last_rank: int | None
    set_apart: Mapping[str, int]


def plan_judging(files: CallFiles, config: Config) -> JudgePlan:
    """Draw the answers that the judge of the settings would grade; this calls no model.

    The sample is uniform over the calls that the judge can grade and that no rule before it decides. It has
    the calls with the smallest ranks, so the same log gives the same sample. Memory is that of the sample.

    Raises:
        ConfigError: there is no judge, its rubric can't be read, or its price is unknown.
    """
    if config.outcomes.judge is None:
        raise ConfigError("outcomes.rules: they contain no judge; add one, or give --judge MODEL")
    number, rule = config.outcomes.judge
    judge, seed = _Judge.of(rule, config), config.training.seed
    eligible, set_apart = 0, Counter[str]()

    def candidates() -> Iterator[Sampled]:
        nonlocal eligible
        for row in _undecided(files, number):
            request = _request(row)
            if (reason := judge.why_not(row, request)) is not None:
                set_apart[reason] += 1
                continue
            eligible += 1
            yield _sampled(row, request, seed)

    sample = heapq.nsmallest(rule.most, candidates(), key=attrgetter("rank", "place"))
    return JudgePlan(
        number=number,
        rule=rule,
        sample=sample,
        calls=[call for one in _distinct(sample) for call in judge.calls(one)],
        eligible=eligible,
        last_rank=sample[-1].rank if len(sample) < eligible else None,
        set_apart=dict(set_apart.most_common()),
    )


def _undecided(files: CallFiles, number: int) -> Iterator[Mapping[str, Json]]:
    """The calls that no rule up to the judge's decides."""
    for frame in files.frames():
        for batch in frame.select(*_COLUMNS).to_arrow_iter():
            votes = map(RuleVotes, batch["yes"].to_pylist(), batch["no"].to_pylist())
            yield from batch.filter(pa.array([not one.decided_by(number) for one in votes])).to_pylist()


def rank_of(row: Mapping[str, Json], seed: int) -> int:
    """A random number from 0 to 2**64 - 1, always the same for a call: a hash of its identifier."""
    name = f"{seed} {row['call_id'] or row['place']}"
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8])


def _sampled(row: Mapping[str, Json], request: Request, seed: int) -> Sampled:
    return Sampled(
        rank=rank_of(row, seed),
        place=row["place"],
        votes=RuleVotes(row["yes"], row["no"]),
        key=row["prompt_key"],
        request=request,
        answer=row["answer"],
    )


def _distinct(sample: Sequence[Sampled]) -> Sequence[Sampled]:
    return list({one.identity: one for one in sample}.values())


def _request(row: Mapping[str, Json]) -> Request:
    messages, prompt = row["messages"], row["prompt"]
    parsed = {name: row[name] and parse_json(row[name])[0] for name in ("tools", "response_format")}
    return Request.of(
        prompt or "" if messages is None else parse_json(messages)[0],
        task_type=row["task_type"],
        tags=tuple(row["tags"]),
        **parsed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """Writes the calls of one judge, and says which answers it can't grade."""

    rule: JudgeRule
    config: Config
    limits: LimitCheck
    bound: Bound
    system: str
    called: str

    @staticmethod
    def of(rule: JudgeRule, config: Config) -> _Judge:
        """The judge of a rule."""
        price = current_prices([rule.model], {}, config)[rule.model]
        return _Judge(
            rule=rule,
            config=config,
            limits=LimitCheck([rule.model], config),
            bound=bound_of(rule.model, config, price, rule.max_tokens),
            system=instructions(rule.rubric),
            called=config.of(rule.model).litellm_model or rule.model,
        )

    def why_not(self, row: Mapping[str, Json], request: Request) -> str | None:
        """Why the judge can't grade a call; None if it can."""
        if row["failed"]:
            return FAILED
        if row["answer"] is None:
            return NO_ANSWER
        if row["truncated"]:
            return CUT
        if not self.rule.own_answers and not names_of(self.rule.model, self.config).isdisjoint(
            names_of(row["model"], self.config)
        ):
            return OWN_ANSWER
        texts = ("prompt", "messages", "tools", "response_format", "answer")
        if sum(len(row[name] or "") for name in texts) > self.rule.max_characters:
            return TOO_LONG
        return self._limit(row["answer"], request) if only_texts(request) else NO_TEXT

    def _limit(self, answer: str, request: Request) -> str | None:
        """Why the limits rule the judge out; they hold for it as for any model."""
        whole = self._request(request, answer)
        expected = self._expected_usd(whole)
        rejected = self.limits.rule_out(whole, NO_WISHES, _tokens(whole), {self.rule.model: expected})
        reason = rejected.get(self.rule.model)
        return reason if reason in (None, DENIED, NOT_LOCAL) else LIMITED

    def _request(self, request: Request, answer: str) -> Request:
        """The judge's request, which is as private as the logged one."""
        messages = messages_for(self.system, request, answer)
        return Request(messages=messages, task_type=request.task_type, tags=request.tags)

    def calls(self, one: Sampled) -> Sequence[JudgeCall]:
        """The calls for all verdicts on one answer.

        A single verdict is drawn at temperature 0. Several are drawn at the provider's default temperature:
        at 0 they would agree because they are the same, and not show how reliable the judge is.
        """
        request = self._request(one.request, one.answer)
        parameters = {**self.bound.arguments, **({"temperature": 0} if self.rule.repeats == 1 else {})}
        key, answer_hash = one.identity
        return [
            JudgeCall(
                key=key,
                answer_hash=answer_hash,
                instructions_hash=instructions_hash(self.system, parameters),
                called=self.called,
                repeat=repeat,
                model=self.rule.model,
                arguments={"messages": list(request.messages), **parameters},
                bound=self.bound,
                expected_usd=self._expected_usd(request),
                at_most_usd=self.bound.at_most(request),
            )
            for repeat in range(1, self.rule.repeats + 1)
        ]

    def _expected_usd(self, request: Request) -> float:
        reply = min(EXPECTED_REPLY, self.bound.output_tokens)
        by_tokens = _tokens(request) * self.bound.per_input_token + reply * self.bound.per_output_token
        return min(by_tokens + self.bound.per_call, self.bound.at_most(request))


def _tokens(request: Request) -> float:
    """Approximate number of tokens of a judge's request."""
    return sum(len(str(message["content"])) for message in request.messages) / CHARACTERS_A_TOKEN
