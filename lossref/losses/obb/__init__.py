"""The loss of rotated boxes."""
