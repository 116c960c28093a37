"""Why a folder holds no weights that we read, and what to do about it."""

import re
from collections.abc import Collection

from etils import epath

MODEL = 'model.json'  # ours
CONFIG = 'config.json'  # Hugging Face's
METADATA = '_METADATA'  # Orbax's, and so DeepMind's
SAVE = 'transformers: model.save_pretrained(DIR)'
ADAPTER_CONFIG = 'adapter_config.json'  # PEFT's
ADAPTER_MODEL = 'adapter_model.safetensors'
PICKLES = re.compile(r'.*\.(bin|pt|pth|ckpt|pkl|pickle)$')
FORMS = (  # the ends of their names, what they are, what to do
  ('.gguf', 'GGUF, mostly quantised', 'bring the original safetensors'),
  ('.sbs', 'of gemma.cpp', "bring the original checkpoint, DeepMind's form"),
  (
    ('.weights.h5', '.keras'),
    'of Keras',
    'bring the same model in its transformers or Flax form',
  ),
  (
    ('.h5', '.msgpack', '.onnx'),
    'of TensorFlow, Flax or ONNX',
    f'save them as safetensors ({SAVE})',
  ),
  (('.tflite', '.task', '.litertlm'), 'of LiteRT', 'bring the original ones'),
  ('.npz', 'of NumPy or MLX', f'save them as safetensors ({SAVE})'),
)
# A clone without Git LFS has such a text in the place of each large file.
LFS = b'version https://git-lfs'
POINTER = (
  'a pointer of Git LFS and not the file itself: run `git lfs pull` where it '
  'comes from'
)


def no_folder(path: epath.Path) -> str:
  """Says what is there instead of a folder of weights."""
  if not path.exists():
    return 'no such folder of weights'
  return foreign_reason([path.name]) or (
    f'a file; give the folder it is in, {path.parent}'
  )


def why_not(path: epath.Path, names: set[str]) -> str:
  """Says what a folder with these files lacks to be one of weights."""
  inside = [
    name
    for name in sorted(names)
    if (path / name / METADATA).exists() or (path / name / MODEL).exists()
  ]
  if 'params' in names:
    return f'{MODEL} is missing: the folder was not written to its end'
  if tensors(names) and not adapter(names):
    return f'{CONFIG} is missing: copy or download it too'
  if reason := foreign_reason(names):
    return reason
  if inside:
    return f'the weights are in a folder of it: give {path / inside[0]}'
  if CONFIG in names:
    return 'it has no *.safetensors: copy or download them too'
  return (
    f'no weights; a model folder has {MODEL}, one of Hugging Face {CONFIG} and '
    f'*.safetensors, one of DeepMind {METADATA}. It holds '
    f'{", ".join(sorted(names)[:5]) or "nothing"}'
  )


def tensors(names: Collection[str]) -> bool:
  """Whether there are files of safetensors."""
  return any(
    n.endswith(('.safetensors', '.safetensors.index.json')) for n in names
  )


def adapter(names: Collection[str]) -> str:
  """Says what a folder of PEFT's lacks to be read; '' where it is none."""
  pickles = [n for n in names if re.fullmatch(r'adapter_model\.(bin|pt)', n)]
  if pickles:
    return (
      f'{pickles[0]} holds a pickled adapter, which can run code when it is '
      f'loaded and is never read here; save it as {ADAPTER_MODEL} (peft: '
      'save_pretrained(DIR, safe_serialization=True))'
    )
  files = {ADAPTER_CONFIG, ADAPTER_MODEL}
  if missing := files - set(names) if files & set(names) else ():
    return f'an adapter of PEFT without its {missing.pop()}: copy it too'
  return ''


def full(names: Collection[str]) -> list[str]:
  """Returns the names of the files that are not PEFT's."""
  return [name for name in names if not name.startswith('adapter_')]


def resolved(path: epath.Path, relative: str) -> epath.Path:
  """a/b, ../c -> a/c; buckets know no '..'."""
  for part in relative.split('/'):
    path = path.parent if part == '..' else path / part
  return path


def foreign_reason(names: Collection[str]) -> str:
  """Says why these files are no weights for us; '' if that is unknown."""
  if reason := adapter(names):
    return reason
  for ends, form, remedy in FORMS:
    if files := sorted(name for name in names if name.endswith(ends)):
      return f'{", ".join(files[:3])}: weights {form}, not read here; {remedy}'
  if files := sorted(filter(PICKLES.match, names)):
    return (
      f'{", ".join(files[:3])} hold pickled weights, which can run code when '
      'they are loaded and are never read here; save them as safetensors '
      f'({SAVE})'
    )
  return ''


def pointer(head: bytes) -> bool:
  """Whether a file that begins with these bytes is a pointer of Git LFS."""
  return head.startswith(LFS)
