"""From a trained model to nearest neighbours: embedding, index, search, and the Python API."""
