"""Recognises names of the same model: by default a judge never grades its own answers."""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache

from router.settings.sections import Config

_HOST = "databricks-"
"""Prefix of the only host that names other companies' models after itself."""
_VENDOR = re.compile(r"(?:[a-z-]+\.)+")
_VERSION = re.compile(
    r"(?:-v\d+)?(?:@.*|:\d+)$"
    r"|[-:](?:latest|default|preview|exp|experimental)$"
    r"|:(?:free|beta|nitro|floor|online|extended|exacto)$"
    r"|-(?:\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{8}|\d{6}|\d{3,4})$"
)


@lru_cache(maxsize=4096)
def plain_model(name: str) -> str:
    """A model's name without provider, region, vendor, and date or version of a snapshot.

    A fine-tuned copy and a preview get the name of their model. So two models that differ a little may get
    one name, but one model never gets two.
    """
    bare = name.lower().rpartition("/")[2]
    if bare.startswith("ft:"):
        bare = bare.split(":")[1]
    vendor = _VENDOR.match(bare)
    bare = bare[vendor.end() :] if vendor else bare
    bare = bare.removeprefix(_HOST)
    while (shorter := _VERSION.sub("", bare)) != bare and shorter:
        bare = shorter
    return bare.replace(".", "-").replace(":", "-")


def names_of(model: str, config: Config) -> Set[str]:
    """A model's plain names: in the log, and in calls of LiteLLM."""
    return {plain_model(model), plain_model(config.of(model).litellm_model or model)}
