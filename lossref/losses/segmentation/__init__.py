"""The segmentation losses."""
