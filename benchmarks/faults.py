"""Faults of providers, logs, registries, processes and input, injected for real on loopback, and counted."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings

from router import Request, Router, Wishes
from router.call_log.address import LogAddress
from router.call_log.log import CallLog
from router.call_log.store import DatabaseStore
from router.errors import NoModelAllowed, RequestError
from router.models.litellm_import import litellm_module
from router.records import Json
from tests.router.call_log import test_log as log_scripts
from tests.router.call_log import test_sqlite_file as rotating
from tests.router.call_log.call_records import QUICK, call_ids, record, run_python, start_python
from tests.router.call_log.test_process import SERVERS, ask, served
from tests.router.call_log.test_store import verdict
from tests.router.calling.four_ways import joined, run, text_of
from tests.router.calling.test_transport import NO_ANSWER, STREAM
from tests.router.loading.test_artifact import flip_middle_byte
from tests.router.messages import requests
from tests.services import provider as give
from tests.services.mlflow_server import MlflowServer, register
from tests.services.ports import held_port
from tests.services.provider import KEY, Provider, Reply
from tests.services.waiting import PATIENCE_S, wait_until
from tests.whole.test_kept import LOGGED_MODEL
from tests.whole.test_new_versions import ADDRESS, NAME, Registry

KEY_VARIABLE = "POINTSMAN_CHAOS_KEY"
AT_ONCE = 16
PER_WAY = 5
"""Requests to a failing provider at scale 1, in each of four ways."""
LOCAL_EVERY = 5
ONLY_HERE = "stay here: "
FAILING, WELL = ("first", "near"), ("second", "spare")
ELSEWHERE = ("first", "second")
HASTY_S = 0.5
NEXT, OWN = "The next model answers.", "one two three four"
BROKEN = "StreamBroken"
Ends: TypeAlias = frozenset[str]
ANSWERED: Ends = frozenset({NEXT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one fault led to.

    Attributes:
        injected: how often the fault struck.
        requests: sent through a router, or to a server that logs; 0: rows were written to the log directly.
        wrong: the end of each request that did not end as it had to.
        expected, found: rows in the log.
        past_limit: requests that reached a model, or were sent to one, that a limit rules out.
        longest_s: longest request, or longest wait for rows to be stored; None: not timed.
    """

    injected: int
    requests: int = 0
    wrong: Sequence[str] = ()
    expected: int = 0
    found: int = 0
    past_limit: int = 0
    longest_s: float | None = None

    @property
    def misses(self) -> list[str]:
        """Where the aim is missed, in words."""
        ends = ", ".join(f"{end!r} {times} times" for end, times in Counter(self.wrong).most_common(3))
        rows = f"{self.expected} rows expected, {self.found} in the log"
        found = {
            f"{len(self.wrong)} requests ended wrongly ({ends})": bool(self.wrong),
            rows: self.expected != self.found,
            f"{self.past_limit} requests past a limit": bool(self.past_limit),
            "the fault never struck": not self.injected,
        }
        return [miss for miss, holds in found.items() if holds]


