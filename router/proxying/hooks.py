"""LiteLLM's hooks: the classifier behind an alias, and the callback that guards and logs every call."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from litellm.exceptions import BadRequestError, ServiceUnavailableError
from litellm.integrations.custom_logger import CustomLogger

from router.calling.reply import hidden_in
from router.deciding.arguments import CAP, straying
from router.errors import CallLogError, ConfigError, NoModelAllowed, RequestError, RouterError
from router.proxying.dispatch import (
    PLACEHOLDER,
    Candidates,
    Dispatcher,
    fit_arguments,
    group_of,
    objection,
    with_effort,
)
from router.proxying.ending import end_in_time, log_at_the_end
from router.proxying.outcome import CALLER_LEFT, answered, failed, outcome_of_event
from router.proxying.ticket import TICKET, CallerRequest, Ticket, unjudged
from router.records import Json

if TYPE_CHECKING:
    from litellm.types.router import RoutingContext

    from router.serving.client import Router

ROUTER_VARIABLE = "POINTSMAN_ROUTER"
CONFIG_VARIABLE = "POINTSMAN_CONFIG"
FEEDBACK_VARIABLE = "POINTSMAN_FEEDBACK_KEY"
FEEDBACK_PATH = "/pointsman/feedback"
EXPECT_VARIABLE = "POINTSMAN_EXPECT"
"""Digest that the router must have; set but empty, none has it, as a pin that got lost must not pass."""
CHAT_CALLS = frozenset({"acompletion", "completion"})
"""Kinds of call with the arguments of a chat completion."""
TEXT_CALLS = frozenset({"atext_completion", "text_completion"})
"""Kinds of call with the arguments of a legacy text completion."""
PROMPT_CALLS = CHAT_CALLS | TEXT_CALLS | {
    "anthropic_messages", "aresponses", "responses", "agenerate_content", "agenerate_content_stream",
}  # fmt: skip
"""Kinds of call with a prompt that a decision can be made on."""
NAMED_CALLS = frozenset(
    {
        "aembedding", "embedding", "aimage_generation", "image_generation", "amoderation", "moderation",
        "atranscription", "transcription", "aspeech", "speech", "arerank", "rerank",
    }
)  # fmt: skip
"""Kinds of call without a prompt to learn from, whose limits hold for the name of the model alone."""
REACHING_NO_MODEL: Mapping[str, frozenset[str]] = {
    "shows what the provider keeps under an id, or which ids it has": frozenset(
        {
            "afile_content", "afile_list", "afile_retrieve", "aget_agent", "aget_assistants", "aget_eval",
            "aget_interaction", "aget_messages", "aget_responses", "aget_run", "aget_skill", "aget_thread",
            "alist_agent_versions", "alist_agents", "alist_batches", "alist_container_files",
            "alist_containers", "alist_evals", "alist_fine_tuning_jobs", "alist_input_items", "alist_runs",
            "alist_skills", "aretrieve_batch", "aretrieve_container", "aretrieve_container_file",
            "aretrieve_container_file_content", "aretrieve_fine_tuning_job", "avector_store_file_content",
            "avector_store_file_list", "avector_store_file_retrieve", "avector_store_list",
            "avector_store_retrieve", "avideo_content", "avideo_get_character", "avideo_list",
            "avideo_retrieve", "avideo_retrieve_job", "avideo_status", "file_content", "file_list",
            "file_retrieve", "get_assistants", "get_messages", "get_thread", "list_container_files",
            "list_containers", "list_fine_tuning_jobs", "list_mcp_tools", "retrieve_batch",
            "retrieve_container", "retrieve_fine_tuning_job", "vector_store_file_content",
            "vector_store_file_list", "vector_store_file_retrieve", "video_content", "video_get_character",
            "video_list", "video_retrieve", "video_retrieve_job",
        }
    ),
    "deletes what the provider keeps under an id": frozenset(
        {
            "adelete_agent", "adelete_assistant", "adelete_container", "adelete_container_file",
            "adelete_eval", "adelete_interaction", "adelete_responses", "adelete_run", "adelete_sandbox",
            "adelete_skill", "afile_delete", "avector_store_delete", "avector_store_file_delete",
            "avideo_delete", "delete_assistant", "delete_container", "delete_sandbox", "file_delete",
            "vector_store_file_delete", "video_delete",
        }
    ),
    "stops what runs under an id": frozenset(
        {
            "acancel_batch", "acancel_eval", "acancel_fine_tuning_job", "acancel_interaction",
            "acancel_responses", "acancel_run", "cancel_batch", "cancel_fine_tuning_job",
        }
    ),
}  # fmt: skip
"""Kinds of call that pass under any limit, by the reason: they carry an id, no text, and no model works."""
SHARED_METADATA = CHAT_CALLS | NAMED_CALLS | TEXT_CALLS
"""Kinds of call for which LiteLLM keeps its metadata with the caller's."""


