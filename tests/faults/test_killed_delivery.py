"""The alert process may be killed at any moment: nobody is left untold, and no key tells twice."""

from pathlib import Path

from tests.faults.deliveries import storm

KILLS = 4


def test_every_notice_arrives_and_once_for_whoever_heeds_its_key(
    store_url: str, tmp_path: Path
) -> None:
    seen = storm(store_url, tmp_path, KILLS, seed=7)
    assert seen.kills == KILLS
    assert seen.bodies
