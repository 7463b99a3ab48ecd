"""One file for each package whose losses are known by name; its file name is the TARGET word."""
