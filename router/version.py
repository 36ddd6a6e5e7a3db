"""One version of a router, loaded: what it expects of a request and decides on it. Nothing in it changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import BoundedSemaphore

import numpy as np

from router.deciding.decide import Case, Stay, decide
from router.deciding.limits import LimitCheck
from router.deciding.policy import Policy
from router.deciding.sessions import Seat
from router.errors import ConfigError, DamagedArtifact, RequestError
from router.forecasting.encoder import Encoder, EncoderInfo, Encoding, load_encoder
from router.forecasting.features import Features, FeatureSpec, embedded_text, featurize
from router.forecasting.head import Head
from router.forecasting.task_groups import ABOUT_FILE, TaskGroups
from router.loading.artifact import load_arrays, read_manifest
from router.models.model_list import cached_price_share
from router.models.prices import ModelPrice, PriceTable, current_prices
from router.records import NO_WISHES, Decision, FloatArray, Json, Request, Wishes
from router.settings.sections import Config
from router.settings.yaml_file import parse_config, routing_part

logger = logging.getLogger(__name__)

HEAD_FILE = "head.safetensors"
KEYS_FILE = "training_keys.safetensors"
ENCODER_FOLDER = "encoder"
TASKS_FOLDER = "tasks"
CANARY = Request.of("Is this router in order?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the router expects of n requests.

    Attributes:
        probability: shape (n, n_models); calibrated chance of success.
        cost: shape (n, n_models); expected USD a call, NaN where a price is unknown.
        familiarity: shape (n,); mean similarity to the nearest training prompts, in [-1, 1].
        tokens: shape (n,); input tokens as the encoder counts them, tools included.
    """

    probability: FloatArray
    cost: FloatArray
    familiarity: FloatArray
    tokens: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a decision depends on beside the request and the version.

    Attributes:
        cooling: reason for each model that is left alone for now, as long as another may serve.
        seat: where the request's session is.
        draw: uniform in [0, 1); decides about exploration.
        serve_rules: shadow mode.
    """

    cooling: Mapping[str, str] = field(default_factory=dict)
    seat: Seat | None = None
    draw: float = 1.0
    serve_rules: bool = False


class Version:
    """A router's folder, loaded.

    Attributes:
        models: LiteLLM model names it chooses among, in the order of every array.
        manifest: what training recorded of it.
        prices: today's price of each model, and where it comes from.
        task_groups: stand in for the task type of a request that names none; None: nothing does.
    """

    def __init__(
        self, *, folder: Path, manifest: Mapping[str, Json], config: Config, held: object = None
    ) -> None:
        """Take a checked folder apart; `load` is the usual way.

        Args:
            held: kept as long as the version, so that the folder is.
        """
        self.folder = folder
        self._held = held
        self.manifest = manifest
        self.models: tuple[str, ...] = tuple(manifest["models"])
        self.config = config
        self.policy_version = str(manifest["policy_version"])
        self.policy = _policy_in_force(Policy(**manifest["policy"]), config)
        self.prices: dict[str, ModelPrice] = current_prices(self.models, manifest["prices"], config)
        self.limits = LimitCheck(self.models, config)
        self.encoder: Encoder = load_encoder(folder / ENCODER_FOLDER, EncoderInfo(**manifest["encoder"]))
        self.head = Head.from_arrays(load_arrays(folder / HEAD_FILE), manifest["head"])
        self.spec = FeatureSpec(
            task_types=tuple(manifest["features"]["task_types"]),
            tags=tuple(manifest["features"]["tags"]),
            gram_dimensions=manifest["features"]["gram_dimensions"],
        )
        with_tasks = f"{TASKS_FOLDER}/{ABOUT_FILE}" in manifest["files"]
        self.task_groups = TaskGroups.load(folder / TASKS_FOLDER) if with_tasks else None
        self._price_table = PriceTable.of([self.prices[model] for model in self.models])
        # More threads than cores at the arithmetic only pass the interpreter's lock to and fro.
        self._turns = BoundedSemaphore(os.cpu_count() or 1)

    @classmethod
    def load(cls, folder: Path, config: Config | None = None, held: object = None) -> Version:
        """Load a router's folder, every file checked against its hash.

        Args:
            config: settings; None: those it was trained with, as far as a folder may bring them along.
            held: kept as long as the version, so that the folder is.

        Raises:
            ArtifactError: missing, damaged, foreign or newer than this code.
            ConfigError: the settings name a model that the router does not know.
        """
        manifest = read_manifest(folder)
        settings = _own_settings(folder, manifest["config"]) if config is None else config
        check_models(settings, manifest["models"])
        version = cls(folder=folder, manifest=manifest, config=settings, held=held)
        if not np.isfinite(version.forecast([CANARY]).probability).all():
            raise DamagedArtifact(f"{folder}: gives no probabilities; train or fetch the router again")
        return version

    @property
    def baseline(self) -> str:
        """The always-strong model that costs are compared with."""
        return self.config.baseline or self.policy.best_single

    def training_keys(self) -> frozenset[int]:
        """First 64 bits of the keys of the prompts that the router was fitted on."""
        return frozenset(load_arrays(self.folder / KEYS_FILE)["keys"].tolist())

    def with_estimator(self, head: Head, policy: Policy) -> Version:
        """The same router with another head and the thresholds trained for it: made for a comparison."""
        other = copy(self)
        other.head, other.policy = head, _policy_in_force(policy, self.config)
        return other

    def encode(self, request: Request) -> Encoding:
        """The request's embedding."""
        return self.encoder.encode(embedded_text(request))

    def typed(self, request: Request, encoding: Encoding | None = None) -> Request:
        """The request with the group that it is in as its task type, where it names none.

        Args:
            encoding: its embedding where that is known already.
        """
        if self.task_groups is None:
            return request
        return self.task_groups.typed(request, self.encode if encoding is None else lambda _: encoding)

    def forecast(self, requests: Sequence[Request], encodings: Sequence[Encoding] | None = None) -> Forecast:
        """Success probability and expected cost of every model on each of one or more requests.

        Args:
            encodings: the requests' embeddings where they are known already.
        """
        if encodings is None:
            encodings = [self.encode(request) for request in requests]
        return self.forecast_from(self.features(requests, encodings))

    def features(self, requests: Sequence[Request], encodings: Sequence[Encoding]) -> Features:
        """What the head sees of requests whose embeddings are known."""
        typed = [self.typed(request, one) for request, one in zip(requests, encodings, strict=True)]
        return featurize(typed, encodings, self.spec)

    def forecast_from(self, features: Features) -> Forecast:
        """The forecast of requests by their features."""
        outlook = self.head.predict(features)
        return Forecast(
            probability=outlook.probability,
            cost=self._price_table.expected_cost(outlook.input_tokens, outlook.output_tokens),
            familiarity=outlook.familiarity,
            tokens=features.tokens,
        )

    def decide(
        self, request: Request, wishes: Wishes = NO_WISHES, circumstances: Circumstances | None = None
    ) -> Decision:
        """The model for one request.

        Raises:
            NoModelAllowed: the limits left none.
            RequestError: the wishes name a model that the router does not know.
        """
        return self.settle(self.case(request, wishes, circumstances or Circumstances()))

    def settle(self, case: Case) -> Decision:
        """The decision on a case.

        Raises:
            NoModelAllowed: the limits left no model.
        """
        return decide(case, self.policy, self.config.rules, self.policy_version)

    def decisions(
        self, requests: Sequence[Request], forecast: Forecast, encodings: Sequence[Encoding] | None = None
    ) -> list[Decision]:
        """The policy's decisions on requests whose forecast is known, in order: without limits.

        Made for judging a router on a log, whose outcomes show what each model can do.

        Args:
            encodings: the requests' embeddings where they are known already.
        """
        known = [None] * len(requests) if encodings is None else encodings
        typed = (self.typed(request, one) for request, one in zip(requests, known, strict=True))
        return [self.settle(self._case(request, forecast, row)) for row, request in enumerate(typed)]

    def case(self, request: Request, wishes: Wishes, circumstances: Circumstances) -> Case:
        """What is known of one request before the decision."""
        self._check_wishes(wishes)
        with self._turns:
            encoding = self.encode(request)
            request = self.typed(request, encoding)
            forecast = self.forecast([request], [encoding])
        case = self._case(request, forecast, 0)
        cost = dict(zip(self.models, case.cost.tolist(), strict=True))
        rejected = self.limits.rule_out(request, wishes, case.tokens, cost)
        warm = {model: why for model, why in circumstances.cooling.items() if model not in rejected}
        if wishes.model is None and any(m not in rejected and m not in warm for m in self.models):
            rejected = {**rejected, **warm}
        explore = self.config.exploration.share if wishes.explore is None else wishes.explore
        return replace(
            case,
            wishes=wishes,
            rejected=rejected,
            stay=self._stay(circumstances.seat, case.tokens),
            explore=explore,
            draw=circumstances.draw,
            serve_rules=circumstances.serve_rules,
        )

    def _case(self, request: Request, forecast: Forecast, row: int) -> Case:
        return Case(
            request=request,
            models=self.models,
            probability=forecast.probability[row],
            cost=forecast.cost[row],
            familiarity=float(forecast.familiarity[row]),
            tokens=float(forecast.tokens[row]),
        )

    def _stay(self, seat: Seat | None, tokens: float) -> Stay | None:
        """What staying on a session's model means for a request of so many tokens."""
        if seat is None or seat.model not in self.models:
            return None
        share = self._cached_share(seat.model)
        saved = min(seat.tokens, tokens) * self.prices[seat.model].per_input_token * (1.0 - share)
        return Stay(
            model=seat.model,
            saved_usd=saved if np.isfinite(saved) else 0.0,
            margin=self.config.sessions.switch_margin,
        )

    def _cached_share(self, model: str) -> float:
        """Price of an input token in the prompt cache, as a share of its full price."""
        settings = self.config.of(model)
        own = settings.price
        if own and own.cached_input_usd_per_million is not None and own.input_usd_per_million:
            return min(own.cached_input_usd_per_million / own.input_usd_per_million, 1.0)
        listed = cached_price_share(settings.litellm_model, model)
        return self.config.sessions.cached_price_share if listed is None else listed

    def _check_wishes(self, wishes: Wishes) -> None:
        named = {wishes.model} if wishes.model else set()
        unknown = sorted((named | set(wishes.allow or ())) - set(self.models))
        if unknown:
            raise RequestError(
                f"the request names {', '.join(map(repr, unknown))}, which this router does not know; "
                f"it knows {', '.join(self.models)}"
            )


