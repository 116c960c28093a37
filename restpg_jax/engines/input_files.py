"""What of a folder that a setting names is read, and so is in fingerprints.

By the kinds of config.file: all else in a folder, what a download or a system
leaves there, a sibling task, weights in another form, changes nothing.
"""

from restpg_jax.data import longlamp
from restpg_jax.io import encoders, fingerprints, weight_folders

READS: fingerprints.Reads = {
  'data': lambda cfg, path: longlamp.data_files(path, setting=cfg.setting),
  'weights': lambda cfg, path: weight_folders.weight_files(path),
  'encoder': lambda cfg, path: encoders.encoder_files(path),
}
