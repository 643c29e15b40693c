"""dbt's models as tasks, drawn by Cosmos from the manifest that `python -m stack init` makes."""

from __future__ import annotations

from airflow.sdk import BaseOperator, XComArg
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior
from cosmos.dbt.graph import DbtNode

from include.orchestration.lineage import manifest_path
from include.orchestration.publishing import BRANCH
from include.settings import CHECKOUT, Settings

PROJECT = CHECKOUT / "dbt_project"


def gold_models(settings: Settings, *, opened: XComArg, judged: BaseOperator, group_id: str) -> DbtTaskGroup:
    """Give a task per model, which builds it for the run's hour on the attempt's branch.

    Views have no rows, so they do not wait for Silver's.

    dbt's data tests are not among them: they come from the same contracts as the rules of `gate_gold`, which judges the
    hour once, keeps what it found and heeds waivers.

    Args:
        opened: The task after which there is a branch, on which views can be made.
        judged: The task after which Silver's rows of the hour may be read.

    Raises:
        FileNotFoundError: If there is no manifest.
    """
    models = DbtTaskGroup(
        group_id=group_id,
        project_config=ProjectConfig(
            dbt_project_path=PROJECT, manifest_path=manifest_path(settings), install_dbt_deps=False
        ),
        profile_config=ProfileConfig(
            profile_name="lake", target_name="thrift", profiles_yml_filepath=PROJECT / "profiles.yml"
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            test_behavior=TestBehavior.NONE,
            dbt_deps=False,
            exclude=["path:analyses"],
            normalize_task_id=_model_name,
            normalize_task_display_name=_model_name,
            # Cosmos would announce tables before they are published.
            emit_datasets=False,
        ),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.LOCAL, invocation_mode=InvocationMode.DBT_RUNNER),
        operator_args={
            "install_deps": False,
            "append_env": True,
            "env": {
                "LAKE_HOUR": "{{ dag_run.partition_key }}",
                "LAKE_REF": BRANCH,
                # Within the task's own copy of the project: tasks side by side would write over each other's artefacts,
                # and over the manifest from which the DAG is drawn.
                "DBT_TARGET_PATH": "target",
                "LAKE_THRIFT__HOST": settings.thrift.host,
                "LAKE_THRIFT__PORT": str(settings.thrift.port),
            },
            # Nobody reads the manifest and the results of a task's own copy; to write them took a third of dbt's start.
            "dbt_cmd_global_flags": ["--no-write-json"],
        },
    )
    nodes = models.dbt_graph.filtered_nodes
    views = {task for name, task in models.tasks_map.items() if nodes[name].config["materialized"] == "view"}
    for task in models.tasks_map.values():
        if task in views and not task.upstream_list:
            opened >> task
        elif task not in views and views.issuperset(task.upstream_list):
            judged >> task
    return models


def _model_name(node: DbtNode) -> str:
    return str(node.name)
