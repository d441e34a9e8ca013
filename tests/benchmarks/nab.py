"""Score `foreshock detect` on NAB's labelled series by NAB's rules, standard profile.

    python tests/benchmarks/nab.py FOLDER

FOLDER holds NAB's `realTweets/*.csv` (or CSV files at its top) and `labels/combined_windows.json`.
Printed for each file and for all files together: NAB's score of the alert rows (1 where an alert
opens), and of the `score` column at the single best threshold over all files, which is how NAB
scores the detectors of its board.

The rules (Lavin & Ahmad 2015; NAB's sweeper and scorer): the first 15 % of rows, at most 750, are
not scored. The first detection in a window earns a scaled sigmoid of where it lies (1 at the
window's start, 0 at its end), a window without one costs 1, a detection outside costs 0.11 times
the sigmoid of its distance behind the last window. 0 is a detector that never speaks, 100 one that
speaks in every window's first row.
"""

import bisect
import csv
import json
import math
import sys
from datetime import datetime
from pathlib import Path

from alerting.detectors.series import score_series

FALSE_POSITIVE = 0.11
PROBATION_SHARE, PROBATION_ROWS = 0.15, 750


def sigmoid(position: float) -> float:
    """NAB's scaled sigmoid: 0.98 a window's length before its end, 0 at it, -1 far behind."""
    return -1.0 if position > 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def row_values(times: list[datetime], windows: list[tuple[datetime, datetime]]) -> list[float]:
    """What a detection in each row is worth, before weights (positive inside windows)."""
    spans = [
        (bisect.bisect_left(times, begin), bisect.bisect_right(times, end) - 1)
        for begin, end in windows
    ]
    values = []
    for row in range(len(times)):
        inside = [span for span in spans if span[0] <= row <= span[1]]
        behind = [span for span in spans if span[1] < row]
        if inside:
            first, last = inside[0]
            values.append(sigmoid(-(last - row + 1) / (last - first + 1)))
        elif behind:
            first, last = behind[-1]
            values.append(sigmoid((row - last) / max(last - first, 1)))
        else:
            values.append(-1.0)
    return values


def raw_score(
    detected: list[bool],
    times: list[datetime],
    windows: list[tuple[datetime, datetime]],
    values: list[float],
) -> float:
    """NAB's unnormalised score of one file."""
    probation = min(int(PROBATION_SHARE * len(times)), PROBATION_ROWS)
    best: dict[int, float] = {}
    score = 0.0
    for row in range(probation, len(times)):
        if not detected[row]:
            continue
        window = next((i for i, (a, b) in enumerate(windows) if a <= times[row] <= b), None)
        if window is None:
            score += FALSE_POSITIVE * values[row]
        else:
            best[window] = max(best.get(window, -1.0), values[row])
    scale = sigmoid(-1.0)
    counted = [w for w, (_, end) in enumerate(windows) if end > times[probation]]
    return score + sum(best[w] / scale if w in best else -1.0 for w in counted)


def normalised(raw: float, windows: int) -> float:
    """0 for silence, 100 for perfection."""
    return 100.0 * (raw + windows) / (2.0 * windows)


def main(folder: Path) -> None:
    """Print the scores."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    files = []
    for name, spans in labels.items():
        path = folder / name
        if not path.exists():
            continue
        with path.open(newline="") as source:
            rows = [(row[0], row[1]) for row in list(csv.reader(source))[1:]]
        times = [datetime.fromisoformat(stamp) for stamp, _ in rows]
        windows = [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in spans]
        scored = list(score_series(rows))
        files.append((path.name, times, windows, scored, row_values(times, windows)))
    total = sum(len(file[2]) for file in files)
    alerts = 0.0
    for name, times, windows, scored, values in files:
        raw = raw_score([row.alert == 1 for row in scored], times, windows, values)
        alerts += raw
        print(
            f"{name}: alert rows {normalised(raw, len(windows)):.1f} "
            f"({sum(row.alert for row in scored)} alerts, {len(windows)} windows)"
        )
    print(f"all files, alert rows: {normalised(alerts, total):.1f}")
    thresholds = sorted({round(row.score, 3) for file in files for row in file[3]}, reverse=True)
    best = max(
        (
            sum(raw_score([r.score >= cut for r in s], t, w, v) for _, t, w, s, v in files),
            cut,
        )
        for cut in thresholds[:200]
    )
    print(
        f"all files, score column at its best threshold {best[1]}: {normalised(best[0], total):.1f}"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/benchmarks/nab.py FOLDER")
    main(Path(sys.argv[1]))
