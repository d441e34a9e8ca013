"""The live job with its parts killed with -9: the rows of an undisturbed replay. `make faults` is
the long form of this."""

import random
from pathlib import Path

import pytest

from infra.flink import cluster
from infra.kafka import broker
from tests.faults.live import Trial, servers
from tests.faults.stream import disturbed, of_the_sample
from tests.servers.postgresql import programs

KILLED = ("taskmanager-1", "postgresql", "worker", "everything", "jobmanager")


@pytest.mark.timeout(900)
def test_what_is_left_is_what_a_replay_leaves(tmp_path: Path) -> None:
    if reason := cluster.missing() or broker.missing():
        pytest.skip(reason)
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with servers(tmp_path) as (kafka, postgresql):
        records = disturbed(of_the_sample(2_000), seed=6)
        trial = Trial(tmp_path, records, kafka, postgresql)
        try:
            found = trial.run(KILLED, random.Random(5))
        finally:
            trial.close()
    assert found["spikes"].rows
    assert found["late_messages"].rows
    assert not {table: difference for table, difference in found.items() if difference}
