"""Weights and tokenizers from elsewhere: every weight on both sides accounted for."""
