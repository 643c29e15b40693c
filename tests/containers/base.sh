#!/bin/sh
# Makes the image `lake-base:bookworm` from Debian's packages, unless it is there: for where no registry can be asked.
# With what both the Dockerfile's base and the fresh machine need: Python 3.11 with venv, git, make.
set -eu

image=lake-base:bookworm
docker image inspect "$image" > /dev/null 2>&1 && exit 0
work="${CONTAINERS_DIR:?names the folder for the image\'s parts}"
export DEBIAN_FRONTEND=noninteractive
command -v debootstrap > /dev/null || {
  apt-get update --quiet=2
  apt-get install --quiet=2 --yes --no-install-recommends debootstrap > "$work/install.log" 2>&1
}
# shellcheck disable=SC2016 # words of apt's own
mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | grep --invert-match security | head -n 1)"
rm -rf "$work/root"
# python3-distutils by name: debootstrap does not look for who provides what python3.11-venv depends on.
debootstrap --variant=minbase --include=ca-certificates,git,make,python3.11,python3.11-venv,python3-distutils \
  bookworm "$work/root" "$mirror" > "$work/debootstrap.log" 2>&1 || {
  echo "Debian's packages did not become a base image; the last words of $work/debootstrap.log:" >&2
  tail -n 5 "$work/debootstrap.log" >&2
  exit 1
}
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
# Somebody who is not root, for the fresh machine.
chroot "$work/root" useradd --uid 1000 --create-home newcomer
# Whom this machine trusts, its containers trust: some networks have an authority of their own.
trusted=/etc/ssl/certs/ca-certificates.crt
cp "$trusted" "$work/root$trusted"
tar --create --numeric-owner --directory "$work/root" . | docker import \
  --change "ENV SSL_CERT_FILE=$trusted PIP_CERT=$trusted REQUESTS_CA_BUNDLE=$trusted GIT_SSL_CAINFO=$trusted" - "$image" \
  > /dev/null
rm -rf "$work/root"
echo "The image $image is made."
