from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, assert_type

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest

import pointsman
from router import cli
from router.cli.console import app
from router.errors import CallLogError, ConfigError, RequestError, RouterError, TrainingError
from router.records import Json
from tests.services.provider import KEY, Provider, provider
from tests.training.readers.examples import EXAMPLES
from tests.training.replaying.replay_calls import KEY_VARIABLE
from tests.training.test_pipeline import synthetic_calls
from training import api, commands
from training.learning import material
from training.pages.rendering import Showable
from training.progress import Silent
from training.prompts.from_logs import calls_of

__all__ = ["provider"]

CALLS = synthetic_calls(60)
SETTINGS = {"training": {"estimator": "success", "min_calls": 20, "test_share": 0.3}}
FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "inspect": pointsman.inspect,
    "import": pointsman.import_calls,
    "train": pointsman.train,
    "compare": pointsman.compare,
    "replay": pointsman.replay,
}
KINDS: Mapping[str, Callable[[Path], api.Log]] = {
    "path": lambda path: path,
    "address": str,
    "list": lambda path: [str(path)],
    "polars": pl.read_parquet,
    "pandas": pd.read_parquet,
    "pyarrow": lambda path: pl.read_parquet(path).to_arrow(),
    "list of frames": lambda path: [pl.read_parquet(path)[:100], pd.read_parquet(path)[100:]],
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder_cache: Path) -> None:
    """MLflow puts the artifacts of a SQLite store beside the working directory."""
    monkeypatch.setenv("POINTSMAN_CACHE", str(encoder_cache.absolute()))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(material, "GRAM_DIMENSIONS", 32)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "calls.parquet"
    pl.DataFrame(CALLS).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def whole_log(log: Path) -> Path:
    """Prompts beside those of `log`."""
    path = log.with_name("whole.parquet")
    pl.DataFrame(synthetic_calls(90)).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def trained(log: Path, tmp_path_factory: pytest.TempPathFactory, encoder_cache: Path) -> pointsman.Trained:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(material, "GRAM_DIMENSIONS", 32)
        return pointsman.train(
            log,
            out=folder / "router",
            config=SETTINGS,
            cache=encoder_cache,
            tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        )


# What goes in


@every_kind
def test_a_log_of_every_kind_is_inspected(log: Path, tmp_path: Path, kind: str) -> None:
    report = pointsman.inspect(KINDS[kind](log))
    assert report.to_json()["total"] == pointsman.inspect(log).to_json()["total"]
    assert list(tmp_path.iterdir()) == []


