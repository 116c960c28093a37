"""Brings the processes of a run together before JAX's runtime starts.

Where one does not come, the runtime aborts all others, with code 134 and a
stack; of two processes of one number, or of different numbers of processes, it
says nothing a person could use; and a process that is given the port of another
run joins that. So process 0 listens on that port by itself first, until all
others have come, and tells each how it went.

  others: {"index": 3, "count": 4, "fault": text or ""}
  0:      {} to go on, {"missing": text} or {"fault": text} to end, to all
"""

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from restpg_jax import errors
from restpg_jax.parallel import hosts as hosts_lib

GREETING = b'restpg\n'  # what process 0 says to whoever connects
ANSWERS = 10.0  # seconds within which it does
PAUSE = 0.5  # seconds between two tries to reach it
LONGEST = 1 << 16  # bytes of a line


def come_together(
  address: str, *, count: int, index: int, seconds: float, fault: str = ''
) -> None:
  """Returns when all processes have come to process 0, who is at `address`.

  `fault` is bad input of this one, which ends all of them once they have come.
  Raises TryAgain where one has not after so many seconds, and InputError for
  flags that do not fit together and a port that somebody else uses.
  """
  host, _, port = address.rpartition(':')
  where = host.strip('[]'), int(port)
  if index:
    entry = {'index': index, 'count': count, 'fault': fault}
    _report(where, address, entry, seconds)
  else:
    _await_all(where, address, count, seconds, fault)


def _await_all(
  where: tuple[str, int], address: str, count: int, seconds: float, fault: str
) -> None:
  came: dict[int, socket.socket] = {}
  end = time.monotonic() + seconds
  with contextlib.ExitStack() as stack:
    server = stack.enter_context(_listening(where, address))
    while len(came) < count - 1:
      # One that was ended meanwhile may come again.
      came = {n: c for n, c in came.items() if not _closed(c)}
      if (left := end - time.monotonic()) <= 0:
        _tell_fault(came, fault)
        text = _missing(came.keys(), address, count)
        _tell(came, missing=text)
        raise errors.TryAgain(text)
      server.settimeout(min(left, 1.0))
      with contextlib.suppress(TimeoutError):
        connection = stack.enter_context(server.accept()[0])
        if entry := _entry(connection):
          n = entry['index']
          _tell_fault(came | {-1: connection}, _misfit(entry, came, count))
          if entry['fault'] and not fault:
            fault = f'host {n}: {entry["fault"]}'
          came[n] = connection
    _tell_fault(came, fault)
    _tell(came)


def _report(
  where: tuple[str, int], address: str, entry: dict[str, Any], seconds: float
) -> None:
  end, other, reason = time.monotonic() + seconds, False, ''
  while time.monotonic() < end:
    try:
      with socket.create_connection(where, timeout=ANSWERS) as connection:
        other = not _greets(connection)
        if not other:
          _send(connection, entry)
          # From here on the clock of process 0 counts.
          connection.settimeout(seconds + ANSWERS)
          if (answer := _parsed(_line(connection))) is not None:
            if 'fault' in answer:
              raise errors.InputError(answer['fault'])
            if 'missing' in answer:
              raise errors.TryAgain(answer['missing'])
            return
    except OSError as error:
      reason = f' ({error.strerror or error})'
    time.sleep(PAUSE)
  if other:
    raise errors.InputError(_in_use(address))
  raise errors.TryAgain(
    f'host 0, which is to listen on {address}, did not come within '
    f'{seconds:.0f} s{reason}; this is host {entry["index"]} of '
    f'{entry["count"]}: start the same command there, with --process_id=0 '
    'where it is given by flags'
  )


def _greets(connection: socket.socket) -> bool:
  try:
    return _line(connection) == GREETING
  except TimeoutError:
    return False


@contextlib.contextmanager
def _listening(where: tuple[str, int], address: str) -> Iterator[socket.socket]:
  """Listens where the runtime will: on this machine only if that is meant."""
  local = where[0].startswith('127.') or where[0] == 'localhost'
  with contextlib.suppress(OSError), socket.create_connection(where, timeout=1):
    raise errors.InputError(_in_use(address))
  dual = not local and socket.has_dualstack_ipv6()
  try:
    server = socket.create_server(
      where if local else ('', where[1]),
      family=socket.AF_INET6 if dual else socket.AF_INET,
      # As the runtime's: whoever holds a port for it listens not, and shares.
      reuse_port=True,
      dualstack_ipv6=dual,
    )
  except OSError as error:
    raise errors.InputError(_in_use(address, error)) from error
  with server:
    yield server


def _in_use(address: str, error: OSError | None = None) -> str:
  why = f' ({error.strerror})' if error else ''
  return (
    f"{address}: the coordinator's port is in use{why}, by another run or one "
    'that has not ended; end it, or give all hosts another port '
    '(--coordinator, or JAX_COORDINATOR_PORT)'
  )


def _missing(came: Any, address: str, count: int) -> str:
  absent = [n for n in range(1, count) if n not in came]
  return (
    f'{hosts_lib.listed(absent)} did not come ({count} processes were to meet '
    f'at {address}): start the same command there, with --process_id of that '
    'number where it is given by flags'
  )


def _entry(connection: socket.socket) -> dict[str, Any] | None:
  """Returns what a process says of itself; None for another visitor."""
  connection.settimeout(ANSWERS)
  with contextlib.suppress(OSError):
    connection.sendall(GREETING)
    entry = _parsed(_line(connection))
    if entry and entry.keys() >= {'index', 'count', 'fault'}:
      return entry
  connection.close()
  return None


def _misfit(
  entry: dict[str, Any], came: dict[int, socket.socket], count: int
) -> str:
  n = entry['index']
  if entry['count'] != count:
    return (
      f'host {n} was started with --num_processes={entry["count"]}, host 0 '
      f'with {count}; give all the same number'
    )
  if n in came and not _closed(came[n]):
    return (
      f'two processes were started with --process_id={n}; give each of the '
      f'{count} its own, from 0 to {count - 1}'
    )
  return ''


def _closed(connection: socket.socket) -> bool:
  """Returns whether the other side has gone; it says nothing unasked."""
  try:
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and not connection.recv(1)
  except OSError:
    return True


def _tell_fault(came: dict[int, socket.socket], fault: str) -> None:
  if fault:
    _tell(came, fault=fault)
    raise errors.InputError(fault)


def _tell(came: dict[int, socket.socket], **answer: str) -> None:
  for connection in came.values():
    with contextlib.suppress(OSError):  # it has gone meanwhile
      _send(connection, answer)


def _send(connection: socket.socket, value: dict[str, Any]) -> None:
  connection.sendall(json.dumps(value).encode() + b'\n')


def _line(connection: socket.socket) -> bytes:
  """Reads up to the first newline, or the end of what the other side says."""
  data = b''
  while not data.endswith(b'\n') and len(data) < LONGEST:
    if not (byte := connection.recv(1)):
      break
    data += byte
  return data


def _parsed(line: bytes) -> dict[str, Any] | None:
  try:
    value = json.loads(line)
  except ValueError:
    return None
  return value if isinstance(value, dict) else None
