from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.router import Router as LiteLLMRouter
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from router import Router
from router.errors import CallFailed, NoModelAllowed
from router.litellm_plugin import attach
from router.records import Json
from router.serving.metrics import INSTRUMENTS, Instrument
from tests.services.otlp import Receiver, attributes
from tests.services.ports import held_port
from tests.services.provider import KEY, Provider, answer, server_error, tokens
from tests.services.waiting import wait_until_async

SECRET = "the patient's name is Ada"
QUESTION: Json = [{"role": "user", "content": SECRET}]
MODELS = ("small", "large")
PRICE = {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("POINTSMAN_METRICS_KEY", KEY)
    with Provider() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as port:
        yield port


def settings(provider: Provider, metrics: Json, **more: Json) -> dict[str, Any]:
    """A router of rules: `large` by default, `small` for the task type "support"."""
    reach = {"api_base": provider.api_base, "api_key_env": "POINTSMAN_METRICS_KEY", "price": PRICE}
    models = {name: {**reach, "litellm_model": f"openai/{name}"} for name in MODELS}
    rules = {"default": "large", "task_types": {"support": "small"}}
    calls = {"retries": 0, "cool_down": {"failures": 1, "seconds": 60.0}}
    return {"models": models, "rules": rules, "calls": calls, "metrics": metrics, **more}


def loaded(folder: Path, provider: Provider, metrics: Json, **more: Json) -> Router:
    import yaml

    path = folder / "pointsman.yaml"
    path.write_text(yaml.safe_dump(settings(provider, metrics, **more)), encoding="utf-8")
    return Router.load(path, log=folder / "calls.db")


ABSENT = {"pointsman.version.refused", "pointsman.cost.unknown"}
"""Only a router that follows an alias has the first, and only a model without a price the second."""
ABSENT |= {name for name in INSTRUMENTS if name.startswith("pointsman.budget.")}


def scraped(port: int) -> list[Sample]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        text = page.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(port: int, name: str, **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(
        one.value for one in scraped(port) if one.name == name and labels.items() <= one.labels.items()
    )


def prometheus_names(name: str, one: Instrument) -> set[str]:
    """What a metric's samples are called in Prometheus."""
    unit = "_seconds" if one.unit == "s" else ""
    base = name.replace(".", "_") + unit
    if one.kind == "histogram":
        return {f"{base}_{part}" for part in ("bucket", "count", "sum")}
    return {f"{base}_total" if one.kind in {"counter", "read_counter"} else base}


@pytest.fixture
def served(tmp_path: Path, provider: Provider, port: int) -> Iterator[int]:
    """The page after an answer of the small model, a fallback, a refusal, and a call that all models fail."""
    provider.script("small", answer("Four.", usage=tokens(100, 10)))
    provider.script("large", server_error())
    with loaded(tmp_path, provider, {"prometheus_port": port}) as router:
        router.completion(messages=QUESTION, task_type="support")
        router.completion(messages=QUESTION)
        with pytest.raises(NoModelAllowed):
            router.route(SECRET, deny=MODELS)
        with pytest.raises(CallFailed):
            router.completion(messages=QUESTION, model="large")
        assert router.log is not None
        router.log.flush()
        yield port


def test_a_page_tells_prometheus_what_happened(served: int) -> None:
    assert value(served, "pointsman_decisions_total", model="large", source="rule", task_type="none") == 1
    assert value(served, "pointsman_decisions_total", model="small", task_type="support") == 1
    assert value(served, "pointsman_decision_duration_seconds_count") == 3
    assert value(served, "pointsman_refusals_total", reason="NoModelAllowed") == 1
    assert value(served, "pointsman_calls_total", model="small", source="rule", outcome="answered") == 1
    assert value(served, "pointsman_calls_total", model="small", source="fallback") == 1
    assert value(served, "pointsman_calls_total", model="large", outcome="server") == 2
    assert value(served, "pointsman_fallbacks_total", model="small", reason="server") == 1
    assert value(served, "pointsman_cost_usd_total", model="small") == pytest.approx(2 * 200e-6)
    assert value(served, "pointsman_compared_usd_total") == pytest.approx(2 * 200e-6)
    assert value(served, "pointsman_baseline_usd_total") > 0
    assert value(served, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 200
    assert value(served, "gen_ai_client_operation_duration_seconds_count", error_type="server") == 2
    assert value(served, "pointsman_log_rows_total", state="written") == 4
    assert value(served, "pointsman_model_degraded", model="large") == 1
    assert value(served, "pointsman_model_degraded", model="small") == 0
    assert value(served, "pointsman_model_degraded_time_seconds_total", model="large") > 0
    assert value(served, "pointsman_version_in_force", version="rules") == 1


def test_every_metric_has_the_name_and_the_labels_of_the_table(served: int) -> None:
    samples = scraped(served)
    shown = {
        name
        for name, one in INSTRUMENTS.items()
        if name not in {"pointsman.version.refused", "pointsman.cost.unknown"}
        and not name.startswith("pointsman.budget")
    }
    for name in shown:
        one = INSTRUMENTS[name]
        names = prometheus_names(name, one)
        own = [sample for sample in samples if sample.name in names]
        assert {sample.name for sample in own} == names
        assert {frozenset(sample.labels) - {"le"} for sample in own} == {frozenset(one.labels)}, name
    documented = {name for key, one in INSTRUMENTS.items() for name in prometheus_names(key, one)}
    others = {one.name for one in samples if not one.name.endswith("_created")} - {"target_info"}
    assert others <= documented


ROOT = Path(__file__).parents[3]
BOARD = ROOT / "docs/grafana/pointsman.json"
QUERIES = [target["expr"] for panel in json.loads(BOARD.read_text())["panels"] for target in panel["targets"]]
ALERTS = re.findall(r"\| `([^`]*pointsman_[^`]*)`", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"))
EXPOSED = {name: one for key, one in INSTRUMENTS.items() for name in prometheus_names(key, one)}
BY = re.compile(r"by \(([^)]*)\)")
FUNCTIONS = {"sum", "avg", "max", "count", "by", "rate", "increase", "histogram_quantile", "le"}
FUNCTIONS |= {"min_over_time", "avg_over_time"}


def test_the_page_has_alerts() -> None:
    assert len(ALERTS) >= 10


@pytest.mark.parametrize("query", [*QUERIES, *ALERTS])
def test_the_board_and_the_alerts_query_what_goes_out_by_the_labels_it_has(query: str) -> None:
    filtered = set(re.findall(r"(\w+)\s*=~?|(\w+)\s*!", query.replace("==", "")))
    labels = {name.strip() for group in BY.findall(query) for name in group.split(",")}
    labels |= {name for pair in filtered for name in pair if name}
    bare = re.sub(r"\"[^\"]*\"|\[[^]]*\]", "", BY.sub("", query))
    words = set(re.findall(r"[a-z_]{2,}", bare)) - FUNCTIONS - labels
    assert words, "a query names a metric"
    assert words <= EXPOSED.keys()
    for word in words:
        assert labels <= {*EXPOSED[word].labels, "le"}, word


def test_the_page_of_the_metrics_lists_each_with_its_unit_and_labels() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    for key, one in INSTRUMENTS.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| `{key}` |"))
        assert all(f"`{label}`" in line for label in one.labels), key
        assert f"| {one.unit.strip('{}')} |" in line, key


def test_the_board_shows_every_metric() -> None:
    whole = " ".join(QUERIES)
    unseen = {
        key for key, one in INSTRUMENTS.items() if not any(n in whole for n in prometheus_names(key, one))
    }
    assert unseen <= {"pointsman.version.refused"}


def test_nothing_of_a_prompt_goes_out(
    served: int, tmp_path: Path, provider: Provider, receiver: Receiver
) -> None:
    assert not [one for one in scraped(served) if SECRET in str(one)]
    with loaded(tmp_path, provider, {"opentelemetry": receiver.address}) as router:
        router.completion(messages=QUESTION, tags=[SECRET], task_type=SECRET, session_id=SECRET)
    assert receiver.bodies
    assert not [path for path, body in receiver.bodies if SECRET.encode() in body or KEY.encode() in body]


def test_a_receiver_gets_a_span_for_each_decision_and_call(
    tmp_path: Path, provider: Provider, receiver: Receiver
) -> None:
    provider.script("large", server_error())
    provider.script("small", answer("Four.", usage=tokens(100, 10, cached=8)))
    with loaded(tmp_path, provider, {"opentelemetry": receiver.address}) as router:
        reply = router.completion(messages=QUESTION)
    spans = {span.name: span for span in receiver.spans}
    assert list(spans) == ["pointsman.decide", "chat large", "chat small"]
    decided, failed, answered = spans.values()
    assert {span.trace_id for span in spans.values()} == {decided.trace_id}
    assert failed.parent_span_id == answered.parent_span_id == decided.span_id
    assert (attributes(failed)["error.type"], failed.status.code) == ("server", 2)
    assert attributes(decided)["pointsman.source"] == "rule"
    said = attributes(answered)
    assert said["gen_ai.usage.input_tokens"] == 100
    assert said["gen_ai.usage.cache_read.input_tokens"] == 8
    assert (said["gen_ai.provider.name"], said["gen_ai.request.model"]) == ("openai", "small")
    assert said["pointsman.request_id"] == reply.decision.call_id
    assert answered.end_time_unix_nano > answered.start_time_unix_nano >= failed.end_time_unix_nano
    decisions = receiver.metrics["pointsman.decisions"].sum.data_points
    assert [point.as_int for point in decisions] == [1]


def plain(router: Router) -> None:
    router.completion(messages=QUESTION)


def in_a_task(router: Router) -> None:
    asyncio.run(router.acompletion(messages=QUESTION))


def of_a_stream(router: Router) -> None:
    list(router.completion(messages=QUESTION, stream=True))


def in_litellm(router: Router) -> None:
    provider = router.config.models["large"].api_base
    groups = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": provider, "api_key": KEY},
        }
        for name in MODELS
    ]
    app: Any = LiteLLMRouter(model_list=groups, num_retries=0)
    attach(app, router)

    async def call() -> None:
        await app.acompletion("smart", messages=QUESTION)
        log = router.log
        assert log is not None
        await wait_until_async(lambda: log.counts.waiting + log.counts.written)

    asyncio.run(call())


@pytest.mark.parametrize("call", [plain, in_a_task, of_a_stream, in_litellm])
def test_spans_continue_the_applications_trace(
    tmp_path: Path,
    provider: Provider,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Router], None],
) -> None:
    monkeypatch.setattr(litellm, "callbacks", [])
    with loaded(tmp_path, provider, {"opentelemetry": receiver.address}) as router:
        with TracerProvider().get_tracer("app").start_as_current_span("request") as outer:
            call(router)
        assert outer.get_span_context().is_valid
    decided, called = sorted(receiver.spans, key=lambda span: span.start_time_unix_nano)
    own = outer.get_span_context()
    assert decided.parent_span_id == own.span_id.to_bytes(8, "big")
    assert called.parent_span_id == decided.span_id
    assert called.trace_id == own.trace_id.to_bytes(16, "big")


