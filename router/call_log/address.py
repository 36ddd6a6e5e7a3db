"""Addresses of call logs: the kind of store, and a form without secrets for messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from router.errors import CallLogError
from router.errors.masking import shown_value, without_credentials

DATABASE_FILES = (".db", ".sqlite", ".sqlite3")
LINE_FILES = (".jsonl", ".ndjson")
_POSTGRES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
_SQLITE = "sqlite:///"
_FORMS = (
    "a file ending in .db, .sqlite or .jsonl, or postgresql://USER@HOST/DATABASE (password in PGPASSWORD)"
)
_LONGEST_REASON = 200
_PLAIN_PARAMETERS = frozenset(
    "host hostaddr port dbname user sslmode connect_timeout application_name options client_encoding "
    "target_session_attrs channel_binding gssencmode keepalives keepalives_idle keepalives_interval "
    "keepalives_count tcp_user_timeout load_balance_hosts sslrootcert".split()
)
"""Parameters of a PostgreSQL address that hold no secret; whatever any other one holds is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAddress:
    """The address of a call log.

    Attributes:
        path: the file, absolute, so that the working folder may change; "." for PostgreSQL.
        url: of PostgreSQL, with its secrets; "" for a file.
        shown: the address in messages.
        secrets: passwords and further parameters in the URL, as it holds them and decoded.
    """

    kind: Literal["sqlite", "postgres", "lines"]
    path: Path = field(default=Path(), repr=False)
    url: str = field(default="", repr=False)
    shown: str
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    @staticmethod
    def of(url: str | Path) -> LogAddress:
        """Parse the address in a setting.

        Raises:
            CallLogError: it is not the address of a call log.
        """
        text = str(url)
        if "://" in text and not text.startswith(_SQLITE):
            return _postgres(text)
        path = Path(text.removeprefix(_SQLITE)).expanduser()
        if path.suffix not in DATABASE_FILES + LINE_FILES and not text.startswith(_SQLITE):
            raise CallLogError(f"{shown_value(text)!r} is not the address of a call log: it must be {_FORMS}")
        kind: Literal["sqlite", "lines"] = "lines" if path.suffix in LINE_FILES else "sqlite"
        return LogAddress(kind=kind, path=path.absolute(), shown=without_credentials(str(path)))

    def check_exists(self) -> None:
        """Check that a log in a file is there.

        Raises:
            CallLogError: it is not.
        """
        if self.kind != "postgres" and not self.path.is_file():
            raise CallLogError(f"{self.shown}: no such call log (from {Path.cwd()}); check the path")

    def reason(self, error: BaseException) -> str:
        """The error in one line without secrets.

        Only the first line of a database's message is used: the others may quote the row.
        """
        cause = getattr(error, "orig", None) or error
        text = next(iter(str(cause).strip().splitlines()), "") or type(cause).__name__
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return without_credentials(text)[:_LONGEST_REASON]


def _postgres(url: str) -> LogAddress:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _POSTGRES:
        raise CallLogError(f"{shown_value(scheme)}:// is not the address of a call log: it must be {_FORMS}")
    server = rest.partition("/")[0]
    if rest.count("@") > server.count("@") or server.count("@") > 1:
        raise CallLogError(
            f"{scheme}://...: the password holds a character with a meaning in addresses (@, /, ?): "
            "put it into PGPASSWORD, or write it as %40, %2F and so on"
        )
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise CallLogError(f"{scheme}://...: host and port can't be read; it must be {_FORMS}") from None
    query = parse_qs(parts.query)
    secrets = [value for name, values in query.items() if name not in _PLAIN_PARAMETERS for value in values]
    raw = [parts.password or "", *secrets]
    return LogAddress(
        kind="postgres",
        url=f"postgresql+psycopg://{rest}",
        shown=without_credentials(f"postgresql://{parts.hostname or ''}{port}{parts.path}"),
        secrets=frozenset(text for secret in raw for text in (secret, unquote(secret)) if text),
    )
