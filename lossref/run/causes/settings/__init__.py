"""Which settings a target follows: found, adopted, and the cases that tell them."""
