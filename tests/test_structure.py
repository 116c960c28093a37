"""Facts about the house: who may import whom, and what is written where."""

import ast
import collections
import pathlib

import pytest

from restpg_jax import assets, cli, config, restpg

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))
LAYERS = (  # imports go down this list, never up or sideways
  ('main', 'api', 'assets.make'),
  ('audit',),
  ('preflight', 'doctor', 'report', 'commands'),
  ('members',),
  ('restpg',),
  ('phases',),
  ('validate', 'cautions', 'experiments', 'startup'),
  ('stages', 'variants'),
  ('effective',),
  ('engines',),
  ('io', 'data'),
  ('retrieval', 'models', 'sampling', 'rewards', 'training', 'parallel'),
  ('text',),
  ('cli', 'paper'),
  ('overrides', 'verb_args'),
  ('config', 'assets'),
  ('outcomes',),
  ('types', 'malloc', 'storage', 'folders', 'backends', 'integers'),
  ('errors', 'pulse', 'interrupts', 'sweeps', 'arguments', 'usage'),
)
DOORS = {  # package -> the only modules that may import it
  'absl': ('cli',),
  'ml_collections': ('cli',),
  'orbax': ('io.checkpoints',),
  'tqdm': ('io.progress',),
  'tensorboardX': ('io.event_files',),
  'pyarrow': ('data.parquet',),
  'tensorflow_datasets': ('data.builder', 'data.prepared'),
  'huggingface_hub': ('data.hub', 'io.hub'),
  'mailparser': ('data.avocado',),
  'safetensors': ('io.tensors',),
  'sentencepiece': ('text.sentencepiece_model', 'assets.make'),
  'jinja2': ('text.templates', 'text.chat_templates', 'io.pages'),
  'regex': ('text.words',),
  'rank_bm25': ('retrieval.bm25',),
  'nltk': ('rewards.meteor',),
  'rouge_score': ('rewards.rouge',),
  'sacrebleu': ('rewards.bleu',),
  'scipy': ('rewards.significance', 'rewards.correlation'),
  'flax': ('models.decoder', 'models.blocks', 'models.bert'),
  'tokenizers': ('text.wordpiece', 'text.fast_tokenizer'),
  'optax': ('training.optimizer', 'training.step'),
  'matplotlib': ('report.plots',),
}
# What may know the whole config; all below are given the sections they need.
WHOLE_CONFIG = (
  *('cli', 'api', 'preflight', 'doctor', 'restpg', 'phases'),
  *('members', 'overrides', 'main'),
  *('validate', 'cautions', 'experiments', 'variants'),
)
# They say nothing of what they hold; a field that files have keeps its name.
HOME_MADE = {'found', 'made', 'said', 'asked', 'told', 'harvest', 'place'}
ON_DISK = {  # module -> such fields that it may speak of
  'io.speed': {'made'},  # Pace, in speed.jsonl
  'io.progress': {'made'},
  'report.timing': {'made'},
  'doctor.findings': {'said'},  # Finding, in doctor.json
  'doctor.inspection': {'said'},
  'doctor.run': {'said'},
  'data.census': {'place'},  # Longest and Leak, in doctor.json
}


def sources():
  """module -> its text: {'io.records': '...', 'stages': '', ..}."""
  found = {}
  for path in sorted((ROOT / 'restpg_jax').rglob('*.py')):
    name = '.'.join(path.relative_to(ROOT / 'restpg_jax').parts)
    name = name.removesuffix('.py').removesuffix('__init__').rstrip('.')
    found[name] = path.read_text()
  return found


def imports(text):
  """All that a module imports anywhere: 'jax.numpy', 'restpg_jax.errors'."""
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, 'imports are absolute'
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def package(module):
  """'io.records' -> 'io'; 'assets.make' is a script and stands by itself."""
  return module if module == 'assets.make' else module.split('.')[0]


