from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import get_type_hints

import pytest

import training.comparing
from training.comparing.evaluated import FORMAT, Comparison, PolicyResult, Promise, Provenance
from training.comparing.report.gate import objects, parse_gate, shape_of
from training.statistics.intervals import Interval

PAGE = (Path(training.comparing.__file__).parent / "README.md").read_text(encoding="utf-8")
POLICY = get_type_hints(PolicyResult)


def documented() -> dict[str, list[str]]:
    """The keys in the table of each section, by the class that its heading names."""
    sections = re.split(r"^## ", PAGE, flags=re.M)[1:]
    return {
        heading[1]: re.findall(r"^\| `(\w+)` \|", section, flags=re.M)
        for section in sections
        if (heading := re.match(r"[^\n]*\(`(\w+)`\)", section))
    }


@pytest.mark.parametrize("name", sorted(objects()))
def test_the_page_documents_every_key_of_the_report_and_no_other(name: str) -> None:
    assert documented()[name] == list(objects()[name].keys)


def test_the_page_has_no_section_for_what_is_not_in_the_report() -> None:
    assert set(documented()) == set(objects())


def test_the_page_is_of_the_format_that_is_written() -> None:
    assert f"documents format {FORMAT}:" in PAGE


def test_the_conditions_on_the_page_can_be_parsed() -> None:
    conditions = re.findall(r'--fail-if "([^"]+)"', PAGE)
    assert len(conditions) == 3
    assert [parse_gate(condition).text for condition in conditions] == conditions


def test_the_keys_of_an_object_are_its_fields() -> None:
    assert list(shape_of(Provenance).keys)[:2] == ["router_version", "data_digest"]
    assert list(shape_of(Comparison).keys)[:2] == ["format", "method"]
    assert list(shape_of(Interval).keys) == ["value", "ci_low", "ci_high", "above"]


def test_what_may_be_null_has_the_keys_of_what_it_is_otherwise() -> None:
    assert shape_of(Promise | None) == shape_of(Promise)


def test_lists_and_objects_of_free_keys_hold_entries() -> None:
    assert shape_of(POLICY["aliases"]).entry == shape_of(str)
    assert shape_of(Mapping[str, float]).entry == shape_of(float)
    assert shape_of(float).entry is None


def test_only_lists_are_lists() -> None:
    assert shape_of(POLICY["aliases"]).is_list
    assert not shape_of(POLICY["shares"]).is_list
    assert not shape_of(str).is_list


@pytest.mark.parametrize("kind", [int, float, bool, float | None, str | float])
def test_numbers_may_be_missing_or_true_or_false(kind: object) -> None:
    assert shape_of(kind).is_number


@pytest.mark.parametrize("kind", [str, str | None, Interval, Mapping[str, float]])
def test_other_kinds_are_no_numbers(kind: object) -> None:
    assert not shape_of(kind).is_number
