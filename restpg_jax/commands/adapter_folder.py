"""Finds the adapters of a run, and the base that an export of them names."""

import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from restpg_jax import assets, errors, storage
from restpg_jax.commands import policies
from restpg_jax.io import adapters, located, records, weights

HUB = re.compile(r'[\w.-]+/[\w.-]+')  # ORG/NAME


def trained_folder(origin: policies.Origin) -> epath.Path:
  """Returns the folder of adapters that a policy was merged from, or its own.

  What a method chose is merged weights; the checkpoint that it chose is still
  in the folder of the training.
  """
  if (origin.weights / weights.MODEL).exists():
    described = records.json_object(origin.weights / weights.MODEL)
    inputs = (origin.stage or {}).get('inputs', ())
    if 'adapters' not in described and inputs and origin.workdir:
      trained = origin.workdir / inputs[0]['path'] / 'checkpoints'
      folder = trained / f'step_{described.get("step")}' / 'model'
      if (folder / weights.MODEL).exists():
        return folder
  return origin.weights


def adapters_of(checkpoint: weights.Checkpoint) -> adapters.Adapters:
  """Returns the adapters of a checkpoint; InputError where it has none."""
  if checkpoint.lora is None:
    raise errors.InputError(
      f'{checkpoint.path}: --format=peft writes adapters that were trained '
      'here (train.lora.rank), and it has none; take --format=hf'
    )
  return checkpoint.lora


def on_hub(name: str) -> bool:
  """Says whether a name is one of the hub's, and no folder here."""
  return bool(HUB.fullmatch(name)) and not epath.Path(name).is_dir()


def base_of(
  checkpoint: weights.Checkpoint, name: str
) -> tuple[str, Mapping[str, Any]]:
  """Returns what an adapter's settings name as its base, and its config.json.

  `name` is a folder in Hugging Face's form, the only one that PEFT opens, or
  ORG/NAME on the hub; '' is the folder that the run took its base from. Raises
  InputError where it is neither, or a model of another size.
  """
  below = adapters_of(checkpoint).base
  folder = epath.Path(name).expanduser() if name else _source(below)
  if folder and folder.is_dir():
    held = weights.find_checkpoint(folder)
    if held.size != checkpoint.size:
      raise errors.InputError(
        f'{folder}: not the base of {checkpoint.path}, which is of another size'
      )
    if held.form == 'hf':
      return str(storage.absolute(folder)), held.published[weights.CONFIG]
  elif on_hub(name):
    return name, checkpoint.published.get(weights.CONFIG) or {}
  raise errors.InputError(
    f'{name or below}: the base of {checkpoint.path} is in no form that PEFT '
    f'opens; write it (convert --from={below} --to=DIR) and give --base=DIR, '
    'or the ORG/NAME of the same model on the hub'
  )


def outer_of(described: Mapping[str, Any]) -> str:
  """Returns how the names of modules begin in the model of a config.json."""
  whole = described.get('model_type') == 'gemma3'  # with its vision tower
  return 'model.language_model.' if whole else 'model.'


def _source(below: epath.Path) -> epath.Path | None:
  """Returns the folder that the base stage of a run has read."""
  taken_from = records.json_object(below / weights.MODEL).get('taken_from')
  if not taken_from:
    return None
  try:
    return assets.path(located.resolved(taken_from, below.parent.parent))
  except errors.InputError:
    return None
