#!/usr/bin/env bash
# Creates the virtual environment $1 if it is missing, and installs gpudl from the source tree with the extras $2.
# Native modules are left to cmake/build.py, which compiles only changed files.
set -euo pipefail
venv=$1 extras=$2
cd "$(dirname "$0")/.."

if ! [ -x "$venv/bin/python" ]; then
  python=$(scripts/python.sh)
  "$python" -m venv "$venv" || {
    rm -rf "$venv"
    echo "gpudl: $python could not create a virtual environment in $venv (its message is above)." >&2
    exit 1
  }
fi
tools=(pybind11)
command -v cmake >/dev/null 2>&1 || tools+=(cmake)
command -v ninja >/dev/null 2>&1 || tools+=(ninja)
GPUDL_EMULATOR=off GPUDL_CUDA=off "$venv/bin/python" scripts/watch.py \
  "installing gpudl[$extras] into $venv (about 30 s)" \
  "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off "${tools[@]}" -e ".[$extras]" || {
  echo "gpudl: pip could not install gpudl[$extras] into $venv (its message is above); is the package index reachable?" >&2
  exit 1
}
