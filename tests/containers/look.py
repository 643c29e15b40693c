"""Looks at the running containers from outside: what answers at 127.0.0.1, and that nothing listens anywhere else."""

import json
import subprocess
import sys
import urllib.request

PAGES = {
    "airflow": "http://127.0.0.1:8081/api/v2/monitor/health",
    "nessie": "http://127.0.0.1:19120/api/v2/trees/main",
}


def main() -> int:
    """Ask, and return the exit code."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for name, page in PAGES.items():
        with direct.open(page, timeout=20) as answer:
            print(f"{name}: {json.dumps(json.load(answer))[:200]}")
    names = subprocess.run(
        ["docker", "ps", "--quiet", "--filter", "label=com.docker.compose.project=crypto-lakehouse"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    told = subprocess.run(["docker", "inspect", *names], capture_output=True, text=True, check=True).stdout
    strays, unwell = [], []
    for container in json.loads(told):
        ports = container["NetworkSettings"]["Ports"] or {}
        strays += [
            (container["Name"], one) for each in ports.values() for one in each or () if one["HostIp"] != "127.0.0.1"
        ]
        if container["State"].get("Health", {}).get("Status") not in (None, "healthy"):
            unwell.append(container["Name"])
        if container["Config"]["User"] in ("", "0", "root"):
            strays.append((container["Name"], "root"))
    if strays or unwell:
        print(f"published beyond 127.0.0.1, or root: {strays}; unwell: {unwell}", file=sys.stderr)
        return 1
    print(f"{len(names)} containers, all well, none root, nothing published beyond 127.0.0.1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