class Classifier:
    """LiteLLM's `classifier_plugin`: names the tier of a request. Tiers have the names of their models."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def classify(self, context: RoutingContext) -> str | None:
        """The chosen model, or None to let LiteLLM's own fallback decide.

        LiteLLM decides if a trained router is not sure, unless a model that it could choose may not serve the
        request or exploration needs the exact propensity; then the rule table decides here. LiteLLM also
        decides if no model may serve the request, and the callback then refuses its choice.
        """
        ticket = ticket_of({"metadata": context.metadata})
        ticket = ticket or Ticket("", CallerRequest.of({}, context.metadata))
        groups = tuple(context.candidate_models)
        messages = context.structured_messages or context.raw_messages
        await self._dispatcher.decide(ticket, Candidates(groups=groups), messages)
        if ticket.completion is None:
            return None
        decision = ticket.completion.decision
        safe = set(groups) <= set(decision.ranking)
        learned = ticket.completion.version.learned
        ticket.left_to_litellm = decision.source == "rule" and decision.propensity == 1.0 and safe and learned
        return None if ticket.left_to_litellm else group_of(decision.model, groups)


class Callback(CustomLogger):
    """Refuses what the limits forbid, and writes a row of the call log for every attempt.

    Every request of the proxy gets a ticket before its routing. LiteLLM's own calls, such as health checks,
    have no ticket and pass.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    async def async_pre_call_hook(
        self,
        user_api_key_dict: object,
        cache: object,
        data: dict[str, Any],
        call_type: str,
    ) -> None:
        """Give a request of the proxy its ticket; refuse a kind of call that no later hook checks.

        Raises:
            Refused, Unprepared: the request is under a limit, and no hook judges its kind of call.
        """
        end_in_time()
        if any(call_type in kinds for kinds in REACHING_NO_MODEL.values()):
            return
        await self._dispatcher.ready()
        labelled = "proxy_server_request" in data
        if call_type not in PROMPT_CALLS | NAMED_CALLS:
            refuse_limited(self._dispatcher, data, call_type, labelled=labelled)
            return
        if straying(unjudged(data), CAP):
            refuse_limited(self._dispatcher, data, labelled=labelled)
        metadata = data.setdefault(metadata_name(call_type), {})
        both = {**(data.get("metadata") or {}), **metadata}
        messages = request_messages(data) if call_type in PROMPT_CALLS else None
        request = CallerRequest.of(data, both, messages)
        call_id = str(data.get("litellm_call_id") or "")
        ticket = metadata[TICKET] = Ticket(call_id, request, prompted=call_type in PROMPT_CALLS)
        log_at_the_end(ticket)
        options = data.get("stream_options") or {}
        if data.get("stream") and call_type in CHAT_CALLS | TEXT_CALLS and not options.get("include_usage"):
            ticket.reading.hides_counts = True
            data["stream_options"] = {**options, "include_usage": True}

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Json = None,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: object = None,
    ) -> list[dict[str, Any]]:
        """Refuse a model group that may not serve the request, before LiteLLM picks a deployment of it."""
        kwargs = request_kwargs or {}
        if ticket := ticket_of(kwargs):
            named = any(metadata.get("model_group") == model for metadata in metadata_in(kwargs))
            await self._check(ticket, Candidates(pinned=model if named else None), messages, model)
        return healthy_deployments

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: object
    ) -> dict[str, Any] | None:
        """Refuse again, as a caller may name a deployment by its id; otherwise start the attempt.

        Returns:
            The arguments as the model takes them, or None to leave them unchanged.
        """
        ticket = ticket_of(kwargs)
        if ticket is None:
            return None
        kind = str(getattr(call_type, "value", call_type))
        # Where LiteLLM translates a protocol, it calls this again for the chat completion within, whose
        # metadata keeps the place of the outer call.
        metadata = next(one for one in metadata_in(kwargs) if one.get(TICKET) is ticket)
        group = str(metadata.get("deployment_model_name") or metadata.get("model_group"))
        await self._check(ticket, Candidates(pinned=group), kwargs.get("messages"), group)
        changed, notes = (
            fit_arguments(ticket, group, kwargs)
            if kind in CHAT_CALLS
            else (with_effort(ticket, group, kind, kwargs), ())
        )
        ticket.begin(group, notes)
        return changed

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, object],
        exception: Exception,
        call_type: object,
        fallback_depth: int | None = None,
    ) -> None:
        """End a failed attempt. LiteLLM's failure event below reports only a request's first failure."""
        if ticket := ticket_of(request_data):
            ticket.end(failed(exception, stream=bool(request_data.get("stream"))))

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: object, response: AsyncIterable[Any], request_data: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """Yield the pieces of a stream, without token counts that the caller did not ask for."""
        ticket = ticket_of(request_data)
        if ticket is None:
            async for piece in response:
                yield piece
            return
        try:
            async for piece in response:
                if ticket.reading.hands_out(piece):
                    yield piece
        except Exception as error:
            ticket.end(failed(error, stream=True, begun=ticket.answer_begun))
            raise
        except BaseException:
            ticket.end(CALLER_LEFT)
            raise
        if ticket.reading.finish_reason:
            ticket.answer(ticket.reading.outcome())

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: object, response: object
    ) -> None:
        """End an attempt that answered in one piece; LiteLLM's success event may come much later."""
        if ticket := ticket_of(data):
            cached = bool(hidden_in(response).get("cache_hit"))
            if isinstance(response, Mapping) and "candidates" in response:
                # Where LiteLLM translates Gemini's protocol, it reports no event.
                ticket.end(answered(response, cached=cached, model=ticket.called))
            else:
                ticket.answer(answered(response, cached=cached))

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """End an attempt that answered; for a stream, at its end."""
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """End an attempt that failed, perhaps in the middle of a stream."""
        self.log_failure_event(kwargs, response_obj, start_time, end_time)

    def log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """Likewise, for a `litellm.Router` without asyncio."""
        if ticket := ticket_of(kwargs.get("litellm_params") or {}):
            ticket.end(outcome_of_event(kwargs, response_obj, end_time))

    def log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """Likewise, for a `litellm.Router` without asyncio."""
        error, ticket = kwargs.get("exception"), ticket_of(kwargs.get("litellm_params") or {})
        if ticket is not None and isinstance(error, Exception):
            stream = bool(kwargs.get("stream"))
            begun = stream and kwargs.get("completion_start_time") is not None
            ticket.end_by_event(failed(error, stream=stream, begun=begun, ended=end_time))

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: object,
        traceback_str: str | None = None,
    ) -> None:
        """End the last attempt of a failed request, if no other hook reported it."""
        if ticket := ticket_of(request_data):
            ticket.end(failed(original_exception, stream=bool(request_data.get("stream"))))

    async def _check(self, ticket: Ticket, candidates: Candidates, messages: Json, group: str) -> None:
        """Decide if the classifier did not, and refuse a request that may not go to a group.

        Raises:
            Refused, Unprepared: the group may not serve it.
        """
        await self._dispatcher.decide(ticket, candidates, messages)
        check(ticket, group)


