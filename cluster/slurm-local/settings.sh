# Sourced by start and stop: where this cluster lies, and how its daemons are told from everybody else's.
# Nothing here looks for a process by its name: a pid counts only if it was recorded here and its command line
# still names this cluster's directory.
set -uo pipefail
export LC_ALL=C PATH="${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin"

place=${AP_SLURM_DIR:-${TMPDIR:-/tmp}/archive-proc-slurm-$(id -u)}
port=${AP_SLURM_PORT:-17817}          # slurmctld; the nodes take the ports after it
nodes=${AP_SLURM_NODES:-3}
cpus=${AP_SLURM_CPUS:-2}              # claimed by each node; may exceed what the host has
memory=${AP_SLURM_MEMORY_MB:-4096}    # the same
patience=${AP_SLURM_WAIT_S:-60}       # seconds until nodes are up and a job has run

tell() { printf 'slurm-local: %s\n' "$*" >&2; }

refuse() {  # refuse STATUS TEXT
  tell "$2"
  exit "$1"
}

# Holds the cluster's lock until the script ends, so that test processes may call start and stop at will.
one_at_a_time() {
  exec 8>"$place/lock"
  flock -w "$patience" 8 || refuse 1 "another start or stop holds $place/lock"
}

# runs NAME: is the daemon recorded in pids/NAME alive, and still ours?
runs() {
  local pid
  pid=$(cat "$place/pids/$1" 2>/dev/null) && [ -n "$pid" ] || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$place/"
}