@dataclass(kw_only=True)
class Bench:
    """Where faults are injected.

    Attributes:
        scale: 1 is the short form; all numbers of requests grow with it.
        exits: ends what the faults share.
    """

    folder: Path
    scale: int
    exits: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        """Make one call, whose imports take seconds that no fault is to blame for."""
        with Provider() as warm:
            question = [{"role": "user", "content": "Are you there?"}]
            litellm_module().completion("openai/any", question, api_base=warm.api_base, api_key=KEY)

    def new_folder(self) -> Path:
        """An empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def rounds(self, each: int) -> range:
        """Numbers of rounds, one for each so many of the scale."""
        return range(max(1, self.scale // each))

    @cached_property
    def registry(self) -> Registry:
        """An MLflow server with two good versions, one that is no router, and one with a changed byte."""
        import mlflow

        folder = self.new_folder()
        (folder / "server").mkdir()
        server = self.exits.enter_context(MlflowServer(folder / "server"))
        patch = self.exits.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        patch.setattr("platformdirs.user_cache_dir", lambda name: str(folder / name))
        self.exits.callback(mlflow.set_tracking_uri, mlflow.get_tracking_uri())
        mlflow.set_tracking_uri(server.uri)
        client = mlflow.MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)
        registry = Registry(server, client, folder, LOGGED_MODEL / "artifacts" / "router")
        damaged = shutil.copytree(folder / "version-a", folder / "damaged")
        flip_middle_byte(damaged / "head.safetensors")
        register(client, NAME, damaged)
        return registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble; `run` injects it and counts what came of it."""

    area: str
    name: str
    run: Callable[[Bench], Counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A way for a provider to fail.

    Attributes:
        reply: of the first model; None: nobody listens at its address.
        plain, stream: how a request may end.
        timeout_s: the first model's.
    """

    name: str
    reply: Reply | None
    plain: Ends = ANSWERED
    stream: Ends = ANSWERED
    timeout_s: float = 60.0


def _wrong(name: str, reply: Reply, error: str) -> Mode:
    """The request itself is wrong: its caller gets the provider's error."""
    return Mode(name=name, reply=reply, plain=frozenset({error}), stream=frozenset({error}))


def _cut(name: str, *ends: str, timeout_s: float = 60.0, **cut: Json) -> Mode:
    """Only a stream fails."""
    reply = give.answer(OWN, **cut)
    return Mode(name=name, reply=reply, plain=frozenset({OWN}), stream=frozenset(ends), timeout_s=timeout_s)


MODES = (
    Mode(name="429", reply=give.rate_limit()),
    Mode(name="429, Retry-After an hour", reply=give.rate_limit(retry_after=3600)),
    Mode(name="500", reply=give.server_error(500)),
    Mode(name="503", reply=give.server_error(503)),
    Mode(name="529", reply=give.server_error(529)),
    Mode(name="404, no such model", reply=give.failure(404, "No such model", code="model_not_found")),
    Mode(name="400, longer than the context window", reply=give.too_long()),
    Mode(name="nobody listens", reply=None),
    Mode(name="the connection is reset", reply=give.reset()),
    Mode(name="silence until the timeout", reply=give.silence(), timeout_s=HASTY_S),
    Mode(name="no choices", reply=give.odd(NO_ANSWER % "[]")),
    Mode(name="choices: null", reply=give.odd(NO_ANSWER % "null")),
    Mode(name="a choice without a message", reply=give.odd(NO_ANSWER % "[{}]")),
    Mode(name="an error in a 200", reply=give.odd('{"error": {"message": "overloaded", "code": 503}}')),
    Mode(name="half of a JSON object", reply=give.odd('{"id":')),
    Mode(name="an empty body", reply=give.odd("")),
    Mode(name="204", reply=give.odd("", status=204)),
    Mode(name="HTML in a 200", reply=give.odd("<html>", content_type="text/html")),
    Mode(name="HTML in a 502", reply=give.odd("<html>", status=502, content_type="text/html")),
    Mode(name="an empty stream", reply=give.odd("data: [DONE]\n\n", content_type=STREAM)),
    Mode(name="a stream that is no JSON", reply=give.odd("data: {oops\n\n", content_type=STREAM)),
    _cut("a stream cut before its first word", NEXT, break_after=0),
    _cut("a stream cut after two words", BROKEN, NEXT, break_after=2),
    _cut("a stream that ends in an error", BROKEN, NEXT, fail_after=2),  # it may arrive with the first word
    _cut("a stream silent after two words", BROKEN, NEXT, silent_after=2, timeout_s=2 * HASTY_S),
    _wrong("401, wrong key", give.wrong_key(), "AuthenticationError"),
    _wrong("400, bad request", give.bad_request(), "BadRequestError"),
    _wrong("400, content policy", give.refused(), "ContentPolicyViolationError"),
)


def _arguments(number: int, stream: bool) -> dict[str, Json]:
    local = number % LOCAL_EVERY == 0
    text = f"{ONLY_HERE if local else ''}{number}"
    return {"messages": [{"role": "user", "content": text}], "stream": stream, "local_only": local}


Ended: TypeAlias = tuple[str, float]
"""The text or the name of the error, and the seconds until then."""


def _asked(router: Router, stream: bool, number: int, **more: Json) -> Ended:
    began = time.perf_counter()
    try:
        reply = router.completion(**_arguments(number, stream), **more)
        end = joined(reply) if stream else text_of(reply)
    except Exception as error:  # noqa: BLE001 - any end is counted
        end = type(error).__name__
    return end, time.perf_counter() - began


async def _asked_async(router: Router, stream: bool, number: int) -> Ended:
    began = time.perf_counter()
    try:
        reply: Any = await router.acompletion(**_arguments(number, stream))
        end = joined([piece async for piece in reply]) if stream else text_of(reply)
    except Exception as error:  # noqa: BLE001 - any end is counted
        end = type(error).__name__
    return end, time.perf_counter() - began


async def _some_at_once(calls: Iterable[Coroutine[Any, Any, Ended]]) -> list[Ended]:
    places = asyncio.Semaphore(AT_ONCE)

    async def placed(call: Coroutine[Any, Any, Ended]) -> Ended:
        async with places:
            return await call

    return await asyncio.gather(*map(placed, calls))


def _settings(mode: Mode, failing: Sequence[str], well: Sequence[str]) -> dict[str, Json]:
    """A router of rules: a failing model and one that answers, elsewhere and on the team's own machines.

    Args:
        failing, well: addresses of the two kinds, elsewhere and here.
    """
    models = {}
    for local, (first, second) in enumerate(zip(FAILING, WELL, strict=True)):
        both = {"api_key_env": KEY_VARIABLE, "local": bool(local)}
        quick = {"timeout_s": mode.timeout_s}
        models[first] = {"litellm_model": f"openai/{first}", "api_base": failing[local], **both, **quick}
        models[second] = {"litellm_model": f"openai/{second}", "api_base": well[local], **both}
    calls = {"retries": 0, "timeout_s": PATIENCE_S, "cool_down": {"failures": 0}}
    return {"models": models, "rules": {"default": "first"}, "calls": calls}


def strike(mode: Mode, bench: Bench) -> Counts:
    """Ask a router whose first model fails so, plain and as a stream, sync and async.

    Cool-downs are off, so that the fault strikes every time. A row is expected for each request that arrived
    or failed on its way.
    """
    folder = bench.new_folder()
    numbers = range(PER_WAY * bench.scale)
    with Provider() as away, Provider() as here, held_port() as port:
        sites = (away, here)
        well = [site.api_base for site in sites]
        failing = well if mode.reply else [f"http://127.0.0.1:{port}/v1"] * 2
        for site in sites:
            for model in WELL:
                site.script(model, give.answer(NEXT))
            for model in FAILING:
                site.script(model, mode.reply or give.reset())
        config = folder / "pointsman.yaml"
        config.write_text(json.dumps(_settings(mode, failing, well)), encoding="utf-8")
        ended: dict[bool, list[Ended]] = {}
        with Router.load(config, log=folder / "calls.db") as router, ThreadPoolExecutor(AT_ONCE) as threads:
            for stream in (False, True):
                ended[stream] = list(threads.map(partial(_asked, router, stream), numbers))
                calls = (_asked_async(router, stream, number) for number in numbers)
                ended[stream] += run(_some_at_once(calls))
            assert router.log is not None
            router.log.flush(PATIENCE_S)
    both = [*ended[False], *ended[True]]
    arrived = [request for site in sites for request in site.requests]
    struck = sum(request.model in FAILING for request in arrived) if mode.reply else len(both)
    strayed = [one for one in away.requests if str(one.body["messages"][0]["content"]).startswith(ONLY_HERE)]
    found = len(call_ids(folder / "calls.db"))
    rows = len(arrived) + (0 if mode.reply else struck)
    # An attempt whose connection fails, or times out on its way, arrives nowhere and has a row all the same.
    on_the_way = max(found - rows, 0) if found <= 2 * len(both) else 0
    wrong = [end for stream, ends in ((False, mode.plain), (True, mode.stream))
             for end, _ in ended[stream] if end not in ends]  # fmt: skip
    return Counts(
        injected=struck,
        requests=len(both),
        wrong=wrong,
        expected=rows + on_the_way,
        found=found,
        past_limit=len(strayed),
        longest_s=max(seconds for _, seconds in both),
    )


def rotate(change: rotating.Change, bench: Bench) -> Counts:
    """Move or cut a log away under three processes that write it; each row must be in one file."""
    path = bench.new_folder() / "logs" / "calls.db"
    path.parent.mkdir()
    DatabaseStore(LogAddress.of(path.parent.with_name("empty.db"))).append_feedback([verdict("none", 1)])
    with rotating.writing(path) as batches:
        times = bench.rounds(1)
        for number in times:
            time.sleep(rotating.PAUSE_S)
            wait_until(path.exists)
            change(path, number)
    rows = rotating.rows_in(path.parent)
    names = [name for batch in batches for name in batch.ids]
    longest = max(batch.ended - batch.begun for batch in batches)
    once = sum(rows[name] == 1 for name in names)
    return Counts(injected=len(times), expected=len(names), found=once, longest_s=longest)


def kill(bench: Bench) -> Counts:
    """Kill a process that writes; the rows expected are those that it had flushed."""
    expected = found = 0
    rounds = bench.rounds(4)
    for _ in rounds:
        path = bench.new_folder() / "calls.db"
        process = start_python(log_scripts.PRELUDE + log_scripts.WRITE_UNTIL_KILLED, path, 0.001)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.1)  # any moment of its work will do
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=PATIENCE_S)
        flushed = int([first, *(line for line in rest.splitlines(keepends=True) if line.endswith("\n"))][-1])
        expected += flushed
        found += len({f"{number:07}" for number in range(flushed)} & set(call_ids(path)))
    return Counts(injected=len(rounds), expected=expected, found=found)


