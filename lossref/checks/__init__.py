"""What is asked, on which cases, and how answers are judged."""
