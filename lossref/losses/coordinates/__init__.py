"""Boxes and distances in one notation and another; anchors."""
