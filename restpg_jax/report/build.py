"""Rebuilds WORKDIR/report from all methods that are finished in a workdir."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from restpg_jax import errors, experiments, paper
from restpg_jax.io import pages, records, sittings
from restpg_jax.report import (
  answers,
  charts,
  compare,
  costs,
  curves,
  data_table,
  demonstrations,
  e_step_figures,
  e_steps,
  figures,
  goodput,
  notes,
  output_figures,
  outputs,
  page,
  paper_figures,
  samples,
  seeds,
  stat_tables,
  tables,
  timing,
)
from restpg_jax.rewards import significance

AUDIT = '../audit/audit.html'  # the page of the verb audit, from ours
# What a summary may count; its rate is the count by the stage's seconds.
COUNTED = ('made', 'tokens', 'steps')
# Keys of a stage in results.json.
STAGE = ('name', 'seconds', 'rates', 'summary')
SYNTHETIC = (
  'Data: synthetic users (restpg_jax/data/world.py), not LongLaMP: the numbers '
  'say nothing about other data or models.'
)
# How each text metric is computed, by how its name begins.
METRICS = {
  'rouge': (
    'ROUGE, F-measure without stemming, by rouge_score with words as Unicode '
    'has them, in any script (restpg_jax/text/words.py)'
  ),
  'bleu': (
    "BLEU, sacrebleu's of each answer, tokenizer 13a, each character of a "
    'script without spaces by itself'
  ),
  'corpus_bleu': (
    'BLEU/corpus, of all answers to a task together, as LongLaMP gives it '
    '(there times 100)'
  ),
  'meteor': 'METEOR, with the synonyms of WordNet, by NLTK',
  'cosine': 'cosine of their vectors',
  'judge': 'judge, the score of the judge, which is not the reward here',
}


def build_report(workdir: epath.PathLike) -> dict[str, Any]:
  """Writes report.md, index.html, scores.jsonl and results.json.

  Returns what results.json holds. `methods` in it holds only numbers that a
  second run with the same seed gives again, by the labels of experiments.py;
  seconds, versions and the like stand beside it. Raises InputError where no
  method is finished.
  """
  workdir = epath.Path(workdir)
  methods = _finished(workdir)
  evaluations = answers.read_evaluations(workdir, methods)
  validation = compare.validation(workdir, methods)
  stages = _stages(workdir)
  results = _results(methods, evaluations, validation, stages)
  shown = samples.pack(
    samples.test_runs(evaluations),
    demonstrations.read_reasoned(workdir, methods, stages),
  )
  out = workdir / 'report'
  earlier = _earlier(out / 'results.json')
  results |= {
    'outputs': outputs.numbers(
      evaluations,
      {m['label']: m['config']['prompt']['max_output'] for m in methods},
    ),
    'e_steps': e_steps.read(
      workdir, methods, stages, earlier.get('e_steps', ())
    ),
    'cost': costs.account(methods, stages),
    'data': data_table.read(workdir, methods[0], stages, earlier.get('data')),
    'audit': AUDIT if (out / AUDIT).exists() else None,
  }
  out.mkdir(parents=True, exist_ok=True)
  records.write(out / 'scores.jsonl', _scores(evaluations))
  pages.write_page(out / 'report.md', page.markdown(results))
  drawn = figures.write(
    out / 'figures', [*_charts(workdir, results, methods, stages)]
  )
  pages.write_page(out / 'index.html', page.report_page(results, shown, drawn))
  records.write_json(out / 'results.json', results)
  return results


def _charts(
  workdir: epath.Path,
  results: dict[str, Any],
  methods: list[dict[str, Any]],
  stages: list[dict[str, Any]],
) -> Iterator[charts.Chart]:
  """Yields the charts that there is data for, in the page's order."""
  yield from paper_figures.figures(results, methods)
  yield from e_step_figures.figures(results['e_steps'], methods)
  yield from output_figures.figures(results['outputs'], methods)
  yield from curves.figures(workdir, methods, stages)
  yield from costs.figures(results)


