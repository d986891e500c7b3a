#!/bin/sh
# Check a change of the policy and write down what access it adds and removes.
# Usage: sh ci/review.sh BASE OUT: BASE is a checkout of the target branch; OUT gets access.md, access.html and grew.
set -eu
base=$1
out=$2
mkdir -p "$out"
acr-vending check --strict policy
acr-vending test policy tests/*.yaml
grew=0
if [ -d "$base/policy" ]; then
    acr-vending diff "$base/policy" policy --format markdown >"$out/access.md" || grew=$?
    # 1 says that access grew; anything else is a failure of the comparison, and no answer.
    [ "$grew" -le 1 ] || exit "$grew"
    acr-vending matrix policy --diff "$base/policy" -o "$out/access.html"
else
    echo "The target branch has no policy to compare with: everything is new." >"$out/access.md"
    acr-vending matrix policy -o "$out/access.html"
    grew=1
fi
echo "$grew" >"$out/grew"
