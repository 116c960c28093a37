"""Finished runs for tests: a workdir as they leave it."""

import dataclasses
import itertools

from restpg_jax import config, experiments, types
from restpg_jax.io import checkpoints, records
from restpg_jax.report import build
from restpg_jax.stages import measure
from tests import tiny

OUTPUT = {'opening': 'Summary:', 'marker': 'Answer:'}
EMAIL, TOPIC = 'email_generation', 'topic_writing'
KINDS = {'scored': 'scores', 'measured': 'measures'}


def example(task: str, row: int, **changes) -> types.Example:
  made = types.Example(
    id=f'{task}/test/{row}',
    task=task,
    input=f'write {row}',
    output='red boats',
    context=('an old text',),
    truth=(types.TruthSlot('red', ('red', 'blue')),),
  )
  return dataclasses.replace(made, **changes)


def answer(of: types.Example, reward: float, text='red boats', **changes):
  made = types.Trajectory(
    of.id, 0, f'Summary:\nlikes red\nAnswer:\n{text}', reward=reward
  )
  return dataclasses.replace(made, **changes)


def evaluate(
  workdir, method: str, t: int, examples, scored, measured=True, choice=''
) -> dict:
  """Writes the folders of one evaluation, as the stages do; `choice` is the
  folder of its policy."""
  here = {'t': t}
  for kind, items in (
    ('examples', examples),
    ('answers', scored),
    ('scored', scored),
    *[('measured', list(numbers(scored)))] * measured,
  ):
    name = f'{method}/{t}/{kind}'
    fingerprint = f'{method}{t}{kind}'
    file = 'trajectories' if kind == 'answers' else kind
    made = records.write(workdir / name / f'{file}.jsonl', items)
    records.write_json(
      workdir / name / 'DONE.json',
      {
        'name': name,
        'fingerprint': fingerprint,
        'cfg': None,
        'inputs': []
        if kind == 'examples'
        else [
          {'path': choice or 'x', 'fingerprint': f'{method}{t}choice'},
          {'path': 'y', 'fingerprint': f'{method}{t}examples'},
        ],
        'summary': {'expected': made, 'made': made},
        'seconds': 2.0,
        'versions': {'jax': '1.2'},
      },
    )
    here[KINDS.get(kind, kind)] = name
  return here


def choose(workdir, folder: str, examples, scored) -> str:
  """Writes a choice and its validation examples; `scored` None: an old one."""
  records.write(workdir / folder / 'val' / 'examples.jsonl', examples)
  if scored is not None:
    records.write(workdir / folder / 'scored.jsonl', scored)
  records.write_json(
    workdir / folder / 'DONE.json',
    {
      'name': folder,
      'fingerprint': folder,
      'cfg': None,
      'inputs': [
        {'path': path, 'fingerprint': path} for path in ('x', f'{folder}/val')
      ],
      'summary': {'expected': 2, 'made': 2, 'reward': 0.375},
      'seconds': 2.0,
      'versions': {'jax': '1.2'},
    },
  )
  return folder


def numbers(scored):
  """Metrics that follow from the reward, so that tests can tell them."""
  for s in scored:
    if s.reward is not None:
      values = {
        'rouge1': s.reward / 2,
        'corpus_bleu': [4, 8] + [4, 3, 2, 1] * 2,
      }
      yield measure.Measured(s.example_id, s.j, values)


def settings(**changes) -> dict:
  """The default settings as records hold them, some sections changed."""
  return {**dataclasses.asdict(config.Config()), **changes}


def finish(
  workdir,
  method: str,
  runs: list,
  *,
  output=OUTPUT,
  measured=True,
  stem='',
  choices=(),
  **changes,
):
  """A finished method; runs: (examples, scored) of iterations 0, 1, ..

  `choices` are the folders that `choose` wrote for them, if any.
  `stem` is of its files, for several of one name; its record is an old one.
  """
  stem = stem or method
  drawn = [a.j for _, scored in runs for a in scored]
  cfg = settings()
  cfg['answer']['m'] = 1 + max(drawn, default=0)
  records.write_json(
    workdir / 'methods' / f'{stem}.json',
    {
      'method': method,
      'config': {**cfg, **changes},
      'seconds': 9.5,
      'output': output,
      'iterations': [
        evaluate(workdir, stem, t, *run, measured, choice)
        for t, (run, choice) in enumerate(
          itertools.zip_longest(runs, choices, fillvalue='')
        )
      ],
    },
  )


def two_methods(workdir) -> dict:
  """SFT and two iterations of REST-PG on 3 e-mails and 1 topic."""
  examples = [*(example(EMAIL, row) for row in range(3)), example(TOPIC, 0)]

  def scored(*rewards):
    return [answer(*pair) for pair in zip(examples, rewards, strict=True)]

  finish(
    workdir,
    'rest_pg',
    [
      (examples, scored(0.1, 0.1, 0.4, 0.2)),
      (examples, scored(0.3, 0.5, 1.0, 1.0)),
    ],
  )
  finish(workdir, 'sft', [(examples, scored(0.2, 0.2, 0.2, 0.6))])
  return build.build_report(workdir)


PROMPT = config.Prompt(
  template='prompts/tiny/policy.txt', max_input=192, max_output=24
)


def chosen(work, scale: float = 0.1):
  """Policies of two methods: rest_pg has two iterations and shares the first
  with sft, which was finished last and does not reason."""
  size = tiny.size(vocabulary=1024)  # as many as the bundled tokenizer's
  cfg = config.Config(
    iterations=1,
    prompt=PROMPT,
    compute=config.Compute(prompts=2, samples=2),
  )
  shared = {
    'tokenizer': {'checkpoint': '', 'tokenizer': 'tiny.spm.model'},
    'prompt': {'template': PROMPT.template},
  }
  for n, name in enumerate(('sft/choose-a', 'm_step1/choose-b')):
    params = tiny.parameters(size, scale + n)
    checkpoints.save_model(work / name / 'model', params, size)
    records.write_json(
      work / name / 'DONE.json',
      {
        'name': name[:-2],
        'fingerprint': name,
        'cfg': shared,
        'inputs': [],
        'summary': {'made': 1, 'best_step': 7},
        'versions': {'jax': '0.0.1'},
      },
    )
    records.write_json(
      work / f'eval{n}' / 'DONE.json', {'inputs': [{'path': name}]}
    )
  for method, evals, output in (
    ('rest_pg', (0, 1), OUTPUT),
    ('sft', (0,), None),
  ):
    record = {
      'method': method,
      'config': dataclasses.asdict(cfg),
      'output': output,
      'iterations': [{'t': t, 'answers': f'eval{t}'} for t in evals],
    }
    experiments.note(work, record)
  means = {
    'reward': 0.5,
    'reward_stderr': 0.125,
    'rouge1': 0.25,
    'no_answer': 3,
  }
  iterations = [{'t': 1, 'tasks': {EMAIL: means}, 'macro': means}]
  records.write_json(
    work / 'report' / 'results.json',
    {'methods': {'rest_pg': {'iterations': iterations}}},
  )
  return work
