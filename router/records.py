"""The values that travel between the stages: request, wishes, decision, and a prompt's key."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.errors import RequestError
from router.text import shown

FloatArray: TypeAlias = NDArray[np.float64]
Float32Array: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
Json: TypeAlias = Any
"""What `json.loads` returns."""

Source = Literal["learned", "rule", "constraint", "pinned", "session", "explored"]
"""Who chose: the policy, the rule table, the limits (they left one model), the caller, the session (it stays
on
its model), or chance (exploration)."""

LARGEST_NUMBER = 2**63
"""No provider takes a larger number; Python can't make a float of one of 400 digits."""

MOST_MESSAGES = 5_000
"""Messages of a request, parts of messages included: OpenAI takes 2,048, and each must be looked at."""
MOST_TAGS = 1_000
LOOKED = 500_000
"""Characters of each end of a text in which something other than white space is sought."""
LONGEST_LABEL = 10_000
"""Characters of a tag, a task type or the name of a session."""
MAPPINGS = (dict, Mapping)
LISTS = (list, tuple)

REQUEST_FIELDS = frozenset(
    {"prompt", "messages", "tools", "response_format", "task_type", "tags", "session_id", "parameters"}
)


SYSTEM_ROLES = ("system", "developer")
LONGEST_NAME = 100
"""Characters of a name that are compared with the known ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The parts of one request that routing reads.

    Attributes:
        messages: chat messages in order, each with `role` and `content` (text, a list of parts, or None).
        tools: tool definitions in the provider's form, or None.
        response_format: the provider's `response_format`, or None.
        task_type: the caller's name for the kind of work, or None.
        tags: the caller's labels, in any order.
        session_id: name of the conversation, or None.
        parameters: further LiteLLM arguments (`max_tokens`, `logprobs`, ...) that a model may lack.
    """

    messages: Sequence[Mapping[str, Json]]
    tools: Json = None
    response_format: Json = None
    task_type: str | None = None
    tags: Sequence[str] = ()
    session_id: str | None = None
    parameters: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.messages:
            raise RequestError("a request needs at least one message")
        _check_count(self.messages)
        for number, message in enumerate(self.messages, start=1):
            if not isinstance(message, MAPPINGS) or not isinstance(message.get("role"), str):
                raise RequestError(f"message {number} is not an object with a 'role' that is text")
        _check_label("task_type", self.task_type)
        _check_label("session_id", self.session_id)
        _check_parameters(self.parameters)
        listed = isinstance(self.tags, Collection) and not isinstance(self.tags, str | Mapping)
        if listed and len(self.tags) > MOST_TAGS:
            raise RequestError(f"a request of {len(self.tags):,} tags: send at most {MOST_TAGS:,}")
        if not listed or not all(isinstance(tag, str) for tag in self.tags):
            raise RequestError(f"tags must be a list of texts, got {shown(self.tags)}")
        for tag in self.tags:
            _check_label("a tag", tag)

    @staticmethod
    def of(prompt: str | Sequence[Mapping[str, Json]], **fields: Json) -> Request:
        """Make a request from one prompt text, or from chat messages.

        Raises:
            RequestError: the prompt is neither, or a field has the wrong form.
        """
        if isinstance(prompt, str):
            prompt = ({"role": "user", "content": prompt},)
        if not isinstance(prompt, list | tuple):
            raise RequestError(f"prompt must be a text or a list of messages, got {type(prompt).__name__}")
        _check_count(prompt)
        messages = tuple(_plain_message(message) for message in prompt)
        return Request(messages=messages, **{**fields, "response_format": _plain_format(fields)})

    @staticmethod
    def from_json(value: Json) -> Request:
        """Make a request from one line of `pointsman route`.

        Other keys are ignored: the line may carry the caller's own identifier.

        Raises:
            RequestError: the value is not an object, has neither `prompt` nor `messages`, or both, or a key
                that is nearly one of ours, such as `task_typ`.
        """
        if not isinstance(value, Mapping):
            raise RequestError(f"a request is a JSON object, got {type(value).__name__}")
        refuse_near_misses(value, REQUEST_FIELDS | WISH_FIELDS)
        fields = {name: value[name] for name in REQUEST_FIELDS if value.get(name) is not None}
        prompt, messages = fields.pop("prompt", None), fields.pop("messages", None)
        if (prompt is None) == (messages is None):
            number = "neither" if prompt is None else "both"
            raise RequestError(f"a request has either 'prompt' or 'messages'; this one has {number}")
        if messages is None and not isinstance(prompt, str):
            kind = type(prompt).__name__
            raise RequestError(f"prompt must be a text, got {kind}; messages go in 'messages'")
        if prompt is None and not isinstance(messages, list | tuple):
            kind = type(messages).__name__
            raise RequestError(f"messages must be a list, got {kind}; a text goes in 'prompt'")
        return Request.of(prompt if messages is None else messages, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the caller wants of one decision, beside the request itself.

    Attributes:
        model: the only model to use; the limits still hold.
        allow: the only models that may serve the request; None: all.
        deny: models that may not serve it.
        tradeoff: in [0, 1]; 0 looks at success only, 0.5 is the trained balance, 1 takes the cheapest model.
        max_cost_usd: rules out a model with a higher expected cost.
        local_only: allow only models on the team's own machines.
        explore: chance that another allowed model serves this request, in [0, 1]; None: as in the settings.
    """

    model: str | None = None
    allow: Collection[str] | None = None
    deny: Collection[str] = ()
    tradeoff: float = 0.5
    max_cost_usd: float | None = None
    local_only: bool = False
    explore: float | None = None

    def __post_init__(self) -> None:
        for name in ("tradeoff", "explore"):
            value = getattr(self, name)
            if (value is not None or name == "tradeoff") and not (_is_number(value) and 0 <= value <= 1):
                raise RequestError(f"{name} must be a number from 0 to 1, got {shown(value)}")
        cap = self.max_cost_usd
        if cap is not None and not (_is_number(cap) and cap >= 0):
            raise RequestError(f"max_cost_usd must be a number of dollars, not negative, got {shown(cap)}")
        if not isinstance(self.local_only, bool):
            raise RequestError(f"local_only must be true or false, got {shown(self.local_only)}")
        if not isinstance(self.model, str | None) or self.model == "":
            raise RequestError(f"model must be a name, got {shown(self.model)}")
        for name in ("allow", "deny"):
            names = getattr(self, name)
            listed = isinstance(names, Collection) and not isinstance(names, str | Mapping)
            none = names is None and name == "allow"
            if not none and not (listed and all(isinstance(one, str) for one in names)):
                raise RequestError(f"{name} must be a list of model names, got {shown(names)}")

    @staticmethod
    def from_json(value: Mapping[str, Json]) -> Wishes:
        """Read the wishes from one line of `pointsman route`; ignores other keys.

        Raises:
            RequestError: a wish has the wrong form.
        """
        return Wishes(**{name: value[name] for name in WISH_FIELDS if value.get(name) is not None})


def _check_count(messages: Sequence[Json]) -> None:
    if len(messages) > MOST_MESSAGES:
        raise RequestError(f"a request of {len(messages):,} messages: send at most {MOST_MESSAGES:,}")


def _check_label(name: str, value: Json) -> None:
    """Raise unless a value is None or a text of usual length."""
    if not isinstance(value, str | None):
        raise RequestError(f"{name} must be text, got {shown(value)}")
    if value is not None and len(value) > LONGEST_LABEL:
        raise RequestError(f"{name} has {len(value):,} characters: send at most {LONGEST_LABEL:,}")


def _check_parameters(parameters: Mapping[str, Json]) -> None:
    """Raise if the arguments are no object, or hold a number that no provider takes."""
    if not isinstance(parameters, Mapping):
        raise RequestError(f"parameters must be an object, got {type(parameters).__name__}")
    for name, value in parameters.items():
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            raise RequestError(f"parameter {str(name)[:80]!r} is beyond 2**63, which no provider takes")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


WISH_FIELDS = frozenset(Wishes.__slots__)
NO_WISHES = Wishes()
AS_TRAINED = NO_WISHES.tradeoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The model chosen for one request, and why.

    Attributes:
        source: who chose; "learned" is the fitted policy, "rule" the team's own table.
        confidence: calibrated probability that `model` succeeds, in [0, 1].
        success_probability: per model that the router knows, in [0, 1].
        expected_cost_usd: per model, at today's prices, in USD.
        propensity: chance that the policy picks this model for this request, in (0, 1].
        rejected: reason for each model that a limit removed.
        reason: one sentence for people.
        policy_version: name of the router that decided.
        ranking: models that may serve the request: `model` first, then in the policy's order.
        shadow: in shadow mode, the policy's decision.
        notes: sentences on what was dropped or mapped for the model that answered.
        call_id: name of the call in the log, for feedback; None without a call.
        answered_by: the model that answered, `model` or one of its fallbacks; None without a call.
    """

    model: str
    source: Source
    confidence: float
    success_probability: Mapping[str, float]
    expected_cost_usd: Mapping[str, float]
    reason: str
    policy_version: str
    propensity: float = 1.0
    rejected: Mapping[str, str] = field(default_factory=dict)
    ranking: tuple[str, ...] = ()
    shadow: Decision | None = None
    notes: tuple[str, ...] = ()
    call_id: str | None = None
    answered_by: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.propensity <= 1:
            raise ValueError(f"propensity must be in (0, 1], got {self.propensity}")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence must be in [0, 1], got {self.confidence}")

    def to_json(self) -> dict[str, Json]:
        """The decision as `pointsman route` writes it: plain JSON values, fields in a fixed order.

        The last fields are left out if empty.
        """
        rare = {
            "shadow": self.shadow.to_json() if self.shadow else None,
            "notes": list(self.notes),
            "call_id": self.call_id,
            "answered_by": self.answered_by,
        }
        return {
            "model": self.model,
            "source": self.source,
            "confidence": round(self.confidence, 6),
            "success_probability": {name: round(p, 6) for name, p in self.success_probability.items()},
            "expected_cost_usd": {name: _usd(cost) for name, cost in self.expected_cost_usd.items()},
            "reason": self.reason,
            "policy_version": self.policy_version,
            "propensity": self.propensity,
            "rejected": dict(self.rejected),
            **{name: value for name, value in rare.items() if value},
        }


def refuse_near_misses(names: Iterable[object], known: frozenset[str]) -> None:
    """Refuse a name that must be a slip of the pen for a known one: it would have no effect.

    Raises:
        RequestError: names both.
    """
    for name in names:
        if isinstance(name, str) and name not in known and (meant := near_miss(name, known)) is not None:
            raise RequestError(f"unknown argument {name!r}: did you mean {meant!r}?")


@lru_cache(maxsize=4096)
def near_miss(name: str, known: frozenset[str]) -> str | None:
    """The known name that a name is a slip for, or None; `prompt_id` is no slip for `prompt`."""
    near = get_close_matches(name[:LONGEST_NAME].lower(), known, n=1, cutoff=0.8)
    return next((one for one in near if not name.startswith(f"{one}_")), None)


def _usd(cost: float) -> float | None:
    """A cost with six digits; None if it is unknown."""
    return None if math.isnan(cost) else float(f"{cost:.6g}")


def _plain_message(message: Json) -> Json:
    """A message as JSON; the message object of an answer becomes an object of its members."""
    dump = getattr(message, "model_dump", None)
    return message if dump is None else dump(exclude_none=True)


def _plain_format(fields: Mapping[str, Json]) -> Json:
    """A `response_format` as JSON; a pydantic class, which LiteLLM takes too, becomes its schema."""
    form = fields.get("response_format")
    if not isinstance(form, type) or not hasattr(form, "model_json_schema"):
        return form
    return {"type": "json_schema", "json_schema": {"name": form.__name__, "schema": form.model_json_schema()}}


def message_texts(messages: Sequence[Mapping[str, Json]]) -> Iterator[tuple[str, str]]:
    """The role and the text of each message, in order, without parts that hold no text (images)."""
    for message in messages:
        if (texts := texts_of(message)) is not None:
            yield message["role"], texts[0] if len(texts) == 1 else "\n".join(texts)


def texts_of(message: Mapping[str, Json]) -> list[str] | None:
    """The texts of a message's parts, which `message_texts` joins; None if it has neither text nor parts."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    if not isinstance(content, LISTS):
        return None
    parts = (part.get("text") if isinstance(part, MAPPINGS) else part for part in content)
    return [part for part in parts if isinstance(part, str)]


def turn_texts(messages: Sequence[Mapping[str, Json]]) -> Iterator[list[str]]:
    """The texts of each message that is no system text."""
    for message in messages:
        if message["role"] not in SYSTEM_ROLES and (texts := texts_of(message)):
            yield texts


def has_text(request: Request) -> bool:
    """Whether a request has text of its user or of an answer, beside its system text.

    Of a text longer than twice `LOOKED`, which no model reads in full, head and tail are looked at.
    """
    return any(
        text and not (text[:LOOKED].isspace() and text[-LOOKED:].isspace())
        for texts in turn_texts(request.messages)
        for text in texts
    )


def last_said(messages: Sequence[Mapping[str, Json]]) -> str:
    """The text of the last user turn, or of the last turn if there is no user turn."""
    turns = list(message_texts(messages))
    texts = [text for role, text in turns if role == "user"] or [text for _, text in turns] or [""]
    return texts[-1]


def prompt_key(messages: Json, tools: Json = None, response_format: Json = None) -> str:
    """Name of a prompt: 32 hexadecimal digits of a hash over the whole request.

    Two requests share a key when their messages (system text included), tools and response format are equal
    as JSON values; the order of an object's members does not matter, the order of a list's does. An empty
    list of tools is the same as none.
    """
    whole = [messages, tools or None, response_format or None]
    text = json.dumps(whole, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
