"""What is made of the right quantity: a multiple of it, one number for many, another term."""
