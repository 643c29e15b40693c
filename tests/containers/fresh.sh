#!/bin/sh
# A machine that has never seen the lake: a container of Debian 12 with git, make and Python 3.11 (with venv), and an
# ordinary user. There the README's commands run to their end. FRESH_COMMANDS chooses others, such as "test".
set -eu
cd "$(dirname "$0")/../.."

export CONTAINERS_DIR="${CONTAINERS_DIR:-$PWD/.lake/containers}"
tests/containers/engine.sh
if [ "${STANDING_IN:-no}" = yes ]; then
  tests/containers/base.sh
  image=lake-base:bookworm
else
  image=lake-fresh:bookworm
  docker build --quiet --tag "$image" --file tests/containers/fresh.Dockerfile tests/containers > /dev/null
fi

# What is committed, as a clone gets it: no file of this checkout's folder comes along by itself.
source="$(mktemp -d "$CONTAINERS_DIR/source.XXXXXX")"
trap 'rm -rf "$source"' EXIT
git clone --quiet --bare . "$source/lake.git"
chmod -R a+rX "$source"
# shellcheck disable=SC2016,SC2086 # the inner shell expands them; options, each a word
docker run --rm --init ${RUN_OPTIONS:-} --user newcomer --volume "$source:/source:ro" --shm-size 1g \
  --workdir /home/newcomer --env FRESH_COMMANDS="${FRESH_COMMANDS:-demo status doctor down}" "$image" sh -euc '
    git config --global --add safe.directory "*"
    git clone --quiet /source/lake.git "$HOME/lake"
    cd "$HOME/lake"
    for command in $FRESH_COMMANDS; do
      began="$(date +%s)"
      echo "\$ make $command"
      make "$command"
      echo "make $command ended after $(($(date +%s) - began)) s"
    done'
echo "The commands ran to their end on a machine that had never seen the lake."
