"""A module for each layout of a data set; `cxr_jax.config.DATASETS` says which."""
