"""Measures what text metrics cost on a CPU: seconds for 1,000 answers.

  python benchmarks/metrics.py [--rounds=5] [--answers=100] [--meteor]

Answers and gold texts of random words (of 800, as often as in English), of 20,
150 and 300 words: those of the synthetic users, of LongLaMP's abstracts and of
its reviews; on one line, and in lines of 15 words, which only ROUGE-Lsum
minds. Medians of the CPU's seconds over rounds in which all take turns. METEOR
needs NLTK's data (README.md).
"""

import functools
from collections.abc import Callable

import common.as_command  # noqa: F401
import numpy as np
from common import flags, timing

from restpg_jax.rewards import bleu, meteor, rouge

WORDS = 20, 150, 300
LINE = 15  # words
VOCABULARY = 800


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--answers', type=int, default=100)
  parser.add_argument('--meteor', action='store_true')
  args = parser.parse_args()
  metrics = scores(args.meteor)
  print(f'{"words":<14}' + ''.join(f'{name:>11}' for name in metrics))
  for num_words in WORDS:
    for end in (' ', '\n'):
      pairs = texts(num_words, args.answers, end)
      ways = {
        name: lambda score=score, pairs=pairs: [score(*p) for p in pairs]
        for name, score in metrics.items()
      }
      seconds = timing.alternate(ways, args.rounds)
      row = f'{num_words} in lines' if end == '\n' else f'{num_words}'
      print(
        f'{row:<14}'
        + ''.join(
          f'{1000 * timing.medians(each).cpu / args.answers:>11.3f}'
          for each in seconds.values()
        ),
        flush=True,
      )


def scores(with_meteor: bool) -> dict[str, Callable[[str, str], float]]:
  """Returns functions of an answer and its gold text, by name."""

  metrics: dict[str, Callable[[str, str], float]] = {
    name: functools.partial(rouge.rouge, name) for name in rouge.NAMES
  }
  metrics['bleu'] = bleu.sentence
  if with_meteor:
    meteor.check_wordnet()
    metrics['meteor'] = meteor.meteor
  return metrics


def texts(num_words: int, count: int, end: str) -> list[tuple[str, str]]:
  rng = np.random.default_rng(num_words)
  odds = 1 / np.arange(1, VOCABULARY + 1)
  odds /= odds.sum()

  def text() -> str:
    words = [f'w{n}' for n in rng.choice(VOCABULARY, num_words, p=odds)]
    return end.join(
      ' '.join(words[n : n + LINE]) for n in range(0, num_words, LINE)
    )

  return [(text(), text()) for _ in range(count)]


if __name__ == '__main__':
  main()
