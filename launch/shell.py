"""Runs commands, or prints them: a dry run prints exactly what would be run."""

import argparse
import dataclasses
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from launch import spec as specs

# Exit codes of `restpg_jax.main`: docs/command.md.
DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 75
# The same command goes on: 75 asks for it, 134 is the runtime's abort after a
# peer died, 137 and 143 are hosts that SIGKILL or SIGTERM ended.
AGAIN = (75, 134, 137, 143)


@dataclasses.dataclass(frozen=True)
class Answer:
  """Holds what a command said."""

  code: int
  out: str
  err: str = ''


@dataclasses.dataclass(frozen=True)
class Shell:
  """Runs commands given as lists of arguments; no shell reads them here."""

  dry_run: bool = False
  every: float = 60.0  # seconds between two looks at a pod
  worker: int = 0  # whose log `tail` shows

  def run(self, argv: Sequence[str], text: str = '') -> int:
    """Runs a command with `text` as its input; returns its exit code."""
    if self.dry_run:
      print(written(argv, text))
      return DONE
    return subprocess.run(
      argv, input=text or None, text=True, check=False
    ).returncode

  def ask(self, argv: Sequence[str], assumed: str) -> Answer:
    """Runs a command and returns its answer; `assumed` in a dry run."""
    if self.dry_run:
      print(written(argv))
      return Answer(DONE, assumed)
    # A question that gcloud asked would be seen by nobody.
    done = subprocess.run(
      argv,
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)

  def note(self, text: str) -> None:
    """Says what happens; a dry run knows nothing of that."""
    if not self.dry_run:
      print(text, file=sys.stderr, flush=True)

  def hint(self, text: str) -> None:
    """Says in a dry run when the next command would be run."""
    if self.dry_run:
      print(f'# {text}')

  def pause(self) -> None:
    if not self.dry_run:
      time.sleep(self.every)


Verb = Callable[[specs.Spec, Shell], int]


def written(argv: Sequence[str], text: str = '') -> str:
  """Returns a command as one types it, its input as a here-document."""
  line = shlex.join(argv)
  return f"{line} <<'END'\n{text}END" if text else line


def main(
  section: str, verbs: Mapping[str, Verb], argv: Sequence[str] | None = None
) -> int:
  """Runs one verb of a launcher and returns the exit code."""
  docs = [f'  {n}: {str(v.__doc__).splitlines()[0]}' for n, v in verbs.items()]
  parser = argparse.ArgumentParser(
    prog=f'python -m launch.{section}',
    formatter_class=argparse.RawDescriptionHelpFormatter,
    epilog='\n'.join(['verbs:', *docs]),
  )
  parser.add_argument('verb', choices=verbs, metavar='VERB')
  parser.add_argument('spec', metavar='SPEC', help='as launch/example.toml')
  parser.add_argument(
    '--dry_run', action='store_true', help='print the commands, run nothing'
  )
  parser.add_argument('--member', type=int, help='one of [[members]], from 0')
  parser.add_argument('--worker', type=int, default=0, help='whose log to show')
  parser.add_argument(
    '--every', type=float, default=60.0, help='seconds between two looks'
  )
  args = parser.parse_args(argv)
  return guarded(lambda: _verb(section, verbs[args.verb], args))


def _verb(section: str, verb: Verb, args: argparse.Namespace) -> int:
  spec = specs.read(args.spec)
  specs.needs(spec, section)
  if args.member is not None:
    spec = specs.member(spec, args.member)
  return verb(spec, Shell(args.dry_run, args.every, args.worker))


def guarded(action: Callable[[], int]) -> int:
  """Returns the exit code of an action; a bad spec is one line and a 2."""
  try:
    return action()
  except specs.SpecError as error:
    print(f'error: {error}', file=sys.stderr)
  except FileNotFoundError as error:
    print(
      f'error: {error.filename} is not on PATH: install it (docs/pods.md)',
      file=sys.stderr,
    )
  except KeyboardInterrupt:
    print('interrupted: a run goes on where it is', file=sys.stderr)
    return 130
  return BAD_INPUT
