"""The HTML pages: scores as pictures, cases to read."""
