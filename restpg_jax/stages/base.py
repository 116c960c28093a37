"""The base checkpoint, theta_0: what SFT and every M-step start from."""

from restpg_jax import assets, config
from restpg_jax.engines import tokenizer_files
from restpg_jax.io import artifacts, checkpoints, located


@artifacts.stage('restpg_jax.stages.base.load_base')
def load_base(*, out, cfg: config.Model, layout) -> dict:
  """Checks that weights and tokenizer fit; keeps the weights in the workdir."""
  del layout
  found, _ = tokenizer_files.find_model(
    assets.path(cfg.checkpoint), cfg.tokenizer
  )
  params = found.load()
  checkpoints.save_model(
    out / 'model',
    params,
    found.size,
    taken_from=located.portable(cfg.checkpoint, out.parent),
    **found.origin(),
  )
  return {
    'expected': 1,
    'made': 1,
    'parameters': checkpoints.count_parameters(params),
  }
