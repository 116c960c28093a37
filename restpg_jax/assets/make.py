"""Makes the bundled tiny models: `python -m restpg_jax.assets.make DIR`.

A SentencePiece model that behaves as Gemma's does, a base ("PT") model, and an
instruction-tuned ("IT") model that reasons and judges; all from the texts of
data/corpus.py, whose users appear nowhere else. An hour and a half on 2 cores.
"""

import io
import itertools
import json
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sentencepiece

from restpg_jax.data import corpus
from restpg_jax.io import checkpoints
from restpg_jax.models import decoder
from restpg_jax.models import size as sizes
from restpg_jax.text import sentencepiece_model, templates
from restpg_jax.text import tokenizer as tokenizers
from restpg_jax.text import turns as turns_lib
from restpg_jax.training import batches, optimizer, packing
from restpg_jax.training import step as steps

Tokenizer = tokenizers.Tokenizer
Params = Mapping[str, Any]  # a tree of arrays
Rows = Iterator[batches.TrainingRow]
# Of data/corpus.py: (instruction, ground truth, answer, label, why), and
# (documents, instruction, expected output, reasoning).
Judgement = tuple[str, str, str, int, str]
Explained = tuple[tuple[str, ...], str, str, str]
SEED = 20250104
VOCABULARY = 1024
SIZE = sizes.Size(
  layers=4,
  width=128,
  hidden=384,
  heads=4,
  kv_heads=1,
  head_size=32,
  vocabulary=VOCABULARY,
)
PROMPTS = pathlib.Path(__file__).parent / 'prompts' / 'tiny'
# The judge's prompt before the ground truth stood in it twice.
ONCE = 'Judge the answer.\nTask: {}\nTruth: {}\nAnswer: {}\nScore:\n'


class Leg(NamedTuple):
  """A stretch of training; its streams start anew, with its own seed."""

  streams: tuple[str, ...]  # in turn; the same name is the same stream
  steps: int
  rate: float
  seed: int = 0  # added to SEED
  schedule: int = 0  # steps that the rate's schedule is made for; 0: `steps`


# The recipe stays as it is because these legs make the bundled weights. The
# drills made rules and copying appear. The judge learned to count only after it
# could say why, with the ground truth once more behind the answer and with 10,
# which begins like 1, left out for a while; the muddles taught it what a policy
# may write that is no proper answer at all.
PT_LEGS = (Leg(('texts',), 1300, 3e-3), Leg(('drills',), 600, 3e-3))
IT_LEGS = (
  Leg(('judge_once',) * 3 + ('reasoner',), 600, 3e-3, schedule=1200),
  Leg(('judge',), 100, 2e-3, schedule=400),
  Leg(('judge_late_10',), 450, 3e-3, seed=5),
  Leg(('judge', 'reasoner'), 300, 2e-3, seed=5),
  Leg(('judge',) * 3 + ('reasoner',), 320, 2.5e-3, seed=9),
  Leg(('judge', 'muddles', 'muddles', 'reasoner'), 300, 2.5e-3),
)
SHAPES = {  # rows, tokens a row, targets a row
  'texts': (64, 144, 144),
  'drills': (64, 144, 144),
  'judge_once': (64, 144, 32),
  'judge': (64, 168, 32),
  'judge_late_10': (64, 168, 32),
  'muddles': (64, 168, 32),
  'reasoner': (24, 240, 80),
}


def main(out: pathlib.Path) -> None:
  """Makes what is missing in a folder."""
  out.mkdir(parents=True, exist_ok=True)
  file = out / 'tiny.spm.model'
  if not file.exists():
    file.write_bytes(train_tokenizer())
  tokenizer = sentencepiece_model.SentencePiece(file.read_bytes())
  model = decoder.Decoder(SIZE, unroll=SIZE.layers)
  if not (out / 'tiny_pt' / 'model.json').exists():
    start = model.init(jax.random.key(SEED), jnp.zeros((1, 8), jnp.int32))
    make(out / 'tiny_pt', model, start['params'], tokenizer, PT_LEGS)
  if not (out / 'tiny_it' / 'model.json').exists():
    start, _ = checkpoints.restore_model(out / 'tiny_pt')
    make(out / 'tiny_it', model, start, tokenizer, IT_LEGS)


