import re
import subprocess
from pathlib import Path

import pytest
import yaml

from include.settings import CHECKOUT, Settings
from stack import standard

pytestmark = pytest.mark.unit

CASES = Path(__file__).parent / "prometheus"
FILES = sorted(standard.RULES.glob("*.yml"))
ALERTS = [
    rule for path in FILES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
]  # fmt: skip


@pytest.fixture(scope="session")
def promtool() -> Path:
    tools = Settings.load().tools_dir
    standard.bring_prometheus(tools, "promtool")
    found = standard.prometheus_binary("promtool", tools)
    assert found is not None
    return found


@pytest.mark.parametrize("rules", FILES, ids=lambda path: path.stem)
def test_each_alert_fires_when_it_should_and_says_what_it_should(promtool: Path, rules: Path, tmp_path: Path):
    cases = tmp_path / rules.name
    cases.write_text((CASES / f"{rules.stem}.test.yml").read_text().replace("RULES", str(standard.RULES)))

    done = subprocess.run([promtool, "test", "rules", cases], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rules", FILES, ids=lambda path: path.stem)
def test_each_alert_has_a_case_in_which_it_fires(rules: Path):
    tests = yaml.safe_load((CASES / f"{rules.stem}.test.yml").read_text())["tests"]
    tried = [(case["alertname"], bool(case.get("exp_alerts"))) for test in tests for case in test["alert_rule_test"]]
    names = {rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]}

    assert {name for name, fires in tried if fires} == names


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_leads_to_its_entry_in_the_runbook(alert):
    headings = re.findall(r"^### (\w+)$", (CHECKOUT / "docs" / "runbook.md").read_text(), re.MULTILINE)

    assert alert["alert"] in headings
    assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"
    assert alert["labels"]["severity"] in ("warning", "failure")
