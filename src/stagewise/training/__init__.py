"""How a phase is trained: the loop, its batches, optimizers and saves."""
