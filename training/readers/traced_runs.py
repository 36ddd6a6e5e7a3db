"""Reads what tracers log of a run of a model: its inputs and outputs, and its place in a trace."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import ClassVar

from router.records import Json
from training.readers.cells import microseconds
from training.readers.judgements import Judgement, error_class, with_error, with_judgements
from training.readers.message_shapes import chat_of, is_message
from training.readers.protocol import (
    JOINED,
    NO_MODEL,
    OUTER,
    Call,
    JoiningReader,
    Record,
    Result,
    Sample,
)
from training.readers.providers import litellm_model
from training.readers.request_shapes import answer_evidence, is_request, opened, request_fields, why_no_prompt
from training.readers.token_kinds import TOKEN_KINDS, token_kinds
from training.readers.values import (
    filled,
    first_words,
    listed,
    mapping,
    member,
    seconds_between,
    unpacked,
    usable_number,
    words,
)
from training.readers.zero_costs import paid


def generation_evidence(outputs: Json) -> Call:
    """`finish_reason` and `answer` of a model's outputs; empty if they are not LangChain's."""
    generations = listed(mapping(outputs).get("generations"))
    first = mapping(member(generations, 0, 0)) or mapping(member(generations, 0))
    if not first:
        return {}
    message = next(iter(chat_of([one] if (one := mapping(first.get("message"))) else [])), None)
    about = mapping(first.get("generation_info")), mapping(member(first, "message", "response_metadata"))
    reason = first_words(*(one.get(name) for one in about for name in ("finish_reason", "stop_reason")))
    return filled({"finish_reason": reason, "answer": message if message else first.get("text")})


def run_model(parameters: Json, metadata: Json) -> tuple[str | None, str | None]:
    """Model and provider, from the parameters of the invocation and the metadata of the run."""
    params, about = mapping(parameters), mapping(metadata)
    names = "model", "model_name", "model_id", "modelId", "deployment_name", "azure_deployment"
    model = first_words(*(params.get(name) for name in names), about.get("ls_model_name"))
    return model, words(about.get("ls_provider"))


def request_in(inputs: Json, rest: Mapping[str, Json]) -> Call:
    """The request in the inputs of a run: a body, messages or a text.

    Args:
        rest: members of the request that are logged elsewhere, such as tools.
    """
    body = opened(inputs)
    if isinstance(body, str) and isinstance(whole := unpacked(body), dict) and is_request(whole):
        body = whole
    if isinstance(body, dict) and not is_message(body):
        return request_fields({"prompt": body.get("prompts"), **rest, **body})
    if isinstance(body, list) and all(isinstance(one, str) for one in body):
        return request_fields({**rest, "prompt": body})
    return request_fields({**rest, "messages": body})


def evidence_in(outputs: Json) -> Call:
    """`finish_reason` and `answer` of the outputs of a run; whatever they are, they are the answer."""
    opened = unpacked(outputs)
    return answer_evidence(opened) or generation_evidence(opened) or ({"answer": opened} if opened else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A row of a trace: a run of a model, or of anything else.

    Attributes:
        result: the call; or why the row is none.
        judgements: of this run's answer.
        end: when it ended, in any form of a time.
    """

    id: str | None
    parent: str | None
    result: Result
    judgements: Sequence[Judgement]
    end: Json


def run_result(known: Call, inputs: Json, rest: Mapping[str, Json], *, error: Json) -> Result:
    """The call of a model's run, or why it is none.

    Args:
        known: all that the row says beside the request.
        error: message or class of the error that ended the run.
    """
    fields = request_in(inputs, rest)
    cost = paid(known.get("cost_usd"), words(known.get("model")))
    call = filled({**fields, **filled(known, zeros=True), "cost_usd": cost}, zeros=True)
    if not fields:
        return replace(why_no_prompt(mapping(inputs)), call=call)
    if call.get("model") is None:
        return replace(NO_MODEL, call={name: value for name, value in call.items() if name != "model"})
    return with_error(call, error_class(error)) if error else call


class TracedRuns(JoiningReader):
    """A run of a model that has no other within it is a call.

    Of several runs of one call, as two tracers write them, the inner one counts. What is said of a run
    around calls, as of a whole trace, counts for the trace's last call.

    Attributes:
        telling: members that every run has, and that no other format's records have all.
        listed_in: members of a page that list its runs.
    """

    many_rows = pages = True
    telling: ClassVar[tuple[str, ...]]
    listed_in: ClassVar[tuple[str, ...]]

    def recognise(self, sample: Sample) -> float:
        """By the members of the runs, alone or in a page."""
        if set(self.telling) <= sample.columns:
            return 0.9
        return 0.9 * sample.share_of(lambda record: any(map(self.is_run, self.rows(record))))

    def rows(self, record: Record) -> Iterable[Record]:
        """The runs in a page."""
        page = [one for name in self.listed_in for one in listed(record.get(name)) if isinstance(one, dict)]
        return [record] if self.is_run(record) or not page else page

    def is_run(self, record: Record) -> bool:
        """Whether a record is a run, and not a page of them."""
        return all(name in record for name in self.telling)

    @abstractmethod
    def run(self, row: Record) -> Run:
        """The run in a row."""

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """The innermost runs of models as calls, with the judgements of the runs around them."""
        runs = [self.run(row) for row in rows]
        outer = _ancestors(runs)
        results = [OUTER if isinstance(one.result, dict) and one.id in outer else one.result for one in runs]
        calls = [number for number, result in enumerate(results) if isinstance(result, dict)]
        if not calls:
            return results
        last = max((_moment(runs[number].end), number) for number in calls)[1]
        said = {number: runs[number].judgements for number in calls}
        around = [number for number, one in enumerate(runs) if one.judgements and number not in said]
        said[last] = [*said[last], *(one for number in around for one in runs[number].judgements)]
        for number in around:
            results[number] = JOINED
        for number, judgements in said.items():
            result = results[number]
            results[number] = with_judgements(result, judgements) if isinstance(result, dict) else result
        return results


