"""How a chat model is asked: what stands around the text of a user.

A form is data: known ones by name, or a model's own chat template. What of it
is a control token becomes an id; the user's text never does, so that it cannot
end its turn or open another.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence

from restpg_jax import errors
from restpg_jax.text import chat_templates
from restpg_jax.text import tokenizer as tokenizers

SETTINGS = 'reason.model.turns, reward.model.turns'
# They stand for texts while a template is rendered. A template that trims
# texts takes the em spaces away.
USER, MODEL = 'text-of-the-user-5d1c', 'text-of-the-model-5d1c'
EDGE = '\u2003'
TEMPLATE = """\
BOS{%- for message in messages -%}
REFUSAL{%- set role = MODEL if message.role == "assistant" else message.role -%}
{{- BEGIN + role + BEHIND + message.content + END -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- BEGIN + MODEL + BEHIND -}}
{%- endif -%}
"""
REFUSAL = """\
{%- if message.role == "system" -%}
{{- raise_exception("this model knows no system role") -}}
{%- endif -%}
"""


@dataclasses.dataclass(frozen=True)
class Form:
  """A published form of turns, up to where the model writes."""

  before: str
  after: str
  ends: tuple[str, ...]  # what ends a model's turn, where the vocabulary has it

  def markers(self) -> list[str]:
    """Returns the control pieces that it cannot do without."""
    return re.findall(r'<[^<>\s]+>', self.before + self.after)


FORMS = {  # the names are those of config.TURNS
  'gemma': Form(
    '<start_of_turn>user\n',
    '<end_of_turn>\n<start_of_turn>model\n',
    ends=('<end_of_turn>',),
  ),
  'gemma4': Form(
    '<|turn>user\n',
    '<turn|>\n<|turn>model\n',
    ends=('<turn|>', '<|tool_response>'),
  ),
  'chatml': Form(
    '<|im_start|>user\n',
    '<|im_end|>\n<|im_start|>assistant\n',
    ends=('<|im_end|>', '<|endoftext|>'),
  ),
  'llama3': Form(
    '<|start_header_id|>user<|end_header_id|>\n\n',
    '<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n',
    ends=('<|eot_id|>', '<|eom_id|>', '<|end_of_text|>'),
  ),
  'none': Form('', '', ends=()),  # a base model completes the plain prompt
}


@dataclasses.dataclass(frozen=True)
class Turns:
  """What stands around a user's text, and what ends the model's turn.

  <bos><|im_start|>user\\n TEXT <|im_end|>\\n<|im_start|>assistant\\n: `head` up
  to `user`, which is `before` with its newline; `tail` from <|im_end|> on.
  """

  head: tuple[int, ...]
  before: str  # plain text around the user's, encoded as one with it
  after: str
  tail: tuple[int, ...]
  stops: tuple[int, ...]
  trims: bool = False  # whether blanks at the ends of a text are left out

  def prompt(self, tokenizer: tokenizers.Tokenizer, text: str) -> list[int]:
    """Returns the ids of a user's turn, up to where the model writes."""
    shown = text.strip() if self.trims else text
    plain = tokenizer.encode(f'{self.before}{shown}{self.after}')
    return [*self.head, *plain, *self.tail]


def form_of(tokenizer: tokenizers.Tokenizer) -> str | None:
  """Returns the name of the form whose markers a vocabulary has, if any."""
  ids = tokenizer.control_ids
  for name, form in FORMS.items():
    if (markers := form.markers()) and ids.keys() >= {*markers}:
      return name
  return None


def end_ids(tokenizer: tokenizers.Tokenizer, name: str) -> list[int]:
  """Returns what ends a model's turn in a form, beside the end of text."""
  ids = tokenizer.control_ids
  return [ids[piece] for piece in FORMS[name].ends if piece in ids]


def chat_template(tokenizer: tokenizers.Tokenizer, name: str) -> str:
  """Returns a form as the jinja text that `transformers` and vLLM render.

  Turns in their order, each between its markers; Gemma 1 to 3 know no system.
  """
  before, after = FORMS[name].before, FORMS[name].after
  begin, behind = before.split('user')  # '<|im_start|>', '\n'
  end, _, model = after.removesuffix(behind).rpartition(begin)
  parts = {
    'BOS': '{{- bos_token -}}\n' if tokenizer.begin else '',
    'REFUSAL': REFUSAL if name == 'gemma' else '',
    'MODEL': json.dumps(model),
    'BEGIN': json.dumps(begin),
    'BEHIND': json.dumps(behind),
    'END': json.dumps(end),
  }
  return re.sub('|'.join(parts), lambda match: parts[match[0]], TEMPLATE)


