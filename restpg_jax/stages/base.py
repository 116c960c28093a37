"""The base checkpoint, theta_0, from which SFT and every M-step start."""

from typing import Any

from etils import epath

from restpg_jax import assets, config, storage
from restpg_jax.engines import model_size, tokenizer_files
from restpg_jax.io import artifacts, checkpoints, located
from restpg_jax.parallel import layout as layouts


@artifacts.stage('restpg_jax.stages.base.load_base')
def load_base(
  *, out: epath.Path, cfg: config.Model, layout: layouts.Layout
) -> dict[str, Any]:
  """Checks that weights and tokenizer fit; keeps the weights in the workdir."""
  del layout
  checkpoint, _ = tokenizer_files.find_model(
    assets.path(cfg.checkpoint), cfg.tokenizer, base=cfg.base
  )
  need = model_size.bytes_on_disk(checkpoint.size)
  storage.check_room(out, need, 'the base model')
  params = checkpoint.load()
  checkpoints.save_model(
    out / 'model',
    params,
    checkpoint.size,
    taken_from=located.portable(cfg.checkpoint, out.parent),
    **checkpoint.origin(),
  )
  return {
    'expected': 1,
    'made': 1,
    'parameters': checkpoints.count_parameters(params),
  }
