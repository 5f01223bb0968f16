#!/bin/sh
# Builds dist/collectord_VERSION_ARCH.deb for Debian 12 from the wheel in dist/ (`make package` calls it after the wheel).
#
#   packaging/deb/build.sh [VERSION]        default: the version of pyproject.toml
#
# The package holds a virtual environment for /opt/collectord with everything that the daemon imports, made with Debian's
# own Python. Nothing is fetched when it is installed. No root is needed to build it. Its
# dependencies are those of packaging/requirements.lock, its times SOURCE_DATE_EPOCH (default: time of the last commit).
set -eu
umask 022
export LC_ALL=C.UTF-8
# Compiled files would tell where this was built (pip imports what it has installed); they are made below, all at once.
export PYTHONDONTWRITEBYTECODE=1

cd "$(dirname "$0")/../.."
here=packaging/deb
python=/usr/bin/python3
build_python=.venv/bin/python
# An address of whoever hands the package out.
maintainer=${COLLECTORD_MAINTAINER:-collectord maintainers <collectord@example.org>}
tree=$PWD/dist/deb
root=$tree/root
prefix=/opt/collectord
doc=$root/usr/share/doc/collectord

die() {
    printf 'deb: %s\n' "$*" >&2
    exit 1
}

found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || found=nothing
[ "$found" = 3.11 ] ||
    die "Debian 12's package needs Debian 12's Python at $python (3.11), found $found: build it on Debian 12"
for tool in dpkg dpkg-deb gzip; do
    command -v "$tool" >/dev/null || die "$tool is missing: build it on Debian 12"
done
set -- "${1:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -n 1)}" dist/collectord-*.whl
version=$1 wheel=$2
{ [ $# -eq 2 ] && [ -f "$wheel" ]; } || die "expected one wheel in dist/, found $(($# - 1)): make package builds it"
arch=$(dpkg --print-architecture)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH

rm -rf "$tree"
mkdir -p "$root" "$tree/wheels" "$doc"

# --- the virtual environment ------------------------------------------------------------------------------------

"$build_python" -P "$here/lock_check.py" pyproject.toml packaging/requirements.lock
"$python" -m venv --without-pip "$root$prefix"
# pip of the build's environment works on the new one, which needs none of its own: it is never changed in place.
pip() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONNOUSERSITE=1 "$build_python" -P -m pip --python "$root$prefix/bin/python3" "$@" </dev/null
}
pip download --quiet --only-binary :all: --no-deps --require-hashes -r packaging/requirements.lock -d "$tree/wheels"
pip install --quiet --no-compile --no-index --no-deps --find-links "$tree/wheels" --require-hashes \
    -r packaging/requirements.lock
pip install --quiet --no-compile --no-index --no-deps "$wheel"
"$build_python" -P "$here/tidy_venv.py" "$root$prefix" "$prefix"
rmdir -p "$root$prefix/include/python3.11" 2>/dev/null || true
# Checked by hash and never looked up in the sources: files of a package do not change, and carry no time of building.
"$root$prefix/bin/python3" -I -m compileall -q -j 1 --invalidation-mode unchecked-hash -s "$root" -p / \
    "$root$prefix/lib/python3.11/site-packages"

# --- what stands around it --------------------------------------------------------------------------------------

put() { # MODE FOLDER FILE...: into a folder of the package
    mode=$1 folder=$root$2
    shift 2
    mkdir -p "$folder"
    install -m "$mode" "$@" "$folder"
}

site=$prefix/lib/python3.11/site-packages/collectord
mkdir -p "$root/usr/bin" "$root/usr/share/collectord"
ln -s "$prefix/bin/collectord" "$root/usr/bin/collectord"
for data in profiles rules mibs; do
    ln -s "$site/$data" "$root/usr/share/collectord/$data"
done
cp -R --no-preserve=ownership packaging/integrations "$root/usr/share/collectord/integrations"
put 644 /usr/share/snmp/mibs collectord/mibs/*.txt

put 644 /etc/collectord conf/*
# What the package makes is named: commands find the daemon, and the site's own profiles and rules have their folders.
for line in 'state_dir = "/var/lib/collectord"' 'control_socket = "/run/collectord/control.sock"' \
    'profiles_dir = "profiles.d"' 'rules_dir = "rules.d"'; do
    grep -qxF "#$line" "$root/etc/collectord/collectord.toml" || die "conf/collectord.toml has no line #$line"
    sed -i "s|^#$line\$|$line|" "$root/etc/collectord/collectord.toml"
done
for folder in conf.d profiles.d rules.d; do
    mkdir -p "$root/etc/collectord/$folder"
    install -m 644 "$here/etc/$folder.README" "$root/etc/collectord/$folder/README"
done
mkdir -p "$root/etc/default"
install -m 644 "$here/etc/default" "$root/etc/default/collectord"

put 644 /lib/systemd/system systemd/collectord.service
for unit in systemd/*.socket; do
    [ ! -f "$unit" ] || put 644 /lib/systemd/system "$unit"
done
for kind in sysusers tmpfiles sysctl; do
    mkdir -p "$root/usr/lib/$kind.d"
done
install -m 644 systemd/sysusers.conf "$root/usr/lib/sysusers.d/collectord.conf"
install -m 644 systemd/tmpfiles.conf "$root/usr/lib/tmpfiles.d/collectord.conf"
install -m 644 systemd/sysctl.conf "$root/usr/lib/sysctl.d/60-collectord.conf"

# What the installed package says of itself.
"$root$prefix/bin/python3" -I -m collectord.manual "$tree/man" "$tree/completions"
for page in "$tree"/man/*; do
    mkdir -p "$root/usr/share/man/man${page##*.}"
    gzip -9n <"$page" >"$root/usr/share/man/man${page##*.}/${page##*/}.gz"