@every_kind
def test_a_log_of_every_kind_is_imported(log: Path, tmp_path: Path, kind: str) -> None:
    done = pointsman.import_calls(KINDS[kind](log), out="calls.parquet")
    pointsman.import_calls(log, out="again.parquet")
    assert done.summary.calls == len(CALLS)
    columns = ["model", "prompt", "success", "cost_usd", "task_type"]
    rows = [pl.read_parquet(path).select(columns).sort(columns) for path in (done.out, "again.parquet")]
    assert rows[0].equals(rows[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.parquet", "calls.parquet"]


@every_kind
@pytest.mark.parametrize("name", ["train", "compare", "replay"])
def test_a_log_of_every_kind_is_handed_over(
    log: Path, trained: pointsman.Trained, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    def read_only(job: Any, *others: object) -> None:  # noqa: ANN401 - any of the jobs
        with calls_of(job.sources, job.reading, Silent()) as files:
            raise TrainingError(f"{files.summary.calls} calls")

    for function in ("train_on_log", "compare_on_log", "plan_replay"):
        monkeypatch.setattr(api, function, read_only)
    options: dict[str, dict[str, Any]] = {
        "train": {"out": "router"},
        "compare": {"router": trained.out, "out": "report"},
        "replay": {"router": trained.out, "out": "more.jsonl", "budget": 1},
    }
    with pytest.raises(TrainingError, match=f"{len(CALLS)} calls"):
        FUNCTIONS[name](log=KINDS[kind](log), **options[name])


def test_a_data_frame_trains_as_its_file_does(log: Path, trained: pointsman.Trained) -> None:
    again = pointsman.train(pd.read_parquet(log), out="router", config=SETTINGS)
    assert again.to_json()["metrics"] == trained.to_json()["metrics"]


PRICED = {
    "models": {
        name: {"price": {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0}}
        for name in ("small", "large")
    }
}


def flat(record: Mapping[str, Json]) -> dict[str, Json]:
    """A record as a table holds it: what is nested is JSON text."""
    return {name: json.dumps(one) if isinstance(one, list | dict) else one for name, one in record.items()}


@pytest.mark.parametrize("reader", sorted(EXAMPLES))
def test_a_data_frame_in_any_format_is_read_as_its_parquet_file(reader: str) -> None:
    frame = pl.DataFrame(
        [flat(record) for record in EXAMPLES[reader]], infer_schema_length=None, strict=False
    )
    frame.write_parquet("DATAFRAME.parquet")
    results: list[tuple[object, object]] = []
    for log in ("DATAFRAME.parquet", frame, frame.to_arrow()):
        try:
            done = pointsman.import_calls(log, out="out.parquet", format=reader)
            results.append((pl.read_parquet("out.parquet").rows(), done.in_rows()))
        except RouterError as error:
            message = re.sub(r"DATAFRAME(\.parquet:|: row )(?=\d)", "row ", str(error))
            results.append((message.replace("DATAFRAME.parquet", "DATAFRAME"), []))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param(pl.LazyFrame({"model": ["a"]}), "LazyFrame; collect.. it first", id="lazy"),
        pytest.param({"model": ["a"]}, "not of type dict", id="dictionary"),
        pytest.param([1], "not of type int", id="number"),
        pytest.param([], "no call log given", id="nothing"),
        pytest.param(
            pd.DataFrame({"prompt": ["a", 1]}), "make a column of mixed values JSON text", id="mixed"
        ),
        pytest.param(pl.DataFrame({"a": [1]}), "DATAFRAME: no column 'model'", id="other columns"),
        pytest.param(pl.DataFrame(), "the files are empty", id="empty"),
    ],
)
def test_what_is_no_log_is_refused(wrong: Any, message: str) -> None:  # noqa: ANN401 - wrong on purpose
    with pytest.raises(CallLogError, match=message):
        pointsman.inspect(wrong)


def test_a_bad_row_of_a_data_frame_is_named_and_its_text_is_written_nowhere(tmp_path: Path) -> None:
    rows = [{"model": "a", "prompt": f"secret {n}", "cost_usd": -1.0 if n == 7 else 1.0} for n in range(30)]
    done = pointsman.import_calls(pl.DataFrame(rows), out="calls.parquet")
    assert [reject.where for reject in done.summary.rejects] == ["DATAFRAME: row 8"]
    assert [path.name for path in tmp_path.iterdir()] == ["calls.parquet"]


# What comes out


def test_the_results_are_typed_and_show_themselves(whole_log: Path, trained: pointsman.Trained) -> None:
    log = pl.read_parquet(whole_log)
    report = pointsman.inspect(log, html="log.html")
    done = pointsman.import_calls(log, out="calls.parquet")
    loaded = pointsman.Router.load(trained.out)
    comparison = pointsman.compare(loaded, log, out="report", draws=100, record=False)
    assert comparison.provenance.routers == {loaded.policy_version: loaded.policy_version}
    assert_type(report, pointsman.LogReport)
    assert_type(done, pointsman.Imported)
    assert_type(trained, pointsman.Trained)
    assert_type(comparison, pointsman.Comparison)
    results: list[tuple[Showable, str]] = [
        (report, "Can train a router: yes"),
        (done, "180 calls are in calls.parquet"),
        (trained, trained.recommendation.sentence),
        (comparison, comparison.recommendation.sentence),
    ]
    for result, sentence in results:
        page = result._repr_html_()
        assert repr(result).startswith(f"<{type(result).__name__}: {sentence}")
        assert page.index("<b>") < page.index("<table>")
        head, *rows = result.in_rows()
        assert all(len(row) == len(head) for row in rows)
        assert rows
    assert json.loads(Path("report/report.json").read_text()) == json.loads(json.dumps(comparison.to_json()))
    assert "Can train" in Path("log.html").read_text()


def test_names_of_models_are_escaped() -> None:
    rows = [{"model": "<script>alert(1)</script>", "prompt": f"{n}", "success": True} for n in range(9)]
    page = pointsman.inspect(pl.DataFrame(rows))._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_nothing_is_printed(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pointsman.inspect(log)
    pointsman.import_calls(log, out="calls.parquet")
    assert capfd.readouterr() == ("", "")


# Money


@pytest.fixture
def paid(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, trained: pointsman.Trained
) -> Mapping[str, Any]:
    """Options of a replay that the provider answers."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    own = {"api_base": provider.api_base, "api_key_env": KEY_VARIABLE, **PRICED["models"]["small"]}
    models = {name: {**own, "litellm_model": f"openai/{name}"} for name in ("small", "large")}
    rows = [{"model": "small", "prompt": f"Write haiku {n}.", "success": True} for n in range(3)]
    return {
        "log": pl.DataFrame(rows), "router": trained.out, "out": "more.jsonl", "budget": 1,
        "max_tokens": 50, "models": ["large"], "config": {"models": models},
    }  # fmt: skip


@pytest.mark.parametrize("yes", [False, None, "yes", 1])
def test_nothing_is_called_without_a_yes(paid: Mapping[str, Any], provider: Provider, yes: Any) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=r"3 calls would cost about \$.*: give yes=True to make them"):
        pointsman.replay(**paid, yes=yes)
    assert provider.requests == ()
    assert not Path("more.jsonl").exists()


def test_with_a_yes_the_calls_are_made_once(paid: Mapping[str, Any], provider: Provider) -> None:
    seen: list[object] = []
    first = pointsman.replay(**paid, yes=seen.append)
    again = pointsman.replay(**paid, yes=True)
    assert first.done is not None
    assert (first.done.answered, len(provider.requests), again.offer.cost.calls) == (3, 3, 0)
    assert seen == [first.offer]
    assert "3 of 3 calls are in more.jsonl" in repr(first)
    assert again.to_json()["answered"] == 0


def test_a_judge_needs_a_yes_too(paid: Mapping[str, Any], provider: Provider) -> None:
    answered = pl.DataFrame([{"model": "small", "prompt": "2 + 2?", "answer": "4"}])
    options: dict[str, Any] = {
        "out": "calls.parquet", "config": paid["config"], "judge": "large", "judge_budget": 1.0,
    }  # fmt: skip
    plan = pointsman.import_calls(answered, **options, dry_run=True)
    assert plan.offer is not None
    assert (plan.offer.calls, plan.to_json()["calls"], "nothing is written" in repr(plan)) == (1, 1, True)
    with pytest.raises(ConfigError, match="1 calls would cost about"):
        pointsman.import_calls(answered, **options)
    assert (provider.requests, Path("calls.parquet").exists()) == ((), False)


# Slips


@pytest.mark.parametrize(
    ("name", "slip", "meant"),
    [
        ("inspect", "formt", "format"),
        ("import", "jugde", "judge"),
        ("train", "estimater", "estimator"),
        ("compare", "polcy", "policy"),
        ("replay", "bugdet", "budget"),
    ],
)
def test_a_misspelt_option_is_named(name: str, slip: str, meant: str) -> None:
    with pytest.raises(RequestError, match=f"unknown argument '{slip}': did you mean '{meant}'"):
        FUNCTIONS[name]("calls.parquet", **{slip: "x"})


def test_an_option_of_another_name_is_a_type_error(log: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        pointsman.inspect(log, colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("compare", {"method": "guess"}, "method 'guess': it must be one of auto, exact, off-policy"),
        ("compare", {"draws": 1}, "draws 1: it must be at least 100"),
        ("compare", {"seed": -1}, "seed -1: it must be at least 0"),
        ("compare", {"monthly_requests": float("nan")}, "monthly_requests nan: it must be at least 0"),
        ("compare", {"confidence": 0.9}, "confidence belongs to a promise"),
        ("replay", {"strategy": "all"}, "strategy 'all': it must be one of informative, random"),
        ("replay", {"purpose": "win"}, "purpose 'win': it must be one of train, judge"),
        ("replay", {"budget": -1}, "budget -1: it must be at least 0"),
        ("replay", {"budget": float("nan")}, "budget nan: it must be at least 0"),
        ("replay", {"concurrency": 0}, "concurrency 0: it must be from 1 to 256"),
        ("replay", {"rate": 0}, "rate 0: it must be at least 0.1"),
        ("replay", {"most": 0}, "most 0: it must be at least 1"),
        ("replay", {"max_tokens": 0}, "max_tokens 0: it must be at least 1"),
        ("replay", {"out": "more.csv"}, "name a file ending in .jsonl"),
        ("train", {"estimator": "x"}, "estimator 'x': it must be one of"),
        ("train", {"alias": "a"}, "give --register NAME as well"),
        ("train", {"config": {"traning": {}}}, "unknown setting 'traning'"),
        ("import", {"out": "x.csv"}, "the canonical log is Parquet"),
        ("import", {"dry_run": True}, "give --judge MODEL as well"),
    ],
)
def test_a_wrong_value_is_refused_before_any_work(
    name: str, options: Mapping[str, Any], message: str
) -> None:
    needed: dict[str, dict[str, Any]] = {
        "compare": {"log": "no.parquet", "router": "no", "out": "report"},
        "replay": {"log": "no.parquet", "router": "no", "out": "more.jsonl", "budget": 1},
        "train": {"log": "no.parquet", "out": "router"},
        "import": {"log": "no.parquet", "out": "calls.parquet"},
    }
    with pytest.raises(ConfigError, match=message):
        FUNCTIONS[name](**{**needed[name], **options})


@pytest.mark.parametrize("routers", [[], ["a", "a"]])
def test_each_router_is_given_once(routers: list[str], trained: pointsman.Trained) -> None:
    with pytest.raises(ConfigError, match="router"):
        pointsman.compare([str(trained.out) for _ in routers], "no.parquet", out="report")


# One way through


COMMANDS_ALONE = {"as_json", "fail_if"}
FUNCTIONS_ALONE = {"progress", "command"}
OTHER_NAMES = {"calls": "log", "sources": "log", "format_": "format", "mapping": "map"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_options_of_its_command(name: str) -> None:
    assert commands.__all__, "importing them registers them"
    command = next(one.callback for one in app.registered_commands if one.name == name)
    assert command is not None
    options = {OTHER_NAMES.get(one, one) for one in signature(command).parameters} - COMMANDS_ALONE
    assert set(signature(FUNCTIONS[name]).parameters) - FUNCTIONS_ALONE == options


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_command_calls_its_function(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise RouterError("the function was called")

    monkeypatch.setattr(api, FUNCTIONS[name].__name__, refuse)
    options: dict[str, list[str]] = {
        "inspect": [],
        "import": ["--out", "calls.parquet"],
        "train": ["--out", "router"],
        "compare": ["--out", "report", "--router", "router"],
        "replay": ["--out", "more.jsonl", "--router", "router", "--budget", "1"],
    }
    monkeypatch.setattr(sys, "argv", ["pointsman", name, "calls.parquet", *options[name]])
    with pytest.raises(SystemExit):
        cli.main()
    assert "the function was called" in capsys.readouterr().err


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_public_name_is_the_function_itself(name: str) -> None:
    function = FUNCTIONS[name].__name__
    assert getattr(pointsman, function) is getattr(api, function)
    assert function in dir(pointsman)
    assert function not in pointsman.__all__
