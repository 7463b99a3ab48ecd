"""The pose losses."""