done
complete_for() { # FILE FOLDER NAME
    mkdir -p "$root/usr/share/$2"
    install -m 644 "$tree/completions/$1" "$root/usr/share/$2/$3"
}
complete_for collectord.bash bash-completion/completions collectord
complete_for _collectord zsh/vendor-completions _collectord
complete_for collectord.fish fish/vendor_completions.d collectord.fish

# --- papers -----------------------------------------------------------------------------------------------------

put 644 /usr/share/doc/collectord README.md CHANGELOG.md "$here/copyright"
install -m 644 packaging/README.md "$doc/README.packaging.md"
"$build_python" -P "$here/sbom.py" "$root$prefix" "$version" >"$doc/sbom.cdx.json"
"$build_python" -P "$here/licences.py" "$root$prefix" "$doc/sbom.cdx.json" engine/Cargo.toml |
    gzip -9n >"$doc/third-party-licences.txt.gz"
printf 'collectord (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" "$maintainer" \
    "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
mkdir -p "$root/usr/share/lintian/overrides"
install -m 644 "$here/lintian-overrides" "$root/usr/share/lintian/overrides/collectord"

# --- the archive ------------------------------------------------------------------------------------------------

if grep -rqF "$tree" "$root"; then
    die "the path of the build is in the package: $(grep -rlF "$tree" "$root" | head -n 3 | tr '\n' ' ')"
fi
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -perm /111 -exec chmod 755 {} +
find "$root" -type f ! -perm /111 -exec chmod 644 {} +
find "$root" -exec touch --no-dereference -d "@$SOURCE_DATE_EPOCH" {} +

# The newest symbols of the C library that a compiled module asks for.
libc=$(find "$root$prefix" -name '*.so*' -type f -exec grep -aoh 'GLIBC_2\.[0-9]*' {} + | sort -uV | tail -n 1)
mkdir "$root/DEBIAN"
(cd "$root" && find etc -type f | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
(cd "$root" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -print | sort | cut -c3- |
    tr '\n' '\0' | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@MAINTAINER@/$maintainer/" -e "s/@LIBC@/${libc#GLIBC_}/" \
    -e "s/@SIZE@/$(du -sk --apparent-size "$root" | cut -f1)/" "$here/control" >"$root/DEBIAN/control"
install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$root/DEBIAN"
chmod 644 "$root"/DEBIAN/[a-c]*  "$root/DEBIAN/md5sums"
dpkg-deb --root-owner-group -Zxz --build "$root" "dist/collectord_${version}_$arch.deb" >&2
