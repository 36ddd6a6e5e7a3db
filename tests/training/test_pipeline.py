from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from router.errors import ArtifactError
from router.explaining.explain import explain
from router.forecasting.training_prompts import POINTS_FILE, TEXTS_FILE, TrainingPrompts
from router.loading.artifact import CASCADE_FORMAT, read_manifest
from router.records import NO_WISHES, Json, Request, prompt_key
from router.settings.sections import Config, Objective, Training
from router.version import TASKS_FOLDER, Circumstances, Version
from tests.training.logs import call, made_table, write_lines
from training import pipeline
from training.learning import material
from training.learning.router_folder import stored_prompts, write_router
from training.pipeline import Trained, TrainJob, import_log
from training.progress import Reporter
from training.prompts import task_groups
from training.prompts.from_logs import ReadOptions
from training.prompts.task_groups import infer_tasks

TOPICS = {
    "math": "sum the numbers {} and {}",
    "poem": "write a poem about the years {} and {}",
    "code": "refactor the function f{} so that it streams to g{}",
    "translate": "translate word {} of page {} into French",
}
EASY = ("math", "translate")


def synthetic_calls(
    prompts: int = 120, *, models: Sequence[str] = ("small", "large")
) -> list[dict[str, Json]]:
    """Calls of two models on every prompt: the small one fails at poems and code, the large one is dear."""
    dice = random.Random(1)
    calls = []
    for number in range(prompts):
        task = list(TOPICS)[number % 4]
        prompt = TOPICS[task].format(number, dice.randint(0, 999))
        for model in models:
            chance = 0.95 if model != "small" or task in EASY else 0.2
            usd = (0.001 if model == "small" else 0.01) * dice.uniform(0.5, 1.5)
            calls.append(
                call(prompt=prompt, model=model, task_type=task, success=dice.random() < chance, cost_usd=usd)
            )
    return calls


def reading_of(folder: Path, cache: Path, config: Config | None = None) -> ReadOptions:
    return ReadOptions(mapping={}, rejects=folder / "rejects.jsonl", config=config or Config(), cache=cache)


ONE_ESTIMATOR = Config(training=Training(estimator="success", min_calls=20))


class Trainer:
    """Trains routers in one folder, with one MLflow file."""

    def __init__(self, folder: Path, cache: Path, reporter: Reporter) -> None:
        self.folder, self.cache, self.reporter = folder, cache, reporter

    def __call__(
        self, calls: Sequence[Mapping[str, Json]], name: str, config: Config = ONE_ESTIMATOR
    ) -> Trained:
        job = TrainJob(
            sources=[write_lines(self.folder / "calls.jsonl", *map(dict, calls))],
            out=self.folder / name,
            reading=reading_of(self.folder, self.cache, config),
            tracking_uri=f"sqlite:///{self.folder / 'mlflow.db'}",
            register=None,
        )
        return pipeline.train_on_log(job, self.reporter)


