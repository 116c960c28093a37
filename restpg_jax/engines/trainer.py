"""What trains a policy: its model, its programs, its checkpoints."""

import functools
import os
import re
from typing import Any, cast

import jax
import jax.numpy as jnp
from etils import epath

from restpg_jax import config, errors, folders
from restpg_jax.engines import generator
from restpg_jax.io import checkpoints
from restpg_jax.models import decoder, packed, precision
from restpg_jax.models import size as sizes
from restpg_jax.parallel import activations
from restpg_jax.parallel import layout as layouts
from restpg_jax.training import lora, optimizer
from restpg_jax.training import step as steps


def update_rule(
  settings: config.Train,
) -> tuple[optimizer.Schedule, optimizer.Optimizer]:
  """Returns the learning rate's schedule and the optimizer that follows it."""
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
  """Returns the settings; raises InputError for what would only fail later."""
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


def attention_of(layout: layouts.Layout, size: sizes.Size, dtype: str) -> str:
  """Returns the name of the attention, that of the config or what fits best.

  Raises InputError where the config's is not available on these devices.
  """
  name = layout.compute.attention
  cap, parallel = size.attention_softcap, layout.context_parallel
  if not name:
    return packed.default(
      layout.platform,
      head_size=size.head_size,
      cap=cap,
      dtype=dtype,
      context_parallel=parallel,
    )
  if fault := packed.fault(
    name, layout.platform, cap=cap, dtype=dtype, context_parallel=parallel
  ):
    raise errors.InputError(
      f'compute.attention={name} {fault}; leave it empty for what fits best'
    )
  return name


def model_of(
  size: sizes.Size,
  attention: str,
  settings: config.Train,
  layout: layouts.Layout,
) -> steps.ModelFunctions:
  """Returns the decoder as functions of its variables, for the step."""
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

  def head(variables: steps.Params) -> jax.Array:
    return variables['params']['embedding' if size.tied else 'head']

  def logits(
    variables: steps.Params, head_vD: jax.Array, hidden_BTD: jax.Array
  ) -> jax.Array:
    logits_BTv = model.apply(variables, hidden_BTD, head_vD, method='logits')
    # Flax gives a pair only where `apply` has mutable collections.
    return cast(jax.Array, logits_BTv)

  hidden = functools.partial(model.apply, method='hidden')
  join = functools.partial(lora.variables, settings=settings.lora)
  return steps.ModelFunctions(
    precision.exact(hidden, model.dtype),
    head,
    precision.exact(logits, model.dtype),
    join,
  )


def remat_of(layout: layouts.Layout) -> str:
  """Returns the name in decoder.REMAT of what is kept for the backward pass."""
  return layout.compute.remat or ('none' if layout.on_cpu else 'full')


def training_programs(
  model: steps.ModelFunctions,
  tx: optimizer.Optimizer,
  state: steps.TrainState,
  layout: layouts.Layout,
) -> tuple[jax.stages.Wrapped, jax.stages.Wrapped]:
  """Returns `accumulate` and `update`, to be compiled for a state like this.

  `state` may be of arrays or of their shapes.
  """
  devices = layout.parts * layout.context_parallel
  rows = activations.ActivationSharding(layout.mesh)
  take = rows.take if layout.context_parallel > 1 else steps.take
  accumulate = steps.build_accumulate(
    model, devices=devices, pin=rows.pin, take=take
  )
  # Gradients lie as the parameters do; the loss, None, as the compiler likes.
  sums = steps.Sums._make([None, state.params])
  return (
    layout.sharded(accumulate, sums, donate=[1]),
    layout.sharded(steps.build_update(tx), (state, None), donate=[0]),
  )


def adapter_note(
  settings: config.Lora, start: epath.Path, out: epath.Path
) -> dict[str, Any]:
  """Returns what the model.json of a checkpoint says of its adapters."""
  if not settings.rank:
    return {}
  folder = out / 'checkpoints' / 'step_0' / 'model'
  # Relative, so that a workdir that is moved or copied stays whole.
  base = os.path.relpath(start / 'model', folder)
  return {'adapters': {'base': base, 'scale': settings.alpha / settings.rank}}


def save_checkpoint(
  saver: checkpoints.Saver,
  out: epath.Path,
  done: int,
  state: steps.TrainState,
  size: sizes.Size,
  notes: dict[str, Any],
) -> None:
  """Saves a model folder, with `notes` in its model.json, and beside it the
  rest of the state after `done` steps."""
  folder = out / 'checkpoints' / f'step_{done}'
  saver.save(folder, state.params, state.optimizer, size, step=done, **notes)


def finished_steps(out: epath.Path) -> list[int]:
  """Returns the steps of the whole checkpoints, in order.

  A checkpoint is whole that has a model.json, as this is written last.
  """
  paths = folders.matching(out / 'checkpoints', 'step_*/model/model.json')
  matches = [re.fullmatch(r'step_(\d+)', p.parent.parent.name) for p in paths]
  return sorted(int(match[1]) for match in matches if match)


def initial_state(
  out: epath.Path,
  trained: steps.Params,
  tx: optimizer.Optimizer,
  frozen: steps.Params,
  layout: layouts.Layout,
) -> steps.TrainState:
  """Returns the state of the last whole checkpoint, or a new one.

  It lies on the devices only.
  """

  def start(trained: steps.Params, frozen: steps.Params) -> steps.TrainState:
    return steps.init_state(trained, tx, frozen)

  done = finished_steps(out)
  if not done:
    return layout.init_sharded(start, *map(layout.shard, (trained, frozen)))
  # Shapes alone: no new state is made where an old one is read.
  like = jax.eval_shape(start, trained, frozen)
  folder = out / 'checkpoints' / f'step_{done[-1]}'
  params = checkpoints.load_tree(folder / 'model' / 'params', like.params)
  opt = checkpoints.load_tree(folder / 'optimizer', like.optimizer)
  return layout.shard(
    steps.TrainState(jnp.int32(done[-1]), params, opt, frozen)
  )
