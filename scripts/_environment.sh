# shellcheck shell=bash
# Sourced by quickstart, test, docs and .ci/run. Sets $project, and $python: the interpreter of an environment in which
# the project is installed. It uses the active environment, or else .venv in the project.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 2
}

is_supported() { # PYTHON
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

new_environment() { # FOLDER
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3.10 python3 python; do
        is_supported "$candidate" || continue
        say "making $1 with $("$candidate" --version)"
        # Debian and Ubuntu package venv separately from Python.
        "$candidate" -m venv --clear "$1" || die "$candidate cannot make an environment; on Debian and Ubuntu:" \
            "sudo apt install $("$candidate" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
        return
    done
    die "Python 3.10 to 3.13 is needed and none was found (tried python3.13, python3.12, python3.11, python3.10, python3," \
        "python); install one, or activate an environment that has one"
}

choose_python() {
    local environment=${VIRTUAL_ENV:-}
    # conda's base is active in every shell and shared by all projects, so do not install there.
    if [[ -z $environment && ${CONDA_DEFAULT_ENV:-base} != base ]]; then
        environment=${CONDA_PREFIX:-}
    fi
    if [[ -z $environment ]]; then
        environment=$project/.venv
        [[ -x $environment/bin/python ]] || new_environment "$environment"
    fi
    python=$environment/bin/python
    [[ -x $python ]] || die "the active environment $environment has no bin/python; deactivate it, or activate another"
    is_supported "$python" || die "$environment has $("$python" --version 2>&1); Python 3.10 to 3.13 is needed:" \
        "activate another environment, or remove .venv and run this again"
}

# Keep an installed torch: constrain pip to its version. In an environment that this script did not make, reject a build
# from another index (2.13.0+cpu) without torchvision, since only that index has the matching torchvision.
torch_constraints() {
    "$python" - "$project/.venv" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


torch, torchvision = installed("torch"), installed("torchvision")
if torch and "+" in torch and not torchvision and sys.prefix != sys.argv[1]:
    index = f"https://download.pytorch.org/whl/{torch.partition('+')[2]}"
    sys.exit(
        f"error: torch {torch} is installed without torchvision, and both must come from the same index; install it, "
        f"for example: {sys.executable} -m pip install torchvision torch=={torch} --index-url {index}"
    )
for name, found in (("torch", torch), ("torchvision", torchvision)):
    if found:
        print(f"{name}=={found}")
PY
}

# Print what an installation depends on, and the extra; compared with the stamp of the last one in this environment.
wanted_stamp() { # EXTRA
    "$python" - "$project" "$1" <<'PY'
import hashlib, pathlib, sys

project, extra = sys.argv[1:]
print(hashlib.sha256(pathlib.Path(project, "pyproject.toml").read_bytes()).hexdigest(), extra or "-", project)
PY
}

is_installed() { # STAMP_FILE EXTRA
    [[ -f $1 ]] || return 1
    local found
    found=$(<"$1")
    # An environment with the extra has everything that is needed without it.
    [[ $found == "$(wanted_stamp "$2")" || $found == "$(wanted_stamp dev)" ]] || return 1
    "$python" -c 'from importlib.metadata import version; version("sola-pipeline")' 2>/dev/null
}

prepare_environment() { # [EXTRA]
    local extra=${1:-} stamp constraints
    choose_python
    stamp=$("$python" -c 'import sys; print(sys.prefix)')/.sola-pipeline-installed
    is_installed "$stamp" "$extra" && return
    say "installing the project into ${python%/bin/python} (the first time several GB, most of it torch)"
    # Environments made by uv have no pip.
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
    constraints=${stamp%/*}/.sola-pipeline-constraints
    torch_constraints >"$constraints" || exit 2
    local quiet=()
    [[ -t 2 ]] || quiet=(--quiet --progress-bar off)
    "$python" -m pip install --no-input "${quiet[@]+"${quiet[@]}"}" --constraint "$constraints" \
        --editable "$project${extra:+[$extra]}" >&2 ||
        die "the installation failed, see above; the same command goes on from there"
    rm -f "$constraints"
    wanted_stamp "$extra" >"$stamp"
}

# Tests in a browser need a Chromium; without one they are skipped.
prepare_browser() {
    local program
    for program in chromium chromium-browser google-chrome; do
        command -v "$program" >/dev/null && return
    done
    install_packages chromium fonts-dejavu-core ||
        say "warning: no Chromium, so tests in a browser are skipped; install one, on Debian: sudo apt install chromium"
}

prepare_ffmpeg() { # its libraries, for the tests of torchcodec
    command -v ffmpeg >/dev/null || install_packages ffmpeg ||
        say "warning: no FFmpeg, so tests of torchcodec are skipped; install it, on Debian: sudo apt install ffmpeg"
}

install_packages() { # NAME…: of Debian or Ubuntu, as root
    ((EUID == 0)) && command -v apt-get >/dev/null || return
    say "installing $*"
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y "$@" >&2
}
