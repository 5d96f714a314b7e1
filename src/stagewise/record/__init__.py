"""What is written down of a run, and of the code that made it."""
