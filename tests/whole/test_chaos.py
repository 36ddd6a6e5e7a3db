"""The faults of benchmarks/faults.py in their short form: nothing fails, is lost, or passes a limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from benchmarks.chaos import page
from benchmarks.faults import CHANGES, FAULTS, KEY_VARIABLE, Bench, Counts, Fault
from tests.services.provider import KEY

LONG = {*list(CHANGES)[1:], "the server is down, and back"}
"""What tests/router/call_log/test_sqlite_file.py and tests/whole/test_new_versions.py do as well."""
SHORT = [fault for fault in FAULTS if fault.name not in LONG]
FINE = Counts(injected=3, requests=3, expected=6, found=6, longest_s=0.5)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as exits:
        patch.setenv(KEY_VARIABLE, KEY)
        yield Bench(folder=tmp_path_factory.mktemp("chaos"), scale=1, exits=exits)


@pytest.mark.service
@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: f"{fault.area}: {fault.name}")
def test_a_fault_costs_no_request_and_no_row(bench: Bench, fault: Fault) -> None:
    assert fault.run(bench).misses == []


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (replace(FINE, wrong=["Timeout"]), "1 requests ended wrongly ('Timeout' 1 times)"),
        (replace(FINE, found=5), "6 rows expected, 5 in the log"),
        (replace(FINE, found=7), "6 rows expected, 7 in the log"),
        (replace(FINE, past_limit=2), "2 requests past a limit"),
        (replace(FINE, injected=0), "the fault never struck"),
    ],
)
def test_a_miss_comes_first_on_the_page(counts: Counts, told: str) -> None:
    one, other = FAULTS[:2]
    written = page({one: FINE, other: counts}, 1, {"python": "3"})
    assert f"\n- **Missed**: {other.name}: {told}.\n\n2 faults, 6 requests" in written


def test_a_page_without_a_miss_says_nothing_of_one() -> None:
    assert "Missed" not in page({FAULTS[0]: FINE}, 1, {"python": "3"})
