"""Numbers as text for readers, with words for what is unknown or never reached.

A count is `f"{count:,}"`; every other number that people read is written by a function of this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

UNKNOWN = "unknown"
NEVER = "never"
FACTOR = 10
"""Ratios from here on are factors ("14x"), smaller ones percentages."""


class Bounded(Protocol):
    """A value with its interval."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102


def usd_per_thousand(usd_per_call: float | None) -> str:
    """The cost of a thousand calls, with two decimals or two digits: "$1.13"."""
    return UNKNOWN if usd_per_call is None else dollars(usd_per_call * 1000)


def dollars(usd: float, *, signed: bool = False) -> str:
    """An amount with two decimals or two digits: "$1.13", "-$0.042"; signed: "+$1.13"."""
    if not math.isfinite(usd):
        return UNKNOWN
    size = abs(usd)
    sign = "-" if usd < 0 else "+" if signed and usd > 0 else ""
    if round(size, 2) >= 1000:
        return f"{sign}${size:,.0f}"
    decimals = 2 if size >= 1 or size == 0 else min(1 - math.floor(math.log10(size)), 12)
    return f"{sign}${size:.{decimals}f}"


def unit_of(ratio: float) -> str:
    """The unit that costs seem to be in which are so many times the expected dollars; empty if in dollars.

    A discount or a surcharge of up to a half changes nothing.
    """
    units = {"cents": 1e2, "thousandths of a dollar": 1e3, "millionths of a dollar": 1e6}
    return next((name for name, size in units.items() if 0.5 < ratio / size < 2), "")


def rate(share: float | None) -> str:
    """A share in [0, 1] as a percentage: "84.1 %"."""
    return UNKNOWN if share is None or not math.isfinite(share) else f"{share * 100:.1f} %"


def level(share: float) -> str:
    """A percentage that somebody set, as he set it: "5 %", "99.5 %"."""
    return f"{significant(share * 100)} %"


def signed_percent(change: float) -> str:
    """A relative change of a cost: "+12 %", "-68 %"."""
    return f"{_signed_percent(change)} %" if math.isfinite(change) else UNKNOWN


def _signed_percent(change: float) -> str:
    return "0" if round(change * 100) == 0 else f"{change * 100:+,.0f}"


def signed_points(difference: float) -> str:
    """A difference of two rates in points: "+1.1"."""
    return signed(difference * 100)


def signed(value: float, digits: int = 1) -> str:
    """A number with a sign: "+6.1", "0.0"."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{0:.{digits}f}" if round(value, digits) == 0 else f"{value:+,.{digits}f}"


def relative(ratio: float) -> str:
    """A ratio of two costs: "38 %", "14x"; "never" if it is infinite."""
    if math.isnan(ratio):
        return UNKNOWN
    if math.isinf(ratio):
        return NEVER
    return f"{ratio:,.0f}x" if as_factor(ratio) else f"{_percent(ratio)} %"


def as_factor(ratio: float) -> bool:
    """Whether a ratio is written as a factor."""
    return FACTOR <= ratio < math.inf


def _percent(ratio: float) -> str:
    """A ratio as a percentage of at least two digits, without the sign."""
    return f"{ratio * 100:,.0f}" if ratio >= 0.1 or ratio == 0 else f"{ratio * 100:.2g}"


def decimal(value: float, digits: int = 3) -> str:
    """A plain number: "0.741"; "never" if it is infinite."""
    if math.isnan(value):
        return UNKNOWN
    return NEVER if math.isinf(value) else f"{value:,.{digits}f}"


def significant(value: float, digits: int = 4) -> str:
    """A number of any size and unit with so many digits, without an exponent: "1,234", "0.0123"."""
    if not math.isfinite(value) or value == 0:
        return decimal(value, 0)
    decimals = min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 12)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def duration(seconds: float | None) -> str:
    """A time with three digits: "0.42 s", "95.1 s"."""
    return UNKNOWN if seconds is None or not math.isfinite(seconds) else f"{significant(seconds, 3)} s"


def p_value_text(value: float) -> str:
    """A p-value: "p 0.012", "p < 0.001"; empty if unknown."""
    if math.isnan(value):
        return ""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}" if value < 0.1 else f"p {value:.2f}"


def bounds(interval: Bounded, unit: str) -> str:
    """The bounds of an interval in brackets, without units; empty if unknown.

    Args:
        unit: "points": "[-0.9, +1.1]"; "ratio", in the unit of `relative`: "[30, 47]", "[13, 15]";
            "change": "[-70, +5]"; "rate": "[83.1, 85.0]"; "usd" a call, written per thousand:
            "[$1.10, $1.20]"; "number": "[0.71, 0.75]".
    """
    if math.isnan(interval.low):
        return ""
    if unit == "ratio" and as_factor(interval.value):
        unit = "factor"
    return f"[{_bound(interval.low, unit)}, {_bound(interval.high, unit)}]"


def _bound(value: float, unit: str) -> str:
    if math.isinf(value):
        return "no limit"
    if unit == "factor":
        return f"{value:,.0f}" if value >= FACTOR else f"{value:.1f}"
    return _BOUNDS[unit](value)


_BOUNDS: Mapping[str, Callable[[float], str]] = {
    "points": signed_points,
    "change": _signed_percent,
    "usd": usd_per_thousand,
    "rate": lambda share: f"{share * 100:.1f}",
    "ratio": _percent,
    "number": "{:.2f}".format,
}
