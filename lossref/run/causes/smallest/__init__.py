"""How a failure becomes small: what is tried, and what checks found on it."""
