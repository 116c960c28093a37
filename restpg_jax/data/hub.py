"""Downloads LongLaMP from the Hugging Face hub: the only door to its client."""

import os

import huggingface_hub
from etils import epath
from huggingface_hub import errors as hub_errors

from restpg_jax import errors, types
from restpg_jax.data import files

DATASET = 'LongLaMP/LongLaMP'
TASKS = types.TASKS[1:]  # e-mail is licensed: data/avocado.py


def download(name: str, to: epath.Path) -> epath.Path:
  """Downloads a task and setting; returns TO/NAME with its Parquet files.

  A file that is already there is not downloaded again, and one that is half
  there is continued. Raises InputError where a split is not there in the end.
  """
  os.makedirs(to, exist_ok=True)
  try:
    huggingface_hub.snapshot_download(
      DATASET,
      repo_type='dataset',
      allow_patterns=f'{name}/*.parquet',
      local_dir=str(to),
    )
    if not (to / name).is_dir():
      raise OSError('no connection, and nothing was downloaded before')
    for split in files.NAMES:
      files.find_split(to / name, split)
  except (hub_errors.HfHubHTTPError, OSError, errors.InputError) as error:
    raise errors.InputError(
      f'{name}: cannot be downloaded from '
      f'https://huggingface.co/datasets/{DATASET} '
      f'({errors.detail(error)[:200]}); download its folder {name} elsewhere '
      f'(train-*.parquet, val-*.parquet, test-*.parquet) to DIR/{name}, and '
      'give --from=DIR'
    ) from error
  return to / name
