from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from router.records import Request, prompt_key
from tests.training.logs import call, read, read_rows, table_of, write_lines
from training.prompts.table import known_by_effort, prompt_table


def key_of(prompt: str) -> str:
    return prompt_key([{"role": "user", "content": prompt}])


def test_repeated_calls_are_averaged_over_what_is_known(tmp_path: Path) -> None:
    table = table_of(tmp_path, call(success=True, cost_usd=2), call(success=False), call(cost_usd=4))
    assert (table.calls.item(), table.success.item(), table.cost.item()) == (3, 0.5, 3.0)


def test_only_calls_whose_outcome_is_known_and_weighs_anything_are_known_calls(tmp_path: Path) -> None:
    files = read_rows(tmp_path, call(success=True), call(success=False, outcome_source="judge"), call())
    counts = [
        prompt_table(files, success_score=None, max_prompts=10, weights=weights).known_calls().item()
        for weights in ({}, {"judge": 0.5}, {"judge": 0.0})
    ]
    assert counts == [2, 2, 1]


def test_propensities_of_repeated_calls_are_averaged_as_the_weights_that_they_become(tmp_path: Path) -> None:
    table = table_of(tmp_path, call(propensity=0.5), call(propensity=0.25), call(), call(prompt="x"))
    first = table.keys.index(key_of("2 + 2?"))
    assert_array_equal(1 / table.propensity[[first, 1 - first]], [[3.0], [np.nan]])


def test_the_weight_of_an_outcome_is_the_mean_of_its_calls(tmp_path: Path) -> None:
    calls = [
        call(success=True, outcome_source="retried"),
        call(success=True, outcome_source="feedback"),
        call(success=True, outcome_source="judge"),
        call(outcome_source="feedback"),
        call(success=False, outcome_source="retried", prompt="x"),
    ]
    weights = {"retried": 0.5, "judge": 0.0}
    files = read_rows(tmp_path, *calls)
    table = prompt_table(files, success_score=None, max_prompts=10, weights=weights)
    first = table.keys.index(key_of("2 + 2?"))
    assert_array_equal(table.weight[[first, 1 - first]], [[0.75], [0.5]])
    plain = prompt_table(files, success_score=None, max_prompts=10)
    assert_array_equal(plain.weight, [[1.0], [1.0]])


OLD, NEW = "2026-01-01T00:00:00Z", "2026-01-11T00:00:00Z"


@pytest.mark.parametrize(
    ("calls", "weight", "success"),
    [
        pytest.param([{"time": NEW}, {"time": OLD, "prompt": "x"}], 0.5, 1.0, id="half a life"),
        pytest.param([{"time": NEW}, {"prompt": "x"}], 1.0, 1.0, id="no time"),
        pytest.param([{"prompt": "x"}], 1.0, 1.0, id="no time at all"),
        pytest.param(
            [{"time": NEW, "prompt": "x", "success": False}, {"time": OLD, "prompt": "x"}],
            0.75,
            1 / 3,
            id="the newest of repeated calls count most",
        ),
        pytest.param(
            [{"time": NEW}, {"time": "1970-01-01T00:00:00Z", "prompt": "x"}], 2.0**-30, 1.0, id="very old"
        ),
        pytest.param(
            [{"time": NEW}, {"time": OLD, "prompt": "x", "outcome_source": "judge"}],
            0.25,
            1.0,
            id="beside the weight of a source",
        ),
    ],
)
def test_a_call_weighs_half_as_much_after_each_half_life(
    tmp_path: Path, calls: list[dict[str, object]], weight: float, success: float
) -> None:
    files = read_rows(tmp_path, *(call(**{"success": True, **one}) for one in calls))
    table = prompt_table(
        files, success_score=None, max_prompts=10, weights={"judge": 0.5}, half_life_days=10.0
    )
    row = table.keys.index(key_of("x"))
    assert table.weight[row].item() == pytest.approx(weight)
    assert table.success[row].item() == pytest.approx(success)
    assert table.known_calls()[row].item() == sum(one.get("prompt") == "x" for one in calls)


