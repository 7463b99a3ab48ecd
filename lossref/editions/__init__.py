"""The public names of older editions."""
