"""Which files of a folder that a setting names are read, and so are hashed.

The keys are the values of `reads` in config.path_field. All else in a folder,
what a download or a system leaves there, a sibling task, weights in another
form, changes no fingerprint.
"""

from restpg_jax.data import longlamp
from restpg_jax.io import encoders, fingerprints, weight_folders

READS: fingerprints.Reads = {
  'data': lambda cfg, path: longlamp.data_files(path, setting=cfg.setting),
  'weights': lambda cfg, path: weight_folders.weight_files(path),
  'encoder': lambda cfg, path: encoders.encoder_files(path),
}
