"""Adapters that ship with lossref: one file for each third-party package, with targets() and version()."""
