from __future__ import annotations

from pathlib import Path

import numpy as np

from router.forecasting.answer_numbers import number_names
from router.settings.sections import Config
from tests.training.logs import call, write_lines
from training.progress import Silent
from training.prompts.answers import AnswerTable, answers_of
from training.prompts.from_logs import ReadOptions, calls_of, table_of
from training.prompts.table import PromptTable


def read(folder: Path, *, grade: bool = True) -> tuple[PromptTable, AnswerTable]:
    log = [
        call(call_id="1", prompt="p", model="a", answer='{"x": 1}', success=True),
        call(call_id="2", prompt="p", model="b", answer='{"x": ', success=False),
        call(call_id="3", prompt="p", model="a", answer="later", success=True),
        call(call_id="4", prompt="q", model="a", success=True),
        call(call_id="5", prompt="other", model="b", answer="{}", success=True),
    ]
    config = Config()
    reading = ReadOptions(mapping={}, rejects=None, config=config, cache=folder / "cache")
    with calls_of([write_lines(folder / "log.jsonl", *log)], reading, Silent(), grade=grade) as files:
        table = table_of(files, config, Silent())
        return table, answers_of(files, table, lambda request: request.messages[0]["content"] != "other")


def test_the_first_answer_of_each_model_to_each_prompt_of_interest_is_kept(tmp_path: Path) -> None:
    table, answers = read(tmp_path)
    row = {request.messages[0]["content"]: place for place, request in enumerate(table.requests)}
    broken = answers.numbers[:, number_names().index("json broken")]
    assert broken[answers.at[row["p"]]].tolist() == [0.0, 1.0]
    assert len(answers.numbers) == 2
    assert answers.at[row["q"]].tolist() == [-1, -1]
    assert answers.at[row["other"]].tolist() == [-1, -1]
    assert answers.rows(np.array([row["p"]])).at.tolist() == [answers.at[row["p"]].tolist()]


def test_calls_read_without_grade_have_no_answers(tmp_path: Path) -> None:
    _, answers = read(tmp_path, grade=False)
    assert (answers.at == -1).all()