def test_without_a_half_life_age_does_not_matter(tmp_path: Path) -> None:
    files = read_rows(tmp_path, call(success=True, time=NEW), call(success=False, time=OLD))
    aged = prompt_table(files, success_score=None, max_prompts=10)
    assert (aged.weight.item(), aged.success.item()) == (1.0, 0.5)


def test_a_prompt_that_a_replay_drew_keeps_the_chance_of_it(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, call(), call(model="b", sampling_probability=0.25), call(model="c", prompt="never drawn")
    )
    first = table.keys.index(key_of("2 + 2?"))
    assert_array_equal(table.drawn[[first, 1 - first]], [0.25, 1.0])


def test_a_model_that_was_not_asked_is_unknown(tmp_path: Path) -> None:
    table = table_of(tmp_path, call(prompt="x", model="a", success=True), call(prompt="y", model="b"))
    first = table.keys.index(key_of("x"))
    assert table.models == ("a", "b")
    assert_array_equal(table.success[first], [1.0, np.nan])
    assert_array_equal(table.calls[first], [1, 0])


@pytest.mark.parametrize(
    ("fields", "success"),
    [
        pytest.param({"score": 0.5}, 1.0, id="score at the limit"),
        pytest.param({"score": 0.49}, 0.0, id="score below it"),
        pytest.param({"score": 0.9, "success": False}, 0.0, id="outcome beats score"),
        pytest.param({}, np.nan, id="neither"),
    ],
)
def test_success_is_the_outcome_else_the_score(
    tmp_path: Path, fields: dict[str, float], success: float
) -> None:
    assert_array_equal(table_of(tmp_path, call(**fields)).success, [[success]])


def test_a_prompt_and_its_one_user_message_are_one_prompt(tmp_path: Path) -> None:
    messages = [{"content": "2 + 2?", "role": "user"}]
    assert len(table_of(tmp_path, call(), call(prompt=None, messages=messages))) == 1


def test_the_same_text_with_other_tools_is_another_prompt(tmp_path: Path) -> None:
    assert len(table_of(tmp_path, call(), call(tools=[{"name": "add"}]), call(tools=[]))) == 2


