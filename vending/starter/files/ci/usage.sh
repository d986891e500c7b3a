#!/bin/sh
# Say which rights were never used, and open an issue with the patch that takes them away.
# Usage: sh ci/usage.sh OUT: OUT holds the exported events, events-*.json.gz.
set -eu
out=$1
rm -f "$out/narrower.patch"
# Where events are missing, an unused right may have been used: then the step fails, and no issue is opened.
acr-vending audit usage policy --events "$out"/events-*.json.gz --since 90d --fail-on incomplete --format markdown \
    --patch "$out/narrower.patch" >"$out/usage.md" && status=0 || status=$?
cat "$out/usage.md"
[ "$status" -eq 0 ] || exit "$status"
if [ ! -s "$out/narrower.patch" ]; then
    echo "Every right was used, or nothing can be narrowed."
    exit 0
fi
python ci/issue.py "$out"
