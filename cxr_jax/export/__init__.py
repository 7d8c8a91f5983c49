"""A model that travels: its folder, its card, its encoders as StableHLO; `python -m cxr_jax.export` writes it."""
