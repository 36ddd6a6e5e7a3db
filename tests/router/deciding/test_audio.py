from __future__ import annotations

import base64
import io
import wave

import pytest

from router.deciding.audio import Audio, audio_of, tokens_a_second
from router.records import Json, Request


def speech(seconds: float) -> str:
    """Silence as a WAV file, in base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(24_000)
        sound.writeframes(bytes(int(48_000 * seconds)))
    return base64.b64encode(file.getvalue()).decode()


def spoken(data: str, form: str = "wav") -> dict[str, Json]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


MP3 = base64.b64encode(b"ID3" + bytes(32_000 - 3)).decode()


@pytest.mark.parametrize(
    ("parts", "seconds"),
    [
        pytest.param([spoken(speech(3.0))], 3.0, id="by the rate in its header"),
        pytest.param([spoken(MP3, "mp3")], 2.0, id="compressed, by its size"),
        pytest.param(
            [{"type": "file", "file": {"file_data": f"data:audio/mp3;base64,{MP3}"}}], 2.0, id="as a file"
        ),
        pytest.param(
            [spoken(speech(1.0)), {"type": "text", "text": "?"}, spoken(MP3)], 3.0, id="two of them"
        ),
    ],
)
def test_the_length_of_audio_shows_in_its_size(parts: list[dict[str, Json]], seconds: float) -> None:
    found = audio_of(Request.of([{"role": "user", "content": parts}]))
    assert found is not None
    assert found.seconds == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("What do you hear?", id="text"),
        pytest.param(
            [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MP3}"}}], id="image"
        ),
        pytest.param(
            [{"type": "audio_url", "audio_url": {"url": "https://example.com/a.wav"}}], id="elsewhere"
        ),
        pytest.param([spoken("")], id="empty"),
        pytest.param([spoken("no base64 at all, but a text that is long enough")], id="not base64"),
        pytest.param([spoken(base64.b64encode(b"RIFF" + bytes(60)).decode())], id="a rate of 0"),
        pytest.param([{"type": "input_audio", "input_audio": None}], id="nothing"),
    ],
)
def test_other_requests_have_no_audio_whose_length_is_known(content: Json) -> None:
    assert audio_of(Request.of([{"role": "user", "content": content}])) is None


def test_parts_are_counted() -> None:
    request = Request.of([{"role": "user", "content": [spoken(MP3), spoken(MP3)]}])
    assert audio_of(request) == Audio(parts=2, seconds=4.0)


def test_gemini_counts_more_tokens_for_a_second_than_others() -> None:
    assert [tokens_a_second(name) for name in ("gemini/gemini-2.5-flash", "gpt-audio")] == [32, 10]
