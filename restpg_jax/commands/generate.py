"""Texts for users by a trained policy: requests in, answers out, in order."""

import collections
import dataclasses
import itertools
import warnings
from collections.abc import Iterable, Iterator

from etils import epath

from restpg_jax import config, effective, errors, types
from restpg_jax.commands import convert, model_card
from restpg_jax.data import requests
from restpg_jax.engines import generator, input_files
from restpg_jax.io import artifacts, located, partial_file, progress
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import retrieve
from restpg_jax.text import templates

AHEAD = 64  # rows whose documents are ranked together


@dataclasses.dataclass(frozen=True)
class GenerateSettings:
  """What decides the texts."""

  input: str = dataclasses.field(metadata=config.FILE)
  task: str
  retrieval: config.Retrieval
  prompt: config.Prompt
  sample: config.Sample
  tokenizer: config.Model  # the policy's; its weights come as an input
  reasoning: bool
  seed: int


@dataclasses.dataclass(frozen=True)
class TextLine:
  """A line of the output."""

  id: str | int
  task: str | None  # None: nothing said it
  reasoning: str  # '' for a policy that does not reason
  answer: str | None  # None: the text never reached the answer marker
  ended: bool  # False: cut at the output limit


@dataclasses.dataclass(frozen=True)
class Result:
  """What was done."""

  origin: model_card.Origin
  texts: int  # in the output
  made: int  # of them, by this process, as are the following
  no_answer: int
  cut: int


def generate_texts(
  workdir: epath.PathLike, writing: config.GenerateArgs, compute: config.Compute
) -> Result:
  """Writes `writing.output`, a line a row of `writing.input`.

  The policy is what a method chose in its last iteration; `compute` is of this
  machine, which need not be the one that trained it. The file appears whole;
  after a kill the same call goes on, to the same bytes.
  """
  check_generate_args(writing)
  origin = convert.of_workdir(epath.Path(workdir), writing.method)
  cfg = generate_settings(origin, writing)
  output = output_side(origin, cfg)
  total = check_rows(cfg)
  mark = output_fingerprint(origin, cfg)
  layout = layouts.Layout.of(compute)
  words = cfg.tokenizer.tokenizer
  dtype = cfg.sample.dtype
  model = generator.load(origin.weights, words, layout, dtype=dtype)
  retriever = retrieve.build_retriever(
    cfg.retrieval,
    seed=cfg.seed,
    layout=layout,
    out=epath.Path(workdir) / 'retrieve' / 'generate',
  )
  made = collections.Counter()
  with partial_file.open_partial(writing.output, mark) as out:
    rows = itertools.islice(
      requests.read_requests(cfg.input, task=cfg.task), out.done, None
    )
    with progress.bar(total, 'texts', 'generate', out.done) as shown:
      for ready in write_texts(
        model, rows, retriever, cfg, output, shown, total
      ):
        out.append(ready)
        made['made'] += len(ready)
        made['no_answer'] += sum(w.answer is None for w in ready)
        made['cut'] += sum(not w.ended for w in ready)
  return Result(origin, total, made['made'], made['no_answer'], made['cut'])


# By its id, texts that a kill left unfinished are recognised.
GENERATE = artifacts.stage('restpg_jax.stages.generate.generate')(
  generate_texts
)


def write_texts(
  model: generator.LoadedModel,
  rows: Iterator[requests.TextRequest],
  retriever: retrieve.Retriever,
  cfg: GenerateSettings,
  output: templates.Output | None,
  shown: progress.Shown,
  total: int,
) -> Iterator[list[TextLine]]:
  """Texts in the order of the rows, as soon as none before them is missing."""
  left, waiting = collections.deque(), {}

  def examples():
    for request in rows:
      left.append(request)
      yield request.example

  asked = retrieve.with_contexts(
    examples(), retriever, k=cfg.retrieval.k, piece=AHEAD
  )
  for harvest in sample_rows(model, asked, cfg, total):
    shown.update(len(harvest.samples), **harvest.counts)
    waiting |= {s.example_id: s for s in harvest.samples}
    ready = []
    while left and left[0].example.id in waiting:
      request = left.popleft()
      ready.append(
        written_text(request, waiting.pop(request.example.id), output)
      )
    if ready:
      yield ready


