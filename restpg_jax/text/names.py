"""Finds names that a text has from nowhere, by a simple heuristic.

Figure 14 of the paper shows such names, in the reasoning and in the answer.
"""

import re
from collections.abc import Iterable

from restpg_jax.text import words

# A word that begins with a letter, and may go on after an apostrophe or hyphen.
_WORD = re.compile(r"[^\W\d_]\w*(?:['’\-]\w+)*")
# What stands between two words if the second begins a sentence or line.
_END = re.compile(r'[.!?…:;\n。！？]')


def unsupported_names(text: str, sources: Iterable[str]) -> list[str]:
  """Returns the names in `text` that stand in none of the sources, each once.

  A name is a capitalised word of two letters or more that does not begin a
  sentence or line, and that the text never has in lower case. So German nouns
  and titles count as names, a name that only begins sentences does not, and
  scripts without capitals have none.

  'Anna met Cleo in Rome. Dora left.', ['rome is old']  ->  Cleo
  """
  candidates: dict[str, None] = {}
  lower: set[str] = set()
  last = 0  # the end of the word before
  for match in _WORD.finditer(text):
    word, begins = match[0], match.start()
    starts = last == 0 or _END.search(text, last, begins)
    last = match.end()
    if not (word[0].isupper() or word[0].istitle()):
      lower.add(word)
    elif not starts and len(name := _without_ending(word)) > 1:
      candidates[name] = None
  if not candidates:
    return []
  known = {word for source in sources for word in words.words(source)}
  return [
    name
    for name in candidates
    if name.lower() not in lower and not known.issuperset(words.words(name))
  ]


def _without_ending(word: str) -> str:
  """Returns what is before an apostrophe: "Anna's"  ->  'Anna'."""
  return re.split("['’]", word)[0]
