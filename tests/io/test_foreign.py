"""Facts about restpg_jax/io/foreign.py: weights that are not read here."""

import pytest

from restpg_jax import errors
from restpg_jax.io import weights


@pytest.mark.parametrize(
  'files, said',
  [
    (['gemma-2b.Q4_K_M.gguf'], 'weights GGUF, mostly quantised, not read here'),
    (['config.json', 'model.weights.h5', 'task.json'], 'weights of Keras, not'),
    (['config.json', 'tf_model.h5'], 'weights of TensorFlow, Flax or ONNX'),
    (['config.json', 'flax_model.msgpack'], 'weights of TensorFlow, Flax or'),
    (['config.json', 'pytorch_model.bin'], 'hold pickled weights'),
    (['params.json', 'consolidated.00.pth'], 'hold pickled weights'),
    (['2b-it-sfp.sbs', 'tokenizer.spm'], 'weights of gemma.cpp, not read here'),
    (['model.safetensors', 'training_args.bin'], 'config.json is missing'),
  ],
)
def test_weights_in_forms_of_others_are_called_by_name(files, said, tmp_path):
  for name in files:
    (tmp_path / name).write_bytes(b'')
  with pytest.raises(errors.InputError, match=said):
    weights.find_checkpoint(tmp_path)


def test_a_file_of_weights_is_no_folder(tmp_path):
  for name, said in (
    ('m.gguf', 'm.gguf: weights GGUF'),
    ('m.safetensors', f'give the folder it is in, {tmp_path}'),
  ):
    (tmp_path / name).write_bytes(b'')
    with pytest.raises(errors.InputError, match=said):
      weights.find_checkpoint(tmp_path / name)
