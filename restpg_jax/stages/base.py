"""The base checkpoint, theta_0: what SFT and every M-step start from."""

from restpg_jax import assets, config
from restpg_jax.io import checkpoints
from restpg_jax.stages import language


def load_base(*, out, cfg: config.Model, layout) -> dict:
  """Checks that weights and tokenizer fit; keeps the weights in the workdir."""
  del layout
  params, size = checkpoints.load_model(assets.path(cfg.checkpoint))
  language.load_tokenizer(cfg.tokenizer, size)
  checkpoints.save_model(out / 'model', params, size, taken_from=cfg.checkpoint)
  return {'expected': 1, 'made': 1, 'parameters': checkpoints.count(params)}
