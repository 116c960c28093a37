"""A BERT-type encoder from a folder of Hugging Face or sentence-transformers.

It reads config.json, *.safetensors, the word pieces (tokenizer.json or
vocab.txt) and, where there are any, the notes of sentence-transformers: how
texts are pooled, and whether vectors are normalised.
"""

import dataclasses
import re
from typing import Any, TypeVar

import numpy as np
from etils import epath

from restpg_jax import errors
from restpg_jax.io import foreign, records, tensors
from restpg_jax.models import bert
from restpg_jax.text import wordpiece

T = TypeVar('T')
# Our names and Hugging Face's of a layer's tensors, which may be below 'bert.'.
LAYER = {
  'query': 'attention.self.query',
  'key': 'attention.self.key',
  'value': 'attention.self.value',
  'out': 'attention.output.dense',
  'attention_norm': 'attention.output.LayerNorm',
  'up': 'intermediate.dense',
  'down': 'output.dense',
  'feed_forward_norm': 'output.LayerNorm',
}
# The modules of sentence-transformers that we know how to run.
MODULES = 'Transformer', 'Pooling', 'Normalize'
AGAIN = 'copy or download the file again'
DESCRIPTIONS: dict[type, str] = {  # of the types of JSON, in messages
  bool: 'true or false',
  int: 'a whole number above 0',
  float: 'a number above 0',
  str: 'a text',
  list: 'list',
  dict: 'object',
}


@dataclasses.dataclass(frozen=True)
class LoadedEncoder:
  """An encoder that is ready to run."""

  size: bert.EncoderSize
  params: dict[str, Any]
  tokenizer: wordpiece.WordPiece
  limit: int  # tokens of a text
  normalized: bool  # vectors are brought to length 1


def load_encoder(path: epath.PathLike) -> LoadedEncoder:
  """Reads an encoder; raises InputError where the folder holds none."""
  path = epath.Path(path)
  if not path.is_dir():
    raise errors.InputError(f'{path}: no such folder of an encoder')
  size = read_encoder_size(path)
  reader = tensors.TensorReader(path, ignored='position_ids')  # 0, 1, 2, ..
  if not reader.shapes:
    raise errors.InputError(
      f'{path}: it has no *.safetensors; save the encoder as such '
      f'({foreign.SAVE})'
    )
  tokenizer = load_word_pieces(path)
  if tokenizer.vocab_size > size.vocabulary:
    raise errors.InputError(
      f'{path}: {tokenizer.vocab_size} word pieces, but the encoder embeds '
      f'only {size.vocabulary}; they do not belong together'
    )
  check_pooling(path)
  return LoadedEncoder(
    size,
    parameters(reader, size, path),
    tokenizer,
    limit=token_limit(path, size),
    normalized='Normalize' in modules(path),
  )


def encoder_files(path: epath.PathLike) -> list[epath.Path]:
  """Returns the files that `load_encoder` reads of a folder."""
  path = epath.Path(path)
  vocabularies = 'tokenizer.json', 'vocab.txt'  # the first that is there
  names = (
    *[name for name in vocabularies if (path / name).is_file()][:1],
    *('config.json', 'tokenizer_config.json', 'sentence_bert_config.json'),
    *('modules.json', '1_Pooling/config.json'),
  )
  files = [path / name for name in names if (path / name).is_file()]
  return files + tensors.tensor_files(path)


def read_encoder_size(path: epath.PathLike) -> bert.EncoderSize:
  """Returns the size that config.json states; no weight is read.

  Raises InputError where it is damaged or of another kind of model.
  """
  path = epath.Path(path)
  note = path / 'config.json'
  if not note.is_file():
    raise errors.InputError(f'{path}: {note.name} is missing')
  config = _json(note, dict)
  if config.get('model_type') != 'bert':
    raise errors.InputError(
      f'{path}: model_type is {config.get("model_type")!r}; known is bert'
    )
  if config.get('position_embedding_type', 'absolute') != 'absolute':
    raise errors.InputError(
      f'{path}: position_embedding_type must be absolute, but it is '
      f'{config["position_embedding_type"]}'
    )

  def count(name: str) -> int:
    return _value(note, config, name, int)

  return bert.EncoderSize(
    layers=count('num_hidden_layers'),
    width=count('hidden_size'),
    hidden=count('intermediate_size'),
    heads=count('num_attention_heads'),
    vocabulary=count('vocab_size'),
    positions=count('max_position_embeddings'),
    activation=_value(note, config, 'hidden_act', str, 'gelu'),
    norm_eps=_value(note, config, 'layer_norm_eps', float, 1e-12),
  )


