"""The command: python -m restpg_jax.main [VERB] --config=... --workdir=DIR."""

import contextlib
import errno
import os
import select
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence

from etils import epath

from restpg_jax import backends, cli, config, errors, malloc

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 75  # exit codes
UNREAD = 128 + signal.SIGPIPE  # as of a program that `head` has ended
OUTPUTS = 1, 2  # file descriptors
# What a system may say of files, and what to do then.
DENIED = 'give a place that can be read and written'
FULL = 'make room; the same command again goes on from what is there'
DISK = {
  **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), DENIED),
  **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), FULL),
}
NO_WORKDIR = (
  'convert',
  'preflight',
  'prepare',
  'doctor',
)  # verbs that need none
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
  from restpg_jax.commands import convert as convert_stage

  export = command.export
  origin, to = convert_stage.convert_policy(export)
  print(f'{to}: {export.format}, {export.dtype}, of {origin.weights}')


def generate(command: cli.Command) -> None:
  """Writes for users with a trained policy: --input to --output."""
  from restpg_jax.commands import generate as generate_stage

  _check_exists(command.workdir)
  compute = command.cfg.compute if command.cfg else config.Compute()
  done = generate_stage.generate_texts(
    command.workdir, command.writing, compute
  )
  by = f'{done.origin.method["label"]}, iteration {done.origin.t}'
  print(
    f'{command.writing.output}: {done.texts:,} texts by {by}; {done.made:,} '
    f'made now, of them {done.no_answer:,} without an answer, {done.cut:,} cut '
    'at the output limit'
  )


def preflight(command: cli.Command) -> None:
  """Compiles all programs of a run and says what it needs and takes."""
  if command.cfg is None:
    raise errors.InputError('missing --config=FILE; see --help')
  from restpg_jax.preflight import run as preflights

  preflights.run_preflight(command.cfg, command.flight, command.workdir)


def doctor(command: cli.Command) -> None:
  """Says what a run needs, how to get it, and what its data is like."""
  if command.cfg is None:
    raise errors.InputError('missing --config=FILE; see --help')
  from restpg_jax.doctor import run as doctors

  doctors.run_doctor(command.cfg, command.workdir)


def prepare(command: cli.Command) -> None:
  """Makes a TFDS data set of the benchmark's files, or of your own."""
  from restpg_jax.commands import prepare as prepare_stage

  data = command.cfg.data if command.cfg else config.Data()
  prepare_stage.prepare_data(command.preparing, data)


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
    if said := backends.keep_32_bits():
      print(f'warning: {said}', file=sys.stderr, flush=True)
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
  """The console script `restpg`."""
  malloc.keep()
  backends.pass_over_tpus()
  sys.unraisablehook = _unraisable
  # What a locale lacks is printed as an escape; a stream may be closed.
  for stream in filter(None, (sys.stdout, sys.stderr)):
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


def _unraisable(said) -> None:
  """Without what TensorStore's threads raise once a full disk has ended the
  save that they belong to."""
  if str(said.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(said)


def _failed(error: Exception, workdir: str) -> int:
  """The exit code; one line says what a person can mend."""
  if isinstance(error, BrokenPipeError) and _unread():
    return UNREAD
  what = ' '.join(str(error).split())
  if remedy := _remedy(error):
    code = BAD_INPUT if remedy == DENIED else FAILED
    return _fail(code, f'error: {what}; {remedy}')
  if 'jax' in sys.modules and (fault := backends.backend_fault()):
    return _fail(BAD_INPUT, f'error: {fault}')
  place = _keep_traceback(workdir)
  return _fail(FAILED, f'error: {type(error).__name__}: {what}{place}')


def _unread() -> bool:
  """Whether who read the output has gone; other pipes may break, too."""
  poll = select.poll()
  for number in OUTPUTS:
    poll.register(number, 0)  # errors are told without being asked for
  return any(event & select.POLLERR for _, event in poll.poll(0))


def _remedy(error: BaseException | None) -> str:
  """Where the disk is the cause; libraries raise errors of their own then."""
  if error is None:
    return ''
  if number := getattr(error, 'errno', None):
    return DISK.get(number, '')
  said = [remedy for n, remedy in DISK.items() if os.strerror(n) in str(error)]
  return said[0] if said else _remedy(error.__cause__ or error.__context__)


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
def _terminable():
  """SIGTERM is a KeyboardInterrupt inside."""

  def interrupt(number, frame):
    raise KeyboardInterrupt

  if threading.current_thread() is not threading.main_thread():
    yield  # only the main thread may say what a signal does
    return
  before = signal.signal(signal.SIGTERM, interrupt)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _plain_warnings():
  """Our own warnings as one line each; those of libraries as they are."""
  show = warnings.showwarning

  def ours(message, category, *args, **kwargs):
    if issubclass(category, errors.DataWarning):
      print(f'warning: {message}', file=sys.stderr, flush=True)
    else:
      show(message, category, *args, **kwargs)

  with warnings.catch_warnings():
    warnings.simplefilter('always', errors.DataWarning)
    warnings.showwarning = ours
    yield


def _keep_traceback(workdir: str) -> str:
  """Into WORKDIR/error.log, or to stderr where that fails."""
  path = epath.Path(workdir) / 'error.log'
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(traceback.format_exc())
  except Exception:
    traceback.print_exc()
    return ''
  return f' (traceback in {path})'


def _fail(code: int, message: str) -> int:
  print(message, file=sys.stderr, flush=True)
  return code


if __name__ == '__main__':
  console()
