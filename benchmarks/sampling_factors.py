"""Measures what shared prompts and refilled slots each bring, tiny model.

  python benchmarks/sampling_factors.py [--m=1,8,32,128] [--prompts=128,512]

Three ways to draw the same samples with the same number of slots:

  both          as the stages do, in groups of a quarter of m
  not shared    each sample is an input of its own: its prompt is read and
                stored for it alone
  not refilled  all slots start together, and the next samples wait until the
                longest of these has ended; a prompt is shared by all slots

Lengths are drawn in advance, log-normal with a mean near 80 and at most 256
tokens, and forced on all. Samples a second, medians over rounds in which the
three take turns; a factor is what `both` is faster by.
"""

import dataclasses
import pathlib

import common.as_command  # noqa: F401
import numpy as np
from common import flags, models, timing

from restpg_jax import assets, config
from restpg_jax.engines import generator
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import budget, engine, keys

MAX_OUTPUT = 256
NAME = {'seed': 0, 'purpose': 'draw', 'iteration': 0}


@dataclasses.dataclass(frozen=True)
class Case:
  """Work of one cell of the table."""

  m: int
  prompt: int  # tokens
  slots: int
  waves: int  # samples = waves * slots

  @property
  def inputs(self) -> int:
    return self.waves * self.slots // self.m


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--m', default='1,8,32,128')
  parser.add_argument('--prompts', default='128,512,2048')
  parser.add_argument('--slots', type=int, default=32)
  parser.add_argument('--waves', type=int, default=8)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--json', type=pathlib.Path)
  args = parser.parse_args()
  results = []
  print(
    f'{args.slots} slots; samples/s\n'
    f'{"m":>5}{"prompt":>8}{"both":>10}{"not shared":>12}{"factor":>8}'
    f'{"not refilled":>14}{"factor":>8}'
  )
  for prompt in map(int, args.prompts.split(',')):
    for m in map(int, args.m.split(',')):
      case = Case(m, prompt, args.slots, max(args.waves, m // args.slots))
      seconds = measure(case, args.rounds)
      samples = case.inputs * case.m
      speed = {
        way: samples / timing.medians(each).wall
        for way, each in seconds.items()
      }
      results.append(dataclasses.asdict(case) | speed)
      both, apart, waits = speed.values()
      shared, refilled = (
        timing.ratios(seconds[way], seconds['both']).wall
        for way in ('not_shared', 'not_refilled')
      )
      print(
        f'{m:>5}{prompt:>8}{both:>10.1f}{apart:>12.1f}{shared:>7.2f}x'
        f'{waits:>14.1f}{refilled:>7.2f}x',
        flush=True,
      )
  flags.write_json(args.json, results)


def measure(case: Case, rounds: int) -> dict[str, list[timing.Seconds]]:
  """Returns the seconds of each way."""
  ways = {way.__name__: way(case) for way in (both, not_shared, not_refilled)}
  for draw in ways.values():  # compiles
    assert draw() == case.inputs * case.m
  return timing.alternate(ways, rounds)


def both(case: Case):
  work = requests(case)
  return engine_of(case, m=case.m, slots=budget.group_of(case.m), calls=[work])


def not_shared(case: Case):
  work = [
    engine.DecodeRequest(r.prompt, [key], [limit])
    for r in requests(case)
    for key, limit in zip(r.keys, r.limits, strict=True)
  ]
  return engine_of(case, m=1, slots=1, calls=[work])


def not_refilled(case: Case):
  """Draws as many samples a call as there are slots."""
  G = min(case.m, case.slots)
  parts = [
    engine.DecodeRequest(r.prompt, r.keys[n : n + G], r.limits[n : n + G])
    for r in requests(case)
    for n in range(0, case.m, G)
  ]
  side = case.slots // G
  calls = [parts[n : n + side] for n in range(0, len(parts), side)]
  return engine_of(case, m=G, slots=G, calls=calls)


def requests(case: Case) -> list[engine.DecodeRequest]:
  rng = np.random.default_rng(case.prompt)
  limits = rng.lognormal(np.log(64), 0.7, (case.inputs, case.m)).round()
  limits = np.clip(limits, 1, MAX_OUTPUT).astype(int)
  return [
    engine.DecodeRequest(
      rng.integers(models.FIRST_WORD, 1024, case.prompt).tolist(),
      [keys.row_key(**NAME, example_id=str(n), j=j) for j in range(case.m)],
      limits[n].tolist(),
    )
    for n in range(case.inputs)
  ]


def engine_of(
  case: Case, *, m: int, slots: int, calls: list[list[engine.DecodeRequest]]
):
  """Returns draw(), which makes all calls and returns the number of samples."""
  compute = config.Compute(prompts=case.slots // slots, samples=slots)
  layout = layouts.Layout.of(compute)
  model = generator.load(assets.path('tiny_pt'), models.TOKENIZER, layout)
  shape = generator.decode_shape(
    model, m=m, prompt=case.prompt, output=MAX_OUTPUT, inputs=case.inputs
  )
  vocab_size = model.tokenizer.vocab_size
  programs = generator.decode_programs(
    model.decoder,
    layout,
    shape,
    stop=(vocab_size,),  # never drawn
    temperature=0.7,
    top_p=0.95,
    top_k=0,
    vocab_size=vocab_size,
  )

  def draw():
    return sum(
      len(output.samples)
      for call in calls
      for output in engine.decode(
        programs, model.params, call, shape, layout.copies
      )
    )

  return draw


if __name__ == '__main__':
  main()
