"""One loaded version of a router: it forecasts each request and decides on it. A version never changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from threading import BoundedSemaphore

import numpy as np

from router.calling.parameters import own_parameters
from router.deciding.audio import audio_of, tokens_a_second
from router.deciding.cascade import Branch, Cascade, is_checked
from router.deciding.decide import Case, Stay, decide
from router.deciding.limits import LimitCheck
from router.deciding.policy import Policy
from router.deciding.sessions import Seat
from router.effort import EFFORT_PARAMETERS, effort_in, effort_of, endpoint_of
from router.errors import ConfigError, DamagedArtifact, RequestError
from router.forecasting.encoder import Encoder, EncoderInfo, Encoding, load_encoder
from router.forecasting.features import Features, FeatureSpec, embedded_text, featurize, request_features
from router.forecasting.head import Head, Outlook, SuccessParts
from router.forecasting.one_request import OneRequest
from router.forecasting.one_row import FEW
from router.forecasting.read_part import check_size, fits
from router.forecasting.request_tokens import BOUNDING, MEDIA_TOKENS, SAFE_SIDE, billed_output
from router.forecasting.task_groups import ABOUT_FILE, TaskGroups
from router.forking import ForkSafe
from router.loading.artifact import check_digest, digest_of, load_arrays, read_manifest, refusing_malformed
from router.models.model_list import Target
from router.models.names import ModelNames, with_own_names
from router.models.prices import (
    TEXT_ALIKE,
    ModelPrice,
    PriceTable,
    cached_price_of,
    current_prices,
    dearest_price,
)
from router.records import (
    NO_WISHES,
    BoolArray,
    Decision,
    FloatArray,
    Json,
    Request,
    Wishes,
    has_text,
    near_miss,
)
from router.settings.sections import Config
from router.settings.yaml_file import parse_config, routing_part
from router.text import shown

logger = logging.getLogger(__name__)

HEAD_FILE = "head.safetensors"
KEYS_FILE = "training_keys.safetensors"
ENCODER_FOLDER = "encoder"
TASKS_FOLDER = "tasks"
_TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CANARIES = (
    Request.of("Is this router in order?"),
    Request.of(""),
    Request.of("今天的订单在哪里? Où est ma commande? \U0001f6b2"),
    Request.of("word " * 5_000),
    Request.of(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}],
        tools=[_TOOL],
        response_format={"type": "json_object"},
    ),
    Request.of([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, _IMAGE]}]),
)
"""Requests of every shape, which a version must decide before it serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The router's expectation for n requests.

    Attributes:
        probability: shape (n, n_models); calibrated chance of success.
        cost: shape (n, n_models); expected USD per call, NaN where a price is unknown.
        familiarity: shape (n,); mean similarity to the nearest training prompts, in [-1, 1].
        tokens: shape (n,); input tokens that a provider bills.
        billed: what the cost was computed from.
        beside: USD that the cost holds beside it, shape (n_models,), for audio.
    """

    probability: FloatArray
    cost: FloatArray
    familiarity: FloatArray
    tokens: FloatArray
    billed: tuple[FloatArray, FloatArray, Sequence[Json] | None] | None = None
    beside: FloatArray | float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a decision depends on besides the request and the version.

    Attributes:
        cooling: reason for each model in cool-down; such a model serves only if no other may.
        unserved: reason for each model that nobody serves now.
        local: models whose calls stay on the team's own machines now; None: as the settings say.
        targets: the deployments that serve each model now; a model that is missing is called by its name.
        seat: where the request's session is.
        draw: uniform in [0, 1); decides about exploration.
        serve_rules: shadow mode.
        weight: success probability that one USD is worth now; None: as trained.
    """

    cooling: Mapping[str, str] = field(default_factory=dict)
    unserved: Mapping[str, str] = field(default_factory=dict)
    local: Collection[str] | None = None
    targets: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    seat: Seat | None = None
    draw: float = 1.0
    serve_rules: bool = False
    weight: float | None = None


@lru_cache(maxsize=4096)
def new_task_type(task_type: str, known: frozenset[str]) -> str:
    """Warn, once, of a task type that neither the training log nor the rules name.

    Returns:
        The question whether a known one was meant; empty if none is like it.
    """
    meant = near_miss(task_type, known)
    question = f"task type {shown(task_type)} is new here: did you mean {meant!r}?" if meant else ""
    logger.warning("%s", question or f"task type {shown(task_type)} is new here: it counts as none")
    return question


