#!/usr/bin/env bash
# Runs one restpg_jax command on every worker of a TPU VM pod.
set -euo pipefail

usage() {
  cat <<'TEXT'
launch/tpu_pod.sh --name=NAME --zone=ZONE [flags] -- ARGUMENTS

Runs `python -m restpg_jax.main ARGUMENTS` on every worker of a TPU VM pod.

  --name=NAME      the TPU VM
  --zone=ZONE      where it is
  --project=NAME   the cloud project; default: gcloud's own
  --repo_dir=DIR   the repository on each worker, with its .venv;
                   default: restpg_jax in the home folder
  --dry_run        print what would be run, and run nothing
  --help           this

ARGUMENTS must hold --workdir=gs://BUCKET/...: each worker has a disk of its
own. The same command again goes on where it stopped. Example:

launch/tpu_pod.sh --name=pod --zone=us-central2-b -- \
    --config=configs/paper.py --workdir=gs://bucket/paper
TEXT
}

refuse() {
  printf 'error: %s\n\n' "$1" >&2
  usage >&2
  exit 2
}

name='' zone='' project='' repo_dir='restpg_jax' dry_run=false
while (($#)); do
  flag=$1
  shift
  case $flag in
    --) break ;;
    --help | -h) usage && exit 0 ;;
    --dry_run) dry_run=true && continue ;;
    --*=*) value=${flag#*=} flag=${flag%%=*} ;;
    --*)
      (($#)) || refuse "$flag has no value"
      value=$1
      shift
      ;;
    *) refuse "$flag: the arguments of restpg_jax.main come after --" ;;
  esac
  case $flag in
    --name) name=$value ;;
    --zone) zone=$value ;;
    --project) project=$value ;;
    --repo_dir) repo_dir=$value ;;
    *) refuse "unknown flag $flag" ;;
  esac
done
[[ -n $name ]] || refuse 'missing --name'
[[ -n $zone ]] || refuse 'missing --zone'
[[ -n $repo_dir ]] || refuse 'empty --repo_dir'
(($#)) || refuse 'missing -- and the arguments of restpg_jax.main'

workdir='' before=''
for argument in "$@"; do
  [[ $before =~ ^--?workdir$ ]] && workdir=$argument
  [[ $argument =~ ^--?workdir=(.*)$ ]] && workdir=${BASH_REMATCH[1]}
  before=$argument
done
[[ -n $workdir ]] || refuse 'missing --workdir=gs://... after --'
[[ $workdir == gs://?* ]] ||
  refuse "--workdir=$workdir is on each worker's own disk; gs://... is needed"

# The remote shell reads this line once more, hence the quotes of printf %q.
printf -v remote ' %q' "$@"
printf -v remote 'cd %q && .venv/bin/python -m restpg_jax.main%s' \
  "$repo_dir" "$remote"

command=(gcloud compute tpus tpu-vm ssh "$name" --worker=all "--zone=$zone")
[[ -z $project ]] || command+=("--project=$project")
command+=("--command=$remote")

if $dry_run; then
  printf '%q' "${command[0]}"
  printf ' %q' "${command[@]:1}"
  printf '\n'
  exit 0
fi
exec "${command[@]}"
