"""The container files, as far as they can be checked without an engine: their rules, paths and commands."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from router.serving.client import Router
from tests.services.ports import held_port
from tests.services.postgres import PASSWORD, Postgres
from tests.services.waiting import wait_until

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "containers").glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
OURS = [name for name, service in COMPOSE["services"].items() if "build" in service]
SECRET = re.compile(r"KEY|PASSWORD|SECRET|TOKEN", re.IGNORECASE)
START_S = 300.0


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction's name and its arguments, without comments and line breaks."""
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8")).replace("\\\n", " ")
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, rest in pairs]


def extras_of(dockerfile: Path) -> list[str]:
    """The extras of pointsman that an image installs."""
    found = re.search(r"'\.\[([a-z0-9,]+)\]'", dockerfile.read_text(encoding="utf-8"))
    assert found is not None
    return found[1].split(",")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_is_pinned_and_runs_without_root(dockerfile: Path) -> None:
    steps = instructions(dockerfile)
    assert {name for name, _ in steps} <= {
        "FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "USER", "EXPOSE", "CMD",
    }  # fmt: skip
    assert all(re.match(r"[a-z]+:\d[\w.-]*( AS \w+)?$", base) for name, base in steps if name == "FROM")
    assert [value for name, value in steps if name == "USER"] == ["10001"]
    assert not any(SECRET.search(value) for name, value in steps if name in {"ARG", "ENV"})
    pips = [value for name, value in steps if name == "RUN" and "pip install" in value]
    assert pips
    assert all("--no-cache-dir --constraint requirements-dev.txt" in value for value in pips)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_what_an_image_copies_and_installs_exists(dockerfile: Path) -> None:
    copies = [
        value.split() for name, value in instructions(dockerfile) if name == "COPY" and "--from" not in value
    ]
    assert [source for *sources, _ in copies for source in sources if not (ROOT / source).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras_of(dockerfile)) <= project["optional-dependencies"].keys()


def test_serving_needs_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = extras_of(ROOT / "containers" / "serving.Dockerfile")
    needed = [need for extra in extras for need in project["optional-dependencies"][extra]]
    assert [need for need in needed if re.match(r"torch|sentence|mlflow\b(?!-skinny)|scikit", need)] == []


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_pinned_closed_and_holds_no_secret(name: str) -> None:
    service = COMPOSE["services"][name]
    assert not service.get("privileged")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert all(
        value.startswith("${") for key, value in service.get("environment", {}).items() if SECRET.search(key)
    )
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        assert (ROOT / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]
    if name in OURS:
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert "no-new-privileges:true" in service["security_opt"]
        assert (ROOT / service["build"]["dockerfile"]) in DOCKERFILES
        assert all(mount.endswith(("/state", ":ro")) for mount in service["volumes"])
    else:
        assert re.search(r":\d", service["image"])


def test_the_proxys_command_writes_its_configuration(tmp_path: Path) -> None:
    service = COMPOSE["services"]["proxy"]
    assert service["environment"]["POINTSMAN_ROUTER"].endswith(":-/config/pointsman.yaml}")
    shell = (
        service["command"][2].replace("/config/", f"{ROOT}/containers/").replace("/state/", f"{tmp_path}/")
    )
    prepare, start = shell.split(" && exec ")
    assert start == f"litellm --config {tmp_path}/litellm.yaml --port 4000"
    environment = {
        **_environment(tmp_path),
        "POINTSMAN_ROUTER": f"{ROOT}/containers/pointsman.yaml",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    subprocess.run(["sh", "-c", prepare], env=environment, cwd=tmp_path, check=True, capture_output=True)
    written = yaml.safe_load((tmp_path / "litellm.yaml").read_text(encoding="utf-8"))
    assert [model["model_name"] for model in written["model_list"]] == ["gpt-5-mini", "gpt-5", "smart"]


def test_the_rules_of_day_one_log_to_the_database_of_the_services(postgres: Postgres, tmp_path: Path) -> None:
    text = (ROOT / "containers" / "pointsman.yaml").read_text(encoding="utf-8")
    database = COMPOSE["services"]["dashboard"]["command"][2]
    assert yaml.safe_load(text)["log"]["url"] == database
    settings = tmp_path / "pointsman.yaml"
    settings.write_text(text.replace(database, postgres.new_database("compose")), encoding="utf-8")
    with Router.load(settings) as router:
        response = router.completion(messages=[{"role": "user", "content": "Hello"}], mock_response="Hi")
        assert response.decision.model == "gpt-5-mini"

    url = postgres.url("compose", password=None)
    with held_port() as port:
        command = ["-m", "router.cli", "dashboard", url, "--host", "0.0.0.0", "--port", str(port)]
        environment = {**_environment(tmp_path), "PGPASSWORD": PASSWORD}
        page = _served([*command], port, environment, host="dashboard")
    assert page.status_code == 200
    assert "gpt-5-mini" in page.text


def test_mlflow_answers_the_name_that_the_services_use_and_no_other(tmp_path: Path) -> None:
    service = COMPOSE["services"]["mlflow"]
    arguments = [part.replace("/state", str(tmp_path)) for part in service["command"][1:]]
    assert COMPOSE["services"]["proxy"]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    environment = _environment(tmp_path) | service["environment"]
    with held_port() as port:
        started = ["-m", "mlflow", *arguments, "--port", str(port), "--workers", "1"]
        page = _served(started, port, environment, host="mlflow:5000", refused="elsewhere:5000")
    assert page.status_code == 200


def _environment(home: Path) -> dict[str, str]:
    """A service's: nothing of the person who runs the tests."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT)}


def _served(
    arguments: list[str], port: int, environment: dict[str, str], *, host: str, refused: str | None = None
) -> httpx.Response:
    """What a server's first page says to a client that knows it as `host`; it turns `refused` away."""
    address = f"http://127.0.0.1:{port}/"

    def answer() -> httpx.Response | None:
        try:
            return httpx.get(address, headers={"Host": host}, timeout=30)
        except httpx.TransportError:
            assert server.poll() is None, "the server ended"
            return None

    with subprocess.Popen([sys.executable, *arguments], env=environment, cwd=environment["HOME"]) as server:
        try:
            page = wait_until(answer, START_S)
            assert page is not None
            if refused is not None:
                assert httpx.get(address, headers={"Host": refused}, timeout=30).status_code == 403
        finally:
            server.terminate()
    return page