def _earlier(path: epath.Path) -> dict[str, Any]:
  """Returns the results of the report before this one, {} where there is none
  that can be read."""
  try:
    return records.read_json(path) if path.exists() else {}
  except ValueError:
    return {}


def results_text(results: dict[str, Any]) -> str:
  """Returns what a person at a terminal sees at the end of a run."""
  return tables.text_tables(results, stat_tables.seed_lines(results))


def _finished(workdir: epath.Path) -> list[dict[str, Any]]:
  """Returns the records of all methods whose answers still exist."""
  finished = []
  for method in experiments.read_experiments(workdir):
    if gone := answers.missing(workdir, method):
      warnings.warn(
        f'{method["label"]} is left out: {gone} is not there any more; run it '
        f'again, or remove methods/{method["key"]}.json',
        errors.DataWarning,
        stacklevel=2,
      )
    else:
      finished.append(method)
  if not finished:
    raise errors.InputError(
      f'{workdir}: no finished method to report (methods/*.json). '
      'Finish a run with this workdir first.'
    )
  return finished


def _results(
  methods: list[dict[str, Any]],
  evaluations: list[answers.Evaluation],
  validation: dict[tuple[str, int], dict[str, Any]],
  stages: list[dict[str, Any]],
) -> dict[str, Any]:
  """Returns the content of results.json, key by key."""
  by_label = {m['label']: m for m in methods}
  last = answers.last(evaluations)
  pairs = compare.between_methods(last, by_label)
  numbers = {
    label: _method(label, evaluations, validation) for label in by_label
  }
  over_seeds = seeds.combine(methods, numbers, pairs)
  return {
    'about': _about(methods, {'methods': numbers}),
    'notes': [
      *notes.of_methods(methods, numbers),
      *notes.refusals(compare.test_sets(last), over_seeds),
    ],
    'methods': numbers,
    'seeds': over_seeds,
    'significance': {
      'test': significance.TEST,
      'alpha': significance.ALPHA,
      'methods': pairs,
      'iterations': compare.between_iterations(evaluations),
    },
    'paper': paper.RESULTS,
    'seconds': {label: m['seconds'] for label, m in by_label.items()},
    'stages': [{k: s[k] for k in STAGE} for s in stages],
    'speed': timing.stage_speeds(methods, stages),
    'goodput': goodput.account(methods, stages),
    'versions': _versions(stages),
    'experiments': {label: m['key'] for label, m in by_label.items()},
    'config': {label: m['config'] for label, m in by_label.items()},
  }


def _method(
  name: str,
  evaluations: list[answers.Evaluation],
  validation: dict[tuple[str, int], dict[str, Any]],
) -> dict[str, Any]:
  """Returns a method's numbers: the last iteration's, and all iterations."""
  iterations = [
    {
      't': e.t,
      **compare.summarize(e),
      'validation': validation.get((name, e.t)),
    }
    for e in evaluations
    if e.method == name
  ]
  return {
    'tasks': iterations[-1]['tasks'],
    'macro': iterations[-1]['macro'],
    'macro_public': iterations[-1]['macro_public'],
    'iterations': iterations,
  }


def _scores(
  evaluations: list[answers.Evaluation],
) -> Iterator[dict[str, Any]]:
  """Yields the lines of scores.jsonl: one answer and its numbers each."""
  for e in evaluations:
    for a in e.answers:
      yield {
        'method': e.method,
        't': e.t,
        'task': a.example.task,
        'example_id': a.example.id,
        'j': a.j,
        'reward': a.reward,
        'true_score': a.true_score,  # known for synthetic users only
        **answers.answer_metrics(a),
        'answer': a.text,  # None: the output never reached the marker
      }


