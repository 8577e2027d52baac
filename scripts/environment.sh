# Sourced by scripts/demo and scripts/test: makes .venv from a bare Python 3.11+ and leaves it alone while pyproject.toml stands.
# usage: . scripts/environment.sh EXTRAS   ("" or "[dev]")
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
extras=$1

python_found() {
  local one
  for one in "${PYTHON:-}" python3.11 python3 python3.12 python3.13 python3.14 python; do
    [ -n "$one" ] || continue
    if command -v "$one" >/dev/null 2>&1 && "$one" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$one"
      return 0
    fi
  done
  return 1
}

venv="$root/.venv"
wanted="$(cksum < "$root/pyproject.toml") $root"
stamp="$venv/.installed${extras//[^a-z]/}"
full="$venv/.installeddev"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ] && { [ -n "$extras" ] || [ "$(cat "$full" 2>/dev/null || true)" != "$wanted" ]; }; then
  python=$(python_found) || { echo "archive_proc needs Python 3.11 or newer with venv; set PYTHON to one" >&2; exit 5; }
  echo "making the environment in .venv with $("$python" --version) (once; a minute or two)" >&2
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root$extras" >&2
  echo "$wanted" > "$stamp"
fi
export PATH="$venv/bin:$PATH"
# Workers are processes of their own: each would compile the whole package anew.
unset PYTHONDONTWRITEBYTECODE
