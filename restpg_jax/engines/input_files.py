"""Which files of a folder that a setting names are read, and so are hashed.

The keys are the values of `reads` in config.path_field. All else in a folder,
what a download or a system leaves there, a sibling task, weights in another
form, changes no fingerprint.
"""

from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from restpg_jax.data import longlamp
from restpg_jax.engines import turn_files
from restpg_jax.io import encoders, fingerprints, weight_folders


def _of_folder(
  list_files: Callable[[Any, epath.Path], Sequence[epath.Path]],
) -> Callable[[Any, epath.Path], Sequence[epath.Path]]:
  """Returns the same for folders; a single file counts by itself."""
  return lambda cfg, path: list_files(cfg, path) if path.is_dir() else ()


READS: fingerprints.Reads = {
  'data': _of_folder(
    lambda cfg, path: longlamp.data_files(path, setting=cfg.setting)
  ),
  # Those of an adapter, and of the base that it names; `base` has its own.
  'weights': _of_folder(lambda cfg, path: weight_folders.weight_files(path)),
  'encoder': _of_folder(lambda cfg, path: encoders.encoder_files(path)),
  'tokenizer': lambda cfg, path: weight_folders.tokenizer_files(path),
  'turns': lambda cfg, path: turn_files.deciding(path),
}
