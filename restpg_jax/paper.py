"""The paper's own numbers: its Tables 1 to 3."""

import dataclasses
import statistics

from restpg_jax import types


def _by_task(*values: float) -> dict[str, float]:
  rewards = dict(zip((*types.TASKS, 'macro'), values, strict=True))
  public = statistics.fmean(rewards[task] for task in types.PUBLIC_TASKS)
  return rewards | {'macro_public': round(public, 4)}


RESULTS = {
  'setup': (
    "The paper's own setup: Gemma 2B trained on LongLaMP, judged by Gemma "
    '7B. Printed for orientation; not comparable with other models, data '
    'or judges. The macro over 3 tasks is our mean of its numbers.'
  ),
  'test': {  # Table 1
    'sft': _by_task(0.2974, 0.4135, 0.6525, 0.2270, 0.3976),
    'sft_reasoning': _by_task(0.2834, 0.3829, 0.6773, 0.2184, 0.3905),
    'rest_em': _by_task(0.3032, 0.4549, 0.6656, 0.2859, 0.4274),
    'rest_pg': _by_task(0.3059, 0.4845, 0.7077, 0.3238, 0.4554),
  },
  'validation': {  # Table 3
    'sft': _by_task(0.3672, 0.4046, 0.6455, 0.2293, 0.4116),
    'sft_reasoning': _by_task(0.3426, 0.3824, 0.7181, 0.2495, 0.4231),
    'rest_em': _by_task(0.3711, 0.4550, 0.6664, 0.2853, 0.4444),
    'rest_pg': _by_task(0.3800, 0.4827, 0.7197, 0.3561, 0.4846),
  },
}
TITLES = {
  'sft': 'SFT',
  'sft_reasoning': 'SFT with reasoning',
  'rest_em': 'ReST-EM',
  'rest_pg': 'REST-PG',
}
TASK_TITLES: dict[str, str] = dict(
  zip(types.TASKS, ('email', 'abstract', 'review', 'topic'), strict=True)
)


@dataclasses.dataclass(frozen=True)
class DatasetStats:
  """A task in Table 2 of the paper: means with their standard deviations."""

  examples: tuple[int, int, int]  # in each of SPLITS
  input: tuple[float, float]  # words
  output: tuple[float, float]  # words
  profile: tuple[float, float]  # documents of a user


LONGLAMP = {
  'email': DatasetStats(
    (3286, 958, 823), (46.45, 21.45), (92.59, 60.68), (85.65, 51.67)
  ),
  'abstract': DatasetStats(
    (13693, 4560, 4560), (33.82, 5.71), (144.28, 68.40), (120.30, 118.81)
  ),
  'review': DatasetStats(
    (14745, 1826, 1822), (119.39, 73.06), (304.54, 228.61), (34.39, 57.31)
  ),
  'topic': DatasetStats(
    (11442, 2452, 2453), (28.36, 36.08), (263.03, 243.34), (50.39, 2898.60)
  ),
}
SPLITS = 'train', 'val', 'test'
