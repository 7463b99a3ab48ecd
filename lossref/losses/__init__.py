"""The losses; one file each, found by scanning for SPEC."""
