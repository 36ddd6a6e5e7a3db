"""Which answers a judge model is asked about, and what that would cost."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from router.deciding.limits import DENIED, NOT_LOCAL, LimitCheck
from router.errors import ConfigError
from router.models.prices import current_prices
from router.records import NO_WISHES, Json, Request
from router.settings.outcome_rules import JudgeRule
from router.settings.sections import Config
from training.judging.own_model import names_of
from training.judging.prompt import instructions, messages_for, told_hash
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
"""Tokens of a usual reply; both only for the price that is expected, never for the one that is set aside."""
_COLUMNS = (
    "place", "call_id", "prompt_key", "model", "prompt", "messages", "tools", "response_format", "task_type",
    "tags", "truncated", "yes", "no", "failed", "answer",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A logged call that the judge is asked about.

    Attributes:
        place: in the log.
        said: what the rules said of it.
        key: of its prompt.
        answer: JSON text.
    """

    place: int
    said: RuleVotes
    key: str
    request: Request
    answer: str

    @property
    def identity(self) -> tuple[str, str]:
        """What is judged: calls with the same prompt and the same answer share their verdicts."""
        return self.key, hashlib.sha256(self.answer.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCall:
    """One call of the judge: one verdict on one answer.

    Attributes:
        key, answer_hash: what is judged.
        told: hash of the judge's instructions and parameters.
        called: the judge's LiteLLM name.
        repeat: number of the verdict, from 1.
        arguments: LiteLLM's, without the model.
        expected_usd: at most `at_most_usd`.
    """

    key: str
    answer_hash: str
    told: str
    called: str
    repeat: int
    model: str
    arguments: Mapping[str, Json]
    bound: Bound
    expected_usd: float
    at_most_usd: float

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """What its line in the record is found by."""
        return self.key, self.answer_hash, self.called, self.told, self.repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePlan:
    """What the judge is asked.

    Attributes:
        number: of the rule, from 0.
        calls: all verdicts on one answer together.
        eligible: calls that the sample was drawn from.
        within: the largest number that `draw` gives a call of the sample; None where all calls are in it.
        set_apart: calls that no rule before the judge decides and that it can't be asked about, by reason.
    """

    number: int
    rule: JudgeRule
    sample: Sequence[Sampled]
    calls: Sequence[JudgeCall]
    eligible: int
    within: int | None
    set_apart: Mapping[str, int]


def plan_judging(files: CallFiles, config: Config) -> JudgePlan:
    """Which answers the judge of the settings would be asked about; asks nobody.

    The sample is uniform over the calls that the judge can be asked about and of which no rule before it says
    anything: those with the smallest hashes of their identifier, so that the same log gives the same ones.
    Memory is that of the sample.

    Raises:
        ConfigError: there is no judge, its rubric can't be read, or its price is unknown.
    """
    if config.outcomes.judge is None:
        raise ConfigError("outcomes.rules: no judge is among them; add one, or give --judge MODEL")
    number, rule = config.outcomes.judge
    asking = _Asking.of(rule, config)
    set_apart: Counter[str] = Counter()
    drawn: list[tuple[int, int, Sampled]] = []
    eligible = 0
    for row in _undecided(files, number):
        request = _request(row)
        if (reason := asking.against(row, request)) is not None:
            set_apart[reason] += 1
            continue
        eligible += 1
        rank = -draw(row, config.training.seed)
        if len(drawn) < rule.most or rank > drawn[0][0]:
            one = (rank, -row["place"], _sampled(row, request))
            (heapq.heappush if len(drawn) < rule.most else heapq.heapreplace)(drawn, one)
    sample = [one for _, _, one in sorted(drawn, reverse=True)]
    return JudgePlan(
        number=number,
        rule=rule,
        sample=sample,
        calls=[call for one in _distinct(sample) for call in asking.calls(one)],
        eligible=eligible,
        within=-drawn[0][0] if len(drawn) < eligible and drawn else None,
        set_apart=dict(set_apart.most_common()),
    )


def _undecided(files: CallFiles, number: int) -> Iterator[Mapping[str, Json]]:
    """The calls of which no rule up to the judge's says anything."""
    for frame in files.frames():
        for batch in frame.select(*_COLUMNS).to_arrow_iter():
            said = map(RuleVotes, batch["yes"].to_pylist(), batch["no"].to_pylist())
            yield from batch.filter(pa.array([not one.decided_by(number) for one in said])).to_pylist()


def draw(row: Mapping[str, Json], seed: int) -> int:
    """A number that is as good as random, and always the same for a call."""
    name = f"{seed} {row['call_id'] or row['place']}"
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8])


def _sampled(row: Mapping[str, Json], request: Request) -> Sampled:
    said = RuleVotes(row["yes"], row["no"])
    return Sampled(
        place=row["place"], said=said, key=row["prompt_key"], request=request, answer=row["answer"]
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
class _Asking:
    """How one judge is asked."""

    rule: JudgeRule
    config: Config
    limits: LimitCheck
    bound: Bound
    system: str
    called: str

    @staticmethod
    def of(rule: JudgeRule, config: Config) -> _Asking:
        """By its rule."""
        price = current_prices([rule.model], {}, config)[rule.model]
        return _Asking(
            rule=rule,
            config=config,
            limits=LimitCheck([rule.model], config),
            bound=bound_of(rule.model, config, price, rule.max_tokens),
            system=instructions(rule.rubric),
            called=config.of(rule.model).litellm_model or rule.model,
        )

    def against(self, row: Mapping[str, Json], request: Request) -> str | None:
        """Why the judge can't be asked about a call; None where it can."""
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
        """Why the limits keep the judge from a request: they hold for it as for any model."""
        whole = self._request(request, answer)
        expected = self._expected_usd(whole)
        why = self.limits.rule_out(whole, NO_WISHES, _tokens(whole), {self.rule.model: expected})
        reason = why.get(self.rule.model)
        return reason if reason in (None, DENIED, NOT_LOCAL) else LIMITED

    def _request(self, request: Request, answer: str) -> Request:
        """The judge's request, which is as private as the one it is about."""
        messages = messages_for(self.system, request, answer)
        return Request(messages=messages, task_type=request.task_type, tags=request.tags)

    def calls(self, one: Sampled) -> Sequence[JudgeCall]:
        """The calls for all verdicts on one answer.

        A single verdict is asked for at temperature 0. Several are drawn at the provider's own temperature:
        at 0 they would agree because they are the same, and say nothing of the judge.
        """
        request = self._request(one.request, one.answer)
        parameters = {**self.bound.arguments, **({"temperature": 0} if self.rule.repeats == 1 else {})}
        key, answer_hash = one.identity
        return [
            JudgeCall(
                key=key,
                answer_hash=answer_hash,
                told=told_hash(self.system, parameters),
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
        given, made = _tokens(request), min(EXPECTED_REPLY, self.bound.output_tokens)
        by_tokens = given * self.bound.per_input_token + made * self.bound.per_output_token
        return min(by_tokens + self.bound.per_call, self.bound.at_most(request))


def _tokens(request: Request) -> float:
    """About how many tokens a request of the judge's has."""
    return sum(len(str(message["content"])) for message in request.messages) / CHARACTERS_A_TOKEN
