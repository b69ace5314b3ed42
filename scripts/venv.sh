# Sourced by the scripts of this folder, with the name of a requirements file of the project's root:
# makes .venv there and installs exactly those packages, unless that was done before. Sets $project
# (the root) and $python, and lets `"$python" -P -m scripts.NAME` work from whatever folder the user
# stands in, so that the paths they give stay relative to it.

project="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
python="$project/.venv/bin/python"
export PYTHONPATH="$project"

new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

install_packages() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3.14 python3; do
    if new_enough "$candidate"; then
      "$candidate" -I "$project/scripts/install.py" "$1"
      return
    fi
  done
  echo "No Python of version 3.11 or newer was found on PATH." >&2
  return 1
}

# A copy of the file beside the packages says what was installed last.
if ! cmp -s "$project/$1" "$project/.venv/installed-$1" || ! new_enough "$python"; then
  install_packages "$1"
fi
