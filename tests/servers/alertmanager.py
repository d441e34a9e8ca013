"""Debian's Alertmanager, with a webhook to which it tells what it was told."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.servers.postgresql import free_port

_PROGRAM = "prometheus-alertmanager"
_DEADLINE = 60.0


def missing() -> str | None:
    """Why it cannot be started, None where it can."""
    return None if shutil.which(_PROGRAM) else f"{_PROGRAM} is not installed"


@contextmanager
def running(folder: Path, webhook: str) -> Iterator[str]:
    """An Alertmanager that knows no other of its kind; gives its address."""
    route = {"receiver": "us", "group_wait": "0s", "group_interval": "1s", "group_by": ["..."]}
    config = folder / "alertmanager.yml"  # JSON is YAML
    config.write_text(
        json.dumps(
            {"route": route, "receivers": [{"name": "us", "webhook_configs": [{"url": webhook}]}]}
        )
    )
    port = free_port()
    server = subprocess.Popen(
        [
            _PROGRAM,
            f"--config.file={config}",
            f"--storage.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            "--log.level=error",
        ]
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(_DEADLINE)


def alerts(url: str) -> list[dict[str, Any]]:
    """What it holds as firing."""
    found: list[dict[str, Any]] = requests.get(f"{url}/api/v2/alerts", timeout=10).json()
    return found


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _DEADLINE
    while True:
        try:
            if requests.get(f"{url}/-/ready", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("Alertmanager did not start")
        time.sleep(0.05)
