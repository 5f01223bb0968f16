"""Playbooks of the rules about the collector and its devices: silence, clocks, losses, outputs, alerts held back."""

import pytest

from collectord.model import Mode, Severity

from .playbook import Play, Story, cleared, nothing, raised, rule, updated

SESSION = {"SrcIpAddr": "10.0.0.1", "DstIpAddr": "10.0.0.2", "DstPortNumber": 443, "DvcAction": "Allow"}
FW_1, FW_2, FW_3, FW_9 = (f"192.0.2.{number}" for number in (1, 2, 3, 9))


def reports(story: Story, *devices: str) -> None:
    """Each of the devices sends a message."""
    for device in devices:
        story.send(1, device=device, **SESSION)


def test_device_silent(play: Play) -> None:
    """15 minutes of silence of a listed device are quiet; it is told at once when it is back."""
    story = play("device-silent", devices=[FW_1], pass_s=10)
    story.every(60, "10:00", lambda story: reports(story, FW_1, FW_2))
    story.at("25:00").expect(nothing)
    story.at("25:01").expect(nothing)
    story.at("25:11").expect(raised("device-silent", Dvc=FW_1, count=910, held=""))
    assert [alert.mode for alert in story.active] == [Mode.NOTIFY]
    story.at("1:30:00").expect(nothing)
    reports(story, FW_1)
    story.at("1:30:11").expect(cleared("device-silent", Dvc=FW_1))


def test_device_silent_from_the_start(play: Play) -> None:
    """One that is listed and was never heard."""
    story = play("device-silent", devices=[FW_1, FW_9], pass_s=10)
    reports(story.at("6:00"), FW_1)
    story.at("15:11").expect(raised("device-silent", Dvc=FW_9))


def test_device_silent_after_a_day_of_acquaintance(play: Play) -> None:
    """A device that nobody listed is missed once it was seen for a day."""
    story = play("device-silent", pass_s=300)
    story.every(600, "23:50:00", lambda story: reports(story, FW_1, FW_2))
    story.every(600, "24:00:00", lambda story: reports(story, FW_2))
    # Three times its longest pause, which was ten minutes.
    story.at("24:30:00").expect(nothing)
    story.at("24:36:00").expect(raised("device-silent", Dvc=FW_2))
    assert [alert.details["longest_pause_s"] for alert in story.active] == [600]


def test_device_silent_that_pauses_by_nature(play: Play) -> None:
    """Three times its longest pause of the last week."""
    story = play("device-silent", devices=[FW_1], pass_s=60)
    reports(story, FW_1)
    story.at("12:00")
    reports(story, FW_1)
    # 36 minutes instead of 15.
    story.at("48:00").expect(nothing)
    story.at("49:00").expect(raised("device-silent", Dvc=FW_1, count=37 * 60))


def test_device_silent_together(play: Play) -> None:
    """What failed is the way to them: one alert, and one clear."""
    story = play("device-silent", devices=[FW_1, FW_2, FW_3], pass_s=10)
    story.every(60, "10:00", lambda story: reports(story, FW_1, FW_2, FW_3))
    story.at("25:20").expect(raised("device-silent", Dvc="every device"))
    reports(story, FW_1)
    # Two stayed away: now it is about them.
    story.at("25:31").expect(
        cleared("device-silent", Dvc="every device"),
        raised("device-silent", Dvc=FW_2),
        raised("device-silent", Dvc=FW_3),
    )


def test_device_silent_together_at_times_of_their_own(play: Play) -> None:
    """Devices send when they have something to say: whoever is silent first waits for the others, and not for long."""
    story = play("device-silent", devices=[FW_1, FW_2, FW_3], pass_s=10)
    story.every(290, "9:40", lambda story: reports(story, FW_1))
    reports(story.at("12:00"), FW_2)
    reports(story.at("14:30"), FW_3)
    story.at("29:30").expect(nothing)
    story.at("29:41").expect(raised("device-silent", Dvc="every device", count=910))
    reports(story.at("31:00"), FW_2)
    story.at("31:11").expect(
        cleared("device-silent", Dvc="every device"),
        raised("device-silent", Dvc=FW_1),
        raised("device-silent", Dvc=FW_3),
    )


