"""Reasoning data: what is redrawn, what is dropped, what a target is."""

import dataclasses
import warnings

import pytest

from restpg_jax import assets, config, errors, types
from restpg_jax.engines import generator, prompting
from restpg_jax.io import append_log, artifacts, fingerprints, records
from restpg_jax.stages import reason
from restpg_jax.text import prompts, templates, turns
from tests import tiny

OUTPUT = templates.Output('Summary:', 'Answer:')
EXAMPLES = [
  types.Example(f'e{n}', 'topic_writing', 'Say it', f'Gold {n}.')
  for n in range(3)
]
SETTINGS = reason.ReasonSettings(
  config.Reason(template='prompts/tiny/reasoner.txt', tries=2),
  config.Prompt(template='prompts/tiny/policy.txt'),
  seed=0,
)


class Reasoner:
  """Writes given texts: {(example, j): text}; notes what it was asked.

  A text that ends in '..' was cut off at its limit.
  """

  def __init__(self, monkeypatch, texts):
    self.asked, self.prompts = [], {}
    self.tokenizer = generator.load_named(
      config.Model(), monkeypatch.layout
    ).tokenizer

    def sample(model, wanted, **_):
      for w in wanted:
        self.asked += [(w.example_id, j) for j in w.js]
        self.prompts[w.example_id] = self.tokenizer.decode(w.prompt)
        drawn = []
        for j in w.js:
          text = texts[w.example_id, j]
          ended = not text.endswith('..')
          drawn.append(generator.Sample(w.example_id, j, text, ended, 3, -1))
        yield generator.FinishedSamples(drawn, busy=3, slots=4)

    monkeypatch.setattr(generator, 'generate_samples', sample)
    monkeypatch.setattr(generator, 'load_named', lambda *_, **__: self)


def run(tmp_path, monkeypatch, texts, settings=SETTINGS):
  """The reasoner, the summary, and the targets by example."""
  from restpg_jax.parallel import layout as layouts

  monkeypatch.layout = layouts.Layout.of(config.Compute())
  records.write(tmp_path / 'examples.jsonl', EXAMPLES)
  out = tmp_path / 'out'
  reasoner = Reasoner(monkeypatch, texts)
  summary = reason.reason(tmp_path, out=out, cfg=settings, layout=tiny.layout())
  found = records.read(out / 'trajectories.jsonl', types.Trajectory)
  return reasoner, summary, {t.example_id: t for t in found}


def written(*arguments):
  """The same with what the reasoner was asked."""
  reasoner, summary, found = run(*arguments)
  return reasoner.asked, summary, found


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


CUT = {
  ('e0', 0): 'Short texts.',
  ('e1', 0): 'Likes tea and..',
  ('e1', 1): 'Likes tea.',
  ('e2', 0): 'Writes of..',
  ('e2', 1): 'Writes of boats and..',
}


def test_reasoning_that_was_cut_off_is_redrawn_then_dropped(
  tmp_path, monkeypatch
):
  asked, summary, found = written(tmp_path, monkeypatch, CUT)
  assert asked == [('e0', 0), ('e1', 0), ('e2', 0), ('e1', 1), ('e2', 1)]
  assert list(found) == ['e0', 'e1']
  assert 'Likes tea.\n' in found['e1'].text
  assert (summary['dropped'], summary['cut_off']) == (1, 3)


def test_it_may_be_kept_and_is_counted(tmp_path, monkeypatch):
  keep = dataclasses.replace(SETTINGS.reason, cut_off='keep')
  settings = dataclasses.replace(SETTINGS, reason=keep)
  asked, summary, found = written(tmp_path, monkeypatch, CUT, settings)
  assert asked == [('e0', 0), ('e1', 0), ('e2', 0)]
  assert 'Likes tea and..\n' in found['e1'].text
  assert (summary['dropped'], summary['cut_off']) == (0, 2)


def test_draws_of_a_store_from_before_count_as_tries(tmp_path, monkeypatch):
  cut = types.Trajectory('e1', 0, 'Likes tea and', ended=False)
  drawn = append_log.AppendLog(tmp_path / 'out/drawn', types.Trajectory, host=0)
  drawn.append([cut, types.Trajectory('e2', 0, 'Boats.')])
  asked, summary, found = written(tmp_path, monkeypatch, CUT)
  assert asked == [('e0', 0), ('e1', 1)]
  assert list(found) == ['e0', 'e1', 'e2']
  assert summary['cut_off'] == 1


def test_none_of_it_usable_says_how_many_were_cut_off(tmp_path, monkeypatch):
  texts = dict.fromkeys([(e.id, j) for e in EXAMPLES for j in (0, 1)], 'x..')
  with pytest.raises(errors.InputError, match='cut off: 6.; raise reason.max_'):
    written(tmp_path, monkeypatch, texts)


def finished_before(tmp_path, *ended, examples=EXAMPLES, settings=SETTINGS):
  """What is warned of a stage whose summary has no such count yet."""
  records.write(tmp_path / 'examples.jsonl', examples)
  out = tmp_path / 'reason-a1b2'
  drawn = append_log.AppendLog(out / 'drawn', types.Trajectory, host=0)
  drawn.append(
    [
      types.Trajectory(e.id, 0, 'Likes tea', ended=whole)
      for e, whole in zip(examples, ended, strict=True)
    ]
  )
  records.write_json(out / artifacts.DONE, {'summary': {'made': 3}})
  with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter('always')
    assert reason.warn_if_older(tmp_path, out=out, cfg=settings) == ''
  return [str(w.message).replace(str(tmp_path), '') for w in found]


