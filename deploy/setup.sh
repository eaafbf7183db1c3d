#!/usr/bin/env bash
# Installs what Gantry needs, and only what is missing: system packages, a virtual environment, pinned requirements.
#
#     deploy/setup.sh [runtime|notifications|rbd|dev|integration|ceph|bench|clients|keystone|glance|rally]
#
#   runtime      .venv with requirements.txt and Gantry itself (the default)
#   notifications  runtime, and oslo.messaging, by which other services are told of changes (docs/notifications.md)
#   rbd          runtime, and Debian's bindings of Ceph, which stores of type rbd need, linked into .venv
#   dev          .venv with requirements-dev.txt: runtime, the tests and the checks
#   integration  dev, and PostgreSQL, MariaDB, RabbitMQ and nginx, which the tests start by themselves
#   ceph         dev, rbd, and a monitor, an OSD and a gateway of Ceph, which the tests of S3, Swift and RBD start
#   bench        dev, and what `make bench` starts: MariaDB, PostgreSQL, memcached, and wrk, which asks
#   clients      .venv-clients with the unmodified OpenStack clients and Tempest of `make compat`
#   keystone     .venv-keystone with the real Keystone and Barbican of `make compat` and `make integration`
#   glance       .venv-glance with the upstream image service, which is another region in `make integration`, and measured by `make bench`
#   rally        .venv-rally with Rally, which `make compat` runs too
#
# Run again, it does nothing while the pinned files are unchanged. PYTHON names another interpreter (3.11 or newer).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
MODE=${1:-runtime}
PYTHON=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore DEBIAN_FRONTEND=noninteractive

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$@" >&2; exit 1; }

case $MODE in
    runtime | rbd) venv=.venv pins=requirements.txt ;;
    notifications) venv=.venv pins=requirements-notifications.txt ;;
    dev | integration | ceph | bench) venv=.venv pins=requirements-dev.txt ;;
    clients | keystone | glance | rally) venv=.venv-$MODE pins=requirements-$MODE.txt ;;
    -h | --help) sed -n '2,19s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown mode '$MODE': say runtime, notifications, rbd, dev, integration, ceph, bench, clients, keystone, glance or rally" ;;
esac

# fingerprint PINS: what the stamp of these pins stands for: them, the entry points, this script, the interpreter.
fingerprint() {
    { cat "$1" pyproject.toml deploy/setup.sh; readlink -f "$venv/bin/python"; pwd -P; } | sha256sum | cut -d' ' -f1
}

