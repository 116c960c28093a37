#!/usr/bin/env bash
# Installs this clone from the pins: launch/install.sh tpu|cuda
#
# The image of a TPU VM may have a Python that is too old, so uv brings one and
# keeps it apart from the system's, in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
  tpu) packages=(--editable '.[tpu]') ;;
  cuda) packages=(--editable . 'jax[cuda13]') ;;
  *)
    echo 'usage: launch/install.sh tpu|cuda' >&2
    exit 2
    ;;
esac

export PATH=$HOME/.local/bin:$PATH
command -v uv >/dev/null || python3 -m pip install --quiet --user uv
uv venv --quiet --allow-existing --python 3.11 .venv
uv pip install --quiet --python .venv/bin/python \
  --constraint constraints/python3.11.txt "${packages[@]}"
