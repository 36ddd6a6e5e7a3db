"""What `pointsman.yaml` may hold: typed, frozen, with defaults."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from router.settings.outcome_rules import FUNCTION_NAME, Outcomes
from router.settings.section import Count, Seconds, Settings, Share, ShareOrAuto, Usd


class Price(Settings):
    """List price of a model, in USD per million tokens.

    Attributes:
        cached_input_usd_per_million: of input that the provider has in its prompt cache; None: the same part
            of the input's price as in LiteLLM's list, or all of it where that has none.
    """

    input_usd_per_million: Usd
    output_usd_per_million: Usd
    cached_input_usd_per_million: Usd | None = None


class Capabilities(Settings):
    """What a model can do, where LiteLLM's list is wrong or silent; what neither says rules nothing out.

    Attributes:
        context_tokens: most input tokens.
        parameters: names of further LiteLLM parameters (`logprobs`, `reasoning_effort`, ...) or other input
            (`pdf_input`, `audio_input`, `video_input`), and whether the model takes them; a request that
            needs one that it does not take is sent elsewhere.
    """

    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    context_tokens: Annotated[int, Field(gt=0)] | None = None
    parameters: dict[str, bool] = {}


_VARIABLE = re.compile(r"[A-Za-z_]\w*")


def _a_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of an environment variable, not the key itself")
    return name


_NO_PARAMETERS = frozenset(
    {"api_key", "api_base", "base_url", "model", "messages", "stream", "mock_response"}
)


class ModelSettings(Settings):
    """One model of the team's.

    Attributes:
        litellm_model: what LiteLLM is called with, where that is another name than the log's.
        api_base: address of an own endpoint.
        api_key_env: environment variable that holds the key; None: the one LiteLLM reads by itself, but an
            endpoint of one's own that speaks OpenAI's protocol gets no key of OpenAI's.
        local: the model runs on the team's own machines; None: what LiteLLM calls on this machine or at a
            private address does (`ollama/...`, an own endpoint), but no company's model behind a gateway.
        price: overrides the price seen in the log and LiteLLM's list.
        parameters: LiteLLM arguments sent with every call, unless the caller gives the argument.
        map: per parameter, the caller's value (as text, "*" for any other) and what this model gets instead.
        drop: parameters of the caller's that this model does not get.
        timeout_s, retries: override those of `calls`.
    """

    litellm_model: str | None = None
    api_base: str | None = None
    api_key_env: Annotated[str, AfterValidator(_a_variable)] | None = None
    local: bool | None = None
    price: Price | None = None
    capabilities: Capabilities = Capabilities()
    parameters: dict[str, Any] = {}
    map: dict[str, dict[str, Any]] = {}
    drop: list[str] = []
    timeout_s: Seconds | None = None
    retries: Count | None = None

    @field_validator("parameters")
    @classmethod
    def _holds_no_connection(cls, value: dict[str, Any]) -> dict[str, Any]:
        if wrong := sorted(_NO_PARAMETERS & set(value)):
            raise ValueError(
                f"{wrong[0]!r} is no parameter of the model's; keys come from the environment (api_key_env), "
                "the address and the name have settings of their own (api_base, litellm_model)"
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
        default: model of a request that nothing else covers; None: the best single model of the training log.
        task_types: model per task type; looked up first.
        heuristic: decides by the keyword complexity score, before `default`.
    """

    default: str | None = None
    task_types: dict[str, str] = {}
    heuristic: HeuristicModels | None = None

    def models(self) -> set[str]:
        """Every model that the table names."""
        named = set(self.task_types.values())
        if self.default:
            named.add(self.default)
        if self.heuristic:
            named |= {self.heuristic.strong, self.heuristic.middle, self.heuristic.cheap}
        return named


CONFIDENCE = 0.95
"""Of a promise, unless another one is asked for."""


class Objective(Settings):
    """What the policy is for.

    Attributes:
        kind: "cheapest": least cost at no less than the best single model's success rate;
            "quality": least cost at a success rate of `quality`; "budget": best success rate at a mean cost
            of `usd_per_call`.
        max_quality_loss: with "cheapest", makes it a promise: the success rate is no more than this below
            the best single model's, at a chance of `confidence`; no router is made where that can't be shown.
        confidence: of the promise.
    """

    kind: Literal["cheapest", "quality", "budget"] = "cheapest"
    quality: Share | None = None
    usd_per_call: Usd | None = None
    max_quality_loss: Annotated[float, Field(gt=0, lt=1)] | None = None
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = CONFIDENCE

    @model_validator(mode="after")
    def _has_its_target(self) -> Self:
        if (self.kind == "quality") != (self.quality is not None):
            raise ValueError("kind 'quality' needs 'quality', a success rate; another kind has none")
        if (self.kind == "budget") != (self.usd_per_call is not None):
            raise ValueError("kind 'budget' needs 'usd_per_call', a mean cost; another kind has none")
        if self.max_quality_loss is not None and self.kind != "cheapest":
            raise ValueError("'max_quality_loss' goes with kind 'cheapest': another kind has its own target")
        if self.confidence != CONFIDENCE and self.max_quality_loss is None:
            raise ValueError("'confidence' is that of 'max_quality_loss': give both, or neither")
        return self


class Fallback(Settings):
    """When the policy steps aside to the rule table.

    Attributes:
        confidence: a threshold in [0, 1]; "auto": from the risk-coverage curve of the calibration part.
        max_risk: with "auto", the highest failure rate allowed among the requests the policy keeps.
        unfamiliar_share: share of the training prompts that count as too unlike the rest to decide on.
    """

    confidence: ShareOrAuto = "auto"
    max_risk: Share | None = None
    unfamiliar_share: Annotated[float, Field(ge=0, lt=1)] = 0.005


