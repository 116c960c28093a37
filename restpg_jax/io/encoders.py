"""A BERT-type encoder from a folder of Hugging Face or sentence-transformers.

Read are config.json, *.safetensors, the word pieces (tokenizer.json or
vocab.txt) and, where there are any, the notes of sentence-transformers: how
texts are pooled, and whether vectors are normalised.
"""

import dataclasses
import re

import numpy as np
from etils import epath

from restpg_jax import errors
from restpg_jax.io import foreign, records, tensors
from restpg_jax.models import bert
from restpg_jax.text import wordpiece

# Of HF's names for the tensors of BertModel, maybe below 'bert.'.
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
# Of sentence-transformers: what may follow each other.
MODULES = 'Transformer', 'Pooling', 'Normalize'
AGAIN = 'copy or download the file again'
KINDS = {
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
  params: dict
  words: wordpiece.WordPiece
  limit: int  # tokens of a text
  normalized: bool  # vectors are brought to length 1


def load_encoder(path: epath.PathLike) -> LoadedEncoder:
  """Raises InputError where the folder holds no such encoder."""
  path = epath.Path(path)
  if not path.is_dir():
    raise errors.InputError(f'{path}: no such folder of an encoder')
  found = read_encoder_size(path)
  reader = tensors.TensorReader(path, ignored='position_ids')  # 0, 1, 2, ..
  if not reader.shapes:
    raise errors.InputError(
      f'{path}: it has no *.safetensors; save the encoder as such '
      f'({foreign.SAVE})'
    )
  words = word_pieces(path)
  if words.vocab_size > found.vocabulary:
    raise errors.InputError(
      f'{path}: {words.vocab_size} word pieces, but the encoder embeds only '
      f'{found.vocabulary}; they do not belong together'
    )
  check_pooling(path)
  normalized = 'Normalize' in modules(path)
  limit = limit_of(path, found)
  return LoadedEncoder(
    found, parameters(reader, found, path), words, limit, normalized
  )


def encoder_files(path: epath.PathLike) -> list[epath.Path]:
  """What `load` reads of a folder."""
  path = epath.Path(path)
  pieces = 'tokenizer.json', 'vocab.txt'  # the first that is there
  beside = (
    *[name for name in pieces if (path / name).is_file()][:1],
    *('config.json', 'tokenizer_config.json', 'sentence_bert_config.json'),
    *('modules.json', '1_Pooling/config.json'),
  )
  there = [path / name for name in beside if (path / name).is_file()]
  return there + tensors.tensor_files(path)


def read_encoder_size(path: epath.PathLike) -> bert.EncoderSize:
  """As config.json says it; no weight is read."""
  path = epath.Path(path)
  note = path / 'config.json'
  config = _json(note)
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
) -> dict:
  """As bert.Encoder wants them, in float32."""
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
    found = reader.shapes.get(prefix + name)
    if found != shape:
      raise errors.InputError(
        f'{path}: {prefix}{name} is '
        f'{"missing" if found is None else list(found)}, {list(shape)} expected'
      )
    return reader.read(prefix + name).astype(np.float32, copy=False)

  def norm(name: str) -> dict:
    return {
      'scale': tensor(f'{name}.weight', size.width),
      'bias': tensor(f'{name}.bias', size.width),
    }

  def dense(name: str, into: int, out: int) -> dict:
    return {
      'w': np.ascontiguousarray(tensor(f'{name}.weight', out, into).T),
      'b': tensor(f'{name}.bias', out),
    }

  D, F = size.width, size.hidden
  shapes = {'up': (D, F), 'down': (F, D)}
  kinds = tensor('embeddings.token_type_embeddings.weight', 2, D)
  found = {
    'words': tensor('embeddings.word_embeddings.weight', size.vocabulary, D),
    # All our texts are first texts: their kind goes into the positions.
    'positions': kinds[0]
    + tensor('embeddings.position_embeddings.weight', size.positions, D),
    'norm': norm('embeddings.LayerNorm'),
  }
  for n in range(size.layers):
    found[f'layer_{n}'] = {
      ours: norm(f'encoder.layer.{n}.{theirs}')
      if ours.endswith('norm')
      else dense(f'encoder.layer.{n}.{theirs}', *shapes.get(ours, (D, D)))
      for ours, theirs in LAYER.items()
    }
  return found


