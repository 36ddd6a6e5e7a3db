"""Say yourself what a success is: here, a support answer that links a help page succeeded.

Put this module into a package of yours, or its folder on PYTHONPATH, and name it in `pointsman.yaml`:

    outcomes:
      rules:
        - feedback: {}
        - function: {call: "custom_outcome:links_a_help_page", source: help page}

Then `pointsman import`, `train` and `compare` with `--config pointsman.yaml` ask it about every call of which
no rule before it says anything.
"""

import json
from collections.abc import Mapping
from typing import Any

HELP = "help.example.com/"


def links_a_help_page(call: Mapping[str, Any]) -> bool | None:
    """Judge a logged call, a dictionary of its fields: true, false, or None where this can't tell."""
    if call.get("task_type") != "support" or not call.get("answer"):
        return None
    return HELP in json.dumps(call["answer"])  # a text, a message or its parts, as the log has it
