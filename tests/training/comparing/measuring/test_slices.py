from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records import Request
from training.comparing.measuring import slices
from training.comparing.measuring.slices import Slice, binned_slices, named_slices
from training.prompts.languages import asked_text, language_of, languages

FREQUENT = [["a"]] * 6 + [["b"]] * 5 + [["c"]]


def sizes(found: list[Slice]) -> dict[str, int]:
    return {one.name: int(one.rows.sum()) for one in found}


def alone(names: list[list[str]], rare: int = 0) -> list[Slice]:
    return named_slices("tag", names, np.arange(len(names)), rare)


def test_every_name_has_a_slice_the_most_frequent_first() -> None:
    assert list(sizes(alone(FREQUENT)).items()) == [("a", 6), ("b", 5), ("c", 1)]


def test_rare_names_are_put_together() -> None:
    assert sizes(alone([*FREQUENT, ["d"]], rare=5)) == {"a": 6, "b": 5, "(other)": 2}


def test_rare_is_counted_in_clusters() -> None:
    one_session = named_slices("tag", FREQUENT, np.array([0] * 6 + list(range(1, 7))), rare=2)
    assert sizes(one_session) == {"b": 5, "(other)": 7}


def test_a_dimension_has_forty_slices_at_most() -> None:
    found = alone([[str(number)] for number in range(100)] + [["39"]])
    assert len(found) == 40
    assert found[0].name == "39"
    assert sizes(found)["(other)"] == 61


def test_forty_names_need_no_rest() -> None:
    assert "(other)" not in sizes(alone([[str(number)] for number in range(40)]))


def test_prompts_that_are_all_alike_make_no_slice() -> None:
    assert alone([["a"]] * 5) == []


def test_names_that_are_all_rare_make_no_slice() -> None:
    assert alone(FREQUENT, rare=7) == []


def test_a_name_that_looks_like_the_rest_is_put_there() -> None:
    assert sizes(alone([*FREQUENT, *[["(other)"]] * 9], rare=5)) == {"a": 6, "b": 5, "(other)": 10}


def test_a_prompt_is_in_the_slice_of_each_of_its_tags() -> None:
    assert sizes(alone([["a", "b"], ["b"], ["c"]])) == {"b": 2, "a": 1, "c": 1}


def test_two_rare_tags_of_a_prompt_count_it_once_among_the_rest() -> None:
    assert sizes(alone([*FREQUENT, ["d", "e"]], rare=5))["(other)"] == 2


def test_a_prompt_without_a_name_is_in_no_slice() -> None:
    assert sizes(alone([["a"], [], ["b"]])) == {"a": 1, "b": 1}


def test_a_slice_knows_its_number_of_clusters() -> None:
    found = named_slices("tag", [["a"], ["a"], ["a"], ["b"]], np.array([7, 7, 9, 9]), rare=0)
    assert [one.clusters for one in found] == [2, 1]


@given(st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=40), st.integers(0, 6))
def test_each_prompt_with_one_name_is_in_exactly_one_slice(names: list[str], rare: int) -> None:
    found = alone([[name] for name in names], rare)
    assert not found or (np.sum([one.rows for one in found], axis=0) == 1).all()


@given(st.permutations(range(12)))
def test_a_permuted_log_has_the_same_slices(order: list[int]) -> None:
    assert sizes(alone([FREQUENT[row] for row in order], rare=5)) == sizes(alone(FREQUENT, rare=5))


def test_an_edge_belongs_to_the_bin_above_it() -> None:
    found = binned_slices("length", np.array([199, 200, 999, 16_000]), slices.LENGTH_EDGES, np.arange(4))
    assert sizes(found) == {
        "under 200 characters": 1,
        "200 to 999 characters": 2,
        "16,000 characters and more": 1,
    }


def test_confidence_is_cut_at_fixed_chances() -> None:
    found = binned_slices("confidence", np.array([0.2, 0.75, 1.0]), slices.CONFIDENCE_EDGES, np.arange(3))
    assert list(sizes(found)) == ["below 50 %", "70 % to 80 %", "90 % and more"]


def test_the_language_is_that_of_the_users_last_words() -> None:
    request = Request.of(
        [
            {"role": "system", "content": "You are a helpful assistant and answer every question."},
            {"role": "user", "content": "Hello!"},
            {"role": "assistant", "content": "How can I help you today?"},
            {"role": "user", "content": "Bitte fasse mir diesen langen Vertrag kurz zusammen."},
        ]
    )
    assert languages([request]) == [["de"]]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        pytest.param("What is the capital of France, and why?", "en", id="English"),
        pytest.param("Quelle est la capitale de la France, et pourquoi ?", "fr", id="French"),
        pytest.param("请帮我总结一下这份合同的主要内容", "zh", id="Chinese: few characters, many bytes"),
        pytest.param("Hi there", "too short to tell", id="too few letters"),
        pytest.param("1 + 1 = 2, 3 * 4 = 12, 5 ** 2 - 7 = 18; 99 / 3", "too short to tell", id="no letters"),
        pytest.param("", "too short to tell", id="nothing"),
        pytest.param(
            "def f(x, y):\n    for i in range(10):\n        x += y\n    return x", "unsure", id="code"
        ),
    ],
)
def test_language_of_a_text(text: str, language: str) -> None:
    assert languages([Request.of(text)]) == [[language]]


def test_a_lone_surrogate_is_no_accident() -> None:
    assert language_of("\ud800" * 30 + " enough letters for everyone", lambda _: ("en", 1.0)) == "en"


def test_a_text_that_repeats_is_classified_once() -> None:
    seen: list[str] = []

    def classify(text: str) -> tuple[str, float]:
        seen.append(text)
        return "en", 1.0

    languages([Request.of("the same long question again")] * 5, classify)
    assert len(seen) == 1


def test_of_a_long_log_evenly_spread_prompts_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.prompts.languages.MOST_READ", 5)
    requests = [Request.of(f"a question of some length, number {number}") for number in range(50)]
    looked = [row for row, named in enumerate(languages(requests, lambda _: ("en", 1.0))) if named]
    assert looked == [0, 12, 24, 36, 49]


def test_a_request_of_pictures_only_has_no_text() -> None:
    request = Request.of([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])
    assert asked_text(request) == ""
