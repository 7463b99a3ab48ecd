"""Losses of masks, and the crops that they stand on."""
