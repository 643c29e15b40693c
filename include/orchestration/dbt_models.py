"""dbt's models as tasks, drawn by Cosmos from the manifest that `python -m stack init` makes."""

from __future__ import annotations

from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior
from cosmos.dbt.graph import DbtNode

from include.orchestration.publishing import BRANCH
from include.settings import CHECKOUT, Settings

PROJECT = CHECKOUT / "dbt_project"


def gold_models(settings: Settings, *, group_id: str) -> DbtTaskGroup:
    """Give a task per model, which builds it for the run's hour on the attempt's branch and then runs its data tests.

    Unit tests check the SQL, not the hour; they run with the project's own tests.

    Raises:
        FileNotFoundError: If there is no manifest.
    """
    manifest = settings.state_dir / "dbt" / "manifest.json"
    if not manifest.exists():
        raise FileNotFoundError(f"{manifest} is missing; run `python -m stack init`")
    return DbtTaskGroup(
        group_id=group_id,
        project_config=ProjectConfig(dbt_project_path=PROJECT, manifest_path=manifest, install_dbt_deps=False),
        profile_config=ProfileConfig(
            profile_name="lake", target_name="thrift", profiles_yml_filepath=PROJECT / "profiles.yml"
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            test_behavior=TestBehavior.BUILD,
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
            "dbt_cmd_flags": ["--exclude-resource-type", "unit_test"],
        },
    )


def _model_name(node: DbtNode) -> str:
    return str(node.name)