def of_form(tokenizer: tokenizers.Tokenizer, name: str) -> Turns:
  """Returns the turns of a form by its name in FORMS.

  Raises InputError where the vocabulary lacks a marker of it.
  """
  form, ids = FORMS[name], tokenizer.control_ids
  for piece in form.markers():
    if piece not in ids:
      raise errors.InputError(
        f'the tokenizer has no control piece {piece}, which the turns {name!r} '
        f'need; {_remedy()}'
      )
  ends = end_ids(tokenizer, name)
  # Runs of before knew of Gemma's two ends only, and are found again.
  ends += [tokenizer.eos, *(() if name == 'gemma' else tokenizer.ends)]
  around = _around(tokenizer, form.before, form.after, ends)
  return dataclasses.replace(around, head=(*tokenizer.begin, *around.head))


def of_vocabulary(tokenizer: tokenizers.Tokenizer) -> Turns:
  """Returns the turns whose markers a vocabulary has.

  Raises InputError where it has none: only people know that a base model shall
  be asked all the same.
  """
  if name := form_of(tokenizer):
    return of_form(tokenizer, name)
  raise errors.InputError(
    'the tokenizer has no turns that are known, and no chat template is beside '
    'it: reasoner and judge need an instruction-tuned model with its own '
    f'tokenizer; {_remedy()}'
  )


def of_template(
  tokenizer: tokenizers.Tokenizer, source: str, name: str
) -> Turns:
  """Returns the turns of a chat template; `name` is its file's.

  Raises InputError where it cannot be rendered, its result does not hold the
  text once, or no control token ends the user's turn.
  """
  before, after = _rendered(tokenizer, source, name, USER)
  trims = not before.endswith(EDGE)
  before, after = before.removesuffix(EDGE), after.removeprefix(EDGE)
  if len(_parts(tokenizer, after)) < 2:
    raise errors.InputError(
      f'{name}: no control token of the tokenizer ends the turn of a user in '
      f'its chat template, so that a text could forge one; {_remedy()}'
    )
  _, behind = _rendered(tokenizer, source, name, MODEL)
  ends = [tokenizer.control_ids[p] for p in _parts(tokenizer, behind)[1:2]]
  ends += [tokenizer.eos, *tokenizer.ends]
  around = _around(tokenizer, before, after, ends)
  return dataclasses.replace(around, trims=trims)


def _rendered(
  tokenizer: tokenizers.Tokenizer, source: str, name: str, shown: str
) -> tuple[str, str]:
  """Returns what stands before and after the text of USER or of MODEL."""
  messages = [
    {'role': 'user', 'content': f'{EDGE}{USER}{EDGE}'},
    {'role': 'assistant', 'content': MODEL},
  ]
  special = {'bos': tokenizer.bos, 'eos': tokenizer.eos, 'pad': tokenizer.pad}
  try:
    rendered = chat_templates.render(
      source,
      name,
      messages[: 1 if shown == USER else 2],
      add_generation_prompt=shown == USER,
      special_tokens={
        f'{key}_token': tokenizer.piece(i)
        for key, i in special.items()
        if i is not None
      },
    )
  except errors.InputError as e:
    raise errors.InputError(f'{e}; {_remedy()}') from e
  parts = rendered.split(shown)
  if len(parts) != 2:
    whose = 'user' if shown == USER else 'model'
    raise errors.InputError(
      f'{name}: its chat template shows the text of a {whose} '
      f'{len(parts) - 1} times and not once; {_remedy()}'
    )
  return parts[0], parts[1]


def _around(
  tokenizer: tokenizers.Tokenizer,
  before: str,
  after: str,
  ends: Sequence[int],
) -> Turns:
  """Parts what stands before and after a text into ids and plain text."""
  *head, inner = _parts(tokenizer, before)
  first, *tail = _parts(tokenizer, after)
  return Turns(
    head=tuple(_ids(tokenizer, head)),
    before=inner,
    after=first,
    tail=tuple(_ids(tokenizer, tail)),
    stops=tuple(dict.fromkeys(ends)),
  )


def _parts(tokenizer: tokenizers.Tokenizer, text: str) -> list[str]:
  """Cuts a text at control pieces: [plain, piece, plain, .., plain]."""
  pieces = sorted(filter(None, tokenizer.control_ids), key=len, reverse=True)
  return re.split(f'({"|".join(map(re.escape, pieces))})', text)


def _ids(
  tokenizer: tokenizers.Tokenizer, parts: Sequence[str]
) -> Iterator[int]:
  """Yields the ids of such parts, without the plain one at an end."""
  for part in parts:
    number = tokenizer.control_ids.get(part)
    yield from tokenizer.encode(part) if number is None else [number]


def _remedy() -> str:
  return (
    f'name the turns ({SETTINGS}: {", ".join(FORMS)}, or a file with a chat '
    'template)'
  )
