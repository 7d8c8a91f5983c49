"""The one error that is the user's to mend, and how a command line reports it; all else that is raised is a bug."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn


class InputError(ValueError):
    """Bad input: one line that names the file or key, says what is wrong and what to do."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse's, that reports what it cannot understand as bad input: in one line."""

    def error(self, message: str) -> NoReturn:  # noqa: D102
        raise InputError(f"{message}; --help explains the arguments")


class Preempted(BaseException):
    """The run was told to stop, and what it had is saved: the same command goes on from there.

    As KeyboardInterrupt, it is none of what `except Exception` takes for a fault: a handler may raise it anywhere.
    """


def exit_code_and_message(error: BaseException) -> tuple[int, str]:
    """How a command ends: 2 on bad input, 75 when preempted and worth requeueing, 130 interrupted, 1 on a bug."""
    message = " ".join(str(error).split())
    if isinstance(error, InputError):
        return 2, f"error: {message}"
    if isinstance(error, Preempted):
        return 75, f"preempted: {message}"
    if isinstance(error, KeyboardInterrupt):
        return 130, f"interrupted{f': {message}' if message else ''}"
    return 1, f"error: {type(error).__name__}: {message}"


def run_command(command: Callable[[], None]) -> None:
    """Runs a command line and exits: 0 when done, 141 no longer read, else as `exit_code_and_message`.

    A job that has come to its end is not made a failure by a SIGTERM or SIGUSR1 that meets Python shutting down.
    """
    try:
        command()
    except BrokenPipeError:  # whoever read what is printed, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (InputError, Preempted, KeyboardInterrupt) as error:
        code, message = exit_code_and_message(error)
        print(message, file=sys.stderr)
        sys.exit(code)
    finally:
        with contextlib.suppress(ValueError):  # not in the main thread, where signals cannot be handled
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
