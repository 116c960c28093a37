"""Facts about restpg_jax/cli.py: the command line."""

import pytest
from etils import epath

from restpg_jax import cli, config, errors, overrides

VERBS = ('run', 'report')

FILE = """
from restpg_jax import config

def get_config(arg='plain'):
  cfg = config.Config(iterations=5)
  if arg == 'raise':
    cfg.seed / 0
  if arg == 'lines':
    raise ValueError('two\\n  lines')
  if arg == 'typo':
    cfg.train.stepz = 3
  if arg == 'type':
    cfg.train.steps = '3'
  if arg == 'bool':
    cfg.seed = True
  if arg == 'methods':
    cfg.methods = 'sft'
  if arg == 'none':
    return None
  return cfg
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'x.py'
  path.write_text(FILE)
  return str(path)


def parse(file, *flags):
  return cli.parse_command([f'--config={file}', '--workdir=w', *flags], VERBS)


def refused(file, *flags):
  with pytest.raises(errors.InputError) as caught:
    parse(file, *flags)
  message = str(caught.value)
  assert '\n' not in message
  return message


def test_a_whole_command(file):
  found = cli.parse_command(
    ['report', f'--config={file}', '--workdir', 'w', '--until=sft'], VERBS
  )
  assert found == cli.Command(
    'report', 'w', config.Config(iterations=5), 'sft', file=file
  )
  assert cli.parse_command(['--workdir=w'], VERBS) == cli.Command(
    'run', 'w', None, ''
  )
  assert parse(file, 'report').verb == 'report'  # a verb may stand behind


@pytest.mark.parametrize(
  'flag, key, value',
  [
    ('--config.seed=7', 'seed', 7),
    ('--config.train.steps=7', 'train.steps', 7),
    ('--config.train.learning_rate=1', 'train.learning_rate', 1.0),
    ('--config.select.threshold=1e-2', 'select.threshold', 0.01),
    ('--config.fresh_start=false', 'fresh_start', False),
    ('--noconfig.fresh_start', 'fresh_start', False),
    ('--config.data.path=a b,c', 'data.path', 'a b,c'),
    ('--config.data.world.test=3', 'data.world.test', 3),
    ('--config.methods=sft', 'methods', ('sft',)),
    ('--config.methods=sft,rest_pg', 'methods', ('sft', 'rest_pg')),
    ("--config.methods=('sft','rest_pg')", 'methods', ('sft', 'rest_pg')),
    ('--config.methods=', 'methods', ()),
    ('--config.draw.rounds=16,32', 'draw.rounds', (16, 32)),
    ('--config.draw.rounds=(16, 32)', 'draw.rounds', (16, 32)),
    ('--config.draw.rounds=16', 'draw.rounds', (16,)),
  ],
)
def test_an_override_has_the_type_of_its_setting(file, flag, key, value):
  cfg = parse(file, flag).cfg
  *sections, name = key.split('.')
  holder = cfg
  for section in sections:
    holder = getattr(holder, section)
  assert getattr(holder, name) == value
  assert type(getattr(holder, name)) is type(value)
  setattr(holder, name, getattr_in(config.Config(iterations=5), key))
  assert cfg == config.Config(iterations=5)  # nothing else has changed


def getattr_in(cfg, key):
  for name in key.split('.'):
    cfg = getattr(cfg, name)
  return cfg


def test_a_tilde_is_the_home_of_who_calls(file, monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  flags = {
    'convert': {'source': '--from', 'to': '--to', 'tokenizer': '--tokenizer'},
    'generate': {'input': '--input', 'output': '--output'},
    'prepare': {
      **{'source': '--from', 'to': '--to'},
      **{'avocado': '--avocado', 'ids': '--ids'},
    },
  }
  for verb, names in flags.items():
    given = [f'{flag}=~/{name}' for name, flag in names.items()]
    found = cli.parse_command([verb, '--workdir=~/w', *given], [*flags])
    assert found.workdir == f'{tmp_path}/w'
    section = getattr(found, verb)
    for name in names:
      assert getattr(section, name) == f'{tmp_path}/{name}'
  assert parse('~/x.py').cfg == config.Config(iterations=5)
  (tmp_path / 'y.py').write_text(FILE.replace('iterations=5', 'data=DATA'))
  text = "from restpg_jax import config\nDATA = config.Data(path='~/data')\n"
  (tmp_path / 'y.py').write_text(text + (tmp_path / 'y.py').read_text())
  cfg = parse(
    '~/y.py', '--config.policy.tokenizer=~/t', '--config.reward.name=~/r'
  ).cfg
  assert cfg.data.path == f'{tmp_path}/data'
  assert cfg.policy.tokenizer == f'{tmp_path}/t'
  assert cfg.policy.checkpoint == 'tiny_pt'
  assert cfg.reward.name == '~/r'  # is no path


def test_sections_of_one_class_stay_apart(file):
  cfg = parse(file, '--config.draw.m=3', '--config.reason.model.checkpoint=c')
  assert (cfg.cfg.draw.m, cfg.cfg.answer.m) == (3, 1)
  assert cfg.cfg.reward.model.checkpoint == 'tiny_it'
  assert parse(file).cfg == config.Config(iterations=5)


@pytest.mark.parametrize(
  'key, nearest',
  [
    ('train.stepz', 'train.steps'),
    ('steps', 'train.steps'),
    ('treshold', 'select.threshold'),
    ('data.word.test', 'data.world.test'),
    ('train.steps.x', 'train.steps'),
  ],
)
def test_an_unknown_setting_names_the_nearest(file, key, nearest):
  assert refused(file, f'--config.{key}=1') == (
    f'unknown setting config.{key}; did you mean config.{nearest}?'
  )


def test_a_section_names_its_settings(file):
  assert refused(file, '--config.choose=1') == (
    'unknown setting config.choose; it holds config.choose.examples, '
    'config.choose.keep_all'
  )


@pytest.mark.parametrize(
  'flag, kind',
  [
    ('--config.train.steps=abc', 'int'),
    ('--config.train.steps=1.5', 'int'),
    ('--config.train.steps=', 'int'),
    ('--config.select.threshold=high', 'float'),
    ('--config.fresh_start=maybe', 'bool'),
    ('--config.draw.rounds=16,many', 'tuple[int, ...]'),
  ],
)
def test_a_value_of_the_wrong_type(file, flag, kind):
  assert refused(file, flag) == f'{flag}: the value must be {kind}'


@pytest.mark.parametrize(
  'flags, words',
  [
    (['--confg.seed=1'], 'confg.seed'),
    (['--worker=x'], "Unknown command line flag 'worker'"),
    (['--until'], 'until'),
    (['runn'], 'runn: the verbs are run, report'),
    (['run', 'report'], 'run report: the verbs are run, report'),
  ],
)
def test_bad_flags_and_verbs(file, flags, words):
  assert words in refused(file, *flags)


def test_a_value_inside_a_tuple_of_the_wrong_type(file):
  assert refused(file, "--config.draw.rounds=(16, 'x')") == (
    "--config.draw.rounds=(16, 'x'): the value must be tuple[int, ...]"
  )


def test_overrides_need_a_config():
  with pytest.raises(errors.InputError, match='without --config=FILE'):
    cli.parse_command(['--config.seed=1', '--workdir=w'], VERBS)


@pytest.mark.parametrize(
  'argument, message',
  [
    ('raise', ', line 7: ZeroDivisionError: division by zero'),
    (
      'typo',
      ': unknown setting config.train.stepz; did you mean config.train.steps?',
    ),
    ('type', ": config.train.steps='3': the value must be int"),
    ('bool', ': config.seed=True: the value must be int'),
    ('methods', ": config.methods='sft': the value must be tuple[str, ...]"),
    ('none', ': get_config gave a NoneType, not a restpg_jax.config.Config'),
  ],
)
def test_a_config_file_that_is_wrong(file, argument, message):
  assert refused(f'{file}:{argument}') == file + message


def test_a_config_file_that_does_not_load(file, tmp_path):
  assert refused(tmp_path / 'none.py').endswith('none.py: no such config file')
  assert 'missing --config=FILE' in refused('')
  bad = tmp_path / 'bad.py'
  bad.write_text('x = 1\ndef get_config(:\n')
  assert refused(bad).startswith(f'{bad}, line 2: SyntaxError: ')
  bad.write_text('x = 1\n')
  assert refused(bad) == f'{bad}: it has no function get_config'
  bad.write_bytes(b'\xff\xfe')
  assert refused(bad).startswith(f'{bad}')


def test_a_config_file_in_a_bucket(bucket):
  del bucket  # it is there
  path = epath.Path('gs://b/configs/x.py')
  path.write_text(FILE)
  assert parse(path, '--config.seed=7').cfg.seed == 7
  message = ', line 7: ZeroDivisionError: division by zero'
  assert refused(f'{path}:raise') == f'{path}{message}'
  assert refused('gs://b/none.py:x') == 'gs://b/none.py: no such config file'


def test_every_setting_can_be_overridden(file):
  samples = {int: '3', float: '0.25', str: 'x', bool: 'false'}
  for key, kind in overrides.keys(config.Config).items():
    value = samples.get(kind, '1,2')
    found = getattr_in(parse(file, f'--config.{key}={value}').cfg, key)
    wanted = {int: 3, float: 0.25, str: 'x', bool: False}
    wanted |= {tuple[int, ...]: (1, 2), tuple[str, ...]: ('1', '2')}
    assert found == wanted[kind], key


@pytest.mark.parametrize('flag', ['--help', '-h', '-help', '--helpfull'])
def test_help_is_seen_anywhere(flag):
  assert cli.wants_help(['run', '--config=x.py', flag])
  assert not cli.wants_help(['run', '--config.help=x', '--helper'])
