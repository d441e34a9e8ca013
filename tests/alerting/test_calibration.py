import msgspec
import numpy as np
import pytest

from alerting.detectors.calibration import (
    DISPERSIONS,
    MEANS,
    Table,
    alarm_peaks,
    shipped,
    table_bytes,
)


def test_the_shipped_table_is_of_this_codes_grid():
    table = msgspec.json.decode(table_bytes(), type=Table)
    assert (table.means, table.dispersions) == (MEANS, DISPERSIONS)


@pytest.mark.parametrize(("mean", "dispersion"), [(3.0, 0.3), (30.0, 0.1), (0.5, 1.0)])
def test_a_stream_simulated_anew_alarms_about_as_often_as_the_table_says(mean, dispersion):
    weeks = 60
    peaks = alarm_peaks(mean, dispersion, weeks, np.random.default_rng(77))
    said = [shipped().surprise(float(peak), mean, dispersion) for peak in peaks]
    alarms = sum(surprise >= 0.3 for surprise in said)
    assert weeks * 10**-0.3 / 2 <= alarms <= weeks * 10**-0.3 * 2


def test_surprise_grows_with_the_tail():
    for mean in (0.001, 0.1, 7.0, 5000.0):
        said = [shipped().surprise(stat, mean, 0.2) for stat in (1.0, 3.0, 9.0)]
        assert said == sorted(said)
