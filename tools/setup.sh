#!/bin/bash
# Makes this machine ready: Debian packages, uv, and the Python environment in .venv.
#
#   tools/setup.sh demo|test|venv
#
# A second run does nothing but look. Packages come from tools/packages.txt, each with its reason.
# Daemons that Debian would start on installation stay off: Ingot runs and ends what it needs itself,
# and nothing that ran before is touched.
set -euo pipefail

cd "$(dirname "$0")/.."
purpose=${1:-test}
list=tools/packages.txt

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

case $purpose in
    demo) wanted='setup|run|build|rack|demo' ;;
    test) wanted='setup|run|build|rack|demo|test' ;;
    venv) wanted='none' ;;
    *) fail "unknown purpose '$purpose'; use demo, test or venv" ;;
esac

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi

root_or_fail() {
    [ ${#as_root[@]} -eq 0 ] && return
    command -v sudo >/dev/null ||
        fail "packages are missing ($*), and there is neither root nor sudo. Run this as root."
}

installed() { # is this Debian package installed?
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# -- Debian packages ---------------------------------------------------------------------------

policy=/usr/sbin/policy-rc.d
ours=no

# Debian asks this file before it starts a daemon. Ours says no, and only while we live: if we are
# killed, what is left of it says yes.
hold_daemons() {
    [ -e "$policy" ] && return # somebody's own rule; it is theirs to decide
    printf '#!/bin/sh\n# Left by a set-up that was interrupted; may be removed.\nkill -0 %d 2>/dev/null && exit 101\nexit 0\n' $$ |
        "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    ours=yes
}

release_daemons() {
    if [ "$ours" = yes ]; then
        "${as_root[@]}" rm -f "$policy"
        ours=no
    fi
}
trap release_daemons EXIT

names() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u; }

# Under systemd a held daemon would still start at the next boot of the host.
disable_new_units() {
    [ -d /run/systemd/system ] || return 0
    local package unit
    comm -13 <(printf '%s\n' "$1") <(names) | while read -r package; do
        dpkg-query -L "$package" 2>/dev/null |
            sed -nE 's,^(/usr)?/lib/systemd/system/([^@/]+\.(service|socket))$,\2,p' |
            while read -r unit; do
                if systemctl is-enabled --quiet "$unit" 2>/dev/null; then
                    say "leaving $unit of $package off (systemctl disable)"
                    "${as_root[@]}" systemctl disable --quiet "$unit" </dev/null || true
                fi
            done
    done
}

install() { # packages, each after a line that says why
    local before
    root_or_fail "$@"
    command -v apt-get >/dev/null ||
        fail "this is no Debian system; install these yourself: $*"
    before=$(names)
    hold_daemons
    say "apt-get update"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null
    say "apt-get install $*"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null
    release_daemons
    disable_new_units "$before"
}

missing=()
if command -v dpkg-query >/dev/null; then
    while read -r purposes package reason; do
        case $purposes in '' | '#'*) continue ;; esac
        [[ ",$purposes," =~ ,($wanted), ]] || continue
        installed "$package" && continue
        case " ${missing[*]-} " in *" $package "*) continue ;; esac
        say "missing: $package ($reason)"
        missing+=("$package")
    done <"$list"
fi
[ ${#missing[@]} -eq 0 ] || install "${missing[@]}"

# -- Python and uv -------------------------------------------------------------------------------

python=
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$(command -v "$candidate")
        break
    fi
done
[ -n "$python" ] || fail "Python 3.11 or newer is needed: apt-get install python3"

find_uv() {
    if [ -n "${UV:-}" ] && [ -x "$UV" ]; then
        echo "$UV"
    elif command -v uv >/dev/null && uv --version >/dev/null 2>&1; then
        command -v uv
    elif [ -x .venv-bootstrap/bin/uv ]; then
        echo "$PWD/.venv-bootstrap/bin/uv"
    fi
}

uv=$(find_uv)
if [ -z "$uv" ]; then
    # Debian's own Python may be managed by apt alone (PEP 668), so uv gets an environment of its own.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "missing: python3-venv (makes the environment that holds uv)"
        install python3-venv
    fi
    say "getting uv from the Python package index into .venv-bootstrap"
    "$python" -m venv --clear .venv-bootstrap
    .venv-bootstrap/bin/python -m pip install --quiet --disable-pip-version-check uv
    uv=$(find_uv)
fi

say "Python environment in .venv (uv sync)"
# The Python that is here (interpreters are not in the package registries), and the certificates that
# this machine trusts (a registry inside a company has its own).
export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=true
which_python=()
if ! .venv/bin/python -c '' 2>/dev/null; then
    # Its real place: another spelling of the same path would make uv build .venv anew each time.
    which_python=(--python "$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')")
fi
"$uv" sync --quiet --frozen --extra postgres "${which_python[@]}"
mkdir -p .venv-bootstrap/bin
[ -e .venv-bootstrap/bin/uv ] || ln -s "$uv" .venv-bootstrap/bin/uv
say "ready for $purpose"
