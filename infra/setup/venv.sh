#!/usr/bin/env bash
# Makes a virtual environment: venv.sh PYTHON FOLDER. Debian and Ubuntu ship `venv` without pip as a
# package of its own, so it is installed where it is missing and where we may.
set -euo pipefail
python=$1 folder=$2

"$python" - <<'PY'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Foreshock needs Python 3.11 or newer; this is {sys.version.split()[0]}. "
             "Name another with: make demo PYTHON=python3.12")
PY
if [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
  exit 0
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$(dirname "$0")/debian.sh" "python$version-venv"
fi
"$python" -m venv "$folder"
# Dependency groups need pip 25.1 or newer.
"$folder/bin/python" -m pip install --quiet --constraint constraints.txt --upgrade pip
