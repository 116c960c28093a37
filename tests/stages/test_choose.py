"""Facts about restpg_jax/stages/choose.py: what a choice leaves behind."""

import dataclasses
import json
import statistics
import types as python

import jax.numpy as jnp
import pytest
from etils import epath

from restpg_jax import config, errors, restpg, types
from restpg_jax.engines import generator, trainer
from restpg_jax.io import artifacts, checkpoints, records, sums
from restpg_jax.stages import choose
from tests import pipeline, tiny

SIZE = tiny.size()
EXAMPLE = types.Example('e', 'topic_writing', 'Say it', 'It is good.')
TREE = {'w': jnp.ones(1000)}


def settings(**changed):
  return python.SimpleNamespace(choose=config.Choose(**changed))


@pytest.fixture
def chosen(tmp_path):
  """(the training's folder, the choice's): step 2 of 1, 2, 3 was chosen."""
  trained, out = epath.Path(tmp_path) / 'train', epath.Path(tmp_path) / 'c-1'
  with checkpoints.Saver() as saver:
    for n in (1, 2, 3):
      folder = trained / 'checkpoints' / f'step_{n}'
      saver.save(folder, TREE, TREE, SIZE, step=n)
  checkpoints.save_model(out / 'model', TREE, SIZE, step=2)
  return trained, out


def left(trained):
  folder = trained / 'checkpoints'
  return sorted(str(p.relative_to(folder)) for p in folder.glob('*/*'))


def test_damaged_weights_are_not_chosen_from(tmp_path):
  trained = epath.Path(tmp_path)
  folder = trained / 'checkpoints' / 'step_1'
  for part in ('model', 'optimizer'):
    (folder / part).mkdir(parents=True)
    (folder / part / 'file').write_bytes(b'12')
  sums.note(folder)
  (folder / 'optimizer').rmtree()  # as an earlier choice leaves it
  choose.check_undamaged(folder)
  (folder / 'model' / 'file').write_bytes(b'13')
  with pytest.raises(errors.InputError) as caught:
    choose.check_undamaged(folder)
  assert str(caught.value) == (
    f'{folder}: model/file is damaged; remove {trained}, and it is trained '
    'again'
  )


def judged(step: int, example: str, j: int, reward: float):
  sample = types.Trajectory(example, j, 'text', reward=reward)
  return choose.CheckpointAnswer(step, sample)


EXAMPLES = [
  dataclasses.replace(EXAMPLE, id='b', task='product_review'),
  dataclasses.replace(EXAMPLE, id='a'),
  dataclasses.replace(EXAMPLE, id='c'),
]
JUDGED = [  # as two hosts may have left them
  judged(2, 'c', 0, 0.2),
  judged(1, 'a', 0, 0.1),
  judged(2, 'a', 1, 0.6),
  judged(2, 'b', 0, 0.8),
  judged(2, 'a', 0, 0.1),
]


def test_each_task_weighs_the_same_in_a_checkpoints_reward():
  assert choose.macro_rewards(JUDGED, EXAMPLES) == [
    choose.CheckpointReward(1, 0.1),
    choose.CheckpointReward(2, pytest.approx((0.8 + 0.3) / 2)),
  ]


def test_answers_of_a_checkpoint_are_in_the_order_of_examples():
  samples = choose.samples_of(2, JUDGED, EXAMPLES)
  assert [(s.example_id, s.j, s.reward) for s in samples] == [
    *(('b', 0, 0.8), ('a', 0, 0.1), ('a', 1, 0.6), ('c', 0, 0.2))
  ]


@pytest.mark.slow
def test_only_the_chosen_weights_are_left(chosen):
  trained, out = chosen
  before = choose.bytes_of(trained)
  (trained / 'checkpoints' / 'step_4' / 'model').mkdir(parents=True)  # a kill
  said = choose.clear(trained, None, out=out, cfg=settings())
  assert left(trained) == ['step_2/model']
  assert trainer.finished_steps(trained) == [2]
  freed = int(said.split('(')[1].split(' bytes')[0].replace(',', ''))
  note = (trained / choose.REMOVED).stat().length
  assert freed == before - choose.bytes_of(trained) + note > 5 * 1000
  assert choose.clear(trained, None, out=out, cfg=settings()) == ''


@pytest.mark.slow
def test_a_kill_in_between_is_mended_by_the_next_run(chosen, monkeypatch):
  trained, out = chosen
  rmtree = type(trained).rmtree

  def killed(self):
    monkeypatch.undo()
    rmtree(self)
    raise KeyboardInterrupt

  monkeypatch.setattr(type(trained), 'rmtree', killed)
  with pytest.raises(KeyboardInterrupt):
    choose.clear(trained, None, out=out, cfg=settings())
  assert len(left(trained)) > 1
  assert 'freed' in choose.clear(trained, None, out=out, cfg=settings())
  assert left(trained) == ['step_2/model']