BILLING = BOUNDING | {"service_tier"}
"""Arguments that change what a forecast costs."""
ANSWERING = EFFORT_PARAMETERS | {"enable_thinking", "modalities"}
"""Arguments that change it for a model whose speech or thought costs more than text."""
ENOUGH_TEXTLESS = 50
"""Training prompts without text, such as an image alone, from which the router may judge another one."""


class Version:
    """A router's folder, loaded.

    Attributes:
        models: LiteLLM model names to choose from, in the order of every array.
        manifest: what training recorded about the router.
        prices: today's price of each model, and its source.
        task_groups: supply a task type for a request without one; None: the request stays without.
        cascade: says for which answers a second model is asked; None: for none.
        learned: whether it forecasts success; False: a router of rules alone.
    """

    learned = True
    cascade: Cascade | None = None

    def __init__(
        self, *, folder: Path, manifest: Mapping[str, Json], config: Config, held: object = None
    ) -> None:
        """Read a checked folder; use `load` unless its manifest is already at hand.

        Args:
            held: object to keep alive with the version, such as the folder's copy on disk.
        """
        self.folder = folder
        self._held = held
        self.config = config
        self.policy_version = str(manifest["policy_version"])
        self._offer(manifest)
        self.encoder: Encoder = load_encoder(folder / ENCODER_FOLDER, EncoderInfo(**manifest["encoder"]))
        self.head = Head.from_arrays(load_arrays(folder / HEAD_FILE), manifest["head"])
        self.spec = FeatureSpec(
            task_types=tuple(manifest["features"]["task_types"]),
            tags=tuple(manifest["features"]["tags"]),
            gram_dimensions=manifest["features"]["gram_dimensions"],
        )
        with_tasks = f"{TASKS_FOLDER}/{ABOUT_FILE}" in manifest["files"]
        self.task_groups = TaskGroups.load(folder / TASKS_FOLDER) if with_tasks else None
        self._knows_textless = manifest.get("data", {}).get("textless_prompts", 0) >= ENOUGH_TEXTLESS
        self.cascade = self._cascade()
        # More threads than cores would only pass the interpreter's lock back and forth.
        self._turns = ForkSafe(partial(BoundedSemaphore, os.cpu_count() or 1))

    def _cascade(self) -> Cascade | None:
        """The folder's cascade if the settings want one."""
        if self.config.cascade == "off":
            return None
        if (stored := self.manifest.get("cascade")) is None:
            logger.warning(
                "%s: cascade: auto has no effect, because the router has learned none: train with "
                "training.cascade: auto on a log with answers, and read there whether it pays",
                self.folder,
            )
            return None
        return Cascade.load(self.folder, stored)

    def branch(self, request: Request, decision: Decision) -> Branch | None:
        """What says whether a second model follows the answer to a request; None: none follows.

        None follows a model that the caller pinned, or that a rule, a session or chance chose.
        """
        if self.cascade is None or decision.source != "learned" or not is_checked(request):
            return None
        return self.cascade.branch(self.typed(request))

    def _offer(self, manifest: Mapping[str, Json]) -> None:
        """Take over the models of a manifest, with their prices, limits and policy."""
        for derived in (
            "_plain",
            "_one_request",
            "named_task_types",
            "_known_task_types",
        ):  # from the models and settings before
            vars(self).pop(derived, None)
        self.manifest = manifest
        self.models: tuple[str, ...] = tuple(manifest["models"])
        self.policy = _policy_in_force(Policy(**manifest["policy"]), self.config)
        self.prices: dict[str, ModelPrice] = current_prices(self.models, manifest["prices"], self.config)
        self.limits = LimitCheck(self.models, self.config)
        self._price_table = PriceTable.of([self.prices[model] for model in self.models])
        self._billing = billing_arguments(self.prices)

    @classmethod
    def load(
        cls, folder: Path, config: Config | None = None, held: object = None, expect: str | None = None
    ) -> Version:
        """Load a router's folder and check every file against its hash.

        Args:
            config: settings; None: the training settings, without those that only an application may set.
            held: object to keep alive with the version, such as the folder's copy on disk.
            expect: the router's `digest`; None: any router.

        Raises:
            ArtifactError: the folder is missing, damaged, foreign or newer than this code, or holds another
                router than `expect` says.
            ConfigError: the settings name a model that the router does not know.
        """
        manifest = read_manifest(folder)
        check_digest(folder, manifest, expect)
        with refusing_malformed(folder):
            settings = _own_settings(folder, manifest["config"]) if config is None else config
            settings = check_models(settings, manifest["models"])
            version = cls(folder=folder, manifest=manifest, config=settings, held=held)
            version.prove()
        return version

    def prove(self) -> None:
        """Decide on every canary, whatever the settings' limits, by the policy and by the rule table.

        Raises:
            DamagedArtifact: a forecast is no number, or a decision names no model of the router.
        """
        decides = bool(self.models) and self.policy.best_single in self.models
        forecast = self.forecast(CANARIES)
        known = [np.isfinite(self.prices[model].per_call) for model in self.models]
        numbers = (forecast.probability, forecast.cost[:, known], forecast.familiarity, forecast.tokens)
        if (
            not decides
            or len(set(self.models)) < len(self.models)
            or not all(np.isfinite(part).all() for part in numbers)
        ):
            raise DamagedArtifact(f"{self.folder}: predicts no numbers; train or fetch the router again")
        for row, request in enumerate(CANARIES):
            for serve_rules in (False, True):
                self.settle(self._case(self.typed(request), forecast, row, serve_rules=serve_rules)).to_json()

    @property
    def digest(self) -> str:
        """Stands for the whole folder: "sha256:" and the hash in its manifest."""
        return digest_of(self.manifest)

    @property
    def likeliest(self) -> tuple[str, ...]:
        """The models by their success in the training log, the best first."""
        success = dict(zip(self.models, self.manifest["statistics"]["success"], strict=True))
        return tuple(sorted(self.models, key=lambda model: (-success[model], model)))

    @property
    def baseline(self) -> str:
        """The always-strong model that costs are compared with."""
        return self.config.baseline or self.policy.best_single

    @cached_property
    def named_task_types(self) -> tuple[str, ...]:
        """The task types of the rule table, then those of the training log."""
        learned = self.spec.task_types if self.learned else ()
        return tuple(dict.fromkeys((*self.config.rules.task_types, *learned)))

    def training_keys(self) -> frozenset[int]:
        """First 64 bits of the key of each prompt that the router was fitted on."""
        return frozenset(load_arrays(self.folder / KEYS_FILE)["keys"].tolist())

    def with_estimator(self, head: Head, policy: Policy) -> Version:
        """The same router with another head and its thresholds, for a comparison."""
        other = copy(self)
        vars(other).pop("_one_request", None)
        other.head, other.policy = head, _policy_in_force(policy, self.config)
        return other

    def with_models(self, head: Head, manifest: Mapping[str, Json], config: Config) -> Version:
        """The router with other models on offer, before it has a folder of its own.

        Args:
            manifest: its `models`, `prices` and `policy` count.
        """
        other = copy(self)
        other.head, other.config, other.cascade = head, config, None
        other._offer(manifest)
        return other

    def encode(self, request: Request) -> Encoding:
        """Embed the request."""
        return self.encoder.encode(embedded_text(request))

    def typed(self, request: Request, encoding: Encoding | None = None) -> Request:
        """The request, with its task group as the task type if it has none.

        Args:
            encoding: the request's embedding, if already known.
        """
        if self.task_groups is None:
            return request
        return self.task_groups.typed(request, self.encode if encoding is None else lambda _: encoding)

    def forecast(self, requests: Sequence[Request], encodings: Sequence[Encoding] | None = None) -> Forecast:
        """Forecast success and cost of every model on one or more requests.

        Args:
            encodings: the requests' embeddings, if already known.
        """
        if encodings is None:
            encodings = [self.encode(request) for request in requests]
        return self.forecast_from(self.features(requests, encodings))

    def features(self, requests: Sequence[Request], encodings: Sequence[Encoding]) -> Features:
        """The head's input for requests whose embeddings are known."""
        typed = [self.typed(*pair) for pair in zip(requests, encodings, strict=True)]
        return featurize(typed, encodings, self.spec)

    def forecast_from(self, features: Features, parameters: Mapping[str, Json] | None = None) -> Forecast:
        """Forecast requests from their features.

        Args:
            parameters: LiteLLM arguments that bound or multiply the answers; None: none.
        """
        return self._priced(self.head.predict(features), features.tokens, features.later, parameters)

    def _priced(
        self, outlook: Outlook, tokens: FloatArray, later: BoolArray, parameters: Mapping[str, Json] | None
    ) -> Forecast:
        billed = self._billed(outlook.input_tokens, outlook.output_tokens, parameters)
        return Forecast(
            probability=outlook.probability,
            cost=self._price_table.expected_cost(*billed, later),
            familiarity=outlook.familiarity,
            tokens=tokens,
            billed=billed,
        )

    @cached_property
    def _plain(self) -> bool:
        """Whether no model has parameters of its own that change what a forecast costs."""
        return all(self._billing.isdisjoint(self._own_parameters(model, {})) for model in self.models)

    def _billed(
        self, inputs: FloatArray, output: FloatArray, parameters: Mapping[str, Json] | None
    ) -> tuple[FloatArray, FloatArray, Sequence[Json] | None]:
        """Expected tokens, shape (n, n_models), and service tiers of calls with a caller's arguments."""
        if parameters is None or (self._plain and self._billing.isdisjoint(parameters)):
            return inputs, output, None
        calls = [{**self._own_parameters(model, parameters), **parameters} for model in self.models]
        if not all(map(BOUNDING.isdisjoint, calls)):
            output = np.stack([billed_output(*pair) for pair in zip(output.T, calls, strict=True)], axis=1)
        if self._billing is not BILLING:
            prices = [self.prices[model] for model in self.models]
            output = output * [price.answer_factor(call) for price, call in zip(prices, calls, strict=True)]
        tiers = [call.get("service_tier") for call in calls]
        return inputs, output, tiers if any(tiers) else None

    def _own_parameters(self, model: str, callers: Mapping[str, Json]) -> Mapping[str, Json]:
        """A model's parameters beside a caller's; an action's effort is in its predicted lengths already."""
        own = own_parameters(self.config.of(model), callers)
        known = EFFORT_PARAMETERS if self.learned and effort_in(model) else frozenset[str]()
        return {name: value for name, value in own.items() if name not in known}

    def decide(
        self, request: Request, wishes: Wishes = NO_WISHES, circumstances: Circumstances | None = None
    ) -> Decision:
        """Choose the model for one request.

        Raises:
            NoModelAllowed: the limits left no model.
            RequestError: the wishes name a model that the router does not know.
        """
        return self.settle(self.case(request, wishes, circumstances or Circumstances()))

    def settle(self, case: Case) -> Decision:
        """Decide on a case.

        Raises:
            NoModelAllowed: the limits left no model.
        """
        decision = decide(case, self.policy, self.config.rules, self.policy_version)
        task_type = case.request.task_type
        if task_type is None or task_type in self._known_task_types or not self._known_task_types:
            return decision
        if meant := new_task_type(task_type, self._known_task_types):
            return replace(decision, reason=f"{decision.reason}; {meant}")
        return decision

    @cached_property
    def _known_task_types(self) -> frozenset[str]:
        return frozenset(self.named_task_types)

    def decisions(
        self, requests: Sequence[Request], forecast: Forecast, encodings: Sequence[Encoding] | None = None
    ) -> list[Decision]:
        """Decide on requests whose forecast is known, in order and without limits.

        A comparison on a log needs this: the log's outcomes show what each model can do.

        Args:
            encodings: the requests' embeddings, if already known.
        """
        return [self.settle(case) for case in self.cases(requests, forecast, encodings)]

    def cases(
        self, requests: Sequence[Request], forecast: Forecast, encodings: Sequence[Encoding] | None = None
    ) -> Iterator[Case]:
        """The cases that `decisions` decides on, in order."""
        known = [None] * len(requests) if encodings is None else encodings
        typed = (self.typed(request, one) for request, one in zip(requests, known, strict=True))
        return (self._case(request, forecast, row) for row, request in enumerate(typed))

    def case(
        self,
        request: Request,
        wishes: Wishes,
        circumstances: Circumstances,
        foreseen: tuple[Request, Forecast] | None = None,
    ) -> Case:
        """Collect what the decision on one request depends on.

        Args:
            foreseen: what `foresee` returned for it, if already known.
        """
        check_size(request)
        wishes = self._named(wishes, effort_of(request.parameters))
        request, forecast = foreseen or self.foresee([request])[0]
        stay = self._stay(circumstances.seat, float(forecast.tokens[0]))
        if stay and forecast.billed and self._price_table.knows_cache:
            # Only the model of the session has its turns in the cache, and the stay counts those.
            elsewhere = self._price_table.expected_cost(*forecast.billed, np.zeros(1, dtype=np.bool_))
            forecast = replace(forecast, cost=elsewhere + forecast.beside)
        return self._case(
            request,
            forecast,
            wishes=wishes,
            rejected=self._rejected(request, wishes, forecast, circumstances),
            stay=stay,
            explore=self.config.exploration.share if wishes.explore is None else wishes.explore,
            draw=circumstances.draw,
            serve_rules=circumstances.serve_rules,
            weight=circumstances.weight,
        )

    def foresee(self, requests: Sequence[Request]) -> list[tuple[Request, Forecast]]:
        """Each request with its task type, if a task group supplies it, and its forecast."""
        if len(requests) == 1 and self._one_request is not None:
            return [self._foresee_one(requests[0], self._one_request)]
        foreseen: list[tuple[Request, Forecast]] = []
        for start in range(0, len(requests), FEW):
            batch = requests[start : start + FEW]
            with self._turns.part:
                encodings = [self.encode(request) for request in batch]
                typed = [self.typed(*pair) for pair in zip(batch, encodings, strict=True)]
                features = featurize(typed, encodings, self.spec)
                outlook, later = self.head.predict(features), features.later
            for row, request in enumerate(typed):
                one, at = outlook if len(batch) == 1 else outlook.row(row), slice(row, row + 1)
                forecast = self._priced(one, features.tokens[at], later[at], request.parameters)
                foreseen.append((request, self._with_audio(request, forecast)))
        return foreseen

    def _with_audio(self, request: Request, forecast: Forecast) -> Forecast:
        """The forecast, with the cost of the request's audio by its length in place of a part's usual one."""
        if (audio := audio_of(request)) is None:
            return forecast
        prices = [self.prices[model] for model in self.models]
        called = (self.config.of(model).litellm_model or model for model in self.models)
        tokens = [
            audio.seconds * tokens_a_second(name) * price.other.heard - audio.parts * MEDIA_TOKENS
            for name, price in zip(called, prices, strict=True)
        ]
        beside = np.array(tokens) * self._price_table.per_input_token
        return replace(forecast, cost=forecast.cost + beside, beside=beside)

    def _foresee_one(self, request: Request, head: OneRequest) -> tuple[Request, Forecast]:
        with self._turns.part:
            encoding = self.encode(request)
            typed = self.typed(request, encoding)
            features = request_features(typed, encoding, self.spec)
            outlook = head.predict(features)
        later = np.array([features.later])
        forecast = self._priced(outlook, np.array([features.tokens]), later, typed.parameters)
        return typed, self._with_audio(typed, forecast)

    @cached_property
    def _one_request(self) -> OneRequest | None:
        """The head for one request at a time; None if it is of a kind that only takes arrays."""
        parts = self.head.parts
        if not isinstance(parts, SuccessParts) or self.head.added is not None:
            return None
        return OneRequest(self.head, parts)

    def foresee_usable(self, requests: Sequence[Request | None]) -> list[tuple[Request, Forecast] | None]:
        """What `foresee` returns for each request; None for a missing one and for one that is too large."""
        usable = [None if request is None or not fits(request) else request for request in requests]
        foreseen = iter(self.foresee([request for request in usable if request is not None]))
        return [None if request is None else next(foreseen) for request in usable]

    def _case(self, request: Request, forecast: Forecast, row: int = 0, **circumstances: Json) -> Case:
        return Case(
            request=request,
            models=self.models,
            probability=forecast.probability[row],
            cost=forecast.cost[row],
            familiarity=float(forecast.familiarity[row]),
            tokens=float(forecast.tokens[row]),
            judged=self._knows_textless or has_text(request),
            **circumstances,
        )

    def _rejected(
        self, request: Request, wishes: Wishes, forecast: Forecast, circumstances: Circumstances
    ) -> Mapping[str, str]:
        """Why each model that may not serve a request may not.

        A model in cool-down is among them only if another one is left and the caller pinned none.
        """
        targets, cost = circumstances.targets, dict[str, float]()
        if self.limits.caps(wishes):
            dearest = SAFE_SIDE * self._dearest(forecast, targets)
            cost = dict(zip(self.models, dearest.tolist(), strict=True))
        tokens, local = float(forecast.tokens[0]), circumstances.local
        rejected = self.limits.rule_out(request, wishes, tokens, cost, local, targets)
        rejected |= circumstances.unserved
        if not circumstances.cooling:
            return rejected
        cooling_down = {
            model: why
            for model in self.models
            if model not in rejected and (why := circumstances.cooling.get(endpoint_of(model)))
        }
        if wishes.model is not None or set(self.models) <= {*rejected, *cooling_down}:
            return rejected
        return {**rejected, **cooling_down}

    def _dearest(self, forecast: Forecast, targets: Mapping[str, tuple[Target, ...]]) -> FloatArray:
        """Expected USD of each model on its dearest deployment, without a cache, shape (n_models,)."""
        if forecast.billed is None or not (targets or self._price_table.knows_cache):
            return np.asarray(forecast.cost[0])
        prices = [dearest_price(self.prices[model], targets.get(model, ())) for model in self.models]
        return np.asarray(PriceTable.of(prices).expected_cost(*forecast.billed)[0] + forecast.beside)

    def _stay(self, seat: Seat | None, tokens: float) -> Stay | None:
        """What a request of so many tokens gains by staying on its session's model."""
        if seat is None or seat.model not in self.models:
            return None
        price, share = self.prices[seat.model], cached_price_of(seat.model, self.config)
        share = self.config.sessions.cached_price_share if share is None else share
        cached = max(min(seat.tokens, tokens) - price.cached_first * tokens, 0.0)
        saved = cached * price.per_input_token * (1.0 - share)
        return Stay(
            model=seat.model,
            saved_usd=saved if np.isfinite(saved) else 0.0,
            margin=self.config.sessions.switch_margin,
        )

    def _named(self, wishes: Wishes, effort: str | None) -> Wishes:
        """The wishes, with the router's own name of a pinned model, at the caller's effort if it has that.

        Raises:
            RequestError: a name means no model, or a pinned or allowed one more than one.
        """
        if wishes.model is None and wishes.allow is None and not wishes.deny:
            return wishes
        names = self.limits.names
        pinned = {wishes.model} if wishes.model else set()
        asked = pinned | set(wishes.allow or ())
        if wrong := names.problem(asked, one=True) or names.problem(wishes.deny, one=False):
            raise RequestError(f"the request names {wrong}")
        return replace(wishes, model=names.own(wishes.model, effort)) if wishes.model else wishes


