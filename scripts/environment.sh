# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts: makes .venv once and brings it up to date when what it depends on has changed.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The wheels restart Python once to set its library path and mark that in the environment; an inherited mark or
# path would belong to another environment.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1

VENV="${TTT3R_VENV:-.venv}"
TORCH="torch==2.13.0"
say() { printf '\033[1m[%s]\033[0m %s\n' "$(basename "$0")" "$*" >&2; }
die() { say "$*"; exit 1; }

debian_install() {  # PACKAGE...: as root or with sudo, on Debian and its kin
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    command -v apt-get >/dev/null || die "please install: $*"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "please run as root: apt-get install $*"
    say "installing Debian packages: $*"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

chromium_if_possible() {  # for the tests in a browser; where there is none they are skipped, and say so
    ! command -v chromium >/dev/null || return 0
    if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
        (debian_install chromium) || say "no chromium here: the tests in a browser are skipped"
    fi
}

find_python() {
    local candidate
    for candidate in "${TTT3R_PYTHON:-}" python3 python3.12 python3.11 python3.13 python3.10 python3.14; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    local python
    if ! python="$(find_python)"; then
        debian_install python3 python3-venv
        python="$(find_python)" || die "Python 3.10 to 3.14 is needed; found $(python3 --version 2>&1)"
    fi
    say "making $VENV with $("$python" --version)"
    rm -rf "$VENV"
    if ! "$python" -m venv "$VENV" 2>/dev/null; then
        rm -rf "$VENV"
        debian_install "python3-venv"
        "$python" -m venv "$VENV"
    fi
    touch "$VENV/COLCON_IGNORE"
}

install_into_venv() {
    local pip=("$VENV/bin/python" -m pip install --quiet --constraint scripts/constraints.txt)
    command -v c++ >/dev/null || debian_install g++  # tf2_msgs is generated and compiled
    say "1 of 3: installing $TORCH (the largest download)"
    "${pip[@]}" "$TORCH"
    say "2 of 3: installing ttt3r_ros, ROS 2 Jazzy wheels and tools"
    "${pip[@]}" --editable '.[ros,demo,test]' "$TORCH"
    say "3 of 3: building tf2_msgs, the one message package without a wheel"
    "${pip[@]}" ./packaging/tf2_msgs
}

stamp() { find setup.py scripts/environment.sh scripts/constraints.txt packaging -type f -exec sha256sum {} + | sort | sha256sum; }

prepare_environment() {
    if [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/installed" 2>/dev/null)" = "$(stamp)" ]; then
        return
    fi
    local started=$SECONDS
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || make_venv # also after one that broke off
    install_into_venv
    stamp > "$VENV/installed"
    say "environment ready after $((SECONDS - started)) s"
}
