from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from router.errors import CallLogError
from training.spending.budget import Affordable, Budget, LineFile, affordable, ledger_of, spent_in


@pytest.fixture
def ledger(tmp_path: Path) -> LineFile:
    return LineFile(tmp_path / "ledger")


def reopened(ledger: LineFile) -> LineFile:
    ledger.close()
    return LineFile(ledger.path)


def test_what_is_held_and_paid_never_goes_over_the_limit_with_32_in_flight(ledger: LineFile) -> None:
    budget, draw = Budget(1.0, ledger), random.Random(3)
    paid: list[float] = []
    held = 0.0

    async def call() -> None:
        nonlocal held
        worst = draw.uniform(0.01, 0.2)
        if (number := await budget.set_aside(worst)) is None:
            return
        held += worst
        assert held + sum(paid) <= 1.0 + 1e-9
        await asyncio.sleep(draw.uniform(0, 0.002))  # calls that end in any order are what is tested
        paid.append(worst * draw.random())
        held -= worst
        await budget.settle(number, paid[-1])

    async def all_calls() -> None:
        async def caller() -> None:
            for _ in range(20):
                await call()

        await asyncio.gather(*(caller() for _ in range(32)))

    asyncio.run(all_calls())

    assert 0.8 < sum(paid) <= 1.0
    assert budget.spent == pytest.approx(sum(paid))


def test_an_amount_waits_for_the_calls_in_flight_to_cost_less_than_they_might(ledger: LineFile) -> None:
    async def scenario() -> int | None:
        budget = Budget(1.0, ledger)
        first = await budget.set_aside(0.9)
        assert first is not None
        waiting = asyncio.create_task(budget.set_aside(0.5))
        await asyncio.sleep(0)
        await budget.settle(first, 0.1)
        return await waiting

    assert asyncio.run(scenario()) == 2


def test_an_amount_that_can_never_be_free_is_refused_at_once(ledger: LineFile) -> None:
    async def scenario() -> int | None:
        budget = Budget(1.0, ledger)
        await budget.set_aside(0.9)
        return await budget.set_aside(1.1)

    assert asyncio.run(scenario()) is None


def test_the_first_call_that_does_not_fit_is_the_last(ledger: LineFile) -> None:
    async def scenario() -> list[bool]:
        budget = Budget(1.0, ledger)
        first = await budget.set_aside(0.5)
        assert first is not None
        waiting = [asyncio.create_task(budget.set_aside(usd)) for usd in (1.1, 0.4, 0.7, 0.1)]
        await asyncio.sleep(0)  # each has asked, in order
        await budget.settle(first, 0.5)
        await budget.settle(2, 0.4)
        return [await one is not None for one in waiting]

    assert asyncio.run(scenario()) == [False, True, False, False]


def test_the_next_run_goes_on_with_what_is_left_and_counts_what_was_not_settled_in_full(
    ledger: LineFile,
) -> None:
    async def scenario() -> None:
        budget = Budget(1.0, ledger)
        settled = await budget.set_aside(0.4)
        assert settled is not None
        await budget.settle(settled, 0.1)
        await budget.set_aside(0.3)

    asyncio.run(scenario())
    assert Budget(1.0, reopened(ledger)).spent == pytest.approx(0.4)


def test_calls_of_two_runs_are_told_apart(ledger: LineFile) -> None:
    async def one_call(file: LineFile) -> None:
        budget = Budget(1.0, file)
        number = await budget.set_aside(0.2)
        assert number is not None
        await budget.settle(number, 0.2)

    asyncio.run(one_call(ledger))
    again = reopened(ledger)
    asyncio.run(one_call(again))
    assert spent_in(reopened(again).lines) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("limit", "spent", "surely", "expected"),
    [
        pytest.param(0.9, 0.0, 0, 0, id="no call"),
        pytest.param(1.0, 0.0, 1, 1, id="the first alone"),
        pytest.param(1.3, 0.0, 1, 4, id="one is too dear for the whole"),
        pytest.param(5.2, 0.0, 2, 5, id="two for sure"),
        pytest.param(5.2, 2.0, 1, 1, id="none after the first that does not fit"),
        pytest.param(8.0, 0.0, 5, 5, id="all"),
    ],
)
def test_a_sum_surely_bears_the_worst_cases_in_order_and_more_where_calls_cost_what_is_expected(
    limit: float, spent: float, surely: int, expected: int
) -> None:
    prices = [(0.1, 1.0), (0.1, 4.0), (0.1, 1.0), (0.1, 1.0), (0.1, 1.0)]
    assert affordable(limit, spent, prices) == Affordable(surely=surely, expected=expected)


def test_half_a_line_of_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"call":1}\n{"call":2}\n{"ca')
    with LineFile(path) as file:
        assert file.lines == [{"call": 1}, {"call": 2}]
        file.append({"call": 3})
    assert path.read_bytes() == b'{"call":1}\n{"call":2}\n{"call":3}\n'


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"call":1}')
    with LineFile(path) as file:
        file.append({"call": 2})
    assert path.read_bytes() == b'{"call":1}\n{"call":2}\n'


def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("first\nsecond")
    with pytest.raises(CallLogError, match="line 1 is no JSON object"):
        LineFile(path)
    assert path.read_text() == "first\nsecond"


def test_two_runs_do_not_write_one_file(ledger: LineFile) -> None:
    with pytest.raises(CallLogError, match="another run is writing to it"):
        LineFile(ledger.path)


def test_the_ledger_lies_where_no_pattern_for_call_logs_finds_it(tmp_path: Path) -> None:
    out = tmp_path / "replayed.jsonl"
    ledger_of(out).touch()
    assert list(tmp_path.glob("*.jsonl")) == []