def check_models(
    config: Config, models: Sequence[str], way_out: str = "train on calls of that model"
) -> Config:
    """The settings with the router's own name of each model that they name in another spelling.

    Raise if they send prompts to a model that the router does not know, or deny one that nobody knows.
    Entries for other models under `models:` are fine, and may be denied: one file may serve several routers.
    An entry that looks like a slip of the pen for one of the router's models is not.

    Args:
        way_out: how the router gets to know a model.

    Raises:
        ConfigError: names the models.
    """
    names = ModelNames(models, config)
    named = {
        "rules name": config.rules.models(),
        "calls.fallbacks name": config.calls.models(),
        "baseline names": {config.baseline} if config.baseline else set(),
    }
    problems = {who: names.problem(written, one=True) for who, written in named.items()}
    everyone = ModelNames([*models, *config.actions()], config)
    problems["limits.deny names"] = everyone.problem(config.limits.deny, one=False)
    judge = config.outcomes.judge
    names.refuse_misspelt(set(config.models) - ({judge[1].model} if judge else set()))
    for who, problem in problems.items():
        if problem is not None:
            raise ConfigError(f"{who} {problem}: change the setting, or {way_out}")
    return with_own_names(config, names)


def billing_arguments(prices: Mapping[str, ModelPrice]) -> frozenset[str]:
    """The arguments that change what a call of these models costs."""
    return BILLING if all(price.other == TEXT_ALIKE for price in prices.values()) else BILLING | ANSWERING


def _own_settings(folder: Path, text: str) -> Config:
    """The settings in a router's folder, without those that only an application may set."""
    settings, dropped = routing_part(parse_config(text, name=f"{folder}/manifest.json: config"))
    if dropped:
        logger.warning(
            "%s: ignoring %s in the router's own settings, because only the application may say where "
            "prompts go; pass config= to set it",
            folder,
            ", ".join(dropped),
        )
    return settings


def _policy_in_force(trained: Policy, config: Config) -> Policy:
    """The trained policy, with the least confidence from the settings if they fix one."""
    if isinstance(config.fallback.confidence, str):
        return trained
    return replace(trained, least_confidence=config.fallback.confidence)
