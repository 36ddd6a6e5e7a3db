"""Import LiteLLM once, when it is first needed or requested, and without network access."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from router.errors import MissingExtra


@cache
def litellm_module() -> Any:  # noqa: ANN401 - a module without stable types
    """Import LiteLLM, which takes seconds, or return it if it is imported.

    Raises:
        MissingExtra: it is not installed.
    """
    # At import LiteLLM downloads its price list unless this variable is set.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ModuleNotFoundError as error:
        raise MissingExtra("litellm", "litellm") from error
    litellm.suppress_debug_info = True  # prints an advertisement for each failed call
    if litellm.disable_hf_tokenizer_download is None:
        # LiteLLM would download a tokenizer from a hub to count a stream's tokens.
        litellm.disable_hf_tokenizer_download = True
    with suppress(ImportError):
        # Else the thread of a first call imports it, and OpenAI's client beside that takes it half made.
        import_module("httpx2")
    return litellm


def is_imported() -> bool:
    """Whether `litellm_module` returns at once."""
    return litellm_module.cache_info().currsize > 0


def warm_up() -> None:
    """Import LiteLLM and its tokenizer, which takes seconds.

    In the caller's thread: its modules import each other in circles, so that another thread that imports
    one of them meanwhile may find it half made.

    Raises:
        MissingExtra: it is not installed.
    """
    litellm_module().token_counter(model="", text="a")
