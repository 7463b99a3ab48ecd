"""Every number that the specification prints, by topic."""
