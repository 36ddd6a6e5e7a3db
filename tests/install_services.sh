#!/usr/bin/env bash
# Installs the system packages that the tests need, where it may: apt, as root. Elsewhere says what will be left out.
set -euo pipefail

if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # Debian would start a server of its own on the usual port.
    mkdir -p /etc/postgresql-common
    grep -qs create_main_cluster /etc/postgresql-common/createcluster.conf ||
        echo "create_main_cluster = false" >> /etc/postgresql-common/createcluster.conf
    apt-get install -y -qq postgresql >/dev/null
    exit 0
fi
echo "PostgreSQL is not installed, and can't be from here (apt as root): the tests of the PostgreSQL call log are LEFT OUT." >&2
