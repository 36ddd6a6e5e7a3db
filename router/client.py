"""The router an application loads: a request in, a decision out."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from router.artifact import load_arrays, read_manifest
from router.config import Config, load_config, parse_config
from router.encoder import Encoder, EncoderInfo, Encoding, load_encoder
from router.errors import ConfigError
from router.features import FeatureSpec, embedded_text, featurize
from router.head import Head
from router.policy import Policy, choose
from router.prices import Price, PriceTable, current_prices
from router.records import Decision, FloatArray, Json, Request
from router.registry import local_folder
from router.rules import rule_choice

logger = logging.getLogger(__name__)

HEAD_FILE = "head.safetensors"
KEYS_FILE = "training_keys.safetensors"
ENCODER_FOLDER = "encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the router expects of n requests.

    Attributes:
        probability: shape (n, n_models); calibrated chance of success.
        cost: shape (n, n_models); expected USD a call, NaN where a price is unknown.
        familiarity: shape (n,); mean similarity to the nearest training prompts, in [-1, 1].
    """

    probability: FloatArray
    cost: FloatArray
    familiarity: FloatArray


class Router:
    """A trained router. It holds no mutable state, so threads may share one.

    Attributes:
        models: LiteLLM model names it chooses among, in the order of every array.
        manifest: what training recorded of it.
        prices: today's price of each model, and where it comes from.
    """

    def __init__(self, *, folder: Path, manifest: Mapping[str, Json], config: Config) -> None:
        self.manifest = manifest
        self._folder = folder
        self.models: tuple[str, ...] = tuple(manifest["models"])
        self.config = config
        self.policy_version = str(manifest["policy_version"])
        self.policy = _policy_in_force(Policy(**manifest["policy"]), config)
        self.prices: dict[str, Price] = current_prices(self.models, manifest["prices"], config)
        self._price_table = PriceTable.of([self.prices[model] for model in self.models])
        self._spec = FeatureSpec(
            task_types=tuple(manifest["features"]["task_types"]),
            tags=tuple(manifest["features"]["tags"]),
            gram_dimensions=manifest["features"]["gram_dimensions"],
        )
        self.encoder: Encoder = load_encoder(folder / ENCODER_FOLDER, EncoderInfo(**manifest["encoder"]))
        self._head = Head.from_arrays(load_arrays(folder / HEAD_FILE), manifest["head"])

    @classmethod
    def load(cls, where: str | Path, *, config: Config | str | Path | None = None) -> Router:
        """Load a router, every file checked against its hash.

        Args:
            where: a folder, or an MLflow URI such as `models:/support@champion`.
            config: settings, or the path of a `pointsman.yaml`; None: those that it was trained with.

        Raises:
            ArtifactError: missing, damaged, foreign or newer than this code.
            ConfigError: the settings are wrong, or name a model that the router does not know.
        """
        folder = local_folder(where)
        manifest = read_manifest(folder)
        if config is None:
            settings = parse_config(manifest["config"], name=f"{folder}/manifest.json: config")
        else:
            settings = config if isinstance(config, Config) else load_config(Path(config))
        check_models(settings, manifest["models"])
        return cls(folder=folder, manifest=manifest, config=settings)

    def route(self, prompt: str | Sequence[Mapping[str, Json]], **fields: Json) -> Decision:
        """The model for one prompt; no model is called.

        Args:
            prompt: the user's text, or chat messages.
            **fields: `tools`, `response_format`, `task_type`, `tags`, as in `Request`.

        Raises:
            RequestError: the request has the wrong form.
        """
        return self.decide(Request.of(prompt, **fields))

    def decide(self, request: Request) -> Decision:
        """The model for one request; no model is called."""
        return self._decision(request, self.forecast([request]), 0)

    def decisions(self, requests: Sequence[Request], forecast: Forecast) -> list[Decision]:
        """The decisions for requests whose forecast is known, in order."""
        return [self._decision(request, forecast, row) for row, request in enumerate(requests)]

    def training_keys(self) -> frozenset[int]:
        """First 64 bits of the keys of the prompts that the router was fitted on."""
        return frozenset(load_arrays(self._folder / KEYS_FILE)["keys"].tolist())

    def encode(self, request: Request) -> Encoding:
        """The request's embedding."""
        return self.encoder.encode(embedded_text(request))

    def forecast(self, requests: Sequence[Request], encodings: Sequence[Encoding] | None = None) -> Forecast:
        """Success probability and expected cost of every model on each request.

        Args:
            encodings: the requests' embeddings where they are known already.
        """
        if encodings is None:
            encodings = [self.encode(request) for request in requests]
        outlook = self._head.predict(featurize(requests, encodings, self._spec))
        cost = self._price_table.expected_cost(outlook.input_tokens, outlook.output_tokens)
        return Forecast(probability=outlook.probability, cost=cost, familiarity=outlook.familiarity)

    def _decision(self, request: Request, forecast: Forecast, row: int) -> Decision:
        probability, cost = forecast.probability[row], forecast.cost[row]
        index = int(choose(probability[None], cost[None], self.policy.weight)[0])
        confidence = float(probability[index])
        learned = Decision(
            model=self.models[index],
            source="learned",
            confidence=confidence,
            success_probability=dict(zip(self.models, probability.tolist(), strict=True)),
            expected_cost_usd=dict(zip(self.models, cost.tolist(), strict=True)),
            reason=f"best value: {confidence:.0%} chance of success at {_dollars(cost[index])} a call",
            policy_version=self.policy_version,
        )
        doubt = self._doubt(confidence, float(forecast.familiarity[row]))
        return learned if doubt is None else self._ruled(request, learned, doubt)

    def _doubt(self, confidence: float, familiarity: float) -> str | None:
        """Why the policy steps aside for a request, or None when it does not."""
        if confidence < self.policy.least_confidence:
            return f"confidence {confidence:.2f} is below {self.policy.least_confidence:.2f}"
        if familiarity < self.policy.least_familiarity:
            return f"unlike the training prompts (similarity {familiarity:.2f})"
        return None

    def _ruled(self, request: Request, learned: Decision, doubt: str) -> Decision:
        """The rule table's decision, with what the policy thought of it."""
        found = rule_choice(request, self.config.rules, self.policy.best_single, self.models)
        if found is None:
            return replace(learned, reason=f"{learned.reason}; {doubt}, but no rule names an allowed model")
        model, rule = found
        return replace(
            learned,
            model=model,
            source="rule",
            confidence=learned.success_probability[model],
            reason=f"{doubt}: rule table ({rule}) decides",
        )


def _dollars(cost: float) -> str:
    return "an unknown cost" if math.isnan(cost) else f"${cost:.2g}"


def check_models(config: Config, models: Sequence[str]) -> None:
    """Refuse settings whose rules send prompts to a model that the router does not know.

    Settings for further models under `models:` are fine: one file may serve several routers.

    Raises:
        ConfigError: names the models.
    """
    unknown = sorted(config.rules.models() - set(models))
    if unknown:
        raise ConfigError(
            f"rules name {', '.join(map(repr, unknown))}, which this router does not know; "
            f"it was trained on {', '.join(models)}: change the rules, or train on calls of that model"
        )


def _policy_in_force(trained: Policy, config: Config) -> Policy:
    """The trained thresholds, with the confidence that the settings fix in their place."""
    if isinstance(config.fallback.confidence, str):
        return trained
    return replace(trained, least_confidence=config.fallback.confidence)
