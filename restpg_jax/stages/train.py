"""SFT and M-step: the same reward-weighted training from a given start."""

import contextlib
import dataclasses
import functools
import os
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from restpg_jax import config, errors, folders, types
from restpg_jax.io import artifacts, checkpoints, progress, records, weights
from restpg_jax.models import decoder, packed, precision
from restpg_jax.parallel import parted
from restpg_jax.stages import draw, feed, language
from restpg_jax.training import batches, lora, meter, optimizer
from restpg_jax.training import step as steps


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides the weights."""

  train: config.Train
  prompt: config.Prompt
  tokenizer: config.Model  # the policy's; its weights come as an input
  reasoning: bool
  seed: int


@dataclasses.dataclass(frozen=True)
class Log:
  """A line of metrics.jsonl."""

  step: int
  loss: float
  grad_norm: float
  learning_rate: float
  # Shares of the weights with a gradient that this step moved, and would have
  # moved in bfloat16 (training/meter.py); None: logged before they were.
  changed: float | None = None
  changed_in_bf16: float | None = None
  # Share of this step's token slots that held tokens; None: as above.
  packed: float | None = None


@artifacts.stage('restpg_jax.stages.train.train')
def train(start, examples, trajectories, *, out, cfg: Settings, layout) -> dict:
  """checkpoints/step_N every `checkpoint_every` steps and at the end.

  Goes on from the last of them; the same batches follow, and so the same
  weights as in a run that was never interrupted.
  """
  settings = check(cfg.train)
  begin = weights.find(start / 'model')
  params, size = begin.load(), begin.size
  outputs, counts = read_outputs(examples, trajectories, size, cfg)
  attention = attention_of(layout, size, settings.compute_dtype)
  reads = feed.Feed.of(
    outputs,
    size,
    layout,
    attention=attention,
    seed=cfg.seed,
    size=settings.batch_size,
  )
  rate, tx = update_rule(settings)
  model = model_of(size, attention, settings, layout)
  dtype = jnp.dtype(settings.compute_dtype)
  frozen, trained = lora.split(
    params, settings.lora, dtype=dtype, seed=cfg.seed
  )
  adapters = checkpoints.count(trained) if settings.lora.rank else None
  state = begun(out, trained, tx, frozen, layout)
  del params, trained, frozen  # the host need not hold them, too
  accumulate, update = programs(model, tx, state, layout)
  made = described(settings.lora, start, out) | begin.origin()
  log = records.Appender(out / 'metrics.jsonl', Log)
  logged = {line.step for line in log.done}  # by a run that was killed
  warned = False
  first = saved = int(state.step)
  with (
    checkpoints.Saver() as saver,
    contextlib.closing(log),
    progress.bar(settings.steps, 'steps', 'train', first) as shown,
  ):
    following = reads.step(first) if first < settings.steps else None
    for n in range(first, settings.steps):
      now, sums, done = following, None, n + 1
      for batch in now.batches:
        sums = accumulate(state, sums, batch, now.targets)
      state, metrics = update(state, sums)
      # While the devices compute.
      following = reads.step(done) if done < settings.steps else None
      found = {name: float(metrics[name]) for name in ('loss', 'grad_norm')}
      if not np.isfinite(list(found.values())).all():
        raise feed.diverged(out, done, found, now, after=saved)
      shown.update(1, tokens=now.tokens, busy=now.tokens, slots=now.slots)
      if done % layout.compute.log_every == 0 or done == settings.steps:
        line = measured(done, metrics, rate, now.tokens / now.slots)
        warned = warned or warn_if_lost(line)
        if done not in logged:
          log.append([line])
      if done % settings.checkpoint_every == 0 or done == settings.steps:
        log.flush()  # its steps are not made again
        save(saver, out, done, state, size, made)
        saved = done
  *_, last = records.read(out / 'metrics.jsonl', Log)
  return (
    {
      'expected': settings.steps,
      'made': int(state.step),
      'rows': len(outputs),
      'loss': last.loss,
      'changed': last.changed,
      'changed_in_bf16': last.changed_in_bf16,
    }
    | ({'adapters': adapters} if adapters else {})
    | counts
    | shown.totals()
  )


def warn(start, examples, trajectories, *, out, cfg: Settings) -> str:
  """Warns where the loss was exactly 0, when it is made and when it is kept."""
  del start, examples, cfg
  if records.read_json(out / artifacts.DONE)['summary']['loss'] == 0:
    warnings.warn(
      f'{out}: the loss is exactly 0, so nothing was learned: the rewards in '
      f'{trajectories} that weigh it may all be 0, or its targets empty',
      errors.DataWarning,
      stacklevel=2,
    )
  return ''


def update_rule(settings: config.Train):
  """The schedule of the learning rate, and the optimizer that follows it."""
  rate = optimizer.schedule(
    settings.learning_rate,
    steps=settings.steps,
    warmup=settings.warmup,
    final_rate=settings.final_rate,
  )
  return rate, optimizer.build(
    settings.optimizer,
    rate,
    weight_decay=settings.weight_decay,
    clip=settings.clip,
  )


def check(settings: config.Train) -> config.Train:
  """Raises InputError for what would only fail later."""
  if settings.compute_dtype not in language.DTYPES:
    raise errors.InputError(
      f'train.compute_dtype is {settings.compute_dtype!r}; it must be '
      f'{" or ".join(language.DTYPES)}'
    )
  if settings.optimizer not in optimizer.OPTIMIZERS:
    raise errors.InputError(
      f'train.optimizer is {settings.optimizer!r}; known are '
      f'{", ".join(optimizer.OPTIMIZERS)}'
    )
  if not 0 <= settings.warmup < settings.steps:
    raise errors.InputError(
      f'train.warmup={settings.warmup} must be less than '
      f'train.steps={settings.steps}'
    )
  return settings


def read_outputs(
  examples, trajectories, size, cfg: Settings
) -> tuple[list[batches.Output], dict[str, int]]:
  """What there is to learn from, and counts of what had to be cut.

  A target that is longer than max_output is cut, and, like a sample that
  never ended, gets no end token (docs/reading_the_paper.md).
  """
  tokenizer = language.load_tokenizer(cfg.tokenizer.tokenizer, size)
  read = records.read(examples / 'examples.jsonl', types.Example)
  by_id = {e.id: e for e in read}
  path = trajectories / 'trajectories.jsonl'
  samples = records.read(path, types.Trajectory)
  ids = dict.fromkeys(sample.example_id for sample in samples)
  asked = draw.policy_prompts((by_id[i] for i in ids), tokenizer, cfg)
  prompts, cut_prompts = {}, 0
  for id, prompt in zip(ids, asked, strict=True):
    prompts[id] = np.array(prompt.ids, np.int32)
    cut_prompts += bool(prompt.cut)
  outputs, cut_targets = [], 0
  for sample in records.read(path, types.Trajectory):
    target = tokenizer.encode(sample.text) + [tokenizer.eos] * sample.ended
    cut_targets += len(target) > cfg.prompt.max_output
    target = np.array(target[: cfg.prompt.max_output], np.int32)
    name = f'{sample.example_id} {sample.j}'
    prompt = prompts[sample.example_id]
    outputs.append(batches.Output(prompt, target, sample.reward, name))
  return outputs, {'cut_targets': cut_targets, 'cut_prompts': cut_prompts}


def attention_of(layout, size: decoder.Size, dtype: str) -> str:
  """The name of the attention; raises InputError where it cannot be had."""
  name = layout.compute.attention
  how = dict(cap=size.attention_softcap, dtype=dtype, sharing=layout.sharing)
  if not name:
    return packed.default(layout.platform, head_size=size.head_size, **how)
  fault = packed.fault(name, layout.platform, **how)
  if fault:
    raise errors.InputError(
      f'compute.attention={name} {fault}; leave it empty for what fits best'
    )
  return name


def model_of(
  size: decoder.Size, attention: str, settings: config.Train, layout
) -> steps.Model:
  """The decoder as functions of its variables."""
  attend, rows = packed.NAMES[attention], parted.Rows(layout.mesh)
  model = decoder.Decoder(
    size,
    jnp.dtype(settings.compute_dtype),
    # Layers compiled in one piece are 1.4 times as fast on a CPU.
    unroll=size.layers if layout.on_cpu else 1,
    remat=remat_of(layout),
    look_up=rows.look_up,
    # Kernels of Pallas are not partitioned by the compiler.
    attend=rows.by_rows(attend) if attention == 'splash' else attend,
  )

  def head(variables):
    return variables['params']['embedding' if size.tied else 'head']

  def logits(variables, head_vD, hidden_BTD):
    return model.apply(variables, hidden_BTD, head_vD, method='logits')

  hidden = functools.partial(model.apply, method='hidden')
  hidden, logits = (precision.exact(f, model.dtype) for f in (hidden, logits))
  join = functools.partial(lora.variables, settings=settings.lora)
  return steps.Model(hidden, head, logits, join)


def remat_of(layout) -> str:
  """Of decoder.REMAT."""
  return layout.compute.remat or ('none' if layout.on_cpu else 'full')


def programs(model: steps.Model, tx, state: steps.State, layout):
  """accumulate and update, compiled for a state like this one."""
  devices = layout.parts * layout.sharing
  rows = parted.Rows(layout.mesh)
  take = rows.take if layout.sharing > 1 else steps.take
  accumulate = steps.accumulate(model, devices=devices, pin=rows.pin, take=take)
  return (
    layout.sharded(accumulate, steps.Sums(None, state.params), donate=[1]),
    layout.sharded(steps.update(tx), (state, None), donate=[0]),
  )


def described(settings: config.Lora, start, out) -> dict:
  """What the model.json of a checkpoint says of its adapters."""
  if not settings.rank:
    return {}
  folder = out / 'checkpoints' / 'step_0' / 'model'
  base = os.path.relpath(start / 'model', folder)
  return {'adapters': {'base': base, 'scale': settings.alpha / settings.rank}}


def save(saver, out: epath.Path, done: int, state: steps.State, size, made):
  """One checkpoint: a model folder, and the rest of the state beside it."""
  folder = out / 'checkpoints' / f'step_{done}'
  saver.save(folder, state.params, state.optimizer, size, step=done, **made)


def finished(out: epath.Path) -> list[int]:
  """Steps of the whole checkpoints, in order; model.json is written last."""
  found = folders.matching(out / 'checkpoints', 'step_*/model/model.json')
  numbers = [re.fullmatch(r'step_(\d+)', p.parent.parent.name) for p in found]
  return sorted(int(n[1]) for n in numbers if n)


def begun(out: epath.Path, trained, tx, frozen, layout) -> steps.State:
  """The last whole checkpoint's state, or a new one; on the devices only."""

  def start(trained, frozen):
    return steps.start(trained, tx, frozen)

  done = finished(out)
  if not done:
    return layout.born(start, *map(layout.place, (trained, frozen)))
  like = jax.eval_shape(start, trained, frozen)
  folder = out / 'checkpoints' / f'step_{done[-1]}'
  params = checkpoints.load_tree(folder / 'model' / 'params', like.params)
  opt = checkpoints.load_tree(folder / 'optimizer', like.optimizer)
  return layout.place(steps.State(jnp.int32(done[-1]), params, opt, frozen))


def measured(done: int, metrics, rate, packed: float) -> Log:
  return Log(
    done,
    float(metrics['loss']),
    float(metrics['grad_norm']),
    float(rate(done - 1)),
    float(metrics['changed']),
    float(metrics['changed_in_bf16']),
    packed,
  )


def warn_if_lost(line: Log) -> bool:
  """Warns of an update that rounding lost, and says whether it did.

  The first step of a warm-up, at a rate of 0, is to change nothing.
  """
  wanted = line.learning_rate > 0 and line.grad_norm > 0
  lost = wanted and line.changed < meter.LEAST
  if lost:
    warnings.warn(
      f'step {line.step}: only {line.changed:.1%} of the weights changed, the '
      f'rest of the update was rounded away: raise train.learning_rate, it is '
      f'{line.learning_rate:.1e} here',
      errors.DataWarning,
      stacklevel=2,
    )
  return lost