@pytest.fixture(scope="module", autouse=True)
def few_columns() -> Iterator[None]:
    """Fewer columns of words: the rules below are the same, and training is six times as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "GRAM_DIMENSIONS", 32)
        yield


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory, encoder_cache: Path, quiet: Reporter) -> Trainer:
    return Trainer(tmp_path_factory.mktemp("pipeline"), encoder_cache, quiet)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow puts the artifacts of a SQLite store beside the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def small(train: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("first"))
        return train(synthetic_calls(), "first")


def test_a_trained_folder_is_a_router_that_decides(small: Trained) -> None:
    router = Version.load(small.out)
    assert router.models == ("large", "small")
    assert router.decide(Request.of("sum the numbers 4 and 5", task_type="math")).model in router.models


def test_what_is_returned_is_what_was_written(small: Trained) -> None:
    manifest = read_manifest(small.out)
    assert manifest["policy_version"] == small.manifest["policy_version"] == small.to_json()["policy_version"]


def test_the_result_is_plain_json(small: Trained) -> None:
    assert json.loads(json.dumps(small.to_json()))["models"] == ["large", "small"]


def test_a_second_training_embeds_nothing_and_gives_the_same_router(small: Trained, train: Trainer) -> None:
    again = train(synthetic_calls(), "again")
    assert again.embedded == 0
    assert again.manifest["policy_version"] == small.manifest["policy_version"]
    files = [file.relative_to(small.out) for file in small.out.rglob("*") if file.name != "manifest.json"]
    for name in filter(lambda file: (small.out / file).is_file(), files):
        assert (small.out / name).read_bytes() == (again.out / name).read_bytes(), name


def test_the_order_of_the_log_does_not_matter(small: Trained, train: Trainer) -> None:
    shuffled = random.Random(3).sample(synthetic_calls(), 240)
    arrays = [
        (trained.out / "head.safetensors").read_bytes() for trained in (small, train(shuffled, "shuffled"))
    ]
    assert arrays[0] == arrays[1]


def test_the_router_remembers_the_prompts_it_was_fitted_on(small: Trained) -> None:
    split = small.manifest["split"]
    assert len(Version.load(small.out).training_keys()) == split["train"] + split["validation"]


def test_no_prompt_text_is_in_the_router(small: Trained) -> None:
    written = b"".join(file.read_bytes() for file in small.out.rglob("*") if file.is_file())
    assert b"sum the numbers" not in written


def stored(trained: Trained) -> TrainingPrompts:
    stored = TrainingPrompts.load(trained.out, trained.manifest["files"])
    assert stored is not None
    return stored


def test_the_stored_prompts_are_those_of_the_neighbour_store_in_its_order(small: Trained) -> None:
    version, prompts = Version.load(small.out), stored(small)
    assert len(prompts.keys) == len(version.head.store.points)
    assert set(prompts.keys.tolist()) == version.training_keys()
    np.testing.assert_array_equal(np.isfinite(prompts.outcomes), version.head.store.seen[:, 1:] == 1.0)


def test_a_training_prompts_nearest_neighbour_is_itself_with_its_outcomes(small: Trained) -> None:
    version, prompts = Version.load(small.out), stored(small)
    places = {key: place for place, key in enumerate(prompts.keys.tolist())}
    for one in synthetic_calls()[::32]:
        request = Request.of(one["prompt"], task_type=one["task_type"])
        key = prompt_key(request.messages)[:16]
        if (place := places.get(int(key, 16))) is None:
            continue
        nearest = (explain(version, request).neighbours or ())[0]
        assert nearest.key == key
        assert nearest.cosine == pytest.approx(1.0, abs=1e-4)
        assert list(nearest.outcomes.values()) == prompts.outcomes[place].tolist()
        assert nearest.text is None


def test_no_text_is_kept_unless_the_settings_say_so(small: Trained) -> None:
    assert not (small.out / TEXTS_FILE).exists()
    assert POINTS_FILE in small.manifest["files"]


def test_with_keep_text_the_start_of_each_stored_prompt_is_in_the_router(train: Trainer) -> None:
    settings = ONE_ESTIMATOR.training.model_copy(update={"keep_text": True})
    trained = train(synthetic_calls(), "texts", Config(training=settings))
    prompts = stored(trained)
    texts = {prompt_key(Request.of(one["prompt"]).messages)[:16]: one["prompt"] for one in synthetic_calls()}
    assert prompts.texts == [texts[f"{key:016x}"] for key in prompts.keys.tolist()]


def turns(*messages: tuple[str, Json]) -> Request:
    return Request.of([{"role": role, "content": content} for role, content in messages])


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        pytest.param(
            turns(("user", "a"), ("assistant", "b"), ("user", "c"), ("tool", "d")), "c", id="last user turn"
        ),
        pytest.param(turns(("system", "a"), ("assistant", "b")), "b", id="without a user's, the last"),
        pytest.param(turns(("user", "x" * 500)), "x" * 200, id="its start"),
        pytest.param(turns(("user", None)), "", id="no text"),
        pytest.param(
            turns(("user", [{"type": "text", "text": "a"}, {"type": "image_url"}])), "a", id="parts"
        ),
        pytest.param(turns(("user", "a\ud800b")), "a\ufffdb", id="text that can be written"),
    ],
)
def test_a_prompts_text_is_the_start_of_its_last_user_turn(request_: Request, text: str) -> None:
    table = replace(made_table([[1.0]], [[0.1]]), requests=[request_])
    assert stored_prompts(table, keep_text=True).texts == [text]


def test_nothing_in_the_router_is_pickled(small: Trained) -> None:
    endings = {file.suffix for file in small.out.rglob("*") if file.is_file()}
    assert endings == {".json", ".safetensors", ".onnx"}


def test_import_writes_the_canonical_log(tmp_path: Path, quiet: Reporter, encoder_cache: Path) -> None:
    source = write_lines(tmp_path / "calls.jsonl", *synthetic_calls(10))
    summary = import_log([source], tmp_path / "calls.parquet", reading_of(tmp_path, encoder_cache), quiet)
    again = import_log(
        [str(tmp_path / "calls.parquet")],
        tmp_path / "copy.parquet",
        reading_of(tmp_path, encoder_cache),
        quiet,
    )
    assert (summary.calls, again.calls) == (20, 20)
    assert (tmp_path / "calls.parquet").read_bytes() == (tmp_path / "copy.parquet").read_bytes()


def write(small: Trained, out: Path) -> dict[str, Json]:
    """Write the small router's folder once more, elsewhere."""
    manifest = {name: small.manifest[name] for name in small.manifest if name not in SEALED}
    neighbours = TrainingPrompts(
        keys=np.array([5], dtype=np.uint64), outcomes=np.ones((1, 2), np.float32), texts=None
    )
    return write_router(out, manifest, small.fitted, small.out / "encoder", ["ab" * 16], neighbours)


