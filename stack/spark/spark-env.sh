# Sourced by spark-submit: which Java and which Python, and where Spark listens and puts what is passing.
export JAVA_HOME="${SPARK_JAVA_HOME}"
export PYSPARK_PYTHON="${PYTHON}"
export PYSPARK_DRIVER_PYTHON="${PYTHON}"
export SPARK_LOCAL_IP="${LISTEN_HOST}"
export SPARK_LOCAL_DIRS="${TEMPORARY}"
export MALLOC_ARENA_MAX=2
