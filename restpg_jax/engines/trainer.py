"""What trains a policy: its model, its programs, its checkpoints."""

import functools
import os
import re

import jax
import jax.numpy as jnp
from etils import epath

from restpg_jax import config, errors, folders
from restpg_jax.engines import generator
from restpg_jax.io import checkpoints
from restpg_jax.models import decoder, packed, precision
from restpg_jax.parallel import activations
from restpg_jax.training import lora, optimizer
from restpg_jax.training import step as steps


def update_rule(settings: config.Train):
  """The schedule of the learning rate, and the optimizer that follows it."""
  rate = optimizer.schedule(
    settings.learning_rate,
    steps=settings.steps,
    warmup=settings.warmup,
    final_rate=settings.final_rate,
  )
  return rate, optimizer.build_optimizer(
    settings.optimizer,
    rate,
    weight_decay=settings.weight_decay,
    clip=settings.clip,
  )


def check_train(settings: config.Train) -> config.Train:
  """Raises InputError for what would only fail later."""
  if settings.compute_dtype not in generator.DTYPES:
    raise errors.InputError(
      f'train.compute_dtype is {settings.compute_dtype!r}; it must be '
      f'{" or ".join(generator.DTYPES)}'
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


def attention_of(layout, size: decoder.Size, dtype: str) -> str:
  """The name of the attention; raises InputError where it cannot be had."""
  name = layout.compute.attention
  how = dict(
    cap=size.attention_softcap,
    dtype=dtype,
    context_parallel=layout.context_parallel,
  )
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
) -> steps.ModelFunctions:
  """The decoder as functions of its variables."""
  attend, rows = (
    packed.NAMES[attention],
    activations.ActivationSharding(layout.mesh),
  )
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
  return steps.ModelFunctions(hidden, head, logits, join)


def remat_of(layout) -> str:
  """Of decoder.REMAT."""
  return layout.compute.remat or ('none' if layout.on_cpu else 'full')


def training_programs(
  model: steps.ModelFunctions, tx, state: steps.TrainState, layout
):
  """accumulate and update, compiled for a state like this one."""
  devices = layout.parts * layout.context_parallel
  rows = activations.ActivationSharding(layout.mesh)
  take = rows.take if layout.context_parallel > 1 else steps.take
  accumulate = steps.build_accumulate(
    model, devices=devices, pin=rows.pin, take=take
  )
  return (
    layout.sharded(accumulate, steps.Sums(None, state.params), donate=[1]),
    layout.sharded(steps.build_update(tx), (state, None), donate=[0]),
  )


def adapter_note(settings: config.Lora, start, out) -> dict:
  """What the model.json of a checkpoint says of its adapters."""
  if not settings.rank:
    return {}
  folder = out / 'checkpoints' / 'step_0' / 'model'
  base = os.path.relpath(start / 'model', folder)
  return {'adapters': {'base': base, 'scale': settings.alpha / settings.rank}}


def save_checkpoint(
  saver, out: epath.Path, done: int, state: steps.TrainState, size, made
):
  """One checkpoint: a model folder, and the rest of the state beside it."""
  folder = out / 'checkpoints' / f'step_{done}'
  saver.save(folder, state.params, state.optimizer, size, step=done, **made)


def finished_steps(out: epath.Path) -> list[int]:
  """Steps of the whole checkpoints, in order; model.json is written last."""
  found = folders.matching(out / 'checkpoints', 'step_*/model/model.json')
  numbers = [re.fullmatch(r'step_(\d+)', p.parent.parent.name) for p in found]
  return sorted(int(n[1]) for n in numbers if n)


def initial_state(
  out: epath.Path, trained, tx, frozen, layout
) -> steps.TrainState:
  """The last whole checkpoint's state, or a new one; on the devices only."""

  def start(trained, frozen):
    return steps.init_state(trained, tx, frozen)

  done = finished_steps(out)
  if not done:
    return layout.init_sharded(start, *map(layout.shard, (trained, frozen)))
  like = jax.eval_shape(start, trained, frozen)
  folder = out / 'checkpoints' / f'step_{done[-1]}'
  params = checkpoints.load_tree(folder / 'model' / 'params', like.params)
  opt = checkpoints.load_tree(folder / 'optimizer', like.optimizer)
  return layout.shard(
    steps.TrainState(jnp.int32(done[-1]), params, opt, frozen)
  )
