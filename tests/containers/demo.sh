#!/bin/sh
# The demo hour, end to end, in containers with a real engine: builds our images, starts the profile `minimal` with the
# exchange's stand-in, waits until the hours are published, looks from outside at what is published, and takes all down.
#
#   tests/containers/demo.sh            images of others from their registries
#   STANDING_IN=yes tests/containers/demo.sh   all from Debian's packages, our lock and our jars: no registry is asked
#   CLUSTER=yes …                       Airflow's Spark jobs on the cluster, by the connection alone
#   KEEP=yes …                          leaves it up
set -eu
cd "$(dirname "$0")/../.."

export CONTAINERS_DIR="${CONTAINERS_DIR:-$PWD/.lake/containers}"
tests/containers/engine.sh

targets="spark streaming airflow"
files="--file docker-compose.yml"
base=""
if [ "${STANDING_IN:-no}" = yes ]; then
  tests/containers/base.sh
  base="--build-arg BASE=lake-base:bookworm"
  targets="servers $targets"
  files="$files --file stack/containers/standing-in.yml"
fi
revision="$(git rev-parse HEAD 2> /dev/null || echo unknown)"
for target in $targets; do
  began="$(date +%s)"
  # shellcheck disable=SC2086 # options, each a word
  docker build --quiet ${BUILD_OPTIONS:-} $base --build-arg "REVISION=$revision" --target "$target" \
    --tag "crypto-lakehouse/$target:0.1.0" . > /dev/null
  size="$(docker image inspect --format '{{.Size}}' "crypto-lakehouse/$target:0.1.0")"
  echo "image $target: $((size / 1048576)) MiB, built in $(($(date +%s) - began)) s"
done

profiles="--profile minimal --profile demo"
services=""
environment="$CONTAINERS_DIR/demo.env"
python3.11 -m stack.containers.environment --profile minimal --demo --path "$environment"
if [ "${CLUSTER:-no}" = yes ]; then
  profiles="$profiles --profile standard"
  sed -i 's#^LAKE_SPARK_MASTER=.*#LAKE_SPARK_MASTER="spark://spark-cluster:7077"#' "$environment"
  services="spark-master spark-worker demo"
fi
# shellcheck disable=SC2086
compose() { COMPOSE_PROFILES='' ENV_FILE="$environment" docker compose $files --env-file "$environment" $profiles "$@"; }
ends() {
  code=$?
  if [ "$code" != 0 ]; then
    compose ps --all || true
    compose logs --tail 40 > "$CONTAINERS_DIR/logs.txt" 2>&1 || true
    echo "The last words of all containers are in $CONTAINERS_DIR/logs.txt." >&2
  fi
  [ "${KEEP:-no}" = yes ] || compose down --volumes --timeout 60 > /dev/null 2>&1 || true
  exit "$code"
}
trap ends EXIT

began="$(date +%s)"
# shellcheck disable=SC2086
compose up --detach --no-build $services
echo "up after $(($(date +%s) - began)) s"
container="$(compose ps --all --quiet demo)"
timeout 2400 docker logs --follow "$container"
[ "$(docker wait "$container")" = 0 ] || { echo "The hours of the demo were not published." >&2; exit 1; }
echo "published after $(($(date +%s) - began)) s"

python3.11 tests/containers/look.py
docker stats --no-stream --format '{{.Name}} {{.MemUsage}}'
echo "The demo ran in containers: every hour is published, and this machine sees it at 127.0.0.1 alone."
