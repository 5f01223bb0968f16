"""Icinga 2 and Nagios: a passive service per host and rule, and the handler that feeds it."""

from collectord.outputs.receivers.facts import Facts, filled


def service(rule: str) -> str:
    """Name of the passive service of a rule."""
    return f"collectord {rule}"


def files(facts: Facts) -> dict[str, str]:
    """The handler, services for Icinga 2 and Nagios, the handler's settings, and how to install them."""
    rules = facts.rules
    quoted = ", ".join(f'"{rule}"' for rule in rules)
    # A service that waits for heartbeats which nobody sends would be CRITICAL for ever.
    late = str(facts.late_s)
    heartbeat = facts.heartbeat_s > 0
    return {
        "collectord_icinga.py": filled("icinga", "collectord_icinga.py", root=facts.root),
        "collectord_icinga.json": filled("icinga", "collectord_icinga.json", rules=quoted),
        "icinga2-collectord.conf": filled(
            "icinga",
            "icinga2-collectord.conf",
            rules=quoted,
            heartbeat=filled("icinga", "icinga2-heartbeat.conf", late_s=late) if heartbeat else "",
        ),
        "nagios-collectord.cfg": filled(
            "icinga",
            "nagios-collectord.cfg",
            services="\n".join(_nagios(name) for name in (*map(service, rules), "collectord other")),
            heartbeat=filled("icinga", "nagios-heartbeat.cfg", late_s=late) if heartbeat else "",
        ),
        "README.md": filled("icinga", "README.md", root=facts.root),
    }


def _nagios(name: str) -> str:
    return (
        "define service {\n"
        "    use                     collectord-alarms\n"
        "    host_name               COLLECTOR\n"
        f"    service_description     {name}\n"
        "}\n"
    )
