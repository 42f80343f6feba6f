"""Holds dashboards against Grafana's published schema.

    grafana-schema.py DASHBOARD.json...

The schema is that of the package `grafana-foundation-sdk`, which Grafana generates from its own definitions: classes with a type for
each member. A member that the schema does not have, or a value of another type than it names, is told with its place, and fails.
"""
import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import common, dashboard, prometheus, stat, timeseries


# What the schema leaves to the data source: Prometheus' makes the title of a mark in the graph of it.
OF_DATA_SOURCES = {("AnnotationQuery", "titleFormat")}


class Check:
    def __init__(self):
        self.flaws = []
        self.values = 0

    def whole(self, schema, data, place):
        """`data`, as JSON has it, is of a class of the schema."""
        if not isinstance(data, dict):
            self.flaws.append(f"{place}: {data!r} is no {schema.__name__}")
            return
        kept = json.loads(json.dumps(schema.from_json(data), cls=JSONEncoder))
        for name in sorted(data.keys() - kept.keys()):
            if (schema.__name__, name) not in OF_DATA_SOURCES:
                self.flaws.append(f"{place}: {schema.__name__} has no member {name!r}")
        hints = typing.get_type_hints(schema.__init__, vars(sys.modules[schema.__module__]))
        read = self.read_names(schema)
        for name, value in data.items():
            if name in read:
                self.value(hints[read[name]], value, f"{place}.{name}")

    @staticmethod
    def read_names(schema):
        """JSON's names for the parameters of a class: what `to_json` writes for each, if it is all that is told."""
        names = {}
        for parameter in typing.get_type_hints(schema.__init__, vars(sys.modules[schema.__module__])):
            if parameter == "return":
                continue
            marker = object()
            probe = schema()
            setattr(probe, parameter, marker)
            for name, value in probe.to_json().items():
                if value is marker:
                    names[name] = parameter
        return names

    def value(self, hint, value, place):
        self.values += 1
        kind = typing.get_origin(hint)
        if hint in (object, typing.Any):
            return
        if kind in (typing.Union, types.UnionType):
            trials = []
            for one in typing.get_args(hint):
                trial = Check()
                trial.value(one, value, place)
                if not trial.flaws:
                    self.values += trial.values
                    return
                trials.append(trial)
            # The one that is nearest.
            self.flaws += max(trials, key=lambda trial: trial.values).flaws
        elif hint is type(None):
            if value is not None:
                self.flaws.append(f"{place}: {value!r} is not null")
        elif kind is typing.Literal:
            if value not in typing.get_args(hint):
                self.flaws.append(f"{place}: {value!r} is none of {typing.get_args(hint)}")
        elif kind is list:
            if not isinstance(value, list):
                self.flaws.append(f"{place}: {value!r} is no list")
                return
            for index, one in enumerate(value):
                self.value(typing.get_args(hint)[0], one, f"{place}[{index}]")
        elif kind is dict:
            if not isinstance(value, dict):
                self.flaws.append(f"{place}: {value!r} is no object")
                return
            for name, one in value.items():
                self.value(typing.get_args(hint)[1], one, f"{place}.{name}")
        elif isinstance(hint, type) and issubclass(hint, enum.Enum):
            if value not in [one.value for one in hint]:
                self.flaws.append(f"{place}: {value!r} is none of {[one.value for one in hint]}")
        elif hint is float:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                self.flaws.append(f"{place}: {value!r} is no number")
        elif hint in (int, str, bool):
            if type(value) is not hint:
                self.flaws.append(f"{place}: {value!r} is no {hint.__name__}")
        elif hint is dashboard.Panel:
            self.panel(value, place)
        elif hasattr(hint, "from_json"):
            self.whole(hint, value, place)
        elif hint.__name__ == "Dataquery":
            self.whole(prometheus.Dataquery, value, place)
        else:
            self.flaws.append(f"{place}: the check knows no type {hint}")

    def panel(self, data, place):
        """A panel and what only its own kind knows: its options, and how its fields are drawn."""
        self.whole(dashboard.Panel, data, place)
        kinds = {"stat": (stat.Options, None), "timeseries": (timeseries.Options, common.GraphFieldConfig)}
        if data["type"] not in kinds:
            self.flaws.append(f"{place}: the check knows no panel of the kind {data['type']!r}")
            return
        options, fields = kinds[data["type"]]
        self.whole(options, data["options"], f"{place}.options")
        custom = data["fieldConfig"]["defaults"].get("custom")
        if fields is not None:
            self.whole(fields, custom or {}, f"{place}.fieldConfig.defaults.custom")
        elif custom is not None:
            self.flaws.append(f"{place}: a {data['type']} has no fields of its own")


def main():
    register_default_plugins()
    check = Check()
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        before = check.values
        check.whole(dashboard.Dashboard, document, path.rsplit("/", 1)[-1])
        print(f"{path.rsplit('/', 1)[-1]}: {check.values - before} values")
    for flaw in check.flaws:
        print(flaw)
    sys.exit(1 if check.flaws or not sys.argv[1:] else 0)


main()
