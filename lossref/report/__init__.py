"""How a run is shown: terminal and page."""
