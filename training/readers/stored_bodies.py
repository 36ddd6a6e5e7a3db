"""Objects that OpenAI stores, and bodies of the Messages protocol that proxies write one a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from router.records import Json
from training.readers.exchanges import exchange, tags_of, whole_number
from training.readers.protocol import JOINED, JoiningReader, Reader, Record, Rejected, Result, Sample, Skipped
from training.readers.values import (
    filled,
    first_given,
    first_words,
    listed,
    mapping,
    member,
    seconds_between,
    words,
)

_OBJECTS = ("response", "chat.completion")
_BESIDE = ("messages", "input", "input_items")
_WRAPPED = ("response", "completion", "chat_completion")

NO_MESSAGES = Skipped("stored answer without its messages")
NO_ANSWER = Skipped("messages without their stored answer")
_NO_OBJECT = Rejected("not an object that OpenAI stores")


class OpenAIStored(JoiningReader):
    """A stored response or completion is a call; pages of a completion's messages are joined by its id.

    After `previous_response_id` the history is in earlier responses, so only a part of the text is known.
    """

    name = "openai-stored"
    many_rows = True
    pages = True

    def recognise(self, sample: Sample) -> float:
        """By the kind of object that each record, or each item of a page, says it is."""
        return 0.93 * sample.share_of(lambda record: any(map(_is_known, self.rows(record))))

    def rows(self, record: Record) -> Iterable[Record]:
        """The items of a page; an object with its messages or input items beside it as one."""
        if isinstance(record.get("data"), list) and "choices" not in record:
            return [one if isinstance(one, dict) else {"item": one} for one in record["data"]]
        inner = next((record[name] for name in _WRAPPED if _is_object(record.get(name))), None)
        beside = {name: _page(record[name]) for name in _BESIDE if name in record}
        request = mapping(first_given(record.get("request"), record.get("body")))
        if inner is None or "model" in record or not (beside or request):
            return (record,)
        return ({**request, **inner, **beside},)

    def key(self, row: Record) -> str | None:
        """The id of the completion, with which those of its messages begin."""
        name = words(row.get("id"))
        return name if name is None or _is_object(row) else name.rpartition("-")[0] or None

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """Each object as a call, with the messages of the pages; the messages as joined."""
        messages = sorted((row for row in rows if not _is_object(row) and _is_known(row)), key=_place)
        stored = any(map(_is_object, rows))
        return [
            _stored(row, messages)
            if _is_object(row)
            else _NO_OBJECT
            if not _is_known(row)
            else JOINED
            if stored
            else NO_ANSWER
            for row in rows
        ]


def _place(message: Record) -> int:
    """The number of a message in its completion."""
    return whole_number((words(message.get("id")) or "").rpartition("-")[2]) or 0


def _is_object(value: Json) -> bool:
    return (
        isinstance(value, dict)
        and value.get("object") in _OBJECTS
        and ("output" in value or "choices" in value)
    )


def _is_known(row: Record) -> bool:
    """Whether a row is an object, or a message of one: its id is the object's with a number."""
    name = words(row.get("id")) or ""
    return _is_object(row) or ("role" in row and "content" in row and name.startswith("chatcmpl-"))


def _page(items: Json) -> Json:
    """The items of a page in the order of the conversation: some pages begin with the latest."""
    found = list(listed(items.get("data"))) if isinstance(items, dict) else items
    roles = [member(item, "role") for item in found] if isinstance(found, list) else []
    latest_first = len(roles) > 1 and roles[-1] in ("system", "developer") != roles[0]
    return found[::-1] if latest_first else found


def _stored(row: Record, messages: Sequence[Record]) -> Result:
    given = _page(
        first_given(row.get("messages"), row.get("input_items"), row.get("input"), list(messages) or None)
    )
    if not given:
        return NO_MESSAGES
    names = ("tools", "response_format", "text", "instructions", "reasoning", "reasoning_effort")
    request = {name: row.get(name) for name in names}
    labels: Mapping[str, Json] = {
        "call_id": row.get("id"),
        "time": first_given(row.get("created_at"), row.get("created")),
        "truncated": True if words(row.get("previous_response_id")) else None,
        **tags_of(row.get("metadata")),
    }
    return exchange({**request, "messages": given}, row, words(row.get("model")), filled(dict(labels)))


STORED = OpenAIStored()

_REQUESTS = ("request", "request_body", "requestBody", "body", "input", "params")
_ANSWERS = ("response", "response_body", "responseBody", "output", "answer", "message")
_NO_EXCHANGE = Rejected("no request and answer of the Messages protocol")


class AnthropicMessages(Reader):
    """A request body of the Messages protocol beside its answer, whole or as the events of a stream."""

    name = "anthropic-messages"

    def recognise(self, sample: Sample) -> float:
        """By what every request must have, beside an answer of the protocol."""
        return 0.9 * sample.share_of(lambda row: _request(row) is not None and _is_answer(_answer(row)))

    def convert(self, row: Record) -> Result:
        """The call of an exchange."""
        request = _request(row)
        if request is None:
            return _NO_EXCHANGE
        answer = _answer(row)
        start = first_given(*(row.get(name) for name in ("start_time", "timestamp", "time", "created_at")))
        milliseconds = first_given(*(row.get(name) for name in ("duration_ms", "latency_ms")))
        known = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
        labels = {
            "call_id": first_words(row.get("request_id"), row.get("id"), member(answer, "id")),
            "session_id": first_words(row.get("session_id"), row.get("sessionId")),
            "time": start,
            "latency_s": milliseconds / 1000 if known else seconds_between(start, row.get("end_time")),
            **tags_of(request.get("metadata") if "tags" not in row else None),
        }
        status = whole_number(first_given(row.get("status_code"), row.get("status")))
        return exchange(request, answer, None, filled(labels), status=status)


def _request(row: Record) -> Mapping[str, Json] | None:
    """The request body, in a member of its own or spread over the row."""
    bodies = [*(mapping(row.get(name)) for name in _REQUESTS), row]
    bodies += [mapping(body.get("body")) for body in bodies]
    return next((body for body in bodies if "messages" in body and "max_tokens" in body), None)


def _answer(row: Record) -> Json:
    found = first_given(*(row.get(name) for name in _ANSWERS))
    body = member(found, "body")
    return body if body and "type" not in mapping(found) else found


def _is_answer(answer: Json) -> bool:
    """Whether an answer is a message, an error, or a stream that begins with a message."""
    body = mapping(answer)
    if body.get("type") in ("message", "error"):
        return True
    first = member(answer, 0, "type") if isinstance(answer, list) else None
    return first == "message_start" or (isinstance(answer, str) and "message_start" in answer[:400])


MESSAGES = AnthropicMessages()
