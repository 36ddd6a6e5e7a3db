"""How much the call log keeps of a request's text: all of it, a redacted form, or only its key."""

from __future__ import annotations

import hashlib
import marshal
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from router.call_log.rows import dump_json
from router.records import Json, prompt_key
from router.text import well_formed

TextMode = Literal["full", "redacted", "hash"]
Redact: TypeAlias = Callable[[str], str]
Texts: TypeAlias = tuple[Json, Json, Json]
"""Messages, tools and response format."""

LONGEST_MEDIA = 32 * 1024
"""Characters of an image or another file inside a message that "full" keeps."""
_DEEPEST = 100
_LONGEST_WHOLE_NUMBER = 10_000
LONGEST_REDACTED = 200_000
"""Characters of a text that the redaction function gets: its patterns may take quadratic time."""
_DATA_URL = re.compile(r"data:[\w.+-]{1,100}+/[\w.+-][^,\s]{0,300}+,")
_MEDIA_MEMBERS = frozenset({"data", "file_data"})

_PROTOCOL_WORDS: Mapping[str, frozenset[str]] = {
    "role": frozenset("system developer user assistant tool function".split()),
    "type": frozenset(
        "text image_url input_audio audio file function custom tool_use tool_result thinking image document "
        "redacted_thinking refusal ephemeral base64 url json_schema json_object object array string number "
        "integer boolean null".split()
    ),
}
"""Values that say how a message is built, never what it says."""
_PROTOCOL_MEMBERS = frozenset(
    "role content name type text refusal tool_calls tool_call_id id index function arguments image_url url "
    "detail input_audio audio data format file file_data file_id filename cache_control reasoning_content "
    "thinking thinking_blocks signature source media_type input tool_use_id is_error title description "
    "parameters properties required items enum const strict json_schema schema additionalProperties default "
    "anyOf oneOf allOf $ref $defs minimum maximum minLength maxLength minItems maxItems pattern".split()
)


