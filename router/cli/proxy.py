"""The command that sets up a LiteLLM proxy."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from router.cli.console import AsJson, RouterOrRules, SettingsFile, app, loaded_version, people, print_json
from router.errors import ConfigError


@app.command("litellm-config")
def litellm_config_command(
    router: RouterOrRules,
    out: Annotated[Path, typer.Option(help="Where to write the configuration (YAML).")],
    config: SettingsFile = None,
    alias: Annotated[str, typer.Option(help="The model name for the router's decision.")] = "smart",
    as_json: AsJson = False,
) -> None:
    """Write the configuration of a LiteLLM proxy, an OpenAI-compatible server that uses the router."""
    from router.proxying.proxy_config import ProxyPlan, as_yaml, proxy_config

    version = loaded_version(router, config, rules=True)
    plan = ProxyPlan(version=version, router=router, config=config, alias=alias)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        draft.write_text(as_yaml(proxy_config(plan), name=out.name, alias=alias), encoding="utf-8")
        draft.replace(out)
    except OSError as error:
        raise ConfigError(f"--out {out}: can't be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            draft.unlink()
    if as_json:
        print_json({"out": str(out), "alias": alias, "log": version.config.log.url is not None})
    people.print(f"wrote {out}; its first lines say how to start the proxy", highlight=False, soft_wrap=True)
    if version.config.log.url is None:
        people.print("no call log: set log.url in the --config file", style="yellow", highlight=False)
