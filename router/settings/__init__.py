"""What `pointsman.yaml` may hold, and how it is read."""

from router.settings.sections import Config
from router.settings.yaml_file import load_config, parse_config

__all__ = ["Config", "load_config", "parse_config"]
