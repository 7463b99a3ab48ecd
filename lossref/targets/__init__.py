"""Who is asked: words, adapters, marked functions, the public classes."""
