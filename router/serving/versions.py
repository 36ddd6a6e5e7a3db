"""Loading a version from where it lives: a folder, the registry, or a settings file of rules."""

from __future__ import annotations

import logging
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from router.calling.litellm_call import check_client
from router.errors import ArtifactError, ConfigError
from router.loading.copies import Copy
from router.loading.follow import BAD_VERSION, Refusal, load_in_time
from router.loading.registry import SCHEMES, RegistrySource
from router.rules_version import RulesVersion, is_settings_file
from router.settings.sections import Config
from router.settings.yaml_file import load_config
from router.version import Version

logger = logging.getLogger(__name__)


def load_learned(where: str | Path, settings: Config | None, expect: str | None = None) -> Version:
    """Load a router that can forecast.

    Raises:
        ArtifactError, ConfigError: as `load_version`; or it is one of rules alone.
    """
    return check_learned(load_version(where, settings, expect)[0], str(where))


def check_learned(version: Version, name: str) -> Version:
    """The version, if it can forecast.

    Raises:
        ConfigError: it is one of rules alone.
    """
    if not version.learned:
        raise ConfigError(f"{name}: rules alone forecast nothing: name a router that `pointsman train` made")
    return version


def load_version(
    where: str | Path,
    settings: Config | None,
    expect: str | None = None,
    transport: Any = None,  # noqa: ANN401 - litellm.Router
) -> tuple[Version, tuple[RegistrySource, Copy, Refusal | None] | None]:
    """Load a router from its folder, its registry address or its settings file.

    From the registry, it comes with what a follower needs.

    If an alias points to an unusable version, the last one that worked is loaded from its local copy.

    Raises:
        ArtifactError, ConfigError: as `Router.load`.
    """
    if not isinstance(where, str | PathLike):
        raise ArtifactError(f"router {where!r}: give a folder, models:/NAME@ALIAS, or a settings file")
    if not str(where).startswith(SCHEMES):
        if is_settings_file(where):
            return _callable_by(transport, _rules_of(Path(where), settings, expect)), None
        load = partial(Version.load, Path(where), settings, expect=expect)
        return _callable_by(transport, load_in_time(load, str(where))), None
    source = RegistrySource(str(where), copies=settings.registry.copies if settings else None)
    try:
        copy = source.current()
        version = version_of(settings, expect, transport, copy)
    except (*BAD_VERSION, ConfigError) as error:
        last, pointed = source.last_good(), source.resolved
        if last is None or pointed is None:
            raise
        version = version_of(settings, expect, transport, last)
        logger.warning(
            "%s: %s is refused, starting with %s, which worked last: %s",
            source.uri, pointed.name, last.version.name, error,
        )  # fmt: skip
        return version, (source, last, Refusal(version=pointed, reason=str(error)))
    source.remember(copy)
    return version, (source, copy, None)


def _rules_of(path: Path, settings: Config | None, expect: str | None) -> RulesVersion:
    """A router of the rules in a settings file.

    Raises:
        ConfigError: the file is wrong, or different settings are given beside it.
        ArtifactError: a digest is expected.
    """
    if expect is not None:
        raise ArtifactError(f"{path}: a router of rules has no digest to expect: leave it out, or train one")
    own = load_config(path)
    if settings is not None and settings != own:
        raise ConfigError(f"{path}: a router of rules is its settings file: leave out the other config")
    return RulesVersion(own, name=str(path))


def version_of(
    settings: Config | None,
    expect: str | None,
    transport: Any,  # noqa: ANN401 - litellm.Router
    copy: Copy,
) -> Version:
    """The version in a local copy, once it has made decisions within the time limit.

    Raises:
        ArtifactError, ConfigError: as `Router.load`.
    """
    load = partial(Version.load, copy.folder, settings, held=copy, expect=expect)
    return _callable_by(transport, load_in_time(load, copy.version.name))


def _callable_by(transport: Any, version: Version) -> Version:  # noqa: ANN401 - litellm.Router
    """The version, if the transport can call each of its models that the settings do not deny.

    Raises:
        ConfigError: it can't.
    """
    check_client(transport, [model for model in version.models if not version.limits.facts[model].denied])
    return version
