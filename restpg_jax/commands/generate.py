"""Writes texts for users with a trained policy, in the order of requests."""

import collections
import dataclasses
import itertools
import warnings
from collections.abc import Iterable, Iterator

from etils import epath

from restpg_jax import config, effective, errors, types, verb_args
from restpg_jax.commands import policies
from restpg_jax.data import requests
from restpg_jax.engines import generator, input_files, prompting
from restpg_jax.io import artifacts, compiled, located, partial_file, progress
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import retrieve
from restpg_jax.text import templates

AHEAD = 64  # rows whose documents are ranked together


@dataclasses.dataclass(frozen=True)
class GenerateSettings:
  """Holds all that decides the texts; it is in the output's fingerprint."""

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
  task: str | None  # None: neither the row nor --task says it
  reasoning: str  # '' for a policy that does not reason
  answer: str | None  # None: the text never reached the answer marker
  ended: bool  # False: cut at the output limit


@dataclasses.dataclass(frozen=True)
class Result:
  """Counts what a call has done."""

  policy: policies.Policy
  texts: int  # in the output
  written: int  # of them, by this process, as are the following
  no_answer: int
  cut: int


def generate_texts(
  workdir: epath.PathLike, args: verb_args.GenerateArgs, compute: config.Compute
) -> Result:
  """Writes `args.output`, a line a row of `args.input`.

  The policy is what a method chose in its last iteration; `compute` is of this
  machine, which need not be the one that trained it. The file appears whole;
  after a kill the same call goes on, to the same bytes. Raises InputError for
  wrong flags and for rows that are unusable.
  """
  check_generate_args(args)
  policy = policies.workdir_policy(epath.Path(workdir), args.method)
  cfg = generate_settings(policy, args)
  total, layout = check_rows(cfg), layouts.Layout.of(compute)
  with compiled.programs_in(policy.workdir / 'compiled', compute.cache):
    counts = write_output(
      path=args.output,
      policy=policy,
      cfg=cfg,
      output=output_side(policy, cfg),
      total=total,
      layout=layout,
    )
  return Result(policy, **counts)


# Outputs that an older version began are continued: the id stays as it was.
@artifacts.stage('restpg_jax.stages.generate.generate')
def write_output(
  *,
  path: str,
  policy: policies.Policy,
  cfg: GenerateSettings,
  output: templates.Output | None,
  total: int,
  layout: layouts.Layout,
) -> dict[str, int]:
  """Writes the lines that are missing; returns the counts of Result."""
  model = generator.load(
    policy.weights, cfg.tokenizer.tokenizer, layout, dtype=cfg.sample.dtype
  )
  retriever = retrieve.build_retriever(
    cfg.retrieval,
    seed=cfg.seed,
    layout=layout,
    out=policy.workdir / 'retrieve' / 'generate',
  )
  counts = {'texts': total, 'written': 0, 'no_answer': 0, 'cut': 0}
  fingerprint = output_fingerprint(policy, cfg)
  with partial_file.open_partial(path, fingerprint) as out:
    rows = itertools.islice(
      requests.read_requests(cfg.input, task=cfg.task), out.done, None
    )
    with progress.bar(total, 'texts', 'generate', out.done) as shown:
      for lines in write_texts(
        model, rows, retriever, cfg, output=output, shown=shown, total=total
      ):
        out.append(lines)
        counts['written'] += len(lines)
        counts['no_answer'] += sum(line.answer is None for line in lines)
        counts['cut'] += sum(not line.ended for line in lines)
  return counts


def write_texts(
  model: generator.LoadedModel,
  rows: Iterator[requests.TextRequest],
  retriever: retrieve.Retriever,
  cfg: GenerateSettings,
  *,
  output: templates.Output | None,
  shown: progress.Shown,
  total: int,
) -> Iterator[list[TextLine]]:
  """Yields texts in the order of the rows.

  A text waits until none before it is missing; samples end in any order.
  """
  pending: collections.deque[requests.TextRequest] = collections.deque()
  drawn_samples: dict[str, generator.Sample] = {}

  def examples() -> Iterator[types.Example]:
    for request in rows:
      pending.append(request)
      yield request.example

  prompted = retrieve.with_contexts(
    examples(), retriever, k=cfg.retrieval.k, piece=AHEAD
  )
  for finished in sample_rows(model, prompted, cfg, total):
    counts = finished.counts
    shown.update(
      len(finished.samples),
      tokens=counts['tokens'],
      busy=counts['busy'],
      slots=counts['slots'],
    )
    drawn_samples |= {s.example_id: s for s in finished.samples}
    ready = []
    while pending and pending[0].example.id in drawn_samples:
      request = pending.popleft()
      ready.append(
        written_text(request, drawn_samples.pop(request.example.id), output)
      )
    if ready:
      yield ready