def check_models(config: Config, models: Sequence[str]) -> None:
    """Refuse settings that send prompts to a model that the router does not know.

    Settings for further models under `models:` are fine: one file may serve several routers.

    Raises:
        ConfigError: names the models.
    """
    named = {
        "rules name": config.rules.models(),
        "calls.fallbacks name": config.calls.models(),
        "baseline names": {config.baseline} if config.baseline else set(),
    }
    for who, names in named.items():
        unknown = sorted(names - set(models))
        if unknown:
            raise ConfigError(
                f"{who} {', '.join(map(repr, unknown))}, which this router does not know; "
                f"it was trained on {', '.join(models)}: change the setting, or train on calls of that model"
            )


def _own_settings(folder: Path, text: str) -> Config:
    """The settings that a router's folder brings along, without those that are the application's alone."""
    settings, dropped = routing_part(parse_config(text, name=f"{folder}/manifest.json: config"))
    if dropped:
        logger.warning(
            "%s: %s in the router's own settings: left out, as only the application says where prompts go; "
            "load it with config=",
            folder,
            ", ".join(dropped),
        )
    return settings


def _policy_in_force(trained: Policy, config: Config) -> Policy:
    """The trained thresholds, with the confidence that the settings fix in their place."""
    if isinstance(config.fallback.confidence, str):
        return trained
    return replace(trained, least_confidence=config.fallback.confidence)
