"""az, azd, terraform and docker as the acceptance run calls them: one script that goes by the name it is called by.

It keeps resource groups in the folder $FAKE_STATE and answers what the real programs answer when all is well;
$FAKE_BREAK names what goes wrong, separated by commas.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

STATE = Path(os.environ["FAKE_STATE"])
BREAK = os.environ.get("FAKE_BREAK", "").split(",")
APP = "func-vending-emulated"
OUTPUTS = {
    "functionAppName": APP,
    "publicUrl": "https://app.example",
    "policyContainerUrl": "https://stpolicy.blob.core.windows.net/policy",
    "vendingPrincipalId": "33333333-3333-3333-3333-333333333333",
}


def token() -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"oid": "11111111-1111-1111-1111-111111111111"}).encode())
    return f"e30.{claims.decode().rstrip('=')}.c2ln"


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def make(group: str) -> None:
    (STATE / group).mkdir(exist_ok=True)


def searched(query: str) -> Any:
    """Answer a query as Log Analytics does: the lines of the service's real log that have the text."""
    wanted = re.search(r"Message has '(.*)'", query)
    with urllib.request.urlopen(os.environ["FAKE_LOGS"]) as answer:
        lines = answer.read().decode().splitlines()
    rows = [[line] for line in lines if wanted is None or wanted[1] in line]
    return {"tables": [{"name": "PrimaryResult", "columns": [{"name": "Message", "type": "string"}], "rows": rows}]}


def of_this_machine(resource: str) -> Any:
    """Get a token of the local stack's identity, as the Azure CLI would give its user's."""
    query = urllib.parse.urlencode({"resource": resource, "api-version": "2019-08-01"})
    headers = {"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]}
    request = urllib.request.Request(f"{os.environ['IDENTITY_ENDPOINT']}?{query}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        found = json.load(answer)
    return {"accessToken": found["access_token"], "expires_on": int(found["expires_on"]), "tokenType": "Bearer"}


def az(words: list[str]) -> Any:
    command = " ".join(words)
    answers: dict[str, Any] = {
        "account show": {"id": "00000000-0000-0000-0000-000000000001"},
        "account get-access-token": "a-token" if "tsv" in words else {"accessToken": token()},
        "deployment group what-if": {"changes": [{"resourceId": f"/x/y/{APP}", "changeType": "NoChange"}]},
        "functionapp config appsettings list": json.dumps([{"value": OUTPUTS["policyContainerUrl"] + "/policy.yaml"}]),
        "rest": {"properties": {"functionsRuntimeAdminIsolationEnabled": True, "http20Enabled": True}},
        "monitor log-analytics workspace list": [{"customerId": "w"}],
        "resource list": [{"type": "Microsoft.Web/sites", "name": "left"}] if "left" in BREAK else [],
    }
    if "change" in BREAK:
        answers["deployment group what-if"]["changes"][0]["changeType"] = "Modify"
    if command.startswith("account get-access-token") and "--resource" in words:
        return of_this_machine(option("--resource"))
    if "api.loganalytics.io" in command:
        return searched(json.loads(option("--body"))["query"])
    if command.startswith("group create"):
        make(option("--name"))
    elif command.startswith("group exists"):
        return (STATE / option("--name")).exists()
    elif command.startswith("group delete"):
        shutil.rmtree(STATE / option("--name"))
    elif command.startswith("stack group create"):
        return {"outputs": {name: {"type": "String", "value": value} for name, value in OUTPUTS.items()}}
    elif command.startswith("storage blob upload"):
        fresh = Path(os.environ["FAKE_POLICY"]).with_suffix(".new")
        shutil.copy(option("--file"), fresh)
        fresh.replace(os.environ["FAKE_POLICY"])
    return next((answer for start, answer in answers.items() if command.startswith(start)), None)


def azd(words: list[str]) -> Any:
    if words[0] == "provision":
        group = STATE / f"rg-{option('--environment')}"
        said = "Skipped: Didn't find new changes. There are no changes to provision." if group.exists() else "SUCCESS"
        make(group.name)
        return said
    if words[0] == "down":
        shutil.rmtree(STATE / f"rg-{option('--environment')}")
    if words[:2] == ["env", "get-values"]:
        return {"AZURE_FUNCTION_APP_NAME": APP, "VENDING_PUBLIC_URL": OUTPUTS["publicUrl"]}
    return None


def terraform(words: list[str]) -> Any:
    given = Path("accept.auto.tfvars.json")
    group = STATE / json.loads(given.read_text())["resource_group_name"]
    if words[0] == "apply":
        make(group.name)
    elif words[0] == "destroy":
        shutil.rmtree(group)
    elif words[0] == "plan" and "plan" in BREAK:
        sys.exit(2)
    elif words[0] == "output":
        return {name: {"value": OUTPUTS[camel]} for name, camel in {"function_app_name": "functionAppName"}.items()}
    return None


def docker(words: list[str]) -> Any:
    kept = STATE / "docker-login"
    if words[0] == "login":
        kept.write_text(sys.stdin.read())
    if words[0] == "push":
        part = kept.read_text().split(".")[1]
        access = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["access"]
        if "widened" not in BREAK and not any("push" in entry["actions"] for entry in access):
            sys.exit("denied: requested access to the resource is denied")
    return None


def main() -> None:
    STATE.mkdir(exist_ok=True)
    program = {"az": az, "azd": azd, "terraform": terraform, "docker": docker}[Path(sys.argv[0]).name]
    with (STATE / "calls").open("a") as calls:
        calls.write(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\n")
    answer = program(sys.argv[1:])
    if answer is not None:
        sys.stdout.write(answer if isinstance(answer, str) else json.dumps(answer))


if __name__ == "__main__":
    main()
