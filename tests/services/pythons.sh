#!/usr/bin/env bash
# Run the tests that $FAST marks on other Pythons: 3.12 and 3.13, or the given ones. A version without an interpreter
# here is left out, loudly. `make pythons` sets the marks.
#
# The pins are installed as they are, without what they ask for, and without torch and sentence-transformers: their
# wheels bring gigabytes of CUDA on these Pythons, and no fast test exports an encoder.
set -euo pipefail
cd "$(dirname "$0")/../.."

interpreter() { # prints the path of a Python by its version; nothing if there is none
  local one
  for one in "$(command -v "python$1")" "$HOME"/.pyenv/versions/"$1".*/bin/python; do
    if [ -n "$one" ] && "$one" -c '' 2>/dev/null; then echo "$one"; return; fi
  done
}

left_out=()
if [ $# -eq 0 ]; then set -- 3.12 3.13; fi
for version in "$@"; do
  python=$(interpreter "$version")
  if [ -z "$python" ]; then left_out+=("$version"); continue; fi
  home=.venv-$version
  [ -d "$home" ] || "$python" -m venv "$home"
  grep -vE '^(torch|sentence-transformers)==' requirements-dev.txt > "$home/pins.txt"
  "$home/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$home/pins.txt" --editable .
  echo "== $("$home/bin/python" --version)"
  "$home/bin/python" -m pytest -q -n logical --dist loadfile -m "$FAST"
done
if [ ${#left_out[@]} -gt 0 ]; then echo "LEFT OUT, no interpreter here: ${left_out[*]}" >&2; fi
