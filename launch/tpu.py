"""Runs the project on a TPU VM pod: python -m launch.tpu VERB SPEC.

The command is the same on every host; JAX finds the others from the TPU's
metadata. It runs apart from the SSH session that starts it (worker.sh), so
that a dropped connection, or the end of this machine, does not end the run.
"""

import re
import sys
from collections.abc import Mapping

from launch import pod
from launch import shell as shells
from launch import spec as specs

READY = ('READY', 'ACTIVE')  # of a TPU VM; of a queued resource
# Such a pod must be deleted and made anew; in any other state it is waited for.
DEAD = ('PREEMPTED', 'TERMINATED', 'STOPPED', 'FAILED', 'SUSPENDED')
ABSENT, UNKNOWN = 'absent', 'unknown'  # no answer: nothing is deleted
# A line of `worker.sh status`; gcloud mixes those of all hosts.
LINE = re.compile(r'^\S+ (running|ended|killed|none)(?: (\d+))?$', re.MULTILINE)
KILLED = 137  # of a host whose run left no code: SIGKILL, or a restart
SILENT = 10  # looks without an answer, after which somebody must see to it
STRAGGLE = 10  # looks that a host may run on after others have ended


def create(spec: specs.Spec, shell: shells.Shell) -> int:
  """Makes the pod and waits until it is there."""
  code = shell.run(pod.create(spec))
  if code:
    return code
  shell.hint(f'again and again, until it says {" or ".join(READY)}')
  state = _settled(spec, shell, 'READY')
  if state in READY:
    return shells.DONE
  shell.note(f'{spec.name} is {state}')
  return shells.FAILED


def install(spec: specs.Spec, shell: shells.Shell) -> int:
  """Gives every worker the SSH key, the code and its packages (pinned)."""
  # One after another: at once they would all write the project's keys.
  for worker in range(spec.hosts):
    code = shell.run(pod.ssh(spec, 'true', str(worker)))
    if code:
      return code
  return shell.run(pod.ssh(spec, pod.install(spec)))


def run(spec: specs.Spec, shell: shells.Shell) -> int:
  """Starts the run on all workers, apart from this session."""
  shell.hint('refused where a worker says that it runs')
  if 'running' in _look(spec, shell, 'none'):
    raise specs.SpecError(
      f'{spec.name} runs already: the verb tail shows its log, stop ends it'
    )
  return _start(spec, shell)


def status(spec: specs.Spec, shell: shells.Shell) -> int:
  """Says what the pod does, and each worker."""
  shell.run(pod.describe(spec))
  return shell.run(pod.ssh(spec, pod.on_worker(spec, 'status')))


def tail(spec: specs.Spec, shell: shells.Shell) -> int:
  """Shows the log of --worker=K and what follows (Ctrl-C ends it)."""
  remote = pod.on_worker(spec, 'tail')
  return shell.run(pod.ssh(spec, remote, str(shell.worker)))


def stop(spec: specs.Spec, shell: shells.Shell) -> int:
  """Ends the run: it saves first, and goes on when it is started again."""
  return shell.run(pod.ssh(spec, pod.on_worker(spec, 'stop')))


def delete(spec: specs.Spec, shell: shells.Shell) -> int:
  """Deletes the pod."""
  return shell.run(pod.delete(spec))


def retry(spec: specs.Spec, shell: shells.Shell) -> int:
  """Runs to the end: makes the pod, watches, starts again if interrupted."""
  for attempt in range(spec.retries + 1):
    if attempt:
      shell.note(f'{spec.name}: attempt {attempt + 1} of {spec.retries + 1}')
      shell.pause()
    code = _attempt(spec, shell, first=not attempt)
    if code not in shells.AGAIN:
      return code
  shell.note(f'{spec.name}: interrupted {spec.retries + 1} times, given up')
  return shells.INTERRUPTED


def verdict(states: list[str | int]) -> int:
  """Returns the exit code of a run whose workers have all ended.

  A code that is no interruption wins, the 2 of bad input before all: peers of
  a host that failed may have been aborted with 134.
  """
  final = {s for s in states if s not in (*shells.AGAIN, shells.DONE, 'none')}
  if shells.BAD_INPUT in final:
    return shells.BAD_INPUT
  if final:
    return max(int(code) for code in final)
  ended = all(state == shells.DONE for state in states)
  return shells.DONE if ended else shells.INTERRUPTED


