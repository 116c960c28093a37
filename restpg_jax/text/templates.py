"""The three prompts of the method, read from files that a user may replace.

A template file is jinja2 text with blocks: `prompt`, and for the policy also
`opening` (the line before the reasoning) and `marker` (the line before the
answer). Values are inserted as they are; nothing in them is interpreted.
"""

import dataclasses
import functools
import re
from typing import Any

import jinja2
from jinja2 import sandbox

from restpg_jax import errors


@dataclasses.dataclass(frozen=True)
class Template:
  """One template file."""

  source: str
  name: str = 'template'  # for messages

  def block(self, name: str, **values: Any) -> str:
    """Renders a block.

    Raises InputError if the file has no such block, or if it cannot be rendered
    with these values.
    """
    template = _compile(self.source, self.name)
    if name not in template.blocks:
      raise errors.InputError(f'{self.name}: no {{% block {name} %}}')
    try:
      return ''.join(template.blocks[name](template.new_context(values)))
    except Exception as e:  # a template can raise anything: {{ 1 / 0 }}
      why = str(e) or type(e).__name__
      raise errors.InputError(f'{self.name}, block {name}: {why}') from e

  def prompt(self, **values: Any) -> str:
    return self.block('prompt', **values)


@dataclasses.dataclass(frozen=True)
class Output:
  """The form of the policy's output.

  It is an opening line, the reasoning, a marker line and the answer.
  """

  opening: str
  marker: str

  @classmethod
  def of(cls, template: Template) -> 'Output':
    return cls(
      template.block('opening').strip(), template.block('marker').strip()
    )

  def join(self, reasoning: str, answer: str) -> str:
    return f'{self.opening}\n{reasoning}\n{self.marker}\n{answer}'

  def split(self, text: str) -> tuple[str, str | None]:
    """Returns (reasoning, answer), split at the first marker line.

    Without a marker the answer is None.
    """
    parts = re.split(self._marker_line, text, maxsplit=1)
    reasoning = parts[0].removeprefix(self.opening).strip()
    return reasoning, parts[1].strip() if len(parts) == 2 else None

  def has_marker(self, text: str) -> bool:
    return re.search(self._marker_line, text) is not None

  @property
  def _marker_line(self) -> str:
    return rf'(?m)^[ \t]*{re.escape(self.marker)}[ \t]*$'


@functools.lru_cache(maxsize=64)
def _compile(source: str, name: str) -> jinja2.Template:
  # Sandboxed: a template of somebody else's reaches its values and no more.
  environment = sandbox.SandboxedEnvironment(
    undefined=jinja2.StrictUndefined, keep_trailing_newline=True
  )
  try:
    return environment.from_string(source)
  except jinja2.TemplateSyntaxError as e:
    raise errors.InputError(f'{name}, line {e.lineno}: {e.message}') from e
