#!/bin/sh
# Make the one image of this example, webapp:12, from Debian packages: no registry is asked.
#
# mmdebstrap puts the packages into a root file system, `pcompose import` makes an image of it.
# The file system is kept in .cache/ and made again only when this script changes; only that needs
# root, importing it is for every user.
#
#   PCOMPOSE        the command to import with (default: pcompose)
#   WEBAPP_CACHE    where the file system is kept (default: .cache beside this script)
#   DEBIAN_MIRROR   where packages come from (default: the Debian mirrors)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
pcompose=${PCOMPOSE:-pcompose}
cache=${WEBAPP_CACHE:-$here/.cache}
packages=postgresql-15,redis-server,nginx-light,python3-minimal,python3-psycopg2,python3-redis

say() { printf 'webapp: %s\n' "$*" >&2; }

need() {
    command -v "$1" >/dev/null && return
    say "installing $1 with apt-get"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1 && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

# The database cluster is made at first start, in a volume; so the package must not make one.
no_cluster='mkdir -p "$1/etc/postgresql-common"
echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"'

tidy='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* "$1"/tmp/*
rm -f "$1"/etc/ssl/private/* "$1"/etc/ssl/certs/ssl-cert-snakeoil.pem
mkdir -p "$1/var/log/nginx"'

make_root() {
    [ "$(id -u)" = 0 ] || { say "making a root file system needs root: run this once with sudo"; exit 1; }
    need mmdebstrap
    say "making a Debian 12 root file system with $packages"
    mkdir -p "$cache"
    # shellcheck disable=SC2086
    mmdebstrap --quiet --variant=minbase --include="$packages" \
        --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --essential-hook="$no_cluster" --customize-hook="$tidy" \
        bookworm "$cache/new.tar" ${DEBIAN_MIRROR:-}
    mv "$cache/new.tar" "$root"
}

root=$cache/root-$(sha256sum "$here/make-images.sh" | cut -c1-12).tar
if [ -e "$root" ]; then
    say "using $root"
else
    rm -f "$cache"/root-*.tar "$cache/new.tar"
    make_root
fi
say 'importing it as webapp:12'
"$pcompose" import "$root" webapp:12 \
    --change 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV LANG=C.UTF-8' \
    --change 'LABEL org.opencontainers.image.title="webapp example"' \
    --change 'CMD ["/bin/bash"]'
say 'done; now: pcompose up -d --wait'
