"""How much two boxes overlap."""
