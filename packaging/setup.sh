#!/bin/sh
# Gets a Debian 12 machine (with python3, git and make) ready to build and test collectord.
#
#   packaging/setup.sh system      what comes from the system: Python's venv module, a Rust toolchain, a linker
#   packaging/setup.sh venv        a virtual environment in .venv
#   packaging/setup.sh deps        what the daemon imports, and maturin, into .venv
#   packaging/setup.sh dev-deps    what the tests and the linters need, into .venv
#   packaging/setup.sh rust-lint   clippy and rustfmt, where the toolchain came without
#   packaging/setup.sh package     what `make package` needs beside that: Debian's own Python with its venv module
#   packaging/setup.sh package-test  what `make package-test` needs: debootstrap
#   packaging/setup.sh lock        packaging/requirements.lock anew, by uv in an environment of its own
#
# Every step does nothing when its result is there. System packages are installed only by root or where sudo asks
# for no password; everybody else is told in one message what to install.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv_python=.venv/bin/python

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Installs Debian packages, or says how to.
apt_install() {
    command -v apt-get >/dev/null 2>&1 ||
        die "something is missing and there is no apt-get: install what your system calls $*"
    if [ "$(id -u)" -eq 0 ]; then
        sudo=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo='sudo -n'
    else
        die "something is missing: run 'apt-get install --no-install-recommends $*' as root, then make again"
    fi
    printf 'setup: installing %s\n' "$*" >&2
    # Stale lists of one source must not stop an install that the others can serve.
    $sudo apt-get update -q >&2 || printf 'setup: apt-get update failed, going on\n' >&2
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >&2 </dev/null ||
        die "apt-get could not install $*"
}

# True if the dotted version $1 is at least $2; only the first two numbers are compared.
at_least() {
    have_major=${1%%.*} have_rest=${1#*.} want_major=${2%%.*} want_rest=${2#*.}
    have_minor=${have_rest%%.*} want_minor=${want_rest%%.*}
    [ "$have_major" -gt "$want_major" ] ||
        { [ "$have_major" -eq "$want_major" ] && [ "$have_minor" -ge "$want_minor" ]; }
}

pip_install() {
    "$venv_python" -P -m pip install --quiet --disable-pip-version-check "$@" </dev/null
}

# Requirements of a list in pyproject.toml, one per line. $1: a Python expression on its content `p`.
requirements() {
    "$venv_python" -P -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); print(*$1, sep='\n')"
}

# Everything that is missing is found first, so that it is told or installed at once.
step_system() {
    command -v "$python" >/dev/null 2>&1 || die "$python is missing: install Python 3.11 or newer"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$python is $("$python" -V 2>&1), expected 3.11 or newer: say which one to use with make PYTHON=..."
    missing=
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    # The `-web` packages are the current Rust that Debian keeps in a stable release for its web browsers.
    command -v cargo >/dev/null 2>&1 ||
        missing="$missing rustc-web cargo-web rust-web-clippy rustfmt-web ca-certificates"
    command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
    # Word splitting is meant: one argument per package.
    # shellcheck disable=SC2086
    [ -z "$missing" ] || apt_install $missing
    want=$(sed -n 's/^rust-version = "\(.*\)".*/\1/p' engine/Cargo.toml)
    have=$(cargo --version | cut -d' ' -f2)
    at_least "$have" "$want" || die "cargo is $have, the engine needs $want or newer: update it with 'rustup update'," \
        "or replace Debian's with 'apt-get install rustc-web cargo-web rust-web-clippy rustfmt-web'"
}

step_venv() {
    # What an interrupted attempt left is made new; a whole one is only completed.
    if ! "$venv_python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --clear .venv
    fi
}

step_deps() {
    requirements "p['project']['dependencies'] + p['build-system']['requires']" >.venv/requirements.txt
    pip_install -r .venv/requirements.txt
}

step_dev_deps() {
    requirements "p['project']['optional-dependencies']['dev']" >.venv/requirements-dev.txt
    pip_install -r .venv/requirements-dev.txt
}

step_rust_lint() {
    if cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1; then
        return
    fi
    if command -v rustup >/dev/null 2>&1; then
        rustup component add clippy rustfmt >&2
    else
        apt_install rust-web-clippy rustfmt-web
    fi
}

step_package() {
    command -v dpkg-deb >/dev/null 2>&1 || die "dpkg-deb is missing: the Debian package is built on Debian 12"
    /usr/bin/python3 -c 'import venv' 2>/dev/null || apt_install python3-venv
}

step_package_test() {
    [ "$(id -u)" -eq 0 ] || die "the package is tested in a folder with a system of its own, which needs root"
    command -v debootstrap >/dev/null 2>&1 || apt_install debootstrap
}

# Hashes of every file of a release, so that one list serves all machines. pip is left out: sqlite-utils has a command
# that wants it, and nothing else does.
step_lock() {
    "$python" -m venv --clear .cache/uv
    .cache/uv/bin/pip install --quiet --disable-pip-version-check uv
    .cache/uv/bin/uv pip compile pyproject.toml --quiet --upgrade --generate-hashes --no-annotate --no-header \
        --python-version 3.11 --python-platform linux --no-emit-package pip --output-file packaging/requirements.lock
}

case ${1:-} in
system) step_system ;;
venv) step_venv ;;
deps) step_deps ;;
dev-deps) step_dev_deps ;;
rust-lint) step_rust_lint ;;
package) step_package ;;
package-test) step_package_test ;;
lock) step_lock ;;
*) die "expected system, venv, deps, dev-deps, rust-lint, package, package-test or lock, got '${1:-}'" ;;
esac
