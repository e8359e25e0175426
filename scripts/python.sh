#!/usr/bin/env bash
# Prints the name of a Python 3.10 or newer that can create virtual environments, or says what is missing.
# If $PYTHON is set, no other is tried.
set -u

fits() { # A command that exists may still not run, for example a shim of a version manager.
  command -v "$1" >/dev/null 2>&1 &&
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
  candidates=$PYTHON
else
  candidates="python3 python3.14 python3.13 python3.12 python3.11 python3.10 python"
fi
for python in $candidates; do
  fits "$python" || continue
  if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    echo "gpudl: $python cannot create virtual environments; install its venv module (apt-get install python3-venv)." >&2
    exit 1
  fi
  echo "$python"
  exit 0
done
echo "gpudl: no Python 3.10 or newer found (tried: $candidates); install one, or name it: make PYTHON=/path/to/python3 ..." >&2
exit 1
