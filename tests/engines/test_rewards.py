"""Facts about restpg_jax/engines/rewards.py, most of them of its judge."""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest

from restpg_jax import config, errors
from restpg_jax.data import corpus
from restpg_jax.engines import (
  embedder,
  generator,
  label_scorer,
  prompting,
  rewards,
  tokenizer_files,
  turn_files,
)
from restpg_jax.models import size as sizes
from restpg_jax.parallel import layout as layouts
from restpg_jax.text import prompts, turns
from tests.io import test_encoders
from tests.text import chat_families


def test_an_unknown_reward_names_the_known_ones():
  with pytest.raises(
    errors.InputError, match='known are judge, rouge, cosine, mix, or'
  ):
    rewards.build_reward(config.Reward(name='jugde'), None)
  with pytest.raises(errors.InputError, match='no_such_module'):
    rewards.build_reward(config.Reward(name='no_such_module:build'), None)


INSTRUCTION = (
  'Complete the text of the following email. title: small trip. text: Note '
  'for Monday.'
)


REFERENCE = (
  'Hello, the trip needs safety by Monday. Please note the trip demands '
  'speed too. Cheers.'
)


OTHER = 'Howdy team, the trip needs silence while the trip demands privacy.'


QUERIES = [
  rewards.RewardQuery(INSTRUCTION, REFERENCE, answer)
  for answer in (REFERENCE, OTHER, 'no <eos> 10', 'H')
] + [
  rewards.RewardQuery('', OTHER, OTHER),
  rewards.RewardQuery('Say it. ' * 30, REFERENCE, OTHER),
]


def judgements(reward, queries):
  """One of each query, in their order."""
  by_index = {j.index: j for part in reward(queries) for j in part}
  return [by_index[n] for n in range(len(queries))]


@pytest.mark.slow
@pytest.mark.parametrize(('max_input', 'cut'), [(192, 1), (112, 3), (60, 6)])
def test_equal_to_a_judge_that_reads_each_prompt_and_label_in_full(
  max_input, cut, monkeypatch
):
  cfg = config.Reward(template='prompts/tiny/judge.txt', max_input=max_input)
  layout = layouts.Layout.of(config.Compute(judged=4))
  judge = rewards.build_reward(cfg, layout)
  model = generator.load_named(cfg.model, layout)
  logp = np.array([naive(model, cfg, q) for q in QUERIES])
  likeliest = np.array([0.1, 0.3, 0.5, 0.7, 1.0])[logp.argmax(axis=1)]
  by_index, label_logp = {}, label_scorer.label_logp

  def noted(*args, limit):
    for pairs in label_logp(*args, limit=limit):
      by_index.update(pairs)
      yield pairs

  monkeypatch.setattr(label_scorer, 'label_logp', noted)
  judged = judgements(judge, QUERIES)
  assert [j.reward for j in judged] == likeliest.tolist()
  assert sum(j.truncated for j in judged) == cut
  assert [j.tokens for j in judged] == [
    len(prompt_ids(model, cfg, q)) for q in QUERIES
  ]
  np.testing.assert_allclose(
    [by_index[n] for n in range(len(QUERIES))], logp, atol=1e-4
  )
  P = np.exp(logp)
  mean = P @ [0.1, 0.3, 0.5, 0.7, 1.0] / P.sum(axis=1)
  expected = rewards.build_reward(
    dataclasses.replace(cfg, rule='expected'), layout
  )
  np.testing.assert_allclose(
    [j.reward for j in judgements(expected, QUERIES)], mean, atol=1e-4
  )
  assert np.ptp(mean) > 0.1
  if max_input == 192:
    assert likeliest[1] < likeliest[0]  # reads something else, or as it was