def test_what_was_trained_on_before_is_not_passed_in_silence(tmp_path):
  assert finished_before(tmp_path, True, False, False) == [
    '/reason-a1b2: of 3 reasonings that are trained on 2 cut off at '
    'reason.max_output=512; remove this folder, and they are drawn again'
  ]


def test_an_older_stage_without_such_reasoning_is_silent(tmp_path):
  assert finished_before(tmp_path, True, True, True) == []


LONG = dataclasses.replace(
  EXAMPLES[0], context=('tea and cake ' * 4, 'boats ' * 40, 'stars ' * 40)
)
TIGHT = dataclasses.replace(
  SETTINGS,
  prompt=config.Prompt(template='prompts/tiny/policy.txt', max_input=110),
)


def test_the_reasoner_reads_what_the_policy_will(tmp_path, monkeypatch):
  """The second document is cut in its midst, the third is left out."""
  monkeypatch.setitem(globals(), 'EXAMPLES', [LONG])
  reasoner, *_ = run(tmp_path, monkeypatch, {('e0', 0): 'Tea.'}, TIGHT)
  words = reasoner.tokenizer
  template = prompting.load_template('prompts/tiny/policy.txt')
  read = prompts.policy(template, words, LONG, reasoning=True, limit=110)
  assert read.cut == ('document 1', 'document 2')
  shown = reasoner.prompts['e0']
  assert ' | '.join(read.context) in shown
  assert 'tea and cake' in shown
  assert 0 < shown.count('boats') < 40
  assert 'stars' not in shown


def test_where_nothing_is_cut_its_prompt_is_as_ever(tmp_path, monkeypatch):
  monkeypatch.setitem(globals(), 'EXAMPLES', [LONG])
  reasoner, *_ = run(tmp_path, monkeypatch, {('e0', 0): 'Tea.'})
  template = prompting.load_template('prompts/tiny/reasoner.txt')
  words = reasoner.tokenizer
  chat = turns.of_form(words, 'gemma')
  asked = prompts.reasoner(template, words, LONG, turns=chat, limit=8192)
  assert reasoner.prompts['e0'] == words.decode(asked.ids)


def test_reasoning_made_of_more_than_the_policy_reads_is_told(tmp_path):
  found = finished_before(tmp_path, True, examples=[LONG], settings=TIGHT)
  assert found == [
    '/reason-a1b2: of 1 reasonings that are trained on 1 made of documents '
    'that prompt.max_input keeps from the policy; remove this folder, and they '
    'are drawn again'
  ]


def test_only_another_tokenizer_of_the_policy_is_in_a_fingerprint(tmp_path):
  def settings(tokenizer):
    return reason.ReasonSettings.of(
      SETTINGS.reason,
      prompt=SETTINGS.prompt,
      seed=0,
      tokenizer=config.Model('', str(tokenizer)),
    )

  before = fingerprints.meaning(SETTINGS)
  copy, other = tmp_path / 'copy.model', tmp_path / 'other.model'
  copy.write_bytes(assets.path('tiny.spm.model').read_bytes())
  other.write_bytes(b'another')
  assert set(before) == {'reason', 'prompt', 'seed'}
  assert 'cut_off' not in before['reason']
  assert fingerprints.meaning(settings('tiny.spm.model')) == before
  assert fingerprints.meaning(settings(copy)) == before
  assert set(fingerprints.meaning(settings(other))) == {*before, 'tokenizer'}
  assert settings('not/there').tokenizer == config.Model('', 'not/there')


def test_a_word_that_says_neither(tmp_path):
  with pytest.raises(errors.InputError) as e:
    reason.check_reason(config.Reason(cut_off='maybe'))
  assert str(e.value) == (
    "reason.cut_off is 'maybe'; it must be 'drop' or 'keep'"
  )


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
  reason.copy_targets(
    tmp_path, out=tmp_path / 'out', cfg=None, layout=tiny.layout()
  )
  found = list(
    records.read(tmp_path / 'out/trajectories.jsonl', types.Trajectory)
  )
  assert [t.text for t in found] == ['Gold 0.', 'Gold 1.', 'Gold 2.']
  assert [t.reward for t in found] == [1.0, 1.0, 1.0]


def test_an_example_that_was_never_drawn_is_missed_and_not_dropped(
  tmp_path, monkeypatch
):
  drawn = generator.FinishedSamples.trajectories
  monkeypatch.setattr(
    generator.FinishedSamples,
    'trajectories',
    lambda self: [t for t in drawn(self) if t.example_id != 'e2'],
  )
  texts = {(e.id, j): 'Short texts.' for e in EXAMPLES for j in range(2)}
  _, summary, found = written(tmp_path, monkeypatch, texts)
  assert list(found) == ['e0', 'e1']
  assert summary['dropped'] == 0
  assert (summary['expected'], summary['made']) == (3, 2)
