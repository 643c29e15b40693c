# One image a role, from one list of locked packages and one list of checked jars. docs/containers.md says how to build.
#
# The base needs Python 3.11 with venv and nothing else, so one that debootstrap made can stand in for the default.
ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# hadolint ignore=DL3006
FROM ${BASE} AS base
# Each volume begins as a copy of its folder here, so it belongs to the user, and no container needs to be root.
RUN groupadd --gid 10001 lake \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /lake/state/home --shell /usr/sbin/nologin lake \
 && install --directory --owner=10001 --group=10001 --mode=0750 \
      /lake /lake/app /lake/tools /lake/state /lake/state/home /lake/state/conf /lake/state/data /lake/state/tmp \
      /lake/state/conf/alertmanager /lake/state/conf/grafana /lake/state/conf/jmx /lake/state/conf/kafka \
      /lake/state/conf/nessie /lake/state/conf/postgres /lake/state/conf/prometheus /lake/state/conf/seaweedfs \
      /lake/state/conf/trino \
      /lake/state/data/alertmanager /lake/state/data/grafana /lake/state/data/kafka /lake/state/data/nessie \
      /lake/state/data/postgres /lake/state/data/prometheus /lake/state/data/s3 /lake/state/data/trino
ENV LAKE_STATE_DIR=/lake/state \
    LAKE_TOOLS_DIR=/lake/tools \
    PATH=/lake/tools/venv/bin:$PATH \
    PYTHONPATH=/lake/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    TZ=UTC
WORKDIR /lake/app

FROM base AS builder
ARG UV_VERSION=0.13.8
ENV UV_PROJECT_ENVIRONMENT=/lake/tools/venv \
    UV_PYTHON_DOWNLOADS=never \
    UV_NO_CACHE=1 \
    UV_LINK_MODE=copy \
    # The time of all jars: Java takes an archive of classes only with jars of the time that it was made from.
    SOURCE_DATE_EPOCH=1700000000 \
    # Compiled files that name no time: two builds of one lock give the same bytes.
    PYC_INVALIDATION_MODE=UNCHECKED_HASH
RUN python3.11 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
COPY pyproject.toml uv.lock ./

# All of the lock.
FROM builder AS whole-environment
RUN /opt/uv/bin/uv sync --locked --no-dev --compile-bytecode --python python3.11 \
 && find /lake/tools -name "*.jar" -exec touch --date=@${SOURCE_DATE_EPOCH} {} +

# The lock without what only Airflow's tasks use: the same versions, a third of the size.
FROM builder AS lean-environment
RUN /opt/uv/bin/uv export --locked --no-dev --no-emit-project --format requirements-txt --output-file /tmp/locked.txt \
      --prune airflow-provider-great-expectations --prune apache-airflow \
      --prune apache-airflow-providers-apache-spark --prune apache-airflow-providers-standard \
      --prune apache-airflow-providers-trino --prune astronomer-cosmos --prune dbt-adapters --prune dbt-common \
      --prune dbt-core --prune duckdb --prune great-expectations --prune apprise --prune asyncpg \
 && /opt/uv/bin/uv venv --python python3.11 /lake/tools/venv \
 && /opt/uv/bin/uv pip install --python /lake/tools/venv --require-hashes --no-deps --compile-bytecode \
      --requirement /tmp/locked.txt \
 && find /lake/tools -name "*.jar" -exec touch --date=@${SOURCE_DATE_EPOCH} {} +

FROM lean-environment AS spark-jars
COPY include include
COPY stack stack
RUN python -m stack.containers tools spark \
 && find /lake/tools/jars -name "*.jar" -exec touch --date=@${SOURCE_DATE_EPOCH} {} +

FROM lean-environment AS server-jars
COPY include include
COPY stack stack
RUN python -m stack.containers tools servers

FROM base AS image
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="crypto-lakehouse" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["python", "-m", "stack.containers"]

# The servers that natively come as jars and wheels, for where their makers' images cannot be had.
FROM image AS servers
LABEL org.opencontainers.image.description="Kafka, Nessie, an S3 store and PostgreSQL, as the native stack runs them."
COPY --from=lean-environment /lake/tools/venv /lake/tools/venv
COPY --from=server-jars /lake/tools/jars /lake/tools/jars
COPY include include
COPY stack stack
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m \
  CMD ["python3.11", "-I", "stack/containers/healthy.py", "tcp://127.0.0.1:9092"]
CMD ["serve", "kafka"]

# The Thrift server, and the master and the workers of a cluster.
FROM image AS spark
LABEL org.opencontainers.image.description="Spark with Iceberg and Nessie: SQL over Thrift, a cluster's master and workers."
COPY --from=lean-environment /lake/tools/venv /lake/tools/venv
COPY --from=spark-jars /lake/tools/jars /lake/tools/jars
COPY --from=spark-jars /lake/tools/jdk17 /lake/tools/jdk17
COPY include include
COPY spark_apps spark_apps
COPY stack stack
RUN python -m stack.containers classes
USER 10001:10001
EXPOSE 7077 8090 10000
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m \
  CMD ["python3.11", "-I", "stack/containers/healthy.py", "tcp://127.0.0.1:10000"]
CMD ["serve", "thrift"]

# The producers and the Bronze writer, under a supervisord that Airflow asks over the network.
FROM spark AS streaming
LABEL org.opencontainers.image.description="The exchanges' feeds into Kafka, and Kafka into Bronze."
COPY streaming streaming
EXPOSE 4040 9001 9400 9401 9402 9410
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m \
  CMD ["python3.11", "-I", "stack/containers/healthy.py", "tcp://127.0.0.1:9001"]
CMD ["streaming"]

# The console. Last, so that a build without a target gives it.
FROM image AS airflow
LABEL org.opencontainers.image.description="Airflow with the lake's DAGs, dbt and the gates."
COPY --from=whole-environment /lake/tools/venv /lake/tools/venv
COPY --from=spark-jars /lake/tools/jars /lake/tools/jars
COPY --from=spark-jars /lake/tools/jdk17 /lake/tools/jdk17
COPY airflow airflow
COPY dags dags
COPY dbt_project dbt_project
COPY include include
COPY spark_apps spark_apps
COPY stack stack
COPY streaming streaming
RUN python -m stack.containers classes
USER 10001:10001
EXPOSE 8081
HEALTHCHECK --interval=30s --timeout=10s --start-period=3m \
  CMD ["python3.11", "-I", "stack/containers/healthy.py", "http://127.0.0.1:8081/api/v2/monitor/health#metadatabase"]
CMD ["serve", "airflow-api"]
