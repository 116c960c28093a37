"""The command: python -m restpg_jax.main [VERB] --config=... --workdir=DIR."""

import contextlib
import errno
import io
import os
import select
import signal
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from restpg_jax import backends, cli, config, errors, malloc

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
# Verbs that need no --workdir.
NO_WORKDIR = 'convert', 'preflight', 'prepare', 'doctor'
USAGE = """\
REST-PG: teaches a language model to reason over a user's own documents.

python -m restpg_jax.main [VERB] --config=FILE[:ARG] --workdir=DIR [flags]

Verbs (run is the default):
  run        Runs the methods of the config and reports on them.
  report     Rebuilds WORKDIR/report from all methods that are finished there.
  convert    Writes a trained policy as a folder that other tools open.
  generate   Writes for users with a trained policy: --input to --output.
  preflight  Compiles all programs of a run and says what it needs and takes.
  prepare    Makes a TFDS data set of the benchmark's files, or of your own.
  doctor     Says what a run needs, how to get it, and what its data is like.

Flags:
  --config=FILE[:ARG]    experiment: a file of configs/, get_config(ARG)
  --config.KEY=VALUE     override a setting: --config.train.steps=100
                         (all settings with their meaning: restpg_jax/config.py)
  --workdir=DIR          everything is kept here (a folder or gs://...); the
                         same command again goes on where it stopped
  --until=NAME           stop each method after its last stage called NAME or
                         NAME/...; methods without one are left out
  --help                 this

Flags of convert:
  --from=WHAT            a folder of weights, a stage's folder, or a workdir:
                         what the last finished method chose in its last
                         iteration
  --method=NAME          instead of that one; where there are several of a name,
                         NAME-DIGEST of WORKDIR/methods or its label in a report
  --to=DIR               a new folder; it appears when it is whole
  --format=hf|gemma      for transformers, or for DeepMind's gemma package
  --dtype=TYPE           float32 (default), bfloat16 or float16
  --tokenizer=FILE       where the run does not say which

Flags of generate, beside --workdir=DIR of a run with a finished method:
  --input=FILE           a JSON object a line: input, profile and, if you like,
                         id and task; LongLaMP's rows, or texts as profile
  --output=FILE          a new file, a line a row: id, task, reasoning, answer,
                         ended; it appears when it is whole
  --method=NAME          instead of the one that was finished last, as above
  --task=NAME            of rows that do not tell it
  --config=FILE          its section `compute` only: how this machine computes,
                         which may be another than the one that trained

Flags of preflight, which needs no weights, tokenizer or data:
  --topology=v4:4x4x4    TPUs that it compiles for, without having them (v4,
                         v5e, v5p, v6e; needs the extra [tpu]); default: the
                         devices of this machine
  --price=NUMBER         of an hour of a chip
  --efficiency=0.4       share of the chips' peak that a run is assumed to reach
  --workdir=DIR          where preflight.json is written; default: here

Flags of prepare, which needs no --config but takes its section `data`:
  --from=DIR|hub         the benchmark's folders product_review_user and so on,
                         or `custom`, rows of your own users; hub: downloads
                         the public tasks
  --to=DIR               a data set for TFDS; a run reads it by
                         --config.data.path=DIR/longlamp
  --avocado=DIR          the licensed mails, data/text of LDC2015T03, with
  --ids=DIR              the benchmark's train_, dev_ and test_questions.json:
                         makes the e-mail task
  --jobs=N               tasks at once; default: as many as there are cores

The doctor writes doctor.json and doctor.html into --workdir=DIR; default: here.

Exit codes: 0 done, 2 bad input, flag or config, 75 interrupted (run the same
command again), 141 nobody reads the output any more, 1 anything else.
"""


def run(command: cli.Command) -> None:
  """Runs the methods of the config and reports on them."""
  if command.cfg is None:
    raise errors.InputError('missing --config=FILE; see --help')
  # Heavy imports wait until the command line is known to be right.
  from restpg_jax import restpg
  from restpg_jax.io import artifacts

  try:
    restpg.run_methods(command.cfg, command.workdir, until=command.until)
  except artifacts.Until:
    print(f'stopped after {command.until}')
    return
  report(command)


def report(command: cli.Command) -> None:
  """Rebuilds WORKDIR/report from all methods that are finished there."""
  from restpg_jax.report import build

  _check_exists(command.workdir)
  results = build.build_report(command.workdir)
  print(build.results_text(results))
  print(f'report: {epath.Path(command.workdir) / "report" / "index.html"}')


def convert(command: cli.Command) -> None:
  """Writes a trained policy as a folder that other tools open."""
  from restpg_jax.commands import convert as convert_command

  args = command.convert
  origin, to = convert_command.convert_policy(args)
  print(f'{to}: {args.format}, {args.dtype}, of {origin.weights}')


def generate(command: cli.Command) -> None:
  """Writes for users with a trained policy: --input to --output."""
  from restpg_jax.commands import generate as generate_command

  _check_exists(command.workdir)
  compute = command.cfg.compute if command.cfg else config.Compute()
  done = generate_command.generate_texts(
    command.workdir, command.generate, compute
  )
  by = f'{done.policy.method["label"]}, iteration {done.policy.t}'
  print(
    f'{command.generate.output}: {done.texts:,} texts by {by}; '
    f'{done.written:,} '
    f'made now, of them {done.no_answer:,} without an answer, {done.cut:,} cut '
    'at the output limit'
  )