@pytest.mark.slow
@pytest.mark.parametrize('name', ['qwen3', 'llama3'])
def test_a_judge_of_another_family_is_asked_in_its_own_turns(name, tmp_path):
  """Equal to reading each prompt and label in full: two tokens are '10' in
  Qwen's form, one is in Llama's."""
  folder = str(chat_families.model(tmp_path / 'm', name))
  cfg = config.Reward(
    model=config.Model(folder, folder),
    template='prompts/tiny/judge.txt',
    max_input=700,
    rule='expected',
  )
  layout = layouts.Layout.of(config.Compute(judged=4))
  model = generator.load_named(cfg.model, layout)
  P = np.exp([naive(model, cfg, q) for q in QUERIES])
  mean = P @ [0.1, 0.3, 0.5, 0.7, 1.0] / P.sum(axis=1)
  judged = judgements(rewards.build_reward(cfg, layout), QUERIES)
  np.testing.assert_allclose([j.reward for j in judged], mean, atol=1e-4)
  assert np.ptp(mean) > 0.01
  written = [
    model.tokenizer.piece(i) for i in prompt_ids(model, cfg, QUERIES[2])
  ]
  end = {'qwen3': '</think>', 'llama3': '<|end_header_id|>'}[name]
  assert end in written[-3:]  # the label comes next
  assert '<start_of_turn>' not in written


@pytest.mark.parametrize(
  'template', ['prompts/tiny/judge.txt', 'prompts/judge.txt']
)
def test_a_prompt_is_parted_and_its_answers_share_what_is_before_them(
  template, monkeypatch
):
  cfg = config.Reward(template=template, max_input=700)
  judge = rewards.build_reward(cfg, layouts.Layout.of(config.Compute()))
  read = []

  def logp(model, judged, labels, *, limit):
    assert limit == 700
    read.extend(judged)
    for n in (4, 1, 0, 2, 5, 3):  # likeliest: label n % 5
      yield [(n, np.eye(5)[n % 5])]

  monkeypatch.setattr(label_scorer, 'label_logp', logp)
  mixed = [QUERIES[n] for n in (0, 4, 1, 5, 2, 3)]
  # They are read input by input: 0 2 4 5, 1, 3.
  assert [j.reward for j in judgements(judge, mixed)] == [
    *(0.1, 1.0, 0.3, 0.1, 0.5, 0.7)
  ]
  tokenizer = tokenizer_files.load_tokenizer(
    cfg.model.tokenizer, sizes.Size(1, 2, 2, 1, 1, 2, vocabulary=1024)
  )
  chat = turns.of_form(tokenizer, 'gemma')
  whole = [
    prompts.judge(
      prompting.load_template(template),
      tokenizer,
      **vars(q),
      turns=chat,
      limit=700,
    ).ids
    for q in QUERIES
  ]
  assert [[*part.prefix, *part.rest] for part in read] == whole
  assert len({part.prefix for part in read[:4]}) == 1
  before = tokenizer.decode(read[0].prefix)
  assert before.endswith(('Answer:', '[answer]\n')) and REFERENCE in before


@pytest.mark.slow
@pytest.mark.parametrize(
  ('diet', 'correlation'), [(corpus.judgements, 0.8), (corpus.muddles, 0.65)]
)
def test_the_bundled_judge_knows_good_from_bad(diet, correlation):
  """.888 and .776 on 400 rows, none of which it was trained on."""
  cfg = config.Reward(template='prompts/tiny/judge.txt', max_input=192)
  layout = layouts.Layout.of(config.Compute(judged=64))
  judge = rewards.build_reward(cfg, layout)
  rows = list(itertools.islice(diet(777), 120))
  queries = [rewards.RewardQuery(*texts) for *texts, _, _ in rows]
  given = [j.reward for j in judgements(judge, queries)]
  truth = [label / 10 for *_, label, _ in rows]
  assert np.corrcoef(given, truth)[0, 1] > correlation


def prompt_ids(model, cfg, query):
  template = prompting.load_template(cfg.template)
  return prompts.judge(
    template,
    model.tokenizer,
    **vars(query),
    turns=turn_files.read_turns(cfg.model, model.tokenizer),
    limit=cfg.max_input,
  ).ids


def naive(model, cfg, query):
  """Log-probability of each label: one prompt and one label at a time, whole
  rows, in NumPy."""
  ids = prompt_ids(model, cfg, query)
  scores = []
  for label in (1, 3, 5, 7, 10):
    tokens = model.tokenizer.encode(str(label))
    row = np.zeros(cfg.max_input + 2, int)
    row[: len(ids + tokens)] = ids + tokens
    logits = np.float64(forward(model.decoder, model.params, row))
    logits = logits[len(ids) - 1 : len(ids + tokens)]
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = sum(logp[n, token] for n, token in enumerate(tokens))
    digits = np.exp(logp[-1, np.array(model.tokenizer.digits)]).sum()
    scores.append(float(total + np.log1p(-digits)))
  return scores


