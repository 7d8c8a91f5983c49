"""From files to batches. Nothing here imports jax."""
