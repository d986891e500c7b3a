#!/bin/sh
# Say which rights were never used, and open an issue with the patch that takes them away.
# Usage: sh ci/usage.sh OUT: OUT holds the exported events, events-*.json.gz.
set -eu
out=$1
acr-vending audit usage policy --events "$out"/events-*.json.gz --since 90d --patch "$out/narrower.patch" >"$out/usage.txt"
if [ ! -s "$out/narrower.patch" ]; then
    echo "Every right was used, or nothing can be narrowed."
    exit 0
fi
# The fence is longer than any run of backticks inside.
longest=$(grep -oh '`\{1,\}' "$out/usage.txt" "$out/narrower.patch" | awk '{ if (length > n) n = length } END { print n + 0 }')
fence=$(printf '%*s' "$((longest > 2 ? longest + 1 : 3))" '' | tr ' ' '`')
{
    echo "Some rights were not used for ninety days. Apply this with \`git apply\`, and look at it with \`acr-vending diff\`."
    echo
    echo "${fence}diff"
    head -c 50000 "$out/narrower.patch"
    echo "$fence"
} >"$out/issue.md"
gh issue create --repo "$REPOSITORY" --title "Access that nobody used" --body-file "$out/issue.md"