def sample_rows(
  model: generator.LoadedModel,
  examples: Iterable[types.Example],
  cfg: GenerateSettings,
  total: int,
) -> Iterator[generator.FinishedSamples]:
  """Draws one text each; examples are read when there is room for them."""
  template = prompting.load_template(cfg.prompt.template)

  def sample_requests() -> Iterator[generator.SampleRequest]:
    for example in examples:
      prompt = prompting.policy_prompt(template, example, model.tokenizer, cfg)
      yield generator.SampleRequest(example.id, prompt.ids, (0,))

  return generator.generate_samples(
    model,
    sample_requests(),
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
  sample: generator.Sample,
  output: templates.Output | None,
) -> TextLine:
  """Parts a sample into reasoning and answer, the whole without `output`."""
  reasoning, answer = '', sample.text.strip()
  if output:
    reasoning, answer = output.split(sample.text)
  task = request.example.task or None
  return TextLine(request.id, task, reasoning, answer, sample.ended)


def generate_settings(
  policy: policies.Policy, args: verb_args.GenerateArgs
) -> GenerateSettings:
  """Returns the settings of the run, as the method's record has them."""
  cfg = policy.method['config']
  encoder, template = (
    located.resolved(name, policy.workdir)
    for name in (cfg['retrieval']['encoder'], cfg['prompt']['template'])
  )
  return GenerateSettings(
    input=args.input,
    task=args.task,
    retrieval=effective.retrieval(
      config.Retrieval(**cfg['retrieval'] | {'encoder': encoder})
    ),
    prompt=config.Prompt(**cfg['prompt'] | {'template': template}),
    sample=config.Sample(**cfg['answer']),
    tokenizer=config.Model(checkpoint='', tokenizer=policy.tokenizer),
    reasoning=bool(policy.method['output']),
    seed=cfg['seed'],
  )


def output_side(
  policy: policies.Policy, cfg: GenerateSettings
) -> templates.Output | None:
  """Returns opening and marker line; None for a policy without reasoning.

  Raises InputError where the template has others than in training.
  """
  if not cfg.reasoning:
    return None
  output = templates.Output.of(prompting.load_template(cfg.prompt.template))
  trained = templates.Output(**policy.method['output'])
  if output != trained:
    raise errors.InputError(
      f'{cfg.prompt.template}: {policy.method["label"]} was trained with the '
      f'marker line {trained.marker!r} and the opening {trained.opening!r}, '
      'which this template has not any more; put it back as it was'
    )
  return output


def check_rows(cfg: GenerateSettings) -> int:
  """Returns the number of rows.

  Raises InputError at a row that is unusable, before any text is written, and
  warns of what is odd.
  """
  counts = {}
  collections.deque(
    requests.read_requests(cfg.input, task=cfg.task, counts=counts), maxlen=0
  )
  remarks = [
    f'{counts[name]:,} {text}'
    for name, text in (
      ('empty_profiles', 'rows without any document'),
      ('skipped_items', 'profile items without text'),
      ('cut_texts', 'texts cut for their length'),
    )
    if counts[name]
  ]
  if remarks:
    warnings.warn(
      f'{cfg.input}: {", ".join(remarks)}', errors.DataWarning, stacklevel=2
    )
  return counts['rows']


def output_fingerprint(policy: policies.Policy, cfg: GenerateSettings) -> str:
  """Returns the fingerprint of all that decides the output."""
  artifact = artifacts.Artifact(policy.weights, policy.stage['fingerprint'], {})
  return artifacts.fingerprint(
    'generate', write_output, (artifact,), cfg, input_files.READS
  )


def check_generate_args(args: verb_args.GenerateArgs) -> None:
  """Raises InputError for flags that are missing or wrong."""
  if not args.input or not args.output:
    raise errors.InputError(
      'generate needs --workdir=RUN, --input=FILE and --output=FILE'
    )
  if args.task and args.task not in types.EVERY_TASK:
    raise errors.InputError(
      f'--task={args.task}: known are {", ".join(types.EVERY_TASK)}'
    )
  source, output = epath.Path(args.input), epath.Path(args.output)
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