def test_device_silent_waits_for_no_device_that_sends(play: Play) -> None:
    """Nor for one that paused for long by nature."""
    story = play("device-silent", devices=[FW_1, FW_2], pass_s=10)
    reports(story.at("1:00"), FW_1, FW_2)
    reports(story.at("5:01"), FW_2)
    story.at("16:11").expect(nothing)
    reports(story.at("17:00"), FW_2)
    story.at("17:11").expect(raised("device-silent", Dvc=FW_1))
    reports(story.at("18:00"), FW_1)
    # FW_2 has 36 minutes by now, and FW_1 even more.
    story.at("18:11").expect(cleared("device-silent", Dvc=FW_1, reason="it sends again"))
    story.at("53:11").expect(raised("device-silent", Dvc=FW_2))


def test_device_silent_and_not_listed_any_more(play: Play) -> None:
    """Nobody says that it sends again."""
    story = play("device-silent", devices=[FW_1], pass_s=10)
    story.at("15:11").expect(raised("device-silent", Dvc=FW_1))
    story.list_devices().at("15:31").expect(
        cleared("device-silent", Dvc=FW_1, reason="it is not watched any more", count=910)
    )


def test_device_silent_over_a_restart(play: Play) -> None:
    """While we were away nobody could be heard: the 15 minutes begin anew, and what was told stays."""
    story = play("device-silent", devices=[FW_1, FW_2], pass_s=10)
    story.every(60, "10:00", lambda story: reports(story, FW_1, FW_2))
    story.every(60, "26:00", lambda story: reports(story, FW_2))
    story.expect(raised("device-silent", Dvc=FW_1))
    story.at("40:00").restart()
    story.every(60, "59:00", lambda story: reports(story, FW_2)).expect(nothing)
    story.restart().every(60, "62:00", lambda story: reports(story, FW_2)).expect(nothing)
    reports(story, FW_1)
    story.at("62:30").expect(cleared("device-silent", Dvc=FW_1, reason="it sends again"))


def test_device_silent_together_over_a_restart(play: Play) -> None:
    """As well; and the first that sends ends it for all."""
    story = play("device-silent", devices=[FW_1, FW_2], pass_s=10)
    story.at("15:11").expect(raised("device-silent", Dvc="every device"))
    story.at("20:00").restart().at("34:00").expect(nothing)
    story.at("36:00").expect(nothing)
    reports(story.restart(), FW_1)
    story.at("36:20").expect(cleared("device-silent", Dvc="every device", reason="it sends again"))
    reports(story.at("45:00"), FW_1)
    story.at("51:20").expect(raised("device-silent", Dvc=FW_2))


@pytest.mark.parametrize("hours", [1, -1, 8760])
def test_device_silent_when_the_clock_is_set(play: Play, hours: int) -> None:
    """A clock that jumps is no silence, and one that went back hides none."""
    story = play("device-silent", devices=[FW_1, FW_2], pass_s=10)
    story.at("2:00:00").expect(raised("device-silent"))
    reports(story, FW_1, FW_2)
    story.at("2:00:11").expect(cleared("device-silent"))
    story.at("2:05:00").step(3600 * hours).expect(nothing)
    hour = 2 + hours
    story.every(60, f"{hour}:19:00", lambda story: reports(story, FW_2)).expect(nothing)
    story.at(f"{hour}:20:30").expect(raised("device-silent", Dvc=FW_1))


@pytest.mark.parametrize("hours", [1, -1, 8760])
def test_device_silent_stays_so_when_the_clock_is_set(play: Play, hours: int) -> None:
    """Nobody can say for how long, and nothing says that it sends again."""
    story = play("device-silent", devices=[FW_1, FW_2], pass_s=10)
    story.every(60, "2:10:00", lambda story: reports(story, FW_2)).expect(raised("device-silent", Dvc=FW_1))
    hour = 2 + hours
    story.step(3600 * hours).every(60, f"{hour}:40:00", lambda story: reports(story, FW_2)).expect(nothing)
    reports(story, FW_1)
    story.at(f"{hour}:40:20").expect(cleared("device-silent", Dvc=FW_1, reason="it sends again"))


@pytest.mark.parametrize(("off", "quiet"), [("00:15:00", "00:05:00"), ("-00:05:01", "-00:05:00")])
def test_device_clock_off(play: Play, off: str, quiet: str) -> None:
    """Five minutes are quiet, either way; it clears five minutes after the clock was set right."""
    story = play("device-clock-off", pass_s=10)
    story.at("1:00:00").send(1, device=FW_1, device_time=_time("1:00:00", quiet), **SESSION)
    story.at("1:00:10").expect(nothing)
    story.at("1:10:00").send(1, device=FW_1, device_time=_time("1:10:00", off), **SESSION)
    story.at("1:10:11").expect(raised("device-clock-off", Dvc=FW_1))
    story.at("1:20:00").expect(nothing)
    story.send(1, device=FW_1, device_time=_time("1:20:00", "00:00:00"), **SESSION)
    story.at("1:24:50").expect(nothing)
    story.at("1:25:11").expect(cleared("device-clock-off", Dvc=FW_1, reason="at or below 240 for 5 min"))


