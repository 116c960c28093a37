"""Prompts of the policy, of examples and templates by name."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from restpg_jax import assets, config, errors, types
from restpg_jax.text import prompts, templates
from restpg_jax.text import tokenizer as tokenizers


def load_template(name: str) -> templates.Template:
  """Reads a template by its path or bundled name."""
  path = assets.path(name)
  try:
    return templates.Template(path.read_text(), str(path))
  except UnicodeDecodeError as e:
    raise errors.InputError(f'{path}: not UTF-8: {e}') from e


class PromptSettings(Protocol):
  """Settings of a stage that shows a policy its prompt."""

  @property
  def prompt(self) -> config.Prompt: ...

  @property
  def reasoning(self) -> bool: ...


def policy_prompts(
  examples: Iterable[types.Example],
  tokenizer: tokenizers.Tokenizer,
  settings: PromptSettings,
) -> Iterator[prompts.EncodedPrompt]:
  """Yields the policy's prompt of each example, one by one."""
  template = load_template(settings.prompt.template)
  return (policy_prompt(template, e, tokenizer, settings) for e in examples)


def policy_prompt(
  template: templates.Template,
  example: types.Example,
  tokenizer: tokenizers.Tokenizer,
  settings: PromptSettings,
) -> prompts.EncodedPrompt:
  """Returns the policy's prompt of an example, cut to prompt.max_input."""
  return prompts.policy(
    template,
    tokenizer,
    example,
    reasoning=settings.reasoning,
    limit=settings.prompt.max_input,
  )
