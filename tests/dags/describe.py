"""Load the DAGs as Airflow's DAG processor does, and print what they are as JSON; run as a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(Path(sys.argv[1]), bundle_name="dags")
    heavy = ("pandas", "pyspark", "great_expectations", "pyarrow", "duckdb", "apprise")
    described = {
        "import_errors": bag.import_errors,
        "loaded": [name for name in heavy if name in sys.modules],
        "dags": {
            dag_id: {
                "file": Path(dag.fileloc).name,
                "doc_md": dag.doc_md,
                "timetable": type(dag.timetable).__name__,
                "catchup": dag.catchup,
                "max_active_runs": dag.max_active_runs,
                "start_date": dag.start_date.isoformat() if dag.start_date else None,
                "tasks": {
                    task.task_id: {
                        "upstream": sorted(task.upstream_task_ids),
                        "is_setup": task.is_setup,
                        "is_teardown": task.is_teardown,
                        "fails_dag_run": getattr(task, "on_failure_fail_dagrun", False),
                        "inlets": [asset.name for asset in task.inlets],
                        "outlets": [asset.name for asset in task.outlets],
                        "alerts": bool(task.on_failure_callback),
                        "retries": task.retries,
                    }
                    for task in dag.tasks
                },
            }
            for dag_id, dag in bag.dags.items()
        },
    }
    Path(sys.argv[2]).write_text(json.dumps(described))


main()
