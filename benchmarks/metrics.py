"""What text metrics cost on a CPU: seconds for 1,000 answers.

  python benchmarks/metrics.py [--rounds=5] [--answers=100] [--meteor]

Answers and gold texts of random words (of 800, as often as in English), of 20,
150 and 300 words: those of the synthetic users, of LongLaMP's abstracts and of
its reviews; on one line, and in lines of 15 words, which only ROUGE-Lsum
minds. Medians of the CPU's seconds over rounds in which all take turns. METEOR
needs NLTK's data (README.md).
"""

import argparse
import statistics
import time

import as_command  # noqa: F401
import numpy as np

from restpg_jax.rewards import bleu, meteor, rouge

WORDS = 20, 150, 300
LINE = 15  # words
VOCABULARY = 800


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--answers', type=int, default=100)
  parser.add_argument('--meteor', action='store_true')
  args = parser.parse_args()
  metrics = scores(args.meteor)
  print(f'{"words":<14}' + ''.join(f'{name:>11}' for name in metrics))
  for words in WORDS:
    for end in (' ', '\n'):
      pairs = texts(words, args.answers, end)
      seconds = {name: [] for name in metrics}
      for _ in range(args.rounds):
        for name, score in metrics.items():
          began = time.process_time()
          for pair in pairs:
            score(*pair)
          seconds[name].append(time.process_time() - began)
      row = f'{words} in lines' if end == '\n' else f'{words}'
      print(
        f'{row:<14}'
        + ''.join(
          f'{1000 * statistics.median(s) / args.answers:>11.3f}'
          for s in seconds.values()
        ),
        flush=True,
      )


def scores(with_meteor: bool) -> dict:
  """Functions of an answer and its gold text."""

  def ours(name: str):
    return lambda written, gold: rouge.score(name, written, gold)

  found = {name: ours(name) for name in rouge.NAMES}
  found['bleu'] = bleu.sentence
  if with_meteor:
    meteor.check()
    found['meteor'] = meteor.score
  return found


def texts(words: int, count: int, end: str) -> list[tuple[str, str]]:
  rng = np.random.default_rng(words)
  odds = 1 / np.arange(1, VOCABULARY + 1)
  odds /= odds.sum()

  def text() -> str:
    drawn = [f'w{n}' for n in rng.choice(VOCABULARY, words, p=odds)]
    return end.join(
      ' '.join(drawn[n : n + LINE]) for n in range(0, words, LINE)
    )

  return [(text(), text()) for _ in range(count)]


if __name__ == '__main__':
  main()
