"""Greedy samples of the bundled model against `transformers`' own generation,
through engines/generator.generate_samples. Needs PyTorch (the test extra)."""

import dataclasses

import pytest

from restpg_jax import assets, config, verb_args
from restpg_jax.commands import convert
from restpg_jax.data import world
from restpg_jax.engines import generator
from restpg_jax.parallel import layout as layouts

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow

NEW = 64  # tokens
TOKENIZER = 'tiny.spm.model'


class Ids:
  """Texts are ids."""

  def __init__(self, vocab_size):
    self.vocab_size = vocab_size

  def decode(self, ids):
    return ' '.join(map(str, ids))


@pytest.fixture(scope='module')
def language_model():
  layout = layouts.Layout.of(config.Compute(prompts=3, samples=2))
  return generator.load(assets.path('tiny_pt'), TOKENIZER, layout)


def prompts(tokenizer):
  """Documents of eight users, cut off at 6 to 90 tokens."""
  rows = [
    row
    for task in ('product_review', 'topic_writing')
    for row in world.rows(task, 'test', seed=3, count=4)
  ]
  texts = [' '.join(str(item) for item in row['profile']) for row in rows]
  return [
    [tokenizer.bos, *tokenizer.encode(text)][: 6 + 12 * n]
    for n, text in enumerate(texts)
  ]


def test_greedy_samples_are_those_of_transformers(language_model, tmp_path):
  words = language_model.tokenizer
  asked = prompts(words)
  assert len({len(prompt) for prompt in asked}) == 8
  ids = Ids(words.vocab_size)
  found = {}
  for harvest in generator.generate_samples(
    dataclasses.replace(language_model, tokenizer=ids),
    [generator.SampleRequest(str(n), p, [0, 1]) for n, p in enumerate(asked)],
    inputs=len(asked),
    prompt_length=max(map(len, asked)),
    m=2,
    max_output=NEW,
    stop=[words.vocab_size],  # never: beyond <eos> too they must agree
    temperature=0.0,
    top_p=1.0,
    seed=0,
    purpose='draw',
  ):
    for s in harvest.samples:
      found[int(s.example_id), s.j] = [int(i) for i in s.text.split()]

  convert.convert_policy(
    verb_args.ConvertArgs(
      source=str(assets.path('tiny_pt')),
      to=str(tmp_path / 'hf'),
      tokenizer=str(assets.path(TOKENIZER)),
    )
  )
  model = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'hf', dtype=torch.float32
  )
  model.generation_config.eos_token_id = None
  for n, prompt in enumerate(asked):
    theirs = model.generate(
      torch.tensor([prompt]),
      attention_mask=torch.ones(1, len(prompt), dtype=int),
      do_sample=False,
      max_new_tokens=NEW,
    )[0, len(prompt) :].tolist()
    assert len(theirs) == NEW
    assert found[n, 0] == found[n, 1] == theirs
  assert len({tuple(tokens) for tokens in found.values()}) == len(asked)
