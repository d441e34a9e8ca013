"""Whether and where metrics can be scraped."""

from pathlib import Path

import msgspec


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`port`: of the page that Prometheus scrapes; None, the default, opens none and writes no
    file. `address`: whose requests are heard, this machine's by default. `folder`: where the
    processes of a job leave their figures for the page; one job each, best in memory (tmpfs)."""

    port: int | None = None
    address: str = "127.0.0.1"
    folder: Path = Path(".foreshock/metrics")

    def own(self, port: int | None) -> "MetricsSettings":
        """Of a process that serves a page of its own beside the job's; none without a port."""
        return msgspec.structs.replace(self, port=port, folder=self.folder / str(port))

    def __post_init__(self) -> None:
        if self.port is not None and not 0 <= self.port <= 65_535:
            raise ValueError(f"the port is {self.port}: give one from 1 to 65535")
