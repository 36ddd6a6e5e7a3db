"""A router of rules alone: the settings file decides, before there is a log to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from router.deciding.decide import Case, decide_by_rules
from router.deciding.limits import LimitCheck
from router.deciding.policy import Policy
from router.errors import ConfigError
from router.forecasting.request_tokens import request_contents, tokens_of_one
from router.models.prices import PriceTable, current_prices
from router.records import Decision, Request
from router.settings.sections import Config
from router.version import Forecast, Version, billing_arguments, check_models

POLICY_VERSION = "rules"
SUFFIXES = frozenset({".yaml", ".yml"})
LIST_IT = "list it under models:"


def is_settings_file(where: str | Path) -> bool:
    """Whether the address of a router is that of a settings file."""
    path = Path(where)
    return path.suffix.casefold() in SUFFIXES and not path.is_dir()


class RulesVersion(Version):
    """A router that knows no chance of success, only rules, limits and prices.

    Its decisions have a confidence of 0 and no success probabilities. It has no folder, encoder or head.

    Attributes:
        models: those of the settings, in their order, in which the rest of a fallback chain is tried.
    """

    learned = False
    _knows_textless = True

    def __init__(self, config: Config, *, name: str = "pointsman.yaml") -> None:
        """Check the settings of a router of rules.

        Args:
            name: stands for the settings in errors.

        Raises:
            ConfigError: they list no model, have no rule for every request, or name an unlisted model.
        """
        if not config.models:
            raise ConfigError(
                f"{name}: a router of rules needs its models under models:; "
                "`pointsman init MODEL...` writes such a file"
            )
        self.models = config.actions()
        self.config = config = check_models(config, self.models, LIST_IT)
        heuristic, default = config.rules.heuristic, config.rules.default
        strongest = heuristic.strong if heuristic else default
        if strongest is None:
            raise ConfigError(f"{name}: no rule covers every request: set rules.default or rules.heuristic")
        self.manifest = {"models": list(self.models), "policy_version": POLICY_VERSION, "data": {}}
        self.policy_version = POLICY_VERSION
        self.policy = Policy(
            weight=0.0, least_confidence=1.0, least_familiarity=1.0, best_single=default or strongest
        )
        self.prices = current_prices(self.models, {}, config)
        self.limits = LimitCheck(self.models, config)
        self.task_groups = None
        self._strongest = strongest
        called = (config.of(model).litellm_model or model for model in self.models)
        self._density = np.array([tokens_of_one(one) for one in called])
        self._price_table = PriceTable.of([self.prices[model] for model in self.models])
        self._billing = billing_arguments(self.prices)

    @property
    def likeliest(self) -> tuple[str, ...]:
        """The models in the order of the settings."""
        return self.models

    @property
    def baseline(self) -> str:
        """The always-strong model that costs are compared with."""
        return self.config.baseline or self._strongest

    def settle(self, case: Case) -> Decision:
        """Decide on a case.

        Raises:
            NoModelAllowed: the limits left no model.
        """
        return decide_by_rules(case, self.policy, self.config.rules, self.policy_version)

    def foresee(self, requests: Sequence[Request]) -> list[tuple[Request, Forecast]]:
        """Each request, and a forecast that knows only its cost."""
        return [(request, self._with_audio(request, self._cost_of(request))) for request in requests]

    def _cost_of(self, request: Request) -> Forecast:
        shape = (1, len(self.models))
        tokens = np.array([request_contents(request).tokens])
        answer = np.full(shape, float(self.config.rules.answer_tokens))
        billed = self._billed(tokens[:, None] * self._density, answer, request.parameters)
        return Forecast(
            probability=np.zeros(shape),
            cost=self._price_table.expected_cost(*billed),
            billed=billed,
            familiarity=np.zeros(1),
            tokens=tokens,
        )
