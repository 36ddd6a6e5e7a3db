from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

from router.deciding.sessions import SessionMemory
from router.settings.sections import Sessions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_where_its_last_request_went() -> None:
    memory = SessionMemory(Sessions())
    memory.sit("a", "cheap", 10)
    memory.sit("a", "strong", 20)
    seat = memory.seat("a")
    assert seat is not None
    assert (seat.model, seat.tokens) == ("strong", 20)


def test_a_request_without_a_session_is_nowhere() -> None:
    memory = SessionMemory(Sessions())
    memory.sit(None, "cheap", 10)
    assert memory.seat(None) is None
    assert memory.seat("new") is None
    assert len(memory) == 0


def test_sessions_that_do_not_stay_are_not_remembered() -> None:
    memory = SessionMemory(Sessions(stay=False))
    memory.sit("a", "cheap", 10)
    assert (memory.seat("a"), len(memory)) == (None, 0)


def test_a_session_is_forgotten_after_its_time() -> None:
    clock = Clock()
    memory = SessionMemory(Sessions(forget_after_s=60), clock)
    memory.sit("a", "cheap", 10)
    clock.now = 60.0
    assert memory.seat("a") is not None
    clock.now = 60.1
    assert memory.seat("a") is None


def test_the_longest_unused_sessions_are_forgotten_first() -> None:
    memory = SessionMemory(Sessions(most=2))
    for name in ("a", "b", "a", "c"):
        memory.sit(name, "cheap", 10)
    assert [memory.seat(name) is not None for name in "abc"] == [True, False, True]


def test_threads_never_make_it_grow_past_its_most() -> None:
    memory = SessionMemory(Sessions(most=50))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: memory.sit(str(number % 200), "cheap", number), range(4000)))
    assert len(memory) == 50


def test_a_long_id_is_kept_as_its_hash() -> None:
    memory = SessionMemory(Sessions())
    tracemalloc.start()
    for number in range(50):
        memory.sit(f"{number}" + "x\ud800" * 500_000, "cheap", number)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 500_000
    seat = memory.seat("7" + "x\ud800" * 500_000)
    assert seat is not None
    assert seat.tokens == 7