def script(code: str, interval_s: float, rows: int, bench: Bench) -> Counts:
    """Run a process that gets into trouble, logs so many rows, and ends well."""
    paths = [bench.new_folder() / "calls.db" for _ in bench.rounds(4)]
    for path in paths:
        run_python(log_scripts.PRELUDE + code, path, interval_s)
    return Counts(
        injected=len(paths), expected=rows * len(paths), found=sum(len(set(call_ids(path))) for path in paths)
    )


def overwrite(bench: Bench) -> Counts:
    """Put zeros over the first page of a log in use; the rows expected are those of the time after."""
    path = bench.new_folder() / "calls.db"
    found, waits, rounds = 0, [], bench.rounds(1)
    with closing(CallLog.open(path, buffer=QUICK)) as log:
        for number in rounds:
            log.write(record(f"before-{number}"))
            log.flush(PATIENCE_S)
            with path.open("r+b") as file:
                file.write(bytes(4096))
            after = {f"after-{number}-{row}" for row in range(100)}
            for name in sorted(after):
                log.write(record(name))
            began = time.perf_counter()
            log.flush(PATIENCE_S)
            waits.append(time.perf_counter() - began)
            found += len(after & set(call_ids(path)))
    return Counts(injected=len(rounds), expected=100 * len(rounds), found=found, longest_s=max(waits))


