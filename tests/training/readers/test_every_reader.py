"""Every reader, fed with its own records bent in every way: it may not crash, and its counts must add up."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.records import Json
from tests.training.logs import read
from tests.training.readers.examples import COMPANIONS, EXAMPLES
from training.readers.known import known_readers
from training.readers.protocol import (
    EVIDENCE_FIELDS,
    Apart,
    Joined,
    JoiningReader,
    Reader,
    Record,
    Rejected,
    Result,
    Sample,
)
from training.reading.rows.cleaning import CALL_SCHEMA

READERS = sorted(known_readers())
README = Path(__file__).parents[3] / "training" / "readers" / "README.md"

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["{", "[]", '{"a": 1}', "[[[[", "nan", "-1", "\ud800", "2026-01-01", "9" * 400, "True"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
DEEP = "[" * 3000 + "]" * 3000


def nested(levels: int) -> Json:
    """A value nested so many levels deep."""
    value: Json = 1
    for _ in range(levels):
        value = {"content": [value]}
    return value


@st.composite
def bent(draw: st.DrawFn, name: str) -> Json:
    """One of a reader's own records, with some members replaced, dropped or moved."""
    record = copy.deepcopy(draw(st.sampled_from(EXAMPLES[name])))
    for _ in range(draw(st.integers(0, 4))):
        if record:
            _bend(draw, record)
    return record


def _bend(draw: st.DrawFn, record: Json) -> None:
    at: Json = record
    for _ in range(draw(st.integers(0, 5))):
        inner = at[draw(st.sampled_from(_steps(at)))]
        if not isinstance(inner, dict | list) or not inner:
            break
        at = inner
    if not at:
        return
    step = draw(st.sampled_from(_steps(at)))
    if draw(st.booleans()):
        at[step] = draw(VALUES | st.just(nested(90)))
    else:
        del at[step]


def _steps(value: Json) -> list[Json]:
    return list(value) if isinstance(value, dict) else list(range(len(value)))


def results_of(reader: Reader, record: Json) -> list[Result]:
    """What a reader makes of one record alone."""
    rows = list(reader.rows(record))
    if isinstance(reader, JoiningReader):
        return [result for row in rows if (reader.key(row), 1) for result in reader.join([row])]
    return [reader.convert(row) for row in rows]


@pytest.mark.parametrize("name", READERS)
def test_there_is_an_example_and_a_row_of_documentation(name: str) -> None:
    assert EXAMPLES[name]
    assert f"| `{name}` |" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", READERS)
def test_a_reader_is_surest_of_its_own_records(name: str) -> None:
    for record in EXAMPLES[name]:
        sample = Sample(name="x.jsonl", columns=frozenset(), records=[record])
        scores = {other: reader.recognise(sample) for other, reader in known_readers().items()}
        assert 0.5 < scores[name] <= 1, scores
        assert max(scores, key=lambda other: scores[other]) == name, scores


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_record_makes_a_reader_raise(name: str, data: st.DataObject) -> None:
    reader = known_readers()[name]
    record = data.draw(bent(name) | st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
    sample = Sample(name="x", columns=frozenset(), records=[record])
    assert 0 <= reader.recognise(sample) <= 1
    for result in results_of(reader, record):
        assert isinstance(result, dict | Apart | Rejected | Joined)
        if isinstance(result, dict):
            assert set(result) <= {*CALL_SCHEMA.names, *EVIDENCE_FIELDS}


@pytest.mark.parametrize("name", READERS)
@settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_row_is_accounted_for(name: str, tmp_path: Path, data: st.DataObject) -> None:
    records = data.draw(st.lists(bent(name), min_size=1, max_size=6))
    records = [EXAMPLES[name][0], *records, *data.draw(st.permutations(records))]
    lines = [json.dumps(record).encode() for record in records]
    junk = data.draw(
        st.lists(st.sampled_from([b"{", b"[]", b"\xff\xfe", b"7", DEEP.encode(), b"{}"]), max_size=3)
    )
    cut = lines[-1][: data.draw(st.integers(1, len(lines[-1])))]
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join([*lines, *junk, cut]))
    beside = COMPANIONS.get(name, ())
    (tmp_path / "beside.jsonl").write_text("".join(json.dumps(record) + "\n" for record in beside))
    summary = read(tmp_path, str(path), str(tmp_path / "beside.jsonl"), format=name).summary
    apart = sum(summary.set_apart.values())
    assert summary.rows == summary.calls + summary.duplicates + summary.rejected + apart + summary.joined
    if not known_readers()[name].many_rows:
        assert summary.rows == len(lines) + len(junk) + 1 + len(beside)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("layout", ["lines", "array", "pretty", "gzip"])
