"""How a checkpoint answers, and what its answers are worth."""