def test_device_clock_off_over_a_restart(play: Play) -> None:
    """It is off until the device says something else."""
    story = play("device-clock-off", pass_s=10)
    story.at("0:10").send(1, device=FW_1, device_time=_time("0:00:10", "00:15:00"), **SESSION)
    story.at("0:21").expect(raised("device-clock-off", Dvc=FW_1))
    story.at("10:00").restart().at("30:00").expect(nothing)
    story.send(1, device=FW_1, device_time=_time("0:30:00", "00:00:00"), **SESSION)
    story.at("36:00").expect(cleared("device-clock-off", Dvc=FW_1, reason="at or below 240 for 5 min"))


def test_device_clock_off_of_a_device_that_is_gone(play: Play) -> None:
    """A day after its last message nobody knows its clock."""
    story = play("device-clock-off", pass_s=120)
    story.send(1, device=FW_1, device_time=_time("0:00:00", "01:00:00"), **SESSION)
    story.at("0:03:00").expect(raised("device-clock-off", Dvc=FW_1, count=3600))
    story.at("23:59:30").expect(nothing)
    story.at("24:07:00").expect(cleared("device-clock-off", Dvc=FW_1, reason="it is not watched any more"))


def _time(now: str, off: str) -> str:
    """What a clock says that is off by so much: 15 January 2027 is the day of the stories."""
    sign = -1 if off.startswith("-") else 1
    seconds = [
        sum(int(part) * unit for part, unit in zip(text.lstrip("-").split(":"), (3600, 60, 1), strict=True))
        for text in (now, off)
    ]
    total = seconds[0] + sign * seconds[1]
    return f"2027-01-16T{total // 3600:02}:{total % 3600 // 60:02}:{total % 60:02}Z"


def test_messages_lost(play: Play) -> None:
    """One message that the kernel dropped is enough; it clears 15 minutes after the last five with a loss."""
    story = play("messages-lost", pass_s=10)
    story.at("1:00").expect(nothing)
    story.dropped(1).at("1:11").expect(raised("messages-lost", listener="udp", count=1, held=""))
    assert [alert.severity for alert in story.active] == [Severity.HIGH]
    story.at("10:00").dropped(50).at("10:11").expect(updated("messages-lost", count=50))
    story.at("29:40").expect(nothing)
    story.at("30:30").expect(cleared("messages-lost", listener="udp", reason="at or below 0 for 15 min", count=50))


def test_messages_lost_in_a_run_is_told_in_that_run(play: Play) -> None:
    """The kernel counts from the start of a run."""
    story = play("messages-lost", pass_s=10)
    story.at("1:00").dropped(7).at("1:11").expect(raised("messages-lost", count=7))
    story.at("2:00").restart().at("15:50").expect(nothing)
    story.dropped(3).at("16:01").expect(nothing)
    # Three are no ten times seven; but they keep it from clearing.
    story.at("35:00").expect(nothing)
    story.at("37:00").expect(cleared("messages-lost", count=7))


def test_output_down(play: Play) -> None:
    """Five minutes without a delivery are quiet; it clears with the first one. One that was never tried is not down."""
    story = play("output-down", pass_s=10)
    story.at("1:00").output("noc", up=True).output("siem", up=False)
    story.at("6:00").expect(nothing)
    story.at("6:11").expect(raised("output-down", output="siem", held=""))
    story.at("50:00").expect(nothing)
    story.output("siem", up=True).at("50:11").expect(cleared("output-down", output="siem"))
    story.at("51:00").output("siem", up=False).at("54:00").output("siem", up=True).at("54:30")
    story.output("siem", up=False).at("59:00").expect(nothing)
    story.at("59:41").expect(raised("output-down", output="siem"))
    story.without_output("siem").at("59:51")
    story.expect(cleared("output-down", output="siem", reason="it is not watched any more"))


