"""The reference of all metrics, docs/metrics.md, from the sources: their names and helps are literals there."""

import pathlib
import re

KINDS = "counters|counter|gauges|gauge|histograms|histogram|seconds"
LITERAL = r'"((?:[^"\\]|\\[\s\S])*)"'
HEAD = """\
# Metrics

What `/metrics` of the admin port shows, and what a collector is sent ([telemetry.md](telemetry.md)). Made from the sources by `UPDATE=1 helm/check`;
`helm/check` fails where it is stale, and where a dashboard or an alert names a metric that is not here. A metric is shown once
something of its kind has happened. Buckets of `…_seconds`: 100 µs to 10 s; of others: 1 to 1,000.

"""


def unquote(text):
    """A literal's text: a backslash at the end of a line takes the line's end and what the next begins with away."""
    return re.sub(r"\\\n\s*", "", text).replace('\\"', '"').replace("|", "\\|")


def sources(root):
    for crate in sorted(root.glob("*/src")):
        for path in sorted(crate.rglob("*.rs")):
            yield path, path.read_text().split("#[cfg(test)]\nmod tests {")[0]


def metrics(root):
    """Name, kind, labels, help."""
    found = {}
    for path, text in sources(root):
        for match in re.finditer(rf"metrics::({KINDS})\(\s*{LITERAL},\s*(help\b|{LITERAL})\s*,?\s*(&\[[^\]]*\])?", text):
            kind, name, by_name, literal, rest = match.groups()
            if by_name == "help":
                helps = re.findall(rf"let help =\s*{LITERAL};", text[: match.start()])
                if not helps:
                    raise SystemExit(f"{path}: the help of {name} is not found: say it just before, as `let help = \"…\"`")
                literal = helps[-1]
            labels = re.findall(LITERAL, rest or "") if kind in ("counters", "gauges", "histograms") else []
            if name in found:
                raise SystemExit(f"{path}: {name} is there twice")
            found[name] = ({"seconds": "counter"}.get(kind, kind.rstrip("s")), labels, unquote(literal))
    return found


def refusals(root):
    """What is refused, and what an operator may do: the label and the words of each kind."""
    found = {}
    for _, text in sources(root):
        for name, advice in re.findall(rf"Refused::new\(\s*{LITERAL},\s*{LITERAL}\s*,?\s*\)", text):
            found[name] = unquote(advice)
        for name, by_name in re.findall(rf"Refused::new\(\s*{LITERAL},\s*(advice)\s*,?\s*\)", text):
            before = text[: text.index(f'"{name}", advice')]
            found[name] = unquote(re.findall(rf"let advice =\s*{LITERAL};", before)[-1])
        if "refusals! {" in text:
            for name, advice in re.findall(rf"= {LITERAL},\s*{LITERAL};", text[text.index("refusals! {") :]):
                found[name] = unquote(advice)
    return found


def queues(root):
    """Queues whose depth is shown, and what waits in them."""
    found = {}
    for _, text in sources(root):
        for name, what in re.findall(rf"metrics::queue\(\s*{LITERAL},\s*{LITERAL}", text):
            found[name] = unquote(what)
    return found


def names(root):
    """All names that a query may use."""
    known = set()
    for name, (kind, _, _) in metrics(root).items():
        known |= {f"{name}{suffix}" for suffix in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return known


def reference(root):
    lines = [HEAD, "| metric | kind | labels | what |\n|---|---|---|---|\n"]
    for name, (kind, labels, text) in sorted(metrics(root).items()):
        lines.append(f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels) or '–'} | {text} |\n")
    lines.append("\n## What is refused\n\n`what` of `madang_mesh_refused_total`, with what the log says of it, at most once in 10 s each.\n\n")
    lines.append("| `what` | says |\n|---|---|\n")
    lines += [f"| {name} | {advice} |\n" for name, advice in sorted(refusals(root).items())]
    lines.append("\n## Queues\n\n`queue` of `madang_queue_depth` and `madang_queue_bound`: the fullest of its kind in the process.\n\n")
    lines.append("| `queue` | what waits |\n|---|---|\n")
    lines += [f"| {name} | {what} |\n" for name, what in sorted(queues(root).items())]
    return "".join(lines)


if __name__ == "__main__":
    print(reference(pathlib.Path(__file__).resolve().parent.parent))
