"""The objective, the optimiser, the step, checkpoints."""