def _attempt(spec: specs.Spec, shell: shells.Shell, *, first: bool) -> int:
  """Returns the exit code of one start, 75 where another may go further."""
  state = _settled(spec, shell, '', patience=1 if first else SILENT)
  if state == UNKNOWN:
    return shells.FAILED
  if state in DEAD:
    shell.note(f'{spec.name} is {state}: it is made anew')
    shell.run(pod.delete(spec))
  states: list[str | int] = []
  if state in READY:
    states = _look(spec, shell, 'none')
  else:
    shell.hint('where there is none; one that was preempted is deleted before,')
    shell.hint('and one that runs already is only watched')
    code = create(spec, shell)
    if code:  # gcloud's 2 is a wrong flag; else there may be no capacity yet
      return code if code == shells.BAD_INPUT else shells.INTERRUPTED
  if 'running' not in states:
    # On a pod that was interrupted all is there, also its restart's log.
    there = len(states) == spec.hosts and 'none' not in states
    if (first or not there) and install(spec, shell):
      return shells.INTERRUPTED
    _start(spec, shell)
  return _watch(spec, shell)


def _start(spec: specs.Spec, shell: shells.Shell) -> int:
  """Starts the run on all workers; returns 0 where all of them run."""
  start = pod.on_worker(spec, 'start', *specs.command(spec))
  # Where a connection drops, gcloud starts it again, which is refused: what the
  # workers say counts, not this exit code.
  shell.run(pod.ssh(spec, start))
  shell.hint('all of them must run now')
  running = _look(spec, shell, 'running').count('running')
  shell.note(f'{spec.name}: {running} of {spec.hosts} workers run')
  return shells.DONE if running == spec.hosts else shells.FAILED


def _watch(spec: specs.Spec, shell: shells.Shell) -> int:
  """Looks until all workers have ended; returns the exit code of the run."""
  codes = ', '.join(map(str, shells.AGAIN))
  shell.hint(f'every {shell.every:g} seconds, until no worker runs; preempted,')
  shell.hint(f'or exit code {codes}: all again, at most {spec.retries} times')
  silent = straggling = 0
  while True:
    shell.pause()
    state = _state(spec, shell, 'READY')
    if state in (*DEAD, ABSENT):
      shell.note(f'{spec.name} is {state}')
      return shells.INTERRUPTED
    states = _look(spec, shell, 'ended 0')
    if len(states) < spec.hosts:
      silent += 1
      if silent == SILENT:
        shell.note(f'{spec.name} is {state}, but its workers do not answer')
        return shells.FAILED
      continue
    silent, running = 0, states.count('running')
    if not running:
      code = verdict(states)
      shell.note(f'{spec.name}: exit codes {states}, so {code}')
      return code
    straggling += running < spec.hosts
    if straggling == STRAGGLE:
      shell.note(f'{running} of {spec.hosts} workers hang: they are stopped')
      stop(spec, shell)


def _look(
  spec: specs.Spec, shell: shells.Shell, assumed: str
) -> list[str | int]:
  """Returns what each worker that answers says: 'running', 'none', a code."""
  line = pod.ssh(spec, pod.on_worker(spec, 'status'))
  answer = shell.ask(line, f'host {assumed}\n' * spec.hosts)
  return [
    int(code or KILLED) if word in ('ended', 'killed') else word
    for word, code in LINE.findall(answer.out)
  ]


def _state(spec: specs.Spec, shell: shells.Shell, assumed: str) -> str:
  """Returns gcloud's word for the state of the pod, or ABSENT or UNKNOWN."""
  answer = shell.ask(pod.describe(spec), assumed)
  if answer.code and 'NOT_FOUND' not in answer.err:
    print(answer.err, end='', file=sys.stderr)
    return UNKNOWN
  return answer.out.strip() or ABSENT


def _settled(
  spec: specs.Spec,
  shell: shells.Shell,
  assumed: str,
  *,
  patience: int = SILENT,
) -> str:
  """Waits until the pod is ready, dead or absent, and returns which.

  Returns UNKNOWN where gcloud knows no state `patience` times.
  """
  before = ''
  while True:
    state = _state(spec, shell, assumed)
    patience -= state == UNKNOWN
    if state in (*READY, *DEAD, ABSENT) or patience < 1:
      return state
    if state != before:
      shell.note(f'{spec.name} is {state}: waiting')
    before = state
    shell.pause()


VERBS: Mapping[str, shells.Verb] = {
  'create': create,
  'install': install,
  'run': run,
  'status': status,
  'tail': tail,
  'stop': stop,
  'retry': retry,
  'delete': delete,
}

if __name__ == '__main__':
  sys.exit(shells.main('tpu', VERBS))
