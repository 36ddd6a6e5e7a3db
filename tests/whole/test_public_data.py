"""benchmarks/public_data.py on made-up files in the form of the public ones."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from benchmarks.public_data import COLUMNS, MIXED, answer_in, main, marked
from benchmarks.quality import PAIR, POOL, ROUTELLM


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    evals = tmp_path / "routellm" / "evals"
    write_csv(
        evals / "mmlu" / "responses" / "mmlu_anatomy.csv",
        ["prompt", "mixtral-8x7b-instruct-v0.1", PAIR[1]],
        [["Known?\nA. yes\nAnswer:", "True", "True"], ["Bone?\nA. yes\nAnswer:", "False", "True"]],
    )
    write_csv(
        evals / "gsm8k" / "gsm8k_responses.csv",
        ["prompt", *PAIR, *(f"{model}_response" for model in PAIR)],
        [["1 + 1?", "True", "False", "It is two: 2", "3"]],
    )
    (evals / "mmlu" / "contaminated_prompts.jsonl").write_text(
        '{"eval_prompt": "Known?\\nA. yes\\nAnswer:"}\n'
    )
    (evals / "gsm8k" / "contaminated_prompts.jsonl").write_text("")
    (tmp_path / "eval_results").mkdir()
    for model in POOL:
        outputs = [
            {"question_id": 7, "question": "Which?", "options": ["this", "that"], "answer": "B",
             "answer_index": 1, "category": "law", "pred": pred, "model_outputs": "The answer is (B)."}
            for pred in ("B", None)[: 1 + (model == POOL[0])]
        ]  # fmt: skip
        with zipfile.ZipFile(tmp_path / "eval_results" / f"model_outputs_{model}_5shots.zip", "w") as archive:
            archive.writestr(f"{model}/law.json", json.dumps(outputs))
    for data, key in {"gsm": "question", "math-l5": "problem", "crux": "question"}.items():
        (tmp_path / "result_dirs" / data).mkdir(parents=True)
        for model in MIXED:
            one = {
                "session_id": 3,
                "output": ['{"reasoning": "...", "answer": "4"}'],
                "answer": "4",
                key: "2 + 2?",
            }
            (tmp_path / "result_dirs" / data / f"{model}.json").write_text(json.dumps([one]))
    return tmp_path


def write_csv(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])


def test_each_clone_gives_the_call_log_of_the_benchmarks(clones: Path, tmp_path: Path) -> None:
    main(tmp_path / "logs", clones, clones, clones)
    logs = {path.name: pl.read_parquet(path) for path in (tmp_path / "logs").iterdir()}
    assert {name: len(log) for name, log in logs.items()} == {
        ROUTELLM: 4,
        "mmlu_pro.parquet": len(POOL) + 1,
        "zeroeval.parquet": 3 * len(MIXED),
    }
    assert all(log.schema == COLUMNS for log in logs.values())
    pair = logs[ROUTELLM].sort("prompt_id", "model")
    assert pair["prompt_id"].to_list() == ["gsm8k/0", "gsm8k/0", "mmlu/anatomy/1", "mmlu/anatomy/1"]
    assert pair["success"].to_list() == [False, True, True, False]
    assert pair["cost_usd"].to_list() == [pytest.approx(2 * 10e-6), pytest.approx(5 * 0.6e-6), None, None]
    pro = logs["mmlu_pro.parquet"]
    assert (set(pro["prompt"]), pro["success"].sum()) == ({"Which?\nA. this\nB. that"}, len(POOL))
    assert logs["zeroeval.parquet"]["success"].all()


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        pytest.param('{"reasoning": "a\nb", "answer": "18"}', "18", id="a line end in a text"),
        pytest.param('```json\n{"answer": [1, 2]}\n``` and {more}', "[1, 2]", id="text around"),
        pytest.param('{"reasoning": "2" + "2", "answer": "4"', "4", id="not JSON"),
        pytest.param('{"reasoning": "2" + "2", "answer": 4', "4", id="not JSON, and a number"),
        pytest.param("I can't tell", None, id="none"),
    ],
)
def test_an_answer_is_read_where_it_stands(output: str, answer: str | None) -> None:
    assert answer_in(output) == answer


@pytest.mark.parametrize(
    ("data", "answer", "right", "counts"),
    [
        pytest.param("gsm", "$1,800 a year", "#### 1800", True, id="unit, comma and sign"),
        pytest.param("gsm", "3/4", "0.75", True, id="fraction"),
        pytest.param("math-l5", "-3", "3", False, id="another number"),
        pytest.param("math-l5", "none", "3", False, id="no number"),
        pytest.param("crux", '"a b"', "'a b'", True, id="quotes"),
        pytest.param("crux", "[1,2]", "[1, 2]", False, id="spaces"),
        pytest.param("crux", None, "''", False, id="no answer"),
    ],
)
def test_answers_are_marked_as_zeroeval_marks_them(
    data: str, answer: str | None, right: str, counts: bool
) -> None:
    assert marked(data, answer, right) is counts
