# What the README asks of a machine, and nothing more.
FROM debian:bookworm-slim@sha256:60eac759739651111db372c07be67863818726f754804b8707c90979bda511df
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git make python3.11 python3.11-venv \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home newcomer