def _about(methods: list[dict[str, Any]], results: dict[str, Any]) -> list[str]:
  """Says what is measured, on which data and models: sentences to print."""
  configs = [m['config'] for m in methods]
  policies = _either(c['policy']['checkpoint'] for c in configs)
  about = [
    f'Task columns and macro: {_either(map(_reward, configs))}, on test '
    f'examples, after the last iteration; policy {policies}.',
    _macros(results),
  ]
  if tables.has_truth(results):
    about.append(
      "true: the share of what the user's traits ask for that an answer "
      'says; known because the users are synthetic. A reward that rises '
      'without it points to a judge that is being gamed.'
    )
  measured = tables.metrics_of(results)
  if measured:
    known = [
      text
      for start, text in METRICS.items()
      if any(name.startswith(start) for name in measured)
    ]
    about.append(
      'Text metrics compare answer and gold text, at best 1, without an answer '
      f'0: {"; ".join(known)}.'
    )
  if len(methods) > 1:
    about.append(
      'Superscripts: the number is higher than that of the method in that '
      f'row, p < {significance.ALPHA} in a two-tailed paired t-test.'
    )
  about += dict.fromkeys(
    f'Data: {c["data"]["path"]}.' if c['data']['path'] else SYNTHETIC
    for c in configs
  )
  return about


def _either(texts: Iterable[str]) -> str:
  """Joins the texts, each once: 'a or b'."""
  return ' or '.join(dict.fromkeys(texts))


def _reward(config: dict[str, Any]) -> str:
  """Says what the reward of a run is."""
  reward = config['reward']
  if reward['name'] == 'judge':
    return (
      f"the judge's score (model {reward['model']['checkpoint']}; labels "
      '1, 3, 5, 7, 10 divided by 10)'
    )
  if reward['name'] == 'rouge':
    return 'the mean of ROUGE-1 and ROUGE-L F'
  if reward['name'] == 'cosine':
    return f'the cosine of answer and gold text by {reward["encoder"]}'
  if reward['name'] == 'mix':
    return f'the weighted mean of {", ".join(reward["mix"])}'
  return f'the score of {reward["name"]}'


def _macros(results: dict[str, Any]) -> str:
  """Says what the macro columns are."""
  every, *public = tables.macros(results).values()
  text = f'{every}: the mean of all tasks there are, each with the same weight'
  if public:
    text += f'; {public[0]}: without e-mail, whose data is under a licence'
  return f'{text[0].upper()}{text[1:]}.'


def _stages(workdir: epath.Path) -> list[dict[str, Any]]:
  """Returns DONE.json of every finished stage, with its `folder`, `rates` and
  `sittings`.

  Each comes after its inputs.
  """
  done = [
    records.read_json(path) | {'folder': str(path.parent.relative_to(workdir))}
    for path in _markers(workdir)
  ]
  inputs = {
    stage['fingerprint']: [source['fingerprint'] for source in stage['inputs']]
    for stage in done
  }

  def depth(fingerprint: str) -> int:
    return 1 + max(map(depth, inputs.get(fingerprint, ())), default=0)

  done.sort(key=lambda s: (depth(s['fingerprint']), s['name']))
  return [
    stage
    | {
      'rates': _rates(stage['summary'], stage['seconds']),
      'sittings': sittings.read(workdir / stage['folder']),
    }
    for stage in done
  ]


def _markers(folder: epath.Path) -> Iterator[epath.Path]:
  """Yields the DONE.json of each stage.

  A finished stage's own folders are not searched: `**`, which epath lacks,
  would walk every checkpoint.
  """
  if (folder / 'DONE.json').exists():
    yield folder / 'DONE.json'
    return
  for inner in sorted(folder.iterdir()):
    if inner.is_dir():
      yield from _markers(inner)


def _rates(summary: dict[str, Any], seconds: float) -> dict[str, float]:
  """Returns counts a second: {'made': 64} in 8 s, {'made_per_second': 8.0}."""
  return {
    f'{key}_per_second': summary[key] / seconds
    for key in COUNTED
    if key in summary and seconds > 0
  }


def _versions(stages: list[dict[str, Any]]) -> dict[str, str]:
  """Returns library versions; several where a workdir was made with several."""
  by_library: dict[str, set[str]] = {}
  for stage in stages:
    for library, version in stage['versions'].items():
      by_library.setdefault(library, set()).add(version)
  return {
    name: ', '.join(sorted(by_library[name])) for name in sorted(by_library)
  }
