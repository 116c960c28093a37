"""Which form of weights a folder holds, and which of its files are read."""

from typing import NamedTuple

from etils import epath

from restpg_jax.io import checkpoints, foreign, peft, tensors
from restpg_jax.text import fast_tokenizer

MODEL, CONFIG, METADATA = foreign.MODEL, foreign.CONFIG, foreign.METADATA
TOKENIZER, TOKENIZER_JSON = 'tokenizer.model', 'tokenizer.json'


class WeightFolder(NamedTuple):
  """Weights in a folder or in one below it."""

  mark: str  # the file by which they are recognised
  form: str  # 'ours', 'hf', 'gemma' or 'peft'
  folder: epath.Path  # the one they are in


def weights_in(path: epath.Path, names: set[str]) -> list[WeightFolder]:
  """Lists the weights in a folder that holds these names: one, as a rule."""
  below = path / 'default'  # where Kauldron puts a checkpoint in its folder
  held = []
  if {MODEL, 'params'} <= names:
    held.append(WeightFolder(MODEL, 'ours', path))
  if METADATA in names:
    held.append(WeightFolder(METADATA, 'gemma', path))
  if 'default' in names and (below / METADATA).exists():
    held.append(WeightFolder(f'default/{METADATA}', 'gemma', below))
  if {peft.CONFIG, peft.TENSORS} <= names:
    held.append(WeightFolder(peft.CONFIG, 'peft', path))
  # Some adapters have the config.json of their base beside them.
  if CONFIG in names and foreign.tensors(foreign.full(names)):
    held.append(WeightFolder(CONFIG, 'hf', path))
  return held


def weight_files(path: epath.PathLike, base: str = '') -> list[epath.Path]:
  """Returns the files that are read of a folder of weights or of a tokenizer.

  Those of both, for as a rule one folder holds both, and of an adapter those
  of its `base`, too. Where it is neither, the folder itself: whoever reads it
  says what is wrong.
  """
  outer = epath.Path(path)
  files = [outer / TOKENIZER]
  names = {inner.name for inner in outer.iterdir()}
  for _, form, folder in weights_in(outer, names):
    files.append(folder / TOKENIZER)
    if form == 'ours':
      files += [folder / MODEL, *checkpoints.tree_files(folder / 'params')]
    elif form == 'gemma':
      # model.json states the size, where the shapes leave it open.
      files += [folder / MODEL, *checkpoints.tree_files(folder)]
    elif form == 'peft':
      files += [folder / peft.CONFIG, folder / peft.TENSORS]
      below = peft.base_folder(folder, base)
      files += weight_files(below) if below and below != folder else []
    else:
      files += [folder / CONFIG, *tensors.tensor_files(folder)]
  # A file may be named twice: the tokenizer of `outer` is that of `folder`.
  return [p for p in dict.fromkeys(files) if p.exists()] or [outer]


def tokenizer_beside(path: epath.Path) -> epath.Path | None:
  """Returns the file of the tokenizer that belongs to weights, if there is one.

  It is beside them or, as in DeepMind's archives, in the folder above.
  """
  above = path.parent / TOKENIZER
  return tokenizer_in(path) or (above if above.is_file() else None)


def tokenizer_in(path: epath.Path) -> epath.Path | None:
  """Returns a tokenizer's file in a folder, first that of SentencePiece."""
  files = path / TOKENIZER, path / TOKENIZER_JSON
  return next((file for file in files if file.is_file()), None)


def is_json(file: epath.Path) -> bool:
  """Returns whether a tokenizer's file is of the library `tokenizers`."""
  return file.suffix == '.json'


def tokenizer_notes(file: epath.Path) -> list[epath.Path]:
  """Returns what is read with a tokenizer's file: the notes of a JSON one."""
  notes = [file.parent / name for name in fast_tokenizer.NOTES]
  return [note for note in notes if is_json(file) and note.is_file()]


def tokenizer_files(path: epath.Path) -> list[epath.Path]:
  """Returns the files that are read where a setting names a tokenizer.

  In a folder those are its weights, too: as a rule it holds both.
  """
  if not path.is_dir():
    return [path, *tokenizer_notes(path)]
  files, file = weight_files(path), tokenizer_in(path)
  # No notes lie beside a SentencePiece file that anybody reads.
  own = [file, *tokenizer_notes(file)] if file and is_json(file) else []
  return own + [p for p in files if not own or p != path]
