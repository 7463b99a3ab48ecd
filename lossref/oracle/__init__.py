"""What the number is: certified arithmetic, answers and budgets."""