def preflight(command: cli.Command) -> None:
  """Compiles all programs of a run and says what it needs and takes."""
  if command.cfg is None:
    raise errors.InputError('missing --config=FILE; see --help')
  from restpg_jax.preflight import run as preflight_run

  preflight_run.run_preflight(command.cfg, command.preflight, command.workdir)


def doctor(command: cli.Command) -> None:
  """Says what a run needs, how to get it, and what its data is like."""
  if command.cfg is None:
    raise errors.InputError('missing --config=FILE; see --help')
  from restpg_jax.doctor import run as doctor_run

  doctor_run.run_doctor(command.cfg, command.workdir)


def prepare(command: cli.Command) -> None:
  """Makes a TFDS data set of the benchmark's files, or of your own."""
  from restpg_jax.commands import prepare as prepare_command

  data = command.cfg.data if command.cfg else config.Data()
  prepare_command.prepare_data(command.prepare, data)


VERBS = {
  'run': run,
  'report': report,
  'convert': convert,
  'generate': generate,
  'preflight': preflight,
  'prepare': prepare,
  'doctor': doctor,
}


def main(argv: Sequence[str]) -> int:
  """Does what the arguments say; returns the exit code."""
  if cli.wants_help(argv):
    print(USAGE, end='')
    return DONE
  workdir = ''
  try:
    command = cli.parse_command(argv, tuple(VERBS))
    workdir = command.workdir
    _check_flags(command)
    if warning := backends.keep_32_bits():
      print(f'warning: {warning}', file=sys.stderr, flush=True)
    with _terminable(), _plain_warnings():
      VERBS[command.verb](command)
  except errors.InputError as error:
    return _fail(BAD_INPUT, f'error: {" ".join(str(error).split())}')
  except KeyboardInterrupt:
    return _fail(
      INTERRUPTED, 'interrupted: run the same command again to continue'
    )
  except Exception as error:
    return _failed(error, workdir)
  return DONE


def console() -> None:
  """Runs the console script `restpg`."""
  malloc.keep()  # before NumPy and JAX start threads
  backends.pass_over_tpus()
  sys.unraisablehook = _unraisable
  # What a locale lacks is printed as an escape; a stream may be closed.
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors='backslashreplace')
  try:
    code = main(sys.argv[1:])
    print(end='', flush=True)
  except BrokenPipeError:  # at the last words
    code = UNREAD
  if code == UNREAD:
    for number in OUTPUTS:  # Python would complain when it flushes them
      os.dup2(os.open(os.devnull, os.O_WRONLY), number)
  sys.exit(code)


def _unraisable(unraisable: 'sys.UnraisableHookArgs') -> None:
  """Reports what a thread raised, but for TensorStore's complaint once a full
  disk has ended the save that its threads belong to."""
  if str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)


def _failed(error: Exception, workdir: str) -> int:
  """Prints one line that says what a person can mend; returns the exit code."""
  if isinstance(error, BrokenPipeError) and _unread():
    return UNREAD
  message = ' '.join(str(error).split())
  if remedy := _remedy(error):
    code = BAD_INPUT if remedy == DENIED else FAILED
    return _fail(code, f'error: {message}; {remedy}')
  if 'jax' in sys.modules and (fault := backends.backend_fault()):
    return _fail(BAD_INPUT, f'error: {fault}')
  pointer = _keep_traceback(workdir)
  return _fail(FAILED, f'error: {type(error).__name__}: {message}{pointer}')


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


def _check_flags(command: cli.Command) -> None:
  if command.verb not in NO_WORKDIR or command.workdir:
    _check_workdir(command.workdir)


def _check_workdir(workdir: str) -> None:
  if not workdir:
    raise errors.InputError('missing --workdir=DIR; see --help')
  path = epath.Path(workdir)
  if path.exists() and not path.is_dir():
    raise errors.InputError(f'--workdir={workdir} is no folder')


def _check_exists(workdir: str) -> None:
  if not epath.Path(workdir).is_dir():
    raise errors.InputError(f'--workdir={workdir}: no such folder')


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
  """Makes SIGTERM a KeyboardInterrupt inside."""

  def interrupt(number: int, frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt

  if threading.current_thread() is not threading.main_thread():
    yield  # Python lets only the main thread set a handler
    return
  before = signal.signal(signal.SIGTERM, interrupt)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
  """Prints our own warnings as one line each, other ones as they are."""
  show = warnings.showwarning

  def show_ours(
    message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any
  ) -> None:
    if issubclass(category, errors.DataWarning):
      print(f'warning: {message}', file=sys.stderr, flush=True)
    else:
      show(message, category, *args, **kwargs)

  with warnings.catch_warnings():
    warnings.simplefilter('always', errors.DataWarning)
    warnings.showwarning = show_ours
    yield


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


def _fail(code: int, message: str) -> int:
  print(message, file=sys.stderr, flush=True)
  return code


if __name__ == '__main__':
  console()