# missing_packages: the Debian packages whose programs are not here, one a line.
missing_packages() {
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo "$(python_package)-venv"
    [ -s /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    command -v qemu-img >/dev/null || echo qemu-utils
    { command -v prlimit && command -v setpriv; } >/dev/null || echo util-linux
    command -v bwrap >/dev/null || echo bubblewrap
    [ "$MODE" = runtime ] || [ "$MODE" = notifications ] || [ "$MODE" = rbd ] || command -v curl >/dev/null || echo curl
    # gophercloud's own tests, and Go to build them.
    [ "$MODE" != clients ] || command -v go >/dev/null || echo golang-go
    [ "$MODE" != clients ] || [ -d /usr/share/gocode/src/github.com/gophercloud/gophercloud ] ||
        echo golang-github-gophercloud-gophercloud-dev
    [ "$MODE" != bench ] || command -v memcached >/dev/null || [ -x /usr/sbin/memcached ] || echo memcached
    [ "$MODE" != bench ] || command -v wrk >/dev/null || echo wrk
    [ "$MODE" != integration ] || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || echo rabbitmq-server
    [ "$MODE" != integration ] || { command -v nginx || [ -x /usr/sbin/nginx ]; } >/dev/null || echo nginx-light
    ! needs_rbd || missing_bindings
    [ "$MODE" != ceph ] || missing_ceph
    [ "$MODE" = integration ] || [ "$MODE" = bench ] || return 0
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || echo postgresql
    # Only the programs, without the system service of package mariadb-server.
    { command -v mariadbd || [ -x /usr/sbin/mariadbd ]; } >/dev/null || echo mariadb-server-core
    # A program of mariadb-install-db, which mariadb-server-core brings without it.
    command -v my_print_defaults >/dev/null || echo mariadb-client-core
}

needs_rbd() { [ "$MODE" = rbd ] || [ "$MODE" = ceph ]; }

# bindings: where Debian's packages have put the bindings of librados and librbd, one a line.
bindings() { compgen -G '/usr/lib/python3/dist-packages/rados.*.so'; compgen -G '/usr/lib/python3/dist-packages/rbd.*.so'; }

missing_bindings() {
    [ "$(bindings | wc -l)" -ge 2 ] || printf '%s\n' python3-rados python3-rbd
}

missing_ceph() {
    command -v ceph-mon >/dev/null || echo ceph-mon
    command -v ceph-osd >/dev/null || echo ceph-osd
    command -v radosgw >/dev/null || echo radosgw
    command -v ceph >/dev/null || echo ceph-common
}

brings_servers() { [ "$MODE" = integration ] || [ "$MODE" = bench ] || [ "$MODE" = ceph ]; }

python_package() { "$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo --preserve-env=DEBIAN_FRONTEND "$@"; fi
}

install_packages() {
    command -v apt-get >/dev/null || die "missing here: $*" \
        "This system has no apt-get. Install them with its own package manager (names as in Debian) and run this again."
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "missing here: $*" \
        "Installing them needs root, and there is no sudo. As root: apt-get install --no-install-recommends $*"
    local log; log=$(mktemp)
    say "installing Debian packages: $*"
    # Lists that are missing or out of date make the first try fail; one update cures both.
    apt_install "$@" >"$log" 2>&1 || {
        say "fetching Debian's package lists first"
        { as_root apt-get update && apt_install "$@"; } >"$log" 2>&1 || {
            tail -n 15 "$log" >&2; rm -f "$log"
            die "cannot install one of: $* (the reason is above)" \
                "By hand, as root: apt-get update && apt-get install --no-install-recommends $*"
        }
    }
    rm -f "$log"
}

# In a subshell: what it sets up for the packages is undone however it ends.
apt_install() (
    policy=/usr/sbin/policy-rc.d
    if brings_servers && [ ! -e "$policy" ]; then  # no package starts its server by itself
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root apt-get install --yes --quiet --no-install-recommends "$@"
)

make_venv() {
    # Programs in a virtual environment name it by its full path: one that was moved has to be made again.
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1 && grep -qF "$(pwd -P)/$venv/" "$venv/bin/pip"; then return; fi
    say "making $venv with $("$PYTHON" --version)"
    "$PYTHON" -m venv --clear "$venv" || die "cannot make $venv; is package $(python_package)-venv installed?"
}

install_pins() {
    local count log; count=$(grep -c '^[a-zA-Z].*==' "$pins"); log=$(mktemp)
    say "installing $count Python packages of $pins into $venv (a minute or so)"
    # The pins are complete and hashed: no resolving, and nothing else than what was tested.
    "$venv/bin/python" -u -m pip install --no-deps --require-hashes -r "$pins" >"$log" 2>&1 &
    wait_with_progress $! "$log" || {
        grep -v '^WARNING' "$log" | tail -n 15 >&2; rm -f "$log"
        die "cannot install the Python packages of $pins (the reason is above)" \
            "By hand: $venv/bin/python -m pip install --no-deps --require-hashes -r $pins"
    }
    rm -f "$log"
}

# wait_with_progress PID LOG: says every 5 s how far pip has come; the exit status is pip's.
wait_with_progress() {
    local ticks=0 now
    while kill -0 "$1" 2>/dev/null; do
        sleep 0.25; ticks=$((ticks + 1))
        [ $((ticks % 20)) -eq 0 ] || continue
        now="$(grep -c '^Collecting' "$2" || true) fetched"
        ! grep -q '^Installing collected' "$2" || now="unpacking"
        say "... $now, $((ticks / 4)) s"
    done
    wait "$1"
}

install_gantry() {
    # setuptools is among the pins, so that no build environment is fetched.
    "$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable . ||
        die "cannot install Gantry itself into $venv (the reason is above)"
}

# PyPI has no wheel of these two: they belong to the librados and librbd of the system, and to its Python's version.
link_bindings() {
    local so site
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    for so in $(bindings); do ln -sf "$so" "$site/"; done
    "$venv/bin/python" -c 'import rados, rbd' 2>/dev/null || die \
        "Debian's bindings of Ceph were made for $(/usr/bin/python3 --version), and $venv has $("$venv/bin/python" --version)." \
        "Make $venv with the system's Python: rm -rf $venv && PYTHON=/usr/bin/python3 deploy/setup.sh $MODE"
}

command -v "$PYTHON" >/dev/null || die "missing here: python3 (3.11 or newer)" \
    "Install it, or name another: PYTHON=/path/to/python3.12 make setup"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$("$PYTHON" --version) is too old: 3.11 or newer is needed. Name another: PYTHON=/path/to/python3.12 make setup"

installed() { [ "$(cat "$venv/.setup-$1" 2>/dev/null)" = "$(fingerprint "$1")" ]; }
# What the tests need holds all that the service needs, notifications too.
has_pins() {
    installed "$pins" && return
    case $pins in requirements.txt | requirements-notifications.txt) installed requirements-dev.txt ;; *) return 1 ;; esac
}
leave() { ! needs_rbd || link_bindings; exit 0; }

mapfile -t missing < <(missing_packages)
# What is there already waits for nobody who installs something else.
if [ ${#missing[@]} -eq 0 ] && has_pins; then leave; fi
# One set-up at a time in this directory: a second one waits, then finds everything done.
if command -v flock >/dev/null; then exec 9<.; flock 9; fi
mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
if has_pins; then leave; fi
start=$SECONDS
make_venv
install_pins
[ "$venv" != .venv ] || install_gantry
"$venv/bin/python" -m pip check >/dev/null || { "$venv/bin/python" -m pip check >&2; die "$pins does not fit together"; }
fingerprint "$pins" >"$venv/.setup-$pins"
say "$venv is ready for $MODE ($((SECONDS - start)) s)"
! needs_rbd || link_bindings
