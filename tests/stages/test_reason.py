"""Reasoning data: what is redrawn, what is dropped, what a target is."""

from restpg_jax import config, types
from restpg_jax.io import records
from restpg_jax.stages import language, reason
from restpg_jax.text import templates

OUTPUT = templates.Output('Summary:', 'Answer:')
EXAMPLES = [
  types.Example(f'e{n}', 'topic_writing', 'Say it', f'Gold {n}.')
  for n in range(3)
]
SETTINGS = reason.Settings(
  config.Reason(template='prompts/tiny/reasoner.txt', tries=2),
  config.Prompt(template='prompts/tiny/policy.txt'),
  seed=0,
)


class Reasoner:
  """Writes given texts: {(example, j): text}; notes what it was asked."""

  def __init__(self, monkeypatch, texts):
    self.asked = []
    self.tokenizer = language.load_named(
      config.Model(), monkeypatch.layout
    ).tokenizer

    def sample(writer, wanted, **_):
      for w in wanted:
        self.asked += [(w.example_id, j) for j in w.js]
        drawn = [
          language.Sampled(w.example_id, j, texts[w.example_id, j], True, 3, -1)
          for j in w.js
        ]
        yield language.Harvest(drawn, busy=3, slots=4)

    monkeypatch.setattr(language, 'sample', sample)
    monkeypatch.setattr(language, 'load_named', lambda *_, **__: self)


def written(tmp_path, monkeypatch, texts):
  from restpg_jax.parallel import layout as layouts

  monkeypatch.layout = layouts.Layout.of(config.Compute())
  records.write(tmp_path / 'examples.jsonl', EXAMPLES)
  out = tmp_path / 'out'
  reasoner = Reasoner(monkeypatch, texts)
  summary = reason.reason(tmp_path, out=out, cfg=SETTINGS, layout=None)
  found = records.read(out / 'trajectories.jsonl', types.Trajectory)
  return reasoner.asked, summary, {t.example_id: t for t in found}


def test_empty_or_marker_holding_reasoning_is_redrawn_then_dropped(
  tmp_path, monkeypatch
):
  texts = {
    ('e0', 0): 'Short texts.',
    ('e1', 0): ' \n',
    ('e1', 1): 'Likes tea.',
    ('e2', 0): 'x\nAnswer:\ny',
    ('e2', 1): '',
  }
  asked, summary, found = written(tmp_path, monkeypatch, texts)
  assert asked == [('e0', 0), ('e1', 0), ('e2', 0), ('e1', 1), ('e2', 1)]
  assert list(found) == ['e0', 'e1']
  assert summary['dropped'] == 1
  assert summary['expected'] == summary['made'] == 3


def test_a_target_is_opening_reasoning_marker_and_gold_with_reward_1(
  tmp_path, monkeypatch
):
  texts = {(e.id, 0): f'Reason {e.id}. ' for e in EXAMPLES}
  _, _, found = written(tmp_path, monkeypatch, texts)
  assert found['e1'].text == 'Summary:\nReason e1.\nAnswer:\nGold 1.'
  assert found['e1'].reward == 1.0
  assert found['e1'].ended


def test_targets_without_reasoning_are_the_gold_texts(tmp_path):
  records.write(tmp_path / 'examples.jsonl', EXAMPLES)
  reason.copy_targets(tmp_path, out=tmp_path / 'out', cfg=None, layout=None)
  found = list(
    records.read(tmp_path / 'out/trajectories.jsonl', types.Trajectory)
  )
  assert [t.text for t in found] == ['Gold 0.', 'Gold 1.', 'Gold 2.']
  assert [t.reward for t in found] == [1.0, 1.0, 1.0]


def test_an_example_that_was_never_drawn_is_missed_and_not_dropped(
  tmp_path, monkeypatch
):
  drawn = language.Harvest.trajectories
  monkeypatch.setattr(
    language.Harvest,
    'trajectories',
    lambda self: [t for t in drawn(self) if t.example_id != 'e2'],
  )
  texts = {(e.id, j): 'Short texts.' for e in EXAMPLES for j in range(2)}
  _, summary, found = written(tmp_path, monkeypatch, texts)
  assert list(found) == ['e0', 'e1']
  assert summary['dropped'] == 0
  assert (summary['expected'], summary['made']) == (3, 2)
