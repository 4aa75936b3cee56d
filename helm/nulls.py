"""Values that are null, or that an older chart did not have: those that have a default are refused by their names, the others
are empty, as they are by themselves."""

import copy

import helm_python

# What may be without: a limit of CPU, one of the two ways to say a budget, a label; what Kubernetes has a default of.
MAY = ("resources/limits/cpu", "disruptionBudget/maxUnavailable", "labels/grafana_dashboard", "behavior/", "nodePort", "connections", "admin", "dashboards/labels")
# What the schema asks for.
SCHEMA = ("/resources/",)


def paths(values, before=""):
    """Where something is, and what."""
    for name, value in values.items():
        yield f"{before}{name}", value
        if isinstance(value, dict):
            yield from paths(value, f"{before}{name}/")


def without(values, nulls):
    """A copy in which these are null."""
    values = copy.deepcopy(values)
    for path in nulls:
        at = values
        *folders, last = path.split("/")
        for folder in folders:
            at[folder] = at.get(folder) or {}
            at = at[folder]
        at[last] = None
    return values


def refused(render, valid, wrong, profiles, defaults):
    """All that has a default is asked for, once each way: blocks, what is in them, and so on; with what to do."""
    there = [(path, value) for path, value in paths(defaults) if not any(each in f"{path}/" for each in (*MAY, *SCHEMA))]
    needed = [path for path, value in there if value not in ("", [], {})]
    for depth in range(max(path.count("/") for path in needed) + 1):
        # Who sets one that is in a block has the block.
        nulls = [path for path in needed if path.count("/") == depth]
        try:
            render(without({}, nulls))
            said = ""
        except helm_python.HelmError as error:
            said = str(error)
        told = said.partition("or not there: ")[2].partition("\n")[0].split(", ")
        for path in nulls:
            name = path.replace("/", ".")
            if not any(each == name or each.startswith(f"{name}.") for each in told):
                wrong(f"{path}=None", f"is not refused: name it in _missing.tpl ({said[:300]})")
        if said and "say --reset-then-reuse-values" not in said:
            wrong(f"values at depth {depth} that are null", f"are refused without what to do: {said}")
    may = [*(f"gateway/{each}" for each in ("resources/limits/cpu", "service/nodePort", "autoscaling/connections")), "networkPolicy/admin"]
    may += ["autoscaling/behavior/scaleUp", "autoscaling/behavior/scaleDown/policies", "monitoring/dashboards/labels/grafana_dashboard"]
    try:
        valid("values that may be null", render(without(profiles["production"], may))[1])
        # What is empty by itself may be null.
        empty = [path for path, value in there if value in ("", [], {})]
        for name, values in profiles.items():
            given = {path for path, _ in paths(values)}
            if render(values)[0] != render(without(values, [path for path in empty if path not in given]))[0]:
                wrong(f"{name}: values that are empty by themselves", "render something else where they are null")
    except helm_python.HelmError as error:
        wrong("values that may be null", f"are refused: {error}")
    return len(needed)