def upward(modules):
  """'io.records imports stages.draw' for whatever goes up or sideways."""
  level = {name: n for n, layer in enumerate(LAYERS) for name in layer}
  for module, text in modules.items():
    here = package(module)
    for name in imports(text):
      first, _, target = name.partition('.')
      there = package(target) if first == 'restpg_jax' else here
      if there != here and level[there] <= level[here]:
        yield f'{module} imports {target}'


def between_stages(modules):
  """'stages.draw imports stages.select': what two need is an engine."""
  for module, text in modules.items():
    if package(module) == 'stages':
      for name in imports(text):
        if name.startswith('restpg_jax.stages'):
          yield f'{module} imports {name.removeprefix("restpg_jax.")}'


def uninvited(modules):
  """'data.world imports scipy.stats' for whatever does not use the door."""
  for module, text in modules.items():
    for name in imports(text):
      doors = DOORS.get(name.split('.')[0])
      if doors and module not in doors:
        yield f'{module} imports {name}; the door is {" or ".join(doors)}'


def whole_configs(modules):
  """'stages.draw: line 3' for whatever speaks of config.Config below those."""
  for module, text in modules.items():
    if package(module) not in WHOLE_CONFIG:
      for node in ast.walk(ast.parse(text)):
        match node:
          case ast.Attribute(value=ast.Name(id='config'), attr='Config'):
            yield f'{module}: line {node.lineno}'


def test_imports_go_down():
  assert list(upward(sources())) == []


def test_no_stage_imports_a_stage():
  assert list(between_stages(sources())) == []


def test_sections_and_not_the_whole_config_go_down():
  assert list(whole_configs(sources())) == []


def test_stages_are_the_nodes_of_algorithm_1():
  nodes = {m.split('.')[1] for m in sources() if m.startswith('stages.')}
  assert nodes == {
    *('base', 'retrieve', 'reason', 'train', 'choose'),
    *('draw', 'score', 'select', 'measure'),
  }


def test_no_file_is_long():
  long = {m: t.count('\n') for m, t in sources().items() if t.count('\n') > 400}
  assert long == {}


def test_each_heavy_package_has_one_door():
  assert list(uninvited(sources())) == []


def test_every_door_is_in_use():
  modules = sources()
  for name, doors in DOORS.items():
    for door in doors:
      used = {found.split('.')[0] for found in imports(modules[door])}
      assert name in used, f'{door} does not import {name} any more'


def test_an_offender_is_named():
  bad = {
    'io.records': 'def f():\n  from restpg_jax.stages import draw',
    'text.prompts': 'from restpg_jax.rewards import judge',
    'rewards.judge': 'from restpg_jax import types, restpg\nimport json',
    'data.world': 'import scipy.stats as st',
  }
  assert list(upward(bad)) == [
    'io.records imports stages.draw',
    'text.prompts imports rewards.judge',
    'rewards.judge imports restpg',
  ]
  sideways = {'stages.draw': 'from restpg_jax.stages import select'}
  assert list(between_stages(sideways)) == ['stages.draw imports stages.select']
  whole = 'def f(*, reward: config.Reward,\n  cfg: config.Config):\n  pass'
  assert list(whole_configs({'engines.rewards': whole, 'phases': whole})) == [
    'engines.rewards: line 2'
  ]
  assert list(uninvited(bad)) == [
    'data.world imports scipy.stats; the door is rewards.significance or '
    'rewards.correlation'
  ]


def test_only_patterns_of_our_own_are_searched_for():
  """epath's glob takes the user's folder for a part of the pattern."""
  known = ('folders', 'assets', 'doctor.machine')  # that, pathlib's, /dev
  assert [
    module
    for module, text in sources().items()
    if 'glob(' in text and module not in known
  ] == ['io.checkpoints']  # the one that Orbax calls


def calls(text, name):
  """Calls of NAME(..) and of x.NAME(..)."""
  for node in ast.walk(ast.parse(text)):
    called = getattr(node, 'func', None)
    if name in (getattr(called, 'id', ''), getattr(called, 'attr', '')):
      yield node


