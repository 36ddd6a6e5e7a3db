"""The router that an application loads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from router.call_log.log import CallLog, load_function
from router.calling.transport import Transport
from router.deciding.sessions import SessionMemory
from router.errors import CallLogError, RequestError
from router.forking import ForkSafe
from router.loading.copies import Copy
from router.loading.follow import Follower
from router.loading.registry import SCHEMES, RegistrySource
from router.records import NO_WISHES, WISH_FIELDS, Decision, Json, Request, Wishes
from router.serving.completion import POINTSMAN_ARGUMENTS, Completion, litellm_arguments
from router.settings.sections import Config
from router.settings.yaml_file import load_config
from router.version import Circumstances, Version

if TYPE_CHECKING:
    from router.explaining.explain import Explanation

REQUEST_ARGUMENTS = frozenset({"messages", "tools", "response_format"})
NO_REASONS: Mapping[str, str] = {}


class Router:
    """A trained router in an application; threads and coroutines may share one.

    It decides, calls models, keeps the call log, and follows its alias in the registry.

    Attributes:
        log: the call log, or None.
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
        self.follower: Follower[Version] | None = None

    @classmethod
    def load(
        cls,
        where: str | Path,
        *,
        config: Config | str | Path | None = None,
        transport: Any = None,  # noqa: ANN401 - litellm.Router
        log: CallLog | str | Path | None = None,
        shadow: bool = False,
    ) -> Self:
        """Load a router and check every file against its hash.

        Args:
            where: a folder, or an MLflow URI such as `models:/support@champion`.
            config: settings, or the path of a `pointsman.yaml`; None: the training settings, without those
                that only an application may set.
            transport: a `litellm.Router` whose model groups have the router's model names; None: LiteLLM
                itself.
            log: a call log, or its address; None: the one in the settings.
            shadow: serve the rule table, and only log the learned policy's decision.

        Raises:
            ArtifactError: the router is missing, damaged, foreign or newer than this code.
            ConfigError: the settings are wrong, or name a model that the router does not know.
            CallLogError: the log's address is wrong.
        """
        settings = config if isinstance(config, Config | None) else load_config(Path(config))
        version, origin = load_version(where, settings)
        router = cls(version, transport=transport, log=_opened(log, version.config), shadow=shadow)
        if origin is not None and origin[0].moves:
            router._follow(*origin, settings)
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

    def route(self, prompt: str | Sequence[Json], **fields: Json) -> Decision:
        """Choose the model for one prompt without calling it.

        Args:
            prompt: the user's text, or chat messages.
            **fields: `tools`, `response_format`, `task_type`, `tags`, `session_id` and `parameters`, as in
                `Request`; `model`, `allow`, `deny`, `tradeoff`, `max_cost_usd`, `local_only` and `explore`,
                as in `Wishes`.

        Raises:
            RequestError: the request has the wrong form.
            NoModelAllowed: the limits left no model.
        """
        return self.decide(*_request_and_wishes(prompt, fields))

    def decide(self, request: Request, wishes: Wishes = NO_WISHES) -> Decision:
        """Choose the model for one request without calling it, and move its session there.

        Raises:
            NoModelAllowed: the limits left no model.
            RequestError: the wishes name a model that the router does not know.
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
        circumstances = Circumstances(
            unserved=unserved,
            local=self._transport.local_models(version.models, version.config, client),
            cooling=self._transport.cooling(),
            seat=self._sessions.seat(request.session_id),
            draw=self._draws.part.random(),
            serve_rules=self._shadow,
        )
        case = version.case(request, wishes, circumstances)
        decision = version.settle(case)
        self._sessions.sit(request.session_id, decision.model, case.tokens)
        return decision

    def completion_of(
        self, version: Version, request: Request, decision: Decision, arguments: Mapping[str, Json]
    ) -> Completion:
        """A decided request before its first attempt.

        Args:
            arguments: LiteLLM's, without the model.
        """
        return Completion(
            version=version,
            request=request,
            decision=decision,
            arguments=arguments,
            log=self.log,
            sessions=self._sessions,
        )

    def explain(self, prompt: str | Sequence[Json], **fields: Json) -> Explanation:
        """Explain which model a prompt goes to, why, and what would change that. Calls no model.

        Args:
            prompt: as in `route`.
            **fields: as in `route`; a `session_id` has no effect.

        Raises:
            RequestError: the request has the wrong form.
        """
        from router.explaining.explain import explain

        return explain(self._version, *_request_and_wishes(prompt, fields))

    def completion(self, model: str | None = None, messages: Sequence[Json] = (), **arguments: Json) -> Any:  # noqa: ANN401 - LiteLLM's response
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
            litellm.exceptions.APIError: the request itself is wrong (authentication, bad request, content
                policy).
        """
        call = self._decided(model, messages, arguments)
        transport = self._transport.under(call.version.config)
        return call.with_decision(transport.completion(call.chain, call.arguments, call.observe))

    async def acompletion(
        self, model: str | None = None, messages: Sequence[Json] = (), **arguments: Json
    ) -> Any:  # noqa: ANN401 - LiteLLM's response
        """Like `completion`; the decision runs in a thread and does not block the event loop."""
        call = await asyncio.to_thread(self._decided, model, messages, arguments)
        transport = self._transport.under(call.version.config)
        return call.with_decision(await transport.acompletion(call.chain, call.arguments, call.observe))

    def feedback(
        self,
        call_id: str,
        *,
        success: bool | None = None,
        score: float | None = None,
        source: str = "feedback",
    ) -> None:
        """Record the outcome of a call, at any later time and from any process that can write the log.

        Args:
            call_id: `response.decision.call_id`.
            score: a grade in [0, 1].
            source: who reports it.

        Raises:
            CallLogError: the router keeps no log.
            ValueError: neither success nor score is set, or the score is outside [0, 1].
        """
        if self.log is None:
            raise CallLogError("the router keeps no call log to add feedback to: set log.url")
        self.log.feedback(call_id, success=success, score=score, source=source)

    def close(self) -> None:
        """Stop following the registry, and write the log's pending rows."""
        if self.follower is not None:
            self.follower.stop()
        if self.log is not None:
            self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self, source: RegistrySource, copy: Copy, settings: Config | None) -> None:
        self.follower = Follower(
            source,
            copy,
            load=partial(_of_copy, settings),
            use=self._use,
            poll_s=self.config.registry.poll_s,
        )
        self.follower.start()

    def _use(self, version: Version) -> None:
        """Put a version in force; running requests keep theirs."""
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
        return self.completion_of(version, request, decision, whole)


