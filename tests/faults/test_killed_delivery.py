"""Whoever delivers may be killed at any moment: nobody is left untold, and no key tells twice."""

from connectors.store import Store
from tests.faults.deliveries import storm

KILLS = 5


def test_every_notice_arrives_and_once_for_whoever_heeds_its_key(store_url: str) -> None:
    with Store.open(store_url):
        pass
    seen = storm(store_url, KILLS, seed=7)
    assert seen.kills == KILLS
    assert seen.at_work > 0
    assert seen.requests > len(seen.bodies)
