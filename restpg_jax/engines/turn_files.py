"""Which turns a model is asked in: its setting, or what lies in its folder."""

import functools
import os

from etils import epath

from restpg_jax import assets, config, errors
from restpg_jax.engines import tokenizer_files
from restpg_jax.io import records, weight_folders
from restpg_jax.text import fast_tokenizer, turns
from restpg_jax.text import tokenizer as tokenizers

FILE = 'chat_template.jinja'
KEY = 'chat_template'  # in tokenizer_config.json, where older versions keep it


def read_turns(
  model: config.Model, tokenizer: tokenizers.Tokenizer
) -> turns.Turns:
  """Returns the turns of a model whose tokenizer this is.

  Those that its setting names; else Gemma's where its vocabulary has them; else
  those of its chat template, else those whose markers its vocabulary has.
  Raises InputError where there are none, or they do not fit the tokenizer.
  """
  if model.turns in turns.FORMS:
    return turns.of_form(tokenizer, model.turns)
  if model.turns:
    path = assets.path(model.turns)
  elif tokenizer.control_ids.keys() >= {*tokenizers.TURNS}:
    return turns.of_form(tokenizer, 'gemma')
  else:
    path = template_file(tokenizer_files.tokenizer_file(model.tokenizer))
  if path is None:
    return turns.of_vocabulary(tokenizer)
  return turns.of_template(tokenizer, _template(path), str(path))


def check_turns(name: str, model: config.Model) -> None:
  """Raises InputError where a setting is no form and no file; `name` is the
  model's, as reason.model."""
  if model.turns in ('', *turns.FORMS):
    return
  if not epath.Path(model.turns).expanduser().is_file():
    raise errors.InputError(
      f'{name}.turns is {model.turns!r}; it must be one of '
      f'{", ".join(turns.FORMS)} or a file with a chat template'
    )


def check_no_turns(name: str, model: config.Model) -> None:
  """Raises InputError for turns of a model that completes plain prompts."""
  if model.turns:
    raise errors.InputError(
      f'{name}.turns is {model.turns!r}, but it is asked in none; set '
      f'{turns.SETTINGS}'
    )


def deciding(path: epath.Path) -> list[epath.Path]:
  """Returns the file of the chat template that decides the turns of a model
  with this tokenizer, a file or a folder, if one does."""
  file = weight_folders.tokenizer_in(path) if path.is_dir() else path
  template = template_file(file) if file else None
  if file is None or template is None or _has_gemmas(file):
    return []
  return [template]


def template_file(tokenizer_file: epath.Path) -> epath.Path | None:
  """Returns the file beside a tokenizer's that holds a chat template, if any:
  the one that `transformers` reads."""
  own = tokenizer_file.parent / FILE
  if own.is_file():
    return own
  notes = tokenizer_file.parent / fast_tokenizer.CONFIG
  held = notes.is_file() and records.json_object(notes).get(KEY)
  return notes if held else None


def _template(path: epath.Path) -> str:
  """Reads a chat template by itself, or the one that JSON notes hold."""
  if not weight_folders.is_json(path):
    try:
      return path.read_text()
    except UnicodeDecodeError as e:
      raise errors.InputError(f'{path}: not UTF-8: {e}') from e
  template = records.json_object(path).get(KEY)
  if isinstance(template, list):  # several, each with its name
    named = {t.get('name'): t.get('template') for t in template if t}
    template = named.get('default')
  if not isinstance(template, str):
    raise errors.InputError(
      f'{path}: its {KEY} is no text; name the turns ({turns.SETTINGS})'
    )
  return template


def _has_gemmas(file: epath.Path) -> bool:
  """Returns whether a tokenizer's file holds Gemma's markers.

  Its bytes tell as much as its vocabulary and are read in no time.
  """
  stat = file.stat()
  return _holds_gemmas(os.fspath(file), stat.length, stat.mtime)


@functools.lru_cache(maxsize=16)
def _holds_gemmas(path: str, size: int, changed: int) -> bool:
  del size, changed  # a key of the cache: another version of the file
  held = epath.Path(path).read_bytes()
  return all(piece.encode() in held for piece in tokenizers.TURNS)
