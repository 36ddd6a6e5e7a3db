"""The router that an application loads."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Never, Self, overload
from weakref import finalize

from router.call_log.log import CallLog, load_function
from router.calling.reply import Response
from router.calling.transport import AsyncStream, Stream, Transport
from router.deciding.pacing import counted_usd
from router.deciding.sessions import SessionMemory
from router.effort import endpoint_of
from router.errors import CallLogError, ConfigError, RequestError, RouterClosed, RouterError
from router.forking import ForkSafe
from router.loading.copies import Copy
from router.loading.follow import Follower, Refusal
from router.loading.registry import RegistrySource
from router.models.prices import PER_MILLION
from router.records import (
    AS_TRAINED,
    NO_WISHES,
    REQUEST_FIELDS,
    WISH_FIELDS,
    Decision,
    Json,
    Request,
    Wishes,
    refuse_near_misses,
)
from router.serving.cascading import Cascading
from router.serving.completion import POINTSMAN_ARGUMENTS, Completion, litellm_arguments
from router.serving.lookout import lookout_of
from router.serving.metrics import Reading, Telemetry
from router.serving.pace import pacer_of
from router.serving.versions import load_version, version_of
from router.settings.sections import Config
from router.settings.yaml_file import config_of
from router.version import Circumstances, Forecast, Version

if TYPE_CHECKING:
    from router.explaining.explain import Explanation

REQUEST_ARGUMENTS = frozenset({"messages", "tools", "response_format"})
TOGETHER = 256
"""Requests whose forecasts `route_many` makes before it decides on them."""
NO_REASONS: Mapping[str, str] = {}
NO_PARAMETERS: Mapping[str, Json] = {}


class Router:
    """A trained router in an application; threads and coroutines may share one.

    It decides, calls models, keeps the call log, and follows its alias in the registry.

    Attributes:
        log: the call log, or None.
        pacer: keeps the pace of the day's budget; None where the settings set none.
        telemetry: metrics and spans; None where the settings turn them off.
        follower: watches where the registry's alias points; None for a folder or a fixed version.
    """

    def __init__(
        self,
        version: Version,
        *,
        transport: Any = None,  # noqa: ANN401 - litellm.Router
        log: CallLog | None = None,
        shadow: bool = False,
    ) -> None:
        """Serve a loaded version. Applications use `Router.load`, which explains the arguments."""
        config = version.config
        self.log = log
        self._version = version
        self._shadow = shadow
        self._transport = Transport(config, transport)
        self._sessions = SessionMemory(config.sessions)
        self._draws = ForkSafe(partial(random.Random, config.exploration.seed))
        self._closed = False
        self.follower: Follower[Version] | None = None
        self._stop_looking: Callable[[], object] = lambda: None
        self.pacer = pacer_of(version, log)
        self.telemetry = Telemetry(config.metrics, self._readings) if config.metrics.on else None

    @classmethod
    def load(
        cls,
        where: str | Path,
        *,
        config: Config | Mapping[str, object] | str | Path | None = None,
        transport: Any = None,  # noqa: ANN401 - litellm.Router
        log: CallLog | str | Path | None = None,
        shadow: bool = False,
        expect: str | None = None,
    ) -> Self:
        """Load a router and check every file against its hash.

        If an alias points to an unusable version, this loads the last one that worked from its local copy
        and warns.

        Args:
            where: a folder, an MLflow URI such as `models:/support@champion`, or for a router of rules alone
                a `pointsman.yaml`.
            config: settings, as a mapping or the path of a `pointsman.yaml`; None: the training settings,
                without those that only an application may set.
            transport: a `litellm.Router` whose model groups have the router's model names, or anything else
                with `completion` and `acompletion`; None: LiteLLM itself.
            log: a call log, or its address; None: the one in the settings.
            shadow: serve the rule table, and only log the learned policy's decision.
            expect: digest that every router loaded must have, such as "sha256:9f86d0…", as `train` prints it;
                None: any.

        Raises:
            ArtifactError: the router is missing, damaged, foreign, newer than this code, or not the one
                expected.
            ConfigError: the settings are wrong, or name a model that the router does not know; or the
                transport can't call one of its models; or `watch.interval_s` is set and there is no log.
            CallLogError: the log's address is wrong.
            MissingExtra: `watch.interval_s` is set, and the extra `train` is not installed.
        """
        settings = config_of(config)
        version, origin = load_version(where, settings, expect, transport)
        if shadow and not version.learned:
            raise ConfigError(
                f"{where}: rules alone have nothing to try in the shadow: load a trained router"
            )
        opened = _opened(log, version.config)
        lookout = lookout_of(origin and origin[0], opened, settings or Config())
        router = cls(version, transport=transport, log=opened, shadow=shadow)
        if origin is not None and origin[0].moves:
            router._follow(*origin, load=partial(version_of, settings, expect, transport))
        if lookout is not None and router.follower is not None:
            lookout.start(router.follower.check_now)
            router._stop_looking = finalize(router, lookout.stop)
        return router

    @property
    def version(self) -> Version:
        """The version in force; it changes when the registry's alias moves."""
        return self._version

    @property
    def models(self) -> tuple[str, ...]:
        """LiteLLM model names to choose from."""
        return self._version.models

    @property
    def config(self) -> Config:
        """The settings in force."""
        return self._version.config

    @property
    def policy_version(self) -> str:
        """Name of the version in force, as in decisions and log rows."""
        return self._version.policy_version

    def route(  # noqa: PLR0913 - the fields of `Request` and `Wishes`, so that editors and type checkers know them
        self,
        prompt: str | Sequence[Json] = (),
        *,
        tools: Sequence[Json] | None = None,
        response_format: Json = None,
        task_type: str | None = None,
        tags: Sequence[str] = (),
        session_id: str | None = None,
        parameters: Mapping[str, Json] = NO_PARAMETERS,
        model: str | None = None,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
        tradeoff: float = AS_TRAINED,
        max_cost_usd: float | None = None,
        local_only: bool = False,
        explore: float | None = None,
        **unknown: Never,
    ) -> Decision:
        """Choose the model for one prompt without calling it.

        Args:
            prompt: the user's text, or chat messages.
            tools: tool definitions in the provider's form.
            response_format: the provider's `response_format`, or a pydantic class.
            task_type: your name for the kind of work.
            tags: your labels.
            session_id: name of the conversation, which tends to stay on its model.
            parameters: further LiteLLM arguments (`max_tokens`, `logprobs`, ...) that a model may lack.
            model: the only model to use; the limits still hold.
            allow: the only models that may serve the request; None: all.
            deny: models that may not serve it.
            tradeoff: in [0, 1]; 0 looks at success only, 0.5 is the trained balance, 1 takes the cheapest.
            max_cost_usd: rules out a model with a higher expected cost.
            local_only: allow only models on the team's own machines.
            explore: chance that another allowed model serves this request, in [0, 1]; None: as set.
            **unknown: none: an argument of another name is refused.

        Raises:
            RequestError: the request has the wrong form, or an argument is unknown.
            NoModelAllowed: the limits left no model.
        """
        _refuse(unknown)
        request = Request.of(
            prompt,
            tools=tools,
            response_format=response_format,
            task_type=task_type,
            tags=tags,
            session_id=session_id,
            parameters=parameters,
        )
        wishes = Wishes(
            model=model,
            allow=allow,
            deny=deny,
            tradeoff=tradeoff,
            max_cost_usd=max_cost_usd,
            local_only=local_only,
            explore=explore,
        )
        return self.decide(request, wishes)

    def route_many(self, requests: Iterable[str | Mapping[str, Json]]) -> list[Decision | RouterError]:
        """Choose the model for each of many prompts without calling any: as `route` one by one, but faster.

        Args:
            requests: prompts, or objects with `prompt` or `messages` and the arguments of `route` by name;
                other members, such as an identifier of your own, are ignored.

        Returns:
            For each, in order, its decision, or in its place the error that `route` raises: one wrong request
            stops no other.

        Raises:
            RouterClosed: the router was closed before.
        """
        version = self._version
        parsed = [_parsed(one) for one in requests]
        results: list[Decision | RouterError] = []
        for start in range(0, len(parsed), TOGETHER):
            batch = parsed[start : start + TOGETHER]
            usable = [None if isinstance(one, RouterError) else one[0] for one in batch]
            for one, known in zip(batch, version.foresee_usable(usable), strict=True):
                if not isinstance(one, RouterError):
                    results.append(self._result(version, *one, known))
                else:
                    results.append(one)
        return results

    def decide(self, request: Request, wishes: Wishes = NO_WISHES) -> Decision:
        """Choose the model for one request without calling it, and move its session there.

        Raises:
            NoModelAllowed: the limits left no model.
            RequestError: the wishes name a model that the router does not know.
            RouterClosed: the router was closed before.
        """
        return self.decide_by(self._version, request, wishes)

    def decide_by(
        self,
        version: Version,
        request: Request,
        wishes: Wishes,
        unserved: Mapping[str, str] = NO_REASONS,
        client: Any = None,  # noqa: ANN401 - litellm.Router
    ) -> Decision:
        """Like `decide`, by a version that may no longer be in force.

        Args:
            unserved: reason for each model that nobody serves now.
            client: a `litellm.Router` that makes the calls instead of the router's transport.
        """
        self._check_open()
        return self._chosen(version, request, wishes, self._circumstances(version, request, unserved, client))

    def _chosen(
        self,
        version: Version,
        request: Request,
        wishes: Wishes,
        circumstances: Circumstances,
        foreseen: tuple[Request, Forecast] | None = None,
    ) -> Decision:
        start = time.perf_counter()
        try:
            case = version.case(request, wishes, circumstances, foreseen)
            decision = version.settle(case)
        except RouterError as error:
            if self.telemetry is not None:
                self.telemetry.refused(error)
            raise
        self._sessions.sit(request.session_id, decision.model, case.tokens)
        if self.pacer is not None:
            self.pacer.decided(decision)
        if self.telemetry is not None:
            self.telemetry.decided(version, request, decision, time.perf_counter() - start)
        return decision

    def _result(
        self, version: Version, request: Request, wishes: Wishes, foreseen: tuple[Request, Forecast] | None
    ) -> Decision | RouterError:
        """The decision on one of many requests, or the error that it raises."""
        self._check_open()
        try:
            circumstances = self._circumstances(version, request)
            return self._chosen(version, request, wishes, circumstances, foreseen)
        except RouterError as error:
            return error

    def _check_open(self) -> None:
        if self._closed:
            raise RouterClosed

    def _circumstances(
        self,
        version: Version,
        request: Request,
        unserved: Mapping[str, str] = NO_REASONS,
        client: Any = None,  # noqa: ANN401 - litellm.Router
    ) -> Circumstances:
        return Circumstances(
            unserved=unserved,
            local=self._transport.local_models(version.models, version.config, client),
            targets=self._transport.targets(version.models, client),
            cooling=self._transport.cooling(),
            seat=self._sessions.seat(request.session_id),
            draw=self._draws.part.random(),
            serve_rules=self._shadow,
            weight=None if self.pacer is None else self.pacer.weight,
        )

    def completion_of(
        self,
        version: Version,
        request: Request,
        decision: Decision,
        arguments: Mapping[str, Json],
        cascading: Cascading | None = None,
    ) -> Completion:
        """A decided request before its first attempt.

        Args:
            arguments: LiteLLM's, without the model.
            cascading: says whether a second model follows the answer; None: none does.
        """
        return Completion(
            version=version,
            request=request,
            decision=decision,
            arguments=arguments,
            log=self.log,
            sessions=self._sessions,
            telemetry=self.telemetry,
            pacer=self.pacer,
            counted_usd=0.0 if self.pacer is None else counted_usd(decision),
            trace=self.telemetry.trace_of(decision) if self.telemetry is not None else None,
            cascading=cascading,
        )

    def explain(self, prompt: str | Sequence[Json] = (), **fields: Json) -> Explanation:
        """Explain which model a prompt goes to, why, and what would change that. Calls no model.

        Args:
            prompt: as in `route`.
            **fields: as in `route`; a `session_id` has no effect.

        Raises:
            RequestError: the request has the wrong form.
        """
        from router.explaining.explain import explain

        return explain(self._version, *_request_and_wishes(prompt, fields))

    # fmt: off
    @overload
    def completion(
        self, model: str | None = None, messages: Sequence[Json] = (), *, stream: Literal[True],
        allow: Collection[str] | None = None, deny: Collection[str] = (), tradeoff: float = AS_TRAINED,
        max_cost_usd: float | None = None, local_only: bool = False, explore: float | None = None,
        task_type: str | None = None, tags: Sequence[str] = (), session_id: str | None = None,
        **arguments: Json,
    ) -> Stream: ...
    @overload
    def completion(
        self, model: str | None = None, messages: Sequence[Json] = (), *,
        stream: Literal[False] | None = None,
        allow: Collection[str] | None = None, deny: Collection[str] = (), tradeoff: float = AS_TRAINED,
        max_cost_usd: float | None = None, local_only: bool = False, explore: float | None = None,
        task_type: str | None = None, tags: Sequence[str] = (), session_id: str | None = None,
        **arguments: Json,
    ) -> Response: ...
    @overload
    def completion(
        self, model: str | None = None, messages: Sequence[Json] = (), *, stream: bool | None,
        allow: Collection[str] | None = None, deny: Collection[str] = (), tradeoff: float = AS_TRAINED,
        max_cost_usd: float | None = None, local_only: bool = False, explore: float | None = None,
        task_type: str | None = None, tags: Sequence[str] = (), session_id: str | None = None,
        **arguments: Json,
    ) -> Response | Stream: ...
    # fmt: on
    def completion(self, model: str | None = None, messages: Sequence[Json] = (), **arguments: Json) -> Any:
        """Choose a model, call it through LiteLLM, fall back if it fails, and log every attempt.

        Args:
            model: pins a model; None or "auto" lets the router choose.
            messages: chat messages.
            **arguments: those of `route`, and LiteLLM's own; `stream=True` returns a stream.

        Returns:
            LiteLLM's response, or a stream of its pieces, with the decision as `.decision`.

        Raises:
            RequestError: the request has the wrong form.
            NoModelAllowed: the limits left no model.
            CallFailed: no model of the chain answered.
            RouterClosed: the router was closed before.
            litellm.exceptions.APIError: the request itself is wrong (authentication, bad request, content
                policy).
        """
        call = self._decided(model, messages, arguments)
        transport = self._transport.under(call.version.config)
        reply = transport.completion(call.chain, call.arguments, call.observe)
        if (second := call.second(transport.cooling())) is not None:
            with call.asking_again() as again:
                reply = transport.completion((second.model,), again, call.observe)
        return call.with_decision(reply)

    # fmt: off
    @overload
    async def acompletion(
        self, model: str | None = None, messages: Sequence[Json] = (), *, stream: Literal[True],
        allow: Collection[str] | None = None, deny: Collection[str] = (), tradeoff: float = AS_TRAINED,
        max_cost_usd: float | None = None, local_only: bool = False, explore: float | None = None,
        task_type: str | None = None, tags: Sequence[str] = (), session_id: str | None = None,
        **arguments: Json,
    ) -> AsyncStream: ...
    @overload
    async def acompletion(
        self, model: str | None = None, messages: Sequence[Json] = (), *,
        stream: Literal[False] | None = None,
        allow: Collection[str] | None = None, deny: Collection[str] = (), tradeoff: float = AS_TRAINED,
        max_cost_usd: float | None = None, local_only: bool = False, explore: float | None = None,
        task_type: str | None = None, tags: Sequence[str] = (), session_id: str | None = None,
        **arguments: Json,
    ) -> Response: ...
    @overload
    async def acompletion(
        self, model: str | None = None, messages: Sequence[Json] = (), *, stream: bool | None,
        allow: Collection[str] | None = None, deny: Collection[str] = (), tradeoff: float = AS_TRAINED,
        max_cost_usd: float | None = None, local_only: bool = False, explore: float | None = None,
        task_type: str | None = None, tags: Sequence[str] = (), session_id: str | None = None,
        **arguments: Json,
    ) -> Response | AsyncStream: ...
    # fmt: on
    async def acompletion(
        self, model: str | None = None, messages: Sequence[Json] = (), **arguments: Json
    ) -> Any:
        """Like `completion`; the decision runs in a thread and does not block the event loop."""
        call = await asyncio.to_thread(self._decided, model, messages, arguments)
        transport = self._transport.under(call.version.config)
        reply = await transport.acompletion(call.chain, call.arguments, call.observe)
        if call.cascading is None:
            return call.with_decision(reply)
        if (second := await asyncio.to_thread(call.second, transport.cooling())) is not None:
            with call.asking_again() as again:
                reply = await transport.acompletion((second.model,), again, call.observe)
        return call.with_decision(reply)

    def feedback(
        self,
        call_id: str | None,
        *,
        success: bool | None = None,
        score: float | None = None,
        source: str = "feedback",
    ) -> None:
        """Record the outcome of a call, at any later time and from any process that can write the log.

        This does not wait for the log. Feedback for a call that the log does not have is stored all the same,
        and the log's thread warns of it (logger `router.call_log.alarm`), except in a `.jsonl` over 16 MB.

        Args:
            call_id: `response.decision.call_id`.
            score: a grade in [0, 1].
            source: who reports it.

        Raises:
            CallLogError: the router keeps no log.
            ValueError: there is no call id (the decision made no call), neither success nor score is set, or
                the score is outside [0, 1].
        """
        if self.log is None:
            raise CallLogError("the router keeps no call log to add feedback to: set log.url")
        self.log.feedback(call_id, success=success, score=score, source=source)

    def warm_up(self) -> None:
        """Import LiteLLM now, which takes seconds, so that no request waits for it.

        Call it when the application starts, before it forks or serves. A router with `transport=` needs none.

        Raises:
            MissingExtra: LiteLLM is not installed.
        """
        self._transport.warm_up()

    def close(self) -> None:
        """Stop following the registry, write the log's pending rows, and decide nothing any more."""
        self._closed = True
        if self.follower is not None:
            self.follower.stop()
        self._stop_looking()
        if self.log is not None:
            self.log.close()
        if self.telemetry is not None:
            self.telemetry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """Like `close`, without blocking the event loop while rows are written."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ", shadow" if self._shadow else ""
        return f"<Router {self.policy_version}: {', '.join(self.models)}{state}>"

    def _repr_html_(self) -> str:
        """For notebooks: the version, and each model with its price in USD per million tokens."""
        rows = "".join(
            f"<tr><td>{escape(model)}</td><td>{price.per_input_token * PER_MILLION:g}</td>"
            f"<td>{price.per_output_token * PER_MILLION:g}</td></tr>"
            for model, price in self._version.prices.items()
        )
        return (
            f"<table><caption>Router {escape(self.policy_version)}</caption>"
            f"<tr><th>model</th><th>input $ per million</th><th>output $ per million</th></tr>{rows}</table>"
        )

    def _readings(self) -> Iterator[Reading]:
        """What monitoring reads at each report."""
        if self.log is not None:
            counts = self.log.counts
            yield Reading("pointsman.log.waiting", counts.waiting)
            yield Reading("pointsman.log.failures", counts.failures)
            for state in ("written", "dropped", "unredacted"):
                yield Reading("pointsman.log.rows", getattr(counts, state), {"state": state})
        cooling, cooled_s = self._transport.cooling(), self._transport.cooled_s()
        for model in dict.fromkeys(map(endpoint_of, self.models)):
            yield Reading("pointsman.model.degraded", int(model in cooling), {"model": model})
            yield Reading("pointsman.model.degraded.time", cooled_s.get(model, 0.0), {"model": model})
        yield Reading("pointsman.version.in_force", 1, {"version": self.policy_version})
        if self.pacer is not None:
            pace = self.pacer.pace
            yield Reading("pointsman.budget.usd", self.pacer.usd_per_day)
            yield Reading("pointsman.budget.carried.usd", pace.carried_usd)
            yield Reading("pointsman.budget.weight", pace.weight)
            yield Reading("pointsman.budget.unknown", pace.unknown)
        if self.follower is not None:
            yield Reading("pointsman.version.refused", int(self.follower.refused is not None))

    def _follow(
        self, source: RegistrySource, copy: Copy, refused: Refusal | None, load: Callable[[Copy], Version]
    ) -> None:
        self.follower = Follower(
            source,
            copy,
            load=load,
            use=self._use,
            poll_s=self.config.registry.poll_s,
            refused=refused,
        )
        self.follower.start()

    def _use(self, version: Version) -> None:
        """Put a version in force; running requests keep theirs."""
        if version.config.objective != self.config.objective:
            self.pacer = pacer_of(version, self.log)
        self._version = version

    def _decided(
        self, model: str | None, messages: Sequence[Json], arguments: Mapping[str, Json]
    ) -> Completion:
        """A decided request before its first attempt; it keeps the version that is in force now.

        Raises:
            RequestError: the request has the wrong form.
            NoModelAllowed: the limits left no model.
        """
        version = self._version
        if not messages:
            raise RequestError("a completion needs messages: completion(messages=[...])")
        whole = litellm_arguments(messages, arguments)
        own = {name: arguments[name] for name in POINTSMAN_ARGUMENTS & arguments.keys()}
        parameters = {name: value for name, value in whole.items() if name not in REQUEST_ARGUMENTS}
        fields = {
            **own,
            "model": None if model == "auto" else model,
            "tools": arguments.get("tools"),
            "response_format": arguments.get("response_format"),
            "parameters": parameters,
        }
        request, wishes = _request_and_wishes(messages, fields)
        decision = self.decide_by(version, request, wishes)
        weight = None if self.pacer is None else self.pacer.weight
        cascading = Cascading.of(version, request, decision, wishes, weight)
        return self.completion_of(version, request, decision, whole, cascading)


def _refuse(unknown: Iterable[str]) -> None:
    """Refuse arguments that are none of ours.

    Raises:
        RequestError: names the first one.
    """
    refuse_near_misses(unknown, REQUEST_FIELDS | WISH_FIELDS)
    for name in unknown:
        if name == "messages":
            raise RequestError("unknown argument 'messages': did you mean 'prompt'? It takes messages too")
        raise RequestError(f"unknown argument {name!r}; LiteLLM's own arguments go in parameters={{...}}")


def _request_and_wishes(prompt: str | Sequence[Json], fields: dict[str, Json]) -> tuple[Request, Wishes]:
    """Split the arguments of a call."""
    wishes = {name: fields.pop(name) for name in WISH_FIELDS & fields.keys()}
    _refuse(fields.keys() - (REQUEST_FIELDS - {"messages"}))
    return Request.of(prompt, **fields), Wishes(**wishes)


def _parsed(value: str | Mapping[str, Json]) -> tuple[Request, Wishes] | RequestError:
    """The request and the wishes of one item of `route_many`, or what is wrong with it."""
    try:
        if isinstance(value, str):
            return Request.of(value), NO_WISHES
        return Request.from_json(value), Wishes.from_json(value)
    except RequestError as error:
        return error


def _opened(log: CallLog | str | Path | None, config: Config) -> CallLog | None:
    """The call log to write, or None."""
    if isinstance(log, CallLog):
        return log
    url = str(log) if log is not None else config.log.url
    if url is None:
        return None
    redact = load_function(config.log.redact) if config.log.redact else None
    return CallLog.open(url, text=config.log.text, redact=redact)
