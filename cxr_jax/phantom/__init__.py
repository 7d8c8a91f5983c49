"""Drawn radiographs with reports, for practice and tests; no patient is shown."""
