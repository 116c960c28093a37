"""What a reward looks at, and the judge beside a naive reading of it."""

import dataclasses
import functools
import itertools
import json
import warnings

import jax
import numpy as np
import pytest
from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.data import corpus
from restpg_jax.engines import (
  generator,
  label_scorer,
  prompting,
  rewards,
  tokenizer_files,
)
from restpg_jax.io import append_log, artifacts, records
from restpg_jax.models import size as sizes
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import score
from restpg_jax.text import prompts

PROMPT = config.Prompt(template='prompts/tiny/policy.txt')
EXAMPLE = types.Example('e', 'topic_writing', 'Say it', 'It is good.')


def settings(reasoning, name='rouge'):
  return score.ScoreSettings(config.Reward(name=name), PROMPT, reasoning, m=8)


def answer(text, reasoning=True):
  query = rewards.reward_query(
    EXAMPLE, rewards.answer_reader(PROMPT, reasoning=reasoning)(text)
  )
  return query and query.answer


def test_only_the_answer_behind_the_first_marker_is_rewarded():
  assert answer('Summary:\nshort texts\nAnswer:\nIt is\nAnswer:\nbad') == (
    'It is\nAnswer:\nbad'
  )


def test_without_marker_or_with_nothing_behind_it_there_is_no_answer():
  assert answer('Summary:\nshort texts') is None
  assert answer('Summary:\nshort texts\nAnswer:\n') is None


def test_a_method_without_reasoning_answers_with_the_whole_text():
  assert answer('It is.\nAnswer:\nbad', reasoning=False) == (
    'It is.\nAnswer:\nbad'
  )


def scored(tmp_path, texts, name='rouge', accept=None):
  records.write(tmp_path / 'examples.jsonl', [EXAMPLE])
  records.write(
    tmp_path / 'trajectories.jsonl',
    [types.Trajectory('e', j, t) for j, t in enumerate(texts)],
  )
  out = tmp_path / 'out'
  out.mkdir(exist_ok=True)
  summary = score.score(
    tmp_path,
    tmp_path,
    out=out,
    cfg=dataclasses.replace(settings(True, name), accept=accept),
    layout=None,
  )
  lines = records.read(out / 'scored.jsonl', types.Trajectory)
  return summary, [line.reward for line in lines]


def test_no_answer_is_reward_0_and_counted_and_equal_answers_asked_once(
  tmp_path,
):
  texts = ['no marker', 'x\nAnswer:\nIt is good.', 'y\nAnswer:\nIt is good.']
  summary, scores = scored(tmp_path, texts)
  assert scores == [0.0, 1.0, 1.0]
  assert summary['without_answer'] == 1
  assert summary['distinct'] == 1


EQUAL = ['x\nAnswer:\nboats', 'y\nAnswer:\nstars', 'no marker']


def test_a_reward_that_tells_nothing_apart_warns_after_an_e_step(tmp_path):
  with pytest.warns(errors.DataWarning) as caught:
    scored(tmp_path, EQUAL, accept=1.0)
  assert (
    'reward.name=rouge: all 2 distinct outputs have the same reward, 0, so '
    'none is told from another; look at reward.model and reward.template'
  ) in [str(w.message) for w in caught]


def test_of_a_test_set_or_of_rewards_that_differ_it_says_nothing(tmp_path):
  different = [*EQUAL, 'z\nAnswer:\nIt is good.']
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    scored(tmp_path / 'differ', different, accept=1.0)
    scored(tmp_path / 'test', EQUAL)


def test_rewards_of_a_killed_run_are_not_asked_again(tmp_path):
  texts = ['x\nAnswer:\nIt is good.', 'y\nAnswer:\nelse']
  out = tmp_path / 'out'
  out.mkdir()
  known = rewards.RewardQuery('Say it', 'It is good.', 'It is good.')
  append_log.AppendLog(out / 'rewards', rewards.ScoredQuery, host=0).append(
    [
      rewards.ScoredQuery(rewards.query_key(known), 0.25)
    ]  # no reward of ours: proves it is not redone
  )
  _, scores = scored(tmp_path, texts)
  assert scores == [0.25, 0.0]