def _move(registry: Registry, router: Router, version: int) -> bool:
    """Point the alias to a version; whether it is in use then, whoever noticed: the follower looks too."""
    registry.point_to(version)
    assert router.follower is not None
    router.follower.check_now()
    return router.follower.version.name.endswith(f"/{version}")


def move(registry: Registry, router: Router) -> bool:
    """The alias goes to the other good version, and back."""
    return _move(registry, router, 2) and _move(registry, router, 1)


def break_version(registry: Registry, router: Router) -> bool:
    """The alias goes to a version that is no router, and to one with a changed byte; both are refused."""
    refused = not (_move(registry, router, 3) or _move(registry, router, 4))
    return refused and _move(registry, router, 1)


def stop_registry(registry: Registry, router: Router) -> bool:
    """The server stops; another router starts meanwhile; then it is back, and is followed again."""
    registry.server.stop()
    try:
        assert router.follower is not None
        alone = not router.follower.check_now()
        Router.load(ADDRESS).close()
    finally:
        registry.server.start()
    return alone and move(registry, router)


def registered(act: Callable[[Registry, Router], bool], each: int, bench: Bench) -> Counts:
    """Ask a router that follows an alias while something happens to the registry."""
    registry, path, rounds = bench.registry, bench.new_folder() / "calls.db", bench.rounds(each)
    registry.point_to(1)
    ended: list[Ended] = []
    wrong: list[str] = []
    with Router.load(ADDRESS, log=path) as router, ThreadPoolExecutor(5) as threads:
        one = partial(_asked, router, False, mock_response=NEXT)
        for _ in rounds:
            acting = threads.submit(act, registry, router)
            first = True
            while first or not acting.done():
                first = False
                ended += threads.map(one, range(1, 5))
            wrong += [] if acting.result() else [f"{act.__name__} was not noticed"]
        assert router.log is not None
        router.log.flush(PATIENCE_S)
    wrong += [end for end, _ in ended if end != NEXT]
    return Counts(
        injected=len(rounds),
        requests=len(ended),
        wrong=wrong,
        expected=len(ended),
        found=len(call_ids(path)),
        longest_s=max(seconds for _, seconds in ended),
    )


