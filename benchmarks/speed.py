"""How fast routing and training are on this machine, beside the targets; nothing here fails on a slow one."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import (
    Figure,
    figure,
    in_fresh_process,
    machine,
    milliseconds,
    peak_memory,
    show,
    stay_on_one_core,
)
from training.progress import Silent

SAMPLE = Path(__file__).parents[1] / "data" / "sample_calls.parquet"
PROMPT = (
    "Read the message of our customer and answer it politely: my parcel with the two lamps "
    "has not arrived yet, what can I do now?"
)
MESSAGES = [{"role": "user", "content": PROMPT}]
"""About 30 tokens."""
PROMPT_TOKENS = 30
DECISIONS = 1_000
REPEATS = 7
LENGTHS = (30, 300, 3_000, 30_000)
LENGTHS_MUST = {"onnx": (2.3, 8.0, 8.0, 8.0), "static": (0.25, 0.7, 1.5, 1.5)}
"""Milliseconds that a decision of each length must take at most, by the kind of encoder."""
LENGTH_PROMPTS, LENGTH_TURNS = 20, 8
ENCODERS = ("minilm", "static")
MODULE = "benchmarks.speed"

# What runs in a process of its own: plain arguments in, one JSON value out.


def timed_decisions(router: str) -> dict[str, list[float]]:
    """Milliseconds of each decision and of its steps, warm, on one core; and its processor time."""
    from router.forecasting.encoder import token_ids
    from router.forecasting.features import embedded_text, featurize
    from router.records import Request
    from router.version import Version

    stay_on_one_core()
    loaded = Version.load(Path(router))
    text = PROMPT
    while token_ids(loaded.encoder._tokenizer, text, 512)[1] < PROMPT_TOKENS:  # type: ignore[attr-defined]
        text += " now"
    request = Request.of(text)
    encoding = loaded.encoder.encode(embedded_text(request))
    features = featurize([request], [encoding], loaded.spec)
    forecast = loaded.forecast([request], [encoding])
    steps: dict[str, Callable[[], object]] = {
        "decision": lambda: loaded.decide(request),
        "tokenise and encode": lambda: loaded.encode(request),
        "features": lambda: featurize([request], [encoding], loaded.spec),
        "head and neighbours": lambda: loaded.head.predict(features),
        "policy": lambda: loaded.decisions([request], forecast),
    }
    return _interleaved(steps, DECISIONS)


def busy_decisions(router: str) -> dict[str, list[float]]:
    """Processor milliseconds of each decision, idle and busy; decisions a second of one thread and eight."""
    from router.records import Request
    from router.version import Version

    version = Version.load(Path(router))
    requests = [Request.of(f"{number}: {PROMPT}") for number in range(DECISIONS)]
    list(map(version.decide, requests))
    spent = {"idle": _processor(version.decide, requests)}
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        time.sleep(1.0)
        spent["busy"] = _processor(version.decide, requests)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    for name, threads in (("one thread", 1), ("eight threads", 8)):
        with ThreadPoolExecutor(threads) as pool:
            began = time.perf_counter()
            list(pool.map(version.decide, requests))
            spent[name] = [len(requests) / (time.perf_counter() - began)]
    return spent


def _processor(step: Callable[[Any], object], values: Sequence[Any]) -> list[float]:
    """Processor milliseconds of a step on each value, all threads of the process together."""
    spent = []
    for value in values:
        began = time.process_time()
        step(value)
        spent.append(1e3 * (time.process_time() - began))
    return spent


def decisions_by_length(router: str) -> dict[str, list[float]]:
    """Processor milliseconds of `Router.route` on prompts of each length, and of LiteLLM's hook in turn."""
    import polars as pl

    from router import Router
    from training.complexity_router.litellm_scores import SETTINGS, _complexity_router

    stay_on_one_core()
    loaded = Router.load(router)
    rivals = {name: _complexity_router(settings) for name, settings in SETTINGS.items()}
    written = [text for text in pl.read_parquet(SAMPLE)["prompt"].unique(maintain_order=True) if text]
    plain = "\n".join(text for text in written if text.isascii())
    spent: dict[str, list[float]] = {}

    async def measure() -> None:
        for tokens in LENGTHS:
            size = 4 * tokens
            starts = range(0, len(plain) - size, max(1, (len(plain) - size) // LENGTH_PROMPTS))
            texts = [plain[start : start + size] for start in starts]
            for turn in range(LENGTH_TURNS + 2):
                for text in texts:
                    began = time.thread_time_ns()
                    loaded.route(text)
                    took = {f"{tokens:,} tokens": (time.thread_time_ns() - began) / 1e6}
                    messages = [{"role": "user", "content": text}]
                    for name, rival in rivals.items():
                        began = time.thread_time_ns()
                        await rival.async_pre_routing_hook(
                            model="pointsman", request_kwargs={}, messages=messages
                        )
                        took[f"{tokens:,} tokens: {name}"] = (time.thread_time_ns() - began) / 1e6
                    for name, value in took.items() if turn >= 2 else ():
                        spent.setdefault(name, []).append(value)

    asyncio.run(measure())
    return spent


def first_decision(router: str) -> float:
    """Seconds from before the import of the router to after its first decision."""
    start = time.perf_counter()
    from router import Router

    Router.load(router).route(PROMPT)
    return time.perf_counter() - start


def serving_memory(router: str) -> float:
    """Peak memory in MB of a process that made a thousand decisions, short prompts and long ones."""
    from router import Router

    loaded = Router.load(router)
    for number in range(DECISIONS):
        loaded.route(f"{number}: {PROMPT} " * (1 + number % 50))
    return peak_memory()


def neighbour_search(points: str, models: str) -> list[float]:
    """Milliseconds of one search among random stored prompts, on one core."""
    import numpy as np

    from router.forecasting.head import NeighbourStore, unit

    stay_on_one_core()
    random = np.random.default_rng(0)
    count, columns = int(points), 1 + int(models)
    store = NeighbourStore(
        axes=random.normal(size=(430, 128)).astype(np.float32),
        points=unit(random.normal(size=(count, 128)).astype(np.float32)),
        values=random.normal(size=(count, columns)).astype(np.float32),
        seen=(random.random((count, columns)) < 0.5).astype(np.float32),
    )
    rows = random.normal(size=(64, 1, 430)).astype(np.float32)
    return milliseconds(lambda turn: store.search(rows[turn % len(rows)]), DECISIONS)


def make_log(path: str, calls: str) -> None:
    """Write a log of about so many calls: the sample's, over and over, with the copy's number in the text."""
    import polars as pl

    sample = pl.read_parquet(SAMPLE).drop("messages").with_columns(pl.col("prompt").fill_null("no text"))
    copies = -(-int(calls) // len(sample))
    numbers = pl.DataFrame({"copy": pl.Series(range(copies), dtype=pl.String)})
    text = pl.concat_str("copy", pl.lit(": "), "prompt")
    call, session = pl.concat_str("call_id", "copy"), pl.concat_str("session_id", "copy")
    whole = sample.join(numbers, how="cross").with_columns(prompt=text, call_id=call, session_id=session)
    whole = whole.drop("copy").head(int(calls))
    if path.endswith(".parquet"):
        whole.write_parquet(path, row_group_size=100_000)
    else:
        whole.with_columns(pl.col("time").dt.to_string("iso:strict")).write_ndjson(path)


def label_log(path: str, folder: str) -> dict[str, float]:
    """Seconds and peak memory in MB of reading, keying and labelling a log."""
    from router.settings.sections import Config
    from training.prompts.from_logs import ReadOptions, calls_of, table_of
    from training.prompts.labels import cheapest_success

    config = Config()
    reading = ReadOptions(
        mapping={}, rejects=Path(folder) / "rejects.jsonl", config=config, cache=Path(folder)
    )
    start = time.perf_counter()
    with calls_of([path], reading, Silent()) as files:
        table = table_of(files, config, Silent())
    cheapest_success(table)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": peak_memory(), "prompts": table.prompts_in_log or len(table)}


def train_router(encoder: str, out: str, cache: str) -> dict[str, float]:
    """Train on the sample; seconds, and how many prompts had to be embedded."""
    from router.settings.sections import Config
    from training.pipeline import TrainJob, train_on_log
    from training.prompts.from_logs import ReadOptions

    config = Config.model_validate({"training": {"encoder": encoder}})
    reading = ReadOptions(mapping={}, rejects=Path(f"{out}.rejects"), config=config, cache=Path(cache))
    job = TrainJob(
        sources=[str(SAMPLE)],
        out=Path(out),
        reading=reading,
        tracking_uri=f"sqlite:///{out}.db",
        register=None,
    )
    start = time.perf_counter()
    embedded = train_on_log(job, Silent()).embedded
    return {"seconds": time.perf_counter() - start, "embedded": embedded}


PARTS: Mapping[str, Callable[..., Any]] = {
    part.__name__: part
    for part in (
        timed_decisions,
        busy_decisions,
        decisions_by_length,
        first_decision,
        serving_memory,
        neighbour_search,
        make_log,
        label_log,
        train_router,
    )
}


def _interleaved(steps: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Milliseconds of every step in each turn; turn by turn, so that a busy moment touches all alike."""
    for step in list(steps.values()) * 20:
        step()
    spent: dict[str, list[float]] = {name: [] for name in steps}
    processor: list[float] = []
    for _ in range(turns):
        for name, step in steps.items():
            began, busy = time.perf_counter(), time.process_time()
            step()
            spent[name].append(1e3 * (time.perf_counter() - began))
            if name == "decision":
                processor.append(1e3 * (time.process_time() - busy))
    return {**spent, "decision, processor time": processor}


# What runs here: the parts in order, and what they add up to.


def import_figures() -> Iterator[Figure]:
    """Start-up of Python alone and with `import router`, turn by turn."""
    spent: dict[str, list[float]] = {"pass": [], "import router": [], "from router import Router": []}
    for _ in range(REPEATS):
        for statement, seconds in spent.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            seconds.append(time.perf_counter() - began)
    for statement, seconds in spent.items():
        target = 0.15 if statement == "import router" else None
        yield figure(f"python -c '{statement}'", "s", seconds, target)


def serving_figures(name: str, router: Path, decision_target: float | None) -> Iterator[Figure]:
    """Speed and memory of one router."""
    steps = in_fresh_process(MODULE, "timed_decisions", router)
    for step, values in steps.items():
        yield figure(f"{name}: {step}", "ms", values, decision_target if step == "decision" else None)
    seconds = [in_fresh_process(MODULE, "first_decision", router) for _ in range(REPEATS)]
    yield figure(f"{name}: import, load and first decision", "s", seconds, 1.0)
    memory = [in_fresh_process(MODULE, "serving_memory", router) for _ in range(3)]
    yield figure(f"{name}: peak memory after {DECISIONS} decisions", "MB", memory, 350.0)


def busy_figures(name: str, router: Path) -> Iterator[Figure]:
    """What a decision costs on a busy machine, and whether threads share the cores."""
    spent = in_fresh_process(MODULE, "busy_decisions", router)
    for state in ("idle", "busy"):
        yield figure(f"{name}: decision, processor time, {state} machine", "ms", spent[state])
    ratio = median(spent["busy"]) / median(spent["idle"])
    yield figure(f"{name}: the same, busy by idle", "", [ratio], 1.2)
    for threads in ("one thread", "eight threads"):
        yield figure(f"{name}: decisions of {threads}", "/s", spent[threads])


def length_figures(name: str, router: Path) -> Iterator[Figure]:
    """What a decision costs on prompts of four lengths, beside LiteLLM's complexity router."""
    must = {
        f"{tokens:,} tokens": most for tokens, most in zip(LENGTHS, LENGTHS_MUST[_kind(router)], strict=True)
    }
    for what, values in in_fresh_process(MODULE, "decisions_by_length", router).items():
        yield figure(f"{name}: {what}, processor time", "ms", values, must.get(what))


def _kind(router: Path) -> str:
    """The kind of a router's encoder."""
    return str(json.loads((router / "manifest.json").read_bytes())["encoder"]["kind"])


def search_figure() -> Figure:
    """Neighbour search in a store of the largest usual size."""
    values = in_fresh_process(MODULE, "neighbour_search", 12_000, 6)
    return figure("neighbours among 12000 prompts, 6 models", "ms", values, 0.3)


def log_figures(calls: int, folder: Path) -> Iterator[Figure]:
    """Reading, keying and labelling, from each format; the time target is a million calls' in proportion."""
    for ending in ("jsonl", "parquet"):
        path = folder / f"calls.{ending}"
        in_fresh_process(MODULE, "make_log", path, calls)
        runs = [
            in_fresh_process(MODULE, "label_log", path, folder) for _ in range(3 if calls <= 200_000 else 1)
        ]
        name = f"{calls} calls from {ending}, read, keyed and labelled"
        yield figure(name, "s", [run["seconds"] for run in runs], 60.0 * calls / 1e6)
        yield figure(f"{name}: peak memory", "MB", [run["peak"] for run in runs], 2000.0)
        path.unlink()


def train_figures(name: str, folder: Path, cache: Path) -> Iterator[Figure]:
    """Two trainings on one log: the second must embed nothing again."""
    for turn, target in (("first", None), ("second", 0.0)):
        run = in_fresh_process(MODULE, "train_router", name, folder / name, cache)
        yield figure(f"{name}: {turn} training", "s", [run["seconds"]])
        yield figure(f"{name}: prompts embedded by the {turn} training", "", [run["embedded"]], target)


def trained(folder: Path, cache: Path | None) -> Iterator[Path]:
    """A router of each kind, trained on the sample."""
    for name in ENCODERS:
        in_fresh_process(MODULE, "train_router", name, folder / name, cache or folder / "cache")
        yield folder / name


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    """Every figure, as it becomes known."""
    if options.lengths or options.busy:
        for path in options.router or trained(folder, options.cache):
            yield from length_figures(path.name, path) if options.lengths else ()
            yield from busy_figures(path.name, path) if options.busy else ()
        return
    yield from import_figures()
    yield search_figure()
    yield from log_figures(options.calls, folder)
    routers = {path.name: path for path in options.router}
    if not routers:
        for name in ENCODERS:
            yield from train_figures(name, folder, options.cache or folder / "cache")
            routers[name] = folder / name
    for name, path in routers.items():
        yield from serving_figures(name, path, {"onnx": 3.0, "static": 0.4}[_kind(path)])


def arguments() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--router", type=Path, action="append", default=[], help="measure this one; repeatable"
    )
    parser.add_argument("--cache", type=Path, help="keeps encoders and embeddings between runs")
    parser.add_argument("--calls", type=int, default=200_000, help="size of the log to read")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--busy", action="store_true", help="only decisions, beside four busy processes")
    parser.add_argument("--lengths", action="store_true", help="only decisions, on prompts of four lengths")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run one part and print what it returns, or all of them and print a table."""
    options = arguments()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    with tempfile.TemporaryDirectory(prefix="pointsman-speed-") as folder:
        figures = []
        for one in measure(options, Path(folder)):
            print(f"{one.name}: {one.middle:.3g} {one.unit}", file=sys.stderr)
            figures.append(one)
    where = machine()
    show(where, figures)
    if options.json:
        report = {"machine": where, "figures": [asdict(one) for one in figures]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