def test_of_two_rewards_of_a_question_the_first_counts(tmp_path):
  known = rewards.RewardQuery('Say it', 'It is good.', 'It is good.')
  append_log.AppendLog(
    tmp_path / 'out/rewards', rewards.ScoredQuery, host=0
  ).append(
    [rewards.ScoredQuery(rewards.query_key(known), r) for r in (0.25, 0.5)]
  )
  _, scores = scored(tmp_path, ['x\nAnswer:\nIt is good.'])
  assert scores == [0.25]


def test_pieces_ask_a_question_once_wherever_it_comes_again(
  tmp_path, monkeypatch
):
  twin = dataclasses.replace(EXAMPLE, id='f')  # another user, the same texts
  bare = dataclasses.replace(EXAMPLE, id='g', output='never drawn')
  records.write(tmp_path / 'examples.jsonl', [EXAMPLE, bare, twin])
  texts = ['It', 'is', 'good', 'It', 'bad']
  records.write(
    tmp_path / 'trajectories.jsonl',
    [
      types.Trajectory(id, j, f'x\nAnswer:\n{text}')
      for id in 'ef'
      for j, text in enumerate(texts)
    ],
  )
  pieces = []

  def build(cfg, layout):
    def reward(queries):
      pieces.append([q.answer for q in queries])
      yield [(n, len(q.answer) / 10) for n, q in enumerate(queries)]

    return reward

  monkeypatch.setitem(rewards.REWARDS, 'length', build)
  monkeypatch.setattr(rewards, 'PIECE', 3)
  summary = score.score(
    tmp_path,
    tmp_path,
    out=tmp_path / 'out',
    cfg=settings(True, 'length'),
    layout=None,
  )
  assert pieces == [['It', 'is', 'good'], ['bad']]
  assert summary['distinct'] == 4 and summary['made'] == 10
  assert summary['mean_reward'] == pytest.approx(0.26)
  lines = records.read(tmp_path / 'out' / 'scored.jsonl', types.Trajectory)
  assert [line.reward for line in lines] == [0.2, 0.2, 0.4, 0.2, 0.3] * 2


def test_cut_prompts_are_counted_over_all_sittings(tmp_path, monkeypatch):
  def cutter(queries):
    yield [
      rewards.Judgement(n, 0.5, truncated=query.answer != 'z')
      for n, query in enumerate(queries)
    ]

  monkeypatch.setitem(rewards.REWARDS, 'cutter', lambda cfg, layout: cutter)
  for texts in ('w', 'wyz'):
    outputs = [f'x\nAnswer:\n{text}' for text in texts]
    summary, _ = scored(tmp_path, outputs, 'cutter')
  assert summary['cut_prompts'] == 2


def test_samples_beyond_m_of_a_wider_store_are_not_scored(tmp_path):
  summary, scores = scored(tmp_path, ['x\nAnswer:\ny'] * 11)
  assert len(scores) == summary['expected'] == 8


def test_a_sample_that_gets_lost_is_missed(tmp_path, monkeypatch):
  queries = score.sample_queries
  monkeypatch.setattr(
    score, 'sample_queries', lambda *args: [*queries(*args)][:-1]
  )
  summary, scores = scored(tmp_path, ['x\nAnswer:\ny'] * 3)
  assert len(scores) == 2
  assert (summary['expected'], summary['made']) == (3, 2)


def test_a_round_without_samples_has_no_mean(tmp_path):
  summary, scores = scored(tmp_path, [])
  assert scores == [] and summary['made'] == 0
  assert summary['mean_reward'] is None


def test_the_accepted_share_is_shown_and_changes_nothing(tmp_path):
  texts = ['none', *['x\nAnswer:\nIt is good.'] * 2, 'y\nAnswer:\nelse']
  summary, scores = scored(tmp_path, texts, accept=0.7)
  assert scores == [0.0, 1.0, 1.0, 0.0]
  assert summary['accepted'] == 0.5
  *_, line = (tmp_path / 'out' / 'metrics.jsonl').read_text().splitlines()
  pace = json.loads(line)  # of answers: an output without one is not scored
  assert (pace['done'], pace['total']) == (2, 2)
  assert pace['accepted'] == pace['mean_reward'] == pytest.approx(2 / 3)
  marks = {
    artifacts.fingerprint(
      'score', score.score, (), dataclasses.replace(settings(True), accept=bar)
    )
    for bar in (None, 0.7, 1.0)
  }
  assert len(marks) == 1


