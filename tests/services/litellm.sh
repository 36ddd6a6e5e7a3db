#!/usr/bin/env bash
# Run the tests that touch LiteLLM on the newest release that pyproject.toml allows, or on $1. Left out, loudly, where the
# index can't install it.
#
# The environment is that release and what it asks for, over the packages of .venv: half a minute instead of minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."

home=.venv-litellm
release=$(sed -n 's/^litellm = \["\(.*\)"\].*/\1/p' pyproject.toml)
[ "${1:-newest}" = newest ] || release="litellm==$1"
rm -rf "$home"
.venv/bin/python -m venv --without-pip "$home"
below=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import site; site.addsitedir('$below')" > "$(echo "$home"/lib/python*/site-packages)/below.pth"
if ! "$home/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "$release"; then
  echo "LEFT OUT, the index can't install $release: the tests of LiteLLM's newest release" >&2
  exit 0
fi
echo "== LiteLLM $("$home/bin/python" -c 'import importlib.metadata as m; print(m.version("litellm"))')"
"$home/bin/python" -m pytest -q --disable-warnings -n logical --dist loadfile \
  tests/router/calling tests/router/proxying tests/router/serving/test_client.py