SEALED = ("format", "format_version", "files", "policy_version", "sha256")


def test_a_foreign_folder_is_left_alone(small: Trained, tmp_path: Path) -> None:
    thesis = tmp_path / "mine" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work", encoding="utf-8")
    with pytest.raises(ArtifactError, match="mine exists and is no router folder: choose another --out"):
        write(small, thesis.parent)
    assert thesis.read_text(encoding="utf-8") == "years of work"


def test_a_router_is_replaced_by_the_next(small: Trained, tmp_path: Path) -> None:
    write(small, tmp_path / "router")
    (tmp_path / "router" / "stale.json").write_text("{}", encoding="utf-8")
    write(small, tmp_path / "router")
    assert Version.load(tmp_path / "router").training_keys() == {int("ab" * 8, 16)}
    assert not (tmp_path / "router" / "stale.json").exists()


def test_a_sampled_log_and_filled_in_outcomes_are_told(train: Trainer) -> None:
    config = Config(training=Training(estimator="success", min_calls=20, max_prompts=100))
    calls = [one for number, one in enumerate(synthetic_calls()) if number % 2 == (number // 2) % 2]
    warnings = train(calls, "sampled", config).warnings
    assert "120 prompts in the log, a uniform sample of 100 was used (training.max_prompts)" in warnings
    assert any("are unknown and filled in with the predicted" in sentence for sentence in warnings)


def test_the_price_of_caution_is_told(train: Trainer) -> None:
    config = Config(training=Training(estimator="success", min_calls=20), objective=Objective(caution=1))
    (sentence,) = (one for one in train(synthetic_calls(), "cautious", config).warnings if "caution" in one)
    assert re.fullmatch(
        r"objective\.caution 1: [\d.]+ % success at \$\S+ per 1,000 calls; without it .*", sentence
    )


def test_a_router_puts_prompts_into_the_groups_that_its_log_has(
    tmp_path: Path, encoder_cache: Path, quiet: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_groups, "MOST_FRAMES", 2)
    monkeypatch.setattr(task_groups, "LEAST_CLUSTERED", 40)
    source = write_lines(tmp_path / "log.jsonl", *({**one, "task_type": None} for one in synthetic_calls()))
    reading, log = reading_of(tmp_path, encoder_cache, ONE_ESTIMATOR), tmp_path / "calls.parquet"
    import_log([source], log, reading, quiet)
    tasks = infer_tasks(log, reading, quiet, seed=0)
    job = TrainJob(
        sources=[str(log)],
        out=tmp_path / "router",
        reading=reading,
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        register=None,
    )
    router = Version.load(pipeline.train_on_log(job, quiet).out)
    rows = pq.read_table(log, columns=["prompt", "task_type"]).to_pylist()
    cases = (router.case(Request.of(row["prompt"]), NO_WISHES, Circumstances()) for row in rows[:20])
    assert all(router.typed(Request.of(row["prompt"])).task_type == row["task_type"] for row in rows)
    assert (len(tasks.calls), tasks.untyped) == (4, 0)
    assert {case.request.task_type for case in cases} <= set(tasks.calls) == set(router.spec.task_types)
    assert f"{TASKS_FOLDER}/groups.json" in router.manifest["files"]


def test_a_router_of_a_log_without_groups_leaves_a_request_as_it_is(small: Trained) -> None:
    router, request = Version.load(small.out), Request.of("sum the numbers 4 and 5")
    assert router.task_groups is None
    assert router.case(request, NO_WISHES, Circumstances()).request is request


def test_two_efforts_of_one_model_are_two_actions_that_the_router_chooses_among(train: Trainer) -> None:
    efforts = {"small": "low", "large": "high"}
    calls = [{**one, "model": "thinker", "effort": efforts[one["model"]]} for one in synthetic_calls()]
    trained = train(calls, "efforts")
    assert trained.manifest["models"] == ["thinker@high", "thinker@low"]
    assert trained.manifest["actions"]["thinker@low"] == {"model": "thinker", "effort": "low"}
    router = Version.load(trained.out)
    costs = router.decide(Request.of("sum the numbers 1 and 2")).expected_cost_usd
    assert costs["thinker@high"] > 3 * costs["thinker@low"]
    pinned = Request.of("write a poem", parameters={"reasoning_effort": "low"})
    assert router.decide(pinned).model == "thinker@low"


def test_a_cascade_that_pays_is_learnt_and_stored_and_a_setting_serves_it(train: Trainer) -> None:
    dice = random.Random(2)
    calls = []
    for number in range(400):
        for model, good, usd in (("small", 0.75, 0.001), ("large", 0.97, 0.003)):
            success = dice.random() < good
            calls.append(
                call(
                    prompt=f"extract the fields of form {number}",
                    model=model,
                    answer='{"form": 1}' if success else '{"form": ',
                    response_format={"type": "json_object"},
                    task_type="extraction",
                    success=success,
                    cost_usd=usd,
                )
            )
    asking = Training(estimator="success", encoder="static", cascade="auto")
    objective = Objective(kind="budget", usd_per_call=0.0015)
    trained = train(calls, "cascading", Config(training=asking, objective=objective))
    assert trained.manifest["format_version"] == CASCADE_FORMAT
    assert any(sentence.startswith("training.cascade: extraction will gain") for sentence in trained.warnings)
    version = Version.load(trained.out, Config(cascade="auto"))
    request = Request.of("extract", response_format={"type": "json_object"}, task_type="extraction")
    decision = replace(version.decide(request), source="learned")
    assert version.branch(request, decision) is not None
    assert Version.load(trained.out, Config()).branch(request, decision) is None


def test_without_a_test_part_training_says_that_nothing_is_held_out(train: Trainer) -> None:
    config = Config(training=Training(estimator="success", min_calls=20, test_share=0.0))
    result = train(synthetic_calls(60), "untested", config)
    assert "test" not in result.manifest["metrics"]
    assert result.recommendation.code == "cannot_tell"
    assert "(training.test_share is 0)" in result.recommendation.sentence