def test_an_unknown_reward_names_the_known_ones():
  with pytest.raises(errors.InputError, match='known are judge, rouge'):
    rewards.build_reward(config.Reward(name='jugde'), None)
  with pytest.raises(errors.InputError, match='no_such_module'):
    rewards.build_reward(config.Reward(name='no_such_module:build'), None)


# Plain pairs are documented as well; judgements tell more.
THEIR_REWARDS = """
import numpy as np
from restpg_jax.engines import rewards

def pairs(cfg, layout):
  return lambda queries: ([(n, 0.5)] for n, _ in enumerate(queries))

def of_numpy(cfg, layout):
  def reward(queries):
    yield list(zip(np.arange(len(queries)), np.full(len(queries), 0.5)))
  return reward

def judgements(cfg, layout):
  return lambda queries: (
    [rewards.Judgement(n, 0.5, tokens=7, truncated=n == 0)]
    for n, _ in enumerate(queries))
"""


@pytest.mark.parametrize(
  ('name', 'cut', 'tokens'),
  [('pairs', 0, None), ('of_numpy', 0, None), ('judgements', 1, 14)],
)
def test_a_reward_of_somebody_else_is_imported(
  tmp_path, monkeypatch, name, cut, tokens
):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'their_rewards.py').write_text(THEIR_REWARDS)
  texts = ['x\nAnswer:\ny', 'x\nAnswer:\nz']
  summary, scores = scored(tmp_path, texts, f'their_rewards:{name}')
  assert scores == [0.5, 0.5]
  assert summary['cut_prompts'] == cut
  *_, line = (tmp_path / 'out' / 'metrics.jsonl').read_text().splitlines()
  assert json.loads(line)['tokens'] == tokens


def test_a_reward_answers_each_question_once(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'odd_rewards.py').write_text(
    'def twice(cfg, layout):\n'
    '  return lambda queries: [[(0, 0.5), (0, 0.5)]]\n'
    'def never(cfg, layout):\n'
    '  return lambda queries: [[(1, 0.5)]]\n'
  )
  texts = ['x\nAnswer:\ny', 'x\nAnswer:\nz']
  with pytest.raises(errors.InputError, match='odd_rewards:twice: it answered'):
    scored(tmp_path, texts, 'odd_rewards:twice')
  with pytest.raises(
    errors.InputError, match='1 of 2 questions have no reward, .* number 0'
  ):
    scored(tmp_path, texts, 'odd_rewards:never')


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

  def noted(*args):
    for pairs in label_logp(*args):
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


@pytest.mark.parametrize(
  'template', ['prompts/tiny/judge.txt', 'prompts/judge.txt']
)
def test_a_prompt_is_parted_and_its_answers_share_what_is_before_them(
  template, monkeypatch
):
  cfg = config.Reward(template=template, max_input=700)
  judge = rewards.build_reward(cfg, layouts.Layout.of(config.Compute()))
  read = []

  def logp(model, judged, labels):
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
  whole = [
    prompts.judge(
      prompting.load_template(template), tokenizer, **vars(q), limit=700
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
    template, model.tokenizer, **vars(query), limit=cfg.max_input
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


@pytest.mark.parametrize(
  'text, remedy',
  [
    ('x\nAnswer:\nred boats', 'read some in'),
    ('no marker', 'train longer'),
    ('x\nAnswer:\nIt is bad.', None),
  ],
)
def test_rewards_that_are_all_0_are_warned_of_also_when_they_are_kept(
  tmp_path, text, remedy
):
  records.write(tmp_path / 'examples.jsonl', [EXAMPLE])
  drawn = [types.Trajectory('e', j, text) for j in range(2)]
  records.write(tmp_path / 'trajectories.jsonl', drawn)
  given = artifacts.Artifact(epath.Path(tmp_path), 'given', {})
  for _ in range(2):
    store = artifacts.Store(tmp_path, layout=None)
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always')
      store.step(
        'e_step1/score',
        score.score,
        given,
        given,
        cfg=settings(True),
        after=score.warn_if_all_zero,
      )
    messages = [
      str(w.message) for w in caught if w.category is errors.DataWarning
    ]
    if remedy:
      [message] = messages
      assert 'the reward (rouge) of all 2 outputs is 0' in message
      assert remedy in message and '\n' not in message
    else:
      assert messages == []
