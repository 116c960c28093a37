"""Measures how far samples agree across shapes and numbers of devices.

  python benchmarks/sampling_agreement.py [--inputs=313]

The bundled tiny model draws 32 samples an input of the synthetic users, some
10,000 in all, once for each of SHAPES: groups on a device, slots of a group,
devices. The promise is at most one sample in 10,000 that
differs, and log-probabilities within 1e-5: a matrix product of another shape
rounds its last bit otherwise. Printed are the largest differences, of whole
samples and a token of theirs.
"""

import json

from common import flags, processes

SHAPES = (4, 8, 1), (1, 32, 1), (8, 16, 1), (2, 8, 2), (4, 4, 2)
M = 32


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--inputs', type=int, default=313)
  parser.add_argument('--shape', help='of this process: 4,8,1')
  args = parser.parse_args()
  if args.shape:
    groups, slots, devices = map(int, args.shape.split(','))
    print(json.dumps(draw(args.inputs, groups, slots, devices)))
    return
  drawn = [of_process(args.inputs, shape) for shape in SHAPES]
  first = drawn[0]
  print(f'{len(first):,} samples; beside those of {SHAPES[0]}:')
  print(
    f'{"groups, slots, devices":<24}{"differ":>8}{"logp":>10}{"a token":>10}'
  )
  for shape, other in zip(SHAPES[1:], drawn[1:], strict=True):
    same = [key for key in first if first[key][0] == other[key][0]]
    apart = [(abs(first[k][1] - other[k][1]), first[k][2]) for k in same]
    whole = max(difference for difference, _ in apart)
    token = max(difference / tokens for difference, tokens in apart)
    differ = len(first) - len(same)
    print(f'{shape!s:<24}{differ:>8}{whole:>10.1e}{token:>10.1e}')


def of_process(inputs: int, shape: tuple[int, int, int]) -> dict:
  """Returns the samples that a process of its own draws."""
  flag = ','.join(map(str, shape))
  return processes.run(__file__, f'--inputs={inputs}', f'--shape={flag}')


def draw(inputs: int, groups: int, slots: int, devices: int) -> dict:
  """Returns text, log-probability and number of tokens by 'id j'."""
  from restpg_jax import config
  from restpg_jax.engines import generator, prompting
  from restpg_jax.parallel import layout as layouts
  from restpg_jax.stages import draw as draws
  from restpg_jax.stages import retrieve
  from restpg_jax.text import prompts

  compute = config.Compute(prompts=groups, samples=slots, cpu_devices=devices)
  layout = layouts.Layout.of(compute)
  model = generator.load_named(config.Model(), layout)
  world = config.World(train=inputs)
  examples, _ = retrieve.load_examples(config.Data(world=world), 'train')
  retriever = retrieve.by_bm25(config.Retrieval(), 0, layout, None)
  examples = list(retrieve.with_contexts(examples, retriever, k=5))
  settings = draws.DrawSettings.of(
    config.Sample(m=M),
    prompt=config.Prompt('prompts/tiny/policy.txt', 192, 88),
    tokenizer=config.Model(checkpoint=''),
    reasoning=True,
    seed=0,
    purpose='draw',
    iteration=0,
  )
  policy_prompts = prompting.policy_prompts(examples, model.tokenizer, settings)
  stats = prompts.PromptStats.of(policy_prompts)
  return {
    f'{s.example_id} {s.j}': (s.text, s.logp, s.tokens)
    for finished in generator.generate_missing(
      model, examples, settings, stats=stats
    )
    for s in finished.samples
  }


if __name__ == '__main__':
  main()