def word_pieces(path: epath.Path) -> wordpiece.WordPiece:
  """Of tokenizer.json, else of vocab.txt; what else says must agree."""
  whole, listed = path / 'tokenizer.json', path / 'vocab.txt'
  note = path / 'tokenizer_config.json'
  if not whole.is_file() and not listed.is_file():
    raise errors.InputError(
      f'{path}: neither tokenizer.json nor vocab.txt is there; copy or '
      'download one too'
    )
  config = _json(note, {})
  if not whole.is_file():
    lowercase = _value(note, config, 'do_lower_case', bool, True)
    return wordpiece.WordPiece(listed, lowercase=lowercase)
  words = wordpiece.WordPiece(whole)
  if listed.is_file() and (other := words.differs(listed.read_text())):
    raise errors.InputError(
      f'{path}: {whole.name} and {listed.name} disagree ({other}); remove the '
      'one that is not of these weights'
    )
  if words.lowercase is not None:
    lowercase = _value(note, config, 'do_lower_case', bool, words.lowercase)
    if lowercase != words.lowercase:
      raise errors.InputError(
        f'{path}: {whole.name} has lowercase={words.lowercase}, {note.name} '
        f'do_lower_case={lowercase}; correct the one that is wrong'
      )
  return words


def limit_of(path: epath.Path, size: bert.EncoderSize) -> int:
  """Tokens of a text, as sentence-transformers takes them: from its own note,
  else (since its version 6) from the tokenizer's, else all positions."""
  most = size.positions
  for name, key in (
    ('tokenizer_config.json', 'model_max_length'),
    ('sentence_bert_config.json', 'max_seq_length'),
  ):
    most = _value(path / name, _json(path / name, {}), key, int, most)
  return min(most, size.positions)


def modules(path: epath.Path) -> dict[str, str]:
  """Last names of the modules that sentence-transformers notes, and the folder
  of each."""
  note = path / 'modules.json'
  found = {}
  for module in _json(note, []):
    if not isinstance(module, dict):
      raise errors.InputError(f'{note}: {module!r} is no module; {AGAIN}')
    name = _value(note, module, 'type', str).split('.')[-1]
    found[name] = _value(note, module, 'path', str, '')
  for name in found:
    if name not in MODULES:
      raise errors.InputError(
        f'{note}: a module {name} follows; known are {", ".join(MODULES)}'
      )
  return found


def check_pooling(path: epath.Path) -> None:
  """Raises InputError unless a text is the mean of its tokens.

  Up to version 5 sentence-transformers noted a switch for each mode, of which
  several may be on; since then their names.
  """
  folder = modules(path).get('Pooling') or '1_Pooling'
  note = path / folder / 'config.json'
  config = _json(note, {})
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


def _json(path: epath.Path, default: dict | list | None = None):
  if default is not None and not path.is_file():
    return default
  if not path.is_file():
    raise errors.InputError(f'{path.parent}: {path.name} is missing')
  found = records.json_of(path)
  kind = dict if default is None else type(default)
  if not isinstance(found, kind):
    raise errors.InputError(f'{path}: it holds no {KINDS[kind]}; {AGAIN}')
  return found


def _value(path: epath.Path, found: dict, key: str, kind: type, default=None):
  """found[key]; the default, if there is one, where it is absent or null."""
  value = found.get(key)
  if value is None and default is not None:
    return default
  kinds = (int, float) if kind is float else (kind,)
  if type(value) not in kinds or (kind in (int, float) and not value > 0):
    said = repr(value) if key in found else 'missing'
    raise errors.InputError(
      f'{path}: {key} is {said}, {KINDS[kind]} is expected; {AGAIN}'
    )
  return value