class _RedactionFailed(Exception):
    """The redaction function did not return text, so its input must not be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptText:
    """The part of a request's text that is written.

    Attributes:
        messages, tools, response_format: JSON text; None if nothing is kept.
        prompt_key: of the original request, before anything was removed.
        cut: a part is missing: a large image, or something that is not JSON.
        redaction_error: why redaction failed, so that no text is kept; None if it did not.
    """

    messages: str | None = None
    tools: str | None = None
    response_format: str | None = None
    prompt_key: str
    cut: bool = False
    redaction_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRule:
    """The setting that says how much is kept.

    Attributes:
        redact: with "redacted": gets each text and returns the text to keep.
    """

    mode: TextMode = "full"
    redact: Redact | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("full", "redacted", "hash"):
            raise ValueError(f"text must be 'full', 'redacted' or 'hash', got {self.mode!r}")
        if (self.mode == "redacted") != (self.redact is not None):
            raise ValueError(f"text 'redacted' needs a function, redact; text is {self.mode!r}")

    def keep(self, snapshot: bytes, key: str | None = None) -> KeptText:
        """Reduce the texts in a snapshot to what may be written; no text makes it raise.

        Args:
            key: the prompt key, if known.
        """
        texts: Texts = marshal.loads(snapshot)
        try:
            return self._keep(texts, key, len(snapshot))
        except (TypeError, ValueError, RecursionError):  # not JSON: bytes, NaN, a name that is not text, ...
            return replace(self._keep(_json_texts(texts), key, len(snapshot)), cut=True)

    def _keep(self, texts: Texts, key: str | None, size: int) -> KeptText:
        key = key or prompt_key(*texts)
        if self.mode == "hash":
            return KeptText(prompt_key=key)
        if self.redact is not None:
            return _redacted(texts, self.redact, key)
        if size <= LONGEST_MEDIA:
            return _kept(texts, key, cut=False)
        shorter = [_without_media(text) for text in texts]
        return _kept(shorter, key, cut=shorter != list(texts))


def take_snapshot(texts: Texts) -> bytes:
    """Copy the texts, since an application appends the answer to its list of messages at once."""
    # marshal is the cheapest full copy (1 us for a short prompt, 20 us for sixty messages; json takes 320
    # us), and tells its size.
    try:
        return marshal.dumps(texts)
    except ValueError:  # an object of another library, such as LiteLLM's message class
        return marshal.dumps(_plain(texts))


def _kept(texts: Sequence[Json], key: str, cut: bool) -> KeptText:
    messages, tools, response_format = (
        None if text is None else well_formed(dump_json(text)) for text in texts
    )
    return KeptText(messages=messages, tools=tools, response_format=response_format, prompt_key=key, cut=cut)


def _redacted(texts: Texts, redact: Redact, key: str) -> KeptText:
    redaction = _Redaction(redact)
    try:
        left = [redaction.of(text) for text in texts]
    except _RedactionFailed as error:
        return KeptText(prompt_key=key, redaction_error=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the team's own function may raise anything
        return KeptText(prompt_key=key, redaction_error=f"it raised {type(error).__name__}")
    return _kept(left, key, redaction.cut)


class _Redaction:
    """One pass over the texts of a request.

    Attributes:
        cut: media was left out: the function can't look into it.
    """

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self.cut = False

    def of(self, value: Json, member: str = "") -> Json:
        """Redact every text, number and member name except the words of the protocol.

        A number may be private, such as a telephone number in a tool's input: if the function changes its
        digits, the number becomes the text that the function returns.
        """
        if isinstance(value, str):
            return value if value in _PROTOCOL_WORDS.get(member, ()) else self._text(value, member)
        if isinstance(value, Mapping):
            return {self._name(str(name)): self.of(inner, str(name)) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(inner, member) for inner in value]
        if value is None or isinstance(value, bool):
            return value
        digits = str(value)
        left = self._text(digits)
        return value if left == digits else left

    def _name(self, name: str) -> str:
        return name if name in _PROTOCOL_MEMBERS else self._text(name)

    def _text(self, text: str, member: str = "") -> str:
        if _DATA_URL.match(text) or (member in _MEDIA_MEMBERS and len(text) > LONGEST_MEDIA):
            self.cut = True
            return f"[{len(text)} characters of media]"
        if len(text) > LONGEST_REDACTED:
            self.cut = True
            return f"[{len(text)} characters, too long to redact]"
        left = self._redact(text) if text else text
        if not isinstance(left, str):
            raise _RedactionFailed(f"it returned {type(left).__name__}, not text")
        return left


def _without_media(value: Json, member: str = "") -> Json:
    """Replace each large image or file by a mark with its size, and a hash to identify it."""
    if isinstance(value, str):
        head = _DATA_URL.match(value)
        if len(value) <= LONGEST_MEDIA or not (head or member in _MEDIA_MEMBERS):
            return value
        name = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return f"{head[0] if head else ''}[{len(value)} characters of media, sha256 {name}]"
    if isinstance(value, Mapping):
        return {name: _without_media(inner, name) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_media(inner, member) for inner in value)
    return value


def _plain(value: object, depth: int = 0) -> Json:
    """Convert to types that marshal knows; an object without a JSON form becomes empty bytes."""
    if depth > _DEEPEST:
        return b""
    if hasattr(value, "model_dump") and not isinstance(value, type):
        value = value.model_dump(exclude_none=True)
    if hasattr(value, "model_json_schema"):
        value = {"type": "json_schema", "json_schema": value.model_json_schema()}
    if isinstance(value, Mapping):
        return {_plain(name, depth + 1): _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, depth + 1) for inner in value]
    for kind, exact in ((str, str.__str__), (bool, bool), (int, int), (float, float)):
        if isinstance(value, kind):
            return exact(value)
    return None if value is None else b""


def _json_texts(texts: Texts) -> Texts:
    messages, tools, response_format = (_json(text) for text in texts)
    return messages, tools, response_format


def _json(value: object, depth: int = 0) -> Json:
    """The value as JSON, with a mark or null for what JSON has no form for."""
    if depth > _DEEPEST:
        return "[nested too deeply]"
    if isinstance(value, Mapping):
        return {
            name if isinstance(name, str) else str(name): _json(inner, depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(inner, depth + 1) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and value.bit_length() > _LONGEST_WHOLE_NUMBER:
        return None
    return value if isinstance(value, str | int | None) else "[no text]"
