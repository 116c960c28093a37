"""Uses a finished run from Python: prints its numbers, writes for a user.

make demo
.venv/bin/python examples/use_from_python.py runs/demo
"""

import sys

import restpg_jax

USER = {
  'id': 'ann-1',
  'input': 'Generate the content for a reddit post about my good garden',
  'profile': [
    'Welcome, my good workbench broke again, basically. Thanks.',
    'I found the sublease in April, honestly.',
    'Welcome, it was a small Monday, honestly. Thanks.',
  ],
}


def main(workdir: str) -> None:
  results = restpg_jax.read_results(workdir)
  for method, numbers in results['methods'].items():
    for iteration in numbers['iterations']:
      macro = iteration['macro']
      print(
        f'{method}, iteration {iteration["t"]}: reward {macro["reward"]:.3f} '
        f'+- {macro["reward_stderr"]:.3f}'
      )
  (text,) = restpg_jax.generate(workdir, [USER])
  print(f'reasoning: {text["reasoning"]}\nanswer: {text["answer"]}')


if __name__ == '__main__':
  main(sys.argv[1])