class Refused(BadRequestError):
    """The limits forbid the request: the caller gets status 400 and the reasons."""

    def __init__(self, why: str, group: str) -> None:
        super().__init__(message=why, model=group, llm_provider="pointsman")


class Unprepared(ServiceUnavailableError):
    """Without a router no limit can be checked, so the request is refused: status 503."""

    def __init__(self, why: str, group: str) -> None:
        super().__init__(message=why, model=group, llm_provider="pointsman")


def refuse_limited(
    dispatcher: Dispatcher, data: Mapping[str, Any], unjudged_type: str | None = None, *, labelled: bool
) -> None:
    """Refuse a request under a limit if one of its arguments or its kind of call could pass that by.

    Args:
        unjudged_type: a kind of call that no hook judges; None: one is judged.
        labelled: whether the metadata shows the request's tags and task type.

    Raises:
        Refused, Unprepared: it could, or that can't be known.
    """
    request, model = CallerRequest.of({}, all_metadata(data), PLACEHOLDER), str(data.get("model"))
    try:
        limits = dispatcher.router().version.limits
        order, wishes = request.to_request(None), request.wishes()
        why: object = None
        if unjudged_type is None:
            why = limits.passed_by(order, wishes, unjudged(data), labelled=labelled)
        elif under := limits.binding(order, wishes, labelled=labelled):
            why = (
                f"it is under the limit {under[0]!r}, which can't be checked for LiteLLM's "
                f"{unjudged_type!r}; use chat completions, messages or responses"
            )
    except RequestError as error:
        raise Refused(str(error), model) from error
    except RouterError as error:
        raise Unprepared(f"the router can't be loaded: {error}", model) from error
    if why is not None:
        raise Refused(f"this request may not be sent: {why}", model)


def check(ticket: Ticket, group: str) -> None:
    """Refuse a decided request that may not go to a model group.

    Raises:
        Refused, Unprepared: the group may not serve it.
    """
    refusal = ticket.refusal
    if isinstance(refusal, NoModelAllowed | RequestError):
        raise Refused(str(refusal), group)
    if refusal is not None:
        raise Unprepared(f"the router can't be loaded: {refusal}", group)
    if why := objection(ticket, group):
        raise Refused(f"{group} may not serve this request ({why})", group)


