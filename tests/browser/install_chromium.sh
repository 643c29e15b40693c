#!/usr/bin/env bash
# Makes sure that the pages can be tested: prints the path of a Chromium, installing Debian's where root may do so.
set -euo pipefail

find_chromium() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
}

if ! find_chromium; then
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "The page tests need Chromium: install the package chromium." >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update >&2
    apt-get install --yes --no-install-recommends chromium >&2
    find_chromium
fi
