"""What a request needs of a model beyond text: tools, images, a JSON schema, some parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Number

from router.errors import RequestError
from router.models.prices import wants_speech
from router.records import LISTS, MAPPINGS, Json, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that not every model takes.

    Attributes:
        what: its name in messages.
        listed: the member of LiteLLM's entry that says whether a model takes it; None if there is none.
    """

    what: str
    listed: str | None


NEEDS: Mapping[str, Need] = {
    "tools": Need(what="tools", listed="supports_function_calling"),
    "vision": Need(what="images", listed="supports_vision"),
    "pdf_input": Need(what="documents", listed="supports_pdf_input"),
    "audio_input": Need(what="audio", listed="supports_audio_input"),
    "video_input": Need(what="video", listed="supports_video_input"),
    "json_schema": Need(what="JSON schema", listed="supports_response_schema"),
    "reasoning_effort": Need(what="reasoning_effort", listed="supports_reasoning"),
    "thinking": Need(what="thinking", listed="supports_reasoning"),
    "audio": Need(what="request for a spoken answer", listed="supports_audio_output"),
    "web_search_options": Need(what="web_search_options", listed="supports_web_search"),
    "logprobs": Need(what="logprobs", listed=None),
    "n": Need(what="n above 1", listed=None),
}
"""A model that lacks one of these gives a different answer, or none. Any other parameter (`temperature`, ...)
only
varies the answer, and is dropped with a note if a model lacks it."""

PARTS = {
    "image_url": "vision", "input_image": "vision", "image": "vision",
    "file": "pdf_input", "input_file": "pdf_input", "document": "pdf_input",
    "input_audio": "audio_input", "audio": "audio_input", "audio_url": "audio_input",
    "video_url": "video_input", "input_video": "video_input", "video": "video_input",
    "tool_use": "tools", "tool_result": "tools",
}  # fmt: skip
"""Need per type of a message's part, in the formats of the providers that LiteLLM supports."""
MIME_NEEDS = {
    "image/": "vision", "audio/": "audio_input", "video/": "video_input",
    "application/pdf": "pdf_input", "text/": None,
}  # fmt: skip
MOST_VISITED = 200_000
"""Parts that are looked at, those inside other parts included; a list may contain itself."""
_TEXT_SOURCES = ("text", "content")


def needs_of(request: Request) -> tuple[str, ...]:
    """The keys of `NEEDS` that a request has, in the order of that table."""
    needs = set(_parts_needs(request.messages))
    if is_given(request.tools) or _wants_tools(request.messages, request.parameters):
        needs.add("tools")
    if _is_schema(request.response_format):
        needs.add("json_schema")
    if request.parameters:
        needs.update(_parameter_needs(request.parameters))
    return tuple(need for need in NEEDS if need in needs) if needs else ()


def is_given(value: Json) -> bool:
    """Whether a parameter requests anything: None, false, 0 and empty values don't."""
    if isinstance(value, Number):
        return bool(value)
    return value is not None and not (isinstance(value, str | list | dict | tuple) and not value)


def _other_than(value: Json, *words: str) -> bool:
    """Whether a value is set, and none of these words; it may be of a type that can't be compared."""
    return value is not None and not (isinstance(value, str) and value in words)


def _wants_tools(messages: Iterable[Mapping[str, Json]], parameters: Mapping[str, Json]) -> bool:
    """Whether the conversation calls tools, or a parameter other than `tools` requests them."""
    if parameters and (
        is_given(parameters.get("functions")) or _other_than(parameters.get("tool_choice"), "none", "")
    ):
        return True
    return any(
        message["role"] in ("tool", "function")
        or (
            (len(message) > 2 or "content" not in message)
            and (is_given(message.get("tool_calls")) or is_given(message.get("function_call")))
        )
        for message in messages
    )


def _is_schema(response_format: Json) -> bool:
    """Whether a schema, in JSON or as a class, defines the answer's form; `json_object` does not."""
    if isinstance(response_format, Mapping):
        return response_format.get("type") == "json_schema" or is_given(
            response_format.get("response_schema")
        )
    return isinstance(response_format, type)


def _parameter_needs(parameters: Mapping[str, Json]) -> Iterator[str]:
    """The needs that are parameters."""
    if is_given(effort := parameters.get("reasoning_effort")) and _other_than(effort, "none", "disable"):
        yield "reasoning_effort"
    thinking = parameters.get("thinking")
    if isinstance(thinking, Mapping) and _other_than(thinking.get("type"), "disabled"):
        yield "thinking"
    if wants_speech(parameters):
        yield "audio"
    if parameters.get("web_search_options") is not None:
        yield "web_search_options"
    if is_given(parameters.get("logprobs")) or is_given(parameters.get("top_logprobs")):
        yield "logprobs"
    if isinstance(count := parameters.get("n"), int) and count > 1:
        yield "n"


def _parts_needs(messages: Iterable[Mapping[str, Json]]) -> Iterator[str]:
    """The needs of the messages' parts, including those inside a tool's result or a document."""
    waiting = [
        content
        for message in messages
        if (content := message.get("content")) is not None and not isinstance(content, str)
    ]
    visited = 0
    while waiting:
        content = waiting.pop()
        visited += 1
        if visited > MOST_VISITED:
            raise RequestError(
                f"the messages hold more than {MOST_VISITED:,} parts in each other: shorten them"
            )
        if isinstance(content, LISTS):
            waiting.extend(part for part in content if not isinstance(part, str))
        elif isinstance(content, MAPPINGS):
            if len(content) == 2 and "text" in content and content.get("type") == "text":
                continue  # thousands of these are usual
            if need := _part_need(content):
                yield need
            waiting.extend(inner for inner in _inner_parts(content) if isinstance(inner, LISTS))


def audio_parts(messages: Iterable[Mapping[str, Json]]) -> Iterator[Mapping[str, Json]]:
    """The parts of the messages' contents that are audio."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, LISTS) else ():
            if isinstance(part, MAPPINGS) and _part_need(part) == "audio_input":
                yield part


def _inner_parts(part: Mapping[str, Json]) -> Iterator[Json]:
    yield part.get("content")
    if isinstance(source := part.get("source"), Mapping):
        yield source.get("content")


def _part_need(part: Mapping[str, Json]) -> str | None:
    """What one part needs: by the type of its data if stated, else by the part's type."""
    kind = part.get("type")
    need = PARTS.get(kind) if isinstance(kind, str) else None
    if need is None or need == "tools":
        return need
    mime = _mime(part)
    if mime is None:
        source = part.get("source")
        is_text = isinstance(source, Mapping) and source.get("type") in _TEXT_SOURCES
        return None if is_text else need
    return next((own for prefix, own in MIME_NEEDS.items() if mime.startswith(prefix)), need)


def _mime(part: Mapping[str, Json]) -> str | None:
    """The stated type of a part's data: in `format`, `media_type` or a `data:` address."""
    for holder in (part, *(inner for inner in part.values() if isinstance(inner, Mapping))):
        for name in ("format", "media_type", "mime_type"):
            if isinstance(stated := holder.get(name), str) and "/" in stated:
                return stated.lower()
        for name in ("url", "image_url", "file_data", "data"):
            address = holder.get(name)
            if isinstance(address, str) and address[:5].lower() == "data:":
                return address[5:105].lower()
    return None
