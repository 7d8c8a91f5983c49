"""Scores of reports and of retrieval, the floors they must pass, and the tables that show them."""

from cxr_jax.evaluation.text_metrics import score_reports

__all__ = ["score_reports"]
