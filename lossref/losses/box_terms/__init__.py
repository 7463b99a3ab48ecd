"""Terms of the box branch: overlap, distances, angle."""
