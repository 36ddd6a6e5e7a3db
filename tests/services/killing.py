"""Kills a process amid its calls of the tests' provider."""

from __future__ import annotations

import random
import subprocess
import time

from tests.services.provider import Provider
from tests.services.waiting import wait_until


def kill_amid_calls(
    run: subprocess.Popen[bytes], provider: Provider, begin: int, draw: random.Random
) -> None:
    """Kill a run once it has made some calls, at any moment between two of them.

    Args:
        begin: number of requests that the provider had before the run.
        draw: how many calls, up to twelve, and the moment.
    """
    enough = begin + draw.randint(1, 12)
    wait_until(lambda: len(provider.requests) >= enough or run.poll() is not None)
    time.sleep(draw.uniform(0.0, 0.05))  # the moment is what is tested, so no state is waited for
    run.kill()
    run.wait()
