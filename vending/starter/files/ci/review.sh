#!/bin/sh
# Check a change of the policy and write down what access it adds and removes.
# Usage: sh ci/review.sh BASE OUT: BASE is a checkout of the target branch; OUT gets access.md, access.html and grew.
set -eu
base=$1
out=$2
mkdir -p "$out"
rm -f "$out/access.md" "$out/access.html" "$out/grew"
acr-vending check --strict policy
acr-vending test policy tests/*.yaml
grew=0
if [ ! -d "$base/policy" ]; then
    echo "The target branch has no policy to compare with: all of it is new." >"$out/access.md"
    acr-vending matrix policy -o "$out/access.html"
    grew=1
elif ! acr-vending check "$base/policy" >"$out/base.log" 2>&1; then
    # A comparison with it would fail with the same status that says that access grew.
    echo "The policy of the target branch does not load, so nothing can be compared: read all of this one." \
        >"$out/access.md"
    acr-vending matrix policy -o "$out/access.html"
    grew=1
else
    acr-vending diff "$base/policy" policy --format markdown >"$out/access.md" || grew=$?
    # 1 says that access grew; anything else is a failure of the comparison, and no answer.
    [ "$grew" -le 1 ] || exit "$grew"
    acr-vending matrix policy --diff "$base/policy" -o "$out/access.html"
fi
echo "$grew" >"$out/grew"
