"""Facts about restpg_jax/members.py: the experiments of a sweep."""

import pytest

from restpg_jax import cli, config, errors, main, members

FILE = """
from restpg_jax import config, sweeps

def get_config(iterations=1):
  return config.Config(iterations=iterations)

def sweep():
  {body}
"""
BUDGETS = "yield from sweeps.product({'draw.m': [8, 4], 'seed': [0, 1]})"


@pytest.fixture
def file(tmp_path):
  """Writes a config file with this sweep(); '' writes none."""

  def write(body):
    path = tmp_path / 'x.py'
    text = FILE.format(body=body)
    path.write_text(text if body else text.partition('def sweep')[0])
    return str(path)

  return write


def read(path, *flags):
  command = cli.parse_command(
    ['sweep', f'--config={path}', '--workdir=w', *flags], [*main.VERBS]
  )
  found = members.read_members(
    command.cfg, command.file, command.axes, command.overridden
  )
  return members.pick(found, command.sweep.index)


def refused(path, *flags):
  with pytest.raises(errors.InputError) as caught:
    members.check_distinct(read(path, *flags), reads=None)
  message = str(caught.value)
  assert '\n' not in message
  return message.replace(path, 'x.py')


def test_a_member_has_a_config_of_its_own(file):
  found = read(f'{file(BUDGETS)}:iterations=2', '--config.train.steps=7')
  assert [m.label for m in found] == [
    'm 8, seed 0',
    'm 8, seed 1',
    'm 4, seed 0',
    'm 4, seed 1',
  ]
  assert [m.index for m in found] == [0, 1, 2, 3]
  for member, m, seed in zip(found, (8, 8, 4, 4), (0, 1, 0, 1), strict=True):
    wanted = config.Config(iterations=2, seed=seed, draw=config.Draw(m=m))
    wanted.train.steps = 7
    assert member.cfg == wanted


def test_flags_are_more_axes(file):
  found = read(
    file("return [{'seed': 3}]"),
    '--sweep.draw.m=8,16',
    '--sweep.methods=sft,(sft,rest_pg)',
    '--sweep.fresh_start=false',
  )
  assert [m.overrides for m in found] == [
    {'seed': 3, 'draw.m': m, 'methods': methods, 'fresh_start': False}
    for m in (8, 16)
    for methods in (('sft',), ('sft', 'rest_pg'))
  ]
  assert found[1].label == (
    'seed 3, m 8, methods sft/rest_pg, fresh_start False'
  )
  (alone,) = read(file(''), '--sweep.draw.rounds=(4, 32)')
  assert alone.cfg.draw.rounds == (4, 32)


def test_a_tilde_in_a_path_is_the_home(file, monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  (member,) = read(file("return [{'data.path': '~/data'}]"))
  assert member.cfg.data.path == '/home/me/data'


@pytest.mark.parametrize(
  'body, flags, message',
  [
    (
      "return [{'draw.n': 8}]",
      [],
      'x.py: member 0 of sweep(): unknown setting config.draw.n; did you mean '
      'config.draw.m?',
    ),
    (
      "return [{'draw.m': 8}, {'draw.m': '4'}]",
      [],
      "x.py: member 1 of sweep(): config.draw.m='4': the value must be int",
    ),
    (
      'return [8]',
      [],
      'x.py: sweep() gave 8 as member 0; each must be a dictionary of '
      "overrides, {'draw.m': 8}",
    ),
    ('return 8', [], "x.py, line 8: TypeError: 'int' object is not iterable"),
    ('1 / 0', [], 'x.py, line 8: ZeroDivisionError: division by zero'),
    ('return []', [], 'x.py: sweep() gave no member'),
    ('', [], 'x.py: it has no function sweep, and there is no --sweep.KEY=A,B'),
    (
      BUDGETS,
      ['--sweep.draw.m=2'],
      '--sweep: draw.m is in two axes of a product; leave it out of the '
      'flags, or of sweep() in x.py',
    ),
    (
      BUDGETS,
      ['--sweep.train.steps=2,many'],
      '--sweep.train.steps=2,many: --config.train.steps=many: the value must '
      'be int',
    ),
    (
      BUDGETS,
      ['--sweep.train.step=2'],
      '--sweep.train.step=2: unknown setting config.train.step; did you mean '
      'config.train.steps?',
    ),
    (BUDGETS, ['--sweep.seed'], '--sweep.seed: give its values, A,B,C'),
    (
      BUDGETS,
      ['--config.seed=3'],
      '--config.seed: the sweep sets it; leave that flag out',
    ),
    (
      BUDGETS,
      ['--index=4'],
      '--index=4: the members are 0 to 3; --list shows them',
    ),
    (
      BUDGETS,
      ['--index=-1'],
      '--index=-1: the members are 0 to 3; --list shows them',
    ),
  ],
)  # fmt: skip
def test_a_sweep_that_cannot_be(file, body, flags, message):
  text = refused(file(body), *flags)
  assert text.startswith(message.split(', line')[0]) and text.endswith(
    message.rpartition('line 8: ')[2]
  )


def test_index_is_one_member(file):
  (member,) = read(file(BUDGETS), '--index=2')
  assert (member.index, member.label) == (2, 'm 4, seed 0')


@pytest.mark.parametrize(
  'body, labels',
  [
    ("{'draw.m': [8, 8]}", ('m 8', 'm 8')),
    ("{'train.clip': [1, 1.0]}", ('clip 1', 'clip 1.0')),
    ("{'compute.prompts': [1, 2]}", ('prompts 1', 'prompts 2')),
    ("{'select.floor': [0.5, 0.7]}", ('floor 0.5', 'floor 0.7')),
    (
      "{'evaluate.metrics': [(), ('bleu',)]}",
      ('metrics none', 'metrics bleu'),
    ),
    ("{'methods': [('sft',)], 'draw.m': [8, 9]}",
     ('methods sft, m 8', 'methods sft, m 9')),
  ],
)  # fmt: skip
def test_two_members_of_one_experiment(file, body, labels):
  assert refused(file(f'return sweeps.product({body})')) == (
    f'members 0 ({labels[0]}) and 1 ({labels[1]}) are the same experiment; '
    'leave one out'
  )


def test_what_makes_members_differ(file):
  flags = (
    '--sweep.answer.m=1,2',
    '--sweep.draw.m=8,16',
    '--sweep.iterations=1,2',
  )
  members.check_distinct(read(file(''), *flags), reads=None)


def test_axes_belong_to_the_verb(file):
  with pytest.raises(errors.InputError, match='belongs to the verb sweep'):
    cli.parse_command(
      ['run', f'--config={file("")}', '--sweep.seed=1'], [*main.VERBS]
    )
  with pytest.raises(errors.InputError, match='--index and --list belong to'):
    cli.parse_command(
      ['run', f'--config={file("")}', '--index=1'], [*main.VERBS]
    )
