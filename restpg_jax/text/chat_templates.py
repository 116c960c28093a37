"""Renders the chat template that a model's folder brings along.

It is jinja2 text, as `transformers` renders it: blocks take their lines away,
`messages`, `add_generation_prompt` and the names of special tokens are given.
The date is not: a stage that goes on tomorrow must ask as it asked today.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jinja2
from jinja2 import ext, nodes, parser, sandbox

from restpg_jax import errors

Message = dict[str, str]  # role, content


class Generation(ext.Extension):
  """The block `generation`, which marks a model's words for training: here
  only what is in it counts."""

  tags = {'generation'}  # noqa: RUF012, as jinja2 declares it

  def parse(self, parser: parser.Parser) -> list[nodes.Node]:
    next(parser.stream)
    return parser.parse_statements(('name:endgeneration',), drop_needle=True)


def render(
  source: str,
  name: str,
  messages: Sequence[Message],
  *,
  add_generation_prompt: bool,
  special_tokens: dict[str, str],
) -> str:
  """Renders a conversation; `name` is the template's, for messages.

  Models that can think before they answer are asked not to: a judge's label
  opens its turn, and a reasoner's thoughts would be taken for its reasoning.
  Raises InputError where the template cannot be rendered.
  """
  try:
    return _compiled(source).render(
      messages=[dict(message) for message in messages],
      add_generation_prompt=add_generation_prompt,
      tools=None,
      documents=None,
      enable_thinking=False,
      **special_tokens,
    )
  except Exception as e:  # a template can raise anything: {{ 1 / 0 }}
    why = ' '.join(str(e).split()) or type(e).__name__
    raise errors.InputError(
      f'{name}: its chat template cannot be rendered ({why})'
    ) from e


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
  # Sandboxed: it came with a download.
  environment = sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[Generation, 'jinja2.ext.loopcontrols'],
  )
  environment.globals['raise_exception'] = _refuse
  return environment.from_string(source)


def _refuse(message: Any) -> None:
  raise jinja2.TemplateError(str(message))
