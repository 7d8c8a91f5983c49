import logging
import warnings

import pytest

from cxr_jax.data.quiet import one_line, quiet


def test_nothing_is_said_within_and_everything_after(caplog):
    logger = logging.getLogger("pydicom")
    with quiet("pydicom"):
        warnings.warn("odd", stacklevel=1)
        logger.error("odd")
    assert not caplog.records
    logger.error("heard")
    assert [record.message for record in caplog.records] == ["heard"]
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_whatever_is_in_a_text_it_becomes_one_line():
    assert one_line("a\nb\r\n\x00\x1b[31m  c") == "a b [31m c"
    assert one_line("x" * 400) == "x" * 300 + "…"
    assert one_line(ValueError("no")) == "no"


def test_threads_that_are_within_together_leave_all_as_it_was():
    logger, filters = logging.getLogger("PIL"), list(warnings.filters)
    levels = logger.level, logging.getLogger("pydicom").level
    first, second = quiet("PIL"), quiet("PIL", "pydicom")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    warnings.warn("the second is still within", stacklevel=1)
    assert logger.level > logging.CRITICAL
    second.__exit__(None, None, None)
    assert (logger.level, logging.getLogger("pydicom").level) == levels
    assert list(warnings.filters) == filters
