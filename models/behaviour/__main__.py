"""`python -m models.behaviour [--model FOLDER] [--failures]`: pass rates by group."""

import argparse
import sys
from pathlib import Path

from models.artifact import DEFAULT_ARTIFACT
from models.behaviour import pass_rates
from models.errors import ModelError
from models.tagger import Tagger


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.behaviour", description=__doc__)
    parser.add_argument("--model", type=Path, default=DEFAULT_ARTIFACT, help="folder of a model")
    parser.add_argument("--failures", action="store_true", help="list every case not passed")
    options = parser.parse_args()
    try:
        rates = pass_rates(Tagger(options.model))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    for group in rates:
        print(
            f"{group.rate:6.1%}  {group.passed:3} of {group.cases:3}  {group.kind}: {group.group}"
        )
        for failure in group.failures if options.failures else ():
            changed = f" -> {failure.case.changed}" if failure.case.changed else ""
            wanted = f", not {failure.case.label}" if not changed else ""
            print(f"          {failure.case.text}{changed}: {failure.found}{wanted}")
    passed, cases = sum(g.passed for g in rates), sum(g.cases for g in rates)
    print(f"{passed / cases:6.1%}  {passed:3} of {cases:3}  in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