def test_the_layout_of_a_file_does_not_matter(name: str, layout: str, tmp_path: Path) -> None:
    import gzip

    records = EXAMPLES[name]
    path = tmp_path / ("log.json" if layout in ("array", "pretty") else "log.jsonl")
    text = "\n".join(map(json.dumps, records)) + "\n"
    if layout == "array":
        text = json.dumps(records)
    elif layout == "pretty":
        text = "\n".join(json.dumps(record, indent=2) for record in records)
    if layout == "gzip":
        path = path.with_suffix(".jsonl.gz")
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    beside = [str(tmp_path / f"beside{number}.jsonl") for number in range(len(COMPANIONS.get(name, ())))]
    for other, record in zip(beside, COMPANIONS.get(name, ()), strict=True):
        Path(other).write_text(json.dumps(record), encoding="utf-8")
    summary = read(tmp_path, str(path), *beside).summary
    assert set(summary.readers) == {name}
    assert (summary.rejected, summary.calls > 0) == (0, True)


def test_a_mapping_overrides_what_a_reader_says(tmp_path: Path) -> None:
    record = cast(Mapping[str, Json], EXAMPLES["litellm-callback"][0])
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    files = read(tmp_path, str(path), mapping={"task_type": "metadata.user_api_key_alias"})
    rows = [row for frame in files.frames() for row in frame.to_pylist()]
    assert rows[0]["task_type"] == "shop"


WITHOUT_EFFORTS = {"azure-apim": "only messages are logged", "litellm-shadow": "the shadow's request is not"}
EFFORT_ATTRIBUTE = "gen_ai.request.reasoning.level"


def with_effort(value: Json) -> Json:
    """A record in which every object, also in JSON text, has a place for efforts with one in it."""
    if isinstance(value, list):
        keyed = [one["value"] for one in value if isinstance(one, dict) and {"key", "value"} <= one.keys()]
        low = {"stringValue": "low"} if any(isinstance(one, dict) for one in keyed) else "low"
        return [*map(with_effort, value), *([{"key": EFFORT_ATTRIBUTE, "value": low}] if keyed else [])]
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return json.dumps(with_effort(json.loads(value)))
        except ValueError:
            return value
    if not isinstance(value, dict) or "role" in value:
        return value
    inner = {name: with_effort(one) for name, one in value.items()}
    return {**inner, "reasoning_effort": "low", EFFORT_ATTRIBUTE: "low"}


@pytest.mark.parametrize("name", [name for name in READERS if name not in WITHOUT_EFFORTS])
def test_an_effort_in_the_request_is_one_in_the_call(name: str) -> None:
    reader = known_readers()[name]
    text = json.dumps([*EXAMPLES[name], *COMPANIONS.get(name, ())]).replace('"r2"', '"r1"')  # one batch's id
    rows = [row for record in json.loads(text) for row in reader.rows(with_effort(record))]
    if isinstance(reader, JoiningReader):
        groups: dict[str | None, list[Record]] = {}
        for row in rows:
            groups.setdefault(reader.key(row), []).append(row)
        results = [result for group in groups.values() for result in reader.join(group)]
    else:
        results = [reader.convert(row) for row in rows]
    assert {result.get("effort") for result in results if isinstance(result, dict)} == {"low"}
