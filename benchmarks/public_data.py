"""Turn the public evaluations, once you have downloaded them, into the call logs of the benchmarks.

    python -m benchmarks.public_data --routellm RouteLLM --mmlu-pro MMLU-Pro --zeroeval ZeroEval --out logs

Each option names a clone of the repository of that name (docs/benchmarks.md links them); `--out` gets
`routellm_2model.parquet`, `mmlu_pro.parquet` and `zeroeval.parquet`, with a row for each prompt and model.
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import polars as pl
import typer

from benchmarks.quality import PAIR, POOL, ROUTELLM

Row: TypeAlias = dict[str, Any]

PRICES = {
    "gpt-4-1106-preview": (10, 30), "mistralai/Mixtral-8x7B-Instruct-v0.1": (0.6, 0.6),
    "Meta-Llama-3_1-8B-Instruct": (0.05, 0.08), "Meta-Llama-3_1-70B-Instruct": (0.59, 0.79),
    "gemini-1.5-flash-002": (0.075, 0.3), "gemini-1.5-pro-002": (1.25, 5),
    "gpt-3.5-turbo-0125": (0.5, 1.5), "gpt-4o-mini-2024-07-18": (0.15, 0.6), "gpt-4o-2024-05-13": (5, 15),
    "claude-3-haiku-20240307": (0.25, 1.25), "claude-3-opus-20240229": (15, 75),
    "claude-3-5-sonnet-20240620": (3, 15),
}  # fmt: skip
"""List prices of their time, USD per million tokens of input and output."""
MIXED = [name for name in PRICES if name.startswith(("gpt-3", "gpt-4o", "claude"))]
TASK_TYPES = {"gsm": "math", "math-l5": "math", "crux": "code_reasoning"}
COLUMNS = {
    "prompt_id": pl.String, "prompt": pl.String, "dataset": pl.String, "task_type": pl.String,
    "model": pl.String, "score": pl.Float64, "success": pl.Boolean, "cost_usd": pl.Float64,
    "input_tokens": pl.Int64, "output_tokens": pl.Int64, "cost_source": pl.String,
}  # fmt: skip
ANSWERS = (r"\"answer\"\s*:\s*\"(.*?)\"", r"\"answer\"\s*:\s*([^,\s]*)", r"answer\s*:\s*([^,\s]*)")
"""Forms of an answer in JSON that can't be read."""


def call(source: str, number: object, prompt: str, model: str, success: bool, answer: str | None) -> Row:
    """A row of a call log.

    Args:
        source: the prompt's part of the data, such as "mmlu/anatomy".
        answer: four of its characters count as a token; None: it is not published, and its cost unknown.
    """
    tokens = [None if text is None else round(len(text) / 4) for text in (prompt, answer)]
    usd = [
        count * price / 1e6 for count, price in zip(tokens, PRICES[model], strict=True) if count is not None
    ]
    return {
        "prompt_id": f"{source}/{number}",
        "prompt": prompt,
        "dataset": source,
        "task_type": TASK_TYPES.get(source),
        "model": model,
        "score": float(success),
        "success": success,
        "cost_usd": None if answer is None else sum(usd),
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "cost_source": "none" if answer is None else "estimated",
    }


def routellm(clone: Path) -> Iterator[Row]:
    """RouteLLM's pair on MMLU and GSM8K, without the prompts that RouteLLM itself calls contaminated."""
    folder = clone / "routellm" / "evals"
    paths = [*sorted(folder.glob("mmlu/responses/mmlu_*.csv")), folder / "gsm8k" / "gsm8k_responses.csv"]
    for path in paths:
        part = path.relative_to(folder).parts[0]
        source = part if part == "gsm8k" else f"{part}/{path.stem.removeprefix('mmlu_')}"
        left_out = {
            json.loads(line)["eval_prompt"]
            for line in (folder / part / "contaminated_prompts.jsonl").read_text("utf-8").splitlines()
        }
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file)):
                for column in [] if row["prompt"] in left_out else row.keys() - {"prompt"}:
                    model = PAIR[0] if column.endswith(PAIR[0].lower().partition("/")[2]) else column
                    if model in PAIR:
                        answer = row.get(f"{model}_response")
                        yield call(source, number, row["prompt"], model, row[column] == "True", answer)


