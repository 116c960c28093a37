"""Facts about restpg_jax/commands/model_card.py."""

from restpg_jax import experiments, verb_args
from restpg_jax.commands import model_card, policies
from restpg_jax.io import records
from tests import tiny


def test_the_card_has_the_numbers_of_its_own_experiment(workdir):
  first = experiments.pick(workdir, 'rest_pg')
  settings = first['config'] | {'answer': first['config']['answer'] | {'m': 2}}
  experiments.note(workdir, first | {'config': settings})
  last = experiments.pick(workdir)
  path = workdir / 'report' / 'results.json'
  (numbers,) = records.read_json(path)['methods'].values()

  def written(label, **known):
    """The card of the first; the report has numbers of what `label` was."""
    results = {'methods': {label: numbers}} | known
    records.write_json(path, results)
    origin = policies.find_policy(str(workdir), first['key'])
    return model_card.card_text(origin, tiny.size(), verb_args.ConvertArgs())

  # Built when there was one experiment of this name: this one, or another.
  text = written('rest_pg', experiments={'rest_pg': first['key']})
  assert '# rest_pg (answer.m 1), iteration 1' in text
  assert '| reward | 0.5000' in text and '* judge: tiny_it' in text
  text = written('rest_pg', experiments={'rest_pg': last['key']})
  assert 'the run is older than this model' in text
  assert 'older than this model' in written('rest_pg')  # which, nobody knows


def test_the_card_names_no_judge_that_was_not_asked(workdir):
  record = experiments.pick(workdir, 'rest_pg')
  record['config']['reward']['name'] = 'rouge'
  origin = policies.Origin(workdir, workdir=workdir, method=record, t=1)
  text = model_card.card_text(origin, tiny.size(), verb_args.ConvertArgs())
  assert '* reward: rouge' in text and 'judge' not in text
