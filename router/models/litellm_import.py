"""Import LiteLLM once, without network access: in a thread when a router is loaded, else at its first use."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import Any, Final

from router.errors import MissingExtra
from router.forking import ForkAware, watch

MOST_WAIT_S: Final = 60.0
"""Longest wait of a fork for the import: a child could not take over one that is under way."""


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


def is_imported() -> bool:
    """Whether `litellm_module` returns at once."""
    return litellm_module.cache_info().currsize > 0


def warm() -> None:
    """Begin to import LiteLLM and its tokenizer in a thread, so that no request waits for that."""
    _warming.start()


class _Stopped(BaseException):
    """Ends the import: the interpreter is shutting down."""


class _Warming(ForkAware):
    """The thread that imports; a fork waits for it, and the end of the program stops it."""

    thread: threading.Thread | None = None
    stopping = False

    def start(self) -> None:
        """Start the thread, once in a process."""
        if self.thread is not None or "litellm" in sys.modules:
            return
        self.thread = threading.Thread(target=self._import, name="pointsman-litellm", daemon=True)
        watch(self)
        atexit.register(self.stop)
        self.thread.start()

    def stop(self) -> None:
        """Stop an import under way: a thread must not be inside of native code when the interpreter ends."""
        self.stopping = True
        self.before_fork()

    def before_fork(self) -> None:
        """Wait for the import."""
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(MOST_WAIT_S)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Find no module, as the first of the interpreter's finders; end the import if it is to stop."""
        if self.stopping and threading.current_thread() is self.thread:
            raise _Stopped

    def _import(self) -> None:
        sys.meta_path.insert(0, self)
        try:
            # A request that needs LiteLLM meets the same error, and is told.
            with suppress(Exception, _Stopped):
                litellm_module().token_counter(model="", text="a")
        finally:
            sys.meta_path.remove(self)


_warming = _Warming()
