"""The reference done otherwise: at other settings, as a known mistake, on inputs taken for something else."""
