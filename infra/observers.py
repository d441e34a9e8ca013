"""Prometheus, Alertmanager and Grafana on one machine, as parts of a cluster's set.

Each is made ready in a folder of its own for the addresses of this start: whatever runs of an
earlier one is to be ended first.
"""

import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from infra.flink.cluster import Part

HERE = Path(__file__).parent
_PROMETHEUS = HERE / "prometheus"
_ALERTMANAGER = HERE / "alertmanager" / "alertmanager.yml"
_ALERTMANAGERS_NAMES = ("prometheus-alertmanager", "alertmanager")  # Debian's, and its own
_GRAFANA_HOME = Path("/usr/share/grafana")


def prometheus_configuration(target: str, alertmanagers: list[str]) -> dict[str, Any]:
    """The one that ships, with these addresses (HOST:PORT) and the rules where they lie."""
    found: dict[str, Any] = yaml.safe_load((_PROMETHEUS / "prometheus.yml").read_text())
    found["rule_files"] = [str(_PROMETHEUS / "rules" / "*.yaml")]
    found["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    found["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = alertmanagers
    return found


class Observers:
    """Those that are installed. `addresses`: name -> URL; `missing`: names of the others."""

    def __init__(self, folder: Path, page: str, store: str) -> None:
        """`page`: URL of the job's metrics; `store`: folder of PostgreSQL's socket."""
        self.parts: list[Part] = []
        self.addresses: dict[str, str] = {}
        self.missing: list[str] = []
        self._folder = folder.resolve()
        alertmanagers = self._alertmanager()
        prometheus = self._prometheus(page.split("/")[2], alertmanagers)
        self._grafana(prometheus, store)

    @property
    def dashboards(self) -> Path:
        """Where Grafana finds what `foreshock dashboards build` writes."""
        return self._folder / "grafana" / "files"

    def _alertmanager(self) -> list[str]:
        program = next(filter(shutil.which, _ALERTMANAGERS_NAMES), None)
        if program is None:
            self.missing.append("Alertmanager")
            return []
        port = _free_port()
        options = (
            f"--config.file={_ALERTMANAGER}",
            f"--storage.path={self._home('alertmanager')}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        )
        self._add("Alertmanager", port, (program, *options), "/-/ready")
        return [f"127.0.0.1:{port}"]

    def _prometheus(self, target: str, alertmanagers: list[str]) -> str:
        if shutil.which("prometheus") is None:
            self.missing.append("Prometheus")
            return ""
        home, port = self._home("prometheus"), _free_port()
        configuration = home / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(prometheus_configuration(target, alertmanagers)))
        options = (
            f"--config.file={configuration}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        )
        self._add("Prometheus", port, ("prometheus", *options), "/-/ready")
        return f"http://127.0.0.1:{port}"

    def _grafana(self, prometheus: str, store: str) -> None:
        program = shutil.which("grafana") or shutil.which("grafana", path=_GRAFANA_HOME / "bin")
        if program is None:
            self.missing.append("Grafana")
            return
        port = _free_port()
        environment = (
            "env",
            f"FORESHOCK_STORE_HOST={store}",
            "FORESHOCK_STORE_USER=foreshock",
            "FORESHOCK_STORE_DATABASE=foreshock",
            "FORESHOCK_STORE_SSLMODE=disable",
            f"FORESHOCK_PROMETHEUS_URL={prometheus}",
            "FORESHOCK_ALERT_EMAIL=nobody@localhost",
        )
        options = (
            "server",
            f"--homepath={_GRAFANA_HOME}",
            "cfg:server.http_addr=127.0.0.1",
            f"cfg:server.http_port={port}",
            f"cfg:paths.data={self._home('grafana')}",
            f"cfg:paths.provisioning={self.dashboards / 'provisioning'}",
        )
        self._add("Grafana", port, (*environment, program, *options), "/api/health")

    def _home(self, name: str) -> Path:
        home = self._folder / name
        home.mkdir(parents=True, exist_ok=True)
        return home

    def _add(self, name: str, port: int, command: tuple[str, ...], ready: str) -> None:
        address = f"http://127.0.0.1:{port}"
        self.addresses[name] = address
        self.parts.append(Part(name.lower(), command, lambda: _answers(address + ready)))


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()  # noqa: S310
    except (urllib.error.URLError, OSError):
        return False
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