def terminate(bench: Bench) -> Counts:
    """End uvicorn by SIGTERM while the rows of its requests wait."""
    rounds, asked, wrong, found = bench.rounds(10), 0, [], 0
    for _ in rounds:
        path = bench.new_folder() / "calls.db"
        with served(path, "app", SERVERS["uvicorn"]) as (process, address):
            answered = ask(f"{address}/loop", range(50)) | ask(f"{address}/thread", range(-50, 0))
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        asked += 100
        wrong += ["no answer"] * (100 - len(answered))
        found += len(answered & set(call_ids(path)))
    return Counts(injected=len(rounds), requests=asked, wrong=wrong, expected=asked, found=found)


def fuzz(bench: Bench) -> Counts:
    """Decide on requests of any shape, every fifth for local models only; a refusal is a good end."""
    folder = bench.new_folder()
    config = folder / "pointsman.yaml"
    nowhere = ["http://127.0.0.1:9/v1"] * 2
    config.write_text(json.dumps(_settings(MODES[0], nowhere, nowhere)), encoding="utf-8")
    router = Router.load(config)
    wrong: list[str] = []
    chosen: list[tuple[bool, str]] = []
    spent: list[float] = []

    @settings(max_examples=100 * bench.scale, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(requests())
    def decide(request: Request) -> None:
        local, began = len(spent) % LOCAL_EVERY == 0, time.perf_counter()
        try:
            chosen.append((local, router.decide(request, Wishes(local_only=local)).model))
        except (RequestError, NoModelAllowed):
            pass
        except Exception as error:  # noqa: BLE001 - any end is counted
            wrong.append(type(error).__name__)
        spent.append(time.perf_counter() - began)

    decide()
    past = sum(local and model in ELSEWHERE for local, model in chosen)
    return Counts(
        injected=len(spent), requests=len(spent), wrong=wrong, past_limit=past, longest_s=max(spent)
    )


CHANGES: Mapping[str, rotating.Change] = {
    "the file is renamed": rotating.rename,
    "it is renamed with the files beside it": rotating.rename_all,
    "it is moved to another folder": rotating.move_away,
    "it is removed": rotating.remove,
    "the files beside it are removed": rotating.remove_what_is_beside,
    "it is copied and cut": rotating.copy_and_cut,
    "another log is copied over it": rotating.copy_over,
}
FAULTS = (
    *(Fault(area="provider", name=mode.name, run=partial(strike, mode)) for mode in MODES),
    *(Fault(area="log", name=name, run=partial(rotate, change)) for name, change in CHANGES.items()),
    Fault(area="log", name="kill -9 amid writing", run=kill),
    Fault(area="log", name="the disk is full for a while",
          run=partial(script, log_scripts.DISK_FULL, 0.01, 1501)),
    Fault(area="log", name="zeros over its first page", run=overwrite),
    Fault(area="registry", name="the alias moves, and back", run=partial(registered, move, 1)),
    Fault(area="registry", name="the alias moves to broken versions",
          run=partial(registered, break_version, 1)),
    Fault(area="registry", name="the server is down, and back", run=partial(registered, stop_registry, 20)),
    Fault(area="process", name="fork while rows wait", run=partial(script, log_scripts.FORK, 0.2, 141)),
    Fault(area="process", name="SIGTERM under uvicorn", run=terminate),
    Fault(area="input", name="requests of any shape", run=fuzz),
)  # fmt: skip