def metadata_name(call_type: str) -> str:
    """The argument that holds LiteLLM's metadata; the other one holds only the caller's."""
    return "metadata" if call_type in SHARED_METADATA else "litellm_metadata"


def metadata_in(arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """LiteLLM's metadata of a call and the caller's."""
    for name in ("metadata", "litellm_metadata"):
        if isinstance(metadata := arguments.get(name), Mapping):
            yield metadata


def all_metadata(arguments: Mapping[str, Any]) -> dict[str, Json]:
    """Both together."""
    return dict(chain.from_iterable(one.items() for one in metadata_in(arguments)))


def ticket_of(arguments: Mapping[str, Any]) -> Ticket | None:
    """The ticket in the arguments of a call, or None if LiteLLM itself made the call."""
    tickets = (metadata.get(TICKET) for metadata in metadata_in(arguments))
    return next((ticket for ticket in tickets if isinstance(ticket, Ticket)), None)


def request_messages(data: Mapping[str, Any]) -> Json:
    """The messages of a request; those of the other protocols become chat messages."""
    sources = [data[name] for name in ("messages", "input", "prompt", "contents") if data.get(name)]
    listed = chain.from_iterable([one] if isinstance(one, str | Mapping) else one for one in sources)
    turns = [turn for one in listed if (turn := _turn(one)) is not None]
    system = data.get("system") or data.get("instructions") or _parts_text(data.get("systemInstruction"))
    return [{"role": "system", "content": system}, *turns] if system else turns


def _turn(one: Json) -> Json:
    """One message, one text, or one of Gemini's contents, as a chat message; None if it is none of them.

    What else the Responses API lists, such as a tool's result, becomes a message with its JSON.
    """
    if isinstance(one, str):
        return {"role": "user", "content": one}
    if not isinstance(one, Mapping):
        return None
    if "parts" in one:
        role = "assistant" if one.get("role") == "model" else "user"
        return {"role": role, "content": _parts_text(one)}
    if isinstance(one.get("role"), str):
        return one
    held = {name: value for name, value in one.items() if name not in ("id", "status", "type")}
    role = "tool" if str(one.get("type")).endswith("_output") else "assistant"
    return {"role": role, "content": json.dumps(held, default=str)} if held else None


def _parts_text(content: Json) -> str:
    """The text of Gemini's parts; a part that is no text counts as its JSON."""
    parts = content.get("parts") if isinstance(content, Mapping) else content
    listed = parts if isinstance(parts, list) else [] if parts is None else [parts]
    texts = (one.get("text") if isinstance(one, Mapping) else one for one in listed)
    return "\n".join(
        text if isinstance(text, str) else json.dumps(one, default=str)
        for one, text in zip(listed, texts, strict=True)
    )


def load_by_environment() -> Router:
    """Load the router that the environment names: LiteLLM passes no arguments to a plugin.

    Raises:
        RouterError: the environment names no router, or it can't be loaded or is not the expected one.
    """
    from router.serving.client import Router

    where = os.environ.get(ROUTER_VARIABLE)
    if not where:
        raise ConfigError(
            f"{ROUTER_VARIABLE} is not set: set it to the router's folder or its models:/ address; "
            "`pointsman litellm-config` writes it into the proxy's configuration"
        )
    config = os.environ.get(CONFIG_VARIABLE) or None
    return Router.load(where, config=config, expect=os.environ.get(EXPECT_VARIABLE))


@cache
def of_this_process() -> Dispatcher:
    """The dispatcher of the proxy's process; LiteLLM may execute `litellm_plugin` more than once."""
    return Dispatcher(load_by_environment)


def serve_feedback(dispatcher: Dispatcher) -> None:
    """Add the route for feedback to the proxy of this process, if there is one and the environment has a key.

    Raises:
        ConfigError: the key is too short.
    """
    key, proxy = os.environ.get(FEEDBACK_VARIABLE), sys.modules.get("litellm.proxy.proxy_server")
    if not key or proxy is None or any(getattr(one, "path", "") == FEEDBACK_PATH for one in proxy.app.routes):
        return
    from router.serving.feedback_app import FeedbackApp

    proxy.app.add_route(FEEDBACK_PATH, FeedbackApp(lambda: _log_of(dispatcher.router()), key=key))


def _log_of(router: Router) -> str:
    if router.config.log.url is None:
        raise CallLogError("the router keeps no call log to add feedback to: set log.url")
    return router.config.log.url