def test_output_down_over_a_restart(play: Play) -> None:
    """Until it takes something: before its first try nobody knows, and after it the five minutes are no new ones."""
    story = play("output-down", pass_s=10)
    story.at("1:00").output("siem", up=False).at("6:11").expect(raised("output-down", output="siem"))
    story.at("8:00").restart().at("9:00").expect(nothing)
    story.output("siem", up=False).at("30:00").expect(nothing)
    story.restart().output("siem", up=True).at("30:21")
    story.expect(cleared("output-down", output="siem", reason="at or below 0"))


def test_output_that_is_not_tried_any_more(play: Play) -> None:
    """What it was down for was given up, say: it is not down for ever, and never for having nothing to do."""
    story = play("output-down", pass_s=10)
    story.output("siem", up=None).at("1:00").output("noc", up=False).at("6:11")
    story.expect(raised("output-down", output="noc"))
    story.output("noc", up=None).at("6:30").restart().at("16:20").expect(nothing)
    story.at("17:00").expect(cleared("output-down", output="noc"))
    story.at("59:00").expect(nothing)


def test_alerts_dropped(play: Play) -> None:
    """One alert that an output never gets is enough; it clears 15 minutes after the last five with a drop."""
    story = play("alerts-dropped", pass_s=10)
    story.at("1:00").expect(nothing)
    story.given_up(1, "noc").at("1:11").expect(raised("alerts-dropped", output="noc", count=1, held=""))
    assert [alert.severity for alert in story.active] == [Severity.HIGH]
    story.at("3:00").given_up(20, "noc").at("3:11").expect(updated("alerts-dropped", output="noc", count=21))
    story.at("22:40").expect(nothing)
    story.at("23:30").expect(cleared("alerts-dropped", output="noc", reason="at or below 0 for 15 min", count=21))


def test_database_failing(play: Play) -> None:
    """Half a minute without a write is quiet. It is told from memory, and clears as soon as it can be written."""
    story = play("database-failing", pass_s=10)
    story.at("1:00").locked().at("1:30").expect(nothing)
    story.at("1:41").expect(raised("database-failing", database="story 0.db", held=""))
    story.at("10:00").expect(updated("database-failing", count=400))
    story.locked(False).at("10:21").expect(cleared("database-failing", database="story 0.db"))


def test_database_replaced(play: Play) -> None:
    """One is enough; what is active is told once more, as the new one knows nothing of it."""
    story = play("database-replaced", "messages-lost", pass_s=10)
    story.dropped(1).at("1:00").expect(raised("messages-lost"))
    story.damaged().at("1:11").expect(
        raised("messages-lost"), raised("database-replaced", database="story 0.db", count=1, held="")
    )
    story.at("1:05:00").expect(cleared("messages-lost"))
    story.at("1:07:00").expect(cleared("database-replaced", reason="at or below 0 for 1 h", count=1))


MANY = "excessive-failures"


def test_alerts_held_back(play: Play) -> None:
    """Over the storm cap alerts are stored and not sent; one alert says how many, and clears."""
    story = play(MANY, "alerts-held-back", storm_cap=3, pass_s=10)
    sources = [f"203.0.113.{number}" for number in range(8)]
    for source in sources:
        story.send(5001, SrcIpAddr=source, EventResult="Failure")
    held = "storm cap: 3 alerts of this rule were sent within 10 min"
    story.expect(
        *(raised(MANY, held="") for _ in range(3)),
        *(raised(MANY, held=held) for _ in range(5)),
    )
    story.at("0:11").expect(raised("alerts-held-back", rule=MANY, count=5, held=""))
    # Ten minutes after the first three there is room for three of those that are still over.
    story.at("9:40").restart()
    for source in sources:
        story.send(5001, SrcIpAddr=source, EventResult="Failure")
    story.expect(nothing)
    story.at("10:11").expect(*(cleared(MANY) for _ in range(3)), *(raised(MANY, held="") for _ in range(3)))


def test_grave_alerts_and_those_of_health_pass(play: Play) -> None:
    """The storm cap holds neither high severity nor what the collector says of itself."""
    grave = rule(MANY, severity=Severity.HIGH)
    story = play(grave, "device-silent", devices=[FW_1, FW_2, FW_3], storm_cap=1, pass_s=10)
    for number in range(4):
        story.send(5001, SrcIpAddr=f"203.0.113.{number}", EventResult="Failure")
    story.expect(*(raised(MANY, held="") for _ in range(4)))
    story.at("14:00")
    reports(story, FW_1)
    story.at("15:11").expect(*(raised("device-silent", Dvc=name, held="") for name in (FW_2, FW_3)))
