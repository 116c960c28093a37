"""The command: python -m restpg_jax.main [VERB] --config=... --workdir=DIR."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from restpg_jax import (
  backends,
  cli,
  config,
  errors,
  interrupts,
  malloc,
  outcomes,
  usage,
)
from restpg_jax.parallel import hosts as hosts_lib

# Verbs that need no --workdir.
NO_WORKDIR = 'convert', 'preflight', 'prepare', 'doctor'


def run(command: cli.Command) -> None:
  """Runs the methods of the config and reports on them."""
  cfg = _needed(command.cfg)
  with _joined(command, cfg) as hosts:
    from restpg_jax import restpg
    from restpg_jax.io import artifacts

    try:
      restpg.run_methods(cfg, command.workdir, until=command.until, hosts=hosts)
      if hosts.first:
        report(command)
    except artifacts.Until:
      if hosts.first:
        print(f'stopped after {command.until}')
    hosts.meet('end')


def report(command: cli.Command) -> None:
  """Rebuilds WORKDIR/report from all methods that are finished there."""
  _report(command)


def sweep(command: cli.Command) -> int:
  """Runs the members of a sweep in one workdir, what they share once."""
  cfg = _needed(command.cfg)
  if command.sweep.list:
    _list_members(command, cfg)
    return outcomes.DONE
  with _joined(command, cfg) as hosts:
    from restpg_jax import members
    from restpg_jax.commands import sweep as sweep_command

    all_members = members.read_members(
      cfg, command.file, command.axes, command.overridden
    )
    results = sweep_command.run_members(
      members.pick(all_members, command.sweep.index),
      command.workdir,
      until=command.until,
      hosts=hosts,
    )
    if hosts.first:
      finished = any(result.keys for result in results)
      shown = _report(command) if finished else None
      print(sweep_command.sweep_table(results, shown))
    hosts.meet('end')
  failed = any(result.fault for result in results)
  return outcomes.FAILED if failed else outcomes.DONE


def convert(command: cli.Command) -> None:
  """Writes a trained policy as a folder that other tools open."""
  from restpg_jax.commands import convert as convert_command

  args = command.convert
  origin, to = convert_command.convert_policy(args)
  print(f'{to}: {args.format}, {args.dtype}, of {origin.weights}')
  if args.push:
    print(*convert_command.push_folder(to, args), sep='\n')


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


def audit(command: cli.Command) -> None:
  """Probes the judge, and writes forms by which people judge it."""
  _check_exists(command.workdir)
  compute = command.cfg.compute if command.cfg else config.Compute()
  from restpg_jax.audit import run as audit_run

  audit_run.run_audit(command.workdir, command.audit, compute)


def judge(command: cli.Command) -> None:
  """Scores anybody's texts with a run's reward: --input to --output."""
  from restpg_jax.audit import judge as judge_texts

  _check_exists(command.workdir)
  compute = command.cfg.compute if command.cfg else config.Compute()
  done = judge_texts.judge_texts(command.workdir, command.judge, compute)
  mean = f', mean {done.total / done.written:.3f}' if done.written else ''
  print(
    f'{command.judge.output}: {done.texts:,} scores by the reward of '
    f'{done.label} ({done.reward.name}), {done.no_answer:,} without an answer; '
    f'{done.written:,} made now{mean}, of them {done.cut:,} cut at the limit '
    'of the judge'
  )


def preflight(command: cli.Command) -> None:
  """Compiles all programs of a run and says what it needs and takes."""
  cfg = _needed(command.cfg)
  from restpg_jax.preflight import run as preflight_run

  preflight_run.run_preflight(cfg, command.preflight, command.workdir)


def doctor(command: cli.Command) -> None:
  """Says what a run needs, how to get it, and what its data is like."""
  cfg = _needed(command.cfg)
  from restpg_jax.doctor import run as doctor_run

  doctor_run.run_doctor(cfg, command.workdir)


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
  'audit': audit,
  'judge': judge,
  'preflight': preflight,
  'prepare': prepare,
  'doctor': doctor,
  'sweep': sweep,
}


def main(argv: Sequence[str]) -> int:
  """Does what the arguments say; returns the exit code."""
  if cli.wants_help(argv):
    print(usage.USAGE, end='')
    return outcomes.DONE
  workdir = ''
  try:
    command = cli.parse_command(argv, tuple(VERBS))
    workdir = command.workdir
    _check_flags(command)
    if warning := backends.keep_32_bits():
      print(f'warning: {warning}', file=sys.stderr, flush=True)
    with interrupts.raised(), _plain_warnings():
      return VERBS[command.verb](command) or outcomes.DONE
  except hosts_lib.Ended as ended:
    return _fail(ended.end.code, ended.line)
  except (Exception, KeyboardInterrupt) as error:
    outcome = outcomes.outcome_of(error, workdir)
    return _fail(outcome.code, outcome.line)


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
    code = outcomes.UNREAD
  if code == outcomes.UNREAD:
    # Python would complain when it flushes them.
    for number in outcomes.OUTPUTS:
      os.dup2(os.open(os.devnull, os.O_WRONLY), number)
  sys.exit(code)


def _unraisable(unraisable: 'sys.UnraisableHookArgs') -> None:
  """Reports what a thread raised, but for TensorStore's complaint once a full
  disk has ended the save that its threads belong to.

  An interrupt that came where none can be caught is raised once more.
  """
  if unraisable.exc_type is KeyboardInterrupt:
    interrupts.was_lost()
  elif str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)


def _needed(cfg: config.Config | None) -> config.Config:
  """Returns the config; raises InputError where none was given."""
  if cfg is None:
    raise errors.InputError('missing --config=FILE; see --help')
  return cfg


def _joined(
  command: cli.Command, cfg: config.Config
) -> contextlib.AbstractContextManager[hosts_lib.Hosts]:
  """Joins the other hosts of a run; see cluster.joined."""
  # Heavy imports wait until the command line is known to be right.
  from restpg_jax.parallel import cluster

  def explain(error: BaseException) -> tuple[int, str]:
    outcome = outcomes.outcome_of(error, command.workdir)
    return outcome.code, outcome.line

  return cluster.joined(command.cluster, command.workdir, cfg.compute, explain)


def _report(command: cli.Command) -> dict[str, Any]:
  """Rebuilds and prints the report; returns what results.json holds."""
  from restpg_jax.io import tracking
  from restpg_jax.report import build

  workdir, track = command.workdir, command.cfg.track if command.cfg else ''
  _check_exists(workdir)
  tracking.check_name(track)
  results = build.build_report(workdir)
  print(build.results_text(results))
  print(f'report: {epath.Path(workdir) / "report" / "index.html"}')
  tracking.send_figures(track, workdir)
  return results


def _list_members(command: cli.Command, cfg: config.Config) -> None:
  """Prints the members of a sweep, what each reuses and takes."""
  from restpg_jax import members
  from restpg_jax.preflight import sweep as preflight_sweep

  all_members = members.read_members(
    cfg, command.file, command.axes, command.overridden
  )
  preflight_sweep.list_members(
    members.pick(all_members, command.sweep.index),
    command.preflight,
    command.workdir,
  )


def _check_flags(command: cli.Command) -> None:
  needless = command.verb in NO_WORKDIR or command.sweep.list
  if not needless or command.workdir:
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


def _fail(code: int, line: str) -> int:
  if line:
    print(line, file=sys.stderr, flush=True)
  return code


if __name__ == '__main__':
  console()
