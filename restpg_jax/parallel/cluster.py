"""Joins the processes of a run: the one door to JAX's distributed runtime.

The runtime is used for two things: to give all processes one set of devices,
and its coordination service as their board (parallel/hosts.py). Its own ways of
ending a process are switched off as far as that is possible, for they leave no
exit code: it handles no SIGTERM, and does not abort processes because another
one died. Only where the first host dies, which holds the service, does it abort
the others, with code 134.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from restpg_jax import config, errors, interrupts, verb_args
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import rendezvous, watch

PORT = 8476  # open between the workers of a TPU; newer JAX takes another one
STARTS = 60  # seconds within which the runtimes connect, once all are there
KINDS = 'gcetpu', 'gketpu', 'slurm'  # the clusters of JAX's that are looked for
# Of a step: its tasks, its machines, and the number of a task on its machine.
SLURM = 'SLURM_NTASKS', 'SLURM_STEP_NUM_NODES', 'SLURM_LOCALID'
MILLISECONDS = 1000
MULTISLICE = 'MEGASCALE_'  # variables of a job over several slices
# What a collective or the runtime says when another process is gone.
LOST_PEER = re.compile(
  r'gloo|closed by peer|peer|unavailable|deadline_exceeded|coordination|'
  r'socket|connection (reset|refused)|heartbeat|barrier',
  re.IGNORECASE,
)


@contextlib.contextmanager
def joined(
  flags: verb_args.ClusterFlags,
  workdir: epath.PathLike,
  compute: config.Compute,
  explain: Callable[[BaseException], tuple[int, str]],
) -> Iterator[hosts_lib.Hosts]:
  """Joins the other processes, if there are any, while the block runs.

  explain(error) -> (exit code, line) says what an error of the block means to
  the others. Of several hosts each raises hosts.Ended with the first cause of
  all. Raises InputError for flags or an environment that cannot be meant, and
  TryAgain where somebody is missing.
  """
  hosts = join(flags, compute.joining)
  watching: watch.Watch | None = None
  try:
    # Now, for the runtime takes earlier handlers away.
    with (
      interrupts.raised(),
      watch.watched(
        hosts,
        workdir,
        silence=compute.silence,
        patience=60 * compute.patience,
      ) as watching,
      _cause_awaited(hosts, compute.silence),
    ):
      yield hosts
  except BaseException as error:
    if watching:
      watching.exit_if_gone()
    # The board may not answer: then the first host is gone.
    unanswered = _ending_at_last(hosts, 75)
    seen = watching.end if watching else None
    if end := seen or _agreed(error, hosts, explain):
      _ending_at_last(hosts, end.code)
      unanswered.cancel()
      raise hosts.ended_by(end) from error
    raise
  finally:
    leave(hosts)


@contextlib.contextmanager
def _cause_awaited(hosts: hosts_lib.Hosts, silence: float) -> Iterator[None]:
  """Waits, behind an error that may be the symptom of another host's end, until
  the watch could have found out who is gone, and raises Ended then."""
  try:
    yield
  except Exception as error:
    if hosts.count > 1 and _misses_peer(error):
      _await_end(hosts, silence + 5)
    raise


def _await_end(hosts: hosts_lib.Hosts, seconds: float) -> None:
  """Raises Ended where the run ends within so many seconds, and TryAgain where
  the board, and so the first host, is gone."""
  limit = time.monotonic() + seconds
  while time.monotonic() < limit:
    try:
      hosts.check()
    except hosts_lib.Ended:
      raise
    except Exception as error:
      why = watch.first_line(error)
      raise errors.TryAgain(
        f'the first host cannot be reached ({why})'
      ) from error
    time.sleep(hosts_lib.POLL[1])


def _ending_at_last(hosts: hosts_lib.Hosts, code: int) -> threading.Timer:
  """Returns what ends the process, should it not come to its end by itself.

  The board may wait for the first host, and threads of Orbax, which Python
  waits for, for any other one.
  """
  timer = threading.Timer(watch.LEAVE + watch.GRACE, os._exit, [code])
  timer.daemon = True
  if hosts.count > 1:
    timer.start()
  return timer


def _misses_peer(error: Exception) -> bool:
  """Returns whether an error may be that of a program that misses a host."""
  if isinstance(error, errors.InputError | hosts_lib.Ended):
    return False
  return bool(LOST_PEER.search(str(error)))


def _agreed(
  error: BaseException,
  hosts: hosts_lib.Hosts,
  explain: Callable[[BaseException], tuple[int, str]],
) -> hosts_lib.End | None:
  """Returns the end of the run after an error here; None where nobody else has
  to know of it."""
  if isinstance(error, hosts_lib.Ended):
    return error.end
  with contextlib.suppress(Exception):  # the board may be gone
    if end := hosts.ended():
      return end
  return hosts.end(*explain(error)) if hosts.count > 1 else None


def join(flags: verb_args.ClusterFlags, seconds: int) -> hosts_lib.Hosts:
  """Joins the other processes; returns a host alone where none are meant.

  By the flags or, without them, as a TPU's metadata, GKE or SLURM say.
  """
  meant = _from_flags(flags) or _from_environment()
  if meant is None:
    return hosts_lib.Hosts()
  address, count, index = meant
  if count == 1:
    return hosts_lib.Hosts()
  rendezvous.come_together(
    address,
    count=count,
    index=index,
    seconds=seconds,
    fault=_fault_of_environment(),
  )
  import jax
  from jax._src import distributed

  jax.config.update('jax_enable_preemption_service', False)
  jax.config.update('jax_enable_recoverability', True)
  try:
    jax.distributed.initialize(
      coordinator_address=address,
      num_processes=count,
      process_id=index,
      local_device_ids=_local_devices(),
      cluster_detection_method='deactivate',
      initialization_timeout=STARTS,
      coordinator_bind_address=_bind_address(address),
    )
  except Exception as error:
    raise errors.TryAgain(
      f'host {index} could not join the others at {address} '
      f'({watch.first_line(error)})'
    ) from error
  return hosts_lib.Hosts(index, count, Service(distributed.global_state.client))


def leave(hosts: hosts_lib.Hosts) -> None:
  """Leaves the runtime, the first host last."""
  if hosts.count == 1:
    return
  import jax

  timer = _ending_at_last(hosts, 75)
  with contextlib.suppress(Exception):
    hosts.leave(watch.LEAVE)
  with contextlib.suppress(Exception):
    jax.distributed.shutdown()
  timer.cancel()


class Service:
  """The board in JAX's coordination service, which the first host holds."""

  def __init__(self, client: Any):
    self._client = client

  def put(self, key: str, text: str) -> None:
    self._client.key_value_set(_key(key), text, allow_overwrite=True)

  def claim(self, key: str, text: str) -> None:
    try:
      self._client.key_value_set(_key(key), text, allow_overwrite=False)
    except Exception as error:
      if 'ALREADY_EXISTS' not in str(error):
        raise

  def list(self, folder: str) -> dict[str, str]:
    start = f'{_key(folder)}/'
    pairs = self._client.key_value_dir_get(start)
    return {key.removeprefix(start): text for key, text in pairs}

  def get(self, key: str) -> str | None:
    try:
      return self._client.key_value_try_get(_key(key))
    except Exception as error:
      if 'NOT_FOUND' in str(error):
        return None
      raise

  def wait(self, key: str, seconds: float) -> str | None:
    milliseconds = int(seconds * MILLISECONDS)
    try:
      return self._client.blocking_key_value_get(_key(key), milliseconds)
    except Exception as error:
      if 'DEADLINE_EXCEEDED' in str(error):
        return None
      raise

  def remove(self, key: str) -> None:
    self._client.key_value_delete(_key(key))

  def await_alone(self, count: int, seconds: float) -> None:
    # The call returns when every connected host has made it. The others make it
    # never: they are then disconnected, and of one that died nothing is known
    # before its heartbeat is missed.
    watch.answer(lambda: self._client.get_live_nodes(range(count)), seconds)


