"""What the end of a run means: its exit code, and one line for a person."""

import dataclasses
import errno
import os
import select
import signal
import sys
import traceback

from etils import epath

from restpg_jax import backends, errors

# Exit codes; 75 is EX_TEMPFAIL of sysexits.h: try again later.
DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 75
UNREAD = 128 + signal.SIGPIPE  # as of a program that `head` has ended
OUTPUTS = 1, 2  # file descriptors
# What a system may say of files, and what to do then.
DENIED = 'give a place that can be read and written'
FULL = 'make room; the same command again goes on from what is there'
DISK = {
  **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), DENIED),
  **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), FULL),
}


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a run has ended."""

  code: int
  line: str  # '' where nobody reads


def outcome_of(error: BaseException, workdir: str) -> Outcome:
  """Returns what an exception means; to be called where it is handled.

  The traceback of what nobody expected is kept in WORKDIR/error.log.
  """
  message = ' '.join(str(error).split())
  if isinstance(error, errors.InputError):
    return Outcome(BAD_INPUT, f'error: {message}')
  if isinstance(error, errors.TryAgain):
    return Outcome(INTERRUPTED, f'error: {message}')
  if isinstance(error, KeyboardInterrupt):
    why = f' ({message})' if message else ''
    line = f'interrupted{why}: run the same command again to continue'
    return Outcome(INTERRUPTED, line)
  if isinstance(error, BrokenPipeError) and _unread():
    return Outcome(UNREAD, '')
  if remedy := _remedy(error):
    code = BAD_INPUT if remedy == DENIED else FAILED
    return Outcome(code, f'error: {message}; {remedy}')
  if 'jax' in sys.modules and (fault := backends.backend_fault()):
    return Outcome(BAD_INPUT, f'error: {fault}')
  pointer = _keep_traceback(workdir)
  return Outcome(FAILED, f'error: {type(error).__name__}: {message}{pointer}')


def _unread() -> bool:
  """Returns whether who read the output has gone: other pipes break, too."""
  poll = select.poll()
  for number in OUTPUTS:
    poll.register(number, 0)  # POLLERR is reported without being requested
  return any(event & select.POLLERR for _, event in poll.poll(0))


def _remedy(error: BaseException | None) -> str:
  """Returns what to do if the disk is the cause, else ''.

  Libraries raise errors of their own then, so causes and texts are looked at.
  """
  if error is None:
    return ''
  if number := getattr(error, 'errno', None):
    return DISK.get(number, '')
  for number, remedy in DISK.items():
    if os.strerror(number) in str(error):
      return remedy
  return _remedy(error.__cause__ or error.__context__)


def _keep_traceback(workdir: str) -> str:
  """Writes the traceback to WORKDIR/error.log, or stderr where that fails.

  Returns the end of a message that says where it is.
  """
  path = epath.Path(workdir) / 'error.log'
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(traceback.format_exc())
  except Exception:  # the disk may be what failed
    traceback.print_exc()
    return ''
  return f' (traceback in {path})'