def load_version(
    where: str | Path, settings: Config | None
) -> tuple[Version, tuple[RegistrySource, Copy] | None]:
    """Load a router from its folder or its registry address; from the latter, with its source and copy.

    Raises:
        ArtifactError, ConfigError: as `Router.load`.
    """
    if not str(where).startswith(SCHEMES):
        return Version.load(Path(where), settings), None
    source = RegistrySource(str(where), copies=settings.registry.copies if settings else None)
    copy = source.current()
    version = _of_copy(settings, copy)
    source.remember(copy)
    return version, (source, copy)


def _request_and_wishes(prompt: str | Sequence[Json], fields: dict[str, Json]) -> tuple[Request, Wishes]:
    """Split the arguments of a call."""
    wishes = {name: fields.pop(name) for name in WISH_FIELDS & fields.keys()}
    return Request.of(prompt, **fields), Wishes(**wishes)


def _of_copy(settings: Config | None, copy: Copy) -> Version:
    return Version.load(copy.folder, settings, held=copy)


def _opened(log: CallLog | str | Path | None, config: Config) -> CallLog | None:
    """The call log to write, or None."""
    if isinstance(log, CallLog):
        return log
    url = str(log) if log is not None else config.log.url
    if url is None:
        return None
    redact = load_function(config.log.redact) if config.log.redact else None
    return CallLog.open(url, text=config.log.text, redact=redact)