@functools.partial(jax.jit, static_argnums=0)
def forward(decoder, params, row):
  first = jax.tree.map(lambda x: x[0], params)  # of the only device
  return decoder.apply({'params': first}, row[None])[0]


folder = test_encoders.folder  # a small BERT


def test_cosine_is_that_of_the_vectors_of_answer_and_gold(folder, monkeypatch):
  layout = layouts.Layout.of(config.Compute())
  cfg = config.Reward('cosine', encoder=str(folder))
  rewards.check_reward(cfg)
  vectors = {'red': [1, 0], 'blue': [0, 2], 'both': [3, 3], 'anti': [-1, 0]}
  seen = []

  def encode(self, texts):
    seen.append(texts)
    return np.array([vectors[text] for text in texts], np.float32)

  with monkeypatch.context() as patched:
    patched.setattr(embedder.Embedder, '__call__', encode)
    reward = rewards.build_reward(cfg, layout)
    queries = [
      rewards.RewardQuery('', 'red', answer)
      for answer in ('red', 'blue', 'both', 'anti')
    ]
    judged = judgements(reward, queries)
  np.testing.assert_allclose(
    [j.reward for j in judged], [1, 0, 0.5**0.5, 0], atol=1e-7
  )
  assert seen == [['red', 'blue', 'both', 'anti'], ['red'] * 4]
  # And with a real encoder: two texts that are the same have cosine 1.
  same, other = judgements(reward, [QUERIES[0], QUERIES[1]])
  assert same.reward == pytest.approx(1, abs=1e-6)
  assert 0 <= other.reward < 1 - 1e-4


def test_cosine_needs_an_encoder(tmp_path):
  for name, mix in (('cosine', ()), ('mix', ('rouge:1', 'cosine:1'))):
    cfg = config.Reward(name, mix=mix)
    with pytest.raises(errors.InputError, match='as reward.encoder'):
      rewards.check_reward(cfg)
    cfg.encoder = str(tmp_path)
    with pytest.raises(errors.InputError, match=str(tmp_path)):
      rewards.check_reward(cfg)


def test_a_mixture_is_the_weighted_mean_as_the_judge_gives_its_part(
  monkeypatch,
):
  layout = layouts.Layout.of(config.Compute())
  by_judge = [0.1, 1.0, 0.5, 0.7, 0.3, 1.0]

  class Slow:
    def __init__(self, cfg, layout):
      assert cfg.dtype == 'bfloat16'

    def __call__(self, queries):
      for n in (5, 0, 3, 1, 4, 2):
        yield [rewards.Judgement(n, by_judge[n], 10 + n, n == 3)]

  monkeypatch.setitem(rewards.REWARDS, 'judge', Slow)
  cfg = config.Reward('mix', dtype='bfloat16', mix=('judge:3', 'rouge:1'))
  rewards.check_reward(cfg)
  parts = list(rewards.build_reward(cfg, layout)(QUERIES))
  assert [[j.index for j in part] for part in parts] == [
    *([5], [0], [3], [1], [4], [2])
  ]
  judged = judgements(rewards.build_reward(cfg, layout), QUERIES)
  overlap = [
    j.reward
    for j in judgements(
      rewards.build_reward(config.Reward('rouge'), layout), QUERIES
    )
  ]
  np.testing.assert_allclose(
    [j.reward for j in judged],
    0.75 * np.array(by_judge) + 0.25 * np.array(overlap),
    atol=1e-12,
  )
  assert [j.tokens for j in judged] == [10, 11, 12, 13, 14, 15]
  assert [j.truncated for j in judged] == [False] * 3 + [True] + [False] * 2
  cfg = dataclasses.replace(cfg, mix=('judge:.7', 'rouge:.2'))
  gold = [rewards.RewardQuery('', OTHER, OTHER)] * 6  # both give it 1
  by_judge[:] = [1.0] * 6
  last = judgements(rewards.build_reward(cfg, layout), gold)
  assert all(j.reward == pytest.approx(1) and j.reward <= 1 for j in last)
