"""What `pointsman` says to input that is wrong, odd or huge: one clear line, or the right result."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from router import cli
from router.records import Json
from router.serving.client import Router
from tests.conftest import LITELLMS_OWN_PRICES
from tests.training.logs import call, write_lines
from tests.training.test_pipeline import synthetic_calls
from training.learning import material

Command = Callable[..., "Said"]
FAST = "training:\n  estimator: success\n  min_calls: 20\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Json]:
        """The JSON of a command that went well."""
        assert self.code == 0, self.err
        return dict(json.loads(self.out))

    @property
    def error(self) -> str:
        """The one line of a command that failed."""
        assert (self.code, self.out) == (1, ""), self
        assert self.err.startswith("error: ")
        assert "Traceback" not in self.err
        return self.err.removeprefix("error: ").rstrip("\n")


@pytest.fixture(scope="module", autouse=True)
def few_columns() -> Iterator[None]:
    """Fewer columns of words: the rules below are the same, and training is six times as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "GRAM_DIMENSIONS", 32)
        yield


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def pointsman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["pointsman", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit, match=r"\d|None|^$") as ended:
            cli.main()
        said = capsys.readouterr()
        return Said(code=int(ended.value.code or 0), out=said.out, err=said.err)

    return run


@pytest.fixture
def train(pointsman: Command, encoder_cache: Path, tracking: str, tmp_path: Path) -> Command:
    """Trains on calls, or on files, with one estimator and few calls needed unless told otherwise."""

    def run(
        *sources: object, calls: Sequence[Mapping[str, Json]] = (), config: str = FAST, **options: object
    ) -> Said:
        (tmp_path / "pointsman.yaml").write_text(config, encoding="utf-8")
        logs = [*sources, *([write_lines(tmp_path / "calls.jsonl", *map(dict, calls))] if calls else [])]
        given = {
            "out": "router",
            "cache": encoder_cache,
            "tracking-uri": tracking,
            "config": "pointsman.yaml",
        }
        words = [word for name, value in (given | options).items() for word in (f"--{name}", value)]
        return pointsman("train", *logs, *words, "--json")

    return run


def changed(
    change: Callable[[dict[str, Json]], Mapping[str, Json]], prompts: int = 120
) -> list[dict[str, Json]]:
    """The synthetic calls with some fields other."""
    return [{**one, **change(one)} for one in synthetic_calls(prompts)]


def without(*fields: str) -> list[dict[str, Json]]:
    return [{name: value for name, value in one.items() if name not in fields} for one in synthetic_calls()]


