"""The detection loss, and what is built on it."""
