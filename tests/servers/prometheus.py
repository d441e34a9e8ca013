"""A Prometheus for a test, from the system's package."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.servers.postgresql import free_port

_DEADLINE = 60.0


def programs() -> bool:
    """Whether Prometheus and its tool are installed."""
    return all(map(shutil.which, ("prometheus", "promtool")))


@contextmanager
def running(folder: Path, target: str, rules: Path) -> Iterator[str]:
    """A Prometheus that scrapes `target` (host:port) once a second; gives its address."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "foreshock", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(_DEADLINE)


def wait_for(prometheus: str, expression: str) -> list[dict[str, Any]]:
    """The samples of the expression, as soon as there are any."""
    address = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    deadline = time.monotonic() + _DEADLINE
    while True:
        try:
            with urllib.request.urlopen(address) as page:
                found: list[dict[str, Any]] = json.load(page)["data"]["result"]
        except urllib.error.URLError:
            found = []
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"Prometheus has nothing for {expression}")
        time.sleep(0.1)
