"""A formula run on plain floats, with one step of it done otherwise."""
