"""All that a loss file may import."""