def test_an_applications_own_providers_get_it_all(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.metrics import _internal
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracing)
    monkeypatch.setattr(_internal, "_METER_PROVIDER", MeterProvider([reader]))
    with loaded(tmp_path, provider, {"opentelemetry": "application"}) as router:
        router.completion(messages=QUESTION)
    assert [span.name for span in spans.get_finished_spans()] == ["pointsman.decide", "chat large"]
    data = reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    assert {"pointsman.decisions", "pointsman.version.in_force"} <= {metric.name for metric in metrics}


def test_a_pace_tells_its_budget_and_its_weight(router_folder: Path, port: int) -> None:
    objective = {"kind": "budget", "usd_per_day": 24.0, "processes": 2}
    config = {"objective": objective, "metrics": {"prometheus_port": port}}
    with Router.load(router_folder, config=config) as router:
        router.route("hi")
        assert router.pacer is not None
        assert value(port, "pointsman_budget_usd") == 12
        assert value(port, "pointsman_budget_weight") == pytest.approx(router.pacer.weight, rel=0.01)
        names = {name for name in INSTRUMENTS if name.startswith("pointsman.budget.")}
        shown = {sample.name for sample in scraped(port)}
        assert all(prometheus_names(name, INSTRUMENTS[name]) <= shown for name in names)


