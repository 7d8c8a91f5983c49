"""Python programs started by name, whose input ends when the one that started them does."""

import os
import subprocess
import sys


def start(program: str, *arguments: str, silent: bool = False) -> "subprocess.Popen[bytes]":
    """Starts a program given as its text, with pipes to its standard input and from its output.

    A fork would copy the locks of the caller's threads (JAX has some), and multiprocessing would import the caller's
    main module, and an accelerator's libraries with it, in each.

    Args:
      silent: whether what it writes on standard error goes nowhere.
    """
    here = os.pathsep.join(path or os.getcwd() for path in sys.path)
    # Each has a core; NumPy's own threads would only stand in the others' way.
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-P", "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if silent else None,
        env={**os.environ, **one_thread, "PYTHONPATH": here},
    )
