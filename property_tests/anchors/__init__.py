"""Every number that lossref/spec prints, by topic."""
