"""Numbers as the reader of a comparison sees them, with what is unknown or never reached said in words."""

from __future__ import annotations

import math
import re

from training.statistics.intervals import Interval

UNKNOWN = "unknown"
NEVER = "never"
FACTOR = 10
"""A ratio of this or more is told as a factor, a smaller one in per cent."""
MUCH = 5
"""A text that was cut to less than this part of it says how long it was."""
_STEERING = "[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]"


def usd_per_thousand(usd_per_call: float) -> str:
    """A cost of a thousand calls, two decimals or two digits: "$1.13"."""
    return dollars(usd_per_call * 1000)


def dollars(usd: float, *, signed: bool = False) -> str:
    """An amount, two decimals or two digits: "$1.13", "-$0.042"; signed: "+$1.13"."""
    if not math.isfinite(usd):
        return UNKNOWN
    size = abs(usd)
    sign = "-" if usd < 0 else "+" if signed and usd > 0 else ""
    if size >= 1000:
        return f"{sign}${size:,.0f}"
    decimals = 2 if size >= 1 or size == 0 else min(1 - math.floor(math.log10(size)), 12)
    return f"{sign}${size:.{decimals}f}"


def rate(share: float) -> str:
    """A share in [0, 1] as per cent: "84.1 %"."""
    return f"{share * 100:.1f} %" if math.isfinite(share) else UNKNOWN


def signed_points(difference: float) -> str:
    """A difference of two rates in points: "+1.1"."""
    return signed(difference * 100)


def signed(value: float) -> str:
    """One decimal and a sign: "+6.1", "0.0"."""
    if not math.isfinite(value):
        return UNKNOWN
    return "0.0" if round(value, 1) == 0 else f"{value:+,.1f}"


def relative(ratio: float) -> str:
    """A ratio of two costs: "38 %", "14x"; "unknown", or "never" where it is infinite."""
    if math.isnan(ratio):
        return UNKNOWN
    if math.isinf(ratio):
        return NEVER
    return f"{ratio:,.0f}x" if as_factor(ratio) else f"{_percent(ratio)} %"


def as_factor(ratio: float) -> bool:
    """Whether a ratio is told as a factor."""
    return FACTOR <= ratio < math.inf


def _percent(ratio: float) -> str:
    """A ratio in per cent without the sign, two digits or more."""
    return f"{ratio * 100:,.0f}" if ratio >= 0.1 or ratio == 0 else f"{ratio * 100:.2g}"


def decimal(value: float, digits: int = 3) -> str:
    """A plain number: "0.741"; "unknown", or "never" where it is infinite."""
    if math.isnan(value):
        return UNKNOWN
    return NEVER if math.isinf(value) else f"{value:,.{digits}f}"


def p_value_text(value: float) -> str:
    """A probability of no difference: "p 0.012", "p < 0.001"; empty where unknown."""
    if math.isnan(value):
        return ""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}" if value < 0.1 else f"p {value:.2f}"


def bounds(interval: Interval, unit: str) -> str:
    """The bounds of an interval in brackets, without units; empty where unknown.

    Args:
        unit: "points": "[-0.9, +1.1]"; "ratio", as `relative` tells the value: "[30, 47]", "[13, 15]";
            "rate": "[83.1, 85.0]"; "usd" a call, told per thousand: "[$1.10, $1.20]"; "number":
            "[0.71, 0.75]".
    """
    if math.isnan(interval.low):
        return ""
    if unit == "ratio" and as_factor(interval.value):
        unit = "factor"
    return f"[{_bound(interval.low, unit)}, {_bound(interval.high, unit)}]"


def _bound(value: float, unit: str) -> str:
    if math.isinf(value):
        return "no limit"
    if unit == "points":
        return signed_points(value)
    if unit == "usd":
        return usd_per_thousand(value)
    if unit == "rate":
        return f"{value * 100:.1f}"
    if unit == "factor":
        return f"{value:,.0f}" if value >= FACTOR else f"{value:.1f}"
    return _percent(value) if unit == "ratio" else f"{value:.2f}"


def typeset(text: str) -> str:
    """A sentence with true minus signs before numbers, and numbers that stay with their units."""
    return re.sub(r"(^|[\s\[(])-(?=[$\d])", "\\1\N{MINUS SIGN}", text).replace(" %", "\N{NO-BREAK SPACE}%")


def printable(text: str) -> str:
    """A text from outside on one line, without characters that steer a terminal or the direction of writing.

    Text that is written from right to left needs none of them.
    """
    return " ".join(re.sub(_STEERING, " ", text).split())


def shortened(text: str, longest: int = 80) -> str:
    """A printable text, cut between words if it can be; one that is much longer with its length said."""
    line = printable(text)
    if len(line) <= longest:
        return line
    cut, length = line[: longest - 1], f" ({len(line):,} characters)" if len(line) > MUCH * longest else ""
    words = cut.rpartition(" ")[0]
    return f"{words if len(words) > longest * 0.8 else cut}…{length}"
