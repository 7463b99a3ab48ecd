"""Losses of keypoints, and the flow that one of them stands on."""
