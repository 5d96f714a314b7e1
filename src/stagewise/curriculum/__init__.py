"""What is trained in which order."""
