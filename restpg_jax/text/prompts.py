"""The three prompts of the method as token ids, each within its limit.

The paper shows them in Figures 8 (policy), 7 (reasoner) and 6 (judge).
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from restpg_jax import errors, types
from restpg_jax.text import templates
from restpg_jax.text import tokenizer as tokenizers
from restpg_jax.text import turns as turns_lib


@dataclasses.dataclass(frozen=True)
class EncodedPrompt:
  """A prompt's token ids, and which of the texts in it had to be cut."""

  ids: list[int]
  cut: tuple[str, ...] = ()  # 'instruction', 'document 4' ..
  context: tuple[str, ...] = ()  # the documents as they stand in it


@dataclasses.dataclass(frozen=True)
class PromptStats:
  """Statistics of many prompts, which need not be in memory together."""

  count: int
  longest: int  # tokens
  cut: int  # prompts in which a text had to be cut

  @classmethod
  def of(cls, prompts: Iterable[EncodedPrompt]) -> 'PromptStats':
    """Counts prompts as they come."""
    count = longest = cut = 0
    for prompt in prompts:
      count += 1
      longest = max(longest, len(prompt.ids))
      cut += bool(prompt.cut)
    return cls(count, longest, cut)


def policy(
  template: templates.Template,
  tokenizer: tokenizers.Tokenizer,
  example: types.Example,
  *,
  reasoning: bool,
  limit: int,
) -> EncodedPrompt:
  """Returns what the policy reads: at most `limit` tokens, any <bos> included.

  Last-ranked documents are cut first, the instruction only when it is too long
  by itself.
  """
  marker = templates.Output.of(template).marker if reasoning else ''

  def render(texts: dict[str, str]) -> list[int]:
    return [
      *tokenizer.begin,
      *tokenizer.encode(
        template.prompt(
          reasoning=reasoning,
          marker=marker,
          instruction=texts['instruction'],
          context=_context(texts),
        )
      ),
    ]

  texts = {'instruction': example.input} | _documents(example)
  order = [*_last_first(example), ('instruction',)]
  return fit_documents(
    render, texts, order, tokenizer, limit=limit, name=template.name
  )


def reasoner(
  template: templates.Template,
  tokenizer: tokenizers.Tokenizer,
  example: types.Example,
  *,
  turns: turns_lib.Turns,
  limit: int,
) -> EncodedPrompt:
  """Returns a chat turn that asks why the user wrote `example.output`.

  At most `limit` tokens: documents are cut first, last-ranked ones before
  others, then the instruction, then the output.
  """

  def render(texts: dict[str, str]) -> list[int]:
    text = template.prompt(
      instruction=texts['instruction'],
      output=texts['output'],
      context=_context(texts),
    )
    return turns.prompt(tokenizer, text)

  texts = {'instruction': example.input, 'output': example.output}
  order = [*_last_first(example), ('instruction',), ('output',)]
  texts |= _documents(example)
  return fit_documents(
    render, texts, order, tokenizer, limit=limit, name=template.name
  )


def judge(
  template: templates.Template,
  tokenizer: tokenizers.Tokenizer,
  *,
  instruction: str,
  reference: str,
  answer: str,
  turns: turns_lib.Turns,
  limit: int,
) -> EncodedPrompt:
  """Returns a chat turn that asks for a score, at most `limit` tokens.

  Over the limit the instruction is cut first, then reference and answer alike:
  cutting one of them would favour the other.
  """

  def render(texts: dict[str, str]) -> list[int]:
    return turns.prompt(tokenizer, template.prompt(**texts))

  texts = {
    'instruction': instruction,
    'reference': reference,
    'answer': answer,
  }
  order = [('instruction',), ('reference', 'answer')]
  return fit_documents(
    render, texts, order, tokenizer, limit=limit, name=template.name
  )


def fit_documents(
  render: Callable[[dict[str, str]], list[int]],
  texts: dict[str, str],
  order: Iterable[Sequence[str]],
  tokenizer: tokenizers.Tokenizer,
  *,
  limit: int,
  name: str,
) -> EncodedPrompt:
  """Cuts texts at their ends, group by group, until the prompt fits `limit`.

  The texts of a group are shortened together, the longest one first. A text
  that is cut to nothing remains as ''. Raises InputError, with the `name` of
  the template, where the template alone is too long.
  """
  now = dict(texts)
  ids = render(now)
  for group in order:
    # Tokens of a text may merge with those around it, so that what is cut is
    # not what the prompt loses: hence a loop that renders again.
    while len(ids) > limit and any(now[n] for n in group):
      lengths = {n: len(tokenizer.encode(now[n])) for n in group}
      longest = max(lengths, key=lambda n: lengths[n])
      excess = len(ids) - limit
      drop = min(excess, _above_others(lengths, longest, excess))
      now[longest] = shorten(now[longest], drop, tokenizer)
      ids = render(now)
  if len(ids) > limit:
    raise errors.InputError(
      f'{name}: the template alone has {len(ids)} tokens; the limit of its '
      f'prompt is {limit}'
    )
  cut = tuple(n for n in texts if now[n] != texts[n])
  return EncodedPrompt(ids, cut, tuple(_context(now)))


def shorten(text: str, drop: int, tokenizer: tokenizers.Tokenizer) -> str:
  """Returns the text without its last `drop` >= 1 tokens, strictly shorter."""
  ids = tokenizer.encode(text)
  # A cut inside the bytes of a character leaves replacement characters.
  kept = tokenizer.decode(ids[: max(len(ids) - drop, 0)]).rstrip('\ufffd')
  # Decoding may give the same text again: then one character less, so that
  # whoever cuts in a loop comes to an end.
  return kept if len(kept) < len(text) else text[:-1]


def _above_others(lengths: dict[str, int], longest: str, excess: int) -> int:
  """Returns how many tokens to cut from the longest text of a group.

  So many that it is brought down to the next one and a share beyond.
  """
  others = [n for name, n in lengths.items() if name != longest]
  if not others:
    return excess
  lead = lengths[longest] - max(others)
  return lead + max(1, (excess - lead) // len(lengths))


def _documents(example: types.Example) -> dict[str, str]:
  return {f'document {n}': text for n, text in enumerate(example.context)}


def _last_first(example: types.Example) -> list[tuple[str]]:
  return [(name,) for name in reversed(_documents(example))]


def _context(texts: dict[str, str]) -> list[str]:
  return [t for name, t in texts.items() if name.startswith('document ') and t]
