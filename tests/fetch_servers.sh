#!/bin/sh
# Unpacks the programs that the end-to-end tests talk to (snmptrapd, snmptt, snmptranslate, rsyslogd with TLS, smilint),
# the one that counts instructions (valgrind), those that look at units and scripts (systemd-analyze, shellcheck), and the
# library that shows another time (libfaketime), into a folder of the project, without installing anything: an installed
# snmptrapd or rsyslogd would start with the machine.
#
#   tests/fetch_servers.sh [FOLDER]        default: .cache/servers beside the tests
#
# Needs Debian or Ubuntu with package lists (apt-get update), no root. Does nothing if the folder is complete.
# Exit: 0 complete, 1 it can't be had, with one line on stderr that says why.
set -eu

folder=${1:-$(dirname "$0")/../.cache/servers}
programs="usr/sbin/snmptrapd usr/bin/snmptranslate usr/sbin/rsyslogd usr/bin/smilint usr/bin/valgrind.bin usr/sbin/snmptt"
programs="$programs usr/bin/systemd-analyze usr/bin/shellcheck"
# rsyslog's modules for TLS, by GnuTLS and by OpenSSL, and libfaketime; in folders that are named after the machine.
modules="lmnsd_gtls.so lmnsd_ossl.so libfaketime.so.1"
# The SMI base modules, which Debian does not ship with net-snmp, come with Erlang's SNMP compiler.
wanted="snmptrapd snmptt snmp libsnmp-base rsyslog rsyslog-gnutls rsyslog-openssl smitools erlang-snmp valgrind systemd"
wanted="$wanted shellcheck libfaketime"

fail() {
    echo "fetch_servers: $*" >&2
    exit 1
}

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

library_path() {
    find "$1" -name '*.so*' -exec dirname {} + 2>/dev/null | sort -u | tr '\n' ':'
}

# Prints what the unpacked programs and modules still miss, nothing when all of them would load.
missing() {
    for name in $programs $modules; do
        file=$(find "$1/usr" -path "*/$name" 2>/dev/null | head -n 1)
        [ -n "$file" ] || { echo "$name"; continue; }
        # Of a Perl script ldd only says that it is none of its business.
        LD_LIBRARY_PATH=$(library_path "$1") ldd "$file" 2>/dev/null | awk '/not found/ { print $1 }'
    done | sort -u | tr '\n' ' '
}

if [ -d "$folder" ] && [ -z "$(missing "$folder")" ]; then
    exit 0
fi
for tool in apt-get apt-cache dpkg-deb dpkg-query ldd; do
    command -v "$tool" >/dev/null || fail "$tool is not here; the tests use the servers on PATH or skip"
done

# The libraries that this machine does not have: the closure over lib* packages, alternatives included. The symbols of
# the C library that valgrind asks for serve tools of it that are not used here.
packages=""
queue=$wanted
while [ -n "$queue" ]; do
    next=""
    for package in $queue; do
        case " $packages " in *" $package "*) continue ;; esac
        packages="$packages $package"
        for library in $(apt-cache depends --important "$package" 2>/dev/null |
            awk '/Depends: lib/ && !/-dbg$/ { print $NF }'); do
            installed "$library" || next="$next $library"
        done
    done
    queue=$next
done

mkdir -p "$(dirname "$folder")"
unpacked=$(mktemp -d "$(dirname "$folder")/servers.XXXXXX")
trap 'rm -rf "$unpacked"' EXIT
mkdir "$unpacked/debs"
# Word splitting is meant: one argument per package.
# shellcheck disable=SC2086
reason=$(cd "$unpacked/debs" && apt-get -qq download $packages 2>&1 >/dev/null) ||
    fail "apt-get download failed: $(echo "$reason" | grep -v '^W:' | head -n 1)"
for deb in "$unpacked"/debs/*.deb; do
    dpkg-deb -x "$deb" "$unpacked"
done
rm -rf "$unpacked/debs" "$unpacked/usr/share/doc" "$unpacked/usr/share/man"
still=$(missing "$unpacked")
[ -z "$still" ] || fail "unpacked, but these are missing: $still"

chmod 755 "$unpacked"
rm -rf "$folder"
mv "$unpacked" "$folder"
trap - EXIT
echo "fetch_servers: unpacked into $folder"
