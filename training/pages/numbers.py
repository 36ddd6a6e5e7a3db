"""Numbers as text for readers, with words for what is unknown or never reached."""

from __future__ import annotations

import math
import re

from training.statistics.intervals import Interval

UNKNOWN = "unknown"
NEVER = "never"
FACTOR = 10
"""Ratios from here on are factors ("14x"), smaller ones percentages."""
MUCH = 5
"""A text more than this many times too long says its length when it is cut."""
_CONTROL = "[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]"


def usd_per_thousand(usd_per_call: float) -> str:
    """The cost of a thousand calls, with two decimals or two digits: "$1.13"."""
    return dollars(usd_per_call * 1000)


def dollars(usd: float, *, signed: bool = False) -> str:
    """An amount with two decimals or two digits: "$1.13", "-$0.042"; signed: "+$1.13"."""
    if not math.isfinite(usd):
        return UNKNOWN
    size = abs(usd)
    sign = "-" if usd < 0 else "+" if signed and usd > 0 else ""
    if size >= 1000:
        return f"{sign}${size:,.0f}"
    decimals = 2 if size >= 1 or size == 0 else min(1 - math.floor(math.log10(size)), 12)
    return f"{sign}${size:.{decimals}f}"


def unit_of(ratio: float) -> str:
    """The unit that costs seem to be in which are so many times the expected dollars; empty if in dollars.

    A discount or a surcharge of up to a half changes nothing.
    """
    units = {"cents": 1e2, "thousandths of a dollar": 1e3, "millionths of a dollar": 1e6}
    return next((name for name, size in units.items() if 0.5 < ratio / size < 2), "")


def rate(share: float) -> str:
    """A share in [0, 1] as a percentage: "84.1 %"."""
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


def p_value_text(value: float) -> str:
    """A p-value: "p 0.012", "p < 0.001"; empty if unknown."""
    if math.isnan(value):
        return ""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}" if value < 0.1 else f"p {value:.2f}"


def bounds(interval: Interval, unit: str) -> str:
    """The bounds of an interval in brackets, without units; empty if unknown.

    Args:
        unit: "points": "[-0.9, +1.1]"; "ratio", in the unit of `relative`: "[30, 47]", "[13, 15]";
            "rate": "[83.1, 85.0]"; "usd" a call, written per thousand: "[$1.10, $1.20]"; "number":
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
    """Put true minus signs before the numbers of a sentence, and keep numbers and units on one line."""
    return re.sub(r"(^|[\s\[(])-(?=[$\d])", "\\1\N{MINUS SIGN}", text).replace(" %", "\N{NO-BREAK SPACE}%")


def printable(text: str) -> str:
    """Put a text from outside on one line, and drop what controls a terminal or the writing direction.

    Right-to-left text does not need such characters.
    """
    return " ".join(re.sub(_CONTROL, " ", text).split())


def shortened(text: str, longest: int = 80) -> str:
    """Make a text printable and cut it, between words if possible; a much longer one states its length."""
    line = printable(text)
    if len(line) <= longest:
        return line
    cut, length = line[: longest - 1], f" ({len(line):,} characters)" if len(line) > MUCH * longest else ""
    words = cut.rpartition(" ")[0]
    return f"{words if len(words) > longest * 0.8 else cut}…{length}"
