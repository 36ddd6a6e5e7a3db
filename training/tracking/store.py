"""Opens MLflow's store: a SQLite database is made whole, by one process at a time."""

from __future__ import annotations

import glob
import sqlite3
from contextlib import closing
from pathlib import Path

from router.addresses import sqlite_file
from router.errors import RouterError
from training.whole_file import draft_of

EXPERIMENT = "pointsman"
WAIT_S = 300.0
"""Longest wait for another process that makes the database."""
_OF_EVERY_STORE = frozenset(("alembic_version", "experiments", "workspaces"))
"""Tables in which a database without runs or models may have rows."""


def open_store(tracking_uri: str) -> None:
    """Point MLflow at the store and the experiment; make a SQLite store first if there is none.

    MLflow migrates without a lock. Here one process at a time makes or checks the database, in a draft that
    replaces nothing until it is whole, so neither neighbours nor a kill leave it half-made.

    Raises:
        RouterError: the database is half-made or of another MLflow version, and holds something.
        OSError: another process kept the lock for `WAIT_S`, or the folder can't be written.
    """
    if (path := sqlite_file(tracking_uri)) is None:
        _set_experiment(tracking_uri)
        return
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=WAIT_S):
        _make_whole(path)
        _set_experiment(tracking_uri)


def _set_experiment(tracking_uri: str) -> None:
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment(EXPERIMENT)


def _make_whole(path: Path) -> None:
    """Make the database if there is none; set a broken one that holds nothing aside, and make it anew."""
    from mlflow import MlflowClient

    if path.exists() and path.stat().st_size:
        with closing(sqlite3.connect(path)) as connection:
            if _is_current(connection):
                return
            holds_rows = _holds_rows(connection)
        if holds_rows:
            raise RouterError(
                f"{path}: the database holds runs or models, but its tables are half-made or of another "
                f"MLflow version; back it up, then run mlflow db upgrade sqlite:///{path}, or name "
                "another file"
            )
        path.replace(path.with_name(f"{path.name}.broken"))
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):  # a killed process could not
        left.unlink()
    with draft_of(path) as draft:
        MlflowClient(tracking_uri=f"sqlite:///{draft}").search_experiments(max_results=1)


def _is_current(connection: sqlite3.Connection) -> bool:
    """Whether MLflow's migrations have all run, of which the last one writes the newest revision."""
    from alembic.script import ScriptDirectory
    from mlflow.store import db_migrations

    newest = ScriptDirectory(db_migrations.__path__[0]).get_current_head()
    try:
        return bool(connection.execute("select version_num from alembic_version").fetchone() == (newest,))
    except sqlite3.OperationalError:
        return False


def _holds_rows(connection: sqlite3.Connection) -> bool:
    """Whether a database has a row in a table other than those that every store fills."""
    tables = [name for (name,) in connection.execute("select name from sqlite_master where type='table'")]
    return any(
        connection.execute(f'select 1 from "{table}" limit 1').fetchone()
        for table in tables
        if table not in _OF_EVERY_STORE and not table.startswith("sqlite_")
    )
