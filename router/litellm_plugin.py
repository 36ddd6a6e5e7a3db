"""The names that LiteLLM's configuration refers to.

Keep anything else out of this file: LiteLLM executes a copy of it if one lies beside the configuration.
"""

from __future__ import annotations

from router.proxying.hooks import Callback, Classifier, of_this_process, serve_feedback
from router.proxying.strategy import Strategy, attach

__all__ = ["Strategy", "attach", "callback", "classifier"]

classifier = Classifier(of_this_process())
callback = Callback(of_this_process())
serve_feedback(of_this_process())
