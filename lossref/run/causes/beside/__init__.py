"""Two implementations beside each other, neither of which is judged."""
