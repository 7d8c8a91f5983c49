"""The processes of a cluster job: joining them, what the first does alone, and ending together.

A job is joined where its launcher says that it has several tasks: the three JAX_* variables, Slurm, Open MPI, Cloud TPU
pods. From then on whoever ends early takes the others along, with its own message and exit code: nobody waits for ever.
"""

import contextlib
import importlib.util
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import jax
from jax._src import distributed  # the coordination service's key-value store, which jax has no public door to
from jax._src.clusters import GceTpuCluster

from cxr_jax.errors import InputError, exit_code_and_message

MODES = ("auto", "on", "off")
JAX_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
HEARTBEAT_SECONDS = 20  # after which a process that was killed is given up, and the others with it
JOIN_SECONDS = 300
POLL_SECONDS = 0.25
BARRIER_SECONDS = 7 * 24 * 3600  # data preparation may take days; a dead process ends the wait before
FAREWELL_SECONDS = 5
FAREWELLS: list[Callable[[], None]] = []  # what is called before `end` ends the process
_JOINED = threading.Event()  # jax counts the processes, and has a client to ask, before any has answered
_LEAVING = threading.Lock()
ENDED, HEARD = "cxr_jax/ended", "cxr_jax/heard"


_HINT = f"start each by srun or mpirun, or set {', '.join(JAX_VARIABLES)}; --distributed off runs this process alone"


class Launcher(NamedTuple):
    """What started this process, and how many tasks it says that there are."""

    name: str
    tasks: int


def launcher(environment: Mapping[str, str]) -> Launcher | None:
    """The launcher that the environment's variables tell of; None where nothing does.

    Raises:
      InputError: some of JAX_VARIABLES are set and others not, or a count is no number.
    """
    given = [name for name in JAX_VARIABLES if environment.get(name)]
    if given and len(given) < len(JAX_VARIABLES):
        missing = ", ".join(name for name in JAX_VARIABLES if name not in given)
        raise InputError(f"{given[0]} is set and {missing} is not; set all of {', '.join(JAX_VARIABLES)}, or none")
    if given:
        _count(environment, "JAX_PROCESS_ID")
        address = environment["JAX_COORDINATOR_ADDRESS"]
        if not address.rpartition(":")[2].isdecimal():
            raise InputError(f"JAX_COORDINATOR_ADDRESS = {address}: has no port; give HOST:PORT")
        return Launcher("JAX_NUM_PROCESSES", _count(environment, "JAX_NUM_PROCESSES"))
    # mpirun first: inside a Slurm job it may start other tasks than the job asked for.
    for name, variable in (("Open MPI", "OMPI_COMM_WORLD_SIZE"), ("Slurm", "SLURM_NTASKS")):
        if environment.get(variable):
            return Launcher(name, _count(environment, variable))
    if hosts := environment.get("TPU_WORKER_HOSTNAMES"):
        slices = _count(environment, "MEGASCALE_NUM_SLICES") if environment.get("MEGASCALE_NUM_SLICES") else 1
        return Launcher("Cloud TPU", len(hosts.split(",")) * slices)
    return None


def tpu_vm() -> Launcher | None:
    """The slice of TPU VMs that this machine is part of: its metadata server tells, and no variable does."""
    with contextlib.suppress(Exception):  # TPU chips, and no such server
        if GceTpuCluster.is_env_present():
            return Launcher("Cloud TPU", GceTpuCluster.get_process_count())
    return None


def _count(environment: Mapping[str, str], variable: str) -> int:
    try:
        return int(environment[variable])
    except ValueError as error:
        raise InputError(f"{variable} = {environment[variable]}: is no whole number; mend it") from error


def join(mode: str = "auto") -> None:
    """Joins the processes of a job, where it has several; before anything is computed.

    Args:
      mode: "auto"; "on": there must be several to join; "off": never.

    Raises:
      InputError: the launcher says that there are several, and they cannot be joined.
    """
    if mode == "off":
        return
    if jax.distributed.is_initialized():
        _JOINED.set()
        return
    said = launcher(os.environ) or tpu_vm()
    if said is None or said.tasks == 1:
        if mode == "on":
            raise InputError(
                f"--distributed on: {f'{said.name} says 1 task' if said else 'no launcher says how many tasks'}; start "
                f"it by srun or mpirun, or set {', '.join(JAX_VARIABLES)}"
            )
        return
    # On a CPU two programs that are under way at once may meet the other processes' in another order.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from `Stopper`
    options: dict[str, Any] = {}
    if said.name == "JAX_NUM_PROCESSES":
        options = {"num_processes": said.tasks, "process_id": int(os.environ["JAX_PROCESS_ID"])}
        options["cluster_detection_method"] = "deactivate"
    elif said.name == "Open MPI" and "OMPI_MCA_orte_hnp_uri" not in os.environ and importlib.util.find_spec("mpi4py"):
        options = {"cluster_detection_method": "mpi4py"}
    elif said.name == "Slurm":
        os.environ.setdefault("JAX_COORDINATOR_PORT", str(slurm_port(os.environ)))
    late = threading.Timer(JOIN_SECONDS, _give_up, [said])
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            # Past its own time jax aborts without a word that helps.
            **options,
            initialization_timeout=2 * JOIN_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError, KeyError) as error:
        reason = _unjoinable(said) or (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{said.name} says {said.tasks} tasks, but they cannot be joined ({reason}); {_HINT}"
        ) from error
    finally:
        late.cancel()
    _JOINED.set()
    if jax.process_count() == 1:
        raise InputError(f"{said.name} says {said.tasks} tasks, but JAX sees one process; {_HINT}")