def test_callers_make_no_labels(tmp_path: Path, provider: Provider, port: int) -> None:
    with loaded(tmp_path, provider, {"prometheus_port": port}) as router:
        for number in range(300):
            router.route("hi", task_type=f"made up {number}", tags=[f"tag {number}"])
        router.route("hi", task_type="support")
        own = [one for one in scraped(port) if one.name == "pointsman_decisions_total"]
    assert {one.labels["task_type"]: one.value for one in own} == {"other": 300, "support": 1}


@pytest.mark.parametrize("broken", ["_add", "_ready", "_count_use"])
def test_no_call_fails_because_of_its_metrics(
    tmp_path: Path,
    provider: Provider,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no more metrics")

    with loaded(tmp_path, provider, {"prometheus_port": port}) as router:
        monkeypatch.setattr(f"router.serving.metrics.Telemetry.{broken}", fail)
        for _ in range(2):
            assert router.completion(messages=QUESTION).choices[0].message.content == "answer from large"
        with pytest.raises(NoModelAllowed):
            router.route("hi", deny=MODELS)
    assert [record.getMessage() for record in caplog.records if "metrics" in record.getMessage()] == [
        "metrics are incomplete: RuntimeError"
    ]


def test_a_receiver_that_is_down_costs_no_call(tmp_path: Path, provider: Provider, port: int) -> None:
    metrics = {"opentelemetry": f"http://127.0.0.1:{port}", "interval_s": 0.01}
    with loaded(tmp_path, provider, metrics) as router:
        assert router.completion(messages=QUESTION).choices[0].message.content == "answer from large"


def test_a_router_without_metrics_loads_no_opentelemetry(tmp_path: Path, provider: Provider) -> None:
    loaded(tmp_path, provider, {}).close()
    code = (
        "import sys; from router import Router\n"
        f"Router.load({str(tmp_path / 'pointsman.yaml')!r}).route('hi')\n"
        "print(*{'opentelemetry', 'prometheus_client'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "\n"
    )


FORKING = """
import os, sys, urllib.request
from router import Router

def decisions(port):
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
    own = (line for line in page.splitlines() if line.startswith("pointsman_decisions_total"))
    return sum(float(line.split()[-1]) for line in own)

if __name__ == "__main__":
    router = Router.load(sys.argv[1])
    router.route("hi"); router.route("hi")
    first = router.telemetry.port
    child = os.fork()
    if child == 0:
        router.route("hi")
        own = router.telemetry.port
        print("child", own - first, decisions(own), decisions(first), flush=True)
        router.close()
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", decisions(first), flush=True)
    router.close()
"""


def test_a_forked_process_counts_from_zero_on_a_page_of_its_own(
    tmp_path: Path, provider: Provider, receiver: Receiver, port: int
) -> None:
    metrics = {
        "prometheus_port": port,
        "processes": 50,
        "opentelemetry": receiver.address,
        "interval_s": 60.0,
    }
    loaded(tmp_path, provider, metrics).close()
    receiver.bodies.clear()
    run = [sys.executable, "-c", FORKING, str(tmp_path / "pointsman.yaml")]
    process = subprocess.run(run, capture_output=True, text=True, check=True, timeout=170)
    child, parent = process.stdout.splitlines()
    assert (child.split()[0], child.split()[2:], parent) == ("child", ["1.0", "2.0"], "parent 2.0")
    assert int(child.split()[1]) > 0
    assert len(receiver.spans) == 3