def make(
  path: pathlib.Path,
  model: decoder.Decoder,
  params: Params,
  tokenizer: Tokenizer,
  legs: Sequence[Leg],
) -> None:
  """Trains one model through all its legs; its folder holds no local paths."""
  log = []
  for leg in legs:
    params, lines = train(model, params, leg_batches(tokenizer, leg), leg)
    log.append(leg._asdict() | {'loss': lines})
  checkpoints.save_model(path, params, SIZE, **provenance(log))
  (path / 'params' / 'commit_success.txt').write_text('committed\n')


def leg_batches(tokenizer: Tokenizer, leg: Leg) -> Iterator[batches.Batch]:
  """Yields batches from the streams of a leg in turn, each of its own shape."""
  streams = {
    name: STREAMS[name](tokenizer, SEED + leg.seed) for name in leg.streams
  }
  for name in itertools.cycle(leg.streams):
    size, length, targets = SHAPES[name]
    rows = list(itertools.islice(streams[name], size))
    shape = packing.BatchShape(size, length, targets)
    yield batches.pack_rows([[row] for row in rows], shape)


def train_tokenizer() -> bytes:
  """Returns a SentencePiece model with bytes, digits and turns as in Gemma.

  pad, eos, bos and unk are 0 to 3.
  """
  printable = ''.join(map(chr, range(33, 127)))
  out = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=itertools.chain(texts(8000), [printable] * 50),
    model_writer=out,
    model_type='unigram',
    vocab_size=VOCABULARY,
    byte_fallback=True,
    split_digits=True,
    add_dummy_prefix=False,
    normalization_rule_name='identity',
    remove_extra_whitespaces=False,
    pad_id=0,
    eos_id=1,
    bos_id=2,
    unk_id=3,
    pad_piece='<pad>',
    eos_piece='<eos>',
    bos_piece='<bos>',
    unk_piece='<unk>',
    control_symbols=['<start_of_turn>', '<end_of_turn>'],
    user_defined_symbols=['\n'],
    required_chars=printable,
    minloglevel=1,
  )
  return out.getvalue()


