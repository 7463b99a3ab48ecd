"""Where a target lives and is asked."""
