"""Task-aligned assignment in which no shape depends on a value: what GPUs, graphs and compilers want."""
