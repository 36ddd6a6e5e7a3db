from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from router.errors import RouterError
from training.tracking.store import open_store

FIRST_USE = """
import sys
from training.tracking.store import open_store
open_store(sys.argv[1])
"""


def first_use(database: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", FIRST_USE, f"sqlite:///{database}"])


@pytest.mark.slow
def test_many_first_users_at_once_leave_one_usable_database(tmp_path: Path) -> None:
    assert [user.wait() for user in [first_use(tmp_path / "new.db") for _ in range(4)]] == [0] * 4


@pytest.mark.slow
@pytest.mark.parametrize("seconds_alive", [4.0, 6.0, 8.0])
def test_a_first_user_that_is_killed_leaves_no_half_made_database(
    tmp_path: Path, seconds_alive: float
) -> None:
    killed = first_use(tmp_path / "new.db")
    time.sleep(seconds_alive)
    killed.kill()
    killed.wait()
    assert first_use(tmp_path / "new.db").wait() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.db", "new.db.lock"]


def half_made(database: Path, *, runs: int) -> str:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table runs (id integer)")
        connection.execute("create table _alembic_tmp_tags (id integer)")
        connection.executemany("insert into runs values (?)", [(run,) for run in range(runs)])
    return f"sqlite:///{database}"


def test_a_half_made_database_without_runs_is_set_aside_and_made_anew(tmp_path: Path) -> None:
    address = half_made(tmp_path / "half.db", runs=0)
    open_store(address)
    assert (tmp_path / "half.db.broken").is_file()


def test_a_half_made_database_with_runs_is_left_alone(tmp_path: Path) -> None:
    address = half_made(tmp_path / "half.db", runs=1)
    with pytest.raises(RouterError, match=r"holds runs or models.*mlflow db upgrade"):
        open_store(address)