def sample_rows(
  model: generator.LoadedModel,
  examples: Iterable[types.Example],
  cfg: GenerateSettings,
  total: int,
) -> Iterator[generator.FinishedSamples]:
  """One text each; examples are read when there is room for them."""
  template = generator.load_template(cfg.prompt.template)

  def wanted():
    for example in examples:
      asked = generator.policy_prompt(template, example, model.tokenizer, cfg)
      yield generator.SampleRequest(example.id, asked.ids, (0,))

  return generator.generate_samples(
    model,
    wanted(),
    inputs=total,
    prompt_length=cfg.prompt.max_input,
    m=1,
    max_output=cfg.prompt.max_output,
    stop=(model.tokenizer.eos,),
    temperature=cfg.sample.temperature,
    top_p=cfg.sample.top_p,
    top_k=cfg.sample.top_k,
    seed=cfg.seed,
    purpose='generate',
  )


def written_text(
  request: requests.TextRequest,
  sampled: generator.Sample,
  output: templates.Output | None,
) -> TextLine:
  reasoning, answer = '', sampled.text.strip()
  if output:
    reasoning, answer = output.split(sampled.text)
  task = request.example.task or None
  return TextLine(request.id, task, reasoning, answer, sampled.ended)


def generate_settings(
  origin: model_card.Origin, writing: config.GenerateArgs
) -> GenerateSettings:
  """Those of the run, as the method's record has them."""
  cfg = origin.method['config']
  encoder, template = (
    located.resolved(name, origin.workdir)
    for name in (cfg['retrieval']['encoder'], cfg['prompt']['template'])
  )
  return GenerateSettings(
    input=writing.input,
    task=writing.task,
    retrieval=effective.retrieval(
      config.Retrieval(**cfg['retrieval'] | {'encoder': encoder})
    ),
    prompt=config.Prompt(**cfg['prompt'] | {'template': template}),
    sample=config.Sample(**cfg['answer']),
    tokenizer=config.Model(checkpoint='', tokenizer=origin.tokenizer),
    reasoning=bool(origin.method['output']),
    seed=cfg['seed'],
  )


def output_side(
  origin: model_card.Origin, cfg: GenerateSettings
) -> templates.Output | None:
  """Opening and marker line; None for a policy that does not reason."""
  if not cfg.reasoning:
    return None
  found = templates.Output.of(generator.load_template(cfg.prompt.template))
  trained = templates.Output(**origin.method['output'])
  if found != trained:
    raise errors.InputError(
      f'{cfg.prompt.template}: {origin.method["label"]} was trained with the '
      f'marker line {trained.marker!r} and the opening {trained.opening!r}, '
      'which this template has not any more; put it back as it was'
    )
  return found


def check_rows(cfg: GenerateSettings) -> int:
  """How many there are; a row that is unusable stops before any is written."""
  counts = {}
  collections.deque(
    requests.read_requests(cfg.input, task=cfg.task, counts=counts), maxlen=0
  )
  odd = [
    f'{counts[name]:,} {text}'
    for name, text in (
      ('empty_profiles', 'rows without any document'),
      ('skipped_items', 'profile items without text'),
      ('cut_texts', 'texts cut for their length'),
    )
    if counts[name]
  ]
  if odd:
    warnings.warn(
      f'{cfg.input}: {", ".join(odd)}', errors.DataWarning, stacklevel=2
    )
  return counts['rows']


def output_fingerprint(origin: model_card.Origin, cfg: GenerateSettings) -> str:
  """Of all that decides the output."""
  policy = artifacts.Artifact(origin.weights, origin.stage['fingerprint'], {})
  return artifacts.fingerprint(
    'generate', GENERATE, (policy,), cfg, input_files.READS
  )


def check_generate_args(writing: config.GenerateArgs) -> None:
  """Raises InputError for flags that are missing or wrong."""
  if not writing.input or not writing.output:
    raise errors.InputError(
      'generate needs --workdir=RUN, --input=FILE and --output=FILE'
    )
  if writing.task and writing.task not in types.EVERY_TASK:
    raise errors.InputError(
      f'--task={writing.task}: known are {", ".join(types.EVERY_TASK)}'
    )
  source, output = epath.Path(writing.input), epath.Path(writing.output)
  if not source.exists():
    raise errors.InputError(
      f'--input={source}: no such file; give one with a JSON object a line'
    )
  if source.is_dir():
    raise errors.InputError(
      f'--input={source} is a folder; give a file with a JSON object a line'
    )
  if output.exists():
    raise errors.InputError(
      f'--output={output} is there already; give another file or remove it'
    )
