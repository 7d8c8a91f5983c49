"""What `evaluate` does, one module a kind of evaluation: each joins the rooms above for one command line."""