class Training(Settings):
    """How a router is fitted.

    Attributes:
        success_score: a call with a score but no outcome succeeded from this score on.
        min_calls: a model with fewer known outcomes is left out.
        max_reject_share: over this share of unreadable rows, reading stops.
        max_prompts: prompts kept for fitting; a larger log is sampled by prompt key.
        test_share: part of the prompts held out for the report.
        validation_share: part that chooses between the estimators.
        keep_text: the router's folder may hold the start of each training prompt, for `pointsman explain`.
    """

    encoder: str = "minilm"
    estimator: Literal["auto", "success", "label"] = "auto"
    success_score: Share = 0.5
    min_calls: Annotated[int, Field(ge=2)] = 50
    max_reject_share: Share = 0.05
    max_prompts: Annotated[int, Field(ge=100)] = 50_000
    test_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    seed: Count = 0
    runner: Literal["native", "ray"] = "native"
    keep_text: bool = False


class Limits(Settings):
    """Limits on every request; a request may add to them, never take away.

    Attributes:
        deny: models that get no request.
        max_cost_usd: a model expected to cost more on a request is ruled out.
        local_only: only local models get a request: the air-gapped setting.
        local_only_task_types, local_only_tags: likewise for the requests that carry one of these.
    """

    deny: list[str] = []
    max_cost_usd: Usd | None = None
    local_only: bool = False
    local_only_task_types: list[str] = []
    local_only_tags: list[str] = []


class CoolDown(Settings):
    """When a failing model is left alone.

    Attributes:
        failures: that many failed attempts within `within_s` seconds start it; 0: never.
        seconds: how long it lasts.
    """

    failures: Count = 3
    within_s: Seconds = 60.0
    seconds: Seconds = 30.0


class Calls(Settings):
    """How models are called, and what happens when a call fails.

    Attributes:
        fallbacks: per model, the models that are tried after it, in order; "*" stands for every other model.
            None for a model: the policy's own ranking.
        max_models: most models tried for one request.
        timeout_s: longest wait for a response, or for a stream's next piece.
        retries: further attempts on the same model before the next one is tried.
        backoff_s, max_backoff_s: wait before the first retry, doubled for each further one, with jitter; and
            the longest wait. A provider's Retry-After header is obeyed up to the longest wait.
        also_fall_back_on: mistakes of the request that are tried on the next model all the same.
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
        """Every model that a chain names."""
        return {model for chain in self.fallbacks.values() for model in chain} | (set(self.fallbacks) - {"*"})


class Log(Settings):
    """The call log.

    Attributes:
        url: a file ending in .db or .sqlite (SQLite) or .jsonl (JSON lines), or postgresql://... with its
            password in PGPASSWORD; None: no log.
        text: what is kept of a prompt: "full", "redacted" (by `redact`), or "hash": only its key.
        redact: `module:function`, which gets a text and returns the text to keep.
    """

    url: str | None = None
    text: Literal["full", "redacted", "hash"] = "full"
    redact: str | None = None

    @model_validator(mode="after")
    def _has_its_function(self) -> Self:
        if self.redact is not None and not FUNCTION_NAME.fullmatch(self.redact):
            raise ValueError(f"redact must be 'module:function', got {self.redact!r}")
        if (self.text == "redacted") != (self.redact is not None):
            raise ValueError("text 'redacted' needs 'redact', a function; another text has none")
        return self


class Exploration(Settings):
    """Requests that take another allowed model, so that the log learns about it.

    Attributes:
        share: of the requests that start a session or belong to none.
        seed: makes the draws repeatable, for tests; None: from the system.
    """

    share: Share = 0.0
    seed: int | None = None


class Sessions(Settings):
    """Conversations: whether the turns of one `session_id` stay on their model.

    Attributes:
        stay: they do, unless the request outgrows it or another model is clearly more likely to succeed.
        switch_margin: by how much more likely.
        cached_price_share: price of an input token in the prompt cache, as a share of its full price, where
            LiteLLM's list has none.
        forget_after_s: a session without a request for so long is forgotten.
        most: sessions remembered; the longest unused are forgotten first.
    """

    stay: bool = True
    switch_margin: Share = 0.15
    cached_price_share: Share = 0.25
    forget_after_s: Seconds = 3600.0
    most: Annotated[int, Field(ge=1)] = 100_000


class Registry(Settings):
    """How a router loaded by `models:/NAME@ALIAS` follows its alias.

    Attributes:
        poll_s: seconds between two looks at the registry; 0: never.
        copies: folder that keeps the versions used last, for when the registry is down; None: the user's
            cache folder.
    """

    poll_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    copies: str | None = None


class Config(Settings):
    """The whole of `pointsman.yaml`.

    Attributes:
        models: settings per LiteLLM model name; a model of the log that is missing here gets the defaults.
        prices: "log": what the team's own calls cost, else LiteLLM's list; "litellm": the list first.
        baseline: the always-strong model that costs are compared with; None: the best single model of the
            training log.
    """

    models: dict[str, ModelSettings] = {}
    rules: Rules = Rules()
    objective: Objective = Objective()
    fallback: Fallback = Fallback()
    training: Training = Training()
    outcomes: Outcomes = Outcomes()
    prices: Literal["log", "litellm"] = "log"
    baseline: str | None = None
    limits: Limits = Limits()
    calls: Calls = Calls()
    log: Log = Log()
    exploration: Exploration = Exploration()
    sessions: Sessions = Sessions()
    registry: Registry = Registry()

    def of(self, model: str) -> ModelSettings:
        """The settings of a model; the defaults where the file has none."""
        return self.models.get(model, _NO_SETTINGS)


_NO_SETTINGS = ModelSettings()
