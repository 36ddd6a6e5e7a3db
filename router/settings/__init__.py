"""Read `pointsman.yaml` into checked settings."""

from router.settings.sections import Config
from router.settings.yaml_file import config_of, load_config, parse_config

__all__ = ["Config", "config_of", "load_config", "parse_config"]