def slurm_port(environment: Mapping[str, str]) -> int:
    """Where the processes of a job's step meet: jax's own port for step 0, another for each further one.

    By jax's the second of two steps at once would be taken for the first one started again, and would end it.
    """
    job, step = (int(environment.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return 61440 + (job + 251 * step) % 4096


def _unjoinable(said: Launcher) -> str:
    """Why a launcher's tasks cannot meet, where its variables tell."""
    if said.name == "Slurm" and "SLURM_STEP_NODELIST" not in os.environ:
        return "this process was not started by srun"
    if said.name == "Open MPI" and "OMPI_MCA_orte_hnp_uri" not in os.environ:
        return "Open MPI 5 names no coordinator to JAX without the package mpi4py"
    return ""


def _give_up(said: Launcher) -> None:
    where = os.environ.get("JAX_COORDINATOR_ADDRESS") or distributed.global_state.coordinator_address
    print(
        f"error: {said.name} says {said.tasks} tasks, but not all have met at {where} within {JOIN_SECONDS} s "
        f"({socket.gethostname()}); look for one that has not started, and for a firewall or a proxy between them",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def count() -> int:
    """How many processes have been joined; 1 where none were."""
    # jax.process_count() would start the accelerator.
    return distributed.global_state.num_processes if _JOINED.is_set() else 1


def index() -> int:
    """This process's number, from 0."""
    return distributed.global_state.process_id


def is_primary() -> bool:
    """Whether this process is the one that writes."""
    return index() == 0


def barrier(name: str) -> None:
    """Waits until every process is here; `name` is of this one place in the program."""
    if count() > 1:
        _client().wait_at_barrier(f"cxr_jax/{name}", int(BARRIER_SECONDS * 1000))


def from_primary(name: str, text: str = "") -> str:
    """The primary's text, in every process; `name` is of this one place in the program."""
    if count() == 1:
        return text
    if is_primary():
        _client().key_value_set(f"cxr_jax/text/{name}", text)
    return str(_client().blocking_key_value_get(f"cxr_jax/text/{name}", int(BARRIER_SECONDS * 1000)))


@contextlib.contextmanager
def primary_first(name: str) -> Iterator[None]:
    """The primary runs the body while the others wait; then they run it, and find done what there was to do."""
    if not is_primary():
        barrier(name)
    yield
    if is_primary():
        barrier(name)


@contextlib.contextmanager
def node_first(name: str) -> Iterator[None]:
    """As `primary_first`, with a first process on every node: for what each node keeps on disks of its own."""
    first = True
    if count() > 1:
        key = f"cxr_jax/{name}/{socket.gethostname()}"
        first = _client().key_value_increment(key, 1) == 1
    if not first:
        barrier(name)
    yield
    if first:
        barrier(name)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """An error within the body, in one of the processes joined, ends all, with its message and its exit code."""
    done = threading.Event()
    follower = threading.Thread(target=_follow, args=(done,), name="follow", daemon=True)
    if count() > 1:
        follower.start()
    try:
        yield
        barrier("end")  # who is through waits here, and still hears of another's fault
    except BaseException as error:
        if count() == 1 or isinstance(error, SystemExit):
            raise
        code, message = exit_code_and_message(error)
        if code == 1:
            if said := _said_by_another():  # who has ended breaks the others' collectives
                _leave(*said)
            traceback.print_exception(error)
        end(code, message)
    finally:
        done.set()  # a thread inside the client would abort the interpreter as it shuts down
        if follower.is_alive():
            follower.join()


def end(code: int, message: str) -> NoReturn:
    """Ends this process at once, and with it the others of the job, which say why: this one's message."""
    if count() > 1:
        message = f"{message} (process {index()} of {count()}, {socket.gethostname()})"
        with contextlib.suppress(Exception):  # another has ended before, and has been heard or will be
            _client().key_value_set(ENDED, f"{code} {message}")
    _leave(code, message)


def _follow(done: threading.Event) -> None:
    """Runs beside the program until `done`: ends this process when another has said that it ends."""
    while not done.wait(POLL_SECONDS):
        if said := _said_by_another():
            _leave(*said)


def _said_by_another() -> tuple[int, str] | None:
    """Exit code and message where a process has said that it ends."""
    try:
        code, _, message = _client().key_value_try_get(ENDED).partition(" ")
    except Exception:  # nobody has
        return None
    return int(code), f"ended by another process: {message}"


def _leave(code: int, message: str) -> NoReturn:
    with _LEAVING:  # once: what ends may be seen by both threads
        print(message, file=sys.stderr, flush=True)
        if count() > 1:
            with contextlib.suppress(Exception):
                _client().key_value_set(f"{HEARD}/{index()}", "")
                deadline = time.monotonic() + FAREWELL_SECONDS
                # With the primary goes the service that the others hear it from.
                while is_primary() and time.monotonic() < deadline:
                    if len(_client().key_value_dir_get(f"{HEARD}/")) == count():
                        break
                    time.sleep(POLL_SECONDS)
        for farewell in FAREWELLS:
            farewell()
        os._exit(code)


def _client() -> Any:
    return distributed.global_state.client
