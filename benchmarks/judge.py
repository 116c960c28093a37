"""The judge beside a naive one: 32 candidates an input, float32, on a CPU.

  python benchmarks/judge.py [--rounds=5] [--model=tiny_it]

Prompts of random tokens: 650 that the candidates of an input share and 350 of
their own, as instruction and reference come before the answer. The same
weights and the same prompts go through

  naive    every prompt in full, a batch at a time, and each label behind it;
           in this file
  ours     judging.label_logp: what is shared is read once

in alternating rounds. Prints the seconds of each, the ratio of them and of the
CPU's seconds, which others on the machine disturb less, medians, and the
largest difference of their log-probabilities; for the bundled tiny_it and for
random weights in a shape of 100 million parameters. `alone`: one candidate an
input, as in an evaluation, where nothing is shared.
"""

import common.as_command  # noqa: F401
import jax
import jax.numpy as jnp
import numpy as np
from common import flags, models, timing

from restpg_jax import assets, config
from restpg_jax.engines import generator, label_scorer, tokenizer_files
from restpg_jax.models import decoder
from restpg_jax.parallel import layout as layouts
from restpg_jax.rewards import judge
from restpg_jax.sampling import candidates

SHARED, OWN, EACH = 650, 350, 32  # tokens, tokens, candidates an input
LIMIT = 8190  # tokens of a prompt, at most: configs/paper.py
INPUTS = {'tiny_it': 4, '100M': 1}  # a round


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--model', choices=INPUTS, action='append')
  parser.add_argument('--inputs', type=int, default=0)
  parser.add_argument('--batch', type=int, default=EACH, help='of the naive')
  args = parser.parse_args()
  layout = layouts.Layout.of(config.Compute())
  for name in args.model or INPUTS:
    model = MODELS[name](layout)
    inputs = args.inputs or INPUTS[name]
    rng = np.random.default_rng(0)
    texts = [text for _ in range(inputs) for text in prompts(rng, model, EACH)]
    alone = [text for _ in range(EACH) for text in prompts(rng, model, 1)]
    compare(name, model, texts, args.rounds, args.batch)
    compare(f'{name}, alone', model, alone, args.rounds, args.batch)


def tiny_it(layout) -> generator.LoadedModel:
  return generator.load(assets.path('tiny_it'), models.TOKENIZER, layout)


def large(layout) -> generator.LoadedModel:
  """Returns random weights with the bundled tokenizer."""
  size = models.SIZE_100M
  start = jax.device_get(models.initial_parameters(size))
  params = layout.replicate(decoder.unstacked(start))
  model = decoder.Decoder(size, stacked=False)
  tokenizer = tokenizer_files.load_tokenizer(models.TOKENIZER, size)
  return generator.LoadedModel(model, params, tokenizer, layout)


MODELS = {'tiny_it': tiny_it, '100M': large}


def prompts(rng, model, count: int) -> list[candidates.Candidate]:
  def draw(length):
    vocabulary = model.tokenizer.vocab_size
    return tuple(rng.integers(models.FIRST_WORD, vocabulary, length).tolist())

  prefix = draw(SHARED)
  return [candidates.Candidate(prefix, draw(OWN)) for _ in range(count)]


def compare(name: str, model, texts, rounds: int, batch: int) -> None:
  ways = {'naive': Naive(model, batch), 'ours': Ours(model)}
  logp = {way: run(texts) for way, run in ways.items()}  # compiles
  apart = np.abs(logp['naive'] - logp['ours']).max()
  print(f'{name}, {len(texts)} candidates; largest difference {apart:.1e}')
  print(f'{"naive, s":>10}{"ours, s":>10}{"ratio":>8}{"of CPU s":>10}')
  seconds = timing.alternate(
    ways,
    rounds,
    texts,
    after=lambda took: show({way: [each] for way, each in took.items()}),
  )
  print('medians')
  show(seconds)


def show(seconds: dict[str, list[timing.Seconds]]) -> None:
  naive, ours = (timing.medians(each).wall for each in seconds.values())
  ratio = timing.ratios(seconds['naive'], seconds['ours'])
  print(
    f'{naive:10.2f}{ours:10.2f}{ratio.wall:8.2f}{ratio.cpu:10.2f}', flush=True
  )


class Ours:
  def __init__(self, model: generator.LoadedModel):
    self.model = model

  def __call__(self, texts) -> np.ndarray:
    logp = np.zeros((len(texts), len(judge.LABELS)))
    for scores in label_scorer.label_logp(
      self.model, texts, LABELS, limit=LIMIT
    ):
      for n, row in scores:
        logp[n] = row
    return logp


class Naive:
  def __init__(self, model: generator.LoadedModel, batch: int):
    tokenizer = model.tokenizer
    sequences = [tokenizer.encode(label) for label in LABELS]
    digits = np.array(tokenizer.digits)
    self.score = model.layout.each_device(
      naive_program(model.decoder, sequences, digits)
    )
    self.params, self.batch = model.params, batch

  def __call__(self, texts) -> np.ndarray:
    tokens = np.array([[*text.prefix, *text.rest] for text in texts], np.int32)
    room = -(-tokens.shape[1] // 32) * 32
    tokens = np.pad(tokens, ((0, 0), (0, room - tokens.shape[1])))
    logp = []
    for start in range(0, len(texts), self.batch):
      part = tokens[None, start : start + self.batch]
      length = np.full(part.shape[:2], SHARED + OWN)
      logp.append(jax.device_get(self.score(self.params, part, length))[0])
    return np.concatenate(logp)


LABELS = [str(label) for label in judge.LABELS]


def naive_program(model, labels, not_after):
  """score(params, tokens_PS, length_P) -> log-probabilities [P, labels].

  Every label's tokens stand behind the prompt by themselves.
  """
  token_M = np.concatenate(labels)
  label_M = np.repeat(np.arange(len(labels)), [len(label) for label in labels])
  t_M = np.concatenate([np.arange(len(label)) for label in labels])
  seen_MM = (label_M[:, None] == label_M) & (t_M[:, None] >= t_M)
  before_M = np.where(t_M == 0, 0, np.arange(len(t_M)))  # 0: the prompt
  last_G = np.flatnonzero(np.append(t_M[1:] == 0, True))

  def score(params, tokens_PS, length_P):
    def call(*args, method):
      return model.apply({'params': params}, *args, method=method)

    P, M = len(tokens_PS), len(token_M)
    hidden_PSD, kv = call(tokens_PS, method='prefill')
    last_PD = hidden_PSD[jnp.arange(P), length_P - 1]
    hidden_PMD = call(
      jnp.broadcast_to(token_M, (P, M)),
      kv,
      jnp.arange(P),
      length_P,
      length_P[:, None] + t_M,
      jnp.broadcast_to(seen_MM, (P, M, M)),
      method='extend',
    )
    hidden = jnp.concatenate([last_PD[:, None], hidden_PMD], axis=1)
    logp = jax.nn.log_softmax(call(hidden, method='logits'))
    label_PM = logp[:, before_M, token_M]
    goes_on_PM = jnp.sum(jnp.exp(logp[:, 1:, not_after]), axis=-1)
    end_PG = jnp.log1p(-goes_on_PM[:, last_G])
    return label_PM @ (label_M[:, None] == np.arange(len(labels))) + end_PG

  return score


if __name__ == '__main__':
  main()
