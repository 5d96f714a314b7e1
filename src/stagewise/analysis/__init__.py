"""Numbers from the scores of checkpoints."""
