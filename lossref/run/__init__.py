"""From a word or a function to verdicts: plan, jobs, shrinking, explaining, saved cases, recorded cases."""
