"""Seconds a sample and memory, from 100 to 10,000 inputs (m = 2, 32 tokens).

  python benchmarks/sampling_scale.py [--inputs=100,1000,10000]

The tiny model; inputs come from a generator, samples are counted and dropped.
Each size is a process of its own; compiling is left out of the seconds. Both
columns must stay as they are while inputs grow a hundredfold.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

from restpg_jax import assets, config
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import language

M, MAX_OUTPUT, PROMPT = 2, 32, 128
FIRST_WORD = 4
INPUTS = 100  # the least: all sizes compile the same shape


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--inputs', default='100,1000,10000')
  parser.add_argument('--prompts', type=int, default=16, help='side by side')
  parser.add_argument('--json', type=pathlib.Path)
  parser.add_argument('--child', type=int, help='inputs of a child process')
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.child, args.prompts)))
    return
  found = []
  print(f'{"inputs":>8}{"ms a sample":>13}{"peak MB":>9}')
  for inputs in map(int, args.inputs.split(',')):
    command = [sys.executable, __file__, f'--child={inputs}']
    out = subprocess.run(
      [*command, f'--prompts={args.prompts}'],
      check=True,
      stdout=subprocess.PIPE,
      text=True,
    )
    found.append(json.loads(out.stdout.splitlines()[-1]))
    ms, peak = found[-1]['seconds a sample'] * 1000, found[-1]['peak MB']
    print(f'{inputs:>8}{ms:>13.2f}{peak:>9.0f}', flush=True)
  if args.json:
    args.json.write_text(json.dumps(found, indent=1) + '\n')


def measure(inputs: int, side: int) -> dict[str, float]:
  layout = layouts.Layout.of(config.Compute(prompts=side, samples=M))
  model = language.load(assets.path('tiny_pt'), 'tiny.spm.model', layout)
  draw(model, side)  # compiles
  began = time.monotonic()
  made = draw(model, inputs)
  seconds = time.monotonic() - began
  assert made == inputs * M
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  return {
    'inputs': inputs,
    'seconds a sample': seconds / made,
    'peak MB': peak,
  }


def draw(model: language.Language, inputs: int) -> int:
  rng = np.random.default_rng(0)
  words = model.tokenizer.vocab_size
  wanted = (
    language.Wanted(
      str(n), rng.integers(FIRST_WORD, words, PROMPT).tolist(), range(M)
    )
    for n in range(inputs)
  )
  return sum(
    len(harvest.samples)
    for harvest in language.sample(
      model,
      wanted,
      inputs=INPUTS,
      prompt_length=PROMPT,
      m=M,
      max_output=MAX_OUTPUT,
      stop=[words],  # never drawn: all samples have MAX_OUTPUT tokens
      temperature=0.7,
      top_p=0.95,
      seed=0,
      purpose='draw',
    )
  )


if __name__ == '__main__':
  main()