@pytest.mark.slow
def test_all_is_kept_if_that_is_asked(chosen):
  trained, out = chosen
  assert choose.clear(trained, None, out=out, cfg=settings(keep_all=True)) == ''
  assert trainer.finished_steps(trained) == [1, 2, 3]
  assert left(trained) == [
    f'step_{n}/{name}'
    for n in (1, 2, 3)
    for name in ('files.json', 'model', 'optimizer')
  ]


@pytest.mark.slow
def test_another_choice_leaves_what_the_first_has_left(chosen):
  trained, out = chosen
  choose.clear(trained, None, out=out, cfg=settings())
  other = out.parent / 'c-2'
  checkpoints.save_model(other / 'model', TREE, SIZE, step=3)
  assert choose.clear(trained, None, out=other, cfg=settings()) == ''
  assert left(trained) == ['step_2/model']


@pytest.mark.slow
def test_a_checkpoint_that_lacks_an_answer_is_missed(chosen, monkeypatch):
  trained, out = chosen
  records.write(out / 'examples.jsonl', [EXAMPLE])

  def answers(model, examples, done, cfg, layout):
    if model.parent.name != 'step_3':
      drawn = [
        generator.Sample('e', j, 'text', True, 1, -1.0)
        for j in range(2 if model.parent.name == 'step_1' else 1)
      ]
      yield generator.FinishedSamples(drawn, busy=1, slots=1)

  def judge(answered, *_):
    return [
      dataclasses.replace(a, sample=dataclasses.replace(a.sample, reward=0.5))
      for a in answered
    ]

  monkeypatch.setattr(choose, 'answer_missing', answers)
  monkeypatch.setattr(choose, 'judge_answers', judge)

  class Found:
    size, load, origin = SIZE, lambda self: TREE, lambda self: {}

  monkeypatch.setattr(choose.weights, 'find_checkpoint', lambda path: Found())
  cfg = choose.ChooseSettings(
    choose=config.Choose(),
    answer=config.Sample(m=2),
    reward=config.Reward(),
    prompt=config.Prompt(),
    tokenizer=config.Model(),
    reasoning=False,
    seed=0,
  )
  summary = choose.choose(trained, out, out=out, cfg=cfg, layout=tiny.layout())
  assert (summary['expected'], summary['made']) == (3, 1)
  assert summary['answers'] == 3
  scored = [*records.read(out / choose.SCORED, types.Trajectory)]
  assert [(s.example_id, s.j, s.reward) for s in scored] == [
    ('e', 0, 0.5),
    ('e', 1, 0.5),
  ]


@pytest.mark.slow
def test_a_run_frees_what_it_can_and_the_same_again_finds_all(tmp_path, capsys):
  cfg = pipeline.small(methods=('sft',))
  restpg.run_methods(cfg, tmp_path)
  (trained,) = tmp_path.glob('sft/train-*')
  (out,) = tmp_path.glob('sft/choose-*')
  assert (out / 'DONE.json').exists()
  assert len(trainer.finished_steps(epath.Path(trained))) == 1
  first = capsys.readouterr().out.splitlines()
  scored = [*records.read(out / choose.SCORED, types.Trajectory)]
  lines = (out / 'validation.jsonl').read_text().splitlines()
  means = {line['step']: line['reward'] for line in map(json.loads, lines)}
  best = records.read_json(out / 'DONE.json')['summary']
  tasks = {s.example_id.split('/')[0] for s in scored}
  assert (
    means[best['best_step']]
    == best['reward']
    == pytest.approx(
      statistics.fmean(
        statistics.fmean(s.reward for s in scored if s.example_id.startswith(t))
        for t in tasks
      )
    )
  )
  (freed,) = [line for line in first if ' freed ' in line]
  assert freed.startswith('sft/choose               freed   (')
  restpg.run_methods(cfg, tmp_path)
  again = capsys.readouterr().out.splitlines()[1:]
  assert again
  assert all(' kept ' in line for line in again)

  # Another choice among what is gone cannot be made, and says so.
  other = dataclasses.replace(cfg, choose=config.Choose(examples=2))
  with pytest.raises(errors.InputError, match='remove this folder') as caught:
    restpg.run_methods(other, tmp_path)
  assert str(trained) in str(caught.value)
  epath.Path(trained).rmtree()
  with pytest.raises(artifacts.Until):
    restpg.run_methods(other, tmp_path, until='sft')
