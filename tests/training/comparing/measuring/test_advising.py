from __future__ import annotations

import numpy as np
import pytest

from router.records import IntArray
from tests.training.comparing.comparisons import evaluated, knowing
from training.comparing.comparison import Draws, compare_evaluated
from training.comparing.measuring.advising import LogFacts
from training.recommending import Code, Recommendation

DRAWS = Draws(number=200)


def advice(choice: IntArray, *, known_costs: bool = True, log: LogFacts | None = None) -> Recommendation:
    case = evaluated(choice, known_costs=known_costs)
    return compare_evaluated(case, draws=DRAWS, log=log or LogFacts()).recommendation


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        pytest.param(knowing(), "deploy", id="knows which prompt needs which model"),
        pytest.param(np.ones(400, dtype=np.int64), "one_model", id="one model for everything"),
        pytest.param(1 - knowing(), "one_model", id="knows it the wrong way round: a mix is better"),
        pytest.param(knowing(20), "cannot_tell", id="few prompts"),
    ],
)
def test_a_router_is_worth_what_it_knows(choice: IntArray, code: Code) -> None:
    assert advice(choice).code == code


def test_a_router_that_chooses_at_random_is_no_better_than_a_mix() -> None:
    choice = np.random.default_rng(0).integers(0, 2, 400)
    assert advice(choice).code in ("one_model", "cannot_tell", "losing")


def test_without_costs_nothing_is_recommended() -> None:
    said = advice(knowing(), known_costs=False)
    assert said.code == "cannot_tell"
    assert "the costs are not known" in said.sentence


def test_a_replay_is_proposed_in_the_words_of_the_command_that_compared() -> None:
    log = LogFacts(replayable=3_000, calls=("my.parquet",), router="models/r")
    said = advice(knowing(20), log=log)
    assert said.next.startswith(
        "pointsman replay my.parquet --router models/r --purpose judge --out replayed.jsonl --most 200"
    )
