"""Who is timed against whom, and how sure that is."""