# Logs that can't train a router


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("empty.jsonl", b"", id="no bytes"),
        pytest.param("blank.jsonl", b"\n\n  \n", id="blank lines"),
        pytest.param("empty.csv", b"", id="CSV without header"),
        pytest.param("header.csv", b"prompt,model,success\n", id="CSV with header only"),
        pytest.param("empty.parquet", b"", id="Parquet"),
        pytest.param("empty.jsonl.gz", gzip.compress(b""), id="gzip"),
    ],
)
def test_an_empty_file_is_named(train: Command, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    said = train(name).error
    assert name in said
    assert "empty" in said


def test_a_file_that_is_not_there_is_named(train: Command) -> None:
    assert train("nowhere.jsonl").error.startswith("nowhere.jsonl: no such file")


def test_a_parquet_file_cut_in_half_is_named(train: Command, tmp_path: Path, sample_log: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(sample_log.read_bytes()[: sample_log.stat().st_size // 2])
    said = train("cut.parquet").error
    assert said.startswith("cut.parquet: can't be read as parquet")
    assert said.count("\n") == 0


def test_a_log_with_one_model_is_told_what_it_lacks(train: Command) -> None:
    said = train(calls=synthetic_calls(models=["small"])).error
    assert "at least two models with 20 calls" in said
    assert "the log has small: 120" in said


def test_a_log_without_outcomes_is_told_what_it_lacks(train: Command) -> None:
    said = train(calls=changed(lambda one: {"success": None})).error
    assert said.startswith("no call of the log has a known outcome")
    assert "--map success=COLUMN" in said


def test_a_log_without_a_success_column_is_told_the_same(train: Command) -> None:
    assert "--map success=COLUMN" in train(calls=without("success")).error


def test_a_tiny_log_is_told_how_much_is_needed(train: Command) -> None:
    said = train(calls=synthetic_calls(40)).error
    assert said == "40 prompts have a known outcome, at least 50 are needed: log more calls"


def test_a_log_that_is_one_session_is_told_so(train: Command) -> None:
    said = train(calls=changed(lambda one: {"session_id": "s1"})).error
    assert "1 groups can't be split" in said
    assert "session_id" in said


@pytest.mark.parametrize("sessions", [pytest.param(3, id="three"), pytest.param(4, id="four")])
def test_a_log_of_a_few_sessions_trains_or_is_told_why_not(train: Command, sessions: int) -> None:
    said = train(calls=changed(lambda one: {"session_id": f"s{hash_of(one) % sessions}"}))
    assert said.code == 0 or "session_id" in said.error


def hash_of(one: Mapping[str, Json]) -> int:
    return sum(one["prompt"].encode())


@pytest.mark.parametrize("command", ["import", "train"])
def test_too_many_bad_rows_stop_the_command_and_are_quoted(
    pointsman: Command, tmp_path: Path, command: str
) -> None:
    log = write_lines(tmp_path / "calls.jsonl", *synthetic_calls(20), *[b"{not json"] * 10)
    said = pointsman(command, log, "--out", "out.parquet")
    assert said.code == 1
    assert "10 of 50 rows can't be read (20.0 %; at most 5 % may be bad)" in said.err
    assert "calls.jsonl:41" in said.err
    assert (tmp_path / "out.rejects.jsonl").read_bytes().count(b"\n") == 10


# Logs that lack something, or hold odd things, and train all the same


def test_a_model_that_never_succeeds_is_told_and_hardly_ever_chosen(train: Command) -> None:
    result = train(calls=changed(lambda one: {"success": one["model"] == "large" and one["success"]})).result
    assert "small never succeeded" in result["warnings"]
    decision = Router.load("router").route("sum the numbers 1 and 2")
    assert decision.model == "large"
    assert decision.success_probability["small"] < 0.2


def test_a_log_without_costs_trains_a_router_that_says_they_are_unknown(
    train: Command, pointsman: Command
) -> None:
    result = train(calls=without("cost_usd")).result
    unknown = "no price in the log, the settings or LiteLLM's list; its cost counts as the dearest known"
    assert {f"large: {unknown}", f"small: {unknown}"} <= set(result["warnings"])
    Path("request.jsonl").write_text('{"prompt": "sum 3 and 4"}\n', encoding="utf-8")
    decision = pointsman("route", "--router", "router", "request.jsonl").result
    assert decision["expected_cost_usd"] == {"large": None, "small": None}
    assert "nan" not in decision["reason"]


def test_prices_from_the_settings_and_litellms_list_stand_in_for_costs(train: Command) -> None:
    price = "{price: {input_usd_per_million: 0.1, output_usd_per_million: 0.2}}"
    calls = [
        {
            **one,
            "model": {"large": "gpt-4o", "small": "small"}[one["model"]],
            "input_tokens": 20,
            "output_tokens": 90,
        }
        for one in without("cost_usd")
    ]
    result = train(calls=calls, config=f"models: {{small: {price}}}\n{FAST}").result
    assert not [said for said in result["warnings"] if "no price" in said]
    costs = Router.load("router").route("sum 3 and 4").expected_cost_usd
    assert 0 < costs["small"] < costs["gpt-4o"]


ODD = {
    "200,000 characters": "count the words " * 12_500,
    "one character": "?",
    "Chinese": "请把这段话翻译成英文。铁路道岔决定列车的去向。",
    "NUL": "a\x00b\x00",
    "only white space": " \t ",
}


def test_odd_prompts_train_and_are_routed(train: Command, pointsman: Command) -> None:
    odd = [
        call(prompt=prompt, model=model, success=True, cost_usd=0.001)
        for prompt in ODD.values()
        for model in ("small", "large")
    ]
    surrogate = [
        b'{"prompt": "a lone \\ud800 surrogate", "model": "%s", "success": true}' % model
        for model in (b"small", b"large")
    ]
    log = write_lines(Path("odd.jsonl"), *odd, *surrogate, *synthetic_calls())
    result = train(log).result
    assert result["reading"]["rejects"] == []
    assert result["reading"]["set_apart"] == {"prompt without text, image or tool call": 2}
    assert result["data"]["prompts"] == 120 + len(ODD)
    lines = [json.dumps({"prompt": prompt}).encode() for prompt in ODD.values()]
    write_lines(Path("requests.jsonl"), *lines, b'{"prompt": "a lone \\ud800 surrogate"}')
    said = pointsman("route", "--router", "router", "requests.jsonl")
    assert said.code == 0
    assert [json.loads(line)["model"] in ("small", "large") for line in said.out.splitlines()] == [True] * 6


def test_a_call_that_is_logged_twice_counts_once(train: Command) -> None:
    calls = [{**one, "call_id": str(number)} for number, one in enumerate(synthetic_calls())]
    result = train(calls=[*calls, *calls[:50]]).result
    assert (result["reading"]["duplicates"], result["data"]["calls"]) == (50, 240)


def test_a_log_of_sixty_prompts_trains(train: Command) -> None:
    assert train(calls=synthetic_calls(60)).result["models"] == ["large", "small"]


def test_a_log_of_more_prompts_than_wanted_is_sampled_and_that_is_told(train: Command) -> None:
    result = train(calls=synthetic_calls(), config=FAST + "  max_prompts: 100\n").result
    assert (
        "120 prompts in the log, a uniform sample of 100 was used (training.max_prompts)"
        in result["warnings"]
    )


def test_a_model_with_too_few_calls_is_left_out_and_that_is_told(train: Command) -> None:
    rare = [{**one, "model": "rare"} for one in synthetic_calls(19, models=["large"])]
    result = train(calls=[*synthetic_calls(), *rare]).result
    assert result["models"] == ["large", "small"]
    assert (
        "rare is left out: 19 calls with a known outcome, 20 needed (training.min_calls)"
        in result["warnings"]
    )


# Places that can't be written, settings that don't fit


@pytest.mark.parametrize(
    ("out", "words"),
    [
        pytest.param("file/router", "can't be written", id="under a file"),
        pytest.param("/proc/router", "can't be written", id="where nobody may write"),
        pytest.param("thesis", "exists and is no router folder: choose another --out", id="a foreign folder"),
        pytest.param("file", "exists and is no router folder: choose another --out", id="a file"),
    ],
)
def test_an_out_that_can_not_be_written_is_refused_and_left_alone(
    train: Command, tmp_path: Path, out: str, words: str
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine", encoding="utf-8")
    said = train(calls=synthetic_calls(60), out=out).error
    assert said.startswith(out)
    assert words in said
    assert (tmp_path / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param("trainning: {}\n", "pointsman.yaml:1: unknown setting 'trainning'", id="unknown key"),
        pytest.param(
            "training:\n  min_calls: lots\n", "pointsman.yaml:2: training.min_calls", id="wrong type"
        ),
        pytest.param("rules: [", "pointsman.yaml:1: not valid YAML", id="not YAML"),
        pytest.param(
            "rules: {default: gpt-9}\n", "rules name 'gpt-9', which this router", id="unknown model"
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(train: Command, config: str, words: str) -> None:
    assert words in train(calls=synthetic_calls(60), config=config).error


# Routers that can't be used


@pytest.fixture(scope="module")
def small_router(tmp_path_factory: pytest.TempPathFactory, encoder_cache: Path, tracking: str) -> Path:
    """A router of two models, `small` and `large`."""
    folder = tmp_path_factory.mktemp("small")
    log = write_lines(folder / "calls.jsonl", *synthetic_calls())
    words = ["--cache", str(encoder_cache), "--tracking-uri", tracking, "--estimator", "success", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["pointsman", "train", log, "--out", "router", *words])
        with pytest.raises(SystemExit, match=r"0|None|^$"):
            cli.main()
    return folder / "router"


@pytest.mark.parametrize(
    "name",
    [
        "head.safetensors",
        "neighbours.safetensors",
        "training_keys.safetensors",
        "encoder/encoder.onnx",
        "encoder/tokenizer.json",
    ],
)
def test_an_artifact_with_one_byte_changed_is_refused(
    pointsman: Command, small_router: Path, tmp_path: Path, name: str
) -> None:
    copy = shutil.copytree(small_router, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    said = pointsman("route", "--router", copy, os.devnull).error
    assert said.startswith(f"{copy / name}: sha256 is")
    assert "it was changed or cut; train or fetch the router again" in said


def test_a_manifest_with_one_byte_changed_is_refused(
    pointsman: Command, small_router: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(small_router, tmp_path / "copy")
    manifest = (copy / "manifest.json").read_text(encoding="utf-8").replace('"small"', '"smell"', 1)
    (copy / "manifest.json").write_text(manifest, encoding="utf-8")
    said = pointsman("route", "--router", copy, os.devnull).error
    assert said == f"{copy / 'manifest.json'}: changed since it was written; train or fetch it again"


@pytest.mark.parametrize("command", ["route", "compare"])
def test_settings_that_name_a_model_the_router_lacks_are_refused(
    pointsman: Command, small_router: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "other.yaml").write_text("rules: {task_types: {math: gpt-9}}\n", encoding="utf-8")
    words = [os.devnull] if command == "route" else [os.devnull, "--out", "report"]
    said = pointsman(command, "--router", small_router, "--config", "other.yaml", *words).error
    assert said.startswith("rules name 'gpt-9', which this router does not know; its models are large, small")


def test_settings_for_a_model_that_the_router_lacks_are_fine(
    pointsman: Command, small_router: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.yaml").write_text("models: {gpt-9: {local: true}}\n", encoding="utf-8")
    assert pointsman("route", "--router", small_router, "--config", "other.yaml", os.devnull).code == 0


@pytest.mark.parametrize(
    ("where", "words"),
    [
        pytest.param(
            "nowhere", "nowhere: no such folder; `pointsman train CALLS --out nowhere`", id="missing"
        ),
        pytest.param(".", "no manifest.json in it, so it is no pointsman router", id="foreign"),
    ],
)
def test_a_folder_that_is_no_router_is_refused(pointsman: Command, where: str, words: str) -> None:
    assert words in pointsman("route", "--router", where, os.devnull).error


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        pytest.param(synthetic_calls(4), "4 prompts, 4 seen in training", id="all seen in training"),
        pytest.param(
            [call(prompt="new", model="small", success=True)],
            "1 session or prompt can't be judged off-policy; give more of the log",
            id="one call",
        ),
    ],
)
def test_calls_that_no_router_can_be_judged_on_are_refused_with_the_reason(
    pointsman: Command, small_router: Path, calls: list[dict[str, Json]], words: str
) -> None:
    log = write_lines(Path("some.jsonl"), *calls)
    said = pointsman("compare", log, "--router", small_router, "--out", "report").error
    assert words in said
    assert not Path("report").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--fail-if", "cost > "], "write PATH OPERATOR NUMBER", id="gate"),
        pytest.param(["--fail-if", "nosuch.value > 1"], "nosuch", id="gate on no key"),
        pytest.param(["--policy", "mine"], "write NAME=module:function or NAME=choices", id="policy"),
        pytest.param(["--policy", "mine=gone.jsonl"], "gone.jsonl can't be read", id="policy's file"),
        pytest.param(["--today", "rumour"], "no policy is named 'rumour'; --today takes one of", id="today"),
        pytest.param(["--router", "$router"], "is given twice", id="router twice"),
        pytest.param(["--max-quality-loss", "2"], "--max-quality-loss: input should be less", id="promise"),
        pytest.param(["--confidence", "0.9"], "give --max-quality-loss as well", id="confidence alone"),
    ],
)
def test_what_a_comparison_can_t_do_is_refused_in_one_line(
    pointsman: Command, small_router: Path, options: list[str], words: str
) -> None:
    models = ("large", "small")
    calls = [
        call(prompt=f"new {n}", model=model, success=n % 2 == 0, cost_usd=1.0)
        for n in range(9)
        for model in models
    ]
    log = write_lines(Path("some.jsonl"), *calls)
    given = [option.replace("$router", str(small_router)) for option in options]
    said = pointsman("compare", log, "--router", small_router, "--out", "report", "--no-record", *given).error
    assert words in said
    assert not Path("report").exists()


BLOCKER = """
import os, socket

def note(where):
    with open(os.environ["ATTEMPTS"], "a", encoding="utf-8") as file:
        file.write(f"{where}\\n")
    raise OSError(101, "Network is unreachable")

def guarded(real):
    def connect(self, address):
        near = self.family == socket.AF_UNIX or str(address[0]).startswith(("127.", "::1", "localhost"))
        return real(self, address) if near else note(address)
    return connect

def look_up(host, *rest, **more):
    near = host in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname())
    return real_look_up(host, *rest, **more) if near else note(host)

real_look_up = socket.getaddrinfo
socket.getaddrinfo = look_up
socket.socket.connect = guarded(socket.socket.connect)
socket.socket.connect_ex = guarded(socket.socket.connect_ex)
"""


def test_training_and_routing_ask_nothing_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER, encoding="utf-8")
    log = write_lines(tmp_path / "calls.jsonl", *synthetic_calls(60))
    (tmp_path / "pointsman.yaml").write_text(FAST, encoding="utf-8")
    ours = ("HF_HUB_OFFLINE", "HF_HOME", LITELLMS_OWN_PRICES)
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    settings = kept | {
        "PYTHONPATH": str(tmp_path),
        "ATTEMPTS": str(tmp_path / "attempts.txt"),
        "HF_HOME": str(tmp_path / "hub"),
    }
    words = ["--out", "router", "--config", "pointsman.yaml", "--cache", "cache", "--json"]
    command = [str(Path(sys.executable).with_name("pointsman")), "train", log, *words]
    done = subprocess.run(command, env=settings, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "attempts.txt").exists()
    assert json.loads(done.stdout)["embedded"] == 60