def test_the_request_is_built_from_all_its_calls(tmp_path: Path) -> None:
    fields = {"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "t"}], "prompt": None}
    rows = [
        call(**fields, tags=tags, task_type=task_type)
        for tags, task_type in ((["b"], "maths"), (["a", "b"], "code"), ([], "maths"), ([], None))
    ]
    assert table_of(tmp_path, *rows).requests == [
        Request.of(fields["messages"] or "", tools=fields["tools"], task_type="maths", tags=("a", "b"))
    ]


def test_of_equally_frequent_task_types_the_first_is_taken(tmp_path: Path) -> None:
    assert table_of(tmp_path, call(task_type="b"), call(task_type="a")).requests[0].task_type == "a"


def test_prompts_that_sessions_link_are_one_group(tmp_path: Path) -> None:
    links = (("1", "s"), ("2", "s"), ("2", "t"), ("3", "t"), ("4", "u"), ("5", None))
    table = table_of(tmp_path, *(call(prompt=prompt, session_id=session) for prompt, session in links))
    group = dict(zip(table.keys, table.groups.tolist(), strict=True))
    assert group[key_of("1")] == group[key_of("2")] == group[key_of("3")]
    assert len({group[key_of(prompt)] for prompt in "345"}) == 3


def test_the_time_of_a_prompt_is_that_of_its_last_call(tmp_path: Path) -> None:
    table = table_of(tmp_path, call(time=2000), call(time=1000), call(prompt="y"))
    assert_array_equal(table.times[table.keys.index(key_of("2 + 2?"))], 2000.0)
    assert np.isnan(table.times).sum() == 1


def test_the_table_does_not_depend_on_the_order_of_the_log(tmp_path: Path) -> None:
    rows = [call(prompt=str(n % 7), model=f"m{n % 3}", success=n % 2 == 0, cost_usd=n) for n in range(40)]
    one, two = write_lines(tmp_path / "1.jsonl", *rows[:20]), write_lines(tmp_path / "2.jsonl", *rows[20:])
    back = write_lines(tmp_path / "3.jsonl", *reversed(rows))
    first = prompt_table(read(tmp_path, one, two), success_score=0.5, max_prompts=100)
    second = prompt_table(read(tmp_path, back), success_score=0.5, max_prompts=100)
    assert first.keys == second.keys == sorted(first.keys)
    np.testing.assert_allclose(first.cost, second.cost)
    assert_array_equal(first.success, second.success)


def test_a_larger_log_is_sampled_by_the_smallest_keys(tmp_path: Path) -> None:
    table = table_of(tmp_path, *(call(prompt=str(n)) for n in range(20)), max_prompts=5)
    assert list(table.keys) == sorted(key_of(str(n)) for n in range(20))[:5]
    assert table.prompts_in_log == 20


def test_many_buckets_give_the_table_that_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [call(prompt=str(n % 30), model=f"m{n % 2}", session_id=f"s{n % 9}", score=1) for n in range(90)]
    one = table_of(tmp_path, *rows, max_prompts=20)
    monkeypatch.setattr("training.reading.calls._BUCKET_BYTES", 500)
    files = read_rows(tmp_path, *rows)
    many = prompt_table(files, success_score=0.5, max_prompts=20)
    assert files.buckets > 5
    assert (many.keys, many.prompts_in_log) == (one.keys, 30)
    assert_array_equal(many.calls, one.calls)
    assert_array_equal(many.groups, one.groups)


def test_truncated_calls_are_kept_and_counted(tmp_path: Path) -> None:
    table = table_of(tmp_path, call(truncated=True), call())
    assert (table.calls.item(), table.truncated_calls) == (2, 1)


def test_repeated_call_ids_count_once(tmp_path: Path) -> None:
    assert table_of(tmp_path, call(call_id="x"), call(call_id="x"), call()).calls.item() == 2


def test_progress_counts_the_buckets(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prompt_table(
        read_rows(tmp_path, call()),
        success_score=0.5,
        max_prompts=9,
        progress=lambda *step: seen.append(step),
    )
    assert seen == [(1, 1)]


def test_rows_and_columns_can_be_taken_in_any_order(tmp_path: Path) -> None:
    table = table_of(tmp_path, *(call(prompt=p, model=m, cost_usd=1) for p in "xy" for m in "ab"))
    taken = table.rows(np.array([1])).columns(["b"])
    assert (taken.models, list(taken.keys), taken.cost.shape) == (("b",), [table.keys[1]], (1, 1))


def test_messages_logged_as_text_come_back_as_values(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    table = table_of(tmp_path, call(prompt=None, messages=json.dumps(messages)))
    assert list(table.requests[0].messages) == messages


def test_a_model_told_apart_has_an_action_for_each_known_effort(tmp_path: Path) -> None:
    rows = [
        call(effort="low", success=True),
        call(effort="LOW", success=False),
        call(effort=1024, success=True),
        call(success=True),
        call(effort="swift", success=False),
        call(model="other", effort="low"),
    ]
    files = read_rows(tmp_path, *rows)
    apart = prompt_table(files, success_score=None, max_prompts=10, apart={"small"})
    assert dict(zip(apart.models, apart.success[0], strict=True)) == pytest.approx(
        {"other": np.nan, "small": 0.5, "small@low": 0.5, "small@thinking=1024": 1.0}, nan_ok=True
    )
    together = prompt_table(files, success_score=None, max_prompts=10)
    assert together.models == ("other", "small")
    assert known_by_effort(files, success_score=None) == {
        ("small", "low"): 2, ("small", "thinking=1024"): 1, ("other", "low"): 0,
    }  # fmt: skip


def test_the_name_of_an_action_in_a_log_is_a_model_and_an_effort(tmp_path: Path) -> None:
    rows = [call(model="small@low"), call(model="small@high", effort="low"), call(model="bison@001")]
    frame = next(iter(read_rows(tmp_path, *rows).frames())).to_pydict()
    assert sorted(zip(frame["model"], frame["effort"], strict=True), key=str) == [
        ("bison@001", None), ("small", "low"), ("small", "low"),
    ]  # fmt: skip