def _key(key: str) -> str:
  return f'restpg/{key}'  # JAX and Orbax keep theirs in the same service


def _from_flags(flags: verb_args.ClusterFlags) -> tuple[str, int, int] | None:
  """Returns (address, count, index) of the flags; None where there are none."""
  if not (flags.coordinator or flags.num_processes or flags.process_id):
    return None
  if (flags.num_processes, flags.coordinator) == ('1', ''):
    return '', 1, 0
  if not flags.coordinator or not flags.num_processes or not flags.process_id:
    raise errors.InputError(
      '--coordinator=HOST:PORT, --num_processes=N and --process_id=K belong '
      'together: K is 0 to N-1, another one on each host, and HOST is that of '
      'K=0; on a TPU, GKE or SLURM leave all three out'
    )
  count = _number('num_processes', flags.num_processes)
  index = _number('process_id', flags.process_id)
  if not 0 <= index < count:
    raise errors.InputError(
      f'--process_id={index} must be from 0 to {count - 1}, as '
      f'--num_processes={count}'
    )
  host, _, port = flags.coordinator.rpartition(':')
  if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
    raise errors.InputError(
      f'--coordinator={flags.coordinator} must be HOST:PORT, say '
      f'10.0.0.2:{PORT}'
    )
  return flags.coordinator, count, index


def _number(name: str, text: str) -> int:
  if not re.fullmatch(r'\d{1,6}', text) or (
    name == 'num_processes' and not int(text)
  ):
    raise errors.InputError(f'--{name}={text} must be a whole number')
  return int(text)


def _from_environment() -> tuple[str, int, int] | None:
  """Returns the same as JAX finds it on a TPU, GKE or SLURM; None elsewhere."""
  from jax._src import clusters

  for cluster in clusters.ClusterEnv._cluster_types:
    if cluster.name not in KINDS or not cluster.is_env_present():
      continue
    count = cluster.get_process_count()
    if count == 1:
      return '', 1, 0
    port = os.environ.get('JAX_COORDINATOR_PORT', str(PORT))
    address = cluster.get_coordinator_address(
      timeout_secs=60, override_coordinator_port=port
    )
    return address, count, cluster.get_process_id()
  return None


def _local_devices() -> list[int] | None:
  """Returns the one device of this process where SLURM starts several on a
  machine; None: all of the machine."""
  tasks, nodes, number = map(os.environ.get, SLURM)
  if not (tasks and nodes and number) or int(tasks) <= int(nodes):
    return None
  return [int(number)]


def _fault_of_environment() -> str:
  """Says which variables there are of a job over several slices.

  A preemption leaves them behind, and then the runtime waits for slices that
  do not exist (ray-project/ray#62893).
  """
  names = sorted(name for name in os.environ if name.startswith(MULTISLICE))
  if not names or os.environ.get('MEGASCALE_NUM_SLICES') == '1':
    return ''
  return (
    f'{", ".join(names)}: the environment has variables of a job over several '
    'slices, which this is not; they may be left of an earlier job: unset them '
    'on this host'
  )


def _bind_address(address: str) -> str | None:
  """Returns where the first host listens; None: on all of its addresses."""
  local = address.startswith(('127.', 'localhost:'))
  return address if local else None
