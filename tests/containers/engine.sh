#!/bin/sh
# Brings up a Docker engine where there is none: Debian's, with compose from the next release. As root, on Debian 12.
# Says nothing and does nothing where `docker info` and `docker compose version` already work.
set -eu

work="${CONTAINERS_DIR:?names the folder for the engine\'s data, log and pid}"
mkdir -p "$work"

have_engine() { docker info > /dev/null 2>&1; }
have_compose() { docker compose version > /dev/null 2>&1; }
have_engine && have_compose && exit 0
[ "$(id -u)" = 0 ] || { echo "There is no Docker engine here, and only root can install one." >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
if ! command -v dockerd > /dev/null; then
  apt-get update --quiet=2
  apt-get install --quiet=2 --yes --no-install-recommends docker.io iptables > "$work/install.log" 2>&1
fi

# Debian 12 has no compose plugin. Its successor's is one file, unpacked and not installed: nothing else comes from there.
plugins=/usr/local/lib/docker/cli-plugins
plugin() { # package, file in it
  # shellcheck disable=SC2016 # words of apt's own
  mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | grep --invert-match security | head -n 1)"
  lists="$work/lists"
  mkdir -p "$lists/partial" "$work/cache/archives/partial" "$work/package" "$plugins"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$work/trixie.list"
  next="apt-get --quiet=2 -o Dir::Etc::sourcelist=$work/trixie.list -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists=$lists -o Dir::Cache=$work/cache -o APT::Sandbox::User=root"
  # shellcheck disable=SC2086 # options, each a word
  (cd "$work/package" && $next update && $next download "$1")
  dpkg-deb --extract "$work/package/$1"_*.deb "$work/package/$1"
  cp "$work/package/$1/$2" "$plugins/"
}
have_compose || plugin docker-compose usr/libexec/docker/cli-plugins/docker-compose

have_engine && exit 0
# Overlays where the kernel lets them be mounted, copies elsewhere.
driver=vfs
mkdir -p "$work/try/lower" "$work/try/upper" "$work/try/scratch" "$work/try/merged"
if mount -t overlay overlay \
  -o "lowerdir=$work/try/lower,upperdir=$work/try/upper,workdir=$work/try/scratch" "$work/try/merged" 2> /dev/null; then
  umount "$work/try/merged"
  driver=overlay2
fi
rm -r "$work/try"
dockerd --data-root "$work/data" --exec-root "$work/run" --pidfile "$work/dockerd.pid" --storage-driver "$driver" \
  > "$work/dockerd.log" 2>&1 &
tries=60
until have_engine; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "The Docker engine did not start:" >&2; tail -n 20 "$work/dockerd.log" >&2; exit 1; }
  sleep 1
done
echo "Docker engine $(docker version --format '{{.Server.Version}}') runs with $driver; it ends with process $(cat "$work/dockerd.pid")."
