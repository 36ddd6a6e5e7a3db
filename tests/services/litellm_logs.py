"""Logs of a real LiteLLM proxy: its spend-log rows, and the payloads of its generic API callback.

The proxy's own database client needs an engine that is fetched from the network. So the rows are taken where
LiteLLM has made them and is about to insert them (`DBSpendUpdateWriter._record_spend_log`), and `fill_table`
inserts them into a table made from the schema in LiteLLM's wheel.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

from router.records import Json

PLUGIN = """
import json
from datetime import datetime
from litellm.proxy.db.db_spend_update_writer import DBSpendUpdateWriter
from litellm.proxy.hooks.proxy_track_cost_callback import _ProxyDBLogger

def plain(value):
    return value.isoformat() if isinstance(value, datetime) else str(value)

async def record(self, payload, **_):
    with open("spend_rows.jsonl", "a") as rows:
        rows.write(json.dumps(dict(payload), default=plain) + "\\n")
    return False

DBSpendUpdateWriter._record_spend_log = record
logger = _ProxyDBLogger()
"""
CONFIG = """
model_list:
  - {{model_name: small, litellm_params: {{model: openai/small, api_base: "{base}", api_key: {key},
      input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}}}}
  - {{model_name: large, litellm_params: {{model: openai/large, api_base: "{base}", api_key: {key},
      input_cost_per_token: 0.00001, output_cost_per_token: 0.00002}}}}
  - {{model_name: broken, litellm_params: {{model: openai/broken, api_base: "{base}", api_key: {key}}}}}
  - model_name: claude
    litellm_params: {{model: anthropic/claude-haiku-4-5, api_key: {key}, mock_response: Fine.}}
  - model_name: smart
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_default_model: small
      complexity_router_config: {{tiers: {{SIMPLE: small, MEDIUM: small, COMPLEX: large, REASONING: large}}}}
litellm_settings:
  callbacks: [spend_rows.logger, generic_api]
  cache: true
  cache_params: {{type: local, supported_call_types: [acompletion], mode: default_off}}
  num_retries: 0
  request_timeout: 20
router_settings:
  num_retries: 0
  fallbacks: [{{broken: [large]}}]
  allowed_fails: 1000
general_settings: {{store_prompts_in_spend_logs: true}}
"""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def callback_sink() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a loopback server that takes what is posted, and the bodies that it took."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    bodies: list[bytes] = []
    server.bodies = bodies  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", bodies
    finally:
        server.shutdown()
        server.server_close()


def written_proxy(folder: Path, base: str, key: str) -> Path:
    """The configuration of a proxy over the tests' provider, with the plugin beside it."""
    (folder / "spend_rows.py").write_text(PLUGIN, encoding="utf-8")
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(base=base, key=key), encoding="utf-8")
    return config


def spend_rows(folder: Path) -> list[dict[str, Json]]:
    """The rows that LiteLLM made so far."""
    path = folder / "spend_rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


_TYPES = {"String": "text", "Float": "float8", "Int": "int4", "DateTime": "timestamp(3)", "Json": "jsonb",
          "Boolean": "bool"}  # fmt: skip


def schema_of(model: str) -> dict[str, str]:
    """Columns and types of a table, by the schema in LiteLLM's wheel."""
    text = files("litellm").joinpath("proxy/schema.prisma").read_text(encoding="utf-8")
    found = re.search(rf"^model {model} {{$(.*?)^}}", text, re.MULTILINE | re.DOTALL)
    assert found, model
    columns = re.findall(r"^  (\w+)\s+(\w+)", found.group(1), re.MULTILINE)
    return {name: _TYPES[kind] for name, kind in columns if kind in _TYPES}


def fill_table(url: str, model: str, rows: Sequence[dict[str, Json]]) -> None:
    """Make a table of LiteLLM's and insert rows, as its client would: JSON columns from JSON text."""
    import psycopg
    from psycopg import sql

    columns = schema_of(model)
    key = next(iter(columns))
    parts = [f'"{name}" {kind}' + (" PRIMARY KEY" if name == key else "") for name, kind in columns.items()]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE TABLE "{model}" ({", ".join(parts)})'.encode())
        for row in rows:
            names = [name for name in row if name in columns]
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(model),
                sql.SQL(", ").join(map(sql.Identifier, names)),
                sql.SQL(", ").join(sql.Placeholder() * len(names)),
            )
            connection.execute(statement, [row[name] for name in names])