def test_texts_of_the_package_are_read_as_utf_8():
  """In any locale; of paths only epath's do it by themselves."""
  for module, text in sources().items():
    if module in ('stages.page', 'assets.make'):  # pathlib's paths
      for call in calls(text, 'read_text'):
        assert [a.value for a in call.args] == ['utf-8'], module
    for call in calls(text, 'open'):
      mode = [a.value for a in call.args if isinstance(a, ast.Constant)]
      binary = not mode or 'b' in mode[0]
      if getattr(call.func, 'id', '') == 'open' and not binary:
        assert 'encoding' in [k.arg for k in call.keywords], module


def test_no_check_is_lost_by_python_o():
  assert {
    module
    for module, text in sources().items()
    if any(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(text)))
  } <= {'models.packed', 'data.builder'}  # our own mistakes


def identifiers(text):
  """Every name that a module gives or uses, once for each time it does."""
  for node in ast.walk(ast.parse(text)):
    match node:
      case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
        yield name
      case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
        yield name


def home_made(modules):
  """'io.records: found 3' for whatever word says nothing of what it holds."""
  for module, text in modules.items():
    banned = HOME_MADE - ON_DISK.get(module, set())
    counts = collections.Counter(n for n in identifiers(text) if n in banned)
    yield from (f'{module}: {name} {n}' for name, n in sorted(counts.items()))


def test_names_say_what_they_hold():
  assert list(home_made(sources())) == []


def test_a_name_that_says_nothing_is_counted():
  assert list(
    home_made(
      {
        'io.records': 'def found(said):\n  return said.place + found(found)',
        'io.speed': 'class Pace:\n  made: int\n  told: int',
      }
    )
  ) == [
    'io.records: found 3',
    'io.records: place 1',
    'io.records: said 2',
    'io.speed: told 1',
  ]


def test_every_module_says_what_it_is_for():
  silent = [
    module
    for module, text in sources().items()
    if text.strip() and not ast.get_docstring(ast.parse(text))
  ]
  assert silent == []


def ways(path):
  """How a config file can be asked for."""
  if path.name != 'baselines.py':
    return [str(path)]
  return [f'{path}:{name}' for name in restpg.METHODS]


@pytest.mark.parametrize('name', [n for p in CONFIGS for n in ways(p)])
def test_every_config_is_valid(name):
  cfg = cli.load_config(name)
  restpg.check_config(cfg)
  for template in (
    cfg.prompt.template,
    cfg.reason.template,
    cfg.reward.template,
  ):
    assert assets.path(template).is_file()
  if ':' in name:
    assert cfg.methods == (name.split(':')[1],)


def test_there_are_configs():
  assert {'demo.py', 'baselines.py'} <= {path.name for path in CONFIGS}


def test_the_rows_of_table_1():
  assert list(restpg.METHODS) == ['sft', 'sft_reasoning', 'rest_em', 'rest_pg']
  restpg.check_config(config.Config(methods=tuple(restpg.METHODS)))


def test_what_is_cited_is_in_the_repository():
  folders = 'restpg_jax', 'configs', 'docs', 'tests', 'benchmarks', 'launch'
  files = [p for folder in folders for p in (ROOT / folder).rglob('*')]
  texts = [
    p for p in [*files, *ROOT.glob('*.md')] if p.suffix in ('.py', '.md')
  ]
  cited = 'DESIGN' + ' section'
  assert [str(p) for p in texts if cited in p.read_text()] == []


def test_torch_is_imported_where_nothing_else_has_been():
  """`make test` runs these files by themselves, `make quick` none of them."""
  for path in (ROOT / 'tests').rglob('*.py'):
    text = path.read_text()
    tops = {name.split('.')[0] for name in imports(text)} | {
      call.args[0].value for call in calls(text, 'importorskip')
    }
    apart = path.name.endswith('_torch.py')
    assert bool(tops & {'torch', 'transformers'}) == apart, path
    assert not apart or '\npytestmark = pytest.mark.slow\n' in text, path
