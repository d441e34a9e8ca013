"""A Prometheus for a test, from the system's package."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from infra.observers import prometheus_configuration
from tests.servers.postgresql import free_port

_DEADLINE = 60.0
RULES = Path(__file__).parents[2] / "infra" / "prometheus" / "rules" / "foreshock.yaml"


def programs() -> bool:
    """Whether Prometheus and its tool are installed."""
    return all(map(shutil.which, ("prometheus", "promtool")))


@contextmanager
def running(
    folder: Path, target: str, rules: Path, *, alertmanagers: Sequence[str] = ()
) -> Iterator[str]:
    """A Prometheus by the configuration that we ship, but that it scrapes `target` (host:port) once
    a second, and tells `alertmanagers`; gives its address."""
    config = prometheus_configuration(target, list(alertmanagers))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(rules)]
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


def in_fast_motion(folder: Path) -> Path:
    """The rules that we ship with a second for each minute: of ranges, offsets and patience."""
    rules = RULES.read_text()
    for unit, faster in (("m", "s"), ("h", "m")):
        rules = re.sub(rf"(\[|for: |offset )(\d+){unit}\b", rf"\g<1>\g<2>{faster}", rules)
    path = folder / "rules.yaml"
    path.write_text(rules.replace("[1d]", "[24m]"))
    return path


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
