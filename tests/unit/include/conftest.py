import os
import tempfile

# Airflow makes its home where it is first imported; the tests' is not the user's.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-home-"))