_OUTCOME = ("success", "score", "outcome_source")
_AMOUNTS = ("cost_usd", "input_tokens", "output_tokens", *TOKEN_KINDS)


def without_outer(
    results: Mapping[str, Result], parents: Mapping[str, str | None], walls: Container[str]
) -> dict[str, Result]:
    """The results by id, in which a call around others is no call: two tracers wrote both.

    The last call within it takes over its outcome, and its amounts if it is the only one, where it has none.

    Args:
        walls: ids of tools and agents; a call beyond one is a call of its own.
    """
    inner: dict[str, list[str]] = defaultdict(list)
    calls = {name for name, result in results.items() if isinstance(result, dict)}
    above = _calls_above(calls, parents, walls)
    for name, around_it in above.items():
        inner[around_it].append(name)
    known = dict(results)
    outermost_first = [name for name in inner if name not in above]
    for outer in outermost_first:
        within, around = inner[outer], mapping(known[outer])
        outermost_first += [name for name in within if name in inner]
        last = max(within, key=lambda name: str(mapping(results[name]).get("time")))
        own = mapping(known[last])
        names = (*(() if "outcome_source" in own else _OUTCOME), *(_AMOUNTS if len(within) == 1 else ()))
        known[last] = {**{name: around[name] for name in names if name in around}, **own}
        known[outer] = OUTER
    return known


def _calls_above(calls: Set[str], parents: Mapping[str, str | None], walls: Container[str]) -> dict[str, str]:
    """The nearest call around each call that has one."""
    above: dict[str, str | None] = dict.fromkeys(calls)
    nearest: dict[str, str | None] = {}
    for call in calls:
        path: dict[str, None] = {}
        step = parents.get(call)
        while step is not None and not (step in calls or step in walls or step in nearest or step in path):
            path[step] = None
            step = parents.get(step)
        found = step if step in calls else nearest.get(step or "")
        nearest.update(dict.fromkeys(path, found))
        above[call] = found
    return {call: one for call, one in above.items() if one is not None and one != call}


def _ancestors(runs: Sequence[Run]) -> set[str]:
    """The ids of all runs that have a call within them."""
    parents = {one.id: one.parent for one in runs if one.id is not None}
    ancestors: set[str] = set()
    for one in runs:
        above = one.parent if isinstance(one.result, dict) else None
        while above is not None and above not in ancestors:
            ancestors.add(above)
            above = parents.get(above)
    return ancestors


def _moment(end: Json) -> int:
    try:
        return microseconds(end) or 0
    except ValueError:
        return 0


def amounts_of(
    cost: Json, inputs: Json, outputs: Json, usage: Mapping[str, Json], *, start: Json, end: Json
) -> Call:
    """Cost, tokens and latency; the usage says what the provider counts apart."""
    amounts: Call = {
        "cost_usd": cost,
        "input_tokens": inputs,
        "output_tokens": outputs,
        **token_kinds(usage),
        "latency_s": seconds_between(start, end),
    }
    return filled(amounts, zeros=True)


def sum_of(*values: Json) -> float | None:
    """The sum of the values; None unless each is a number: a part of a cost is not the cost."""
    known = [number for value in values if (number := usable_number(value)) is not None]
    return sum(known) if known and len(known) == len(values) else None


def labels_of(call_id: Json, trace: Json, metadata: Mapping[str, Json], *, tags: Json, time: Json) -> Call:
    """Id, session, time, tags and task type of a run; the session is the conversation, else the trace."""
    names = "session_id", "sessionId", "thread_id", "conversation_id"
    return filled(
        {
            "call_id": words(call_id),
            "session_id": first_words(*(metadata.get(name) for name in names), trace),
            "time": time,
            "tags": [tag for tag in listed(tags) if isinstance(tag, str)],
            "task_type": words(metadata.get("task_type")),
        }
    )


def model_name(model: Json, *providers: Json) -> Call:
    """The field `model`, by LiteLLM's name; none if it is unknown."""
    return filled({"model": litellm_model(model, *providers)})