def texts(count: int) -> Iterator[str]:
  """Yields what the tokenizer is trained on: all forms of text models see."""
  reasoner, policy = map(template, ('reasoner', 'policy'))
  output = templates.Output.of(policy)
  for segments in itertools.islice(corpus.pretraining(SEED), count):
    yield ''.join(text for text, _ in segments)
  for row in itertools.islice(corpus.judgements(SEED), count // 4):
    yield ONCE.format(*row) + str(row[3])
  for row in itertools.islice(corpus.explained(SEED), count // 4):
    documents, instruction, expected, reasoning = row
    yield reasoner_prompt(reasoner, row) + reasoning
    yield policy.prompt(
      reasoning=True,
      marker=output.marker,
      instruction=instruction,
      context=documents,
    ) + output.join(reasoning, expected)
  yield 'user\nmodel\n'


def text_rows(tokenizer: Tokenizer, rows: Iterable[corpus.Segments]) -> Rows:
  length = SHAPES['texts'][1]
  for segments in rows:
    parts = [(tokenizer.encode(text), weight) for text, weight in segments]
    tokens = [tokenizer.bos, *(t for ids, _ in parts for t in ids)]
    tokens += [tokenizer.eos]
    weights = [1.0, *(w for ids, w in parts for _ in ids), 1.0]
    yield batches.TrainingRow(tuple(tokens[:length]), tuple(weights[:length]))


def judge_rows(
  tokenizer: Tokenizer,
  rows: Iterable[Judgement],
  labels: Sequence[int] = corpus.LABELS,
) -> Rows:
  file = template('judge')
  for row in rows:
    if row[3] in labels:
      yield from judge_row(tokenizer, judge_prompt(file, row), row, 'judge')


def judge_once_rows(tokenizer: Tokenizer, rows: Iterable[Judgement]) -> Rows:
  for row in rows:
    yield from judge_row(tokenizer, ONCE.format(*row), row, 'judge_once')


def judge_row(
  tokenizer: Tokenizer, prompt: str, row: Judgement, shape: str
) -> Rows:
  """Yields a chat turn, then the label and why, unless that is too long."""
  turns = turns_lib.of_form(tokenizer, 'gemma')
  prompt_ids = turns.prompt(tokenizer, prompt)
  target = [*tokenizer.encode(f'{row[3]}\n{row[4]}'), turns.stops[0]]
  if len(prompt_ids) + len(target) <= SHAPES[shape][1]:
    yield batches.TrainingRow.of(prompt_ids, target, 1.0)


def judge_late_10_rows(tokenizer: Tokenizer, seed: int) -> Rows:
  """Yields 200 batches without the label 10, then all labels from the start."""
  size = SHAPES['judge_late_10'][0]
  below = judge_rows(tokenizer, corpus.judgements(seed), (1, 3, 5, 7))
  yield from itertools.islice(below, 200 * size)
  yield from judge_rows(tokenizer, corpus.judgements(seed))


def reasoner_rows(tokenizer: Tokenizer, rows: Iterable[Explained]) -> Rows:
  file, turns = template('reasoner'), turns_lib.of_form(tokenizer, 'gemma')
  for row in rows:
    prompt = turns.prompt(tokenizer, reasoner_prompt(file, row))
    text = [*tokenizer.encode(row[3]), turns.stops[0]]
    if len(prompt) + len(text) <= SHAPES['reasoner'][1]:
      yield batches.TrainingRow.of(prompt, text, 1.0)


STREAMS = {  # (tokenizer, seed) -> endless rows
  'texts': lambda t, seed: text_rows(t, corpus.pretraining(seed)),
  'drills': lambda t, seed: text_rows(t, corpus.drills(seed)),
  'judge_once': lambda t, seed: judge_once_rows(t, corpus.judgements(seed)),
  'judge': lambda t, seed: judge_rows(t, corpus.judgements(seed)),
  'judge_late_10': judge_late_10_rows,
  'muddles': lambda t, seed: judge_rows(t, corpus.muddles(seed)),
  # The reasoner begins with the same rows in every leg, whatever its seed.
  'reasoner': lambda t, seed: reasoner_rows(t, corpus.explained(SEED)),
}


def judge_prompt(file: templates.Template, row: Judgement) -> str:
  instruction, reference, answer, *_ = row
  return file.prompt(
    instruction=instruction, reference=reference, answer=answer
  )


def reasoner_prompt(file: templates.Template, row: Explained) -> str:
  documents, instruction, expected, _ = row
  return file.prompt(
    context=documents, instruction=instruction, output=expected
  )


def template(name: str) -> templates.Template:
  return templates.Template((PROMPTS / f'{name}.txt').read_text('utf-8'), name)


def train(
  model: decoder.Decoder,
  params: Params,
  rows: Iterator[batches.Batch],
  leg: Leg,
) -> tuple[Params, list[dict[str, Any]]]:
  """Trains a leg by AdamW; returns the parameters and a log of the loss."""
  schedule = optimizer.schedule(
    leg.rate, steps=leg.schedule or leg.steps, warmup=50, final_rate=0.1
  )
  tx = optimizer.build_optimizer('adamw', schedule, weight_decay=0.01, clip=1.0)

  def hidden(params: Params, *arrays: jax.Array) -> Any:
    return model.apply({'params': params}, *arrays, method='hidden')

  def logits(params: Params, head_vD: jax.Array, hidden_BTD: jax.Array) -> Any:
    return model.apply({'params': params}, hidden_BTD, head_vD, method='logits')

  trained = steps.ModelFunctions(
    hidden, lambda params: params['embedding'], logits
  )
  accumulate = jax.jit(steps.build_accumulate(trained))
  update = jax.jit(steps.build_update(tx), donate_argnums=0)
  state = steps.init_state(jax.tree.map(jnp.asarray, params), tx)
  log, losses, began = [], {}, time.time()
  for n in range(1, leg.steps + 1):
    batch = next(rows)
    count = np.float32(max(1, (batch.weight_BT != 0).sum()))
    state, metrics = update(state, accumulate(state, None, batch, count))
    losses.setdefault(batch.tokens_BL.shape[1], []).append(metrics['loss'])
    if n % 50 == 0 or n == leg.steps:
      means = {k: round(float(np.mean(v)), 4) for k, v in losses.items()}
      log.append({'step': n, 'loss by row length': means})
      print(f'{n}/{leg.steps} {means} {time.time() - began:.0f} s', flush=True)
      losses = {}
  return jax.device_get(state.params), log


def provenance(log: list[dict[str, Any]]) -> dict[str, Any]:
  """Returns how a model was made, for its model.json."""
  return {
    'made by': 'python -m restpg_jax.assets.make DIR',
    'seed': SEED,
    'versions': {'jax': jax.__version__, 'numpy': np.__version__},
    'log': log,
  }


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
  print(json.dumps({'done': sys.argv[1]}))
