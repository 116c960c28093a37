"""SFT and M-step: the same reward-weighted training from a given start."""

import dataclasses
import functools
import os
import re
import warnings

import jax
import jax.numpy as jnp
from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.io import checkpoints, progress, records, weights
from restpg_jax.models import decoder
from restpg_jax.stages import draw, language
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


def train(start, examples, trajectories, *, out, cfg: Settings, layout) -> dict:
  """checkpoints/step_N every `checkpoint_every` steps and at the end.

  Goes on from the last of them; the same batches follow, and so the same
  weights as in a run that was never interrupted.
  """
  settings = check(cfg.train, layout)
  params, size = weights.load(start / 'model')
  rows, counts = read_rows(examples, trajectories, size, cfg)
  rate = optimizer.schedule(
    settings.learning_rate,
    steps=settings.steps,
    warmup=settings.warmup,
    final_rate=settings.final_rate,
  )
  tx = optimizer.build(
    settings.optimizer,
    rate,
    weight_decay=settings.weight_decay,
    clip=settings.clip,
  )
  # Layers compiled in one piece are 1.4 times as fast on a CPU.
  unroll = size.layers if layout.on_cpu else 1
  dtype = jnp.dtype(settings.compute_dtype)
  model = decoder.Decoder(size, dtype, unroll=unroll)
  frozen, trained = lora.split(
    params, settings.lora, dtype=dtype, seed=cfg.seed
  )
  trained = jax.tree.map(jnp.asarray, trained)
  state = layout.place(latest(out, steps.start(trained, tx, frozen)))
  join = functools.partial(lora.variables, settings=settings.lora)
  step = layout.sharded(steps.build(logits_at(model), tx, join), state)
  made = described(settings.lora, start, out)
  log = records.Appender(out / 'metrics.jsonl', Log)
  logged = {line.step for line in log.done}  # by a run that was killed
  shape = batches.Shape.of(rows)
  metrics = None
  warned = False
  first = int(state.step)
  with (
    checkpoints.Saver() as saver,
    progress.bar(settings.steps, 'steps', 'train', first) as shown,
  ):
    for n in range(first, settings.steps):
      chosen = batches.rows_of_step(
        len(rows), seed=cfg.seed, step=n, size=settings.batch_size
      )
      state, metrics = step(
        state, batches.pack([rows[i] for i in chosen], shape)
      )
      done = n + 1
      shown.update(1, tokens=sum(len(rows[i].tokens) for i in chosen))
      if done % layout.compute.log_every == 0 or done == settings.steps:
        line = measured(done, metrics, rate, out)
        warned = warned or warn_if_lost(line)
        if done not in logged:
          log.append([line])
      if done % settings.checkpoint_every == 0 or done == settings.steps:
        save(saver, out, done, state, size, made)
  *_, last = records.read(out / 'metrics.jsonl', Log)
  return (
    {
      'expected': settings.steps,
      'made': int(state.step),
      'rows': len(rows),
      'loss': last.loss,
      'changed': last.changed,
      'changed_in_bf16': last.changed_in_bf16,
    }
    | ({'adapters': checkpoints.count(trained)} if settings.lora.rank else {})
    | counts
    | shown.totals()
  )


def check(settings: config.Train, layout) -> config.Train:
  """Raises InputError for what would only fail later."""
  layout.check_batch(settings.batch_size)
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


def read_rows(examples, trajectories, size, cfg: Settings):
  """(rows, counts of what had to be cut).

  A target that is longer than max_output is cut, and, like a sample that
  never ended, gets no end token (DESIGN section 5).
  """
  tokenizer = language.load_tokenizer(cfg.tokenizer.tokenizer, size)
  by_id = {
    e.id: e for e in records.read(examples / 'examples.jsonl', types.Example)
  }
  samples = list(
    records.read(trajectories / 'trajectories.jsonl', types.Trajectory)
  )
  used = [by_id[i] for i in dict.fromkeys(s.example_id for s in samples)]
  asked = list(draw.policy_prompts(used, tokenizer, cfg))
  prompt = {e.id: p for e, p in zip(used, asked, strict=True)}
  rows, cut = [], 0
  for sample in samples:
    target = tokenizer.encode(sample.text) + [tokenizer.eos] * sample.ended
    cut += len(target) > cfg.prompt.max_output
    target = target[: cfg.prompt.max_output]
    ids = prompt[sample.example_id].ids
    rows.append(batches.Row.of(ids, target, sample.reward))
  return rows, {
    'cut_targets': cut,
    'cut_prompts': sum(bool(p.cut) for p in asked),
  }


def logits_at(model: decoder.Decoder):
  """apply(variables, tokens_BL, place_BT) -> logits [B, T, V] at the places."""

  def places(module, tokens_BL, place_BT):
    hidden_BLD = module.hidden(tokens_BL)
    return module.logits(
      jnp.take_along_axis(hidden_BLD, place_BT[..., None], axis=1)
    )

  return lambda variables, *arrays: model.apply(
    variables, *arrays, method=places
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
  found = (out / 'checkpoints').glob('step_*/model/model.json')
  numbers = [re.fullmatch(r'step_(\d+)', p.parent.parent.name) for p in found]
  return sorted(int(n[1]) for n in numbers if n)


def latest(out: epath.Path, fresh: steps.State) -> steps.State:
  """The last whole checkpoint's state, or `fresh`."""
  done = finished(out)
  if not done:
    return fresh
  folder = out / 'checkpoints' / f'step_{done[-1]}'
  params = checkpoints.load_tree(folder / 'model' / 'params', fresh.params)
  opt = checkpoints.load_tree(folder / 'optimizer', fresh.optimizer)
  return steps.State(jnp.int32(done[-1]), params, opt, fresh.frozen)


def measured(done: int, metrics, rate, out) -> Log:
  """Raises FloatingPointError where the loss is no number any more."""
  loss = float(metrics['loss'])
  if not jnp.isfinite(loss):
    raise FloatingPointError(f'{out}: the loss is {loss} at step {done}')
  return Log(
    done,
    loss,
    float(metrics['grad_norm']),
    float(rate(done - 1)),
    float(metrics['changed']),
    float(metrics['changed_in_bf16']),
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
