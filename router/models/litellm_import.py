"""Importing LiteLLM: once, when it is first needed, and without a word to the network."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from router.errors import MissingExtra


@cache
def litellm_module() -> Any:  # noqa: ANN401 - a module without stable types
    """LiteLLM, imported when it is first needed: that takes seconds.

    Raises:
        MissingExtra: it is not installed.
    """
    # LiteLLM asks the network for its price list at import, and has no other switch than this variable.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ModuleNotFoundError as error:
        raise MissingExtra("litellm", "litellm") from error
    litellm.suppress_debug_info = True  # prints an advertisement for each failed call
    if litellm.disable_hf_tokenizer_download is None:
        litellm.disable_hf_tokenizer_download = (
            True  # counts a stream's tokens, and asks a hub for the tokenizer
        )
    return litellm
