#!/usr/bin/env bash
# Runs one command on this machine, apart from the SSH session that starts it.
#
#   launch/worker.sh start NAME COMMAND...   a second one is refused: exit 3
#   launch/worker.sh status NAME             "HOST running|ended CODE|killed|none"
#   launch/worker.sh tail NAME               the end of the log, and what follows
#   launch/worker.sh stop NAME [SECONDS]     SIGTERM; SIGKILL 300 seconds later
#
# ~/restpg_runs/NAME holds `log`, `pid` (the command's and its group's), `code`
# (how it ended) and `lock`. The command and its children hold the lock for as
# long as they live: after a restart a number says nothing, a lock does.
set -euo pipefail

usage() {
  sed -n '4,7s/^#   //p' "$0" >&2
  exit 2
}

alive() {
  local lock
  [[ -e $folder/lock ]] || return 1
  exec {lock}<"$folder/lock"
  if flock --nonblock "$lock"; then
    exec {lock}<&-
    return 1
  fi
  exec {lock}<&-
}

start() {
  (($#)) || usage
  mkdir -p "$folder"
  exec 9>>"$folder/lock"
  if ! flock --timeout 5 9; then # `status` holds it for an instant
    printf '%s: %s runs already; stop it first\n' "$HOSTNAME" "$name" >&2
    exit 3
  fi
  rm -f "$folder/code" "$folder/pid"
  printf '== %s: %s\n' "$(date -u '+%F %T')" "$*" >>"$folder/log"
  # Those of an earlier slice make the start of a new one hang.
  unset "${!MEGASCALE_@}"
  setsid --fork bash "$0" _run "$name" "$@" </dev/null >>"$folder/log" 2>&1
  for _ in {1..100}; do [[ -e $folder/pid ]] || sleep 0.1; done
  printf '%s started\n' "$HOSTNAME"
}

run() { # apart from any terminal; file 9 is the lock
  # A machine that shuts down sends SIGTERM to everybody: the command may end by
  # itself, and this process waits for its code.
  local child code='' ended signalled
  trap 'signalled=1' TERM HUP INT
  "$@" &
  child=$!
  write pid "$child $$"
  while :; do
    signalled='' ended=0
    wait "$child" || ended=$?
    # 127 of a second wait: the first one had the code already.
    [[ $code && $ended == 127 ]] || code=$ended
    [[ $signalled ]] || break # else a signal ended the wait, not the command
  done
  write code "$code"
  kill -KILL -- "-$$" # what the command left behind, and this process, the last
}

write() { # whole, for others look at any moment
  echo "$2" >"$folder/$1.part"
  mv "$folder/$1.part" "$folder/$1"
}

status() {
  if alive; then
    printf '%s running\n' "$HOSTNAME"
  elif [[ -e $folder/code ]]; then
    printf '%s ended %s\n' "$HOSTNAME" "$(<"$folder/code")"
  elif [[ -e $folder/log ]]; then
    printf '%s killed\n' "$HOSTNAME"
  else
    printf '%s none\n' "$HOSTNAME"
  fi
}

stop() {
  local seconds=${1:-300} child group
  if alive && read -r child group <"$folder/pid"; then
    kill -TERM "$child" 2>/dev/null || seconds=0
    while alive && ((seconds-- > 0)); do sleep 1; done
    # What still lives is killed with all that it started.
    if alive; then
      kill -KILL -- "-$group" || true
      for _ in {1..50}; do alive && sleep 0.1; done
    fi
  fi
  status
}

(($# >= 2)) || usage
verb=$1 name=$2
shift 2
[[ $name =~ ^[a-z][a-z0-9-]*$ ]] || usage
folder=$HOME/restpg_runs/$name
case $verb in
  start) start "$@" ;;
  _run) run "$@" ;;
  status) status ;;
  tail) exec tail --lines=50 --follow=name --retry "$folder/log" ;;
  stop) stop "$@" ;;
  *) usage ;;
esac
