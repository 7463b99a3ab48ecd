"""The blocks under the losses; one file each, found by scanning for SPEC."""
