"""Import LiteLLM once, when it is first needed, and without network access."""

from __future__ import annotations

import os
from functools import cache
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
    return litellm
