"""Processes that SIGTERM ends, by themselves and in real servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.router.call_log.call_records import ROOT, call_ids, start_python
from tests.services.ports import held_port
from tests.services.waiting import PATIENCE_S, wait_until

REQUESTS = 12
UVICORN = ("uvicorn", "--port", "{port}", "--log-level", "warning")
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--graceful-timeout", "60")
ASGI_WORKER = ("--worker-class", "uvicorn.workers.UvicornWorker")
SERVERS = {
    "uvicorn": UVICORN,
    "uvicorn workers": (*UVICORN, "--workers", "2"),
    "uvicorn without lifespan": (*UVICORN, "--lifespan", "off"),
    "gunicorn": (*GUNICORN, *ASGI_WORKER),
    "gunicorn preload": (*GUNICORN, *ASGI_WORKER, "--preload", "--workers", "2"),
}
WSGI = {
    "gunicorn sync": GUNICORN,
    "gunicorn threads": (*GUNICORN, "--threads", "4", "--preload"),
}


@contextmanager
def served(
    path: Path, application: str, server: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server of the application, and its address; what it printed is beside the log."""
    name, *options = server
    with held_port() as port, path.with_suffix(".out").open("wb") as output:
        command = [sys.executable, "-m", name, f"tests.services.logging_app:{application}", *options]
        process = subprocess.Popen(
            [part.format(port=port) for part in command],
            env=os.environ | {"CALLS": str(path), "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: process.poll() is not None or answers(f"{address}/docs"))
            yield process, address
        finally:
            process.kill()
            process.wait()


def answers(address: str) -> bool:
    try:
        return httpx.get(address).status_code > 0
    except httpx.TransportError:
        return False


def ask(address: str, numbers: range) -> set[str]:
    """The ids of answered requests."""
    with ThreadPoolExecutor(8) as threads:
        return {
            reply.text.strip('"')
            for reply in threads.map(lambda n: httpx.get(f"{address}/call-{n}"), numbers)
        }


@pytest.mark.service
@pytest.mark.parametrize("application", ["app", "closing"])
@pytest.mark.parametrize("server", SERVERS)
def test_no_row_is_lost_when_sigterm_ends_a_server(tmp_path: Path, server: str, application: str) -> None:
    path = tmp_path / "calls.db"
    with served(path, application, SERVERS[server]) as (process, address):
        answered = ask(f"{address}/loop", range(REQUESTS)) | ask(f"{address}/thread", range(-REQUESTS, 0))
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    assert len(answered) == 2 * REQUESTS
    assert set(call_ids(path)) == answered


@pytest.mark.service
@pytest.mark.parametrize("server", WSGI)
def test_no_row_is_lost_when_sigterm_ends_a_server_of_wsgi(tmp_path: Path, server: str) -> None:
    path = tmp_path / "calls.db"
    with served(path, "wsgi", WSGI[server]) as (process, address):
        answered = ask(address, range(REQUESTS))
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    assert answered <= set(call_ids(path))
    assert len(answered) == REQUESTS


@pytest.mark.service
def test_requests_that_the_servers_bound_cuts_off_are_logged(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    bounded = (*UVICORN, "--timeout-graceful-shutdown", "1")
    with served(path, "app", bounded) as (process, address), ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(httpx.get, f"{address}/slow/slow-{n}", timeout=PATIENCE_S) for n in range(4)]
        answered = ask(f"{address}/loop", range(REQUESTS))
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        assert all(one.exception(PATIENCE_S) or one.result().status_code == 500 for one in asked)
    assert set(call_ids(path)) == answered | {f"slow-{n}" for n in range(4)}


PRELUDE = """
import multiprocessing, os, signal, sys, threading, time
from router.call_log import Buffer, CallLog, CallRecord

def start():
    return CallLog.open(sys.argv[1], buffer=Buffer(interval_s=3600))

def write(log, names):
    for name in names.split():
        log.write(CallRecord(call_id=name, time=1.0, messages=[], model="small"))

def wait():
    print("ready", flush=True)
    time.sleep(3600)
"""
SCRIPTS = {
    "waits": "log = start(); write(log, 'a b'); wait()",
    "works": "log = start(); write(log, 'a b'); print('ready', flush=True)\nwhile True: pass",
    "opened two logs": "log = start(); other = CallLog.open(sys.argv[1]); write(log, 'a b'); wait()",
    "holds the log's lock": "log = start(); write(log, 'a b')\nwith log._writer._lock: wait()",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_process_that_does_not_handle_sigterm_writes_its_rows_and_dies_of_it(
    tmp_path: Path, script: str
) -> None:
    path = tmp_path / "calls.db"
    process = start_python(PRELUDE + SCRIPTS[script], path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGTERM
    assert "lock" in script or call_ids(path) == ["a", "b"]


def test_a_worker_that_is_terminated_writes_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    code = """
def work(ready):
    write(log, "a b")
    ready.set()
    time.sleep(3600)

if __name__ == "__main__":
    log = start()
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=work, args=(ready,))
    worker.start()
    ready.wait()
    worker.terminate()
    worker.join()
    print(worker.exitcode)
"""
    process = start_python(PRELUDE + code, path)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (output, process.returncode) == (f"{-signal.SIGTERM}\n", 0), errors
    assert call_ids(path) == ["a", "b"]


@pytest.mark.parametrize(
    "handler", ["signal.SIG_IGN", "lambda number, frame: heard.append(number)"], ids=["ignored", "handled"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_applications_own_handler_stays(tmp_path: Path, handler: str, when: str) -> None:
    code = f"""
heard = []
own = {handler}
if {when == "before"}: signal.signal(signal.SIGTERM, own)
log = start()
write(log, "a")
if {when == "after"}: signal.signal(signal.SIGTERM, own)
write(log, "b")
log.flush(60)
os.kill(os.getpid(), signal.SIGTERM)
assert signal.getsignal(signal.SIGTERM) is own
print(len(heard))
"""
    process = start_python(PRELUDE + code, tmp_path / "calls.db")
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (output, process.returncode) == (f"{'heard' in handler:d}\n", 0), errors
