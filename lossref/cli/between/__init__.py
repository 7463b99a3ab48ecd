"""What is different between implementations, releases and runs, on the command line."""
