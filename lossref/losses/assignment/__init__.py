"""Which anchor is responsible for which object."""
