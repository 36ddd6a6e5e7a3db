#!/usr/bin/env bash
# Run the tests that $FAST marks on the lowest versions that pyproject.toml allows; `make lowest` sets the marks.
#
# uv chooses the lowest version of each range; what the tests themselves need comes from requirements-dev.txt. The
# pins are installed as they are: of torch the pinned one, since older wheels bring gigabytes of CUDA.
set -euo pipefail
cd "$(dirname "$0")/../.."

home=.venv-lowest
[ -d "$home" ] || python3 -m venv "$home"
"$home/bin/pip" install --quiet --disable-pip-version-check uv
extras=$(printf -- '--extra %s ' train dashboard registry litellm otel prometheus postgres s3 gcs)
# shellcheck disable=SC2086
"$home/bin/uv" pip compile --quiet --resolution lowest-direct --override <(grep ^torch== requirements-dev.txt) \
  $extras --no-annotate --no-header pyproject.toml | grep -vE '^(nvidia|cuda|triton)' > "$home/lowest.txt"
cp "$home/lowest.txt" "$home/pins.txt"
while read -r pin; do
  name=${pin%%==*}
  grep -qiE "^${name//[-_.]/[-_.]}==" "$home/lowest.txt" || echo "$pin" >> "$home/pins.txt"
done < <(grep == requirements-dev.txt)
"$home/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$home/pins.txt" --editable .
"$home/bin/python" -m pytest -q -n logical --dist loadfile -m "$FAST"
