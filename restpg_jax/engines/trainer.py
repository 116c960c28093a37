"""What trains a policy: its model, its programs, its checkpoints."""

import functools
import math
import os
import re
import warnings
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from restpg_jax import config, errors, folders, storage
from restpg_jax.engines import generator, program_cache
from restpg_jax.io import append_log, checkpoints, sums
from restpg_jax.models import decoder, mixed_precision, packed, precision
from restpg_jax.models import size as sizes
from restpg_jax.parallel import activations
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layouts
from restpg_jax.training import batches, lora, optimizer
from restpg_jax.training import step as steps

INTERRUPTED = 'interrupted'  # the folder of a state that a signal had saved


def update_rule(
  settings: config.Train,
) -> tuple[optimizer.Schedule, optimizer.Optimizer]:
  """Returns the learning rate's schedule and the optimizer that follows it."""
  return _update_rule(
    settings.optimizer,
    settings.learning_rate,
    steps=settings.steps,
    warmup=settings.warmup,
    final_rate=settings.final_rate,
    weight_decay=settings.weight_decay,
    clip=settings.clip,
  )


@program_cache.compiled_once
def _update_rule(
  name: str,
  learning_rate: float,
  *,
  steps: int,
  warmup: int,
  final_rate: float,
  weight_decay: float,
  clip: float,
) -> tuple[optimizer.Schedule, optimizer.Optimizer]:
  rate = optimizer.schedule(
    learning_rate, steps=steps, warmup=warmup, final_rate=final_rate
  )
  return rate, optimizer.build_optimizer(
    name, rate, weight_decay=weight_decay, clip=clip
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
      head_size=max(size.head_size, size.global_head_size),
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
  return _model_functions(
    size,
    attention,
    settings.compute_dtype,
    layout,
    remat_of(layout),
    rank=settings.lora.rank,
    alpha=settings.lora.alpha,
  )


@program_cache.compiled_once
def _model_functions(
  size: sizes.Size,
  attention: str,
  dtype: str,
  layout: layouts.Layout,
  remat: str,
  *,
  rank: int,
  alpha: float,
) -> steps.ModelFunctions:
  attend, rows = (
    packed.NAMES[attention],
    activations.ActivationSharding(layout.mesh),
  )
  model = decoder.Decoder(
    size,
    jnp.dtype(dtype),
    # Layers compiled in one piece are 1.4 times as fast on a CPU.
    unroll=size.layers if layout.on_cpu else 1,
    remat=remat,
    look_up=rows.look_up,
    gradient=rows.scatter_gradient(mixed_precision.weight_gradient),
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
  join = functools.partial(lora.variables, settings=config.Lora(rank, alpha))
  return steps.ModelFunctions(
    precision.exact(hidden, model.dtype),
    head,
    precision.exact(logits, model.dtype),
    join,
  )


def remat_of(layout: layouts.Layout) -> str:
  """Returns the name in decoder.REMAT of what is kept for the backward pass."""
  return layout.compute.remat or ('none' if layout.on_cpu else 'full')


class TrainPrograms(NamedTuple):
  """The two programs of an optimizer step (training/step.py)."""

  accumulate: jax.stages.Wrapped
  update: jax.stages.Wrapped

  def compile(
    self,
    state: steps.TrainState,
    batch: batches.Batch,
    targets: np.float32,
    *,
    several: bool,
  ) -> None:
    """Compiles what a step of batches of this shape calls, and runs nothing.

    The calls find it compiled. `several`: a step has more than one batch.
    """
    sums = self.accumulate.lower(state, None, batch, targets).compile().out_info
    if several:
      self.accumulate.lower(state, sums, batch, targets).compile()
    self.update.lower(state, sums).compile()


def training_programs(
  model: steps.ModelFunctions,
  tx: optimizer.Optimizer,
  state: steps.TrainState,
  layout: layouts.Layout,
) -> TrainPrograms:
  """Returns `accumulate` and `update`, to be compiled for a state like this.

  `state` may be of arrays or of their shapes. SFT and all M-steps of a run have
  the same programs: `model_of` and `update_rule` give the same functions again.
  """
  shardings, tree = jax.tree.flatten(layout.split(state))
  return _training_programs(model, tx, layout, tree, tuple(shardings))


@program_cache.compiled_once
def _training_programs(
  model: steps.ModelFunctions,
  tx: optimizer.Optimizer,
  layout: layouts.Layout,
  tree: Any,  # a PyTreeDef
  shardings: tuple[jax.sharding.Sharding, ...],
) -> TrainPrograms:
  """`shardings` are those of the leaves of a state, which is such a tree."""
  state = jax.tree.unflatten(tree, shardings)
  devices = layout.parts * layout.context_parallel
  rows = activations.ActivationSharding(layout.mesh)
  take = rows.take if layout.context_parallel > 1 else steps.take
  accumulate = steps.build_accumulate(
    model, devices=devices, pin=rows.pin, take=take
  )
  # Gradients lie as the parameters do; the loss, None, as the compiler likes.
  sums = steps.Sums._make([None, state.params])
  return TrainPrograms(
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


def save_interrupted(
  saver: checkpoints.Saver,
  out: epath.Path,
  done: int,
  state: steps.TrainState,
  size: sizes.Size,
  notes: dict[str, Any],
) -> None:
  """Saves the same where nobody chooses from it: only to go on from there."""
  folder = out / INTERRUPTED / f'step_{done}'
  saver.save(folder, state.params, state.optimizer, size, step=done, **notes)


def remove_interrupted(out: epath.Path) -> None:
  """Removes what `save_interrupted` has saved."""
  (out / INTERRUPTED).rmtree(missing_ok=True)


def finished_steps(out: epath.Path, folder: str = 'checkpoints') -> list[int]:
  """Returns the steps of the whole checkpoints, in order.

  A checkpoint is whole that has a model.json, as this is written last.
  """
  paths = folders.matching(out / folder, 'step_*/model/model.json')
  matches = [re.fullmatch(r'step_(\d+)', p.parent.parent.name) for p in paths]
  return sorted(int(match[1]) for match in matches if match)


def check_room(
  out: epath.Path,
  trained: steps.Params,
  tx: optimizer.Optimizer,
  settings: config.Train,
) -> None:
  """Raises InputError where the checkpoints yet to write will find no room."""
  total = math.ceil(settings.steps / settings.checkpoint_every)
  left = total - len(finished_steps(out))
  state = jax.eval_shape(lambda x: steps.init_state(x, tx), trained)
  saved = jax.tree.leaves((state.params, state.optimizer))
  size = sum(x.size * x.dtype.itemsize for x in saved)
  storage.check_room(
    out,
    left * size,
    f'{left} checkpoints of {size:,} bytes (fewer by a larger '
    'train.checkpoint_every)',
  )


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

  saved = last_saved(out, layout.hosts)
  if not saved:
    return layout.init_sharded(start, *map(layout.shard, (trained, frozen)))
  # Shapes alone: no new state is made where an old one is read.
  like = jax.eval_shape(start, trained, frozen)
  done, folder = saved
  params = checkpoints.load_tree(folder / 'model' / 'params', like.params)
  opt = checkpoints.load_tree(folder / 'optimizer', like.optimizer)
  return layout.shard(steps.TrainState(jnp.int32(done), params, opt, frozen))


def last_saved(
  out: epath.Path, hosts: hosts_lib.Hosts
) -> tuple[int, epath.Path] | None:
  """Returns the last step that is whole on disk, and its folder.

  One whose files were damaged since is warned of, and the one before it taken:
  its steps are made again. The first host says which it is; the others wait
  until they see it.
  """

  def saved() -> list[tuple[int, str]]:
    return [
      (step, folder)
      for folder in ('checkpoints', INTERRUPTED)
      for step in finished_steps(out, folder)
    ]

  def intact(save: tuple[int, str]) -> bool:
    step, folder = save
    path = out / folder / f'step_{step}'
    if fault := sums.fault(path):
      warnings.warn(
        f'{path}: {fault}; training goes on from the checkpoint before it, and '
        'makes this one again',
        errors.DataWarning,
        stacklevel=2,
      )
    return not fault

  newest_first = sorted(saved(), reverse=True) if hosts.first else []
  (first, *_) = hosts.meet(
    'saved', last=next(filter(intact, newest_first), None)
  )
  if first['last'] is None:
    return None
  step, folder = first['last']
  append_log.await_hosts(lambda: (step, folder) in saved(), out, hosts)
  return step, out / folder / f'step_{step}'
