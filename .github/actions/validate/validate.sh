#!/usr/bin/env bash
# Checks TARGET, with more words in ARGS, into the folder OUT, and fails where the run in BASELINE has not the finding.
# Exit status: 0 nothing new, 1 a finding is new, 2 and 3 as lossref has them (usage, incomplete).
set -uo pipefail
OUT=${OUT:-lossref-report}
BASELINE=${BASELINE:-.lossref/baseline}

eval "words=(${ARGS:-})" # quotes in ARGS count as in a shell; it is written by whoever wrote the workflow
lossref validate "$TARGET" "${words[@]}" --format github --out "$OUT"
status=$?
echo "status=$status" >>"${GITHUB_OUTPUT:-/dev/null}"
if [ "$status" -gt 1 ]; then exit "$status"; fi

if [ -f "$BASELINE/verdicts.jsonl" ]; then
  told=$(lossref report diff "$BASELINE" "$OUT" --new-only)
  status=$?
else
  told="there is no run in $BASELINE: every finding is new. To accept these: lossref validate ... --out $BASELINE, and commit it"
fi
printf '%s\n' "$told"
printf '### lossref: %s\n\n```\n%s\n```\n' "$TARGET" "$told" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
exit "$status"
