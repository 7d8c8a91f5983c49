"""Labels of reports: read by our rules, or from other labellers' tables."""
