"""The sections of `pointsman.yaml`: typed, frozen, with defaults."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from router.effort import EFFORT_PARAMETERS, EFFORTS, action_name, effort_in, endpoint_of, parameters_of
from router.settings.outcome_rules import FUNCTION_NAME, Outcomes
from router.settings.section import Count, OffOrAuto, Seconds, Settings, Share, ShareOrAuto, Usd


class TierPrice(Settings):
    """Price of a model at a service tier, in USD per million tokens."""

    input_usd_per_million: Usd
    output_usd_per_million: Usd


class LongPromptPrice(TierPrice):
    """Price of a call with more than `tokens` input tokens."""

    tokens: Annotated[int, Field(gt=0)]


class Price(Settings):
    """List price of a model, in USD per million tokens.

    Attributes:
        cached_input_usd_per_million: of input in the provider's prompt cache; None: the same share of the
            input's price as in LiteLLM's list, or the whole price if the list has none.
        cache_write_usd_per_million: of input that the provider writes into its cache; None: likewise.
        above: price of the whole call if its prompt is long, at any tier; None: the same.
        service_tiers: price by the call's `service_tier`, such as `flex` or `batch`; another tier has the
            price above.
        audio_input_usd_per_million, audio_output_usd_per_million: of audio in the request, and of a spoken
            answer; None: the same multiple of the price of text as in LiteLLM's list.
    """

    input_usd_per_million: Usd
    output_usd_per_million: Usd
    cached_input_usd_per_million: Usd | None = None
    cache_write_usd_per_million: Usd | None = None
    above: LongPromptPrice | None = None
    service_tiers: dict[str, TierPrice] = {}
    audio_input_usd_per_million: Usd | None = None
    audio_output_usd_per_million: Usd | None = None

    @model_validator(mode="after")
    def _changes_what_costs(self) -> Self:
        for other in (*self.service_tiers.values(), *([self.above] if self.above else [])):
            for name in ("input_usd_per_million", "output_usd_per_million"):
                if getattr(other, name) and not getattr(self, name):
                    raise ValueError(f"{name} can't be 0 and differ by length or service tier: set the price")
        return self


class Capabilities(Settings):
    """What a model can do, if LiteLLM's list is wrong or silent; an unknown ability rules nothing out.

    Attributes:
        context_tokens: most input tokens.
        parameters: whether the model takes further LiteLLM parameters (`logprobs`, `reasoning_effort`, ...)
            or other input (`pdf_input`, `audio_input`, `video_input`), by name; it gets no request that needs
            one it does not take.
    """

    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    context_tokens: Annotated[int, Field(gt=0)] | None = None
    parameters: dict[str, bool] = {}


_VARIABLE = re.compile(r"[A-Za-z_]\w*")


def _variable_name(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of an environment variable, not the key itself")
    return name


APPLICATION = "application"


def _receiver(address: str) -> str:
    parts = urlsplit(address)
    is_receiver = parts.scheme in {"http", "https"} and parts.hostname and not parts.query
    if address != APPLICATION and not (is_receiver and "@" not in parts.netloc):
        raise ValueError(
            "must be 'application' or an address such as http://localhost:4318; a key goes into the variable "
            "OTEL_EXPORTER_OTLP_HEADERS"
        )
    return address


_NO_PARAMETERS = frozenset(
    {"api_key", "api_base", "base_url", "model", "messages", "stream", "mock_response"}
)


class ModelSettings(Settings):
    """One model of the team.

    Attributes:
        litellm_model: name in calls to LiteLLM, if it differs from the name in the log.
        api_base: address of the team's own endpoint.
        api_key_env: environment variable that holds the key; None: the variable that LiteLLM reads itself,
            but OpenAI's key is not sent to the team's own endpoint with OpenAI's protocol.
        local: whether the model runs on the team's own machines; None: true if LiteLLM calls it on this
            machine or at a private address (`ollama/...`, an own endpoint), unless it is a company's model
            behind a gateway.
        price: overrides the prices in the log and in LiteLLM's list.
        parameters: LiteLLM arguments of every call, unless the caller passes the argument.
        map: per parameter, the caller's value (as text, "*" for any other) and this model's value instead.
        drop: the caller's parameters that this model does not get.
        timeout_s, retries: override those of `calls`.
        efforts: reasoning efforts to choose among, each an action of its own: `low`, `high`, `thinking=8192`.
    """

    litellm_model: str | None = None
    api_base: str | None = None
    api_key_env: Annotated[str, AfterValidator(_variable_name)] | None = None
    local: bool | None = None
    price: Price | None = None
    capabilities: Capabilities = Capabilities()
    parameters: dict[str, Any] = {}
    map: dict[str, dict[str, Any]] = {}
    drop: list[str] = []
    timeout_s: Seconds | None = None
    retries: Count | None = None
    efforts: list[str] = []

    @field_validator("efforts")
    @classmethod
    def _are_efforts(cls, value: list[str]) -> list[str]:
        if any(action_name("model", one) == "model" for one in value):
            raise ValueError(f"holds a word that is none of {', '.join(EFFORTS)} or thinking=TOKENS")
        if len(set(value)) < len(value):
            raise ValueError("names an effort twice")
        return value

    @field_validator("parameters")
    @classmethod
    def _holds_no_connection(cls, value: dict[str, Any]) -> dict[str, Any]:
        if wrong := sorted(_NO_PARAMETERS & set(value)):
            raise ValueError(
                f"{wrong[0]!r} is not a parameter of the model; keys come from the environment "
                "(api_key_env), the address and the name have their own settings (api_base, litellm_model)"
            )
        return value


class HeuristicModels(Settings):
    """The models that the keyword complexity score chooses among."""

    strong: str
    middle: str
    cheap: str


class Rules(Settings):
    """The team's rule table.

    Attributes:
        default: model of a request that no other rule covers; None: the best single model of the training
            log.
        task_types: model per task type; this rule comes first.
        heuristic: chooses by the keyword complexity score, before `default`.
        answer_tokens: expected length of an answer, for the costs that a router of rules alone expects; a
            trained router predicts the length.
    """

    default: str | None = None
    task_types: dict[str, str] = {}
    heuristic: HeuristicModels | None = None
    answer_tokens: Annotated[int, Field(gt=0)] = 1000

    def models(self) -> set[str]:
        """The models that the table names."""
        named = set(self.task_types.values())
        if self.default:
            named.add(self.default)
        if self.heuristic:
            named |= {self.heuristic.strong, self.heuristic.middle, self.heuristic.cheap}
        return named


CONFIDENCE = 0.95
"""Default confidence of a promise."""


class Objective(Settings):
    """The goal of the policy.

    Attributes:
        kind: "cheapest": least cost at no less than the best single model's success rate;
            "quality": least cost at a success rate of `quality`; "budget": best success rate at a mean cost
            of `usd_per_call`, or at a pace of `usd_per_day`.
        usd_per_day: what to spend on the average day: while the router serves, it moves its weight on cost to
            keep this pace. No cap: the cheapest models cost what they cost.
        processes: processes that share `usd_per_day`, a part each.
        max_quality_loss: makes "cheapest" a promise: with a chance of `confidence`, the success rate is at
            most this far below the best single model's. Without evidence for that, training makes no router.
        confidence: of the promise.
        caution: standard errors by which the success rate, on the prompts that the weight is chosen on, must
            clear its target: the best single model's rate or `quality`. More caution costs more.
    """

    kind: Literal["cheapest", "quality", "budget"] = "cheapest"
    quality: Share | None = None
    usd_per_call: Usd | None = None
    usd_per_day: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    processes: Annotated[int, Field(ge=1)] = 1
    max_quality_loss: Annotated[float, Field(gt=0, lt=1)] | None = None
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = CONFIDENCE
    caution: Annotated[float, Field(ge=0, le=10)] = 0.0

    @model_validator(mode="after")
    def _has_its_target(self) -> Self:
        if (self.kind == "quality") != (self.quality is not None):
            raise ValueError("kind 'quality' needs 'quality', a success rate; another kind has none")
        limited = self.usd_per_call is not None or self.usd_per_day is not None
        if (self.kind == "budget") != limited:
            raise ValueError(
                "kind 'budget' needs 'usd_per_call', a mean cost, or 'usd_per_day', a pace; another kind has "
                "neither"
            )
        if self.processes > 1 and self.usd_per_day is None:
            raise ValueError("'processes' share 'usd_per_day': give both, or neither")
        if self.max_quality_loss is not None and self.kind != "cheapest":
            raise ValueError("'max_quality_loss' goes with kind 'cheapest': another kind has its own target")
        if self.confidence != CONFIDENCE and self.max_quality_loss is None:
            raise ValueError("'confidence' is that of 'max_quality_loss': give both, or neither")
        if self.caution and (self.kind == "budget" or self.max_quality_loss is not None):
            raise ValueError(
                "'caution' is about the success rate that 'cheapest' and 'quality' aim at: leave it out with "
                "kind 'budget', which aims at a cost, and with 'max_quality_loss', which is stricter"
            )
        return self


class Fallback(Settings):
    """When the policy leaves the decision to the rule table.

    Attributes:
        confidence: a threshold in [0, 1]; "auto": from the risk-coverage curve of the calibration part.
        max_risk: with "auto", the highest failure rate allowed among the requests that the policy keeps.
        unfamiliar_share: share of the training prompts that count as too different from the rest to decide
            on.
    """

    confidence: ShareOrAuto = "auto"
    max_risk: Share | None = None
    unfamiliar_share: Annotated[float, Field(ge=0, lt=1)] = 0.005


class Training(Settings):
    """How a router is fitted.

    Attributes:
        success_score: least score of a success, for a call with a score but no outcome.
        min_calls: a model with fewer known outcomes is left out.
        max_reject_share: reading stops if the share of unreadable rows is higher.
        max_prompts: prompts to fit on; a larger log is sampled by prompt key. More than 50,000 are kept in
            temporary files and read in blocks, so that memory hardly grows with them; thresholds, other
            choices and comparisons rest on 50,000 of them. None: a million with the static encoder, and
            50,000 with a network, which needs many times as long for each.
        half_life_days: age, before the log's newest call, at which an outcome teaches half as much; None: age
            does not matter.
        test_share: share of the prompts held out for the report.
        validation_share: share of the prompts that chooses between the estimators.
        runner: where logs are read: "native", in this process, or "ray", on a cluster.
        ray_address: of the Ray cluster, such as `ray://host:10001`; null: as `RAY_ADDRESS` says, else this
            machine alone.
        scratch: folder for the calls while they are read; every machine of a cluster must see it at the same
            path; null: the system's folder of temporary files.
        efforts: whether reasoning efforts of one model are actions of their own, `gpt-5@low`; "auto": those
            of a model with `min_calls` known outcomes at two or more.
        keep_text: whether the router's folder may hold the start of each training prompt, for
            `pointsman explain`.
        cascade: "auto": learn from logged answers for which task types it pays to ask a second model where
            the first one's answer looks wrong; the router asks only with the setting `cascade`.
    """

    encoder: str = "minilm"
    estimator: Literal["auto", "success", "label"] = "auto"
    success_score: Share = 0.5
    min_calls: Annotated[int, Field(ge=2)] = 50
    max_reject_share: Share = 0.05
    max_prompts: Annotated[int, Field(ge=100)] | None = None
    half_life_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    test_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    seed: Count = 0
    runner: Literal["native", "ray"] = "native"
    ray_address: str | None = None
    scratch: str | None = None
    efforts: Literal["auto", "apart", "together"] = "auto"
    keep_text: bool = False
    cascade: OffOrAuto = "off"


class Limits(Settings):
    """Limits on every request; a request may add limits, never remove them.

    Attributes:
        deny: models that get no request.
        max_cost_usd: rules out a model whose expected cost on a request, and 15 % for the error of its token
            count, is higher.
        local_only: allow only local models: the air-gapped setting.
        local_only_task_types, local_only_tags: allow only local models for requests with one of these,
            compared without case and surrounding space.
        arguments: further LiteLLM arguments that a request under a limit may carry, `extra_body.NAME`,
            `extra_headers.NAME` or `tools.TYPE` for what is in one. Without a limit, any passes.
    """

    deny: list[str] = []
    max_cost_usd: Usd | None = None
    local_only: bool = False
    local_only_task_types: list[str] = []
    local_only_tags: list[str] = []
    arguments: list[str] = []


class CoolDown(Settings):
    """When a failing model gets no requests for a while.

    Attributes:
        failures: failed attempts within `within_s` seconds that start the cool-down; 0: never.
        seconds: how long the cool-down lasts.
    """

    failures: Count = 3
    within_s: Seconds = 60.0
    seconds: Seconds = 30.0


class Calls(Settings):
    """How models are called, and what happens if a call fails.

    Attributes:
        fallbacks: per model, the models to try after it, in order; "*" stands for every other model. For a
            model without an entry, the policy's ranking.
        max_models: most models tried for one request.
        timeout_s: longest wait for a response, or for a stream's next piece.
        retries: further attempts on the same model before the next model.
        backoff_s, max_backoff_s: wait before the first retry, doubled for each further one, with jitter; and
            the longest wait, which also caps a provider's Retry-After header.
        also_fall_back_on: errors of the request that nevertheless lead to the next model.
    """

    fallbacks: dict[str, list[str]] = {}
    max_models: Annotated[int, Field(ge=1)] = 3
    timeout_s: Seconds = 600.0
    retries: Count = 1
    backoff_s: Seconds = 0.5
    max_backoff_s: Seconds = 10.0
    cool_down: CoolDown = CoolDown()
    also_fall_back_on: list[Literal["authentication", "bad_request", "content_policy"]] = []

    def models(self) -> set[str]:
        """The models that chains name."""
        return {model for chain in self.fallbacks.values() for model in chain} | (set(self.fallbacks) - {"*"})


class Log(Settings):
    """The call log.

    Attributes:
        url: a file ending in .db or .sqlite (SQLite) or .jsonl (JSON lines), or postgresql://... with its
            password in PGPASSWORD; None: no log.
        text: how much of a prompt is kept: "full", "redacted" (by `redact`), or "hash": only its key.
        redact: `module:function`; the function gets a text and returns the text to keep.
    """

    url: str | None = None
    text: Literal["full", "redacted", "hash"] = "full"
    redact: str | None = None

    @model_validator(mode="after")
    def _has_its_function(self) -> Self:
        if self.redact is not None and not FUNCTION_NAME.fullmatch(self.redact):
            raise ValueError("redact must name a function as 'module:function'")
        if (self.text == "redacted") != (self.redact is not None):
            raise ValueError("text 'redacted' needs the function 'redact'; any other text has none")
        return self


class Exploration(Settings):
    """Requests that go to another allowed model, so that the log learns about it.

    Attributes:
        share: of the requests that start a session or belong to none.
        seed: makes the draws repeatable, for tests, also in forked workers, which then all draw alike;
            None: a random seed for each process.
    """

    share: Share = 0.0
    seed: int | None = None


class Sessions(Settings):
    """Conversations: whether the turns of one `session_id` stay on their model.

    Attributes:
        stay: whether they do, unless the model can't serve a turn or another is clearly likelier to succeed.
        switch_margin: how much likelier, as a difference of probabilities.
        cached_price_share: price of an input token in the prompt cache, as a share of its full price, if
            LiteLLM's list has none.
        forget_after_s: forget a session after this time without a request.
        most: most sessions remembered; those unused longest are forgotten first.
    """

    stay: bool = True
    switch_margin: Share = 0.15
    cached_price_share: Share = 0.25
    forget_after_s: Seconds = 3600.0
    most: Annotated[int, Field(ge=1)] = 100_000


class Registry(Settings):
    """How a router loaded by `models:/NAME@ALIAS` follows its alias.

    Attributes:
        poll_s: seconds between two checks of the registry; 0: never.
        copies: folder with the latest versions, for when the registry is down; None: the user's cache folder.
    """

    poll_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    copies: str | None = None


class Watching(Settings):
    """Whether a router loaded by `models:/NAME@ALIAS` is compared with its own forecasts while it serves.

    A look is `pointsman watch` on the router's call log, in a process of its own; of several processes on one
    machine, one looks. It needs the extra `train`.

    Attributes:
        interval_s: seconds between two looks; None: never.
        roll_back: whether the alias moves back if the router as a whole is shown to succeed less than it
            forecast; False: that is only reported.
    """

    interval_s: Seconds | None = None
    roll_back: bool = True


class Metrics(Settings):
    """What goes out to monitoring about decisions and calls, never a prompt's text; off without an outlet.

    Attributes:
        opentelemetry: "application": metrics and spans go to the OpenTelemetry providers that the application
            has set up; or the address of an OTLP receiver over HTTP, such as http://localhost:4318.
        prometheus_port: port of a page with the metrics for Prometheus; each process serves its own.
        prometheus_host: address that the page listens on.
        processes: processes of this machine with such a page: each takes the first free port from
            `prometheus_port` on, and there are as many.
        interval_s: seconds between two reports to the OTLP receiver.
    """

    opentelemetry: Annotated[str, AfterValidator(_receiver)] | None = None
    prometheus_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    prometheus_host: str = "127.0.0.1"
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    interval_s: Seconds = 15.0

    @model_validator(mode="after")
    def _has_one_place_for_metrics(self) -> Self:
        if self.opentelemetry == APPLICATION and self.prometheus_port is not None:
            raise ValueError(
                "the application's own OpenTelemetry says where metrics go: leave out 'prometheus_port', "
                "and give its MeterProvider a PrometheusMetricReader"
            )
        return self

    @property
    def on(self) -> bool:
        """Whether anything goes out."""
        return self.opentelemetry is not None or self.prometheus_port is not None


class Promotion(Settings):
    """The gates of `pointsman retrain`: all must hold for a challenger to become the champion.

    Attributes:
        least_prompts: independent prompts to compare on; with fewer, nothing is decided.
        max_quality_loss: most that the success rate may lie below the champion's; the lower end of the
            interval counts.
        min_saving: least saving as a share of the champion's cost; the lower end of the interval counts. A
            negative one lets a better challenger cost more.
        worse_slices: most slices (task types, tags, languages, ...) that are shown to be less successful.
        max_calibration_error: of the challenger's confidence on the compared prompts.
    """

    least_prompts: Annotated[int, Field(ge=30)] = 200
    max_quality_loss: Share = 0.01
    min_saving: Annotated[float, Field(ge=-10, lt=1)] = 0.0
    worse_slices: Count = 0
    max_calibration_error: Share = 0.1


class Config(Settings):
    """The whole of `pointsman.yaml`.

    Attributes:
        models: settings per LiteLLM model name; a model of the log without an entry gets the defaults.
        aliases: the name that a model of the logs counts under, by the name in the logs; joins logs that name
            one model in two ways, such as `gpt-4o` and `openai/gpt-4o`.
        prices: "log": what the team's own calls cost, else LiteLLM's list; "litellm": the list first.
        baseline: the always-strong model to compare costs with; None: the best single model of the training
            log.
        cascade: "auto": where training found that it pays, an answer with tool calls or in a JSON form that
            looks wrong is followed by one call of a second model, whose answer is served; no stream is.
    """

    models: dict[str, ModelSettings] = {}
    aliases: dict[str, str] = {}
    rules: Rules = Rules()
    objective: Objective = Objective()
    fallback: Fallback = Fallback()
    training: Training = Training()
    outcomes: Outcomes = Outcomes()
    prices: Literal["log", "litellm"] = "log"
    baseline: str | None = None
    cascade: OffOrAuto = "off"
    limits: Limits = Limits()
    calls: Calls = Calls()
    log: Log = Log()
    exploration: Exploration = Exploration()
    sessions: Sessions = Sessions()
    registry: Registry = Registry()
    watch: Watching = Watching()
    metrics: Metrics = Metrics()
    promotion: Promotion = Promotion()

    @field_validator("models")
    @classmethod
    def _are_no_actions(cls, value: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        if actions := [name for name in value if effort_in(name) is not None]:
            model, effort = endpoint_of(actions[0]), effort_in(actions[0])
            raise ValueError(
                f"settings go by the model: write {{{model}: {{efforts: [{effort}]}}}}; if this is the whole "
                f"name of a model, give it another one here: {{{model}-{effort}: {{litellm_model: "
                f"{actions[0]}}}}}"
            )
        return value

    @field_validator("aliases")
    @classmethod
    def _end_at_once(cls, value: dict[str, str]) -> dict[str, str]:
        if chained := sorted(set(value.values()) & set(value)):
            raise ValueError(f"{chained[0]!r} is an alias itself: name the model that all of them stand for")
        return value

    def of(self, model: str) -> ModelSettings:
        """The settings of a model; the defaults if the file has none.

        Those of an action are its model's, with the parameter for its effort.
        """
        own = self.models.get(endpoint_of(model), _NO_SETTINGS)
        effort = effort_in(model)
        if effort is None:
            return own
        others = {name: value for name, value in own.parameters.items() if name not in EFFORT_PARAMETERS}
        called = own.litellm_model or endpoint_of(model)
        parameters = {**others, **parameters_of(effort)}
        return own.model_copy(update={"litellm_model": called, "parameters": parameters})

    def names_in_logs(self) -> dict[str, str]:
        """The name that a model of the logs counts under: `aliases`, and names that look like an action's.

        A `litellm_model` that ends in an effort is the whole name of a model, in logs as in calls.
        """
        called = {own.litellm_model: name for name, own in self.models.items() if own.litellm_model}
        return {name: own for name, own in called.items() if effort_in(name)} | self.aliases

    def actions(self) -> tuple[str, ...]:
        """What the models of the file let a router choose among, in their order."""
        return tuple(
            action
            for name, own in self.models.items()
            for action in [action_name(name, effort) for effort in own.efforts] or [name]
        )


_NO_SETTINGS = ModelSettings()
