"""Qualcomm AI Hub: the profile of a job, as ``job.download_profile()`` gives it and the web page saves it.

``execution_summary`` has ``estimated_inference_time`` and ``all_inference_times`` in microseconds; ``execution_detail`` is a list
of operators with ``name``, ``type``, ``compute_unit`` ("NPU", "GPU", "CPU"), ``execution_time`` in microseconds and, on the NPU,
``execution_cycles`` (source: ``qai_hub.client``, ``ProfileJob.download_profile`` and its tests).
"""

from __future__ import annotations

from hwsearch.boards.profiles.profile import Document, Profile, ProfileReader, TimedOperation


def recognises(document: Document) -> bool:
    return isinstance(document.json, dict) and "execution_summary" in document.json


def read(document: Document) -> Profile:
    summary, detail = document.json["execution_summary"], document.json.get("execution_detail", [])
    if not isinstance(summary, dict) or "estimated_inference_time" not in summary:
        raise document.refuse(
            "execution_summary has no estimated_inference_time", "Wait until the job succeeded, and save it then."
        )
    what = "estimated_inference_time"
    total_s = document.total(document.seconds(summary[what], 1e-6, what), what)
    if not isinstance(detail, list):
        raise document.refuse("execution_detail is no list")
    steps = []
    for entry in detail:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise document.refuse(f"an entry of execution_detail has no name: {str(entry)[:80]}")
        if "execution_time" not in entry:  # nodes that the runtime does not time
            continue
        name = entry["name"]
        seconds = document.seconds(entry["execution_time"], 1e-6, f"execution_time of {name!r}")
        steps.append(TimedOperation(name, seconds, tuple(name.split(";")), unit=str(entry.get("compute_unit", "")).upper()))
    return Profile("Qualcomm AI Hub", total_s, tuple(steps))


READER = ProfileReader("a profile of Qualcomm AI Hub", recognises, read)
