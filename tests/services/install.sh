#!/usr/bin/env bash
# Installs the system packages that the tests need, where it may: apt, as root. Elsewhere says what will be left out.
set -euo pipefail

missing=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing+=(chromium)

if [ "${#missing[@]}" = 0 ]; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # Debian would start a server of its own on the usual port.
    mkdir -p /etc/postgresql-common
    grep -qs create_main_cluster /etc/postgresql-common/createcluster.conf ||
        echo "create_main_cluster = false" >> /etc/postgresql-common/createcluster.conf
    apt-get install -y -qq "${missing[@]}" >/dev/null
    exit 0
fi
for package in "${missing[@]}"; do
    case "$package" in
        postgresql) tests="the tests of the PostgreSQL call log" ;;
        chromium) tests="the tests of the report in a browser" ;;
    esac
    echo "$package is not installed, and can't be from here (apt as root): $tests are LEFT OUT." >&2
done
