from __future__ import annotations

import ast
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from router.forking import ForkSafe
from tests.test_arrows import ROOT, module_name, sources
from tests.whole.test_kept import KEPT

KINDS = frozenset(
    "Lock RLock Condition Event Semaphore BoundedSemaphore Barrier Thread Timer local Future Queue "
    "SimpleQueue ThreadPoolExecutor ProcessPoolExecutor Pool Random default_rng".split()
)
"""What a child can't use, or should not share, when its parent had it before the fork."""
RENEWED = "its owner's after_fork_in_child makes it anew"
OF_ONE_CALL = "lives as long as one call, and the thread that made that call is not in the child"
OF_ONE_REQUEST = (
    "belongs to one request; its threads stay in the parent, and the child starts its own requests"
)
NOT_FORK_SAFE = {
    "router.call_log.writer.LogWriter._start_empty": RENEWED,
    "router.call_log.writer.LogWriter._wake": RENEWED,
    "router.loading.follow.Follower.__init__": RENEWED,
    "router.loading.follow.Follower._spawn": RENEWED,
    "router.loading.follow.Follower.after_fork_in_child": RENEWED,
    "router.loading.follow.begin": OF_ONE_CALL,
    "router.serving.exporting.Outlet.__init__": RENEWED,
    "router.serving.lookout.Lookout.__init__": RENEWED,
    "router.serving.lookout.Lookout._spawn": RENEWED,
    "router.serving.lookout.Lookout.after_fork_in_child": RENEWED,
    "router.serving.exporting.Outlet._report_metrics": RENEWED,
    "router.calling.running.RunningAttempt.__init__": OF_ONE_REQUEST,
    "router.proxying.ticket.Ticket.__init__": OF_ONE_REQUEST,
    "router.call_log.process._write_and_end": "ends the process",
    "router.call_log.process._write_out": "ends with it",
}
"""Where such a thing is made otherwise than by `ForkSafe`, and why that is right."""


def made(node: ast.AST, scope: str) -> Iterator[tuple[str, str]]:
    """Scope and name of every call below a node that makes one of the kinds, but for asyncio's."""
    for child in ast.iter_child_nodes(node):
        inner = f"{scope}.{child.name}" if isinstance(child, ast.ClassDef | ast.FunctionDef) else scope
        if isinstance(child, ast.Call):
            name = ast.unparse(child.func).partition("[")[0]
            if name.rpartition(".")[2] in KINDS and not name.startswith("asyncio."):
                yield scope, name
        yield from made(child, inner)


def test_whatever_a_child_cannot_take_over_is_fork_safe_or_listed() -> None:
    scopes = {
        scope
        for path in sources("router")
        for scope, _ in made(ast.parse(path.read_text()), module_name(path))
    }
    assert scopes == NOT_FORK_SAFE.keys()


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        pytest.param("self._lock = threading.Lock()", ["threading.Lock"], id="a lock"),
        pytest.param("pool = ThreadPoolExecutor(2)", ["ThreadPoolExecutor"], id="a pool"),
        pytest.param("answer: Future[int] = Future()", ["Future"], id="an annotated one"),
        pytest.param("ForkSafe(threading.Lock)", [], id="one that is fork-safe"),
        pytest.param("ForkSafe(partial(Random, 1))", [], id="one with arguments"),
        pytest.param("asyncio.Lock()", [], id="one of an event loop"),
    ],
)
def test_the_search_sees_what_is_made(source: str, kinds: list[str]) -> None:
    assert [name for _, name in made(ast.parse(source), "here")] == kinds


def run(*lines: str) -> str:
    """What a fresh interpreter prints, which loads a kept router first."""
    start = (
        f"import os, random, threading, time\nfrom router import Router\nWHERE = {str(KEPT / 'format_1')!r}"
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join((start, *lines))],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CHILDREN = """
def forked(work):
    if child := os.fork():
        return child
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)
def ended(child, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (state := os.waitpid(child, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(state[1])
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hangs"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_no_child_hangs_that_is_forked_while_threads_route() -> None:
    printed = run(
        CHILDREN,
        "router, over = Router.load(WHERE), threading.Event()",
        "def ask(number):",
        "    while not over.is_set():",
        "        router.route('When do you open?', session_id=str(number))",
        "threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]",
        "for thread in threads: thread.start()",
        "ends = [ended(forked(lambda: router.route('hi', session_id='1'))) for _ in range(200)]",
        "over.set()",
        "print(set(ends))",
    )
    assert printed == "{0}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize(("seed", "different"), [("null", 4), ("7", 1)])
def test_children_explore_each_on_its_own_unless_a_seed_makes_them_repeat(seed: str, different: int) -> None:
    printed = run(
        CHILDREN,
        "from router.settings.yaml_file import parse_config",
        f"router = Router.load(WHERE, config=parse_config('exploration: {{share: 0.5, seed: {seed}}}'))",
        "read, write = os.pipe()",
        "def draw():",
        "    models = ''.join(f'{router.route(str(n)).model};' for n in range(40))",
        "    os.write(write, (models + chr(10)).encode())",
        "assert {ended(forked(draw)) for _ in range(4)} == {0}",
        "os.close(write)",
        "print(len(set(os.fdopen(read).read().split())))",
    )
    assert printed == str(different)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_every_fork_safe_lock_is_free_in_a_child() -> None:
    printed = run(
        CHILDREN,
        "from router import forking",
        "router = Router.load(WHERE)",
        "held = [one.part for one in forking._parts if hasattr(one.part, 'acquire')]",
        "assert all(lock.acquire(timeout=5) for lock in held)",
        "def free():",
        "    parts = [one.part for one in forking._parts if hasattr(one.part, 'acquire')]",
        "    assert all(part.acquire(timeout=5) for part in parts)",
        "print(len(held) >= 4, ended(forked(free)))",
    )
    assert printed == "True 0"


def test_a_router_starts_no_thread_and_imports_litellm_only_when_told_to() -> None:
    printed = run(
        "import sys",
        "router = Router.load(WHERE)",
        "print([one.name for one in threading.enumerate()], 'litellm' in sys.modules)",
        "router.warm_up()",
        "print('litellm' in sys.modules, 'tiktoken' in sys.modules)",
    )
    assert printed == "['MainThread'] False\nTrue True"


def test_a_transport_of_the_applications_own_brings_its_own_libraries() -> None:
    printed = run(
        "import sys",
        "class Own:",
        "    def completion(self, **arguments): ...",
        "    async def acompletion(self, **arguments): ...",
        "Router.load(WHERE, transport=Own()).warm_up()",
        "print([one.name for one in threading.enumerate()], 'litellm' in sys.modules)",
    )
    assert printed == "['MainThread'] False"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_child_has_what_its_parent_imported() -> None:
    printed = run(
        CHILDREN,
        "from router.models.litellm_import import litellm_module",
        "Router.load(WHERE).warm_up()",
        "print(ended(forked(lambda: litellm_module().token_counter(model='', text='hi')), 100))",
    )
    assert printed == "0"


def test_a_part_stays_the_same_until_it_is_renewed() -> None:
    lock = ForkSafe(threading.Lock)
    before = lock.part
    assert lock.part is before
    lock.renew()
    assert lock.part is not before


def test_a_part_is_made_with_its_arguments() -> None:
    assert ForkSafe(partial(Path, "a")).part == Path("a")
