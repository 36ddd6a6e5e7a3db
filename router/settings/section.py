"""The base class of every section of the settings, and the types of their values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction in [0, 1]."""
Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""US dollars, not negative."""
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


def _share_or_auto(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """Give one message for the union; pydantic has one per branch."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError("must be a number from 0 to 1, or 'auto'") from None


ShareOrAuto = Annotated[Share | Literal["auto"], WrapValidator(_share_or_auto)]


def _word(value: object) -> object:
    """YAML reads an unquoted `off` as false."""
    return "off" if value is False else value


OffOrAuto = Annotated[Literal["off", "auto"], BeforeValidator(_word)]


class Settings(BaseModel):
    """A section: refuses unknown keys, converts no value, and can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
