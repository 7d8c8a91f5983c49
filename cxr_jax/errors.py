"""The one error that is the user's to mend, and how a command line reports it; all else that is raised is a bug."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn


class InputError(ValueError):
    """Bad input: one line that names the file or key, says what is wrong and what to do."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse's, that reports what it cannot understand as bad input: in one line."""

    def error(self, message: str) -> NoReturn:  # noqa: D102
        raise InputError(f"{message}; --help explains the arguments")


def run_command(command: Callable[[], None]) -> None:
    """Runs a command line and exits: 0 when done, 2 with one line on bad input, 130 interrupted, 141 no longer read."""
    try:
        command()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read what is printed, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt as interrupt:
        print(f"interrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        sys.exit(130)
