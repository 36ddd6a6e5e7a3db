"""Whether two names are of the same model: a judge never grades its own answers unless told."""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache

from router.settings.sections import Config

_HOST = "databricks-"
"""The one host that puts its own name before those of other companies' models."""
_VENDOR = re.compile(r"(?:[a-z-]+\.)+")
_VERSION = re.compile(
    r"(?:-v\d+)?(?:@.*|:\d+)$"
    r"|[-:](?:latest|default|preview|exp|experimental)$"
    r"|:(?:free|beta|nitro|floor|online|extended|exacto)$"
    r"|-(?:\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{8}|\d{6}|\d{3,4})$"
)


@lru_cache(maxsize=4096)
def plain_model(name: str) -> str:
    """A model's name without its provider, region, vendor, date and version of a snapshot.

    A fine-tuned copy counts as its model, and so does a preview: names that this takes for the same may be
    of models that differ a little, but of one model it makes no two.
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
    """A model's plain names: that of the log, and the one that LiteLLM is called with."""
    called = config.of(model).litellm_model
    return {plain_model(model)} | ({plain_model(called)} if called else set())
