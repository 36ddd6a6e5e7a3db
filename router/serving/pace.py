"""The pacer of a version's budget, which goes on from what the call log knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from router.call_log.log import CallLog
from router.deciding.pacing import MEMORY_D, Pacer
from router.errors import CallLogError
from router.version import Version

logger = logging.getLogger(__name__)


def pacer_of(version: Version, log: CallLog | None) -> Pacer | None:
    """What keeps the pace of the version's budget, or None if it sets none.

    It goes on from what the call log knows, if there is one.
    """
    objective = version.config.objective
    if objective.usd_per_day is None:
        return None
    if not version.learned:
        logger.warning(
            "objective.usd_per_day has no effect on a router of rules, which has no weight on cost: train one"
        )
        return None
    pacer = new_pacer(version, objective.usd_per_day / objective.processes)
    try:
        if log is not None:
            _resume(pacer, log, objective.processes)
    except CallLogError as error:
        logger.warning("the pace of the day starts anew, as today's spend can't be read: %s", error)
    return pacer


def new_pacer(version: Version, usd_per_day: float, now: Callable[[], float] = time.time) -> Pacer:
    """A pacer that starts at the version's own weight on cost.

    Args:
        now: a clock in seconds.
    """
    prices = [price.per_call for price in version.prices.values() if price.per_call > 0]
    return Pacer(usd_per_day, version.policy.weight or 1.0 / max(prices, default=1.0), now)


def _resume(pacer: Pacer, log: CallLog, processes: int) -> None:
    """Go on from a process's part of today's spend (UTC) and of the latest requests in the call log.

    Raises:
        CallLogError: the log can't be read.
    """
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    today, recent = log.spend_since(midnight), log.spend_since(now - timedelta(days=MEMORY_D))
    usd = today.usd * (1.0 + today.unknown / max(today.known, 1))
    if recent.first is not None:
        pacer.resume(
            recent.requests / processes, recent.first.timestamp(), usd / processes, midnight.timestamp()
        )
