"""Seconds a sample and memory of an E-step, from 100 to 10,000 inputs.

  python benchmarks/sampling_scale.py [--inputs=100,1000,10000]

The stages draw, score (by words that overlap, no judge) and select, with the
tiny model on synthetic users: m = 2, 32 tokens at most, prompts cut to 128.
Each size is a process of its own; compiling is left out of the seconds, which
are those of draw. All columns must stay as they are while inputs grow a
hundredfold.
"""

import json
import pathlib
import shutil
import tempfile

import common.as_command  # noqa: F401
from common import flags, memory, processes, timing
from etils import epath

from restpg_jax import assets, config
from restpg_jax.io import records
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import draw, retrieve, score, select

M, MAX_OUTPUT, PROMPT = 2, 32, 128
WARM = 16  # inputs to compile with
TINY = config.Prompt('prompts/tiny/policy.txt', PROMPT, MAX_OUTPUT)


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--inputs', default='100,1000,10000')
  parser.add_argument('--prompts', type=int, default=16, help='side by side')
  parser.add_argument('--json', type=pathlib.Path)
  parser.add_argument('--child', type=epath.Path, help='a folder of inputs')
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.child, args.prompts)))
    return
  results = []
  print(f'{"inputs":>8}{"ms a sample":>13}{"peak MiB: draw":>16}{"all":>6}')
  for inputs in map(int, args.inputs.split(',')):
    with tempfile.TemporaryDirectory() as folder:
      write(pathlib.Path(folder), inputs)
      result = processes.run(
        __file__, f'--child={folder}', f'--prompts={args.prompts}'
      )
    results.append(result)
    ms, drawn, peak = result.values()
    print(f'{inputs:>8}{ms:>13.2f}{drawn:>16.0f}{peak:>6.0f}', flush=True)
  flags.write_json(args.json, results)


def write(folder: pathlib.Path, inputs: int) -> None:
  """Writes what the stages read: some inputs to compile with, and all."""
  shutil.copytree(assets.HERE / 'tiny_pt', folder / 'policy' / 'model')
  world = config.World(train=inputs)
  examples, _ = retrieve.load_examples(config.Data(world=world), 'train')
  retriever = retrieve.by_bm25(config.Retrieval(), 0, None, None)
  examples = list(retrieve.with_contexts(examples, retriever, k=5))
  records.write(folder / 'all' / 'examples.jsonl', examples)
  records.write(folder / 'warm' / 'examples.jsonl', examples[:WARM])


def measure(folder: epath.Path, side: int) -> dict[str, float]:
  """Measures in this process, which has done nothing else."""
  layout = layouts.Layout.of(config.Compute(prompts=side, samples=M))
  settings = draw.DrawSettings.of(
    config.Sample(m=M),
    prompt=TINY,
    tokenizer=config.Model(),
    reasoning=True,
    seed=0,
    purpose='draw',
    iteration=0,
  )
  seconds = {}
  for name in ('warm', 'all'):
    summary, seconds[name] = timing.timed(
      draw.draw,
      folder / 'policy',
      folder / name,
      out=folder / name / 'drawn',
      cfg=settings,
      layout=layout,
    )
  drawn = memory.peak()
  every = folder / 'all'
  score.score(
    every,
    every / 'drawn',
    out=every / 'scored',
    cfg=score.ScoreSettings(config.Reward(name='rouge'), TINY, True, M),
    layout=layout,
  )
  select.select(
    every / 'scored',
    out=every / 'kept',
    cfg=select.SelectSettings(config.Select(threshold=0.0), (M,)),
    layout=layout,
  )
  return {
    'ms a sample': 1000 * seconds['all'].wall / summary['made'],
    'peak MiB of draw': drawn / memory.MIB,
    'peak MiB': memory.peak() / memory.MIB,
  }


if __name__ == '__main__':
  main()
