"""Set prediction: the matcher and its losses."""
