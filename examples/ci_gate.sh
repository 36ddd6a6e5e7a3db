#!/bin/sh
# A gate for CI: no router goes on that the log shows to fail more often or to cost more than what runs today.
#
# Run it as `sh ci_gate.sh CALLS ROUTER [OUT]`, for example in the step of a workflow before `pointsman promote`.
# It ends with 4 where a condition holds or can't be told, and prints which; OUT/report.html says why. Any number
# of report.json can stand in a condition: training/comparing/README.md.
set -eu
pointsman compare "$1" --router "$2" --out "${3:-report}" \
    --fail-if "change.failures_per_1000.ci_low > 0" \
    --fail-if "change.usd_per_1000.ci_low > 0"
