#!/bin/sh
# Check a change of the policy and write down what access it adds and removes.
# Usage: sh ci/review.sh BASE CHANGE OUT: BASE is a checkout of what the change is compared with, CHANGE one of its
# outcome. OUT gets verdict (same, grew or broken), access.md for the comment, and access.html unless it is broken.
# Pipelines run it from the target branch. CHANGE is read as data, and nothing in it is run.
set -eu
base=$(cd "$1" && pwd)
change=$(cd "$2" && pwd)
mkdir -p "$3"
out=$(cd "$3" && pwd)
rm -f "$out/access.md" "$out/access.html" "$out/verdict"
cd "$change"

broken() {
    {
        echo "This policy does not pass, so nothing was compared:"
        echo
        # Four blanks in front make it code, whatever it holds; the rest would not fit into a comment.
        head -c 20000 "$out/log" | tr -d '\r' | sed 's/^/    /'
    } >"$out/access.md"
    echo broken >"$out/verdict"
    exit 1
}

show() {
    if [ -n "${GITHUB_ACTIONS:-}" ]; then
        # GitHub takes no line between these two for a command.
        end=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
        printf '::stop-commands::%s\n%s\n::%s::\n' "$end" "$(cat "$out/log")" "$end"
    else
        cat "$out/log"
    fi
}

must() {
    acr-vending "$@" >"$out/log" 2>&1 && status=0 || status=$?
    show
    [ "$status" -eq 0 ] && return
    # Once more, as annotations beside the lines of the change.
    [ -z "${GITHUB_ACTIONS:-}" ] || GITHUB_WORKSPACE=$change acr-vending "$@" --format github || :
    broken
}

# A link leads elsewhere after the merge than in this checkout.
find policy tests -type l >"$out/log"
if [ -s "$out/log" ]; then
    echo "No symbolic links, please." >>"$out/log"
    show
    broken
fi
must check --strict policy
must test policy tests/*.yaml

verdict=same
if [ ! -d "$base/policy" ]; then
    echo "The target branch has no policy to compare with: all of it is new." >"$out/access.md"
    acr-vending matrix policy -o "$out/access.html"
    verdict=grew
elif ! acr-vending check "$base/policy" >"$out/log" 2>&1; then
    # A comparison with it would fail with the same status that says that access grew.
    echo "The policy of the target branch does not load, so nothing can be compared: read all of this one." \
        >"$out/access.md"
    acr-vending matrix policy -o "$out/access.html"
    verdict=grew
else
    acr-vending diff "$base/policy" policy --format markdown >"$out/access.md" && status=0 || status=$?
    case $status in
        0) ;;
        1) verdict=grew ;;
        *) exit "$status" ;; # the comparison failed, and that is no answer
    esac
    acr-vending matrix policy --diff "$base/policy" -o "$out/access.html"
fi
echo "$verdict" >"$out/verdict"
