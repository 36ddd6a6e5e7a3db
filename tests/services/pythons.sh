#!/usr/bin/env bash
# Run the fast tests on each Python that pyproject.toml names, and on the lowest versions that it allows.
#
# Usage: pythons.sh [3.12 3.13 lowest]. What this machine has no interpreter for is left out, loudly.
set -euo pipefail
cd "$(dirname "$0")/../.."
extras='.[train,proxy,postgres,s3,gcs,dev]'
torch=$(grep '^torch==' requirements-dev.txt)
fast='not service and not browser and not slow'

interpreter() { # the path of a Python by its version; nothing where there is none
  local found
  for found in "python$1" "$(command -v pyenv >/dev/null && ls -d "$(pyenv root)"/versions/"$1".*/bin/python 2>/dev/null | tail -1)"; do
    if [ -n "$found" ] && "$found" -c '' 2>/dev/null; then echo "$found"; return; fi
  done
}

run_on() { # a name, an interpreter
  local home=".venv-$1"
  [ -d "$home" ] || "$2" -m venv "$home"
  if [ "$1" = lowest ]; then
    # torch stays at the pinned build: older and newer wheels bring gigabytes of CUDA.
    "$home/bin/pip" install --quiet --disable-pip-version-check uv "$torch"
    VIRTUAL_ENV=$home "$home/bin/uv" pip install --quiet --resolution lowest-direct \
      --constraint <(echo "$torch") --editable "$extras"
  else
    "$home/bin/pip" install --quiet --disable-pip-version-check --requirement requirements-dev.txt
    "$home/bin/pip" install --quiet --disable-pip-version-check --no-deps --editable .
  fi
  echo "== $("$home/bin/python" --version), $1"
  "$home/bin/pytest" -n logical --dist loadfile -q -m "$fast"
}

left_out=()
for version in "${@:-3.12 3.13 lowest}"; do
  for one in $version; do
    python=$(interpreter "${one/lowest/3.11}")
    if [ -z "$python" ]; then left_out+=("$one"); else run_on "$one" "$python"; fi
  done
done
if [ ${#left_out[@]} -gt 0 ]; then echo "LEFT OUT, no interpreter here: ${left_out[*]}" >&2; fi