def mmlu_pro(clone: Path) -> Iterator[Row]:
    """The pool of `mmlu_pro` on MMLU-Pro; an answer without a letter is a failure."""
    for model in POOL:
        with zipfile.ZipFile(clone / "eval_results" / f"model_outputs_{model}_5shots.zip") as archive:
            for name in archive.namelist():
                if name.endswith(".json") and "__MACOSX" not in name:
                    for one in json.loads(archive.read(name)):
                        options = [f"{chr(65 + place)}. {text}" for place, text in enumerate(one["options"])]
                        prompt = "\n".join([one["question"], *options])
                        success = one["pred"] == one["answer"]
                        row = call(
                            "mmlu_pro", one["question_id"], prompt, model, success, one["model_outputs"]
                        )
                        yield {**row, "dataset": f"mmlu_pro/{one['category']}"}


def zeroeval(clone: Path) -> Iterator[Row]:
    """The pool of `mixed_traffic` on GSM8K, MATH level 5 and CRUXEval, marked by ZeroEval's own rules."""
    for data in TASK_TYPES:
        for model in MIXED:
            path = clone / "result_dirs" / data / f"{model}.json"
            for one in json.loads(path.read_text("utf-8")):
                prompt, output = one["problem" if data == "math-l5" else "question"], one["output"][0]
                success = marked(data, answer_in(output), str(one["answer"]))
                yield call(data, one["session_id"], prompt, model, success, output)


def answer_in(output: str) -> str | None:
    """The answer that a model gives in JSON, or in something like it."""
    start = output.find("{")
    try:
        found = json.JSONDecoder(strict=False).raw_decode(output, max(start, 0))[0]
    except json.JSONDecodeError:
        found = None
    if isinstance(found, dict) and "answer" in found:
        return str(found["answer"])
    matches = (re.search(form, output, re.S) for form in ANSWERS)
    return next((match[1] for match in matches if match), None)


def marked(data: str, answer: str | None, right: str) -> bool:
    """Whether an answer counts: the same first number for maths, the same text but for quotes for code."""
    if answer is None:
        return False
    if data == "crux":
        return answer.strip("'\"").replace("\n", "\\n") == right.strip("'\"")
    given, wanted = _first_number(answer), _first_number(right)
    return given is not None and given == wanted


def _first_number(text: str) -> float | None:
    plain = re.sub(r"[#$,]", "", text).strip()
    if fraction := re.fullmatch(r"(-?\d+)\s*/\s*(\d*[1-9]\d*)", plain):
        return int(fraction[1]) / int(fraction[2])
    match = re.search(r"-?\d+(\.\d+)?", plain)
    return float(match[0]) if match else None


def main(
    out: Annotated[Path, typer.Option(help="Folder for the call logs.")],
    routellm_at: Annotated[Path | None, typer.Option("--routellm", help="Clone of lm-sys/RouteLLM.")] = None,
    mmlu_pro_at: Annotated[
        Path | None, typer.Option("--mmlu-pro", help="Clone of TIGER-AI-Lab/MMLU-Pro.")
    ] = None,
    zeroeval_at: Annotated[
        Path | None, typer.Option("--zeroeval", help="Clone of WildEval/ZeroEval.")
    ] = None,
) -> None:
    """Write a call log for each clone."""
    out.mkdir(parents=True, exist_ok=True)
    for file, rows, clone in (
        (ROUTELLM, routellm, routellm_at),
        ("mmlu_pro.parquet", mmlu_pro, mmlu_pro_at),
        ("zeroeval.parquet", zeroeval, zeroeval_at),
    ):
        if clone is not None:
            frame = pl.DataFrame(list(rows(clone)), schema=COLUMNS, orient="row")
            frame.write_parquet(out / file)
            print(f"{out / file}: {len(frame):,} calls, {frame['prompt_id'].n_unique():,} prompts")


if __name__ == "__main__":
    typer.run(main)