def parameters(
  reader: tensors.TensorReader, size: bert.EncoderSize, path: epath.Path
) -> dict[str, Any]:
  """Returns the parameters as bert.Encoder takes them, in float32.

  Raises InputError where tensors are missing or of other shapes.
  """
  tables = [
    name
    for name in reader.shapes
    if re.fullmatch(r'(\w+\.)?embeddings\.word_embeddings\.weight', name)
  ]
  if len(tables) > 1:
    raise errors.InputError(
      f'{path}: it holds more than one encoder: {" and ".join(tables)}'
    )
  prefix = ''.join(tables).removesuffix('embeddings.word_embeddings.weight')

  def tensor(name: str, *shape: int) -> np.ndarray:
    actual = reader.shapes.get(prefix + name)
    if actual != shape:
      shown = 'missing' if actual is None else list(actual)
      raise errors.InputError(
        f'{path}: {prefix}{name} is {shown}, {list(shape)} expected'
      )
    return reader.read(prefix + name).astype(np.float32, copy=False)

  def norm(name: str) -> dict[str, np.ndarray]:
    return {
      'scale': tensor(f'{name}.weight', size.width),
      'bias': tensor(f'{name}.bias', size.width),
    }

  def dense(name: str, into: int, out: int) -> dict[str, np.ndarray]:
    return {
      'w': np.ascontiguousarray(tensor(f'{name}.weight', out, into).T),
      'b': tensor(f'{name}.bias', out),
    }

  D, F = size.width, size.hidden
  shapes = {'up': (D, F), 'down': (F, D)}
  token_types = tensor('embeddings.token_type_embeddings.weight', 2, D)
  params: dict[str, Any] = {
    'words': tensor('embeddings.word_embeddings.weight', size.vocabulary, D),
    # All our texts are first texts: their type is added to the positions once.
    'positions': token_types[0]
    + tensor('embeddings.position_embeddings.weight', size.positions, D),
    'norm': norm('embeddings.LayerNorm'),
  }
  for n in range(size.layers):
    params[f'layer_{n}'] = {
      ours: norm(f'encoder.layer.{n}.{theirs}')
      if ours.endswith('norm')
      else dense(f'encoder.layer.{n}.{theirs}', *shapes.get(ours, (D, D)))
      for ours, theirs in LAYER.items()
    }
  return params


def load_word_pieces(path: epath.Path) -> wordpiece.WordPiece:
  """Reads tokenizer.json, else vocab.txt.

  Raises InputError where neither is there, or where other files contradict it:
  with another vocabulary an encoder gives vectors, but wrong ones.
  """
  whole, listed = path / 'tokenizer.json', path / 'vocab.txt'
  note = path / 'tokenizer_config.json'
  if not whole.is_file() and not listed.is_file():
    raise errors.InputError(
      f'{path}: neither tokenizer.json nor vocab.txt is there; copy or '
      'download one too'
    )
  config = _json(note, dict)
  if not whole.is_file():
    lowercase = _value(note, config, 'do_lower_case', bool, True)
    return wordpiece.WordPiece(listed, lowercase=lowercase)
  tokenizer = wordpiece.WordPiece(whole)
  if listed.is_file() and (other := tokenizer.differs(listed.read_text())):
    raise errors.InputError(
      f'{path}: {whole.name} and {listed.name} disagree ({other}); remove the '
      'one that is not of these weights'
    )
  if (expected := tokenizer.lowercase) is not None:
    lowercase = _value(note, config, 'do_lower_case', bool, expected)
    if lowercase != expected:
      raise errors.InputError(
        f'{path}: {whole.name} has lowercase={expected}, {note.name} '
        f'do_lower_case={lowercase}; correct the one that is wrong'
      )
  return tokenizer


def token_limit(path: epath.Path, size: bert.EncoderSize) -> int:
  """Returns the number of tokens of a text that are read.

  It is chosen as sentence-transformers does: from its own note, else (since
  its version 6) from the tokenizer's, else all positions.
  """
  limit = size.positions
  for name, key in (
    ('tokenizer_config.json', 'model_max_length'),
    ('sentence_bert_config.json', 'max_seq_length'),
  ):
    note = path / name
    limit = _value(note, _json(note, dict), key, int, limit)
  # Some tokenizers state 10^30 for 'no limit'.
  return min(limit, size.positions)


def modules(path: epath.Path) -> dict[str, str]:
  """Returns the folders of the modules that sentence-transformers notes.

  By the last part of their names: 'sentence_transformers.models.Pooling' is
  'Pooling'. Raises InputError for one that we do not know.
  """
  note = path / 'modules.json'
  folders = {}
  for module in _json(note, list):
    if not isinstance(module, dict):
      raise errors.InputError(f'{note}: {module!r} is no module; {AGAIN}')
    name = _value(note, module, 'type', str).split('.')[-1]
    folders[name] = _value(note, module, 'path', str, '')
  for name in folders:
    if name not in MODULES:
      raise errors.InputError(
        f'{note}: a module {name} follows; known are {", ".join(MODULES)}'
      )
  return folders


def check_pooling(path: epath.Path) -> None:
  """Raises InputError unless a text's vector is the mean of its tokens'.

  Up to version 5 sentence-transformers noted a switch for each mode, of which
  several may be on; since then it notes their names.
  """
  folder = modules(path).get('Pooling') or '1_Pooling'
  note = path / folder / 'config.json'
  config = _json(note, dict)
  modes = [
    name.removeprefix('pooling_mode_').removesuffix('_tokens')
    for name in config
    if name.startswith('pooling_mode_') and _value(note, config, name, bool)
  ]
  named = config.get('pooling_mode', modes or 'mean')
  if named not in ('mean', ['mean']):
    raise errors.InputError(
      f'{note}: texts are pooled by {named}; known is the mean of their tokens'
    )


def _json(path: epath.Path, cls: type[T]) -> T:
  """Reads a dict or a list; an empty one where there is no such file."""
  if not path.is_file():
    return cls()
  content = records.json_of(path)
  if not isinstance(content, cls):
    raise errors.InputError(f'{path}: it holds no {DESCRIPTIONS[cls]}; {AGAIN}')
  return content


def _value(
  path: epath.Path,
  section: dict[str, Any],
  key: str,
  cls: type[T],
  default: T | None = None,
) -> T:
  """section[key]; the default, if there is one, where it is absent or null."""
  if default is not None and section.get(key) is None:
    return default
  shown = 'missing'
  if key in section:
    value, shown = section[key], repr(section[key])
    # type(), for a bool is an int to isinstance. JSON may write 1.0 as 1.
    classes = (int, float) if cls is float else (cls,)
    if type(value) in classes and (cls not in (int, float) or value > 0):
      return value
  raise errors.InputError(
    f'{path}: {key} is {shown}, {DESCRIPTIONS[cls]} is expected; {AGAIN}'
  )
