"""The package from Python: what the command's verbs do, as functions.

`import restpg_jax` offers these names; the heavy imports come with their first
use.
"""

import json
import tempfile
from collections.abc import Iterable
from typing import Any

from etils import epath

from restpg_jax import cli, config, errors, restpg, verb_args
from restpg_jax.commands import generate as generate_command
from restpg_jax.io import records
from restpg_jax.report import build

Config = config.Config
load_config = cli.load_config


def run(cfg: Config, workdir: epath.PathLike) -> dict[str, Any]:
  """Runs the methods of `cfg` in a workdir and returns the report's numbers.

  What is already there is kept, as by the command: see `read_results` for what
  is returned. Raises errors.InputError for settings that no run can have.
  """
  restpg.run_methods(cfg, workdir)
  return build.build_report(workdir)


def read_results(workdir: epath.PathLike) -> dict[str, Any]:
  """Returns the numbers of a finished run's report (report/results.json).

  results['methods']['rest_pg']['macro']['reward'] is the mean over tasks after
  the last iteration; ['iterations'] holds the same for each of them.
  """
  path = epath.Path(workdir) / 'report' / 'results.json'
  if not path.exists():
    raise errors.InputError(f'{path} is not there; finish a run with it first')
  return records.read_json(path)


def generate(
  workdir: epath.PathLike,
  rows: Iterable[dict[str, Any]],
  *,
  method: str = '',
  compute: config.Compute | None = None,
) -> list[dict[str, Any]]:
  """Writes a text for each row with the policy of a finished run.

  A row has `input`, `profile` (the user's texts) and, if you like, `id` and
  `task`; a result has `id`, `task`, `reasoning`, `answer` and `ended`, in the
  order of the rows. The policy is what `method` chose in its last iteration;
  '' is the method that was finished last. `compute` is of this machine.
  """
  with tempfile.TemporaryDirectory() as folder:
    source, output = (epath.Path(folder) / f'{n}.jsonl' for n in ('in', 'out'))
    source.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    generate_command.generate_texts(
      workdir,
      verb_args.GenerateArgs(str(source), str(output), method=method),
      compute or config.Compute(),
    )
    return [json.loads(line) for line in output.read_text().splitlines()]
